package api_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// twice returns a server with a job that has ended in its second attempt.
func twice(t *testing.T) (*server, string) {
	t.Helper()
	f := newFake()
	id := job.NewID()
	f.add(&job.Job{ID: id, Status: job.Failed, Attempt: 2})
	for key, text := range map[string]string{"": "one\n", "/2": "zwei\n\xe9\x1b[1m\r"} {
		log := newFakeLog()
		log.write(text)
		log.end()
		f.logs[string(id)+"/stdout"+key] = log
	}
	return serve(t, f), "/api/v1/job/" + string(id) + "/stdout"
}

func TestAttempts(t *testing.T) {
	s, path := twice(t)
	for query, want := range map[string][3]string{
		"":                                  {"zwei\n\xe9\x1b[1m\r", "2", "0"},
		"?attempt=1":                        {"one\n", "1", "0"},
		"?attempt=2&tail=1":                 {"\xe9\x1b[1m\r", "2", "5"},
		"?attempt=latest&offset=2":          {"ei\n\xe9\x1b[1m\r", "2", "2"},
		"?attempt=1&offset=99":              {"", "1", "4"},
		"?attempt=1&follow=true":            {"one\n", "1", "0"},
		"?attempt=1&follow=true&offset=1":   {"ne\n", "1", "1"},
		"?follow=true&tail=2":               {"zwei\n\xe9\x1b[1m\r", "2", "0"},
		"?attempt=latest&follow=1&offset=4": {"\n\xe9\x1b[1m\r", "2", "4"},
	} {
		a := s.do(t, "GET", path+query, "")
		if got := [3]string{a.text, a.Header.Get("X-Heimdall-Attempt"), a.Header.Get("X-Heimdall-Offset")}; a.StatusCode != 200 || got != want {
			t.Errorf("%s: %d %q, want %q", query, a.StatusCode, got, want)
		}
	}
	for _, query := range []string{"?attempt=0", "?attempt=x", "?attempt=-1", "?offset=-1", "?offset=x", "?offset=1&tail=1"} {
		checkProblem(t, s.do(t, "GET", path+query, ""), http.StatusBadRequest, "")
	}
}

func TestEvents(t *testing.T) {
	s, path := twice(t)
	const (
		one  = "id: 4\nevent: log\ndata: {\"attempt\":1,\"offset\":0,\"text\":\"one\\n\"}\n\n"
		two  = "id: 2:11\nevent: log\ndata: {\"attempt\":2,\"offset\":0,\"text\":\"zwei\\n\\ufffd\\u001b[1m\\r\"}\n\n"
		last = "event: end\ndata: {\"status\":\"FAILED\"}\n\n"
	)
	for name, c := range map[string]struct{ query, id, want string }{
		"the latest":                       {"", "", two + last},
		"one attempt":                      {"?attempt=1", "", one + last},
		"from the first on":                {"", "0", one + two + last},
		"behind all of the first":          {"", "4", two + last},
		"within the second":                {"", "2:5", "id: 2:11\nevent: log\ndata: {\"attempt\":2,\"offset\":5,\"text\":\"\\ufffd\\u001b[1m\\r\"}\n\n" + last},
		"behind all":                       {"", "2:11", last},
		"an attempt and a place in it":     {"?attempt=1", "3", "id: 4\nevent: log\ndata: {\"attempt\":1,\"offset\":3,\"text\":\"\\n\"}\n\n" + last},
		"a place goes before what is said": {"?tail=0", "2:11", last},
	} {
		headers := []string{"Accept: text/event-stream"}
		if c.id != "" {
			headers = append(headers, "Last-Event-ID: "+c.id)
		}
		a := s.do(t, "GET", path+c.query, "", headers...)
		if a.text != c.want || a.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%s: %s %q, want %q", name, a.Header.Get("Content-Type"), a.text, c.want)
		}
	}
	for _, id := range []string{"x", "-1", "0:1", "1:x", ":", "3:4:5"} {
		checkProblem(t, s.do(t, "GET", path, "", "Accept: text/event-stream", "Last-Event-ID: "+id), http.StatusBadRequest, "Last-Event-ID")
	}
	checkProblem(t, s.do(t, "GET", path+"?attempt=2", "", "Accept: text/event-stream", "Last-Event-ID: 1:3"), http.StatusBadRequest, "Last-Event-ID")
}

// A character is not torn between two events.
func TestEventsKeepCharacters(t *testing.T) {
	text := strings.Repeat("x", 32<<10-1) + "雪" // at the end of a block
	s, path, log := logged(t, text)
	log.finish(t, s)
	a := s.do(t, "GET", path, "", "Accept: text/event-stream")
	if !strings.Contains(a.text, `"offset":32767,"text":"雪"`) || strings.Contains(a.text, `\ufffd`) {
		t.Errorf("got %d bytes that end with %.200q, want the character whole", len(a.text), a.text[len(a.text)-200:])
	}
}

