package cli_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/cli"
)

const (
	helloTable = `{"columns":[{"name":"message","type":"string"},{"name":"n","type":"int64"}],"data":[["Hello,\tetl!",1],[null,"9007199254740993"]]}` + "\n"
	ended      = `{"id":"7","name":"n","version":"1","user":"etl","tags":["_id:7","t"],"context":{"a":1},"status":"FAILED","error":"exit status 3",` +
		`"error_class":"failed","exit_code":3,"command_name":"c","cluster_name":"l","command_criteria":["x"],"cluster_criteria":["y"],` +
		`"job_attributes":{"link":{"kind":"link","value":"http://x"}},"attempt":1,` +
		`"created_time":"2026-11-23T07:32:03.93409Z","ended_time":"2026-11-23T07:32:04Z"}` + "\n"
)

func TestSubmitPrintsTheID(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{"POST /job": says(202, `{"id":"7","status":"NEW"}`+"\n")})
	if got := run(t, h.URL, "job", "submit", "--command-criteria", "a"); got != (outcome{0, "7\n", ""}) {
		t.Errorf("got %+v, want the id", got)
	}
	if got := run(t, h.URL, "job", "submit", "--command-criteria", "a", "-o", "json"); got != (outcome{0, `{"id":"7","status":"NEW"}` + "\n", ""}) {
		t.Errorf("got %+v, want the answer untouched", got)
	}
}

func TestSubmitSendsWhatTheFlagsSay(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{"POST /job": says(202, `{"id":"7"}`)})
	file := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(file, []byte(`{"from":"file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args  []string
		stdin string
		want  string
	}{
		"everything": {
			[]string{
				"--name", "n", "--version", "1", "--description", "d", "--command-criteria", "a,b", "--command-criteria", "c",
				"--cluster-criteria", "d,e", "--tag", "t,u", "--timeout", "30s", "--context", `{"x": 1}`,
			},
			"",
			`{"name":"n","version":"1","description":"d","context":{"x":1},"command_criteria":["a","b","c"],"cluster_criteria":["d","e"],"tags":["t","u"],"timeout":"30s"}`,
		},
		"what is asked of the queue": {
			[]string{
				"--priority", "-5", "--start-after", "2026-12-24T18:00:00+01:00", "--deadline", "2026-12-25T00:00:00Z",
				"--retry", "3", "--retry-backoff", "30s", "--retry-on", "failed,lost", "--unique-key", "nightly", "--idempotency-key", "k",
			},
			"",
			`{"command_criteria":null,"retry":{"attempts":3,"backoff":"30s","on":["failed","lost"]},"priority":-5,"start_after":"2026-12-24T18:00:00+01:00","deadline":"2026-12-25T00:00:00Z","unique_key":"nightly"}`,
		},
		"next to nothing":       {nil, "", `{"command_criteria":null}`},
		"a file":                {[]string{"--context", "@" + file}, "", `{"context":{"from":"file"},"command_criteria":null}`},
		"stdin":                 {[]string{"--context", "-"}, ` {"from":"stdin"} `, `{"context":{"from":"stdin"},"command_criteria":null}`},
		"values":                {[]string{"--set", "a.b=1", "--set", "a.c=text", "--set", `l=["x",12345678901234567890]`, "--set", "e="}, "", `{"context":{"a":{"b":1,"c":"text"},"e":"","l":["x",12345678901234567890]},"command_criteria":null}`},
		"values over a context": {[]string{"--context", `{"a":{"b":1,"z":12345678901234567890}}`, "--set", "a.b=null"}, "", `{"context":{"a":{"b":null,"z":12345678901234567890}},"command_criteria":null}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := runProgram(t.Context(), cli.Program{
				Args:  append([]string{"job", "submit", "--server", h.URL, "--user", "u"}, c.args...),
				Stdin: strings.NewReader(c.stdin),
			})
			if got.code != 0 {
				t.Fatalf("got %+v, want 0", got)
			}
			if last := h.requests[len(h.requests)-1]; last != "POST /api/v1/job "+c.want {
				t.Errorf("request = %s, want %s", last, c.want)
			}
		})
	}
}

