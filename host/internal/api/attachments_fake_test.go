package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

// Upload keeps a file in memory, by its user and its digest.
func (f *fake) Upload(_ context.Context, user, sum string, r io.Reader) (job.Attachment, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return job.Attachment{}, err
	}
	digest := sha256.Sum256(content)
	a := job.Attachment{Bytes: int64(len(content)), SHA256: hex.EncodeToString(digest[:])}
	if sum != "" && sum != a.SHA256 {
		return job.Attachment{}, errs.Errorf(errs.Invalid, "the content has another SHA-256")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[user+" "+a.SHA256] = string(content)
	return a, nil
}

func (f *fake) Uploaded(_ context.Context, user, sum string) (job.Attachment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, ok := f.files[user+" "+sum]
	if !ok {
		return job.Attachment{}, errs.Errorf(errs.NotFound, "there is no such file")
	}
	return job.Attachment{Bytes: int64(len(content)), SHA256: sum}, nil
}

func (f *fake) Attachment(ctx context.Context, id job.ID, name string) (job.Attachment, io.ReadSeekCloser, error) {
	j, err := f.Get(ctx, id)
	if err != nil {
		return job.Attachment{}, nil, err
	}
	for _, a := range j.Attachments {
		switch {
		case a.Name != name:
		case f.elsewhere != "":
			return job.Attachment{}, nil, &jobs.Elsewhere{Job: id, Host: f.elsewhere}
		default:
			f.mu.Lock()
			defer f.mu.Unlock()
			content := f.files[j.User+" "+a.SHA256]
			a.Bytes = int64(len(content))
			return a, closing{strings.NewReader(content)}, nil
		}
	}
	return job.Attachment{}, nil, errs.Errorf(errs.NotFound, "no file named %q came with the job", name)
}

// closing has nothing to close.
type closing struct{ *strings.Reader }

func (closing) Close() error { return nil }
