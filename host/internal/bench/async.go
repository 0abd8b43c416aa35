package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// asyncJobs is how many jobs the async figure is made of.
const asyncJobs = 20_000

// asyncPing submits jobs that nobody waits for, and measures the rate from the
// first submission to the last end, as the job with that end has it recorded.
func (b *bench) asyncPing() (err error) {
	limits, err := b.limits()
	if err != nil {
		return err
	}
	d, err := b.database("postgres")
	if err != nil {
		return err
	}
	defer d.end(&err)
	s, err := b.serve(deployment{config: catalogFile, data: filepath.Join(b.scratch, "async"), store: d.url, plugins: b.plugins()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	w, err := b.wave(asyncJobs, "wave", nil, s)
	if err != nil {
		return err
	}
	b.add(Figure{Name: fmt.Sprintf("accepted, %d jobs of %d clients", asyncJobs, callers), Value: w.accepted, Unit: "jobs/s"})
	b.add(Figure{
		Name: "accepted and SUCCEEDED, first POST to last end", Value: w.ended, Unit: "jobs/s",
		Against: "single commits", Ratio: w.ended / limits.commits, Goal: limits.absolute("at least 4000 jobs/s"),
	})
	b.add(Figure{Name: "created to ended, p50", Value: milli(w.p50), Unit: "ms"})
	return nil
}

// wave is what became of many async jobs.
type wave struct {
	accepted, ended float64       // jobs a second
	p50             time.Duration // from created to ended
	cpu             time.Duration // of the processes named
}

// wave submits n async jobs of a name to the hosts of one database by turns, and
// makes sure that each succeeds.
func (b *bench) wave(n int, name string, processes []int, hosts ...*server) (wave, error) {
	body := strings.Replace(pingJob, `"name":"ping-test"`, fmt.Sprintf(`"name":%q`, name), 1)
	connections := keepAlive(callers)
	defer connections.CloseIdleConnections()
	c, err := client.New(hosts[0].address, "bench")
	if err != nil {
		return wave{}, err
	}
	c.HTTP = connections
	var taken, turn atomic.Int64
	var last atomic.Pointer[string]
	before, err := familyTime(processes)
	if err != nil {
		return wave{}, err
	}
	first := time.Now()
	if _, err := driveUntil(b.ctx, callers, func() bool { return taken.Add(1) > int64(n) }, func(ctx context.Context) error {
		to := hosts[int(turn.Add(1))%len(hosts)]
		id, err := postAsync(ctx, connections, to.address, "bench", body)
		last.Store(&id)
		return err
	}); err != nil {
		return wave{}, err
	}
	accepted := time.Since(first)
	// One request is held until about the last end; it costs the host nothing meanwhile.
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if _, err := c.Wait(ctx, *last.Load()); err != nil {
		return wave{}, fmt.Errorf("wait for the last job: %w", err)
	}
	after, err := familyTime(processes)
	if err != nil {
		return wave{}, err
	}
	ended, took, err := readEnds(ctx, c, name, n)
	if err != nil {
		return wave{}, err
	}
	return wave{
		accepted: float64(n) / accepted.Seconds(),
		ended:    float64(n) / ended.Sub(first).Seconds(),
		p50:      middle(took),
		cpu:      after - before,
	}, nil
}

// readEnds lists the n jobs of a name, which must all have succeeded or be about
// to, and returns when the last one ended, and how long each took from its record
// on.
func readEnds(ctx context.Context, c *client.Client, name string, n int) (last time.Time, took []time.Duration, err error) {
	filter := client.Filter{Name: name, Limit: 100}
	for more := true; more; {
		page, err := c.Jobs(ctx, filter)
		if err != nil {
			return last, nil, err
		}
		for _, j := range page.Jobs {
			if !j.Status.Final() {
				ended, err := c.Wait(ctx, j.ID)
				if err != nil {
					return last, nil, fmt.Errorf("wait for job %s: %w", j.ID, err)
				}
				j = *ended
			}
			if j.Status != client.StatusSucceeded {
				return last, nil, fmt.Errorf("job %s is %s: %s", j.ID, j.Status, j.Error)
			}
			took = append(took, j.EndedTime.Sub(j.CreatedTime))
			if j.EndedTime.After(last) {
				last = j.EndedTime
			}
		}
		filter.Cursor, more = page.NextCursor, page.HasMore
	}
	if len(took) != n {
		return last, nil, fmt.Errorf("%d jobs are listed and %d were accepted", len(took), n)
	}
	return last, took, nil
}

// idle measures one async job at a time, from before its POST to the answer of a
// GET that waits for its end. Both requests are part of the figure; what is
// recorded stands beside it.
func (b *bench) idle(kind string, limit time.Duration) (err error) {
	const jobs = 500
	d, err := b.database(kind)
	if err != nil {
		return err
	}
	defer d.end(&err)
	s, err := b.serve(deployment{config: catalogFile, data: filepath.Join(b.scratch, "idle-"+kind), store: d.url, plugins: b.plugins()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	c, err := client.New(s.address, "bench")
	if err != nil {
		return err
	}
	c.HTTP = keepAlive(1)
	defer c.HTTP.CloseIdleConnections()
	var seen, recorded []time.Duration
	for range jobs {
		begun := time.Now()
		j, err := oneAsync(b.ctx, c, s.address)
		if err != nil {
			return err
		}
		seen = append(seen, time.Since(begun))
		recorded = append(recorded, j.EndedTime.Sub(j.CreatedTime))
		time.Sleep(2 * time.Millisecond) // the host has come to rest
	}
	slices.Sort(seen)
	b.add(Figure{Name: "async, one at a time: recorded, p50", Value: milli(middle(recorded)), Unit: "ms"})
	b.add(Figure{
		Name: "the same: POST to the answer of GET ?wait, p50", Value: milli(seen[jobs/2]), Unit: "ms",
		Against: "limit of " + limit.String(), Ratio: ratio(seen[jobs/2], limit), Goal: "under 1",
	})
	b.add(Figure{Name: "the same, p99", Value: milli(seen[jobs*99/100-1]), Unit: "ms"})
	return nil
}

func oneAsync(ctx context.Context, c *client.Client, address string) (*client.Job, error) {
	id, err := postAsync(ctx, c.HTTP, address, "bench", pingJob)
	if err != nil {
		return nil, err
	}
	j, err := c.Wait(ctx, id)
	if err == nil && j.Status != client.StatusSucceeded {
		err = fmt.Errorf("job %s is %s: %s", j.ID, j.Status, j.Error)
	}
	return j, err
}
