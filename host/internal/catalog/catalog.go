// Package catalog holds the commands and clusters that jobs are chosen from, as
// immutable snapshots. It does no input or output.
package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Status is what an operator wants of an object.
type Status string

// The states of a command or cluster.
const (
	Active   Status = "ACTIVE"
	Inactive Status = "INACTIVE"
	Deleted  Status = "DELETED"
)

// ParseStatus reads the name of a state, in any case; empty means Active.
func ParseStatus(s string) (Status, error) {
	switch status := Status(strings.ToUpper(s)); status {
	case "":
		return Active, nil
	case Active, Inactive, Deleted:
		return status, nil
	}
	return "", fmt.Errorf("%q is not a status; it is one of active, inactive, deleted", s)
}

// Object is what commands and clusters have in common.
type Object struct {
	ID          string               `json:"id"`
	Name        string               `json:"name"`
	Version     string               `json:"version,omitempty"`
	Description string               `json:"description,omitempty"`
	Status      Status               `json:"status"`
	Tags        tag.Set              `json:"tags"`                 // with the system tags
	Attributes  map[string]Attribute `json:"attributes,omitempty"` // shown with its jobs, by name
	Context     json.RawMessage      `json:"-"`                    // the plugin's settings of this side: a JSON object, references as written
	// Elsewhere is true of an object that only files of other hosts declare: its
	// context is not known here, so that only they can run jobs of it.
	Elsewhere bool `json:"-"`
	// Guarded is true of an object that no file declares: its context may refer only
	// to what the operator of the host that runs it allows.
	Guarded bool `json:"-"`

	digest [sha256.Size]byte // of what selection depends on; zero before it is in a snapshot
}

// Attribute is what an object shows with its jobs.
type Attribute struct {
	Kind  string `json:"kind"`  // "link" or "text"
	Value string `json:"value"` // a template over the job, its pair and what its plugin has shown
}

// Command is a kind of work that callers may ask for.
type Command struct {
	Object
	Plugin        string        `json:"plugin"`
	PluginVersion string        `json:"plugin_version,omitempty"` // "": the newest
	Sync          bool          `json:"is_sync"`
	ClusterTags   []tag.Set     `json:"cluster_tags"` // ordered preference; empty: any cluster
	Timeout       time.Duration `json:"timeout,omitempty"`
	Detach        bool          `json:"detach,omitempty"` // its jobs go on while no host runs
	Limits        Limits        `json:"limits,omitzero"`
	Retry         *job.Retry    `json:"retry,omitempty"`       // of jobs that say none; nil: they are tried once
	MaxRunning    int           `json:"max_running,omitempty"` // of its jobs, over all hosts; 0: any number
	Bounds        Bounds        `json:"bounds,omitzero"`
	Keep          time.Duration `json:"keep,omitempty"` // ended jobs; 0: as long as the configuration says
}

// Bounds limit what callers may ask for; 0 and nil mean no limit but the host's.
type Bounds struct {
	Timeout  time.Duration `json:"timeout,omitempty"`
	Attempts int           `json:"attempts,omitempty"`
	Priority *int          `json:"priority,omitempty"`
}

// Limits are upper bounds of what a job may use; 0 means none.
type Limits struct {
	MemoryBytes int64 `json:"memory_bytes,omitempty"` // of all its processes together
	CPUSeconds  int64 `json:"cpu_seconds,omitempty"`  // of each process
	OpenFiles   int64 `json:"open_files,omitempty"`   // likewise
	CoreBytes   int64 `json:"core_bytes,omitempty"`   // of a core file; 0: none is written
}

// Cluster is a place that work can run on.
type Cluster struct {
	Object
	MaxRunning int `json:"max_running,omitempty"` // of jobs on it, over all hosts; 0: any number
}

// Takes reports whether jobs of the command may run on a cluster.
func (c *Command) Takes(cluster *Cluster) bool {
	if len(c.ClusterTags) == 0 {
		return true
	}
	return slices.ContainsFunc(c.ClusterTags, func(want tag.Set) bool { return len(cluster.Tags.Missing(want)) == 0 })
}

// Snapshot is the catalog at one moment. It is never changed.
type Snapshot struct {
	Commands []*Command // in the order of declaration
	Clusters []*Cluster
	Revision string // names the content that selection depends on

	commands map[string]*Command
	clusters map[string]*Cluster
}

// NewSnapshot returns the snapshot of these objects, which are not changed from
// then on. Ids must be unique on each side; an object without the system tags is
// given them.
func NewSnapshot(commands []*Command, clusters []*Cluster) (*Snapshot, error) {
	s := &Snapshot{
		Commands: commands,
		Clusters: clusters,
		commands: make(map[string]*Command, len(commands)),
		clusters: make(map[string]*Cluster, len(clusters)),
	}
	revision := sha256.New()
	for _, c := range commands {
		if s.commands[c.ID] != nil {
			return nil, fmt.Errorf("command %q is declared twice", c.ID)
		}
		if err := c.settle(c); err != nil {
			return nil, err
		}
		revision.Write(c.digest[:])
		s.commands[c.ID] = c
	}
	for _, c := range clusters {
		if s.clusters[c.ID] != nil {
			return nil, fmt.Errorf("cluster %q is declared twice", c.ID)
		}
		if err := c.settle(c); err != nil {
			return nil, err
		}
		revision.Write(c.digest[:])
		s.clusters[c.ID] = c
	}
	s.Revision = hex.EncodeToString(revision.Sum(nil)[:8])
	return s, nil
}

// settle gives an object, which is a part of whole, its system tags and its digest,
// unless an earlier snapshot has done so.
func (o *Object) settle(whole any) error {
	if o.digest != [sha256.Size]byte{} {
		return nil
	}
	o.Tags = o.Tags.With(tag.System(o.ID, o.Name, o.Version)...)
	content, err := json.Marshal(whole)
	if err != nil {
		return fmt.Errorf("read %q: %w", o.ID, err)
	}
	o.digest = sha256.Sum256(content)
	return nil
}

// Command returns a command by id, or nil.
func (s *Snapshot) Command(id string) *Command { return s.commands[id] }

// Cluster returns a cluster by id, or nil.
func (s *Snapshot) Cluster(id string) *Cluster { return s.clusters[id] }
