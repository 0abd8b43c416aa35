package pluginhost

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTailReadsLines(t *testing.T) {
	var got []string
	w, tail, err := appendFile(filepath.Join(t.TempDir(), "stderr"), func(line string) { got = append(got, line) })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, text := range []string{"one\ntw", "o\r\n\n", strings.Repeat("x", maxLine+10), "yy\nthree\n", "last"} {
		if _, err := w.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if !tail.read() {
			t.Errorf("read = false after %.10q, want true", text)
		}
	}
	if tail.read() {
		t.Error("read = true with nothing new, want false")
	}
	tail.finish()
	want := []string{"one", "two", "", strings.Repeat("x", maxLine), "three", "last"}
	if !slices.Equal(got, want) {
		t.Errorf("got %d lines %.30q, want %d", len(got), got, len(want))
	}
}

func TestTailIsBounded(t *testing.T) {
	n, skipped := 0, 0
	w, tail, err := appendFile(filepath.Join(t.TempDir(), "stderr"), func(line string) {
		n++
		if strings.Contains(line, "left out") {
			skipped++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	flood := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", maxFile/100))
	for range 2 {
		if _, err := w.Write(flood); err != nil {
			t.Fatal(err)
		}
		tail.read()
	}
	if skipped != 2 || n > 2*maxBacklog/100 {
		t.Errorf("%d lines were read and %d times some left out, want at most %d and 2", n, skipped, 2*maxBacklog/100)
	}
	if info, err := w.Stat(); err != nil || info.Size() > maxFile {
		t.Errorf("the file has %d bytes (%v), want it emptied", info.Size(), err)
	}
	before := n
	if _, err := w.WriteString("after\n"); err != nil {
		t.Fatal(err)
	}
	tail.finish()
	if n != before+1 {
		t.Errorf("%d lines were read after the file was emptied, want 1", n-before)
	}
}
