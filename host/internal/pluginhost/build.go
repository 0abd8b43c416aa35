package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/heimdall-run/heimdall/sdk/pluginname"
	"golang.org/x/sys/unix"
)

// build is one digest of a plugin, kept where nobody changes it.
type build struct {
	name    string // of the plugin, as the file name says it
	version string // likewise; "" when it does not
	digest  string // SHA-256 of the binary, hex
	path    string // its copy, which is what runs
	source  string // the file that it was copied from, for messages
}

// build returns the build of a digest of this file.
func (f found) build(store, digest string) build {
	return build{
		name: f.name, version: f.version, source: f.path,
		digest: digest, path: filepath.Join(store, digest, pluginname.Prefix+f.name),
	}
}

// kept reports whether the store holds the build.
func (b build) kept() bool {
	info, err := os.Stat(b.path)
	return err == nil && info.Mode().IsRegular()
}

// keep copies a binary into the store unless it is there already. What runs is
// always the copy: the file in the plugin folder may be replaced at any moment.
func keep(store string, f found) (build, error) {
	source, err := os.OpenFile(f.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return build{}, fmt.Errorf("read plugin: %w", err)
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return build{}, fmt.Errorf("read plugin: %w", err)
	}
	if !info.Mode().IsRegular() {
		return build{}, fmt.Errorf("%s is not a regular file", f.path)
	}
	digest, size, err := copyHashed(io.Discard, source)
	if err != nil {
		return build{}, fmt.Errorf("read plugin %s: %w", f.path, err)
	}
	b := f.build(store, digest)
	if kept, err := os.Stat(b.path); err == nil && kept.Size() == size {
		return b, nil
	}
	return copyBuild(store, f, source)
}

// unkept is why the store has no copy of a file that may be as good as any: the
// disk is full, say.
type unkept struct{ error }

// Error says what comes next.
func (u unkept) Error() string {
	return "it cannot be copied into data_dir and is tried again at each look: " + u.error.Error()
}

// Unwrap returns what went wrong.
func (u unkept) Unwrap() error { return u.error }

// draftPrefix begins the names of copies that are not whole yet.
const draftPrefix = ".draft-"

// copyBuild copies the binary under the digest of what was copied, which is not
// the one computed before when the file changes meanwhile.
func copyBuild(store string, f found, source *os.File) (build, error) {
	if _, err := source.Seek(0, io.SeekStart); err != nil {
		return build{}, fmt.Errorf("read plugin %s: %w", f.path, err)
	}
	draft, err := os.CreateTemp(store, draftPrefix)
	if err != nil {
		return build{}, unkept{err}
	}
	defer os.Remove(draft.Name())
	digest, _, err := copyHashed(draft, source)
	// Without the sync a power cut could leave a file of the right size and
	// wrong content behind the rename.
	err = errors.Join(err, draft.Chmod(0o555), draft.Sync(), draft.Close())
	if err != nil {
		return build{}, unkept{err}
	}
	b := f.build(store, digest)
	if err := os.MkdirAll(filepath.Dir(b.path), 0o700); err != nil {
		return build{}, unkept{err}
	}
	if err := os.Rename(draft.Name(), b.path); err != nil {
		return build{}, unkept{err}
	}
	return b, nil
}

func copyHashed(w io.Writer, r io.Reader) (digest string, size int64, err error) {
	sum := sha256.New()
	size, err = io.CopyBuffer(io.MultiWriter(w, sum), onlyReader{r}, make([]byte, 256<<10))
	return hex.EncodeToString(sum.Sum(nil)), size, err
}

// onlyReader hides the other methods of a file, so that io.CopyBuffer uses its
// buffer.
type onlyReader struct{ io.Reader }
