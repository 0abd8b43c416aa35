package conformance

import (
	"context"
	"os"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func makesPrivateFolders(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	made := 0
	for _, kind := range []string{"logs", "big", "quick"} {
		e, err := k.example(kind)
		if err != nil {
			continue // another kind may show it
		}
		request := p.request(e)
		if _, err := k.succeed(ctx, p, request); err != nil {
			return err
		}
		folders := request.GetFolders()
		for _, folder := range []string{folders.GetWork(), folders.GetLogs(), folders.GetResult()} {
			info, err := os.Lstat(folder)
			if err != nil {
				continue // it was not needed
			}
			made++
			if !info.IsDir() || info.Mode().Perm() != 0o700 {
				return saw("%s has the mode %v", folder, info.Mode()).want("a folder with the permissions 0700: others must not read what a job writes")
			}
		}
	}
	if made == 0 {
		return skip("no example needs a folder")
	}
	return nil
}

func writesLogs(ctx context.Context, k *check) error {
	e, err := k.example("logs")
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	request := p.request(e)
	if _, err := k.succeed(ctx, p, request); err != nil {
		return err
	}
	for _, stream := range []string{"stdout", "stderr"} {
		info, err := os.Lstat(logFile(request, stream))
		switch {
		case err != nil:
			return saw("%s: %v", stream, err).want("a file %q in folders.logs", stream)
		case !info.Mode().IsRegular():
			return saw("%s is no regular file but %s", stream, info.Mode().Type()).want("a regular file")
		case info.Size() == 0:
			return saw("%s is empty", stream).want("some bytes: an example of kind logs writes to both")
		}
	}
	return nil
}

func keepsLogLimit(ctx context.Context, k *check) error {
	const limit = 4
	e, err := k.example("logs")
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	request := p.request(e)
	request.Limits = &pluginpb.Limits{LogBytes: limit}
	events, err := k.succeed(ctx, p, request)
	if err != nil {
		return err
	}
	told := map[pluginpb.LogStream]int64{}
	for _, event := range events {
		if cut := event.GetLogTruncated(); cut != nil {
			told[cut.GetStream()] = cut.GetOffset()
		}
	}
	size := sizes(request)
	for i, stream := range []pluginpb.LogStream{pluginpb.LogStream_LOG_STREAM_STDOUT, pluginpb.LogStream_LOG_STREAM_STDERR} {
		offset, ok := told[stream]
		switch {
		case size[i] > limit:
			return saw("%v has %d bytes, where log_bytes is %d", stream, size[i], limit).want("at most that")
		case !ok:
			return saw("no event log_truncated for %v, which was cut after %d bytes", stream, size[i]).want("one")
		case offset != size[i]:
			return saw("log_truncated with the offset %d, where %v has %d bytes", offset, stream, size[i]).want("the offset of the first byte that is missing")
		}
	}
	return nil
}
