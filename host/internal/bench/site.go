package main

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
)

// site is a database with hosts of its own, ready to be compared with another.
type site struct {
	*database
	hosts     []*server
	processes []int // that serve it: of the database and of the hosts
	waves     int   // of async jobs, so far
}

// site starts hosts on an empty PostgreSQL database. They are called by its name
// and their ordinal.
func (b *bench) site(name, config, plugins string, hosts int) (_ *site, err error) {
	d, err := b.database("postgres")
	if err != nil {
		return nil, err
	}
	s := &site{database: d}
	for i := range hosts {
		if err := s.join(b, deployment{
			config: config, data: filepath.Join(b.scratch, name, string(rune('a'+i))), store: d.url, plugins: plugins,
		}); err != nil {
			s.end(&err)
			return nil, err
		}
	}
	return s, nil
}

// join starts one more host.
func (s *site) join(b *bench, d deployment) error {
	h, err := b.serve(d)
	if err != nil {
		return err
	}
	s.hosts = append(s.hosts, h)
	s.processes, err = s.database.processes(b.ctx)
	for _, h := range s.hosts {
		s.processes = append(s.processes, h.command.Process.Pid)
	}
	return err
}

// leave stops all hosts.
func (s *site) leave() (err error) {
	for _, h := range s.hosts {
		err = errors.Join(err, h.stop())
	}
	s.hosts = nil
	return err
}

// end stops the hosts and drops the database, at the end of a function that
// returns err.
func (s *site) end(err *error) {
	*err = errors.Join(*err, s.leave())
	s.database.end(err)
}

// ping measures what a sync ping takes of the site's processes. Each client keeps
// to one host.
func (s *site) ping(b *bench) (cost, error) { return s.pingOf(b, callers) }

// pingOfMany does so with twice as many clients.
func (s *site) pingOfMany(b *bench) (cost, error) { return s.pingOf(b, 2*callers) }

func (s *site) pingOf(b *bench, clients int) (cost, error) {
	seats := make(chan *server, clients)
	for i := range clients {
		seats <- s.hosts[i%len(s.hosts)]
	}
	return s.pingFrom(b, clients, func(post func(*server) error) error {
		host := <-seats
		defer func() { seats <- host }()
		return post(host)
	})
}

// pingByTurns does so with clients that go to each host by turns: a host may have
// more of them than slots, so that another runs what it was asked for.
func (s *site) pingByTurns(b *bench) (cost, error) {
	var turn atomic.Int64
	return s.pingFrom(b, callers, func(post func(*server) error) error {
		return post(s.hosts[int(turn.Add(1))%len(s.hosts)])
	})
}

func (s *site) pingFrom(b *bench, clients int, choose func(post func(*server) error) error) (cost, error) {
	client := keepAlive(clients)
	defer client.CloseIdleConnections()
	return costOf(b.ctx, clients, b.length/3, s.processes, func(ctx context.Context) error {
		return choose(func(host *server) error {
			return post(ctx, client, host.address+"/api/v1/job", `"SUCCEEDED"`)
		})
	})
}
