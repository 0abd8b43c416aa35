package sdk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

func run(t *testing.T, f func(context.Context, *rawJob) error, opts ...sdktest.Option) sdktest.Outcome {
	t.Helper()
	return sdktest.Run(t, script(f), nil, nil, opts...)
}

func TestValues(t *testing.T) {
	t.Parallel()

	when := time.Date(2026, 3, 4, 5, 6, 7, 80_000_000, time.FixedZone("", 3600))
	type label string
	tests := []struct {
		kind  string
		value any
		want  string
	}{
		{"bool", true, `true`},
		{"int8", int8(-128), `-128`},
		{"int64", 1 << 53, `9007199254740992`},
		{"int64", 1<<53 + 1, `"9007199254740993"`},
		{"int64", int64(math.MinInt64), `"-9223372036854775808"`},
		{"int64", "17", `17`},
		{"int64", json.Number("18"), `18`},
		{"uint64", uint64(math.MaxUint64), `"18446744073709551615"`},
		{"uint8", 255, `255`},
		{"float64", 0.1, `0.1`},
		{"float64", 1e300, `1e+300`},
		{"float32", float32(0.1), `0.1`},
		{"float64", math.NaN(), `"NaN"`},
		{"float64", math.Inf(1), `"+Inf"`},
		{"float64", math.Inf(-1), `"-Inf"`},
		{"float64", 7, `7`},
		{"decimal(10,2)", "12.30", `"12.30"`},
		{"decimal(10,2)", 12, `"12"`},
		{"decimal(10,2)", big.NewRat(5, 4), `"1.25"`},
		{"string", "a\"b\\\n\x01<é>\xff", `"a\"b\\\n\u0001<é>` + "\uFFFD" + `"`},
		{"string", label("named"), `"named"`},
		{"string", []byte("bytes"), `"bytes"`},
		{"bytes", []byte{0, 255}, `"AP8="`},
		{"date", when, `"2026-03-04"`},
		{"time", when, `"05:06:07.08"`},
		{"timestamptz", when, `"2026-03-04T05:06:07.08+01:00"`},
		{"timestamp", when.UTC(), `"2026-03-04T04:06:07.08Z"`},
		{"interval", 90 * time.Second, `"1m30s"`},
		{"uuid", [16]byte{15: 1}, `"00000000-0000-0000-0000-000000000001"`},
		{"json", json.RawMessage(`{"a": [1]}`), `{"a":[1]}`},
		{"json", map[string]int{"a": 1}, `{"a":1}`},
		{"list<int64>", []int{1, 2}, `[1,2]`},
		{"list<list<string>>", [][]string{{"a"}, nil}, `[["a"],null]`},
		{"map<string,int64>", map[string]int{"a": 1}, `{"a":1}`},
		{"struct<a:int64>", struct {
			A int `json:"a"`
		}{1}, `{"a":1}`},
		{"null", nil, `null`},
		{"int64", nil, `null`},
		{"int64", (*int)(nil), `null`},
		{"int64", new(3), `3`},
		{"string", sql.NullString{}, `null`},
		{"string", sql.NullString{String: "x", Valid: true}, `"x"`},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.kind, " ", test.want), func(t *testing.T) {
			t.Parallel()

			got := run(t, func(_ context.Context, job *rawJob) error {
				return job.Table(sdk.Column{Name: "c", Type: test.kind}).Append(test.value)
			})
			want := fmt.Sprintf(`{"columns":[{"name":"c","type":%q}],"data":[[%s]]}`, test.kind, test.want)
			if got.Err != nil || string(got.Result) != want {
				t.Errorf("got %s and %v, want %s", got.Result, got.Err, want)
			}
		})
	}
}

func TestWrongValues(t *testing.T) {
	t.Parallel()

	one := func(kind string, values ...any) func(*rawJob) {
		return func(job *rawJob) { _ = job.Table(sdk.Column{Name: "c", Type: kind}).Append(values...) }
	}
	tests := map[string]struct {
		make func(*rawJob)
		want string
	}{
		"too few values":   {one("int64"), "row 1 has 0 values, want 1"},
		"too many values":  {one("int64", 1, 2), "row 1 has 2 values, want 1"},
		"no such type":     {one("integer", 1), `column "c": there is no type "integer"`},
		"bad decimal":      {one("decimal(2,3)", 1), `there is no type "decimal(2,3)"`},
		"too large":        {one("int8", 128), `row 1, column "c": 128 does not fit into int8`},
		"negative":         {one("uint8", -1), `-1 does not fit into uint8`},
		"uint beyond int":  {one("int64", uint64(1<<63)), `9223372036854775808 does not fit into int64`},
		"int in string":    {one("string", 1), `a Go value of type int64 is no string`},
		"string in bool":   {one("bool", "true"), `a Go value of type string is no bool`},
		"word in int":      {one("int64", "x"), `"x" is no int64`},
		"word in decimal":  {one("decimal(3,1)", "x"), `"x" is no decimal(3,1)`},
		"item of a list":   {one("list<int8>", []int{1, 999}), `item 1: 999 does not fit into int8`},
		"table of nothing": {func(job *rawJob) { job.Table() }, "at least one column"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			// Run ignores the error: the job fails all the same.
			got := run(t, func(_ context.Context, job *rawJob) error {
				test.make(job)
				return nil
			})
			if got.Err == nil || !strings.Contains(got.Err.Message, test.want) || got.ContentType != "" {
				t.Errorf("got %v and result %q, want the error %q", got.Err, got.Result, test.want)
			}
		})
	}
}

