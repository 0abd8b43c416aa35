package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

func TestSubmitFailureOfTheService(t *testing.T) {
	for name, c := range map[string]struct {
		err      error
		status   int
		sentence string
		id       any
		retry    string
	}{
		"no pair":        {errs.Errorf(errs.Invalid, "no command has type:pong"), 422, "type:pong", nil, ""},
		"store away":     {&errs.Error{Kind: errs.Unavailable, Message: "the store is away", ID: "x", Retry: 1500 * time.Millisecond}, 503, "away", "x", "2"},
		"too many":       {errs.Errorf(errs.Limited, "slow down"), 429, "slow", nil, "1"},
		"denied":         {errs.Errorf(errs.Denied, "not yours"), 403, "not yours", nil, ""},
		"a defect":       {context.Canceled, 503, "stopped", nil, "1"},
		"a naked error":  {bytes.ErrTooLarge, 500, "the host made a mistake", nil, ""},
		"an unknown one": {errs.Errorf("strange", "x"), 500, "", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.err = c.err
			a := serve(t, f).do(t, "POST", "/api/v1/job", ping)
			checkProblem(t, a, c.status, c.sentence)
			if got := a.json(t)["id"]; got != c.id {
				t.Errorf("id = %v, want %v", got, c.id)
			}
			if got := a.Header.Get("Retry-After"); got != c.retry {
				t.Errorf("Retry-After = %q, want %q", got, c.retry)
			}
			if strings.Contains(a.text, "bytes.Buffer") {
				t.Errorf("body = %s, want nothing of the cause", a.text)
			}
		})
	}
}

func TestSubmitSyncThatDoesNotSucceed(t *testing.T) {
	three := 3
	for name, c := range map[string]struct {
		status job.Status
		err    *job.Error
		want   int
	}{
		"invalid":         {job.Failed, &job.Error{Class: job.Invalid, Message: "m"}, 422},
		"failed":          {job.Failed, &job.Error{Class: job.WorkFailed, Message: "exit status 3", ExitCode: &three}, 422},
		"denied":          {job.Failed, &job.Error{Class: job.Denied}, 403},
		"quota":           {job.Failed, &job.Error{Class: job.Quota, RetryAfter: time.Minute}, 429},
		"unavailable":     {job.Failed, &job.Error{Class: job.Unavailable}, 502},
		"transient":       {job.Failed, &job.Error{Class: job.Transient}, 502},
		"internal":        {job.Failed, &job.Error{Class: job.Internal}, 502},
		"lost":            {job.Failed, &job.Error{Class: job.Lost}, 502},
		"timeout":         {job.Killed, &job.Error{Class: job.TimedOut}, 504},
		"canceled":        {job.Canceled, &job.Error{Class: job.WasCanceled}, 409},
		"shutdown":        {job.Killed, &job.Error{Class: job.Shutdown}, 503},
		"no class":        {job.Failed, nil, 502},
		"killed no class": {job.Killed, nil, 503},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.sync, f.auto = true, func(j *job.Job) { j.Status, j.Error = c.status, c.err }
			s := serve(t, f)
			a := s.do(t, "POST", "/api/v1/job", ping)
			if a.StatusCode != c.want || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("answer = %d %s, want %d application/json", a.StatusCode, a.Header.Get("Content-Type"), c.want)
			}
			got := a.json(t)
			if got["status"] != string(c.status) || got["id"] == nil {
				t.Errorf("job = %v, want the whole job, %s", got, c.status)
			}
			if c.err == nil {
				return
			}
			if message, _ := got["error"].(string); message != c.err.Message {
				t.Errorf("error = %q, want %q", message, c.err.Message)
			}
			if got["error_class"] != string(c.err.Class) {
				t.Errorf("error_class = %v, want %s", got["error_class"], c.err.Class)
			}
			if c.err.ExitCode != nil && got["exit_code"] != float64(*c.err.ExitCode) {
				t.Errorf("exit_code = %v, want %d", got["exit_code"], *c.err.ExitCode)
			}
			if b := s.do(t, "POST", "/api/v1/job", ping, "Prefer: wait=30"); b.StatusCode != http.StatusOK {
				t.Errorf("with Prefer: wait, status = %d, want 200", b.StatusCode)
			}
		})
	}
}

