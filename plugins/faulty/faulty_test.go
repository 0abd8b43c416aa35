package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

func create() *Faulty { return &Faulty{} }

func TestStepsOfAScript(t *testing.T) {
	t.Parallel()
	got := sdktest.Run(t, create, nil, map[string]any{
		"stdout":       "hello\n",
		"stderr":       "oops\n",
		"stdout_bytes": 100_000,
		"output":       map[string]string{"a": "1", "b": "2"},
		"progress":     3,
		"checkpoint":   "here",
		"exec":         []string{"sh", "-c", "echo from a program >&2"},
		"sleep":        "1ms",
		"rows":         5000,
	})
	if got.Err != nil {
		t.Fatalf("Err = %v, want none", got.Err)
	}
	if got, want := len(got.Stdout), 100_006; got != want {
		t.Errorf("stdout has %d bytes, want %d", got, want)
	}
	if want := "oops\nfrom a program\n"; got.Stderr != want {
		t.Errorf("stderr = %q, want %q", got.Stderr, want)
	}
	if got.Outputs["a"] != "1" || got.Outputs["b"] != "2" {
		t.Errorf("outputs = %v, want a=1 and b=2", got.Outputs)
	}
	if string(got.Checkpoint) != `"here"` {
		t.Errorf("checkpoint = %s, want here", got.Checkpoint)
	}
	if got, want := len(got.Rows), 5000; got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
}

func TestResultOfManyBytes(t *testing.T) {
	t.Parallel()
	got := sdktest.Run(t, create, nil, map[string]any{"result_bytes": 300_001})
	if len(got.Result) != 300_001 || got.Err != nil {
		t.Errorf("result has %d bytes (%v), want 300001", len(got.Result), got.Err)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings, input any
		class           sdk.Class
		message         string
	}{
		"error": {input: map[string]any{"error": map[string]any{"class": "quota", "message": "no more"}}, class: sdk.Quota, message: "no more"},
		"panic": {input: map[string]any{"panic": "ouch"}, class: sdk.Internal, message: "panic: ouch"},
		"open":  {settings: map[string]any{"open_error": "away"}, class: sdk.Unavailable, message: "away"},
		"spawn": {input: map[string]any{"spawn": []string{"/no/such"}}, class: sdk.Failed, message: "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := sdktest.Run(t, create, test.settings, test.input)
			if got.Err == nil || got.Err.Class != test.class || !strings.Contains(got.Err.Message, test.message) {
				t.Errorf("Err = %+v, want %s with %q", got.Err, test.class, test.message)
			}
		})
	}
}

func TestLedgerCountsStartsAndEnds(t *testing.T) {
	t.Parallel()
	ledger := filepath.Join(t.TempDir(), "ledger")
	sdktest.Run(t, create, nil, map[string]any{"ledger": ledger})
	sdktest.Run(t, create, nil, map[string]any{"ledger": ledger, "panic": "ouch"})
	text, err := os.ReadFile(ledger)
	if err != nil {
		t.Fatal(err)
	}
	entry := fmt.Sprintf("00000000-0000-4000-8000-000000000001 1 %d", os.Getpid())
	want := fmt.Sprintf("start %s TIME\nend %[1]s TIME ok\nstart %[1]s TIME\nend %[1]s TIME panic\n", entry)
	if got := regexp.MustCompile(`\b\d{16}\b`).ReplaceAllString(string(text), "TIME"); got != want {
		t.Errorf("ledger = %q, want %q", text, want)
	}
}

func TestLedgerTellsTwoExecutionsAtOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ledger")
	until := filepath.Join(t.TempDir(), "until")
	first := sdktest.Start(t, create, nil, map[string]any{"ledger": file, "until": until})
	for count := 0; count == 0; {
		text, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) || t.Context().Err() != nil {
			t.Fatal(err)
		}
		count = strings.Count(string(text), "start")
	}
	sdktest.Run(t, create, nil, map[string]any{"ledger": file})
	if err := os.WriteFile(until, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first.Wait()
	sdktest.Run(t, create, nil, map[string]any{"ledger": file})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		got = append(got, strings.Fields(line)[0])
	}
	if want := []string{"start", "busy", "start", "end", "end", "start", "end"}; !slices.Equal(got, want) {
		t.Errorf("lines begin with %v, want %v", got, want)
	}
}

func TestCancelEndsAWait(t *testing.T) {
	t.Parallel()
	a := sdktest.Start(t, create, nil, map[string]any{"sleep": "1h", "spawn": []string{"sleep", "3600"}})
	a.Until(func(e *pluginpb.Event) bool { return e.GetStarted() != nil })
	a.Cancel(time.Minute)
	if got := a.Wait(); got.Err == nil || got.Err.Class != sdk.Canceled {
		t.Errorf("Err = %+v, want %s", got.Err, sdk.Canceled)
	}
}

func TestDeafWaitIsCutOff(t *testing.T) {
	t.Parallel()
	until := filepath.Join(t.TempDir(), "until")
	a := sdktest.Start(t, create, nil, map[string]any{"until": until, "ignore_cancel": true})
	a.Until(func(e *pluginpb.Event) bool { return e.GetStarted() != nil })
	a.Kill()
	if got := a.Wait(); got.Err == nil || got.Err.Class != sdk.Canceled {
		t.Errorf("Err = %+v, want %s", got.Err, sdk.Canceled)
	}
	if err := os.WriteFile(until, nil, 0o600); err != nil { // lets Run go
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	if err := create().Check(context.Background()); err != nil {
		t.Errorf("Check = %v, want nil", err)
	}
	if err := (&Faulty{CheckError: "away"}).Check(context.Background()); err == nil {
		t.Error("Check = nil, want an error")
	}
}
