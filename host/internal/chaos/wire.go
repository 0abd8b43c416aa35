package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// message is one of PostgreSQL's protocol, as it came.
type message struct {
	kind byte // 0: the first of a connection
	raw  []byte
}

// body is what stands behind kind and length.
func (m message) body() []byte {
	if m.kind == 0 {
		return m.raw[4:]
	}
	return m.raw[5:]
}

// largest is the size of a message beyond which it is taken for nonsense.
const largest = 1 << 30

// readFirst reads the first message of a client, which has no kind.
func readFirst(r *bufio.Reader) (message, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return message{}, err
	}
	return readBody(r, 0, head, 4)
}

// readMessage reads any other.
func readMessage(r *bufio.Reader) (message, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return message{}, err
	}
	return readBody(r, head[0], head, 5)
}

func readBody(r *bufio.Reader, kind byte, head []byte, from int) (message, error) {
	n := binary.BigEndian.Uint32(head[from-4:])
	if n < 4 || n > largest {
		return message{}, fmt.Errorf("a message of PostgreSQL has %d bytes", n)
	}
	raw := make([]byte, from+int(n)-4)
	copy(raw, head)
	_, err := io.ReadFull(r, raw[from:])
	return message{kind, raw}, err
}

// The messages that matter here.
const (
	parse         = 'P' // of a client: name, text, …
	bind          = 'B' // portal, name, …
	query         = 'Q' // text
	syncKind      = 'S' // ends what was sent; commits it unless there is a transaction
	readyForQuery = 'Z' // of the server: the state of the transaction
	completed     = 'C' // what a statement did, and mostly to how many rows
	failed        = 'E'
)

// idle is the state of a session that is in no transaction.
const idle = 'I'

// cString cuts a text off that ends in a NUL.
func cString(b []byte) (text string, rest []byte) {
	before, after, _ := bytes.Cut(b, []byte{0})
	return string(before), after
}

// exchange follows what a client sends, up to where the server is to answer.
type exchange struct {
	statements map[string]string // prepared ones, by name
	text       string            // of what is done in this exchange
}

// take takes a message in and reports whether it completes the exchange.
func (x *exchange) take(m message) (complete bool) {
	switch m.kind {
	case parse:
		name, rest := cString(m.body())
		x.statements[name], _ = cString(rest)
	case bind:
		_, rest := cString(m.body())
		name, _ := cString(rest)
		x.text += x.statements[name] + "\n"
	case query:
		text, _ := cString(m.body())
		x.text += text + "\n"
		return true
	case syncKind:
		return true
	}
	return false
}

var writing = regexp.MustCompile(`(?i)\b(INSERT|UPDATE|DELETE)\b|^\s*COMMIT\b`)

// writes reports whether a text may change something durably.
func writes(text string) bool { return writing.MatchString(text) }

// committed reports whether the answer to an exchange says that its last statement
// did something, and that it is durable.
func committed(answer []message) bool {
	done := ""
	for _, m := range answer {
		switch {
		case m.kind == failed, m.kind == readyForQuery && m.body()[0] != idle:
			return false
		case m.kind == completed:
			done, _ = cString(m.body())
		}
	}
	return done != "" && !strings.HasSuffix(done, " 0")
}
