package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

func leave(content string) keys {
	return script("cat >result.json <<'END'\n" + content + "\nEND\n")
}

func TestResults(t *testing.T) {
	t.Parallel()
	const columns = `"columns":[{"name":"a","type":"int64"},{"name":"b","type":"string"}]`
	for name, test := range map[string]struct {
		content string
		rows    int
		fault   string // empty: it is a result
	}{
		"rows":                      {content: `{` + columns + `,"data":[[1,"x"],["9007199254740993",null]]}`, rows: 2},
		"no rows":                   {content: `{` + columns + `,"data":[]}`},
		"data first":                {content: `{"data":[[1,"x"]],` + columns + `}`, rows: 1},
		"further keys":              {content: `{"made_by":{"x":[1]},` + columns + `,"data":[[1,"x"]],"end":null}`, rows: 1},
		"much space":                {content: "\n { \n" + columns + " ,\n\"data\" : [ [ 1 , \"x\" ] ] }\n\n", rows: 1},
		"empty":                     {content: "", fault: "ends too early"},
		"no JSON":                   {content: "nonsense", fault: "not JSON"},
		"cut off":                   {content: `{` + columns + `,"data":[[1,"x"],[2`, fault: "row 2: it is not JSON: it ends too early"},
		"a list":                    {content: `[1]`, fault: "must hold a JSON object"},
		"more behind":               {content: `{` + columns + `,"data":[]} {}`, fault: "more behind"},
		"no columns":                {content: `{"data":[]}`, fault: `no "columns"`},
		"no data":                   {content: `{` + columns + `}`, fault: `no "data"`},
		"columns twice":             {content: `{` + columns + `,"data":[],` + columns + `}`, fault: `"columns" twice`},
		"columns that are null":     {content: `{"columns":null,"data":[]}`, fault: `"columns" is empty`},
		"empty columns":             {content: `{"columns":[],"data":[]}`, fault: `"columns" is empty`},
		"columns that are no list":  {content: `{"columns":{},"data":[]}`, fault: `"columns" must be a list`},
		"a column without type":     {content: `{"columns":[{"name":"a"}],"data":[]}`, fault: "column 1 has no name or no type"},
		"an unknown type":           {content: `{"columns":[{"name":"a","type":"integer"}],"data":[]}`, fault: `column "a" has the unknown type "integer"`},
		"data that is no list":      {content: `{` + columns + `,"data":{}}`, fault: `"data" must be a list`},
		"a row that is no list":     {content: `{` + columns + `,"data":[[1,"x"],{"a":1}]}`, fault: "row 2 must be a list"},
		"a short row":               {content: `{` + columns + `,"data":[[1,"x"],[1]]}`, fault: "row 2 has 1 values, but there are 2 columns"},
		"a long row":                {content: `{` + columns + `,"data":[[1,"x",3]]}`, fault: "row 1 has 3 values"},
		"a long row, data first":    {content: `{"data":[[1,"x",3]],` + columns + `}`, fault: "row 1 has 3 values"},
		"a value of another type":   {content: `{` + columns + `,"data":[[1,"x"],["many","x"]]}`, fault: `row 2: column "a" is int64, but its value is "many"`},
		"a value that is too large": {content: `{` + columns + `,"data":[[9223372036854775808,"x"]]}`, fault: `row 1: column "a" is int64`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := sdktest.Run(t, create, leave(test.content), nil)
			if test.fault != "" {
				if got.Err == nil || got.Err.Class != sdk.Failed || !strings.Contains(got.Err.Message, test.fault) || !strings.Contains(got.Err.Message, "result.json") {
					t.Errorf("Err = %+v, want %s with %q", got.Err, sdk.Failed, test.fault)
				}
				if got.ContentType != "" {
					t.Errorf("result of type %q, want none", got.ContentType)
				}
				return
			}
			if got.Err != nil || got.ContentType != sdk.TableType || len(got.Rows) != test.rows {
				t.Errorf("%d rows of %q (%v), want %d of %q", len(got.Rows), got.ContentType, got.Err, test.rows, sdk.TableType)
			}
		})
	}
}

