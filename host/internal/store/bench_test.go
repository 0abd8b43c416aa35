package store_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// BenchmarkSubmitEnd measures the two commits of a sync job: recorded and leased,
// then ended with a small result.
func BenchmarkSubmitEnd(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/callers-%d", kind, callers), func(b *testing.B) {
				c := store.Config{URL: "sqlite", Dir: b.TempDir()}
				if kind == "postgres" {
					c = store.Config{URL: pgtest.URL(b)}
				}
				db := open(b, c)
				epoch, err := db.RegisterHost(b.Context(), store.Host{ID: "host", Name: "host"}, time.Hour)
				if err != nil {
					b.Fatal(err)
				}
				b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
				b.ReportAllocs()
				b.ResetTimer()
				cycle := func() {
					if err := submitEnd(b, db, epoch); err != nil {
						b.Error(err)
					}
				}
				if callers == 1 {
					for b.Loop() {
						cycle()
					}
				} else {
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							cycle()
						}
					})
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			})
		}
	}
}

func submitEnd(b *testing.B, db *store.DB, epoch int64) error {
	j := &job.Job{
		ID:   job.NewID(),
		User: "test_user",
		Request: job.Request{
			Name:            "ping-test",
			Version:         "0.0.1",
			Context:         json.RawMessage(`{}`),
			CommandCriteria: tag.Set{"type:ping"},
			ClusterCriteria: []tag.Set{{"type:localhost"}},
		},
		Pair:       job.Pair{CommandID: "ping-0.0.1", CommandName: "ping-0.0.1", ClusterID: "localhost-0.0.1", ClusterName: "localhost-0.0.1"},
		Sync:       true,
		Resolution: json.RawMessage(`{"revision":"0123456789abcdef","seed":42,"choice":0,"counts":{"chosen":1}}`),
		CreatedAt:  time.Now(),
	}
	l, err := db.Submit(b.Context(), store.Submission{Job: j, Host: "host", Epoch: epoch, Claim: true})
	if err != nil || l == nil {
		return fmt.Errorf("submit: lease %v, error %v", l, err)
	}
	table := `{"columns":[{"name":"message","type":"string"}],"data":[["Hello, test_user!"]]}`
	return db.End(b.Context(), job.End{Lease: *l, Outcome: job.Outcome{
		Status:    job.Succeeded,
		Result:    &job.Result{ContentType: job.TableType, Rows: 1, Bytes: int64(len(table)), Inline: []byte(table)},
		Build:     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		StartedAt: j.CreatedAt,
		EndedAt:   time.Now(),
	}})
}

// BenchmarkCheckpoint measures the commit that a plugin waits for when it saves.
func BenchmarkCheckpoint(b *testing.B) {
	for kind, c := range databases(b) {
		b.Run(kind, func(b *testing.B) {
			db := open(b, c)
			epoch, err := db.RegisterHost(b.Context(), store.Host{ID: "host", Name: "host"}, time.Hour)
			if err != nil {
				b.Fatal(err)
			}
			l, err := db.Submit(b.Context(), store.Submission{Job: &job.Job{ID: job.NewID(), CreatedAt: time.Now()}, Host: "host", Epoch: epoch, Claim: true})
			if err != nil || l == nil {
				b.Fatalf("submit: lease %v, error %v", l, err)
			}
			saved := &job.Checkpoint{Format: 1}
			for n := 0; b.Loop(); n++ { // SQLite writes nothing when nothing changes
				saved.Data = fmt.Appendf(nil, `{"page":%d}`, n)
				if err := db.Checkpoint(b.Context(), *l, saved); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
