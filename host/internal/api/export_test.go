package api

import "github.com/heimdall-run/heimdall/host/internal/job"

// Endpoints lists all endpoints, "METHOD path".
func Endpoints() []string {
	var all []string
	for _, e := range endpoints() {
		all = append(all, e.method+" "+e.path)
	}
	return all
}

// Inspect looks at JSON text as the reader of bodies does.
func Inspect(text []byte) error { return inspect(text) }

// ParseFilter reads the query of a list.
func ParseFilter(rawQuery string) (job.Filter, error) { return parseFilter(rawQuery) }

// FormatCursor writes the place behind a job.
func FormatCursor(f job.Filter, at job.Cursor) string { return formatCursor(f, at) }