func TestSubmitEndsAsTheJobDoes(t *testing.T) {
	for name, c := range map[string]struct {
		end  string
		code int
		want string // in stderr
	}{
		"succeeded":                  {`"status":"SUCCEEDED"`, 0, "job 7\n"},
		"failed":                     {`"status":"FAILED","error":"no"`, 1, "error: job 7 FAILED: no\n"},
		"failed with its own code":   {`"status":"FAILED","exit_code":3,"error":"exit status 3"`, 3, "exit status 3"},
		"failed with a strange code": {`"status":"FAILED","exit_code":0`, 1, "FAILED"},
		"killed":                     {`"status":"KILLED","error":"timeout"`, 137, "KILLED: timeout"},
		"canceled":                   {`"status":"CANCELED","exit_code":3`, 143, "CANCELED"},
	} {
		for _, way := range []string{"--wait", "--wait=1m", "--follow", "--wait --follow"} {
			t.Run(name+" "+way, func(t *testing.T) {
				h := script(t, map[string]http.HandlerFunc{
					"POST /job":            says(202, `{"id":"7","status":"NEW"}`),
					"GET /job/7?wait=1m0s": says(200, `{"id":"7",`+c.end+`}`),
					"GET /job/7?wait=1s":   says(200, `{"id":"7",`+c.end+`}`),
					"GET /job/7/stdout?attempt=latest&follow=true": text("out\n"),
					"GET /job/7/stderr?attempt=latest&follow=true": text("err\n"),
					"GET /job/7/result":                            says(200, helloTable),
				})
				got := run(t, h.URL, append([]string{"job", "submit", "--command-criteria", "a"}, strings.Fields(way)...)...)
				if got.code != c.code || !strings.Contains(got.stderr, c.want) {
					t.Errorf("got %+v, want code %d and %q", got, c.code, c.want)
				}
				if !strings.HasSuffix(way, "--follow") {
					if want := "message\tn\nHello,\\tetl!\t1\n\t9007199254740993\n"; got.stdout != want {
						t.Errorf("stdout = %q, want %q", got.stdout, want)
					}
				} else if got.stdout != "out\n" || !strings.Contains(got.stderr, "err\n") {
					t.Errorf("got %+v, want both streams where they belong", got)
				}
			})
		}
	}
}

func TestSubmitWaitsForNoResult(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"POST /job":            says(202, `{"id":"7","status":"NEW"}`),
		"GET /job/7?wait=1m0s": says(200, `{"id":"7","status":"SUCCEEDED"}`),
	})
	if got := run(t, h.URL, "job", "submit", "--command-criteria", "a", "--wait"); got != (outcome{0, "", "job 7\nSUCCEEDED, no result\n"}) {
		t.Errorf("got %+v, want success without output", got)
	}
}

func TestWaitTimesOut(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"POST /job":            says(202, `{"id":"7","status":"NEW"}`),
		"GET /job/7?wait=1m0s": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	})
	for _, args := range [][]string{{"job", "submit", "--command-criteria", "a", "--wait=10ms"}, {"job", "result", "7", "--wait=10ms"}} {
		got := run(t, h.URL, args...)
		if got.code != 124 || !strings.Contains(got.stderr, "error: job 7 has not ended after 10ms; it goes on\n") {
			t.Errorf("%v: got %+v, want code 124", args, got)
		}
	}
}

func TestGet(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"GET /job/7": says(200, ended),
		"GET /job/9": says(200, `{"id":"9","status":"NEW","cluster_criteria":[["y","z"],["y"]],"progress":{"done":1,"total":3,"message":"a\tb"}}`),
	})
	if got := run(t, h.URL, "job", "get", "7", "-o", "json"); got != (outcome{0, ended, ""}) {
		t.Errorf("got %+v, want the answer untouched", got)
	}
	want := strings.Join([]string{
		"id\t7", "status\tFAILED", "error\texit status 3", "error_class\tfailed", "exit_code\t3", "name\tn", "version\t1", "user\tetl",
		"command\tc", "cluster\tl", "tags\t_id:7,t", "command_criteria\tx", "cluster_criteria\ty", "context\t" + `{"a":1}`,
		"attempt\t1", "created\t2026-11-23T07:32:03.934Z", "ended\t2026-11-23T07:32:04.000Z", "link\thttp://x", "",
	}, "\n")
	if got := run(t, h.URL, "job", "get", "7"); got != (outcome{0, want, ""}) {
		t.Errorf("got %+v, want %q", got, want)
	}
	if got := run(t, h.URL, "job", "get", "9"); !strings.Contains(got.stdout, "\ncluster_criteria\ty,z; y\n") || !strings.Contains(got.stdout, "\nprogress\t33 %, a\\tb\n") {
		t.Errorf("got %+v, want both lists, and how far it is", got)
	}
	table := run(t, h.URL, "job", "get", "7", "-o", "table").stdout
	if !strings.HasPrefix(table, "FIELD             VALUE\nid                7\n") {
		t.Errorf("table = %q, want columns side by side", table)
	}
	if got := run(t, h.URL, "job", "get", "8"); got.code != 5 {
		t.Errorf("got %+v, want code 5", got)
	}
}

