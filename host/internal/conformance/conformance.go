// Package conformance checks the executable of a plugin against the protocol,
// from outside: it knows the plugin only by its environment, its streams, its
// socket and the processes that it has. It shares no code with the plugin host,
// so that it is a check of both.
package conformance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
	"github.com/heimdall-run/heimdall/sdk/pluginname"
)

// Config says what to check and how.
type Config struct {
	Binary   string    // a file named heimdall-plugin-<name>, optionally with _v<version>
	Examples []Example // the jobs that cases run; nil: the plugin's own
	Only     []string  // ids of the cases to run, and of those that they need; none: all

	// Host is the command line that calls Host in a process of its own: the
	// check kills it to see what becomes of a plugin that loses its host.
	Host        []string
	HostVersion string // for the report

	StartTimeout time.Duration // for a handshake. Default: 10s, as that of a host; more on a busy machine
	Patience     time.Duration // for what has no time of its own. Default: 20s, more on a busy machine
	LeakTime     time.Duration // for the many jobs that show what leaks. Default: 15s
	Parallel     int           // cases at once. Default: 8

	Ended func(checkreport.Case) // is told each case, in their order; may be nil
}

// ArgumentError is an error of a Config, and not of the plugin.
type ArgumentError struct{ err error }

// Error says what is wrong.
func (e *ArgumentError) Error() string { return e.err.Error() }

// Unwrap returns what it wraps.
func (e *ArgumentError) Unwrap() error { return e.err }

func argument(format string, args ...any) error { return &ArgumentError{fmt.Errorf(format, args...)} }

// Info describes a case.
type Info struct {
	ID    string   `json:"id"`
	Group string   `json:"group"`
	Title string   `json:"title"`           // what must hold
	Needs []string `json:"needs,omitempty"` // kinds of examples, of which one is needed
}

// Cases returns all cases in their order.
func Cases() []Info {
	var out []Info
	for _, c := range cases() {
		out = append(out, Info{ID: c.id, Group: c.group, Title: c.title, Needs: c.needs})
	}
	return out
}

// Check runs the cases and reports what they found. An error means that the check
// could not be done; it is an *ArgumentError if it cannot be done as asked.
func Check(ctx context.Context, config Config) (*checkreport.Report, error) {
	s, err := newSuite(config)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(s.scratch)
	cases, err := selected(s.Only)
	if err != nil {
		return nil, err
	}
	report := &checkreport.Report{
		Format: checkreport.Format, Plugin: s.name, SHA256: s.digest,
		HostVersion: s.HostVersion, Time: time.Now().UTC().Truncate(time.Second), Partial: len(s.Only) > 0,
	}
	report.Cases = s.run(ctx, cases)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("the check was interrupted: %w", context.Cause(ctx))
	}
	report.Version = s.description.GetVersion()
	report.Conclude()
	return report, nil
}

// newSuite copies the binary, as a host does, and makes a place to work.
func newSuite(config Config) (*suite, error) {
	busy := busyness()
	s := &suite{Config: config, done: map[string]*outcomeOf{}, caseTime: busy * caseTime}
	for _, d := range []struct {
		of        *time.Duration
		otherwise time.Duration
	}{{&s.StartTimeout, busy * 10 * time.Second}, {&s.Patience, busy * 20 * time.Second}, {&s.LeakTime, 15 * time.Second}} {
		if *d.of <= 0 {
			*d.of = d.otherwise
		}
	}
	if s.Parallel <= 0 {
		s.Parallel = 8
	}
	base := filepath.Base(config.Binary)
	name, version, ok := pluginname.OfFile(base)
	if !ok || !pluginname.Valid(name) {
		return nil, argument("%s is not named as plugins are: heimdall-plugin-NAME, the name %s", base, pluginname.Rule)
	}
	s.name, s.named = name, version
	info, err := os.Stat(config.Binary)
	switch {
	case err != nil:
		return nil, argument("the plugin cannot be read: %w", err)
	case !info.Mode().IsRegular():
		return nil, argument("%s is not a regular file", config.Binary)
	case info.Mode().Perm()&0o111 == 0:
		return nil, argument("%s is not executable: chmod +x it", config.Binary)
	}
	// A short path, because sockets lie below it.
	if s.scratch, err = os.MkdirTemp(shortTemp(), "hc"); err != nil {
		return nil, fmt.Errorf("make a place to work: %w", err)
	}
	if err = s.copyBinary(base); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.scratch))
	}
	return s, nil
}

// busyness returns how many times as long as alone things may take, with all that
// runs on the machine: a plugin must not fail because of its neighbors.
func busyness() time.Duration {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 1
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		return 1
	}
	return time.Duration(min(max(1+load/float64(runtime.NumCPU()), 1), 6))
}

// shortTemp returns a folder for temporary files in which sockets find room.
func shortTemp() string {
	if dir := os.TempDir(); len(dir) <= 24 {
		return dir
	}
	return "/tmp"
}

func (s *suite) copyBinary(base string) error {
	from, err := os.Open(s.Binary)
	if err != nil {
		return argument("the plugin cannot be read: %w", err)
	}
	defer from.Close()
	if err := os.Mkdir(filepath.Join(s.scratch, "bin"), 0o700); err != nil {
		return fmt.Errorf("make a place to work: %w", err)
	}
	s.binary = filepath.Join(s.scratch, "bin", base)
	to, err := os.OpenFile(s.binary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o500)
	if err != nil {
		return fmt.Errorf("copy the plugin: %w", err)
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(to, hash), from)
	if err := errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("copy the plugin: %w", err)
	}
	s.digest = hex.EncodeToString(hash.Sum(nil))
	return nil
}

// selected returns the cases of some ids and those that they come after.
func selected(ids []string) ([]testCase, error) {
	all := cases()
	if len(ids) == 0 {
		return all, nil
	}
	byID := map[string]*testCase{}
	for i := range all {
		byID[all[i].id] = &all[i]
	}
	wanted := map[string]bool{}
	var want func(id string) error
	want = func(id string) error {
		c := byID[id]
		if c == nil {
			return argument("there is no case %q; --list names all", id)
		}
		if !wanted[id] {
			wanted[id] = true
			for _, before := range c.after {
				if err := want(before); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, id := range ids {
		if err := want(strings.TrimSpace(id)); err != nil {
			return nil, err
		}
	}
	var out []testCase
	for _, c := range all {
		if wanted[c.id] {
			out = append(out, c)
		}
	}
	return out, nil
}
