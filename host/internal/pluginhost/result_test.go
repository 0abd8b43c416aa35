package pluginhost_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// bring runs an attempt that hands over a result, as the JSON of the protocol.
func bring(t *testing.T, h *pluginhost.Host, folder string, result any) *pluginhost.Ended {
	t.Helper()
	r := request("good", fmt.Sprintf("%s %p", t.Name(), &folder), "")
	input, err := json.Marshal(map[string]any{"do": "result", "result": result})
	if err != nil {
		t.Fatal(err)
	}
	r.Input = input
	r.Folders.Result, r.Folders.Work = filepath.Join(folder, "result"), filepath.Join(folder, "work")
	r.Limits.ResultBytes = 1 << 20
	ended := h.Run(t.Context(), r, newSink())
	t.Cleanup(ended.Ack)
	return ended
}

// table is a result that is an inline table.
func table(text string) any {
	return map[string]any{"content_type": job.TableType, "inline": []byte(text)}
}

func TestWildResults(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	file := func(path string, more ...any) any {
		named := map[string]any{"path": path}
		result := map[string]any{"content_type": "text/plain", "file": named}
		for i := 0; i < len(more); i += 2 {
			if key := more[i].(string); key == "bytes" || key == "rows" || key == "content_type" {
				result[key] = more[i+1]
			} else {
				named[key] = more[i+1]
			}
		}
		return result
	}
	const head = `{"columns":[{"name":"a","type":"int64"},{"name":"b","type":"string"}],"data":`
	sum := sha256.Sum256([]byte("content"))
	tests := map[string]struct {
		result any
		want   string // of the error; "": none
	}{
		"a file":                       {file("file", "bytes", 7, "sha256", sum[:]), ""},
		"a file below the work folder": {file("sub/file", "in_work", true), ""},
		"a hard link":                  {file("twin"), ""}, // no more than the plugin can read itself
		"an empty file":                {file("empty"), ""},
		"missing":                      {file("nothing"), "no such file"},
		"no path":                      {file(""), "open its file"},
		"truncated":                    {file("file", "bytes", 8), "it has 7 bytes, and the plugin said 8"},
		"half a digest":                {file("file", "sha256", sum[:16]), "its digest has 16 bytes, not 32"},
		"a link out":                   {file("out"), "open its file"},
		"a link within":                {file("in"), ""},
		"a folder that is a link out":  {file("away/passwd"), "open its file"},
		"a way out":                    {file(filepath.Join("..", "work", "sub", "file")), "open its file"},
		"an absolute path":             {file("/etc/passwd"), "open its file"},
		"a pipe":                       {file("pipe"), "not a regular file"},
		"a socket":                     {file("socket"), "open its file"},
		"a folder":                     {file("."), "not a regular file"},
		"too large":                    {file("large"), "the result is too large: it has 1099511627776 bytes and may have 1048576"},
		"no folder at all":             {file("file", "in_work", true), "no such file"},
		"elsewhere":                    {map[string]any{"content_type": "text/plain", "reference": map[string]any{"uri": "s3://b/k"}}, "does not fetch results"},
		"no content":                   {map[string]any{"content_type": "text/plain"}, "it has no content"},
		"no media type":                {map[string]any{"inline": []byte("x")}, "no media type"},
		"a media type with a header":   {map[string]any{"content_type": "text/plain\r\nSet-Cookie: a=b", "inline": []byte("x")}, "no media type"},
		"a long media type":            {map[string]any{"content_type": "text/" + strings.Repeat("x", 300), "inline": []byte("x")}, "no media type"},
		"less than no rows":            {map[string]any{"content_type": "text/plain", "rows": -1, "inline": []byte("x")}, "it has -1 rows"},
		"other bytes than said":        {map[string]any{"content_type": "text/plain", "bytes": 2, "inline": []byte("x")}, "it has 1 bytes, and the plugin said 2"},

		"a table":                    {table(head + ` [ [1,"x"], [2,"[\",\"]"], [null,{"c":[1,2]}] ] }` + "\n"), ""},
		"an empty table":             {table(`{"columns":[],"data":[]}`), ""},
		"rows of no columns":         {table(`{"columns":[],"data":[[],[ ]]}`), ""},
		"a table in a file":          {file("table", "content_type", job.TableType, "rows", 1), ""},
		"nothing for a table":        {table(``), "it ends where"},
		"a text for a table":         {table(`hello`), "its table is broken"},
		"a list for a table":         {table(`[]`), `"[" stands where "{" was to come`},
		"half a table":               {table(head + `[[1,"x"],[2`), "row 2: unexpected EOF"},
		"no end of a table":          {table(head + `[[1,"x"]]`), "it ends where"},
		"more than a table":          {table(head + `[]} {}`), "something follows it"},
		"a row too short":            {table(head + `[[1,"x"],[2]]}`), "row 2 has 1 values for 2 columns"},
		"a row too long":             {table(head + `[[1,"x,y",3]]}`), "row 1 has 3 values for 2 columns"},
		"an empty row":               {table(head + `[[]]}`), "row 1 has 0 values for 2 columns"},
		"a row that is an object":    {table(head + `[{"a":1,"b":"x"}]}`), "row 1 has -1 values"},
		"no data":                    {table(`{"columns":[]}`), `"}" stands where "data" was to come`},
		"data before columns":        {table(`{"data":[],"columns":[]}`), `"data" stands where "columns" was to come`},
		"a column without a name":    {table(`{"columns":[{"type":"string"}],"data":[]}`), "column 1 has no name"},
		"a type that is none":        {table(`{"columns":[{"name":"a","type":"varchar"}],"data":[]}`), `column 1, "a", has the type "varchar", which is none`},
		"not UTF-8":                  {table(head + "[[1,\"\xff\"]]}"), "row 1 is not UTF-8"},
		"other rows than said":       {map[string]any{"content_type": job.TableType, "rows": 2, "inline": []byte(head + `[[1,"x"]]}`)}, "its table has 1 rows, and the plugin said 2"},
		"a broken table in a file":   {file("file", "content_type", job.TableType), "its table is broken"},
		"a table that is too large":  {file("large", "content_type", job.TableType), "the result is too large"},
		"numbers that JSON has not":  {table(head + `[[NaN,"x"]]}`), "row 1: invalid character 'N'"},
		"a trailing comma of a data": {table(head + `[[1,"x"],]}`), "row 2: invalid character"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			results := filepath.Join(folder, "result")
			write := func(path, content string) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(filepath.Join(results, "file"), "content")
			write(filepath.Join(results, "empty"), "")
			write(filepath.Join(results, "table"), head+`[[1,"x"]]}`)
			write(filepath.Join(results, "large"), "")
			if name != "no folder at all" {
				write(filepath.Join(folder, "work", "sub", "file"), "content")
			}
			socket, err := net.Listen("unix", filepath.Join(f.data, fmt.Sprintf("%p", &folder))) // a short path
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			for _, err := range []error{
				os.Truncate(filepath.Join(results, "large"), 1<<40), // all hole
				os.Link(filepath.Join(results, "file"), filepath.Join(results, "twin")),
				os.Symlink("/etc/passwd", filepath.Join(results, "out")),
				os.Symlink("file", filepath.Join(results, "in")),
				os.Symlink("/etc", filepath.Join(results, "away")),
				syscall.Mkfifo(filepath.Join(results, "pipe"), 0o600),
				os.Rename(socket.Addr().String(), filepath.Join(results, "socket")),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			ended := bring(t, h, folder, test.result)
			switch e := ended.Error; {
			case test.want == "" && e != nil:
				t.Errorf("Error = %+v, want none", e)
			case test.want != "" && (e == nil || !strings.Contains(e.Message, test.want) || ended.Result != nil):
				t.Errorf("got %+v and error %+v, want an error with %q", ended.Result, e, test.want)
			case e != nil && (e.Class == job.Quota) != strings.Contains(test.want, "too large"):
				t.Errorf("class = %s of %q", e.Class, e.Message)
			}
		})
	}
	ended, _ := run(t, h, "good", "after", "hello")
	inline(t, ended)
}

