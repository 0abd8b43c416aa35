package main

import (
	"context"
	"io"
	"regexp"
	"strings"

	"github.com/heimdall-run/heimdall/sdk"
)

var (
	copyIn    = regexp.MustCompile(`(?is)(^|;)\s*copy\b[^;]*\bfrom\s+stdin\b`)
	copyOut   = regexp.MustCompile(`(?is)^\s*copy\b[^;]*\bto\s+stdout\b`)
	copyCSV   = regexp.MustCompile(`(?is)\bto\s+stdout\b.*\bcsv\b`)
	copyBytes = regexp.MustCompile(`(?is)\bto\s+stdout\b.*\bbinary\b`)
)

// refuseCopyIn refuses what would wait for rows of ours.
func refuseCopyIn(query string) error {
	if copyIn.MatchString(skeleton(query)) {
		return sdk.Errorf(sdk.Invalid, "a job has no rows for COPY … FROM STDIN; insert them, for example from a list in parameters by unnest($1::text[])")
	}
	return nil
}

// copyType returns the media type of what COPY … TO STDOUT gives, a document; "" when a
// query is none.
func copyType(query string) string {
	bones := skeleton(query)
	switch {
	case !copyOut.MatchString(bones):
		return ""
	case copyCSV.MatchString(bones):
		return "text/csv; charset=utf-8"
	case copyBytes.MatchString(bones):
		return "application/octet-stream"
	}
	return "text/plain; charset=utf-8" // the text format of PostgreSQL
}

func (s *session) copyOut(ctx context.Context, query string, to io.WriteCloser) error {
	if _, err := s.conn.CopyTo(ctx, to, query); err != nil {
		return err
	}
	return to.Close()
}

// dollar is what begins a text between dollars.
var dollar = regexp.MustCompile(`^\$([A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$`)

// skeleton returns a query without what is in quotes and in comments. It decides how a
// query is run, never what may be run.
func skeleton(query string) string {
	var out strings.Builder
	for rest := query; rest != ""; {
		skip := 0
		switch tag := dollar.FindString(rest); {
		case strings.HasPrefix(rest, "--"):
			skip = until(rest, "\n", 2)
		case strings.HasPrefix(rest, "/*"):
			skip = comment(rest)
		case rest[0] == '\'' || rest[0] == '"':
			skip = until(rest, rest[:1], 1)
		case tag != "":
			skip = until(rest, tag, len(tag))
		}
		if skip == 0 {
			out.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		out.WriteByte(' ')
		rest = rest[skip:]
	}
	return out.String()
}

// until returns how long a text is that ends with an end behind its first bytes.
func until(text, end string, from int) int {
	if at := strings.Index(text[from:], end); at >= 0 {
		return from + at + len(end)
	}
	return len(text)
}

// comment returns how long a comment is; they nest.
func comment(text string) int {
	depth := 0
	for i := 0; i+1 < len(text); i++ {
		switch text[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			if depth--; depth == 0 {
				return i + 2
			}
			i++
		}
	}
	return len(text)
}
