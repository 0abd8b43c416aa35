package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// submission is the body of a submit, each field as it was sent. Other fields,
// among them id, status, user and canceled_by, are not for callers to say.
type submission struct {
	Name            json.RawMessage `json:"name"`
	Version         json.RawMessage `json:"version"`
	Description     json.RawMessage `json:"description"`
	Context         json.RawMessage `json:"context"`
	CommandCriteria json.RawMessage `json:"command_criteria"`
	ClusterCriteria json.RawMessage `json:"cluster_criteria"`
	Tags            json.RawMessage `json:"tags"`
	Timeout         json.RawMessage `json:"timeout"`
	OnDisconnect    json.RawMessage `json:"on_disconnect"`
	Retry           json.RawMessage `json:"retry"`
	Priority        json.RawMessage `json:"priority"`
	StartAfter      json.RawMessage `json:"start_after"`
	Deadline        json.RawMessage `json:"deadline"`
	UniqueKey       json.RawMessage `json:"unique_key"`
	IdempotencyKey  json.RawMessage `json:"idempotency_key"` // where there is no header for it
	Attachments     json.RawMessage `json:"attachments"`
}

// Lengths of texts, in bytes.
const (
	maxName        = 300
	maxVersion     = 64
	maxDescription = 4096
)

// maxDetails is how many faults one sentence tells.
const maxDetails = 10

// What happens to a job when nobody waits for its answer anymore.
const (
	cancelOnDisconnect   = "cancel"
	continueOnDisconnect = "continue"
)

// override puts what stands in the query of a submit in the place of fields of the
// body: existing clients name their jobs that way. Fields that are not text have no
// place there.
func (s *submission) override(query url.Values) {
	for name, field := range map[string]*json.RawMessage{"name": &s.Name, "version": &s.Version, "description": &s.Description} {
		if value := query.Get(name); value != "" {
			*field, _ = json.Marshal(value) // a string always can be
		}
	}
}

// asked is what a submit asks for.
type asked struct {
	request      job.Request
	key          string // of idempotency
	onDisconnect string
}

// read returns what was asked for. The error names every field that is wrong.
func (s *submission) read(contextLimit int64) (asked, error) {
	if int64(len(s.Context)) > contextLimit {
		return asked{}, errs.Errorf(errs.TooLarge, "the context is larger than %d bytes", contextLimit)
	}
	var c checker
	r := job.Request{
		Name:            c.text("name", s.Name, maxName),
		Version:         c.text("version", s.Version, maxVersion),
		Description:     c.text("description", s.Description, maxDescription),
		Context:         c.object("context", s.Context),
		CommandCriteria: c.tags("command_criteria", s.CommandCriteria),
		ClusterCriteria: c.criteria("cluster_criteria", s.ClusterCriteria),
		Tags:            c.tags("tags", s.Tags),
		Timeout:         c.duration("timeout", s.Timeout),
		Retry:           c.retry("retry", s.Retry),
		Priority:        c.priority("priority", s.Priority),
		StartAfter:      c.time("start_after", s.StartAfter),
		Deadline:        c.time("deadline", s.Deadline),
		UniqueKey:       c.text("unique_key", s.UniqueKey, job.MaxUniqueKey),
		Attachments:     c.attachments("attachments", s.Attachments),
	}
	if !r.Deadline.IsZero() && !r.Deadline.After(r.StartAfter) {
		c.fault(errs.Invalid, "deadline", "is not after start_after")
	}
	onDisconnect := c.text("on_disconnect", s.OnDisconnect, maxVersion)
	if onDisconnect != "" && onDisconnect != cancelOnDisconnect && onDisconnect != continueOnDisconnect {
		c.fault(errs.Invalid, "on_disconnect", "is %q; it is one of cancel, continue", onDisconnect)
	}
	if len(r.CommandCriteria) == 0 && !c.has("command_criteria") {
		c.fault(errs.Invalid, "command_criteria", "is empty; a job needs at least one criterion for its command, such as \"type:ping\"")
	}
	key := c.key("idempotency_key", s.IdempotencyKey)
	return asked{r, key, onDisconnect}, c.err()
}

// checker reads fields and gathers what is wrong with them.
type checker struct {
	kind   errs.Kind
	faults []errs.Field
}

// fault records what is wrong with a field, which is named by its path: parts
// between slashes.
func (c *checker) fault(kind errs.Kind, field, format string, args ...any) {
	if c.kind == "" || kind == errs.Malformed {
		c.kind = kind
	}
	c.faults = append(c.faults, errs.Field{Pointer: "/" + field, Detail: field + " " + fmt.Sprintf(format, args...)})
}

// has reports whether something is wrong with a field or a part of it.
func (c *checker) has(field string) bool {
	for _, f := range c.faults {
		if f.Pointer == "/"+field || strings.HasPrefix(f.Pointer, "/"+field+"/") {
			return true
		}
	}
	return false
}

