package api

import (
	"cmp"
	"context"
	"net/http"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

// submitJob serves POST /job. A job of a sync command is answered when it has
// ended, any other at once; what the client prefers goes before that.
func (h *Handler) submitJob(x *exchange) error {
	key, err := idempotencyKey(x.r.Header)
	if err != nil {
		return err
	}
	ask, err := h.readAsked(x)
	if err != nil {
		return err
	}
	if key != "" && ask.key != "" && key != ask.key {
		return &errs.Error{
			Kind: errs.Invalid, Message: "the header " + keyHeader + " and the field idempotency_key differ; send one of them",
			Fields: []errs.Field{{Pointer: "/idempotency_key", Detail: "idempotency_key is not what the header " + keyHeader + " is"}},
		}
	}
	ask.request.Trace = x.trace
	onDisconnect := ask.onDisconnect
	prefer := parsePrefer(x.r.Header)
	mode := prefer.mode()
	j, err := h.jobs.Submit(context.WithoutCancel(x.r.Context()), x.user, ask.request, mode, cmp.Or(key, ask.key))
	if err != nil {
		return err
	}
	if prefer.any() {
		x.Header().Set("Preference-Applied", prefer.String())
	}
	if !mode.For(j) {
		return h.writeAccepted(x, j)
	}
	if onDisconnect == "" {
		onDisconnect = continueOnDisconnect
		if !prefer.any() {
			onDisconnect = cancelOnDisconnect
		}
	}
	id := j.ID
	j, err = h.await(x, id, prefer)
	if x.r.Context().Err() != nil {
		return h.abandon(x, id, onDisconnect)
	}
	if err != nil {
		return about(id, err)
	}
	if !j.Status.Final() {
		return h.writeAccepted(x, j)
	}
	status := http.StatusOK
	if prefer.wait == nil {
		status = statusOfEnd(j)
	}
	return h.writeEnded(x, status, j)
}

// readAsked reads a submission: a JSON object, or a form that has it and files.
func (h *Handler) readAsked(x *exchange) (asked, error) {
	var s submission
	form, err := h.readForm(x, &s)
	if err != nil {
		return asked{}, err
	}
	s.override(x.r.URL.Query())
	ask, err := s.read(h.limits.Context)
	switch {
	case form == nil:
		return ask, err
	case err != nil:
		return asked{}, h.unread(x, err)
	}
	ask.request.Attachments, err = h.readFiles(x, form, ask.request.Attachments)
	return ask, err
}

// await waits for the end of a job that was just submitted, as long as the
// client stays, and no longer than it prefers.
func (h *Handler) await(x *exchange, id job.ID, p preference) (*job.Job, error) {
	ctx := x.r.Context()
	if p.wait != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *p.wait)
		defer cancel()
	}
	return h.jobs.Wait(ctx, id)
}

// abandon ends a submit whose client is gone.
func (h *Handler) abandon(x *exchange, id job.ID, onDisconnect string) error {
	if onDisconnect == continueOnDisconnect {
		return x.r.Context().Err()
	}
	ctx := context.WithoutCancel(x.r.Context())
	if _, err := h.jobs.Cancel(ctx, x.user, id, jobs.ClientGone); err != nil {
		h.log.Warn("cancel a job whose client is gone", x.fields("job_id", id, "error", err)...)
	}
	return x.r.Context().Err()
}

// writeAccepted answers with a job that goes on.
func (h *Handler) writeAccepted(x *exchange, j *job.Job) error {
	x.Header().Set("Location", base+"/job/"+string(j.ID))
	return h.writeJSON(x, http.StatusAccepted, wire(j))
}

// statusOfEnd returns the HTTP status for the end of a sync job: of one that did
// not succeed, it says whose fault it was.
func statusOfEnd(j *job.Job) int {
	if j.Status == job.Succeeded {
		return http.StatusOK
	}
	var class job.Class
	if j.Error != nil {
		class = j.Error.Class
	}
	switch class {
	case job.Invalid, job.WorkFailed:
		return http.StatusUnprocessableEntity
	case job.Denied:
		return http.StatusForbidden
	case job.Quota:
		return http.StatusTooManyRequests
	case job.Unavailable, job.Transient, job.Internal, job.Lost:
		return http.StatusBadGateway
	case job.TimedOut:
		return http.StatusGatewayTimeout
	case job.WasCanceled:
		return http.StatusConflict
	case job.Shutdown:
		return http.StatusServiceUnavailable
	}
	switch j.Status {
	case job.Canceled:
		return http.StatusConflict
	case job.Killed:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadGateway
}

// about makes an error carry the id of the job that it is about.
func about(id job.ID, err error) error {
	kind, message := errs.KindOf(err), err.Error()
	if stopped(err) {
		kind, message = errs.Unavailable, "the wait for the job was stopped; the job is recorded"
	}
	if kind == errs.Internal {
		message = "the host made a mistake while the job ran; its log says more"
	}
	return &errs.Error{Kind: kind, Message: message, ID: string(id), Err: err}
}
