package sdk

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

type waiting struct{}

func (*waiting) Run(ctx context.Context, _ *Job[None]) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestLook(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		request *pluginpb.StartRequest // nil: none runs
		ended   bool                   // and has ended
		renewed time.Duration          // right to run; 0: never renewed
		moved   bool                   // the folder of its socket is not there any more
		heard   bool                   // the host said after it that it lives, without a new right
		after   time.Duration
		stops   bool
		exits   bool
	}{
		"nothing to do, host just left": {after: 30 * time.Second},
		"nothing to do, host gone":      {after: 2 * time.Minute, exits: true},
		"end nobody knows of":           {request: &pluginpb.StartRequest{}, ended: true, after: 2 * time.Minute},
		"end nobody will ask for":       {request: &pluginpb.StartRequest{}, ended: true, after: 2 * time.Hour, exits: true},
		"end nobody can ask for":        {request: &pluginpb.StartRequest{}, ended: true, moved: true, after: 2 * time.Minute, exits: true},
		"end somebody may look for":     {request: &pluginpb.StartRequest{}, ended: true, moved: true, after: 30 * time.Second},
		"job that nobody can ask for":   {request: &pluginpb.StartRequest{}, moved: true, after: 2 * time.Hour},
		"job without limits":            {request: &pluginpb.StartRequest{}, renewed: time.Second, after: 2 * time.Hour},
		"followed":                      {request: &pluginpb.StartRequest{OrphanTimeout: durationpb.New(time.Minute)}, after: 59 * time.Second},
		"orphan":                        {request: &pluginpb.StartRequest{OrphanTimeout: durationpb.New(time.Minute)}, after: 61 * time.Second, stops: true},
		"retryable, right holds":        {request: &pluginpb.StartRequest{Retryable: true}, renewed: time.Minute, after: 59 * time.Second},
		"retryable, right passed":       {request: &pluginpb.StartRequest{Retryable: true}, renewed: time.Minute, after: 61 * time.Second, stops: true},
		"retryable, no right known":     {request: &pluginpb.StartRequest{Retryable: true}, after: time.Hour},
		"retryable, only heard of":      {request: &pluginpb.StartRequest{Retryable: true}, renewed: time.Minute, heard: true, after: 61 * time.Second, stops: true},
		"retryable, right stays":        {request: &pluginpb.StartRequest{Retryable: true}, renewed: time.Minute, heard: true, after: 59 * time.Second},
		"retryable, never a right":      {request: &pluginpb.StartRequest{Retryable: true}, heard: true, after: time.Hour},
		"resumable, right passed":       {request: &pluginpb.StartRequest{Checkpoint: &pluginpb.Checkpoint{}}, renewed: time.Minute, after: 61 * time.Second, stops: true},
		"resumable, right holds":        {request: &pluginpb.StartRequest{Checkpoint: &pluginpb.Checkpoint{}}, renewed: time.Minute, after: 59 * time.Second},
		"not retryable, right passed":   {request: &pluginpb.StartRequest{}, renewed: time.Minute, after: 61 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			s, err := New("test", func() *waiting { return &waiting{} })
			if err != nil {
				t.Fatal(err)
			}
			s.folder = t.TempDir()
			if test.moved {
				s.folder = filepath.Join(s.folder, "gone")
			}
			if test.renewed > 0 {
				s.lease.renew(1, test.renewed)
			}
			if test.heard {
				s.lease.seen = 0
				s.lease.renew(1, 0)
				if s.lease.seen == 0 {
					t.Error("the host said that it lives, and is not heard of")
				}
			}
			if test.request != nil {
				test.request.AttemptId = "a"
				if _, err := s.begin(test.request); err != nil {
					t.Fatal(err)
				}
				defer s.Shutdown(t.Context(), time.Second)
			}
			if test.ended {
				s.get("a").stop(pluginpb.CancelMode_CANCEL_MODE_GRACEFUL, 0, stopError(0, ""))
				if err := s.waitIdle(t.Context()); err != nil {
					t.Fatal(err)
				}
			}

			if got := s.look(bootTime() + test.after); got != test.exits {
				t.Errorf("exits = %v, want %v", got, test.exits)
			}
			if test.request != nil && !test.ended {
				if got := s.get("a").ctx.Err() != nil; got != test.stops {
					t.Errorf("stopped = %v, want %v", got, test.stops)
				}
			}
		})
	}
}

// What somebody else may run stops when the host's right is over, and not at the
// next of the looks that come now and then.
func TestRetryableWorkStopsWithTheRight(t *testing.T) {
	t.Parallel()

	s, err := New("test", func() *waiting { return &waiting{} })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watch(ctx)
	}()
	a, err := s.begin(&pluginpb.StartRequest{AttemptId: "a", Retryable: true})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	s.lease.renew(1, 200*time.Millisecond)
	<-a.ctx.Done()
	if took := time.Since(begun); took < 200*time.Millisecond || took > watchTime-200*time.Millisecond {
		t.Errorf("stopped after %v, want soon after 200ms", took)
	}
	if s.lease.may(t.Context()) {
		t.Error("a start may begin after the right is over")
	}
	s.lease.renew(1, time.Minute)
	if !s.lease.may(t.Context()) {
		t.Error("a start may not begin after the right was renewed")
	}
	cancel()
	<-watched
}

