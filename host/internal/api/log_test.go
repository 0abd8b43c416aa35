package api_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// logged returns a server with a job that has written text, and its log.
func logged(t *testing.T, text string) (*server, string, *fakeLog) {
	t.Helper()
	f := newFake()
	id := job.NewID()
	f.add(&job.Job{ID: id, Status: job.Running})
	log := newFakeLog()
	log.write(text)
	f.logs[string(id)+"/stdout"] = log
	return serve(t, f), "/api/v1/job/" + string(id) + "/stdout", log
}

// finish ends the log and the only job of the server.
func (l *fakeLog) finish(t *testing.T, s *server) {
	t.Helper()
	for id := range s.jobs {
		s.end(id, func(j *job.Job) { j.Status = job.Succeeded })
	}
	l.end()
}

func TestLogs(t *testing.T) {
	const text = "one\ntwo\nthree\n"
	for name, c := range map[string]struct {
		text, query, span string
		status            int
		want              string
		contentRange      string
	}{
		"all of it":                    {text, "", "", 200, text, ""},
		"nothing was written":          {"", "", "", 200, "", ""},
		"nothing was written, a range": {"", "", "bytes=0-", 200, "", ""},
		"nothing was written, a tail":  {"", "?tail=5", "", 200, "", ""},
		"the last line":                {text, "?tail=1", "", 200, "three\n", ""},
		"the last two":                 {text, "?tail=2", "", 200, "two\nthree\n", ""},
		"all lines":                    {text, "?tail=3", "", 200, text, ""},
		"more lines than there are":    {text, "?tail=9", "", 200, text, ""},
		"no line":                      {text, "?tail=0", "", 200, "", ""},
		"a line without its end":       {"one\ntwo", "?tail=1", "", 200, "two", ""},
		"empty lines":                  {"one\n\n\n", "?tail=2", "", 200, "\n\n", ""},
		"only ends of lines":           {"\n\n\n", "?tail=2", "", 200, "\n\n", ""},
		"a line longer than a block":   {"a\n" + strings.Repeat("x", 70_000) + "\nb\n", "?tail=2", "", 200, strings.Repeat("x", 70_000) + "\nb\n", ""},
		"the first bytes":              {text, "", "bytes=0-2", 206, "one", "bytes 0-2/14"},
		"from a byte on":               {text, "", "bytes=8-", 206, "three\n", "bytes 8-13/14"},
		"the last bytes":               {text, "", "bytes=-6", 206, "three\n", "bytes 8-13/14"},
		"more last bytes":              {text, "", "bytes=-600", 206, text, "bytes 0-13/14"},
		"beyond the end":               {text, "", "bytes=8-99", 206, "three\n", "bytes 8-13/14"},
		"several ranges":               {text, "", "bytes=0-1,3-4", 200, text, ""},
		"a unit that is not known":     {text, "", "lines=1-2", 200, text, ""},
		"a range backwards":            {text, "", "bytes=5-2", 200, text, ""},
		"no range":                     {text, "", "bytes=x", 200, text, ""},
		"lines before bytes":           {text, "?tail=1", "bytes=0-1", 200, "three\n", ""},
		"a largest range":              {text, "", "bytes=1-9223372036854775807", 206, text[1:], "bytes 1-13/14"},
	} {
		t.Run(name, func(t *testing.T) {
			s, path, _ := logged(t, c.text)
			var headers []string
			if c.span != "" {
				headers = append(headers, "Range: "+c.span)
			}
			a := s.do(t, "GET", path+c.query, "", headers...)
			if a.StatusCode != c.status || a.text != c.want {
				t.Errorf("answer = %d %.80q, want %d %.80q", a.StatusCode, a.text, c.status, c.want)
			}
			if got := a.Header.Get("Content-Range"); got != c.contentRange {
				t.Errorf("Content-Range = %q, want %q", got, c.contentRange)
			}
			if got := a.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("Content-Type = %q", got)
			}
			if a.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("no nosniff, want it")
			}
		})
	}
}

func TestLogsRefuse(t *testing.T) {
	s, path, _ := logged(t, "one\n")
	a := s.do(t, "GET", path, "", "Range: bytes=4-")
	checkProblem(t, a, http.StatusRequestedRangeNotSatisfiable, "4 bytes")
	if got := a.Header.Get("Content-Range"); got != "bytes */4" {
		t.Errorf("Content-Range = %q, want bytes */4", got)
	}
	checkProblem(t, s.do(t, "GET", path, "", "Range: bytes=-0"), http.StatusRequestedRangeNotSatisfiable, "")
	checkProblem(t, s.do(t, "GET", path+"?tail=-1", ""), http.StatusBadRequest, "number of lines")
	checkProblem(t, s.do(t, "GET", path+"?tail=x", ""), http.StatusBadRequest, "number of lines")
	checkProblem(t, s.do(t, "GET", path+"?follow=maybe", ""), http.StatusBadRequest, "true nor false")
}

func TestFollow(t *testing.T) {
	s, path, log := logged(t, "zero\none\n")
	res, err := s.Client().Do(s.request(t, "GET", path+"?follow=true&tail=1", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for _, want := range []string{"one", "two", "three"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("line = %q, %v, want %q", lines.Text(), lines.Err(), want)
		}
		switch want { // each line is written when the one before has arrived
		case "one":
			log.write("two\n")
		case "two":
			log.write("three\n")
		case "three":
			log.write("last words")
			log.finish(t, s)
		}
	}
	if !lines.Scan() || lines.Text() != "last words" {
		t.Errorf("line = %q, want the last words", lines.Text())
	}
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("then %q, %v, want the end", lines.Text(), lines.Err())
	}
}

func TestFollowBeginsBeforeAnythingWasWritten(t *testing.T) {
	s, path, log := logged(t, "")
	res, err := s.Client().Do(s.request(t, "GET", path+"?follow=true", "")) // returns with the headers
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	log.write("one")
	log.finish(t, s)
	if text, err := io.ReadAll(res.Body); string(text) != "one" || err != nil {
		t.Errorf("read %q, %v, want one", text, err)
	}
}

func TestFollowEndsWhenTheHostStops(t *testing.T) {
	s, path, _ := logged(t, "one")
	res, err := s.Client().Do(s.request(t, "GET", path+"?follow=true", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	s.handler.Stop()
	if text, err := io.ReadAll(res.Body); string(text) != "one" || err != nil {
		t.Errorf("read %q, %v, want one", text, err)
	}
}

// A connection that carried a stream serves the next request.
func TestConnectionIsUsedAgainAfterAStream(t *testing.T) {
	s, path, _ := logged(t, "one\n")
	for range 3 {
		if a := s.do(t, "GET", path, ""); a.text != "one\n" {
			t.Fatalf("read %q, want one", a.text)
		}
	}
}
