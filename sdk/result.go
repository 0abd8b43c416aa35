package sdk

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"mime"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

const (
	// tableType is the media type of a table in the shape of the API.
	tableType = "application/vnd.heimdall.table+json"

	defaultInline = 64 << 10
	maxInline     = 160 << 10 // so that it fits in a batch of events
	spillBuffer   = 64 << 10
	maxMediaType  = 255 // bytes
)

// result is the result that a job is about to have. Only the last one counts.
type result struct {
	table *Table
	sink  *sink
	done  *pluginpb.Result
}

// sink takes the bytes of a result: in memory while they are few, in a file of
// the result folder beyond.
type sink struct {
	attempt     *attempt
	contentType string
	name        string // of the file
	inline      int64  // largest size in memory
	limit       int64  // largest size at all; 0: none

	buffer []byte
	size   int64
	rows   int64
	file   *os.File
	out    *bufio.Writer
	hash   hash.Hash
	closed bool
	err    error // the first; all later writes fail with it
}

func (a *attempt) newSink(contentType, name string) *sink {
	s := &sink{
		attempt:     a,
		contentType: mediaType(contentType),
		name:        name,
		inline:      a.inlineLimit(),
		limit:       a.request.GetLimits().GetResultBytes(),
	}
	a.result.discard()
	a.result = result{sink: s}
	return s
}

// mediaType returns the type of a result: one that says nothing when the given
// one cannot be read, because a result without a type cannot be kept.
func mediaType(given string) string {
	if _, _, err := mime.ParseMediaType(given); err != nil || len(given) > maxMediaType {
		return "application/octet-stream"
	}
	return given
}

// inlineLimit returns the largest size of a result that travels in its event.
func (a *attempt) inlineLimit() int64 {
	limit := a.request.GetLimits().GetInlineResultBytes()
	if limit == 0 {
		limit = defaultInline
	}
	return min(limit, maxInline)
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	switch {
	case s.err != nil:
		return 0, s.err
	case s.closed:
		return 0, errors.New("write to a result that is closed or was replaced")
	}

	s.size += int64(len(p))
	if s.limit > 0 && s.size > s.limit {
		return 0, s.fail(Errorf(Quota, "the result is larger than the limit of %d bytes", s.limit))
	}
	if s.file == nil && s.size <= s.inline {
		s.buffer = append(s.buffer, p...)
		return len(p), nil
	}
	if s.file == nil {
		if err := s.spill(); err != nil {
			return 0, s.fail(err)
		}
	}
	if _, err := s.out.Write(p); err != nil {
		return 0, s.fail(Errorf(Internal, "write the result: %w", err))
	}
	return len(p), nil
}

func (s *sink) fail(err error) error {
	s.err = err
	return err
}

// spill moves what there is into a file.
func (s *sink) spill() error {
	folder := s.attempt.request.GetFolders().GetResult()
	if folder == "" {
		return Errorf(Internal, "the host named no folder for results")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Errorf(Internal, "make the folder for results: %w", err)
	}

	// Programs of the job may write here too: what they made is not written to.
	file, err := os.OpenFile(filepath.Join(folder, s.name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return Errorf(Internal, "make the result file: %w", err)
	}
	s.file, s.hash = file, sha256.New()
	s.out = bufio.NewWriterSize(io.MultiWriter(file, s.hash), spillBuffer)
	if _, err := s.out.Write(s.buffer); err != nil {
		return Errorf(Internal, "write the result: %w", err)
	}
	s.buffer = nil
	return nil
}

// Close ends the result; it is called for results that nobody closed when Run
// returns. A second call does nothing.
func (s *sink) Close() error {
	if s.closed || s.err != nil {
		return s.err
	}

	s.closed = true
	if s.file == nil {
		return nil
	}
	err := s.out.Flush()
	if err := errors.Join(err, s.file.Close()); err != nil {
		return s.fail(Errorf(Internal, "write the result: %w", err))
	}
	return nil
}

func (s *sink) result() *pluginpb.Result {
	out := &pluginpb.Result{ContentType: s.contentType, Rows: s.rows, Bytes: s.size}
	if s.file == nil {
		out.Content = &pluginpb.Result_Inline{Inline: s.buffer}
	} else {
		out.Content = &pluginpb.Result_File{File: &pluginpb.ResultFile{Path: s.name, Sha256: s.hash.Sum(nil)}}
	}
	return out
}

// remove drops what was written.
func (s *sink) remove() {
	s.closed = true
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name()) // its folder goes with the attempt anyway
	}
}

// close ends the result and returns it, nil when there is none.
func (r *result) close() (*pluginpb.Result, error) {
	if r.table != nil {
		if err := r.table.close(); err != nil {
			r.discard()
			return nil, err
		}
	}
	if r.sink == nil {
		return r.done, nil
	}
	if err := r.sink.Close(); err != nil {
		r.discard()
		return nil, err
	}
	return r.sink.result(), nil
}

func (r *result) discard() {
	if r.sink != nil {
		r.sink.remove()
	}
	*r = result{}
}

// setFile makes a file of the working folder the result.
func (a *attempt) setFile(contentType, path string, rows int64) error {
	dir, err := a.dir()
	if err != nil {
		return err
	}
	if filepath.IsAbs(path) {
		if path, err = filepath.Rel(dir, path); err != nil {
			return Errorf(Failed, "result file: %w", err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Errorf(Internal, "open the working folder: %w", err)
	}
	defer root.Close()

	// Looked at before it is opened: opening a pipe would wait for a writer.
	info, err := root.Lstat(path)
	if err != nil {
		return Errorf(Failed, "result file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Errorf(Failed, "result file %s is not a regular file but %s", path, info.Mode().Type())
	}
	if limit := a.request.GetLimits().GetResultBytes(); limit > 0 && info.Size() > limit {
		return Errorf(Quota, "the result is larger than the limit of %d bytes", limit)
	}

	done := &pluginpb.Result{ContentType: mediaType(contentType), Rows: rows, Bytes: info.Size()}
	if info.Size() > a.inlineLimit() {
		if !utf8.ValidString(path) {
			return Errorf(Failed, "result file %q: its name is not UTF-8", path)
		}
		done.Content = &pluginpb.Result_File{File: &pluginpb.ResultFile{Path: path, InWork: true}}
	} else {
		data, err := root.ReadFile(path)
		if err != nil {
			return Errorf(Internal, "read the result file: %w", err)
		}
		if int64(len(data)) != info.Size() {
			return Errorf(Failed, "result file %s changes while it is read", path)
		}
		done.Content = &pluginpb.Result_Inline{Inline: data}
	}
	a.result.discard()
	a.result.done = done
	return nil
}
