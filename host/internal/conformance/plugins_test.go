package conformance_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
	"github.com/heimdall-run/heimdall/host/internal/conformance"
)

// The shipped plugins pass all that applies to them. What does not is named, so
// that no case falls away unseen.
func TestShippedPluginsPass(t *testing.T) {
	t.Parallel()
	noLong := []string{
		"cancel-abandon", "cancel-children", "cancel-early", "cancel-forced", "cancel-graceful", "cancel-reasons", "cancel-twice", "deadline",
		"drain-running", "examples-long", "host-killed", "host-reconnect", "list-running", "orphan-renewed", "orphan-timeout", "plugin-killed", "renew-expired",
		"renew-extended", "renew-nothing", "secrets-update", "sigterm-running", "start-cut", "start-too-many", "watch-running",
	}
	noResume, noSecrets := []string{"checkpoint-abandon", "checkpoint-ack", "checkpoint-nobody", "checkpoint-size", "cleanup-checkpoint", "fresh-checkpoint", "resume-own"}, []string{"secrets-output", "secrets-processes"}
	for name, without := range map[string][]string{
		// It ends at once whatever it is told, takes any input and writes no file.
		"ping": slices.Concat(noLong, noResume, noSecrets, []string{
			"events-failed", "folders", "input-unknown", "input-wrong", "log-limit", "logs", "result-file", "result-limit", "result-memory",
			"result-table", "settings-wrong",
		}),
		// Its programs may take keys that it does not know.
		"shell": slices.Concat(noResume, noSecrets, []string{"input-unknown", "start-too-many"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			binary := "../../../bin/plugins/heimdall-plugin-" + name
			if _, err := os.Stat(binary); err != nil {
				t.Fatalf("the shipped binary is needed: %v; run make build", err)
			}
			report := check(t, conformance.Config{Binary: binary, LeakTime: 20 * time.Second})
			var got []string
			for _, c := range report.Cases {
				switch c.Result {
				case checkreport.Failed:
					t.Errorf("%s = %s, want passed\n%s", c.ID, c.Result, c.Detail)
				case checkreport.NotExercised:
					got = append(got, c.ID)
				}
			}
			slices.Sort(got)
			slices.Sort(without)
			if !slices.Equal(got, without) {
				t.Errorf("not exercised: %v\nwant %v", got, without)
			}
			if report.Plugin != name || report.HostVersion != "1.2.3" || len(report.SHA256) != 64 {
				t.Errorf("report of %q by %q with the sha256 %q, want %s, 1.2.3 and a digest", report.Plugin, report.HostVersion, report.SHA256, name)
			}
		})
	}
}
