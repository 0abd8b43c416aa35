package conformance

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/sdk/handshake"
)

// longestSockets is the longest path that a host makes sockets in: it leaves room
// for a name such as plugin0123456789 below 80 bytes.
const longestSockets = 80 - len("/plugin0123456789")

func handshakeCases() []testCase {
	const look = "docs/plugins.md, Other languages: what surrounds the protocol"
	started := []string{afterLine}
	return []testCase{
		{id: afterLine, title: "the first line of stdout is the handshake", look: look, run: shakesHands},
		{id: "handshake-time", title: "the handshake comes within the time that a host waits for it", look: look, after: started, run: shakesHandsInTime},
		{id: "handshake-socket", title: "the socket lies in the folder that the host made, and the process or one of its session serves it", look: look, after: started, run: listensWhereTold},
		{id: "handshake-long-folder", title: "the longest folder that a host makes will do for the socket", look: look, after: []string{afterDescribe}, run: listensInLongFolder},
		{id: "handshake-stdout", title: "nothing follows the handshake on stdout, also while a job runs", look: look, after: []string{afterEnd}, run: keepsStdoutClean},
		{id: "handshake-no-cookie", title: "without the cookie it says what it is and ends with another code than 0", look: look, after: started, run: refusesWithoutCookie},
		{id: "handshake-wrong-cookie", title: "a wrong cookie is as none", look: look, after: started, run: refusesWrongCookie},
		{id: "handshake-version", title: "it does not claim a version of the protocol that it was offered and does not speak", look: look, after: started, run: claimsNoOtherVersion},
	}
}

func shakesHands(ctx context.Context, k *check) error {
	_, err := k.launch(ctx)
	return err
}

func shakesHandsInTime(ctx context.Context, k *check) error {
	plan, err := k.newPlan()
	if err != nil {
		return err
	}
	p, err := k.spawn(plan)
	if err != nil {
		return err
	}
	return p.shake(ctx, k.StartTimeout)
}

func listensWhereTold(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	if filepath.Dir(p.socket) != p.Sockets {
		return saw("the socket %s", p.socket).want("one directly in PLUGIN_UNIX_SOCKET_DIR, which was %s", p.Sockets)
	}
	info, err := os.Lstat(p.socket)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return saw("%s is no socket (%v)", p.socket, err).want("a unix socket that is there when the handshake is")
	}
	pid, err := peer(p.socket)
	if err != nil {
		return saw("the socket takes no connection: %v", err).want("that it listens when the handshake is there")
	}
	if session, err := unix.Getsid(pid); pid != p.pid && (err != nil || session != p.pid) {
		return saw("the socket is served by process %d", pid).want("process %d, which was started, or one of its session", p.pid)
	}
	return nil
}

func listensInLongFolder(ctx context.Context, k *check) error {
	plan, err := k.newPlan()
	if err != nil {
		return err
	}
	long := plan.Sockets
	if missing := longestSockets - len(long) - 1; missing > 0 {
		long = filepath.Join(long, strings.Repeat("x", missing))
		if err := os.Mkdir(long, 0o700); err != nil {
			return err
		}
	}
	plan.Sockets = long
	plan.set("PLUGIN_UNIX_SOCKET_DIR", long)
	p, err := k.launchPlan(ctx, plan)
	if err != nil {
		return err
	}
	return p.answers(ctx, "a start with a long folder for its socket")
}

func keepsStdoutClean(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	if _, err := p.describe(ctx, "0.1.0"); err != nil {
		return err
	}
	if e, err := k.example(append(anyEnd, "fails")...); err == nil {
		if _, _, err := k.finish(ctx, p, p.request(e)); err != nil {
			return err
		}
	}
	text := readBegin(p.stdout())
	if _, rest, _ := strings.Cut(string(text), "\n"); rest != "" {
		return saw("%d more bytes on stdout, beginning with %.100q", len(rest), rest).want("one line; what the plugin logs belongs on stderr")
	}
	return nil
}

func refusesWithoutCookie(ctx context.Context, k *check) error {
	return refusesCookie(ctx, k, func(p *plan) { p.unset(handshake.Config.MagicCookieKey) })
}

func refusesWrongCookie(ctx context.Context, k *check) error {
	return refusesCookie(ctx, k, func(p *plan) { p.set(handshake.Config.MagicCookieKey, "wrong") })
}

func refusesCookie(ctx context.Context, k *check, change func(*plan)) error {
	plan, err := k.newPlan()
	if err != nil {
		return err
	}
	change(plan)
	p, err := k.spawn(plan)
	if err != nil {
		return err
	}
	p.doomed = true
	if !p.ends(ctx, k.Patience) {
		return saw("the process still ran after %s", k.Patience).want("that it ends, because nobody wants to talk to it")
	}
	if p.cmd.ProcessState.ExitCode() == 0 {
		return saw("exit code 0").want("another one: it did nothing")
	}
	line, _ := readLine(p.stdout())
	if _, err := parseLine(line); err == nil {
		return saw("the handshake %q", line).want("none")
	}
	if strings.TrimSpace(line) == "" && p.lastWords() == "" {
		return saw("no word").want("a sentence on stderr that tells people what this program is")
	}
	return nil
}

func claimsNoOtherVersion(ctx context.Context, k *check) error {
	plan, err := k.newPlan()
	if err != nil {
		return err
	}
	plan.set("PLUGIN_PROTOCOL_VERSIONS", "97")
	p, err := k.spawn(plan)
	if err != nil {
		return err
	}
	p.doomed = true
	err = until(ctx, k.Patience, func() bool {
		_, whole := readLine(p.stdout())
		return whole || !p.alive()
	})
	line, whole := readLine(p.stdout())
	switch fields := strings.Split(line, "|"); {
	case whole && len(fields) > 1 && fields[1] == "97":
		return saw("the handshake %q", line).want("the version that it speaks, or a refusal")
	case err != nil:
		return saw("neither a handshake nor an end after %s", k.Patience).want("one of both")
	case !whole && p.cmd.ProcessState.ExitCode() == 0:
		return saw("exit code 0").want("another one: it did nothing")
	}
	return nil
}
