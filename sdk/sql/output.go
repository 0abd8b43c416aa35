package sql

import (
	"strconv"
	"time"

	"github.com/heimdall-run/heimdall/sdk"
)

// Output takes what comes of a query, a row at a time, and holds none. After an error
// it takes no more, and the database is to stop.
type Output struct {
	job    result
	limits Limits

	table    *sdk.Table
	columns  []sdk.Column
	rows     int64
	bytes    int64
	affected int64
	told     time.Time
	err      error
}

// result is what an output needs of a job.
type result interface {
	Table(columns ...sdk.Column) *sdk.Table
	Progress(done, total float64, message string)
}

const (
	tellTime  = time.Second // between two reports of progress
	tellEvery = 256         // rows between two looks at the clock
)

// Begin begins the rows of a statement. What an earlier one gave is dropped.
func (o *Output) Begin(columns ...sdk.Column) error {
	if o.err != nil {
		return o.err
	}
	o.columns, o.rows, o.bytes = columns, 0, 0
	o.table = o.job.Table(columns...)
	return nil
}

// Row adds a row of values as sdk.Table.Append takes them.
func (o *Output) Row(values ...any) error {
	if err := o.next(); err != nil {
		return err
	}
	for i, v := range values {
		switch v := v.(type) {
		case string:
			o.count(i, len(v))
		case []byte:
			o.count(i, len(v))
		default:
			o.bytes += 8 // about
		}
	}
	return o.added(func() error { return o.table.Append(values...) })
}

// Text adds a row of values as sdk.Table.AppendText takes them.
func (o *Output) Text(values ...[]byte) error {
	if err := o.next(); err != nil {
		return err
	}
	for i, v := range values {
		o.count(i, len(v))
	}
	return o.added(func() error { return o.table.AppendText(values...) })
}

// Affected adds to the number of rows that statements have changed.
func (o *Output) Affected(n int64) { o.affected += n }

// Columns returns the columns that were begun with.
func (o *Output) Columns() []sdk.Column { return o.columns }

func (o *Output) next() error {
	switch {
	case o.err != nil:
	case o.table == nil:
		o.err = sdk.Errorf(sdk.Internal, "the plugin gives rows before it says which columns they have")
	case o.limits.MaxRows > 0 && o.rows == o.limits.MaxRows:
		o.err = sdk.Errorf(sdk.Quota, "the result has more than %d rows; ask for less, with LIMIT or a condition", o.limits.MaxRows)
	}
	return o.err
}

// count notes the size of a value.
func (o *Output) count(column, size int) {
	o.bytes += int64(size)
	if o.err == nil && int64(size) > o.limits.Cell() {
		o.err = sdk.Errorf(sdk.Quota, "row %d, column %q: a value of %d bytes is larger than the limit of %d", o.rows+1, o.name(column), size, o.limits.Cell())
	}
}

func (o *Output) name(column int) string {
	if column < len(o.columns) {
		return o.columns[column].Name
	}
	return strconv.Itoa(column)
}

func (o *Output) added(add func() error) error {
	if o.err == nil {
		o.err = add()
	}
	if o.err != nil {
		return o.err
	}
	if o.rows++; o.rows%tellEvery == 0 {
		if now := time.Now(); now.Sub(o.told) >= tellTime {
			o.told = now
			o.job.Progress(float64(o.rows), 0, strconv.FormatInt(o.rows, 10)+" rows")
		}
	}
	return nil
}

func number(n int) string { return strconv.Itoa(n) }
