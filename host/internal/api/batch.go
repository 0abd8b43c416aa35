package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

// batchType is the media type of many JSON objects, one a line.
const batchType = "application/x-ndjson"

// Bounds of a batch.
const (
	maxItems     = 100_000
	atOnce       = 512      // items that are submitted at once: enough to share commits
	bytesAtOnce  = 8 << 20  // of these items
	bytesUnsent  = 16 << 20 // of results that the client has not taken yet: many read nothing before all is sent
	itemPatience = bodyTime // for the next line
)

// submitBatch serves POST /jobs: one submission a line, one result a line in the
// same order. It never waits for the end of a job, and an item that is refused
// fails alone. A client that goes away leaves the jobs that it submitted.
func (h *Handler) submitBatch(x *exchange) error {
	if t, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || t != batchType {
		return errs.Errorf(errs.Unsupported, "many jobs at once are sent as %s, one submission a line; for a single one there is POST %s/job", batchType, base)
	}
	if err := checkEncoding(x); err != nil {
		return err
	}
	if x.r.Header.Get(keyHeader) != "" {
		return errs.Errorf(errs.Malformed, "the header %s is for one job; give each line an idempotency_key of its own", keyHeader)
	}
	if x.r.ContentLength > h.limits.Batch {
		return h.tooLarge(x, h.limits.Batch)
	}
	b := &batch{
		h: h, x: x, ctl: http.NewResponseController(x.w),
		lines: bufio.NewReaderSize(x.r.Body, maxWrite), left: h.limits.Batch,
	}
	if mark, _ := b.lines.Peek(len(byteOrderMark)); bytes.Equal(mark, byteOrderMark) {
		_, _ = b.lines.Discard(len(byteOrderMark))
	}
	first, err := b.next()
	switch {
	case errors.Is(err, io.EOF):
		return errs.Errorf(errs.Malformed, "the body is empty; send one submission a line")
	case errors.Is(err, errBatchTooLarge):
		return h.tooLarge(x, h.limits.Batch)
	case err != nil:
		return err
	}
	// The results of the first items are sent while the last ones come. Where that
	// cannot be, they are sent behind all.
	_ = b.ctl.EnableFullDuplex()
	x.Header().Set("Content-Type", batchType)
	x.WriteHeader(http.StatusOK)
	b.run(first)
	return nil
}

// batch is a request that submits many jobs.
type batch struct {
	h     *Handler
	x     *exchange
	ctl   *http.ResponseController
	lines *bufio.Reader
	left  int64 // bytes of the body that may still come
}

// line is an item as it came; long when there was more of it than may be.
type line struct {
	text []byte
	long bool
}

// errors that end a batch.
var (
	errBatchTooLarge = errors.New("the batch is too large")
	errLate          = errs.Errorf(errs.Malformed, "the next line did not come in time: it may take %v", itemPatience)
)

// next reads the next line that is not empty.
func (b *batch) next() (line, error) {
	// Whoever sends is alive, and need not have taken a result yet.
	_ = b.ctl.SetReadDeadline(time.Now().Add(itemPatience))
	_ = b.ctl.SetWriteDeadline(time.Now().Add(itemPatience + patience))
	for {
		l, err := b.read()
		switch {
		case (l.long || len(bytes.TrimSpace(l.text)) > 0) && (err == nil || errors.Is(err, io.EOF)):
			return l, nil
		case err == nil:
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return line{}, errLate
		case errors.Is(err, io.EOF), errors.Is(err, errBatchTooLarge):
			return line{}, err
		default:
			return line{}, errs.Errorf(errs.Malformed, "the body ended early: %w", err)
		}
	}
}

