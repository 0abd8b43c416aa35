package main

import (
	"bytes"
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
	"syscall"
	"time"
)

const catalogFile = `
[[commands]]
name = "ping-0.0.1"
plugin = "ping"
is_sync = true
tags = ["type:ping"]
cluster_tags = ["type:localhost"]
[[clusters]]
name = "localhost-0.0.1"
tags = ["type:localhost"]
`

const pingJob = `{"name":"ping-test", "version":"0.0.1", "context":{}, "command_criteria":["type:ping"], "cluster_criteria":["type:localhost"]}`

// deployment is what a host is started on.
type deployment struct {
	config  string // content of the file
	data    string // folder
	store   string // URL
	plugins string // folder
}

// server is a host in a process of its own.
type server struct {
	command *exec.Cmd
	address string
	begun   time.Time     // when the process was started
	started time.Duration // from then to ready
}

// serve starts a host.
func (b *bench) serve(d deployment) (*server, error) {
	if err := os.MkdirAll(d.data, 0o711); err != nil {
		return nil, err
	}
	config := filepath.Join(d.data, "heimdall.toml")
	if err := os.WriteFile(config, []byte(d.config), 0o600); err != nil {
		return nil, err
	}
	address := filepath.Join(d.data, "address")
	_ = os.Remove(address)
	log, err := os.Create(filepath.Join(d.data, "host.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &server{command: exec.CommandContext(b.ctx, filepath.Join(b.bin, "heimdall"), "server", "--config", config,
		"--listen", "127.0.0.1:0", "--data-dir", d.data, "--plugin-dir", d.plugins, "--store", d.store)}
	s.command.Stdout, s.command.Stderr = log, log
	s.begun = time.Now()
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	for {
		if content, err := os.ReadFile(address); err == nil {
			s.address = strings.TrimSpace(string(content))
			if answer, err := http.Get(s.address + "/readyz"); err == nil {
				answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					s.started = time.Since(s.begun)
					return s, nil
				}
			}
		}
		if time.Since(s.begun) > 20*time.Second || b.ctx.Err() != nil {
			content, _ := os.ReadFile(log.Name())
			return nil, errors.Join(fmt.Errorf("the host was not ready in time:\n%s", content), s.command.Process.Kill(), s.command.Wait())
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *server) stop() error {
	return errors.Join(s.command.Process.Signal(syscall.SIGTERM), s.command.Wait())
}

// kill ends the host as a fault of the machine would.
func (s *server) kill() error {
	err := s.command.Process.Kill()
	_ = s.command.Wait() // says that it was killed
	return err
}

// start measures how long a host takes until it is ready, and what it needs
// when it has nothing to do.
func (b *bench) start() error {
	d := deployment{config: catalogFile, data: filepath.Join(b.scratch, "start"), store: "sqlite", plugins: b.plugins()}
	for _, which := range []string{"first", "second"} {
		s, err := b.serve(d)
		if err != nil {
			return err
		}
		f := Figure{Name: "ready after, " + which + " start", Value: milli(s.started), Unit: "ms"}
		if which == "second" {
			f.Goal = "at most 300"
		}
		b.add(f)
		memory, err := s.anonymous()
		if err != nil {
			return err
		}
		b.add(Figure{Name: "RssAnon, idle", Value: memory / (1 << 20), Unit: "MiB", Goal: "under 50"})
		if err := s.stop(); err != nil {
			return err
		}
	}
	hanging, err := b.withHanging()
	if err != nil {
		return err
	}
	d.plugins = hanging
	s, err := b.serve(d)
	if err != nil {
		return err
	}
	b.add(Figure{Name: "ready after, with a plugin that hangs", Value: milli(s.started), Unit: "ms", Goal: "at most 2300"})
	return s.stop()
}

// plugins is the folder of the built plugins.
func (b *bench) plugins() string { return filepath.Join(b.bin, "plugins") }

// withHanging makes a folder of the built plugins and one that never answers.
func (b *bench) withHanging() (folder string, err error) {
	folder = filepath.Join(b.scratch, "hanging")
	if err := os.CopyFS(folder, os.DirFS(b.plugins())); err != nil {
		return "", err
	}
	return folder, os.WriteFile(filepath.Join(folder, "heimdall-plugin-hangs"), []byte("#!/bin/sh\nexec sleep 60\n"), 0o755)
}

// keepAlive is a client whose connections stay open, whatever their number.
func keepAlive(connections int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}}
}

// post sends a ping job as a user and requires a good answer that contains want.
func post(ctx context.Context, client *http.Client, url, want string) error {
	content, err := send(ctx, client, url, "bench", pingJob, http.StatusOK)
	if err == nil && !bytes.Contains(content, []byte(want)) {
		err = fmt.Errorf("%s is answered by %s", url, content)
	}
	return err
}

// postAsync submits a job as a user, does not wait for it and returns its id.
func postAsync(ctx context.Context, client *http.Client, address, user, body string) (id string, err error) {
	content, err := send(ctx, client, address+"/api/v1/job", user, body, http.StatusAccepted)
	if err != nil {
		return "", err
	}
	var accepted struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(content, &accepted); err != nil || accepted.ID == "" {
		return "", fmt.Errorf("a submission is answered by %s", content)
	}
	return accepted.ID, nil
}

// send posts a job as a user and returns the answer, whose status must be the one
// given: 202 asks not to be waited for.
func send(ctx context.Context, client *http.Client, url, user, body string, status int) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Heimdall-User", user)
	if status == http.StatusAccepted {
		r.Header.Set("Prefer", "respond-async")
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != status {
		err = fmt.Errorf("%s: %s", answer.Status, content)
	}
	return content, err
}
