package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// dataDir is the folder that one host has for itself.
type dataDir struct {
	path string // absolute
	lock *os.File
	host string // id of the host that the folder belongs to
}

// lockTime is how long the lock of a data_dir is waited for: after the death of a
// host, a program that it was just starting can hold it for a moment.
const lockTime = 2 * time.Second

// openDataDir makes the folder when it is missing and takes it for this
// process. A folder that another process has taken is refused.
func openDataDir(path string) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find data_dir: %w", err)
	}
	// Others may pass through: plugins under users of their own have folders
	// inside.
	if err := os.MkdirAll(path, 0o711); err != nil {
		return nil, fmt.Errorf("make data_dir: %w", err)
	}
	// What jobs write lies below: from here on no part of a path may be a link.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, fmt.Errorf("find data_dir: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("take data_dir: %w", err)
	}
	d := &dataDir{path: path, lock: lock}
	switch err := flock(lock); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errors.Join(fmt.Errorf("data_dir %s is in use by another heimdall; one data_dir serves one host", path), d.close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("take data_dir %s: %w", path, err), d.close())
	}
	if d.host, err = hostID(filepath.Join(path, "host_id")); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// flock locks a file that nobody else has locked, or lets go of in a moment.
func flock(file *os.File) error {
	for deadline := time.Now().Add(lockTime); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
	}
}

// close gives the folder free.
func (d *dataDir) close() error { return d.lock.Close() }

// publish writes the address that the API is served at to the file "address",
// for programs that let the system choose the port.
func (d *dataDir) publish(address string) error {
	return replaceFile(filepath.Join(d.path, "address"), "http://"+address+"\n")
}

// withdraw removes the address.
func (d *dataDir) withdraw() error { return os.Remove(filepath.Join(d.path, "address")) }

// hostID reads the id of this host, or makes one that stays.
func hostID(file string) (string, error) {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		id := uuid.NewString()
		return id, replaceFile(file, id+"\n")
	}
	if err != nil {
		return "", fmt.Errorf("read the id of this host: %w", err)
	}
	id := strings.TrimSpace(string(content))
	if uuid.Validate(id) != nil {
		return "", fmt.Errorf("%s does not hold the id of a host; remove it to give this host a new one, and its running jobs up", file)
	}
	return id, nil
}

// replaceFile writes a file whole or not at all.
func replaceFile(file, content string) error {
	temporary := file + ".new"
	f, err := os.Create(temporary)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	// Without the sync a power cut could leave an empty file behind the rename.
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}
