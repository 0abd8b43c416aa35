package selector_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/selector"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

func TestExplain(t *testing.T) {
	idle, off := command("idle", "a"), cluster("off", "x zone:a")
	s := selector.New(snapshot(t,
		command("c", "a", "x"), command("broken", "a"), inactive(idle, &idle.Object), command("far", "b"),
		cluster("k", "x zone:a"), cluster("l", "x zone:a"), cluster("m", "x zone:b"), inactive(off, &off.Object), cluster("n", "zone:a"),
	))
	plugins := func(c *catalog.Command) error {
		if c.ID == "broken" {
			return errors.New("it hangs")
		}
		return nil
	}
	want := request("a", "zone:a", "zone:b")
	choice, record, err := s.Select(want, plugins, 1)
	if err != nil {
		t.Fatal(err)
	}
	other := map[string]string{"k": "l", "l": "k"}[choice.Cluster.ID]
	got := s.Explain(want, plugins, choice.Command.ID, choice.Cluster.ID)
	if want := (selector.Explanation{
		Commands: map[selector.Verdict]int{"fits": 1, "no_plugin": 1, "not_active": 1, "lacks_tags": 1},
		Pairs:    map[selector.Verdict]uint64{"fits": 2, "less_preferred": 1, "not_active": 1, "lacks_tags": 1},
		NotChosen: []selector.Candidate{
			{Command: "c", Cluster: other, Verdict: "fits", Detail: "fits as well: the choice was by chance"},
			{Command: "c", Cluster: "m", Verdict: "less_preferred", Detail: "fits, but only what is preferred less"},
			{Command: "c", Cluster: "off", Verdict: "not_active", Detail: "the cluster is inactive"},
			{Command: "c", Cluster: "n", Verdict: "lacks_tags", Lacks: tag.New("x"), Detail: "the cluster lacks x"},
			{Command: "broken", Verdict: "no_plugin", Detail: "its plugin cannot be used: it hangs"},
			{Command: "idle", Verdict: "not_active", Detail: "the command is inactive"},
			{Command: "far", Verdict: "lacks_tags", Lacks: tag.New("a"), Detail: "the command lacks a"},
		},
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	// What the record keeps of the plugins gives the same verdicts again.
	again := s.Explain(want, record.Plugins, choice.Command.ID, choice.Cluster.ID)
	if !reflect.DeepEqual(again.Commands, got.Commands) || !reflect.DeepEqual(again.Pairs, got.Pairs) || len(again.NotChosen) != len(got.NotChosen) {
		t.Errorf("from the record: got %+v, want %+v", again, got)
	}
}

// However many candidates there are, the list is short, has something of every
// verdict, and the rest is counted.
func TestExplainIsBounded(t *testing.T) {
	var objects []any
	for i := range 300 {
		objects = append(objects, command(fmt.Sprint("c", i), "a", "x"), command(fmt.Sprint("d", i), "b"), cluster(fmt.Sprint("n", i), "y"))
	}
	s := selector.New(snapshot(t, append(objects, many(300)...)...))
	got := s.Explain(request("a", "x"), usable, "c7", "k7")
	if len(got.NotChosen) != selector.MostCandidates {
		t.Errorf("listed %d candidates, want %d", len(got.NotChosen), selector.MostCandidates)
	}
	seen := map[selector.Verdict]int{}
	for _, c := range got.NotChosen {
		seen[c.Verdict]++
		if c.Command == "c7" && c.Cluster == "k7" {
			t.Errorf("the chosen pair is listed as not chosen")
		}
	}
	if seen[selector.Fits] == 0 || seen[selector.LacksTags] < 50 {
		t.Errorf("verdicts listed = %v, want some that fit and commands and clusters that lack tags", seen)
	}
	if want := uint64(300 + 300*600 - 1 - selector.MostCandidates); got.NotListed != want {
		t.Errorf("not listed = %d, want %d", got.NotListed, want)
	}
}

func TestExplainWithoutPair(t *testing.T) {
	s := selector.New(snapshot(t, command("c", "a", "x"), cluster("k", "x")))
	got := s.Explain(request("a", "y"), usable, "", "")
	want := []selector.Candidate{{Command: "c", Cluster: "k", Verdict: "lacks_tags", Lacks: tag.New("y"), Detail: "the cluster lacks y"}}
	if !reflect.DeepEqual(got.NotChosen, want) || got.NotListed != 0 {
		t.Errorf("got %+v, want %+v and none that is not listed", got, want)
	}
}

func BenchmarkExplainAllMatch(b *testing.B) {
	var objects []any
	for i := range 10000 {
		objects = append(objects, command(fmt.Sprint("c", i), "a", "x"))
	}
	s := selector.New(snapshot(b, append(objects, many(10000)...)...))
	for b.Loop() {
		s.Explain(request("a", "x"), usable, "c5000", "k5000")
	}
}
