package pluginhost_test

import (
	"context"
	"encoding/json"
	"errors"
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

// saving returns an attempt that saves a checkpoint and goes on as told.
func saving(id, data, then string) pluginhost.Request {
	r := request("good", id, "")
	r.Input, _ = json.Marshal(map[string]string{"do": "save", "data": data, "then": then})
	return r
}

func TestHostAnnouncesCheckpoints(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_RESUME=2")
	h := f.start(t)
	r := request("good", "a1", "load")
	r.Resume, r.Checkpoint = true, &pluginhost.Checkpoint{Format: 2, Data: []byte("query-1")}
	if got, want := inline(t, settle(h.Run(t.Context(), r, newSink()))), "START_MODE_RESUME 2 query-1 of a host with checkpoints"; got != want {
		t.Errorf("the plugin was told %q, want %q", got, want)
	}
	r.AttemptID, r.Resume = "a2", false
	if got, want := inline(t, settle(h.Run(t.Context(), r, newSink()))), "START_MODE_FRESH 2 query-1 of a host with checkpoints"; got != want {
		t.Errorf("the plugin was told %q, want %q", got, want)
	}
}

// A store that is slow or away holds back only those who wait for it.
func TestCheckpointsHoldBackNobodyElse(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	back := make(chan struct{})
	slow := newSink()
	var reached sync.Once
	asked := make(chan struct{})
	slow.keep = func(ctx context.Context, _ []byte) error {
		reached.Do(func() { close(asked) })
		select {
		case <-back:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Run(t.Context(), saving("a1", "q", "version"), slow)) }()
	<-asked
	for i := range 10 {
		ended, _ := run(t, h, "good", fmt.Sprint("b", i), "checkpoint")
		inline(t, ended)
	}
	select {
	case ended := <-done:
		t.Errorf("ended as %+v before its checkpoint was durable", ended)
	default:
	}
	close(back)
	inline(t, <-done)

	// A cancel ends the wait, and the attempt in good order.
	slow = newSink()
	asked = make(chan struct{})
	slow.keep = func(ctx context.Context, _ []byte) error {
		close(asked)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { done <- settle(h.Run(ctx, saving("a2", "q", "version"), slow)) }()
	<-asked
	cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "canceled by bob", Grace: 10 * time.Second})
	if ended := <-done; ended.Error == nil || ended.Error.Class != job.WasCanceled || ended.Remains {
		t.Errorf("Ended = %+v (%v), want it canceled by its plugin", ended, ended.Error)
	}
}

// A checkpoint that is not kept ends its attempt with the reason, whatever its
// plugin makes of that.
func TestCheckpointsThatAreRefused(t *testing.T) {
	large := strings.Repeat("x", job.MaxCheckpoint+1)
	tests := map[string]struct {
		data, then string
		answer     error
		class      job.Class
		message    string
	}{
		"too large":                        {large, "version", nil, job.Internal, "a checkpoint of 65537 bytes; this host keeps 65536 at most"},
		"too large, and the plugin is off": {large, "hello", nil, job.Internal, "a checkpoint of 65537 bytes; this host keeps 65536 at most"},
		"for ever":                         {"q", "version", errors.New("it cannot be written"), job.Internal, "cannot be kept: it cannot be written"},
		"without a lease": {
			"q", "version", &pluginhost.Stop{Reason: pluginhost.StopLeaseLost, Message: "not this host's"},
			job.WasCanceled, "not this host's",
		}, // as this plugin has it; its end will change nothing
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			writePlugin(t, f.plugins, "heimdall-plugin-good")
			h := f.start(t)
			s := newSink()
			s.keep = func(context.Context, []byte) error { return tt.answer }
			r := saving("a1", tt.data, tt.then)
			r.Grace = 10 * time.Second
			ended := settle(h.Run(t.Context(), r, s))
			if e := ended.Error; e == nil || e.Class != tt.class || !strings.Contains(e.Message, tt.message) || ended.Result != nil || ended.Resumable {
				t.Errorf("Ended = %+v (%v), want class %s and %q", ended, ended.Error, tt.class, tt.message)
			}
			if got := strings.Join(s.lines, " "); tt.data == large && strings.Contains(got, "checkpoint") {
				t.Error("a checkpoint that is too large was passed on")
			}
		})
	}
}

