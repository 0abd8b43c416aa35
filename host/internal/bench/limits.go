package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Absolute goals were set for a machine that does at least this much. On a lesser
// one the ratios hold alone.
const (
	bindingCommits = 10_000
	bindingHellos  = 30_000
)

// committers is how many clients commit at once when commits are counted.
const committers = 16

// limits is what the machine and its PostgreSQL do at their best in this run.
type limits struct {
	commits float64 // of one row each, a second
	hellos  float64 // of net/http, a second
}

func (l limits) bind() bool { return l.commits >= bindingCommits && l.hellos >= bindingHellos }

// limits measures them, once in a run.
func (b *bench) limits() (limits, error) {
	if b.measured != nil {
		return *b.measured, nil
	}
	commits, err := b.commits()
	if err != nil {
		return limits{}, err
	}
	peers, err := b.peers()
	if err != nil {
		return limits{}, err
	}
	client := keepAlive(callers)
	defer client.CloseIdleConnections()
	hello, err := drive(b.ctx, callers, b.length, func(ctx context.Context) error {
		return post(ctx, client, peers.hello, "hello")
	})
	if err := errors.Join(err, peers.close()); err != nil {
		return limits{}, err
	}
	b.measured = &limits{commits: commits.rate, hellos: hello.rate}
	b.add(Figure{
		Name: fmt.Sprintf("single commits of one row, %d clients", committers), Value: commits.rate, Unit: "/s",
		Against: fmt.Sprintf("%d that make absolute goals bind", bindingCommits), Ratio: commits.rate / bindingCommits,
	})
	b.add(Figure{
		Name: fmt.Sprintf("bare net/http hello, %d clients", callers), Value: hello.rate, Unit: "/s",
		Against: fmt.Sprintf("%d that make absolute goals bind", bindingHellos), Ratio: hello.rate / bindingHellos,
	})
	return *b.measured, nil
}

// commits measures how many inserts of one row PostgreSQL makes durable one by one.
func (b *bench) commits() (l load, err error) {
	d, err := b.database("postgres")
	if err != nil {
		return load{}, err
	}
	defer d.end(&err)
	config, err := pgxpool.ParseConfig(d.url)
	if err != nil {
		return load{}, err
	}
	config.MaxConns = committers
	pool, err := pgxpool.NewWithConfig(b.ctx, config)
	if err != nil {
		return load{}, err
	}
	defer pool.Close()
	if _, err := pool.Exec(b.ctx, "CREATE TABLE written (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content text NOT NULL)"); err != nil {
		return load{}, err
	}
	return drive(b.ctx, committers, b.length, func(ctx context.Context) error {
		_, err := pool.Exec(ctx, "INSERT INTO written (content) VALUES ($1)", pingJob)
		return err
	})
}

// absolute returns the text of an absolute goal, which says whether it binds in
// this run.
func (l limits) absolute(goal string) string {
	if !l.bind() {
		goal += "; does not bind on this machine"
	}
	return goal
}
