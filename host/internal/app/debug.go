package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// listenDebug listens for those who look into the process; nil when nobody may.
func listenDebug(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen at %s (server.debug_listen): %w", address, err)
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() { // a name may stand for any address
		_ = l.Close()
		return nil, fmt.Errorf("server.debug_listen is %s, which others can reach: it must be a loopback address, such as 127.0.0.1:6060", address)
	}
	return l, nil
}

// debugTime bounds how long a question may take to arrive.
const debugTime = 5 * time.Second

// serveDebug shows what runs in the process, below /debug/pprof/, until ctx is done.
func (h *host) serveDebug(ctx context.Context) error {
	if h.debug == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: onlyLocal(mux), ReadHeaderTimeout: debugTime}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	h.log.Info("the process can be looked into", "address", "http://"+h.debug.Addr().String()+"/debug/pprof/")
	if err := server.Serve(h.debug); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve server.debug_listen: %w", err)
	}
	return nil
}

// onlyLocal refuses what a page in somebody's browser may ask by a name of its own.
func onlyLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			name = r.Host
		}
		if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this address is for localhost only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
