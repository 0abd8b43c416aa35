package metrics_test

import (
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/metrics"
)

// What a sync job costs here: a request, the job's stations, and two writes in
// batches of their own.
func BenchmarkJob(b *testing.B) {
	m := metrics.New(metrics.Config{Plugin: func(string) string { return "ping" }, Sources: (&host{}).sources()})
	c := job.Claimed{Job: &job.Job{Pair: job.Pair{CommandID: "ping-1", ClusterID: "local"}}}
	o := job.Outcome{Status: job.Succeeded, StartedAt: time.Now(), EndedAt: time.Now()}
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			answered := m.HTTP.Request("POST", "/api/v1/job")
			m.Store.Combined("submit", 1)
			m.Store.Wrote("submit", time.Millisecond, false)
			m.Jobs.Submitted(c.Job)
			m.Jobs.Waited(c.Job, time.Millisecond)
			m.Store.Combined("end", 1)
			m.Store.Wrote("end", time.Millisecond, false)
			m.Jobs.Ended(c, o, false)
			answered(200)
		}
	})
}
