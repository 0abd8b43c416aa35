package artifacts_test

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/artifacts"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

const (
	sumOfAbc  = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, B.1
	sumOfNone = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func open(t *testing.T) *artifacts.Store {
	t.Helper()
	s, err := artifacts.Open("file", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestUploadAndAttach(t *testing.T) {
	ctx, s := t.Context(), open(t)
	for name, wanted := range map[string]string{"named": sumOfAbc, "found out": ""} {
		user := "ann " + name
		stored, err := s.Upload(ctx, user, wanted, strings.NewReader("abc"))
		if err != nil || stored.SHA256 != sumOfAbc || stored.Bytes != 3 {
			t.Fatalf("%s: Upload = %+v, %v, want 3 bytes with their digest", name, stored, err)
		}
		if info, err := s.Uploaded(ctx, user, sumOfAbc); err != nil || info.Bytes != 3 {
			t.Errorf("%s: Uploaded = %+v, %v, want 3 bytes", name, info, err)
		}
		id := job.NewID()
		if err := s.Attach(ctx, user, sumOfAbc, id, 2); err != nil {
			t.Fatal(err)
		}
		if err := s.Attach(ctx, "bob", sumOfAbc, id, 3); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: another user attaches it: %v, want that it is not there", name, err)
		}

		// The job has it longer than the user.
		if err := s.Sweep(ctx, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Uploaded(ctx, user, sumOfAbc); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: after a sweep it is there: %v, want that it is not", name, err)
		}
		content, err := s.Attachment(ctx, id, 2)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(content); err != nil || string(text) != "abc" {
			t.Errorf("%s: the job has %q, %v, want what was sent", name, text, err)
		}
		_ = content.Close()
		if err := s.Remove(ctx, id); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Attachment(ctx, id, 2); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: after the job is removed its file is there: %v, want that it is not", name, err)
		}
	}
}

func TestUploadsThatFailLeaveNothing(t *testing.T) {
	ctx, s := t.Context(), open(t)
	if _, err := s.Upload(ctx, "ann", sumOfNone, strings.NewReader("abc")); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), sumOfAbc) {
		t.Errorf("another content: %v, want invalid, and its digest", err)
	}
	for _, wanted := range []string{"", sumOfAbc} {
		broken := io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF))
		if _, err := s.Upload(ctx, "ann", wanted, broken); err == nil {
			t.Error("an upload that breaks off went well, want an error")
		}
	}
	for _, sum := range []string{sumOfAbc, sumOfNone} {
		if _, err := s.Uploaded(ctx, "ann", sum); !errs.Is(err, errs.NotFound) {
			t.Errorf("Uploaded(%s) = %v, want that it is not there", sum, err)
		}
	}
}

// A sweep leaves what was sent lately, or used lately.
func TestSweepLeavesTheNew(t *testing.T) {
	ctx, s := t.Context(), open(t)
	if _, err := s.Upload(ctx, "ann", sumOfAbc, strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(ctx, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Uploaded(ctx, "ann", sumOfAbc); err != nil {
		t.Errorf("Uploaded = %v, want that it is there", err)
	}
}
