package store_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/store/sample"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// filters are the kinds of conditions, each with one that many jobs of a sample
// fulfill and one that few do.
func filters() map[string]func(*job.Filter) {
	return map[string]func(*job.Filter){
		"user":         func(f *job.Filter) { f.User = "user-00" },
		"rare user":    func(f *job.Filter) { f.User = "rare" },
		"name":         func(f *job.Filter) { f.Name = "report-17-daily" },
		"name%":        func(f *job.Filter) { f.Name = "report-1%" },
		"%name%":       func(f *job.Filter) { f.Name = "%7%" },
		"version":      func(f *job.Filter) { f.Version = "1.3.0" },
		"command":      func(f *job.Filter) { f.Command = "command-7" },
		"command%":     func(f *job.Filter) { f.Command = "command%" },
		"cluster":      func(f *job.Filter) { f.Cluster = "cluster-2" },
		"id%":          func(f *job.Filter) { f.ID = "019774%" },
		"tag":          func(f *job.Filter) { f.Tags = f.Tags.With("team:3") },
		"rare tag":     func(f *job.Filter) { f.Tags = f.Tags.With("incident") },
		"SUCCEEDED":    func(f *job.Filter) { f.Statuses = []job.Status{job.Succeeded} },
		"FAILED":       func(f *job.Filter) { f.Statuses = []job.Status{job.Failed} },
		"live, KILLED": func(f *job.Filter) { f.Statuses = []job.Status{job.New, job.Running, job.Killed} },
	}
}

// TestListsLookAtFewRows asks for the first page and one in the middle, by each
// filter and each pair of them, in every order, and lets the database say what
// it does.
func TestListsLookAtFewRows(t *testing.T) {
	t.Parallel()
	for kind, c := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const jobs = 30_000
			if err := sample.Fill(t.Context(), c, jobs); err != nil {
				t.Fatal(err)
			}
			db := open(t, c)
			look := func(what string, f job.Filter, most int) job.Page {
				page, statements, err := db.JobsWithin(t.Context(), store.UsualLimits(), f)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				looked, steps := 0, ""
				for _, s := range statements {
					if kind == "postgres" {
						n := rowsLookedAt(t, db, s)
						looked += n
						steps += fmt.Sprintf("%d rows: %s\n", n, s.Text)
					} else {
						checkLitePlan(t, db, s)
					}
				}
				if looked > most {
					t.Errorf("%s: looked at %d rows of %d for %d jobs, want %d at most:\n%s", what, looked, jobs, len(page.Jobs), most, steps)
				}
				return page
			}
			one := filters()
			one["none"] = func(*job.Filter) {}
			for a, first := range one {
				for b, second := range one {
					if a < b || kind == "sqlite" && a != b && len(a) > 5 { // enough of the pairs
						continue
					}
					for _, order := range []job.Order{job.ByID, job.ByCreatedAt, job.ByUpdatedAt} {
						f := job.Filter{Limit: 50, Order: order, Ascending: len(a)%2 == 0}
						first(&f)
						second(&f)
						most := 32_000 // twice as many would be all of them
						if a == b && order != job.ByUpdatedAt {
							most = 3_000
						}
						what := fmt.Sprintf("%s and %s by %s", a, b, order)
						page := look(what, f, most)
						if f.After = page.Next; f.After != nil {
							look(what+", page 2", f, most)
						}
					}
				}
			}
		})
	}
}

// node is a step of a plan of PostgreSQL.
type node struct {
	Type    string  `json:"Node Type"`
	Table   string  `json:"Relation Name"`
	Rows    float64 `json:"Actual Rows"`
	Removed float64 `json:"Rows Removed by Filter"`
	Checked float64 `json:"Rows Removed by Index Recheck"`
	Loops   float64 `json:"Actual Loops"`
	Plans   []node  `json:"Plans"`
}

