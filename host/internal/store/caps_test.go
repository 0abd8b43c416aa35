package store

import (
	"context"
	"fmt"
	"testing"
)

// openEmbedded opens a new embedded store for the time of a test.
func openEmbedded(t *testing.T) *DB {
	t.Helper()
	db, err := Open(t.Context(), Config{URL: "sqlite", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Of many caps, only those are written that change: each cluster that declares its
// capacity sets them all again, on every host.
func TestSetCapsWritesWhatDiffers(t *testing.T) {
	db := openEmbedded(t)
	exec := func(statement string) {
		t.Helper()
		err := db.write(t.Context(), func(ctx context.Context, tx transaction) error {
			_, err := tx.ExecContext(ctx, statement)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE touched (id TEXT)")
	for _, what := range []string{"INSERT", "UPDATE"} {
		exec("CREATE TRIGGER note_" + what + " AFTER " + what + " ON cap BEGIN INSERT INTO touched VALUES (new.id); END")
	}
	exec("CREATE TRIGGER note_delete AFTER DELETE ON cap BEGIN INSERT INTO touched VALUES (old.id); END")
	caps := Caps{Commands: map[string]int{"a": 1, "b": 2}, Clusters: map[string]int{}, User: 3}
	for n := range 50 {
		caps.Clusters[fmt.Sprint(n)] = 5
	}
	for _, c := range []struct {
		name   string
		change func()
		want   int
	}{
		{"the first time", func() {}, 53},
		{"the same again", func() {}, 0},
		{"one more, one less, one other", func() { caps.Clusters["more"] = 1; delete(caps.Commands, "a"); caps.Clusters["7"] = 6 }, 3},
		{"none of each user", func() { caps.User = 0 }, 1},
	} {
		exec("DELETE FROM touched")
		c.change()
		if err := db.SetCaps(t.Context(), caps); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var touched, rows int
		err := db.read.QueryRowContext(t.Context(), "SELECT (SELECT COUNT(*) FROM touched), (SELECT COUNT(*) FROM cap)").Scan(&touched, &rows)
		if err != nil || touched != c.want || rows != len(caps.rows()) {
			t.Errorf("%s: %d rows were written and %d are there, %v, want %d and %d", c.name, touched, rows, err, c.want, len(caps.rows()))
		}
	}
}
