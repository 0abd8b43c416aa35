package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/sql"
)

// resetTime is how long a connection may take to be as new, after a query.
const resetTime = 5 * time.Second

// Run runs the query of a job.
func (p *Postgres) Run(ctx context.Context, job *sdk.Job[Input]) error {
	drop := job.Input.ReturnResult != nil && !*job.Input.ReturnResult
	return sql.Run(ctx, job, job.Input.Input, database{pool: p.pool, job: job, drop: drop}, p.Limits)
}

// database is the server, for one job.
type database struct {
	pool *pgxpool.Pool
	job  *sdk.Job[Input]
	drop bool // its rows
}

// Query implements sql.Database.
func (d database) Query(ctx context.Context, q sql.Query, out *sql.Output) (err error) {
	if err := refuseCopyIn(q.Text); err != nil {
		return err
	}
	held, err := d.pool.Acquire(ctx)
	if err != nil {
		return fault(err, "")
	}
	conn := held.Conn().PgConn()
	defer func() {
		if conn.IsClosed() || !reset(ctx, conn) {
			_ = conn.Close(context.WithoutCancel(ctx)) // nobody is to have it again
		}
		held.Release()
	}()
	// What is not read to its end is canceled on the server, too.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := begin(ctx, conn, q); err != nil {
		return fault(err, "")
	}
	s := &session{conn: conn, out: out, drop: d.drop, stop: stop}
	switch {
	case q.Limits.MultiStatement && len(q.Parameters) > 0:
		return sdk.Errorf(sdk.Invalid, "parameters are for a single statement; the command of the job runs several at once (multi_statement)")
	case q.Limits.MultiStatement:
		err = s.several(ctx, q.Text)
	case copyType(q.Text) != "":
		err = s.copyOut(ctx, q.Text, d.job.Result(copyType(q.Text)))
	default:
		err = s.single(ctx, q)
	}
	if err == nil && conn.TxStatus() != idle {
		_, err = conn.Exec(ctx, "COMMIT").ReadAll() // of the transaction that was begun, or that the query has left open
	}
	return fault(err, q.Text)
}

// idle is the state of a connection outside of a transaction.
const idle = 'I'

// begin makes a connection known as that of a job, on the server.
func begin(ctx context.Context, conn *pgconn.PgConn, q sql.Query) error {
	text := "SET application_name = '" + clip("heimdall "+q.Tag.JobID+" "+q.Tag.SafeUser(), maxName) + "'"
	if q.Limits.ReadOnly {
		// Behind the first statement of a transaction it can no longer become one that writes.
		text += "; BEGIN TRANSACTION READ ONLY; SELECT 1"
	}
	_, err := conn.Exec(ctx, text).ReadAll()
	return err
}

// maxName is the length of the name of an application on the server, bytes.
const maxName = 63

func clip(text string, size int) string { return text[:min(len(text), size)] }

// reset makes a connection as new: without what the query has set, made or locked.
func reset(ctx context.Context, conn *pgconn.PgConn) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resetTime)
	defer cancel()
	if conn.TxStatus() != idle {
		if _, err := conn.Exec(ctx, "ROLLBACK").ReadAll(); err != nil {
			return false
		}
	}
	_, err := conn.Exec(ctx, "DISCARD ALL").ReadAll()
	return err == nil
}

// session runs the statements of a query on a connection.
type session struct {
	conn *pgconn.PgConn
	out  *sql.Output
	drop bool
	stop func() // cancels what runs
}

// single runs one statement: the server refuses more.
func (s *session) single(ctx context.Context, q sql.Query) error {
	statement, err := s.conn.Prepare(ctx, "", q.Text, nil)
	if err != nil {
		return err
	}
	parameters, err := bind(q.Parameters, statement.ParamOIDs)
	if err != nil {
		return err
	}
	formats := make([]int16, len(statement.Fields))
	for i, f := range statement.Fields {
		formats[i] = formatOf(f.DataTypeOID)
	}
	return s.read(s.conn.ExecPrepared(ctx, "", parameters, nil, formats))
}

