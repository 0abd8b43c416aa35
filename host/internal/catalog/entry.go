package catalog

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Kind is a side of the catalog.
type Kind string

// The sides.
const (
	CommandKind Kind = "command"
	ClusterKind Kind = "cluster"
)

// Owner says where an object is declared, and so where it is changed.
type Owner string

// The owners.
const (
	ByFile  Owner = "file"  // the configuration file of one host or several
	ByAPI   Owner = "api"   // the store
	ByLease Owner = "lease" // itself, as long as it says so
)

// Entry is an object with what is kept about it.
type Entry struct {
	Kind    Kind
	Command *Command // of a command; as declared
	Cluster *Cluster // of a cluster; as declared

	Owner     Owner
	Source    string // the file that declares it, as host:path; "": none does
	Override  Status // in place of the declared status; "": there is none
	Gone      bool   // no live host's file declares it any more, or its lease is over for long
	Revision  int64  // grows with each change of it
	Version   int64  // that its last change gave the catalog
	CreatedAt time.Time
	UpdatedAt time.Time
	UpdatedBy string

	// Of a cluster that has declared itself.
	LeaseUntil time.Time     // by the clock of the store
	LeaseTTL   time.Duration // as it was asked for last
	LeaseOver  bool          // it is not selectable
}

// Object returns what commands and clusters have in common.
func (e *Entry) Object() *Object {
	if e.Kind == CommandKind {
		return &e.Command.Object
	}
	return &e.Cluster.Object
}

// Status returns the status in force.
func (e *Entry) Status() Status {
	switch {
	case e.Gone:
		return Deleted
	case e.Override != "":
		return e.Override
	case e.LeaseOver && e.Object().Status == Active:
		return Inactive
	}
	return e.Object().Status
}

// Definition returns the object as it is declared, as JSON with its context, which
// ReadDefinition reads.
func (e *Entry) Definition() ([]byte, error) {
	o := e.Object()
	own := tag.System(o.ID, o.Name, o.Version)
	tags := slices.DeleteFunc(slices.Clone(o.Tags), own.Has)
	context := o.Context
	if len(context) == 0 {
		context = json.RawMessage("{}")
	}
	var whole any
	if e.Kind == CommandKind {
		c := *e.Command
		c.Tags = tags
		whole = struct {
			*Command
			Context json.RawMessage `json:"context"`
		}{&c, context}
	} else {
		c := *e.Cluster
		c.Tags = tags
		whole = struct {
			*Cluster
			Context json.RawMessage `json:"context"`
		}{&c, context}
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(whole); err != nil {
		return nil, fmt.Errorf("write %s %q: %w", e.Kind, o.ID, err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// ReadDefinition sets the object of an entry to what Definition has returned.
func (e *Entry) ReadDefinition(text []byte) (err error) {
	var context struct {
		Context json.RawMessage `json:"context"`
	}
	if e.Kind == CommandKind {
		e.Command = &Command{}
		err = json.Unmarshal(text, e.Command)
	} else {
		e.Cluster = &Cluster{}
		err = json.Unmarshal(text, e.Cluster)
	}
	if err == nil {
		err = json.Unmarshal(text, &context)
	}
	if err != nil {
		return fmt.Errorf("read a stored %s: %w", e.Kind, err)
	}
	e.Object().Context = context.Context
	return nil
}

// InForce returns a command with another status.
func (c *Command) InForce(s Status) *Command {
	if c.Status == s {
		return c
	}
	other := *c
	other.Status, other.digest = s, [sha256.Size]byte{}
	return &other
}

// InForce returns a cluster with another status.
func (c *Cluster) InForce(s Status) *Cluster {
	if c.Status == s {
		return c
	}
	other := *c
	other.Status, other.digest = s, [sha256.Size]byte{}
	return &other
}
