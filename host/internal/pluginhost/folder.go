package pluginhost

import (
	"context"
	"errors"
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
	Changed  syscall.Timespec // nobody can set this one
	Inode    uint64
	Mode     fs.FileMode
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{Size: info.Size(), Modified: info.ModTime(), Mode: info.Mode()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Inode, s.Changed = sys.Ino, sys.Ctim
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
	again  bool        // it is tried again, because that was not its content's fault
}

// reconcile brings what runs in step with the plugin folder: it takes in files
// that are new or have changed and are written to no more, puts builds into
// service that have proven themselves, and drains those that no file names any
// more. Only one goroutine may call it, or update.
//
// Nothing is read while h.mu is held: the folder may be slow, or hang, and the
// host's leases and the list of plugins must not wait for it.
func (h *Host) reconcile(ctx context.Context, first bool) {
	list, err := discover(h.config.Directory)
	if err != nil {
		h.log.Error("the plugin folder cannot be read; what runs goes on", "error", err)
		return
	}
	h.heedSums()
	for _, f := range list {
		h.consider(ctx, f, first)
	}
	h.miss(list)
	h.update()
}

// update acts upon changes of builds, without a look at the folder: it puts those
// into service that have proven themselves, and makes known and writes down which
// ones serve.
func (h *Host) update() {
	h.mu.Lock()
	for _, f := range h.files {
		h.promote(f)
	}
	good := h.publish()
	littered := h.littered
	h.mu.Unlock()
	if err := h.remember(good); err != nil {
		h.log.Warn("which plugins work could not be written down", "error", err)
	} else if littered {
		h.sweep()
	}
}

// miss forgets files that are not in the folder any more.
func (h *Host) miss(list []found) {
	present := make(map[string]bool, len(list))
	for _, f := range list {
		present[f.path] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
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
}

// heedSums makes files that were refused be taken in again when the list of
// checksums has changed.
func (h *Host) heedSums() {
	var sums stamp
	if info, err := os.Stat(filepath.Join(h.config.Directory, sumsFile)); err == nil {
		sums = stampOf(info)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
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

// consider takes a file in when its content is new and complete.
func (h *Host) consider(ctx context.Context, found found, first bool) {
	f := h.due(found, h.proofStamp(found.path), first)
	if f == nil {
		return
	}
	b, err := h.receive(found)
	last, worked := h.last(found)

	h.mu.Lock()
	defer h.mu.Unlock()
	f.found, f.taken, f.err = found, found.stamp, ""
	if f.serves == nil && worked && last.digest != b.digest {
		f.serves = h.supervisor(ctx, last) // until the file holds one that works
	}
	again := f.again
	_, f.again = errors.AsType[unkept](err)
	if err != nil {
		if !f.again || !again { // once, not at each look
			h.log.Error("a plugin cannot be used", "plugin", found.name, "path", found.path, "error", err)
		}
		f.next, f.err = nil, err.Error()
		h.littered = true // it was copied before it was refused
		return
	}
	f.next = h.supervisor(ctx, b)
	if f.serves == nil || f.serves == f.next || f.serves.ended() {
		f.serves, f.next = f.next, nil
	}
}

// due returns the file whose content is to be taken in now; nil when it was, or
// may still be written to.
func (h *Host) due(found found, proof [2]stamp, first bool) *file {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.files[found.path]
	if f == nil {
		f = &file{found: found}
		h.files[found.path] = f
		if !first {
			f.seen = found.stamp
			return nil
		}
	}
	if proof != f.proof {
		f.proof = proof
		if f.err != "" {
			f.taken = stamp{} // it may be allowed now
		}
	}
	stable := found.stamp == f.seen
	f.seen = found.stamp
	known := f.serves != nil || f.err != "" // a link that leads nowhere has no stamp to tell
	if known && found.stamp == f.taken && !f.again || !first && !stable {
		return nil
	}
	return f
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
// returns the digests of those that work, or worked last, by the names of their
// files. The caller holds h.mu.
func (h *Host) publish() (good map[string]string) {
	serving := map[string][]*service{}
	named := map[*supervisor]bool{}
	good = map[string]string{}
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
				h.littered = true
			}
			continue
		default:
		}
		if !named[s] {
			s.drain(displaced(serving[s.build.name]))
		}
	}
	return good
}

// unnamed is why a build is stopped that no file holds any more.
const unnamed = "the plugin folder does not hold it any more"

// displaced says why a build is stopped that no file names, where these serve.
func displaced(services []*service) string {
	for _, s := range services {
		if s.supervisor != nil {
			return "another build of the plugin serves"
		}
	}
	return unnamed
}
