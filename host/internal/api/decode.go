package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// readObject reads the body of a request, which must be one JSON object, into
// the struct that v points to. What stands at a field is left for the caller to
// judge when the field is a json.RawMessage.
func (h *Handler) readObject(x *exchange, v any) error {
	if err := checkMediaType(x.r.Header.Get("Content-Type")); err != nil {
		return err
	}
	if err := checkEncoding(x); err != nil {
		return err
	}
	body, err := h.readBody(x)
	if err != nil {
		return err
	}
	return parseText(body, v, "body")
}

// parseText reads text that must be one JSON object, and calls it what it is.
func parseText(text []byte, v any, what string) error {
	if text = bytes.TrimSpace(bytes.TrimPrefix(text, byteOrderMark)); len(text) == 0 {
		return errs.Errorf(errs.Malformed, "the %s is empty; send a JSON object", what)
	}
	return parseObject(text, v, what)
}

// parseObject reads text that must be one JSON object, without space around it,
// and calls it what it is.
func parseObject(text []byte, v any, what string) error {
	if text[0] != '{' {
		return errs.Errorf(errs.Malformed, "the %s is not a JSON object", what)
	}
	if err := inspect(text); err != nil {
		return errs.Errorf(errs.Malformed, "the %s cannot be read: %w", what, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return errs.Errorf(errs.Malformed, "the %s is not JSON: %w", what, placed(err))
	}
	return nil
}

// byteOrderMark is what some editors begin a file with.
var byteOrderMark = []byte("\ufeff")

// checkEncoding refuses a body that is packed.
func checkEncoding(x *exchange) error {
	for _, encoding := range x.r.Header.Values("Content-Encoding") {
		if encoding != "" && !strings.EqualFold(strings.TrimSpace(encoding), "identity") {
			x.Header().Set("Accept-Encoding", "identity")
			return errs.Errorf(errs.Unsupported, "the content encoding %.100q is not read; send the body as it is", encoding)
		}
	}
	return nil
}

// bodyTime is how long a body may take to come, whoever reads it.
const bodyTime = 30 * time.Second

// expectBody begins the time for a body. When the handler does not read it, the
// server does.
func expectBody(x *exchange) {
	if x.r.ContentLength != 0 {
		ctl := http.NewResponseController(x.w)
		_ = ctl.SetReadDeadline(time.Now().Add(bodyTime))
		// Whoever waits to be told to send it is told: the deadline of the answer before is
		// none of this one.
		_ = ctl.SetWriteDeadline(time.Now().Add(bodyTime + patience))
	}
}

// readBody reads the whole body, up to the limit.
func (h *Handler) readBody(x *exchange) ([]byte, error) {
	limit := h.limits.Body
	var buf bytes.Buffer
	if n := x.r.ContentLength; n > limit {
		return nil, h.tooLarge(x, limit)
	} else if n > 0 {
		buf.Grow(int(min(n, 64<<10)) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(x.r.Body, limit+1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, errs.Errorf(errs.Malformed, "the body did not come in time: it may take %v", bodyTime)
	}
	if err != nil {
		return nil, errs.Errorf(errs.Malformed, "the body ended early: %w", err)
	}
	if n > limit {
		return nil, h.tooLarge(x, limit)
	}
	// The client may stay as long as its job takes.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	return buf.Bytes(), nil
}

// Bounds on what is read of a body that is refused.
const (
	maxDrain  = 16 << 20
	drainTime = 5 * time.Second
)

// tooLarge refuses the body.
func (h *Handler) tooLarge(x *exchange, limit int64) error {
	return h.unread(x, errs.Errorf(errs.TooLarge, "the body is larger than %d bytes", limit))
}

// unread refuses a request whose body was not read to its end. Many clients read no
// answer before they have sent all, so the rest is taken and thrown away if it is not
// much.
func (h *Handler) unread(x *exchange, err error) error {
	x.Header().Set("Connection", "close")
	if x.r.ContentLength <= maxDrain && x.r.Header.Get("Expect") == "" {
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(drainTime))
		_, _ = io.CopyN(io.Discard, x.r.Body, maxDrain)
	}
	return err
}

// checkMediaType lets through what is read as JSON: JSON itself, nothing said,
// and the form type that curl sends when it is told nothing.
func checkMediaType(contentType string) error {
	if contentType == "" {
		return nil
	}
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return errs.Errorf(errs.Unsupported, "the content type %.100q cannot be read; send application/json", contentType)
	}
	if t == "application/json" || t == "text/json" || strings.HasSuffix(t, "+json") || t == "application/x-www-form-urlencoded" {
		return nil
	}
	return errs.Errorf(errs.Unsupported, "the content type %.100q is not read; send application/json", t)
}

// placed adds to a syntax error where it is.
func placed(err error) error {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("%w (after %d bytes)", err, e.Offset)
	}
	return err
}

// Bounds on JSON that is accepted: what lies beyond is nobody's data, and not
// every database and program can hold it.
const (
	maxDepth  = 64   // of objects and lists
	maxNumber = 1000 // bytes of a number
	maxExp    = 4    // digits of an exponent
)

// inspect looks at JSON text for what the parser lets through and something
// behind it may not: depth, text that is not Unicode, the character NUL, numbers
// beyond all measure. It does not check the syntax.
func inspect(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("it is not UTF-8")
	}
	depth := 0
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			n, err := inspectString(text[i+1:])
			if err != nil {
				return err
			}
			i += n + 1
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("it is nested deeper than %d", maxDepth)
			}
			i++
		case c == '}' || c == ']':
			depth--
			i++
		case c == '-' || '0' <= c && c <= '9':
			n, err := inspectNumber(text[i:])
			if err != nil {
				return err
			}
			i += n
		default:
			i++
		}
	}
	return nil
}

// inspectString looks at a string behind its first quote, and returns how long
// it is with the last one.
func inspectString(text []byte) (int, error) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i + 1, nil
		case '\\':
			i++
			if i == len(text) || text[i] != 'u' {
				continue
			}
			r, ok := hex4(text[i+1:])
			if !ok {
				continue // the parser will say it better
			}
			i += 4
			switch {
			case r == 0:
				return 0, errors.New(`a string has the character NUL (\u0000)`)
			case 0xDC00 <= r && r <= 0xDFFF:
				return 0, fmt.Errorf(`a string has half a character (\u%04x)`, r)
			case 0xD800 <= r && r <= 0xDBFF:
				rest, escaped := bytes.CutPrefix(text[i+1:], []byte(`\u`))
				low, ok := hex4(rest)
				if !escaped || !ok || low < 0xDC00 || low > 0xDFFF {
					return 0, fmt.Errorf(`a string has half a character (\u%04x)`, r)
				}
				i += 6
			}
		}
	}
	return len(text), nil
}

// inspectNumber looks at a number and returns how long it is.
func inspectNumber(text []byte) (int, error) {
	exp := -1
	n := 0
	for ; n < len(text); n++ {
		c := text[n]
		if c == 'e' || c == 'E' {
			exp = 0
		} else if '0' <= c && c <= '9' {
			if exp >= 0 {
				exp++
			}
		} else if c != '-' && c != '+' && c != '.' {
			break
		}
	}
	if n > maxNumber || exp > maxExp {
		return 0, fmt.Errorf("the number %.20s… is beyond all measure", text[:n])
	}
	return n, nil
}

// hex4 reads four hexadecimal digits.
func hex4(text []byte) (rune, bool) {
	if len(text) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range text[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