// read reads one line. Of one that is too long it keeps the beginning.
func (b *batch) read() (l line, err error) {
	for {
		part, err := b.lines.ReadSlice('\n')
		if b.left -= int64(len(part)); b.left < 0 {
			return line{}, errBatchTooLarge
		}
		if int64(len(l.text)+len(part)) > b.h.limits.Body+1 { // with its newline
			l.long = true
		}
		if !l.long {
			l.text = append(l.text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return l, err
		}
	}
}

// run submits the items and answers each.
func (b *batch) run(first line) {
	ctx := context.WithoutCancel(b.x.r.Context())
	var (
		weight  = semaphore.NewWeighted(bytesAtOnce)
		results = make(chan chan itemResult, atOnce)
		out     = newOutbox(b.x)
		sent    sync.WaitGroup
		running sync.WaitGroup
	)
	sent.Go(func() {
		for result := range results {
			out.add(<-result)
		}
		out.close()
	})
	item, err := first, error(nil)
	index := 0
	for ; err == nil && index < maxItems && !out.dead(); index++ {
		n := min(int64(len(item.text))+1, bytesAtOnce)
		_ = weight.Acquire(ctx, n) // that context does not end
		result := make(chan itemResult, 1)
		results <- result
		i, one := index, item
		running.Go(func() {
			defer weight.Release(n)
			result <- b.submit(ctx, i, one)
		})
		item, err = b.next()
	}
	whole := errors.Is(err, io.EOF)
	switch {
	case whole:
		err = nil
	case errors.Is(err, errBatchTooLarge):
		err = errs.Errorf(errs.TooLarge, "the body is larger than %d bytes; what comes from here on was not read", b.h.limits.Batch)
	case err == nil && !out.dead():
		err = errs.Errorf(errs.TooLarge, "there are more than %d lines; what comes from here on was not read", maxItems)
	}
	if err != nil && !out.dead() {
		last := make(chan itemResult, 1)
		last <- b.refused(index, err)
		results <- last
	}
	close(results)
	running.Wait()
	sent.Wait()
	if whole || b.drain() {
		_ = b.ctl.SetReadDeadline(time.Time{})
	}
}

// drain throws away what is left of the body, if it is not much, and reports
// whether that was all of it. Else nothing more is to be read of the connection:
// the server must not come upon the end of the body by itself once answers were
// sent before it.
func (b *batch) drain() bool {
	_ = b.ctl.SetReadDeadline(time.Now().Add(drainTime))
	if _, err := io.CopyN(io.Discard, b.x.r.Body, maxDrain); errors.Is(err, io.EOF) {
		return true
	}
	_ = b.ctl.SetReadDeadline(time.Unix(1, 0))
	return false
}

// itemResult is the answer to one item: what a single submit of it would have been
// answered with.
type itemResult struct {
	Index int `json:"index"`
	// Status is that of HTTP.
	Status     int     `json:"status"`
	ID         job.ID  `json:"id,omitempty"`
	Error      string  `json:"error,omitempty"`
	Type       string  `json:"type,omitempty"`
	Title      string  `json:"title,omitempty"`
	Detail     string  `json:"detail,omitempty"`
	Errors     []fault `json:"errors,omitempty"`
	RetryAfter int64   `json:"retry_after,omitempty"` // seconds
}

// submit submits one item.
func (b *batch) submit(ctx context.Context, index int, item line) (result itemResult) {
	defer func() {
		if p := recover(); p != nil {
			b.h.log.Error("panic while submitting an item of a batch", b.x.fields("index", index, "panic", p)...)
			result = b.refused(index, errs.Errorf(errs.Internal, "panic"))
		}
	}()
	if item.long {
		return b.refused(index, errs.Errorf(errs.TooLarge, "the line is larger than %d bytes", b.h.limits.Body))
	}
	var s submission
	text := bytes.TrimSpace(item.text)
	if err := parseObject(text, &s, "line"); err != nil {
		if severalObjects(text) {
			err = errs.Errorf(errs.Malformed, "the line holds several objects; send one a line "+
				"(curl keeps the lines of a file with --data-binary @FILE, and joins them with -d @FILE)")
		}
		return b.refused(index, err)
	}
	ask, err := s.read(b.h.limits.Context)
	if err != nil {
		return b.refused(index, err)
	}
	ask.request.Trace = b.x.trace
	j, err := b.h.jobs.Submit(ctx, b.x.user, ask.request, jobs.WaitNever, ask.key)
	if err != nil {
		return b.refused(index, err)
	}
	return itemResult{Index: index, Status: http.StatusAccepted, ID: j.ID}
}

// severalObjects reports whether a line begins with an object and another one
// follows.
func severalObjects(text []byte) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	var object json.RawMessage
	if text[0] != '{' || d.Decode(&object) != nil {
		return false
	}
	rest := bytes.TrimSpace(text[d.InputOffset():])
	return len(rest) > 0 && rest[0] == '{'
}

// refused is the answer to an item that came to nothing.
func (b *batch) refused(index int, err error) itemResult {
	p := b.h.problem(b.x, err)
	if p.Status == http.StatusInternalServerError {
		b.h.log.Error("an item of a batch ended in an error", b.x.fields("index", index, "error", err)...)
	}
	return itemResult{
		Index: index, Status: p.Status, ID: job.ID(p.ID), Error: p.Error, Type: p.Type, Title: p.Title, Detail: p.Detail,
		Errors: p.Errors, RetryAfter: p.retryAfter(),
	}
}

// outbox holds results until the client takes them.
type outbox struct {
	x    *exchange
	done chan struct{} // closed when all was sent, or nobody takes it any more

	mu     sync.Mutex
	some   *sync.Cond // something was added or sent, or it is over
	unsent bytes.Buffer
	enc    *json.Encoder
	full   bool // all was added
	failed bool // the client is gone
}

func newOutbox(x *exchange) *outbox {
	o := &outbox{x: x, done: make(chan struct{})}
	o.some = sync.NewCond(&o.mu)
	o.enc = json.NewEncoder(&o.unsent)
	o.enc.SetEscapeHTML(false)
	go o.send() // close waits for it
	return o
}

// add adds a result. It waits while the client has too much to take.
func (o *outbox) add(r itemResult) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.unsent.Len() > bytesUnsent && !o.failed {
		o.some.Wait()
	}
	if !o.failed {
		_ = o.enc.Encode(r) // it has only what JSON has
	}
	o.some.Broadcast()
}

// dead reports whether nobody takes results any more.
func (o *outbox) dead() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}

// close waits until all was sent.
func (o *outbox) close() {
	o.mu.Lock()
	o.full = true
	o.some.Broadcast()
	o.mu.Unlock()
	<-o.done
}

// send sends what is there, as it comes.
func (o *outbox) send() {
	defer close(o.done)
	p := newPatient(o.x)
	defer func() { _ = p.Flush() }()
	part := make([]byte, maxWrite)
	for {
		o.mu.Lock()
		for o.unsent.Len() == 0 && !o.full {
			o.some.Wait()
		}
		n, _ := o.unsent.Read(part)
		last := o.unsent.Len() == 0
		over := n == 0
		o.some.Broadcast()
		o.mu.Unlock()
		if over {
			return
		}
		_, err := p.Write(part[:n])
		if err == nil && last {
			err = p.Flush()
		}
		if err != nil {
			o.mu.Lock()
			o.failed = true
			o.some.Broadcast()
			o.mu.Unlock()
			return
		}
	}
}
