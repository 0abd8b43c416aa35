// Package jobs is what callers can do with jobs: submit, wait, get, list, cancel
// and read what they have written. The API and the user interface call it.
package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/objectstore"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/selector"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Queue runs jobs.
type Queue interface {
	Submit(ctx context.Context, j *job.Job) error
	SubmitKeyed(ctx context.Context, j *job.Job, k store.Key) (job.ID, error)
	Cancel(ctx context.Context, id job.ID, by string, reason pluginhost.StopReason) (job.Status, error)
	// Holds reports whether the job runs here, or its end waits here for the store.
	Holds(id job.ID) bool
	// Attempt returns the attempt of a job that runs here, or whose end waits here for
	// the store; 0 when there is none.
	Attempt(id job.ID) int
}

// Word asks other hosts.
type Word interface {
	// Await asks them to say when a job has ended. It reports whether there are any.
	Await(id job.ID) bool
}

// Store reads jobs.
type Store interface {
	Job(ctx context.Context, id job.ID) (*job.Job, error)
	Jobs(ctx context.Context, f job.Filter) (job.Page, error)
	// Ended returns those of the jobs that have ended.
	Ended(ctx context.Context, ids []job.ID) ([]job.ID, error)
	// Keyed returns the job that an idempotency key of a user stands for, or "".
	Keyed(ctx context.Context, user string, k store.Key) (job.ID, error)
	Attempts(ctx context.Context, id job.ID) ([]job.Attempt, error)
	Waiting(ctx context.Context, id job.ID) (*job.Wait, error)
	// Revision returns the content of a catalog that jobs were chosen from.
	Revision(ctx context.Context, revision string) ([]byte, error)
}

// Catalog gives the selector of the current snapshot.
type Catalog interface {
	Selector() *selector.Selector
	// Keep saves a catalog that a job was chosen from.
	Keep(ctx context.Context, s *catalog.Snapshot) error
}

// Artifacts opens what ended attempts have left, and keeps the files that come with
// jobs.
type Artifacts interface {
	Get(ctx context.Context, key string) (objectstore.Object, error)
	Upload(ctx context.Context, user, sum string, r io.Reader) (objectstore.Stored, error)
	Uploaded(ctx context.Context, user, sum string) (objectstore.Info, error)
	Attach(ctx context.Context, user, sum string, id job.ID, index int) error
	Attachment(ctx context.Context, id job.ID, index int) (objectstore.Object, error)
	Remove(ctx context.Context, id job.ID) error
}

// Config is what the service needs.
type Config struct {
	Queue     Queue // may be given later, by Use
	Word      Word  // likewise
	Store     Store
	Catalog   Catalog
	Plugins   selector.Plugins
	Artifacts Artifacts
	Folder    string // of all job folders, as the runner has it
	Host      string // the id of this one
	// MaxAttached is how large the files that come with a job may be together, bytes;
	// 0: any.
	MaxAttached int64
	// Judge returns what is wrong with the input of a job of a command, with pointers
	// into the request; nil: any will do.
	Judge func(c *catalog.Command, input json.RawMessage) []errs.Field
}

// Service is what callers can do with jobs.
type Service struct {
	Config
	ends    *ends
	tails   *tails
	stopped chan struct{} // closed when Serve has returned
	soon    chan struct{} // others were asked of an end
	heard   chan struct{} // others have said something

	mu   sync.Mutex
	said []job.ID // jobs that others say have ended
}

// New returns the service. Its method Ended is to be told of every end that this
// host brings about.
func New(c Config) *Service {
	s := &Service{Config: c, ends: newEnds(), stopped: make(chan struct{}), soon: make(chan struct{}, 1), heard: make(chan struct{}, 1)}
	s.tails = &tails{service: s, byKey: map[tailKey]*tail{}}
	return s
}

// Use gives the service the queue that it submits to, and its word to other hosts;
// it is called once, before anything else.
func (s *Service) Use(q Queue, w Word) { s.Queue, s.Word = q, w }

// Waiting says whether a caller goes on to Wait for what it submits.
type Waiting int

// Ways of waiting.
const (
	WaitIfSync Waiting = iota // when the job's command is sync
	WaitAlways
	WaitNever
)

// For reports whether there will be a Wait for the job.
func (w Waiting) For(j *job.Job) bool { return w == WaitAlways || w == WaitIfSync && j.Sync }

