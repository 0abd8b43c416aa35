// Command heimdall-plugin-shell is a plugin that runs a program of the operator's
// choice on the machine of the host. README.md tells operators and callers how.
package main

import (
	_ "embed"

	"github.com/heimdall-run/heimdall/sdk"
)

//go:embed README.md
var docs string

func main() {
	sdk.Serve("shell", create, sdk.Docs(docs), sdk.Examples(examples()...))
}

// examples are jobs that work wherever there is a POSIX shell.
func examples() []sdk.Example {
	script := func(text string) map[string]any {
		return map[string]any{"command": []string{"sh", "-c", text, "sh"}}
	}
	return []sdk.Example{
		{Kind: sdk.Quick, Title: "Prints its arguments", Settings: map[string]any{"command": []string{"echo"}}, Input: map[string]any{"arguments": []string{"hello", "world"}}},
		{Kind: sdk.Logs, Title: "Writes to both streams", Settings: script(`echo "to stdout"; echo "to stderr" >&2`)},
		{Kind: sdk.Long, Title: "Counts for a minute", Settings: script(`for i in $(seq 60); do echo "$i"; sleep 1; done`)},
		{Kind: sdk.Fails, Title: "Exits with 3", Settings: script(`echo "this goes wrong" >&2; exit 3`)},
		{Kind: sdk.Rows, Title: "Leaves a table", Settings: script(`cat >result.json <<'END'
{"columns": [{"name": "city", "type": "string"}, {"name": "people", "type": "int64"}],
 "data": [["Oslo", 717710], ["Bergen", 291940]]}
END`)},
		{Kind: sdk.Big, Title: "Leaves 100,000 rows", Settings: script(`awk 'BEGIN {
  printf "{\"columns\":[{\"name\":\"n\",\"type\":\"int64\"},{\"name\":\"square\",\"type\":\"int64\"}],\"data\":["
  for (n = 1; n <= 100000; n++) printf "%s[%d,%.0f]", (n > 1 ? "," : ""), n, n * n
  print "]}"
}' >result.json`)},
	}
}
