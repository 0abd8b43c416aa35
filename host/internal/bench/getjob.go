package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"
)

// serveReader as the first argument, with the URL of a database behind it, makes
// this program a reader of jobs.
const serveReader = "-serve-reader"

// reader serves the least that a GET of a job can be: net/http, the router, one
// prepared select of a row, and its encoding. It ends with its standard input.
func reader(url string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	config, err := pgxpool.ParseConfig(url)
	fail(err)
	config.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	fail(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	router := mux.NewRouter()
	router.HandleFunc("/api/v1/job/{id}", func(w http.ResponseWriter, r *http.Request) {
		var j struct {
			ID      string          `json:"id"`
			User    string          `json:"user"`
			Name    string          `json:"name"`
			Version string          `json:"version"`
			Context json.RawMessage `json:"context"`
			Tags    json.RawMessage `json:"tags"`
			Command string          `json:"command_id"`
			Cluster string          `json:"cluster_id"`
			Status  string          `json:"status"`
		}
		err := pool.QueryRow(r.Context(), `
			SELECT j.id::text, j.username, j.name, j.version, j.context, j.tags, j.command_id, j.cluster_id, e.status
			FROM job j
			JOIN job_end e ON e.job_id = j.id
			WHERE j.id = $1`, mux.Vars(r)["id"]).
			Scan(&j.ID, &j.User, &j.Name, &j.Version, &j.Context, &j.Tags, &j.Command, &j.Cluster, &j.Status)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(j)
	})
	go func() { fail(http.Serve(listener, router)) }()
	fmt.Println("http://" + listener.Addr().String())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// getJob measures GET /job/{id} of ended jobs on PostgreSQL, against a handler that
// does nothing but read them.
func (b *bench) getJob() (err error) {
	d, err := b.database("postgres")
	if err != nil {
		return err
	}
	defer d.end(&err)
	s, err := b.serve(deployment{config: catalogFile, data: filepath.Join(b.scratch, "get-job"), store: d.url, plugins: b.plugins()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	client := keepAlive(callers)
	defer client.CloseIdleConnections()
	const kept = 100 // jobs that are read in turn
	var ids []string
	for range kept {
		content, err := send(b.ctx, client, s.address+"/api/v1/job", "bench", pingJob, http.StatusOK)
		if err != nil {
			return err
		}
		var j struct{ ID string }
		if err := json.Unmarshal(content, &j); err != nil {
			return err
		}
		ids = append(ids, j.ID)
	}
	least, err := b.child(serveReader, d.url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, least.stop()) }()
	read := func(server string) func(context.Context) error {
		next := make(chan string, kept)
		for _, id := range ids {
			next <- id
		}
		return func(ctx context.Context) error {
			id := <-next
			defer func() { next <- id }()
			_, err := get(ctx, client, server+"/api/v1/job/"+id, `{"`)
			return err
		}
	}
	bare, err := drive(b.ctx, callers, b.length, read(least.address), least.pid)
	if err != nil {
		return err
	}
	ours, err := drive(b.ctx, callers, b.length, read(s.address), s.command.Process.Pid)
	if err != nil {
		return err
	}
	b.add(Figure{Name: "bare: net/http, mux, one select", Value: bare.rate, Unit: "/s"})
	b.add(Figure{
		Name: "GET of an ended job, 64 clients", Value: ours.rate, Unit: "/s",
		Against: "bare", Ratio: ours.rate / bare.rate, Goal: "at least 0.6",
	})
	b.add(Figure{Name: "GET of an ended job p99", Value: milli(ours.p99), Unit: "ms"})
	return nil
}
