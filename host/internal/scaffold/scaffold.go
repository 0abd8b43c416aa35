// Package scaffold writes the beginning of a plugin: a module that builds, tests
// itself and runs.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/heimdall-run/heimdall/sdk/pluginname"
)

//go:embed template
var templates embed.FS

// data is what the templates may use.
type data struct {
	Name     string
	Type     string // the name as a Go type
	Module   string
	SDK      string // folder of the sdk
	Go       string // version of Go that the sdk needs
	Requires []string
}

// New writes the module of a plugin into a folder that does not exist yet. The
// module uses the sdk in the folder sdk.
func New(name, folder, sdk string) (err error) {
	if err := pluginname.Check(name); err != nil {
		return err
	}
	if rest, ok := strings.CutPrefix(name, pluginname.Prefix); ok {
		return fmt.Errorf("the binary of a plugin %[1]s would be called heimdall-plugin-%[1]s: leave heimdall-plugin- out and call it %[2]s", name, rest)
	}
	if err := outsideWorkspace(folder); err != nil {
		return err
	}
	if sdk, err = filepath.Abs(sdk); err != nil {
		return err
	}
	d := data{Name: name, Type: typeName(name), Module: "heimdall-plugin-" + name, SDK: sdk}
	if err := d.readSDK(); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already; nothing was written", folder)
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}()
	for _, file := range []string{"go.mod", "main.go", "main_test.go", "README.md"} {
		if err := d.write(folder, file); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
	}
	sums, err := os.ReadFile(filepath.Join(sdk, "go.sum"))
	if err != nil {
		return fmt.Errorf("read the checksums of the sdk: %w", err)
	}
	return os.WriteFile(filepath.Join(folder, "go.sum"), sums, 0o644)
}

// outsideWorkspace refuses a folder below one with a go.work: Go would take that,
// and refuse a module that it does not name.
func outsideWorkspace(folder string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	for parent := filepath.Dir(folder); ; parent = filepath.Dir(parent) {
		work := filepath.Join(parent, "go.work")
		if _, err := os.Stat(work); err == nil {
			return fmt.Errorf("%s would lie below %s, and Go builds no module there that it does not name; nothing was written: go to a folder outside of %s, such as your home", folder, work, parent)
		}
		if parent == filepath.Dir(parent) {
			return nil
		}
	}
}

func (d *data) write(folder, file string) error {
	t, err := template.New(file+".tmpl").Delims("[[", "]]").ParseFS(templates, "template/"+file+".tmpl")
	if err != nil {
		return err
	}
	var content bytes.Buffer
	if err := t.Execute(&content, d); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, file), content.Bytes(), 0o644)
}

var (
	goLine      = regexp.MustCompile(`(?m)^go (\S+)$`)
	requireLine = regexp.MustCompile(`(?m)^\t(\S+ v\S+)`)
)

// readSDK takes over what the sdk's module requires, so that the new one builds
// without looking anything up.
func (d *data) readSDK() error {
	content, err := os.ReadFile(filepath.Join(d.SDK, "go.mod"))
	if err != nil || !strings.HasPrefix(string(content), "module github.com/heimdall-run/heimdall/sdk\n") {
		return fmt.Errorf("%s is not the sdk of Heimdall; --sdk names its folder in a checkout", d.SDK)
	}
	if m := goLine.FindStringSubmatch(string(content)); m != nil {
		d.Go = m[1]
	}
	for _, m := range requireLine.FindAllStringSubmatch(string(content), -1) {
		d.Requires = append(d.Requires, m[1])
	}
	slices.Sort(d.Requires)
	return nil
}

// typeName makes "spark-submit" SparkSubmit.
func typeName(name string) string {
	var b strings.Builder
	if name[0] <= '9' { // no name of Go begins with a digit
		b.WriteString("Plugin")
	}
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '-' || r == '_' }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}
