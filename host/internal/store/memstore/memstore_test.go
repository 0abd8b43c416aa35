package memstore_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
	"github.com/heimdall-run/heimdall/host/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) storetest.Store { return memstore.New() })
}
