package job

import "strings"

// Trace is the W3C trace context that work belongs to, as the header traceparent
// has it: 00-<32 digits, the trace>-<16, the span>-<2, flags>. "" is none.
type Trace string

// Places in it.
const (
	traceLength = 55
	traceFrom   = 3
	traceTo     = traceFrom + 32
	spanFrom    = traceTo + 1
	spanTo      = spanFrom + 16
)

// ParseTrace reads a header traceparent. What is not valid is none: the caller of a
// job is not refused for it. Of later versions what this one knows is kept.
func ParseTrace(header string) Trace {
	if len(header) < traceLength || len(header) > traceLength && (header[:2] == "00" || header[traceLength] != '-') {
		return ""
	}
	header = header[:traceLength]
	parts := strings.Split(header, "-")
	if len(parts) != 4 || len(parts[0]) != 2 || len(parts[1]) != 32 || len(parts[2]) != 16 || parts[0] == "ff" {
		return ""
	}
	for _, p := range parts {
		if strings.Trim(p, "0123456789abcdef") != "" {
			return ""
		}
	}
	if strings.Trim(parts[1], "0") == "" || strings.Trim(parts[2], "0") == "" {
		return ""
	}
	return Trace("00" + header[2:])
}

// ID returns the id of the trace, "" when there is none.
func (t Trace) ID() string {
	if len(t) != traceLength {
		return ""
	}
	return string(t[traceFrom:traceTo])
}

// Span returns the id of the span that is the parent, "" when there is none.
func (t Trace) Span() string {
	if len(t) != traceLength {
		return ""
	}
	return string(t[spanFrom:spanTo])
}

// Sampled reports whether whoever began the trace keeps it.
func (t Trace) Sampled() bool {
	return len(t) == traceLength && strings.Contains("13579bdf", string(t[traceLength-1:]))
}

// Within returns the same with another span as the parent, 16 hex digits.
func (t Trace) Within(span string) Trace {
	if len(t) != traceLength || len(span) != spanTo-spanFrom {
		return t
	}
	return t[:spanFrom] + Trace(span) + t[spanTo:]
}
