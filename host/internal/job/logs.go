package job

import (
	"fmt"
	"strings"
)

// Stream names one of the two text streams of a job.
type Stream string

// The text streams of a job.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// Logs says where the text streams of an ended attempt are kept, and how much it has
// written. The key of a stream that was never written is empty.
type Logs struct {
	Stdout, Stderr           string // keys of artifacts
	StdoutBytes, StderrBytes int64
}

// The ends of keys. They tell about a stream what a reader of it has to know.
const (
	// CutEnd: its middle was not kept, and CutMark stands there. What is before that
	// is as long as what is behind it.
	CutEnd = ".cut"
	// OnEnd: the next attempt goes on with it on the same host, and has all of it.
	OnEnd = ".on"
)

// Key returns where a stream is kept; "" when it was empty.
func (l Logs) Key(s Stream) string {
	if s == Stderr {
		return l.Stderr
	}
	return l.Stdout
}

// Bytes returns how much was written to a stream.
func (l Logs) Bytes(s Stream) int64 {
	if s == Stderr {
		return l.StderrBytes
	}
	return l.StdoutBytes
}

// Cut reports whether the middle of a stream was not kept.
func (l Logs) Cut(s Stream) bool { return strings.Contains(l.Key(s)+".", CutEnd+".") }

// GoesOn reports whether the next attempt has gone on with a stream.
func (l Logs) GoesOn(s Stream) bool { return strings.HasSuffix(l.Key(s), OnEnd) }

// CutMark stands in a stream for so many bytes that were not kept.
func CutMark(bytes int64) string {
	return fmt.Sprintf("\n[heimdall: %19d bytes are missing here]\n", bytes)
}

// CutMarkBytes is the length of every mark.
const CutMarkBytes int64 = 56
