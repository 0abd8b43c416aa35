package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// caseTime bounds a case, whatever it waits for, on a machine that is not busy.
const caseTime = 2 * time.Minute

// suite is one run of the check.
type suite struct {
	Config
	name    string // of the plugin
	named   string // the version that the file's name says; "": none
	digest  string
	scratch string
	binary  string // the copy that is run
	done    map[string]*outcomeOf

	caseTime time.Duration

	mu    sync.Mutex
	extra []string // variables of the environment that the examples need

	// What the plugin said of itself. The case describe-answers sets it, and all
	// that read it come after that one.
	description *pluginpb.DescribeResponse
	settings    *schema
	input       *schema
	all         []Example
}

// testCase is one thing that must hold.
type testCase struct {
	id, group, title string
	look             string   // where people read about it
	needs            []string // kinds of examples, of which one is needed
	after            []string // ids of cases without which this one says nothing
	run              func(ctx context.Context, k *check) error
}

// outcomeOf is what became of a case that others wait for.
type outcomeOf struct {
	checkreport.Case
	without string        // the case before it that has failed, so that it was not run
	known   chan struct{} // closed when the rest is set
}

// run runs cases and returns their results in their order.
func (s *suite) run(ctx context.Context, cases []testCase) []checkreport.Case {
	results := make([]checkreport.Case, len(cases))
	for _, c := range cases {
		s.done[c.id] = &outcomeOf{known: make(chan struct{})}
	}
	slots := make(chan struct{}, s.Parallel)
	var group sync.WaitGroup
	for i, c := range cases {
		group.Go(func() {
			own := s.done[c.id]
			own.Case = s.await(ctx, c, i, slots)
			results[i] = own.Case
			close(own.known)
		})
	}
	for i, c := range cases {
		<-s.done[c.id].known
		if s.Ended != nil && ctx.Err() == nil {
			s.Ended(results[i])
		}
	}
	group.Wait()
	return results
}

// await runs a case when those that it comes after have passed.
func (s *suite) await(ctx context.Context, c testCase, number int, slots chan struct{}) checkreport.Case {
	out := checkreport.Case{ID: c.id, Group: c.group, Title: c.title, Result: checkreport.NotExercised}
	for _, id := range c.after {
		before := s.done[id]
		<-before.known
		if before.Result == checkreport.Failed {
			s.done[c.id].without = id
		} else if before.without != "" {
			s.done[c.id].without = before.without
		}
	}
	if id := s.done[c.id].without; id != "" {
		out.Detail = "the case " + id + " comes before it and failed"
		return out
	}
	slots <- struct{}{}
	defer func() { <-slots }()
	begun := time.Now()
	err := s.exercise(ctx, c, number)
	out.MS = time.Since(begun).Milliseconds()
	if err == nil {
		out.Result = checkreport.Passed
		return out
	}
	reason, exercised := verdict(err)
	out.Detail = reason
	if exercised {
		out.Result = checkreport.Failed
		out.Detail += "\nlook at: " + c.look
	}
	return out
}

// exercise runs a case in a place of its own, and ends what it has started.
func (s *suite) exercise(ctx context.Context, c testCase, number int) (err error) {
	if len(c.needs) > 0 {
		if _, err := s.example(c.needs...); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.caseTime, fmt.Errorf("the case was not over after %s", s.caseTime))
	k := &check{suite: s, folder: filepath.Join(s.scratch, fmt.Sprintf("%02d", number)), described: c.group != "handshake" && c.group != "describe"}
	if err := os.Mkdir(k.folder, 0o700); err != nil {
		cancel()
		return fmt.Errorf("make a place to work: %w", err)
	}
	defer os.RemoveAll(k.folder)
	defer k.group.Wait()
	defer k.close()
	defer cancel()
	defer func() {
		// A defect of ours; but what was started must end.
		if cause := recover(); cause != nil {
			err = saw("the check itself broke: panic: %v\n%s", cause, debug.Stack()).want("that it does not: report it")
		}
	}()
	return k.explain(c.run(ctx, k))
}

// check is what one case works with.
type check struct {
	*suite
	folder    string
	group     sync.WaitGroup
	processes []*process
	planned   int
	described bool // its processes were asked what they are, as a host does first
	keep      bool // checkpoints are not acknowledged
}

// newPlan prepares a process of the plugin.
func (k *check) newPlan() (*plan, error) {
	k.planned++
	k.mu.Lock()
	extra := k.extra
	k.mu.Unlock()
	return newPlan(k.binary, filepath.Join(k.folder, fmt.Sprintf("p%d", k.planned)), extra)
}

// spawn starts a process that need not answer.
func (k *check) spawn(p *plan) (*process, error) {
	out, err := spawn(p, k.Patience)
	if err == nil {
		k.processes = append(k.processes, out)
	}
	return out, err
}

// launch starts a process and connects to it.
func (k *check) launch(ctx context.Context) (*process, error) {
	p, err := k.newPlan()
	if err != nil {
		return nil, err
	}
	return k.launchPlan(ctx, p)
}