// What an end leaves to others: to resume, to clean up, or nothing.
func TestWhatAnEndLeaves(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_RESUME=2")
	h := f.start(t)
	for _, tt := range []struct {
		name               string
		request            pluginhost.Request
		resumable, remains bool
	}{
		{"success", request("good", "a1", "hello"), false, false},
		{"failure", request("good", "a2", "fail"), false, false},
		{"refusal", request("good", "a3", "refuse"), false, false},
		{"no such plugin", request("none", "a4", "hello"), false, false},
		{"crash", request("good", "a5", "kill"), true, true},
		{"crash after a checkpoint", saving("a6", "q", "kill"), true, true},
		{"lost by its own words", saving("a7", "q", "lost"), false, true},
		{"abandoned", saving("a8", "q", "abandoned"), true, true},
		{"resume on no such plugin", resuming("none", "a9", 2), false, true},
		{"resume from an unknown format", resuming("good", "a10", 3), false, true},
		{"resume", resuming("good", "a11", 2), false, false},
		{"abandoned in other words", saving("a12", "q", "abandoned as canceled"), true, true},
		{"failure to begin", request("good", "a13", "unopened"), false, false},
		{"resume that cannot begin", resumingTo("a14", "unopened"), false, true},
		{"resume that is refused", resumingTo("a15", "refuse"), false, true},
		{"resume that fails", resumingTo("a16", "fail"), false, false},
	} {
		ended := settle(h.Run(t.Context(), tt.request, newSink()))
		if ended.Resumable != tt.resumable || ended.Remains != tt.remains {
			t.Errorf("%s: resumable %t, remains %t (%v), want %t, %t", tt.name, ended.Resumable, ended.Remains, ended.Error, tt.resumable, tt.remains)
		}
		if tt.request.Resume && tt.remains && ended.Error.Class != job.Lost {
			t.Errorf("%s: %v, want class lost", tt.name, ended.Error)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "canceled by bob"})
	if ended := settle(h.Run(ctx, request("good", "b1", "hello"), newSink())); ended.Remains {
		t.Error("an attempt that was stopped before it began has left something")
	}
	if ended := settle(h.Run(ctx, resuming("good", "b2", 2), newSink())); !ended.Remains {
		t.Error("one that was to resume leaves what the one before it has begun")
	}
}

func resumingTo(id, do string) pluginhost.Request {
	r := resuming("good", id, 2)
	r.Input = request("good", id, do).Input
	return r
}

func resuming(plugin, id string, format int32) pluginhost.Request {
	r := request(plugin, id, "load")
	r.Resume, r.Checkpoint = true, &pluginhost.Checkpoint{Format: format, Data: []byte("q")}
	return r
}

// An attempt that has to be killed with its process may have left something, and
// is not resumed: somebody wanted it to end.
func TestKilledAttemptsLeaveSomething(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_RESUME=2")
	h := f.start(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	s := newSink()
	done := make(chan *pluginhost.Ended)
	go func() { done <- settle(h.Run(ctx, saving("a1", "q", "deaf"), s)) }()
	eventually(t, "the attempt is deaf", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Contains(s.lines, "output text then on")
	})
	cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "canceled by bob"})
	if ended := <-done; ended.Resumable || !ended.Remains {
		t.Errorf("resumable %t, remains %t (%v), want only that something remains", ended.Resumable, ended.Remains, ended.Error)
	}
}

