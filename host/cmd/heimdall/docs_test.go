package main_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// checkout is the root of the repository, where the pages begin.
const checkout = "../../../"

// written is the address that the pages write.
const written = "http://127.0.0.1:9090"

// The README's plugin is the one that is shipped.
func TestReadmeShowsPing(t *testing.T) {
	source := readPage(t, "plugins/ping/main.go")
	for _, b := range blocksOf(t, "README.md", "go") {
		if b.text != source {
			t.Errorf("README.md:%d shows\n%s\nbut plugins/ping/main.go is\n%s", b.line, b.text, source)
		}
	}
}

// The README's commands do what it says.
func TestReadmeCommands(t *testing.T) {
	address := startDocHost(t, "configs/heimdall.toml")
	var submitted struct {
		ID        string
		Status    string
		CommandID string `json:"command_id"`
		ClusterID string `json:"cluster_id"`
		Result    struct{ Data [][]string }
	}
	ran := 0
	for _, b := range blocksOf(t, "README.md", "sh") {
		switch {
		case strings.HasPrefix(b.text, "curl "):
			status, answer := curl(t, b.text, address, "")
			if err := json.Unmarshal(answer, &submitted); err != nil || status != http.StatusOK {
				t.Fatalf("README.md:%d: got status %d, want 200: %s", b.line, status, answer)
			}
			ran++
		case strings.Contains(b.text, "bin/heimdall"):
			sh(t, b, address, "", 0)
			ran++
		}
	}
	if ran != 2 {
		t.Fatalf("README.md has %d blocks with curl or bin/heimdall, want 2", ran)
	}
	if submitted.Status != "SUCCEEDED" || submitted.CommandID != "ping-0.0.1" || submitted.ClusterID != "localhost-0.0.1" {
		t.Errorf("got %+v, want SUCCEEDED on ping-0.0.1 and localhost-0.0.1", submitted)
	}
	const greeting = "Hello, test_user!"
	if data := submitted.Result.Data; len(data) != 1 || len(data[0]) != 1 || data[0][0] != greeting {
		t.Errorf("got result %v, want %s", data, greeting)
	}
	for path, want := range map[string]string{
		"": submitted.ID, "/status": "SUCCEEDED", "/stdout": "", "/stderr": "", "/result": greeting,
	} {
		status, answer := curl(t, `curl -H "X-Pattern-User: test_user" `+written+"/api/v1/job/$ID"+path, address, submitted.ID)
		if status != http.StatusOK || !strings.Contains(string(answer), want) {
			t.Errorf("GET %s: got status %d and %q, want 200 and %q", path, status, answer, want)
		}
	}
}

// The examples for those who submit and integrate are answered with the statuses
// that stand behind them: <!-- status 200 --> behind a curl command, <!-- exit 0 -->
// behind lines of the shell. $ID is the id that was answered last.
func TestSubmittersExamples(t *testing.T) {
	for _, page := range []string{"docs/submitters.md", "docs/results.md", "docs/api.md"} {
		t.Run(page, func(t *testing.T) { runExamples(t, page) })
	}
}

func runExamples(t *testing.T, page string) {
	address, id, ran := startDocHost(t, "configs/heimdall.toml"), "", 0
	for _, b := range blocksOf(t, page, "sh") {
		what, number, _ := strings.Cut(b.note, " ")
		want, err := strconv.Atoi(number)
		if err != nil || what != "status" && what != "exit" {
			t.Errorf("%s:%d has no comment behind it such as <!-- status 200 -->", page, b.line)
			continue
		}
		ran++
		if what == "exit" {
			sh(t, b, address, id, want)
			continue
		}
		got, answer := curl(t, b.text, address, id)
		if got != want {
			t.Errorf("%s:%d: got status %d, want %d: %s", page, b.line, got, want, answer)
		}
		var j struct{ ID, Status string }
		if json.Unmarshal(answer, &j) == nil && j.ID != "" && j.Status != "" {
			id = j.ID
		}
	}
	if ran == 0 {
		t.Errorf("%s has no examples", page)
	}
}

