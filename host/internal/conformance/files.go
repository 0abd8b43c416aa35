package conformance

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// pause lets a tenth of a second pass, in which something could go wrong.
func pause(ctx context.Context) error { return wait(ctx, 100*time.Millisecond) }

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop cancels a running attempt in an orderly way.
func (k *check) stop(ctx context.Context, p *process, request *pluginpb.StartRequest) error {
	_, err := p.cancel(ctx, request.GetAttemptId(), pluginpb.CancelMode_CANCEL_MODE_GRACEFUL, pluginpb.CancelReason_CANCEL_REASON_USER)
	return err
}

// logFile returns the path of a stream of an attempt.
func logFile(request *pluginpb.StartRequest, stream string) string {
	return filepath.Join(request.GetFolders().GetLogs(), stream)
}

// sizes returns the bytes of stdout and stderr of an attempt.
func sizes(request *pluginpb.StartRequest) (out [2]int64) {
	for i, stream := range []string{"stdout", "stderr"} {
		if info, err := os.Stat(logFile(request, stream)); err == nil {
			out[i] = info.Size()
		}
	}
	return out
}
