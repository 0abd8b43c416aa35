package objectstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/objectstore"
)

func open(t *testing.T) (*objectstore.File, string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "objects")
	s, err := objectstore.OpenFile(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, folder
}

func read(t *testing.T, s *objectstore.File, key string) string {
	t.Helper()
	r, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestPutGetReplaceDelete(t *testing.T) {
	s, _ := open(t)
	for _, content := range []string{"first", "the second one", ""} {
		size, err := s.Put(t.Context(), "jobs/a/1/stdout", strings.NewReader(content))
		if err != nil || size != int64(len(content)) {
			t.Fatalf("Put = %d, %v, want %d", size, err, len(content))
		}
		if got := read(t, s, "jobs/a/1/stdout"); got != content {
			t.Errorf("content = %q, want %q", got, content)
		}
	}
	for range 2 {
		if err := s.Delete(t.Context(), "jobs/a/1/stdout"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(t.Context(), "jobs/a/1/stdout"); !errs.Is(err, errs.NotFound) {
		t.Errorf("Get after Delete = %v, want not found", err)
	}
}

// What could not be read to its end leaves nothing behind, and what was there
// before stays.
func TestPutIsWholeOrNothing(t *testing.T) {
	s, folder := open(t)
	if _, err := s.Put(t.Context(), "k/o", strings.NewReader("old")); err != nil {
		t.Fatal(err)
	}
	broken := io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(errors.New("the line broke")))
	if _, err := s.Put(t.Context(), "k/o", broken); err == nil || !strings.Contains(err.Error(), "the line broke") {
		t.Fatalf("Put = %v, want the reader's error", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(canceled, "k/o", strings.NewReader("new")); !errors.Is(err, context.Canceled) {
		t.Fatalf("Put = %v, want canceled", err)
	}
	if got := read(t, s, "k/o"); got != "old" {
		t.Errorf("content = %q, want the old one", got)
	}
	if got := files(t, folder); !slices.Equal(got, []string{"k/o"}) {
		t.Errorf("files left = %v, want only the object", got)
	}
}

// files lists all files below a folder.
func files(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// What a process that was killed had begun to write goes when the store is
// opened again.
func TestDraftsDoNotOutliveTheirStore(t *testing.T) {
	s, folder := open(t)
	if _, err := s.Put(t.Context(), "k/o", strings.NewReader("whole")); err != nil {
		t.Fatal(err)
	}
	begun, end := make(chan struct{}), make(chan struct{})
	writer := sync.WaitGroup{}
	writer.Go(func() { _, _ = s.Put(context.Background(), "k/p", &pausing{begun: begun, end: end}) })
	<-begun
	if got := files(t, folder); len(got) != 2 {
		t.Fatalf("files = %v, want the object and a draft", got)
	}
	next, err := objectstore.OpenFile(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.Close() })
	if got := files(t, folder); !slices.Equal(got, []string{"k/o"}) {
		t.Errorf("files = %v, want only the object", got)
	}
	close(end)
	writer.Wait()
	if got := read(t, next, "k/o"); got != "whole" {
		t.Errorf("content = %q, want whole", got)
	}
}

// pausing is a reader that says when it is read and then waits.
type pausing struct{ begun, end chan struct{} }

func (p *pausing) Read([]byte) (int, error) {
	close(p.begun)
	<-p.end
	return 0, io.ErrUnexpectedEOF
}

func TestKeysStayInside(t *testing.T) {
	s, folder := open(t)
	outside := filepath.Join(filepath.Dir(folder), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", ".", "..", "../secret", "/etc/passwd", "a/../../secret", "a//b", "link"} {
		if r, err := s.Get(t.Context(), key); err == nil {
			r.Close()
			t.Errorf("Get(%q) opened something outside", key)
		}
	}
	for _, key := range []string{"", "..", "../x", "/x", ".drafts", ".drafts/x"} {
		if _, err := s.Put(t.Context(), key, strings.NewReader("")); err == nil {
			t.Errorf("Put(%q) wrote something", key)
		}
	}
}
