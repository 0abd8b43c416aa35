package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// How large the catalog is that is measured, of commands and of clusters each, and what
// it is held against.
const (
	manyObjects   = 10_000
	catalogStart  = "under 3000 ms"
	catalogPage   = "under 20 ms"
	catalogChange = "under 1000 ms"
	catalogLooks  = 20 // changes that are waited for, and for each kind of page ten times as many reads
)

// catalogOf returns a configuration with n commands, and as many clusters. A tag joins
// each command with a hundredth of the clusters.
func catalogOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[[commands]]\nname = \"command-%d\"\nplugin = \"ping\"\nis_sync = true\ntags = [\"type:ping\", \"team:%d\"]\ncluster_tags = [\"team:%d\"]\n", i, i%100, i%100)
		fmt.Fprintf(&b, "[[clusters]]\nname = \"cluster-%d\"\ntags = [\"team:%d\"]\n", i, i%100)
	}
	return b.String()
}

// catalog measures a large catalog beside one of a hundredth: starts, changes, and pages
// of lists.
func (b *bench) catalog(kind string) error {
	few, err := b.catalogTimes(kind, manyObjects/100)
	if err != nil {
		return err
	}
	many, err := b.catalogTimes(kind, manyObjects)
	if err != nil {
		return err
	}
	for i, m := range many {
		b.add(Figure{
			Name: m.name, Value: milli(m.took), Unit: "ms", Goal: m.goal,
			Against: fmt.Sprintf("%d commands and clusters for %d", manyObjects/100, manyObjects), Ratio: ratio(m.took, few[i].took),
		})
	}
	return nil
}

type catalogTime struct {
	name, goal string
	took       time.Duration
}

// catalogTimes measures a catalog with n commands and n clusters.
func (b *bench) catalogTimes(kind string, n int) (times []catalogTime, failed error) {
	d, err := b.database(kind)
	if err != nil {
		return nil, err
	}
	defer d.end(&failed)
	folder := filepath.Join(b.scratch, fmt.Sprintf("catalog-%s-%d", kind, n))
	deployed := deployment{config: catalogOf(n), data: folder, store: d.url, plugins: b.plugins()}
	s, err := b.serve(deployed)
	if err != nil {
		return nil, err
	}
	times = append(times, catalogTime{"ready, the file is new to the store", catalogStart, s.started})
	if err := s.stop(); err != nil {
		return nil, err
	}
	if s, err = b.serve(deployed); err != nil {
		return nil, err
	}
	defer func() { failed = errors.Join(failed, s.stop()) }()
	times = append(times, catalogTime{"ready, the store knows the file", catalogStart, s.started})
	other, where := s, "a change, in force when it is answered"
	if kind == "postgres" {
		deployed.data += "-other"
		if other, err = b.serve(deployed); err != nil {
			return nil, err
		}
		defer func() { failed = errors.Join(failed, other.stop()) }()
		where = "a change, in force on another host"
	}
	took, err := b.changes(s, other)
	if err != nil {
		return nil, err
	}
	times = append(times, catalogTime{where + ", longest", catalogChange, took})
	pages, err := b.objectPages(s, n)
	return append(times, pages...), err
}

// changes has one host change commands and asks another one until it knows of each. It
// returns how long the slowest has taken.
func (b *bench) changes(here, there *server) (slowest time.Duration, err error) {
	client := keepAlive(1)
	defer client.CloseIdleConnections()
	for i := range catalogLooks {
		path, status := fmt.Sprintf("/api/v1/command/command-%d/status", i), "INACTIVE"
		begun := time.Now()
		if err := b.put(client, here.address+path, map[string]string{"status": status}); err != nil {
			return 0, err
		}
		_, err := b.until("a change on another host", time.Millisecond, func() (bool, error) {
			content, err := get(b.ctx, client, there.address+path, "{")
			return bytes.Contains(content, []byte(`"`+status+`"`)), err
		})
		if err != nil {
			return 0, err
		}
		slowest = max(slowest, time.Since(begun))
	}
	return slowest, nil
}

// put writes something.
func (b *bench) put(client *http.Client, address string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(b.ctx, http.MethodPut, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("X-Heimdall-User", "bench")
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("PUT %s: %s: %.200s", address, answer.Status, content)
	}
	return err
}

// objectPages measures pages of commands, of all kinds.
func (b *bench) objectPages(s *server, n int) (times []catalogTime, err error) {
	client := keepAlive(1)
	defer client.CloseIdleConnections()
	for _, list := range []struct{ name, query string }{
		{"of all", ""},
		{"of a tag", "&tags=team:7"},
		{"by the beginning of names", "&name=command-1%25"},
		{"by a part that no name has", "&name=%25nowhere%25"},
		{"of those inactive", "&status=INACTIVE"},
		{"the last change first", "&order_by=updated_at&direction=desc"},
	} {
		var took []time.Duration
		cursor := ""
		for range 10 * catalogLooks {
			begun := time.Now()
			content, err := get(b.ctx, client, s.address+"/api/v1/commands?limit=50"+list.query+cursor, `{"data"`)
			if err != nil {
				return nil, fmt.Errorf("GET /commands %s of %d: %w", list.name, n, err)
			}
			took = append(took, time.Since(begun))
			var page struct {
				Next string `json:"next_cursor"`
			}
			if err := json.Unmarshal(content, &page); err != nil {
				return nil, err
			}
			if cursor = ""; page.Next != "" {
				cursor = "&cursor=" + page.Next
			}
		}
		slices.Sort(took)
		times = append(times, catalogTime{"GET /commands, " + list.name + ", p95", catalogPage, took[len(took)*95/100]})
	}
	return times, nil
}
