package pluginhost_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain makes the test binary a plugin, or a host that is killed, when a
// test executes it as one.
func TestMain(m *testing.M) {
	switch os.Getenv("HEIMDALL_TEST_ROLE") {
	case "plugin":
		servePlugin()
	case "host":
		serveHost()
	default:
		goleak.VerifyTestMain(m)
	}
}
