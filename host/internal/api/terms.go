package api

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// maxKey is the length of an idempotency key, in bytes.
const maxKey = 255

// keyHeader is the header that makes the repeat of a submit known.
const keyHeader = "Idempotency-Key"

// idempotencyKey reads the header of that name; "" when there is none.
func idempotencyKey(header http.Header) (string, error) {
	values := header.Values(keyHeader)
	if len(values) > 1 {
		return "", errs.Errorf(errs.Malformed, "there are %d headers %s; send one", len(values), keyHeader)
	}
	key := header.Get(keyHeader)
	if len(values) == 1 && key == "" {
		return "", errs.Errorf(errs.Malformed, "the header %s is empty; leave it out, or give it a key", keyHeader)
	}
	if fault := badKey(key); fault != "" {
		return "", errs.Errorf(errs.Malformed, "the header %s %s", keyHeader, fault)
	}
	return key, nil
}

// badKey says why a text cannot be an idempotency key; "" when it can, or is empty.
func badKey(key string) string {
	if len(key) > maxKey {
		return fmt.Sprintf("has %d bytes; it may have %d", len(key), maxKey)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "has characters other than visible ASCII"
	}
	return ""
}

// key reads the idempotency key of an item.
func (c *checker) key(field string, raw json.RawMessage) string {
	key := c.text(field, raw, maxKey)
	if fault := badKey(key); fault != "" {
		c.fault(errs.Invalid, field, "%s", fault)
	}
	return key
}

// retry reads a retry policy.
func (c *checker) retry(field string, raw json.RawMessage) *job.Retry {
	var sent struct {
		Attempts json.RawMessage `json:"attempts"`
		Backoff  json.RawMessage `json:"backoff"`
		On       json.RawMessage `json:"on"`
	}
	if absent(raw) || !c.decode(field, raw, '{', `an object such as {"attempts": 3}`, &sent) {
		return nil
	}
	if absent(sent.Attempts) {
		c.fault(errs.Invalid, field+"/attempts", "is missing; it says how often the job is tried in all, 1 to %d", job.MaxAttempts)
	}
	policy := &job.Retry{
		Attempts: c.whole(field+"/attempts", sent.Attempts),
		Backoff:  c.duration(field+"/backoff", sent.Backoff),
	}
	for i, item := range c.list(field+"/on", sent.On, "a list of classes of errors") {
		var class string
		if !c.decode(fmt.Sprintf("%s/on/%d", field, i), item, '"', "a string", &class) {
			break
		}
		policy.On = append(policy.On, job.Class(class))
	}
	if part, why := policy.Fault(); part != "" && !c.has(field) {
		c.fault(errs.Invalid, field+"/"+part, "%s", why)
	}
	return policy
}

// priority reads a priority.
func (c *checker) priority(field string, raw json.RawMessage) int {
	n := c.whole(field, raw)
	if n < job.MinPriority || n > job.MaxPriority {
		c.fault(errs.Invalid, field, "is %d; it must be between %d and %d", n, job.MinPriority, job.MaxPriority)
	}
	return n
}

// whole reads a whole number.
func (c *checker) whole(field string, raw json.RawMessage) int {
	if absent(raw) {
		return 0
	}
	if kindOf(raw) != "a number" {
		c.fault(errs.Malformed, field, "is %s; it must be a whole number", kindOf(raw))
		return 0
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		c.fault(errs.Invalid, field, "is %.40s; it must be a whole number", raw)
		return 0
	}
	return int(f)
}

// The years of times that can be asked for.
const (
	firstYear = 1970
	lastYear  = 9999
)

// time reads a time: text as RFC 3339 has it, or a number of seconds since 1970.
func (c *checker) time(field string, raw json.RawMessage) time.Time {
	const want = `a time such as "2026-12-31T23:59:59Z", or a number of seconds since 1970`
	if absent(raw) {
		return time.Time{}
	}
	var at time.Time
	switch kindOf(raw) {
	case "a string":
		var s string
		if !c.decode(field, raw, '"', want, &s) || s == "" {
			return time.Time{}
		}
		var err error
		if at, err = time.Parse(time.RFC3339, s); err != nil {
			c.fault(errs.Invalid, field, "is %.40q; it must be %s", s, want)
			return time.Time{}
		}
	case "a number":
		seconds, err := strconv.ParseFloat(string(raw), 64)
		if whole, fraction := math.Modf(seconds); err == nil && math.Abs(seconds) < 1<<40 {
			at = time.Unix(int64(whole), int64(fraction*1e9))
		}
	default:
		c.fault(errs.Malformed, field, "is %s; it must be %s", kindOf(raw), want)
		return time.Time{}
	}
	at = at.UTC().Truncate(time.Microsecond) // as it is stored
	if at.Year() < firstYear || at.Year() > lastYear {
		c.fault(errs.Invalid, field, "is %.40s; it must be of the years %d to %d", raw, firstYear, lastYear)
		return time.Time{}
	}
	return at
}
