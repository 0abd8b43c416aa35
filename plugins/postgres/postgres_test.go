package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

// server returns the address of the PostgreSQL of the tests.
func server(t testing.TB) string {
	t.Helper()
	address := os.Getenv("HEIMDALL_TEST_POSTGRES")
	if address == "" {
		t.Fatal("HEIMDALL_TEST_POSTGRES is not set; run the tests by scripts/with-postgres.sh --fast go test ./...")
	}
	return address
}

// admin returns a connection beside those of the plugin.
func admin(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

type object = map[string]any

// settings returns those of the server of the tests, and more.
func settings(t testing.TB, more object) object {
	all := object{"connection_string": server(t)}
	for key, value := range more {
		all[key] = value
	}
	return all
}

// run runs a query of a caller.
func run(t *testing.T, more object, input object, opts ...sdktest.Option) sdktest.Outcome {
	t.Helper()
	return sdktest.Run(t, create, settings(t, more), input, opts...)
}

func TestTypes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expression, kind, want string }{
		{"true", "bool", "true"},
		{"1::int2", "int16", "1"},
		{"-7::int4", "int32", "-7"},
		{"9007199254740993", "int64", `"9007199254740993"`},
		{"4294967295::oid", "uint32", "4294967295"},
		{"1.5::numeric", "string", `"1.5"`},
		{"1.50::numeric(10,2)", "decimal(10,2)", `"1.50"`},
		{"12345.6::numeric(5,-2)", "decimal(7,0)", `"12300"`},
		{"0.00012::numeric(2,5)", "decimal(5,5)", `"0.00012"`},
		{"repeat('9',60)::numeric(60,0)", "decimal(60,0)", `"` + strings.Repeat("9", 60) + `"`},
		{"0.1::float4", "float32", "0.1"},
		{"0.1::float8", "float64", "0.1"},
		{"'NaN'::float8", "float64", `"NaN"`},
		{"'-infinity'::float8", "float64", `"-Inf"`},
		{"1e300::float8", "float64", "1e+300"},
		{"'é\"\\'::text", "string", `"é\"\\"`},
		{"'a'::char(3)", "string", `"a  "`},
		{"'x'::name", "string", `"x"`},
		{"''::text", "string", `""`},
		{`'\x00ff'::bytea`, "bytes", `"AP8="`},
		{"''::bytea", "bytes", `""`},
		{"date '2026-11-24'", "date", `"2026-11-24"`},
		{"time '07:32:03.5'", "time", `"07:32:03.5"`},
		{"timetz '07:32:03+02'", "string", `"07:32:03+02"`},
		{"timestamp '2026-11-24 07:32:03.93409'", "timestamp", `"2026-11-24T07:32:03.93409Z"`},
		{"timestamptz '2026-11-24 07:32:03.93409+05:30'", "timestamptz", `"2026-11-24T02:02:03.93409Z"`},
		{"timestamptz '0001-01-01 00:00:00+00'", "timestamptz", `"0001-01-01T00:00:00Z"`},
		{"interval '1 year 2 days 3.5 seconds'", "interval", `"P1Y2DT3.5S"`},
		{"'018f3c1e-0000-7000-8000-000000000001'::uuid", "uuid", `"018f3c1e-0000-7000-8000-000000000001"`},
		{`'{"a": [1, 2.50]}'::json`, "json", `{"a":[1,2.50]}`},
		{`'{"b":null}'::jsonb`, "json", `{"b":null}`},
		{"array[1,null,3]", "list<int32>", "[1,null,3]"},
		{"array[9007199254740993]", "list<int64>", `["9007199254740993"]`},
		{"'{}'::text[]", "list<string>", "[]"},
		{`array['a"b','c\d','','NULL',null,'{,}']`, "list<string>", `["a\"b","c\\d","","NULL",null,"{,}"]`},
		{"array[true,false]", "list<bool>", "[true,false]"},
		{"array[1.5,2.25]::numeric(4,2)[]", "list<decimal(4,2)>", `["1.50","2.25"]`},
		{"array['NaN',0.5]::float8[]", "list<float64>", `["NaN",0.5]`},
		{`array['\x01'::bytea]`, "list<bytes>", `["AQ=="]`},
		{"array[timestamptz '2026-01-01 00:00+00']", "list<timestamptz>", `["2026-01-01T00:00:00Z"]`},
		{`array['{"a":1}'::json]`, "list<json>", `[{"a":1}]`},
		{"array[date '2026-01-01']", "list<date>", `["2026-01-01"]`},
		{"inet '10.0.0.1/8'", "string", `"10.0.0.1/8"`},
		{"int4range(1,5)", "string", `"[1,5)"`},
		{"row(1,'a')", "string", `"(1,a)"`},
		{"12.34::money", "string", `"$12.34"`},
		{"null::int8", "int64", "null"},
		{"null", "string", "null"},
		{"null::bytea", "bytes", "null"},
		{"null::int4[]", "list<int32>", "null"},
	} {
		// One statement, and as one of several: the server writes bytes in two ways.
		for _, several := range []bool{false, true} {
			o := run(t, object{"multi_statement": several}, object{"query": "select " + c.expression + " as v"})
			want := `{"columns":[{"name":"v","type":"` + c.kind + `"}],"data":[[` + c.want + `]]}`
			if o.Err != nil || string(o.Result) != want {
				t.Errorf("%s (several = %t): got %s, error %v, want %s", c.expression, several, o.Result, o.Err, want)
			}
		}
	}
}

