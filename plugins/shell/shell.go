package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/heimdall-run/heimdall/sdk"
)

// Shell runs programs; its fields are the operator's settings.
type Shell struct {
	Command     []string          `json:"command" required:"true" doc:"The program and its first arguments. No shell is involved unless it is the program."`
	Stdin       Stdin             `json:"stdin" doc:"What the program reads: nothing, or \"input\" for the job's input as JSON."`
	Environment map[string]string `json:"environment" doc:"Variables for the program, beside the few that every program gets."`
	Grace       sdk.Duration      `json:"grace" doc:"How long the program may take to end after SIGTERM before it is killed."`
}

// Input is what callers write.
type Input struct {
	Arguments []string `json:"arguments" doc:"Further arguments for the program."`
	// Rest are keys for the program to read, with the setting stdin = "input".
	Rest sdk.Rest
}

// Stdin says what a program reads.
type Stdin string

// The values of Stdin.
const (
	Nothing   Stdin = ""
	InputJSON Stdin = "input"
)

// UnmarshalText accepts the values that there are.
func (s *Stdin) UnmarshalText(text []byte) error {
	switch *s = Stdin(text); *s {
	case Nothing, InputJSON:
		return nil
	}
	return fmt.Errorf(`stdin is %q; it can be "input", or be left out`, text)
}

// create returns a Shell with the default settings.
func create() *Shell {
	return &Shell{Grace: sdk.Duration(5 * time.Second)}
}

// Run runs the program in the job's own folder until it and all that it started
// have ended. A file result.json that it leaves there becomes the result.
func (s *Shell) Run(ctx context.Context, job *sdk.Job[Input]) error {
	if err := s.check(job.Input); err != nil {
		return err
	}
	dir, err := job.Dir()
	if err != nil {
		return err
	}
	if err := writeContext(dir, job); err != nil {
		return err
	}
	if err := run(ctx, s.program(job), s.Grace.Std()); err != nil {
		return err
	}
	return takeResult(dir, job)
}

// check finds what no schema says.
func (s *Shell) check(input Input) error {
	if len(s.Command) == 0 || s.Command[0] == "" {
		return sdk.Errorf(sdk.Internal, "the setting command names no program")
	}
	if s.Stdin != InputJSON && len(input.Rest) > 0 {
		unknown := slices.Sorted(maps.Keys(input.Rest))
		return sdk.Errorf(sdk.Invalid, "unknown key %q in the context of the job; this command knows only arguments", unknown[0])
	}
	for i, argument := range input.Arguments {
		if strings.ContainsRune(argument, 0) {
			return sdk.Errorf(sdk.Invalid, "arguments[%d] holds a NUL character, which no argument of a program can", i)
		}
	}
	return nil
}

// program returns the program of a job, ready to start.
func (s *Shell) program(job *sdk.Job[Input]) *sdk.Cmd {
	cmd := job.Exec(s.Command[0], slices.Concat(s.Command[1:], job.Input.Arguments)...)
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		cmd.Env = append(cmd.Env, name+"="+s.Environment[name])
	}
	if s.Stdin == InputJSON {
		cmd.Stdin = bytes.NewReader(job.InputJSON())
	}
	return cmd
}

// run runs a program to its end. When ctx is canceled the sdk sends SIGTERM, and
// the program has the grace time to end by itself. One that does so with 0 was
// stopped all the same: its work counts as cut short.
func run(ctx context.Context, cmd *sdk.Cmd, grace time.Duration) error {
	err := cmd.Start()
	switch {
	case errors.Is(err, syscall.E2BIG):
		return sdk.Errorf(sdk.Invalid, "%w", err)
	case err != nil:
		return sdk.Errorf(sdk.Internal, "%w", err)
	}

	ended := make(chan struct{})
	stopped := make(chan bool)
	go func() { stopped <- killAfter(ctx, grace, ended, cmd.Kill) }()
	err = cmd.Wait()
	close(ended)
	if <-stopped && err == nil {
		return context.Cause(ctx)
	}
	return err
}

// killAfter kills when ctx was canceled and the program has not ended within the
// grace time. It says whether ctx was canceled before the program ended.
func killAfter(ctx context.Context, grace time.Duration, ended <-chan struct{}, kill func()) bool {
	select {
	case <-ended:
		return false
	case <-ctx.Done():
	}

	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		kill()
	}
	return true
}
