package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// legacy is what an earlier life has left of one build.
type legacy struct {
	build  build
	shared *process   // nil when there is none
	own    []*process // of one attempt each
}

// inherit returns the processes of a build that an earlier life has started, at
// most one that is shared, and removes them from those that nobody has taken.
func (h *Host) inherit(b build) *legacy {
	i := &h.inherited
	i.mu.Lock()
	defer i.mu.Unlock()
	left := &legacy{build: b}
	i.processes = slices.DeleteFunc(i.processes, func(p *process) bool {
		switch {
		case p.build.digest != b.digest || p.name != b.name || p.build.version != b.version:
			return false
		case p.alone():
			left.own = append(left.own, p)
		case left.shared == nil:
			left.shared = p
		default:
			return false
		}
		return true
	})
	return left
}

// inheritAny returns the processes of any build that nobody has taken; nil when
// there are none.
func (h *Host) inheritAny() *legacy {
	i := &h.inherited
	i.mu.Lock()
	if len(i.processes) == 0 {
		i.mu.Unlock()
		return nil
	}
	b := i.processes[0].build
	i.mu.Unlock()
	return h.inherit(b)
}

// errUnused says that a process has not begun the attempt that it was started
// for, and never will.
var errUnused = errors.New("it had not begun its job")

// attempts returns what a process of an earlier life knows. One that is there
// for a single attempt and knows none may still have its start on the way: it
// is told to take none any more before it is asked again.
func (p *process) attempts(ctx context.Context) (list *pluginpb.ListResponse, err error) {
	for drained := false; ; drained = true {
		if list, err = p.plugins.List(ctx, &pluginpb.ListRequest{}); err != nil {
			return nil, fmt.Errorf("it does not list its attempts: %s", sentence(err))
		}
		if len(list.GetAttempts()) > 0 || !p.alone() {
			return list, nil
		}
		if drained {
			return nil, errUnused
		}
		if err := p.refuse(ctx); err != nil {
			return nil, err
		}
	}
}

// refuse tells the process to begin nothing any more, and returns when it obeys.
func (p *process) refuse(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.plugins.Drain(ctx, &pluginpb.DrainRequest{Reason: "its host was away before it began its job"})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("it does not drain: %s", sentence(err))
	}
	return nil
}
