package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/sdk"
)

// ledger notes an execution of a job in a file. The execution also holds a lock
// on one byte of the file, far behind its end, that belongs to the job: the kernel
// lets go of it when the process dies, so two executions at once are seen
// whatever the clocks say.
type ledger struct {
	book book
	lock *os.File // nil: the job wants no ledger
}

// openLedger notes the start of an execution.
func openLedger(job *sdk.Job[Input]) (*ledger, error) {
	l := &ledger{book: book{path: job.Input.Ledger, entry: fmt.Sprintf("%s %d %d", job.ID, job.Attempt, os.Getpid())}}
	if l.book.path == "" {
		return l, nil
	}
	what := "start"
	if job.Resume {
		what = "resume"
	}
	if err := errors.Join(l.take(job.ID), l.note(what, "")); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// take locks the place of the job; when another execution has it, that is noted.
func (l *ledger) take(job string) (err error) {
	if l.lock, err = os.OpenFile(l.book.path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(job))
	place := unix.Flock_t{Type: unix.F_WRLCK, Start: 1<<62 | int64(hash.Sum64()>>2), Len: 1}
	err = unix.FcntlFlock(l.lock.Fd(), unix.F_OFD_SETLK, &place)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return l.note("busy", "")
	}
	if err != nil {
		return fmt.Errorf("lock the ledger: %w", err)
	}
	return nil
}

// end notes the end of the execution.
func (l *ledger) end(outcome string) error { return l.note("end", " "+outcome) }

func (l *ledger) note(what, more string) error {
	return l.book.write(what, fmt.Sprintf(" %d%s", time.Now().UnixMicro(), more))
}

func (l *ledger) close() {
	if l.lock != nil {
		_ = l.lock.Close()
	}
}

// book is a file to which lines are appended, whole whatever happens, because
// each is one write.
type book struct{ path, entry string }

func (b book) write(what, more string) error {
	if b.path == "" {
		return nil
	}
	file, err := os.OpenFile(b.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, "%s %s%s\n", what, b.entry, more); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}
