package sdk_test

import (
	"context"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

// cell is the outcome of a table of one cell that came as text, nil for null, and
// another behind it.
func cell(t *testing.T, kind string, value []byte) sdktest.Outcome {
	t.Helper()
	return run(t, func(_ context.Context, job *rawJob) error {
		err := job.Table(sdk.Column{Name: "c", Type: kind}, sdk.Column{Name: "d", Type: "string"}).AppendText(value, []byte("behind"))
		for i := range value {
			value[i] = '!' // it was written by now
		}
		return err
	})
}

func TestAppendText(t *testing.T) {
	for _, c := range []struct{ kind, value, want string }{
		{"bool", "t", "true"},
		{"bool", "false", "false"},
		{"int64", "-9007199254740991", "-9007199254740991"},
		{"int64", "9007199254740993", `"9007199254740993"`},
		{"int16", "007", "7"},
		{"uint64", "18446744073709551615", `"18446744073709551615"`},
		{"uint8", "255", "255"},
		{"float64", "0.1", "0.1"},
		{"float64", "1e+20", "1e+20"},
		{"float64", "NaN", `"NaN"`},
		{"float32", "-Infinity", `"-Inf"`},
		{"float64", "007", "7"},
		{"float64", "+1.5", "1.5"},
		{"float64", "1e999", `"+Inf"`},
		{"decimal(38,2)", "12345678901234567890123456789012345678.90", `"12345678901234567890123456789012345678.90"`},
		{"decimal(3,0)", "-0", `"-0"`},
		{"string", "a\"b\\c\n\x01\xffé", `"a\"b\\c\n\u0001` + "\uFFFDé\""},
		{"string", "", `""`},
		{"bytes", "\x00\xff", `"AP8="`},
		{"bytes", "", `""`},
		{"json", ` {"a" : [1, 2]} `, `{"a":[1,2]}`},
		{"list<int64>", "[1, null]", "[1,null]"},
		{"timestamptz", "2026-11-24T00:00:00Z", `"2026-11-24T00:00:00Z"`},
		{"uuid", "018f", `"018f"`},
		{"interval", "P1D", `"P1D"`},
	} {
		o := cell(t, c.kind, []byte(c.value))
		want := `{"columns":[{"name":"c","type":"` + c.kind + `"},{"name":"d","type":"string"}],"data":[[` + c.want + `,"behind"]]}`
		if o.Err != nil || string(o.Result) != want {
			t.Errorf("%s %q: got %s with error %v, want %s", c.kind, c.value, o.Result, o.Err, want)
		}
	}
	for _, kind := range []string{"bool", "int64", "decimal(2,1)", "bytes", "json", "null"} {
		o := cell(t, kind, nil)
		if o.Err != nil || !strings.Contains(string(o.Result), `[[null,"behind"]]`) {
			t.Errorf("null as %s: got %s with error %v", kind, o.Result, o.Err)
		}
	}
}

func TestAppendTextRefuses(t *testing.T) {
	for _, c := range []struct{ kind, value, want string }{
		{"bool", "yes", `"yes" is no bool`},
		{"int64", "1.5", `"1.5" is no int64`},
		{"int8", "128", "does not fit"},
		{"uint8", "-1", `"-1" is no uint8`},
		{"float64", "one", `"one" is no float64`},
		{"float64", "", "is no float64"},
		{"decimal(3,1)", "NaN", `"NaN" is no decimal(3,1)`},
		{"decimal(3,1)", ".5", "is no decimal"},
		{"decimal(3,1)", "01", "is no decimal"},
		{"decimal(3,1)", "1.", "is no decimal"},
		{"decimal(3,1)", "1e", "is no decimal"},
		{"decimal(3,1)", "", "is no decimal"},
		{"json", "{", "not JSON"},
		{"json", "", "not JSON"},
		{"list<string>", "[1", "not JSON"},
		{"null", "x", "null"},
	} {
		o := cell(t, c.kind, []byte(c.value))
		if o.Err == nil || o.Err.Class != sdk.Internal || !strings.Contains(o.Err.Error(), `row 1, column "c"`) || !strings.Contains(o.Err.Error(), c.want) {
			t.Errorf("%s %q: got error %v, want one with %q, its row and its column", c.kind, c.value, o.Err, c.want)
		}
	}
}
