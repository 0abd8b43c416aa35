// Package sdk is what authors write Heimdall plugins with. A plugin is a type
// whose exported fields are its settings and whose method Run performs one job:
//
//	type Ping struct{}
//
//	func (p *Ping) Run(ctx context.Context, job *sdk.Job[sdk.None]) error {
//		return job.Text("Hello, " + job.User + "!")
//	}
//
//	func main() {
//		sdk.Serve("ping", func() *Ping { return &Ping{} })
//	}
//
// Operators write settings: the contexts of a command and a cluster, merged.
// Callers write input: the context of a job. Input never overrides settings.
package sdk

import "context"

// Plugin performs jobs. Its exported fields are its settings, by their json
// tags. One value serves all jobs that have the same settings, so Run is called
// concurrently and must not change the fields.
type Plugin[Input any] interface {
	// Run performs one job and returns when the work is over. When ctx is
	// canceled it should stop the work and return; context.Cause(ctx) says why.
	// A plain error means that the work itself said no; Errorf says more.
	Run(ctx context.Context, job *Job[Input]) error
}

// Opener may be implemented by plugins that hold something for all jobs with the
// same settings, such as a pool of connections. Open is called before the first
// of them; when it fails it is called again for the next job.
type Opener interface {
	Open(ctx context.Context) error
}

// Checker may be implemented by plugins that can tell whether work could be done
// with their settings now. Check is called after Open.
type Checker interface {
	Check(ctx context.Context) error
}

// Cleaner may be implemented by plugins whose jobs may leave something outside.
// Cleanup is idempotent and works in a process that never ran the job. A plugin
// may implement io.Closer as well: it is called when its settings were not used
// for a while, and at the end of the process.
type Cleaner interface {
	Cleanup(ctx context.Context, remains Remains) error
}

// None is the input of plugins that take none. It accepts any JSON object and
// ignores it.
type None struct{}

// Defaulter may be implemented by a pointer to an input type: Default fills in
// the values of keys that the caller leaves out. Defaults of settings come from
// the function given to Serve.
type Defaulter interface {
	Default()
}

// Object is a command or a cluster as the catalog has it.
type Object struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Tags    []string `json:"tags"`
}
