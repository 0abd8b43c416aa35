package objectstore_test

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/objectstore"
	"github.com/heimdall-run/heimdall/host/internal/objectstore/objectstoretest"
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

func TestFile(t *testing.T) {
	t.Parallel()
	objectstoretest.Test(t, func(t *testing.T) objectstoretest.Store {
		s, folder := open(t)
		t.Cleanup(func() {
			for _, name := range files(t, folder) {
				if strings.HasPrefix(name, ".drafts") {
					t.Errorf("%s is left, want no drafts", name)
				}
			}
		})
		return s
	})
}

func TestFoldersOfFile(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	objectstoretest.TestFolders(t, s)
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