// several runs statements in one transaction, unless they say otherwise.
func (s *session) several(ctx context.Context, text string) error {
	results := s.conn.Exec(ctx, text)
	for results.NextResult() {
		if err := s.read(results.ResultReader()); err != nil {
			return errors.Join(err, ignore(results.Close()))
		}
	}
	return results.Close()
}

// ignore drops an error that follows from another one.
func ignore(error) error { return nil }

// read takes what comes of one statement.
func (s *session) read(r *pgconn.ResultReader) error {
	fields := r.FieldDescriptions()
	if len(fields) > 0 && !s.drop {
		if err := s.rows(r, fields); err != nil {
			s.stop()
			_, _ = r.Close() // it was stopped for err
			return err
		}
	}
	tag, err := r.Close()
	if err == nil && !tag.Select() {
		s.out.Affected(tag.RowsAffected())
	}
	return err
}

func (s *session) rows(r *pgconn.ResultReader, fields []pgconn.FieldDescription) error {
	columns := make([]sdk.Column, len(fields))
	forms := make([]form, len(fields))
	for i, f := range fields {
		columns[i], forms[i] = columnOf(f)
	}
	if err := s.out.Begin(columns...); err != nil {
		return err
	}
	row := make([][]byte, len(fields))
	for n := int64(1); r.NextRow(); n++ {
		for i, value := range r.Values() {
			if value != nil && forms[i] != nil {
				var err error
				if value, err = forms[i](value); err != nil {
					return sdk.Errorf(sdk.Failed, "row %d, column %q: %w", n, columns[i].Name, err)
				}
			}
			row[i] = value
		}
		if err := s.out.Text(row...); err != nil {
			return err
		}
	}
	return nil // Close tells what went wrong
}

// bind returns parameters as texts for the server, which knows their types.
func bind(given []json.RawMessage, types []uint32) ([][]byte, error) {
	if len(given) != len(types) {
		return nil, sdk.Errorf(sdk.Invalid, "the query has %d placeholders ($1, $2, …), and parameters has %d values", len(types), len(given))
	}
	bound := make([][]byte, len(given))
	for i, raw := range given {
		value, err := parameter(raw, types[i])
		if err != nil {
			return nil, sdk.Errorf(sdk.Invalid, "parameters/%d: %w", i, err)
		}
		bound[i] = value
	}
	return bound, nil
}

// parameter returns a value as the server reads it; nil is null.
func parameter(raw json.RawMessage, kind uint32) ([]byte, error) {
	text := strings.TrimSpace(string(raw))
	switch {
	case text == "" || text == "null":
		return nil, nil
	case kind == oidJSON || kind == oidJSONB:
		return []byte(text), nil
	case text[0] == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, err
		}
		if strings.ContainsRune(s, 0) {
			return nil, errors.New("the text has a NUL, which PostgreSQL has no place for")
		}
		return []byte(s), nil
	case text[0] == '[':
		return arrayLiteral(raw)
	case text[0] == '{':
		return []byte(text), nil
	}
	return []byte(text), nil // a number, true or false
}

// fault returns the error of a job for what went wrong.
func fault(err error, query string) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		position := int(e.Position)
		if e.InternalQuery != "" {
			position = 0 // it is about what a function has run
		}
		return sql.Fault{State: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint, Query: query, Position: position, Cause: err}.JobError()
	}
	if _, ok := errors.AsType[*pgproto3.ExceededMaxBodyLenErr](err); ok {
		return sdk.Errorf(sdk.Quota, "a row is larger than max_cell of the plugin's settings allows for: %w", err)
	}
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return &sdk.Error{Class: sdk.Unavailable, Message: fmt.Sprintf("no connection to the server: %v", unwrapped(e)), RetrySafe: true, Err: err}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &sdk.Error{Class: sdk.Unavailable, Message: fmt.Sprintf("the connection to the server was lost: %v; whether the query did its work is not known", err), Err: err}
}

// unwrapped returns the innermost reason, without who asked for what.
func unwrapped(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
