package sdk

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

const (
	idleTime     = 5 * time.Minute // after which an unused instance is closed
	closeTimeout = 5 * time.Second // for all instances at the end of the process
)

// instances holds the plugin values of one process, one for each distinct set of
// settings and secrets.
type instances struct {
	create func(settings []byte, secrets []*pluginpb.Secret) (any, error)

	mu    sync.Mutex
	known map[[sha256.Size]byte]*instance
}

// An instance is a plugin value and those who use it.
type instance struct {
	plugin any

	users int       // guarded by instances.mu
	idle  time.Time // since when there are none; guarded by instances.mu

	mu     sync.Mutex // held while Open runs
	opened bool
}

// acquire returns an opened plugin value for the settings. The caller releases
// it.
func (p *instances) acquire(ctx context.Context, settings []byte, secrets []*pluginpb.Secret) (*instance, error) {
	in, err := p.get(settings, secrets)
	if err != nil {
		return nil, Errorf(Internal, "settings: %w", err)
	}
	opened := false
	defer func() {
		if !opened { // also when Open panics
			p.release(in)
		}
	}()
	if err := in.open(ctx); err != nil {
		return nil, err
	}
	opened = true
	return in, nil
}

func (p *instances) get(settings []byte, secrets []*pluginpb.Secret) (*instance, error) {
	key := keyOf(settings, secrets)
	p.mu.Lock()
	defer p.mu.Unlock()
	if in := p.known[key]; in != nil {
		in.users++
		return in, nil
	}

	plugin, err := p.create(settings, secrets)
	if err != nil {
		return nil, err
	}
	in := &instance{plugin: plugin, users: 1}
	if p.known == nil {
		p.known = map[[sha256.Size]byte]*instance{}
	}
	p.known[key] = in
	return in, nil
}

// keyOf tells sets of settings and secrets apart. The order of the secrets says
// nothing.
func keyOf(settings []byte, secrets []*pluginpb.Secret) [sha256.Size]byte {
	text := make([]byte, 0, 512)
	text = append(text, settings...)
	secrets = slices.Clone(secrets)
	slices.SortFunc(secrets, func(a, b *pluginpb.Secret) int { return cmp.Compare(a.GetPointer(), b.GetPointer()) })
	for _, secret := range secrets {
		text = binary.AppendUvarint(append(text, 0), uint64(len(secret.GetPointer())))
		text = append(text, secret.GetPointer()...)
		text = binary.AppendUvarint(text, uint64(len(secret.GetValue())))
		text = append(text, secret.GetValue()...)
	}
	return sha256.Sum256(text)
}

func (in *instance) open(ctx context.Context) error {
	opener, ok := in.plugin.(Opener)
	if !ok {
		return nil
	}

	in.mu.Lock()
	defer in.mu.Unlock()
	if in.opened {
		return nil
	}
	if err := opener.Open(ctx); err != nil {
		out := describe(err)
		if out.Class == Failed {
			out.Class, out.RetrySafe = Unavailable, true
		}
		return out
	}
	in.opened = true
	return nil
}

func (p *instances) release(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in.users--
	if in.users == 0 {
		in.idle = time.Now()
	}
}

// sweep closes the instances that were not used since a moment.
func (p *instances) sweep(since time.Time) {
	p.mu.Lock()
	var gone []*instance
	for key, in := range p.known {
		if in.users == 0 && in.idle.Before(since) {
			gone = append(gone, in)
			delete(p.known, key)
		}
	}
	p.mu.Unlock()

	for _, in := range gone {
		in.close()
	}
}

// close closes all instances at once and does not wait for those that hang.
func (p *instances) close() {
	p.mu.Lock()
	known := p.known
	p.known = nil
	p.mu.Unlock()

	var group sync.WaitGroup
	for _, in := range known {
		group.Go(in.close)
	}
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
		slog.Warn("plugin did not close in time", "timeout", closeTimeout)
	}
}

func (in *instance) close() {
	closer, ok := in.plugin.(io.Closer)
	if _, opens := in.plugin.(Opener); !ok || opens && !in.opened {
		return
	}

	defer func() {
		if cause := recover(); cause != nil {
			slog.Error("plugin panicked in Close", "panic", fmt.Sprint(cause))
		}
	}()
	if err := closer.Close(); err != nil {
		slog.Warn("plugin did not close well", "error", err)
	}
}