// err returns all faults as one error, nil when there are none.
func (c *checker) err() error {
	if len(c.faults) == 0 {
		return nil
	}
	details := make([]string, len(c.faults))
	for i, f := range c.faults {
		details[i] = f.Detail
	}
	if len(details) > maxDetails {
		details = append(details[:maxDetails], fmt.Sprintf("and %d more", len(c.faults)-maxDetails))
	}
	return &errs.Error{Kind: c.kind, Message: strings.Join(details, "; "), Fields: c.faults}
}

// absent reports whether a field was not sent, or sent as null.
func absent(raw json.RawMessage) bool { return len(raw) == 0 || raw[0] == 'n' }

// kindOf names what JSON text is, in the words of a message.
func kindOf(raw json.RawMessage) string {
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// decode reads raw into v; the text was parsed before, so only its shape can be
// wrong.
func (c *checker) decode(field string, raw json.RawMessage, first byte, want string, v any) bool {
	if raw[0] != first {
		c.fault(errs.Malformed, field, "is %s; it must be %s", kindOf(raw), want)
		return false
	}
	if s, ok := v.(*string); ok && bytes.IndexByte(raw, '\\') < 0 {
		*s = string(raw[1 : len(raw)-1]) // nothing to unescape: the common case
		return true
	}
	if err := json.Unmarshal(raw, v); err != nil {
		c.fault(errs.Malformed, field, "cannot be read: %v", err)
		return false
	}
	return true
}

// text reads a string of at most limit bytes.
func (c *checker) text(field string, raw json.RawMessage, limit int) string {
	var s string
	if absent(raw) || !c.decode(field, raw, '"', "a string", &s) {
		return ""
	}
	if len(s) > limit {
		c.fault(errs.Invalid, field, "has %d bytes; it may have %d", len(s), limit)
		return ""
	}
	odd := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' }
	if strings.ContainsFunc(s, odd) {
		c.fault(errs.Invalid, field, "has control characters")
		return ""
	}
	return s
}

// object reads an object and leaves it as it is; absent, it is an empty one.
func (c *checker) object(field string, raw json.RawMessage) json.RawMessage {
	if absent(raw) {
		return json.RawMessage("{}")
	}
	if raw[0] != '{' {
		c.fault(errs.Malformed, field, "is %s; it must be an object", kindOf(raw))
		return nil
	}
	return bytes.Clone(raw) // not the whole body with it
}

// duration reads a positive duration.
func (c *checker) duration(field string, raw json.RawMessage) time.Duration {
	var s string
	if absent(raw) || !c.decode(field, raw, '"', `a duration such as "30s"`, &s) || s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		c.fault(errs.Invalid, field, "is %.40q; it must be a duration such as \"30s\"", s)
		return 0
	}
	if d <= 0 {
		c.fault(errs.Invalid, field, "is %s; it must be positive", s)
		return 0
	}
	return d
}

// tags reads a list of tags.
func (c *checker) tags(field string, raw json.RawMessage) tag.Set {
	items := c.list(field, raw, "a list of strings")
	if items == nil {
		return nil
	}
	texts := make([]string, 0, len(items))
	for i, item := range items {
		if item[0] != '"' {
			field = fmt.Sprintf("%s/%d", field, i) // decode says what is wrong with it
		}
		var s string
		if !c.decode(field, item, '"', "a string", &s) {
			return nil
		}
		texts = append(texts, s)
	}
	set := tag.New(texts...)
	if err := set.Check(); err != nil {
		c.fault(errs.Invalid, field, "cannot be used: %v", err)
		return nil
	}
	return set
}

// criteria reads a list of tags, or a list of such lists: preferences in order.
// An empty list wants nothing and is left out.
func (c *checker) criteria(field string, raw json.RawMessage) []tag.Set {
	items := c.list(field, raw, "a list of strings, or a list of such lists")
	if len(items) == 0 {
		return nil
	}
	if items[0][0] != '[' {
		if set := c.tags(field, raw); len(set) > 0 {
			return []tag.Set{set}
		}
		return nil
	}
	if len(items) > tag.MaxCount {
		c.fault(errs.Invalid, field, "has %d lists; it may have %d", len(items), tag.MaxCount)
		return nil
	}
	sets := make([]tag.Set, 0, len(items))
	for i, item := range items {
		set := c.tags(fmt.Sprintf("%s/%d", field, i), item)
		if len(set) == 0 && !c.has(field) {
			c.fault(errs.Invalid, fmt.Sprintf("%s/%d", field, i), "is empty; leave it out, or name at least one criterion")
		}
		sets = append(sets, set)
	}
	return sets
}

// list reads a list without its items.
func (c *checker) list(field string, raw json.RawMessage, want string) []json.RawMessage {
	var items []json.RawMessage
	if absent(raw) || !c.decode(field, raw, '[', want, &items) {
		return nil
	}
	return items
}