func TestValuesThatNoResultHolds(t *testing.T) {
	t.Parallel()
	for _, expression := range []string{
		"'NaN'::numeric(5,2)", "timestamptz 'infinity'", "timestamp '-infinity'", "date 'infinity'", "date '10000-01-01'", "date '2000-01-01 BC'",
		"timestamp '20000-01-01'", "timestamptz '2000-01-01 00:00:00+00 BC'", "array[[1,2],[3,4]]", "'[2:3]={1,2}'::int[]", "array['infinity'::date]",
	} {
		o := run(t, nil, object{"query": "select 1 as a, " + expression + " as v"})
		if o.Err == nil || o.Err.Class != sdk.Failed || !strings.Contains(o.Err.Error(), `row 1, column "v"`) || !strings.Contains(o.Err.Error(), "cast it to text") {
			t.Errorf("%s: got %s, error %v, want one that names row and column and says to cast", expression, o.Result, o.Err)
		}
		if o = run(t, nil, object{"query": "select (" + expression + ")::text"}); o.Err != nil {
			t.Errorf("%s as text: %v", expression, o.Err)
		}
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query string
		given []any
		want  string
	}{
		{"select $1::int8 + $2::int4", []any{json.Number("9007199254740993"), 1}, `["9007199254740994"]`},
		{"select $1::numeric(30,10)", []any{json.Number("12345678901234567890.0123456789")}, `["12345678901234567890.0123456789"]`},
		{"select $1::text, $2::text", []any{"it's; --", nil}, `["it's; --",null]`},
		{"select $1::bool, not $2", []any{true, true}, `[true,false]`},
		{"select $1::jsonb, $2::json", []any{object{"a": []int{1}}, []any{1, "x"}}, `[{"a":[1]},[1,"x"]]`},
		{"select 7 = any($1::int[]), cardinality($2::text[])", []any{[]int{1, 7}, []any{"a\"b", nil, "\\,"}}, `[true,3]`},
		{"select $1::int[][]", []any{[][]int{{1, 2}, {3, 4}}}, ``},
		{"select $1::timestamptz, $2::bytea", []any{"2026-11-24T00:00:00+01:00", `\x00ff`}, `["2026-11-23T23:00:00Z","AP8="]`},
		{"select $1::json", []any{"text"}, `["text"]`},
	} {
		o := run(t, nil, object{"query": c.query, "parameters": c.given})
		if c.want == "" {
			if o.Err == nil || !strings.Contains(o.Err.Error(), "several dimensions") {
				t.Errorf("%s: got %s, error %v, want that the server has taken it and no result holds it", c.query, o.Result, o.Err)
			}
			continue
		}
		if o.Err != nil || !strings.HasSuffix(string(o.Result), `"data":[`+c.want+`]}`) {
			t.Errorf("%s: got %s, error %v, want %s", c.query, o.Result, o.Err, c.want)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings, input object
		class           sdk.Class
		want            []string
	}{
		"syntax":           {nil, object{"query": "select 1,\n  é, from t"}, sdk.Invalid, []string{"syntax error", "line 2, column 6", "é, from t", "42601"}},
		"no table":         {nil, object{"query": "select * from nowhere"}, sdk.Invalid, []string{`relation "nowhere" does not exist`, "line 1, column 15", "42P01"}},
		"division":         {nil, object{"query": "select 1/0"}, sdk.Failed, []string{"division by zero", "22012"}},
		"two statements":   {nil, object{"query": "select 1; select 2"}, sdk.Invalid, []string{"multiple commands", "42601"}},
		"nothing":          {nil, object{"query": " "}, sdk.Invalid, []string{"query is empty"}},
		"a semicolon":      {nil, object{"query": "select 'a;b' as v;"}, "", nil},
		"parameters":       {nil, object{"query": "select $1::int", "parameters": []any{1, 2}}, sdk.Invalid, []string{"1 placeholders", "2 values"}},
		"a parameter":      {nil, object{"query": "select $1::int", "parameters": []any{"x"}}, sdk.Failed, []string{"invalid input syntax for type integer", "22P02"}},
		"NUL":              {nil, object{"query": "select $1::text", "parameters": []any{"a\x00"}}, sdk.Invalid, []string{"parameters/0", "NUL"}},
		"a function":       {nil, object{"query": "do $$ begin perform nothing(); end $$"}, sdk.Invalid, []string{"nothing() does not exist"}},
		"no such file":     {nil, object{"query_file": "q.sql"}, sdk.Invalid, []string{"no file came with the job"}},
		"both":             {nil, object{"query": "select 1", "query_file": "q.sql"}, sdk.Invalid, []string{"exclude each other"}},
		"writes":           {object{"read_only": true}, object{"query": "create table never (a int)"}, sdk.Denied, []string{"read-only transaction", "25006"}},
		"gets out":         {object{"read_only": true}, object{"query": "set transaction read write"}, sdk.Failed, []string{"read-write mode must be set before any query"}},
		"both settings":    {object{"read_only": true, "multi_statement": true}, object{"query": "select 1"}, sdk.Internal, []string{"exclude each other"}},
		"rows":             {object{"max_rows": 3}, object{"query": "select generate_series(1, 4)"}, sdk.Quota, []string{"more than 3 rows"}},
		"as many rows":     {object{"max_rows": 3}, object{"query": "select generate_series(1, 3)"}, "", nil},
		"a cell":           {object{"max_cell": 10}, object{"query": "select 1 as a, repeat('x', 11) as b"}, sdk.Quota, []string{`row 1, column "b"`, "11 bytes", "limit of 10"}},
		"100 MB":           {nil, object{"query": "select repeat('x', 100000000)"}, sdk.Quota, []string{"max_cell"}},
		"slow":             {object{"statement_timeout": "50ms"}, object{"query": "select pg_sleep(30)"}, sdk.Timeout, []string{"statement timeout", "57014"}},
		"copy in":          {nil, object{"query": "/* a /* b */ */ copy pg_class -- c\nfrom stdin"}, sdk.Invalid, []string{"COPY"}},
		"copy in, later":   {object{"multi_statement": true}, object{"query": "select 'a;b', $x$;$x$; copy \"t\" from stdin"}, sdk.Invalid, []string{"COPY"}},
		"no copy":          {nil, object{"query": "select '; copy a from stdin', $$;copy a from stdin$$ -- ;copy a from stdin"}, "", nil},
		"wrong user":       {object{"connection_string": "", "host": "127.0.0.1", "port": port(t), "user": "nobody", "password": "wrong", "database": "postgres"}, object{"query": "select 1"}, sdk.Denied, []string{"nobody"}},
		"no database":      {object{"connection_string": server(t) + "&dbname=nowhere"}, object{"query": "select 1"}, sdk.Internal, []string{"nowhere"}},
		"nobody listens":   {object{"connection_string": "postgres://a:secret@127.0.0.1:1/x"}, object{"query": "select 1"}, sdk.Unavailable, []string{"no connection"}},
		"no address":       {object{"connection_string": "postgres://a:secret@:nonsense"}, object{"query": "select 1"}, sdk.Internal, []string{"postgres://user:password@host"}},
		"twice":            {object{"host": "x"}, object{"query": "select 1"}, sdk.Internal, []string{"leave out host"}},
		"no file":          {object{"connection_string": "", "host": "127.0.0.1", "ca_file": "/nowhere"}, object{"query": "select 1"}, sdk.Internal, []string{"/nowhere"}},
		"ends by itself":   {nil, object{"query": "select pg_terminate_backend(pg_backend_pid())"}, sdk.Unavailable, []string{"terminating connection"}},
		"its own rollback": {object{"multi_statement": true}, object{"query": "begin; select 1; rollback; select 2 as v"}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := run(t, c.settings, c.input)
			if c.class == "" {
				if o.Err != nil {
					t.Errorf("error = %v, want none", o.Err)
				}
				return
			}
			if o.Err == nil || o.Err.Class != c.class {
				t.Fatalf("error = %+v, want class %s", o.Err, c.class)
			}
			for _, want := range append(c.want, "") {
				if text := o.Err.Error(); !strings.Contains(text, want) || strings.Contains(text, "secret") {
					t.Errorf("error = %q, want %q in it, and no secret", text, want)
				}
			}
			if o.Result != nil {
				t.Errorf("result = %.200s, want none", o.Result)
			}
		})
	}
}