// The page about the API lists every endpoint that the host describes.
func TestAPIPageListsEveryEndpoint(t *testing.T) {
	description, err := described()
	if err != nil {
		t.Fatal(err)
	}
	page := readPage(t, "docs/api.md")
	for path, item := range description.Doc.Paths.Map() {
		for method := range item.Operations() {
			if !strings.Contains(page, "| `"+method+" "+path+"` |") {
				t.Errorf("docs/api.md does not list %s %s", method, path)
			}
		}
	}
}

// The plugins for authors compile, their tests pass, and the first one runs with
// the catalog that the page shows for it.
func TestPluginAuthorsExamples(t *testing.T) {
	const page = "docs/plugins.md"
	module := makeModule(t, blocksOf(t, page, "go"))
	command := func(args ...string) {
		t.Helper()
		c := exec.Command("go", args...)
		c.Dir = module
		c.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off", "CGO_ENABLED=0", "GOFLAGS=-mod=mod -trimpath -buildvcs=false")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: go %s: %v\n%s", page, strings.Join(args, " "), err, out)
		}
	}
	command("vet", "./...")
	command("test", "./...")
	command("build", "-o", "built/heimdall-plugin-csv", "./plugin1")

	files := t.TempDir()
	if err := os.WriteFile(filepath.Join(files, "cities.csv"), []byte("city\nOslo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(module, "heimdall.toml")
	text := strings.ReplaceAll(blocksOf(t, page, "toml")[0].text, "/srv/csv", files)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address := startDocHost(t, config, "--plugin-dir", filepath.Join(module, "built"))
	// The paths of the page are those of somebody's own checkout.
	place := strings.NewReplacer("~/heimdall/bin/plugins", filepath.Join(module, "built"), "~/heimdall/", "")
	checked := false
	for _, b := range blocksOf(t, page, "sh") {
		if b.text = place.Replace(b.text); strings.HasPrefix(b.text, "bin/heimdall plugin check") {
			sh(t, b, address, "", 0)
			checked = true
		} else if strings.HasPrefix(b.text, "bin/heimdall ") {
			if out := sh(t, b, address, "", 0); !strings.Contains(out, "Oslo") {
				t.Errorf("%s:%d: got %q, want the table", page, b.line, out)
			}
		}
	}
	if !checked {
		t.Errorf("%s does not say how to check a plugin", page)
	}
}

// makeModule writes whole Go files into a module of their own, as an author
// would have it. A file with a function main begins a new plugin.
func makeModule(t *testing.T, files []block) string {
	t.Helper()
	module := shortTempDir(t)
	sdk, err := filepath.Abs(checkout + "sdk")
	if err != nil {
		t.Fatal(err)
	}
	mod := strings.NewReplacer(
		"module github.com/heimdall-run/heimdall/plugins/ping", "module example.com/plugins",
		"=> ../../sdk", "=> "+sdk,
	).Replace(readPage(t, "plugins/ping/go.mod"))
	content := map[string]string{"go.mod": mod, "go.sum": readPage(t, "plugins/ping/go.sum")}
	plugins := 0
	for _, f := range files {
		name := "main_test.go"
		if strings.Contains(f.text, "\nfunc main()") {
			plugins++
			name = "main.go"
		}
		content["plugin"+strconv.Itoa(plugins)+"/"+name] = f.text
	}
	if plugins == 0 || len(content) != len(files)+2 {
		t.Fatalf("got %d plugins in %d files, want every block to be a file of its own", plugins, len(files))
	}
	for name, text := range content {
		file := filepath.Join(module, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return module
}

// What the pages show as a configuration or as JSON is one.
func TestPagesShowValidText(t *testing.T) {
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page, "json") {
			if !json.Valid([]byte(b.text)) {
				t.Errorf("%s:%d is not JSON", page, b.line)
			}
		}
		for _, b := range blocksOf(t, page, "toml") {
			file := filepath.Join(t.TempDir(), "heimdall.toml")
			if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(checkout+"bin/heimdall", "config", "check", file).CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v: %s", page, b.line, err, out)
			}
		}
	}
}
