package sdk

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/sdk/internal/child"
)

// Cmd is a program to run, much like exec.Cmd. All processes that come from it
// are stopped with it, also those that ignore signals or left its session.
type Cmd = child.Cmd

// ExitError is the end of a program with another status than 0. When Run returns
// one, the job fails with its exit code or signal.
type ExitError = child.ExitError

// inherited names the environment variables that children get from the plugin.
var inherited = []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "USER"}

// command returns a program of the attempt. It runs in the working folder, writes
// to the logs of the job and is stopped with the attempt.
func (a *attempt) command(name string, args []string) *Cmd {
	cmd := child.New(name, args...)
	dir, err := a.dir()
	if err != nil {
		a.logger().Error("program cannot start", "program", name, "error", err)
		cmd.Kill() // it never starts
	}

	cmd.Dir = dir
	cmd.Env = a.environment()
	cmd.Stdout, cmd.Stderr = a.stdout.forPrograms(), a.stderr.forPrograms()
	limits := a.request.GetLimits()
	cmd.Limits = child.Limits{
		OpenFiles: limits.GetOpenFiles(),
		CPU:       time.Duration(limits.GetCpuSeconds()) * time.Second,
		CoreBytes: limits.GetCoreBytes(),
	}
	a.adopt(cmd)
	return cmd
}

func (a *attempt) adopt(cmd *Cmd) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping || a.over {
		cmd.Kill() // it never starts
		return
	}

	a.limitMemory()
	// Those that have ended are let go, so that a job may run any number. The
	// others are held, also when nobody else does: a program ends with its Cmd.
	a.children = append(slices.DeleteFunc(a.children, (*Cmd).Ended), cmd)
}

// eachChild calls f for every program of the attempt, without the lock.
func (a *attempt) eachChild(f func(*Cmd)) {
	a.mu.Lock()
	children := slices.Clone(a.children)
	a.mu.Unlock()
	for _, cmd := range children {
		f(cmd)
	}
}

// environment returns what a child may know of the plugin's environment and of
// the job.
func (a *attempt) environment() []string {
	env := map[string]string{
		"HEIMDALL_JOB_ID":  a.request.GetJob().GetId(),
		"HEIMDALL_ATTEMPT": strconv.Itoa(int(a.request.GetAttemptNumber())),
		"HEIMDALL_USER":    a.request.GetUser().GetName(),
	}
	if trace := a.request.GetTraceparent(); trace != "" {
		env["TRACEPARENT"] = trace
	}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if slices.Contains(inherited, name) || strings.HasPrefix(name, "LC_") {
			env[name] = value
		}
	}

	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// exitOf returns the exit code of a process or the name of the signal that ended
// it.
func exitOf(exit *child.ExitError) (code *int, signal string) {
	if exit.Signal != 0 {
		return nil, signalName(exit.Signal)
	}
	return new(exit.Code), ""
}

func signalName(signal syscall.Signal) string {
	if name := unix.SignalName(signal); name != "" {
		return name
	}
	return "signal " + strconv.Itoa(int(signal))
}
