package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
)

// prefix begins the name of every plugin binary.
const prefix = "heimdall-plugin-"

// pluginName is what the name of a plugin may look like.
var pluginName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// versionSuffix is the end of a file name that says the version.
var versionSuffix = regexp.MustCompile(`^(.+)_v([0-9].*)$`)

// found is a file of the plugin folder that claims to be a plugin.
type found struct {
	path     string
	name     string // of the plugin
	version  string // as the file name says it; "" when it does not
	modified time.Time
	stamp    stamp
	err      error // why it cannot be one
}

// discover lists the plugin binaries of a folder. Other files, dotfiles and
// folders are left out.
func discover(dir string) ([]found, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the plugin folder: %w", err)
	}
	var list []found
	for _, entry := range entries {
		base, ok := strings.CutPrefix(entry.Name(), prefix)
		if !ok || strings.HasSuffix(base, checkreport.Suffix) || strings.HasSuffix(base, checkreport.Suffix+signatureSuffix) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) && entry.Type()&fs.ModeSymlink == 0 {
			continue // removed while we looked
		}
		if err == nil && info.IsDir() {
			continue
		}
		f := found{path: path, name: base}
		if m := versionSuffix.FindStringSubmatch(base); m != nil {
			f.name, f.version = m[1], m[2]
		}
		if err != nil {
			f.err = fmt.Errorf("%s cannot be read: %w", path, err)
		} else {
			f.modified, f.stamp = info.ModTime(), stampOf(info)
			f.err = f.check(info)
		}
		list = append(list, f)
	}
	return list, nil
}

func (f *found) check(info fs.FileInfo) error {
	if !pluginName.MatchString(f.name) {
		return fmt.Errorf("%q is no name for a plugin: use a-z, 0-9, - and _", f.name)
	}
	if f.version != "" {
		if _, err := parseVersion(f.version); err != nil {
			return fmt.Errorf("the name of %s ends with a bad version: %w", f.path, err)
		}
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return fmt.Errorf("%s is not a regular file", f.path)
	case mode.Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable: chmod +x it", f.path)
	case mode.Perm()&0o002 != 0:
		return fmt.Errorf("anybody may change %s: chmod o-w it", f.path)
	}
	return nil
}
