package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestPlugins(t *testing.T) {
	s := serve(t, newFake())
	a := s.do(t, "GET", "/api/v1/plugins", "")
	var list struct {
		Data []struct {
			Name, Version, State string
			InputSchema          json.RawMessage `json:"input_schema"`
			Builds               []struct {
				Version, SHA256, State, Error string
				Serves                        bool
				PID                           int
				RunningJobs                   int `json:"running_jobs"`
				Restarts                      int
				LastRestarts                  []struct{ Reason string } `json:"last_restarts"`
				UptimeSeconds                 int64                     `json:"uptime_seconds"`
				Isolation                     string
				Processes                     []struct {
					PID     int
					Attempt string
				}
				Limits json.RawMessage
			}
		}
	}
	if err := json.Unmarshal([]byte(a.text), &list); err != nil || len(list.Data) != 2 {
		t.Fatalf("GET /plugins = %s, %v, want two plugins", a.text, err)
	}
	broken, ping := list.Data[0], list.Data[1]
	if broken.Name != "broken" || broken.State != "failed" || broken.Version != "" || broken.Builds[0].Error != "it is no plugin" {
		t.Errorf("broken = %+v", broken)
	}
	if ping.Version != "1.1.0" || ping.State != "active" || len(ping.Builds) != 2 || ping.InputSchema != nil {
		t.Errorf("ping = %+v, want two builds and no schema in the list", ping)
	}
	b := ping.Builds[0]
	if !b.Serves || b.SHA256 != "abcd" || b.PID != 7 || b.RunningJobs != 2 || b.Restarts != 1 || b.LastRestarts[0].Reason != "signal: killed" || b.UptimeSeconds <= 0 {
		t.Errorf("first build = %+v", b)
	}
	if b.Isolation != "per-job" || len(b.Processes) != 1 || b.Processes[0].PID != 8 || b.Processes[0].Attempt != "j.1" {
		t.Errorf("first build = %+v, want one process of a job", b)
	}
	const limits = `{"memory":{"process":1048576,"held_by":"cgroup","job_held_by":"sampled"},` +
		`"cpu":{"process":0,"held_by":"none","job_held_by":"none"},` +
		`"open_files":{"process":0,"held_by":"none","job_held_by":"none"},` +
		`"core":{"process":0,"held_by":"rlimit","job_held_by":"rlimit"}}`
	if string(b.Limits) != limits {
		t.Errorf("limits = %s, want %s", b.Limits, limits)
	}
	if old := ping.Builds[1]; old.Serves || old.State != "draining" {
		t.Errorf("second build = %+v", old)
	}

	a = s.do(t, "GET", "/api/v1/plugin/ping", "")
	if a.StatusCode != http.StatusOK || !strings.Contains(a.text, `"input_schema":{"type":"object"}`) || !strings.Contains(a.text, `"docs":"greets"`) {
		t.Errorf("GET /plugin/ping = %d %s", a.StatusCode, a.text)
	}
	checkProblem(t, s.do(t, "GET", "/api/v1/plugin/none", ""), http.StatusNotFound, `no plugin "none"`)
}
