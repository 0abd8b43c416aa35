package store_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/heimdall-run/heimdall/host/internal/pgtest"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, store.Config{URL: "sqlite", Dir: t.TempDir()}) })
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, store.Config{URL: pgtest.URL(t)}) })
}

func TestCatalogOnSQLite(t *testing.T) {
	t.Parallel()
	storetest.RunCatalog(t, func(t *testing.T) storetest.Catalog { return open(t, store.Config{URL: "sqlite", Dir: t.TempDir()}) })
}

func TestCatalogOnPostgres(t *testing.T) {
	t.Parallel()
	storetest.RunCatalog(t, func(t *testing.T) storetest.Catalog { return open(t, store.Config{URL: pgtest.URL(t)}) })
}

// open opens a store that the test's cleanup closes.
func open(t testing.TB, c store.Config) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
