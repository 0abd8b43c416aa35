package pluginname_test

import (
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/sdk/pluginname"
)

func TestCheck(t *testing.T) {
	t.Parallel()

	for name, want := range map[string]string{
		"csv": "", "2csv": "", "spark-submit": "", "spark_submit": "", "a--b-": "", "my_view": "",
		strings.Repeat("a", 63): "",
		"":                      "is no name", "Csv": "small letters", "-csv": "a letter or digit first", "a/b": "is no name",
		strings.Repeat("a", 64): "at most 63", "csv_v2": "taken for version 2 of csv",
	} {
		err := pluginname.Check(name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Check(%q) = %v, want %q", name, err, want)
		}
	}
}

func TestOfFile(t *testing.T) {
	t.Parallel()

	for file, want := range map[string][2]string{
		"heimdall-plugin-csv":           {"csv", ""},
		"heimdall-plugin-csv_v1.2.0-rc": {"csv", "1.2.0-rc"},
		"heimdall-plugin-my_view":       {"my_view", ""},
		"heimdall-plugin-my_view_v2":    {"my_view", "2"},
	} {
		name, version, ok := pluginname.OfFile(file)
		if got := [2]string{name, version}; !ok || got != want {
			t.Errorf("OfFile(%q) = %q, %t, want %q", file, got, ok, want)
		}
	}
	if _, _, ok := pluginname.OfFile("csv"); ok {
		t.Error("OfFile took csv for a plugin")
	}
}
