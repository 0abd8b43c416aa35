package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/heimdall-run/heimdall/host/internal/canary"
)

// In each story the commands of shell and faulty have secrets, all of which have one
// word in them. At its end that word may be in nothing that was said or is left.

// addSecrets gives the commands of a configuration secrets: faulty one that is written
// out, from the environment or from a file, by turns, and shell one from the environment.
func addSecrets(config, file string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	literal, err := json.Marshal(canary.Secret("literal")) // TOML takes it, too
	if err != nil {
		return err
	}
	ways := []string{string(literal), `"${env:CANARY_TOKEN}"`, `"${file:` + file + `}"`}
	blocks := strings.Split(string(text), "[[commands]]\n")
	for i, block := range blocks[1:] {
		line := ""
		switch {
		case strings.Contains(block, `plugin = "faulty"`) && !strings.Contains(block, "password ="):
			line = "password = " + ways[i%len(ways)]
		case strings.Contains(block, `plugin = "shell"`) && !strings.Contains(block, "environment"):
			line = `environment = { CANARY_TOKEN = "${env:CANARY_TOKEN}" }`
		default:
			continue
		}
		const header = "[commands.context]\n"
		if !strings.Contains(block, header) {
			end := len(block) // or where another table begins
			for _, next := range []string{"\n[[", "\n["} {
				if at := strings.Index(block, next); at >= 0 {
					end = min(end, at+1)
				}
			}
			block = block[:end] + "\n" + header + block[end:]
		}
		blocks[i+1] = strings.Replace(block, header, header+line+"\n", 1)
	}
	return os.WriteFile(config, []byte(strings.Join(blocks, "[[commands]]\n")), 0o600)
}

// searchLive searches what the hosts of a story say that live at its end, and their
// processes.
func searchLive(c *cast, scratch string) (found error) {
	for name, h := range c.hosts {
		if h.command == nil || h.hasExited() {
			continue
		}
		binaries := filepath.Join(scratch, name, "plugins")
		found = errors.Join(found, canary.Processes(h.command.Process.Pid, binaries))
		if err := canary.Answers(h.server, "test_user", paths(h.server)...); err != nil && !unreachable(err) {
			found = errors.Join(found, fmt.Errorf("host %s: %w", name, err))
		}
	}
	return found
}

// unreachable reports whether a host did not answer: a story may have cut it off.
func unreachable(err error) bool {
	_, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok
}

// paths returns the paths of all that a host shows, of many jobs the newest.
func paths(server string) []string {
	all := []string{
		"/metrics", "/readyz", "/api/v1/openapi.json", "/api/v1/hosts", "/api/v1/clusters/health",
		"/api/v1/commands?limit=100", "/api/v1/clusters?limit=100", "/api/v1/jobs?limit=100",
	}
	for _, name := range names(server, "/api/v1/plugins") {
		all = append(all, "/api/v1/plugin/"+name)
	}
	for _, kind := range []string{"command", "cluster"} {
		for _, id := range names(server, "/api/v1/"+kind+"s?limit=10") {
			all = append(all, "/api/v1/"+kind+"/"+id, "/api/v1/"+kind+"/"+id+"/status")
		}
	}
	for _, id := range names(server, "/api/v1/jobs?limit=10") {
		for _, part := range []string{"", "/status", "/explain", "/stdout", "/stderr", "/result"} {
			all = append(all, "/api/v1/job/"+id+part)
		}
	}
	return all
}

// names returns the ids, or names, of what a list holds; none when there is no answer.
func names(server, path string) (all []string) {
	r, err := http.NewRequest(http.MethodGet, server+path, nil)
	if err != nil {
		return nil
	}
	r.Header.Set("X-Heimdall-User", "test_user")
	answer, err := (&http.Client{Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	var list struct {
		Data []struct{ ID, Name string } `json:"data"`
	}
	content, err := io.ReadAll(answer.Body)
	if err != nil || json.Unmarshal(content, &list) != nil {
		return nil
	}
	for _, object := range list.Data {
		if object.ID != "" {
			object.Name = object.ID
		}
		if !slices.Contains(all, object.Name) {
			all = append(all, object.Name)
		}
	}
	return all
}

// searchLeft searches what the hosts of a story have left: their folders, the database
// and their log.
func searchLeft(c *cast, scratch, postgres, log string) (found error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for name := range c.hosts {
		folder := filepath.Join(scratch, name)
		if _, err := os.Stat(folder); err != nil {
			continue // it never began
		}
		found = errors.Join(found, canary.Folder(folder))
		if file := filepath.Join(folder, "heimdall.db"); exists(file) {
			found = errors.Join(found, canary.Database(ctx, file))
		}
	}
	if postgres != "" && len(c.hosts) > 0 {
		found = errors.Join(found, canary.Database(ctx, postgres))
	}
	if exists(log) {
		found = errors.Join(found, canary.Folder(log))
	}
	return found
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// stage is where stories are told: all that their commands print is searched.
type stage struct {
	*testing.T
	tell func(error) // takes what is found; nil: it is an error
}

func (s stage) found(err error) {
	switch {
	case err == nil:
	case s.tell != nil:
		s.tell(err)
	default:
		s.Errorf("a secret has left the host: %v", err)
	}
}

// Run implements testscript.T.
func (s stage) Run(name string, f func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { f(stage{t, s.tell}) })
}

// Verbose has nothing of it left out.
func (s stage) Verbose() bool { return true }

// Log takes what was printed.
func (s stage) Log(args ...any) {
	said := fmt.Sprint(args...)
	if err := canary.Find([]byte(said)); err != nil {
		s.found(fmt.Errorf("the commands of the story have printed %w", err))
	}
	s.T.Log(said)
}

// The search is worth nothing if it does not find what is there: a job that tells.
func TestWhatLeaksIsFound(t *testing.T) {
	for _, store := range []string{"sqlite", "postgres"} {
		var mu sync.Mutex
		var found error
		t.Run(store, func(t *testing.T) {
			run(t, store, "leaks", func(err error) {
				mu.Lock()
				defer mu.Unlock()
				found = errors.Join(found, err)
			})
		})
		for _, where := range []string{
			"/data/artifacts/", "table job:", "/stdout: ", "GET /api/v1/jobs?limit=100: ", "have printed", "cmdline of process", "host.log: ",
		} {
			if !strings.Contains(fmt.Sprint(found), where) {
				t.Errorf("%s: the search has not found what is at %q:\n%v", store, where, found)
			}
		}
	}
}
