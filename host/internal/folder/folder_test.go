package folder_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/folder"
)

func TestOpenFollowsNoLink(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"mine/1/logs", "other/1"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "mine/1/logs/stdout"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"other/link": "../mine/1", "other/1/logs": "../../mine/1/logs", "jobs": "mine"} {
		if err := os.Symlink(target, filepath.Join(base, name)); err != nil {
			t.Fatal(err)
		}
	}

	root, err := folder.Open(filepath.Join(base, "mine/1"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if got, err := root.ReadFile("logs/stdout"); string(got) != "mine" {
		t.Errorf("got %q, %v, want what is there", got, err)
	}

	for path, want := range map[string]error{
		"other/link": folder.ErrLink, "other/1/logs": folder.ErrLink, "jobs/1/logs": folder.ErrLink,
		"other/2": fs.ErrNotExist,
	} {
		if root, err := folder.Open(filepath.Join(base, path)); !errors.Is(err, want) {
			t.Errorf("Open(%s) = %v, %v, want %v", path, root, err, want)
		}
	}
	if _, err := folder.Open(filepath.Join(base, "mine/1/logs/stdout")); err == nil {
		t.Error("opened a file as a folder")
	}
	// Inside, a link that leads out is refused when it is read.
	other, err := folder.Open(filepath.Join(base, "other/1"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if got, err := other.ReadFile("logs/stdout"); err == nil {
		t.Errorf("read %q through a link, want an error", got)
	}
}
