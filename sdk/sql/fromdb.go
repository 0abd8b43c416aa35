package sql

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/sdk"
)

// Driver says what is particular of a driver of database/sql. What is nil is not.
type Driver struct {
	// Type returns the type of a column, as of sdk.Column; "" leaves it to what its name
	// usually means.
	Type func(column *sql.ColumnType) string
	// Fault reads an error of the driver.
	Fault func(err error) Fault
	// Begin prepares a connection for a query, for example with its tag.
	Begin func(ctx context.Context, conn *sql.Conn, q Query) error
}

// FromDB returns the Database of a pool of connections. A query takes one that is free,
// or waits for one. The driver must end a query on the other side when its context is
// canceled, as a good one does. Parameters are null, bool, string, int64, or float64;
// lists and objects are handed over as JSON text.
func FromDB(pool *sql.DB, d Driver) Database { return fromDB{pool, d} }

type fromDB struct {
	pool *sql.DB
	Driver
}

// Query implements Database.
func (d fromDB) Query(ctx context.Context, q Query, out *Output) error {
	parameters, err := values(q.Parameters)
	if err != nil {
		return err
	}
	if err := d.query(ctx, q, parameters, out); err != nil {
		return d.fault(err, q)
	}
	return nil
}

func (d fromDB) query(ctx context.Context, q Query, parameters []any, out *Output) (err error) {
	conn, err := d.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if d.Begin != nil {
		if err := d.Begin(ctx, conn, q); err != nil {
			return err
		}
	}
	if !q.Limits.ReadOnly {
		return d.rows(ctx, conn, q, parameters, out)
	}
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	if err := d.rows(ctx, tx, q, parameters, out); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}

// ignoreDone drops the error of a transaction that has ended by itself.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

type querier interface {
	QueryContext(ctx context.Context, query string, parameters ...any) (*sql.Rows, error)
}

func (d fromDB) rows(ctx context.Context, on querier, q Query, parameters []any, out *Output) (err error) {
	rows, err := on.QueryContext(ctx, q.Text, parameters...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for more := true; more; more = q.Limits.MultiStatement && rows.NextResultSet() {
		if err := d.result(rows, out); err != nil {
			return err
		}
	}
	return rows.Err()
}

// result takes the rows of one statement.
func (d fromDB) result(rows *sql.Rows, out *Output) error {
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	if len(types) == 0 {
		return nil // it has none
	}
	columns := make([]sdk.Column, len(types))
	row, into := make([]any, len(types)), make([]any, len(types))
	for i, t := range types {
		columns[i], into[i] = sdk.Column{Name: t.Name(), Type: d.typeOf(t)}, &row[i]
	}
	if err := out.Begin(columns...); err != nil {
		return err
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, c := range columns {
			row[i] = fit(c.Type, row[i])
		}
		if err := out.Row(row...); err != nil {
			return err
		}
	}
	return rows.Err()
}

// fit makes a value one of its column: of a column whose type is not known better, a
// text; of one that is true or false, that, where the driver gives numbers.
func fit(kind string, value any) any {
	switch v := value.(type) {
	case nil, string, []byte:
		return v
	case int64:
		if kind == "bool" {
			return v != 0
		}
	case time.Time:
		if kind == "string" {
			return v.Format(time.RFC3339Nano)
		}
	}
	if kind == "string" {
		return fmt.Sprint(value)
	}
	return value
}

func (d fromDB) fault(err error, q Query) error {
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		return e
	}
	f := Fault{Message: err.Error(), Cause: err}
	if d.Fault != nil {
		f = d.Driver.Fault(err)
	}
	if f.Query == "" {
		f.Query = q.Text
	}
	return f.JobError()
}

func (d fromDB) typeOf(t *sql.ColumnType) string {
	if d.Type != nil {
		if name := d.Type(t); name != "" {
			return name
		}
	}
	return TypeOf(t)
}

// usual is what names of types usually mean.
var usual = map[string]string{
	"BOOL": "bool", "BOOLEAN": "bool",
	"TINYINT": "int8", "SMALLINT": "int16", "INT2": "int16", "INT": "int32", "INT4": "int32", "MEDIUMINT": "int32",
	"INTEGER": "int64", "BIGINT": "int64", "INT8": "int64",
	"UNSIGNED TINYINT": "uint8", "UNSIGNED SMALLINT": "uint16", "UNSIGNED INT": "uint32", "UNSIGNED BIGINT": "uint64",
	"REAL": "float64", "FLOAT": "float64", "FLOAT4": "float32", "FLOAT8": "float64", "DOUBLE": "float64", "DOUBLE PRECISION": "float64",
	"CHAR": "string", "VARCHAR": "string", "NVARCHAR": "string", "TEXT": "string", "CLOB": "string", "STRING": "string",
	"BLOB": "bytes", "BINARY": "bytes", "VARBINARY": "bytes", "BYTEA": "bytes", "LONGBLOB": "bytes",
	"DATE": "date", "TIME": "time", "DATETIME": "timestamp", "TIMESTAMP": "timestamp", "TIMESTAMPTZ": "timestamptz",
	"UUID": "uuid", "JSON": "json", "JSONB": "json",
}

// TypeOf returns the type of a column of a result, as of sdk.Column, by what the name
// that its database gives it usually means. What is not known is a string.
func TypeOf(t *sql.ColumnType) string {
	name, _, _ := strings.Cut(strings.ToUpper(t.DatabaseTypeName()), "(")
	switch name = strings.TrimSpace(name); name {
	case "DECIMAL", "NUMERIC", "NUMBER":
		if precision, scale, ok := t.DecimalSize(); ok && precision > 0 && scale >= 0 && scale <= precision {
			return fmt.Sprintf("decimal(%d,%d)", precision, scale)
		}
		return "string" // exact, whatever it is
	}
	if kind, ok := usual[name]; ok {
		return kind
	}
	return "string"
}

// values returns parameters as drivers take them.
func values(parameters []json.RawMessage) ([]any, error) {
	list := make([]any, len(parameters))
	for i, raw := range parameters {
		v, err := value(raw)
		if err != nil {
			return nil, sdk.Errorf(sdk.Invalid, "parameters/%d: %w", i, err)
		}
		list[i] = v
	}
	return list, nil
}

func value(raw json.RawMessage) (any, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	switch raw[0] {
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case 't', 'f':
		return raw[0] == 't', nil
	case '[', '{':
		return string(raw), nil
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, nil
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return nil, fmt.Errorf("%s is no number that a database takes; write it as a string", raw)
	}
	return n, nil
}
