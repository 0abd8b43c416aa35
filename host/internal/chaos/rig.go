package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// plan says what a run is made of.
type plan struct {
	heimdall string // the host's binary
	faulty   string // the plugin's binary
	store    string // postgres or sqlite
	hosts    int
	lease    time.Duration // that a host has without renewal
	clients  int
	rate     int // submissions a second, of all clients together
	seed     uint64
	counts   map[kind]int
	settle   time.Duration // that jobs may take to their end once there are no more faults
	scratch  string        // folder
}

// rig is what faults are done to: hosts on one database.
type rig struct {
	plan
	*recorder
	postgres *postgres // nil on SQLite
	proxies  []*proxy  // of each host; none on SQLite
	hosts    []*host
	disk     *disk // of the last host
	ledger   string
	fell     []string // why hosts have ended by themselves; for keepUp
}

// newRig makes and starts everything.
func newRig(ctx context.Context, p plan) (_ *rig, err error) {
	r := &rig{plan: p, recorder: newRecorder(), ledger: filepath.Join(p.scratch, "ledger")}
	r.caps = caps
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	// The server's user passes through here.
	if err := os.Chmod(p.scratch, 0o711); err != nil {
		return nil, err
	}
	if p.store == "postgres" {
		if r.postgres, err = newPostgres(ctx, filepath.Join(p.scratch, "postgres")); err != nil {
			return nil, err
		}
	}
	// Copies: who builds them anew meanwhile does not disturb the run, and the
	// plugin never lies beside those that are shipped.
	plugins := filepath.Join(p.scratch, "plugins")
	if err := copyProgram(p.faulty, plugins); err != nil {
		return nil, err
	}
	if err := copyProgram(p.heimdall, filepath.Join(p.scratch, "bin")); err != nil {
		return nil, err
	}
	for i := range p.hosts {
		h, err := r.newHost(i, plugins)
		if err != nil {
			return nil, err
		}
		r.hosts = append(r.hosts, h)
	}
	if r.disk, err = newDisk(r.hosts[len(r.hosts)-1]); err != nil {
		return nil, err
	}
	for _, h := range r.hosts {
		if err := h.start(ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// copyProgram puts a program into a folder that is not there yet.
func copyProgram(file, folder string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("copy a program: %w; has it been built (make build)?", err)
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	// A process that is forked meanwhile would have it open for writing: nobody may
	// execute it then.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(filepath.Join(folder, filepath.Base(file)), content, 0o755)
}

// slots is how many jobs a host runs at once.
const slots = 32

// The commands that the hosts offer.
const (
	plain   = "work"
	atOnce  = "work-at-once" // sync
	retried = "work-retried"
	capped  = "work-capped"
)

// attempts says how many executions jobs of a command may have, where it is not
// one; caps, how many of them may be alive at once.
var (
	attempts = map[string]int{retried: 3}
	caps     = map[string]int{capped: 4}
)

const configuration = `
[queue]
workers = %d
shutdown_grace = "2s"
cancel_grace = "2s"
[[commands]]
name = "work"
plugin = "faulty"
tags = ["type:work"]
[[commands]]
name = "work-at-once"
plugin = "faulty"
is_sync = true
tags = ["type:work-at-once"]
[[commands]]
name = "work-retried"
plugin = "faulty"
tags = ["type:work-retried"]
retry = { attempts = 3, backoff = "200ms", on = ["failed", "lost"] }
[[commands]]
name = "work-capped"
plugin = "faulty"
tags = ["type:work-capped"]
max_running = 4
[[clusters]]
name = "here"
`

func (r *rig) newHost(i int, plugins string) (*host, error) {
	name := fmt.Sprintf("h%d", i+1)
	folder := filepath.Join(r.scratch, name)
	if err := os.Mkdir(folder, 0o711); err != nil {
		return nil, err
	}
	file := folder + ".toml"
	if err := os.WriteFile(file, fmt.Appendf(nil, configuration, slots), 0o600); err != nil {
		return nil, err
	}
	url := "sqlite"
	if r.postgres != nil {
		p, err := newProxy(r.postgres.address.String())
		if err != nil {
			return nil, err
		}
		r.proxies = append(r.proxies, p)
		url = r.postgres.url(p.address())
	}
	address, err := reserve()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(folder+".log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	h := &host{
		name: name, binary: filepath.Join(r.scratch, "bin", filepath.Base(r.heimdall)), folder: folder, log: log,
		args: []string{
			"server", "--config", file, "--listen", address.String(),
			"--store", url, "--data-dir", folder, "--plugin-dir", plugins,
		},
		http:    &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}},
		address: address,
	}
	if h.client, err = client.New("http://"+address.String(), "chaos"); err != nil {
		return nil, err
	}
	h.client.HTTP = h.http
	return h, nil
}

// close stops everything; nothing stays running.
func (r *rig) close() error {
	var err error
	for _, h := range r.hosts {
		err = errors.Join(err, h.thaw(), h.stop())
		h.waiting.Wait()
		h.http.CloseIdleConnections()
		err = errors.Join(err, h.log.Close(), h.address.release())
	}
	pids, perr := pluginsOf(r.scratch)
	err = errors.Join(err, perr)
	for _, pid := range pids { // those of a host that was killed last
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, p := range r.proxies {
		p.close()
	}
	if r.postgres != nil {
		err = errors.Join(err, r.postgres.close())
	}
	if r.disk != nil {
		err = errors.Join(err, r.disk.close())
	}
	return err
}
