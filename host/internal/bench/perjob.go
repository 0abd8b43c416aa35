package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// perJob measures jobs that have a process each, against go-plugin's own start,
// call and kill of the same binary, in turn.
func (b *bench) perJob() (err error) {
	const jobs = 40
	binary := filepath.Join(b.plugins(), "heimdall-plugin-ping")
	folder, data := filepath.Join(b.scratch, "one-plugin"), filepath.Join(b.scratch, "per-job")
	if err := copyPlugin(binary, folder); err != nil {
		return err
	}
	h, err := b.embed(folder, data, map[string]pluginhost.Policy{"ping": {Isolation: pluginhost.PerJob}})
	if err != nil {
		return err
	}
	defer h.end(&err)
	var theirs, begun, ended, gone []time.Duration
	for range jobs {
		_, whole, err := b.goPlugin(binary)
		if err != nil {
			return fmt.Errorf("go-plugin: %w", err)
		}
		theirs = append(theirs, whole)
		one, err := b.perJobOnce(h, data)
		if err != nil {
			return err
		}
		begun, ended, gone = append(begun, one.begun), append(ended, one.ended), append(gone, one.gone)
	}
	b.add(Figure{Name: "go-plugin: start, call and kill, p50", Value: milli(middle(theirs)), Unit: "ms"})
	for _, f := range []struct {
		name string
		took []time.Duration
		goal string
	}{
		{"a job in a process of its own: to its begin, p50", begun, ""},
		{"to its end, p50", ended, ""},
		{"to the end of its process, p50", gone, "at most 2"},
	} {
		b.add(Figure{
			Name: f.name, Value: milli(middle(f.took)), Unit: "ms",
			Against: "go-plugin", Ratio: ratio(middle(f.took), middle(theirs)), Goal: f.goal,
		})
	}
	return nil
}

// life is when something was reached, from the submission of a job.
type life struct{ begun, ended, gone time.Duration }

func (b *bench) perJobOnce(h *embedded, data string) (life, error) {
	r, err := request("ping", string(job.NewID()), data, struct{}{})
	if err != nil {
		return life{}, err
	}
	start := time.Now()
	s := newSink()
	outcome := h.Run(b.ctx, r, s)
	l := life{begun: s.at.Sub(start), ended: time.Since(start)}
	outcome.Ack()
	if outcome.Error != nil {
		return l, outcome.Error
	}
	_, err = b.until("the process of the job is gone", 100*time.Microsecond, func() (bool, error) {
		processes, err := os.ReadDir(filepath.Join(data, "run"))
		return len(processes) == 1, err // that of the build stays
	})
	l.gone = time.Since(start)
	return l, err
}