// Submit chooses a pair, records the job durably and lets it run. The strings
// and sizes of the request have been checked. A caller that says it will wait
// must call Wait once Submit has returned a job. When key, an idempotency key of
// the user, stands for a job already, that one is returned.
func (s *Service) Submit(ctx context.Context, user string, r job.Request, waiting Waiting, key string) (_ *job.Job, err error) {
	known := store.Key{Text: key}
	if key != "" {
		known.Digest = digest(r) // of what was asked for, before the command adds to it
		// The catalog may have changed since, or the deadline be over: a repeat is
		// answered all the same.
		switch earlier, err := s.Store.Keyed(ctx, user, known); {
		case err != nil:
			return nil, err
		case earlier != "":
			return s.Store.Job(ctx, earlier)
		}
	}
	id := job.NewID()
	now := id.Time() // lists in the order of ids are in the order of creation
	from := s.Catalog.Selector()
	choice, record, err := s.choose(from, &r, now)
	if err != nil {
		return nil, err
	}
	if err := s.judge(choice.Command, r.Context); err != nil {
		return nil, err
	}
	if err := s.Catalog.Keep(ctx, from.Snapshot()); err != nil {
		return nil, err
	}
	resolution, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("keep the record of the choice: %w", err)
	}
	recorded := id
	if len(r.Attachments) > 0 {
		defer func() {
			if err != nil || recorded != id {
				s.detach(ctx, id, err)
			}
		}()
		if err := s.attach(ctx, user, id, &r); err != nil {
			return nil, err
		}
	}
	j := &job.Job{
		ID:         id,
		User:       user,
		Request:    r,
		Sync:       choice.Command.Sync,
		Resolution: resolution,
		Status:     job.New,
		CreatedAt:  now,
		UpdatedAt:  now,
		Pair:       pairOf(choice),
	}
	if !j.StartAfter.After(now) {
		j.StartAfter = time.Time{} // the time has come
	}
	j.Tags = r.Tags.With(tag.System(string(j.ID), r.Name, r.Version)...)
	if waiting.For(j) {
		s.ends.expect(j.ID)
	}
	if key == "" && j.UniqueKey == "" {
		err = s.Queue.Submit(ctx, j)
	} else {
		recorded, err = s.Queue.SubmitKeyed(ctx, j, known)
	}
	if err != nil || recorded != j.ID {
		s.ends.forget(j.ID)
	}
	if err != nil {
		return nil, uncertain(j.ID, err)
	}
	if recorded != j.ID {
		return s.Store.Job(ctx, recorded)
	}
	return j, nil
}

// judge refuses an input that the plugin of a command would refuse.
func (s *Service) judge(c *catalog.Command, input json.RawMessage) error {
	if s.Judge == nil {
		return nil
	}
	faults := s.Judge(c, input)
	if len(faults) == 0 {
		return nil
	}
	return &errs.Error{
		Kind: errs.Invalid, Fields: faults,
		Message: fmt.Sprintf("the context does not fit command %q: %s: %s", c.ID, faults[0].Pointer, faults[0].Detail),
	}
}

// uncertain names the job in an error after which it may have been recorded
// although the answer was lost: the caller is told the id to look for.
func uncertain(id job.ID, err error) error {
	e, ok := errors.AsType[*errs.Error](err)
	if !ok || !errors.Is(err, store.ErrUnknown) {
		return err
	}
	named := *e
	named.ID = string(id)
	return &named
}

// Get returns a job; errs.NotFound when there is none.
func (s *Service) Get(ctx context.Context, id job.ID) (*job.Job, error) { return s.Store.Job(ctx, id) }

// Attempts returns the attempts of a job that have ended.
func (s *Service) Attempts(ctx context.Context, id job.ID) ([]job.Attempt, error) {
	return s.Store.Attempts(ctx, id)
}

// WhyWaiting says why a job waits; nil when it does not, or not any more.
func (s *Service) WhyWaiting(ctx context.Context, id job.ID) (*job.Wait, error) {
	return s.Store.Waiting(ctx, id)
}

// List returns a part of the jobs.
func (s *Service) List(ctx context.Context, f job.Filter) (job.Page, error) {
	return s.Store.Jobs(ctx, f)
}

// CancelReason says why a job is canceled.
type CancelReason string

// Reasons to cancel a job.
const (
	ByUser     CancelReason = "user"
	ClientGone CancelReason = "client gone" // the caller that waited for the job
)

// Cancel asks a job to stop and returns its status after that: CANCELING, or a
// final one.
func (s *Service) Cancel(ctx context.Context, user string, id job.ID, why CancelReason) (job.Status, error) {
	reason := pluginhost.StopUser
	if why == ClientGone {
		reason = pluginhost.StopClientGone
	}
	status, err := s.Queue.Cancel(ctx, id, user, reason)
	if err == nil && status.Final() && s.ends.watched(id) {
		if j, err := s.Store.Job(ctx, id); err == nil {
			s.ends.publish(j) // it never ran, so nobody else says that it has ended
		}
	}
	return status, err
}

// Result opens the content of a job's result: of a table, its JSON. It is
// errs.Conflict before the end, errs.NotFound when there is none, and an *Elsewhere
// when another host has it.
func (s *Service) Result(ctx context.Context, id job.ID) (*job.Job, io.ReadSeekCloser, error) {
	j, err := s.Store.Job(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case !j.Status.Final():
		return nil, nil, &errs.Error{Kind: errs.Conflict, ID: string(id), Message: fmt.Sprintf("the job has not ended: it is %s", j.Status)}
	case j.Result == nil:
		return nil, nil, &errs.Error{Kind: errs.NotFound, ID: string(id), Message: fmt.Sprintf("the job is %s and has no result", j.Status)}
	case j.Result.Object == "":
		return j, inline(j.Result.Inline), nil
	}
	content, err := s.Artifacts.Get(ctx, j.Result.Object)
	if errs.Is(err, errs.NotFound) && j.HostID != s.Host {
		return nil, nil, &Elsewhere{Job: id, Host: j.HostID}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open the result of job %s: %w", id, err)
	}
	return j, content, nil
}