func TestResultMustBeARegularFile(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a pipe":   "mkfifo result.json",
		"a folder": "mkdir result.json",
		"a link":   "ln -s /etc/passwd result.json",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := sdktest.Run(t, create, script(text), nil)
			if got.Err == nil || got.Err.Class != sdk.Failed || !strings.Contains(got.Err.Message, "not a regular file") {
				t.Errorf("Err = %+v, want %s", got.Err, sdk.Failed)
			}
		})
	}
}

func TestTypesAndValues(t *testing.T) {
	t.Parallel()
	for typ, values := range map[string]struct{ good, bad string }{
		"bool":                  {`true false null`, `1 "true" [] {}`},
		"int8":                  {`-128 127 "5"`, `128 1.0 1e1 "x" "" true`},
		"uint64":                {`0 18446744073709551615 "18446744073709551615"`, `-1 18446744073709551616`},
		"float32":               {`1 1.5 -1e3 "NaN" "-Inf" "Infinity"`, `"x" true []`},
		"float64":               {`0.1 "+Inf"`, `"1.2.3"`},
		"decimal(10,2)":         {`1.25 "1.25" -3`, `"NaN" "0x10" true`},
		"decimal(38, 0)":        {`"123456789012345678901234567890"`, `"1,5"`},
		"string":                {`"" "x" null`, `1 true [] {}`},
		"bytes":                 {`"AAE="`, `1`},
		"date":                  {`"2026-01-02"`, `20260102`},
		"timestamptz":           {`"2026-01-02T03:04:05Z"`, `0`},
		"uuid":                  {`"00000000-0000-4000-8000-000000000001"`, `1`},
		"json":                  {`1 "x" [] {} true`, ``},
		"list<int64>":           {`[] [1] [1,null,"2"]`, `{} 1 "x" [1.5] ["x"] [[1]]`},
		"list<list<string>>":    {`[[]] [[],["]","\"]",","]]`, `{} [1] [[],{}] [[1]]`},
		"map<string,int64>":     {`{} [["a",1]]`, `1 "x"`},
		"struct<a:int64,b:map>": {`{}`, `"x"`},
		"null":                  {`null`, `1 "x"`},
	} {
		kind, ok := kindOf(typ)
		if !ok {
			t.Errorf("there is no type %q, want one", typ)
		}
		c := column{name: "c", typ: typ, kind: kind}
		for _, value := range strings.Fields(values.good) {
			if !c.accepts([]byte(value)) {
				t.Errorf("%s accepts %s = false, want true", typ, value)
			}
		}
		for _, value := range strings.Fields(values.bad) {
			if c.accepts([]byte(value)) {
				t.Errorf("%s accepts %s = true, want false", typ, value)
			}
		}
	}
	for _, typ := range []string{"", "int", "INT4", "text", "String", "list", "list<>", "list<int>", "map<>", "decimal", "decimal(2)", "array<string>", "list<string"} {
		if _, ok := kindOf(typ); ok {
			t.Errorf("there is a type %q, want none", typ)
		}
	}
}

