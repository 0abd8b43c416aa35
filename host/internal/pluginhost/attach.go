package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"golang.org/x/sys/unix"
)

// Attach takes the process that serves at a unix socket into use, and returns
// the name of its plugin. Somebody else has started that process, mostly below a
// debugger: the host neither ends it nor starts it again. Attach is called
// between Start and Serve.
func (h *Host) Attach(ctx context.Context, socket string) (plugin string, err error) {
	pid, err := servedBy(ctx, socket)
	if err != nil {
		return "", fmt.Errorf("attach to %s: %w", socket, err)
	}
	p, err := h.foreign(ctx, socket, pid)
	if err != nil {
		return "", fmt.Errorf("attach to process %d at %s: %w", pid, socket, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.supervise(h.running, p.build, &legacy{build: p.build, shared: p})
	h.builds[s] = true
	h.files[socket] = &file{found: found{path: socket, name: p.name}, serves: s, fixed: true}
	h.publish()
	return p.name, nil
}

// foreign connects to a process of somebody else and has it describe itself.
func (h *Host) foreign(ctx context.Context, socket string, pid int) (p *process, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.config.StartTimeout)
	defer cancel()
	folder, sockets, err := h.makeFolders()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil { // a later life would take them for those of a lost process
			err = errors.Join(err, os.RemoveAll(folder), os.RemoveAll(sockets))
		}
	}()
	r := record{PID: pid, Sockets: sockets, Socket: socket}
	if err := r.identify(folder); err != nil {
		return nil, err
	}
	for _, name := range []string{"stdout", "stderr"} { // its own go where it likes
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			return nil, err
		}
	}
	digest, err := runs(pid)
	if err != nil {
		return nil, err
	}
	p = &process{build: build{source: socket, digest: digest}, times: h.times, log: h.log, observer: h.config.Observer, gone: make(chan struct{})}
	p.detached.Store(true)
	p.child = &child{
		folder: folder, log: h.log, record: r, foreign: true,
		dead: make(chan struct{}), exited: make(chan struct{}),
	}
	fd := r.lives()
	if fd < 0 {
		return nil, errors.New("it has ended")
	}
	if err := p.child.take(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if err = p.meet(ctx, h); err == nil {
		// Without a number: a later life of the host must not touch the process, and
		// only knows that attempts of the plugin may have run there.
		left := record{Plugin: p.name, Socket: socket}
		err = left.announce(folder)
	}
	if err != nil {
		p.disconnect()
		return nil, err
	}
	return p, nil
}

// part lets go of a process of somebody else, which goes on. Its folder stays if
// it owes the end of an attempt: to a later life that says that its outcome is
// unknown.
func (p *process) part() {
	p.disconnect()
	p.over.Store(true)
	p.settle(0)
}

// meet has a process of somebody else say who it is, and configures it.
func (p *process) meet(ctx context.Context, h *Host) error {
	if err := p.connect(); err != nil {
		return err
	}
	described, err := p.plugins.Describe(ctx, &pluginpb.DescribeRequest{
		HostVersion: h.config.HostVersion,
		Features:    []string{featureCheckpoints},
	})
	if err != nil {
		return fmt.Errorf("it does not describe itself: %s", sentence(err))
	}
	p.name = described.GetName()
	p.build.name = p.name
	if p.description, p.version, err = describe(described, p.build); err != nil {
		return err
	}
	p.isolation = Shared // whatever it prefers: there is no other process of it
	if err := p.configure(ctx, h.config.Settings); err != nil {
		return err
	}
	p.begun(ctx, h)
	return nil
}

// runs returns the digest of the binary that a process runs.
func runs(pid int) (digest string, err error) {
	binary, err := os.Open("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return "", err
	}
	defer binary.Close()
	digest, _, err = copyHashed(io.Discard, binary)
	return digest, err
}

// servedBy returns the process that listens on a socket.
func servedBy(ctx context.Context, socket string) (pid int, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	peer, err := peerOf(conn)
	if err != nil {
		return 0, err
	}
	return int(peer.Pid), nil
}
