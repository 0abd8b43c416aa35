package objectstoretest

import (
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

func testCopy(t *testing.T, s Store) {
	ctx := t.Context()
	want, size := digest(t, Content(3, 9*mib))
	put(t, s, "from/large", Content(3, 9*mib))
	put(t, s, "from/small", strings.NewReader("small"))
	put(t, s, "to/small", strings.NewReader("what was there"))
	before := time.Now().Add(-2 * time.Second) // services tell whole seconds
	for from, to := range map[string]string{"from/large": "to/folder/large", "from/small": "to/small"} {
		for range 2 { // a copy onto itself changes nothing
			if err := s.Copy(ctx, from, to); err != nil {
				t.Fatal(err)
			}
		}
		if info, err := s.Stat(ctx, to); err != nil || info.Modified.Before(before) {
			t.Errorf("Stat(%s) = %+v, %v, want one of now", to, info, err)
		}
	}
	if got, n := digest(t, get(t, s, "to/folder/large")); got != want || n != size {
		t.Errorf("the copy has %d bytes with digest %s, want %d with %s", n, got, size, want)
	}

	// Neither lives by the other.
	put(t, s, "from/small", strings.NewReader("other"))
	if err := s.Delete(ctx, "from/large"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "to/small"); got != "small" {
		t.Errorf("the copy is %q after the original was replaced, want what it was", got)
	}
	if got, _ := digest(t, get(t, s, "to/folder/large")); got != want {
		t.Errorf("the copy has digest %s after the original was deleted, want %s", got, want)
	}
	if err := s.Copy(ctx, "from/large", "to/other"); !errs.Is(err, errs.NotFound) {
		t.Errorf("Copy of nothing = %v, want that it is not there", err)
	}
	for _, bad := range []string{"", "../up", "/from/small"} {
		if s.Copy(ctx, bad, "to/other") == nil || s.Copy(ctx, "from/small", bad) == nil {
			t.Errorf("Copy from or to %q went well, want an error", bad)
		}
	}
	if got := keys(t, s, "to"); len(got) != 2 {
		t.Errorf("there are %q, want the two copies and no draft", got)
	}
}