func TestSubmitPreferences(t *testing.T) {
	for name, c := range map[string]struct {
		sync    bool
		ends    bool
		prefer  string
		status  int
		applied string
		mode    jobs.Waiting
	}{
		"a sync job that must not be waited for": {true, false, "respond-async", 202, "respond-async", jobs.WaitNever},
		"an async job that ends in time":         {false, true, "wait=30", 200, "wait=30", jobs.WaitAlways},
		"a job that does not end in time":        {true, false, "wait=0", 202, "wait=0", jobs.WaitAlways},
		"both":                                   {true, true, "respond-async, Wait=\"5\"; x=y", 200, "respond-async, wait=5", jobs.WaitAlways},
		"a longer wait than there is":            {false, true, "wait=99999", 200, "wait=600", jobs.WaitAlways},
		"what is not known":                      {true, true, "handling=lenient, wait=soon", 200, "", jobs.WaitIfSync},
		"the first of two":                       {false, true, "wait=7, wait=9", 200, "wait=7", jobs.WaitAlways},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.sync = c.sync
			if c.ends {
				f.auto = greet
			}
			a := serve(t, f).do(t, "POST", "/api/v1/job", ping, "Prefer: "+c.prefer)
			if a.StatusCode != c.status {
				t.Errorf("status = %d, want %d; body %s", a.StatusCode, c.status, a.text)
			}
			if got := a.Header.Get("Preference-Applied"); got != c.applied {
				t.Errorf("Preference-Applied = %q, want %q", got, c.applied)
			}
			if got := f.submitted[0]; got != c.mode {
				t.Errorf("mode = %v, want %v", got, c.mode)
			}
			if _, ok := a.json(t)["result"]; ok != (c.status == 200) {
				t.Errorf("body = %s, want a result exactly when it waited", a.text)
			}
		})
	}
}

func TestSubmitClientGoesAway(t *testing.T) {
	for name, c := range map[string]struct {
		body, prefer string
		canceled     bool
	}{
		"a sync job":                      {ping, "", true},
		"a sync job that is to go on":     {strings.Replace(ping, "{", `{"on_disconnect":"continue",`, 1), "", false},
		"with a preference":               {ping, "wait=60", false},
		"with a preference and the field": {strings.Replace(ping, "{", `{"on_disconnect":"cancel",`, 1), "wait=60", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.sync = true
			s := serve(t, f)
			ctx, cancel := context.WithCancel(t.Context())
			r := s.request(t, "POST", "/api/v1/job", c.body).WithContext(ctx)
			if c.prefer != "" {
				r.Header.Set("Prefer", c.prefer)
			}
			gone := make(chan error)
			go func() {
				_, err := s.Client().Do(r)
				gone <- err
			}()
			<-f.waiting
			cancel()
			if err := <-gone; err == nil {
				t.Fatal("the client got an answer, want it to be gone")
			}
			s.Close() // returns when the request was given up
			select {
			case why := <-f.canceled:
				if !c.canceled || why != jobs.ClientGone {
					t.Errorf("canceled for %q, want canceled %v for %q", why, c.canceled, jobs.ClientGone)
				}
			default:
				if c.canceled {
					t.Error("not canceled, want it to be")
				}
			}
		})
	}
}

func TestSubmitResults(t *testing.T) {
	large := `{"columns":[{"name":"c","type":"string"}],"data":[["` + strings.Repeat("x", 9<<20) + `"]]}`
	medium := `{"columns":[],"data":[["` + strings.Repeat("x", 1<<20) + `"]]}`
	href := func(id job.ID) string { return `"href":"/api/v1/job/` + string(id) + `/result"}` }
	for name, c := range map[string]struct {
		result  *job.Result
		content string
		want    func(job.ID) string
	}{
		"a table elsewhere": {
			&job.Result{ContentType: job.TableType, Rows: 1, Bytes: int64(len(medium)), Object: "k"}, medium,
			func(job.ID) string { return medium },
		},
		"a large table elsewhere": {
			&job.Result{ContentType: job.TableType, Rows: 1, Bytes: int64(len(large)), Object: "k"}, large,
			func(id job.ID) string {
				return `{"columns":[{"name":"c","type":"string"}],"rows":1,"bytes":9437240,` + href(id)
			},
		},
		"a large table inline": {
			&job.Result{ContentType: job.TableType, Bytes: int64(len(large)), Inline: []byte(large)}, "",
			func(id job.ID) string {
				return `{"columns":[{"name":"c","type":"string"}],"rows":0,"bytes":9437240,` + href(id)
			},
		},
		"a document": {
			&job.Result{ContentType: "text/html", Bytes: 3, Inline: []byte("<p>")}, "",
			func(id job.ID) string { return `{"content_type":"text/html","bytes":3,` + href(id) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.sync = true
			f.auto = func(j *job.Job) {
				j.Status, j.Result = job.Succeeded, c.result
				f.content[j.ID] = c.content
			}
			a := serve(t, f).do(t, "POST", "/api/v1/job", ping)
			var got struct {
				ID     job.ID
				Result json.RawMessage
			}
			if err := json.Unmarshal([]byte(a.text), &got); err != nil {
				t.Fatalf("body = %.300s: %v", a.text, err)
			}
			if want := c.want(got.ID); string(got.Result) != want {
				t.Errorf("result = %.300s, want %.300s", got.Result, want)
			}
		})
	}
}
