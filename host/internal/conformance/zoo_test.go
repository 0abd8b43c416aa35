package conformance_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
	"github.com/heimdall-run/heimdall/host/internal/conformance"
)

// broken names the breeds of the zoo and the cases that each fails.
var broken = map[string][]string{
	"greets-first":   {"handshake-line"},
	"sleeps-first":   {"handshake-time"},
	"elsewhere":      {"handshake-socket"},
	"short-sighted":  {"handshake-long-folder"},
	"chatty":         {"handshake-stdout"},
	"cookieless":     {"handshake-no-cookie"},
	"any-cookie":     {"handshake-wrong-cookie"},
	"yes-man":        {"handshake-version"},
	"mute":           {"describe-answers"},
	"moody":          {"describe-again"},
	"alias":          {"describe-name"},
	"newest":         {"describe-version"},
	"kindless":       {"describe-kinds"},
	"boaster":        {"describe-capabilities"},
	"schemeful":      {"describe-schemas"},
	"misfit":         {"describe-examples"},
	"lax-settings":   {"settings-unknown"},
	"blind-settings": {"settings-wrong"},
	"lax-input":      {"input-unknown"},
	"blind-input":    {"input-wrong"},
	"settled":        {"configure-again"},
	"agreeable":      {"configure-refuses"},
	"never-ends":     {"events-end"},
	"open-ended":     {"events-close"},
	"counts-down":    {"events-numbers"},
	"repeats-events": {"events-numbers"},
	"ends-twice":     {"events-order"},
	"mumbles":        {"events-failed"},
	"diligent":       {"start-again"},
	"restless":       {"start-after-ack"},
	"crowded":        {"start-many"},
	"overbooked":     {"start-too-many"},
	"devoted":        {"start-cut"},
	"rewinds":        {"watch-from"},
	"impatient":      {"watch-running"},
	"polite":         {"watch-unknown"},
	"forgetful":      {"ack-part"},
	"keeper":         {"ack-end"},
	"strict":         {"ack-unknown"},
	"numb":           {"list-running"},
	"jumbled":        {"list-order"},
	"snippy":         {"examples-long"},
	"stubborn":       {"cancel-graceful"},
	"unforced":       {"cancel-forced"},
	"clingy":         {"cancel-abandon"},
	"irritable":      {"cancel-twice"},
	"resentful":      {"cancel-early"},
	"retroactive":    {"cancel-late"},
	"obliging":       {"cancel-unknown"},
	"reasonless":     {"cancel-reasons"},
	"crouching":      {"cancel-children"},
	"aimless":        {"deadline"},
	"ragged":         {"result-table"},
	"liar":           {"result-file"},
	"glutton":        {"result-memory"},
	"inliner":        {"result-inline"},
	"boundless":      {"result-limit"},
	"ascii":          {"unicode"},
	"small-mouthed":  {"large-start"},
	"bound":          {"slow-reader"},
	"open-doored":    {"folders"},
	"hushed":         {"logs"},
	"wordy":          {"log-limit"},
	"faithful":       {"host-reconnect"},
	"orphan":         {"host-killed"},
	"tenacious":      {"renew-expired"},
	"hasty":          {"renew-extended"},
	"literal":        {"renew-nothing"},
	"disloyal":       {"renew-epoch"},
	"immortal":       {"orphan-timeout"},
	"clockwork":      {"orphan-renewed"},
	"widower":        {"plugin-killed"},
	"haunted":        {"plugin-fresh"},
	"starts-anew":    {"resume-nothing"},
	"gullible":       {"resume-garbage"},
	"amnesiac":       {"resume-own"},
	"unprepared":     {"fresh-checkpoint"},
	"fat":            {"checkpoint-size"},
	"unmoved":        {"checkpoint-ack"},
	"insistent":      {"checkpoint-nobody"},
	"sneaks-off":     {"checkpoint-abandon"},
	"cleans-once":    {"cleanup-again"},
	"cleans-own":     {"cleanup-fresh", "cleanup-unknown"},
	"foldered":       {"cleanup-again", "cleanup-unknown"},
	"stumbles":       {"cleanup-checkpoint"},
	"endless":        {"drain-idle"},
	"drained":        {"drain-running"},
	"undying":        {"sigterm"},
	"busy":           {"sigterm-running"},
	"nervous":        {"sigint"},
	"blabs":          {"secrets-output"},
	"careless":       {"secrets-processes"},
	"dismissive":     {"secrets-update"},
	"leaky":          {"leaks"},
	"litters":        {"leaks-processes"},
	"speechless":     {"check-answers"},
	"optimist":       {"check-garbage"},
	"fragile":        {"garbage-calls"},
	"brittle":        {"garbage-starts"},
	"trusting":       {"garbage-starts"},
	"delicate":       {"garbage-bytes"},
}