func port(t *testing.T) int {
	t.Helper()
	c, err := pgx.ParseConfig(server(t))
	if err != nil {
		t.Fatal(err)
	}
	return int(c.Port)
}

func TestSeveralStatements(t *testing.T) {
	t.Parallel()
	o := run(t, object{"multi_statement": true}, object{"query": `
		create temp table made as select generate_series(1, 5) as n;
		select 'not this' as a, 'nor this' as b;
		select n from made where n > 3 order by n;
		update made set n = n + 1`})
	if o.Err != nil || string(o.Result) != `{"columns":[{"name":"n","type":"int32"}],"data":[[4],[5]]}` {
		t.Errorf("got %s, error %v, want the rows of the last statement that has some", o.Result, o.Err)
	}
	want := map[string]float64{"rows": 2, "bytes": 2, "rows_affected": 5}
	if diff := cmp.Diff(want, o.Usage); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	o = run(t, object{"multi_statement": true}, object{"query": "create temp table a (n int); select 1/0; select 7"})
	if o.Err == nil || o.Err.Class != sdk.Failed || o.Result != nil {
		t.Errorf("got %s, error %v, want the error of the second", o.Result, o.Err)
	}
}

func TestNoResult(t *testing.T) {
	t.Parallel()
	o := run(t, nil, object{"query": "create temp table t (n int)"})
	if o.Err != nil || o.Result != nil {
		t.Errorf("got %s, error %v, want neither", o.Result, o.Err)
	}
	o = run(t, nil, object{"query": "select generate_series(1, 1000)", "return_result": false})
	if o.Err != nil || o.Result != nil {
		t.Errorf("rows that nobody wants: got %s, error %v, want neither", o.Result, o.Err)
	}
	o = run(t, nil, object{"query": "select 1 as a where false"})
	if o.Err != nil || string(o.Result) != `{"columns":[{"name":"a","type":"int32"}],"data":[]}` {
		t.Errorf("no rows: got %s, error %v, want columns only", o.Result, o.Err)
	}
}

