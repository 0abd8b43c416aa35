package pluginhost

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
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
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	h.good = good
	return nil
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

// last returns the build of a file that worked last, if it may still be run.
func (h *Host) last(found found) (last build, ok bool) {
	digest := h.good[filepath.Base(found.path)]
	if digest == "" {
		return build{}, false
	}
	last = found.build(h.storeDir(), digest)
	return last, last.kept() && h.wasListed(last) && h.vouched(last)
}

// sweep removes builds from the store that nothing refers to, and what a host that
// was killed has not finished.
func (h *Host) sweep() {
	needed := map[string]bool{}
	for _, digest := range h.good {
		needed[digest] = true
	}
	h.mu.Lock()
	for s := range h.builds {
		needed[s.build.digest] = true
	}
	h.littered = false
	h.mu.Unlock()
	h.inherited.mu.Lock()
	for _, p := range h.inherited.processes {
		needed[p.build.digest] = true
	}
	h.inherited.mu.Unlock()
	entries, err := os.ReadDir(h.storeDir())
	if err != nil {
		h.log.Warn("old builds of plugins stay", "error", err)
		return
	}
	for _, entry := range entries {
		if entry.IsDir() && !needed[entry.Name()] || strings.HasPrefix(entry.Name(), draftPrefix) {
			if err := os.RemoveAll(filepath.Join(h.storeDir(), entry.Name())); err != nil {
				h.log.Warn("an old build of a plugin stays", "error", err)
			}
		}
	}
}
