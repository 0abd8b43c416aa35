package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

// maxWait is the longest that a read or a submit with a preference is held. A
// client that wants to wait longer asks again.
const maxWait = 10 * time.Minute

// preference is what the Prefer headers of a request say (RFC 7240), as far as
// it is known here.
type preference struct {
	async bool           // respond-async
	wait  *time.Duration // wait=N, seconds

	strict bool // handling=strict, which definitions heed
}

// any reports whether the client said anything of waiting.
func (p preference) any() bool { return p.async || p.wait != nil }

// mode says whether the answer to a submit waits for the job.
func (p preference) mode() jobs.Waiting {
	switch {
	case p.wait != nil:
		return jobs.WaitAlways
	case p.async:
		return jobs.WaitNever
	}
	return jobs.WaitIfSync
}

// String returns what was heeded, for the header Preference-Applied.
func (p preference) String() string {
	var parts []string
	if p.async {
		parts = append(parts, "respond-async")
	}
	if p.wait != nil {
		parts = append(parts, "wait="+strconv.Itoa(int(*p.wait/time.Second)))
	}
	return strings.Join(parts, ", ")
}

// parsePrefer reads the Prefer headers. As the RFC demands, what is not
// understood is ignored, and of two the first counts.
func parsePrefer(header http.Header) preference {
	var p preference
	for _, line := range header.Values("Prefer") {
		for item := range strings.SplitSeq(line, ",") {
			item, _, _ = strings.Cut(item, ";")
			name, value, _ := strings.Cut(item, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "respond-async":
				p.async = true
			case "handling":
				p.strict = p.strict || strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "strict")
			case "wait":
				n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 32)
				if err == nil && p.wait == nil {
					d := min(time.Duration(n)*time.Second, maxWait)
					p.wait = &d
				}
			}
		}
	}
	return p
}

// waitOf reads the query parameter wait, a duration. 0: do not wait.
func waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, badParameter("wait", "%.40q is not a duration such as 30s", text)
	}
	return min(d, maxWait), nil
}

// badParameter returns the error for a query parameter that cannot be read.
func badParameter(name, format string, args ...any) error {
	e := errs.Errorf(errs.Malformed, "the parameter "+name+": "+format, args...)
	e.Fields = []errs.Field{{Pointer: "/" + name, Detail: e.Message}}
	return e
}
