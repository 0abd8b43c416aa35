package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// poolSize is how many connections a host has, unless pool_max_conns of the URL
// says otherwise: submits, ends, claims, heartbeats, and reads.
const poolSize = 16

// listPool is how many connections more it has for lists: who looks through many
// jobs takes them from nobody who runs one.
const listPool = 4

// sidePool is how many it has besides: one listens, one is for heartbeats, one for
// notices.
const sidePool = 3

// minPool is how many it needs: one holds the lock while another migrates.
const minPool = 2

// A host has a lock: what leases jobs to it shares the lock, and who takes over
// the leases of its earlier epochs has it alone. Each is a statement of its own:
// the one behind it sees the epochs as they are once the lock is held.
const (
	hostKey    = "hashtextextended('heimdall host ' || h, 0)"
	shareHosts = "SELECT pg_advisory_xact_lock_shared(" + hostKey + ") FROM unnest($1::text[]) AS h"
	lockHost   = "SELECT pg_advisory_xact_lock(" + hostKey + ") FROM CAST($1 AS text) AS h"
)

// postgres is the backend on PostgreSQL.
type postgres struct {
	target  string // host:port/database, for messages
	log     hclog.Logger
	pool    *pgxpool.Pool
	db      *sql.DB
	lists   *pgxpool.Pool
	listDB  *sql.DB
	side    *pgxpool.Pool // for what must not wait for other work: heartbeats and notices
	sideDB  *sql.DB
	submits combiner[Submission, bool]
	ends    combiner[job.End, bool]
}

func openPostgres(ctx context.Context, c Config) (*DB, error) {
	config, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, parseError(c.URL, err)
	}
	if !strings.Contains(c.URL, "pool_max_conns") {
		config.MaxConns = poolSize
	}
	config.MaxConns = max(config.MaxConns, minPool)
	config.ConnConfig.ConnectTimeout = writeTimeout // several round trips, which may be slow
	for name, value := range connectionParams() {
		if _, set := config.ConnConfig.RuntimeParams[name]; !set {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, parseError(c.URL, err)
	}
	lists := config.Copy()
	lists.MaxConns, lists.MinConns, lists.MinIdleConns = listPool, 0, 0
	for name, value := range listParams() {
		lists.ConnConfig.RuntimeParams[name] = value
	}
	listing, err := pgxpool.NewWithConfig(ctx, lists)
	if err != nil {
		pool.Close()
		return nil, parseError(c.URL, err)
	}
	beside := config.Copy()
	beside.MaxConns, beside.MinConns = sidePool, 0
	side, err := pgxpool.NewWithConfig(ctx, beside)
	if err != nil {
		pool.Close()
		listing.Close()
		return nil, parseError(c.URL, err)
	}
	at := config.ConnConfig
	p := &postgres{
		target: fmt.Sprintf("PostgreSQL at %s:%d/%s", at.Host, at.Port, at.Database),
		log:    c.Log,
		pool:   pool,
		db:     stdlib.OpenDBFromPool(pool),
		lists:  listing,
		listDB: stdlib.OpenDBFromPool(listing),
		side:   side,
		sideDB: stdlib.OpenDBFromPool(side),
	}
	p.submits = combiner[Submission, bool]{flush: flusher(p, insertJobs), size: submissionSize, patience: submitPatience, told: combinedBy(c.Observer, submits)}
	p.ends = combiner[job.End, bool]{flush: flusher(p, insertEnds), size: endSize, told: combinedBy(c.Observer, ends)}
	if err := p.prepare(ctx, c); err != nil {
		_ = p.close()
		return nil, err
	}
	return &DB{
		backend: p,
		read:    p.db,
		lists:   p.listDB,
		text: dialect{
			lockHost:   lockHost,
			lockCaps:   lockCaps,
			clock:      "clock_timestamp()",
			until:      "clock_timestamp() + $3::bigint * interval '1 microsecond'",
			idsOf:      "SELECT CAST(value AS uuid) FROM json_array_elements_text(CAST($1 AS json))",
			textsOf:    "SELECT value FROM json_array_elements_text(CAST($1 AS json))",
			keepRow:    "FOR SHARE",
			jobsOf:     "SELECT * FROM json_to_recordset(CAST($1 AS json)) AS t (n integer, id uuid, attempt integer, retries integer)",
			tagsOf:     "SELECT t.tag, j.id FROM job j CROSS JOIN LATERAL jsonb_array_elements_text(j.tags) AS t (tag)",
			oneOf:      " = ANY (ARRAY[CAST(%s AS text)])", // = alone would let any index with the ids serve the order
			byBytes:    ` COLLATE "C"`,
			skipLocked: "FOR UPDATE SKIP LOCKED",
			lockRow:    "FOR UPDATE",
			entriesOf:  postgresEntries,

			declarationsOf: postgresDeclarations,
			reportsOf:      postgresReports,
			lockLeases:     "FOR NO KEY UPDATE OF l SKIP LOCKED",
		},
	}, nil
}

