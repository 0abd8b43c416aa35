package main_test

import (
	"crypto/rand"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/pgtest"
)

// site is a folder in which a host runs, its data in the folder data below.
type site struct {
	t      *testing.T
	folder string
	bin    string
	env    []string
	host   *exec.Cmd
}

func (s *site) run(line string, want int) string {
	s.t.Helper()
	c := exec.Command("sh", "-e", "-c", line)
	c.Dir, c.Env = s.folder, s.env
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		s.t.Fatal(err)
	}
	if got := c.ProcessState.ExitCode(); got != want {
		s.t.Fatalf("got exit code %d, want %d:\n%s\n%s", got, want, line, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *site) start() {
	s.t.Helper()
	_ = os.Remove(filepath.Join(s.folder, "data/address"))
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.host = exec.Command(filepath.Join(s.bin, "heimdall"), "server", "--config", "heimdall.toml")
	s.host.Dir, s.host.Env, s.host.Stdout, s.host.Stderr = s.folder, s.env, log, log
	if err := s.host.Start(); err != nil {
		s.t.Fatal(err)
	}
	err = until("the start of the host", func() bool {
		address, _ := os.ReadFile(filepath.Join(s.folder, "data/address"))
		if len(address) == 0 {
			return false
		}
		s.env = append(s.env, "HEIMDALL_SERVER="+strings.TrimSpace(string(address)))
		return exec.Command("curl", "-sf", strings.TrimSpace(string(address))+"/readyz").Run() == nil
	})
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		s.t.Fatalf("%v:\n%s", err, text)
	}
}

func (s *site) stop() {
	if s.host == nil {
		return
	}
	_ = s.host.Process.Signal(syscall.SIGTERM)
	if err := s.host.Wait(); err != nil {
		s.t.Errorf("the host ended with %v", err)
	}
	s.host = nil
}

// haveSQLite puts what Python has of SQLite into the place of sqlite3 where that is
// not installed.
func (s *site) haveSQLite() {
	if _, err := exec.LookPath("sqlite3"); err == nil {
		return
	}
	const backup = `#!/usr/bin/python3
import shlex, sqlite3, sys
verb, target = shlex.split(sys.argv[2])
assert verb == ".backup"
sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(target))
`
	tools := s.t.TempDir()
	if err := os.WriteFile(filepath.Join(tools, "sqlite3"), []byte(backup), 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "PATH="+tools+":"+s.bin+":"+os.Getenv("PATH"))
}

// instructions returns the commands of a page below a mark, up to the next text in
// bold.
func instructions(t *testing.T, page, mark string) (blocks []string) {
	t.Helper()
	_, text, found := strings.Cut(readPage(t, page), mark)
	if !found {
		t.Fatalf("%s has no %s", page, mark)
	}
	text, _, _ = strings.Cut(text, "\n**")
	for _, b := range fenced.FindAllString(text, -1) {
		blocks = append(blocks, strings.TrimSuffix(strings.TrimPrefix(b, "```sh\n"), "```"))
	}
	return blocks
}

// What the page on operations says of backup and restore brings back the jobs of the
// moment of the backup, with their logs and results.
func TestBackupAndRestore(t *testing.T) {
	for _, store := range []string{"PostgreSQL", "SQLite"} {
		t.Run(store, func(t *testing.T) {
			bin, err := filepath.Abs(checkout + "bin")
			if err != nil {
				t.Fatal(err)
			}
			s := &site{t: t, folder: shortTempDir(t), bin: bin}
			s.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HEIMDALL_SERVER_LISTEN=127.0.0.1:0",
				"HEIMDALL_PLUGINS_DIRECTORY="+filepath.Join(bin, "plugins"), "HEIMDALL_USER=ann")
			config, err := os.ReadFile(checkout + "configs/heimdall.toml")
			if err == nil {
				err = os.WriteFile(filepath.Join(s.folder, "heimdall.toml"), config, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			blocks := instructions(t, "docs/operations.md", "\n**"+store+".**")
			restore := "rm -f data/heimdall.db data/heimdall.db-wal data/heimdall.db-shm\n" +
				"install -m 600 heimdall.backup data/heimdall.db\n" +
				"tar --extract --file=artifacts.tar --directory=data"
			if store == "SQLite" {
				s.haveSQLite()
			} else {
				var own func(string) string
				s.env, own = database(t, s.env)
				s.run(own("createdb heimdall"), 0)
				defer func() { s.run(own("dropdb --if-exists heimdall"), 0) }()
				restore = own(blocks[1])
			}
			defer s.stop()

			s.start()
			kept := s.run(`heimdall job submit --command-criteria type:shell --set 'arguments=["kept"]'`, 0)
			s.run("heimdall job logs --follow "+kept, 0)
			said := s.run("heimdall job logs --stdout "+kept, 0)
			if !strings.Contains(said, "kept") {
				t.Fatalf("the job said %q", said)
			}
			s.run(blocks[0], 0)
			later := s.run("heimdall job submit --command-criteria type:ping", 0)
			s.stop()

			s.run("rm -r data/artifacts", 0)
			s.run(restore, 0)
			s.start()
			if got := s.run("heimdall job logs --stdout "+kept, 0); got != said {
				t.Errorf("after the restore the job has said %q, want %q", got, said)
			}
			s.run("heimdall job get "+later, 5)
			s.run("heimdall job submit --command-criteria type:ping --wait", 0)
		})
	}
}

// database returns an environment in which the tools of PostgreSQL and hosts use a
// database that no one else has, and what puts its name into commands in the place
// of the one on the page.
func database(t *testing.T, env []string) (with []string, own func(string) string) {
	t.Helper()
	server, err := url.Parse(os.Getenv(pgtest.Variable))
	if err != nil || server.Host == "" {
		t.Fatalf("%s names no server: run make test", pgtest.Variable)
	}
	name := "backup_" + strings.ToLower(rand.Text())
	password, _ := server.User.Password()
	with = append(env, "PGHOST="+server.Hostname(), "PGPORT="+server.Port(), "PGUSER="+server.User.Username(), "PGPASSWORD="+password)
	server.Path = "/" + name
	with = append(with, "HEIMDALL_STORE_URL="+server.String())
	return with, func(text string) string {
		return strings.NewReplacer("createdb heimdall", "createdb "+name, "dropdb --if-exists heimdall", "dropdb --if-exists "+name).Replace(text)
	}
}