func TestCopyOut(t *testing.T) {
	t.Parallel()
	for query, want := range map[string][2]string{
		"copy (select 1, 'a,b') to stdout with csv":       {"text/csv; charset=utf-8", "1,\"a,b\"\n"},
		"COPY (select 1, null)\nTO STDOUT":                {"text/plain; charset=utf-8", "1\t\\N\n"},
		" copy (select 1) to stdout with (format binary)": {"application/octet-stream", "PGCOPY\n\xff\r\n"},
	} {
		o := run(t, object{"read_only": true}, object{"query": query})
		if o.Err != nil || o.ContentType != want[0] || !strings.HasPrefix(string(o.Result), want[1]) {
			t.Errorf("%s: got %q of type %q, error %v, want %q", query, o.Result, o.ContentType, o.Err, want)
		}
	}
	if o := run(t, nil, object{"query": "copy (select 1/0) to stdout"}); o.Err == nil || o.Err.Class != sdk.Failed || o.Result != nil {
		t.Errorf("got %q, error %v, want that it failed", o.Result, o.Err)
	}
}

func TestManyColumnsAndRows(t *testing.T) {
	t.Parallel()
	columns := make([]string, 1000)
	for i := range columns {
		columns[i] = fmt.Sprintf("n as c%d", i)
	}
	o := run(t, nil, object{"query": "select " + strings.Join(columns, ", ") + " from generate_series(1, 100) n"})
	if o.Err != nil || len(o.Columns) != 1000 || len(o.Rows) != 100 || fmt.Sprint(o.Rows[99][999]) != "100" {
		t.Errorf("got %d columns and %d rows, error %v, want 1000 and 100", len(o.Columns), len(o.Rows), o.Err)
	}
	o = run(t, nil, object{"query": "select n, md5(n::text), now() from generate_series(1, 200000) n"})
	if o.Err != nil || len(o.Rows) != 200000 || o.Usage["rows"] != 200000 {
		t.Errorf("got %d rows, usage %v, error %v, want 200000", len(o.Rows), o.Usage, o.Err)
	}
}

