// Command heimdall-plugin-ping is a plugin that greets whoever submits a job. It
// shows that everything between a caller and a plugin works.
package main

import (
	"context"

	"github.com/heimdall-run/heimdall/sdk"
)

// Ping is the plugin. It has no settings.
type Ping struct{}

// Run implements sdk.Plugin.
func (p *Ping) Run(_ context.Context, job *sdk.Job[sdk.None]) error {
	return job.Text("Hello, " + job.User + "!")
}

func main() {
	sdk.Serve("ping", func() *Ping { return &Ping{} },
		sdk.Docs("Greets the user who submits a job. It takes no settings and ignores its input."),
		sdk.ReadOnly(), sdk.RetrySafe(),
		sdk.Examples(sdk.Example{Kind: sdk.Quick, Title: "greets the user"}),
	)
}
