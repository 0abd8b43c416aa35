package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// readTogether is how many jobs are read at once: with their results, so many may
// weigh a few MiB.
const readTogether = 64

// reads are the reads of single jobs. Many callers at once share round trips; what a
// caller gets was read after it asked.
type reads struct {
	jobs     combiner[job.ID, *job.Job]
	attempts combiner[job.ID, []job.Attempt]
}

func newReads(db *DB) *reads {
	weigh := func(job.ID) int { return batchBytes / readTogether }
	return &reads{
		jobs:     combiner[job.ID, *job.Job]{flush: readTogetherBy(db, db.jobOf, db.jobsOf), size: weigh},
		attempts: combiner[job.ID, []job.Attempt]{flush: readTogetherBy(db, db.attempts, db.attemptsOf), size: weigh},
	}
}

func (r *reads) close() {
	r.jobs.close()
	r.attempts.close()
}

// readTogetherBy returns what reads a batch: one by itself, and several, of which those that
// are not there are missing in what is found. What cannot be read fails alone.
func readTogetherBy[Out any](db *DB, one func(context.Context, job.ID) (Out, error),
	several func(context.Context, []job.ID) (map[job.ID]Out, error),
) func([]*call[job.ID, Out]) {
	return func(batch []*call[job.ID, Out]) {
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
		defer cancel()
		if len(batch) > 1 {
			ids := make([]job.ID, len(batch))
			for i, k := range batch {
				ids[i] = k.in
			}
			found, err := several(ctx, ids)
			err = db.fault(err)
			if err == nil || errs.Is(err, errs.Unavailable) {
				for _, k := range batch {
					k.out, k.err = found[k.in], err
				}
				return
			}
		}
		for _, k := range batch {
			k.out, k.err = one(ctx, k.in)
			k.err = db.fault(k.err)
		}
	}
}

// waited gives an error of a caller that stopped waiting the meaning that it has for
// a read.
func waited(err error) error {
	if left, ok := errors.AsType[leftError](err); ok && errors.Is(left, context.DeadlineExceeded) {
		return away("no answer in time", left.error)
	}
	return err
}

// Job returns everything about a job.
func (db *DB) Job(ctx context.Context, id job.ID) (*job.Job, error) {
	missing := &errs.Error{Kind: errs.NotFound, Message: fmt.Sprintf("there is no job %.60q", string(id)), ID: string(id)}
	if checkID(id) != nil {
		return nil, missing
	}
	j, err := db.reads.jobs.do(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read job %s: %w", id, waited(err))
	}
	if j == nil {
		return nil, missing
	}
	own := *j // others may have asked for it too
	return &own, nil
}

// jobOf reads a job; nil when there is none.
func (db *DB) jobOf(ctx context.Context, id job.ID) (*job.Job, error) {
	rows, err := db.read.QueryContext(ctx, selectJobs+`j.id = $1`, string(id))
	found, err := wholeJobs(rows, err)
	return found[id], err
}

// jobsOf reads those of the jobs that there are.
func (db *DB) jobsOf(ctx context.Context, ids []job.ID) (map[job.ID]*job.Job, error) {
	rows, err := db.read.QueryContext(ctx, selectJobs+`j.id IN (`+db.text.idsOf+`)`, *toJSON(ids))
	return wholeJobs(rows, err)
}

const selectJobs = "SELECT " + jobRequest + ", " + jobState + `, e.result_inline
	FROM job j` + jobTables + `
	WHERE `

// wholeJobs reads the rows of selectJobs, and closes them.
func wholeJobs(rows *sql.Rows, err error) (map[job.ID]*job.Job, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	found := map[job.ID]*job.Job{}
	for rows.Next() {
		var (
			j      job.Job
			s      state
			inline []byte
		)
		if err := rows.Scan(append(append(requestFields(&j), s.fields()...), &inline)...); err != nil {
			return nil, err
		}
		if err := s.apply(&j); err != nil {
			return nil, err
		}
		if j.Result != nil {
			j.Result.Inline = inline
		}
		found[j.ID] = &j
	}
	return found, rows.Err()
}
