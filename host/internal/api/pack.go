package api

import (
	"compress/gzip"
	"hash/fnv"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// What is packed for clients that take it: not what is so small that the work is
// for nothing, and not what is so large that somebody may want to go on with it
// where it broke off, for which it needs its length and ranges.
const (
	minPacked = 4 << 10
	maxPacked = 32 << 20
)

// packers keeps the writers of packed answers for the next ones.
var packers = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // that level is one
	return w
}}

// packed reports whether an answer of a type and size is to be packed, and says so
// in its headers.
func (x *exchange) packed(contentType string, size int64) bool {
	if size < minPacked || size > maxPacked || !packs(contentType) {
		return false
	}
	header := x.Header()
	header.Add("Vary", "Accept-Encoding")
	if x.r.Header.Get("Range") != "" || !takesGzip(x.r.Header) {
		return false
	}
	header.Set("Content-Encoding", "gzip")
	header.Del("Content-Length")
	header.Del("Accept-Ranges")
	if tag := header.Get("ETag"); strings.HasPrefix(tag, `"`) {
		header.Set("ETag", "W/"+tag) // the same, but not byte by byte
	}
	return true
}

// packs reports whether content of a type becomes smaller.
func packs(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.HasPrefix(t, "text/") || strings.HasSuffix(t, "json") || strings.HasSuffix(t, "yaml") || strings.HasSuffix(t, "xml")
}

// takesGzip reports whether a client takes answers that are packed by gzip.
func takesGzip(header http.Header) bool {
	every := false
	for _, line := range header.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(item, ";")
			q, ok := strings.CutPrefix(strings.TrimSpace(params), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			takes := !ok || err != nil || weight > 0
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "gzip", "x-gzip":
				return takes
			case "*":
				every = takes
			}
		}
	}
	return every
}

// pack writes content packed.
func pack(w io.Writer, content io.Reader) error {
	p := packers.Get().(*gzip.Writer)
	defer packers.Put(p)
	p.Reset(w)
	if _, err := io.Copy(p, content); err != nil {
		return err
	}
	return p.Close()
}

// tagged names the content of an answer to a GET, unless that has a name already,
// and reports whether the client knows it by that name: then it is told so, and
// gets no body.
func (x *exchange) tagged(content []byte) (known bool) {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return false
	}
	header := x.Header()
	if header["Etag"] == nil {
		sum := fnv.New64a()
		_, _ = sum.Write(content)
		header["Etag"] = []string{`W/"` + strconv.FormatUint(sum.Sum64(), 36) + `"`}
	}
	return x.unchanged()
}

// unchanged answers 304 when the client knows the content that the header ETag
// names.
func (x *exchange) unchanged() bool {
	header := x.Header()
	header["Cache-Control"] = []string{"private, no-cache"} // to be kept, but asked for again
	if x.r.Header["If-None-Match"] == nil || !matches(x.r.Header, header.Get("ETag")) {
		return false
	}
	header.Del("Content-Type")
	header.Del("Content-Length")
	x.WriteHeader(http.StatusNotModified)
	return true
}

// matches reports whether If-None-Match names a tag. Weak and strong ones are not
// told apart there.
func matches(header http.Header, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for _, line := range header.Values("If-None-Match") {
		for item := range strings.SplitSeq(line, ",") {
			item = strings.TrimSpace(item)
			if item == "*" || strings.TrimPrefix(item, "W/") == tag {
				return true
			}
		}
	}
	return false
}
