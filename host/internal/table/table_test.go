package table_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/heimdall-run/heimdall/host/internal/table"
)

const mixed = `{"columns":[{"name":"a","type":"string"},{"name":"a","type":"int64"},{"name":"n,x","type":"list<int8>"},{"name":"j","type":"json"}],
 "data":[["x,\"y\"\n",1,[1,
2],"t"],["","9007199254740993",null,null], ["\u00e9\\\t",-1.5e3,[],{"k":[true]}]]}` + "\n"

func write(t *testing.T, text string, o table.Options) (string, error) {
	t.Helper()
	r, err := table.NewReader(iotest.HalfReader(strings.NewReader(text)))
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = table.Write(&out, r, o)
	return out.String(), err
}

func TestFormats(t *testing.T) {
	const head = `{"columns":[{"name":"a","type":"string"},{"name":"a","type":"int64"},{"name":"n,x","type":"list<int8>"},{"name":"j","type":"json"}],"data":[`
	one := `{"columns":[{"name":"m","type":"string"}],"data":[[null],["b"]]}`
	for name, c := range map[string]struct {
		text string
		o    table.Options
		want string
	}{
		"CSV": {
			mixed,
			table.Options{Format: table.CSV, Limit: -1},
			"a,a,\"n,x\",j\r\n\"x,\"\"y\"\"\n\",1,\"[1,2]\",\"\"\"t\"\"\"\r\n\"\",9007199254740993,,\r\né\\\t,-1.5e3,[],\"{\"\"k\"\":[true]}\"\r\n",
		},
		"CSV with options": {
			mixed,
			table.Options{Format: table.CSV, Offset: 1, Limit: 1, NoHeader: true, Delimiter: ';', Null: "NULL"},
			"\"\";9007199254740993;NULL;NULL\r\n",
		},
		"CSV of one column": {one, table.Options{Format: table.CSV, Limit: -1}, "m\r\n\"\"\r\nb\r\n"},
		"TSV": {
			mixed,
			table.Options{Format: table.TSV, Offset: 2, Limit: -1, Null: `\N`},
			"a\ta\tn,x\tj\né\\\\\\t\t-1.5e3\t[]\t{\"k\":[true]}\n",
		},
		"NDJSON": {
			mixed,
			table.Options{Format: table.NDJSON, Limit: 2},
			`{"a":"x,\"y\"\n","a_2":1,"n,x":[1,2],"j":"t"}` + "\n" + `{"a":"","a_2":"9007199254740993","n,x":null,"j":null}` + "\n",
		},
		"JSON":               {mixed, table.Options{Format: table.JSON, Offset: 1, Limit: 1}, head + `["","9007199254740993",null,null]]}`},
		"JSON, no row":       {mixed, table.Options{Format: table.JSON, Limit: 0}, head + `]}`},
		"JSON, past the end": {mixed, table.Options{Format: table.JSON, Offset: 7, Limit: -1}, head + `]}`},
	} {
		got, err := write(t, c.text, c.o)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestBrokenTables(t *testing.T) {
	const head = `{"columns":[{"name":"a","type":"string"},{"name":"b","type":"string"}],"data":[`
	for name, c := range map[string]struct{ text, want string }{
		"nothing":            {"", "too early"},
		"no table":           {`[]`, "stands where"},
		"other members":      {`{"data":[]}`, "columns"},
		"null for columns":   {`{"columns":null,"data":[]}`, "no columns"},
		"a narrow row":       {head + `["a","b"],["a"]]}`, "row 2"},
		"an empty row":       {head + `[]]}`, "row 1"},
		"a wide row":         {head + `["a","b","c"]]}`, "more than 2"},
		"no UTF-8":           {head + "[\"a\",\"\xff\"]]}", "UTF-8"},
		"a bad escape":       {head + `["a","\x"]]}`, "string"},
		"a control":          {head + "[\"a\",\"\n\"]]}", "string"},
		"NaN":                {head + `["a",NaN]]}`, "NaN"},
		"a leading zero":     {head + `["a",01]]}`, "01"},
		"a bad list":         {head + `["a",[1,]]]}`, "JSON"},
		"cut in a row":       {head + `["a","b`, "too early"},
		"cut behind a row":   {head + `["a","b"]`, "too early"},
		"cut before the end": {head + `["a","b"]]`, "too early"},
		"more behind it":     {head + `["a","b"]]} x`, "follows"},
		"another member":     {head + `["a","b"]],"x":1}`, "stands where"},
	} {
		for _, f := range table.Formats {
			got, err := write(t, c.text, table.Options{Format: f, Limit: -1})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s as %s: got %q and error %v, want one with %q", name, f, got, err, c.want)
			}
			if f == table.JSON && json.Valid([]byte(got)) {
				t.Errorf("%s: %q looks whole", name, got)
			}
		}
	}
}

func TestRowsAreBounded(t *testing.T) {
	r, err := table.NewReader(io.MultiReader(strings.NewReader(`{"columns":[{"name":"a"}],"data":[["`), endless{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err == nil || !strings.Contains(err.Error(), "stored form") {
		t.Errorf("got %v, want that the row is too long", err)
	}
	away := errors.New("away")
	if _, err := table.NewReader(iotest.ErrReader(away)); !errors.Is(err, away) || !errors.Is(err, table.ErrRead) {
		t.Errorf("got %v, want what the store said", err)
	}
}

// endless is text without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// Readers that know nothing of these writers read what went in.
func TestOthersReadTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 4).Draw(t, "width")
		rows := rapid.SliceOf(rapid.SliceOfN(rapid.String(), width, width)).Draw(t, "rows")
		columns := make([]table.Column, width)
		for i := range columns {
			columns[i] = table.Column{Name: rapid.String().Draw(t, "name"), Type: "string"}
		}
		if rows == nil {
			rows = [][]string{}
		}
		text, err := json.Marshal(map[string]any{"columns": columns, "data": rows})
		if err != nil {
			t.Fatal(err)
		}
		open := func() *table.Reader {
			r, err := table.NewReader(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}

		var out bytes.Buffer
		if err := table.Write(&out, open(), table.Options{Format: table.CSV, Limit: -1, NoHeader: true}); err != nil {
			t.Fatal(err)
		}
		got, err := csv.NewReader(&out).ReadAll()
		if err != nil || len(got) != len(rows) {
			t.Fatalf("%d rows of CSV, %v; want %d", len(got), err, len(rows))
		}
		for i, row := range rows {
			for k, want := range row {
				// The reader of CSV makes one character of the two that end a line.
				if want = strings.ReplaceAll(want, "\r\n", "\n"); got[i][k] != want {
					t.Errorf("CSV: got %q, want %q", got[i][k], want)
				}
			}
		}

		out.Reset()
		if err := table.Write(&out, open(), table.Options{Format: table.NDJSON, Limit: -1}); err != nil {
			t.Fatal(err)
		}
		lines := json.NewDecoder(&out)
		for range rows {
			var object map[string]string
			if err := lines.Decode(&object); err != nil || len(object) != width {
				t.Fatalf("NDJSON: got %v, %v; want %d members", object, err, width)
			}
		}

		out.Reset()
		if err := table.Write(&out, open(), table.Options{Format: table.JSON, Limit: -1}); err != nil || !bytes.Equal(out.Bytes(), text) {
			t.Errorf("JSON: got %s, %v; want %s", out.Bytes(), err, text)
		}
	})
}

// Whatever is stored, it is written as it must be, or there is an error.
func FuzzReader(f *testing.F) {
	f.Add([]byte(mixed))
	f.Add([]byte(`{"columns":[],"data":[[],[]]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := table.NewReader(bytes.NewReader(text))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := table.Write(&out, r, table.Options{Format: table.JSON, Limit: -1}); err != nil {
			return
		}
		if !json.Valid(out.Bytes()) || !json.Valid(text) {
			t.Errorf("%q became %q", text, out.Bytes())
		}
	})
}

// How fast a table of ten columns is written.
func BenchmarkWrite(b *testing.B) {
	row := `[12345,"some text of a row",3.25,"2026-11-23T10:00:00Z",true,null,"another, with a comma",42,"9007199254740993","abc"]`
	columns := strings.TrimSuffix(strings.Repeat(`{"name":"c","type":"string"},`, 10), ",")
	text := `{"columns":[` + columns + `],"data":[` + strings.TrimSuffix(strings.Repeat(row+",", 80_000), ",") + "]}"
	for _, f := range table.Formats {
		b.Run(string(f), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := table.NewReader(strings.NewReader(text))
				if err != nil {
					b.Fatal(err)
				}
				n := &counter{}
				if err := table.Write(n, r, table.Options{Format: f, Limit: -1}); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(n.n)
			}
		})
	}
}

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