// What was checked is what is read, whatever a plugin does with its files then.
func TestAResultThatChangesAfterItsCheck(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	digest := sha256.Sum256([]byte("content"))
	tests := map[string]struct {
		sha    []byte
		change func(path string) error
		want   string // of the error; "": none
	}{
		"exchanged": {nil, func(path string) error {
			return os.Symlink("/etc/passwd", path+".new")
		}, ""},
		"removed":     {nil, os.Remove, ""},
		"longer":      {nil, func(path string) error { return appendTo(path, "more") }, ""},
		"shorter":     {nil, func(path string) error { return os.Truncate(path, 3) }, "its file had 7 bytes and now ends after 3"},
		"overwritten": {digest[:], func(path string) error { return os.WriteFile(path, []byte("another"), 0o600) }, "its file has the SHA-256 "},
		"never right": {make([]byte, sha256.Size), func(string) error { return nil }, "and the plugin said 0000"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "result", "r")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
				t.Fatal(err)
			}
			ended := bring(t, h, folder, map[string]any{"content_type": "text/plain", "file": map[string]any{"path": "r", "sha256": test.sha}})
			if ended.Error != nil {
				t.Fatalf("Error = %+v, want none", ended.Error)
			}
			err := test.change(path)
			if name == "exchanged" && err == nil {
				err = os.Rename(path+".new", path)
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(ended.Result.Content)
			if test.want == "" && (err != nil || string(got) != "content") {
				t.Errorf("content = %q, %v, want what was checked", got, err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("content = %q, %v, want an error with %q", got, err, test.want)
			}
		})
	}
}

