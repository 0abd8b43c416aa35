package peer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"sync"
	"time"
)

// window is how far from now a request may have been signed. The clocks of hosts
// differ by less: one whose clock is 5 seconds from that of the database does not
// start.
const window = 30 * time.Second

// version is the first word of the header.
const version = "1"

// sign returns the header of a request: version, from, to, milliseconds since 1970, a
// word that is used once, user, MAC, between spaces. Names are in base64, so that
// nothing in them can be taken for something else.
func (p *Peers) sign(to, user, method, uri string) string {
	said := strings.Join([]string{
		version, encode(p.Host), encode(to), strconv.FormatInt(p.Now().UnixMilli(), 10), rand.Text(), encode(user),
	}, " ")
	return said + " " + base64.RawURLEncoding.EncodeToString(p.mac(said, method, uri))
}

// mac is over what the header says and what is asked for.
func (p *Peers) mac(said, method, uri string) []byte {
	m := hmac.New(sha256.New, p.Key)
	m.Write([]byte(said + "\n" + method + "\n" + uri))
	return m.Sum(nil)
}

// check returns the user of a header that another host has signed for this one, not
// long ago, and that has not been seen before.
func (p *Peers) check(header, method, uri string) (user string, err error) {
	const words = 7
	w := strings.Split(header, " ")
	if len(w) != words || w[0] != version {
		return "", refuse("its header cannot be read")
	}
	cut := strings.LastIndexByte(header, ' ')
	mac, err := base64.RawURLEncoding.DecodeString(w[words-1])
	if err != nil || !hmac.Equal(mac, p.mac(header[:cut], method, uri)) {
		return "", refuse("its signature is wrong")
	}
	// From here on everything is as a host has written it.
	if decode(w[2]) != p.Host {
		return "", refuse("it is for another host than %s, which answers at this address", p.Host)
	}
	millis, err := strconv.ParseInt(w[3], 10, 64)
	signed := time.UnixMilli(millis)
	now := p.Now()
	if err != nil || signed.Before(now.Add(-window)) || signed.After(now.Add(window)) {
		return "", refuse("it was signed at %s, and it is %s", signed.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if !p.seen.first([sha256.Size]byte(mac), now) {
		return "", refuse("it was answered before")
	}
	if user = decode(w[5]); user == "" {
		return "", refuse("it names no user")
	}
	return user, nil
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// decode returns "" for what encode cannot have written.
func decode(text string) string {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(b)
}

// seen remembers the signatures of the last window or two, on both sides of now. Only
// hosts fill it.
type seen struct {
	mu          sync.Mutex
	since       time.Time // of the newer generation
	newer, past map[[sha256.Size]byte]struct{}
}

func newSeen() *seen { return &seen{newer: map[[sha256.Size]byte]struct{}{}} }

// first reports whether a signature comes for the first time.
func (s *seen) first(mac [sha256.Size]byte, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.since) > 2*window {
		s.past, s.newer, s.since = s.newer, map[[sha256.Size]byte]struct{}{}, now
	}
	_, newer := s.newer[mac]
	_, past := s.past[mac]
	if newer || past {
		return false
	}
	s.newer[mac] = struct{}{}
	return true
}
