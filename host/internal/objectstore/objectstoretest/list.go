package objectstoretest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func testList(t *testing.T, s Store) {
	const n = 2500
	want := map[string]int64{}
	var writers sync.WaitGroup
	for i := range 10 {
		for j := i; j < n; j += 10 {
			want[fmt.Sprintf("jobs/%02d/%d", j/50, j)] = int64(j % 7)
		}
		writers.Go(func() {
			for j := i; j < n; j += 10 {
				if _, err := s.Put(t.Context(), fmt.Sprintf("jobs/%02d/%d", j/50, j), Content(0, int64(j%7))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	put(t, s, "jobs0/x", strings.NewReader(""))
	got := map[string]int64{}
	for info, err := range s.List(t.Context(), "jobs") {
		if err != nil {
			t.Fatal(err)
		}
		if bytes, ok := want[info.Key]; !ok || bytes != info.Bytes || time.Since(info.Modified).Abs() > 10*time.Minute {
			t.Errorf("List has %+v, want %d bytes, fresh", info, bytes)
		}
		got[info.Key]++
	}
	for key := range want {
		if got[key] != 1 {
			t.Errorf("List has %s %d times, want once", key, got[key])
		}
	}
	if len(got) != n {
		t.Errorf("List has %d objects, want %d", len(got), n)
	}
	for range s.List(t.Context(), "jobs") {
		break // who has seen enough
	}
	if got := keys(t, s, "jobs/07"); len(got) != 50 {
		t.Errorf("there are %d objects below one folder, want 50", len(got))
	}
	for _, folder := range []string{"none", "jobs/0", "jobs/07/350"} {
		if got := keys(t, s, folder); len(got) > 0 {
			t.Errorf("below %s there are %q, want nothing", folder, got)
		}
	}
	if err := s.DeleteBelow(t.Context(), "jobs"); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, s, ""); !slices.Equal(got, []string{"jobs0/x"}) {
		t.Errorf("keys = %d, want only the other folder's", len(got))
	}
}

func testDeleteBelow(t *testing.T, s Store) {
	for _, key := range []string{"jobs/1/1/stdout", "jobs/1/2/stdout", "jobs/1/2/result", "jobs/10/1/stdout", "jobs/2"} {
		put(t, s, key, strings.NewReader(key))
	}
	for _, folder := range []string{"jobs/1", "jobs/1", "jobs/none", "jobs/2"} {
		if err := s.DeleteBelow(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := keys(t, s, ""), []string{"jobs/10/1/stdout", "jobs/2"}; !slices.Equal(got, want) {
		t.Errorf("keys = %q, want %q", got, want)
	}
}

// TestFolders takes folders away where others write. It is for stores that have
// some: a bucket has none, and whether the server of the tests, which keeps its
// objects in a folder, gets that right is its own affair.
func TestFolders(t *testing.T, s Store) {
	done := make(chan struct{})
	var deleter sync.WaitGroup
	stop := sync.OnceFunc(func() { close(done); deleter.Wait() })
	defer stop()
	deleter.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := errors.Join(s.DeleteBelow(t.Context(), "jobs/1"), s.Delete(t.Context(), "jobs/2/3/stderr")); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 50 {
		put(t, s, "jobs/1/2/stdout", strings.NewReader("x"))
		put(t, s, "jobs/2/3/stderr", strings.NewReader("x"))
		put(t, s, fmt.Sprint("jobs/2/3/", i), strings.NewReader("x"))
	}
	stop()
	if got := len(keys(t, s, "jobs/2/3")); got < 50 {
		t.Errorf("there are %d objects, want the 50 that nobody deleted", got)
	}
}
