package spool_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/spool"
)

func open(t *testing.T, folder string, most int64) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Config{Folder: folder, Most: most})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// full is a record in which every field says something.
func full(id job.ID) spool.Record {
	code := 3
	at := time.Date(2026, 5, 6, 7, 8, 9, 10_000, time.UTC)
	return spool.Record{
		End: job.End{
			Lease: job.Lease{JobID: id, Attempt: 2, HostID: "a", Epoch: 7},
			Outcome: job.Outcome{
				Status:  job.Failed,
				Error:   &job.Error{Class: job.Transient, Message: "no “luck”", ExitCode: &code, Signal: "HUP", RetryAfter: time.Second, RetrySafe: true},
				Result:  &job.Result{ContentType: job.TableType, Rows: 1, Bytes: 4, Inline: []byte("\x00\xffab"), Object: "jobs/x"},
				Outputs: []job.Output{{Key: "k", Value: "v", Kind: "text"}},
				Usage:   map[string]float64{"rows": 0.1},
				Logs:    job.Logs{Stdout: "o", Stderr: "e", StdoutBytes: 1 << 40, StderrBytes: 2},
				Build:   "abc", StartedAt: at, EndedAt: at.Add(time.Minute),
				Checkpoint: &job.Checkpoint{Attempt: 1, Format: 2, Data: []byte{1}},
				Resumable:  true, Remains: "who knows",
			},
			Unique: true,
		},
		Retry: at.Add(time.Hour),
		Back:  true,
	}
}

func named(id job.ID) spool.Record {
	return spool.Record{End: job.End{Lease: job.Lease{JobID: id, Attempt: 1, HostID: "a", Epoch: 7}, Outcome: job.Outcome{Status: job.Succeeded}}}
}

func put(t *testing.T, s *spool.Spool, ids ...job.ID) (tickets []spool.Ticket) {
	t.Helper()
	for _, id := range ids {
		ticket, err := s.Put(named(id))
		if err != nil {
			t.Fatalf("put %s: %v", id, err)
		}
		tickets = append(tickets, ticket)
	}
	return tickets
}

func left(s *spool.Spool) string {
	var ids []string
	for _, e := range s.Left() {
		ids = append(ids, string(e.Record.End.JobID))
	}
	return strings.Join(ids, " ")
}

// What one life has put, the next one finds, whatever became of the first.
func TestNextLifeFindsWhatWasPut(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "spool")
	first := open(t, folder, 0)
	want := full("j")
	if _, err := first.Put(want); err != nil {
		t.Fatal(err)
	}
	next := open(t, folder, 0) // the first was not closed: it was killed
	entries := next.Left()
	if len(entries) != 1 || !reflect.DeepEqual(entries[0].Record, want) {
		t.Fatalf("left: got %+v, want %+v", entries, want)
	}
	put(t, next, "k")
	if got := left(open(t, folder, 0)); got != "j k" {
		t.Errorf("left after one more: got %q, want j k", got)
	}
	info, err := os.Stat(folder)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: got %v and error %v, want mode 0700", info, err)
	}
}

// What an older program wrote is read: these bytes must not change.
func TestFileOfAnOlderProgram(t *testing.T) {
	folder := t.TempDir()
	content, err := os.ReadFile("testdata/ends")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "ends"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	entries := open(t, folder, 0).Left()
	if len(entries) != 2 || !reflect.DeepEqual(entries[0].Record, full("j")) || !reflect.DeepEqual(entries[1].Record, named("k")) {
		t.Errorf("left: got %+v, want %+v and %+v", entries, full("j"), named("k"))
	}
}

// The file is empty again once nothing in it is needed, and only then.
func TestDone(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder, 0)
	tickets := put(t, s, "a", "b")
	s.Done(tickets[0])
	if got := left(open(t, folder, 0)); got != "a b" {
		t.Errorf("left with one that is needed: got %q, want a b", got)
	}
	s.Done(tickets[1])
	if err := s.Close(); err != nil { // waits for the writer
		t.Fatal(err)
	}
	if content, err := os.ReadFile(filepath.Join(folder, "ends")); err != nil || len(content) > 0 {
		t.Errorf("file: got %q and error %v, want nothing in it", content, err)
	}
	if _, err := s.Put(named("c")); err == nil {
		t.Error("put into a closed spool: got no error")
	}
}

