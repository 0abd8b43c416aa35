package jobs

import (
	"bytes"
	"io"
)

// inline is a small content that is held in memory.
func inline(content []byte) io.ReadSeekCloser { return memory{bytes.NewReader(content)} }

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }
