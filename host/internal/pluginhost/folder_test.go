package pluginhost_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

const good = "heimdall-plugin-good"

// version asks a new attempt which build runs it.
func version(t *testing.T, h *pluginhost.Host) string {
	t.Helper()
	ended, _ := run(t, h, "good", fmt.Sprint("v", time.Now().UnixNano()), "version")
	return inline(t, ended)
}

func TestDropReplaceRemove(t *testing.T) {
	f := newFixture(t)
	var log record
	h := f.start(t, func(c *pluginhost.Config) {
		c.Log = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug})
	})
	if err := h.Available("good", ""); err == nil {
		t.Fatal("a plugin is available before its file is there")
	}
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=1.0.0")
	eventually(t, "the new plugin is available", func() bool { return h.Available("good", "") == nil })

	file := filepath.Join(t.TempDir(), "go")
	old := newSink()
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Run(t.Context(), until("old", file), old)) }()
	<-old.begun
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=2.0.0")
	eventually(t, "the new build serves", func() bool { return version(t, h) == "2.0.0" })
	draining := 0
	for _, p := range h.Plugins() {
		if p.State == pluginhost.Draining && p.Version == "1.0.0" && p.Running == 1 && !p.Serves {
			draining++
		}
	}
	if draining != 1 {
		t.Errorf("Plugins = %+v, want the old build to drain", h.Plugins())
	}

	if err := os.Remove(filepath.Join(f.plugins, good)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the removed plugin is not available", func() bool { return h.Available("good", "") != nil })
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := inline(t, <-done); got != "1.0.0 was there until the end" {
		t.Errorf("result = %q, want that of the build that began it", got)
	}
	eventually(t, "nothing is left", func() bool { return len(h.Plugins()) == 0 })
	for _, said := range []string{
		"1.0.0 drains: another build of the plugin serves", "2.0.0 drains: the plugin folder does not hold it any more",
	} {
		eventually(t, "a plugin was told that "+said, func() bool { return log.has(said) })
	}
}

// A file may become another without its length, its inode or its time changing.
func TestACopyThatPreservesTimesIsNoticed(t *testing.T) {
	f := newFixture(t)
	file, at := filepath.Join(f.plugins, good), time.Unix(1e9, 0)
	write := func(version string) {
		writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION="+version)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("1.0.0")
	f.look = time.Second // so that it does not see the file between the two steps
	h := f.start(t)
	write("2.0.0")
	eventually(t, "the new build serves", func() bool { return version(t, h) == "2.0.0" })
}

// A link that leads nowhere is told also when the host runs already.
func TestALinkDroppedInThatLeadsNowhere(t *testing.T) {
	f := newFixture(t)
	h := f.start(t)
	if err := os.Symlink("/no/such", filepath.Join(f.plugins, good)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the link is told", func() bool {
		list := h.Plugins()
		return len(list) == 1 && list[0].State == pluginhost.Failed && strings.Contains(list[0].Error, "cannot be read")
	})
}

// Builds come and go under a stream of attempts, by rename and by writing over:
// none fails, and none is run by a build that is neither the old nor the new.
func TestReplacingNeverFailsAnAttempt(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=0.0.0")
	h := f.start(t)
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for c := range 4 {
		callers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				ended := settle(h.Run(t.Context(), request("good", fmt.Sprintf("c%d-%d", c, i), "hello"), newSink()))
				if ended.Error != nil {
					t.Errorf("attempt %d of caller %d failed: %v", i, c, ended.Error)
					return
				}
			}
		})
	}
	for i := 1; i <= 6; i++ {
		want := fmt.Sprintf("%d.0.0", i)
		if i%2 == 0 {
			writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION="+want)
		} else {
			aside := filepath.Join(f.plugins, "..", "aside")
			if err := os.MkdirAll(aside, 0o700); err != nil {
				t.Fatal(err)
			}
			writePlugin(t, aside, good, "HEIMDALL_TEST_VERSION="+want)
			if err := os.Rename(filepath.Join(aside, good), filepath.Join(f.plugins, good)); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "build "+want+" serves", func() bool { return version(t, h) == want })
	}
	close(stop)
	callers.Wait()
}

