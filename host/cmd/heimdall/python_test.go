package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

const pythonExample = "plugins/examples/python/"

// buildPython makes plugins of Python files, with the script that authors use.
func buildPython(t *testing.T, folder string, files ...string) {
	t.Helper()
	if out, err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").CombinedOutput(); err != nil {
		t.Fatalf("the example in Python needs Debian's Python (%v); run scripts/python.sh, or apt-get install python3 python3-grpcio python3-protobuf\n%s", err, out)
	}
	for _, file := range files {
		if out, err := exec.Command(checkout+pythonExample+"build", file, folder).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", file, err, out)
		}
	}
}

// startPython starts a host with the plugins trial and wordcount.
func startPython(t *testing.T) *client.Client {
	t.Helper()
	t.Setenv("PYTHON_TRIAL_TOKEN", "a secret")
	folder := t.TempDir()
	buildPython(t, folder, "testdata/python/trial.py", checkout+pythonExample+"wordcount.py")
	c, err := client.New(startDocHost(t, "host/cmd/heimdall/testdata/python/heimdall.toml", "--plugin-dir", folder), "ann")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// submitPython submits a job and returns at once, or when it has ended.
func submitPython(t *testing.T, c *client.Client, tag string, input any, wait time.Duration) *client.Job {
	t.Helper()
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	j, err := c.Submit(t.Context(), client.Submission{Name: "python", Context: text, CommandCriteria: []string{tag}, Wait: wait})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// readLog returns a stream of a job as it is now.
func readLog(t *testing.T, c *client.Client, id string, stream client.Stream) string {
	t.Helper()
	log, err := c.Log(t.Context(), id, stream, client.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	text, err := io.ReadAll(log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The README leads from nothing to a job.
func TestPythonReadme(t *testing.T) {
	const page = pythonExample + "README.md"
	buildPython(t, "")
	folder := shortTempDir(t)
	for name, language := range map[string]string{"dice.py": "py", "heimdall.toml": "toml"} {
		text := blocksOf(t, page, language)[0].text
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address, threw := "", 0
	for _, b := range blocksOf(t, page, "sh") {
		b.text = strings.ReplaceAll(b.text, "~/heimdall-plugins", folder)
		if strings.Contains(b.text, "job submit") {
			address = startDocHost(t, filepath.Join(folder, "heimdall.toml"), "--plugin-dir", folder)
		}
		if out := sh(t, b, address, "", 0); strings.Contains(out, "shows") {
			threw++
		}
	}
	if threw != 2 {
		t.Errorf("%s: got %d tables of dice, want 2", page, threw)
	}
}

// The host knows the schema of a plugin in any language, and refuses what does not fit.
func TestPythonInput(t *testing.T) {
	c := startPython(t)
	for input, want := range map[string]string{
		`{}`:                      "/context/text: this is missing",
		`{"text":"","size":""}`:   "/context/size: the plugin does not know this key",
		`{"text":"","top":"3"}`:   "/context/top: this is string; want integer",
		`{"text":"","top":[1,2]}`: "/context/top: this is array; want integer",
	} {
		_, err := c.Submit(t.Context(), client.Submission{
			Name: "python", Context: json.RawMessage(input), CommandCriteria: []string{"type:words"}, Wait: patience,
		})
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want 422 with %q", input, err, want)
		}
	}
}

func TestPythonJobs(t *testing.T) {
	c := startPython(t)
	for _, test := range []struct {
		name, tag      string
		input          map[string]string
		class, message string // "": it succeeds
		result         string // a part of it
		stdout, stderr string // a part
		exit           int
	}{
		{
			name: "table", tag: "type:words", input: map[string]string{"text": "b a\nb"}, stdout: "line 1: 2 phrases\nline 2: 3 phrases\n",
			result: `[{"name":"phrase","type":"string"},{"name":"count","type":"int64"}],"data":[["b",2],["a",1]]`,
		},
		{name: "failed", tag: "type:words", input: map[string]string{"text": "..."}, class: "failed", message: "no line"},
		{name: "values", result: `["1152921504606846976","1.50","+Inf","aGk=","2024-01-02T00:00:00Z","2024-01-02",` +
			`"00000000-0000-0000-0000-000000000001",[1,"1152921504606846976"],true,null]`},
		{name: "misfit", class: "internal", message: "row 2 of the table: 300 does not fit into int8"},
		{name: "document", result: `"content_type":"text/plain"`},
		{name: "program", class: "failed", message: "sh ended with status 3", stdout: "before\nstdin\n/", stderr: "oops\n", exit: 3},
		{name: "denied", class: "denied", message: "not you"},
		{name: "greeting", result: `"good day"`},
		{name: "no newline", stdout: "1234567890"},
		{name: "progress"},
		{name: "exit", class: "internal", message: "SystemExit: 4"},
		{name: "unheard of", class: "internal", message: "KeyError: 'unheard of'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.tag == "" {
				test.tag, test.input = "type:trial", map[string]string{"what": test.name}
			}
			j := submitPython(t, c, test.tag, test.input, patience)
			if j.ErrorClass != test.class || !strings.Contains(j.Error, test.message) || (j.Status == client.StatusSucceeded) != (test.class == "") {
				t.Errorf("got %s, class %q: %s; want class %q: %s", j.Status, j.ErrorClass, j.Error, test.class, test.message)
			}
			if !strings.Contains(string(j.Result), test.result) {
				t.Errorf("got result %s, want %s", j.Result, test.result)
			}
			if test.exit != 0 && (j.ExitCode == nil || *j.ExitCode != test.exit) {
				t.Errorf("got exit code %v, want %d", j.ExitCode, test.exit)
			}
			for stream, want := range map[client.Stream]string{client.Stdout: test.stdout, client.Stderr: test.stderr} {
				if got := readLog(t, c, j.ID, stream); !strings.Contains(got, want) {
					t.Errorf("got %s %q, want %q", stream, got, want)
				}
			}
		})
	}
}

// A table that is too large for a message goes through a file, whole.
func TestPythonBigResult(t *testing.T) {
	c := startPython(t)
	j := submitPython(t, c, "type:trial", map[string]string{"what": "big"}, patience)
	if j.Status != client.StatusSucceeded {
		t.Fatalf("got %s: %s, want SUCCEEDED", j.Status, j.Error)
	}
	result, err := c.Result(t.Context(), j.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	table, err := client.NewTableReader(result)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for ; err == nil; rows++ {
		_, err = table.Next()
	}
	if err != io.EOF || rows != 20001 {
		t.Errorf("got %d rows and %v, want 20000 and the end", rows-1, err)
	}
}

// A cancel ends a job wherever it is, and all that came from it.
func TestPythonCancel(t *testing.T) {
	c := startPython(t)
	for _, test := range []struct {
		name, tag string
		input     map[string]string
		pids      int // processes that it starts
	}{
		{name: "waits", tag: "type:slow-words", input: map[string]string{"text": "one\ntwo"}},
		{name: "outputs"},
		{name: "tree", pids: 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pids")
			if test.tag == "" {
				test.tag, test.input = "type:trial", map[string]string{"what": test.name, "file": file}
			}
			j := submitPython(t, c, test.tag, test.input, 0)
			if err := until("the work", func() bool {
				now, err := c.Job(t.Context(), j.ID)
				return err == nil && now.Status == client.StatusRunning && len(pids(t, file)) == test.pids
			}); err != nil {
				t.Fatal(err)
			}
			if test.tag == "type:slow-words" {
				if err := until("live output", func() bool { return readLog(t, c, j.ID, client.Stdout) == "line 1: 1 phrases\n" }); err != nil {
					t.Error(err)
				}
			}
			cancelPython(t, c, j.ID)
			for _, pid := range pids(t, file) {
				if runs(pid) {
					t.Errorf("process %d still runs, want it gone", pid)
				}
			}
		})
	}
	t.Run("deaf", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "returned")
		j := submitPython(t, c, "type:trial", map[string]string{"what": "deaf", "file": file}, 0)
		exists := func(file string) func() bool {
			return func() bool { _, err := os.Stat(file); return err == nil }
		}
		if err := until("the work", exists(file+" began")); err != nil {
			t.Fatal(err)
		}
		cancelPython(t, c, j.ID)
		if err := until("the end of run", exists(file)); err != nil {
			t.Error(err)
		}
		if next := submitPython(t, c, "type:words", map[string]string{"text": "word"}, patience); next.Status != client.StatusSucceeded {
			t.Errorf("got %s: %s after it, want SUCCEEDED", next.Status, next.Error)
		}
	})
}

// What a job leaves running ends with it; secrets reach it.
func TestPythonLeftover(t *testing.T) {
	c := startPython(t)
	file := filepath.Join(t.TempDir(), "pids")
	j := submitPython(t, c, "type:trial", map[string]string{"what": "leftover", "file": file}, patience)
	if j.Status != client.StatusSucceeded || !strings.Contains(string(j.Result), "a secret") {
		t.Errorf("got %s %s with %s, want SUCCEEDED with the secret", j.Status, j.Error, j.Result)
	}
	left := pids(t, file)
	if len(left) != 1 || runs(left[0]) {
		t.Errorf("got processes %v, want one that runs no more", left)
	}
}

func cancelPython(t *testing.T, c *client.Client, id string) {
	t.Helper()
	if _, err := c.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	j, err := c.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if j.Status != client.StatusCanceled || j.ErrorClass != "canceled" {
		t.Errorf("got %s, class %q: %s, want CANCELED", j.Status, j.ErrorClass, j.Error)
	}
}

// runs reports whether a process runs; one that nobody has waited for does not.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// pids reads the numbers of processes, one in a line.
func pids(t *testing.T, file string) (list []int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var pid int
		if _, err := fmt.Sscanf(line, "%d\n", &pid); err == nil {
			list = append(list, pid)
		}
	}
	return list
}
