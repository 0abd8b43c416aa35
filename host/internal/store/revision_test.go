package store

import (
	"context"
	"fmt"
	"testing"
)

// A revision takes little room, and those that were saved when it took more are read
// as they are.
func TestRevisionsArePacked(t *testing.T) {
	db := openEmbedded(t)
	var content []byte
	for n := range 2000 {
		content = fmt.Appendf(content, `{"id":"command-%d","status":"ACTIVE","plugin":"ping"},`, n)
	}
	if err := db.SaveRevision(t.Context(), "new", content); err != nil {
		t.Fatal(err)
	}
	var size int
	err := db.read.QueryRowContext(t.Context(), "SELECT LENGTH(content) FROM catalog_revision WHERE revision = 'new'").Scan(&size)
	if err != nil || size > len(content)/4 {
		t.Errorf("%d bytes take %d, %v, want a quarter at most", len(content), size, err)
	}
	err = db.write(t.Context(), func(ctx context.Context, tx transaction) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO catalog_revision (revision, content, saved_at) VALUES ('old', $1, 0)", content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, revision := range []string{"new", "old"} {
		if got, err := db.Revision(t.Context(), revision); err != nil || string(got) != string(content) {
			t.Errorf("%s: %d bytes, %v, want the %d that were saved", revision, len(got), err, len(content))
		}
	}
}
