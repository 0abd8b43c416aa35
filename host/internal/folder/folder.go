// Package folder opens folders that jobs can write to. A job may put a link in
// place of anything that it owns, its own folder too: what the host reads or
// changes there must not lie anywhere else.
package folder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrLink says that a part of a path is a link.
var ErrLink = errors.New("a link stands in the place of a folder")

// Open opens a folder without following a link in any part of its path, which
// must be absolute: data_dir is resolved when the host starts, and nothing below
// it is ever a link of the host's. Links inside of the folder are those of the
// os.Root: they may not lead out.
func Open(path string) (*os.Root, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, how)
	for errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) { // something on the way was renamed meanwhile
		fd, err = unix.Openat2(unix.AT_FDCWD, path, how)
	}
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("open %s: %w", path, ErrLink)
	case err != nil:
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return os.OpenRoot(filepath.Join("/proc/self/fd", strconv.Itoa(fd)))
}
