package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/store/sample"
)

// How many jobs lists are measured with.
const (
	fewJobs  = 1_000
	manyJobs = 1_000_000
)

// listFilters are the kinds of conditions that an index serves, each with values of
// a sample, in turn.
func listFilters() []listFilter {
	return []listFilter{
		{"username", []string{"username=user-02", "username=user-19", "username=rare"}},
		{"name", []string{"name=report-17-daily", "name=report-27-daily"}},
		{"version", []string{"version=1.3.0"}},
		{"command", []string{"command=command-7"}},
		{"cluster", []string{"cluster=cluster-2"}},
		{"name%", []string{"name=report-1%25", "name=report-2%25"}},
		{"username%", []string{"username=user-1%25"}},
		{"status", []string{"status=FAILED", "status=SUCCEEDED", "status=KILLED,CANCELED", "status=NEW"}},
		{"tags", []string{"tags=team:3", "tags=nightly", "tags=incident"}},
	}
}

type listFilter struct {
	name   string
	values []string
}

// lists measures GET /jobs?limit=50 over HTTP, by every filter and every pair of
// them, with few jobs and with many.
func (b *bench) lists(kind string) error {
	few, err := b.listing(kind, fewJobs)
	if err != nil {
		return err
	}
	many, err := b.listing(kind, manyJobs)
	if err != nil {
		return err
	}
	for i, m := range many {
		b.add(Figure{
			Name: m.name + ", p95", Value: milli(m.p95), Unit: "ms",
			Against: fmt.Sprintf("with %d jobs, %.0f rows a page for %.0f", fewJobs, m.rows, few[i].rows), Ratio: ratio(m.p95, few[i].p95), Goal: m.goal,
		})
	}
	return nil
}

type listTime struct {
	name, goal string
	p95        time.Duration
	rows       float64 // of a page, in the mean: of few jobs, fewer fit two filters
}

// listing fills a store of its own and measures every list.
func (b *bench) listing(kind string, jobs int) (times []listTime, failed error) {
	folder := filepath.Join(b.scratch, fmt.Sprintf("lists-%s-%d", kind, jobs))
	d, err := b.database(kind)
	if err != nil {
		return nil, err
	}
	defer d.end(&failed)
	if err := os.MkdirAll(folder, 0o711); err != nil {
		return nil, err
	}
	if err := sample.Fill(b.ctx, store.Config{URL: d.url, Dir: folder}, jobs); err != nil {
		return nil, err
	}
	s, err := b.serve(deployment{config: catalogFile, data: folder, store: d.url, plugins: b.plugins()})
	if err != nil {
		return nil, err
	}
	defer func() { failed = errors.Join(failed, s.stop()) }()
	client := keepAlive(1)
	defer client.CloseIdleConnections()
	measure := func(name, goal string, count int, queries []string) error {
		var took []time.Duration
		rows := 0
		for i := range count {
			begun := time.Now()
			n, err := b.page(client, s.address+"/api/v1/jobs?limit=50&"+queries[i%len(queries)])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			took = append(took, time.Since(begun))
			rows += n
		}
		slices.Sort(took)
		times = append(times, listTime{name, goal, took[len(took)*95/100], float64(rows) / float64(count)})
		return nil
	}
	const goal = "under 20 ms, at most 2"
	filters := append([]listFilter{{"all", []string{""}}}, listFilters()...)
	for i, f := range filters {
		for _, g := range filters[i+1:] {
			name := strings.TrimPrefix(f.name+" and "+g.name, "all and ")
			if strings.HasPrefix(g.name, f.name) { // both on one column
				continue
			}
			var queries []string
			for _, x := range f.values {
				for _, y := range g.values {
					queries = append(queries, strings.TrimPrefix(x+"&"+y, "&"))
				}
			}
			if err := measure(name, goal, 20*len(queries), queries); err != nil {
				return nil, err
			}
		}
	}
	for _, order := range []string{"id", "created_at", "updated_at"} {
		for _, direction := range []string{"asc", "desc"} {
			var queries []string
			for _, f := range filters {
				queries = append(queries, f.values[0]+"&order_by="+order+"&direction="+direction)
			}
			if err := measure("each filter by "+order+" "+direction, goal, 20*len(queries), queries); err != nil {
				return nil, err
			}
		}
	}
	const bound = "under 2000 ms"
	if err := measure("two that many jobs fit, and none both", bound, 20, []string{"name=report-17-daily&command=command-3", "username=user-00&status=FAILED"}); err != nil {
		return nil, err
	}
	return times, measure("an infix that is not there", bound, 20, []string{"name=" + url.QueryEscape("%nowhere%") + "&username=" + url.QueryEscape("%e%")})
}

// page asks for a page of jobs and returns how many it has.
func (b *bench) page(client *http.Client, address string) (int, error) {
	content, err := get(b.ctx, client, address, `{"data"`)
	return bytes.Count(content, []byte(`"command_id":`)), err
}

// get reads an address, as the user who measures; the answer is to begin with a text.
func get(ctx context.Context, client *http.Client, address, begin string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Heimdall-User", "bench")
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || !bytes.HasPrefix(content, []byte(begin))) {
		err = fmt.Errorf("%s: %.200s", answer.Status, content)
	}
	return content, err
}
