package selector

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Verdict is why an object was or was not taken.
type Verdict string

// Verdicts.
const (
	Fits          Verdict = "fits"
	LacksTags     Verdict = "lacks_tags"
	NotActive     Verdict = "not_active"
	NoPlugin      Verdict = "no_plugin"      // of a command
	LessPreferred Verdict = "less_preferred" // of a pair: it fits a wish or a preference that comes later
)

// Record is what is kept of a choice. Together with the snapshot of its
// revision it gives the verdict on every candidate again.
type Record struct {
	Revision string          `json:"revision"`
	Seed     uint64          `json:"seed,string"` // a string: JSON numbers lose digits
	Command  string          `json:"command_id,omitempty"`
	Cluster  string          `json:"cluster_id,omitempty"`
	Commands map[Verdict]int `json:"commands"`          // number of commands by verdict
	Pairs    uint64          `json:"pairs"`             // that one was chosen from, with even chances
	Nearest  []Miss          `json:"nearest,omitempty"` // when there was none
	// Unusable are the commands whose plugin could not be used, the first mostUnusable
	// of them: the snapshot does not tell.
	Unusable []string `json:"unusable,omitempty"`
}

// mostUnusable is the number of commands without a plugin that a record names.
const mostUnusable = 100

// Plugins says of plugins what they were when the choice was made.
func (r *Record) Plugins(c *catalog.Command) error {
	if slices.Contains(r.Unusable, c.ID) {
		return errors.New("no host had it ready at that time")
	}
	return nil
}

// Miss is a candidate that came near.
type Miss struct {
	Command string  `json:"command_id,omitempty"`
	Cluster string  `json:"cluster_id,omitempty"`
	Verdict Verdict `json:"verdict"`
	Lacks   tag.Set `json:"lacks,omitempty"`
}

// mostMisses is the number of near misses that a record keeps.
const mostMisses = 3

// explain says why there is no pair and what came nearest.
func (s *Selector) explain(r Request, wishes []tag.Set, commands []int, unusable map[string]error, record *Record) error {
	if len(commands) == 0 {
		return s.explainCommand(r.Command, unusable, record)
	}
	for _, i := range commands {
		command := s.snapshot.Commands[i]
		want := wishes[0].With(preferences(command)[0]...)
		cluster, lacks := s.clusters.nearest(want)
		miss := Miss{Command: command.ID, Verdict: LacksTags, Lacks: lacks}
		if cluster != nil {
			miss.Cluster = cluster.ID
			if len(lacks) == 0 {
				miss.Verdict = NotActive
			}
		}
		if len(record.Nearest) < mostMisses {
			record.Nearest = append(record.Nearest, miss)
		}
	}
	command := s.snapshot.Command(record.Nearest[0].Command)
	want := wishes[0].With(preferences(command)[0]...)
	cluster, lacks := s.clusters.nearest(want)
	switch {
	case cluster == nil:
		return noPair("/cluster_criteria", "command %q fits, but there is no cluster", command.ID)
	case len(lacks) == 0:
		return noPair("/cluster_criteria", "command %q fits, but the nearest cluster, %q, is %s",
			command.ID, cluster.ID, strings.ToLower(string(cluster.Status)))
	}
	return noPair("/cluster_criteria", "command %q fits, but no active cluster has %s; the nearest, %q, lacks %s",
		command.ID, words(want), cluster.ID, words(lacks))
}

func (s *Selector) explainCommand(want tag.Set, unusable map[string]error, record *Record) error {
	object, lacks := s.commands.nearest(want)
	if object == nil {
		return noPair("/command_criteria", "there is no command")
	}
	miss := Miss{Command: object.ID, Verdict: LacksTags, Lacks: lacks}
	defer func() { record.Nearest = []Miss{miss} }()
	if len(lacks) > 0 {
		return noPair("/command_criteria", "no active command has %s; the nearest, %q, lacks %s",
			words(want), object.ID, words(lacks))
	}
	if object.Status != catalog.Active {
		miss.Verdict = NotActive
		return noPair("/command_criteria", "no active command has %s; the nearest, %q, is %s",
			words(want), object.ID, strings.ToLower(string(object.Status)))
	}
	miss.Verdict = NoPlugin
	cause := unusable[object.ID]
	if errs.Is(cause, errs.Unavailable) {
		return &errs.Error{
			Kind:    errs.Unavailable,
			Message: fmt.Sprintf("command %q cannot be run just now: %v", object.ID, cause),
			Retry:   time.Second,
		}
	}
	return noPair("/command_criteria", "command %q fits, but its plugin cannot be used: %v", object.ID, cause)
}

func noPair(pointer, format string, args ...any) error {
	sentence := fmt.Sprintf(format, args...)
	return &errs.Error{
		Kind:    errs.Invalid,
		Message: "no command and cluster fit this job: " + sentence,
		Fields:  []errs.Field{{Pointer: pointer, Detail: sentence}},
	}
}

func words(tags tag.Set) string {
	if len(tags) == 0 {
		return "any tag"
	}
	return strings.Join(tags, ", ")
}