func TestList(t *testing.T) {
	page := `{"data":[{"id":"7","name":"a\nb","status":"NEW","user":"etl","command_name":"c","cluster_name":"l","created_time":"2026-11-23T07:32:03Z"}],"has_more":true,"next_cursor":"abc"}`
	const query = "GET /jobs?cluster=l&command=c&cursor=x&direction=asc&id=i&limit=5&name=n%25&order_by=updated_at&status=new&status=FAILED&tags=t&tags=u&username=w&version=v"
	h := script(t, map[string]http.HandlerFunc{"GET /jobs": says(200, page), query: says(200, `{"data":[],"has_more":false}`)})
	row := "7\ta\\nb\tNEW\tetl\tc\tl\t2026-11-23T07:32:03.000Z\n"
	if got := run(t, h.URL, "job", "list"); got != (outcome{0, row, "there are more: --all, or --cursor abc\n"}) {
		t.Errorf("got %+v, want %q", got, row)
	}
	table := "ID  NAME  STATUS  USER  COMMAND  CLUSTER  CREATED\n7   a b   NEW     etl   c        l        2026-11-23T07:32:03.000Z\n"
	if got := run(t, h.URL, "job", "list", "-o", "table"); got.stdout != table {
		t.Errorf("got %q, want %q", got.stdout, table)
	}
	if got := run(t, h.URL, "job", "list", "-o", "json"); got.stdout != page+"\n" {
		t.Errorf("got %q, want the answer and the end of its line", got.stdout)
	}
	got := run(t, h.URL, "job", "list", "--id", "i", "--name", "n%", "--version", "v", "--username", "w", "--command", "c", "--cluster", "l",
		"--status", "new,FAILED", "--tags", "t,u", "--limit", "5", "--cursor", "x", "--order-by", "updated_at", "--ascending")
	if got != (outcome{0, "", ""}) {
		t.Errorf("got %+v, want nothing", got)
	}
}

func TestLogs(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"GET /job/7/stdout?": text("out\x00\xff"),
		"GET /job/7/stderr?": text("err"),
		"GET /job/7/stderr?attempt=latest&follow=true&tail=3": text("last"),
		"GET /job/7?wait=1s": says(200, `{"id":"7","status":"SUCCEEDED"}`),
	})
	for args, want := range map[string]outcome{
		"":                           {0, "out\x00\xff", "err"},
		"--stdout":                   {0, "out\x00\xff", ""},
		"--stderr":                   {0, "err", ""},
		"--stderr --tail 3 --follow": {0, "last", ""},
		"--tail 9":                   {5, "", "error: no such job\n"},
	} {
		if got := run(t, h.URL, append([]string{"job", "logs", "7"}, strings.Fields(args)...)...); got != want {
			t.Errorf("logs %s: got %+v, want %+v", args, got, want)
		}
	}
}

func TestResult(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"GET /job/7/result":    says(200, helloTable),
		"GET /job/8/result":    text("a document"),
		"GET /job/9/result":    says(200, `{"a":1}`),
		"GET /job/10/result":   says(200, `{"columns":[{"name":"n","type":"int64"}],"data":[`+strings.Repeat("[1],", 1500)+`[1234567]]}`),
		"GET /job/11/result":   says(200, `{"columns":[{"name":"message","type":"string"}],"data":[["a\tb\nc"]]}`),
		"GET /job/12/result":   says(200, `{"columns":[{"name":"message","type":"string"}],"data":[["a\tb\n"],["c"]]}`),
		"GET /job/13/result":   says(200, `{"columns":[{"name":"message","type":"string"}],"data":[]}`),
		"GET /job/6/result":    says(409, `{"error":"the job is RUNNING"}`),
		"GET /job/7?wait=1m0s": says(200, `{"id":"7","status":"SUCCEEDED"}`),
	})
	for args, want := range map[string]outcome{
		"7":           {0, "message\tn\nHello,\\tetl!\t1\n\t9007199254740993\n", ""},
		"7 --wait":    {0, "message\tn\nHello,\\tetl!\t1\n\t9007199254740993\n", ""},
		"7 -o json":   {0, helloTable, ""},
		"7 -o table":  {0, "message      n\nHello, etl!  1\nNULL         9007199254740993\n", ""},
		"8":           {0, "a document", ""},
		"9":           {0, `{"a":1}`, ""},
		"10":          {0, "n\n" + strings.Repeat("1\n", 1500) + "1234567\n", ""},
		"10 -o table": {0, "n\n" + strings.Repeat("1\n", 1500) + "1234567\n", ""},
		"11":          {0, "a\tb\nc\n", ""},
		"11 -o table": {0, "a\tb\nc\n", ""},
		"11 -o json":  {0, `{"columns":[{"name":"message","type":"string"}],"data":[["a\tb\nc"]]}` + "\n", ""},
		"12":          {0, "message\na\\tb\\n\nc\n", ""},
		"13":          {0, "message\n", ""},
		"8 -o json":   {0, "a document", ""},
		"9 -o json":   {0, `{"a":1}` + "\n", ""},
		"6":           {1, "", "error: the job is RUNNING\n"},
		"5":           {5, "", "error: no such job\n"},
	} {
		if got := run(t, h.URL, append([]string{"job", "result"}, strings.Fields(args)...)...); got != want {
			t.Errorf("result %s: got %+v, want %+v", args, got, want)
		}
	}
}

