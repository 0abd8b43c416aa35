package cli_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/cli"
)

const (
	pingObject = `{"id":"ping","name":"ping","version":"1","description":"greets","status":"INACTIVE","status_override":"INACTIVE",` +
		`"tags":["_id:ping","_name:ping","_version:1","type:ping"],"context":{"a":1},"created_at":1795419121,"updated_at":1795419122,` +
		`"plugin":"ping","is_sync":true,"cluster_tags":[["a","b"],["a"]],"managed_by":"file","file":"h:c.toml","revision":7,"updated_by":"ann","timeout":"30s"}`
	boxObject = `{"id":"box","name":"box","status":"ACTIVE","tags":["_id:box","_name:box","data:local","type:localhost"],"managed_by":"api","revision":2}`
)

func TestCatalogList(t *testing.T) {
	const query = "GET /commands?cursor=c&direction=desc&id=p%25&limit=5&name=n&order_by=updated_at&plugin=ping&status=ACTIVE&status=DELETED&tags=t&tags=u&version=v"
	h := script(t, map[string]http.HandlerFunc{
		"GET /commands":            says(200, `{"data":[`+pingObject+`],"has_more":true,"next_cursor":"abc"}`),
		"GET /commands?cursor=abc": says(200, `{"data":[{"id":"second","status":"ACTIVE"}],"has_more":false}`),
		"GET /clusters":            says(200, `{"data":[`+boxObject+`]}`),
		query:                      says(200, `{"data":[]}`),
	})
	ping := "ping\t1\tINACTIVE\tfile\tping\tyes\ttype:ping\ta,b; a\tgreets\n"
	for args, want := range map[string]outcome{
		"command list":       {0, ping, "there are more: --all, or --cursor abc\n"},
		"command list --all": {0, ping + "second\t\tACTIVE\t\t\tno\t\t\t\n", ""},
		"cluster list":       {0, "box\t\tACTIVE\tapi\tdata:local,type:localhost\t\n", ""},
		"cluster list -o table": {0, "ID   VERSION  STATUS  MANAGED BY  TAGS                       DESCRIPTION\n" +
			"box           ACTIVE  api         data:local,type:localhost  \n", ""},
		"command list --cursor c --direction desc --id p% --limit 5 --name n --order-by updated_at --plugin ping --status ACTIVE,DELETED --tags t,u --version v": {0, "", ""},
	} {
		if got := run(t, h.URL, strings.Fields(args)...); got != want {
			t.Errorf("%s: got %+v, want %+v", args, got, want)
		}
	}
}

func TestCatalogGet(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{"GET /command/ping": says(200, pingObject)})
	want := strings.Join([]string{
		"id\tping", "status\tINACTIVE", "status_override\tINACTIVE", "name\tping", "version\t1", "description\tgreets", "plugin\tping",
		"tags\t_id:ping,_name:ping,_version:1,type:ping", "cluster_tags\ta,b; a", `context	{"a":1}`, "managed_by\tfile", "file\th:c.toml",
		"revision\t7", "created\t2026-11-23T07:32:01Z", "updated\t2026-11-23T07:32:02Z", "updated_by\tann", "is_sync\ttrue", "timeout\t30s", "",
	}, "\n")
	if got := run(t, h.URL, "command", "get", "ping"); got != (outcome{0, want, ""}) {
		t.Errorf("got %+v, want %q", got, want)
	}
	if got := run(t, h.URL, "command", "get", "ping", "-o", "json"); got != (outcome{0, pingObject + "\n", ""}) {
		t.Errorf("got %+v, want the answer untouched", got)
	}
	if got := run(t, h.URL, "command", "get", "none"); got.code != cli.ExitNotFound {
		t.Errorf("got %+v, want code 5", got)
	}
}

