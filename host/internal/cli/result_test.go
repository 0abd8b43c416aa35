package cli_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What only the host makes of a table is asked of it, and printed as it comes.
func TestResultInFormats(t *testing.T) {
	const csv = "a,b\r\n1,\"x,y\"\r\n"
	h := script(t, map[string]http.HandlerFunc{
		"GET /job/7/result?format=csv":                     text(csv),
		"GET /job/7/result?format=ndjson":                  text(`{"a":1}` + "\n"),
		"GET /job/7/result?format=csv&limit=0":             text("a,b\r\n"),
		"GET /job/7/result?limit=2&offset=1":               says(200, helloTable),
		"GET /job/8/result?format=csv":                     says(406, `{"error":"the result is not a table but a document"}`),
		"GET /job/7/result?format=ndjson&limit=1&offset=5": text(""),
	})
	for args, want := range map[string]outcome{
		"7 -o csv":                         {0, csv, ""},
		"7 -o ndjson":                      {0, `{"a":1}` + "\n", ""},
		"7 -o csv --limit 0":               {0, "a,b\r\n", ""},
		"7 --offset 1 --limit 2":           {0, "message\tn\nHello,\\tetl!\t1\n\t9007199254740993\n", ""},
		"7 -o ndjson --offset 5 --limit 1": {0, "", ""},
		"8 -o csv":                         {2, "", "error: the result is not a table but a document\n"},
		"7 -o parquet":                     {2, "", "error: -o parquet: it is one of csv, ndjson, table, tsv, json, yaml\nhint: heimdall job result --help\n"},
		"7 --limit -1":                     {2, "", "error: --limit and --offset count rows; they cannot be negative\nhint: heimdall job result --help\n"},
	} {
		if got := run(t, h.URL, append([]string{"job", "result"}, strings.Fields(args)...)...); got != want {
			t.Errorf("result %s: got %+v, want %+v", args, got, want)
		}
	}
	if got := run(t, h.URL, "job", "list", "-o", "csv"); got.code != 2 || !strings.Contains(got.stderr, "one of table, tsv, json, yaml") {
		t.Errorf("list -o csv: got %+v, want that only results have it", got)
	}
}

func TestResultToAFile(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"GET /job/7/result":            says(200, helloTable),
		"GET /job/7/result?format=csv": text("a\r\n"),
		"GET /job/7/result?format=tsv": text("a\tb\n"),
		"GET /job/8/result":            text("a document"),
		"GET /job/9/result":            says(200, `{"columns":[{"name":"n","type":"int64"}],"data":[[1],[2`),
	})
	folder := t.TempDir()
	for args, want := range map[string]struct{ file, content string }{
		"7 --out F":                {"a.csv", "a\r\n"},
		"7 --out F -o csv":         {"b.json", "a\r\n"},
		"7 --out F ":               {"c.TSV", "a\tb\n"},
		"7  --out F":               {"d", helloTable},
		"8 --out F":                {"e.txt", "a document"},
		"7 --out F --output table": {"f", "message      n\nHello, etl!  1\nNULL         9007199254740993\n"},
	} {
		path := filepath.Join(folder, want.file)
		got := run(t, h.URL, append([]string{"job", "result"}, strings.Fields(strings.ReplaceAll(args, "F", path))...)...)
		content, err := os.ReadFile(path)
		if got != (outcome{0, "", ""}) || err != nil || string(content) != want.content {
			t.Errorf("%s: got %+v and %q, %v, want %q in %s", args, got, content, err, want.content, want.file)
		}
	}
	// One that is not whole does not take the place of what was there.
	path := filepath.Join(folder, "kept.tsv")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(t, h.URL, "job", "result", "9", "--out", path, "-o", "table"); got.code != 125 {
		t.Errorf("a result that breaks off: got %+v, want an error", got)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "before" {
		t.Errorf("the file is %q, %v, want what was there", content, err)
	}
	if left, err := filepath.Glob(filepath.Join(folder, ".*")); err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v, want nothing", left, err)
	}
	if got := run(t, h.URL, "job", "result", "7", "--out", filepath.Join(folder, "no", "folder.csv")); got.code != 2 || !strings.Contains(got.stderr, "--out") {
		t.Errorf("a folder that is not there: got %+v, want that --out is wrong", got)
	}
}
