package selector_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/selector"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

func command(id string, tags string, clusterTags ...string) *catalog.Command {
	c := &catalog.Command{Object: object(id, tags), Plugin: "p-" + id}
	for _, set := range clusterTags {
		c.ClusterTags = append(c.ClusterTags, tag.New(strings.Fields(set)...))
	}
	return c
}

func object(id, tags string) catalog.Object {
	return catalog.Object{ID: id, Name: id, Version: "1", Status: catalog.Active, Tags: tag.New(strings.Fields(tags)...)}
}

func cluster(id, tags string) *catalog.Cluster { return &catalog.Cluster{Object: object(id, tags)} }

func inactive[T any](t T, o *catalog.Object) T {
	o.Status = catalog.Inactive
	return t
}

func snapshot(t testing.TB, objects ...any) *catalog.Snapshot {
	t.Helper()
	var commands []*catalog.Command
	var clusters []*catalog.Cluster
	for _, o := range objects {
		switch o := o.(type) {
		case *catalog.Command:
			commands = append(commands, o)
		case *catalog.Cluster:
			clusters = append(clusters, o)
		}
	}
	s, err := catalog.NewSnapshot(commands, clusters)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func usable(*catalog.Command) error { return nil }

func request(command string, clusters ...string) selector.Request {
	r := selector.Request{Command: tag.New(strings.Fields(command)...)}
	for _, set := range clusters {
		r.Clusters = append(r.Clusters, tag.New(strings.Fields(set)...))
	}
	return r
}

func TestSelectOne(t *testing.T) {
	off := cluster("off", "type:off")
	tests := map[string]struct {
		objects []any
		request selector.Request
		want    string // command/cluster
	}{
		"the only pair": {[]any{command("c", "a b"), cluster("k", "x y")}, request("a", "x"), "c/k"},
		"no cluster criteria: any that it allows": {[]any{command("c", "a", "y"), cluster("k", "x"), cluster("l", "y")}, request("a"), "c/l"},
		"an id pins a command":                    {[]any{command("c", "a"), command("d", "a"), cluster("k", "x")}, request("a _id:d"), "d/k"},
		"an id pins a cluster":                    {[]any{command("c", "a"), cluster("k", "x"), cluster("l", "x")}, request("a", "_id:l"), "c/l"},
		"name and version are tags":               {[]any{command("c", "a"), cluster("k", "x")}, request("_name:c _version:1", "_name:k"), "c/k"},
		"inactive ones are passed over":           {[]any{command("c", "a"), inactive(off, &off.Object), cluster("k", "")}, request("a"), "c/k"},
		"the caller's first wish wins":            {[]any{command("c", "a"), cluster("k", "x"), cluster("l", "y")}, request("a", "y", "x"), "c/l"},
		"a wish that yields nothing is skipped":   {[]any{command("c", "a"), cluster("k", "x"), cluster("l", "y")}, request("a", "z", "x"), "c/k"},
		"the command's first preference wins":     {[]any{command("c", "a", "y", "x"), cluster("k", "x"), cluster("l", "y")}, request("a"), "c/l"},
		"the caller's wish goes before the command's": {
			[]any{command("c", "a", "y", "x"), cluster("k", "x big"), cluster("l", "y")}, request("a", "big", "y"), "c/k",
		},
		"more than 64 clusters": {
			append([]any{command("c", "a")}, many(130)...), request("a", "_id:k129"), "c/k129",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			choice, record, err := selector.New(snapshot(t, tt.objects...)).Select(tt.request, usable, 7)
			if err != nil {
				t.Fatal(err)
			}
			if got := choice.Command.ID + "/" + choice.Cluster.ID; got != tt.want {
				t.Errorf("choice = %s, want %s", got, tt.want)
			}
			if record.Pairs != 1 {
				t.Errorf("record.Pairs = %d, want 1", record.Pairs)
			}
		})
	}
}

func many(n int) (clusters []any) {
	for i := range n {
		clusters = append(clusters, cluster(fmt.Sprintf("k%d", i), "x"))
	}
	return clusters
}

