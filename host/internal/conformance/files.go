package conformance

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

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

// mostRead bounds what is read of one file of a plugin or a job.
const mostRead = 64 << 20

// readBegin returns at most mostRead bytes of the begin of a regular file; none
// if there is no such file.
func readBegin(path string) []byte {
	return read(path, func(int64) int64 { return 0 }, mostRead)
}

// readEnd returns at most so many bytes of the end of a regular file; none if
// there is no such file.
func readEnd(path string, most int64) []byte {
	return read(path, func(size int64) int64 { return max(0, size-most) }, most)
}

func read(path string, from func(size int64) int64, most int64) []byte {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // it may be a pipe
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	text, _ := io.ReadAll(io.NewSectionReader(f, from(info.Size()), most)) // what could be read
	return text
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
