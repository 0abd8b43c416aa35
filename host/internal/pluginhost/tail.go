package pluginhost

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

const (
	maxLine    = 64 << 10 // longer lines are cut
	maxBacklog = 4 << 20  // of unread text; what is older is skipped
	maxFile    = 16 << 20 // a file that has been read so far is emptied
)

// tail reads the lines of a file that a process appends to. It is a file and
// no pipe so that the process neither blocks nor dies of SIGPIPE when its host
// is slow or gone.
type tail struct {
	file    *os.File
	each    func(line string)
	offset  int64
	partial []byte
	cut     bool // the rest of an overlong line is left out
	buffer  []byte
}

// appendFile makes a file for a process to append to and the tail that reads
// it. The caller closes both.
func appendFile(path string, each func(string)) (*os.File, *tail, error) {
	w, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	r, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		w.Close()
		return nil, nil, err
	}
	return w, &tail{file: r, each: each}, nil
}

// openTail returns the tail of a file that is there already: of what is appended
// from now on.
func openTail(path string, each func(string)) (*tail, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, err
	}
	if end > maxFile && f.Truncate(0) == nil { // nobody did while there was no host
		end = 0
	}
	return &tail{file: f, each: each, offset: end}, nil
}

// read takes in what the file has more, and reports whether there was anything.
func (t *tail) read() bool {
	info, err := t.file.Stat()
	if err != nil || info.Size() <= t.offset {
		return false
	}
	if backlog := info.Size() - t.offset; backlog > maxBacklog {
		t.offset += backlog - maxBacklog/4
		t.partial, t.cut = nil, true
		t.each(fmt.Sprintf("(%d bytes were written too fast and are left out)", backlog-maxBacklog/4))
	}
	if t.buffer == nil {
		t.buffer = make([]byte, 32<<10)
	}
	for t.offset < info.Size() {
		n, err := t.file.ReadAt(t.buffer, t.offset)
		t.offset += int64(n)
		t.split(t.buffer[:n])
		if err != nil && err != io.EOF || n == 0 {
			break
		}
	}
	if t.offset > maxFile && t.file.Truncate(0) == nil {
		t.offset = 0
	}
	return true
}

func (t *tail) split(text []byte) {
	for len(text) > 0 {
		line, rest, ended := bytes.Cut(text, []byte{'\n'})
		text = rest
		if !t.cut {
			room := maxLine - len(t.partial)
			t.cut = len(line) > room
			t.partial = append(t.partial, line[:min(len(line), room)]...)
			if t.cut {
				t.emit()
			}
		}
		if ended {
			if !t.cut {
				t.emit()
			}
			t.cut = false
		}
	}
}

func (t *tail) emit() {
	t.each(string(bytes.TrimSuffix(t.partial, []byte{'\r'})))
	t.partial = t.partial[:0]
}

// finish reads to the end, also a last line without its end, and closes the
// file.
func (t *tail) finish() {
	t.read()
	if len(t.partial) > 0 {
		t.emit()
	}
	t.file.Close()
}