// What not every reader of JSON keeps as it is goes out as a string, whatever the
// program wrote, and columns come first.
func TestInexactNumbersBecomeStrings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ typ, value, want string }{
		"exact":            {"int64", `9007199254740992`, `9007199254740992`},
		"too large":        {"int64", `9007199254740993`, `"9007199254740993"`},
		"too small":        {"int64", `-9007199254740993`, `"-9007199254740993"`},
		"a string already": {"int64", `"9007199254740993"`, `"9007199254740993"`},
		"null":             {"int64", `null`, `null`},
		"unsigned":         {"uint64", `18446744073709551615`, `"18446744073709551615"`},
		"decimal":          {"decimal(10,2)", `1.50`, `"1.50"`},
		"in a list":        {"list<int64>", `[1, 9007199254740993, null]`, `[1,"9007199254740993",null]`},
		"in lists":         {"list<list<decimal(2,1)>>", `[ [1.5] , [ ], null ]`, `[["1.5"],[],null]`},
		"float":            {"float64", `1e300`, `1e300`},
		"JSON":             {"json", `{"a": ["],\"[", 9007199254740993]}`, `{"a": ["],\"[", 9007199254740993]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			columns := `"columns":[{"name":"a","type":"` + test.typ + `"},{"name":"b","type":"string"}]`
			for _, content := range []string{
				`{"data":[ [` + test.value + ` , "x]"],[null,null]],` + columns + `}`,
				`{` + columns + `,"data":[[` + test.value + `,"x]"],[null,null]]}`,
			} {
				got := sdktest.Run(t, create, leave(content), nil)
				want := `{` + columns + `,"data":[[` + test.want + `,"x]"],[null,null]]}`
				if text := strings.ReplaceAll(string(got.Result), "\n", ""); got.Err != nil || text != want {
					t.Errorf("of %s: result = %s (%v), want %s", content, text, got.Err, want)
				}
			}
		})
	}
}

// A type can be as long as a row; what reads it must need neither hours nor the
// whole stack.
func TestHugeTypeIsRefused(t *testing.T) {
	t.Parallel()
	const depth = 2_000_000
	if _, ok := kindOf(strings.Repeat("list<", depth) + "int8" + strings.Repeat(">", depth)); ok {
		t.Error("there is such a type, want none")
	}
}

// A row of many small values takes no more memory than one large value.
func TestLongRowNeedsLittleMemory(t *testing.T) {
	dir := t.TempDir()
	content := `{"columns":[{"name":"s","type":"int8"}],"data":[[` + strings.Repeat("0,", 4<<20) + `0]]}`
	if err := os.WriteFile(filepath.Join(dir, resultName), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := readResult(dir)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "row 1 has 4194305 values") {
		t.Errorf("readResult = %v, want one about the values", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("reading a row of 8 MiB took %d bytes of memory, want less than 64 MiB", used)
	}
}

func TestLargeResultNeedsLittleMemory(t *testing.T) {
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, resultName))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const rows = 20_000
	fmt.Fprint(file, `{"columns":[{"name":"s","type":"string"}],"data":[["first"]`)
	row := `,["` + strings.Repeat("x", 1000) + `"]`
	for range rows / 100 {
		fmt.Fprint(file, strings.Repeat(row, 100))
	}
	fmt.Fprint(file, `]}`)

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, got, err := readResult(dir)
	runtime.ReadMemStats(&after)
	if err != nil || got != rows+1 {
		t.Fatalf("readResult = %d, %v; want %d", got, err, rows+1)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("reading 20 MB took %d bytes of memory, want less than 1 MiB", used)
	}
}

func TestHugeRowIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, resultName)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fmt.Fprint(file, `{"columns":[{"name":"s","type":"string"}],"data":[["`)
	block := strings.Repeat("x", 1<<20)
	for range maxRow>>20 + 2 {
		fmt.Fprint(file, block)
	}
	if _, _, err := readResult(dir); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("readResult = %v, want one about the size", err)
	}
}

// A pipe in the place of the result must not hold the job.
func TestPipeInPlaceOfTheResult(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, resultName), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readResult(dir); err == nil {
		t.Error("readResult = nil, want an error")
	}
}

func FuzzReadResult(f *testing.F) {
	for _, seed := range []string{
		`{"columns":[{"name":"a","type":"int64"}],"data":[[1],[null]]}`,
		`{"data":[["x"]],"columns":[{"name":"a","type":"list<map<string,int8>>"}]}`,
		`{"columns":[],"data":[]}`, `[`, `{"data":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, resultName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, _ = readResult(dir) // it must neither panic nor hang
	})
}
