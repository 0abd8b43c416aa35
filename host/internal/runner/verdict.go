package runner

import (
	"strings"

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
