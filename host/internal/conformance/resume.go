package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func resumeCases() []testCase {
	const (
		look  = "StartMode in proto/heimdall/plugin/v1/command.proto; Checkpoint in event.proto"
		clean = "rpc Cleanup in proto/heimdall/plugin/v1/command.proto"
	)
	withLong := append([]string{"long"}, anyEnd...)
	job, stopped := []string{afterEnd}, []string{afterCancel}
	return []testCase{
		{id: "resume-nothing", title: "RESUME without a checkpoint ends the attempt as lost or invalid", look: look, needs: withLong, after: job, run: resumesNothing},
		{id: "resume-garbage", title: "RESUME from a checkpoint that it did not write ends the attempt as lost or invalid", look: look, needs: withLong, after: []string{"resume-nothing"}, run: resumesGarbage},
		{id: "resume-own", title: "RESUME from its own checkpoint goes on in a fresh process, or ends as lost", look: look, needs: withLong, after: stopped, run: resumesOwn},
		{id: "fresh-checkpoint", title: "FRESH with the checkpoint of an earlier attempt begins in a fresh process, or ends as lost", look: "StartRequest.checkpoint in proto/heimdall/plugin/v1/command.proto", needs: withLong, after: stopped, run: beginsKnowing},
		{id: "checkpoint-size", title: "a checkpoint has at most 64 KiB and a format that it can go on from", look: look, needs: withLong, after: stopped, run: checkpointsFit},
		{id: "checkpoint-ack", title: "a job that has saved a checkpoint goes on when that is acknowledged", look: look, needs: anyEnd, after: job, run: goesOnAcknowledged},
		{id: "checkpoint-nobody", title: "a job does not wait for a host that does not keep checkpoints", look: "DescribeRequest.features in proto/heimdall/plugin/v1/plugin.proto", needs: anyEnd, after: []string{"checkpoint-ack"}, run: waitsForNobody},
		{id: "checkpoint-abandon", title: "an attempt with a checkpoint that is abandoned says in its end that its work may go on", look: "Ended.abandoned in proto/heimdall/plugin/v1/event.proto", needs: withLong, after: []string{"cancel-abandon"}, run: tellsAbandoned},
		{id: "cleanup-again", title: "Cleanup of an attempt can be repeated, before and after its folders are gone", look: clean, needs: withLong, after: stopped, run: cleansAgain},
		{id: "cleanup-fresh", title: "Cleanup works in a process that never ran the attempt", look: clean, needs: withLong, after: job, run: cleansFresh},
		{id: "cleanup-checkpoint", title: "Cleanup with the checkpoint of a killed process works in a fresh one, and again", look: clean, needs: withLong, after: job, run: cleansFromCheckpoint},
		{id: "cleanup-unknown", title: "Cleanup of an attempt that left nothing is in order", look: clean, needs: withLong, after: job, run: cleansUnknown},
	}
}

// resumes starts an attempt that must not begin new work, and returns how it
// ended.
func (k *check) resumes(ctx context.Context, checkpoint *pluginpb.Checkpoint) error {
	e, err := k.example(append(slices.Clone(anyEnd), "long")...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	request := p.request(e)
	request.Mode, request.Checkpoint, request.AttemptNumber = pluginpb.StartMode_START_MODE_RESUME, checkpoint, 2
	_, ended, err := k.finish(ctx, p, request)
	if err != nil {
		return err
	}
	return isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_LOST, pluginpb.ErrorClass_ERROR_CLASS_INVALID)
}

func resumesNothing(ctx context.Context, k *check) error { return k.resumes(ctx, nil) }

