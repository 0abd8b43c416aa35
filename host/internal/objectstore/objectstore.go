// Package objectstore keeps objects: whole, immutable byte strings under keys
// such as "jobs/018f…/1/stdout", in a folder or in a bucket of an S3 service. An
// object becomes visible whole or not at all. Of writers of one key the one that
// ends last wins, and a reader that has opened an object sees that one, or an
// error, but never parts of two.
//
// A key is a path without "..", at most 900 bytes long, whose parts are at most
// 255; no key is the folder of another.
package objectstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode"
)

// Object is an open object. The context that it was opened with is no longer
// needed: a read that gets nowhere ends by itself, and Close ends all of them.
type Object interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// Stored is what was written.
type Stored struct {
	Bytes  int64
	SHA256 string // of the whole content, hexadecimal
}

// Info is what a store knows of an object without reading it.
type Info struct {
	Key      string
	Bytes    int64
	Modified time.Time // when it became visible, about
}

const (
	maxKey  = 900 // S3 has 1024, with the prefix
	maxPart = 255
)

// check returns why there cannot be an object of a key.
func check(key string) error {
	bad := !fs.ValidPath(key) || key == "." || len(key) > maxKey || strings.ContainsFunc(key, unicode.IsControl)
	for i, part := range strings.Split(key, "/") {
		bad = bad || len(part) > maxPart || i == 0 && part == drafts
	}
	if bad {
		return fmt.Errorf("%q cannot be the key of an object", key)
	}
	return nil
}

// checkFolder is check for what lists and removes objects: "" is all.
func checkFolder(folder string) error {
	if folder == "" {
		return nil
	}
	return check(folder)
}

// reader reads until its context is done, and counts and hashes what it reads.
type reader struct {
	ctx   context.Context
	from  io.Reader
	sum   hash.Hash
	bytes int64
}

func newReader(ctx context.Context, from io.Reader) *reader {
	return &reader{ctx: ctx, from: from, sum: sha256.New()}
}

func (r *reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	n, err := r.from.Read(p)
	r.bytes += int64(n)
	_, _ = r.sum.Write(p[:n]) // a hash takes everything
	return n, err
}

// stored returns what was read.
func (r *reader) stored() Stored {
	return Stored{Bytes: r.bytes, SHA256: hex.EncodeToString(r.sum.Sum(nil))}
}

// fill reads until p is full, or to the end, which is no error; io.ReadFull would
// take the io.ErrUnexpectedEOF of a reader that broke for an end.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	if err == io.EOF {
		return n, nil
	}
	return n, err
}
