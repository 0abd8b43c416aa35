package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// What a running attempt says is kept while it has its lease, of the host that has it.
func TestReports(t *testing.T) {
	t.Parallel()
	for kind, c := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			db := open(t, c)
			epoch, err := db.RegisterHost(t.Context(), store.Host{ID: "a", Name: "a"}, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			leases := make([]job.Lease, 2)
			for i := range leases {
				j := &job.Job{ID: job.NewID(), CreatedAt: time.Now()}
				l, err := db.Submit(t.Context(), store.Submission{Job: j, Host: "a", Epoch: epoch, Claim: true})
				if err != nil || l == nil {
					t.Fatalf("submit: got lease %v and error %v", l, err)
				}
				leases[i] = *l
			}
			save := func(epoch int64, reports map[job.Lease]job.Report) {
				t.Helper()
				if err := db.SaveReports(t.Context(), "a", epoch, reports); err != nil {
					t.Error(err)
				}
			}
			want := func(what string, id job.ID, want job.Report) {
				t.Helper()
				got, err := db.Report(t.Context(), id)
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			first := job.Report{Progress: &job.Progress{Done: 1, Total: 4, Message: "höher"}}
			second := job.Report{Outputs: []job.Output{{Key: "a", Value: "b", Kind: "text"}}}
			want("before any", leases[0].JobID, job.Report{})
			gone := job.Lease{JobID: job.NewID(), Attempt: 1}
			save(epoch, map[job.Lease]job.Report{leases[0]: first, leases[1]: second, gone: first})
			want("the first", leases[0].JobID, first)
			want("the second", leases[1].JobID, second)
			want("one that does not run", gone.JobID, job.Report{})

			other := leases[0]
			other.Attempt++
			save(epoch, map[job.Lease]job.Report{other: second})
			want("another attempt", leases[0].JobID, first)
			save(epoch-1, map[job.Lease]job.Report{leases[0]: second})
			want("an earlier life of the host", leases[0].JobID, first)
			save(epoch, map[job.Lease]job.Report{leases[0]: second})
			want("changed", leases[0].JobID, second)
			save(epoch, nil)

			if err := db.End(t.Context(), job.End{Lease: leases[0], Outcome: job.Outcome{Status: job.Succeeded}}); err != nil {
				t.Fatal(err)
			}
			want("ended", leases[0].JobID, job.Report{})
		})
	}
}