// Those that come at once share the way to the disk, and none is lost.
func TestManyAtOnce(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder, 0)
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			ticket, err := s.Put(named(job.ID(strconv.Itoa(i))))
			if err != nil {
				t.Error(err)
			}
			if i%2 == 0 {
				s.Done(ticket)
			}
		})
	}
	all.Wait()
	found := map[job.ID]bool{}
	for _, e := range open(t, folder, 0).Left() {
		found[e.Record.End.JobID] = true
	}
	for i := 1; i < 500; i += 2 {
		if !found[job.ID(strconv.Itoa(i))] {
			t.Errorf("record %d is lost", i)
		}
	}
}

// A spool holds so much and no more, and what is not needed makes room.
func TestBound(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder, 2000)
	var tickets []spool.Ticket
	for {
		ticket, err := s.Put(named("some"))
		if errors.Is(err, spool.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	if len(tickets) < 3 {
		t.Fatalf("%d records fit, want some", len(tickets))
	}
	for _, ticket := range tickets[:len(tickets)-1] {
		s.Done(ticket)
	}
	put(t, s, "more")
	if got := left(open(t, folder, 2000)); got != "some more" {
		t.Errorf("left: got %q, want the one that is needed and the one more", got)
	}
	s.Done(tickets[len(tickets)-1])
	put(t, s, "again")
	info, err := os.Stat(filepath.Join(folder, "ends"))
	if err != nil || info.Size() > 2000 {
		t.Errorf("file: got %v bytes and error %v, want at most 2000", info.Size(), err)
	}
}

// written returns the bytes of a spool with three records, and where each ends.
func written(t *testing.T) (content []byte, ends []int) {
	t.Helper()
	folder := t.TempDir()
	s := open(t, folder, 0)
	for _, id := range []job.ID{"a", "b", "c"} {
		put(t, s, id)
		var err error
		if content, err = os.ReadFile(filepath.Join(folder, "ends")); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, len(content))
	}
	return content, ends
}

// reopen opens a spool whose file has this content.
func reopen(t *testing.T, folder string, content []byte) *spool.Spool {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, "ends"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, folder, 0)
}

var prefixes = []string{"", "a", "a b", "a b c"}

// Where a writer was cut off, the whole records before are there, and more can
// be put behind them. So it is where the rest was not written but is there, as
// after a power cut.
func TestTornFile(t *testing.T) {
	content, ends := written(t)
	const step = 37 // each costs some syncs; all are in TestParse
	for cut := 0; cut <= len(content); cut += step {
		whole := 0
		for _, end := range ends {
			if cut >= end {
				whole++
			}
		}
		for name, torn := range map[string][]byte{
			"cut":    content[:cut],
			"zeroed": append(bytes.Clone(content[:cut]), make([]byte, len(content)-cut)...),
		} {
			folder := t.TempDir()
			s := reopen(t, folder, torn)
			if got := left(s); got != prefixes[whole] {
				t.Fatalf("%s at %d: got %q, want %q", name, cut, got, prefixes[whole])
			}
			put(t, s, "d")
			if got, want := left(open(t, folder, 0)), strings.TrimSpace(prefixes[whole]+" d"); got != want {
				t.Fatalf("%s at %d, and one more: got %q, want %q", name, cut, got, want)
			}
		}
	}
}

// What is behind a flipped bit is kept for people to look at.
func TestFlippedBit(t *testing.T) {
	content, ends := written(t)
	content[ends[0]+20] ^= 4
	folder := t.TempDir()
	if got := left(reopen(t, folder, content)); got != "a" {
		t.Errorf("left: got %q, want a", got)
	}
	aside, err := filepath.Glob(filepath.Join(folder, "damaged-*"))
	if err != nil || len(aside) != 1 {
		t.Fatalf("kept %v and error %v, want one file", aside, err)
	}
	if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, content[ends[0]:]) {
		t.Errorf("kept: got %q and error %v, want what was cut off", kept, err)
	}
}

// A spool that cannot be read says so: without it jobs would be called lost that
// have ended well.
func TestFileThatCannotBeRead(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "ends"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := spool.Open(spool.Config{Folder: folder})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(folder, "ends")) || !strings.Contains(err.Error(), "move the file away") {
		t.Errorf("open: got error %v, want one that names the file and says what to do", err)
	}
}
