package api

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

const (
	formType = "multipart/form-data"
	jobPart  = "job" // the part of a form that is the submission

	octets = "application/octet-stream"
	// uploadTime is how long files may take to come, as long as something comes.
	uploadTime = time.Hour
)

// wireAttachment is a file that came with a job, as clients know it.
type wireAttachment struct {
	Name        string `json:"name,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	Bytes       int64  `json:"bytes"`
	SHA256      string `json:"sha256"`
}

func wireAttachments(files []job.Attachment) []wireAttachment {
	var list []wireAttachment
	for _, f := range files {
		list = append(list, wireAttachment{f.Name, f.ContentType, f.Bytes, f.SHA256})
	}
	return list
}

// attachments reads the list of files that were sent before.
func (c *checker) attachments(field string, raw json.RawMessage) []job.Attachment {
	var files []job.Attachment
	for i, item := range c.list(field, raw, `a list of objects such as {"name": "a.csv", "sha256": "…"}`) {
		at := fmt.Sprintf("%s/%d", field, i)
		var sent struct {
			Name        json.RawMessage `json:"name"`
			SHA256      json.RawMessage `json:"sha256"`
			ContentType json.RawMessage `json:"content_type"`
		}
		if !c.decode(at, item, '{', `an object such as {"name": "a.csv", "sha256": "…"}`, &sent) {
			return nil
		}
		f := job.Attachment{
			Name:        c.text(at+"/name", sent.Name, job.MaxAttachmentName),
			SHA256:      c.text(at+"/sha256", sent.SHA256, hex.EncodedLen(32)),
			ContentType: mediaType(c.text(at+"/content_type", sent.ContentType, maxName)),
		}
		if !c.has(at+"/sha256") && !isDigest(f.SHA256) {
			c.fault(errs.Invalid, at+"/sha256", "is %q; it must be a SHA-256, 64 digits of 0-9 and a-f, of a file that was sent to %s/attachment/{sha256}", f.SHA256, base)
		}
		files = append(files, f)
	}
	c.names(field, files)
	return files
}

// names checks how many files there are, and what they are called.
func (c *checker) names(field string, files []job.Attachment) {
	if len(files) > job.MaxAttachments {
		c.fault(errs.Invalid, field, "are %d; a job may have %d", len(files), job.MaxAttachments)
		return
	}
	seen := map[string]bool{}
	for i, f := range files {
		at := fmt.Sprintf("%s/%d/name", field, i)
		why := job.CheckAttachmentName(f.Name)
		if why == "" && seen[f.Name] {
			why = fmt.Sprintf("is %q, as that of another one is", f.Name)
		}
		if seen[f.Name] = true; why != "" && !c.has(at) {
			c.fault(errs.Invalid, at, "%s", why)
		}
	}
}

// isDigest reports whether a text is a SHA-256, as we write it.
func isDigest(text string) bool {
	return len(text) == hex.EncodedLen(32) && strings.Trim(text, "0123456789abcdef") == ""
}

// mediaType returns a type without its parameters; what cannot be read is bytes.
func mediaType(text string) string {
	t, _, err := mime.ParseMediaType(text)
	if err != nil || !strings.Contains(t, "/") {
		return octets
	}
	return t
}

// readForm reads a submission that comes with files, if the request is a form: the
// part job first, the files behind it.
func (h *Handler) readForm(x *exchange, s *submission) (*form, error) {
	t, params, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || t != formType {
		return nil, h.readObject(x, s)
	}
	if err := checkEncoding(x); err != nil {
		return nil, err
	}
	if x.r.ContentLength > h.limits.Upload+h.limits.Body {
		return nil, h.tooLarge(x, h.limits.Upload)
	}
	f := newForm(x, params["boundary"])
	part, err := f.next()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // it has no parts at all
	}
	if err != nil {
		return nil, h.badForm(x, err)
	}
	if part.FormName() != jobPart {
		return nil, h.unread(x, errs.Errorf(errs.Malformed, "the first part of the form is %.100q; begin with the part %q, which has the job as JSON, and go on with files", part.FormName(), jobPart))
	}
	text, err := io.ReadAll(io.LimitReader(part, h.limits.Body+1))
	switch {
	case err != nil:
		return nil, h.badForm(x, err)
	case int64(len(text)) > h.limits.Body:
		return nil, h.unread(x, errs.Errorf(errs.TooLarge, "the part %q is larger than %d bytes", jobPart, h.limits.Body))
	}
	if err := parseText(text, s, fmt.Sprintf("part %q", jobPart)); err != nil {
		return nil, h.unread(x, err)
	}
	return f, nil
}

// readFiles stores the files of a form, behind those that it names.
func (h *Handler) readFiles(x *exchange, form *form, files []job.Attachment) ([]job.Attachment, error) {
	left := h.limits.Upload
	for {
		part, err := form.next()
		if err == io.EOF {
			_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{}) // the job may take its time
			return files, nil
		}
		if err != nil {
			return nil, h.badForm(x, err)
		}
		f := job.Attachment{Name: part.FileName(), ContentType: mediaType(part.Header.Get("Content-Type"))}
		if f.Name == "" {
			return nil, h.unread(x, errs.Errorf(errs.Malformed, "the part %.100q of the form has no file name; behind the part %q there are only files", part.FormName(), jobPart))
		}
		var c checker
		if c.names("attachments", append(files, f)); c.err() != nil {
			return nil, h.unread(x, c.err())
		}
		content := &bounded{from: part, left: left}
		stored, err := h.jobs.Upload(x.r.Context(), x.user, "", content)
		if err != nil {
			return nil, h.badUpload(x, content, err)
		}
		left -= stored.Bytes
		f.SHA256 = stored.SHA256
		files = append(files, f)
	}
}

// putAttachment serves PUT /attachment/{sha256}: a file that jobs can be submitted
// with afterwards.
func (h *Handler) putAttachment(x *exchange) error {
	sum, err := x.digest()
	if err != nil {
		return err
	}
	if err := checkEncoding(x); err != nil {
		return err
	}
	if x.r.ContentLength > h.limits.Upload {
		return h.tooLarge(x, h.limits.Upload)
	}
	content := &bounded{from: &arriving{x: x, until: time.Now().Add(uploadTime)}, left: h.limits.Upload}
	stored, err := h.jobs.Upload(x.r.Context(), x.user, sum, content)
	if err != nil {
		return h.badUpload(x, content, err)
	}
	return h.writeJSON(x, http.StatusCreated, wireAttachment{Bytes: stored.Bytes, SHA256: stored.SHA256})
}

// getAttachment serves GET /attachment/{sha256}: whether the file is there.
func (h *Handler) getAttachment(x *exchange) error {
	sum, err := x.digest()
	if err != nil {
		return err
	}
	found, err := h.jobs.Uploaded(x.r.Context(), x.user, sum)
	if err != nil {
		return err
	}
	return h.writeJSON(x, http.StatusOK, wireAttachment{Bytes: found.Bytes, SHA256: found.SHA256})
}

// getJobAttachment serves GET /job/{id}/attachments/{name}: a file that came with the
// job. It is handed out as bytes: no browser is to run what a caller has sent.
func (h *Handler) getJobAttachment(x *exchange) error {
	id, err := x.jobID()
	if err != nil {
		return err
	}
	f, content, err := h.jobs.Attachment(x.r.Context(), id, x.named("name"))
	if err != nil {
		return err
	}
	defer content.Close()
	header := x.Header()
	header.Set("Content-Type", octets)
	header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.Name}))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "sandbox")
	header.Set("ETag", `"`+f.SHA256+`"`)
	if x.unchanged() {
		return nil
	}
	return serveContent(x, content, f.Bytes)
}

// digest returns the SHA-256 that the path names.
func (x *exchange) digest() (string, error) {
	sum := mux.Vars(x.r)["sha256"]
	if !isDigest(sum) {
		return "", errs.Errorf(errs.NotFound, "%.100q is no SHA-256: that has 64 digits of 0-9 and a-f", sum)
	}
	return sum, nil
}

// badForm refuses a form that cannot be read.
func (h *Handler) badForm(x *exchange, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errs.Errorf(errs.Malformed, "the form did not come in time: nothing came for %v, or it took longer than %v", bodyTime, uploadTime)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errs.Errorf(errs.Malformed, "the form ended early, or has no boundary")
	}
	return h.unread(x, errs.Errorf(errs.Malformed, "the form cannot be read: %w", err))
}

// badUpload is why a file was not stored: its sender's fault, or ours.
func (h *Handler) badUpload(x *exchange, content *bounded, err error) error {
	switch {
	case content.over:
		return h.unread(x, errs.Errorf(errs.TooLarge, "the files are larger than %d bytes", h.limits.Upload))
	case content.err != nil:
		return h.badForm(x, content.err)
	}
	return h.unread(x, err)
}

// bounded reads up to a limit, and remembers why it did not read to the end.
type bounded struct {
	from io.Reader
	left int64
	over bool
	err  error // but for io.EOF
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		b.over = true
		return 0, errs.Errorf(errs.TooLarge, "the files are too large")
	}
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// form reads the parts of a form.
type form struct {
	parts *multipart.Reader
	body  *arriving
	end   []byte // what a whole form has behind its parts
}

func newForm(x *exchange, boundary string) *form {
	body := &arriving{x: x, until: time.Now().Add(uploadTime)}
	return &form{multipart.NewReader(body, boundary), body, []byte("--" + boundary + "--")}
}

// next returns the next part, io.EOF behind the last one, and io.ErrUnexpectedEOF when
// the form breaks off: to its reader that may look like an end.
func (f *form) next() (*multipart.Part, error) {
	part, err := f.parts.NextPart()
	if errors.Is(err, io.EOF) && (err != io.EOF || !bytes.Contains(f.body.last, f.end)) {
		return nil, io.ErrUnexpectedEOF
	}
	return part, err
}

// lastBytes is how much is remembered of a body: more than is read ahead of it.
const lastBytes = 16 << 10

// arriving is the body of a request that may take long, as long as something comes.
type arriving struct {
	x     *exchange
	until time.Time
	last  []byte // bytes of it
}

func (a *arriving) Read(p []byte) (int, error) {
	next := time.Now().Add(bodyTime)
	if next.After(a.until) {
		next = a.until
	}
	ctl := http.NewResponseController(a.x.w)
	_ = ctl.SetReadDeadline(next)
	_ = ctl.SetWriteDeadline(next.Add(patience))
	n, err := a.x.r.Body.Read(p[:min(len(p), lastBytes)])
	if a.last = append(a.last, p[:n]...); len(a.last) > lastBytes {
		a.last = slices.Delete(a.last, 0, len(a.last)-lastBytes)
	}
	return n, err
}
