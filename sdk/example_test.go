package sdk_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/heimdall-run/heimdall/sdk"
)

// Fetch is a plugin whose exported fields are its settings.
type Fetch struct {
	URL   string `json:"url" required:"true" placement:"cluster" doc:"Address of the service."`
	Token string `json:"token" secret:"true" placement:"cluster"`
}

// FetchInput is what callers write.
type FetchInput struct {
	Path string `json:"path" required:"true"`
}

// Run implements sdk.Plugin.
func (f *Fetch) Run(ctx context.Context, job *sdk.Job[FetchInput]) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL+job.Input.Path, nil)
	if err != nil {
		return sdk.Errorf(sdk.Invalid, "path: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+f.Token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return sdk.Errorf(sdk.Unavailable, "%w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the service answered %s", response.Status)
	}

	job.Link("source", request.URL.String())
	table := job.Table(sdk.Column{Name: "header", Type: "string"}, sdk.Column{Name: "values", Type: "list<string>"})
	for name, values := range response.Header {
		if err := table.Append(name, values); err != nil {
			return err
		}
	}
	return nil
}

func ExampleServe() {
	sdk.Serve("fetch", func() *Fetch { return &Fetch{URL: "https://example.com"} },
		sdk.Version("1.0.0"),
		sdk.Docs("Fetches an address and shows its headers."),
		sdk.ReadOnly(), sdk.RetrySafe(),
	)
}

func ExampleJob_Exec() {
	run := func(_ context.Context, job *sdk.Job[sdk.None]) error {
		cmd := job.Exec("wc", "-l")
		cmd.Dir = "/"
		return cmd.Run() // a status other than 0 fails the job with that exit code
	}
	_ = run
}

func ExampleErrorf() {
	err := sdk.Errorf(sdk.Quota, "the account has no credits left")
	fmt.Println(err.Class, err)
	// Output: quota the account has no credits left
}