// connectionParams are settings of each connection. Every statement of ours has an
// index to go by, and the tables it starts from are empty at one moment and full
// at the next: their statistics, on which a plan is made once, are no guide. To plan
// one anew for its values takes longer than to run it.
func connectionParams() map[string]string {
	return map[string]string{
		"application_name":                    "heimdall",
		"enable_seqscan":                      "off",
		"enable_hashjoin":                     "off",
		"enable_mergejoin":                    "off",
		"jit":                                 "off",
		"plan_cache_mode":                     "force_generic_plan",
		"idle_in_transaction_session_timeout": "15s",
	}
}

// listParams are more settings of the connections for lists: where an index has the
// order of a list, it is to be read in that order, whatever seems to be cheaper.
func listParams() map[string]string {
	return map[string]string{
		"enable_sort":                     "off",
		"enable_bitmapscan":               "off",
		"max_parallel_workers_per_gather": "0",
		"statement_timeout":               strconv.Itoa(int(readTimeout / time.Millisecond)),
	}
}

// parseError says what is wrong with a URL, and never its password.
func parseError(text string, err error) error {
	const form = "the store's url is not one like postgres://user:password@host:port/database"
	cause := errors.Unwrap(err)
	if _, bad := url.Parse(text); bad != nil || cause == nil {
		return errors.New(form)
	}
	return fmt.Errorf("%s: %w", form, cause)
}

// prepare connects for the first time and migrates, one program at a time.
func (p *postgres) prepare(ctx context.Context, c Config) error {
	first, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	conn, err := p.pool.Acquire(first)
	if err != nil {
		return fmt.Errorf("cannot reach %s: %s; check the store's url and that the server runs", p.target, short(err))
	}
	defer conn.Release()
	const key = "(hashtextextended('heimdall migrations ' || current_schema(), 0))"
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock"+key); err != nil {
		return fmt.Errorf("lock %s for migrations: %w", p.target, err)
	}
	err = migrate(ctx, "postgres", p.db, c.Log)
	if _, unlock := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock"+key); err == nil {
		err = unlock
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", p.target, err)
	}
	return nil
}

// Kind returns "postgres".
func (p *postgres) Kind() string { return "postgres" }

func (p *postgres) close() error {
	p.submits.close()
	p.ends.close()
	err := errors.Join(p.db.Close(), p.listDB.Close(), p.sideDB.Close())
	p.pool.Close()
	p.lists.Close()
	p.side.Close()
	return err
}

// write runs fn in a transaction in which each statement sees what was committed
// before it.
func (p *postgres) write(ctx context.Context, fn func(context.Context, transaction) error) error {
	return p.writeTo(ctx, p.db, fn)
}

func (p *postgres) aside(ctx context.Context, fn func(context.Context, transaction) error) error {
	return p.writeTo(ctx, p.sideDB, fn)
}

func (p *postgres) writeTo(ctx context.Context, db *sql.DB, fn func(context.Context, transaction) error) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	const tries = 3
	var err error
	for range tries {
		if err = transact(ctx, db, fn); !deadlocked(err) {
			break
		}
	}
	return p.fault(err)
}

func transact(ctx context.Context, db *sql.DB, fn func(context.Context, transaction) error) error {
	t, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }() // nothing once it is committed
	if err := fn(ctx, t); err != nil {
		return err
	}
	return t.Commit()
}

// deadlocked reports whether the server gave up a transaction for the sake of
// another, so that it may be run again.
func deadlocked(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40001" || e.Code == "40P01")
}

// statement adds to work what writes a batch, and sets the out of its members.
type statement[In any] func(batch []*call[In, bool], work *pgx.Batch)

// flusher returns what writes batches by a statement, in one round trip and one
// transaction each.
func flusher[In any](p *postgres, add statement[In]) func([]*call[In, bool]) {
	run := func(batch []*call[In, bool]) error {
		// A batch belongs to no single caller.
		ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
		defer cancel()
		var work pgx.Batch
		add(batch, &work)
		return p.pool.SendBatch(ctx, &work).Close()
	}
	return func(batch []*call[In, bool]) {
		isolate(batch, run, refused)
		for _, k := range batch {
			k.err = p.fault(k.err)
		}
	}
}

// members returns what reads the answer to a query: the ordinals of the members of
// a batch whose out is true.
func members[In any](batch []*call[In, bool]) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		ordinals, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		for _, k := range batch {
			k.out = false // it may have been in a batch that was refused
		}
		for _, n := range ordinals {
			batch[n-1].out = true
		}
		return err
	}
}

// list makes a column of a batch.
func list[In, Out, T any](batch []*call[In, Out], value func(In) T) []T {
	values := make([]T, len(batch))
	for i, k := range batch {
		values[i] = value(k.in)
	}
	return values
}

func orNow(t time.Time) time.Time {
	if t.IsZero() {
		return now()
	}
	return stamp(t)
}
