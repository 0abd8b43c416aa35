package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// postgres is a PostgreSQL server of this program's own.
type postgres struct {
	binaries string // folder
	folder   string
	address  *address
	as       *syscall.Credential
	log      *os.File
	busy     sync.Mutex // held by the fault that is done to it

	mu      sync.Mutex
	process *os.Process
	exited  chan struct{}
}

// newPostgres makes a server below a folder and starts it.
func newPostgres(ctx context.Context, folder string) (_ *postgres, err error) {
	p := &postgres{folder: folder}
	if p.binaries, err = serverBinaries(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 { // the server refuses root
		if p.as, err = plainUser(); err != nil {
			return nil, err
		}
		if err := os.Chown(folder, int(p.as.Uid), int(p.as.Gid)); err != nil {
			return nil, err
		}
	}
	if p.log, err = os.Create(folder + ".log"); err != nil {
		return nil, err
	}
	if p.address, err = reserve(); err != nil {
		return nil, err
	}
	initdb := p.command(ctx, "initdb", "-D", p.data(), "-U", "heimdall", "-A", "trust", "--locale=C", "--encoding=UTF8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// serverBinaries returns the folder of the newest server that is installed.
func serverBinaries() (string, error) {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is good
	version := func(folder string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
		return n
	}
	slices.SortFunc(folders, func(a, b string) int { return version(b) - version(a) })
	if onPath, err := exec.LookPath("postgres"); err == nil {
		folders = append(folders, filepath.Dir(onPath))
	}
	for _, f := range folders {
		if _, err := os.Stat(filepath.Join(f, "initdb")); err == nil {
			return f, nil
		}
	}
	return "", errors.New("a server of PostgreSQL that may be killed is needed, and its binaries are not installed (Debian: apt-get install postgresql)")
}

// plainUser is somebody whom the server accepts.
func plainUser() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func (p *postgres) data() string { return filepath.Join(p.folder, "data") }

func (p *postgres) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(p.binaries, name), args...)
	c.Dir = p.folder
	c.Env = append(os.Environ(), "HOME="+p.folder)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: p.as, Setpgid: true}
	return c
}

// start starts the server unless it runs, and waits until it takes connections.
// The processes of one that was killed may be in the way for a while.
func (p *postgres) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if !p.runs() {
			if err := p.launch(); err != nil {
				return err
			}
		}
		if ready := p.command(ctx, "pg_isready", "-q", "-h", "127.0.0.1", "-p", p.port(), "-U", "heimdall"); ready.Run() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not start within %v; see %s", readyTime, p.log.Name())
		case <-tick.C:
		}
	}
}

func (p *postgres) runs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// launch starts the process. What it writes survives the death of all processes:
// only a crash of the machine is no fault here, so nothing is synced.
func (p *postgres) launch() error {
	c := p.command(context.Background(), "postgres", "-D", p.data(), "-p", p.port(), "-k", p.folder,
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", "-c", "fsync=off", "-c", "log_min_messages=warning")
	c.Stdout, c.Stderr = p.log, p.log
	if err := c.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	exited := make(chan struct{})
	go func() { // ends with the process, which stop waits for
		_ = c.Wait()
		close(exited)
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process, p.exited = c.Process, exited
	return nil
}

func (p *postgres) port() string {
	_, port, _ := strings.Cut(p.address.String(), ":")
	return port
}

// url is where the server is reached, directly or by an address in its place.
func (p *postgres) url(address string) string {
	return "postgres://heimdall@" + address + "/postgres?sslmode=disable"
}

// end sends a signal to the server and waits until it has ended: SIGQUIT is an
// immediate shutdown, SIGKILL reaches the first of its processes only.
func (p *postgres) end(s syscall.Signal) error {
	p.mu.Lock()
	process, exited := p.process, p.exited
	p.mu.Unlock()
	if process == nil {
		return nil
	}
	if err := process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end PostgreSQL: %w", err)
	}
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-exited:
		return nil
	case <-timer.C:
		return fmt.Errorf("PostgreSQL has not ended within %v of %v; see %s", stopTime, s, p.log.Name())
	}
}

// close ends the server for good.
func (p *postgres) close() error {
	return errors.Join(p.end(syscall.SIGQUIT), p.log.Close(), p.address.release())
}

// killWorker kills one of the server's processes that serve connections; the
// server ends the others, and begins anew.
func (p *postgres) killWorker(ctx context.Context, pick func(int) int) error {
	var workers []int
	if err := until(ctx, "PostgreSQL serves a connection", func() (bool, error) {
		var err error
		workers, err = p.workers()
		return len(workers) > 0, err
	}); err != nil {
		return err
	}
	if err := syscall.Kill(workers[pick(len(workers))], syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill a process of PostgreSQL: %w", err)
	}
	return nil
}

// workers returns the processes that serve connections, sorted.
func (p *postgres) workers() (pids []int, err error) {
	p.mu.Lock()
	parent := p.process.Pid
	p.mu.Unlock()
	all, err := programs()
	if err != nil {
		return nil, err
	}
	for pid := range all {
		title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && parentOf(pid) == parent && strings.Contains(string(title), "heimdall postgres 127.0.0.1") {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}
