package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/sdk"
)

// Faulty is the plugin.
type Faulty struct {
	// CheckError is the error of checks; empty means that all is well.
	CheckError string `json:"check_error"`
	// OpenError is the error of the first use of these settings.
	OpenError string `json:"open_error"`
	// Cleanups is a file that gets a line "cleanup <attempt> <reason>" for each.
	Cleanups string `json:"cleanups"`
	// CleanupError is the error of cleanups.
	CleanupError string `json:"cleanup_error"`
	// Password is there to be leaked, by jobs that ask for that and by failed checks.
	Password string `json:"password" secret:"true"`
}

// Open fails when the settings say so.
func (f *Faulty) Open(context.Context) error {
	if f.OpenError != "" {
		return sdk.Errorf(sdk.Unavailable, "%s", f.OpenError)
	}
	return nil
}

// Check fails when the settings say so.
func (f *Faulty) Check(context.Context) error {
	if f.CheckError != "" {
		return sdk.Errorf(sdk.Unavailable, "%s%s", f.CheckError, f.Password)
	}
	return nil
}

// Run does what the input says.
func (f *Faulty) Run(ctx context.Context, job *sdk.Job[Input]) (err error) {
	ledger, err := openLedger(job)
	if err != nil {
		return err
	}
	defer ledger.close()
	memory := take(job.Input.Allocate)
	defer runtime.KeepAlive(memory)
	outcome := "panic"
	defer func() {
		if werr := ledger.end(outcome); err == nil {
			err = werr
		}
	}()
	for _, step := range []func(context.Context, *sdk.Job[Input]) error{write, report, remote, spawn, f.leak, wait, result, fail} {
		if err := step(ctx, job); err != nil {
			outcome = "error"
			return errors.Join(err, stop(ctx, job))
		}
	}
	outcome = "ok"
	return nil
}

// write fills the streams.
func write(_ context.Context, job *sdk.Job[Input]) error {
	in := &job.Input
	if in.Print != "" {
		fmt.Println(in.Print)
		fmt.Fprintln(os.Stderr, in.Print)
	}
	if err := put(job.Stdout, in.Stdout); err != nil {
		return err
	}
	if err := put(job.Stderr, in.Stderr); err != nil {
		return err
	}
	if in.StdoutBytes > 0 {
		return repeat(job.Stdout, "all work and no play makes a dull job\n", in.StdoutBytes)
	}
	return nil
}

func put(w io.Writer, text string) error {
	if text == "" {
		return nil
	}
	_, err := io.WriteString(w, text)
	return err
}

// repeat writes size bytes made of a text.
func repeat(w io.Writer, text string, size int64) error {
	block := bytes.Repeat([]byte(text), 1+64<<10/len(text))
	for size > 0 {
		n, err := w.Write(block[:min(int64(len(block)), size)])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// report sends events.
func report(_ context.Context, job *sdk.Job[Input]) error {
	in := &job.Input
	for _, key := range slices.Sorted(maps.Keys(in.Output)) {
		job.Output(key, in.Output[key])
	}
	for i := range in.Progress {
		job.Progress(float64(i+1), float64(in.Progress), fmt.Sprintf("step %d", i+1))
	}
	if in.SaveBytes > 0 {
		return job.Save(strings.Repeat("x", in.SaveBytes))
	}
	if in.Checkpoint != "" {
		return job.Save(in.Checkpoint)
	}
	return nil
}

// spawn starts programs.
func spawn(_ context.Context, job *sdk.Job[Input]) error {
	if program := job.Input.Spawn; len(program) > 0 {
		cmd := job.Exec(program[0], program[1:]...)
		if err := cmd.Start(); err != nil {
			return err
		}
		// Waited for until the process ends: the sdk kills it with the job.
		go func() { _ = cmd.Wait() }()
	}
	if program := job.Input.Exec; len(program) > 0 {
		return job.Exec(program[0], program[1:]...).Run()
	}
	return nil
}

// wait lets time pass.
func wait(ctx context.Context, job *sdk.Job[Input]) error {
	in := &job.Input
	if in.IgnoreCancel {
		ctx = context.WithoutCancel(ctx)
	}
	if in.Sleep > 0 {
		timer := time.NewTimer(in.Sleep.Std())
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	// Seldom after a while: a hundred processes that wait must leave the machine alone.
	for pause := time.Millisecond; in.Until != ""; pause = min(2*pause, 100*time.Millisecond) {
		if _, err := os.Stat(in.Until); err == nil {
			break
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if in.Hang {
		select {}
	}
	if in.SaveLate != "" {
		return job.Save(in.SaveLate)
	}
	return nil
}

// result makes a result.
func result(_ context.Context, job *sdk.Job[Input]) error {
	in := &job.Input
	switch {
	case in.Text != "":
		return job.Text(in.Text)
	case in.ResultBytes > 0:
		document := job.Result("text/plain")
		if err := repeat(document, "0123456789abcde\n", in.ResultBytes); err != nil {
			return err
		}
		return document.Close()
	case in.Rows > 0:
		table := job.Table(
			sdk.Column{Name: "n", Type: "int64"},
			sdk.Column{Name: "square", Type: "int64"},
			sdk.Column{Name: "text", Type: "string"},
			sdk.Column{Name: "odd", Type: "bool"},
		)
		for n := int64(1); n <= in.Rows; n++ {
			if err := table.Append(n, n*n, fmt.Sprintf("row %d", n), n%2 == 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// take takes memory that is really there.
func take(size int64) []byte {
	memory := make([]byte, size)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	return memory
}

// fail ends badly.
func fail(_ context.Context, job *sdk.Job[Input]) error {
	in := &job.Input
	if in.Exit != nil {
		os.Exit(*in.Exit)
	}
	if in.PanicAside != "" {
		go panic(in.PanicAside)
		select {}
	}
	if in.Panic != "" {
		panic(in.Panic)
	}
	if e := in.Error; e != nil {
		return &sdk.Error{
			Class: e.Class, Message: e.Message, RetryAfter: e.RetryAfter.Std(), RetrySafe: e.RetrySafe,
			ExitCode: e.ExitCode, Signal: e.Signal, Detail: e.Detail,
		}
	}
	return nil
}
