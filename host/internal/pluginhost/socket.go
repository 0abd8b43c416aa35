package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSocketPath keeps socket paths well below the 108 bytes of the kernel's
// sockaddr_un, for plugins in languages that allow less.
const maxSocketPath = 80

// socketSuffix is as long as what follows the root in the path of a socket: the
// folder of the process and the name that a Go plugin chooses.
const socketSuffix = "/01234567/plugin0123456789"

// socketRoot returns the folder to make socket folders in: run itself, or where
// that is too deep a private folder below /run or $XDG_RUNTIME_DIR. It is never
// below /tmp, where old files are swept away.
func socketRoot(dataDir, run string) (string, error) {
	if len(run)+len(socketSuffix) <= maxSocketPath {
		return run, nil
	}
	sum := sha256.Sum256([]byte(dataDir))
	bases := []string{"/run"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		bases = append(bases, dir)
	}
	var errs []error
	for _, base := range bases {
		dir := filepath.Join(base, "heimdall", hex.EncodeToString(sum[:4]))
		if len(dir)+len(socketSuffix) > maxSocketPath {
			errs = append(errs, fmt.Errorf("%s is too long too", dir))
			continue
		}
		err := privateFolder(dir)
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("data_dir %s is too long for unix sockets, and no other place for them can be had: choose a shorter one: %w",
		dataDir, errors.Join(errs...))
}

// privateFolder makes dir as a folder that only this user may enter. One that is
// there already is kept: processes of an earlier life may listen in it.
func privateFolder(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !ok || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a folder of this user alone: remove it", dir)
	}
	return nil
}

// removeSockets removes a socket root outside the data folder.
func (h *Host) removeSockets() {
	if h.sockets != h.runDir() {
		_ = os.Remove(h.sockets)
	}
}

// checkPeer makes sure that the process at the other end of a connection is
// the one that was started, or belongs to its session: file permissions alone
// do not say who made a socket.
func checkPeer(conn net.Conn, pid int) error {
	peer, err := peerOf(conn)
	if err != nil {
		return err
	}
	if int(peer.Pid) == pid {
		return nil
	}
	if session, err := unix.Getsid(int(peer.Pid)); err == nil && session == pid {
		return nil
	}
	return fmt.Errorf("the plugin's socket is served by process %d, not by process %d that was started", peer.Pid, pid)
}

// peerOf says who is at the other end of a unix socket.
func peerOf(conn net.Conn) (peer *unix.Ucred, err error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var credErr error
	err = raw.Control(func(fd uintptr) {
		peer, credErr = unix.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return nil, fmt.Errorf("ask who serves the plugin's socket: %w", err)
	}
	return peer, nil
}
