package spool

import (
	"bytes"
	"errors"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// file returns that of a spool with these jobs, and where each record ends.
func file(t *testing.T, ids ...job.ID) (content []byte, ends []int) {
	t.Helper()
	content = []byte(header)
	for _, id := range ids {
		framed, err := frame(Record{End: job.End{Lease: job.Lease{JobID: id, Attempt: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, framed...)
		ends = append(ends, len(content))
	}
	return content, ends
}

// Every prefix of a file, with or without zeros in the place of the rest, and
// every file with one flipped bit gives the records that are whole before that.
func TestParse(t *testing.T) {
	content, ends := file(t, "a", "b", "c")
	check := func(how string, at int, damaged []byte) {
		t.Helper()
		whole, end := 0, len(header)
		for i := range ends {
			if at >= ends[i] {
				whole, end = i+1, ends[i]
			}
		}
		if at < len(header) {
			end = 0
		}
		records, size, err := parse(damaged)
		if len(records) != whole || int(size) != end || (err != nil) != (len(damaged) > end) {
			t.Fatalf("%s at %d: got %d records, %d bytes and error %v, want %d and %d", how, at, len(records), size, err, whole, end)
		}
		for i, r := range records {
			if want := job.ID("abc"[i : i+1]); r.End.JobID != want || int(r.at.offset+r.at.length) != ends[i] {
				t.Fatalf("%s at %d: record %d: got %+v, want job %s up to %d", how, at, i, r, want, ends[i])
			}
		}
	}
	for at := range len(content) + 1 {
		check("cut", at, content[:at])
		check("zeroed", at, append(bytes.Clone(content[:at]), make([]byte, len(content)-at)...))
	}
	for bit := range 8 * len(content) {
		flipped := bytes.Clone(content)
		flipped[bit/8] ^= 1 << (bit % 8)
		check("flipped", bit/8, flipped)
	}
	if _, _, err := parse(append(bytes.Clone(content), 1)); !errors.Is(err, errDamaged) {
		t.Errorf("one byte too many: got error %v, want that it is damaged", err)
	}
}

// FuzzParse holds that whatever is read was written by frame.
func FuzzParse(f *testing.F) {
	content, _ := file(&testing.T{}, "a", "b")
	f.Add(content)
	f.Add(content[:len(content)-3])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		records, whole, err := parse(content)
		if (err == nil) != (whole == int64(len(content))) {
			t.Fatalf("whole: got %d of %d bytes and error %v", whole, len(content), err)
		}
		again, size, err := parse(content[:whole])
		if err != nil || size != whole || len(again) != len(records) {
			t.Errorf("once more: got %d records in %d bytes and error %v, want %d in %d", len(again), size, err, len(records), whole)
		}
	})
}
