// Package sql is what plugins for databases have in common: the input of callers, the
// way of rows into a typed table of any size, bounds, and the classes of errors.
//
// A plugin embeds [Limits] in its settings, implements [Database], or gets one from
// [FromDB] for any driver of database/sql, and performs a job with [Run]:
//
//	func (p *MySQL) Run(ctx context.Context, job *sdk.Job[sql.Input]) error {
//		return sql.Run(ctx, job, job.Input, p.database, p.Limits)
//	}
package sql

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/sdk"
)

// Input is what callers write.
type Input struct {
	Query      string            `json:"query" doc:"What is to be run."`
	QueryFile  string            `json:"query_file" doc:"Instead of query: the name of a file that came with the job, which holds it."`
	Parameters []json.RawMessage `json:"parameters" doc:"Values for the placeholders of the query, in their order."`
}

// Limits are settings of operators. Plugins embed them.
type Limits struct {
	ReadOnly       bool  `json:"read_only" doc:"Queries may change nothing. A user of the database with few rights is the better bound."`
	MultiStatement bool  `json:"multi_statement" doc:"A query may be several statements; the result is that of the last one that has rows. Not with read_only."`
	MaxRows        int64 `json:"max_rows" doc:"Most rows of a result; a query with more fails. 0: any number."`
	MaxCell        int64 `json:"max_cell" doc:"Largest value in a result, bytes; a query with a larger one fails. 0: 16777216."`
}

// Bounds whatever the settings say.
const (
	DefaultMaxCell = 16 << 20 // bytes
	MaxQuery       = 16 << 20 // of the text of a query, bytes
)

// Check returns what is wrong with the limits.
func (l Limits) Check() error {
	switch {
	case l.MaxRows < 0:
		return sdk.Errorf(sdk.Internal, "max_rows is %d; it must be 0, for any number, or more", l.MaxRows)
	case l.MaxCell < 0:
		return sdk.Errorf(sdk.Internal, "max_cell is %d; it must be 0, for the default, or more", l.MaxCell)
	case l.ReadOnly && l.MultiStatement:
		return sdk.Errorf(sdk.Internal, "read_only and multi_statement exclude each other: several statements can end what holds them back")
	}
	return nil
}

// Cell returns the size of the largest value, bytes.
func (l Limits) Cell() int64 {
	if l.MaxCell == 0 {
		return DefaultMaxCell
	}
	return l.MaxCell
}

// Query is what a database is to run.
type Query struct {
	Text       string            // UTF-8, not empty
	Parameters []json.RawMessage // values for its placeholders, as the caller wrote them
	Tag        Tag
	Limits     Limits
}

// Tag names who a query is for, so that it can be found on the side of the database.
type Tag struct {
	JobID   string
	Attempt int
	User    string
}

// String returns the tag as one line of printable ASCII that no SQL can be broken
// with: "heimdall job=… attempt=1 user=…", the user as SafeUser has it.
func (t Tag) String() string {
	return "heimdall job=" + t.JobID + " attempt=" + number(t.Attempt) + " user=" + t.SafeUser()
}

// SafeUser returns the name of the user with ? for all but letters, digits and -_.@.
func (t Tag) SafeUser() string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r == '@' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '?'
	}, t.User)
}

// Database runs queries.
type Database interface {
	// Query runs a query until ctx is canceled, then also on the side of the database,
	// and gives what comes of it to out. Its error is an *sdk.Error with a class, such
	// as [Fault] makes.
	Query(ctx context.Context, q Query, out *Output) error
}

// Run performs a job: it runs what the input asks for, makes the rows the result, tells
// the progress, and how many rows and bytes it was.
func Run[In any](ctx context.Context, job *sdk.Job[In], in Input, db Database, limits Limits) error {
	if err := limits.Check(); err != nil {
		return err
	}
	text, err := in.text(job.Files())
	if err != nil {
		return err
	}
	out := &Output{job: job, limits: limits, told: time.Now()}
	err = db.Query(ctx, Query{
		Text: text, Parameters: in.Parameters, Limits: limits,
		Tag: Tag{JobID: job.ID, Attempt: job.Attempt, User: job.User},
	}, out)
	if out.affected > 0 {
		job.Usage("rows_affected", float64(out.affected))
	}
	if out.table != nil {
		job.Usage("rows", float64(out.rows))
		job.Usage("bytes", float64(out.bytes))
	}
	if out.err != nil {
		return out.err // what it was stopped for
	}
	return err
}

// text returns the query.
func (in Input) text(files []sdk.File) (string, error) {
	switch {
	case in.Query != "" && in.QueryFile != "":
		return "", sdk.Errorf(sdk.Invalid, "query and query_file exclude each other")
	case in.QueryFile != "":
		return readQuery(in.QueryFile, files)
	case strings.TrimSpace(in.Query) == "":
		return "", sdk.Errorf(sdk.Invalid, "query is empty; say what is to be run, or name a file in query_file")
	}
	return in.Query, nil
}

func readQuery(name string, files []sdk.File) (string, error) {
	var names []string
	for _, f := range files {
		if names = append(names, f.Name); f.Name != name {
			continue
		}
		if f.Size > MaxQuery {
			return "", sdk.Errorf(sdk.Invalid, "the file %q of query_file has %d bytes; a query may have %d", name, f.Size, MaxQuery)
		}
		content, err := readFile(f.Path)
		switch {
		case err != nil:
			return "", sdk.Errorf(sdk.Internal, "read the file %q of query_file: %w", name, err)
		case !utf8.Valid(content):
			return "", sdk.Errorf(sdk.Invalid, "the file %q of query_file is not UTF-8", name)
		case strings.TrimSpace(string(content)) == "":
			return "", sdk.Errorf(sdk.Invalid, "the file %q of query_file is empty", name)
		}
		return strings.TrimPrefix(string(content), "\ufeff"), nil
	}
	if names == nil {
		return "", sdk.Errorf(sdk.Invalid, "query_file names %q, but no file came with the job", name)
	}
	return "", sdk.Errorf(sdk.Invalid, "query_file names %q; what came with the job is %s", name, strings.Join(names, ", "))
}

func readFile(path string) (content []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, MaxQuery))
}