// besides names cases that a breed fails too, if they are run: jobs that are over
// soon are not there to be looked at, those that wait for ever do not end, and what
// cannot clean up twice cannot do so for a checkpoint either.
var besides = map[string][]string{
	"cleans-once":  {"cleanup-checkpoint"},
	"cleans-own":   {"cleanup-checkpoint"},
	"forgetful":    {"slow-reader"},
	"foldered":     {"cleanup-checkpoint"},
	"hasty":        {"renew-nothing"},
	"keeper":       {"checkpoint-ack", "leaks-processes", "secrets-output", "slow-reader"},
	"lax-input":    {"garbage-starts"},
	"lax-settings": {"garbage-starts"},
	"numb":         {"slow-reader"},
	"snippy":       {"orphan-renewed", "renew-extended", "renew-nothing"},
	"undying":      {"sigterm-running"},
	"unmoved":      {"leaks-processes", "secrets-output", "slow-reader"},
}

func TestHealthyPassesAll(t *testing.T) {
	t.Parallel()
	report := check(t, conformance.Config{Binary: animal(t, "healthy"), LeakTime: time.Minute})
	for _, c := range report.Cases {
		if c.Result != checkreport.Passed {
			t.Errorf("%s = %s, want passed\n%s", c.ID, c.Result, c.Detail)
		}
	}
	if len(report.Cases) != len(conformance.Cases()) || !report.Passed || report.Version != "1.0.0" {
		t.Errorf("got %d cases of version %s, passed = %t; want all of 1.0.0", len(report.Cases), report.Version, report.Passed)
	}
}

