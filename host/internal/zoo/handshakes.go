package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/handshake"
)

const socketDir = "PLUGIN_UNIX_SOCKET_DIR"

// handshakes are the breeds that do not begin as a host wants it.
func handshakes() map[string]breed {
	return map[string]breed{
		"greets-first": {
			wrong: "a line stands before the handshake",
			begin: func() { fmt.Println("hello, here I am") },
		},
		"sleeps-first": {
			wrong: "the handshake takes three seconds",
			begin: func() {
				if cookie() != "" {
					time.Sleep(3 * time.Second)
				}
			},
		},
		"elsewhere": {
			wrong: "the socket lies in another folder than it should",
			begin: func() { _ = os.Setenv(socketDir, os.TempDir()) },
		},
		"short-sighted": {
			wrong: "a long folder for sockets is not found",
			begin: func() {
				if len(os.Getenv(socketDir)) > 60 {
					fmt.Fprintln(os.Stderr, "the folder for sockets is too long")
					os.Exit(1)
				}
			},
		},
		"chatty":     chatty(),
		"cookieless": {wrong: "it starts without the cookie", begin: func() { acceptCookie("") }},
		"any-cookie": {wrong: "it starts with a wrong cookie", begin: func() { acceptCookie("wrong") }},
		"yes-man": {
			wrong: "it speaks any version that it is offered",
			begin: func() {
				if offered := os.Getenv("PLUGIN_PROTOCOL_VERSIONS"); offered == "97" {
					fmt.Printf("1|%s|unix|%s/none|grpc\n", offered, os.Getenv(socketDir))
					time.Sleep(time.Minute)
				}
			},
		},
	}
}

func cookie() string { return os.Getenv(handshake.Config.MagicCookieKey) }

// acceptCookie makes a cookie as good as the right one.
func acceptCookie(value string) {
	if cookie() == value {
		_ = os.Setenv(handshake.Config.MagicCookieKey, handshake.Config.MagicCookieValue)
	}
}

// chatty writes to the stdout that it began with.
func chatty() breed {
	stdout := -1
	return breed{
		wrong: "jobs print on the stdout of the process",
		begin: func() {
			if fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3); err == nil {
				stdout = fd
			}
		},
		run: func(_ context.Context, _ *sdk.Job[Input], healthy func() error) error {
			_, _ = unix.Write(stdout, []byte("here comes a job\n"))
			return healthy()
		},
	}
}

// has reports whether a request names something that the check makes up.
func has(text []byte, what string) bool { return strings.Contains(string(text), what) }