// Whoever looks for what runs jobs must not be led to a build that cannot.
func TestABuildThatRunsNothingDoesNotServe(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	if err := os.WriteFile(filepath.Join(f.plugins, "heimdall-plugin-mute"), []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h := f.start(t)
	for _, p := range h.Plugins() {
		if want := p.Name == "good"; p.Serves != want {
			t.Errorf("%s, which is %s: Serves = %t, want %t", p.Name, p.State, p.Serves, want)
		}
	}
}

// A build that does not work never displaces one that does, also over a restart
// of the host.
func TestABadBuildDisplacesNothing(t *testing.T) {
	bad := map[string]string{
		"garbage":         "#!/bin/sh\necho good morning\n",
		"exits":           "#!/bin/sh\nexit 3\n",
		"half a script":   "#!/bin/sh\nexport HEIMDALL_TEST_RO",
		"crashes at once": "", // a plugin that shakes hands and dies
	}
	for name, content := range bad {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=1.0.0")
			first := f
			check := func(h *pluginhost.Host) {
				eventually(t, "the fault is told", func() bool {
					for _, p := range h.Plugins() {
						if p.Error != "" && strings.HasSuffix(p.Path, good) {
							return true
						}
					}
					return false
				})
				if got := version(t, h); got != "1.0.0" {
					t.Errorf("version = %s, want 1.0.0", got)
				}
			}
			h, stop := first.startStoppable(t)
			version(t, h)
			if content == "" {
				writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=2.0.0", "HEIMDALL_TEST_DIES=20ms")
			} else if err := os.WriteFile(filepath.Join(f.plugins, good), []byte(content), 0o755); err != nil {
				t.Fatal(err)
			}
			check(h)
			stop()
			check(f.start(t))
		})
	}
}

// What is refused before anything of it is run displaces nothing either, over a
// second restart as little as over the first.
func TestARefusedFileDisplacesNothing(t *testing.T) {
	refuse := map[string]func(t *testing.T, f fixture, file string){
		"not executable": func(t *testing.T, _ fixture, file string) {
			if err := os.Chmod(file, 0o644); err != nil {
				t.Fatal(err)
			}
		},
		"a broken link": func(t *testing.T, _ fixture, file string) {
			if err := errors.Join(os.Remove(file), os.Symlink("/no/such", file)); err != nil {
				t.Fatal(err)
			}
		},
		"never checked": func(t *testing.T, f fixture, _ string) {
			writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=2.0.0")
		},
	}
	for name, refuse := range refuse {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			file := filepath.Join(f.plugins, good)
			writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=1.0.0")
			check(t, file, checkreport.Passed)
			config := func(c *pluginhost.Config) { c.RequireCheck = true }
			_, stop := f.startStoppable(t, config)
			remembered(t, f)
			refuse(t, f, file)
			for range 2 {
				stop()
				var h *pluginhost.Host
				h, stop = f.startStoppable(t, config)
				if got := version(t, h); got != "1.0.0" {
					t.Errorf("version = %s, want 1.0.0", got)
				}
				if list := h.Plugins(); len(list) != 2 || list[0].Error+list[1].Error == "" {
					t.Errorf("Plugins = %+v, want the build that serves, and what is wrong with the file", list)
				}
			}
		})
	}
}

// The last good build may take its time to start: until it has failed, one that
// only seems to work does not displace it.
func TestASlowStartIsNoReasonToBeDisplaced(t *testing.T) {
	f := newFixture(t)
	gate := filepath.Join(f.data, "gate")
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=1.0.0\nuntil test -e "+gate+"; do sleep 0.01; done")
	if err := os.Mkdir(f.data, 0o700); err != nil {
		t.Fatal(err)
	}
	touch(t, gate)
	_, stop := f.startStoppable(t)
	remembered(t, f)
	stop()
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=2.0.0", "HEIMDALL_TEST_DIES=60ms")
	h := f.start(t, func(c *pluginhost.Config) { c.StartWait = 10 * time.Millisecond })
	eventually(t, "the new build has seemed to work, and has crashed", func() bool {
		for _, p := range h.Plugins() {
			if p.Version == "2.0.0" && p.Serves {
				t.Fatal("a build that crashes has displaced one that starts")
			}
			if p.Version == "2.0.0" && p.RestartCount >= 2 {
				return true
			}
		}
		return false
	})
	touch(t, gate)
	eventually(t, "the last good build serves", func() bool { return h.Available("good", "1.0.0") == nil })
}

