package conformance

import (
	"strings"
	"testing"
)

func TestReadTable(t *testing.T) {
	const head = `{"columns":[{"name":"n","type":"int64"},{"name":"d","type":"decimal(10,2)"},{"name":"l","type":"list<string>"}],"data":`
	for name, test := range map[string]struct {
		text string
		rows int64
		want string // empty: it is a table
	}{
		"no rows":               {head + `[]}`, 0, ""},
		"rows":                  {head + `[[1,"1.50",["a"]],[null,null,null],["9007199254740993","0",[]]]}`, 3, ""},
		"the largest number":    {head + `[[9007199254740992,null,null]]}`, 1, ""},
		"a number too large":    {head + `[[9007199254740993,null,null]]}`, 0, "2⁵³"},
		"a negative one":        {head + `[[-90071992547409930,null,null]]}`, 0, "2⁵³"},
		"a text in a number":    {head + `[["many",null,null]]}`, 0, "a whole number"},
		"a fraction":            {head + `[[1.5,null,null]]}`, 0, "a whole number"},
		"an inexact decimal":    {head + `[[1,1.5,null]]}`, 0, "a string, because"},
		"a text in a list":      {head + `[[1,"1","x"]]}`, 0, "a list"},
		"a short row":           {head + `[[1,"1"]]}`, 0, "3, one for each"},
		"a row that is none":    {head + `[{"n":1}]}`, 0, "a list of values"},
		"data first":            {`{"data":[],"columns":[]}`, 0, "columns first"},
		"an unknown type":       {`{"columns":[{"name":"n","type":"integer"}],"data":[]}`, 0, "a type of"},
		"a column without name": {`{"columns":[{"type":"int8"}],"data":[]}`, 0, "a name"},
		"cut off":               {head + `[[1,"1",[]]`, 0, "at the end"},
		"more behind":           {head + `[]} {}`, 0, "more behind"},
		"no JSON":               {"nonsense", 0, "begins otherwise"},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := readTable(strings.NewReader(test.text))
			if test.want == "" && (err != nil || table.rows != test.rows) {
				t.Errorf("readTable = %d rows, %v; want %d", table.rows, err, test.rows)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("readTable = %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestShows(t *testing.T) {
	for name, trace := range map[string]string{
		"as it is":      "Hello, " + unicode + "!",
		"as JSON":       `{"data":[["Zoë Ångström \"漢字\" 🚀 \\ مرحبا` + "\u200b" + `"]]}`,
		"as ASCII JSON": `"Zo\u00EB \u00c5ngstr\u00f6m \"\u6f22\u5b57\" \ud83d\ude80 \\ \u0645\u0631\u062d\u0628\u0627\u200b"`,
	} {
		if !shows([]byte(trace), unicode) {
			t.Errorf("%s: shows = false, want true", name)
		}
	}
	for _, trace := range []string{"", "Zo? ?ngstr?m", strings.ToUpper(unicode)} {
		if shows([]byte(trace), unicode) {
			t.Errorf("shows in %q = true, want false", trace)
		}
	}
}

func TestParseLine(t *testing.T) {
	for _, line := range []string{"1|1|unix|/s|grpc", "1|1|unix|/s|grpc|", "1|1|unix|/s|grpc||true"} {
		if socket, err := parseLine(line); err != nil || socket != "/s" {
			t.Errorf("parseLine(%q) = %q, %v; want /s", line, socket, err)
		}
	}
	for _, line := range []string{"", "hello", "1|1|unix|/s", "2|1|unix|/s|grpc", "1|2|unix|/s|grpc", "1|1|tcp|:1|grpc", "1|1|unix|/s|netrpc", "1|1|unix|/s|grpc|MIIB"} {
		if _, err := parseLine(line); err == nil {
			t.Errorf("parseLine(%q) = nil, want an error", line)
		}
	}
}
