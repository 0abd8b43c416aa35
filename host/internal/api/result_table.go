package api

import (
	"compress/gzip"
	"errors"
	"hash/fnv"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/table"
)

// maxFileName is how much of a job's name a file is called by, in characters.
const maxFileName = 100

// tableOptions reads what a request wants of a table. stored reports whether
// that is the table as it is kept.
func tableOptions(r *http.Request) (o table.Options, stored bool, err error) {
	query := r.URL.Query()
	if o.Format, err = formatOf(query.Get("format"), r.Header); err != nil {
		return o, false, err
	}
	if o.Offset, err = count(query, "offset", 0); err != nil {
		return o, false, err
	}
	if o.Limit, err = count(query, "limit", -1); err != nil {
		return o, false, err
	}
	o.Null = query.Get("null")
	if len(o.Null) > 20 || strings.ContainsAny(o.Null, "\"\r\n\t") || strings.IndexFunc(o.Null, unicode.IsControl) >= 0 {
		return o, false, badParameter("null", "%.40q cannot stand for null; it has at most 20 characters, and no quotes", o.Null)
	}
	switch text := query.Get("header"); text {
	case "", "true":
	case "false":
		o.NoHeader = true
	default:
		return o, false, badParameter("header", "%.40q is neither true nor false", text)
	}
	if text := query.Get("delimiter"); text != "" {
		if o.Delimiter, err = table.ParseDelimiter(text); err != nil {
			return o, false, badParameter("delimiter", "%.40q: %w", text, err)
		}
		if strings.ContainsRune(o.Null, o.Delimiter) {
			return o, false, badParameter("null", "%.40q has the delimiter in it", o.Null)
		}
	}
	if o.Delimiter == 0 && strings.Contains(o.Null, ",") {
		return o, false, badParameter("null", "%.40q has the delimiter in it", o.Null)
	}
	return o, o.Format == table.JSON && o.Offset == 0 && o.Limit < 0, nil
}

// count reads a number of rows.
func count(query url.Values, name string, otherwise int64) (int64, error) {
	text := query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, badParameter(name, "%.40q is not a number of rows", text)
	}
	return int64(n), nil
}

// formatOf returns the format that the query names, else the one that the
// header Accept likes best; of several, the first of table.Formats.
func formatOf(name string, header http.Header) (table.Format, error) {
	if name != "" {
		if f := table.Format(strings.ToLower(name)); slices.Contains(table.Formats, f) {
			return f, nil
		}
		return "", errs.Errorf(errs.Unacceptable, "there is no format %.40q of a table; there are %s", name, formatNames())
	}
	accept := strings.Join(header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return table.JSON, nil
	}
	var best table.Format
	most := 0.0
	for _, f := range table.Formats {
		if w := weight(accept, f); w > most {
			best, most = f, w
		}
	}
	if best == "" {
		return "", errs.Errorf(errs.Unacceptable, "a table is not served as %.100q; there are %s, by Accept or as ?format=", accept, formatNames())
	}
	return best, nil
}

// weight returns how much a header Accept likes a format, from 0 for not at all
// to 1. Of the ranges that a format falls into, the narrowest counts.
func weight(accept string, f table.Format) float64 {
	name, _, _ := mime.ParseMediaType(f.MediaType())
	kind, _, _ := strings.Cut(name, "/")
	narrowest, found := -1, 0.0
	for item := range strings.SplitSeq(accept, ",") {
		t, params, err := mime.ParseMediaType(strings.TrimSpace(item))
		if err != nil {
			continue
		}
		narrow := slices.Index([]string{"*/*", kind + "/*", name}, t)
		if f == table.JSON && t == job.TableType || f == table.NDJSON && (t == "application/ndjson" || t == "application/jsonl") {
			narrow = 2
		}
		if narrow <= narrowest {
			continue
		}
		narrowest, found = narrow, 1
		if q, ok := params["q"]; ok {
			if w, err := strconv.ParseFloat(q, 64); err == nil && w >= 0 && w <= 1 {
				found = w
			}
		}
	}
	return found
}

func formatNames() string {
	names := make([]string, len(table.Formats))
	for i, f := range table.Formats {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// serveTable answers with a table in the form that was asked for. A fault of its
// beginning or of its first row is told; one that shows later breaks the
// transfer off.
func (h *Handler) serveTable(x *exchange, j *job.Job, content io.Reader, o table.Options) error {
	header := x.Header()
	header.Set("Content-Type", o.Format.MediaType())
	header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": fileName(j, o.Format)}))
	header.Set("ETag", representation(j.ID, o))
	if x.unchanged() {
		return nil
	}
	t, err := table.NewReader(content)
	if err != nil {
		return brokenTable(j, err)
	}
	if err := t.Peek(); err != nil {
		return brokenTable(j, err)
	}
	header.Add("Vary", "Accept-Encoding")
	gzipped := takesGzip(x.r.Header)
	if gzipped {
		header.Set("Content-Encoding", "gzip")
		header.Set("ETag", "W/"+header.Get("ETag")) // the same, but not byte by byte
	}
	x.WriteHeader(http.StatusOK)
	if x.r.Method == http.MethodHead {
		return nil
	}
	p := newPatient(x)
	if !gzipped {
		if err := table.Write(p, t, o); err != nil {
			return err
		}
		return p.Close()
	}
	z := packers.Get().(*gzip.Writer)
	defer packers.Put(z)
	z.Reset(p)
	if err := table.Write(z, t, o); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return p.Close()
}

// brokenTable tells the reader of a table what its plugin did wrong.
func brokenTable(j *job.Job, err error) error {
	if errors.Is(err, table.ErrRead) {
		return err
	}
	e := errs.Errorf(errs.Invalid, "the result cannot be converted: %w; ?format=json gives it as it is", err)
	e.ID = string(j.ID)
	return e
}

// representation names what one wish makes of a table, for ETag.
func representation(id job.ID, o table.Options) string {
	sum := fnv.New64a()
	for _, part := range []string{
		strconv.FormatInt(o.Offset, 10), strconv.FormatInt(o.Limit, 10), strconv.FormatBool(o.NoHeader), string(o.Delimiter), o.Null,
	} {
		_, _ = io.WriteString(sum, part+"\x00")
	}
	return `"` + string(id) + "-" + string(o.Format) + "-" + strconv.FormatUint(sum.Sum64(), 36) + `"`
}

// fileName returns what a table is called where it is kept: as its job, as far
// as that can be the name of a file everywhere.
func fileName(j *job.Job, f table.Format) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, j.Request.Name)
	if runes := []rune(name); len(runes) > maxFileName {
		name = string(runes[:maxFileName])
	}
	if name = strings.Trim(name, ". "); name == "" {
		name = string(j.ID)
	}
	return name + "." + string(f)
}