func (k *check) launchPlan(ctx context.Context, p *plan) (*process, error) {
	out, err := k.spawn(p)
	if err != nil {
		return nil, err
	}
	// Whether it is quick enough is a case of its own.
	if err := out.shake(ctx, 2*k.StartTimeout); err != nil {
		return nil, err
	}
	if err := k.connect(ctx, out); err != nil || !k.described {
		return out, err
	}
	_, err = out.describe(ctx, "0.1.0") // it learns that this host keeps checkpoints
	return out, err
}

// connect makes the connection to a process, as a host does.
func (k *check) connect(ctx context.Context, p *process) error {
	if err := p.connect(); err != nil {
		return err
	}
	conn := p.conn
	k.group.Go(func() { discard(ctx, conn) })
	return nil
}

// start begins an attempt and follows it.
func (k *check) start(ctx context.Context, p *process, request *pluginpb.StartRequest) *stream {
	call, stop := context.WithCancel(ctx)
	events, err := p.commands.Start(call, request)
	return k.follow(ctx, stop, p, request.GetAttemptId(), func() ([]*pluginpb.Event, error) {
		if err != nil {
			return nil, err
		}
		batch, err := events.Recv()
		return batch.GetEvents(), err
	})
}

// watch follows an attempt from a number on.
func (k *check) watch(ctx context.Context, p *process, id string, from uint64) *stream {
	call, stop := context.WithCancel(ctx)
	events, err := p.commands.Watch(call, &pluginpb.WatchRequest{AttemptId: id, From: from})
	return k.follow(ctx, stop, p, id, func() ([]*pluginpb.Event, error) {
		if err != nil {
			return nil, err
		}
		batch, err := events.Recv()
		return batch.GetEvents(), err
	})
}

// follow gathers the events of a call, and acknowledges checkpoints as they come,
// because jobs may wait for that.
func (k *check) follow(ctx context.Context, stop context.CancelFunc, p *process, id string, receive func() ([]*pluginpb.Event, error)) *stream {
	commands, keep := p.commands, k.keep // as they are now
	taken := func(events []*pluginpb.Event) {
		number := lastCheckpoint(events).GetNumber()
		if keep || number == 0 {
			return
		}
		p.marks.raise(id, number)
		ctx, done := p.within(ctx)
		defer done()
		// If it is not answered, the job shows it.
		_, _ = commands.Ack(ctx, acknowledge(id, number))
	}
	return follow(&k.group, stop, receive, taken, func() bool { return p.marks.at(id) > 0 })
}

// lastCheckpoint returns the last checkpoint among events; nil if there is none.
func lastCheckpoint(events []*pluginpb.Event) (last *pluginpb.Event) {
	for _, e := range events {
		if e.GetCheckpoint() != nil {
			last = e
		}
	}
	return last
}

// finish runs an example to its end on a process and returns all its events.
func (k *check) finish(ctx context.Context, p *process, request *pluginpb.StartRequest) ([]*pluginpb.Event, *pluginpb.Ended, error) {
	s := k.start(ctx, p, request)
	ended, err := s.ended(ctx, k.Patience)
	events, _, _ := s.state()
	return events, ended, err
}

// succeed runs an example to its end, which must be good.
func (k *check) succeed(ctx context.Context, p *process, request *pluginpb.StartRequest) ([]*pluginpb.Event, error) {
	events, ended, err := k.finish(ctx, p, request)
	if err == nil && ended.GetError() != nil {
		err = saw("%s", outcome(ended)).want("an example of this kind to end well")
	}
	return events, err
}

// begin starts a process and a job of an example of some kinds, and waits until
// its work has begun.
func (k *check) begin(ctx context.Context, kinds ...string) (*process, *pluginpb.StartRequest, *stream, error) {
	e, err := k.example(kinds...)
	if err != nil {
		return nil, nil, nil, err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	request := p.request(e)
	s := k.start(ctx, p, request)
	return p, request, s, s.started(ctx, k.Patience)
}

// close ends all processes of the case.
func (k *check) close() {
	var group sync.WaitGroup
	for _, p := range k.processes {
		group.Go(p.close)
	}
	group.Wait()
}

// explain adds to an error what the processes said, and finds those that ended by
// themselves.
func (k *check) explain(err error) error {
	if _, ok := errors.AsType[*unexercised](err); ok {
		return err
	}
	var notes []string
	for _, p := range k.processes {
		if p.doomed || p.alive() {
			continue
		}
		if err == nil {
			err = saw("the process ended by itself: %s", p.how()).want("that it lives until it is told to end")
		} else {
			notes = append(notes, "the process has ended: "+p.how())
		}
	}
	if err == nil {
		return nil
	}
	for _, p := range k.processes {
		if words := p.lastWords(); words != "" {
			notes = append(notes, "the log of the process ends with:\n"+words)
			break
		}
	}
	if len(notes) == 0 {
		return err
	}
	return fmt.Errorf("%w\n%s", err, strings.Join(notes, "\n"))
}
