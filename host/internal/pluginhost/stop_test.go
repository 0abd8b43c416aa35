package pluginhost_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

func TestCrashIsExplained(t *testing.T) {
	for do, want := range map[string]string{
		"exit":         "plugin good crashed: exit status 4",
		"log and exit": "plugin good crashed: exit status 4: no more room",
		"panic":        "plugin good crashed: exit status 2: panic: boom",
		"kill":         "plugin good was killed by SIGKILL that the host did not send",
	} {
		t.Run(do, func(t *testing.T) {
			f := newFixture(t)
			writePlugin(t, f.plugins, "heimdall-plugin-good")
			h := f.start(t)
			before := h.Plugins()[0].PID
			ended, lines := run(t, h, "good", "a1", do)
			if e := ended.Error; e == nil || e.Class != job.Lost || e.RetrySafe || !strings.HasPrefix(e.Message, want) {
				t.Errorf("Error = %+v (after %q), want class lost and %q", e, lines, want)
			}
			eventually(t, "the plugin is available again", func() bool {
				return h.Available("good", "") == nil && h.Plugins()[0].PID != before
			})
			ended, _ = run(t, h, "good", "a2", "hello")
			inline(t, ended)
			status := h.Plugins()[0]
			if status.RestartCount != 1 || len(status.Restarts) != 1 || !strings.HasPrefix(status.Restarts[0].Reason, want) {
				t.Errorf("restarts = %d %+v, want one because %q", status.RestartCount, status.Restarts, want)
			}
		})
	}
}

func TestCrashIsNoticedAtOnce(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	s := newSink()
	done := make(chan *pluginhost.Ended)
	go func() { done <- settle(h.Run(t.Context(), request("good", "a1", "wait"), s)) }()
	<-s.begun
	killed := time.Now()
	syscall.Kill(h.Plugins()[0].PID, syscall.SIGKILL)
	if e := (<-done).Error; e == nil || e.Class != job.Lost {
		t.Errorf("Error = %+v, want class lost", e)
	}
	if took := time.Since(killed); took > 2*time.Second {
		t.Errorf("the crash was noticed after %s", took)
	}
}

// frozen reports whether every thread of a process is stopped (proc(5)).
func frozen(t *testing.T, pid int) bool {
	t.Helper()
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(stats) == 0 {
		t.Fatalf("the threads of process %d: got %v and error %v", pid, stats, err)
	}
	for _, stat := range stats {
		content, err := os.ReadFile(stat)
		if err != nil {
			return false
		}
		// The state is behind the name, which is in parentheses.
		if _, state, _ := strings.Cut(string(content), ") "); !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}

func TestCancel(t *testing.T) {
	variants := map[string]struct {
		do      string
		stop    *pluginhost.Stop
		class   job.Class
		message string
	}{
		"an orderly stop": {"wait", &pluginhost.Stop{Reason: pluginhost.StopUser, Message: "canceled by bob", Grace: 10 * time.Second}, job.WasCanceled, "canceled by bob"},
		"a stop by force": {"stubborn", &pluginhost.Stop{Reason: pluginhost.StopUser, Message: "now", Grace: 50 * time.Millisecond}, job.WasCanceled, "now"},
		"without grace":   {"stubborn", &pluginhost.Stop{Reason: pluginhost.StopTimeout, Message: "time is up"}, job.WasCanceled, "time is up"},
		"without a Stop":  {"wait", nil, job.WasCanceled, "the host stops"},
		"a deaf attempt":  {"deaf", &pluginhost.Stop{Reason: pluginhost.StopTimeout, Message: "time is up", Grace: 50 * time.Millisecond}, job.TimedOut, "did not stop the job, so its process was killed"},
		"a frozen plugin": {"wait", &pluginhost.Stop{Reason: pluginhost.StopUser, Message: "canceled by bob", Grace: 50 * time.Millisecond}, job.WasCanceled, "its process was killed"},
		"a lost lease":    {"abandon", &pluginhost.Stop{Reason: pluginhost.StopLeaseLost, Grace: 5 * time.Second}, job.Lost, "CANCEL_MODE_ABANDON"},
	}
	for name, v := range variants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			writePlugin(t, f.plugins, "heimdall-plugin-good")
			h := f.start(t)
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			s := newSink()
			done := make(chan *pluginhost.Ended)
			go func() { done <- settle(h.Run(ctx, request("good", "a1", v.do), s)) }()
			<-s.begun
			switch name {
			case "a frozen plugin":
				pid := h.Plugins()[0].PID
				syscall.Kill(pid, syscall.SIGSTOP)
				// Its threads stop one after the other: one may still hear of the cancel.
				eventually(t, "every thread of the plugin is stopped", func() bool { return frozen(t, pid) })
			case "a lost lease":
				<-s.saved
			}
			if v.stop == nil {
				cancel(nil)
			} else {
				cancel(v.stop)
			}
			e := (<-done).Error
			if e == nil || e.Class != v.class || !strings.Contains(e.Message, v.message) {
				t.Errorf("Error = %+v, want class %s and %q", e, v.class, v.message)
			}
			eventually(t, "the plugin is available", func() bool { return h.Available("good", "") == nil })
		})
	}
}

