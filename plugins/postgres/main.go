// Command heimdall-plugin-postgres is a plugin that runs SQL on PostgreSQL. README.md
// tells operators and callers how.
package main

import (
	_ "embed"

	"github.com/heimdall-run/heimdall/sdk"
)

//go:embed README.md
var docs string

func main() {
	sdk.Serve("postgres", create, sdk.Docs(docs), sdk.Examples(examples()...))
}

// examples are jobs for the server that the usual variables name; without settings, the
// plugin looks there.
func examples() []sdk.Example {
	needs := []string{"env:PGHOST", "env:PGPORT", "env:PGUSER", "env:PGPASSWORD", "env:PGDATABASE"}
	example := func(kind sdk.ExampleKind, title, query string) sdk.Example {
		return sdk.Example{Kind: kind, Title: title, Needs: needs, Input: map[string]any{"query": query}}
	}
	return []sdk.Example{
		example(sdk.Quick, "Adds two numbers", "select 1 + 1 as two"),
		example(sdk.Long, "Waits for a minute", "select pg_sleep(60)"),
		example(sdk.Fails, "Divides by zero", "select 1 / 0"),
		example(sdk.Rows, "Counts to ten", "select n, n * n as square from generate_series(1, 10) n"),
		example(sdk.Big, "Makes 100,000 rows", "select n, md5(n::text) as hash from generate_series(1, 100000) n"),
	}
}
