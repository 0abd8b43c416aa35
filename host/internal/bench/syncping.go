package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// callers is the number of keep-alive clients of the main figure.
const callers = 64

// syncPing measures the main job over HTTP, recorded durably, against the limit
// that its parts set when they come one after the other on the same cores.
func (b *bench) syncPing(kind string) (err error) {
	goal := "at least 0.4"
	if kind == "postgres" {
		limits, err := b.limits()
		if err != nil {
			return err
		}
		goal += ", and " + limits.absolute("4000 jobs/s")
	}
	d, err := b.database(kind)
	if err != nil {
		return err
	}
	defer d.end(&err)
	peers, err := b.peers()
	if err != nil {
		return err
	}
	defer peers.close()
	client := keepAlive(callers)
	defer client.CloseIdleConnections()
	hello, err := drive(b.ctx, callers, b.length, func(ctx context.Context) error {
		return post(ctx, client, peers.hello, "hello")
	})
	if err != nil {
		return err
	}
	call, err := drive(b.ctx, callers, b.length, peers.call)
	if err != nil {
		return err
	}
	rows, commits, err := b.combiners(kind, d.url)
	if err != nil {
		return err
	}
	s, err := b.serve(deployment{config: catalogFile, data: filepath.Join(b.scratch, "sync-"+kind), store: d.url, plugins: b.plugins()})
	if err != nil {
		return err
	}
	ours, err := drive(b.ctx, callers, b.length, func(ctx context.Context) error {
		return post(ctx, client, s.address+"/api/v1/job", `"SUCCEEDED"`)
	})
	memory, memoryErr := s.anonymous()
	if err := errors.Join(err, memoryErr, s.stop()); err != nil {
		return err
	}

	limit := 1 / (1/hello.rate + 1/call.rate + 1/rows.rate)
	b.add(Figure{Name: "a: bare net/http hello, 64 clients", Value: hello.rate, Unit: "/s"})
	b.add(Figure{Name: "b: bare grpc unary call, 64 callers", Value: call.rate, Unit: "/s"})
	b.add(Figure{Name: "c: submit and end in the store, 64 callers", Value: rows.rate, Unit: "jobs/s"})
	b.add(Figure{Name: "limit: 1/(1/a+1/b+1/c)", Value: limit, Unit: "jobs/s"})
	b.add(Figure{Name: "single commits, 16 callers", Value: commits.rate, Unit: "/s"})
	b.add(Figure{
		Name: "sync ping, 64 clients", Value: ours.rate, Unit: "jobs/s",
		Against: "limit", Ratio: ours.rate / limit, Goal: goal,
	})
	b.add(Figure{Name: "sync ping p50", Value: milli(ours.p50), Unit: "ms"})
	b.add(Figure{Name: "sync ping p99", Value: milli(ours.p99), Unit: "ms"})
	b.add(Figure{Name: "RssAnon after that", Value: memory / (1 << 20), Unit: "MiB"})
	return nil
}

// combiners measures the store alone: the rows that a sync ping leaves, and the
// smallest durable commit.
func (b *bench) combiners(kind, url string) (rows, commits load, err error) {
	db, err := store.Open(b.ctx, store.Config{URL: url, Dir: filepath.Join(b.scratch, "store-"+kind), Log: hclog.NewNullLogger()})
	if err != nil {
		return rows, commits, err
	}
	defer db.Close()
	const host = "00000000-0000-4000-8000-000000000001"
	epoch, err := db.RegisterHost(b.ctx, store.Host{ID: host, Name: "bench"}, time.Hour)
	if err != nil {
		return rows, commits, err
	}
	rows, err = drive(b.ctx, callers, b.length, func(ctx context.Context) error {
		now := time.Now().UTC().Truncate(time.Microsecond)
		j := &job.Job{
			ID: job.NewID(), User: "bench", Sync: true, Status: job.New, CreatedAt: now, UpdatedAt: now,
			Request: job.Request{
				Name: "ping-test", Version: "0.0.1", Context: json.RawMessage("{}"),
				CommandCriteria: tag.New("type:ping"), ClusterCriteria: []tag.Set{tag.New("type:localhost")},
			},
			Pair:       job.Pair{CommandID: "ping-0.0.1", CommandName: "ping-0.0.1", ClusterID: "localhost-0.0.1", ClusterName: "localhost-0.0.1"},
			Resolution: json.RawMessage(`{"revision":"0123456789abcdef","seed":"1234567890123456789","command_id":"ping-0.0.1","cluster_id":"localhost-0.0.1","commands":{"fits":1},"pairs":1}`),
		}
		j.Tags = tag.System(string(j.ID), j.Name, j.Version)
		lease, err := db.Submit(ctx, store.Submission{Job: j, Host: host, Epoch: epoch, Claim: true})
		if err != nil {
			return err
		}
		if lease == nil {
			return fmt.Errorf("job %s was not claimed with its submission", j.ID)
		}
		const result = `{"columns":[{"name":"message","type":"string"}],"data":[["Hello, bench!"]]}`
		return db.End(ctx, job.End{Lease: *lease, Outcome: job.Outcome{
			Status: job.Succeeded, StartedAt: now, EndedAt: time.Now(),
			Build:  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			Result: &job.Result{ContentType: job.TableType, Rows: 1, Bytes: int64(len(result)), Inline: []byte(result)},
		}})
	})
	if err != nil {
		return rows, commits, err
	}
	commits, err = singleCommits(b.ctx, db, b.length)
	return rows, commits, err
}

// singleCommits measures the smallest durable write, a heartbeat of one row, as
// 16 hosts would do it.
func singleCommits(ctx context.Context, db *store.DB, length time.Duration) (load, error) {
	const hosts = 16
	type registered struct {
		id    string
		epoch int64
	}
	free := make(chan registered, hosts)
	for i := range hosts {
		id := fmt.Sprintf("00000000-0000-4000-8000-0000000001%02d", i)
		epoch, err := db.RegisterHost(ctx, store.Host{ID: id, Name: "bench"}, time.Hour)
		if err != nil {
			return load{}, err
		}
		free <- registered{id, epoch}
	}
	return drive(ctx, hosts, length, func(ctx context.Context) error {
		h := <-free
		defer func() { free <- h }()
		return db.SetPlugins(ctx, h.id, "", nil)
	})
}
