package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/artifacts"
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
	company   bool     // there are other hosts
	awaited   []job.ID // what they were asked of
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

// The repeat of a submission is known before anything else is looked at: the
// catalog may have changed, and the time for it be over.
func TestRepeatedSubmission(t *testing.T) {
	w := &world{}
	s := service(w)
	request := func(change func(*job.Request)) job.Request {
		r := job.Request{
			Name: "n", CommandCriteria: tag.New("t"), Context: json.RawMessage(`{"a": 1}`),
			Deadline: time.Now().Add(time.Hour).Truncate(time.Second),
		}
		change(&r)
		return r
	}
	first, err := s.Submit(t.Context(), "alice", request(func(*job.Request) {}), jobs.WaitNever, "order 17")
	if err != nil {
		t.Fatal(err)
	}
	w.put(ended(first))
	selected := w.selected
	again, err := s.Submit(t.Context(), "alice", request(func(r *job.Request) { r.Context = json.RawMessage(`{"a":1}`) }), jobs.WaitIfSync, "order 17")
	if err != nil || again.ID != first.ID || again.Status != job.Succeeded || w.selected != selected {
		t.Errorf("repeat: got %+v and error %v, want job %s as it is, and no pair to be chosen", again, err, first.ID)
	}
	if j, err := s.Wait(t.Context(), again.ID); err != nil || j.Status != job.Succeeded {
		t.Errorf("wait for the repeat: got %+v and error %v", j, err)
	}
	for what, change := range map[string]func(*job.Request){
		"another input":    func(r *job.Request) { r.Context = json.RawMessage(`{"a":2}`) },
		"another priority": func(r *job.Request) { r.Priority = 1 },
		"another deadline": func(r *job.Request) { r.Deadline = r.Deadline.Add(time.Second) },
		"another retry":    func(r *job.Request) { r.Retry = &job.Retry{Attempts: 2} },
	} {
		if _, err := s.Submit(t.Context(), "alice", request(change), jobs.WaitNever, "order 17"); !errs.Is(err, errs.Conflict) {
			t.Errorf("%s with the key: got error %v, want a conflict", what, err)
		}
	}
}

func TestDeadlineThatIsOver(t *testing.T) {
	_, err := service(&world{}).Submit(t.Context(), "alice", job.Request{
		CommandCriteria: tag.New("t"), Deadline: time.Now().Add(-time.Second),
	}, jobs.WaitNever, "")
	e, ok := errors.AsType[*errs.Error](err)
	if !ok || e.Kind != errs.Invalid || len(e.Fields) != 1 || e.Fields[0].Pointer != "/deadline" {
		t.Errorf("got error %v, want that the deadline is over", err)
	}
}

// What bounds callers bounds those who say nothing.
func TestPriorityOfWhoSaysNothing(t *testing.T) {
	for most, want := range map[int]int{-5: -5, 5: 0} {
		w := &world{bounds: catalog.Bounds{Priority: &most}}
		j, err := service(w).Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitNever, "")
		if err != nil || j.Priority != want {
			t.Errorf("max_priority %d: got %+v and error %v, want priority %d", most, j, err, want)
		}
	}
	most := 5
	_, err := service(&world{bounds: catalog.Bounds{Priority: &most}}).Submit(t.Context(), "alice",
		job.Request{CommandCriteria: tag.New("t"), Priority: 6}, jobs.WaitNever, "")
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("priority 6 of at most 5: got error %v, want invalid", err)
	}
}

func TestSubmitRecordsTheChoice(t *testing.T) {
	w := &world{}
	j, err := service(w).Submit(t.Context(), "alice", job.Request{
		Name: "n", Version: "v", CommandCriteria: tag.New("t"), Tags: tag.New("team:a"),
	}, jobs.WaitNever, "")
	if err != nil {
		t.Fatal(err)
	}
	if j.Pair != (job.Pair{CommandID: "c", CommandName: "c", ClusterID: "k", ClusterName: "k"}) || !j.Sync || j.User != "alice" {
		t.Errorf("job = %+v", j)
	}
	if want := tag.New("_id:"+string(j.ID), "_name:n", "_version:v", "team:a"); !tagsEqual(j.Tags, want) {
		t.Errorf("tags = %v, want %v", j.Tags, want)
	}
	var record selector.Record
	if err := json.Unmarshal(j.Resolution, &record); err != nil || record.Command != "c" || record.Cluster != "k" || record.Revision == "" || record.Pairs != 1 {
		t.Errorf("record = %s, %v", j.Resolution, err)
	}
	if len(w.kept) != 1 || w.kept[0] != record.Revision {
		t.Errorf("catalogs that were kept = %v, want that of the record, %s", w.kept, record.Revision)
	}
	if _, err := service(w).Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("none")}, jobs.WaitNever, ""); !errs.Is(err, errs.Invalid) {
		t.Errorf("Submit = %v, want invalid", err)
	}
	if len(w.jobs) != 1 {
		t.Errorf("%d jobs recorded, want 1: nothing is when no pair matches", len(w.jobs))
	}
}

