package main

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/heimdall-run/heimdall/sdk"
)

// jobContext is what context.json tells a program about its job. The contexts of
// command and cluster are not in it: they may hold what callers must not see.
type jobContext struct {
	Job     jobInfo    `json:"job"`
	Command sdk.Object `json:"command"`
	Cluster sdk.Object `json:"cluster"`
}

type jobInfo struct {
	ID      string          `json:"id"`
	Name    string          `json:"name"`
	Version string          `json:"version"`
	User    string          `json:"user"`
	Tags    []string        `json:"tags"`
	Context json.RawMessage `json:"context"`
}

// writeContext writes context.json.
func writeContext(dir string, job *sdk.Job[Input]) error {
	text, err := json.MarshalIndent(jobContext{
		Job: jobInfo{
			ID:      job.ID,
			Name:    job.Name,
			Version: job.Version,
			User:    job.User,
			Tags:    list(job.Tags),
			Context: job.InputJSON(),
		},
		Command: object(job.Command),
		Cluster: object(job.Cluster),
	}, "", "  ")
	if err != nil {
		return sdk.Errorf(sdk.Internal, "write context.json: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "context.json"), append(text, '\n'), 0o600); err != nil {
		return sdk.Errorf(sdk.Internal, "write context.json: %w", err)
	}
	return nil
}

func object(o sdk.Object) sdk.Object {
	o.Tags = list(o.Tags)
	return o
}

// list makes an empty list of none, so that programs always find one.
func list(tags []string) []string {
	if tags == nil {
		return []string{}
	}
	return tags
}
