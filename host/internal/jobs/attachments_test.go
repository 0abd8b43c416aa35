package jobs_test

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/artifacts"
	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// attaching is a service of a host with artifacts, which takes 10 bytes of files with a
// job.
func attaching(t *testing.T, w *world) *jobs.Service {
	t.Helper()
	kept, err := artifacts.Open("file", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	s := jobs.New(jobs.Config{
		Store: w, Catalog: w, Plugins: func(*catalog.Command) error { return nil }, Artifacts: kept, Host: here, MaxAttached: 10,
	})
	s.Use(w, w)
	return s
}

func send(t *testing.T, s *jobs.Service, content string) job.Attachment {
	t.Helper()
	a, err := s.Upload(t.Context(), "ann", "", strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return job.Attachment{Name: content, SHA256: a.SHA256}
}

func with(files ...job.Attachment) job.Request {
	return job.Request{CommandCriteria: tag.New("t"), Attachments: files}
}

func TestJobsHaveTheirFiles(t *testing.T) {
	w := &world{}
	s := attaching(t, w)
	one, two := send(t, s, "one"), send(t, s, "two2")
	j, err := s.Submit(t.Context(), "ann", with(one, two), jobs.WaitNever, "")
	if err != nil {
		t.Fatal(err)
	}
	one.Bytes, one.Host, two.Bytes, two.Host = 3, here, 4, here
	if diff := cmp.Diff([]job.Attachment{one, two}, w.jobs[j.ID].Attachments); diff != "" {
		t.Errorf("attachments of the job differ (-want +got):\n%s", diff)
	}
	a, content, err := s.Attachment(t.Context(), j.ID, "two2")
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if text, err := io.ReadAll(content); err != nil || string(text) != "two2" || a != two {
		t.Errorf("the file is %q, %v of %+v, want what was sent", text, err, a)
	}
	if _, _, err := s.Attachment(t.Context(), j.ID, "three"); !errs.Is(err, errs.NotFound) {
		t.Errorf("a file that is not there: %v, want that", err)
	}
	// What another host took only that may have.
	j.Attachments[0].Host = "there"
	s.Artifacts.Remove(t.Context(), j.ID)
	_, _, err = s.Attachment(t.Context(), j.ID, "one")
	if e, ok := err.(*jobs.Elsewhere); !ok || e.Host != "there" || e.Job != j.ID { //nolint:errorlint // the very error
		t.Errorf("a file of another host: %v, want that it is there", err)
	}
}

func TestFilesThatAJobCannotHave(t *testing.T) {
	w := &world{}
	s := attaching(t, w)
	large := send(t, s, "12345678901")
	for name, c := range map[string]struct {
		files []job.Attachment
		want  string
	}{
		"never sent":         {[]job.Attachment{send(t, s, "a"), {Name: "b", SHA256: strings.Repeat("0", 64)}}, "attachments/1 of SHA-256 000"},
		"too large together": {[]job.Attachment{send(t, s, "123456"), send(t, s, "78901")}, "attachments/1 makes the attachments of the job larger than 10 bytes"},
		"too large":          {[]job.Attachment{large}, "attachments/0 makes"},
	} {
		_, err := s.Submit(t.Context(), "ann", with(c.files...), jobs.WaitNever, "")
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) || len(w.jobs) != 0 {
			t.Errorf("%s: %v with %d jobs, want invalid with %q and none", name, err, len(w.jobs), c.want)
		}
	}
	if _, err := s.Submit(t.Context(), "bob", with(send(t, s, "a")), jobs.WaitNever, ""); !errs.Is(err, errs.Invalid) {
		t.Errorf("a file of another user: %v, want invalid", err)
	}
}

// What is not recorded has no files; where nobody knows, they stay.
func TestFilesOfJobsThatAreNotRecorded(t *testing.T) {
	for name, c := range map[string]struct {
		fault error
		stays bool
	}{
		"refused": {errs.Errorf(errs.Limited, "too many wait"), false},
		"unknown": {&errs.Error{Kind: errs.Unavailable, Message: "unknown", Err: store.ErrUnknown}, true},
	} {
		w := &world{}
		s := attaching(t, w)
		var tried job.ID
		w.refuse = func(j *job.Job) error {
			tried = j.ID
			return c.fault
		}
		if _, err := s.Submit(t.Context(), "ann", with(send(t, s, "a")), jobs.WaitNever, ""); err == nil {
			t.Fatalf("%s: no error, want one", name)
		}
		_, err := s.Artifacts.Attachment(t.Context(), tried, 0)
		if stays := err == nil; tried == "" || stays != c.stays {
			t.Errorf("%s: the file stays = %t (%v), want %t", name, stays, err, c.stays)
		}
	}
}

// A repeat is known by what it brings.
func TestFilesOfARepeat(t *testing.T) {
	w := &world{}
	s := attaching(t, w)
	one := send(t, s, "one")
	first, err := s.Submit(t.Context(), "ann", with(one), jobs.WaitNever, "key")
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Submit(t.Context(), "ann", with(one), jobs.WaitNever, "key")
	if err != nil || again.ID != first.ID {
		t.Errorf("a repeat is %+v, %v, want the first job", again, err)
	}
	if _, err := s.Submit(t.Context(), "ann", with(send(t, s, "two")), jobs.WaitNever, "key"); !errs.Is(err, errs.Conflict) {
		t.Errorf("another file with the key: %v, want a conflict", err)
	}
}
