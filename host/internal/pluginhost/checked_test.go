package pluginhost_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// check writes a report of the check of a file beside it and returns its text.
func check(t *testing.T, file string, result checkreport.Result) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := checkreport.Report{
		Format: checkreport.Format, SHA256: fmt.Sprintf("%x", sha256.Sum256(content)),
		Cases: []checkreport.Case{{ID: "a", Result: result}},
	}
	r.Conclude()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file+".check.json", text)
	return text
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// refused waits until the plugin "good" cannot be used for a reason.
func refused(t *testing.T, h *pluginhost.Host, want string) {
	t.Helper()
	eventually(t, "it says "+want, func() bool {
		err := h.Available("good", "")
		return err != nil && strings.Contains(err.Error(), want)
	})
}

func TestOnlyCheckedBuildsRun(t *testing.T) {
	f := newFixture(t)
	file := filepath.Join(f.plugins, good)
	writePlugin(t, f.plugins, good)
	h := f.start(t, func(c *pluginhost.Config) { c.RequireCheck = true })
	refused(t, h, "there is no "+good+".check.json: write it with heimdall plugin check "+file+" --report "+file+".check.json")
	writeFile(t, file+".check.json", []byte("{"))
	refused(t, h, "not JSON")
	check(t, file, checkreport.Failed)
	refused(t, h, "failed it in 1 of 1 cases")
	check(t, file, checkreport.Passed)
	eventually(t, "the plugin is available", func() bool { return h.Available("good", "") == nil })
	if list := h.Plugins(); len(list) != 1 {
		t.Errorf("got %d builds, want the report not to be taken for one: %+v", len(list), list)
	}

	// The report is about the build before: that one serves on.
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_VERSION=1.0.1")
	eventually(t, "the new build is refused", func() bool {
		list := h.Plugins()
		return len(list) == 2 && strings.Contains(list[0].Error+list[1].Error, "about another binary")
	})
	if err := h.Available("good", "1.0.0"); err != nil {
		t.Errorf("the build that was checked: %v, want that it serves", err)
	}
	check(t, file, checkreport.Passed)
	eventually(t, "the new build serves", func() bool { return h.Available("good", "1.0.1") == nil })
}

// The last good build serves after a restart too, though the report beside the
// file is about another by then, unless nobody has ever checked it.
func TestLastGoodBuildWasChecked(t *testing.T) {
	for name, checked := range map[string]bool{"checked": true, "never checked": false} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			file := filepath.Join(f.plugins, good)
			writePlugin(t, f.plugins, good)
			if checked {
				check(t, file, checkreport.Passed)
			}
			h, stop := f.startStoppable(t, func(c *pluginhost.Config) { c.RequireCheck = checked })
			eventually(t, "the plugin is available", func() bool { return h.Available("good", "1.0.0") == nil })
			remembered(t, f)
			stop()
			writePlugin(t, f.plugins, good, "HEIMDALL_TEST_DIES=1ms", "HEIMDALL_TEST_VERSION=1.0.1")
			check(t, file, checkreport.Passed)
			h = f.start(t, func(c *pluginhost.Config) { c.RequireCheck = true })
			if !checked {
				refused(t, h, "exit status 9") // there is no other than the one that crashes
				return
			}
			eventually(t, "the last good build serves", func() bool { return h.Available("good", "1.0.0") == nil })
		})
	}
}

func TestReportsAreSigned(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	file, key := filepath.Join(f.plugins, good), filepath.Join(t.TempDir(), "check.pub")
	writeFile(t, key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	writePlugin(t, f.plugins, good)
	text := check(t, file, checkreport.Passed)
	h := f.start(t, func(c *pluginhost.Config) { c.RequireCheck, c.CheckKey = true, key })
	refused(t, h, "there is no "+good+".check.json.sig: sign "+good+".check.json")
	writeFile(t, file+".check.json.sig", ed25519.Sign(private, append(text, ' ')))
	refused(t, h, "its signature is not one of this report")
	writeFile(t, file+".check.json.sig", ed25519.Sign(private, text))
	eventually(t, "the plugin is available", func() bool { return h.Available("good", "") == nil })
}

func TestBadCheckKey(t *testing.T) {
	folder := t.TempDir()
	for name, test := range map[string]struct{ content, want string }{
		"missing":   {"", "no such file"},
		"no PEM":    {"ssh-ed25519 AAAA", "no PUBLIC KEY in PEM"},
		"a private": {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no PUBLIC KEY in PEM"},
		"garbage":   {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "asn1"},
	} {
		t.Run(name, func(t *testing.T) {
			key := filepath.Join(t.TempDir(), "key")
			if test.content != "" {
				writeFile(t, key, []byte(test.content))
			}
			_, err := pluginhost.New(pluginhost.Config{Directory: folder, DataDir: folder, CheckKey: key})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "plugins.check_key") {
				t.Errorf("New = %v, want an error with %q", err, test.want)
			}
		})
	}
}
