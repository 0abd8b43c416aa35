package cli_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/cli"
)

// breaks answers by breaking the connection.
func breaks(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// A wait bears that the host is away for a while, whatever stands in for it.
func TestWaitBearsARestart(t *testing.T) {
	var asked atomic.Int32
	h := script(t, map[string]http.HandlerFunc{
		"POST /job": says(202, `{"id":"7","status":"NEW"}`),
		"GET /job/7?wait=1m0s": func(w http.ResponseWriter, r *http.Request) {
			switch asked.Add(1) {
			case 1:
				breaks(w, r)
			case 2:
				says(503, `{"error":"the host is stopping"}`)(w, r)
			default:
				says(200, `{"id":"7","status":"SUCCEEDED"}`)(w, r)
			}
		},
		"GET /job/7/result": says(200, helloTable),
	})
	got := run(t, h.URL, "job", "submit", "--command-criteria", "a", "--wait")
	if got.code != 0 || got.stderr != "job 7\nthe server does not answer; the wait goes on\n" || !strings.HasPrefix(got.stdout, "message\t") {
		t.Errorf("got %+v, want the result", got)
	}
}

// Who asks a server that is not there is told so at once.
func TestWaitForNoServer(t *testing.T) {
	if got := run(t, "http://127.0.0.1:1", "job", "result", "7", "--wait"); got.code != cli.ExitServer {
		t.Errorf("got %+v, want code 125", got)
	}
}

// A log that is followed over a restart of the host has no hole, and nothing
// twice.
func TestFollowBearsARestart(t *testing.T) {
	var asked, looked atomic.Int32
	h := script(t, map[string]http.HandlerFunc{
		"POST /job": says(202, `{"id":"7","status":"NEW"}`),
		"GET /job/7/stdout?attempt=latest&follow=true": func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			w.Header().Set("X-Heimdall-Attempt", "1")
			_, _ = io.WriteString(w, "line 1\nline 2\n")
			w.(http.Flusher).Flush()
			breaks(w, r)
		},
		"GET /job/7/stdout?attempt=1&follow=true&offset=14": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Heimdall-Attempt", "1")
			w.Header().Set("X-Heimdall-Offset", "14")
			_, _ = io.WriteString(w, "line 3\n")
			w.(http.Flusher).Flush()
			if asked.Add(1) == 2 {
				panic(http.ErrAbortHandler)
			}
		},
		"GET /job/7/stdout?attempt=1&follow=true&offset=21": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Heimdall-Attempt", "1")
			w.Header().Set("X-Heimdall-Offset", "21")
			_, _ = io.WriteString(w, "line 4\n")
		},
		"GET /job/7/stderr?attempt=latest&follow=true":     part(1, 0, "err\n"),
		"GET /job/7/stderr?attempt=1&follow=true&offset=4": part(1, 4, ""),
		"GET /job/7?wait=1s": func(w http.ResponseWriter, r *http.Request) {
			switch looked.Add(1) {
			case 1:
				breaks(w, r)
			case 2:
				says(200, `{"id":"7","status":"RUNNING"}`)(w, r)
			default:
				says(200, `{"id":"7","status":"FAILED","exit_code":3}`)(w, r)
			}
		},
	})
	got := run(t, h.URL, "job", "submit", "--command-criteria", "a", "--follow")
	want := "line 1\nline 2\nline 3\nline 4\n"
	if got.code != 3 || got.stdout != want || strings.Count(got.stderr, "err\n") != 1 {
		t.Errorf("got %+v, want code 3, %q and one line of stderr", got, want)
	}
}

// So it is where only the last lines are wanted.
func TestFollowOfATailBearsARestart(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"GET /job/7/stdout?attempt=latest&follow=true&tail=1": func(w http.ResponseWriter, r *http.Request) {
			part(1, 10, "last\n")(w, r)
			w.(http.Flusher).Flush()
			breaks(w, r)
		},
		"GET /job/7/stdout?attempt=1&follow=true&offset=15": part(1, 15, "very last\n"),
		"GET /job/7?wait=1s": says(200, `{"id":"7","status":"SUCCEEDED"}`),
	})
	got := run(t, h.URL, "job", "logs", "7", "--stdout", "--tail", "1", "--follow")
	if want := (outcome{0, "last\nvery last\n", ""}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// part answers with a part of a stream of an attempt.
func part(attempt, offset int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Heimdall-Attempt", strconv.Itoa(attempt))
		w.Header().Set("X-Heimdall-Offset", strconv.Itoa(offset))
		_, _ = io.WriteString(w, text)
	}
}

// A job that is tried again is followed on, each attempt from its begin; one attempt
// that is asked for is not.
func TestFollowOverAttempts(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"GET /job/7/stdout?attempt=latest&follow=true": part(1, 0, "first\n"),
		"GET /job/7/stdout?attempt=1&follow=true":      part(1, 0, "first\n"),
		"GET /job/7/stdout?attempt=2&follow=true":      part(2, 0, "second\n"),
		"GET /job/7?wait=1s":                           says(200, `{"id":"7","status":"SUCCEEDED","attempt":2}`),
	})
	for args, want := range map[string]outcome{
		"":            {0, "first\nsecond\n", "the job was tried again; this is attempt 2\n"},
		"--attempt 1": {0, "first\n", ""},
	} {
		if got := run(t, h.URL, append([]string{"job", "logs", "7", "--stdout", "--follow"}, strings.Fields(args)...)...); got != want {
			t.Errorf("%s: got %+v, want %+v", args, got, want)
		}
	}
}

// A log that cannot be read for a while, of a job that has ended, is not asked for all
// the time.
func TestFollowDoesNotStorm(t *testing.T) {
	var asked atomic.Int32
	h := script(t, map[string]http.HandlerFunc{
		"POST /job": says(202, `{"id":"7","status":"NEW"}`),
		"GET /job/7/stdout?attempt=latest&follow=true": func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) < 3 {
				says(503, `{"error":"the artifacts are away"}`)(w, r)
				return
			}
			_, _ = io.WriteString(w, "out\n")
		},
		"GET /job/7/stderr?attempt=latest&follow=true": text(""),
		"GET /job/7?wait=1s":                           says(200, `{"id":"7","status":"SUCCEEDED"}`),
	})
	begun := time.Now()
	got := run(t, h.URL, "job", "submit", "--command-criteria", "a", "--follow")
	if got.code != 0 || got.stdout != "out\n" || asked.Load() != 3 {
		t.Errorf("got %+v after %d requests, want the log after 3", got, asked.Load())
	}
	if took := time.Since(begun); took < 2*time.Second {
		t.Errorf("asked three times within %v, want a pause between", took)
	}
}
