package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func secretCases() []testCase {
	const look = "proto/heimdall/plugin/v1/secret.proto; docs/plugins.md, Settings and input"
	kinds := append(slices.Clone(anyEnd), "fails", "long")
	stopped := []string{afterEnd, afterCancel}
	return []testCase{
		{id: "secrets-output", title: "secrets are in no event, stream, result, file or log, and in no description", look: look, needs: kinds, after: stopped, run: keepsSecrets},
		{id: "secrets-processes", title: "secrets are in no environment and no command line", look: look, needs: append([]string{"long"}, kinds...), after: stopped, run: keepsSecretsFromProcesses},
		{id: "secrets-update", title: "renewed secrets of a running attempt are taken, those of an unknown one are answered with NOT_FOUND", look: look, needs: []string{"long"}, after: stopped, run: updatesSecrets},
	}
}

// canary is what secrets are given as. No one else says it.
const canary = "heimdall-canary-5b1e6f5e4c0f"

// canaries gives each secret of the settings a value that can be found again.
func (k *check) canaries(request *pluginpb.StartRequest) error {
	pointers := k.settings.secrets()
	if len(pointers) == 0 {
		return skip("the schema of its settings has no secret")
	}
	request.Secrets = nil
	for i, pointer := range pointers {
		request.Secrets = append(request.Secrets, &pluginpb.Secret{Pointer: pointer, Value: []byte(canary + strconv.Itoa(i))})
	}
	return nil
}

func keepsSecrets(ctx context.Context, k *check) error {
	e, err := k.examples(append(slices.Clone(anyEnd), "fails", "long")...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	for _, e := range e {
		request := p.request(e)
		if err := k.canaries(request); err != nil {
			return err
		}
		s := k.start(ctx, p, request)
		if e.Kind == "long" {
			// It may refuse what the secret gives it: how it ends is not the question.
			_ = until(ctx, k.Patience, func() bool { events, over, _ := s.state(); return over || len(events) > 0 })
			if err := k.stop(ctx, p, request); err != nil {
				return err
			}
		}
		if _, err := s.ended(ctx, grace+k.Patience); err != nil {
			return err
		}
		events, _, _ := s.state()
		for _, event := range events {
			text, err := proto.Marshal(event)
			if err != nil {
				return err
			}
			if bytes.Contains(text, []byte(canary)) {
				return saw("the event %d (%s) of %q has a secret in it", event.GetNumber(), name(event), e.Title).want("that it never leaves the plugin")
			}
		}
	}
	again, err := p.describe(ctx, "0.1.0")
	if err != nil {
		return err
	}
	if text, err := proto.Marshal(again); err != nil || bytes.Contains(text, []byte(canary)) {
		return saw("Describe has a secret in it (%v)", err).want("that it never leaves the plugin")
	}
	return filepath.WalkDir(p.Folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil // gone, or nothing to read
		}
		if bytes.Contains(readBegin(path), []byte(canary)) {
			where, _ := filepath.Rel(p.Folder, path) // it lies below
			return saw("a secret in the file %s", where).want("that it is written nowhere")
		}
		return nil
	})
}

func keepsSecretsFromProcesses(ctx context.Context, k *check) error {
	examples, err := k.examples(append([]string{"long"}, append(slices.Clone(anyEnd), "fails")...)...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	for _, e := range examples {
		if e.Kind != "long" && examples[0].Kind == "long" {
			break // those that stay can be looked at
		}
		request := p.request(e)
		if err := k.canaries(request); err != nil {
			return err
		}
		s := k.start(ctx, p, request)
		for range 10 {
			for _, pid := range append(p.family(), p.pid) {
				for _, file := range []string{"environ", "cmdline"} {
					text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)) // it may have ended
					if bytes.Contains(text, []byte(canary)) {
						return saw("a secret in the %s of process %s", file, tell([]int{pid})).want("that every user of the machine may look there")
					}
				}
			}
			if !s.running() {
				break
			}
			if err := pause(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func updatesSecrets(ctx context.Context, k *check) error {
	p, request, s, err := k.begin(ctx, "long")
	if err != nil {
		return err
	}
	pointer := "/token"
	if pointers := k.settings.secrets(); len(pointers) > 0 {
		pointer = pointers[0]
	}
	update := func(id string) error {
		ctx, cancel := p.within(ctx)
		defer cancel()
		_, err := p.commands.UpdateSecrets(ctx, &pluginpb.UpdateSecretsRequest{
			AttemptId: id, Secrets: []*pluginpb.Secret{{Pointer: pointer, Value: []byte(canary)}},
		})
		return err
	}
	if err := optional("UpdateSecrets", update(request.GetAttemptId())); err != nil {
		return err
	}
	if !s.running() {
		events, _, _ := s.state()
		return saw("the attempt ended: %s", outcome(end(events))).want("that it goes on with the new secret")
	}
	return refused("UpdateSecrets of an unknown attempt", update("8f2c0000-0000-4000-8000-000000000000"), codes.NotFound)
}