func tagsEqual(a, b tag.Set) bool { return len(a.Missing(b)) == 0 && len(b.Missing(a)) == 0 }

// The end of a job that its submitter waits for is never missed and costs no
// read, however soon it comes.
func TestWaitAfterSubmit(t *testing.T) {
	for name, end := range map[string]func(*jobs.Service, *job.Job){
		"it ends before the wait begins": func(s *jobs.Service, j *job.Job) { s.Ended(ended(j)) },
		"it ends later": func(s *jobs.Service, j *job.Job) {
			go func() { time.Sleep(300 * time.Millisecond); s.Ended(ended(j)) }()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{}
				s := service(w)
				w.onSubmit = func(j *job.Job) { end(s, j) }
				j, err := s.Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitIfSync, "")
				if err != nil {
					t.Fatal(err)
				}
				got, err := s.Wait(t.Context(), j.ID)
				if err != nil || got.Status != job.Succeeded {
					t.Errorf("Wait = %+v, %v", got, err)
				}
				if w.reads != 0 {
					t.Errorf("waiting cost %d reads, want none", w.reads)
				}
			})
		})
	}
}

func TestWaitForWhatOthersDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := serve(t, w)
		j := &job.Job{ID: job.NewID(), Status: job.Running}
		w.put(j)

		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		if got, err := s.Wait(ctx, j.ID); err != nil || got.Status != job.Running {
			t.Errorf("Wait = %+v, %v, want the job as it is", got, err)
		}
		go func() { time.Sleep(10 * time.Second); w.put(ended(j)) }() // on another host
		begun := time.Now()
		got, err := s.Wait(t.Context(), j.ID)
		if err != nil || got.Status != job.Succeeded || time.Since(begun) > 12*time.Second {
			t.Errorf("Wait = %+v, %v after %v", got, err, time.Since(begun))
		}
		if got, err := s.Wait(t.Context(), j.ID); err != nil || got.Status != job.Succeeded {
			t.Errorf("Wait for an ended job = %+v, %v", got, err)
		}
		if _, err := s.Wait(t.Context(), job.NewID()); !errs.Is(err, errs.NotFound) {
			t.Errorf("Wait for nothing = %v, want not found", err)
		}
	})
}

// A wait outlasts the time that the store is away.
// Who waits for a job that does not run here has other hosts asked, and is answered
// as soon as they say that it has ended, or it is seen that it had before they knew.
func TestWaitAsksOtherHosts(t *testing.T) {
	for name, said := range map[string]bool{"they say so": true, "they did not know in time": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{company: true}
				s := serve(t, w)
				j := &job.Job{ID: job.NewID(), Status: job.New}
				w.put(j)
				waited := make(chan *job.Job)
				go func() {
					got, _ := s.Wait(t.Context(), j.ID)
					waited <- got
				}()
				if said {
					time.Sleep(300 * time.Millisecond)
				}
				synctest.Wait()
				begun := time.Now()
				w.put(ended(j))
				if said {
					s.Look([]job.ID{j.ID})
				}
				got := <-waited
				if took := time.Since(begun); got.Status != job.Succeeded || said && took > 0 || took > 50*time.Millisecond {
					t.Errorf("%s after %v, want SUCCEEDED soon", got.Status, took)
				}
				if !slices.Equal(w.awaited, []job.ID{j.ID}) {
					t.Errorf("others were asked of %v, want %v", w.awaited, j.ID)
				}
			})
		})
	}
}

func TestWaitWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{away: errs.Errorf(errs.Unavailable, "away")}
		s := serve(t, w)
		j := &job.Job{ID: job.NewID(), Status: job.Running}
		go func() {
			time.Sleep(5 * time.Second)
			w.put(ended(j))
			w.mu.Lock()
			w.away = nil
			w.mu.Unlock()
		}()
		if got, err := s.Wait(t.Context(), j.ID); err != nil || got.Status != job.Succeeded {
			t.Errorf("Wait = %+v, %v", got, err)
		}
	})
}

// A wait for an end that cannot be recorded, and for a job of which nothing is
// known while the store is away, comes to an end; one for a job that runs here goes
// on. The answer names the job.
func TestWaitIsBoundedWhileTheStoreIsAway(t *testing.T) {
	for name, tt := range map[string]struct {
		runsHere time.Duration // and then its end is not recorded
		within   time.Duration
	}{
		"it ran elsewhere":                 {0, 32 * time.Second},
		"it runs here, and ends at once":   {time.Second, 33 * time.Second},
		"it runs here for another minute":  {time.Minute, 92 * time.Second},
		"it runs here for another 2 hours": {2 * time.Hour, 2*time.Hour + 32*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{}
				s := serve(t, w)
				j, err := s.Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitIfSync, "")
				if err != nil {
					t.Fatal(err)
				}
				w.mu.Lock()
				w.away = errs.Errorf(errs.Unavailable, "away")
				if tt.runsHere > 0 {
					w.holds = j.ID
				}
				w.mu.Unlock()
				if tt.runsHere > 0 {
					go func() {
						time.Sleep(tt.runsHere)
						for range 4 {
							s.Delayed(j.ID)
							time.Sleep(5 * time.Second)
						}
					}()
				}
				begun := time.Now()
				_, err = s.Wait(t.Context(), j.ID)
				e, ok := errors.AsType[*errs.Error](err)
				if !ok || e.Kind != errs.Unavailable || e.ID != string(j.ID) || e.Retry == 0 {
					t.Errorf("Wait = %+v, want unavailable with the id and when to come again", err)
				}
				if took := time.Since(begun); took < tt.within-4*time.Second || took > tt.within {
					t.Errorf("Wait took %v, want about %v", took, tt.within)
				}
				if tt.runsHere > 0 { // one that comes later waits as long
					later := time.Now()
					go func() { time.Sleep(time.Second); s.Delayed(j.ID) }()
					if _, err := s.Wait(t.Context(), j.ID); !errs.Is(err, errs.Unavailable) || time.Since(later) < 29*time.Second {
						t.Errorf("Wait once more = %v after %v, want unavailable after half a minute", err, time.Since(later))
					}
				}
			})
		})
	}
}

// However many wait, the store is asked once in a while for all of them.
func TestManyWaitersCostFewReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := serve(t, w)
		const waiters = 1000
		var submitted []*job.Job
		var all sync.WaitGroup
		for range waiters {
			j, err := s.Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitAlways, "")
			if err != nil {
				t.Fatal(err)
			}
			submitted = append(submitted, j)
			all.Go(func() {
				if got, err := s.Wait(t.Context(), j.ID); err != nil || got.Status != job.Succeeded {
					t.Errorf("Wait = %+v, %v", got, err)
				}
			})
		}
		time.Sleep(time.Minute + time.Millisecond)
		w.mu.Lock()
		if w.reads != 0 || w.looks != 60 {
			t.Errorf("reads, looks = %d, %d in a minute, want 0 and 60", w.reads, w.looks)
		}
		w.mu.Unlock()
		for _, j := range submitted {
			w.put(ended(j)) // on another host
		}
		all.Wait()
	})
}

// Whoever waits for a job that will not end here any more is told so, with its
// id, and not cut off.
func TestWaitEndsWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := service(w)
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- s.Serve(ctx) }()
		j, err := s.Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitAlways, "")
		if err != nil {
			t.Fatal(err)
		}
		waited := make(chan error)
		go func() {
			_, err := s.Wait(t.Context(), j.ID)
			waited <- err
		}()
		synctest.Wait()
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		e, ok := errors.AsType[*errs.Error](<-waited)
		if !ok || e.Kind != errs.Unavailable || e.ID != string(j.ID) {
			t.Errorf("Wait = %+v, want unavailable with the id", e)
		}
	})
}

func TestWaitersHearOfACanceledWaitingJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := service(w)
		j, err := s.Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitAlways, "")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if status, err := s.Cancel(t.Context(), "bob", j.ID, jobs.ByUser); err != nil || status != job.Canceled {
				t.Errorf("Cancel = %s, %v", status, err)
			}
		}()
		begun := time.Now()
		got, err := s.Wait(t.Context(), j.ID)
		if err != nil || got.CanceledBy != "bob" || time.Since(begun) != 0 {
			t.Errorf("Wait = %+v, %v after %v", got, err, time.Since(begun))
		}
	})
}

func TestResult(t *testing.T) {
	w := &world{}
	s := service(w)
	for name, tt := range map[string]struct {
		job  job.Job
		kind errs.Kind
		want string
	}{
		"not ended":      {job.Job{Status: job.Running}, errs.Conflict, ""},
		"without result": {job.Job{Status: job.Failed}, errs.NotFound, ""},
		"inline":         {job.Job{Status: job.Succeeded, Result: &job.Result{Inline: []byte("content")}}, "", "content"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.job.ID = job.NewID()
			w.put(&tt.job)
			_, r, err := s.Result(t.Context(), tt.job.ID)
			if errs.KindOf(err) != tt.kind {
				t.Fatalf("Result = %v, want kind %q", err, tt.kind)
			}
			if err == nil {
				if got, err := io.ReadAll(r); err != nil || string(got) != tt.want {
					t.Errorf("content = %q, %v, want %q", got, err, tt.want)
				}
			}
		})
	}
}

// A log that was opened before anything was written is read to its end, also
// when its file moves to the artifacts in between.
func TestLog(t *testing.T) {
	data := t.TempDir()
	kept, err := artifacts.Open(t.Context(), "file", data)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	for name, openEarly := range map[string]bool{"opened while the file is there": true, "opened before": false} {
		t.Run(name, func(t *testing.T) {
			w := &world{}
			s := jobs.New(jobs.Config{Store: w, Catalog: w, Artifacts: kept, Folder: filepath.Join(data, "jobs"), Host: here})
			s.Use(w, w)
			j := &job.Job{ID: job.NewID(), Status: job.Running, Attempt: 1, HostID: here}
			w.put(j)
			log, err := s.Log(t.Context(), j.ID, job.Stdout, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			size(t, log, 0)

			folder := filepath.Join(data, "jobs", string(j.ID), "1", "logs")
			if err := os.MkdirAll(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(folder, "stdout")
			if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
				t.Fatal(err)
			}
			if openEarly {
				size(t, log, 5)
			}
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			e := ended(j)
			e.Logs.Stdout, e.Logs.StdoutBytes, err = kept.Keep(t.Context(), j.ID, 1, "stdout", f)
			if err := errors.Join(err, f.Close(), os.RemoveAll(folder)); err != nil {
				t.Fatal(err)
			}
			w.attempts = map[job.ID][]job.Attempt{j.ID: {{Attempt: 1, HostID: here, Logs: e.Logs}}}
			w.put(e)
			s.Ended(e)
			for {
				news, over := log.Watch()
				if over {
					break
				}
				<-news
			}
			size(t, log, 5)
			got := make([]byte, 4)
			if _, err := log.ReadAt(got, 1); err != nil || string(got) != "ello" {
				t.Errorf("ReadAt = %q, %v", got, err)
			}
		})
	}
}

func size(t *testing.T, log jobs.Log, want int64) {
	t.Helper()
	if got, err := log.Size(); err != nil || got != want {
		t.Errorf("Size = %d, %v, want %d", got, err, want)
	}
}

// A link in place of the file leads nowhere.
func TestLogFollowsNoLink(t *testing.T) {
	data := t.TempDir()
	secret := filepath.Join(data, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{}
	s := jobs.New(jobs.Config{Store: w, Catalog: w, Folder: filepath.Join(data, "jobs"), Host: here})
	s.Use(w, w)
	j := &job.Job{ID: job.NewID(), Status: job.Running, Attempt: 1, HostID: here}
	w.put(j)
	folder := filepath.Join(data, "jobs", string(j.ID), "1", "logs")
	if err := errors.Join(os.MkdirAll(folder, 0o700), os.Symlink(secret, filepath.Join(folder, "stdout"))); err != nil {
		t.Fatal(err)
	}
	log, err := s.Log(t.Context(), j.ID, job.Stdout, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if n, err := log.Size(); !errs.Is(err, errs.Conflict) {
		t.Errorf("Size = %d, %v, want a conflict", n, err)
	}
}
