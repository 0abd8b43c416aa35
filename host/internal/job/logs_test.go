package job_test

import (
	"math"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

func TestCutMark(t *testing.T) {
	for _, n := range []int64{0, 1, 123456789, math.MaxInt64} {
		if got := int64(len(job.CutMark(n))); got != job.CutMarkBytes {
			t.Errorf("the mark of %d has %d bytes, want %d as all", n, got, job.CutMarkBytes)
		}
	}
}

func TestEndsOfKeys(t *testing.T) {
	for key, want := range map[string][2]bool{
		"":                                {false, false},
		"jobs/1/1/stdout":                 {false, false},
		"jobs/1/1/stdout" + job.CutEnd:    {true, false},
		"jobs/1/1/stdout" + job.OnEnd:     {false, true},
		"jobs/1/1/stdout.cut" + job.OnEnd: {true, true},
		"jobs/1/1/stdout.cutter":          {false, false},
	} {
		l := job.Logs{Stdout: key, Stderr: "jobs/1/1/stderr"}
		if got := [2]bool{l.Cut(job.Stdout), l.GoesOn(job.Stdout)}; got != want {
			t.Errorf("%q: cut, goes on = %v, want %v", key, got, want)
		}
		if l.Cut(job.Stderr) || l.GoesOn(job.Stderr) {
			t.Errorf("%q says something of stderr", key)
		}
	}
}
