// Package objectstoretest says what every object store must do.
package objectstoretest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/objectstore"
)

// Store is an object store.
type Store interface {
	Put(ctx context.Context, key string, r io.Reader) (objectstore.Stored, error)
	Get(ctx context.Context, key string) (objectstore.Object, error)
	Stat(ctx context.Context, key string) (objectstore.Info, error)
	List(ctx context.Context, folder string) iter.Seq2[objectstore.Info, error]
	Copy(ctx context.Context, from, to string) error
	Delete(ctx context.Context, key string) error
	DeleteBelow(ctx context.Context, folder string) error
	Sweep(ctx context.Context, since time.Time) error
}

// Test runs the suite; each part has a store of its own, which is empty.
func Test(t *testing.T, open func(t *testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"sizes":               testSizes,
		"replace and delete":  testReplace,
		"keys":                testKeys,
		"bad keys":            testBadKeys,
		"whole or not at all": testWhole,
		"ranges":              testRanges,
		"many readers":        testReaders,
		"writers of one key":  testWriters,
		"readers meanwhile":   testReplaced,
		"copy":                testCopy,
		"list":                testList,
		"delete below":        testDeleteBelow,
		"sweep":               testSweep,
		"canceled":            testCanceled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

const mib = 1 << 20

// Content is bytes that differ everywhere, without holding them: the same for the
// same seed.
func Content(seed uint64, size int64) io.Reader {
	key := [32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}
	return io.LimitReader(rand.NewChaCha8(key), size)
}

func digest(t *testing.T, r io.Reader) (string, int64) {
	t.Helper()
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), n
}

func put(t *testing.T, s Store, key string, r io.Reader) objectstore.Stored {
	t.Helper()
	stored, err := s.Put(t.Context(), key, r)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func get(t *testing.T, s Store, key string) objectstore.Object {
	t.Helper()
	o, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

func read(t *testing.T, s Store, key string) string {
	t.Helper()
	content, err := io.ReadAll(get(t, s, key))
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return string(content)
}

// keys lists all objects below a folder.
func keys(t *testing.T, s Store, folder string) (found []string) {
	t.Helper()
	for info, err := range s.List(t.Context(), folder) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, info.Key)
	}
	slices.Sort(found)
	return found
}

func testSizes(t *testing.T, s Store) {
	for _, size := range []int64{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 8*mib - 1, 8 * mib, 8*mib + 1, 16 * mib, 40*mib + 5} {
		key := fmt.Sprintf("sizes/%d", size)
		want, _ := digest(t, Content(1, size))
		// Readers give what they please: pieces of odd sizes, and the end with the
		// last bytes.
		stored := put(t, s, key, iotest.DataErrReader(&pieces{from: Content(1, size)}))
		if stored != (objectstore.Stored{Bytes: size, SHA256: want}) {
			t.Errorf("%d bytes: Put = %+v, want digest %s", size, stored, want)
		}
		if got, n := digest(t, get(t, s, key)); got != want || n != size {
			t.Errorf("%d bytes: read %d bytes with digest %s, want %s", size, n, got, want)
		}
		info, err := s.Stat(t.Context(), key)
		if err != nil || info.Key != key || info.Bytes != size || time.Since(info.Modified).Abs() > time.Minute {
			t.Errorf("%d bytes: Stat = %+v, %v, want it, and that it is fresh", size, info, err)
		}
	}
}

// pieces reads a little at a time.
type pieces struct {
	from io.Reader
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	p.n = (p.n*7 + 4099) % 65537
	return p.from.Read(b[:min(len(b), p.n+1)])
}

func testReplace(t *testing.T, s Store) {
	for _, content := range []string{"first", "the second one", "", strings.Repeat("much ", 2*mib)} {
		put(t, s, "a/b/c", strings.NewReader(content))
		if got := read(t, s, "a/b/c"); got != content {
			t.Errorf("read %d bytes, want %d others", len(got), len(content))
		}
	}
	for range 2 { // that there is none is no error
		if err := s.Delete(t.Context(), "a/b/c"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(t.Context(), "a/b/c"); !errs.Is(err, errs.NotFound) {
		t.Errorf("Get = %v, want not found", err)
	}
	if _, err := s.Stat(t.Context(), "a/b/c"); !errs.Is(err, errs.NotFound) {
		t.Errorf("Stat = %v, want not found", err)
	}
	put(t, s, "a/b/d", strings.NewReader("x"))
	for _, folder := range []string{"a", "a/b"} { // is no object
		if _, err := s.Get(t.Context(), folder); !errs.Is(err, errs.NotFound) {
			t.Errorf("Get of a folder = %v, want not found", err)
		}
		if _, err := s.Stat(t.Context(), folder); !errs.Is(err, errs.NotFound) {
			t.Errorf("Stat of a folder = %v, want not found", err)
		}
	}
}

func testKeys(t *testing.T, s Store) {
	odd := []string{
		"plain", "a b/c  d", "a+b", "a%20b", "100%", "q?x=1&y=2", "frag#ment", "semi;colon,comma", "quote'\"`", "<tag>&amp;", "back\\slash",
		"star*[x]{y}~^|", "$dollar@at:colon=", "ünïcödé/日本語/🙂", "...", ".hidden/..x", "UPPER/upper", strings.Repeat("n", 200), "a/b/c/d/e/f/g/h/i/j", " leading", "-dash",
	}
	for i, key := range odd {
		put(t, s, key, strings.NewReader(fmt.Sprint(i)))
	}
	for i, key := range odd {
		if got := read(t, s, key); got != fmt.Sprint(i) {
			t.Errorf("%q: content = %q, want %d", key, got, i)
		}
	}
	want := slices.Sorted(slices.Values(odd))
	if got := keys(t, s, ""); !slices.Equal(got, want) {
		t.Errorf("keys = %q, want %q", got, want)
	}
	for _, key := range odd {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	if got := keys(t, s, ""); len(got) > 0 {
		t.Errorf("keys after all were deleted = %q, want none", got)
	}
}

func testBadKeys(t *testing.T, s Store) {
	for _, key := range []string{
		"", ".", "..", "/", "/a", "a/", "a//b", "a/../b", "../a", "./a", "a/.", "a\x00b", "a\nb", "\xff", ".drafts", ".drafts/x",
		strings.Repeat("n", 256), strings.Repeat("a/", 500) + "a",
	} {
		if _, err := s.Put(t.Context(), key, strings.NewReader("x")); err == nil {
			t.Errorf("Put(%q) = no error, want one", key)
		}
		if o, err := s.Get(t.Context(), key); err == nil {
			_ = o.Close()
			t.Errorf("Get(%q) = no error, want one", key)
		}
		if _, err := s.Stat(t.Context(), key); err == nil {
			t.Errorf("Stat(%q) = no error, want one", key)
		}
		if s.Delete(t.Context(), key) == nil || s.DeleteBelow(t.Context(), key) == nil {
			t.Errorf("Delete(%q) = no error, want one", key)
		}
	}
	if got := keys(t, s, ""); len(got) > 0 {
		t.Errorf("keys = %q, want none", got)
	}
}

func testWhole(t *testing.T, s Store) {
	put(t, s, "k/o", strings.NewReader("old"))
	for _, size := range []int64{0, 100, 100 << 10, 9 * mib, 20 * mib} {
		// The last looks like an end.
		for _, broken := range []error{errors.New("the line broke"), io.ErrUnexpectedEOF} {
			for _, key := range []string{"k/o", "k/new"} {
				_, err := s.Put(t.Context(), key, io.MultiReader(Content(1, size), iotest.ErrReader(broken)))
				if !errors.Is(err, broken) {
					t.Errorf("%d bytes: Put = %v, want %v", size, err, broken)
				}
			}
		}
	}
	if got := read(t, s, "k/o"); got != "old" {
		t.Errorf("content = %q, want the old one", got)
	}
	if got := keys(t, s, ""); !slices.Equal(got, []string{"k/o"}) {
		t.Errorf("keys = %q, want only the old one", got)
	}
}

func testSweep(t *testing.T, s Store) {
	put(t, s, "k/o", strings.NewReader("x"))
	for _, since := range []time.Time{time.Now().Add(-time.Hour), time.Now().Add(time.Hour)} {
		if err := s.Sweep(t.Context(), since); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, s, "k/o"); got != "x" {
		t.Errorf("content = %q, want what was stored", got)
	}
}

func testCanceled(t *testing.T, s Store) {
	gone := errors.New("nobody needs it")
	for _, size := range []int64{1, 20 * mib} {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := &stopping{from: Content(1, size), after: size / 2, stop: func() { cancel(gone) }}
		if _, err := s.Put(ctx, "k/o", stop); !errors.Is(err, gone) {
			t.Errorf("%d bytes: Put = %v, want %v", size, err, gone)
		}
	}
	if got := keys(t, s, ""); len(got) > 0 {
		t.Errorf("keys = %q, want none", got)
	}
}

// stopping calls stop when so much was read.
type stopping struct {
	from  io.Reader
	after int64
	stop  func()
}

func (s *stopping) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if s.after -= int64(n); s.after < 0 {
		s.stop()
	}
	return n, err
}
