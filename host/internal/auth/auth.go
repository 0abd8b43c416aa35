// Package auth says who sent a request and what that user may do.
package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// maxNameBytes is the length of the longest user name.
const maxNameBytes = 128

// Config says whom to believe and who is an operator.
type Config struct {
	TrustedHeaders []string // the first that is not empty names the user
	TrustedProxies []string // address ranges of the peers that they are believed from
	Operators      []string // users who may change the catalog; see MayOperate
	Loopback       bool     // the API can be reached from this machine only
}

// User is who sent a request.
type User struct {
	Name string
}

// Auth tells users apart by headers that a trusted peer sets.
type Auth struct {
	headers   []string // in canonical form
	proxies   []netip.Prefix
	operators []string
	loopback  bool
}

// New returns an Auth, or an error that names the address range it cannot read.
func New(c Config) (*Auth, error) {
	a := &Auth{operators: slices.Clone(c.Operators), loopback: c.Loopback}
	for _, name := range c.TrustedHeaders {
		a.headers = append(a.headers, http.CanonicalHeaderKey(name))
	}
	if len(a.headers) == 0 {
		return nil, errors.New("auth.trusted_headers is empty, so that nobody could be known; name a header")
	}
	for _, s := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("auth.trusted_proxies: %q is not a range of addresses: %w", s, err)
		}
		a.proxies = append(a.proxies, prefix.Masked())
	}
	return a, nil
}

// Authenticate returns the user that the request's headers name. They are
// believed only from a peer in the trusted ranges; what a header says about the
// peer's own peer does not count. Every error is of kind errs.Unauthenticated.
func (a *Auth) Authenticate(r *http.Request) (User, error) {
	if !a.trusted(r.RemoteAddr) {
		return User{}, errs.Errorf(errs.Unauthenticated,
			"no user is known: this request came from %s, which is not in auth.trusted_proxies, so %s is not believed",
			peer(r.RemoteAddr), a.names())
	}
	for _, name := range a.headers {
		values := r.Header[name]
		if len(values) > 1 {
			return User{}, errs.Errorf(errs.Unauthenticated, "the header %s is there %d times; send it once", name, len(values))
		}
		if len(values) == 0 || strings.TrimSpace(values[0]) == "" {
			continue
		}
		return named(name, strings.TrimSpace(values[0]))
	}
	return User{}, errs.Errorf(errs.Unauthenticated, "no user is named: send the header %s", a.names())
}

// named returns the user of this name, which a header gave.
func named(header, name string) (User, error) {
	if len(name) > maxNameBytes {
		return User{}, errs.Errorf(errs.Unauthenticated, "the user in the header %s is longer than %d bytes", header, maxNameBytes)
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return User{}, errs.Errorf(errs.Unauthenticated, "the user in the header %s is not plain UTF-8 text", header)
	}
	return User{Name: name}, nil
}

// MayOperate returns nil when the user may change commands, clusters and
// leases: when named as an operator or, when nobody is, while the API can be
// reached from this machine only. Else the error is of kind errs.Denied.
func (a *Auth) MayOperate(u User) error {
	switch {
	case len(a.operators) > 0:
		if slices.Contains(a.operators, u.Name) {
			return nil
		}
		return errs.Errorf(errs.Denied, "user %q is not an operator; auth.operators lists who is", u.Name)
	case a.loopback:
		return nil
	}
	return errs.Errorf(errs.Denied,
		"nobody may do this: auth.operators is empty, and the API can be reached from other machines")
}

// trusted reports whether the headers of a peer are believed.
func (a *Auth) trusted(remote string) bool {
	addr, ok := address(remote)
	if !ok {
		return false
	}
	for _, p := range a.proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// address returns the address in the host:port of a peer, without zone, and of
// an IPv4 address in IPv6 form the IPv4 address.
func address(remote string) (netip.Addr, bool) {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}, false
	}
	return peer.Addr().Unmap().WithZone(""), true
}

// peer names a peer for people.
func peer(remote string) string {
	if addr, ok := address(remote); ok {
		return addr.String()
	}
	return "an unknown address"
}

// names lists the headers for a sentence.
func (a *Auth) names() string {
	return strings.Join(a.headers, " or ")
}
