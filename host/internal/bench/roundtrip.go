package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/runner"
)

// fixed is a catalog that does not change.
type fixed struct{ snapshot *catalog.Snapshot }

func (f fixed) Snapshot() *catalog.Snapshot { return f.snapshot }

// roundTrip measures an attempt of ping, from the runner to the plugin and back,
// against a bare unary call.
func (b *bench) roundTrip() error {
	peers, err := b.peers()
	if err != nil {
		return err
	}
	defer peers.close()
	object := func(id string) catalog.Object {
		return catalog.Object{ID: id, Name: id, Status: catalog.Active}
	}
	snapshot, err := catalog.NewSnapshot(
		[]*catalog.Command{{Object: object("ping"), Plugin: "ping"}}, []*catalog.Cluster{{Object: object("here")}})
	if err != nil {
		return err
	}
	data := filepath.Join(b.scratch, "round-trip")
	plugins, err := pluginhost.New(pluginhost.Config{
		Directory: b.plugins(), DataDir: data, Log: hclog.NewNullLogger(),
	})
	if err != nil {
		return err
	}
	if err := plugins.Start(b.ctx); err != nil {
		return err
	}
	serving, stop := context.WithCancel(b.ctx)
	served := make(chan error, 1)
	go func() { served <- plugins.Serve(serving) }()
	defer func() { stop(); <-served }()

	pid := 0
	for _, p := range plugins.Plugins() {
		if p.Name == "ping" {
			pid = p.PID
		}
	}
	r := runner.New(runner.Config{
		Plugins: plugins, Catalog: fixed{snapshot}, Folder: filepath.Join(data, "jobs"), Log: hclog.NewNullLogger(),
	})
	ping := func(ctx context.Context) error {
		j := &job.Job{
			ID: job.NewID(), User: "bench", CreatedAt: time.Now(),
			Request: job.Request{Name: "ping", Context: json.RawMessage("{}")},
			Pair:    job.Pair{CommandID: "ping", ClusterID: "here"},
		}
		o, done := r.Run(ctx, job.Claimed{Job: j, Lease: job.Lease{JobID: j.ID, Attempt: 1}}, func(time.Time) {})
		done()
		if o.Status != job.Succeeded {
			return fmt.Errorf("ping is %s: %v", o.Status, o.Error)
		}
		return nil
	}
	for _, callers := range []int{1, 64} {
		bare, ours, err := beside(
			func() (load, error) { return drive(b.ctx, callers, b.length/rounds, peers.call, peers.pid) },
			func() (load, error) { return drive(b.ctx, callers, b.length/rounds, ping, pid) })
		if err != nil {
			return err
		}
		at := fmt.Sprintf(", %d callers", callers)
		b.add(Figure{Name: "bare call p50" + at, Value: micro(bare.p50), Unit: "µs"})
		b.add(Figure{Name: "bare call CPU" + at, Value: micro(bare.cpu), Unit: "µs"})
		b.add(Figure{
			Name: "ping p50" + at, Value: micro(ours.p50), Unit: "µs",
			Against: "bare call", Ratio: float64(ours.p50) / float64(bare.p50), Goal: "at most 2.5",
		})
		b.add(Figure{
			Name: "ping CPU" + at, Value: micro(ours.cpu), Unit: "µs",
			Against: "bare call", Ratio: float64(ours.cpu) / float64(bare.cpu), Goal: "at most 2.5",
		})
	}
	return nil
}

// rounds is how often two things are measured in turn, so that a machine whose
// speed drifts is fair to both.
const rounds = 5

// beside measures two things in turn and returns the median of each figure.
func beside(one, other func() (load, error)) (load, load, error) {
	var ones, others []load
	for range rounds {
		for _, m := range []struct {
			run  func() (load, error)
			into *[]load
		}{{one, &ones}, {other, &others}} {
			l, err := m.run()
			if err != nil {
				return load{}, load{}, err
			}
			*m.into = append(*m.into, l)
		}
	}
	return median(ones), median(others), nil
}

func median(loads []load) load {
	return load{
		rate: middleOf(loads, func(l load) float64 { return l.rate }),
		p50:  middleOf(loads, func(l load) time.Duration { return l.p50 }),
		p99:  middleOf(loads, func(l load) time.Duration { return l.p99 }),
		cpu:  middleOf(loads, func(l load) time.Duration { return l.cpu }),
	}
}

func middleOf[T cmp.Ordered](loads []load, of func(load) T) T {
	var values []T
	for _, l := range loads {
		values = append(values, of(l))
	}
	return middle(values)
}

// middle returns the median.
func middle[T cmp.Ordered](values []T) T {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}
