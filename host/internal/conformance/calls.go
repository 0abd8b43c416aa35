package conformance

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/google/uuid"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// grace is what cancels grant. It is short enough to be waited for.
const grace = 3 * time.Second

// orphaned is after how long the jobs of a check end that was killed.
const orphaned = 10 * time.Minute

// within bounds a call that should be answered at once.
func (p *process) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, p.patience)
}

// describe asks the plugin what it is, as a host of a version.
func (p *process) describe(ctx context.Context, version string) (*pluginpb.DescribeResponse, error) {
	return p.describeTo(ctx, &pluginpb.DescribeRequest{HostVersion: version, Features: []string{"checkpoints"}})
}

func (p *process) describeTo(ctx context.Context, host *pluginpb.DescribeRequest) (*pluginpb.DescribeResponse, error) {
	ctx, cancel := p.within(ctx)
	defer cancel()
	d, err := p.plugins.Describe(ctx, host)
	return d, called("Describe", err)
}

// request returns the start of an attempt of an example, as a host would send it.
func (p *process) request(e *Example) *pluginpb.StartRequest {
	p.jobs++
	folder := filepath.Join(p.Folder, fmt.Sprintf("job%d", p.jobs))
	settings, secrets := e.settings, e.secrets
	return &pluginpb.StartRequest{
		AttemptId:     uuid.NewString(),
		Mode:          pluginpb.StartMode_START_MODE_FRESH,
		AttemptNumber: 1,
		Job: &pluginpb.JobInfo{
			Id: uuid.NewString(), Name: "check", Version: "1", Description: "a job of the conformance check",
			Tags: []string{"check", "type:check"}, CreatedAt: timestamppb.Now(),
		},
		Settings: settings,
		Secrets:  secrets,
		Input:    e.Input,
		Command:  &pluginpb.ObjectInfo{Id: "check-command", Name: "check-command", Version: "1.0.0", Tags: []string{"type:check"}, Context: settings},
		Cluster:  &pluginpb.ObjectInfo{Id: "check-cluster", Name: "check-cluster", Version: "1.0.0", Context: []byte("{}")},
		User:     &pluginpb.User{Name: "check"},
		Folders: &pluginpb.Folders{
			Work: filepath.Join(folder, "work"), Logs: filepath.Join(folder, "logs"), Result: filepath.Join(folder, "result"),
		},
		Limits:        &pluginpb.Limits{},
		OrphanTimeout: durationpb.New(orphaned),
	}
}

// list returns the attempts that the process knows, by their ids.
func (p *process) list(ctx context.Context) (map[string]*pluginpb.AttemptInfo, error) {
	ctx, cancel := p.within(ctx)
	defer cancel()
	answer, err := p.plugins.List(ctx, &pluginpb.ListRequest{})
	if err != nil {
		return nil, called("List", err)
	}
	known := map[string]*pluginpb.AttemptInfo{}
	for _, a := range answer.GetAttempts() {
		if known[a.GetAttemptId()] != nil {
			return nil, saw("List names attempt %s twice", a.GetAttemptId()).want("each attempt once")
		}
		known[a.GetAttemptId()] = a
	}
	return known, nil
}

// ack acknowledges events of an attempt up to a number.
func (p *process) ack(ctx context.Context, id string, number uint64) error {
	ctx, cancel := p.within(ctx)
	defer cancel()
	_, err := p.commands.Ack(ctx, acknowledge(id, number))
	return called("Ack", err)
}

func acknowledge(id string, number uint64) *pluginpb.AckRequest {
	return &pluginpb.AckRequest{Attempts: []*pluginpb.AckedAttempt{{AttemptId: id, Event: number}}}
}

// cancel asks an attempt to stop.
func (p *process) cancel(ctx context.Context, id string, mode pluginpb.CancelMode, reason pluginpb.CancelReason) (accepted bool, err error) {
	ctx, done := p.within(ctx)
	defer done()
	answer, err := p.commands.Cancel(ctx, &pluginpb.CancelRequest{
		AttemptId: id, Mode: mode, Reason: reason, Grace: durationpb.New(grace), Message: "the check cancels its job",
	})
	return answer.GetAccepted(), called("Cancel", err)
}

// renew extends the right to run of a host.
func (p *process) renew(ctx context.Context, epoch int64, valid time.Duration) error {
	ctx, cancel := p.within(ctx)
	defer cancel()
	_, err := p.plugins.Renew(ctx, &pluginpb.RenewRequest{HostEpoch: epoch, ValidFor: durationpb.New(valid)})
	return err
}

// answers checks that the process is there and serves.
func (p *process) answers(ctx context.Context, after string) error {
	if !p.alive() {
		return saw("the process ended after %s: %s", after, p.how()).want("that it goes on")
	}
	ctx, cancel := p.within(ctx)
	defer cancel()
	if _, err := p.plugins.Describe(ctx, &pluginpb.DescribeRequest{HostVersion: "0.1.0", Features: []string{"checkpoints"}}); err != nil {
		return saw("after %s Describe answered %s", after, told(err)).want("that the plugin goes on as if nothing had happened")
	}
	return nil
}
