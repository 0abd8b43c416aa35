package main_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
)

// The protocol that plugins in Python read at run time is the one of proto/.
func TestPythonKnowsTheProtocol(t *testing.T) {
	const file = pythonExample + "protocol.binpb"
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal([]byte(readPage(t, file)), &set); err != nil {
		t.Fatal(err)
	}
	ours := 0
	for _, got := range set.GetFile() {
		known, err := protoregistry.GlobalFiles.FindFileByPath(got.GetName())
		if err != nil {
			t.Fatalf("%s: %v; run make generate", file, err)
		}
		if !strings.HasPrefix(got.GetName(), "heimdall/") {
			continue
		}
		ours++
		if want := protodesc.ToFileDescriptorProto(known); !proto.Equal(got, want) {
			t.Errorf("%s has another %s than the Go code; run make generate", file, got.GetName())
		}
	}
	if ours == 0 {
		t.Errorf("%s holds nothing of the protocol", file)
	}
}

// The example passes the check with every case that it can exercise. What takes
// a plugin with programs, secrets or settings of its own is tried on the trial;
// only checkpoints are left out.
func TestPythonPassesTheCheck(t *testing.T) {
	folder := t.TempDir()
	buildPython(t, folder, checkout+pythonExample+"wordcount.py", "testdata/python/trial.py")
	ofPrograms := []string{"cancel-children", "plugin-killed", "leaks-processes"}
	ofSecrets := []string{"secrets-output", "secrets-processes"}
	ofCheckpoints := []string{"resume-own", "fresh-checkpoint", "checkpoint-size", "checkpoint-ack", "checkpoint-nobody", "checkpoint-abandon", "cleanup-checkpoint"}
	for _, test := range []struct {
		plugin string
		only   []string
		leaves []string // cases that it does not exercise
	}{
		{plugin: "wordcount", leaves: slices.Concat(ofPrograms[:2], ofSecrets, ofCheckpoints)},
		{plugin: "trial", only: slices.Concat(ofPrograms, ofSecrets, []string{"log-limit", "configure-again", "configure-refuses"})},
	} {
		t.Run(test.plugin, func(t *testing.T) {
			args := []string{"plugin", "check", filepath.Join(folder, "heimdall-plugin-"+test.plugin), "-o", "json"}
			for _, id := range test.only {
				args = append(args, "--case", id)
			}
			command := exec.CommandContext(t.Context(), checkout+"bin/heimdall", args...)
			var stdout, stderr bytes.Buffer
			command.Stdout, command.Stderr = &stdout, &stderr
			ended := command.Run()
			var report checkreport.Report
			if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
				t.Fatalf("%v: %v\n%s%s", ended, err, &stdout, &stderr)
			}
			for _, c := range report.Cases {
				want := checkreport.Passed
				if slices.Contains(test.leaves, c.ID) {
					want = checkreport.NotExercised
				}
				if c.Result != want {
					t.Errorf("%s (%s): got %s, want %s: %s", c.ID, c.Title, c.Result, want, c.Detail)
				}
			}
			if ended != nil || !report.Passed {
				t.Errorf("got %v, passed %v, want a plugin that passes\n%s", ended, report.Passed, &stderr)
			}
		})
	}
}
