package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// A step that moves many jobs is a few statements: on a slow way to the database it
// is done in time all the same.
func TestStepsAreFewStatements(t *testing.T) {
	t.Parallel()
	const (
		jobs = 600 // more than one step
		most = 5
	)
	for kind, c := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			db := open(t, c)
			past := time.Now().Add(-time.Hour)
			for i := range jobs {
				j := &job.Job{ID: job.NewID(), User: fmt.Sprint(i % 7), CreatedAt: past}
				j.StartAfter, j.Deadline = past, past
				if _, err := db.Submit(t.Context(), store.Submission{Job: j}); err != nil {
					t.Fatal(err)
				}
			}
			var sizes []int
			sent := db.WatchWrites()
			step := func(what string, n int, err error) {
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if sizes = append(sizes, n); len(*sent) > most {
					t.Errorf("%s of %d jobs: got %d statements, want %d at most", what, n, len(*sent), most)
				}
				*sent = nil
			}
			for range 3 {
				n, err := db.Due(t.Context())
				step("due", n, err)
			}
			for range 3 {
				ids, err := db.Expire(t.Context())
				step("expire", len(ids), err)
			}
			if want := []int{500, 100, 0, 500, 100, 0}; !slices.Equal(sizes, want) {
				t.Errorf("jobs in each step: got %v, want %v", sizes, want)
			}
		})
	}
}

// What is not due is not looked at, however much there is of it: the time is a
// bound of the index, and no filter behind it.
func TestStepsReadOnlyWhatIsDue(t *testing.T) {
	t.Parallel()
	db := open(t, store.Config{URL: pgtest.URL(t)})
	sent := db.WatchWrites()
	if _, err := db.Due(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(*sent) != 2 {
		t.Fatalf("got %d statements, want one to take each", len(*sent))
	}
	for i, want := range []string{"Index Cond: (due_at <= ", "Index Cond: (deadline <= "} {
		if plan := explained(t, db, (*sent)[i]); !strings.Contains(plan, want) {
			t.Errorf("the plan has no %q:\n%s", want, plan)
		}
	}
}

func explained(t *testing.T, db *store.DB, s store.Statement) (plan string) {
	t.Helper()
	rows, err := db.Explain(t.Context(), "EXPLAIN "+s.Text, s.Args)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan += line + "\n"
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

// A database of before job_later had users is brought up to date with its rows.
func TestMigrationNamesTheUsersOfJobsThatAreNotDue(t *testing.T) {
	t.Parallel()
	for kind, c := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			db := open(t, c)
			for _, user := range []string{"ann", "bob", "ann"} {
				j := &job.Job{ID: job.NewID(), User: user, CreatedAt: time.Now()}
				j.StartAfter = time.Now().Add(time.Hour)
				if _, err := db.Submit(t.Context(), store.Submission{Job: j}); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			for _, table := range []string{"catalog_object", "catalog_declaration", "catalog_change", "catalog_version", "host_lacks_cluster", "host_key"} {
				execute(t, c, "DROP TABLE "+table)
			}
			execute(t, c, "ALTER TABLE job DROP COLUMN trace")
			execute(t, c, "ALTER TABLE job DROP COLUMN attachments")
			execute(t, c, "ALTER TABLE job_lease DROP COLUMN report")
			execute(t, c, "ALTER TABLE job_later DROP COLUMN username")
			execute(t, c, "DELETE FROM schema_version WHERE version_id >= 5")
			got, err := open(t, c).Backlog(t.Context())
			if err != nil || len(got) != 2 || got["ann"] != 2 || got["bob"] != 1 {
				t.Errorf("backlog: got %v and error %v, want 2 of ann and 1 of bob", got, err)
			}
		})
	}
}
