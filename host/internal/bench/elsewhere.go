package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// longCatalog has a command whose jobs run until they are told not to.
const longCatalog = `
[queue]
workers = 256
shutdown_grace = "1s"
[[commands]]
name = "long"
plugin = "faulty"
tags = ["type:long"]
%s
[[clusters]]
name = "localhost"
tags = ["type:localhost"]
`

const longJob = `{"name":"long", "context":{"until":%q, "ledger":%q}, "command_criteria":["type:long"], "cluster_criteria":["type:localhost"]}`

// withFaulty makes a folder of the plugin faulty alone.
func (b *bench) withFaulty(name string) (folder string, err error) {
	folder = filepath.Join(b.scratch, name+"-plugins")
	return folder, copyPlugin(b.faulty(), folder)
}

// begin submits n jobs to a host and waits until all run there.
func (b *bench) beginLong(s *server, n int, until, ledger string) (ids []string, c *client.Client, err error) {
	if c, err = client.New(s.address, "bench"); err != nil {
		return nil, nil, err
	}
	c.HTTP = keepAlive(n)
	for range n {
		id, err := postAsync(b.ctx, c.HTTP, s.address, "bench", fmt.Sprintf(longJob, until, ledger))
		if err != nil {
			return nil, nil, err
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		if _, err := b.until("job "+id+" runs", shortPause, func() (bool, error) {
			j, err := c.Job(b.ctx, id)
			if err == nil && j.Status.Final() {
				err = fmt.Errorf("job %s is %s: %s", id, j.Status, j.Error)
			}
			return err == nil && j.Status == client.StatusRunning, err
		}); err != nil {
			return nil, nil, err
		}
	}
	return ids, c, nil
}

// Cancels of jobs that run on another host.
const (
	cancels     = 120
	fewestOf    = 100 // that a p99 is said of
	cancelTime  = 45 * time.Second
	cancelLimit = 250 * time.Millisecond
)

// cancelElsewhere cancels jobs through a host that does not run them. The end is
// what a request hears that waits for it, since before, on either host.
func (b *bench) cancelElsewhere() (err error) {
	plugins, err := b.withFaulty("cancel")
	if err != nil {
		return err
	}
	s, err := b.site("cancel", fmt.Sprintf(longCatalog, ""), plugins, 2)
	if err != nil {
		return err
	}
	defer s.end(&err)
	folder := filepath.Join(b.scratch, "cancel")
	ids, here, err := b.beginLong(s.hosts[0], cancels, filepath.Join(folder, "never"), filepath.Join(folder, "ledger"))
	if err != nil {
		return err
	}
	there, err := client.New(s.hosts[1].address, "bench")
	if err != nil {
		return err
	}
	there.HTTP = keepAlive(4)
	var atOwner, atOther []time.Duration
	for begun := time.Now(); len(atOwner) < cancels && time.Since(begun) < cancelTime; {
		owner, other, err := b.cancelOne(ids[len(atOwner)], here, there)
		if err != nil {
			return err
		}
		atOwner, atOther = append(atOwner, owner), append(atOther, other)
	}
	n := len(atOwner)
	slices.Sort(atOwner)
	slices.Sort(atOther)
	last := n*99/100 - 1
	b.add(Figure{Name: "POST cancel to CANCELED at the job's host, p50", Value: milli(atOwner[n/2]), Unit: "ms"})
	f := Figure{
		Name: "the same, p99", Value: milli(atOwner[max(last, 0)]), Unit: "ms",
		Against: "limit of 250 ms", Ratio: ratio(atOwner[max(last, 0)], cancelLimit), Goal: "under 1",
	}
	if n < fewestOf {
		f.Missing = fmt.Sprintf("only %d jobs were CANCELED within %v, half of them after %v", n, cancelTime, atOwner[n/2])
	}
	b.add(f)
	b.add(Figure{Name: "to where a request that waits at the other host hears, p50", Value: milli(atOther[n/2]), Unit: "ms"})
	b.add(Figure{Name: "the same, p99", Value: milli(atOther[max(last, 0)]), Unit: "ms"})
	return nil
}

// cancelOne cancels a job there and returns how long it took until each host said
// that it is canceled.
func (b *bench) cancelOne(id string, here, there *client.Client) (owner, other time.Duration, err error) {
	type heard struct {
		at  time.Time
		err error
	}
	wait := func(c *client.Client) <-chan heard {
		done := make(chan heard, 1)
		go func() {
			j, err := c.Wait(b.ctx, id)
			if err == nil && j.Status != client.StatusCanceled {
				err = fmt.Errorf("job %s is %s: %s", id, j.Status, j.Error)
			}
			done <- heard{time.Now(), err}
		}()
		return done
	}
	atOwner, atOther := wait(here), wait(there)
	time.Sleep(10 * time.Millisecond) // both requests are held
	begun := time.Now()
	if _, err := there.Cancel(b.ctx, id); err != nil {
		return 0, 0, err
	}
	for _, w := range []struct {
		from <-chan heard
		took *time.Duration
	}{{atOwner, &owner}, {atOther, &other}} {
		h := <-w.from
		if h.err != nil {
			return 0, 0, h.err
		}
		*w.took = h.at.Sub(begun)
	}
	return owner, other, nil
}

// elsewhere is the longest time from the death of a host to where its retryable
// jobs run on another.
const elsewhere = 15 * time.Second

// hostLost kills a host with running jobs that may be retried, and measures how
// soon another runs them.
func (b *bench) hostLost() (err error) {
	const jobs = 20
	plugins, err := b.withFaulty("lost")
	if err != nil {
		return err
	}
	s, err := b.site("lost", fmt.Sprintf(longCatalog, `retry = {attempts = 3, backoff = "100ms", on = ["lost"]}`), plugins, 2)
	if err != nil {
		return err
	}
	defer s.end(&err)
	folder := filepath.Join(b.scratch, "lost")
	file, ledger := filepath.Join(folder, "go"), filepath.Join(folder, "ledger")
	ids, _, err := b.beginLong(s.hosts[0], jobs, file, ledger)
	if err != nil {
		return err
	}
	c, err := client.New(s.hosts[1].address, "bench")
	if err != nil {
		return err
	}
	killed := time.Now()
	if err := s.hosts[0].kill(); err != nil {
		return err
	}
	s.hosts = s.hosts[1:]
	_, err = b.until("the other host runs the jobs of the one that was killed", shortPause, func() (bool, error) {
		begun, err := starts(ledger)
		return len(begun) >= 2*jobs, err
	})
	took := time.Since(killed)
	f := Figure{
		Name: fmt.Sprintf("kill -9 of a host to its %d jobs begun on another", jobs), Value: took.Seconds(), Unit: "s",
		Against: "limit of 15 s", Ratio: ratio(took, elsewhere), Goal: "at most 1",
	}
	if err != nil {
		f.Missing = err.Error()
	}
	b.add(f)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	// What the plugins of the killed host still do is for its next life to end.
	if err := s.join(b, deployment{
		config: fmt.Sprintf(longCatalog, ""), data: filepath.Join(b.scratch, "lost", "a"), store: s.url, plugins: plugins,
	}); err != nil || f.Missing != "" {
		return err
	}
	return b.endedTwice(c, ids, ledger)
}

// endedTwice makes sure that jobs which were begun twice have succeeded, and that
// none was begun more often.
func (b *bench) endedTwice(c *client.Client, ids []string, ledger string) error {
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	for _, id := range ids {
		j, err := c.Wait(ctx, id)
		if err != nil {
			return err
		}
		if j.Status != client.StatusSucceeded {
			return fmt.Errorf("job %s is %s: %s", id, j.Status, j.Error)
		}
	}
	content, err := os.ReadFile(ledger)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if n := strings.Count(string(content), "start "+id+" "); n != 2 {
			return fmt.Errorf("job %s was begun %d times, want 2", id, n)
		}
	}
	return nil
}
