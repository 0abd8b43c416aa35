package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/hashicorp/go-hclog"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations
var migrations embed.FS

// versionTable is the table that records which migrations have run.
const versionTable = "schema_version"

// migrate brings the schema up to the newest that this program knows, and
// refuses one that is newer. Migrations only go forward. The caller keeps other
// programs from doing it at the same time.
func migrate(ctx context.Context, kind string, conn *sql.DB, log hclog.Logger) error {
	folder, err := fs.Sub(migrations, "migrations/"+kind)
	if err != nil {
		return fmt.Errorf("open the migrations of %s: %w", kind, err)
	}
	dialect := database.DialectSQLite3
	if kind == "postgres" {
		dialect = database.DialectPostgres
	}
	p, err := goose.NewProvider(dialect, conn, folder,
		goose.WithDisableGlobalRegistry(true), goose.WithTableName(versionTable), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("read the migrations of %s: %w", kind, err)
	}
	current, newest, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the database: %w", err)
	}
	if current > newest {
		return fmt.Errorf("the database has schema version %d and this heimdall knows %d at most: start the newer heimdall that wrote it, or restore a backup from before", current, newest)
	}
	if current == newest {
		return nil
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("bring the database from schema version %d to %d: %w", current, newest, err)
	}
	for _, m := range done {
		log.Info("migrated the database", "version", m.Source.Version, "took", m.Duration)
	}
	return nil
}
