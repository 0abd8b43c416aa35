package queue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Caps hold from the first submission on, also before the host has looked for what
// holds jobs back.
func TestCapsHoldFromTheFirstSubmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 3)
		if err := f.store.SetCaps(t.Context(), store.Caps{Commands: map[string]int{"command": 1}}); err != nil {
			t.Fatal(err)
		}
		f.serve()
		ids := []job.ID{submit(t, f, "10s"), submit(t, f, "10s"), submit(t, f, "10s")}
		time.Sleep(time.Minute)
		wantSucceeded(t, f, ids...)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if got := f.runner.most; got != 1 {
			t.Errorf("%d jobs ran at once, want 1", got)
		}
	})
}
