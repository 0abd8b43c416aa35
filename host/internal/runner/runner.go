// Package runner performs one attempt of a job: from a lease to its outcome.
package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/attribute"
	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/live"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Plugins runs attempts in plugin processes.
type Plugins interface {
	// Run performs an attempt from its start to its end. When ctx is canceled
	// with a pluginhost.Stop as cause, the attempt is asked to stop, then made to.
	Run(ctx context.Context, r pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended
	// Recall says what became of an attempt of an earlier life of the host. The
	// plugin is "" when it is not known any more.
	Recall(plugin, attempt string) pluginhost.Fate
	// Settle says that it is recorded that an attempt was recalled as unknown.
	Settle(attempt string)
	// Follow goes on with an attempt that was recalled as known.
	Follow(ctx context.Context, r pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended
	// CanResume returns nil when an attempt could go on from a checkpoint of this
	// format. It waits for a plugin that starts.
	CanResume(ctx context.Context, plugin, version string, format int32) error
	// Cleanup removes what an attempt may have left outside.
	Cleanup(ctx context.Context, r pluginhost.Remains) error
	// Check asks whether work could be done with settings.
	Check(ctx context.Context, plugin, version string, settings json.RawMessage, secrets map[string][]byte) (pluginhost.Health, error)
}

// Catalog gives the current snapshot.
type Catalog interface {
	Snapshot() *catalog.Snapshot
}

// Config is what a runner needs.
type Config struct {
	Plugins        Plugins
	Catalog        Catalog
	Public         Public // nil: jobs show only what their plugins report
	Artifacts      Artifacts
	Inputs         Inputs
	Checkpoints    Checkpoints
	Reports        Reports       // nil: they are nobody's business
	Folder         string        // of all job folders: Folder/<job>/<attempt>
	DefaultTimeout time.Duration // of jobs and commands that say none; 0: none
	CancelGrace    time.Duration // for an orderly stop
	OrphanTimeout  time.Duration // how long a job goes on that no host follows any more; 0: for ever
	MaxLogBytes    int64         // of each of stdout and stderr; 0: any
	KeepLogBytes   int64         // of each, after the end: half of it from the begin and half from the end; 0: all
	MaxResultBytes int64         // 0: any
	// Trace returns the trace context for the plugin of an attempt; nil: that of its
	// job.
	Trace func(c job.Claimed) job.Trace
	// Refresh reads what of the catalog was changed before; nil: what it gives is always
	// new.
	Refresh func(ctx context.Context) error
	Log     hclog.Logger
	Allow   func(context json.RawMessage) error // refuses references of what no file declares; nil: any will do
	// Split takes what the plugin of a command marks as secret out of settings, and
	// adds it to secrets; nil: nothing is marked.
	Split func(c *catalog.Command, settings json.RawMessage, secrets map[string][]byte) (json.RawMessage, map[string][]byte)
}

// Runner performs attempts.
type Runner struct {
	Config
	templates attribute.Renderer
}

// New returns a runner.
func New(c Config) *Runner {
	if c.Trace == nil {
		c.Trace = func(c job.Claimed) job.Trace { return c.Job.Trace }
	}
	if c.Reports == nil {
		c.Reports = new(live.Reports)
	}
	return &Runner{Config: c}
}

// inlineResult is the size of the largest result that is kept in the row that
// ends its job, bytes.
const inlineResult = 64 << 10

// Run performs an attempt. It calls started once the plugin has begun. The
// outcome is to be recorded; then done is to be called, which lets go of what
// was kept until then. An outcome without a status is none: the attempt was left
// to go on without this life of the host, or never begun.
func (r *Runner) Run(ctx context.Context, c job.Claimed, started func(time.Time)) (o job.Outcome, done func()) {
	begun := time.Now()
	if c.Resume {
		begun = begunAt(c.Job)
	}
	if !r.inForce(c.Job.Pair) {
		r.catchUp(ctx, c)
		if !c.Resume && r.isElsewhere(c.Job.Pair) { // what goes on outside is not given back
			return job.Outcome{Elsewhere: true}, func() {}
		}
	}
	sink := r.sink(c, started)
	defer r.Reports.Forget(c.Lease)
	request, err := r.request(c)
	if err == nil {
		err = r.place(ctx, c, &request)
	}
	if err != nil && ctx.Err() == nil { // who was stopped by now is told that
		ended := &pluginhost.Ended{Error: err, Remains: c.Resume}
		if c.Resume {
			ended.Error = pluginhost.NotResumed(err)
		}
		return r.outcome(ctx, c, begun, ended, sink)
	}
	if c.Resume {
		request.Timeout = left(request.Timeout, begun)
	}
	return r.outcome(ctx, c, begun, r.Plugins.Run(ctx, request, sink), sink)
}

// begunAt returns when the work of a job has begun, as far as is known.
func begunAt(j *job.Job) time.Time {
	if j.StartedAt.IsZero() {
		return j.UpdatedAt // it was claimed then
	}
	return j.StartedAt
}

// left returns what is left of a timeout, which 0 is none of.
func left(timeout time.Duration, begun time.Time) time.Duration {
	if timeout == 0 {
		return 0
	}
	return max(time.Until(begun.Add(timeout)), time.Millisecond)
}

// Recall says what became of an attempt of an earlier life of this host.
func (r *Runner) Recall(c job.Claimed) pluginhost.Fate {
	plugin := ""
	if command := r.Catalog.Snapshot().Command(c.Job.Pair.CommandID); command != nil {
		plugin = command.Plugin
	}
	return r.Plugins.Recall(plugin, attemptID(c))
}

// Follow goes on with an attempt that Recall has called known, as Run does with
// one that it has begun. The plugin has what it needs from its start, so the
// catalog may have changed since.
func (r *Runner) Follow(ctx context.Context, c job.Claimed, started func(time.Time)) (o job.Outcome, done func()) {
	begun := begunAt(c.Job)
	command := r.Catalog.Snapshot().Command(c.Job.Pair.CommandID)
	request := pluginhost.Request{
		AttemptID: attemptID(c), Attempt: c.Lease.Attempt,
		Checkpoint: checkpoint(c.Checkpoint), Resume: c.Resume,
		Folders: r.folders(c), Grace: r.CancelGrace, Limits: r.limits(command),
	}
	if command != nil {
		request.Plugin = command.Plugin
	}
	if cluster := r.Catalog.Snapshot().Cluster(c.Job.Pair.ClusterID); command != nil && cluster != nil {
		// They are not told again, but taken out of what the plugin says.
		_, request.Secrets, _ = r.settings(command, cluster)
	}
	request.Timeout, request.Deadline = left(r.timeout(c.Job, command), begun), c.Job.Deadline
	sink := r.sink(c, started)
	defer r.Reports.Forget(c.Lease)
	return r.outcome(ctx, c, begun, r.Plugins.Follow(ctx, request, sink), sink)
}

// Detaches reports whether a job is to go on while the host restarts.
func (r *Runner) Detaches(j *job.Job) bool {
	command := r.Catalog.Snapshot().Command(j.Pair.CommandID)
	return command != nil && command.Detach
}

// outcome makes an outcome of how an attempt ended, and keeps what it has left.
func (r *Runner) outcome(ctx context.Context, c job.Claimed, begun time.Time, ended *pluginhost.Ended, sink *sink) (o job.Outcome, done func()) {
	if ended.Left || ended.Unstarted {
		return job.Outcome{Unstarted: ended.Unstarted}, func() {}
	}
	o = job.Outcome{
		Outputs: r.shown(c.Job, sink.outputs, func(name string, err error) {
			r.Log.Warn("an attribute of a job cannot be made", c.Fields("attribute", name, "error", err)...)
		}),
		Usage:     sink.usage,
		Build:     ended.Build,
		StartedAt: begun,
		EndedAt:   time.Now(),
	}
	o.Status, o.Error = verdict(ended)
	o.Checkpoint = sink.checkpoint
	if ended.Remains {
		o.Remains = o.Error.Message
	}
	if ended.Detail != "" {
		r.Log.Error("a job has ended with an error of its plugin", c.Fields("error", ended.Error, "detail", ended.Detail)...)
	}
	if ended.Resumable && o.Checkpoint != nil && !r.judge(ctx, c, begun, &o) {
		return job.Outcome{}, func() {}
	}
	folder := r.folder(c.Job.ID, c.Lease.Attempt)
	ctx = context.WithoutCancel(ctx)
	r.keepResult(ctx, c, ended.Result, &o)
	kept := r.keep(ctx, folder, c, &o)
	return o, func() {
		ended.Ack()
		if kept {
			r.remove(folder)
		}
	}
}

// request puts together what the plugin is told.
func (r *Runner) request(c job.Claimed) (pluginhost.Request, *job.Error) {
	j := c.Job
	snapshot := r.Catalog.Snapshot()
	command, cluster := snapshot.Command(j.Pair.CommandID), snapshot.Cluster(j.Pair.ClusterID)
	switch {
	case command == nil || command.Status != catalog.Active && !c.Resume: // what runs goes on
		return pluginhost.Request{}, unavailable("command %q is not in force any more", j.Pair.CommandID)
	case cluster == nil || cluster.Status != catalog.Active && !c.Resume:
		return pluginhost.Request{}, unavailable("cluster %q is not in force any more", j.Pair.ClusterID)
	}
	settings, secrets, err := r.settings(command, cluster)
	if err != nil {
		return pluginhost.Request{}, unavailable("%v", err)
	}
	request := pluginhost.Request{
		Plugin:        command.Plugin,
		PluginVersion: command.PluginVersion,
		AttemptID:     attemptID(c),
		Attempt:       c.Lease.Attempt,
		Checkpoint:    checkpoint(c.Checkpoint),
		Resume:        c.Resume,
		Job:           jobInfo(j),
		Command:       object(&command.Object),
		Cluster:       object(&cluster.Object),
		Settings:      settings,
		Secrets:       secrets,
		Input:         j.Context,
		User:          j.User,
		Folders:       r.folders(c),
		Limits:        r.limits(command),
		OrphanTimeout: r.OrphanTimeout,
		Retryable:     c.Job.Retry.RunsElsewhere(c.Retries),
		Timeout:       r.timeout(j, command),
		Deadline:      j.Deadline,
		Grace:         r.CancelGrace,
		TraceParent:   string(r.Trace(c)),
	}
	return request, nil
}

// settings merges the contexts of a pair and looks up what they refer to.
func (r *Runner) settings(command *catalog.Command, cluster *catalog.Cluster) (json.RawMessage, map[string][]byte, error) {
	for _, o := range []*catalog.Object{&command.Object, &cluster.Object} {
		if o.Elsewhere {
			return nil, nil, fmt.Errorf("only the files of other hosts declare %q, and only they know its settings", o.ID)
		}
		if o.Guarded && r.Allow != nil {
			if err := r.Allow(o.Context); err != nil {
				return nil, nil, fmt.Errorf("the context of %q: %w", o.ID, err)
			}
		}
	}
	merged, err := mergeSettings(command.Context, cluster.Context)
	if err != nil {
		return nil, nil, fmt.Errorf("command %q and cluster %q do not go together: %w", command.ID, cluster.ID, err)
	}
	settings, secrets, err := config.Resolve(merged, os.LookupEnv, os.ReadFile)
	if err != nil {
		return nil, nil, fmt.Errorf("the settings of command %q and cluster %q cannot be resolved: %w", command.ID, cluster.ID, err)
	}
	if r.Split != nil {
		settings, secrets = r.Split(command, settings, secrets)
	}
	return settings, secrets, nil
}

// limits returns the bounds of an attempt of a command, which may be nil.
func (r *Runner) limits(command *catalog.Command) pluginhost.Limits {
	limits := pluginhost.Limits{
		LogCap: r.MaxLogBytes, ResultBytes: r.MaxResultBytes, InlineResultBytes: inlineResult,
	}
	if command != nil {
		l := command.Limits
		limits.MemoryBytes, limits.CPUSeconds, limits.OpenFiles, limits.CoreBytes = l.MemoryBytes, l.CPUSeconds, l.OpenFiles, l.CoreBytes
	}
	return limits
}

func (r *Runner) folder(id job.ID, attempt int) string {
	return filepath.Join(r.Folder, string(id), strconv.Itoa(attempt))
}

func (r *Runner) folders(c job.Claimed) pluginhost.Folders {
	folder := r.folder(c.Job.ID, c.Lease.Attempt)
	return pluginhost.Folders{
		Work:   filepath.Join(folder, "work"),
		Logs:   filepath.Join(folder, "logs"),
		Result: filepath.Join(folder, "result"),
	}
}

// timeout returns how long a job may take: what it says, else its command, else
// the configuration; 0 is for ever.
func (r *Runner) timeout(j *job.Job, command *catalog.Command) time.Duration {
	if command == nil {
		return cmp.Or(j.Timeout, r.DefaultTimeout)
	}
	return cmp.Or(j.Timeout, command.Timeout, r.DefaultTimeout)
}

func attemptID(c job.Claimed) string {
	return string(c.Job.ID) + "." + strconv.Itoa(c.Lease.Attempt)
}

func jobInfo(j *job.Job) pluginhost.JobInfo {
	return pluginhost.JobInfo{
		ID: j.ID, Name: j.Name, Version: j.Version, Description: j.Description, Tags: j.Tags, Created: j.CreatedAt,
	}
}

func checkpoint(c *job.Checkpoint) *pluginhost.Checkpoint {
	if c == nil {
		return nil
	}
	return &pluginhost.Checkpoint{Format: c.Format, Data: c.Data}
}

func object(o *catalog.Object) pluginhost.Object {
	return pluginhost.Object{ID: o.ID, Name: o.Name, Version: o.Version, Tags: o.Tags}
}

// mergeSettings joins the contexts of a command and a cluster. A key on both
// sides is an error: neither may silently win over the other.
func mergeSettings(command, cluster json.RawMessage) (json.RawMessage, error) {
	if len(cluster) == 0 || string(cluster) == "{}" {
		if len(command) == 0 {
			return json.RawMessage("{}"), nil
		}
		return command, nil
	}
	if len(command) == 0 || string(command) == "{}" {
		return cluster, nil
	}
	var merged, more map[string]json.RawMessage
	if err := json.Unmarshal(command, &merged); err != nil {
		return nil, fmt.Errorf("the command's context: %w", err)
	}
	if err := json.Unmarshal(cluster, &more); err != nil {
		return nil, fmt.Errorf("the cluster's context: %w", err)
	}
	for key, value := range more {
		if _, both := merged[key]; both {
			return nil, fmt.Errorf("both contexts set %q", key)
		}
		merged[key] = value
	}
	return json.Marshal(merged)
}

func unavailable(format string, args ...any) *job.Error {
	return &job.Error{Class: job.Unavailable, Message: fmt.Sprintf(format, args...), RetrySafe: true}
}
