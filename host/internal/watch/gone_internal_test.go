package watch

import (
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func TestLongGone(t *testing.T) {
	now := time.Now()
	ended := func(ago time.Duration) catalog.Entry {
		return catalog.Entry{Kind: catalog.ClusterKind, Owner: catalog.ByLease, Gone: true, LeaseUntil: now.Add(-ago)}
	}
	long := ended(store.Removed + time.Minute)
	here, deleted, declared := long, long, long
	here.Gone, deleted.Override, declared.Owner = false, catalog.Deleted, catalog.ByAPI
	for name, c := range map[string]struct {
		entry catalog.Entry
		want  bool
	}{
		"gone for long":             {long, true},
		"gone not so long ago":      {ended(store.Removed - time.Minute), false},
		"not gone":                  {here, false},
		"deleted by somebody":       {deleted, false},
		"declared by somebody else": {declared, false},
	} {
		if got := longGone(&c.entry, now); got != c.want {
			t.Errorf("%s: long gone = %t, want %t", name, got, c.want)
		}
	}
}
