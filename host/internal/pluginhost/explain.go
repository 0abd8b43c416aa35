package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-plugin"
	"github.com/heimdall-run/heimdall/sdk/handshake"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// explain says in one sentence why there was no handshake.
func (p *process) explain(ctx context.Context, err error) error {
	if !p.child.started() {
		err := fmt.Errorf("plugin %s cannot be executed: %w", p.name, err)
		if errors.Is(err, unix.ENOEXEC) {
			return permanent{err}
		}
		return err
	}
	late := strings.Contains(err.Error(), "timeout while waiting") || ctx.Err() != nil
	select {
	case <-p.child.exited:
	case <-time.After(p.times.kill):
		return fmt.Errorf("plugin %s gave no handshake and cannot be killed: %w", p.name, err)
	}
	if over := p.overLimit(); over != nil {
		return over
	}
	if p.child.fault != nil {
		return fmt.Errorf("plugin %s was started and ended at once: %w", p.name, p.child.fault)
	}
	said := ""
	if cause := p.child.stderr.cause(); cause != "" {
		said = ": " + cause
	}
	fields := strings.Split(strings.TrimSpace(p.child.line), "|")
	core := strconv.Itoa(plugin.CoreProtocolVersion)
	ours := strconv.Itoa(handshake.ProtocolVersion)
	switch {
	case late:
		return fmt.Errorf("plugin %s was still without a handshake when its time to start was over%s", p.name, said)
	case p.child.line == "":
		how, _, _ := p.child.exit()
		return fmt.Errorf("plugin %s ended before its handshake: %s%s", p.name, how, said)
	case len(fields) < 4 || fields[0] != core:
		return permanent{fmt.Errorf("plugin %s is no plugin of this host: its first line on stdout is %.100q, not a handshake", p.name, p.child.line)}
	case fields[1] != ours:
		return permanent{fmt.Errorf("plugin %s speaks version %.20s of the plugin protocol and this host version %s: build it with a matching sdk", p.name, fields[1], ours)}
	default:
		return permanent{fmt.Errorf("plugin %s has a handshake of another kind: %w", p.name, err)}
	}
}

// broken says why a call to a process that starts failed: mostly it has died.
func (p *process) broken(what string, err error) error {
	if status.Code(err) == codes.DeadlineExceeded {
		return fmt.Errorf("plugin %s did not %s before its time to start was over", p.name, what)
	}
	select {
	case <-p.child.exited:
		if over := p.overLimit(); over != nil {
			return over
		}
		text, _ := p.crash()
		return errors.New(text)
	case <-time.After(100 * time.Millisecond):
		return fmt.Errorf("plugin %s did not %s: %s", p.name, what, p.sentence(err))
	}
}

// crash says how the process ended, for people, and what it wrote last. It is
// valid after the exit.
func (p *process) crash() (text, detail string) {
	how, chosen, well := p.child.exit()
	excess := p.child.excess.Load()
	switch cause := p.child.stderr.cause(); {
	case excess != nil:
		return fmt.Sprintf("plugin %s was ended because its process %v", p.name, excess), p.child.stderr.text()
	case p.stopping.Load():
		return fmt.Sprintf("plugin %s was stopped: %s", p.name, p.reason), ""
	case well:
		text = fmt.Sprintf("plugin %s ended by itself", p.name)
	case cause != "" && chosen:
		text = fmt.Sprintf("plugin %s crashed: %s: %s", p.name, how, cause)
	case p.child.killedByOthers():
		text = fmt.Sprintf("plugin %s was killed by SIGKILL that the host did not send; perhaps the machine was out of memory", p.name)
	default:
		text = fmt.Sprintf("plugin %s crashed: %s", p.name, how)
	}
	return text, p.child.stderr.text()
}
