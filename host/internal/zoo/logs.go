package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// logs are the breeds whose streams and folders are not as they should be.
func logs() map[string]breed {
	return map[string]breed{
		"open-doored": {wrong: "anybody may read what a job writes", run: func(_ context.Context, job *sdk.Job[Input], healthy func() error) error {
			if job.Input.Lines == 0 {
				return healthy()
			}
			file, err := job.Stdout.File()
			if err != nil {
				return err
			}
			if err := os.Chmod(filepath.Dir(file.Name()), 0o755); err != nil {
				return err
			}
			return healthy()
		}},
		"hushed": {wrong: "nothing is written to stderr", run: func(_ context.Context, job *sdk.Job[Input], healthy func() error) error {
			lines := job.Input.Lines
			for range lines {
				if _, err := job.Stdout.WriteString("a line of stdout\n"); err != nil {
					return err
				}
			}
			job.Input.Lines = 0
			return healthy()
		}},
		"wordy": {wrong: "streams are as long as they like", receive: func(request any) {
			if r, ok := request.(*pluginpb.StartRequest); ok {
				limits(r).LogBytes = 0
			}
		}},
	}
}
