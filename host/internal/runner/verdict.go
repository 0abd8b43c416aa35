package runner

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// verdict decides how a job has ended. An attempt that was asked to stop and
// then ended well has ended before it could be stopped. One that did not ended
// for the reason it was stopped for, whatever its plugin made of that.
func verdict(e *pluginhost.Ended) (job.Status, *job.Error) {
	err, stop := e.Error, e.Stop
	if err == nil {
		return job.Succeeded, nil
	}
	if stop == nil {
		return job.Failed, err
	}
	ended := *err
	if !strings.HasPrefix(err.Message, stop.Error()) { // else it says more than that
		ended.Message = stop.Error()
	}
	switch stop.Reason {
	case pluginhost.StopUser, pluginhost.StopClientGone:
		ended.Class = job.WasCanceled
		return job.Canceled, &ended
	case pluginhost.StopTimeout:
		ended.Class = job.TimedOut
	case pluginhost.StopShutdown:
		ended.Class = job.Shutdown
	case pluginhost.StopLimit:
		ended.Class = job.Quota
	default:
		return job.Failed, err
	}
	return job.Killed, &ended
}

// sink gathers what an attempt reports on its way.
type sink struct {
	started func(time.Time)
	outputs []job.Output
	usage   map[string]float64
}

func (s *sink) Started(at time.Time) { s.started(at) }

// Progress is shown only while a job runs; nobody asks for it yet.
func (s *sink) Progress(float64, float64, string) {}

func (s *sink) Output(o job.Output) {
	same := func(known job.Output) bool { return known.Key == o.Key }
	if i := slices.IndexFunc(s.outputs, same); i >= 0 {
		s.outputs[i] = o
		return
	}
	s.outputs = append(s.outputs, o)
}

func (s *sink) Usage(unit string, amount float64) {
	if s.usage == nil {
		s.usage = map[string]float64{}
	}
	s.usage[unit] = amount
}

// Checkpoint refuses: attempts cannot be resumed yet, and a plugin must not
// believe that what it saved is durable.
func (s *sink) Checkpoint(int32, []byte) error {
	return errors.New("this host does not keep checkpoints")
}

// Truncated needs no answer: the stored stream ends where it was cut.
func (s *sink) Truncated(job.Stream, int64) {}
