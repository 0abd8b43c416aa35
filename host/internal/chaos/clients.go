package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// work is a job that a client submits.
type work struct {
	command string
	input   map[string]any
	timeout string
	cancel  bool
}

// newWork makes some job: mostly a short one, some that outlive a lease, and some
// that only a cancel ends.
func newWork(dice *rand.Rand, lease time.Duration) work {
	short := func(of time.Duration) string { return time.Duration(dice.Int64N(int64(of))).String() }
	w := work{command: plain, input: map[string]any{"sleep": short(300 * time.Millisecond)}}
	switch n := dice.IntN(100); {
	case n < 15:
		w.command = atOnce
	case n < 21:
		w.command = capped
	case n < 27:
		w.command, w.input["sleep"] = retried, short(2*lease)
	case n < 29:
		w.command, w.input["error"] = retried, map[string]any{"class": "failed", "message": "again"}
	case n < 35:
		w.input["error"] = map[string]any{"class": "failed", "message": "as its input says"}
	case n < 43:
		w.input["sleep"], w.timeout, w.cancel = "1h", "10m", true
	case n < 47:
		w.input["sleep"] = short(3 * lease)
	case n < 51:
		w.input["checkpoint"], w.input["sleep"] = "here", short(2*lease)
	}
	return w
}

// submit submits jobs to hosts until ctx is done, as one client.
func (r *rig) submit(ctx context.Context, n int) error {
	dice := rand.New(rand.NewPCG(r.seed, uint64(100+n)))
	for {
		h := r.hosts[dice.IntN(len(r.hosts))]
		w := newWork(dice, r.lease)
		id, acked := r.submitTo(ctx, h, w)
		if acked && w.cancel {
			_ = pause(ctx, time.Duration(dice.Int64N(int64(r.lease)))) // less when all is over
			r.cancel(dice, id)
		}
		length := 2 * time.Duration(r.clients) * time.Second / time.Duration(r.rate)
		if err := pause(ctx, time.Duration(dice.Int64N(int64(length)))); err != nil {
			return nil
		}
	}
}

// submitTo submits a job and notes what was acknowledged.
func (r *rig) submitTo(ctx context.Context, h *host, w work) (id string, acked bool) {
	w.input["ledger"] = r.ledger
	content, err := json.Marshal(w.input)
	if err != nil {
		panic(err) // no input is like that
	}
	// What was sent is seen through: the clients outlive their orders.
	call, done := context.WithTimeout(context.WithoutCancel(ctx), 2*callTime)
	defer done()
	asked := time.Now()
	j, err := h.client.Submit(call, client.Submission{
		Name: "chaos", Context: content, CommandCriteria: []string{"type:" + w.command}, Timeout: w.timeout, Wait: -1,
	})
	if err != nil {
		return "", false // it was never promised
	}
	r.submitted(j.ID, w.command, attempts[w.command])
	r.saw(asked, h.name, j)
	return j.ID, true
}

// cancel wishes the end of a job, from one host after the other until one has
// answered: nothing else would end it.
func (r *rig) cancel(dice *rand.Rand, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), r.settle)
	defer cancel()
	for {
		h := r.hosts[dice.IntN(len(r.hosts))]
		call, done := context.WithTimeout(ctx, callTime)
		status, err := h.client.Cancel(call, id)
		done()
		if err == nil {
			r.canceled(id, h.name, status)
			return
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return // the check says that it did not end
		}
	}
}

// read asks for the state of some jobs again and again until ctx is done.
func (r *rig) read(ctx context.Context) error {
	dice := rand.New(rand.NewPCG(r.seed, 99))
	for {
		for _, id := range r.some(8, dice.IntN) {
			r.look(ctx, r.hosts[dice.IntN(len(r.hosts))], id)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return nil
		}
	}
}

// look asks a host for the state of a job, and notes what it says.
func (r *rig) look(ctx context.Context, h *host, id string) {
	call, done := context.WithTimeout(ctx, callTime)
	defer done()
	asked := time.Now()
	j, err := h.client.Job(call, id)
	if err == nil {
		r.saw(asked, h.name, j)
	} else if client.IsNotFound(err) {
		r.missing(asked, h.name, id)
	}
}

// finish waits until all jobs have ended, which they must do now that nothing is
// disturbed.
func (r *rig) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.settle)
	defer cancel()
	for pending := r.pending(); len(pending) > 0; pending = r.pending() {
		for i, id := range pending {
			r.look(ctx, r.hosts[i%len(r.hosts)], id)
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return nil // the check says which
		}
	}
	return nil
}

// list reads all jobs once more, from each host.
func (r *rig) list(ctx context.Context) error {
	for _, h := range r.hosts {
		filter, more := client.Filter{Limit: 100}, true
		for more {
			asked := time.Now()
			var page *client.Page
			if err := until(ctx, "host "+h.name+" lists the jobs", func() (bool, error) {
				call, done := context.WithTimeout(ctx, callTime)
				defer done()
				var err error
				page, err = h.client.Jobs(call, filter)
				return err == nil, nil // it may have ended by itself, and is started again
			}); err != nil {
				return err
			}
			for i := range page.Jobs {
				r.saw(asked, h.name, &page.Jobs[i])
			}
			filter.Cursor, more = page.NextCursor, page.HasMore
		}
	}
	return nil
}