// other is another host.
type other struct {
	server *server
	away   bool
}

func (o other) Authenticate(r *http.Request) (user string, asked bool, err error) {
	switch name := r.Header.Get("X-Peer"); name {
	case "":
		return "", false, nil
	case "bad":
		return "", true, errs.Errorf(errs.Unauthenticated, "bad signature")
	default:
		return name, true, nil
	}
}

func (o other) Ask(ctx context.Context, host, user, method, uri string, header http.Header) (*http.Response, error) {
	if o.away || host != "h-2" {
		return nil, &errs.Error{Kind: errs.Unavailable, Message: "host " + host + " does not answer"}
	}
	r, err := http.NewRequestWithContext(ctx, method, o.server.URL+uri, nil)
	if err != nil {
		return nil, err
	}
	r.Header = header.Clone()
	r.Header.Set("X-Peer", user)
	return http.DefaultTransport.RoundTrip(r)
}

// What another host has is answered as that host answers it.
func TestStreamsOfAnotherHost(t *testing.T) {
	owner, path := twice(t)
	front := func(o other) *server {
		f := newFake()
		f.elsewhere = "h-2"
		for _, j := range owner.jobs {
			f.add(j)
		}
		return serve(t, f, func(c *api.Config) { c.Peers = o })
	}
	owner = serve(t, owner.fake, func(c *api.Config) { c.Peers = other{} })
	s := front(other{server: owner})
	for _, query := range []string{"", "?attempt=1", "?tail=1", "?offset=2", "?follow=true", "?follow=true&attempt=1", "?follow=true&tail=1", "?attempt=x"} {
		want, got := owner.do(t, "GET", path+query, ""), s.do(t, "GET", path+query, "")
		if got.StatusCode != want.StatusCode || got.text != want.text {
			t.Errorf("%s: got %d %q, want %d %q", query, got.StatusCode, got.text, want.StatusCode, want.text)
		}
		for _, name := range []string{"Content-Type", "X-Heimdall-Attempt", "X-Heimdall-Offset", "Content-Length"} {
			if got.Header.Get(name) != want.Header.Get(name) {
				t.Errorf("%s: %s = %q, want %q", query, name, got.Header.Get(name), want.Header.Get(name))
			}
		}
	}
	for _, headers := range [][]string{
		{"Range: bytes=1-2"}, {"Range: bytes=99-"}, {"Accept: text/event-stream"}, {"Accept: text/event-stream", "Last-Event-ID: 1"},
	} {
		want, got := owner.do(t, "GET", path, "", headers...), s.do(t, "GET", path, "", headers...)
		if got.StatusCode != want.StatusCode || got.Header.Get("Content-Range") != want.Header.Get("Content-Range") ||
			got.StatusCode < 400 && got.text != want.text {
			t.Errorf("%v: got %d %q, want %d %q", headers, got.StatusCode, got.text, want.StatusCode, want.text)
		}
	}
	// Nobody is asked on behalf of another host, or without a right signature.
	checkProblem(t, s.do(t, "GET", path, "", "X-Peer: ann"), http.StatusServiceUnavailable, "h-2")
	checkProblem(t, s.do(t, "GET", path, "", "X-Peer: bad"), http.StatusUnauthorized, "signature")
	away := front(other{away: true})
	for _, query := range []string{"", "?follow=true"} {
		checkProblem(t, away.do(t, "GET", path+query, ""), http.StatusServiceUnavailable, "h-2")
	}
}

// A stream that breaks between hosts goes on where it was.
func TestFollowBearsABreakBetweenHosts(t *testing.T) {
	owner, path := twice(t)
	broken := false
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !broken {
			broken = true
			w.Header().Set("X-Heimdall-Offset", "0")
			_, _ = io.WriteString(w, "zw")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		if got := r.URL.Query().Get("offset"); got != "2" {
			t.Errorf("asked from %q on, want 2", got)
		}
		w.Header().Set("X-Heimdall-Offset", "2")
		_, _ = io.WriteString(w, "ei\n")
	}))
	defer relay.Close()
	f := newFake()
	f.elsewhere = "h-2"
	for _, j := range owner.jobs {
		f.add(j)
	}
	s := serve(t, f, func(c *api.Config) { c.Peers = other{server: &server{Server: relay}} })
	if a := s.do(t, "GET", path+"?follow=true", ""); a.text != "zwei\n" {
		t.Errorf("got %q, want zwei", a.text)
	}
}
