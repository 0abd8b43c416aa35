package pluginhost

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// receive takes in batches until the end event. Then it lets the plugin close
// the stream, which costs both sides less than to cut it.
func receive[B interface{ GetEvents() []*pluginpb.Event }](x *execution, next func() (B, error), cut func()) error {
	var before uint64 // number of the event before, in this stream
	for {
		batch, err := next()
		switch {
		case errors.Is(err, io.EOF):
			return errNoEnd
		case tooLarge(err):
			return &breach{"its events are too large: " + sentence(err)}
		case err != nil:
			return err
		}
		for _, event := range batch.GetEvents() {
			if event.GetNumber() <= before {
				return &breach{fmt.Sprintf("event %d came after event %d", event.GetNumber(), before)}
			}
			before = event.GetNumber()
			x.take(event)
			if x.ended != nil {
				timer := time.AfterFunc(closeTimeout, cut)
				_, _ = next()
				timer.Stop()
				return nil // what else there may be is about nothing
			}
		}
	}
}

// take takes in one event. Those that came before a break may come again.
func (x *execution) take(event *pluginpb.Event) {
	if event.GetNumber() <= x.last {
		return
	}
	x.last = event.GetNumber()
	switch kind := event.GetKind().(type) {
	case *pluginpb.Event_Started:
		if !x.working {
			x.working = true
			x.sink.Started(event.GetTime().AsTime())
		}
	case *pluginpb.Event_Progress:
		x.progress(kind.Progress)
	case *pluginpb.Event_Output:
		x.output(kind.Output)
	case *pluginpb.Event_Usage:
		x.usage(kind.Usage)
	case *pluginpb.Event_Checkpoint:
		x.checkpoint(kind.Checkpoint)
	case *pluginpb.Event_LogTruncated:
		stream := job.Stdout
		if kind.LogTruncated.GetStream() == pluginpb.LogStream_LOG_STREAM_STDERR {
			stream = job.Stderr
		}
		x.sink.Truncated(stream, kind.LogTruncated.GetOffset())
	case *pluginpb.Event_Result:
		x.result = kind.Result
	case *pluginpb.Event_Ended:
		x.ended = kind.Ended
		if x.ended == nil {
			x.ended = &pluginpb.Ended{}
		}
	}
}

// checkpoint has a checkpoint kept and acknowledges it. While it is not, only this
// attempt waits: its plugin waits too.
func (x *execution) checkpoint(checkpoint *pluginpb.Checkpoint) {
	if size := len(checkpoint.GetData()); size > job.MaxCheckpoint {
		x.abort(&Stop{
			Reason:  StopFault,
			Message: fmt.Sprintf("plugin %s saved a checkpoint of %d bytes; this host keeps %d at most", x.process.name, size, job.MaxCheckpoint),
			Grace:   x.grace,
		})
		return
	}
	x.saved.Store(true)
	err := x.sink.Checkpoint(x.asked, checkpoint.GetFormat(), checkpoint.GetData())
	if err == nil {
		x.process.acks.add(x.attempt, x.last, true)
		return
	}
	if x.asked.Err() != nil {
		return
	}
	x.process.log.Warn("a checkpoint is not kept", "attempt_id", x.attempt, "error", err)
	stop, ok := errors.AsType[*Stop](err)
	if !ok {
		stop = &Stop{Reason: StopFault, Message: fmt.Sprintf("a checkpoint of the job cannot be kept: %v", err), Grace: x.grace}
	}
	x.abort(stop)
}
