package pluginhost

import (
	"strings"
	"testing"
)

// What passes for a text at a glance is a table of one row for the one who reads
// it through, too.
func TestTextsAreTables(t *testing.T) {
	const head = `{"columns":[{"name":"message","type":"string"}],"data":[[`
	for table, want := range map[string]bool{
		head + `""]]}`:                  true,
		head + `"Hello, ann!"]]}`:       true,
		head + `"\"]]} \\ ü"]]}`:        true,
		head + `"a","b"]]}`:             false,
		head + `"a"],["b"]]}`:           false,
		head + `"a"]],"more":[["b"]]}`:  false,
		head + "\"\n\"]]}":              false,
		head + "\"\xff\"]]}":            false,
		head + `"]]}`:                   false,
		head + `1]]}`:                   false,
		`{"columns":[],"data":[["a"]]}`: false,
		"":                              false,
	} {
		if got := isText([]byte(table)); got != want {
			t.Errorf("isText(%q) = %v, want %v", table, got, want)
		}
		if rows, err := checkTable(strings.NewReader(table)); want && (rows != 1 || err != nil) {
			t.Errorf("checkTable(%q) = %d, %v, want one row", table, rows, err)
		}
	}
}
