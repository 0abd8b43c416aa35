package runner_test

import (
	"context"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/runner"
)

// How far an attempt is is known while it runs, and no longer.
func TestProgress(t *testing.T) {
	f := newFixture(t)
	var r *runner.Runner
	r = f.runner(plugin(func(_ context.Context, _ pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended {
		if p := r.Progress(f.job.ID); p != nil {
			t.Errorf("progress = %+v before any, want none", p)
		}
		sink.Progress(1, 4, "first")
		sink.Progress(2, 4, "second")
		if p := r.Progress(f.job.ID); p == nil || *p != (job.Progress{Done: 2, Total: 4, Message: "second"}) {
			t.Errorf("progress = %+v, want the last", p)
		}
		return &pluginhost.Ended{}
	}))
	_, done := r.Run(t.Context(), f.claimed(), func(time.Time) {})
	done()
	if p := r.Progress(f.job.ID); p != nil {
		t.Errorf("progress = %+v behind the end, want none", p)
	}
}