// rowsLookedAt returns how many rows a statement reads from tables and indexes.
func rowsLookedAt(t *testing.T, db *store.DB, s store.Statement) int {
	t.Helper()
	rows, err := db.Explain(t.Context(), "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "+s.Text, s.Args)
	if err != nil {
		t.Fatalf("explain %s: %v", s.Text, err)
	}
	defer func() { _ = rows.Close() }()
	var text string
	for rows.Next() {
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
	}
	var plans []struct{ Plan node }
	if err := json.Unmarshal([]byte(text), &plans); err != nil || len(plans) != 1 {
		t.Fatalf("plan %s: %v", text, err)
	}
	sum := 0.0
	var count func(node)
	count = func(n node) {
		if n.Type == "Seq Scan" && n.Table != "job_lease" { // that has no more rows than jobs run
			t.Errorf("a table is read from end to end:\n%s\n%s", s.Text, text)
		}
		if strings.Contains(n.Type, "Index") {
			sum += (n.Rows + n.Removed + n.Checked) * n.Loops
		}
		for _, p := range n.Plans {
			count(p)
		}
	}
	count(plans[0].Plan)
	return int(sum)
}

// checkLitePlan fails when SQLite would read a table without an index, but for that
// of leases, which has no more rows than jobs run, or
// sort more than parts that are bounded.
func checkLitePlan(t *testing.T, db *store.DB, s store.Statement) {
	t.Helper()
	rows, err := db.Explain(t.Context(), "EXPLAIN QUERY PLAN "+s.Text, s.Args)
	if err != nil {
		t.Fatalf("explain %s: %v", s.Text, err)
	}
	defer func() { _ = rows.Close() }()
	var plan []string
	for rows.Next() {
		var (
			id, parent, unused int
			step               string
		)
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
	}
	bounded := strings.Contains(s.Text, "AS k") || strings.Contains(s.Text, "AS part0")
	for _, step := range plan {
		scan := strings.HasPrefix(step, "SCAN ") && slices.Contains([]string{"j", "e", "r", "d"}, strings.Fields(step)[1])
		if scan && !strings.Contains(step, "INDEX") && !strings.Contains(step, "PRIMARY KEY") || strings.Contains(step, "TEMP B-TREE") && !bounded {
			t.Errorf("%s: want an index that is read in its order:\n%s\n%s", step, s.Text, strings.Join(plan, "\n"))
		}
	}
}

// TestPagesInSlices goes through lists page by page when a page may look at three
// rows only: jobs come once each, in order, whatever the filter.
func TestPagesInSlices(t *testing.T) {
	t.Parallel()
	for kind, c := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			db := open(t, c)
			jobs := variety(t, db)
			chance := rand.New(rand.NewPCG(1, 2))
			short := 0
			for range 150 {
				f, fits := anyFilter(chance)
				var want []string
				for _, j := range jobs {
					if fits(j) {
						want = append(want, string(j.ID))
					}
				}
				slices.Sort(want)
				for _, order := range []job.Order{job.ByID, job.ByUpdatedAt} {
					f.Order, f.After = order, nil
					var got []*job.Job
					for pages := 0; ; pages++ {
						page, _, err := db.JobsWithin(t.Context(), store.MeagerLimits(), f)
						if err != nil {
							t.Fatalf("%+v: %v", f, err)
						}
						got = append(got, page.Jobs...)
						if page.Next == nil {
							break
						}
						if len(page.Jobs) < f.Limit {
							short++
						}
						if f.After = page.Next; pages > 3*len(jobs) {
							t.Fatalf("%+v: no end of pages", f)
						}
					}
					if !slices.IsSortedFunc(got, func(a, b *job.Job) int {
						c := strings.Compare(string(a.ID), string(b.ID))
						if byTime := a.UpdatedAt.Compare(b.UpdatedAt); order == job.ByUpdatedAt && byTime != 0 {
							c = byTime
						}
						if !f.Ascending {
							c = -c
						}
						return c
					}) {
						t.Errorf("%+v: the list is not in order", f)
					}
					ids := []string{}
					for _, j := range got {
						ids = append(ids, string(j.ID))
					}
					if slices.Sort(ids); !slices.Equal(ids, want) {
						t.Errorf("%+v: got %d jobs, want %d:\n%v\n%v", f, len(ids), len(want), ids, want)
					}
				}
			}
			if short == 0 {
				t.Error("no page ended before it was full: the limits were not reached")
			}
		})
	}
}

