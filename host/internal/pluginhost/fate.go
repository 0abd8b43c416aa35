package pluginhost

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// inherited is what an earlier life of the host has left.
type inherited struct {
	mu        sync.Mutex
	processes []*process          // that live and answer, in no order
	attempts  map[string]survivor // that they know, by id
	recalled  map[string]survivor // those that are going to be followed
	lost      map[string]bool     // plugins with processes for any attempts that do not live any more; "": it is not known which
	doubtful  map[string]bool     // attempts whose own process does not live any more
	dead      []string            // folders of the processes that do not live any more
	unsettled map[string]bool     // attempts that were recalled as unknown, and of which that is not recorded yet
	disowned  bool                // there is no Recall any more
}

// survivor is an attempt that a process of an earlier life knows. One that may
// still run counts against what the process can run at once.
type survivor struct {
	process *process
	slot    bool // it has one of the process
}

// survivor makes an attempt of the process's list one that is to be followed or
// disowned. Where more of them run than may there is no slot for all.
func (p *process) survivor(a *pluginpb.AttemptInfo) survivor {
	s := survivor{process: p}
	if p.slots != nil && a.GetState() != pluginpb.AttemptState_ATTEMPT_STATE_ENDED {
		select {
		case p.slots <- struct{}{}:
			s.slot = true
		default:
		}
	}
	return s
}

// leave takes the attempt out of its process again, which it has entered.
func (s survivor) leave() {
	s.process.running.Add(-1)
	if s.slot {
		<-s.process.slots
	}
}

// Fate is what is known of an attempt that an earlier life of the host was to
// run.
type Fate int

// The fates of attempts.
const (
	Unknown Fate = iota // a process that may have run it is gone
	Unbegun             // no process has ever begun it
	Known               // a living process runs it, or knows its end: Follow it
)

// Recall says what became of an attempt of an earlier life of this host. It is
// to be asked before the first Run. One that is known must be followed. plugin is
// the one that was to run it; "" when that is not known any more.
func (h *Host) Recall(plugin, attempt string) Fate {
	i := &h.inherited
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.attempts[attempt].process != nil:
		i.recalled[attempt] = i.attempts[attempt]
		delete(i.attempts, attempt)
		return Known
	case i.lost[plugin] || i.lost[""] || plugin == "" && len(i.lost) > 0 || i.doubtful[attempt]:
		i.unsettled[attempt] = true
		return Unknown
	}
	return Unbegun
}

// Settle says that it is recorded that an attempt was recalled as unknown. It may be
// said of any attempt.
func (h *Host) Settle(attempt string) {
	i := &h.inherited
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.unsettled, attempt)
	i.bury(h.log)
}

// bury removes the records of the processes that do not live any more, once nobody
// needs them: a life of the host that ends before that must leave them to the
// next one, which would take their attempts for never begun.
func (i *inherited) bury(log hclog.Logger) {
	if !i.disowned || len(i.unsettled) > 0 {
		return
	}
	for _, folder := range i.dead {
		if err := removeProcess(folder); err != nil {
			log.Warn("what is left of a plugin process stays", "error", err)
		}
	}
	i.dead = nil
}

// Follow goes on with an attempt that Recall has called known, as Run does with
// one that it has begun: all that was not acknowledged is reported again. The
// request's timeout is what is left of it; the plugin keeps the deadline as well.
func (h *Host) Follow(ctx context.Context, request Request, sink Sink) *Ended {
	i := &h.inherited
	i.mu.Lock()
	s := i.recalled[request.AttemptID]
	delete(i.recalled, request.AttemptID)
	i.mu.Unlock()
	if s.process == nil {
		return notStarted("lost", "the plugin process that ran the job is not known")
	}
	s.process.running.Add(1)
	defer s.leave()
	x := newExecution(s.process, &request, sink)
	return h.note(x, x.run(ctx, request.Folders, x.watch))
}

// Disown ends what living processes of an earlier life still run, or keep, that
// was not recalled: the host's records say that it is over. It is called once,
// after the last Recall; it does not wait.
func (h *Host) Disown() {
	i := &h.inherited
	i.mu.Lock()
	defer i.mu.Unlock()
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(&Stop{Reason: StopLeaseLost, Message: "the host does not know the job any more"})
	for id, s := range i.attempts {
		x := &execution{process: s.process, attempt: id, request: &pluginpb.StartRequest{}, sink: ignore{}}
		s.process.running.Add(1)
		h.wait.Go(func() {
			defer s.leave()
			h.note(x, x.run(ctx, Folders{}, x.watch)).Ack()
		})
	}
	clear(i.attempts)
	i.disowned = true
	i.bury(h.log)
}

// ignore takes in what is of no use to anybody.
type ignore struct{}

func (ignore) Started(time.Time)                 {}
func (ignore) Progress(float64, float64, string) {}
func (ignore) Output(job.Output)                 {}
func (ignore) Usage(string, float64)             {}
func (ignore) Truncated(job.Stream, int64)       {}

func (ignore) Checkpoint(context.Context, int32, []byte) error { return nil }
