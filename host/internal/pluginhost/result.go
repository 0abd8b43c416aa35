package pluginhost

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"os"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/host/internal/folder"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

const (
	maxMediaType = 255     // bytes
	maxParsed    = 8 << 20 // of a table in a file, to be read through before it is taken
)

// errTooLarge is why a result is not taken that passes the limit of the job.
var errTooLarge = errors.New("the result is too large")

// Result is what an attempt brought: a few bytes, or a file. Plugins may be
// anybody's, so that everything that can be checked has been.
type Result struct {
	ContentType string
	Rows        int64 // of a table
	Bytes       int64
	Inline      []byte // when Content is nil
	// Content is that of a file. Reading it fails when the file does not hold
	// what the plugin said that it holds. It must not be used after the Ack.
	Content io.Reader

	file *os.File
}

func (r *Result) close() {
	if r != nil && r.file != nil {
		_ = r.file.Close() // it was only read
	}
}

// content is the content of a file, up to the size that it had when it was
// checked: its plugin may still write to it.
type content struct {
	section *io.SectionReader
	size    int64
	read    int64
	hash    hash.Hash
	digest  []byte
}

// Read reads on. The end is one only when everything was as it was said to be.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.section.Read(p)
	c.read += int64(n)
	if len(c.digest) > 0 {
		c.hash.Write(p[:n])
	}
	switch {
	case err != io.EOF:
		return n, err
	case c.read < c.size:
		return n, fmt.Errorf("its file had %d bytes and now ends after %d", c.size, c.read)
	case len(c.digest) > 0 && !bytes.Equal(c.hash.Sum(nil), c.digest):
		return n, fmt.Errorf("its file has the SHA-256 %x, and the plugin said %x", c.hash.Sum(nil), c.digest)
	}
	return n, io.EOF
}

// result checks a result and opens its file. What it returns must be closed.
func result(r *pluginpb.Result, folders Folders, limits *pluginpb.Limits) (*Result, error) {
	if r == nil {
		return nil, nil
	}
	if err := checkMediaType(r.GetContentType()); err != nil {
		return nil, err
	}
	if r.GetRows() < 0 || r.GetBytes() < 0 {
		return nil, fmt.Errorf("it has %d rows and %d bytes, it says", r.GetRows(), r.GetBytes())
	}
	checked := &Result{ContentType: r.GetContentType(), Rows: r.GetRows()}
	var err error
	switch content := r.GetContent().(type) {
	case *pluginpb.Result_Inline:
		checked.Inline, checked.Bytes = content.Inline, int64(len(content.Inline))
		if most := limits.GetInlineResultBytes(); most > 0 && checked.Bytes > most {
			err = fmt.Errorf("it is inline and has %d bytes; more than %d belong into a file", checked.Bytes, most)
		}
	case *pluginpb.Result_File:
		folder := folders.Result
		if content.File.GetInWork() {
			folder = folders.Work
		}
		err = checked.open(folder, content.File)
	case *pluginpb.Result_Reference:
		err = fmt.Errorf("it lies at %.200q, and this host does not fetch results", content.Reference.GetUri())
	default:
		err = errors.New("it has no content")
	}
	if err == nil {
		err = checked.check(r.GetBytes(), limits.GetResultBytes())
	}
	if err != nil {
		checked.close()
		return nil, err
	}
	return checked, nil
}

// open opens the file of a result. The plugin can still change its folders, so
// that everything is asked of the open file and nothing of its name: it must be
// a regular file and lie below the folder. Opening a pipe must not wait for a
// writer.
func (r *Result) open(path string, file *pluginpb.ResultFile) error {
	if n := len(file.GetSha256()); n != 0 && n != sha256.Size {
		return fmt.Errorf("its digest has %d bytes, not %d", n, sha256.Size)
	}
	root, err := folder.Open(path)
	if err != nil {
		return fmt.Errorf("open its folder: %w", err)
	}
	defer root.Close()
	r.file, err = root.OpenFile(file.GetPath(), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open its file: %w", err)
	}
	info, err := r.file.Stat()
	if err != nil {
		return fmt.Errorf("look at its file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q is not a regular file", file.GetPath())
	}
	r.Bytes = info.Size()
	r.Content = r.content(file.GetSha256())
	return nil
}

func (r *Result) content(digest []byte) io.Reader {
	return &content{section: io.NewSectionReader(r.file, 0, r.Bytes), size: r.Bytes, digest: digest, hash: sha256.New()}
}

// check holds the content against what was said of it. said is its size, or 0
// for nothing said; most is the largest size, or 0 for any.
func (r *Result) check(said, most int64) error {
	if said > 0 && said != r.Bytes {
		return fmt.Errorf("it has %d bytes, and the plugin said %d", r.Bytes, said)
	}
	if most > 0 && r.Bytes > most {
		return fmt.Errorf("%w: it has %d bytes and may have %d", errTooLarge, r.Bytes, most)
	}
	if r.ContentType != job.TableType {
		return nil
	}
	if r.Rows <= 1 && isText(r.Inline) {
		r.Rows = 1
		return nil
	}
	var table io.Reader = bytes.NewReader(r.Inline)
	if r.file != nil {
		if r.Bytes > maxParsed {
			return r.checkEnds()
		}
		table = io.NewSectionReader(r.file, 0, r.Bytes)
	}
	rows, err := checkTable(table)
	if err != nil {
		return fmt.Errorf("its table is broken: %w", err)
	}
	if r.Rows > 0 && r.Rows != rows {
		return fmt.Errorf("its table has %d rows, and the plugin said %d", rows, r.Rows)
	}
	r.Rows = rows
	return nil
}

func checkMediaType(text string) error {
	if text == job.TableType {
		return nil
	}
	if len(text) > maxMediaType || !utf8.ValidString(text) {
		return fmt.Errorf("%.100q is no media type", text)
	}
	if _, _, err := mime.ParseMediaType(text); err != nil {
		return fmt.Errorf("%.100q is no media type: %w", text, err)
	}
	return nil
}