func TestCanResume(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_RESUME=2", "HEIMDALL_TEST_VERSION=1.2.3")
	writePlugin(t, f.plugins, "heimdall-plugin-plain")
	h := f.start(t)
	for _, tt := range []struct {
		plugin string
		format int32
		want   string
	}{
		{"good", 2, ""},
		{"good", 1, "version 1.2.3 of plugin good does not know checkpoints of format 1"},
		{"plain", 2, "version 1.0.0 of plugin plain cannot go on with the work of an earlier attempt"},
		{"none", 2, "no plugin none is installed on this host"},
	} {
		err := h.CanResume(t.Context(), tt.plugin, "", tt.format)
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("CanResume(%s, %d) = %v, want %q", tt.plugin, tt.format, err, tt.want)
		}
	}
	syscall.Kill(h.Plugins()[0].PID, syscall.SIGKILL)
	if err := h.CanResume(t.Context(), "good", "", 2); err != nil {
		t.Errorf("CanResume = %v right after a crash, want it to wait for the plugin", err)
	}
}

func TestCleanup(t *testing.T) {
	f := newFixture(t)
	file := filepath.Join(t.TempDir(), "cleanups")
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_CLEANUPS="+file)
	writePlugin(t, f.plugins, "heimdall-plugin-plain")
	writePlugin(t, f.plugins, "heimdall-plugin-bad", "HEIMDALL_TEST_CLEANUPS=fails")
	h := f.start(t)
	remains := func(plugin, id string) pluginhost.Remains {
		r := request(plugin, id, "hello")
		r.Checkpoint = &pluginhost.Checkpoint{Format: 1, Data: []byte("table-t")}
		return pluginhost.Remains{Request: r, Reason: "it crashed"}
	}
	if err := h.Cleanup(t.Context(), remains("good", "a1")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "a1 table-t {} it crashed\n" {
		t.Errorf("the plugin was told %q (%v)", got, err)
	}
	if err := h.Cleanup(t.Context(), remains("plain", "a1")); err != nil {
		t.Errorf("Cleanup by a plugin without it = %v, want nothing to do", err)
	}
	if err := h.Cleanup(t.Context(), remains("bad", "a1")); err == nil || !strings.Contains(err.Error(), "cannot clean up") {
		t.Errorf("Cleanup = %v, want the plugin's words", err)
	}
	if err := h.Cleanup(t.Context(), remains("none", "a1")); err == nil {
		t.Error("Cleanup by no plugin = nil, want an error: it is to be tried again")
	}
}

// What a plugin refused does not run anywhere, and need not be remembered.
func TestRefusedAttemptsAreForgotten(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	ended, _ := run(t, h, "good", "a1", "refuse")
	if ended.Error == nil {
		t.Fatal("the attempt was not refused")
	}
	if got := h.GivenUp(); got != 0 {
		t.Errorf("%d attempts are remembered as given up, want none", got)
	}
}

// Nothing is cleaned up while the process that ran the attempt may still live.
func TestCleanupWaitsForTheProcess(t *testing.T) {
	f := newFixture(t)
	file := filepath.Join(t.TempDir(), "cleanups")
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_CLEANUPS="+file)
	pid, gate := killedHost(t, f)

	h := f.start(t)
	left := pluginhost.Remains{Request: request("good", "a1", "hello")}
	if err := h.Cleanup(t.Context(), left); err == nil || !strings.Contains(err.Error(), "has not ended yet") {
		t.Errorf("Cleanup = %v while the attempt is known to run, want it refused", err)
	}
	h.Disown()
	if err := h.Cleanup(t.Context(), left); err == nil || !strings.Contains(err.Error(), "has not ended yet") {
		t.Errorf("Cleanup = %v while the attempt is being ended, want it refused", err)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil { // it ends by its own words
		t.Fatal(err)
	}
	eventually(t, "it is cleaned up", func() bool { return h.Cleanup(t.Context(), left) == nil })
	if !alive(pid) {
		t.Error("the process was ended for that")
	}
}
