package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// eventsType is the media type of server-sent events.
const eventsType = "text/event-stream"

// beatTime is the longest silence of a stream of events: what lies between may take
// a silent connection for a dead one.
const beatTime = 15 * time.Second

// events writes streams as server-sent events: log for text, whose id is the offset
// behind it, and end.
type events struct {
	mu      sync.Mutex
	to      *patient
	spoken  bool // since the last beat
	err     error
	stop    chan struct{}
	stopped chan struct{}
}

func newEvents(x *exchange) *events {
	e := &events{to: newPatient(x), stop: make(chan struct{}), stopped: make(chan struct{})}
	go e.beat()
	return e
}

// wireText is the data of an event log.
type wireText struct {
	Attempt int    `json:"attempt"`
	Offset  int64  `json:"offset"` // of its first byte
	Text    string `json:"text"`   // what is no UTF-8 is U+FFFD
}

// wireEnd is the data of an event end.
type wireEnd struct {
	Status job.Status `json:"status"`
}

func (e *events) part(attempt int, offset int64, b []byte, behind func(int) int64, last bool) (int, error) {
	n := len(b)
	if !last {
		n = whole(b)
	}
	if n == 0 {
		return 0, nil
	}
	id := strconv.FormatInt(behind(n), 10)
	if attempt > 1 {
		id = strconv.Itoa(attempt) + ":" + id
	}
	return n, e.send("log", id, wireText{attempt, offset, string(b[:n])})
}

func (e *events) end(status job.Status) error { return e.send("end", "", wireEnd{status}) }

// whole returns how many bytes of a text do not end within a character.
func whole(b []byte) int {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

func (e *events) send(name, id string, data any) error {
	var text bytes.Buffer
	if id != "" {
		fmt.Fprintf(&text, "id: %s\n", id)
	}
	fmt.Fprintf(&text, "event: %s\ndata: ", name)
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(data); err != nil { // ends with a newline
		return err
	}
	text.WriteByte('\n')
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		_, e.err = e.to.Write(text.Bytes())
	}
	e.spoken = true
	return e.err
}

func (e *events) flush() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = e.to.Flush()
	}
	return e.err
}

// beat breaks silences with comments.
func (e *events) beat() {
	defer close(e.stopped)
	tick := time.NewTicker(beatTime)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		e.mu.Lock()
		if !e.spoken && e.err == nil {
			if _, e.err = io.WriteString(e.to, ":\n\n"); e.err == nil {
				e.err = e.to.Flush()
			}
		}
		e.spoken = false
		e.mu.Unlock()
	}
}

func (e *events) close() error {
	close(e.stop)
	<-e.stopped
	return e.to.Close()
}
