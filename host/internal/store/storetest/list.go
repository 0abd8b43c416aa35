package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

func list(t testing.TB, db Store, f job.Filter) job.Page {
	t.Helper()
	page, err := db.Jobs(t.Context(), f)
	if err != nil {
		t.Fatalf("list %+v: %v", f, err)
	}
	return page
}

func testFilters(t *testing.T, db Store) {
	h := register(t, db, "a")
	names := map[job.ID]string{}
	add := func(name string, change func(*job.Job)) *job.Job {
		j := newJob(len(names))
		j.Name = name
		if change != nil {
			change(j)
		}
		names[j.ID] = name
		return j
	}
	succeeded := add("succeeded", func(j *job.Job) { j.User, j.Version = "bob", "2" })
	failed := add("failed", func(j *job.Job) { j.Tags = tag.New("team:a", "slow") })
	canceled := add("canceled", func(j *job.Job) { j.Pair.ClusterName = "trino"; j.Tags = tag.New("team:a") })
	accepted := add("accepted", func(j *job.Job) { j.Pair.CommandID = "shell-1"; j.Pair.CommandName = "shell" })
	running := add("running", func(j *job.Job) { j.Tags = tag.New("team:b", `odd"'\,%`) })
	canceling := add("canceling", nil)
	waiting := add("waiting", func(j *job.Job) { j.User = "Bob" })

	end(t, db, ended(h.lease(t, succeeded), job.Succeeded))
	end(t, db, ended(h.lease(t, failed), job.Failed))
	h.submit(t, canceled, false)
	if _, err := db.Cancel(t.Context(), canceled.ID, "ann"); err != nil {
		t.Fatal(err)
	}
	h.lease(t, accepted)
	reach(t, db, h.lease(t, running), job.Running)
	reach(t, db, h.lease(t, canceling), job.Canceling)
	h.submit(t, waiting, false)

	for what, c := range map[string]struct {
		filter job.Filter
		want   string
	}{
		"nothing":             {job.Filter{}, "succeeded failed canceled accepted running canceling waiting"},
		"id":                  {job.Filter{ID: string(running.ID)}, "running"},
		"id, start of":        {job.Filter{ID: string(running.ID)[:35] + "_"}, "running"},
		"id, upper case":      {job.Filter{ID: strings.ToUpper(string(running.ID))}, ""},
		"id that is none":     {job.Filter{ID: "nothing"}, ""},
		"name":                {job.Filter{Name: "fail%"}, "failed"},
		"user":                {job.Filter{User: "bob"}, "succeeded"},
		"version":             {job.Filter{Version: "2"}, "succeeded"},
		"command by name":     {job.Filter{Command: "she%"}, "accepted"},
		"command by id":       {job.Filter{Command: "shell-1"}, "accepted"},
		"cluster":             {job.Filter{Cluster: "trino"}, "canceled"},
		"one status":          {job.Filter{Statuses: []job.Status{job.New}}, "waiting"},
		"live statuses":       {job.Filter{Statuses: []job.Status{job.Running, job.Accepted}}, "accepted running"},
		"statuses of two":     {job.Filter{Statuses: []job.Status{job.Canceling, job.Failed, job.Failed}}, "failed canceling"},
		"final statuses":      {job.Filter{Statuses: []job.Status{job.Succeeded, job.Failed, job.Killed, job.Canceled}}, "succeeded failed canceled"},
		"no such status":      {job.Filter{Statuses: []job.Status{job.Killed}}, ""},
		"a tag":               {job.Filter{Tags: tag.New("team:a")}, "failed canceled"},
		"two tags":            {job.Filter{Tags: tag.New("team:a", "slow")}, "failed"},
		"tags of two jobs":    {job.Filter{Tags: tag.New("team:a", "team:b")}, ""},
		"an odd tag":          {job.Filter{Tags: tag.New(`odd"'\,%`)}, "running"},
		"a system tag":        {job.Filter{Tags: tag.New("_name:failed", "team:a", "_version:1.2.3")}, "failed"},
		"the tag of an id":    {job.Filter{Tags: tag.New("_id:" + string(waiting.ID))}, "waiting"},
		"the tag of no id":    {job.Filter{Tags: tag.New("_id:x")}, ""},
		"several of them":     {job.Filter{User: "analyst", Tags: tag.New("team:a"), Statuses: []job.Status{job.Canceled}}, "canceled"},
		"injection":           {job.Filter{Name: `' OR 1=1 --`, Tags: tag.New(`"]' OR 1=1 --`)}, ""},
		"a pattern and order": {job.Filter{Name: "%ed", Order: job.ByUpdatedAt}, "succeeded failed canceled accepted"},
	} {
		for _, order := range []job.Order{job.ByID, job.ByCreatedAt, job.ByUpdatedAt} {
			c.filter.Limit, c.filter.Order = 100, order
			var got []string
			for _, j := range list(t, db, c.filter).Jobs {
				got = append(got, names[j.ID])
			}
			want := strings.Fields(c.want)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("filter by %s, order by %s: got %v, want %v", what, order, got, want)
			}
		}
	}

	for what, f := range map[string]job.Filter{
		"order":          {Order: "name; DROP TABLE job"},
		"status":         {Statuses: []job.Status{"' OR 1=1"}},
		"cursor":         {After: &job.Cursor{ID: "x"}},
		"NUL":            {Name: "\x00"},
		"not UTF-8":      {User: "\xff"},
		"tag with a NUL": {Tags: tag.Set{"\x00"}},
		"lone escape":    {Name: `a\`},
		"long pattern":   {Name: strings.Repeat("%", 1<<20)},
	} {
		_, err := db.Jobs(t.Context(), f)
		wantKind(t, "list with a bad "+what, err, errs.Invalid)
	}
}

func testPatterns(t *testing.T, db Store) {
	h := register(t, db, "a")
	for i, name := range []string{"abc", "ABC", "a%c", "a_c", `a\c`, "äbc", "a\nc", "a☃c"} {
		j := newJob(i)
		j.Name = name
		h.submit(t, j, false)
	}
	for pattern, want := range map[string][]string{
		"abc":    {"abc"},
		"aBc":    nil,
		"a_c":    {"abc", "a%c", "a_c", `a\c`, "a\nc", "a☃c"},
		"_bc":    {"abc", "äbc"},
		`a\_c`:   {"a_c"},
		`a\%c`:   {"a%c"},
		`a\\c`:   {`a\c`},
		`\abc`:   {"abc"},
		`%\%%`:   {"a%c"},
		"%C":     {"ABC"},
		"%":      {"abc", "ABC", "a%c", "a_c", `a\c`, "äbc", "a\nc", "a☃c"},
		"Ä%":     nil,
		"a[b]c":  nil,
		"a*":     nil,
		"abc%%_": nil,
	} {
		var got []string
		for _, j := range list(t, db, job.Filter{Name: pattern, Limit: 100, Ascending: true}).Jobs {
			got = append(got, j.Name)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("name like %q: got %q, want %q", pattern, got, want)
		}
	}
}

func testPages(t *testing.T, db Store) {
	h := register(t, db, "a")
	var jobs []*job.Job
	for i := range 23 {
		j := newJob(i / 4) // some are created at once
		h.submit(t, j, false)
		jobs = append(jobs, j)
	}
	for i, c := range h.claim(t, 15) {
		if i < 10 {
			e := ended(c.Lease, job.Succeeded)
			e.EndedAt = e.EndedAt.Add(time.Duration(i%3) * time.Second)
			end(t, db, e)
		}
	}
	for _, order := range []job.Order{job.ByID, job.ByCreatedAt, job.ByUpdatedAt} {
		for _, ascending := range []bool{true, false} {
			var want []*job.Job
			for _, j := range jobs {
				want = append(want, get(t, db, j.ID))
			}
			slices.SortFunc(want, func(a, b *job.Job) int { return compare(order, a, b) })
			if !ascending {
				slices.Reverse(want)
			}
			for _, limit := range []int{1, 5, 22, 23, 100} {
				got := walk(t, db, job.Filter{Order: order, Ascending: ascending, Limit: limit})
				wantSame(t, fmt.Sprintf("order by %s, ascending %t, pages of %d", order, ascending, limit), ids(got), ids(want))
			}
		}
	}
}

func compare(order job.Order, a, b *job.Job) int {
	c := 0
	switch order {
	case job.ByCreatedAt:
		c = a.CreatedAt.Compare(b.CreatedAt)
	case job.ByUpdatedAt:
		c = a.UpdatedAt.Compare(b.UpdatedAt)
	}
	if c == 0 {
		c = strings.Compare(string(a.ID), string(b.ID))
	}
	return c
}

// walk reads a whole list, page by page.
func walk(t testing.TB, db Store, f job.Filter) []*job.Job {
	t.Helper()
	var all []*job.Job
	for {
		page := list(t, db, f)
		if len(page.Jobs) > f.Limit || page.Next != nil && len(page.Jobs) < f.Limit {
			t.Fatalf("a page of %d: got %d jobs, and more: %t", f.Limit, len(page.Jobs), page.Next != nil)
		}
		all = append(all, page.Jobs...)
		if page.Next == nil {
			return all
		}
		f.After = page.Next
	}
}

func testStablePages(t *testing.T, db Store) {
	h := register(t, db, "a")
	var want []job.ID
	for i := range 10 {
		j := newJob(i)
		h.submit(t, j, false)
		want = append([]job.ID{j.ID}, want...)
	}
	f := job.Filter{Order: job.ByCreatedAt, Limit: 3}
	var got []job.ID
	for i := 0; ; i++ {
		page := list(t, db, f)
		got = append(got, ids(page.Jobs)...)
		if page.Next == nil {
			break
		}
		f.After = page.Next
		h.submit(t, newJob(100+i), false)
	}
	wantSame(t, "pages while newer jobs come", got, want)
}