func TestNoPair(t *testing.T) {
	idle := command("idle", "a")
	off := cluster("off", "x")
	tests := map[string]struct {
		objects []any
		request selector.Request
		want    string
	}{
		"no criterion":      {[]any{command("c", "a")}, request(""), "at least one command criterion"},
		"empty catalog":     {nil, request("a"), "there is no command"},
		"unknown tag":       {[]any{command("c", "a"), cluster("k", "x")}, request("a b"), `no active command has a, b; the nearest, "c", lacks b`},
		"inactive command":  {[]any{inactive(idle, &idle.Object), cluster("k", "x")}, request("a"), `the nearest, "idle", is inactive`},
		"unusable plugin":   {[]any{command("broken", "a"), cluster("k", "x")}, request("a"), `command "broken" fits, but its plugin cannot be used: it hangs`},
		"no cluster at all": {[]any{command("c", "a")}, request("a"), `command "c" fits, but there is no cluster`},
		"cluster lacks tag": {[]any{command("c", "a", "x"), cluster("k", "x")}, request("a", "y"), `no active cluster has x, y; the nearest, "k", lacks y`},
		"inactive cluster":  {[]any{command("c", "a"), inactive(off, &off.Object)}, request("a", "x"), `the nearest cluster, "off", is inactive`},
	}
	plugins := func(c *catalog.Command) error {
		if c.Plugin == "p-broken" {
			return errors.New("it hangs")
		}
		return nil
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := selector.New(snapshot(t, tt.objects...)).Select(tt.request, plugins, 1)
			if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one of kind invalid with %q", err, tt.want)
			}
		})
	}
}

// A choice is repeated exactly by the same seed, and different seeds share the
// pairs out evenly.
func TestSelectIsPureAndEven(t *testing.T) {
	s := selector.New(snapshot(t, command("c", "a"), command("d", "a", "x"), cluster("k", "x"), cluster("l", "y")))
	got := map[string]int{}
	const rounds = 30000
	for seed := range uint64(rounds) {
		choice, record, err := s.Select(request("a"), usable, seed)
		if err != nil {
			t.Fatal(err)
		}
		again, recordAgain, _ := s.Select(request("a"), usable, seed)
		if choice != again || !reflect.DeepEqual(record, recordAgain) {
			t.Fatalf("seed %d gave %v and then %v", seed, choice, again)
		}
		got[choice.Command.ID+choice.Cluster.ID]++
	}
	if len(got) != 3 {
		t.Fatalf("pairs chosen = %v, want ck, cl and dk", got)
	}
	for pair, n := range got {
		// five standard deviations of a binomial share of one third
		if math.Abs(float64(n)-rounds/3) > 5*math.Sqrt(rounds*2/9.0) {
			t.Errorf("%s was chosen %d times of %d, want about a third", pair, n, rounds)
		}
	}
}

func BenchmarkSelectAllMatch(b *testing.B) {
	var objects []any
	for i := range 1000 {
		objects = append(objects, command(fmt.Sprint("c", i), "a", "x"))
	}
	s := selector.New(snapshot(b, append(objects, many(1000)...)...))
	for b.Loop() {
		if _, _, err := s.Select(request("a", "x"), usable, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// A plugin that comes back while a pair is chosen makes no difference to what is
// said of that moment.
func TestPluginsAreAskedOnce(t *testing.T) {
	asked := 0
	plugins := func(*catalog.Command) error {
		if asked++; asked == 1 {
			return errs.Errorf(errs.Unavailable, "it starts")
		}
		return nil
	}
	s := selector.New(snapshot(t, command("c", "a"), cluster("k", "x")))
	_, record, err := s.Select(request("a"), plugins, 1)
	if !errs.Is(err, errs.Unavailable) || !strings.HasSuffix(err.Error(), "it starts") {
		t.Errorf("Select = %v, want that the command cannot be run just now: it starts", err)
	}
	if asked != 1 || record.Commands[selector.NoPlugin] != 1 {
		t.Errorf("asked %d times, record = %+v, want once and one command without a plugin", asked, record)
	}
}
