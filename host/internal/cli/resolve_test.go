package cli_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestExplainAndResolve(t *testing.T) {
	const chosen = `{"summary":"command \"c\" on cluster \"k\"","chosen":{"command_id":"c","cluster_id":"k"},"choices":2,` +
		`"not_chosen":[{"command_id":"c","cluster_id":"l","verdict":"fits","detail":"fits as well"},{"command_id":"d","verdict":"lacks_tags","lacks":["a","b"]}],"not_listed":7}`
	const none = `{"error":"no command and cluster fit this job: none","status":422,"summary":"none","not_chosen":[{"command_id":"d","verdict":"not_active","detail":"the command is inactive"}],"not_listed":0}`
	h := script(t, map[string]http.HandlerFunc{
		"GET /job/7/explain": says(200, chosen),
		"POST /resolve": func(w http.ResponseWriter, r *http.Request) {
			says(200, chosen)(w, r)
		},
	})
	refusing := script(t, map[string]http.HandlerFunc{
		"POST /resolve": says(422, none),
		"POST /job":     says(422, none),
	})
	rows := "c\tk\tchosen\t\nc\tl\tfits\tfits as well\nd\t\tlacks_tags\tlacks a, b\n"
	said := "command \"c\" on cluster \"k\"\n7 more were not chosen\n"
	for args, want := range map[string]outcome{
		"job explain 7":         {0, rows, said},
		"job explain 7 -o json": {0, chosen + "\n", "command \"c\" on cluster \"k\"\n"},
		"job explain 8":         {5, "", "error: no such job\n"},
		"resolve --command-criteria a --cluster-preference b,c --cluster-preference d --set x=1": {0, rows, said},
	} {
		if got := run(t, h.URL, strings.Fields(args)...); got != want {
			t.Errorf("%s: got %+v, want %+v", args, got, want)
		}
	}
	wanted := `POST /api/v1/resolve {"context":{"x":1},"command_criteria":["a"],"cluster_criteria":[["b","c"],["d"]]}`
	found := false
	for _, r := range h.requests {
		found = found || r == wanted
	}
	if !found {
		t.Errorf("requests = %q, want %s", h.requests, wanted)
	}
	for args, want := range map[string]outcome{
		"resolve --command-criteria a":         {2, "d\t\tnot_active\tthe command is inactive\n", "error: no command and cluster fit this job: none\n"},
		"resolve --command-criteria a -o json": {2, none + "\n", "error: no command and cluster fit this job: none\n"},
		"job submit --command-criteria a":      {2, "", "error: no command and cluster fit this job: none\nhint: heimdall resolve, with the same flags, says of each why not\n"},
	} {
		if got := run(t, refusing.URL, strings.Fields(args)...); got != want {
			t.Errorf("%s: got %+v, want %+v", args, got, want)
		}
	}
}
