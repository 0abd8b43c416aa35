package api

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// serveContent answers with content of a size, or the one range of it that was
// asked for. Several ranges at once are not served: the answer is the whole, as
// RFC 9110 allows. Headers that tell the type are set by the caller.
func serveContent(x *exchange, content io.ReadSeeker, size int64) error {
	span, err := rangeOf(x.r, size, x.Header().Get("ETag"))
	if err != nil {
		return err
	}
	header, status := x.Header(), http.StatusOK
	header.Set("Accept-Ranges", "bytes")
	if span.partial {
		status = http.StatusPartialContent
		header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", span.from, span.to-1, size))
	}
	if _, err := content.Seek(span.from, io.SeekStart); err != nil {
		return fmt.Errorf("seek in content: %w", err)
	}
	if !span.partial && x.packed(header.Get("Content-Type"), size) {
		x.WriteHeader(status)
		if x.r.Method == http.MethodHead {
			return nil
		}
		p := newPatient(x)
		defer p.Close()
		return pack(p, io.LimitReader(content, size))
	}
	header.Set("Content-Length", strconv.FormatInt(span.to-span.from, 10))
	x.WriteHeader(status)
	if x.r.Method == http.MethodHead || span.to == span.from {
		return nil
	}
	p := newPatient(x)
	defer p.Close()
	_, err = io.CopyN(p, content, span.to-span.from)
	return err
}

// span is the part of some content that is served: [from, to).
type span struct {
	from, to int64
	partial  bool
}

// rangeOf returns what the Range header asks for of content that has a name, or
// "". What cannot be read is ignored, what lies outside of the content is a
// badRange.
func rangeOf(r *http.Request, size int64, name string) (span, error) {
	whole := span{to: size}
	spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	known := r.Header.Get("If-Range")
	if !ok || strings.Contains(spec, ",") || known != "" && known != name || size == 0 {
		return whole, nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return whole, nil
	}
	if first == "" {
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil {
			return whole, nil
		}
		if n == 0 {
			return span{}, &badRange{size: size}
		}
		return span{from: max(0, size-int64(n)), to: size, partial: true}, nil
	}
	from, err := strconv.ParseUint(first, 10, 63)
	if err != nil {
		return whole, nil
	}
	to := uint64(size)
	if last != "" {
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil || n < from {
			return whole, nil
		}
		to = min(to, n+1)
	}
	if from >= uint64(size) {
		return span{}, &badRange{size: size}
	}
	return span{from: int64(from), to: int64(to), partial: true}, nil
}
