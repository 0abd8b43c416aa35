package objectstoretest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

func testRanges(t *testing.T, s Store) {
	const size = 9*mib + 1000
	content, _ := io.ReadAll(Content(2, size))
	put(t, s, "o", bytes.NewReader(content))
	o := get(t, s, "o")
	if end, err := o.Seek(0, io.SeekEnd); end != size || err != nil {
		t.Fatalf("Seek to the end = %d, %v, want %d", end, err, size)
	}
	for _, r := range []struct {
		offset int64
		n      int
		want   int
		err    error
	}{
		{0, 10, 10, nil},
		{5, 1, 1, nil},
		{size - 10, 10, 10, nil},
		{size - 10, 11, 10, io.EOF},
		{8*mib - 5, 10, 10, nil},
		{3 * mib, 5 * mib, 5 * mib, nil},
		{0, size, size, nil},
		{0, size + 1, size, io.EOF},
		{size, 1, 0, io.EOF},
		{size + 1, 1, 0, io.EOF},
		{1 << 50, 10, 0, io.EOF},
		{3, 0, 0, nil},
	} {
		p := make([]byte, r.n)
		n, err := o.ReadAt(p, r.offset)
		if n != r.want || err != r.err && !(err == io.EOF && r.err == nil && n == r.n) {
			t.Errorf("ReadAt %d bytes at %d = %d, %v, want %d, %v", r.n, r.offset, n, err, r.want, r.err)
			continue
		}
		if n > 0 && !bytes.Equal(p[:n], content[r.offset:][:n]) {
			t.Errorf("ReadAt %d bytes at %d: other bytes than were stored", r.n, r.offset)
		}
	}
	if n, err := o.ReadAt(make([]byte, 1), -1); n != 0 || err == nil {
		t.Errorf("ReadAt before the beginning = %d, %v, want an error", n, err)
	}
	if _, err := o.Seek(-1, io.SeekStart); err == nil {
		t.Error("Seek before the beginning = no error, want one")
	}
	if at, err := o.Seek(-100, io.SeekEnd); at != size-100 || err != nil {
		t.Fatalf("Seek = %d, %v, want %d", at, err, size-100)
	}
	if tail, err := io.ReadAll(o); err != nil || !bytes.Equal(tail, content[size-100:]) {
		t.Errorf("the last 100 bytes = %d others, %v", len(tail), err)
	}
	if at, err := o.Seek(size+5, io.SeekStart); at != size+5 || err != nil {
		t.Fatalf("Seek beyond the end = %d, %v, want %d", at, err, size+5)
	}
	if n, err := o.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read beyond the end = %d, %v, want io.EOF", n, err)
	}
	if err := iotest.TestReader(section(o), content[:300]); err != nil {
		t.Error(err)
	}
	empty := "empty"
	put(t, s, empty, strings.NewReader(""))
	if n, err := get(t, s, empty).ReadAt(make([]byte, 1), 0); n != 0 || err != io.EOF {
		t.Errorf("ReadAt of nothing = %d, %v, want io.EOF", n, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("ReadAt of a closed object = no error, want one")
	}
}

func section(o io.ReaderAt) io.Reader { return io.NewSectionReader(o, 0, 300) }

func testReaders(t *testing.T, s Store) {
	const size = 3 * mib
	content, _ := io.ReadAll(Content(3, size))
	put(t, s, "o", bytes.NewReader(content))
	o := get(t, s, "o")
	var readers sync.WaitGroup
	for i := range 8 {
		readers.Go(func() {
			p := make([]byte, 10_000)
			for j := range 10 {
				offset := int64((i*10 + j) * 37_000 % (size - len(p)))
				if n, err := o.ReadAt(p, offset); n != len(p) || err != nil || !bytes.Equal(p, content[offset:][:n]) {
					t.Errorf("ReadAt %d = %d, %v, want what was stored", offset, n, err)
				}
			}
		})
	}
	readers.Wait()
}

// testWriters has many write one key: one of them is it in the end, as a whole.
func testWriters(t *testing.T, s Store) {
	const size = 9 * mib
	whole := map[string]bool{}
	var writers sync.WaitGroup
	for i := range 4 {
		sum, _ := digest(t, Content(uint64(i), size))
		whole[sum] = true
		writers.Go(func() {
			if _, err := s.Put(t.Context(), "k/o", Content(uint64(i), size)); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	writers.Wait()
	if sum, n := digest(t, get(t, s, "k/o")); !whole[sum] {
		t.Errorf("what is there, %d bytes, is not what one of the writers wrote", n)
	}
	if got := keys(t, s, ""); !slices.Equal(got, []string{"k/o"}) {
		t.Errorf("keys = %q, want one", got)
	}
}

// testReplaced replaces an object while it is read: nobody sees parts of two.
func testReplaced(t *testing.T, s Store) {
	const size = 2 * mib
	whole := map[string]bool{}
	for i := range uint64(6) {
		sum, _ := digest(t, Content(i, size))
		whole[sum] = true
	}
	put(t, s, "o", Content(0, size))
	done := make(chan struct{})
	var readers sync.WaitGroup
	stop := sync.OnceFunc(func() { close(done); readers.Wait() })
	defer stop()
	for range 2 {
		readers.Go(func() {
			for {
				o, err := s.Get(t.Context(), "o")
				if err != nil {
					t.Errorf("Get = %v, want one of the objects", err)
					return
				}
				sum := sha256.New()
				_, err = io.CopyBuffer(struct{ io.Writer }{sum}, o, make([]byte, 50_000))
				if got := hex.EncodeToString(sum.Sum(nil)); err == nil && !whole[got] {
					t.Error("read a mixture, want one object or an error")
				}
				_ = o.Close()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range uint64(6) {
		put(t, s, "o", Content(i, size))
	}
	stop()
}
