package sdk

import "github.com/heimdall-run/heimdall/sdk/pluginpb"

// Column is a column of a table. Its type is one of
//
//	bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64
//	decimal(p,s) string bytes date time timestamp timestamptz interval uuid
//	json list<…> map<…> struct<…> null
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Table is a result with typed columns. Rows are written as they come: a table
// needs the same memory whatever its size. It ends when Run returns.
type Table struct {
	sink  *sink
	types []columnType
	names []string
	row   []byte
	err   error
}

// newTable begins a table. A wrong column is an error of the first Append.
func (a *attempt) newTable(columns []Column) *Table {
	t := &Table{sink: a.newSink(tableType, "result.json")}
	a.result.table = t

	head := []byte(`{"columns":[`)
	for i, column := range columns {
		kind, err := parseType(column.Type)
		if err != nil && t.err == nil {
			t.err = Errorf(Internal, "column %q: %w", column.Name, err)
		}
		t.types = append(t.types, kind)
		t.names = append(t.names, column.Name)
		if i > 0 {
			head = append(head, ',')
		}
		head = appendString(append(head, `{"name":`...), column.Name)
		head = append(appendString(append(head, `,"type":`...), column.Type), '}')
	}
	if len(columns) == 0 {
		t.err = Errorf(Internal, "a table needs at least one column")
	}
	if t.err == nil {
		_, t.err = t.sink.Write(append(head, `],"data":[`...))
	}
	return t
}

// Append adds a row: one value for each column, nil for null. After an error the
// table takes no more, and the job fails with that error unless it has another
// result by then.
func (t *Table) Append(values ...any) error {
	if t.err != nil {
		return t.err
	}
	if len(values) != len(t.types) {
		return t.wrongCount(len(values))
	}
	row := t.begin()
	for i, value := range values {
		if i > 0 {
			row = append(row, ',')
		}
		var err error
		if row, err = t.types[i].append(row, value); err != nil {
			return t.wrongValue(i, err)
		}
	}
	return t.end(row)
}

// begin begins a row.
func (t *Table) begin() []byte {
	row := t.row[:0]
	if t.sink.rows > 0 {
		row = append(row, ',')
	}
	return append(row, '[')
}

// end adds a row.
func (t *Table) end(row []byte) error {
	row = append(row, ']')
	t.row = row
	if cap(row) > keptRow {
		t.row = nil // one long row is no reason to hold so much
	}
	if _, t.err = t.sink.Write(row); t.err == nil {
		t.sink.rows++
	}
	return t.err
}

// keptRow is how much memory for a row is used again, bytes.
const keptRow = 4 << 20

func (t *Table) wrongCount(n int) error {
	t.err = Errorf(Internal, "row %d has %d values, want %d", t.sink.rows+1, n, len(t.types))
	return t.err
}

func (t *Table) wrongValue(i int, err error) error {
	t.err = Errorf(Internal, "row %d, column %q: %w", t.sink.rows+1, t.names[i], err)
	return t.err
}

// Rows returns how many rows were added.
func (t *Table) Rows() int64 { return t.sink.rows }

func (t *Table) close() error {
	if t.err == nil && !t.sink.closed {
		_, t.err = t.sink.Write([]byte("]}"))
	}
	return t.err
}

// setText makes a table of one cell the result.
func (a *attempt) setText(text string) error {
	const head, tail = `{"columns":[{"name":"message","type":"string"}],"data":[[`, `]]}`
	content := make([]byte, 0, len(head)+len(text)+len(tail)+16)
	content = append(appendString(append(content, head...), text), tail...)
	if int64(len(content)) > a.inlineLimit() {
		s := a.newSink(tableType, "result.json")
		s.rows = 1
		_, err := s.Write(content)
		return err
	}

	// The way of most quick jobs: nothing but the bytes.
	if limit := a.request.GetLimits().GetResultBytes(); limit > 0 && int64(len(content)) > limit {
		return Errorf(Quota, "the result is larger than the limit of %d bytes", limit)
	}
	a.result.discard()
	a.result.done = &pluginpb.Result{
		ContentType: tableType,
		Rows:        1,
		Bytes:       int64(len(content)),
		Content:     &pluginpb.Result_Inline{Inline: content},
	}
	return nil
}
