// Command demo shows the main job of Heimdall end to end: it starts a host with
// a scratch data folder on a free port, submits a sync job by plain HTTP and an
// async one with the command line, prints what came back, and leaves nothing
// behind. When HEIMDALL_DEMO_POSTGRES is the address of a PostgreSQL, postgres://…,
// it runs a query there, too.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// ping is the job of the README.
const ping = `{"name":"ping-test", "version":"0.0.1", "context":{}, "command_criteria":["type:ping"], "cluster_criteria":["type:localhost"]}`

func main() {
	bin := flag.String("bin", "bin", "folder of the built binaries")
	config := flag.String("config", "configs/heimdall.toml", "configuration of the host")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := demo(ctx, *bin, *config); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, bin, config string) (err error) {
	scratch, err := os.MkdirTemp("", "heimdall-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	heimdall := filepath.Join(bin, "heimdall")

	config, err = withDatabase(config, scratch)
	if err != nil {
		return err
	}
	say("starting a host in %s", scratch)
	log, err := os.Create(filepath.Join(scratch, "host.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	server := exec.Command(heimdall, "server", "--config", config,
		"--listen", "127.0.0.1:0", "--data-dir", scratch, "--plugin-dir", filepath.Join(bin, "plugins"))
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		return fmt.Errorf("start the host: %w; has it been built (make build)?", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- server.Wait() }()
	defer func() {
		err = errors.Join(err, shutdown(server, exited))
		if err != nil {
			content, _ := os.ReadFile(log.Name())
			err = fmt.Errorf("%w\nthe host's log:\n%s", err, content)
		}
	}()
	address, err := ready(ctx, scratch, exited)
	if err != nil {
		return err
	}

	say("a sync job, by plain HTTP: POST %s/api/v1/job", address)
	id, err := syncJob(ctx, address)
	if err != nil {
		return err
	}
	for _, path := range []string{"/status", "/stdout", "/stderr", "/result"} {
		body, err := call(ctx, "GET", address+"/api/v1/job/"+id+path, "")
		if err != nil {
			return err
		}
		fmt.Printf("GET …%-8s %s\n", path, bytes.TrimSpace(body))
	}

	shell := exec.CommandContext(ctx, heimdall, "job", "submit", "--name", "shell-test", "--version", "0.0.1",
		"--command-criteria", "type:shell", "--cluster-criteria", "type:localhost")
	shell.Env, shell.Stderr = environment(address), os.Stderr
	say("an async job, with the command line: %s", strings.Join(shell.Args[1:], " "))
	content, err := shell.Output()
	if err != nil {
		return fmt.Errorf("submit the shell job: %w", err)
	}
	id = strings.TrimSpace(string(content))
	fmt.Println(id)
	shows := [][]string{
		{"job", "logs", id, "--follow"}, // as it is written
		{"job", "get", id, "-o", "table"},
		{"job", "result", id, "-o", "table"},
	}
	if os.Getenv(database) != "" {
		shows = append(shows, []string{
			"job", "submit", "--name", "sql-test", "--command-criteria", "type:sql", "--wait", "-o", "table",
			"--set", "query=select version(), current_user, $1::numeric(10,2) as price, now()", "--set", "parameters=[1.5]",
		})
	}
	for _, arguments := range append(shows, []string{"job", "list", "-o", "table"}) {
		say("heimdall %s", strings.Join(arguments, " "))
		if err := client(ctx, heimdall, address, arguments...); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(arguments, " "), err)
		}
	}
	return nil
}

// database names the variable with the address of a PostgreSQL.
const database = "HEIMDALL_DEMO_POSTGRES"

// withDatabase returns a configuration that has a command for SQL too, if there is a
// database. The address stays where it is: the file refers to it.
func withDatabase(config, scratch string) (string, error) {
	if os.Getenv(database) == "" {
		return config, nil
	}
	content, err := os.ReadFile(config)
	if err != nil {
		return "", err
	}
	content = append(content, `
[[commands]]
name = "sql"
plugin = "postgres"
tags = ["type:sql"]
cluster_tags = ["type:postgres"]
[commands.context]
read_only = true
[[clusters]]
name = "database"
tags = ["type:postgres"]
[clusters.context]
connection_string = "${env:`+database+`}"
`...)
	file := filepath.Join(scratch, "heimdall.toml")
	return file, os.WriteFile(file, content, 0o600)
}

// syncJob submits the ping job, prints the answer and returns the job's id.
func syncJob(ctx context.Context, address string) (id string, err error) {
	body, err := call(ctx, "POST", address+"/api/v1/job", ping)
	if err != nil {
		return "", err
	}
	var job struct {
		ID      string
		Status  string
		Command string `json:"command_name"`
		Cluster string `json:"cluster_name"`
		Result  struct {
			Columns []struct{ Name, Type string }
			Data    [][]any
		}
	}
	if err := json.Unmarshal(body, &job); err != nil {
		return "", fmt.Errorf("read the answer %s: %w", body, err)
	}
	fmt.Printf("status   %s\ncommand  %s\ncluster  %s\nid       %s\nresult\n", job.Status, job.Command, job.Cluster, job.ID)
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	for _, c := range job.Result.Columns {
		fmt.Fprintf(table, "  %s (%s)\t", c.Name, c.Type)
	}
	fmt.Fprintln(table)
	for _, row := range job.Result.Data {
		for _, cell := range row {
			fmt.Fprintf(table, "  %v\t", cell)
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return "", err
	}
	if job.Status != "SUCCEEDED" {
		return "", fmt.Errorf("the ping job is %s: %s", job.Status, body)
	}
	return job.ID, nil
}

// call makes one request as the demo's user and returns the body of a good
// answer.
func call(ctx context.Context, method, url, body string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Pattern-User", "test_user")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, answer.Status, content)
	}
	return content, err
}

// client runs the command line against the host.
func client(ctx context.Context, heimdall, address string, arguments ...string) error {
	c := exec.CommandContext(ctx, heimdall, arguments...)
	c.Env = environment(address)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}

func environment(address string) []string {
	return append(os.Environ(), "HEIMDALL_SERVER="+address, "HEIMDALL_USER=test_user")
}

// ready waits until the host answers that it is ready and returns its address.
func ready(ctx context.Context, scratch string, exited chan error) (string, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if content, err := os.ReadFile(filepath.Join(scratch, "address")); err == nil {
			address := strings.TrimSpace(string(content))
			if _, err := call(ctx, "GET", address+"/readyz", ""); err == nil {
				return address, nil
			}
		}
		select {
		case <-tick.C:
		case err := <-exited:
			exited <- err
			return "", errors.New("the host has stopped before it was ready")
		case <-ctx.Done():
			return "", fmt.Errorf("the host was not ready in time: %w", ctx.Err())
		}
	}
}

// shutdown stops the host and waits for it.
func shutdown(server *exec.Cmd, exited chan error) error {
	say("stopping the host")
	_ = server.Process.Signal(syscall.SIGTERM) // it may have stopped already
	select {
	case err := <-exited:
		if err != nil {
			return fmt.Errorf("the host ended with %w", err)
		}
		return nil
	case <-time.After(20 * time.Second):
		return errors.Join(errors.New("the host did not stop"), server.Process.Kill())
	}
}

func say(format string, args ...any) { fmt.Printf("\n── "+format+"\n", args...) }