// A canceled query ends on the server, too.
func TestCancel(t *testing.T) {
	t.Parallel()
	a := sdktest.Start(t, create, settings(t, nil), object{"query": "select 'to be canceled', pg_sleep(600)"}, sdktest.User("ann; drop"))
	conn := admin(t)
	running := func() (count int, name string) {
		t.Helper()
		err := conn.QueryRow(t.Context(), `SELECT count(*), COALESCE(max(application_name), '') FROM pg_stat_activity
			WHERE query LIKE '%to be canceled%' AND state = 'active' AND pid <> pg_backend_pid()`).Scan(&count, &name)
		if err != nil {
			t.Fatal(err)
		}
		return count, name
	}
	waitFor(t, func() bool { n, _ := running(); return n == 1 })
	if _, name := running(); !strings.HasPrefix(name, "heimdall ") || !strings.HasSuffix(name, " ann??drop") {
		t.Errorf("the server knows it as %q, want the job", name)
	}
	begun := time.Now()
	a.Cancel(5 * time.Second)
	waitFor(t, func() bool { n, _ := running(); return n == 0 })
	t.Logf("it had ended on the server after %v", time.Since(begun))
	if o := a.Wait(); o.Err == nil || o.Err.Class != sdk.Canceled {
		t.Errorf("error = %v, want canceled", o.Err)
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about within 20 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestConnectionDroppedAmongRows(t *testing.T) {
	t.Parallel()
	a := sdktest.Start(t, create, settings(t, nil), object{"query": "select 'to be dropped', n, pg_sleep(0.001) from generate_series(1, 1000000) n"})
	conn := admin(t)
	waitFor(t, func() bool {
		var ended bool
		err := conn.QueryRow(t.Context(), `SELECT COALESCE(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity
			WHERE query LIKE '%to be dropped%' AND state = 'active' AND pid <> pg_backend_pid() AND now() - query_start > '50ms'`).Scan(&ended)
		if err != nil {
			t.Fatal(err)
		}
		return ended
	})
	if o := a.Wait(); o.Err == nil || o.Err.Class != sdk.Unavailable || o.Err.RetrySafe || o.Result != nil {
		t.Errorf("got %.100s, error %+v, want unavailable, and no result", o.Result, o.Err)
	}
}

func TestQueryFromAFile(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/q.sql"
	if err := os.WriteFile(path, []byte("\ufeffselect 7 as v -- of a file"), 0o400); err != nil {
		t.Fatal(err)
	}
	o := run(t, nil, object{"query_file": "q.sql"}, sdktest.File("q.sql", path))
	if o.Err != nil || !strings.HasSuffix(string(o.Result), "[[7]]}") {
		t.Errorf("got %s, error %v, want 7", o.Result, o.Err)
	}
	if o = run(t, nil, object{"query_file": "other"}, sdktest.File("q.sql", path)); o.Err == nil || !strings.Contains(o.Err.Error(), "q.sql") {
		t.Errorf("error = %v, want one that names the files that there are", o.Err)
	}
}