func TestCatalogStatus(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"GET /cluster/box/status":    says(200, `{"status":"ACTIVE","updated_at":1}`),
		"PUT /cluster/box/status":    says(200, `{"status":"INACTIVE","updated_at":2}`),
		"DELETE /cluster/box/status": says(200, `{"status":"ACTIVE","updated_at":3}`),
		"PUT /cluster/x/status":      says(403, `{"error":"you are not an operator"}`),
	})
	for args, want := range map[string]outcome{
		"box":                  {0, "ACTIVE\n", ""},
		"box inactive":         {0, "INACTIVE\n", ""},
		"box --clear":          {0, "ACTIVE\n", ""},
		"box inactive -o json": {0, `{"status":"INACTIVE","updated_at":2}` + "\n", ""},
		"x active":             {4, "", "error: you are not an operator\n"},
	} {
		if got := run(t, h.URL, append([]string{"cluster", "status"}, strings.Fields(args)...)...); got != want {
			t.Errorf("status %s: got %+v, want %+v", args, got, want)
		}
	}
	for _, r := range h.requests {
		if strings.HasPrefix(r, "PUT /api/v1/cluster/box") && !strings.HasSuffix(r, ` {"status":"INACTIVE"}`) {
			t.Errorf("request = %s, want the status in capitals", r)
		}
	}
}

func TestCatalogApply(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"PUT /command/a": says(200, `{"id":"a","revision":1,"status":"ACTIVE"}`),
		"PUT /command/b": says(200, `{"id":"b","revision":2,"status":"INACTIVE"}`),
		"PUT /command/c": says(409, `{"error":"command c is declared in /etc/heimdall.toml"}`),
		"PUT /command/d": says(422, `{"error":"d has two faults","errors":[{"pointer":"/plugin","detail":"it is missing"},{"pointer":"/tags/0","detail":"it is empty"}]}`),
	})
	dir := t.TempDir()
	for name, text := range map[string]string{
		"one.json":  `{"name":"a","plugin":"ping","context":{"n":12345678901234567890}}`,
		"two.toml":  "[server]\nlisten = \":1\"\n[[commands]]\nname = \"a\"\n[[commands]]\nid = \"b\"\nname = \"B\"\n",
		"list.yaml": "- name: a\n  tags: [x]\n- name: b\n",
		"page.json": `{"data":[{"id":"b","name":"B"}],"has_more":false}`,
		"file.json": `{"id":"c"}`,
		"bad.json":  `{"id":"d"}`,
		"none.json": `{"plugin":"x"}`,
		"no.toml":   "commands = []\n",
		"no.json":   "{",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for args, c := range map[string]struct {
		want     outcome
		requests string
	}{
		"one.json":    {outcome{0, "a\t1\tACTIVE\n", ""}, `a {"name":"a","plugin":"ping","context":{"n":12345678901234567890}}`},
		"-f one.json": {outcome{0, "a\t1\tACTIVE\n", ""}, `a {"name":"a","plugin":"ping","context":{"n":12345678901234567890}}`},
		"two.toml":    {outcome{0, "a\t1\tACTIVE\nb\t2\tINACTIVE\n", ""}, `a {"name":"a"} b {"id":"b","name":"B"}`},
		"list.yaml":   {outcome{0, "a\t1\tACTIVE\nb\t2\tINACTIVE\n", ""}, `a {"name":"a","tags":["x"]} b {"name":"b"}`},
		"page.json":   {outcome{0, "b\t2\tINACTIVE\n", ""}, `b {"id":"b","name":"B"}`},
		"page.json file.json": {
			outcome{1, "b\t2\tINACTIVE\n", "error: command c: command c is declared in /etc/heimdall.toml\n"},
			`b {"id":"b","name":"B"} c {"id":"c"}`,
		},
		"bad.json":              {outcome{2, "", "error: command d: d has two faults\n  /plugin: it is missing\n  /tags/0: it is empty\n"}, `d {"id":"d"}`},
		"page.json -o json":     {outcome{0, `{"id":"b","revision":2,"status":"INACTIVE"}` + "\n", ""}, `b {"id":"b","name":"B"}`},
		"none.json":             {outcome{2, "", "error: none.json: command 1 has neither an id nor a name\nhint: heimdall command apply --help\n"}, ""},
		"no.toml":               {outcome{2, "", "error: no.toml: it holds no command\nhint: heimdall command apply --help\n"}, ""},
		"no.json":               {outcome{2, "", "error: no.json: this is not JSON; it is a JSON object, @FILE, or - for stdin\nhint: heimdall command apply --help\n"}, ""},
		"two.toml --revision 3": {outcome{2, "", "error: --revision is for one object, and there are 2\nhint: heimdall command apply --help\n"}, ""},
	} {
		t.Run(args, func(t *testing.T) {
			t.Chdir(dir)
			h.requests = nil
			got := run(t, h.URL, append([]string{"command", "apply"}, strings.Fields(args)...)...)
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			var requests []string
			for _, r := range h.requests {
				requests = append(requests, strings.TrimPrefix(r, "PUT /api/v1/command/"))
			}
			if got := strings.Join(requests, " "); got != c.requests {
				t.Errorf("requests = %s, want %s", got, c.requests)
			}
		})
	}
}

