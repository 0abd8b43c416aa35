package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/sdk"
)

// Animal is the plugin.
type Animal struct {
	// Greeting begins the text of a result.
	Greeting string `json:"greeting" doc:"What results begin with."`
	// Password is there to be leaked.
	Password string `json:"password" secret:"true" doc:"Is used for nothing."`

	breed *breed
}

// Input is what one job is to do, in the order of the fields.
type Input struct {
	Lines int          `json:"lines" doc:"Lines to write to each stream."`
	Sleep sdk.Duration `json:"sleep" doc:"How long the work takes."`
	Child bool         `json:"child" doc:"Let a child of a child sleep."`
	Save  bool         `json:"save" doc:"Save a checkpoint first."`
	Fail  string       `json:"fail" doc:"The error to end with."`
	Text  string       `json:"text" doc:"Text as the result, behind the greeting."`
	Rows  int64        `json:"rows" doc:"Rows of a table as the result."`
	Bytes int64        `json:"bytes" doc:"Bytes of a document as the result."`
}

// Zoo are the settings of the plugin itself.
type Zoo struct {
	Visitors int `json:"visitors" doc:"Are counted for nothing."`
}

var _ sdk.Plugin[Input] = (*Animal)(nil)

// Run performs a job.
func (a *Animal) Run(ctx context.Context, job *sdk.Job[Input]) error {
	if a.breed.run != nil {
		return a.breed.run(ctx, job, func() error { return a.work(ctx, job) })
	}
	return a.work(ctx, job)
}

// work is what a healthy one does.
func (a *Animal) work(ctx context.Context, job *sdk.Job[Input]) error {
	in := &job.Input
	var note string
	if found, err := job.Load(&note); err != nil {
		return err
	} else if job.Resume && !found {
		return sdk.Errorf(sdk.Lost, "nothing is known of the work before")
	}
	if in.Save {
		if err := job.Save("asleep"); err != nil {
			return err
		}
	}
	for n := range in.Lines {
		fmt.Fprintf(job.Stdout, "line %d of stdout\n", n+1)
		fmt.Fprintf(job.Stderr, "line %d of stderr\n", n+1)
	}
	switch {
	case in.Child:
		script := fmt.Sprintf("sleep %g & wait", in.Sleep.Std().Seconds())
		if err := job.Exec("sh", "-c", script).Run(); err != nil {
			return err
		}
	case in.Sleep > 0:
		timer := time.NewTimer(in.Sleep.Std())
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if in.Fail != "" {
		return sdk.Errorf(sdk.Failed, "%s", in.Fail)
	}
	return a.result(job)
}

func (a *Animal) result(job *sdk.Job[Input]) error {
	in := &job.Input
	switch {
	case in.Bytes > 0:
		document := job.Result("text/plain")
		line := strings.Repeat("0123456789abcde\n", 4096)
		for left := in.Bytes; left > 0; left -= int64(len(line)) {
			if _, err := document.Write([]byte(line[:min(left, int64(len(line)))])); err != nil {
				return err
			}
		}
		return document.Close()
	case in.Rows > 0:
		table := job.Table(sdk.Column{Name: "n", Type: "int64"}, sdk.Column{Name: "text", Type: "string"})
		for n := range in.Rows {
			if err := table.Append(n+1, fmt.Sprintf("row %d", n+1)); err != nil {
				return err
			}
		}
		return nil
	default:
		return job.Text(a.Greeting + ", " + in.Text)
	}
}

// examples show every kind.
func examples() []sdk.Example {
	return []sdk.Example{
		{Kind: sdk.Quick, Title: "Greets", Input: Input{Text: "world"}},
		{Kind: sdk.Quick, Title: "Greets when that was noted", Input: Input{Save: true, Text: "world"}},
		{Kind: sdk.Long, Title: "Sleeps for a minute", Input: Input{Lines: 3, Sleep: sdk.Duration(time.Minute)}},
		{Kind: sdk.Long, Title: "Lets a child sleep for a minute", Input: Input{Sleep: sdk.Duration(time.Minute), Child: true}},
		{Kind: sdk.Long, Title: "Sleeps for a minute, and says so first", Input: Input{Sleep: sdk.Duration(time.Minute), Save: true}},
		{Kind: sdk.Fails, Title: "Fails", Input: Input{Fail: "this went wrong"}},
		{Kind: sdk.Rows, Title: "Counts", Input: Input{Rows: 3}},
		{Kind: sdk.Logs, Title: "Writes lines", Input: Input{Lines: 100}},
		{Kind: sdk.Big, Title: "Brings a megabyte", Input: Input{Bytes: 1 << 20}},
	}
}
