package conformance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// tableType is the media type of tables as JSON.
const tableType = "application/vnd.heimdall.table+json"

// open returns the content of a result, and checks where it lies and how much it
// is.
func open(request *pluginpb.StartRequest, r *pluginpb.Result) (io.ReadCloser, error) {
	switch content := r.GetContent().(type) {
	case *pluginpb.Result_Inline:
		if int64(len(content.Inline)) != r.GetBytes() {
			return nil, saw("%d bytes inline, and bytes = %d", len(content.Inline), r.GetBytes()).want("the same")
		}
		return io.NopCloser(bytes.NewReader(content.Inline)), nil
	case *pluginpb.Result_File:
		return openFile(request, r)
	case *pluginpb.Result_Reference:
		return nil, skip("the result is a reference, which the check does not follow")
	}
	return nil, saw("a result without content").want("one that is inline or in a file")
}

func openFile(request *pluginpb.StartRequest, r *pluginpb.Result) (io.ReadCloser, error) {
	file := r.GetFile()
	folder := request.GetFolders().GetResult()
	if file.GetInWork() {
		folder = request.GetFolders().GetWork()
	}
	if filepath.IsAbs(file.GetPath()) {
		return nil, saw("the result file %q", file.GetPath()).want("a path relative to the folder")
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, saw("the folder of the result file: %v", err).want("one that is there when the result is reported")
	}
	defer root.Close()
	info, err := root.Lstat(file.GetPath())
	switch {
	case err != nil:
		return nil, saw("the result file %q: %v", file.GetPath(), err).want("a file inside the folder")
	case !info.Mode().IsRegular():
		return nil, saw("the result file %q is no regular file but %s", file.GetPath(), info.Mode().Type()).want("a regular file")
	case info.Size() != r.GetBytes():
		return nil, saw("the result file has %d bytes, and bytes = %d", info.Size(), r.GetBytes()).want("the same")
	}
	f, err := root.Open(file.GetPath())
	if err != nil || len(file.GetSha256()) == 0 {
		return f, err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if !bytes.Equal(hash.Sum(nil), file.GetSha256()) {
		_ = f.Close() // it was only read
		return nil, saw("the result file has the sha256 %x, and the result says %x", hash.Sum(nil), file.GetSha256()).want("the same")
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

// table is what was found in one.
type table struct {
	columns []column
	rows    int64
}

type column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// readTable reads a table row by row and checks its form and its values.
func readTable(r io.Reader) (*table, error) {
	const want = `{"columns":[{"name","type"}, …],"data":[[…], …]}`
	dec := json.NewDecoder(r)
	dec.UseNumber()
	t := &table{}
	for _, token := range []any{json.Delim('{'), "columns"} {
		if got, err := dec.Token(); err != nil || got != token {
			return t, saw("the table begins otherwise: %v (%v)", got, err).want("%s, with the columns first", want)
		}
	}
	if err := dec.Decode(&t.columns); err != nil {
		return t, saw("columns: %v", err).want("%s", want)
	}
	for _, c := range t.columns {
		if c.Name == "" || !knownType(c.Type) {
			return t, saw("the column %q of the type %q", c.Name, c.Type).want("a name, and a type of docs/plugins.md, The job")
		}
	}
	for _, token := range []any{"data", json.Delim('[')} {
		if got, err := dec.Token(); err != nil || got != token {
			return t, saw("%v behind the columns (%v)", got, err).want("%s", want)
		}
	}
	for ; dec.More(); t.rows++ {
		var row []any
		if err := dec.Decode(&row); err != nil {
			return t, saw("row %d: %v", t.rows+1, err).want("a list of values")
		}
		if err := t.fits(row); err != nil {
			return t, err
		}
	}
	for _, token := range []json.Delim{']', '}'} {
		if got, err := dec.Token(); err != nil || got != token {
			return t, saw("%v at the end of the table (%v)", got, err).want("%s", want)
		}
	}
	if _, err := dec.Token(); err != io.EOF {
		return t, saw("more behind the table").want("nothing")
	}
	return t, nil
}

var (
	plainType   = regexp.MustCompile(`^(bool|u?int(8|16|32|64)|float(32|64)|string|bytes|date|time|timestamp|timestamptz|interval|uuid|json|null)$`)
	decimalType = regexp.MustCompile(`^decimal\(\d+, ?\d+\)$`)
	nestedType  = regexp.MustCompile(`^(list|map|struct)<.+>$`)
)

func knownType(name string) bool {
	return plainType.MatchString(name) || decimalType.MatchString(name) || nestedType.MatchString(name)
}

// fits checks the values of the next row against the columns.
func (t *table) fits(row []any) error {
	if len(row) != len(t.columns) {
		return saw("row %d has %d values", t.rows+1, len(row)).want("%d, one for each column", len(t.columns))
	}
	for i, value := range row {
		if fault := misfit(t.columns[i].Type, value); fault != "" {
			text, _ := json.Marshal(value) // it came from JSON
			return saw("row %d, column %q of the type %s: %s", t.rows+1, t.columns[i].Name, t.columns[i].Type, clip(string(text), 60)).want("%s", fault)
		}
	}
	return nil
}

// misfit says how a value of a type looks in JSON, or nothing if it looks so.
func misfit(typ string, value any) string {
	if value == nil {
		return ""
	}
	text, isText := value.(string)
	number, isNumber := value.(json.Number)
	_, isBool := value.(bool)
	_, isList := value.([]any)
	_, isObject := value.(map[string]any)
	whole := func(s string) bool { return s != "" && strings.Trim(s, "-0123456789") == "" }
	switch family, _, _ := strings.Cut(typ, "<"); {
	case typ == "bool" && !isBool:
		return "true or false"
	case strings.HasPrefix(typ, "int") && typ != "interval" || strings.HasPrefix(typ, "uint"):
		if !isNumber && !isText || !whole(text+number.String()) {
			return "a whole number, or a string of one"
		}
		if n := strings.TrimLeft(number.String(), "-0"); isNumber && (len(n) > 16 || len(n) == 16 && n > "9007199254740992") {
			return "a string, because a number beyond 2⁵³ is not kept by every reader"
		}
	case strings.HasPrefix(typ, "float") && !isNumber && !isText:
		return "a number, or a string such as NaN"
	case strings.HasPrefix(typ, "decimal") && !isText:
		return "a string, because no number is kept exactly"
	case plainType.MatchString(typ) && !strings.HasPrefix(typ, "float") && typ != "bool" && typ != "json" && typ != "null" && !isText:
		return "a string"
	case typ == "null":
		return "null"
	case family == "list" && !isList:
		return "a list"
	case (family == "map" || family == "struct") && !isObject && !isList:
		return "an object"
	}
	return ""
}

// peak watches the memory of a process until the function that it returns is
// called, which says by how many KiB it grew.
func (k *check) peak(ctx context.Context, p *process) (grown func() int, err error) {
	first, err := measure(p.pid)
	if err != nil {
		return nil, fmt.Errorf("measure the plugin: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	most, done := first.anon, make(chan struct{})
	k.group.Go(func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if u, err := measure(p.pid); err == nil {
				most = max(most, u.anon)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return func() int {
		stop()
		<-done
		return most - first.anon
	}, nil
}
