package trace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Request begins the span of a request, within the trace that its caller has named,
// if any. It returns the context for what the request begins, and what ends the span.
func (t *Tracer) Request(r *http.Request, route string, caller job.Trace) (within job.Trace, answered func(status int)) {
	ctx := inside(context.Background(), caller)
	_, span := t.tracer.Start(ctx, r.Method+" "+route, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("http.route", route)))
	return contextOf(span.SpanContext()), func(status int) {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(status))
		}
		span.End()
	}
}

// Spans of an attempt.
const (
	waitSpan    = "queue"
	attemptSpan = "attempt"
	pluginSpan  = "plugin"
)

// Plugin returns the context that a plugin works in: within the span of its call,
// which is told of when the attempt has ended.
func (t *Tracer) Plugin(c job.Claimed) job.Trace {
	if t == nil {
		return c.Job.Trace
	}
	id := spanOf(c, pluginSpan)
	return c.Job.Trace.Within(hex.EncodeToString(id[:]))
}

// Ended tells of an attempt that has ended: how long the job waited for the first,
// the attempt until it was recorded, and the plugin's part in it.
func (t *Tracer) Ended(c job.Claimed, o job.Outcome) {
	if c.Job.Trace == "" || o.StartedAt.IsZero() {
		return
	}
	about := []attribute.KeyValue{
		attribute.String("heimdall.job.id", string(c.Job.ID)),
		attribute.Int("heimdall.job.attempt", c.Lease.Attempt),
		attribute.String("heimdall.job.status", string(o.Status)),
		attribute.String("heimdall.command", c.Job.Pair.CommandID),
		attribute.String("heimdall.cluster", c.Job.Pair.ClusterID),
		attribute.String("heimdall.plugin", t.plugin(c.Job.Pair.CommandID)),
		attribute.String("heimdall.user", c.Job.User),
	}
	submit := inside(context.Background(), c.Job.Trace)
	if c.Lease.Attempt == 1 {
		from := c.Job.CreatedAt
		if c.Job.StartAfter.After(from) {
			from = c.Job.StartAfter
		}
		t.span(submit, c, waitSpan, trace.SpanKindInternal, from, o.StartedAt, nil, about[0])
	}
	attempt := t.span(submit, c, attemptSpan, trace.SpanKindInternal, o.StartedAt, time.Now(), o.Error, about...)
	t.span(attempt, c, pluginSpan, trace.SpanKindClient, o.StartedAt, o.EndedAt, o.Error, about...)
}

// span tells of a span that is over, and returns the context within it.
func (t *Tracer) span(ctx context.Context, c job.Claimed, name string, kind trace.SpanKind, from, to time.Time, failure *job.Error, about ...attribute.KeyValue) context.Context {
	id := spanOf(c, name)
	ctx, span := t.tracer.Start(context.WithValue(ctx, fixed{}, id), name,
		trace.WithSpanKind(kind), trace.WithTimestamp(from), trace.WithAttributes(about...))
	if failure != nil {
		span.SetAttributes(attribute.String("error.type", string(failure.Class)))
		span.SetStatus(codes.Error, string(failure.Class)) // what it says is for the job's caller
	}
	span.End(trace.WithTimestamp(to))
	return ctx
}

// spanOf returns the id of a span of an attempt: always the same.
func spanOf(c job.Claimed, name string) (id trace.SpanID) {
	sum := sha256.Sum256([]byte(string(c.Job.ID) + "." + strconv.Itoa(c.Lease.Attempt) + " " + name))
	copy(id[:], sum[:])
	return id
}

// inside returns a context within a trace, if there is one.
func inside(ctx context.Context, t job.Trace) context.Context {
	if t == "" {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, parse(t))
}
