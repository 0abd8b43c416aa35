package pluginhost_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain makes the test binary a plugin, a host to be killed or a bare server when a
// test executes it as one.
func TestMain(m *testing.M) {
	switch os.Getenv("HEIMDALL_TEST_ROLE") {
	case "plugin":
		servePlugin()
	case "host":
		serveHost()
	case "hog":
		hog()
	case "plain":
		servePlain()
	case "bare":
		serveBare()
	default:
		goleak.VerifyTestMain(m)
	}
}
