package pluginhost_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Whatever events a plugin sends, its attempt ends, with a sentence that says
// what was wrong, and the process serves on.
func TestWildEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	pid := h.Plugins()[0].PID
	tests := map[string]struct {
		class   job.Class // "": it ends well
		message string
		result  string
		lines   []string // nil: not looked at
	}{
		"numbers repeat":              {class: job.Internal, message: "plugin good broke the protocol: event 2 came after event 2"},
		"numbers decrease":            {class: job.Internal, message: "broke the protocol: event 4 came after event 5"},
		"numbers are missing":         {class: job.Internal, message: "broke the protocol: event 0 came after event 0"},
		"other numbers after a break": {class: job.Lost, message: "no longer reports on the job: it ended the stream of events before the job"},
		"two ends":                    {result: "first", lines: []string{"started"}},
		"two ends one by one":         {result: "first"},
		"events after the end":        {lines: []string{"started"}},
		"several starts":              {lines: []string{"started"}},
		"an end without a start":      {lines: []string{}},
		"an event of no kind":         {lines: []string{"started"}},
		"results again and again":     {result: "last"},
		"no end":                      {class: job.Lost, message: "no longer reports on the job: it ended the stream of events before the job"},
		"an end that says nothing":    {class: job.Internal, message: "the plugin did not say why the job failed"},
		"an error of a megabyte":      {class: job.WorkFailed, message: "éééééé"},
		"a message of 8 megabytes":    {class: job.Internal, message: "broke the protocol: its events are too large"},
		"a first one of 8 MB":         {class: job.Internal, message: "broke the protocol: its events are too large"},
		"an inline result too long":   {class: job.Internal, message: "it is inline and has 66560 bytes; more than 65536 belong into a file"},
		"an error after events":       {class: job.Lost, message: "no longer reports on the job: on second thoughts, no"},
		"forgotten mid-job":           {class: job.Lost, message: "no longer reports on the job: who is that"},
		"everything again":            {result: "all", lines: []string{"started", "output link page http://x/", "usage rows 1"}},
	}
	var group sync.WaitGroup // not t.Parallel: they are to be over before what follows
	for do, want := range tests {
		group.Go(func() {
			s := newSink()
			r := request("good", do, do)
			r.Limits.InlineResultBytes = 64 << 10
			ended := settle(h.Run(t.Context(), r, s))
			got := pluginhost.Result{}
			if ended.Result != nil {
				got = *ended.Result
			}
			switch e := ended.Error; {
			case want.class == "" && (e != nil || string(got.Inline) != want.result):
				t.Errorf("%s: got %q and error %v, want %q", do, got.Inline, e, want.result)
			case want.class != "" && (e == nil || e.Class != want.class || e.RetrySafe || !strings.Contains(e.Message, want.message)):
				t.Errorf("%s: Error = %.300v, want class %s and %q", do, fmt.Sprintf("%+v", e), want.class, want.message)
			case e != nil && (len(e.Message) > 10<<10 || !utf8.ValidString(e.Message)):
				t.Errorf("%s: the message has %d bytes, want it cut at a rune", do, len(e.Message))
			}
			if want.lines != nil && !slices.Equal(s.lines, want.lines) {
				t.Errorf("%s: the sink got %q, want %q", do, s.lines, want.lines)
			}
		})
	}
	group.Wait()
	ended, _ := run(t, h, "good", "after", "hello")
	inline(t, ended)
	if got := h.Plugins()[0].PID; got != pid {
		t.Errorf("PID = %d, want %d: the process serves on", got, pid)
	}
}

// Plugins that report without end fill no memory, and jobs of others go on.
func TestAFloodOfEventsIsBounded(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	writePlugin(t, f.plugins, "heimdall-plugin-calm")
	h := f.start(t)
	memory := watchMemory(t)
	flooded := make(chan *sink, 1)
	go func() {
		s := newSink()
		ended := settle(h.Run(t.Context(), request("good", "flood", "flood"), s))
		if ended.Error != nil || string(ended.Result.Inline) != "flooded" {
			t.Errorf("the flood ended with %+v", ended.Error)
		}
		flooded <- s
	}()
	var s *sink
	longest := time.Duration(0)
	for i := 0; s == nil; i++ {
		begun := time.Now()
		ended, _ := run(t, h, "calm", fmt.Sprint("calm", i), "hello")
		inline(t, ended)
		longest = max(longest, time.Since(begun))
		select {
		case s = <-flooded:
		default:
		}
	}
	if longest > 5*time.Second {
		t.Errorf("a job of another plugin took %v during the flood", longest)
	}
	count := map[string]int{}
	for _, line := range s.lines {
		kind, _, _ := strings.Cut(line, " ")
		count[kind]++
	}
	if count["output"] != 512 || count["usage"] != 512 || count["started"] != 0 {
		t.Errorf("the sink got %v, want 512 of outputs and of usage", count)
	}
	memory(48 << 20)
}

// watchMemory watches how much memory this process uses. The function that it
// returns reports when that was too much; what the test itself keeps counts too.
func watchMemory(t *testing.T) func(most uint64) {
	t.Helper()
	used := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	runtime.GC()
	before, peak := used(), uint64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				peak = max(peak, used())
			case <-stop:
				return
			}
		}
	}()
	end := sync.OnceFunc(func() { close(stop); <-stopped })
	t.Cleanup(end)
	return func(most uint64) {
		t.Helper()
		end()
		if peak > before+most {
			t.Errorf("the host's memory grew from %d to %d MiB, want at most %d more", before>>20, peak>>20, most>>20)
		}
	}
}

// A plugin that never says another word keeps its attempt only until somebody
// stops it.
func TestAnAttemptWithoutAnEndCanBeStopped(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s := newSink()
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Run(ctx, request("good", "a1", "quiet"), s)) }()
	<-s.begun
	cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "by ann", Grace: 10 * time.Millisecond})
	e := (<-done).Error
	if e == nil || e.Class != job.WasCanceled || !strings.Contains(e.Message, "did not stop the job, so its process was killed") {
		t.Errorf("Error = %+v, want that the process was killed", e)
	}
	ended, _ := run(t, h, "good", "a2", "hello")
	inline(t, ended)
}
