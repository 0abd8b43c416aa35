package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// What a database may be full of, and how much more a job may cost then.
const (
	endedJobs   = 1_000_000
	waitingJobs = 100_000
	models      = 20 // jobs that the others are copies of, each of another user
	growthGoal  = "under 1.2"
)

// manyEnded compares a database with many ended jobs with an empty one.
func (b *bench) manyEnded() (err error) {
	empty, err := b.site("empty", catalogFile, b.plugins(), 1)
	if err != nil {
		return err
	}
	defer empty.end(&err)
	full, err := b.site("ended", catalogFile, b.plugins(), 1)
	if err != nil {
		return err
	}
	defer full.end(&err)
	ids, err := b.submitAs(full, models, pingJob)
	if err != nil {
		return err
	}
	c, err := client.New(full.hosts[0].address, "bench")
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := c.Wait(b.ctx, id); err != nil {
			return err
		}
	}
	begun := time.Now()
	if err := full.copyJobs(b.ctx, ids, endedJobs/models); err != nil {
		return err
	}
	b.add(Figure{Name: "filling the database took", Value: time.Since(begun).Seconds(), Unit: "s"})
	return b.growth(empty, full, "an empty database", fmt.Sprintf("%d ended jobs", endedJobs))
}

// submitAs submits a job of each of n users and returns the ids.
func (b *bench) submitAs(s *site, n int, body string) (ids []string, err error) {
	connection := keepAlive(1)
	defer connection.CloseIdleConnections()
	for i := range n {
		id, err := postAsync(b.ctx, connection, s.hosts[0].address, fmt.Sprintf("user-%d", i), body)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// growth compares what a job costs at two sites.
func (b *bench) growth(empty, full *site, little, much string) error {
	one, other, ratios, err := compare(
		func() (cost, error) { return empty.ping(b) },
		func() (cost, error) { return full.ping(b) })
	if err != nil {
		return err
	}
	b.addCosts(one, other, ratios, little, much, growthGoal)
	return nil
}

// addCosts shows what a job costs in two ways; the ratios have the goal.
func (b *bench) addCosts(one, other, ratios cost, first, second, goal string) {
	b.add(Figure{Name: "CPU for each job, " + first, Value: one.cpu, Unit: "µs"})
	b.add(Figure{Name: "the same, " + second, Value: other.cpu, Unit: "µs", Against: "that", Ratio: ratios.cpu, Goal: goal})
	b.add(Figure{Name: "time for each job, " + first, Value: one.wall, Unit: "µs"})
	b.add(Figure{Name: "the same, " + second, Value: other.wall, Unit: "µs", Against: "that", Ratio: ratios.wall, Goal: goal})
}

// waitingCatalog has a command that one job takes all of: what comes behind it
// waits.
const waitingCatalog = catalogFile + `
[queue]
workers = %d
shutdown_grace = "1s"
[[commands]]
name = "blocked"
plugin = "faulty"
tags = ["type:blocked"]
%s
`

const blockedJob = `{"name":"blocked", "context":{"until":%q}, "command_criteria":["type:blocked"], "cluster_criteria":["type:localhost"]%s}`

// slots is more than there are clients: the job that the others wait for has one.
const slots = 2 * callers

// manyWaiting compares databases in which many jobs wait, each for another
// reason, with an empty one.
func (b *bench) manyWaiting() (err error) {
	both := filepath.Join(b.scratch, "ping-and-faulty")
	if err := os.CopyFS(both, os.DirFS(b.plugins())); err != nil {
		return err
	}
	if err := copyPlugin(b.faulty(), both); err != nil {
		return err
	}
	empty, err := b.site("none-waits", fmt.Sprintf(waitingCatalog, slots, ""), both, 1)
	if err != nil {
		return err
	}
	defer empty.end(&err)
	for _, r := range []reason{
		{name: "for a plugin", workers: 1, plugins: b.plugins()},
		{name: "for a cap", workers: slots, command: "max_running = 1", plugins: both},
		{name: "for their time", workers: slots, body: `, "start_after":"2099-01-01T00:00:00Z"`, plugins: both},
	} {
		if err := b.waitingFor(empty, both, r); err != nil {
			b.add(Figure{Name: fmt.Sprintf("%d jobs wait %s", waitingJobs, r.name), Goal: growthGoal, Missing: err.Error()})
		}
	}
	return nil
}

// reason is why jobs wait.
type reason struct {
	name    string
	workers int    // of the host that takes them
	command string // more of the command's configuration
	body    string // more of the submission
	plugins string // of the host that is measured
}

func (b *bench) waitingFor(empty *site, both string, r reason) (err error) {
	folder := filepath.Join(b.scratch, "waiting "+r.name)
	full, err := b.site(filepath.Base(folder), fmt.Sprintf(waitingCatalog, r.workers, r.command), both, 1)
	if err != nil {
		return err
	}
	defer full.end(&err)
	ids, err := b.submitAs(full, models+1, fmt.Sprintf(blockedJob, filepath.Join(folder, "never"), r.body))
	if err != nil {
		return err
	}
	ids = ids[1:] // the first one may run
	if err := b.stayNew(full, ids); err != nil {
		return err
	}
	if err := full.copyJobs(b.ctx, ids, waitingJobs/models); err != nil {
		return err
	}
	if r.workers == 1 { // what was made to wait by a single slot now waits for the reason itself
		if err := full.leave(); err != nil {
			return err
		}
		if err := full.join(b, deployment{
			config: fmt.Sprintf(waitingCatalog, slots, r.command), data: filepath.Join(folder, "a"), store: full.url, plugins: r.plugins,
		}); err != nil {
			return err
		}
	}
	time.Sleep(2 * time.Second) // a host that claims what it cannot run has begun to
	if err := b.stillWaiting(full); err != nil {
		return err
	}
	if err := b.growth(empty, full, "none waits", fmt.Sprintf("%d wait %s", waitingJobs, r.name)); err != nil {
		return err
	}
	return b.stillWaiting(full)
}

// stillWaiting makes sure that jobs which cannot run were left alone.
func (b *bench) stillWaiting(s *site) error {
	n, err := s.waiting(b.ctx)
	if err == nil && n < waitingJobs {
		err = fmt.Errorf("only %d jobs wait although none can run", n)
	}
	return err
}

// stayNew makes sure that jobs wait, and go on to.
func (b *bench) stayNew(s *site, ids []string) error {
	c, err := client.New(s.hosts[0].address, "bench")
	if err != nil {
		return err
	}
	time.Sleep(time.Second) // what may run is claimed within less
	for _, id := range ids {
		j, err := c.Job(b.ctx, id)
		if err != nil {
			return err
		}
		if j.Status != client.StatusNew {
			return errors.New("a job that is to wait is " + string(j.Status))
		}
	}
	return nil
}