// Who waits for the end of a job that was submitted before ends as submit does.
func TestLaterWaitsEndAsTheJobDoes(t *testing.T) {
	for name, c := range map[string]struct {
		end    string
		code   int
		stderr string
	}{
		"failed":                    {`"status":"FAILED","error":"no"`, 1, "error: job 7 FAILED: no\n"},
		"failed with its own code":  {`"status":"FAILED","exit_code":3,"error":"exit status 3"`, 3, "error: job 7 FAILED: exit status 3\n"},
		"killed":                    {`"status":"KILLED","error":"timeout"`, 137, "error: job 7 KILLED: timeout\n"},
		"canceled":                  {`"status":"CANCELED"`, 143, "error: job 7 CANCELED\n"},
		"succeeded, with no result": {`"status":"SUCCEEDED"`, 5, "error: no such job\n"},
	} {
		t.Run(name, func(t *testing.T) {
			h := script(t, map[string]http.HandlerFunc{
				"GET /job/7?wait=1m0s":                         says(200, `{"id":"7",`+c.end+`}`),
				"GET /job/7?wait=1s":                           says(200, `{"id":"7",`+c.end+`}`),
				"GET /job/7/stdout?attempt=latest&follow=true": text("out\n"),
				"GET /job/7/stderr?attempt=latest&follow=true": text(""),
			})
			if got, want := run(t, h.URL, "job", "result", "7", "--wait"), (outcome{c.code, "", c.stderr}); got != want {
				t.Errorf("result: got %+v, want %+v", got, want)
			}
			want := outcome{c.code, "out\n", c.stderr}
			if c.code == cli.ExitNotFound { // logs need no result
				want = outcome{0, "out\n", ""}
			}
			for _, way := range [][]string{{"--follow"}, {"--follow", "--stdout"}} {
				if got := run(t, h.URL, append([]string{"job", "logs", "7"}, way...)...); got != want {
					t.Errorf("logs %v: got %+v, want %+v", way, got, want)
				}
			}
		})
	}
}

func TestResultThatIsCutOff(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"GET /job/7/result": says(200, `{"columns":[{"name":"n","type":"int64"}],"data":[[1],[2`),
	})
	got := run(t, h.URL, "job", "result", "7")
	if got.code != cli.ExitServer || got.stdout != "n\n1\n" || !strings.Contains(got.stderr, "row 2 of the result") {
		t.Errorf("got %+v, want one row and an error about the next", got)
	}
}

// gauge is an output that sees how much memory is in use while it is written to.
type gauge struct{ written, seen, peak int64 }

func (g *gauge) Write(p []byte) (int, error) {
	if g.written += int64(len(p)); g.written-g.seen > 2<<20 {
		g.seen = g.written
		g.peak = max(g.peak, inUse())
	}
	return len(p), nil
}

func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A result may be larger than memory.
func TestLargeResultNeedsLittleMemory(t *testing.T) {
	row := `,["` + strings.Repeat("x", 150) + `"]`
	h := script(t, map[string]http.HandlerFunc{
		"GET /job/7/result": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"columns":[{"name":"s","type":"string"}],"data":[["first"]`)
			for range 250 {
				_, _ = io.WriteString(w, strings.Repeat(row, 256))
			}
			_, _ = io.WriteString(w, `]}`)
		},
	})
	for _, format := range []string{"tsv", "table", "json"} {
		out, before := &gauge{}, inUse() // other tests may have left something
		code := cli.Run(t.Context(), cli.Program{
			Args:   []string{"job", "result", "7", "-o", format, "--server", h.URL, "--user", "u"},
			Stdout: out,
			Stderr: io.Discard,
		})
		if code != 0 || out.written < 9<<20 || out.seen == 0 {
			t.Errorf("%s: code %d after %d bytes, want all of them", format, code, out.written)
		}
		if more := out.peak - before; more > 10<<20 {
			t.Errorf("%s: %d MiB more in use, want less than 10", format, more>>20)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestCancel(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{"POST /job/7/cancel": says(200, `{"status":"CANCELING"}`)})
	if got := run(t, h.URL, "job", "cancel", "7"); got != (outcome{0, "CANCELING\n", ""}) {
		t.Errorf("got %+v, want CANCELING", got)
	}
	if got := run(t, h.URL, "job", "cancel", "7", "-o", "json"); got != (outcome{0, `{"status":"CANCELING"}` + "\n", ""}) {
		t.Errorf("got %+v, want JSON", got)
	}
}