// The store holds what serves and nothing more, however long the host runs, and
// not what one that was killed was copying.
func TestTheStoreDoesNotGrow(t *testing.T) {
	f := newFixture(t)
	store := filepath.Join(f.data, "plugins")
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	touch(t, filepath.Join(store, ".draft-1"))
	file := filepath.Join(f.plugins, good)
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=0.0.0")
	check(t, file, checkreport.Passed)
	h := f.start(t, func(c *pluginhost.Config) { c.RequireCheck = true })
	holds := func(builds int) bool {
		entries, err := os.ReadDir(store)
		return err == nil && len(entries) == builds+1 // and the list of those that work
	}
	eventually(t, "the store holds one build and no draft", func() bool { return holds(1) })
	for i := range 3 {
		want := fmt.Sprintf("%d.0.0", i+1)
		writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION="+want)
		check(t, file, checkreport.Passed)
		eventually(t, want+" serves", func() bool { return version(t, h) == want })
	}
	eventually(t, "the store holds the build that serves", func() bool { return holds(1) })
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=9.0.0") // is not checked
	eventually(t, "the new build is refused", func() bool { return len(h.Plugins()) == 2 })
	eventually(t, "the store does not hold what was refused", func() bool { return holds(1) })
	if got := version(t, h); got != "3.0.0" {
		t.Errorf("version = %s, want 3.0.0", got)
	}
}

// remembered waits until it is written down that the plugin works.
func remembered(t *testing.T, f fixture) {
	t.Helper()
	eventually(t, "it is written down that it works", func() bool {
		content, _ := os.ReadFile(filepath.Join(f.data, "plugins", "good.json"))
		return len(content) > sha256.Size*2
	})
}

// A disk that is full for a while is no fault of the file that came meanwhile.
func TestABuildThatCannotBeCopiedIsTriedAgain(t *testing.T) {
	f := newFixture(t)
	h := f.start(t)
	store := filepath.Join(f.data, "plugins")
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	touch(t, store) // nothing can be written below it
	writePlugin(t, f.plugins, good)
	refused(t, h, "cannot be copied into data_dir and is tried again")
	if err := os.Remove(store); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the plugin is available", func() bool { return h.Available("good", "") == nil })
}

