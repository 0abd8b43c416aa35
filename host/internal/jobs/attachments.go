package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Upload stores a file that a user sends before the job that it is for, or with it, and
// returns its digest and size. When sum is not "", it must be the SHA-256 of the content,
// else it is errs.Invalid.
func (s *Service) Upload(ctx context.Context, user, sum string, r io.Reader) (job.Attachment, error) {
	stored, err := s.Artifacts.Upload(ctx, user, sum, r)
	if e, ok := errors.AsType[*errs.Error](err); ok && e.Kind == errs.Invalid {
		return job.Attachment{}, e // where it was to be stored is nobody's business
	}
	if err != nil {
		return job.Attachment{}, err
	}
	return job.Attachment{Bytes: stored.Bytes, SHA256: stored.SHA256}, nil
}

// Uploaded returns what is known of a file that a user has sent, by its SHA-256;
// errs.NotFound when it is not there, or not any more.
func (s *Service) Uploaded(ctx context.Context, user, sum string) (job.Attachment, error) {
	info, err := s.Artifacts.Uploaded(ctx, user, sum)
	if errs.Is(err, errs.NotFound) {
		return job.Attachment{}, errs.Errorf(errs.NotFound, "you have sent no file of SHA-256 %s, or more than a day ago", sum)
	}
	if err != nil {
		return job.Attachment{}, err
	}
	return job.Attachment{Bytes: info.Bytes, SHA256: sum}, nil
}

// attach makes the files that a request names those of a job: it has them as long as it
// is kept.
func (s *Service) attach(ctx context.Context, user string, id job.ID, r *job.Request) error {
	files := make([]job.Attachment, len(r.Attachments))
	total := int64(0)
	for i, a := range r.Attachments {
		info, err := s.Artifacts.Uploaded(ctx, user, a.SHA256)
		if err == nil {
			err = s.Artifacts.Attach(ctx, user, a.SHA256, id, i)
		}
		if errs.Is(err, errs.NotFound) {
			return wrongFile(i, "of SHA-256 "+a.SHA256+" was not sent, or more than a day ago")
		}
		if err != nil {
			return fmt.Errorf("keep the attachment %q of a job: %w", a.Name, err)
		}
		if total += info.Bytes; s.MaxAttached > 0 && total > s.MaxAttached {
			return wrongFile(i, fmt.Sprintf("makes the attachments of the job larger than %d bytes together", s.MaxAttached))
		}
		files[i] = a
		files[i].Bytes, files[i].Host = info.Bytes, s.Host
	}
	r.Attachments = files
	return nil
}

func wrongFile(index int, detail string) error {
	field := fmt.Sprintf("attachments/%d", index)
	return &errs.Error{
		Kind: errs.Invalid, Message: field + " " + detail,
		Fields: []errs.Field{{Pointer: "/" + field, Detail: field + " " + detail}},
	}
}

// detach takes back what a job was given that is not recorded. Where it is unknown
// whether it is, it stays; Retention removes what belongs to nobody.
func (s *Service) detach(ctx context.Context, id job.ID, err error) {
	if !errors.Is(err, store.ErrUnknown) {
		_ = s.Artifacts.Remove(ctx, id) // likewise
	}
}

// Attachment opens a file that came with a job, by its name. It is errs.NotFound when
// there is none, and an *Elsewhere when another host has it.
func (s *Service) Attachment(ctx context.Context, id job.ID, name string) (job.Attachment, io.ReadSeekCloser, error) {
	j, err := s.Store.Job(ctx, id)
	if err != nil {
		return job.Attachment{}, nil, err
	}
	for i, a := range j.Attachments {
		if a.Name != name {
			continue
		}
		content, err := s.Artifacts.Attachment(ctx, id, i)
		if errs.Is(err, errs.NotFound) && a.Host != s.Host {
			err = &Elsewhere{Job: id, Host: a.Host}
		}
		if err != nil {
			return job.Attachment{}, nil, err
		}
		return a, content, nil
	}
	return job.Attachment{}, nil, &errs.Error{Kind: errs.NotFound, ID: string(id), Message: fmt.Sprintf("no file named %.200q came with the job", name)}
}
