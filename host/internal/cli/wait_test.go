package cli_test

import (
	"fmt"
	"io"
	"net/http"
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
		"GET /job/7/stdout?follow=true": func(w http.ResponseWriter, r *http.Request) {
			n := asked.Add(1)
			for i := range 2 * n { // more each time
				fmt.Fprintf(w, "line %d\n", i+1)
			}
			w.(http.Flusher).Flush()
			if n == 1 {
				breaks(w, r)
			}
		},
		"GET /job/7/stderr?follow=true": text("err\n"),
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

// The last lines of a log have no place in it, so after a restart they are
// printed again, and that is said.
func TestFollowOfATailBearsARestart(t *testing.T) {
	var asked atomic.Int32
	h := script(t, map[string]http.HandlerFunc{
		"GET /job/7/stdout?follow=true&tail=1": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "last\n")
			w.(http.Flusher).Flush()
			if asked.Add(1) == 1 {
				breaks(w, r)
			}
		},
		"GET /job/7?wait=1s": says(200, `{"id":"7","status":"SUCCEEDED"}`),
	})
	got := run(t, h.URL, "job", "logs", "7", "--stdout", "--tail", "1", "--follow")
	if want := (outcome{0, "last\nlast\n", "the last lines are printed once more\n"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A log that cannot be read for a while, of a job that has ended, is not asked for all
// the time.
func TestFollowDoesNotStorm(t *testing.T) {
	var asked atomic.Int32
	h := script(t, map[string]http.HandlerFunc{
		"POST /job": says(202, `{"id":"7","status":"NEW"}`),
		"GET /job/7/stdout?follow=true": func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) < 3 {
				says(503, `{"error":"the artifacts are away"}`)(w, r)
				return
			}
			_, _ = io.WriteString(w, "out\n")
		},
		"GET /job/7/stderr?follow=true": text(""),
		"GET /job/7?wait=1s":            says(200, `{"id":"7","status":"SUCCEEDED"}`),
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
