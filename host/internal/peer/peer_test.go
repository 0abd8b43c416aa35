package peer_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/peer"
)

// book knows the address of one host.
type book string

func (b book) HostAddress(_ context.Context, id string) (name, address string, err error) {
	if id != "b" {
		return "", "", errs.Errorf(errs.NotFound, "there is no host %s", id)
	}
	return "machine", string(b), nil
}

var key = []byte(strings.Repeat("k", 32))

// answering is a host b that says for whom it was asked, and keeps what it got.
func answering(t *testing.T, b *peer.Peers) (*httptest.Server, *http.Request) {
	t.Helper()
	got := &http.Request{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*got = *r.Clone(context.WithoutCancel(r.Context()))
		user, asked, err := b.Authenticate(r)
		if err != nil || !asked {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, user+" "+r.RequestURI)
	}))
	t.Cleanup(s.Close)
	return s, got
}

func TestAsk(t *testing.T) {
	b := peer.New(peer.Config{Host: "b", Key: key})
	s, got := answering(t, b)
	a := peer.New(peer.Config{Host: "a", Key: key, Store: book(s.Listener.Addr().String())})
	defer a.Close()
	const uri = "/api/v1/job/1/stdout?tail=3&attempt=2"
	answer, err := a.Ask(t.Context(), "b", "Zoë 雪", http.MethodGet, uri, http.Header{"Range": {"bytes=1-2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "Zoë 雪 "+uri || got.Header.Get("Range") != "bytes=1-2" {
		t.Errorf("got %q, %v with range %q, want the user, the path and the range", text, err, got.Header.Get("Range"))
	}
	again := got.Clone(t.Context())
	if _, asked, err := b.Authenticate(again); !asked || !errs.Is(err, errs.Unauthenticated) || !strings.Contains(err.Error(), "before") {
		t.Errorf("once more: got %v, %v, want a refusal", asked, err)
	}
	if _, err := a.Ask(t.Context(), "c", "ann", http.MethodGet, uri, nil); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "host c") {
		t.Errorf("a host that is not there: got %v, want unavailable with its id", err)
	}
	s.Close()
	_, err = a.Ask(t.Context(), "b", "ann", http.MethodGet, uri, nil)
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "machine (b)") {
		t.Errorf("a host that does not answer: got %v, want unavailable with its name", err)
	}
}

func TestRefused(t *testing.T) {
	now := time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	at := func(moment time.Time) func() time.Time { return func() time.Time { return moment } }
	for name, tt := range map[string]struct {
		from   peer.Config
		change func(r *http.Request)
		want   string // "" is taken
	}{
		"as it is":          {peer.Config{Host: "a", Key: key, Now: at(now)}, nil, ""},
		"a clock behind":    {peer.Config{Host: "a", Key: key, Now: at(now.Add(-29 * time.Second))}, nil, ""},
		"too old":           {peer.Config{Host: "a", Key: key, Now: at(now.Add(-31 * time.Second))}, nil, "was signed at"},
		"of the future":     {peer.Config{Host: "a", Key: key, Now: at(now.Add(31 * time.Second))}, nil, "was signed at"},
		"another key":       {peer.Config{Host: "a", Key: []byte("other"), Now: at(now)}, nil, "signature"},
		"another path":      {peer.Config{Host: "a", Key: key, Now: at(now)}, func(r *http.Request) { r.RequestURI = "/other" }, "signature"},
		"another method":    {peer.Config{Host: "a", Key: key, Now: at(now)}, func(r *http.Request) { r.Method = http.MethodHead }, "signature"},
		"a method to write": {peer.Config{Host: "a", Key: key, Now: at(now)}, func(r *http.Request) { r.Method = http.MethodPost }, "only read"},
		"another user": {peer.Config{Host: "a", Key: key, Now: at(now)}, func(r *http.Request) {
			words := strings.Split(r.Header.Get(peer.Header), " ")
			words[5] = "cm9vdA"
			r.Header.Set(peer.Header, strings.Join(words, " "))
		}, "signature"},
		"twice": {peer.Config{Host: "a", Key: key, Now: at(now)}, func(r *http.Request) {
			r.Header.Add(peer.Header, r.Header.Get(peer.Header))
		}, "2 times"},
		"words that are none": {peer.Config{Host: "a", Key: key, Now: at(now)}, func(r *http.Request) { r.Header.Set(peer.Header, "x y") }, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			b := peer.New(peer.Config{Host: "b", Key: key, Now: at(now)})
			s, got := answering(t, b)
			tt.from.Store = book(s.Listener.Addr().String())
			a := peer.New(tt.from)
			defer a.Close()
			if answer, err := a.Ask(t.Context(), "b", "ann", http.MethodGet, "/x", nil); err == nil {
				answer.Body.Close()
			}
			// Judged by a host that has not seen it.
			b = peer.New(peer.Config{Host: "b", Key: key, Now: at(now)})
			if tt.change != nil {
				tt.change(got)
			}
			user, asked, err := b.Authenticate(got)
			if tt.want == "" {
				if !asked || err != nil || user != "ann" {
					t.Errorf("got %q, %v, %v, want ann", user, asked, err)
				}
				return
			}
			if !asked || !errs.Is(err, errs.Unauthenticated) || !strings.Contains(err.Error(), tt.want) || user != "" {
				t.Errorf("got %q, %v, %v, want a refusal with %q", user, asked, err, tt.want)
			}
		})
	}
}

// Two hosts of one address: who asks is told what to mend.
func TestAnotherHostAnswers(t *testing.T) {
	s, _ := answering(t, peer.New(peer.Config{Host: "c", Key: key}))
	a := peer.New(peer.Config{Host: "a", Key: key, Store: book(s.Listener.Addr().String())})
	defer a.Close()
	_, err := a.Ask(t.Context(), "b", "ann", http.MethodGet, "/x", nil)
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "server.advertise") {
		t.Errorf("got %v, want unavailable and what to mend", err)
	}
}

func TestWhoIsNoHost(t *testing.T) {
	b := peer.New(peer.Config{Host: "b", Key: key})
	if user, asked, err := b.Authenticate(httptest.NewRequest(http.MethodGet, "/x", nil)); user != "" || asked || err != nil {
		t.Errorf("got %q, %v, %v, want that no host asks", user, asked, err)
	}
}

func TestAdvertised(t *testing.T) {
	for at, want := range map[string]string{"127.0.0.1:90": "127.0.0.1:90", "10.0.0.7:90": "10.0.0.7:90", "[::1]:90": "[::1]:90"} {
		address, err := net.ResolveTCPAddr("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		if got := peer.Advertised(address); got != want {
			t.Errorf("%s: got %s, want %s", at, got, want)
		}
	}
	for _, all := range []string{"0.0.0.0:90", "[::]:90"} {
		address, err := net.ResolveTCPAddr("tcp", all)
		if err != nil {
			t.Fatal(err)
		}
		host, port, err := net.SplitHostPort(peer.Advertised(address))
		if ip := net.ParseIP(host); err != nil || port != "90" || ip == nil || ip.IsUnspecified() {
			t.Errorf("%s: got %s, %s, %v, want one address and the port", all, host, port, err)
		}
	}
}
