package auth_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/auth"
	"github.com/heimdall-run/heimdall/host/internal/errs"
)

func newAuth(t testing.TB, c auth.Config) *auth.Auth {
	t.Helper()
	if c.TrustedHeaders == nil {
		c.TrustedHeaders = []string{"X-Heimdall-User", "x-pattern-user"}
	}
	if c.TrustedProxies == nil {
		c.TrustedProxies = []string{"127.0.0.0/8", "::1/128", "10.1.2.3/16"}
	}
	a, err := auth.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	const (
		local   = "127.0.0.1:4711"
		nobody  = "no user is named: send the header X-Heimdall-User or X-Pattern-User"
		refused = "no user is known: this request came from %, which is not in auth.trusted_proxies, so X-Heimdall-User or X-Pattern-User is not believed"
	)
	from := func(address string) string { return strings.Replace(refused, "%", address, 1) }
	tests := map[string]struct {
		peer   string
		header http.Header
		user   string
		err    string
	}{
		"the first header":                     {local, http.Header{"X-Heimdall-User": {"ann"}}, "ann", ""},
		"the second header":                    {local, http.Header{"X-Pattern-User": {"test_user"}}, "test_user", ""},
		"the first of both":                    {local, http.Header{"X-Pattern-User": {"bob"}, "X-Heimdall-User": {"ann"}}, "ann", ""},
		"an empty one does not count":          {local, http.Header{"X-Heimdall-User": {" "}, "X-Pattern-User": {"bob"}}, "bob", ""},
		"space around is cut":                  {local, http.Header{"X-Heimdall-User": {" ann lee\t"}}, "ann lee", ""},
		"letters of any script":                {local, http.Header{"X-Heimdall-User": {"Zoë 雪"}}, "Zoë 雪", ""},
		"as long as it may be":                 {local, http.Header{"X-Heimdall-User": {strings.Repeat("a", 128)}}, strings.Repeat("a", 128), ""},
		"IPv6 loopback":                        {"[::1]:4711", http.Header{"X-Heimdall-User": {"ann"}}, "ann", ""},
		"IPv4 in IPv6 form":                    {"[::ffff:127.0.0.1]:4711", http.Header{"X-Heimdall-User": {"ann"}}, "ann", ""},
		"a zone does not count":                {"[::1%lo]:4711", http.Header{"X-Heimdall-User": {"ann"}}, "ann", ""},
		"a range with host bits":               {"10.1.99.9:1", http.Header{"X-Heimdall-User": {"ann"}}, "ann", ""},
		"no header":                            {local, nil, "", nobody},
		"only empty headers":                   {local, http.Header{"X-Heimdall-User": {""}, "X-Pattern-User": {"\t"}}, "", nobody},
		"another header":                       {local, http.Header{"X-User": {"ann"}}, "", nobody},
		"twice":                                {local, http.Header{"X-Heimdall-User": {"ann", "bob"}}, "", "the header X-Heimdall-User is there 2 times; send it once"},
		"twice, one empty":                     {local, http.Header{"X-Heimdall-User": {"", "bob"}}, "", "the header X-Heimdall-User is there 2 times; send it once"},
		"too long":                             {local, http.Header{"X-Pattern-User": {strings.Repeat("a", 129)}}, "", "the user in the header X-Pattern-User is longer than 128 bytes"},
		"control characters":                   {local, http.Header{"X-Heimdall-User": {"a\x00b"}}, "", "the user in the header X-Heimdall-User is not plain UTF-8 text"},
		"not UTF-8":                            {local, http.Header{"X-Heimdall-User": {"a\xff"}}, "", "the user in the header X-Heimdall-User is not plain UTF-8 text"},
		"a bad first one does not fall back":   {local, http.Header{"X-Heimdall-User": {"a\xff"}, "X-Pattern-User": {"bob"}}, "", "the user in the header X-Heimdall-User is not plain UTF-8 text"},
		"a peer outside":                       {"192.0.2.7:80", http.Header{"X-Heimdall-User": {"ann"}}, "", from("192.0.2.7")},
		"a peer outside without a header":      {"192.0.2.7:80", nil, "", from("192.0.2.7")},
		"a forwarded address does not count":   {"192.0.2.7:80", http.Header{"X-Heimdall-User": {"ann"}, "X-Forwarded-For": {"127.0.0.1"}}, "", from("192.0.2.7")},
		"outside in IPv6 form":                 {"[::ffff:192.0.2.7]:80", http.Header{"X-Heimdall-User": {"ann"}}, "", from("192.0.2.7")},
		"just outside the range":               {"10.2.0.0:80", http.Header{"X-Heimdall-User": {"ann"}}, "", from("10.2.0.0")},
		"a peer that is no address":            {"@", http.Header{"X-Heimdall-User": {"ann"}}, "", from("an unknown address")},
		"a name in place of an address":        {"localhost:80", http.Header{"X-Heimdall-User": {"ann"}}, "", from("an unknown address")},
		"an address without a port is no peer": {"127.0.0.1", http.Header{"X-Heimdall-User": {"ann"}}, "", from("an unknown address")},
	}
	a := newAuth(t, auth.Config{})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = test.peer
			r.Header = test.header
			user, err := a.Authenticate(r)
			if test.err == "" {
				if err != nil || user.Name != test.user {
					t.Errorf("Authenticate = %q, %v; want %q", user.Name, err, test.user)
				}
				return
			}
			if err == nil || err.Error() != test.err || !errs.Is(err, errs.Unauthenticated) || user.Name != "" {
				t.Errorf("Authenticate = %q, %v (%v); want error %q", user.Name, err, errs.KindOf(err), test.err)
			}
		})
	}
}

// What a client sends over a socket reaches Authenticate in the shape that the
// table above takes for granted.
func TestAuthenticateOverHTTP(t *testing.T) {
	t.Parallel()
	a := newAuth(t, auth.Config{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := a.Authenticate(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.Header().Set("User", user.Name)
	}))
	defer server.Close()

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("x-pattern-user", "test_user")
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("User"); got != "test_user" {
		t.Errorf("user = %q (status %d), want test_user", got, response.StatusCode)
	}
}

func TestMayOperate(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		operators []string
		loopback  bool
		err       string
	}{
		"everybody on loopback":       {nil, true, ""},
		"nobody beyond loopback":      {nil, false, "nobody may do this: auth.operators is empty, and the API can be reached from other machines"},
		"an operator":                 {[]string{"root", "ann"}, false, ""},
		"an operator on loopback":     {[]string{"ann"}, true, ""},
		"not one":                     {[]string{"Ann"}, false, `user "ann" is not an operator; auth.operators lists who is`},
		"not one, though on loopback": {[]string{"bob"}, true, `user "ann" is not an operator; auth.operators lists who is`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := newAuth(t, auth.Config{Operators: test.operators, Loopback: test.loopback}).MayOperate(auth.User{Name: "ann"})
			switch {
			case test.err == "" && err != nil:
				t.Errorf("MayOperate = %v, want nil", err)
			case test.err != "" && (err == nil || err.Error() != test.err || !errs.Is(err, errs.Denied)):
				t.Errorf("MayOperate = %v, want %q", err, test.err)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		config auth.Config
		err    string
	}{
		"no header":   {auth.Config{}, "auth.trusted_headers is empty"},
		"one address": {auth.Config{TrustedHeaders: []string{"X-User"}, TrustedProxies: []string{"10.0.0.1"}}, `auth.trusted_proxies: "10.0.0.1" is not a range`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := auth.New(test.config); err == nil || !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("New = %v, want an error that begins with %q", err, test.err)
			}
		})
	}
}
