package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// order is what a host of its own is told to do.
type order struct {
	Plan    *plan         `json:"plan"`
	Start   []byte        `json:"start"` // a StartRequest
	Timeout time.Duration `json:"timeout"`
}

// begun is what it answers.
type begun struct {
	PID    int    `json:"pid"`
	Socket string `json:"socket"`
	Error  string `json:"error,omitempty"`
}

// Host is a host that is there to be killed: it starts a plugin and a job on it,
// says so on out, and follows the job. It ends, with the plugin, when in ends.
func Host(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := bufio.NewReader(in)
	text, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	o := &order{}
	request := &pluginpb.StartRequest{}
	if err := errors.Join(json.Unmarshal(text, o), proto.Unmarshal(o.Start, request)); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	k := &check{suite: &suite{}, keep: true} // whoever follows next acknowledges
	defer k.group.Wait()
	defer k.close()
	defer cancel()
	p, err := spawn(o.Plan, o.Timeout)
	answer := begun{}
	if err == nil {
		k.processes = append(k.processes, p)
		err = p.shake(ctx, o.Timeout)
	}
	if err == nil {
		err = k.connect(ctx, p)
	}
	if err == nil {
		_, err = p.describe(ctx, "0.1.0")
	}
	if err == nil {
		s := k.start(ctx, p, request)
		err = s.started(ctx, o.Timeout)
		answer.PID, answer.Socket = p.pid, p.socket
	}
	if err != nil {
		answer.Error = err.Error()
	}
	if err := json.NewEncoder(out).Encode(answer); err != nil {
		return fmt.Errorf("say what was begun: %w", err)
	}
	_, _ = io.Copy(io.Discard, lines) // until the end: whoever gave the order has gone
	return nil
}

// middle is a running host of its own.
type middle struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

// lodge starts a host of its own with a plugin and a job on it.
func (k *check) lodge(ctx context.Context, p *plan, request *pluginpb.StartRequest) (*middle, *process, error) {
	start, err := proto.Marshal(request)
	if err != nil {
		return nil, nil, fmt.Errorf("write the start: %w", err)
	}
	text, err := json.Marshal(order{Plan: p, Start: start, Timeout: k.Patience})
	if err != nil {
		return nil, nil, fmt.Errorf("write the order: %w", err)
	}
	m := &middle{cmd: exec.Command(k.Host[0], k.Host[1:]...)}
	m.cmd.Env = os.Environ()
	var errs bytes.Buffer
	m.cmd.Stderr = &errs
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		return nil, nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start a host to be killed: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = m.cmd.Process.Kill() })()
	_, err = m.in.Write(append(text, '\n'))
	answer := begun{}
	if err == nil {
		err = json.NewDecoder(out).Decode(&answer)
	}
	if err == nil && answer.Error != "" {
		m.end()
		return nil, nil, errors.New(answer.Error)
	}
	if err != nil {
		m.end()
		return nil, nil, fmt.Errorf("start a host to be killed: %w: %s", err, clip(errs.String(), 300))
	}
	adopted, err := adopt(p, answer.PID, answer.Socket, k.Patience)
	if err != nil {
		m.end()
		return nil, nil, err
	}
	k.processes = append(k.processes, adopted)
	return m, adopted, k.connect(ctx, adopted)
}

// kill ends the host at once, as an out-of-memory killer does.
func (m *middle) kill() {
	_ = m.cmd.Process.Signal(unix.SIGKILL)
	_ = m.cmd.Wait() // it was killed
	_ = m.in.Close()
}

// end ends the host and the plugin with it.
func (m *middle) end() {
	_ = m.in.Close()
	defer time.AfterFunc(20*time.Second, func() { _ = m.cmd.Process.Kill() }).Stop()
	_ = m.cmd.Wait() // whatever it says
}
