package trace

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// fixed is the key of the id that the next span is to have.
type fixed struct{}

// ids makes the ids of spans: those that the context has, else of chance.
type ids struct{}

// NewIDs implements sdktrace.IDGenerator.
func (g ids) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) (span trace.SpanID) {
	if id, ok := ctx.Value(fixed{}).(trace.SpanID); ok {
		return id
	}
	for !span.IsValid() {
		binary.NativeEndian.PutUint64(span[:], rand.Uint64())
	}
	return span
}

// parse returns the context that a header stands for.
func parse(t job.Trace) trace.SpanContext {
	id, _ := trace.TraceIDFromHex(t.ID()) // it was checked
	span, _ := trace.SpanIDFromHex(t.Span())
	flags := trace.TraceFlags(0)
	if t.Sampled() {
		flags = trace.FlagsSampled
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: flags, Remote: true})
}

// contextOf returns the header for a context.
func contextOf(c trace.SpanContext) job.Trace {
	if !c.IsValid() {
		return ""
	}
	flags := "00"
	if c.IsSampled() {
		flags = "01"
	}
	return job.Trace("00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + flags)
}