func appendTo(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteString(text)
	return err
}

// Of a table that is too large to be read through, both ends are looked at.
func TestALargeTable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	const head, row = `{"columns":[{"name":"a","type":"string"}],"data":[["x"]`, `,["0123456789"]`
	rows := bytes.Repeat([]byte(row), 9<<20/len(row))
	for name, test := range map[string]struct{ head, tail, want string }{
		"whole":             {head, "]}\n", ""},
		"its end is gone":   {head, `,["012`, "it does not end as a table does"},
		"its begin is gone": {"", "]}", "its table is broken"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.Mkdir(filepath.Join(folder, "result"), 0o700); err != nil {
				t.Fatal(err)
			}
			content := append(append([]byte(test.head), rows...), test.tail...)
			if err := os.WriteFile(filepath.Join(folder, "result", "r"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			r := request("good", name, "")
			r.Input, _ = json.Marshal(map[string]any{"do": "result", "result": map[string]any{
				"content_type": job.TableType, "file": map[string]any{"path": "r"},
			}})
			r.Folders.Result = filepath.Join(folder, "result")
			ended := settle(h.Run(t.Context(), r, newSink()))
			if e := ended.Error; (e == nil) != (test.want == "") || e != nil && !strings.Contains(e.Message, test.want) {
				t.Errorf("Error = %+v, want %q", e, test.want)
			}
		})
	}
}

// A plugin that puts a link in the place of its folder gets nothing of elsewhere
// taken for its result.
func TestResultFolderThatIsALink(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	attempt, elsewhere := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, "secret"), []byte("not yours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(attempt, "result")); err != nil {
		t.Fatal(err)
	}
	r := request("good", "a1", "")
	r.Input = []byte(`{"do":"file","path":"secret"}`)
	r.Folders.Result = filepath.Join(attempt, "result")
	if ended := settle(h.Run(t.Context(), r, newSink())); ended.Error == nil || !strings.Contains(ended.Error.Message, "open its folder") {
		t.Errorf("Ended = %+v (%v), want that its folder cannot be opened", ended, ended.Error)
	}
}
