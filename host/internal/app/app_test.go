package app_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/app"
	"github.com/heimdall-run/heimdall/host/internal/config"
)

// A host that cannot start says so in one sentence and leaves no plugin behind:
// they are started beside the store.
func TestAFailedStartLeavesNoPlugin(t *testing.T) {
	root := t.TempDir()
	plugins, data := filepath.Join(root, "plugins"), filepath.Join(root, "data")
	if err := os.Mkdir(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	slow := "#!/bin/sh\nexec sleep 1000\n"
	if err := os.WriteFile(filepath.Join(plugins, "heimdall-plugin-slow"), []byte(slow), 0o755); err != nil {
		t.Fatal(err)
	}
	c := &config.Config{DataDir: data}
	c.Server.Listen = "127.0.0.1:0"
	c.Store.URL = "postgres://user:secret@127.0.0.1:1/nowhere"
	c.Artifacts.URL = "file"
	c.Plugins.Directory = plugins
	c.Auth.TrustedHeaders = []string{"X-Heimdall-User"}
	c.Log.Level = "off"

	err := app.Run(t.Context(), app.Options{Config: c, Log: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1/nowhere") || strings.Contains(err.Error(), "secret") {
		t.Errorf("Run = %v, want a sentence that names the store and not its password", err)
	}
	left, err := os.ReadDir(filepath.Join(data, "run"))
	if err != nil || len(left) > 0 {
		t.Errorf("%d plugin processes are left, %v", len(left), err)
	}
}