// variety records jobs of all sorts, some of which have ended.
func variety(t *testing.T, db *store.DB) []*job.Job {
	epoch, err := db.RegisterHost(t.Context(), store.Host{ID: "a", Name: "a"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var jobs []*job.Job
	for i := range 120 {
		j := &job.Job{ID: job.NewID(), User: fmt.Sprintf("user-%d", i%3), Status: job.New}
		j.CreatedAt = j.ID.Time()
		j.Name, j.Version = fmt.Sprintf("name-%d", i%7), fmt.Sprint(i%2)
		j.Pair = job.Pair{CommandID: fmt.Sprintf("c-%d", i%4), CommandName: fmt.Sprintf("c-%d", i%5), ClusterID: "l", ClusterName: "l"}
		if i%3 != 0 {
			j.Tags = tag.New(fmt.Sprintf("t-%d", i%4), "all")
		}
		l, err := db.Submit(t.Context(), store.Submission{Job: j, Host: "a", Epoch: epoch, Claim: i < 80})
		if err != nil {
			t.Fatal(err)
		}
		if i < 60 {
			j.Status = []job.Status{job.Succeeded, job.Failed, job.Succeeded, job.Killed}[i%4]
			if err := db.End(t.Context(), job.End{Lease: *l, Outcome: job.Outcome{Status: j.Status}}); err != nil {
				t.Fatal(err)
			}
		} else if l != nil {
			j.Status = job.Accepted
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// anyFilter returns a filter of one to three conditions, or fewer when they are on
// the same, and which jobs it is to find.
func anyFilter(chance *rand.Rand) (job.Filter, func(*job.Job) bool) {
	f := job.Filter{Limit: 1 + chance.IntN(9), Ascending: chance.IntN(2) == 0}
	for range 1 + chance.IntN(3) {
		n := chance.IntN(8)
		digit := fmt.Sprint(n)
		switch chance.IntN(8) {
		case 0:
			f.User = "user-" + digit
		case 1:
			f.Name = "name-" + digit
		case 2:
			f.Name = []string{"n%", "name-1%", "%-" + digit, "%e%"}[n%4]
		case 3:
			f.Command = "c-" + digit
		case 4:
			f.Command = []string{"c%", "c-3%", "%" + digit}[n%3]
		case 5:
			f.Tags = f.Tags.With("t-"+digit, "all")
		case 6:
			f.Statuses = []job.Status{job.Statuses()[n%len(job.Statuses())], job.Failed}
		case 7:
			f.Version = "1"
		}
	}
	return f, func(j *job.Job) bool {
		return like(f.User, j.User) && like(f.Name, j.Name) && like(f.Version, j.Version) &&
			(like(f.Command, j.Pair.CommandID) || like(f.Command, j.Pair.CommandName)) &&
			len(j.Tags.Missing(f.Tags)) == 0 && (f.Statuses == nil || slices.Contains(f.Statuses, j.Status))
	}
}

// like matches a pattern with no wildcards but % at its ends.
func like(pattern, text string) bool {
	switch middle := strings.Trim(pattern, "%"); {
	case pattern == "":
		return true
	case strings.HasPrefix(pattern, "%") && strings.HasSuffix(pattern, "%"):
		return strings.Contains(text, middle)
	case strings.HasPrefix(pattern, "%"):
		return strings.HasSuffix(text, middle)
	case strings.HasSuffix(pattern, "%"):
		return strings.HasPrefix(text, middle)
	}
	return text == pattern
}

// TestRemovedJobsLeaveNoTags: a job may come again under the id of one that was
// removed, which it could not when something were left of that.
func TestRemovedJobsLeaveNoTags(t *testing.T) {
	t.Parallel()
	for kind, c := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			db := open(t, c)
			j := variety(t, db)[1]
			if n, err := db.Remove(t.Context(), []job.ID{j.ID}); err != nil || n != 1 || j.Tags == nil {
				t.Fatalf("remove a job with tags %v: got %d and error %v, want 1", j.Tags, n, err)
			}
			if _, err := db.Submit(t.Context(), store.Submission{Job: j}); err != nil {
				t.Errorf("submit it again: %v", err)
			}
		})
	}
}
