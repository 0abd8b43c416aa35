package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// pluginsOf returns the processes that run from a data_dir: plugins, which may
// have outlived the host that started them.
func pluginsOf(folder string) (pids []int, err error) {
	all, err := programs()
	if err != nil {
		return nil, err
	}
	for pid, program := range all {
		if strings.HasPrefix(program, folder+string(filepath.Separator)) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// programs returns what each process of the machine runs.
func programs() (map[int]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]string{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// One that has just ended, or belongs to somebody else, has none.
		if program, err := os.Readlink("/proc/" + e.Name() + "/exe"); err == nil {
			all[pid] = program
		}
	}
	return all, nil
}

// parentOf returns the parent of a process, 0 when there is none.
func parentOf(pid int) int {
	fields := statOf(fmt.Sprintf("/proc/%d/stat", pid))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// still reports whether all threads of a process are stopped.
func still(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // the pattern is good
	for _, t := range threads {
		if fields := statOf(t); len(fields) > 0 && fields[0] != "T" {
			return false
		}
	}
	return len(threads) > 0
}

// statOf returns the fields of a stat file from the third on, none when it is gone.
func statOf(file string) []string {
	stat, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	// The second field is a name in parentheses, which may hold anything.
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// lookTime is between two looks at which plugins live.
const lookTime = 50 * time.Millisecond

// watch notes which plugins below a folder live, until ctx is done.
func (r *recorder) watch(ctx context.Context, folder string) error {
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	for {
		at := time.Now() // they lived then
		pids, err := pluginsOf(folder)
		if err != nil {
			return err
		}
		r.living(at, pids)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
