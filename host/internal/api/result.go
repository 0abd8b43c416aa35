package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

// maxInline is the size of the largest result that stands in the answer to a
// submit.
const maxInline = 8 << 20

// writeEnded answers a submit that waited with the job and its result. A table
// stands in the answer as it is; what is too large for that, and a document, is
// described and has an address.
func (h *Handler) writeEnded(x *exchange, status int, j *job.Job) error {
	if j.Error != nil {
		setRetryAfter(x, j.Error.RetryAfter)
	}
	if j.Result == nil {
		return h.writeJSON(x, status, wire(j))
	}
	if !j.Result.Table() {
		return h.writeWithResult(x, status, j, described(j, nil))
	}
	if j.Result.Object == "" {
		if len(j.Result.Inline) <= maxInline {
			return h.writeWithResult(x, status, j, bytes.NewReader(j.Result.Inline))
		}
		return h.writeWithResult(x, status, j, described(j, columnsOf(bytes.NewReader(j.Result.Inline))))
	}
	content, err := h.content(x, j.ID)
	if err != nil {
		return about(j.ID, err)
	}
	defer content.Close()
	if j.Result.Bytes <= maxInline {
		return h.writeWithResult(x, status, j, content)
	}
	return h.writeWithResult(x, status, j, described(j, columnsOf(content)))
}

// content opens the content of a result, wherever it is.
func (h *Handler) content(x *exchange, id job.ID) (io.ReadCloser, error) {
	_, content, err := h.jobs.Result(x.r.Context(), id)
	if e, ok := errors.AsType[*jobs.Elsewhere](err); ok {
		return h.resultElsewhere(x, e)
	}
	return content, err
}

// described returns what stands for a result that is not in the answer.
func described(j *job.Job, columns json.RawMessage) io.Reader {
	d := struct {
		ContentType string          `json:"content_type,omitempty"`
		Columns     json.RawMessage `json:"columns,omitempty"`
		Rows        *int64          `json:"rows,omitempty"`
		Bytes       int64           `json:"bytes"`
		Href        string          `json:"href"`
	}{Columns: columns, Bytes: j.Result.Bytes, Href: base + "/job/" + string(j.ID) + "/result"}
	if j.Result.Table() {
		d.Rows = &j.Result.Rows
	} else {
		d.ContentType = j.Result.ContentType
	}
	text, err := json.Marshal(d)
	if err != nil { // the columns are no JSON: do without
		d.Columns = nil
		text, _ = json.Marshal(d)
	}
	return bytes.NewReader(text)
}

// columnsOf reads the columns of a table, if its JSON begins with them.
func columnsOf(r io.Reader) json.RawMessage {
	d := json.NewDecoder(io.LimitReader(r, 1<<20))
	for _, want := range []any{json.Delim('{'), "columns"} {
		if t, err := d.Token(); err != nil || t != want {
			return nil
		}
	}
	var columns json.RawMessage
	if err := d.Decode(&columns); err != nil {
		return nil
	}
	return columns
}

// writeWithResult answers with the job and, in it, JSON that is copied
// untouched.
func (h *Handler) writeWithResult(x *exchange, status int, j *job.Job, result io.Reader) error {
	e, err := encode(wire(j))
	if err != nil {
		return about(j.ID, err)
	}
	defer e.free()
	e.buf.Truncate(bytes.LastIndexByte(e.buf.Bytes(), '}'))
	e.buf.WriteString(`,"result":`)
	x.Header()["Content-Type"] = []string{"application/json"}
	if r, ok := result.(*bytes.Reader); ok && r.Len() <= 64<<10 {
		_, _ = e.buf.ReadFrom(r)
		e.buf.WriteString("}\n")
		x.Header()["Content-Length"] = []string{strconv.Itoa(e.buf.Len())}
		x.WriteHeader(status)
		_, _ = x.Write(e.buf.Bytes()) // a client that is gone needs no answer
		return nil
	}
	x.WriteHeader(status)
	p := newPatient(x)
	defer p.Close()
	if _, err := p.Write(e.buf.Bytes()); err != nil {
		return err
	}
	if _, err := io.Copy(p, result); err != nil {
		return err
	}
	_, err = io.WriteString(p, "}\n")
	return err
}

// getResult serves GET /job/{id}/result: a table in the format asked for, a
// document as what it is.
func (h *Handler) getResult(x *exchange) error {
	id, err := x.jobID()
	if err != nil {
		return err
	}
	if _, err := h.jobAfterWait(x, id, false); err != nil {
		return err
	}
	j, content, err := h.jobs.Result(x.r.Context(), id)
	if err != nil {
		return err
	}
	defer content.Close()
	header := x.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	if j.Result.Table() {
		options, stored, err := tableOptions(x.r)
		if err != nil {
			return err
		}
		header.Set("Vary", "Accept")
		if !stored {
			return h.serveTable(x, j, content, options)
		}
		header.Set("Content-Type", "application/json")
	} else {
		if format := x.r.URL.Query().Get("format"); format != "" {
			e := errs.Errorf(errs.Unacceptable, "the result is not a table but a document, %.100q; leave out format=%.40s", j.Result.ContentType, format)
			return about(id, e)
		}
		setDocumentHeaders(header, j)
	}
	header.Set("ETag", `"`+string(id)+`"`) // a result never changes
	if x.unchanged() {
		return nil
	}
	return serveContent(x, content, j.Result.Bytes)
}

// setDocumentHeaders names the type of a document. What a browser might run is
// handed out as a file, never shown as a page of ours.
func setDocumentHeaders(header http.Header, j *job.Job) {
	t, _, err := mime.ParseMediaType(j.Result.ContentType)
	if err != nil {
		t = "application/octet-stream"
		header.Set("Content-Type", t)
	} else {
		header.Set("Content-Type", j.Result.ContentType)
	}
	switch t {
	case "text/plain", "text/csv", "text/markdown", "application/json", "application/x-ndjson":
	default:
		header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": string(j.ID)}))
		header.Set("Content-Security-Policy", "sandbox")
	}
}

// jobAfterWait returns a job, after it has ended if the query says wait and that
// long. Without wait, it returns the job only when it is needed.
func (h *Handler) jobAfterWait(x *exchange, id job.ID, needed bool) (*job.Job, error) {
	wait, err := waitOf(x.r)
	if err != nil {
		return nil, err
	}
	if wait == 0 {
		if !needed {
			return nil, nil
		}
		return h.jobs.Get(x.r.Context(), id)
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), wait)
	defer cancel()
	defer context.AfterFunc(h.stopping, cancel)()
	j, err := h.jobs.Wait(ctx, id)
	if err != nil && stopped(err) && x.r.Context().Err() == nil {
		return nil, errs.Errorf(errs.Unavailable, "the host stops; ask again")
	}
	return j, err
}