func TestLargeTableGoesToAFile(t *testing.T) {
	t.Parallel()

	got := run(t, func(_ context.Context, job *rawJob) error {
		table := job.Table(sdk.Column{Name: "n", Type: "int64"}, sdk.Column{Name: "text", Type: "string"})
		for i := range 10_000 {
			if err := table.Append(i, "row"); err != nil {
				return err
			}
		}
		return nil
	})
	if got.Err != nil || len(got.Rows) != 10_000 || got.Rows[9_999][0] != json.Number("9999") {
		t.Fatalf("got %d rows and %v, want 10000", len(got.Rows), got.Err)
	}
	for _, event := range got.Events {
		if result := event.GetResult(); result != nil {
			sum := sha256.Sum256(got.Result)
			if !bytes.Equal(result.GetFile().GetSha256(), sum[:]) {
				t.Errorf("Sha256 = %x, want %x", result.GetFile().GetSha256(), sum)
			}
		}
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()

	for name, size := range map[string]int{"empty": 0, "small": 10, "large": 300_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			content := bytes.Repeat([]byte("x"), size)
			got := run(t, func(_ context.Context, job *rawJob) error {
				_ = job.Text("replaced")
				_, err := job.Result("text/plain").Write(content)
				return err
			})
			if got.Err != nil || got.ContentType != "text/plain" || !bytes.Equal(got.Result, content) {
				t.Errorf("got %d bytes of %q and %v, want %d of text/plain", len(got.Result), got.ContentType, got.Err, size)
			}
		})
	}
}

func TestResultLimit(t *testing.T) {
	t.Parallel()

	limit := sdktest.Request(func(r *pluginpb.StartRequest) { r.Limits.ResultBytes = 100 })
	for name, f := range map[string]func(*rawJob) error{
		"text":     func(job *rawJob) error { return job.Text(strings.Repeat("x", 100)) },
		"document": func(job *rawJob) error { _, err := job.Result("a/b").Write(make([]byte, 101)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := run(t, func(_ context.Context, job *rawJob) error { return f(job) }, limit)
			if got.Err == nil || got.Err.Class != sdk.Quota {
				t.Errorf("Err = %v, want class quota", got.Err)
			}
		})
	}
}

func TestResultFile(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		make func(dir string) (path string, err error)
		want string // of the error; empty: none
	}{
		"small": {func(dir string) (string, error) {
			return "out.csv", os.WriteFile(filepath.Join(dir, "out.csv"), []byte("a,b"), 0o600)
		}, ""},
		"large and absolute": {func(dir string) (string, error) {
			path := filepath.Join(dir, "out.csv")
			return path, os.WriteFile(path, make([]byte, 100_000), 0o600)
		}, ""},
		"missing":   {func(string) (string, error) { return "out.csv", nil }, "no such file"},
		"outside":   {func(string) (string, error) { return "../secret", nil }, "escapes"},
		"elsewhere": {func(string) (string, error) { return "/etc/passwd", nil }, "escapes"},
		"link": {func(dir string) (string, error) {
			return "out.csv", os.Symlink("/etc/passwd", filepath.Join(dir, "out.csv"))
		}, "not a regular file"},
		"pipe": {func(dir string) (string, error) {
			return "out.csv", syscall.Mkfifo(filepath.Join(dir, "out.csv"), 0o600)
		}, "not a regular file"},
		"folder": {func(dir string) (string, error) { return ".", nil }, "not a regular file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := run(t, func(_ context.Context, job *rawJob) error {
				dir, err := job.Dir()
				if err != nil {
					return err
				}
				path, err := test.make(dir)
				if err != nil {
					return err
				}
				return job.ResultFile("text/csv", path, 0)
			})
			switch {
			case test.want == "" && (got.Err != nil || got.ContentType != "text/csv"):
				t.Errorf("got %q and %v, want a result", got.ContentType, got.Err)
			case test.want != "" && (got.Err == nil || !strings.Contains(got.Err.Message, test.want)):
				t.Errorf("Err = %v, want %q", got.Err, test.want)
			}
		})
	}
}

func TestNoResultAfterAnError(t *testing.T) {
	t.Parallel()

	got := run(t, func(_ context.Context, job *rawJob) error {
		_, _ = job.Result("a/b").Write(make([]byte, 200_000))
		return fmt.Errorf("then it broke")
	})
	if got.Err == nil || got.ContentType != "" {
		t.Errorf("got result %q and %v, want only the error", got.ContentType, got.Err)
	}
}
