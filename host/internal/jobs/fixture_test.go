package jobs_test

import (
	"context"
	"sync"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/selector"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// world plays the parts around the service.
type world struct {
	mu        sync.Mutex
	jobs      map[job.ID]*job.Job
	reads     int
	looks     int // at which jobs have ended
	away      error
	holds     job.ID
	onSubmit  func(*job.Job)
	refuse    func(*job.Job) error // what a submit is answered; nil: it is taken
	company   bool                 // there are other hosts
	awaited   []job.ID             // what they were asked of
	keyed     map[string]keyed
	selected  int // how often a pair was chosen
	revisions map[string][]byte
	bounds    catalog.Bounds // of command c
	commands  []string       // beside c
	kept      []string       // revisions
	attempts  map[job.ID][]job.Attempt
}

type keyed struct {
	job    job.ID
	digest string
}

func (w *world) Submit(_ context.Context, j *job.Job) error {
	if w.away != nil {
		return w.away
	}
	if w.refuse != nil {
		return w.refuse(j)
	}
	w.put(j)
	if w.onSubmit != nil {
		w.onSubmit(j)
	}
	return nil
}

func (w *world) SubmitKeyed(ctx context.Context, j *job.Job, k store.Key) (job.ID, error) {
	if w.keyed == nil {
		w.keyed = map[string]keyed{}
	}
	w.keyed[k.Text] = keyed{j.ID, string(k.Digest)}
	return j.ID, w.Submit(ctx, j)
}

func (w *world) Holds(id job.ID) bool { return w.holds == id }

func (w *world) Keyed(_ context.Context, _ string, k store.Key) (job.ID, error) {
	known, ok := w.keyed[k.Text]
	if ok && known.digest != string(k.Digest) {
		return "", errs.Errorf(errs.Conflict, "another request has the key")
	}
	return known.job, nil
}

func (w *world) Attempts(_ context.Context, id job.ID) ([]job.Attempt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.attempts[id], nil
}

// Attempt says that what is leased to this host runs.
func (w *world) Attempt(id job.ID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j := w.jobs[id]; j != nil && !j.Status.Final() && j.HostID == here {
		return j.Attempt
	}
	return 0
}

// here is the host of the service.
const here = "here"

func (w *world) Waiting(context.Context, job.ID) (*job.Wait, error) { return nil, nil }

// Keep keeps nothing where revisions are told beforehand.
func (w *world) Keep(_ context.Context, s *catalog.Snapshot) error {
	if w.away != nil {
		return w.away
	}
	w.kept = append(w.kept, s.Revision)
	return nil
}

func (w *world) Revision(_ context.Context, revision string) ([]byte, error) {
	if content, ok := w.revisions[revision]; ok {
		return content, nil
	}
	return nil, errs.Errorf(errs.NotFound, "no revision %s", revision)
}

// Await notes what other hosts are asked of.
func (w *world) Await(id job.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awaited = append(w.awaited, id)
	return w.company
}

func (w *world) Cancel(_ context.Context, id job.ID, by string, _ pluginhost.StopReason) (job.Status, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ended := *w.jobs[id]
	ended.Status, ended.CanceledBy = job.Canceled, by
	w.jobs[id] = &ended
	return job.Canceled, nil
}

func (w *world) Job(_ context.Context, id job.ID) (*job.Job, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	if w.away != nil {
		return nil, w.away
	}
	if w.jobs[id] == nil {
		return nil, errs.Errorf(errs.NotFound, "there is no job %s", id)
	}
	return w.jobs[id], nil
}

func (w *world) Ended(_ context.Context, ids []job.ID) (ended []job.ID, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	for _, id := range ids {
		if j := w.jobs[id]; j != nil && j.Status.Final() {
			ended = append(ended, id)
		}
	}
	return ended, w.away
}

func (w *world) Jobs(context.Context, job.Filter) (job.Page, error) { return job.Page{}, nil }

func (w *world) put(j *job.Job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.jobs == nil {
		w.jobs = map[job.ID]*job.Job{}
	}
	w.jobs[j.ID] = j
}

func (w *world) Selector() *selector.Selector {
	w.selected++
	object := func(id string) catalog.Object {
		return catalog.Object{ID: id, Name: id, Status: catalog.Active, Tags: tag.New("t")}
	}
	commands := []*catalog.Command{{Object: object("c"), Plugin: "p", Sync: true, Bounds: w.bounds}}
	for _, id := range w.commands {
		commands = append(commands, &catalog.Command{Object: object(id), Plugin: "p"})
	}
	s, err := catalog.NewSnapshot(commands, []*catalog.Cluster{{Object: object("k")}})
	if err != nil {
		panic(err)
	}
	return selector.New(s)
}

func service(w *world) *jobs.Service {
	s := jobs.New(jobs.Config{Store: w, Catalog: w, Plugins: func(*catalog.Command) error { return nil }})
	s.Use(w, w)
	return s
}

// serve runs a service inside a synctest bubble, until the end of the test.
func serve(t *testing.T, w *world) *jobs.Service {
	s := service(w)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func ended(j *job.Job) *job.Job {
	e := *j
	e.Status = job.Succeeded
	return &e
}