// Jobs that wait for the acknowledgement of a checkpoint pass as others do: every
// example saves one first, as those do that note what they are about to begin.
func TestJobsThatSavePassAll(t *testing.T) {
	t.Parallel()
	examples, err := conformance.ReadExamples([]byte(`[
		{"kind": "quick", "title": "Greets", "settings": {"greeting": "Hello", "password": "-"}, "input": {"save": true, "text": "world"}},
		{"kind": "long", "title": "Sleeps", "input": {"save": true, "lines": 3, "sleep": "1m"}},
		{"kind": "long", "title": "Lets a child sleep", "input": {"save": true, "child": true, "sleep": "1m"}},
		{"kind": "fails", "title": "Fails", "input": {"save": true, "fail": "this went wrong"}},
		{"kind": "table", "title": "Counts", "input": {"save": true, "rows": 3}},
		{"kind": "logs", "title": "Writes lines", "input": {"save": true, "lines": 100}},
		{"kind": "big", "title": "Brings a megabyte", "input": {"save": true, "bytes": 1048576}}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	report := check(t, conformance.Config{Binary: animal(t, "healthy"), Examples: examples, LeakTime: time.Minute})
	for _, c := range report.Cases {
		if c.Result != checkreport.Passed {
			t.Errorf("%s = %s, want passed\n%s", c.ID, c.Result, c.Detail)
		}
	}
}

// What has saved a checkpoint stops with the host's right to run, and says that its
// work may go on.
func TestSaversMustAbandonWithTheRight(t *testing.T) {
	t.Parallel()
	examples, err := conformance.ReadExamples([]byte(`[{"kind": "long", "title": "Sleeps", "input": {"save": true, "lines": 3, "sleep": "1m"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	for breed, want := range map[string]checkreport.Result{"healthy": checkreport.Passed, "sneaks-off": checkreport.Failed} {
		report := check(t, conformance.Config{Binary: animal(t, breed), Examples: examples, Only: []string{"renew-expired"}})
		for _, c := range report.Cases {
			if c.ID == "renew-expired" && c.Result != want {
				t.Errorf("%s: %s = %s, want %s\n%s", breed, c.ID, c.Result, want, c.Detail)
			}
		}
	}
}

// A plugin whose cluster is away when it should clean up is in order: the host
// tries again.
func TestCleanupMayHaveToWait(t *testing.T) {
	t.Parallel()
	ids := []string{"cleanup-again", "cleanup-checkpoint", "cleanup-fresh", "cleanup-unknown"}
	report := check(t, conformance.Config{Binary: animal(t, "secluded"), Only: ids})
	if !report.Passed {
		t.Errorf("passed = false with %+v, want true", report.Counts)
	}
	for _, c := range report.Cases {
		if slices.Contains(ids, c.ID) && (c.Result != checkreport.NotExercised || !strings.Contains(c.Detail, "the cluster cannot be reached")) {
			t.Errorf("%s = %s, %q; want not exercised, and what Cleanup said", c.ID, c.Result, c.Detail)
		}
	}
}

// Each breed fails the case that is meant for it, and no other of those that are
// run: the ones that come before it, or, with HEIMDALL_TEST_ZOO=all, every one.
func TestBrokenFailTheirCase(t *testing.T) {
	t.Parallel()
	reports := map[string]func() (*checkreport.Report, error){}
	var group sync.WaitGroup
	slots := make(chan struct{}, 12) // most of the time is waiting
	for breed, want := range broken {
		config := conformance.Config{
			Binary: animal(t, breed), Host: host(), Patience: 4 * time.Second, LeakTime: time.Minute, Parallel: 4,
		}
		if breed == "sleeps-first" {
			config.StartTimeout = 2 * time.Second
		}
		if os.Getenv("HEIMDALL_TEST_ZOO") != "all" {
			config.Only = want
		}
		report := sync.OnceValues(func() (*checkreport.Report, error) {
			slots <- struct{}{}
			defer func() { <-slots }()
			report, err := conformance.Check(t.Context(), config)
			if err == nil && !slices.Equal(failed(report, breed), want) {
				config.Patience = 0 // the short one may not do on a busy machine
				return conformance.Check(t.Context(), config)
			}
			return report, err
		})
		reports[breed] = report
		group.Go(func() { _, _ = report() }) // asked for below
	}
	defer group.Wait()
	for _, breed := range slices.Sorted(maps.Keys(broken)) {
		t.Run(breed, func(t *testing.T) {
			want := broken[breed]
			report, err := reports[breed]()
			if err != nil {
				t.Fatalf("Check = %v, want a report", err)
			}
			if got := failed(report, breed); !slices.Equal(got, want) {
				t.Errorf("%s failed %v, want %v", breed, got, want)
			}
			for _, c := range report.Cases {
				if c.Result != checkreport.Failed {
					continue
				}
				t.Logf("%s: %s", c.ID, c.Detail)
				if !strings.Contains(c.Detail, "saw: ") || !strings.Contains(c.Detail, "\nlook at: ") {
					t.Errorf("%s says %q, want what was seen, and where to look", c.ID, c.Detail)
				}
			}
		})
	}
}

// failed returns the cases that a breed has failed, but for those besides, sorted.
func failed(report *checkreport.Report, breed string) []string {
	var ids []string
	for _, c := range report.Cases {
		if c.Result == checkreport.Failed && !slices.Contains(besides[breed], c.ID) {
			ids = append(ids, c.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// check runs cases; the report must make sense.
func check(t *testing.T, config conformance.Config) *checkreport.Report {
	t.Helper()
	config.Host, config.HostVersion = host(), "1.2.3"
	report, err := conformance.Check(t.Context(), config)
	if err != nil {
		t.Fatalf("Check = %v, want a report", err)
	}
	return report
}

// There is a breed for every case but those that no change of the healthy one
// fails alone.
func TestEveryCaseHasItsBreed(t *testing.T) {
	var without []string
	for _, c := range conformance.Cases() {
		found := false
		for _, ids := range broken {
			found = found || slices.Contains(ids, c.ID)
		}
		if !found {
			without = append(without, c.ID)
		}
	}
	if len(without) > 0 {
		t.Errorf("no breed fails %v, want one for each", without)
	}
}