func resumesGarbage(ctx context.Context, k *check) error {
	format := int32(1)
	if formats := k.description.GetCapabilities().GetCheckpointFormats(); len(formats) > 0 {
		format = formats[0]
	}
	for _, c := range []*pluginpb.Checkpoint{
		{Format: format, Data: []byte("\x00this is no checkpoint\xff")},
		{Format: format},
		{Format: 1 << 30, Data: []byte(`{}`)},
	} {
		if err := k.resumes(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// saved is a job that has made a checkpoint.
type saved struct {
	*process
	example *Example
	request *pluginpb.StartRequest
	stream  *stream
	event   *pluginpb.Event
}

// resumable is as saves, for what only plugins do that can resume.
func (k *check) resumable(ctx context.Context) (*saved, error) {
	if !k.description.GetCapabilities().GetResume() {
		return nil, skip("it does not say that it can resume")
	}
	return k.saves(ctx)
}

// saves begins a job of every example, each in a process of its own, until one
// reports a checkpoint.
func (k *check) saves(ctx context.Context) (*saved, error) {
	examples, err := k.examples(append([]string{"long"}, anyEnd...)...)
	if err != nil {
		return nil, err
	}
	k.keep = true // the case says when to acknowledge
	var jobs []*saved
	for _, e := range examples {
		p, err := k.launch(ctx)
		if err != nil {
			return nil, err
		}
		request := p.request(e)
		jobs = append(jobs, &saved{process: p, example: e, request: request, stream: k.start(ctx, p, request)})
	}
	within := k.Patience / 2
	if !k.description.GetCapabilities().GetResume() {
		within = min(within, 10*time.Second) // few save one
	}
	var found *saved
	_ = until(ctx, within, func() bool {
		found = nil
		waiting := false
		for _, j := range jobs {
			events, over, _ := j.stream.state()
			j.event = lastCheckpoint(events)
			waiting = waiting || j.event == nil && !over
			if j.event != nil && (found == nil || j.example.Kind == "long") {
				found = j
			}
		}
		// One that goes on after its checkpoint shows more.
		return !waiting || found != nil && found.example.Kind == "long"
	})
	if found == nil {
		return nil, skip("no example makes a checkpoint within %s", within)
	}
	return found, nil
}

func checkpointsFit(ctx context.Context, k *check) error {
	const most = 64 << 10
	j, err := k.resumable(ctx)
	if err != nil {
		return err
	}
	p, request, s, event := j.process, j.request, j.stream, j.event
	checkpoint := event.GetCheckpoint()
	if n := len(checkpoint.GetData()); n > most {
		return saw("a checkpoint of %d bytes", n).want("at most %d", most)
	}
	known := false
	for _, format := range k.description.GetCapabilities().GetCheckpointFormats() {
		known = known || format == checkpoint.GetFormat()
	}
	if !known {
		return saw("a checkpoint of format %d", checkpoint.GetFormat()).want("one of the formats %v that it says it can go on from", k.description.GetCapabilities().GetCheckpointFormats())
	}
	if err := p.ack(ctx, request.GetAttemptId(), event.GetNumber()); err != nil {
		return err
	}
	if err := k.stop(ctx, p, request); err != nil {
		return err
	}
	_, err = s.ended(ctx, grace+k.Patience)
	return err
}

// savers runs the examples that end by themselves and returns those that save a
// checkpoint.
func (k *check) savers(ctx context.Context) (found []*Example, err error) {
	examples, err := k.examples(anyEnd...)
	if err != nil {
		return nil, err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range examples {
		s := k.start(ctx, p, p.request(e))
		ended, err := s.ended(ctx, k.Patience)
		events, _, _ := s.state()
		if lastCheckpoint(events) == nil {
			continue // what becomes of it is the question of others
		}
		if err == nil && ended.GetError() != nil {
			err = saw("%s", outcome(ended)).want("that it ends well")
		}
		if err != nil {
			return nil, fmt.Errorf("example %q, with its checkpoint acknowledged: %w", e.Title, err)
		}
		found = append(found, e)
	}
	if len(found) == 0 {
		return nil, skip("no example that ends by itself saves a checkpoint")
	}
	return found, nil
}

func goesOnAcknowledged(ctx context.Context, k *check) error {
	_, err := k.savers(ctx)
	return err
}

func waitsForNobody(ctx context.Context, k *check) error {
	examples, err := k.savers(ctx)
	if err != nil {
		return err
	}
	k.described, k.keep = false, true
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	if _, err := p.describeTo(ctx, &pluginpb.DescribeRequest{HostVersion: "0.1.0"}); err != nil {
		return err
	}
	for _, e := range examples {
		// It may end with an error, because it cannot work without.
		if _, _, err := k.finish(ctx, p, p.request(e)); err != nil {
			return fmt.Errorf("example %q: %w", e.Title, err)
		}
	}
	return nil
}

func tellsAbandoned(ctx context.Context, k *check) error {
	j, err := k.resumable(ctx)
	if err != nil {
		return err
	}
	p, request, s, event := j.process, j.request, j.stream, j.event
	id := request.GetAttemptId()
	if err := p.ack(ctx, id, event.GetNumber()); err != nil {
		return err
	}
	if _, err := p.cancel(ctx, id, abandon, pluginpb.CancelReason_CANCEL_REASON_SHUTDOWN); err != nil {
		return err
	}
	ended, err := s.ended(ctx, grace+k.Patience)
	if err == nil && ended.GetError() != nil && !ended.GetAbandoned() {
		err = saw("abandoned = false: %s", outcome(ended)).want("true, so that another attempt resumes the work")
	}
	return err
}

func resumesOwn(ctx context.Context, k *check) error {
	return k.goesOnFrom(ctx, pluginpb.StartMode_START_MODE_RESUME)
}

func beginsKnowing(ctx context.Context, k *check) error {
	return k.goesOnFrom(ctx, pluginpb.StartMode_START_MODE_FRESH)
}

// goesOnFrom kills a process whose job has saved a checkpoint, and starts the next
// attempt with it in a fresh one.
func (k *check) goesOnFrom(ctx context.Context, mode pluginpb.StartMode) error {
	j, err := k.resumable(ctx)
	if err != nil {
		return err
	}
	p, e, request, event := j.process, j.example, j.request, j.event
	if err := p.ack(ctx, request.GetAttemptId(), event.GetNumber()); err != nil {
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
	again := fresh.request(e)
	again.Job, again.AttemptNumber = request.GetJob(), 2
	again.Mode, again.Checkpoint = mode, event.GetCheckpoint()
	s := k.start(ctx, fresh, again)
	if err := until(ctx, k.Patience, func() bool { events, over, _ := s.state(); return over || len(events) > 0 }); err != nil {
		return saw("the attempt that was to go on reports nothing").want("that it begins or ends")
	}
	if err := k.stop(ctx, fresh, again); err != nil {
		return err
	}
	ended, err := s.ended(ctx, grace+k.Patience)
	if err != nil || ended.GetError() == nil {
		return err
	}
	return isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_CANCELED, pluginpb.ErrorClass_ERROR_CLASS_LOST)
}

// cleanup returns the request to clean up after an attempt.
func cleanup(request *pluginpb.StartRequest) *pluginpb.CleanupRequest {
	return &pluginpb.CleanupRequest{
		AttemptId: request.GetAttemptId(), Job: request.GetJob(), Settings: request.GetSettings(),
		Secrets: request.GetSecrets(), Folders: request.GetFolders(), Reason: "the check wants to see it clean up",
	}
}

// cleans calls Cleanup on a process. It may say UNAVAILABLE for a cluster that is
// not there, which is for the host to try again and tells nothing here.
func (k *check) cleans(ctx context.Context, p *process, request *pluginpb.CleanupRequest, what string) error {
	ctx, cancel := p.within(ctx)
	defer cancel()
	_, err := p.commands.Cleanup(ctx, request)
	if unimplemented(err) {
		return optional("Cleanup", err)
	}
	if err != nil && status.Code(err) != codes.Unavailable {
		return saw("Cleanup %s answered %s", what, clip(told(err), 200)).want("an answer, or UNAVAILABLE for a cluster that cannot be reached")
	}
	if err := p.answers(ctx, "Cleanup "+what); err != nil {
		return err
	}
	if err != nil {
		return skip("Cleanup %s answered %s", what, clip(told(err), 200))
	}
	return nil
}

func cleansAgain(ctx context.Context, k *check) error {
	p, request, s, err := k.begin(ctx, append([]string{"long"}, anyEnd...)...)
	if err != nil {
		return err
	}
	if err := k.stop(ctx, p, request); err != nil {
		return err
	}
	if _, err := s.ended(ctx, grace+k.Patience); err != nil {
		return err
	}
	if err := k.cleans(ctx, p, cleanup(request), "after the end"); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Dir(request.GetFolders().GetWork())); err != nil {
		return err
	}
	return k.cleans(ctx, p, cleanup(request), "a second time, without folders")
}

func cleansFresh(ctx context.Context, k *check) error {
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
	return k.cleans(ctx, fresh, cleanup(request), "in a fresh process")
}

func cleansFromCheckpoint(ctx context.Context, k *check) error {
	j, err := k.saves(ctx)
	if err != nil {
		return err
	}
	if err := j.ack(ctx, j.request.GetAttemptId(), j.event.GetNumber()); err != nil {
		return err
	}
	j.kill()
	if !j.ends(ctx, k.Patience) {
		return saw("the process cannot be killed").want("that it can")
	}
	fresh, err := k.launch(ctx)
	if err != nil {
		return err
	}
	request := cleanup(j.request)
	request.Checkpoint = j.event.GetCheckpoint()
	for _, what := range []string{"with a checkpoint", "with a checkpoint, a second time"} {
		if err := k.cleans(ctx, fresh, request, what); err != nil {
			return err
		}
	}
	return nil
}

func cleansUnknown(ctx context.Context, k *check) error {
	e, err := k.example(append([]string{"long"}, anyEnd...)...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	return k.cleans(ctx, p, cleanup(p.request(e)), "of an attempt that never began")
}