// A job that another host goes on with does not cost others their process when it
// is slow to let go.
func TestAbandonedAttemptsDoNotEndTheirProcess(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	pid := h.Plugins()[0].PID
	ctx, cancel := context.WithCancelCause(t.Context())
	s := newSink()
	done := make(chan *pluginhost.Ended)
	go func() { done <- settle(h.Run(ctx, saving("a1", "q", "deaf"), s)) }()
	eventually(t, "it goes on from there, and hears nothing any more", func() bool {
		return slices.Contains(s.said(), "output text then on")
	})
	cancel(&pluginhost.Stop{Reason: pluginhost.StopLeaseLost, Message: "not this host's"})
	ended := <-done
	if e := ended.Error; e == nil || e.Class != job.Lost || !strings.Contains(e.Message, "was told to let go of the job") || ended.Resumable {
		t.Errorf("Ended = %+v (%v), want it given up", ended, e)
	}
	if next, _ := run(t, h, "good", "a2", "pid"); inline(t, next) != fmt.Sprint(pid) {
		t.Error("the process was ended")
	}
}

// A plugin that hangs is ended, so that its jobs do not hold the host's slots
// for ever, and the next process takes over.
func TestHangIsNoticed(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	done := make(chan *pluginhost.Ended)
	s := newSink()
	go func() { done <- settle(h.Run(t.Context(), request("good", "a1", "wait"), s)) }()
	<-s.begun
	pid := h.Plugins()[0].PID
	syscall.Kill(pid, syscall.SIGSTOP)
	stop := make(chan struct{})
	var renewing sync.WaitGroup
	renewing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				h.Renew(1, time.Minute) // takes its second while the plugin hangs
				<-time.After(10 * time.Millisecond)
			}
		}
	})
	e := <-done
	close(stop)
	renewing.Wait()
	if e.Error == nil || e.Error.Class != job.Lost || !strings.Contains(e.Error.Message, "did not answer") {
		t.Errorf("Error = %+v, want lost because the plugin did not answer", e.Error)
	}
	ended, _ := run(t, h, "good", "a2", "hello")
	inline(t, ended)
}

// The time of an attempt begins when it does, not while it waits for its turn.
func TestTimeout(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-one", "HEIMDALL_TEST_LIMIT=1")
	h := f.start(t)
	timed := func(id string) pluginhost.Request {
		r := request("one", id, "wait")
		r.Timeout, r.Grace = 300*time.Millisecond, time.Second
		return r
	}
	done := make(chan *pluginhost.Ended, 2)
	for _, id := range []string{"a1", "a2"} {
		go func() { done <- settle(h.Run(t.Context(), timed(id), newSink())) }()
	}
	begun := time.Now()
	for range 2 {
		e := <-done
		if e.Error == nil || e.Stop == nil || e.Stop.Reason != pluginhost.StopTimeout || e.Error.Message != "the job took longer than its timeout of 300ms" {
			t.Errorf("Ended = %+v, error %+v", e, e.Error)
		}
	}
	if took := time.Since(begun); took < 600*time.Millisecond {
		t.Errorf("both ended after %v, want one after the other", took)
	}
}

// The deadline of a job holds whatever its attempt waits for, and beside a timeout.
func TestDeadline(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	for _, timeout := range []time.Duration{0, time.Hour} {
		r := request("good", "a"+timeout.String(), "wait")
		r.Deadline, r.Timeout, r.Grace = time.Now().Add(300*time.Millisecond), timeout, time.Second
		e := settle(h.Run(t.Context(), r, newSink()))
		want := "the job had not ended at its deadline, " + r.Deadline.Format(time.RFC3339)
		if e.Error == nil || e.Stop == nil || e.Stop.Reason != pluginhost.StopTimeout || e.Error.Message != want {
			t.Errorf("Ended = %+v, error %+v, want %q", e, e.Error, want)
		}
	}
}

func TestCanceledBeforeTheStart(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "by bob"})
	ended := settle(h.Run(ctx, request("good", "a1", "hello"), newSink()))
	if e := ended.Error; e == nil || e.Class != job.WasCanceled || !e.RetrySafe || e.Message != "by bob" {
		t.Errorf("Error = %+v, want a cancel by bob", e)
	}
}

// A job that is to outlive its host and has not begun yet is not failed: the next
// life of the host begins it.
func TestDetachBeforeTheStart(t *testing.T) {
	for name, configure := range map[string]func(*pluginhost.Config){
		"while it waits for its turn": func(*pluginhost.Config) {},
		"with a process of its own":   perJob,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			writePlugin(t, f.plugins, good, "HEIMDALL_TEST_LIMIT=1")
			h := f.start(t, configure)
			if name == "while it waits for its turn" {
				first := newSink()
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan *pluginhost.Ended, 1)
				go func() { done <- settle(h.Run(ctx, request("good", "a1", "wait"), first)) }()
				defer func() { cancel(); <-done }()
				<-first.begun
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan *pluginhost.Ended, 1)
			go func() { done <- h.Run(ctx, request("good", "a2", "hello"), newSink()) }()
			cancel(&pluginhost.Stop{Reason: pluginhost.StopDetach})
			if ended := <-done; !ended.Left || ended.Error != nil {
				t.Errorf("Ended = %+v (%v), want it left", ended, ended.Error)
			}
		})
	}
}

// A host that stops waits a little for attempts, then ends them with their
// process.
func TestServeStopsWithARunningAttempt(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h, err := pluginhost.New(pluginhost.Config{Directory: f.plugins, DataDir: f.data, StartWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	h.Hurry()
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- h.Serve(ctx) }()
	s := newSink()
	done := make(chan *pluginhost.Ended)
	go func() { done <- settle(h.Run(context.Background(), request("good", "a1", "deaf"), s)) }()
	<-s.begun
	pid := h.Plugins()[0].PID
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	if e := (<-done).Error; e == nil || e.Class != job.Shutdown {
		t.Errorf("Error = %+v, want class shutdown", e)
	}
	if alive(pid) {
		t.Errorf("process %d still runs", pid)
	}
	if err := h.Available("good", ""); err == nil {
		t.Error("Available = nil after the end, want an error")
	}
}