// A right that is renewed when it was over already ends in time, too: the look
// that found it over has put off the next one.
func TestWorkStopsWithARightThatWasOverBefore(t *testing.T) {
	t.Parallel()

	s, err := New("test", func() *waiting { return &waiting{} })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watch(ctx)
	}()
	for _, id := range []string{"before", "after"} {
		a, err := s.begin(&pluginpb.StartRequest{AttemptId: id, Retryable: true})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		s.lease.renew(1, 200*time.Millisecond)
		<-a.ctx.Done()
		if took := time.Since(begun); took > watchTime-200*time.Millisecond {
			t.Errorf("%s: stopped after %v, want soon after 200ms", id, took)
		}
	}
	cancel()
	<-watched
}

func TestSweepClosesIdleInstances(t *testing.T) {
	t.Parallel()

	s, err := New("test", func() *waiting { return &waiting{} })
	if err != nil {
		t.Fatal(err)
	}
	used, err := s.instances.acquire(t.Context(), []byte("{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	idle, err := s.instances.acquire(t.Context(), []byte("{ }"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.instances.release(idle)
	s.instances.sweep(time.Now().Add(time.Minute))
	if got := len(s.instances.known); got != 1 {
		t.Errorf("%d instances are left, want the used one", got)
	}
	s.instances.release(used)
}

// picky is a plugin whose Open panics.
type picky struct{ waiting }

func (*picky) Open(context.Context) error { panic("no") }

func TestInstanceIsReleasedAfterAPanic(t *testing.T) {
	t.Parallel()

	s, err := New("test", func() *picky { return &picky{} })
	if err != nil {
		t.Fatal(err)
	}
	err = guard(func() error {
		_, err := s.instances.acquire(t.Context(), []byte("{}"), nil)
		return err
	})
	if err == nil {
		t.Fatal("got no error, want the panic")
	}
	s.instances.sweep(time.Now().Add(time.Minute))
	if got := len(s.instances.known); got != 0 {
		t.Errorf("%d instances are left, want none", got)
	}
}

// The host gives the secrets in any order.
func TestInstanceIsSharedWhateverTheOrderOfSecrets(t *testing.T) {
	t.Parallel()

	a := &pluginpb.Secret{Pointer: "/a", Value: []byte("1")}
	b := &pluginpb.Secret{Pointer: "/b", Value: []byte("2")}
	if keyOf([]byte("{}"), []*pluginpb.Secret{a, b}) != keyOf([]byte("{}"), []*pluginpb.Secret{b, a}) {
		t.Error("the same settings have two keys, want one")
	}
}

// The host knows better than the plugin how long an orderly stop may take, also
// when the deadline of the attempt came before its word.
func TestGraceOfTheHostCounts(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		s, err := New("test", func() *deaf { return &deaf{} })
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		request := &pluginpb.StartRequest{AttemptId: "a", Deadline: timestamppb.New(begun.Add(time.Minute))}
		a, err := s.begin(request)
		if err != nil {
			t.Fatal(err)
		}
		<-a.ctx.Done()
		a.obey(&pluginpb.CancelRequest{Grace: durationpb.New(time.Hour), Reason: pluginpb.CancelReason_CANCEL_REASON_TIMEOUT})
		if err := s.waitIdle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := time.Since(begun), time.Minute+time.Hour+deafTime; got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
		time.Sleep(time.Hour) // virtual; until Run returns
	})
}

// A host that has lost its right must not end the outside work that another goes on
// with, however it asks, and is not kept waiting.
func TestWorkWithACheckpointIsLeftWhenTheRightIsLost(t *testing.T) {
	t.Parallel()

	for _, mode := range []pluginpb.CancelMode{
		pluginpb.CancelMode_CANCEL_MODE_GRACEFUL, pluginpb.CancelMode_CANCEL_MODE_FORCED, pluginpb.CancelMode_CANCEL_MODE_ABANDON,
	} {
		synctest.Test(t, func(t *testing.T) {
			s, err := New("test", func() *deaf { return &deaf{} })
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			a, err := s.begin(&pluginpb.StartRequest{AttemptId: "a", Checkpoint: &pluginpb.Checkpoint{}})
			if err != nil {
				t.Fatal(err)
			}
			a.obey(&pluginpb.CancelRequest{Mode: mode, Grace: durationpb.New(time.Hour), Reason: pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST})
			if !Abandoned(a.ctx) {
				t.Errorf("%v: Run is not told to leave the work alone", mode)
			}
			if err := s.waitIdle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, want := time.Since(begun), abandonTime+deafTime; got != want {
				t.Errorf("%v: ended after %v, want %v", mode, got, want)
			}
			time.Sleep(3 * time.Hour) // virtual; until Run returns
		})
	}
}

// deaf takes no notice of anything for some hours.
type deaf struct{}

func (*deaf) Run(context.Context, *Job[None]) error {
	time.Sleep(2 * time.Hour)
	return nil
}

func TestForgetIsBounded(t *testing.T) {
	t.Parallel()

	s, err := New("test", func() *waiting { return &waiting{} })
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxForgotten + 10 {
		id := string(rune('a'+i%26)) + time.Duration(i).String()
		s.attempts[id] = &attempt{id: id}
		s.forget(id)
	}
	if len(s.forgotten) != maxForgotten || len(s.ring) != maxForgotten {
		t.Errorf("remembers %d and %d ids, want %d", len(s.forgotten), len(s.ring), maxForgotten)
	}
}
