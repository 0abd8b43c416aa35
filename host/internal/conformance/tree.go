package conformance

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// relative is a process of the machine as far as its descent tells.
type relative struct {
	pid, parent, session int
	state                byte
	born                 uint64 // in ticks since boot: tells processes of the same number apart
}

// readStat reads the descent of a process.
func readStat(pid int) (r relative, ok bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return r, false
	}
	end := bytes.LastIndexByte(text, ')') // names may hold anything
	fields := strings.Fields(string(text[end+1:]))
	if end < 0 || len(fields) < 20 {
		return r, false
	}
	r.pid, r.state = pid, fields[0][0]
	r.parent, _ = strconv.Atoi(fields[1])
	r.session, _ = strconv.Atoi(fields[3])
	r.born, _ = strconv.ParseUint(fields[19], 10, 64)
	return r, true
}

// family finds the processes that came from a plugin process, without itself and
// without those that have ended: whoever descends from it, is of its session, or
// still knows its folder. A child that was adopted by another process and has
// left its session knows the folder by TMPDIR or by where it works. Those that are
// older than the plugin are no kin.
func family(pid int, born uint64, folder string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []relative
	member := map[int]bool{pid: true}
	for _, entry := range entries {
		id, err := strconv.Atoi(entry.Name())
		if err != nil || id == os.Getpid() {
			continue
		}
		r, ok := readStat(id)
		if !ok || r.state == 'Z' || r.state == 'X' || r.born < born {
			continue
		}
		all = append(all, r)
		member[id] = member[id] || r.session == pid || knows(id, folder)
	}
	for grown := true; grown; {
		grown = false
		for _, r := range all {
			if !member[r.pid] && member[r.parent] {
				member[r.pid], grown = true, true
			}
		}
	}
	var out []int
	for _, r := range all {
		if member[r.pid] && r.pid != pid {
			out = append(out, r.pid)
		}
	}
	slices.Sort(out)
	return out
}

// knows reports whether a process has a folder in its environment or works in it.
func knows(pid int, folder string) bool {
	proc := "/proc/" + strconv.Itoa(pid)
	if where, err := os.Readlink(proc + "/cwd"); err == nil && (where == folder || strings.HasPrefix(where, folder+"/")) {
		return true
	}
	env, err := os.ReadFile(proc + "/environ")
	return err == nil && bytes.Contains(env, []byte(folder+"/"))
}

// tell names processes for people.
func tell(pids []int) string {
	var names []string
	for _, pid := range pids {
		text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		line := strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
		names = append(names, strconv.Itoa(pid)+" ("+clip(line, 60)+")")
	}
	return strings.Join(names, ", ")
}

// usage is what a process holds at a moment.
type usage struct{ files, threads, anon int }

// measure reads what a process holds; anon is in KiB.
func measure(pid int) (u usage, err error) {
	proc := "/proc/" + strconv.Itoa(pid)
	files, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return u, err
	}
	u.files = len(files)
	text, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		value, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		switch name {
		case "Threads":
			u.threads, _ = strconv.Atoi(value)
		case "RssAnon":
			u.anon, _ = strconv.Atoi(value)
		}
	}
	return u, nil
}

// kill sends a signal to a process if there is one.
func kill(pid int, signal unix.Signal) { _ = unix.Kill(pid, signal) }

// clip shortens text of others to a number of bytes, and makes it one line.
func clip(text string, most int) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
