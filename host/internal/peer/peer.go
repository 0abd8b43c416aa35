// Package peer lets the hosts of a store ask each other on behalf of their callers.
// A request between hosts says who asks whom, for which user and when, and is signed
// with a key that only the hosts of the store know. It is a read, and is answered by
// the host that it goes to or not at all.
package peer

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// Header carries who asks, and the signature.
const Header = "X-Heimdall-Peer"

const (
	connectTime = time.Second      // to reach a host
	answerTime  = 15 * time.Second // until it begins to answer
	// A host that is gone is noticed after the idle time and so many probes.
	aliveTime   = 5 * time.Second
	aliveProbes = 3
)

// Store knows where hosts are.
type Store interface {
	HostAddress(ctx context.Context, id string) (name, address string, err error)
}

// Config is what Peers need.
type Config struct {
	Store Store
	Host  string           // the id of this one
	Key   []byte           // that all hosts of the store share
	Now   func() time.Time // nil: time.Now
}

// Peers are the hosts of a store, for one of them.
type Peers struct {
	Config
	client *http.Client
	seen   *seen
}

// New returns the peers of a host.
func New(c Config) *Peers {
	if c.Now == nil {
		c.Now = time.Now
	}
	dialer := &net.Dialer{
		Timeout:         connectTime,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: aliveTime, Interval: aliveTime, Count: aliveProbes},
	}
	return &Peers{
		Config: c,
		seen:   newSeen(),
		client: &http.Client{
			Transport: &http.Transport{
				DialContext:           dialer.DialContext,
				ResponseHeaderTimeout: answerTime,
				IdleConnTimeout:       30 * time.Second,
				MaxIdleConnsPerHost:   16,
				DisableCompression:    true, // what comes is passed on as it is
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close ends connections that nobody uses.
func (p *Peers) Close() { p.client.CloseIdleConnections() }

// Ask sends a GET or HEAD to another host for a user. The body of the answer has no
// time limit but ctx. The error says in one sentence which host could not be asked;
// it is errs.Unavailable.
func (p *Peers) Ask(ctx context.Context, host, user, method, uri string, header http.Header) (*http.Response, error) {
	name, address, err := p.Store.HostAddress(ctx, host)
	if errs.Is(err, errs.NotFound) {
		return nil, away("host %s, which has what was asked for, is not there any more", host)
	}
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+address+uri, nil)
	if err != nil {
		return nil, away("host %s (%s), which has what was asked for, has the address %q, which cannot be asked: set its server.advertise", name, host, address)
	}
	if header != nil {
		r.Header = header.Clone()
	}
	r.Header.Set(Header, p.sign(host, user, method, r.URL.RequestURI()))
	answer, err := p.client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &errs.Error{
			Kind: errs.Unavailable, Retry: retryTime, Err: err,
			Message: fmt.Sprintf("host %s (%s) at %s, which has what was asked for, does not answer; try again, or look at GET /api/v1/hosts", name, host, address),
		}
	}
	if answer.StatusCode == http.StatusUnauthorized {
		_ = answer.Body.Close()
		return nil, away("%s does not take what this host asks of host %s (%s): its server.advertise is the address of another host, or their clocks differ", address, name, host)
	}
	return answer, nil
}

// retryTime is when to try again to ask a host.
const retryTime = 5 * time.Second

func away(format string, args ...any) error {
	return &errs.Error{Kind: errs.Unavailable, Retry: retryTime, Message: fmt.Sprintf(format, args...)}
}

// Authenticate returns the user that another host asks for. Asked is false, and the
// rest empty, when no host asks. Every error is of kind errs.Unauthenticated.
func (p *Peers) Authenticate(r *http.Request) (user string, asked bool, err error) {
	values := r.Header[Header]
	if len(values) == 0 {
		return "", false, nil
	}
	if len(values) > 1 {
		return "", true, refuse("the header %s is there %d times", Header, len(values))
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return "", true, refuse("hosts only read from each other")
	}
	user, err = p.check(values[0], r.Method, r.RequestURI)
	return user, true, err
}

func refuse(format string, args ...any) error {
	return errs.Errorf(errs.Unauthenticated, "this is not taken as the request of another host: "+format, args...)
}

// Advertised returns the address at which other hosts reach one that listens at an
// address: that, or, where it stands for all addresses of the machine, the first of
// them that others can reach.
func Advertised(listens net.Addr) string {
	at, ok := listens.(*net.TCPAddr)
	if !ok || !at.IP.IsUnspecified() {
		return listens.String()
	}
	addresses, _ := net.InterfaceAddrs() // none: loopback
	best := net.IPv4(127, 0, 0, 1)
	for _, a := range addresses {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		if n.IP.To4() != nil {
			best = n.IP
			break
		}
		if best.IsLoopback() {
			best = n.IP
		}
	}
	return net.JoinHostPort(best.String(), strconv.Itoa(at.Port))
}
