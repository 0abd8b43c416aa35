package sql_test

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
	heimdall "github.com/heimdall-run/heimdall/sdk/sql"
)

// lite is a plugin for a database of another kind, as an author writes it.
type lite struct {
	File string `json:"file" required:"true"`
	heimdall.Limits

	pool *sql.DB
}

func (p *lite) Open(context.Context) (err error) {
	p.pool, err = sql.Open("sqlite", p.File)
	return err
}

func (p *lite) Close() error { return p.pool.Close() }

func (p *lite) Run(ctx context.Context, job *sdk.Job[heimdall.Input]) error {
	return heimdall.Run(ctx, job, job.Input, heimdall.FromDB(p.pool, heimdall.Driver{}), p.Limits)
}

func query(t *testing.T, more, input map[string]any, opts ...sdktest.Option) sdktest.Outcome {
	t.Helper()
	settings := map[string]any{"file": t.TempDir() + "/lite.db"}
	for key, value := range more {
		settings[key] = value
	}
	return sdktest.Run(t, func() *lite { return &lite{} }, settings, input, opts...)
}

type object = map[string]any

func TestFromDB(t *testing.T) {
	file := t.TempDir() + "/lite.db"
	made := query(t, object{"file": file, "multi_statement": true}, object{"query": `
		create table t (i integer, f double, s text, b blob, n decimal(10,2), d boolean);
		insert into t values (9007199254740993, 0.1, 'é"', x'00ff', '1.50', true), (null, null, null, null, null, null)`})
	if made.Err != nil {
		t.Fatal(made.Err)
	}
	o := query(t, object{"file": file}, object{"query": "select * from t where i = $1 or i is null order by i desc", "parameters": []any{9007199254740993}})
	want := `{"columns":[{"name":"i","type":"int64"},{"name":"f","type":"float64"},{"name":"s","type":"string"},{"name":"b","type":"bytes"},{"name":"n","type":"string"},{"name":"d","type":"bool"}],` +
		`"data":[["9007199254740993",0.1,"é\"","AP8=","1.5",true],[null,null,null,null,null,null]]}`
	if o.Err != nil || string(o.Result) != want || o.Usage["rows"] != 2 {
		t.Errorf("got %s, usage %v, error %v, want %s", o.Result, o.Usage, o.Err, want)
	}
	o = query(t, object{"file": file, "multi_statement": true}, object{"query": "select 1 as a; select 2 as b"})
	if o.Err != nil || string(o.Result) != `{"columns":[{"name":"b","type":"string"}],"data":[["2"]]}` {
		t.Errorf("two statements: got %s, error %v, want the rows of the second", o.Result, o.Err)
	}
}

func TestParametersOfDrivers(t *testing.T) {
	o := query(t, nil, object{"query": "select typeof($1), typeof($2), typeof($3), typeof($4), $5, typeof($6)", "parameters": []any{nil, 7, 1.5, "x", object{"a": 1}, true}})
	if o.Err != nil || !strings.HasSuffix(string(o.Result), `[["null","integer","real","text","{\"a\":1}","integer"]]}`) {
		t.Errorf("got %s, error %v, want what they are", o.Result, o.Err)
	}
}

func TestLimits(t *testing.T) {
	many := "with recursive c(n) as (select 1 union all select n + 1 from c where n < 1000) select n, 'x' || n as s from c"
	for name, c := range map[string]struct {
		settings object
		query    string
		class    sdk.Class
		want     string
	}{
		"rows":             {object{"max_rows": 999}, many, sdk.Quota, "more than 999 rows"},
		"a cell":           {object{"max_cell": 3}, many, sdk.Quota, `row 100, column "s": a value of 4 bytes is larger than the limit of 3`},
		"both":             {object{"read_only": true, "multi_statement": true}, many, sdk.Internal, "exclude each other"},
		"negative":         {object{"max_rows": -1}, many, sdk.Internal, "max_rows is -1"},
		"a cell too small": {object{"max_cell": -1}, many, sdk.Internal, "max_cell is -1"},
		"nonsense":         {nil, "nonsense", sdk.Failed, "syntax error"},
	} {
		o := query(t, c.settings, object{"query": c.query})
		if o.Err == nil || o.Err.Class != c.class || !strings.Contains(o.Err.Error(), c.want) || o.Result != nil {
			t.Errorf("%s: got %.100s, error %v, want class %s with %q", name, o.Result, o.Err, c.class, c.want)
		}
	}
	if o := query(t, object{"max_rows": 1000, "max_cell": 5}, object{"query": many}); o.Err != nil || len(o.Rows) != 1000 {
		t.Errorf("at the limits: got %d rows, error %v, want 1000", len(o.Rows), o.Err)
	}
}

func TestQueriesOfFiles(t *testing.T) {
	folder := t.TempDir()
	for name, content := range map[string]string{"good": "\ufeffselect 7", "empty": " \n", "odd": "select '\xff'", "large": strings.Repeat(" ", heimdall.MaxQuery+1)} {
		if err := os.WriteFile(folder+"/"+name, []byte(content), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"good": "", "empty": "is empty", "odd": "is not UTF-8", "large": "a query may have", "other": `query_file names "other"; what came with the job is f`} {
		opts := []sdktest.Option{sdktest.File(name, folder+"/"+name)}
		if name == "other" {
			opts = []sdktest.Option{sdktest.File("f", folder+"/good")}
		}
		o := query(t, nil, object{"query_file": name}, opts...)
		switch {
		case want == "" && (o.Err != nil || !strings.Contains(string(o.Result), "7")):
			t.Errorf("%s: got %s, error %v, want 7", name, o.Result, o.Err)
		case want != "" && (o.Err == nil || o.Err.Class != sdk.Invalid || !strings.Contains(o.Err.Error(), want)):
			t.Errorf("%s: error = %v, want invalid with %q", name, o.Err, want)
		}
	}
}
