package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// sumsFile lists the digests of the binaries beside it, as sha256sum writes it.
const sumsFile = "SHA256SUMS"

// listedSuffix follows the name of a build in the name of the file that says that
// it was listed.
const listedSuffix = ".listed"

// verify holds a build against the list of checksums, where the operator wants
// that, and keeps with the build that it was listed, so that it can be run again
// when the list is about another.
func (h *Host) verify(f found, b build) error {
	if !h.config.RequireChecksums {
		return nil
	}
	content, err := os.ReadFile(filepath.Join(h.config.Directory, sumsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s in the plugin folder, and plugins.require_checksums is set", sumsFile)
	}
	if err != nil {
		return fmt.Errorf("read the checksums of plugins: %w", err)
	}
	base := filepath.Base(f.path)
	for line := range strings.Lines(string(content)) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.TrimLeft(name, " *") != base {
			continue
		}
		if !strings.EqualFold(sum, b.digest) {
			return fmt.Errorf("%s has digest %s, but %s says %s", f.path, b.digest, sumsFile, sum)
		}
		if err := os.WriteFile(b.path+listedSuffix, nil, 0o600); err != nil {
			return fmt.Errorf("keep that a plugin was listed: %w", err)
		}
		return nil
	}
	return fmt.Errorf("%s is not in %s, and plugins.require_checksums is set", base, sumsFile)
}

// wasListed reports whether the list of checksums has named the build, where the
// operator wants that.
func (h *Host) wasListed(b build) bool {
	if !h.config.RequireChecksums {
		return true
	}
	_, err := os.Stat(b.path + listedSuffix)
	return err == nil
}