func TestApplyOfARevision(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{"PUT /cluster/box": func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("If-Match"); got != `"3"` {
			t.Errorf("If-Match = %s, want the revision", got)
		}
		says(412, `{"error":"it has changed"}`)(w, r)
	}})
	got := runProgram(t.Context(), cli.Program{
		Args:  []string{"cluster", "apply", "-", "--revision", "3", "--server", h.URL, "--user", "u"},
		Stdin: strings.NewReader(`{"id":"box"}`),
	})
	if want := (outcome{1, "", "error: cluster box: it has changed\n"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestHealth(t *testing.T) {
	const bad = `{"healthy":false,"checks":[{"cluster_id":"a","cluster_name":"a","plugin":"pg","status":"ok","latency_ms":3},` +
		`{"cluster_id":"b","cluster_name":"b","plugin":"pg","status":"error","latency_ms":9,"error":"refused"},` +
		`{"cluster_id":"c","cluster_name":"c","plugin":"sh","status":"unchecked"}]}`
	h := script(t, map[string]http.HandlerFunc{
		"GET /clusters/health":  says(503, bad),
		"GET /cluster/a/health": says(200, `{"healthy":true,"checks":[{"cluster_id":"a","plugin":"pg","status":"ok","latency_ms":3}]}`),
		"GET /cluster/z/health": says(503, `{"error":"the host is stopping"}`),
	})
	for args, want := range map[string]outcome{
		"":        {1, "a\tpg\tok\t3 ms\t\nb\tpg\terror\t9 ms\trefused\nc\tsh\tunchecked\t\t\n", "error: 1 of 3 clusters failed their check\n"},
		"-o json": {1, bad + "\n", "error: 1 of 3 clusters failed their check\n"},
		"a":       {0, "a\tpg\tok\t3 ms\t\n", ""},
		"z":       {125, "", "error: the host is stopping\n"},
	} {
		if got := run(t, h.URL, append([]string{"cluster", "health"}, strings.Fields(args)...)...); got != want {
			t.Errorf("health %s: got %+v, want %+v", args, got, want)
		}
	}
}

func TestHosts(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{"GET /hosts": says(200, `{"data":[{"id":"1","name":"n","state":"live","this":true,"address":"http://a","version":"v",`+
		`"slots":64,"running":2,"plugins":{"shell":["1.0.0"],"ping":["0.1.0","0.2.0"],"old":[]},"started_time":"2026-11-23T07:32:03Z"}],"catalogs_differ":true}`)})
	want := outcome{
		0, "1\tn\tlive\tyes\thttp://a\tv\t2/64\told, ping 0.1.0/0.2.0, shell 1.0.0\t2026-11-23T07:32:03.000Z\n",
		"the hosts that take jobs do not all have the same catalog\n",
	}
	if got := run(t, h.URL, "hosts"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
