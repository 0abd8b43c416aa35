package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
	"github.com/heimdall-run/heimdall/sdk/pluginname"
)

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
		base := entry.Name()
		name, version, ok := pluginname.OfFile(base)
		if !ok || strings.HasSuffix(base, checkreport.Suffix) || strings.HasSuffix(base, checkreport.Suffix+signatureSuffix) {
			continue
		}
		path := filepath.Join(dir, base)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) && entry.Type()&fs.ModeSymlink == 0 {
			continue // removed while we looked
		}
		if err == nil && info.IsDir() {
			continue
		}
		f := found{path: path, name: name, version: version}
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
	if !pluginname.Valid(f.name) {
		return fmt.Errorf("%q is no name for a plugin: want %s", f.name, pluginname.Rule)
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
