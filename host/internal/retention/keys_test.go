package retention_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/retention"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// keys is a store that has nothing but idempotency keys to forget.
type keys struct {
	retention.Store
	left      int64
	revisions []string // that were said to be in force
}

func (k *keys) ForgetKeys(context.Context) (int64, error) {
	n := min(k.left, store.KeyStep)
	k.left -= n
	return n, nil
}

func (k *keys) Aged(context.Context, job.Cursor, time.Time, int) ([]store.Aged, error) {
	return nil, nil
}

func (k *keys) ForgetRevisions(_ context.Context, inForce string) (int64, error) {
	k.revisions = append(k.revisions, inForce)
	return 0, nil
}

func (k *keys) ForgetClusters(context.Context) (int64, error) { return 0, nil }

// nothing is a place where no artifacts are.
type nothing struct{ retention.Artifacts }

func (nothing) Sweep(context.Context, time.Time) error { return nil }

func (k *keys) Remove(context.Context, []job.ID) (int, error) { return 0, nil }

func TestAllKeysAreForgottenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error)
		k := &keys{left: 10*store.KeyStep + 1}
		go func() {
			served <- retention.New(retention.Config{
				Store: k, Artifacts: nothing{}, Catalog: newKept(t), Keep: time.Hour, Host: "here", Log: hclog.NewNullLogger(),
			}).Serve(ctx)
		}()
		time.Sleep(time.Second)
		stop()
		if err := <-served; err != nil || k.left != 0 {
			t.Errorf("%d keys are left, error %v; want none", k.left, err)
		}
	})
}

// A revision that is in force is said to be so at once, and often enough.
func TestRevisionsInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error)
		k, catalog := &keys{}, newKept(t)
		go func() {
			served <- retention.New(retention.Config{
				Store: k, Revisions: k, Artifacts: nothing{}, Catalog: catalog, Host: "here", Log: hclog.NewNullLogger(),
			}).Serve(ctx)
		}()
		time.Sleep(2*time.Hour + time.Minute)
		stop()
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		if n := len(k.revisions); n < 3 || n > 5 || k.revisions[0] != catalog.snapshot.Revision {
			t.Errorf("said to be in force within two hours: %q, want %q, three to five times", k.revisions, catalog.snapshot.Revision)
		}
	})
}
