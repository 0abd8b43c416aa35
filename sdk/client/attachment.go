package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
)

// Attachment is a file that comes with a job, or was sent before one.
type Attachment struct {
	Name        string `json:"name,omitempty"`         // without folders, one of a kind within its job
	ContentType string `json:"content_type,omitempty"` // empty: application/octet-stream
	Bytes       int64  `json:"bytes,omitempty"`        // told by the host
	SHA256      string `json:"sha256"`                 // of its content, 64 digits of 0-9 and a-f
}

// File is a file to send with a job.
type File struct {
	Name        string // without folders, one of a kind within its job
	ContentType string // empty: application/octet-stream
	Content     io.Reader
}

// Upload sends a file for jobs to come, which name it in their Attachments by the
// SHA-256 of its content. The host keeps it for a day.
func (c *Client) Upload(ctx context.Context, sha256 string, content io.Reader) (*Attachment, error) {
	a := new(Attachment)
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	_, err := c.call(ctx, http.MethodPut, "/attachment/"+url.PathEscape(sha256), header, struct{ io.Reader }{content}, a)
	return a, err
}

// Uploaded returns a file of this user's that the host keeps for jobs to come; see
// IsNotFound.
func (c *Client) Uploaded(ctx context.Context, sha256 string) (*Attachment, error) {
	a := new(Attachment)
	_, err := c.call(ctx, http.MethodGet, "/attachment/"+url.PathEscape(sha256), nil, nil, a)
	return a, err
}

// JobAttachment opens a file that came with a job, by its name. The caller closes it.
func (c *Client) JobAttachment(ctx context.Context, id, name string) (io.ReadCloser, error) {
	answer, err := c.do(ctx, http.MethodGet, "/job/"+url.PathEscape(id)+"/attachments/"+url.PathEscape(name), nil, nil)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// submitForm submits a job with its files, which are read while they are sent.
func (c *Client) submitForm(ctx context.Context, header http.Header, s Submission) (*Job, error) {
	body, sent := io.Pipe()
	form := multipart.NewWriter(sent)
	header.Set("Content-Type", form.FormDataContentType())
	var writing sync.WaitGroup
	var failed error
	writing.Go(func() {
		failed = writeForm(form, s)
		_ = sent.CloseWithError(failed) // it never fails
	})
	j, err := c.job(ctx, http.MethodPost, "/job", header, body)
	_ = body.Close() // likewise; the host may have answered before it had read all
	writing.Wait()
	if f, ok := failed.(*fileError); ok { //nolint:errorlint // as it was made
		return nil, f
	}
	return j, err
}

// fileError is that a file could not be read.
type fileError struct {
	name string
	err  error
}

func (e *fileError) Error() string { return fmt.Sprintf("read the file %q: %v", e.name, e.err) }
func (e *fileError) Unwrap() error { return e.err }

func writeForm(form *multipart.Writer, s Submission) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	part, err := form.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="job"`}, "Content-Type": {"application/json"}})
	if err != nil {
		return err
	}
	if _, err := part.Write(text); err != nil {
		return err
	}
	quoted := strings.NewReplacer("\\", "\\\\", `"`, `\"`, "\r", "%0D", "\n", "%0A")
	for _, f := range s.Files {
		kind := f.ContentType
		if kind == "" {
			kind = "application/octet-stream"
		}
		part, err := form.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {fmt.Sprintf(`form-data; name="file"; filename="%s"`, quoted.Replace(f.Name))}, "Content-Type": {kind},
		})
		if err != nil {
			return err
		}
		from := &source{from: f.Content}
		if _, err := io.Copy(part, from); from.err != nil {
			return &fileError{f.Name, from.err}
		} else if err != nil {
			return err
		}
	}
	return form.Close()
}

// source remembers why a file could not be read.
type source struct {
	from io.Reader
	err  error // but for io.EOF
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
