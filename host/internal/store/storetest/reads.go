package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// testReads: however many read at once, each gets the job that it asked for, as it
// was after it asked, and one of its own.
func testReads(t *testing.T, db Store) {
	h := register(t, db, "a")
	const jobs = 20
	var ids []job.ID
	for i := range jobs {
		j := newJob(i)
		j.Name = fmt.Sprint("job ", i)
		lease := h.lease(t, j)
		if i%2 == 0 {
			end(t, db, ended(lease, job.Succeeded))
		}
		ids = append(ids, j.ID)
	}
	var readers sync.WaitGroup
	for n := range 10 * jobs {
		readers.Go(func() {
			i := n % jobs
			got, err := db.Job(t.Context(), ids[i])
			if err != nil {
				t.Errorf("job %d: %v", i, err)
				return
			}
			if want := fmt.Sprint("job ", i); got.ID != ids[i] || got.Name != want || got.Status.Final() != (i%2 == 0) {
				t.Errorf("job %d: got %s %q %s", i, got.ID, got.Name, got.Status)
			}
			got.Name = "changed by its reader"
			attempts, err := db.Attempts(t.Context(), ids[i])
			if err != nil || len(attempts) != (i+1)%2 {
				t.Errorf("attempts of job %d: got %v and error %v, want %d", i, attempts, err, (i+1)%2)
			}
			if _, err := db.Job(t.Context(), job.NewID()); !errs.Is(err, errs.NotFound) {
				t.Errorf("a job that is not there: got error %v, want not found", err)
			}
		})
	}
	readers.Wait()
}
