package pluginhost

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
)

// goodFile names, for each file of the plugin folder, the digest that served
// last.
const goodFile = "good.json"

// remember writes down which builds work, when that has changed.
func (h *Host) remember(good map[string]string) error {
	if maps.Equal(good, h.good) {
		return nil
	}
	content, err := json.MarshalIndent(good, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(h.storeDir(), goodFile)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	h.good = good
	return os.Rename(path+".new", path)
}

// recollect reads what remember has written.
func (h *Host) recollect() error {
	content, err := os.ReadFile(filepath.Join(h.storeDir(), goodFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(content, &h.good)
	}
	if err != nil {
		h.log.Warn("which plugins worked is not known any more", "error", err)
		h.good = nil
	}
	return nil
}

// sweep removes builds from the store that nothing refers to. The caller holds
// h.mu.
func (h *Host) sweep() {
	needed := map[string]bool{}
	for _, digest := range h.good {
		needed[digest] = true
	}
	for s := range h.builds {
		needed[s.build.digest] = true
	}
	entries, err := os.ReadDir(h.storeDir())
	if err != nil {
		h.log.Warn("old builds of plugins stay", "error", err)
		return
	}
	for _, entry := range entries {
		if entry.IsDir() && !needed[entry.Name()] {
			if err := os.RemoveAll(filepath.Join(h.storeDir(), entry.Name())); err != nil {
				h.log.Warn("an old build of a plugin stays", "error", err)
			}
		}
	}
}
