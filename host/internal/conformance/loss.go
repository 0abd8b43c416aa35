package conformance

import (
	"bytes"
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func lossCases() []testCase {
	const (
		look   = "docs/plugins.md, Other languages: an attempt belongs to no call"
		renew  = "rpc Renew in proto/heimdall/plugin/v1/plugin.proto; StartRequest.retryable and orphan_timeout in command.proto"
		plugin = "rpc Watch and List in proto/heimdall/plugin/v1"
	)
	long := []string{"long"}
	stopped := []string{afterCancel}
	return []testCase{
		{id: "host-reconnect", title: "a job outlives the connection: a new one finds it, all its events and every byte of its streams", look: look, needs: long, after: []string{"start-cut"}, run: outlivesConnection},
		{id: "host-killed", title: "plugin and job outlive a host that is killed, also while they write", look: look, needs: long, after: []string{"host-reconnect"}, run: outlivesHost},
		{id: "renew-expired", title: "when the host's right to run ends, attempts that may be retried stop, those with a checkpoint as abandoned, and others go on", look: renew, needs: long, after: stopped, run: stopsRetryable},
		{id: "renew-extended", title: "a renewal in time keeps attempts that may be retried", look: renew, needs: long, after: stopped, run: keepsRenewed},
		{id: "renew-nothing", title: "a renewal of 0 says that the host lives, and leaves its right to run as it is", look: "RenewRequest.valid_for in proto/heimdall/plugin/v1/plugin.proto", needs: long, after: stopped, run: keepsRight},
		{id: "renew-epoch", title: "a host of an older epoch is refused with FAILED_PRECONDITION, and List tells the one in force", look: renew, run: refusesOldEpoch},
		{id: "orphan-timeout", title: "an attempt that no host follows for its orphan_timeout stops", look: renew, needs: long, after: stopped, run: stopsOrphans},
		{id: "orphan-renewed", title: "an attempt whose host calls goes on beyond its orphan_timeout", look: renew, needs: long, after: []string{"orphan-timeout"}, run: keepsFollowed},
		{id: "plugin-killed", title: "when the plugin is killed, no process is left of its jobs", look: "docs/plugins.md, Programs", needs: long, after: []string{"cancel-children"}, run: leavesNoOrphans},
		{id: "plugin-fresh", title: "a fresh process knows nothing of earlier attempts", look: plugin, needs: append([]string{"long"}, anyEnd...), after: []string{afterEnd, "watch-unknown"}, run: knowsNothingEarlier},
	}
}

func outlivesConnection(ctx context.Context, k *check) error {
	p, request, s, err := k.begin(ctx, "long")
	if err != nil {
		return err
	}
	first, _, _ := s.state()
	written := readBegin(logFile(request, "stdout"))
	if err := p.conn.Close(); err != nil {
		return err
	}
	if err := k.connect(ctx, p); err != nil {
		return err
	}
	return k.goesOn(ctx, p, request, first, written)
}

// goesOn checks that a job of which something was seen goes on after a loss, and
// lets it end.
func (k *check) goesOn(ctx context.Context, p *process, request *pluginpb.StartRequest, first []*pluginpb.Event, written []byte) error {
	id := request.GetAttemptId()
	known, err := p.list(ctx)
	if err != nil {
		return err
	}
	if known[id].GetState() != pluginpb.AttemptState_ATTEMPT_STATE_RUNNING {
		return saw("List tells the state %v of a job that had begun", known[id].GetState()).want("RUNNING")
	}
	s := k.watch(ctx, p, id, 1)
	if err := s.started(ctx, k.Patience); err != nil {
		return err
	}
	again, _, _ := s.state()
	if len(first) > 0 && p.marks.at(id) == 0 && !proto.Equal(again[0], first[0]) {
		return saw("Watch brought %s, and the stream before %s", outline(again), outline(first)).want("the same first event")
	}
	// What was going to break the job has had its time after these.
	for range 10 {
		if !p.alive() || !s.running() {
			events, _, failure := s.state()
			return saw("the job did not go on: %s (%v)", outline(events), failure).want("that it runs as if nothing had happened")
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	if now := readBegin(logFile(request, "stdout")); !bytes.HasPrefix(now, written) {
		return saw("stdout had %d bytes and has %d, which do not begin with them", len(written), len(now)).want("a file that only grows")
	}
	if err := k.stop(ctx, p, request); err != nil {
		return err
	}
	ended, err := s.ended(ctx, grace+k.Patience)
	if err != nil {
		return err
	}
	return isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_CANCELED)
}

func outlivesHost(ctx context.Context, k *check) error {
	if len(k.Host) == 0 {
		return skip("whoever checks gave no host to kill")
	}
	e, err := k.example("long")
	if err != nil {
		return err
	}
	plan, err := k.newPlan()
	if err != nil {
		return err
	}
	request := (&process{plan: plan}).request(e)
	host, p, err := k.lodge(ctx, plan, request)
	if err != nil {
		return err
	}
	written := readBegin(logFile(request, "stdout"))
	host.kill()
	return k.goesOn(ctx, p, request, nil, written)
}

func stopsRetryable(ctx context.Context, k *check) error {
	p, may, mayNot, err := k.pair(ctx)
	if err != nil {
		return err
	}
	if err := called("Renew", p.renew(ctx, 1, time.Second)); err != nil {
		return err
	}
	if err := k.stopsItself(ctx, may); err != nil {
		return err
	}
	events, _, _ := mayNot.state()
	switch {
	case lastCheckpoint(events) != nil: // another host may go on from it
		return k.stopsItself(ctx, mayNot)
	case !mayNot.running():
		events, _, _ := mayNot.state()
		return saw("the attempt that may not be retried and has no checkpoint has ended too: %s", outcome(end(events))).want("that it goes on, because nobody else may run it")
	}
	return nil
}

// stopsItself checks that an attempt ends because the host's right to run is over,
// and leaves work alone that others can go on with.
func (k *check) stopsItself(ctx context.Context, s *stream) error {
	ended, err := s.ended(ctx, grace+k.Patience)
	if err != nil {
		return err
	}
	if err := isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_LOST, pluginpb.ErrorClass_ERROR_CLASS_CANCELED); err != nil {
		return err
	}
	events, _, _ := s.state()
	if lastCheckpoint(events) != nil && !ended.GetAbandoned() {
		return saw("abandoned = false in the end of an attempt that has saved a checkpoint: %s", outcome(ended)).want("true, because another host may go on with its work")
	}
	return nil
}

// pair begins two jobs, of which the first may be retried.
func (k *check) pair(ctx context.Context) (p *process, may, mayNot *stream, err error) {
	e, err := k.example("long")
	if err != nil {
		return nil, nil, nil, err
	}
	if most := k.description.GetCapabilities().GetMaxConcurrency(); most == 1 {
		return nil, nil, nil, skip("it runs one attempt at once")
	}
	if p, err = k.launch(ctx); err != nil {
		return nil, nil, nil, err
	}
	retryable, other := p.request(e), p.request(e)
	retryable.Retryable = true
	may, mayNot = k.start(ctx, p, retryable), k.start(ctx, p, other)
	if err = may.started(ctx, k.Patience); err == nil {
		err = mayNot.started(ctx, k.Patience)
	}
	return p, may, mayNot, err
}

// busyTries is how often a case is tried for which the machine was too busy.
const busyTries = 3

func keepsRenewed(ctx context.Context, k *check) error {
	const short = 2 * time.Second
	for range busyTries {
		p, may, _, err := k.pair(ctx)
		if err != nil {
			return err
		}
		begun := time.Now()
		if err := called("Renew", p.renew(ctx, 1, short)); err != nil {
			return err
		}
		if err := called("Renew with a higher epoch", p.renew(ctx, 2, time.Hour)); err != nil {
			return err
		}
		if time.Since(begun) > short/2 {
			k.close() // it may have been too late
			continue
		}
		return may.goesOn(ctx, "the right to run was extended to an hour")
	}
	return skip("the machine is too busy: two renewals took more than %s", short/2)
}

// goesOn checks that an attempt runs on for longer than plugins take to look at
// their host's right to run.
func (s *stream) goesOn(ctx context.Context, because string) error {
	for begun := time.Now(); time.Since(begun) < 5*time.Second; {
		if !s.running() {
			events, _, _ := s.state()
			return saw("the attempt that may be retried has ended: %s", outcome(end(events))).want("that it goes on, because %s", because)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

func keepsRight(ctx context.Context, k *check) error {
	p, may, _, err := k.pair(ctx)
	if err != nil {
		return err
	}
	for _, valid := range []time.Duration{time.Hour, 0} {
		if err := called("Renew", p.renew(ctx, 1, valid)); err != nil {
			return err
		}
	}
	return may.goesOn(ctx, "a renewal of 0 gives no right and takes none")
}

func refusesOldEpoch(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	if err := called("Renew", p.renew(ctx, 7, time.Minute)); err != nil {
		return err
	}
	if err := refused("Renew with a lower epoch", p.renew(ctx, 6, time.Minute), codes.FailedPrecondition); err != nil {
		return err
	}
	if err := called("Renew with the same epoch", p.renew(ctx, 7, time.Minute)); err != nil {
		return err
	}
	ctx, cancel := p.within(ctx)
	defer cancel()
	answer, err := p.plugins.List(ctx, &pluginpb.ListRequest{})
	if err != nil {
		return called("List", err)
	}
	if answer.GetHostEpoch() != 7 {
		return saw("List tells the epoch %d", answer.GetHostEpoch()).want("7, the highest")
	}
	return nil
}

func stopsOrphans(ctx context.Context, k *check) error {
	e, err := k.example("long")
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	request := p.request(e)
	request.OrphanTimeout = durationpb.New(time.Second)
	s := k.start(ctx, p, request)
	// The open stream is no proof of a host: only calls are.
	ended, err := s.ended(ctx, grace+k.Patience)
	if err != nil {
		return err
	}
	return isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_LOST, pluginpb.ErrorClass_ERROR_CLASS_CANCELED)
}

func keepsFollowed(ctx context.Context, k *check) error {
	e, err := k.example("long")
	if err != nil {
		return err
	}
	// Plugins look now and then only, such as every two seconds.
	const orphan, every, looked = time.Second, 200 * time.Millisecond, 5 * time.Second
	for range busyTries {
		p, err := k.launch(ctx)
		if err != nil {
			return err
		}
		request := p.request(e)
		request.OrphanTimeout = durationpb.New(orphan)
		heard := time.Now()
		s := k.start(ctx, p, request)
		if err := s.started(ctx, k.Patience); err != nil {
			return err
		}
		late := false
		for begun := time.Now(); s.running() && !late && time.Since(begun) < looked; {
			next := time.Now()
			if err := called("Renew", p.renew(ctx, 1, time.Hour)); err != nil {
				return err
			}
			late = time.Since(heard) > orphan*3/4
			heard = next
			if err := wait(ctx, every); err != nil {
				return err
			}
		}
		if late || !s.running() && time.Since(heard) > orphan*3/4 {
			k.close()
			continue
		}
		if !s.running() {
			events, _, _ := s.state()
			return saw("the attempt has ended, although the host called every %s: %s", every, outcome(end(events))).want("that it goes on: orphan_timeout is not the time that the job may take")
		}
		return nil
	}
	return skip("the machine is too busy: there was more than %s between two calls", orphan*3/4)
}

func knowsNothingEarlier(ctx context.Context, k *check) error {
	p, request, _, err := k.begin(ctx, append([]string{"long"}, anyEnd...)...)
	if err != nil {
		return err
	}
	p.kill()
	if !p.ends(ctx, k.Patience) {
		return saw("the process cannot be killed").want("that it can")
	}
	fresh, err := k.launch(ctx)
	if err != nil {
		return err
	}
	known, err := fresh.list(ctx)
	if err != nil {
		return err
	}
	if len(known) > 0 {
		return saw("List of a fresh process names %d attempts", len(known)).want("none: what is not listed was never started here")
	}
	return k.watchRefused(ctx, fresh, request.GetAttemptId())
}
