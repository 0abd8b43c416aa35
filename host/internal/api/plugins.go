package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Plugins says what runs jobs.
type Plugins interface {
	// Plugins returns the state of every build, those of one plugin together.
	Plugins() []pluginhost.Status
}

// wirePlugin is a plugin with its builds, the one that serves first.
type wirePlugin struct {
	Name           string          `json:"name"`
	Version        string          `json:"version,omitempty"` // of the newest build that serves
	State          string          `json:"state"`             // likewise; else of the first
	Builds         []wireBuild     `json:"builds"`
	Docs           string          `json:"docs,omitempty"`
	SettingsSchema json.RawMessage `json:"settings_schema,omitempty"`
	InputSchema    json.RawMessage `json:"input_schema,omitempty"`
	Examples       []wireExample   `json:"examples,omitempty"`
}

// wireBuild is one binary of a plugin.
type wireBuild struct {
	Version       string        `json:"version,omitempty"`
	SDKVersion    string        `json:"sdk_version,omitempty"`
	SHA256        string        `json:"sha256,omitempty"`
	Path          string        `json:"path,omitempty"`
	Serves        bool          `json:"serves"` // it takes new jobs
	State         string        `json:"state"`
	StateTime     time.Time     `json:"state_time"` // since when
	UptimeSeconds int64         `json:"uptime_seconds,omitempty"`
	PID           int           `json:"pid,omitempty"`
	Isolation     string        `json:"isolation,omitempty"` // "shared", or "per-job": a process for each job
	Processes     []wireProcess `json:"processes,omitempty"` // of single jobs, beside that of pid
	Limits        *wireLimits   `json:"limits,omitempty"`
	RunningJobs   int           `json:"running_jobs"`
	Restarts      int           `json:"restarts"`
	LastRestarts  []wireRestart `json:"last_restarts,omitempty"`
	Error         string        `json:"error,omitempty"`
}

// wireProcess is the process that an attempt has of its own.
type wireProcess struct {
	PID           int    `json:"pid"`
	Attempt       string `json:"attempt"` // <id of the job>.<ordinal>
	UptimeSeconds int64  `json:"uptime_seconds"`
}

// wireLimits says how much a process of a build may use, and what holds the
// limits: "cgroup", "sampled", "rlimit", or "none".
type wireLimits struct {
	Memory    wireLimit `json:"memory"`     // bytes
	CPU       wireLimit `json:"cpu"`        // seconds
	OpenFiles wireLimit `json:"open_files"` // files
	Core      wireLimit `json:"core"`       // bytes
}

type wireLimit struct {
	Process   int64  `json:"process"`     // the limit of the build's process; 0: none, for core files: no bytes
	HeldBy    string `json:"held_by"`     // what holds that
	JobHeldBy string `json:"job_held_by"` // what holds the limits of commands
}

type wireRestart struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
}

type wireExample struct {
	Kind     string          `json:"kind"`
	Title    string          `json:"title,omitempty"`
	Settings json.RawMessage `json:"settings,omitempty"`
	Input    json.RawMessage `json:"input,omitempty"`
	Needs    []string        `json:"needs,omitempty"`
}

// listPlugins serves GET /plugins. What is long, a GET of one plugin tells.
func (h *Handler) listPlugins(x *exchange) error {
	list := h.plugins()
	for i := range list {
		list[i].Docs, list[i].SettingsSchema, list[i].InputSchema, list[i].Examples = "", nil, nil, nil
	}
	return h.writeJSON(x, http.StatusOK, struct {
		Data []wirePlugin `json:"data"`
	}{list})
}

// getPlugin serves GET /plugin/{name}.
func (h *Handler) getPlugin(x *exchange) error {
	name := mux.Vars(x.r)["name"]
	for _, p := range h.plugins() {
		if p.Name == name {
			return h.writeJSON(x, http.StatusOK, p)
		}
	}
	return errs.Errorf(errs.NotFound, "there is no plugin %.100q", name)
}

// plugins gathers the builds of each plugin.
func (h *Handler) plugins() []wirePlugin {
	list := []wirePlugin{}
	for _, s := range h.builds.Plugins() {
		if len(list) == 0 || list[len(list)-1].Name != s.Name {
			list = append(list, wirePlugin{Name: s.Name, State: string(s.State)})
		}
		p := &list[len(list)-1]
		p.Builds = append(p.Builds, wireBuildOf(s))
		if p.Version == "" && s.Serves && s.State == pluginhost.Active {
			p.Version, p.State = s.Version, string(s.State)
			p.describe(s.Description)
		}
	}
	return list
}

func (p *wirePlugin) describe(d *pluginhost.Description) {
	p.Docs, p.SettingsSchema, p.InputSchema = d.Docs, d.SettingsSchema, d.InputSchema
	for _, e := range d.Examples {
		p.Examples = append(p.Examples, wireExample{Kind: e.Kind, Title: e.Title, Settings: e.Settings, Input: e.Input, Needs: e.Needs})
	}
}

func wireBuildOf(s pluginhost.Status) wireBuild {
	b := wireBuild{
		Version: s.Version, SHA256: s.Digest, Path: s.Path, Serves: s.Serves,
		State: string(s.State), StateTime: s.Since.UTC().Truncate(time.Millisecond),
		PID: s.PID, Isolation: string(s.Isolation), RunningJobs: s.Running, Restarts: s.RestartCount, Error: s.Error,
	}
	if s.PID != 0 {
		b.UptimeSeconds = int64(time.Since(s.Since).Seconds())
	}
	for _, p := range s.Processes {
		b.Processes = append(b.Processes, wireProcess{PID: p.PID, Attempt: p.Attempt, UptimeSeconds: int64(time.Since(p.Since).Seconds())})
	}
	if s.Description != nil {
		b.Limits = wireLimitsOf(s)
		b.SDKVersion = s.Description.SDKVersion
	}
	for _, r := range s.Restarts {
		b.LastRestarts = append(b.LastRestarts, wireRestart{r.At.UTC().Truncate(time.Millisecond), r.Reason})
	}
	return b
}

func wireLimitsOf(s pluginhost.Status) *wireLimits {
	limit := func(process int64, held, jobs pluginhost.By) wireLimit {
		return wireLimit{Process: process, HeldBy: string(held), JobHeldBy: string(jobs)}
	}
	if s.PID == 0 { // there is no process that anything could be held of
		nobody := pluginhost.Nobody
		s.Held = pluginhost.Holding{Memory: nobody, CPU: nobody, OpenFiles: nobody, Core: nobody}
	}
	return &wireLimits{
		Memory:    limit(s.Limits.MemoryBytes, s.Held.Memory, s.JobsHeld.Memory),
		CPU:       limit(s.Limits.CPUSeconds, s.Held.CPU, s.JobsHeld.CPU),
		OpenFiles: limit(s.Limits.OpenFiles, s.Held.OpenFiles, s.JobsHeld.OpenFiles),
		Core:      limit(s.Limits.CoreBytes, s.Held.Core, s.JobsHeld.Core),
	}
}
