package runner_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Input opens what was told to be kept.
func (f *fixture) Input(_ context.Context, j *job.Job, index int) (io.ReadCloser, error) {
	content, ok := f.inputs[j.Attachments[index].Name]
	if !ok {
		return nil, errs.Errorf(errs.Unavailable, "the host that has it does not answer")
	}
	return io.NopCloser(strings.NewReader(content)), nil
}

const sumOfAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, B.1

func TestFilesArePlaced(t *testing.T) {
	f := newFixture(t)
	f.inputs = map[string]string{"a b.txt": "abc"}
	f.job.Attachments = []job.Attachment{{Name: "a b.txt", ContentType: "text/plain", Bytes: 3, SHA256: sumOfAbc}}
	for range 2 { // the second time as after a host that was killed
		o := f.run(t, func(_ context.Context, r pluginhost.Request, _ pluginhost.Sink) *pluginhost.Ended {
			if len(r.Inputs) != 1 || r.Inputs[0].Name != "a b.txt" || r.Inputs[0].Bytes != 3 || r.Inputs[0].ContentType != "text/plain" {
				return &pluginhost.Ended{Error: &job.Error{Class: job.Internal, Message: "the inputs are wrong"}}
			}
			path := r.Inputs[0].Path
			text, err := os.ReadFile(path)
			info, statErr := os.Stat(path)
			if err := errors.Join(err, statErr); err != nil || string(text) != "abc" || info.Mode().Perm() != 0o400 || path != filepath.Join(r.Folders.Work, "inputs", "a b.txt") {
				t.Errorf("%s holds %q (%v) with mode %v, want what was sent, read-only", path, text, err, info)
			}
			return &pluginhost.Ended{}
		})
		if o.Status != job.Succeeded {
			t.Errorf("outcome = %+v, want SUCCEEDED", o)
		}
	}
	if _, err := os.Stat(f.folder + "/" + string(f.job.ID) + "/1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of the attempt: %v, want that it is gone", err)
	}
}

func TestFilesThatCannotBePlaced(t *testing.T) {
	for name, c := range map[string]struct {
		kept map[string]string
		want string
	}{
		"away":      {nil, "does not answer"},
		"damaged":   {map[string]string{"a": "abd"}, "SHA-256"},
		"truncated": {map[string]string{"a": "ab"}, "has 2 bytes"},
		"endless":   {map[string]string{"a": strings.Repeat("abc", 100)}, "has 4 bytes"},
	} {
		f := newFixture(t)
		f.inputs = c.kept
		f.job.Attachments = []job.Attachment{{Name: "a", Bytes: 3, SHA256: sumOfAbc}}
		o := f.run(t, func(context.Context, pluginhost.Request, pluginhost.Sink) *pluginhost.Ended {
			t.Errorf("%s: the plugin was started, want not", name)
			return &pluginhost.Ended{}
		})
		if o.Status != job.Failed || o.Error.Class != job.Unavailable || !o.Error.RetrySafe || !strings.Contains(o.Error.Message, c.want) {
			t.Errorf("%s: outcome = %+v (%+v), want unavailable with %q", name, o.Status, o.Error, c.want)
		}
	}
}
