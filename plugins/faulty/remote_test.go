package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

// asked returns what was asked of the remote system, without the ids.
func asked(t *testing.T, folder string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for line := range strings.Lines(string(text)) {
		words = append(words, strings.Fields(line)[0])
	}
	return strings.Join(words, " ")
}

func TestRemoteWork(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "remote")
	waits := map[string]any{"remote": folder, "until": filepath.Join(folder, "done"), "text": "fine"}
	begun := func(e *pluginpb.Event) bool { return e.GetOutput() != nil }

	first := sdktest.Start(t, create, nil, waits, sdktest.Plugin(sdk.Resume()))
	first.Until(begun)
	left := first.Abandon()
	second := sdktest.Start(t, create, nil, waits, sdktest.Plugin(sdk.Resume()), sdktest.Resume(left.Checkpoint))
	second.Until(begun)
	if err := os.WriteFile(filepath.Join(folder, "done"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := second.Wait(); got.Text != "fine" {
		t.Errorf("got %q and %v, want the result", got.Text, got.Err)
	}
	if got, want := asked(t, folder), "begin follow"; got != want {
		t.Errorf("the remote system was asked to %q, want %q", got, want)
	}

	if err := sdktest.Cleanup(t, create, nil, left.Checkpoint); err != nil {
		t.Fatal(err)
	}
	gone := sdktest.Run(t, create, nil, waits, sdktest.Plugin(sdk.Resume()), sdktest.Resume(left.Checkpoint))
	if gone.Err == nil || gone.Err.Class != sdk.Lost {
		t.Errorf("got %v, want class lost once the work is gone", gone.Err)
	}
	if err := sdktest.Cleanup(t, create, map[string]any{"cleanup_error": "no"}, nil); err == nil {
		t.Error("got no error, want that of the settings")
	}
}

func TestCancelStopsRemoteWork(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "remote")
	a := sdktest.Start(t, create, nil, map[string]any{"remote": folder, "sleep": "1h"})
	a.Until(func(e *pluginpb.Event) bool { return e.GetOutput() != nil })
	a.Cancel(time.Minute)
	if got := a.Wait(); got.Err == nil || got.Err.Class != sdk.Canceled {
		t.Errorf("Err = %v, want class canceled", got.Err)
	}
	if got, want := asked(t, folder), "begin stop"; got != want {
		t.Errorf("the remote system was asked to %q, want %q", got, want)
	}
}

func TestCheckpointThatIsTooLarge(t *testing.T) {
	t.Parallel()
	got := sdktest.Run(t, create, nil, map[string]any{"save_bytes": 70_000})
	if got.Err == nil || got.Err.Class != sdk.Internal || !strings.Contains(got.Err.Message, "70002 bytes") {
		t.Errorf("Err = %v, want class internal and the size", got.Err)
	}
}
