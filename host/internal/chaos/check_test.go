package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// told makes histories: times are seconds after one begin.
type told struct {
	*recorder
	lines strings.Builder
}

func at(seconds float64) time.Time {
	return time.Unix(1_800_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

func (h *told) ack(seconds float64, id string, attempts int) {
	j := h.job(id)
	j.acked, j.attempts, j.command = at(seconds), attempts, "work"
}

func (h *told) line(seconds float64, what, id string, attempt, pid int, outcome string) {
	fmt.Fprintf(&h.lines, "%s %s %d %d %d %s\n", what, id, attempt, pid, at(seconds).UnixMicro(), outcome)
}

// ran is an execution from its start to its end.
func (h *told) ran(from, to float64, id string, attempt, pid int, outcome string) {
	h.line(from, "start", id, attempt, pid, "")
	h.line(to, "end", id, attempt, pid, outcome)
}

// says is a look that was asked for a tenth of a second before it was told.
func (h *told) says(seconds float64, id string, status client.Status, attempt int, class, message string) {
	j := h.job(id)
	j.looks = append(j.looks, look{
		asked: at(seconds - 0.1), told: at(seconds), host: "h1", status: status, attempt: attempt, class: class, message: message,
	})
}

func (h *told) cancel(seconds float64, id string, status client.Status) {
	j := h.job(id)
	j.cancels = append(j.cancels, answer{at(seconds), "h1", status})
}

func (h *told) dies(seconds float64, pid int, heard float64) {
	h.killed[pid] = append(h.killed[pid], death{at(seconds), at(heard)})
}

// A job that went well: submitted, run in a second, and seen on the way.
func (h *told) well(id string) {
	h.ack(0, id, 1)
	h.says(0.5, id, client.StatusNew, 0, "", "")
	h.ran(1, 2, id, 1, 100, "ok")
	h.says(1.5, id, client.StatusRunning, 1, "", "")
	h.says(3, id, client.StatusSucceeded, 1, "", "")
	h.says(4, id, client.StatusSucceeded, 1, "", "")
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		tell func(h *told)
		want []string // the rules that are violated
	}{
		"all went well":         {func(h *told) { h.well("a"); h.well("b") }, nil},
		"it was not told to us": {func(h *told) { h.ran(1, 2, "a", 1, 100, "ok") }, nil},
		"acknowledged and never run": {func(h *told) {
			h.ack(0, "a", 1)
			h.says(60, "a", client.StatusNew, 0, "", "")
		}, []string{lost}},
		"acknowledged and not known": {func(h *told) {
			h.ack(0, "a", 1)
			h.says(60, "a", unknown, 0, "", "")
		}, []string{lost}},
		"still runs": {func(h *told) {
			h.ack(0, "a", 1)
			h.line(1, "start", "a", 1, 100, "")
			h.says(60, "a", client.StatusRunning, 1, "", "")
		}, []string{lost}},
		"started twice": {func(h *told) {
			h.ack(0, "a", 1)
			h.line(1, "start", "a", 1, 100, "")
			h.dies(2, 100, 0)
			h.ran(3, 4, "a", 2, 101, "ok")
			h.says(5, "a", client.StatusSucceeded, 2, "", "")
		}, []string{double}},
		"started twice, and never acknowledged": {func(h *told) {
			h.ran(1, 2, "a", 1, 100, "ok")
			h.ran(3, 4, "a", 2, 100, "ok")
		}, []string{double}},
		"retried as allowed": {func(h *told) {
			h.ack(0, "a", 2)
			h.ran(1, 2, "a", 1, 100, "error")
			h.ran(3, 4, "a", 2, 101, "ok")
			h.says(5, "a", client.StatusSucceeded, 2, "", "")
		}, nil},
		"one attempt started twice": {func(h *told) {
			h.ack(0, "a", 2)
			h.ran(1, 2, "a", 1, 100, "ok")
			h.ran(3, 4, "a", 1, 101, "ok")
			h.says(5, "a", client.StatusSucceeded, 1, "", "")
		}, []string{double}},
		"resumed": {func(h *told) {
			h.ack(0, "a", 1)
			h.line(1, "start", "a", 1, 100, "")
			h.dies(2, 100, 0)
			h.line(3, "resume", "a", 2, 101, "")
			h.line(4, "end", "a", 2, 101, "ok")
			h.says(5, "a", client.StatusSucceeded, 2, "", "")
		}, nil},
		"two at once by the lock": {func(h *told) {
			h.ack(0, "a", 2)
			h.line(1, "start", "a", 1, 100, "")
			h.line(2, "busy", "a", 2, 101, "")
			h.ran(2, 4, "a", 2, 101, "ok")
			h.says(5, "a", client.StatusSucceeded, 2, "", "")
		}, []string{overlap}},
		"two at once by their times": {func(h *told) {
			h.ack(0, "a", 2)
			h.line(1, "start", "a", 1, 100, "")
			h.line(2, "start", "a", 2, 101, "")
			h.line(3, "end", "a", 1, 100, "error")
			h.line(4, "end", "a", 2, 101, "ok")
			h.says(5, "a", client.StatusSucceeded, 2, "", "")
		}, []string{overlap}},
		"the first was seen alive when the second began": {func(h *told) {
			h.ack(0, "a", 2)
			h.line(1, "start", "a", 1, 100, "")
			h.alive[100] = []span{{at(1), at(2.5)}}
			h.ran(2, 4, "a", 2, 101, "ok")
			h.says(5, "a", client.StatusSucceeded, 2, "", "")
		}, []string{overlap}},
		"the first was killed when the second began": {func(h *told) {
			h.ack(0, "a", 2)
			h.line(1, "start", "a", 1, 100, "")
			h.alive[100] = []span{{at(1), at(1.9)}}
			h.dies(1.9, 100, 0)
			h.ran(2, 4, "a", 2, 101, "ok")
			h.says(5, "a", client.StatusSucceeded, 2, "", "")
		}, nil},
		"the number of the first is used again": {func(h *told) {
			h.ack(0, "a", 2)
			h.line(1, "start", "a", 1, 100, "")
			h.alive[100] = []span{{at(1), at(1.9)}, {at(900), at(910)}}
			h.dies(1.9, 100, 0)
			h.dies(905, 100, 0)
			h.ran(2, 4, "a", 2, 101, "ok")
			h.says(5, "a", client.StatusSucceeded, 2, "", "")
		}, nil},
		"a cancel that canceled": {func(h *told) {
			h.ack(0, "a", 1)
			h.ran(1, 3, "a", 1, 100, "error")
			h.cancel(2, "a", client.StatusCanceling)
			h.says(4, "a", client.StatusCanceled, 1, "canceled", "canceled by somebody")
		}, nil},
		"a cancel that came too late": {func(h *told) {
			h.well("a")
			h.cancel(1.9, "a", client.StatusCanceling)
		}, nil},
		"a cancel whose job is lost": {func(h *told) {
			h.ack(0, "a", 1)
			h.line(1, "start", "a", 1, 100, "")
			h.cancel(2, "a", client.StatusCanceling)
			h.dies(3, 100, 0)
			h.says(4, "a", client.StatusFailed, 1, "lost", "its plugin crashed")
		}, nil},
		"a cancel that was forgotten": {func(h *told) {
			h.ack(0, "a", 1)
			h.ran(1, 60, "a", 1, 100, "error")
			h.cancel(2, "a", client.StatusCanceling)
			h.says(61, "a", client.StatusKilled, 1, "timeout", "it took longer than 1m")
		}, []string{cancelLost}},
		"a cancel that ended without a word": {func(h *told) {
			h.ack(0, "a", 1)
			h.cancel(2, "a", client.StatusCanceling)
			h.says(4, "a", client.StatusFailed, 0, "", "")
		}, []string{cancelLost}},
		"a canceled job that ran": {func(h *told) {
			h.well("a")
			h.cancel(0.5, "a", client.StatusCanceled)
		}, []string{changed}},
		"an end that changed": {func(h *told) {
			h.well("a")
			h.says(9, "a", client.StatusFailed, 1, "lost", "its host was lost")
		}, []string{changed}},
		"an end that was taken back": {func(h *told) {
			h.well("a")
			h.says(9, "a", client.StatusRunning, 2, "", "")
		}, []string{changed}},
		"a slow answer from before the end": {func(h *told) {
			h.well("a")
			h.says(3.05, "a", client.StatusRunning, 1, "", "")
		}, nil},
		"an end that nobody kept": {func(h *told) {
			h.ack(0, "a", 1)
			h.ran(1, 2, "a", 1, 100, "ok")
			h.says(5, "a", client.StatusFailed, 1, "lost", "nobody knows it")
		}, []string{forgotten}},
		"an end long before its plugin died": {func(h *told) {
			h.ack(0, "a", 1)
			h.ran(1, 2, "a", 1, 100, "ok")
			h.dies(4.5, 100, 1)
			h.says(5, "a", client.StatusFailed, 1, "lost", "its plugin crashed")
		}, []string{forgotten}},
		"an end just before its plugin died": {func(h *told) {
			h.ack(0, "a", 1)
			h.ran(1, 2, "a", 1, 100, "ok")
			h.dies(2.01, 100, 1)
			h.says(5, "a", client.StatusFailed, 1, "lost", "its plugin crashed")
		}, nil},
		"an end that no host could hear of": {func(h *told) {
			h.ack(0, "a", 1)
			h.ran(1, 2, "a", 1, 100, "ok")
			h.alive[100] = []span{{at(1), at(9)}}
			h.dies(9, 100, 8.9)
			h.says(10, "a", client.StatusFailed, 1, "lost", "its plugin crashed")
		}, nil},
		"a success that never was": {func(h *told) {
			h.ack(0, "a", 1)
			h.line(1, "start", "a", 1, 100, "")
			h.says(5, "a", client.StatusSucceeded, 1, "", "")
		}, []string{contradicted}},
		"a failure that was none": {func(h *told) {
			h.ack(0, "a", 1)
			h.ran(1, 2, "a", 1, 100, "ok")
			h.says(5, "a", client.StatusFailed, 1, "failed", "it said no")
		}, []string{contradicted}},
		"a failure that is not retried": {func(h *told) {
			h.ack(0, "a", 2)
			h.ran(1, 2, "a", 1, 100, "error")
			h.says(5, "a", client.StatusFailed, 1, "failed", "it said no")
		}, []string{gaveUp}},
		"a failure for the last time": {func(h *told) {
			h.ack(0, "a", 2)
			h.ran(1, 2, "a", 1, 100, "error")
			h.ran(3, 4, "a", 2, 100, "error")
			h.says(5, "a", client.StatusFailed, 2, "failed", "it said no")
		}, nil},
		"a start behind the end": {func(h *told) {
			h.ack(0, "a", 1)
			h.says(1, "a", client.StatusCanceled, 0, "canceled", "canceled by somebody")
			h.line(2, "start", "a", 1, 100, "")
		}, []string{wentOn}},
		"the end of another attempt": {func(h *told) {
			h.ack(0, "a", 2)
			h.ran(1, 2, "a", 1, 100, "error")
			h.line(3, "start", "a", 2, 101, "")
			h.says(4, "a", client.StatusSucceeded, 1, "", "")
			h.line(5, "end", "a", 2, 101, "ok")
		}, []string{contradicted, wentOn}},
		"more at once than allowed": {func(h *told) {
			h.caps["work"] = 1
			h.well("a")
			h.well("b")
		}, []string{overCap}},
		"an end of an attempt before the last one": {func(h *told) {
			h.ack(0, "a", 2)
			h.ran(1, 2, "a", 1, 100, "ok")
			h.ran(3, 4, "a", 2, 101, "error")
			h.says(5, "a", client.StatusSucceeded, 1, "", "")
		}, []string{wentOn}},
		"as many at once as allowed": {func(h *told) {
			h.caps["work"] = 1
			h.well("a")
			h.ack(0, "b", 1)
			h.ran(2, 2.5, "b", 1, 100, "ok")
			h.says(3, "b", client.StatusSucceeded, 1, "", "")
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &told{recorder: newRecorder()}
			tt.tell(h)
			if err := h.addLedger(h.lines.String()); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range check(&h.history) {
				got = append(got, v.rule)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("violations = %v, want %v; job a:\n%s", got, tt.want, h.story("a"))
			}
		})
	}
}

func TestLedgerThatMakesNoSense(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"half a line":    "start a 1 100 17",
		"too few fields": "start a 1 100\n",
		"no number":      "start a one 100 1800000000000000\n",
		"no process":     "start a 1 p 1800000000000000\n",
		"no time":        "start a 1 100 now\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := newRecorder().addLedger(line); err == nil {
				t.Errorf("addLedger(%q) = nil, want an error", line)
			}
		})
	}
}
