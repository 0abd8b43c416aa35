package job_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
	parent  = "00-" + traceID + "-" + spanID + "-01"
)

func TestParseTrace(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		want   job.Trace
	}{
		"sampled":              {parent, parent},
		"not sampled":          {"00-" + traceID + "-" + spanID + "-00", "00-" + traceID + "-" + spanID + "-00"},
		"later version":        {"01-" + traceID + "-" + spanID + "-01-more", parent},
		"later version, same":  {"cc-" + traceID + "-" + spanID + "-01", parent},
		"none":                 {"", ""},
		"impossible version":   {"ff" + parent[2:], ""},
		"more in this version": {parent + "-more", ""},
		"later without a dash": {"01" + parent[2:] + "more", ""},
		"upper case":           {strings.ToUpper(parent), ""},
		"not hex":              {"00-" + traceID[1:] + "g-" + spanID + "-01", ""},
		"no trace":             {"00-" + strings.Repeat("0", 32) + "-" + spanID + "-01", ""},
		"no span":              {"00-" + traceID + "-" + strings.Repeat("0", 16) + "-01", ""},
		"dashes elsewhere":     {"00-" + traceID + spanID[:1] + "-" + spanID[1:] + "-01", ""},
		"line break":           {parent[:54] + "\n", ""},
		"shorter":              {parent[:54], ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := job.ParseTrace(c.header); got != c.want {
				t.Errorf("ParseTrace(%q) = %q, want %q", c.header, got, c.want)
			}
		})
	}
}

func TestTrace(t *testing.T) {
	none, trace := job.Trace(""), job.Trace(parent)
	if got := trace.ID(); got != traceID {
		t.Errorf("ID = %q, want %q", got, traceID)
	}
	if got := trace.Span(); got != spanID {
		t.Errorf("Span = %q, want %q", got, spanID)
	}
	if not := job.Trace(parent[:54] + "2"); !trace.Sampled() || not.Sampled() || none.Sampled() {
		t.Errorf("Sampled = %t, %t, %t, want true for flags 01, and false for 02 and none", trace.Sampled(), not.Sampled(), none.Sampled())
	}
	if got := none.ID() + none.Span() + string(none.Within(spanID)); got != "" {
		t.Errorf("the id of none, and it within a span = %q, want none", got)
	}
	if got, want := trace.Within("0102030405060708"), job.Trace("00-"+traceID+"-0102030405060708-01"); got != want {
		t.Errorf("Within = %q, want %q", got, want)
	}
}

func TestFields(t *testing.T) {
	c := job.Claimed{Job: &job.Job{ID: "j", User: "ann", Pair: job.Pair{CommandID: "ping"}}, Lease: job.Lease{Attempt: 2}}
	want := []any{"job_id", job.ID("j"), "attempt", 2, "command", "ping", "user", "ann", "error", "e"}
	if diff := cmp.Diff(want, c.Fields("error", "e")); diff != "" {
		t.Errorf("fields differ (-want +got):\n%s", diff)
	}
	c.Job.Trace = parent
	want = append(want[:8:8], "trace_id", traceID)
	if diff := cmp.Diff(want, c.Fields()); diff != "" {
		t.Errorf("fields of a job with a trace differ (-want +got):\n%s", diff)
	}
}