// A file that is being written is left alone until it is whole.
func TestHalfCopiedFilesWait(t *testing.T) {
	f := newFixture(t)
	f.look = 500 * time.Millisecond // many times what is between two writes
	h := f.start(t)
	whole := filepath.Join(f.data, "..", good)
	writePlugin(t, filepath.Dir(whole), good, "HEIMDALL_TEST_VERSION=1.0.0")
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(filepath.Join(f.plugins, good), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for i := range content { // over several looks at the folder
		if _, err := file.Write(content[i : i+1]); err != nil {
			t.Fatal(err)
		}
		if i%8 == 0 {
			<-time.After(60 * time.Millisecond)
		}
	}
	eventually(t, "the plugin is available", func() bool { return h.Available("good", "") == nil })
	for _, p := range h.Plugins() {
		if p.Error != "" {
			t.Errorf("a half of the file was taken for a plugin: %s", p.Error)
		}
	}
}

func TestChecksums(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t, func(c *pluginhost.Config) { c.RequireChecksums = true })
	refused := func(want string) {
		t.Helper()
		eventually(t, "it says "+want, func() bool {
			err := h.Available("good", "")
			return err != nil && strings.Contains(err.Error(), want)
		})
	}
	sums := filepath.Join(f.plugins, "SHA256SUMS")
	write := func(content string) {
		if err := os.WriteFile(sums, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused("no SHA256SUMS")
	write("")
	refused("is not in SHA256SUMS")
	write(strings.Repeat("0", 64) + "  " + good + "\n")
	refused("SHA256SUMS says 0000")
	content, err := os.ReadFile(filepath.Join(f.plugins, good))
	if err != nil {
		t.Fatal(err)
	}
	write(fmt.Sprintf("%x *%s\n", sha256.Sum256(content), good))
	eventually(t, "the plugin is available", func() bool { return h.Available("good", "") == nil })
}

// The last good build serves after a restart too, though the list is about another
// by then, unless no list has ever named it.
func TestLastGoodBuildWasListed(t *testing.T) {
	for name, listed := range map[string]bool{"listed": true, "never listed": false} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			list := func() {
				content, err := os.ReadFile(filepath.Join(f.plugins, good))
				if err != nil {
					t.Fatal(err)
				}
				writeFile(t, filepath.Join(f.plugins, "SHA256SUMS"), fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(content), good))
			}
			writePlugin(t, f.plugins, good)
			list()
			_, stop := f.startStoppable(t, func(c *pluginhost.Config) { c.RequireChecksums = listed })
			remembered(t, f)
			stop()
			writePlugin(t, f.plugins, good, "HEIMDALL_TEST_DIES=1ms", "HEIMDALL_TEST_VERSION=1.0.1")
			list()
			h := f.start(t, func(c *pluginhost.Config) { c.RequireChecksums = true })
			if !listed {
				refused(t, h, "exit status 9") // there is no other than the one that crashes
				return
			}
			eventually(t, "the last good build serves", func() bool { return h.Available("good", "1.0.0") == nil })
		})
	}
}

// While the folder hangs, jobs run, leases are renewed and people are answered.
func TestAHungPluginFolderHoldsNothingUp(t *testing.T) {
	f := newFixture(t)
	list := func() []byte {
		content, err := os.ReadFile(filepath.Join(f.plugins, good))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(content), good)
	}
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=1.0.0")
	sums := filepath.Join(f.plugins, "SHA256SUMS")
	writeFile(t, sums, list())
	h := f.start(t, func(c *pluginhost.Config) { c.RequireChecksums = true })

	if err := errors.Join(os.Remove(sums), syscall.Mkfifo(sums, 0o600)); err != nil {
		t.Fatal(err)
	}
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=2.0.0")
	var hung *os.File
	eventually(t, "the host waits for the list", func() (ok bool) {
		var err error
		hung, err = os.OpenFile(sums, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil // somebody reads
	})
	defer hung.Close()
	if err := os.Remove(sums); err != nil {
		t.Fatal(err)
	}
	writeFile(t, sums, list())

	answered := make(chan int, 1)
	go func() {
		h.Renew(7, time.Minute)
		answered <- len(h.Plugins())
	}()
	select {
	case n := <-answered:
		if n != 1 {
			t.Errorf("got %d builds, want the one that serves", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("Renew and Plugins wait for the plugin folder")
	}
	if got := version(t, h); got != "1.0.0" {
		t.Errorf("version = %s, want 1.0.0", got)
	}
	if _, err := hung.Write(list()); err != nil {
		t.Fatal(err)
	}
	hung.Close()
	eventually(t, "the new build serves", func() bool { return version(t, h) == "2.0.0" })
}

func TestQuarantine(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_DIES=1ms")
	f.change = func(h *pluginhost.Host) { h.Quarantine(3) }
	h := f.start(t)
	eventually(t, "the plugin is quarantined", func() bool {
		p := h.Plugins()
		return len(p) == 1 && p[0].State == pluginhost.Quarantined && p[0].Error != "" && p[0].RestartCount >= 2
	})
	// A file that is written again is given another chance.
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=1.0.1")
	eventually(t, "the plugin is available", func() bool { return h.Available("good", "") == nil })
}
