package memstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// keyed is what an idempotency key stands for.
type keyed struct {
	id        job.ID
	digest    []byte
	expiresAt time.Time
}

// keyTime is how long an idempotency key is known.
const keyTime = 24 * time.Hour

// Submit is that of store.DB.
func (s *Store) Submit(ctx context.Context, sub store.Submission) (l *job.Lease, err error) {
	if err := checkJob(sub.Job); err != nil {
		return nil, err
	}
	if err := checkText("host", sub.Host); err != nil {
		return nil, err
	}
	err = s.do(ctx, "Submit", func(t *tables) error {
		r, err := t.add(sub.Job)
		if err != nil {
			return err
		}
		first := next{attempt: 1}
		switch {
		case !r.StartAfter.IsZero():
			t.waitUntil(r, first, r.StartAfter)
		case sub.Claim && t.admits(r, sub):
			t.grant(r, first, sub.Host, sub.Epoch, r.CreatedAt)
			l = &job.Lease{JobID: r.ID, Attempt: 1, HostID: sub.Host, Epoch: sub.Epoch}
		default:
			t.waitBehind(r, first)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// admits reports whether a host may have a job that it submits.
func (t *tables) admits(r *record, s store.Submission) bool {
	if !t.mayRun(s.Host, s.Epoch) {
		return false
	}
	if !s.Lanes {
		return len(t.queue) == 0 && !t.capped()
	}
	return len(t.pick(s.Host, 1, true)) == 0 && t.rooms().take(r)
}

// SubmitKeyed is that of store.DB.
func (s *Store) SubmitKeyed(ctx context.Context, sub store.Submission, k store.Key) (id job.ID, err error) {
	j := sub.Job
	if err := checkJob(j); err != nil {
		return "", err
	}
	if err := checkText("idempotency key", k.Text); err != nil {
		return "", err
	}
	err = s.do(ctx, "SubmitKeyed", func(t *tables) error {
		key, unique := [2]string{j.User, k.Text}, [2]string{j.User, j.UniqueKey}
		if known, is := t.keys[key]; is && k.Text != "" && known.expiresAt.After(now()) && t.jobs[known.id] != nil {
			if !bytes.Equal(known.digest, k.Digest) {
				return conflict(known.id, "the idempotency key was given to another request")
			}
			id = known.id
			return nil
		}
		if holder := t.uniques[unique]; holder != "" && j.UniqueKey != "" {
			return conflict(holder, "a job with that unique key has not ended")
		}
		r, err := t.add(j)
		if err != nil {
			return err
		}
		if k.Text != "" {
			t.keys[key] = keyed{r.ID, bytes.Clone(k.Digest), now().Add(keyTime)}
		}
		if r.UniqueKey != "" {
			t.uniques[unique] = r.ID
		}
		id = r.ID
		if r.StartAfter.IsZero() {
			t.waitBehind(r, next{attempt: 1})
		} else {
			t.waitUntil(r, next{attempt: 1}, r.StartAfter)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

func conflict(id job.ID, why string) error {
	return &errs.Error{Kind: errs.Conflict, Message: fmt.Sprintf("%s: job %s", why, id), ID: string(id)}
}

// ForgetKeys is that of store.DB.
func (s *Store) ForgetKeys(ctx context.Context) (n int64, err error) {
	err = s.do(ctx, "ForgetKeys", func(t *tables) error {
		for k, known := range t.keys {
			if !known.expiresAt.After(now()) {
				delete(t.keys, k)
				n++
			}
		}
		return nil
	})
	return n, err
}

// add records what was asked for.
func (t *tables) add(j *job.Job) (*record, error) {
	if t.jobs[j.ID] != nil {
		return nil, conflict(j.ID, "there is one already")
	}
	r := &record{Job: request(j), attempts: map[int]attempt{}}
	r.CreatedAt = orNow(r.CreatedAt)
	t.jobs[r.ID] = r
	return r, nil
}

// request returns a copy of what was asked for, as a database gives it back.
func request(j *job.Job) job.Job {
	out := job.Job{ID: j.ID, User: j.User, Request: j.Request, Pair: j.Pair, Sync: j.Sync, Resolution: bytes.Clone(j.Resolution), CreatedAt: stamp(j.CreatedAt)}
	out.Context = copied(j.Context)
	out.CommandCriteria, out.Tags = copied(j.CommandCriteria), copied(j.Tags)
	out.ClusterCriteria = nil
	for _, set := range j.ClusterCriteria {
		out.ClusterCriteria = append(out.ClusterCriteria, append(tag.Set{}, set...))
	}
	out.StartAfter, out.Deadline = stamp(j.StartAfter), stamp(j.Deadline)
	if j.Retry != nil {
		out.Retry = &job.Retry{Attempts: j.Retry.Attempts, Backoff: j.Retry.Backoff, On: copied(j.Retry.On)}
	}
	return out
}

// copied returns a copy; nil when there is nothing in it.
func copied[S ~[]E, E any](s S) S { return append(S(nil), s...) }

// written returns what comes back of a value that is kept as JSON; nothing when it
// cannot be.
func written[T any](v T) (out T) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		var none T
		return none
	}
	return out
}
