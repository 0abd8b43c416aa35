package conformance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/heimdall-run/heimdall/sdk/handshake"
)

// plan is how a process of the plugin is started. It is JSON, because a host of
// its own may have to start it.
type plan struct {
	Binary  string   `json:"binary"`
	Folder  string   `json:"folder"`  // its working folder, which holds its streams
	Sockets string   `json:"sockets"` // where it makes its socket
	Env     []string `json:"env"`
}

// newPlan prepares the folders of a process and what it gets to know.
func newPlan(binary, folder string, extra []string) (*plan, error) {
	p := &plan{Binary: binary, Folder: folder, Sockets: filepath.Join(folder, "s")}
	// What comes from the plugin mostly keeps TMPDIR, which nobody else has.
	temp := filepath.Join(folder, "tmp")
	for _, dir := range []string{folder, p.Sockets, temp} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make folder for a process: %w", err)
		}
	}
	for _, name := range append([]string{"PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE"}, extra...) {
		if value, ok := os.LookupEnv(name); ok {
			p.Env = append(p.Env, name+"="+value)
		}
	}
	p.set("TMPDIR", temp)
	p.set("PLUGIN_MIN_PORT", "10000")
	p.set("PLUGIN_MAX_PORT", "25000")
	p.set("PLUGIN_PROTOCOL_VERSIONS", strconv.Itoa(handshake.ProtocolVersion))
	p.set("PLUGIN_UNIX_SOCKET_DIR", p.Sockets)
	p.set(handshake.Config.MagicCookieKey, handshake.Config.MagicCookieValue)
	return p, nil
}

// set gives a variable of the environment a value.
func (p *plan) set(name, value string) {
	p.unset(name)
	p.Env = append(p.Env, name+"="+value)
}

func (p *plan) unset(name string) {
	p.Env = slices.DeleteFunc(p.Env, func(e string) bool { return len(e) > len(name) && e[:len(name)+1] == name+"=" })
}

func (p *plan) stdout() string { return filepath.Join(p.Folder, "stdout") }

func (p *plan) stderr() string { return filepath.Join(p.Folder, "stderr") }

// start executes the plugin as a host does: in a session of its own, without
// stdin, with files for its streams.
func (p *plan) start() (*exec.Cmd, error) {
	stdout, err := os.OpenFile(p.stdout(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	stderr, err := os.OpenFile(p.stderr(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	// A binary that was written a moment ago is busy as long as a child that was
	// forked meanwhile has not executed.
	for wait := time.Millisecond; ; wait *= 2 {
		cmd := exec.Command(p.Binary)
		cmd.Env, cmd.Dir = p.Env, p.Folder
		cmd.Stdout, cmd.Stderr = stdout, stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		err := cmd.Start()
		if err == nil {
			return cmd, nil
		}
		if !errors.Is(err, syscall.ETXTBSY) || wait > 500*time.Millisecond {
			return nil, fmt.Errorf("execute the plugin: %w", err)
		}
		time.Sleep(wait)
	}
}
