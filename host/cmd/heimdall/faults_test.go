package main_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// known are the faults of job gateways that this one is not to have, each with what
// fails where it does: tests, cases of the suite of stores, or stories.
var known = map[string][]string{
	"a host that dies between claim and start leaves its job waiting for ever":     {"TestWhatAnEarlierLifeRan", "case: the leases of earlier epochs are adopted", "story: script/restart"},
	"two hosts clean up after the same job":                                        {"case: what may be left is known until it is cleaned up", "case: no lease of an earlier epoch is left behind"},
	"a host that was taken for dead overwrites how a job ended":                    {"case: a zombie ends nothing", "TestFencedHostStops"},
	"a cancel that was acknowledged is lost":                                       {"case: a cancel that races has one outcome", "case: cancel is first come first served", "case: a cancel that races with a retry is heeded"},
	"a sync job is answered before it is recorded":                                 {"story: script/faults", "story: away/spool"},
	"a sync job is answered well and never recorded while the database is away":    {"story: away/spool", "TestEndIsRecordedOnceTheStoreIsBack"},
	"a job that ends while the database is away is called lost":                    {"story: away/spool", "TestNextLifeRecordsTheSpool", "TestEndIsSpooledWhileTheStoreIsAway"},
	"sync jobs are lost under load":                                                {"case: many submit and end at once", "TestManySubmitters"},
	"a job cannot be read right after its answer":                                  {"story: script/faults"},
	"a cancel waits for a poll":                                                    {"TestCancel", "TestWaitersHearOfACanceledWaitingJob"},
	"each request and each running job has a connection of its own":                {"TestConnectionsAreBounded"},
	"while one host claims, others find nothing of the same command":               {"TestAnOpenClaimHidesNothing", "case: each waiting job is claimed once"},
	"a host claims what it cannot run, and the job is stuck":                       {"case: what a host cannot run is in nobody's way"},
	"a job whose folder cannot be made is stuck":                                   {"story: script/faults"},
	"logs and results are held in memory, and those of a running job are not seen": {"TestLargeResultNeedsLittleMemory", "TestFollowBeginsBeforeAnythingWasWritten", "story: script/restart"},
	"a stop kills what runs, and nobody says so":                                   {"TestDrain", "TestDrainGivesBackWhatHasNotBegun", "TestDrainRetriesWhatMayBeRetried", "story: script/restart"},
	"a killed host's jobs are called failed, and their programs live on":           {"story: script/restart", "TestKillTakesTheWholeTree"},
	"a caller says what state a job is in, or who canceled it":                     {"TestSubmitReadsEveryField"},
	"a request without criteria runs anything":                                     {"story: script/faults", "TestSubmitRefuses"},
	"what a sync job reported is in its answer and not in its record":              {"story: script/faults", "case: a full record comes back"},
	"a plugin that panics takes the host with it":                                  {"TestACrashEndsOneJobOnly", "TestPanicBecomesAnAnswer"},
	"a handler that panics cuts the connection":                                    {"TestPanicBecomesAnAnswer"},
	"a broken plugin, or one under two names, keeps the host from starting":        {"story: script/broken_plugins", "TestBrokenPluginsAreReported"},
	"a database that is away keeps a host from going on":                           {"story: away/spool", "TestStoreIsAwayAtTheStart"},
	"retention takes jobs that run or wait":                                        {"TestSQLite", "TestPostgres"},
	"a full disk loses what was acknowledged":                                      {"story: script/disk", "TestNothingIsBegunWithoutRoom"},
	"a slow database is waited for without end, and costs the leases":              {"story: away/slow", "TestCombinerTurnsAwayWhoWaitsTooLong", "TestSlowDisk"},
}

// Each known fault names tests that are there.
func TestKnownFaultsHaveTheirTests(t *testing.T) {
	there := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	stored := regexp.MustCompile(`(?m)^\t\t\{"([^"]+)", test\w+\},$`)
	for _, root := range []string{checkout + "host", checkout + "sdk", checkout + "plugins"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			suite := filepath.Base(filepath.Dir(path)) == "storetest"
			if !suite && !strings.HasSuffix(path, "_test.go") || !strings.HasSuffix(path, ".go") {
				return nil
			}
			content, err := os.ReadFile(path)
			for _, m := range function.FindAllSubmatch(content, -1) {
				there[string(m[1])] = true
			}
			for _, m := range stored.FindAllSubmatch(content, -1) {
				if suite {
					there["case: "+string(m[1])] = true
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	stories, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stories {
		there["story: "+strings.TrimSuffix(strings.TrimPrefix(path, "testdata/"), ".txtar")] = true
	}
	for fault, tests := range known {
		if len(tests) == 0 {
			t.Errorf("%s: names no test", fault)
		}
		for _, name := range tests {
			if !there[name] {
				t.Errorf("%s: %q is not there", fault, name)
			}
		}
	}
}
