package pluginhost

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// stamp tells one content of a file from another without reading it.
type stamp struct {
	Size     int64
	Modified time.Time
	Inode    uint64
	Mode     fs.FileMode
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{Size: info.Size(), Modified: info.ModTime(), Mode: info.Mode()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Inode = sys.Ino
	}
	return s
}

// file is a file of the plugin folder and the builds that come of it.
type file struct {
	found  found    // as it was taken in
	seen   stamp    // at the last look
	taken  stamp    // whose content was taken in
	absent bool     // at the last look
	fixed  bool     // it is no file of the folder, and stays
	proof  [2]stamp // of the report of its check, at the last look
	serves *supervisor
	next   *supervisor // is to serve once it has proven that it works; nil: none
	err    string      // why its content cannot be a build
}

// reconcile brings what runs in step with the plugin folder: it takes in files
// that are new or have changed and are written to no more, puts builds into
// service that have proven themselves, and drains those that no file names any
// more. Only one goroutine may call it.
func (h *Host) reconcile(ctx context.Context, first bool) {
	list, err := discover(h.config.Directory)
	if err != nil {
		h.log.Error("the plugin folder cannot be read; what runs goes on", "error", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heedSums()
	present := make(map[string]bool, len(list))
	for _, f := range list {
		present[f.path] = true
		h.consider(ctx, f, first)
	}
	for path, f := range h.files {
		switch {
		case present[path], f.fixed:
			f.absent = false
		case f.absent: // twice: it is not just being replaced
			h.log.Info("a plugin was removed; it ends when its jobs have", "plugin", f.found.name, "path", path)
			delete(h.files, path)
		default:
			f.absent = true
		}
	}
	h.advance()
}

// update acts upon changes of builds, without a look at the folder.
func (h *Host) update() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.advance()
}

// advance puts builds into service that have proven themselves, and makes known
// which ones serve. The caller holds h.mu.
func (h *Host) advance() {
	for _, f := range h.files {
		h.promote(f)
	}
	h.publish()
}

// heedSums makes files that were refused be taken in again when the list of
// checksums has changed. The caller holds h.mu.
func (h *Host) heedSums() {
	var sums stamp
	if info, err := os.Stat(filepath.Join(h.config.Directory, sumsFile)); err == nil {
		sums = stampOf(info)
	}
	if sums == h.sums {
		return
	}
	h.sums = sums
	for _, f := range h.files {
		if f.err != "" {
			f.taken = stamp{}
		}
	}
}

// consider takes a file in when its content is new and complete. The caller
// holds h.mu.
func (h *Host) consider(ctx context.Context, found found, first bool) {
	f := h.files[found.path]
	if f == nil {
		f = &file{found: found}
		h.files[found.path] = f
		if !first {
			f.seen = found.stamp
			return // it may still be written to
		}
	}
	if proof := h.proofStamp(found.path); proof != f.proof {
		f.proof = proof
		if f.err != "" {
			f.taken = stamp{} // it may be allowed now
		}
	}
	known := f.serves != nil || f.err != "" // a link that leads nowhere has no stamp to tell
	if known && found.stamp == f.taken {
		f.seen = found.stamp
		return
	}
	stable := found.stamp == f.seen
	f.seen = found.stamp
	if !first && !stable {
		return
	}
	f.taken, f.err = found.stamp, ""
	if err := h.take(ctx, f, found); err != nil {
		h.log.Error("a plugin cannot be used", "plugin", found.name, "path", found.path, "error", err)
		f.err = err.Error()
	}
	f.found = found
}

// take makes the content of a file the file's next build.
func (h *Host) take(ctx context.Context, f *file, found found) error {
	b, err := h.receive(found)
	if f.serves == nil {
		h.revive(ctx, f, found, b.digest)
	}
	if err != nil {
		f.next = nil
		return err
	}
	f.next = h.supervisor(ctx, b)
	if f.serves == nil || f.serves == f.next || f.serves.ended() {
		f.serves, f.next = f.next, nil
	}
	return nil
}

// receive keeps the content of a file that may be run.
func (h *Host) receive(found found) (build, error) {
	if found.err != nil {
		return build{}, found.err
	}
	b, err := keep(h.storeDir(), found)
	if err == nil {
		err = h.verify(found, b)
	}
	if err == nil {
		err = h.checked(found, b)
	}
	if err != nil {
		return build{}, err
	}
	return b, nil
}

// revive starts the build of a file that worked in an earlier life of the host,
// when it is another than the one of a digest, which is "" where the file cannot
// be run. It serves until the file holds one that works.
func (h *Host) revive(ctx context.Context, f *file, found found, digest string) {
	good := h.good[filepath.Base(found.path)]
	if good == "" || good == digest {
		return
	}
	if last := found.build(h.storeDir(), good); last.kept() && h.vouched(last) {
		f.serves = h.supervisor(ctx, last)
	}
}

// supervisor returns the supervisor of a build, which it starts when there is
// none that can be used.
func (h *Host) supervisor(ctx context.Context, b build) *supervisor {
	for s := range h.builds {
		if s.build.digest != b.digest || s.build.name != b.name || s.build.version != b.version || s.draining.Load() {
			continue
		}
		if !s.ended() { // a file that was written again is tried again
			return s
		}
	}
	s := h.supervise(ctx, b, h.inherit(b))
	h.builds[s] = true
	return s
}

// promote puts the next build of a file into service when it has worked for a
// while, or at all where the one in service has ended for good. The caller holds
// h.mu.
func (h *Host) promote(f *file) {
	if f.next == nil {
		return
	}
	proven := h.times.proven
	if f.serves.ended() { // one that only starts, or starts again, may be the better one
		proven = 0
	}
	if f.next.works(proven) {
		h.log.Info("a new build of a plugin serves", "plugin", f.found.name, "path", f.found.path,
			"digest", f.next.build.digest[:12], "before", f.serves.build.digest[:12])
		f.serves, f.next = f.next, nil
		return
	}
	if f.next.ended() {
		f.err = f.next.snapshot().Error
		f.next = nil
	}
}

// publish makes known which builds serve, drains those that no file names, and
// writes down which ones work. The caller holds h.mu.
func (h *Host) publish() {
	serving := map[string][]*service{}
	named := map[*supervisor]bool{}
	good := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(h.files)) {
		f := h.files[path]
		named[f.next] = true
		named[f.serves] = true
		base := filepath.Base(path)
		if digest := h.good[base]; digest != "" {
			good[base] = digest
		}
		if f.serves == nil {
			serving[f.found.name] = append(serving[f.found.name], &service{file: f.found, err: f.err})
			continue
		}
		serving[f.found.name] = append(serving[f.found.name], &service{supervisor: f.serves, file: f.found})
		if f.serves.works(0) {
			good[base] = f.serves.build.digest
		}
	}
	h.serving.Store(&serving)
	for s := range h.builds {
		select {
		case <-s.done:
			if !named[s] {
				delete(h.builds, s)
			}
			continue
		default:
		}
		if !named[s] {
			s.drain()
		}
	}
	if err := h.remember(good); err != nil {
		h.log.Warn("which plugins work could not be written down", "error", err)
	}
}
