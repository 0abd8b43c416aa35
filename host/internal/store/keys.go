package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Key is what makes the repeat of a submission known: for a while the same key of
// the same user stands for the same job.
type Key struct {
	Text   string // "": the submission has none
	Digest []byte // of the request
}

// keyTime is how long an idempotency key is known.
const keyTime = 24 * time.Hour

// SubmitKeyed records a job whose submission has an idempotency key, or which has
// a unique key, and returns its id: it waits. When the idempotency key stands for a
// job already, nothing is recorded and the id is that of the job. Another request with
// that key, or a job with that unique key that has not ended, is errs.Conflict.
//
// After ErrUnknown, or when ctx ended first, it is unknown whether the job was
// recorded. After any other error it was not.
func (db *DB) SubmitKeyed(ctx context.Context, s Submission, k Key) (job.ID, error) {
	if err := checkJob(s.Job); err != nil {
		return "", err
	}
	if err := checkText(field{"idempotency key", k.Text}); err != nil {
		return "", err
	}
	id := s.Job.ID
	err := db.write(ctx, func(ctx context.Context, tx transaction) (err error) {
		id, err = submitKeyed(ctx, tx, s.Job, k)
		return err
	})
	if err != nil {
		return "", submitError(s.Job.ID, err)
	}
	return id, nil
}

// Keyed returns the job that an idempotency key of a user stands for; "" when it
// stands for none. Another request with that key is errs.Conflict.
func (db *DB) Keyed(ctx context.Context, user string, k Key) (job.ID, error) {
	if err := checkText(field{"user", user}, field{"idempotency key", k.Text}); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var (
		earlier job.ID
		digest  []byte
	)
	err := db.read.QueryRowContext(ctx, `
		SELECT i.job_id, i.digest
		FROM idempotency i
		JOIN job j ON j.id = i.job_id
		WHERE i.username = $1 AND i.key = $2 AND i.expires_at > $3`, user, k.Text, now()).Scan((*string)(&earlier), &digest)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("look for an idempotency key: %w", db.fault(err))
	}
	return earlier, k.fits(earlier, digest)
}

// fits returns errs.Conflict when the key stands for another request, of a job.
func (k Key) fits(earlier job.ID, digest []byte) error {
	if bytes.Equal(digest, k.Digest) {
		return nil
	}
	return &errs.Error{
		Kind:    errs.Conflict,
		Message: fmt.Sprintf("the Idempotency-Key %.80q was given to another request, of job %s; use a new key for a new request", k.Text, earlier),
		ID:      string(earlier),
	}
}

func submitKeyed(ctx context.Context, tx transaction, j *job.Job, k Key) (job.ID, error) {
	if k.Text != "" {
		if earlier, err := keyed(ctx, tx, j, k); err != nil || earlier != "" {
			return earlier, err
		}
	}
	if j.UniqueKey != "" {
		if err := insertUnique(ctx, tx, j); err != nil {
			return "", err
		}
	}
	if err := insertJob(ctx, tx, j); err != nil {
		return "", err
	}
	first := again{id: j.ID, attempt: 1}
	if !j.StartAfter.IsZero() {
		return j.ID, postpone(ctx, tx, first, j.StartAfter)
	}
	return j.ID, requeue(ctx, tx, first, nextTurn)
}

// keyed returns the job that a key stands for; "" when it is new, and stands for
// this one from now on.
func keyed(ctx context.Context, tx transaction, j *job.Job, k Key) (earlier job.ID, err error) {
	at := now()
	// A job that is not kept any more leaves its key behind.
	_, err = tx.ExecContext(ctx, `
		DELETE FROM idempotency
		WHERE username = $1 AND key = $2
			AND (expires_at <= $3 OR NOT EXISTS (SELECT 1 FROM job WHERE job.id = idempotency.job_id))`, j.User, k.Text, at)
	if err != nil {
		return "", err
	}
	var digest []byte
	err = insertOr(ctx, tx, `
		INSERT INTO idempotency (username, key, job_id, digest, expires_at)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT DO NOTHING`, []any{j.User, k.Text, string(j.ID), notNil(k.Digest), at.Add(keyTime)},
		"SELECT job_id, digest FROM idempotency WHERE username = $1 AND key = $2", (*string)(&earlier), &digest)
	if err == nil && earlier != "" {
		err = k.fits(earlier, digest)
	}
	if err != nil {
		return "", err
	}
	return earlier, nil
}

func insertUnique(ctx context.Context, tx transaction, j *job.Job) error {
	var holder job.ID
	err := insertOr(ctx, tx, `
		INSERT INTO job_unique (username, key, job_id)
		VALUES ($1, $2, $3)
		ON CONFLICT DO NOTHING`, []any{j.User, j.UniqueKey, string(j.ID)},
		"SELECT job_id FROM job_unique WHERE username = $1 AND key = $2", (*string)(&holder))
	if err != nil || holder == "" {
		return err
	}
	return &errs.Error{
		Kind:    errs.Conflict,
		Message: fmt.Sprintf("job %s has the unique_key %.80q and has not ended; wait for its end, or cancel it", holder, j.UniqueKey),
		ID:      string(holder),
	}
}

// insertOr inserts a row for a user and a key, the first two arguments, or reads the
// one that is there already into found. That one may go while we look: then we try
// again, and each look sees what was committed before it.
func insertOr(ctx context.Context, tx transaction, insert string, args []any, read string, found ...any) error {
	const looks = 10
	for range looks {
		if n, err := affected(ctx, tx, insert, args...); err != nil || n > 0 {
			return err
		}
		if err := tx.QueryRowContext(ctx, read, args[:2]...).Scan(found...); !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return errs.Errorf(errs.Unavailable, "others take and leave the same key too fast: try again")
}

// ForgetKeys removes idempotency keys that are not known any more, some at a time,
// and returns how many.
func (db *DB) ForgetKeys(ctx context.Context) (n int64, err error) {
	err = db.write(ctx, func(ctx context.Context, tx transaction) (err error) {
		n, err = affected(ctx, tx, `
			DELETE FROM idempotency
			WHERE (username, key) IN (SELECT username, key FROM idempotency WHERE expires_at <= $1 LIMIT $2)`, now(), steps)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forget idempotency keys: %w", err)
	}
	return n, nil
}
