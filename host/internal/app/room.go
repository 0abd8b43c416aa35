package app

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// Room that data_dir needs for jobs to be begun here: 2 % of its disk, within
// bounds.
const (
	leastRoom = 16 << 20
	mostRoom  = 1 << 30
	roomShare = 50 // the 50th part
)

// room returns an error when there is too little room in a folder to begin jobs.
func room(folder string) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(folder, &disk); err != nil {
		return fmt.Errorf("look for room in %s: %w", folder, err)
	}
	return enough(disk.Blocks*uint64(disk.Bsize), disk.Bavail*uint64(disk.Bsize))
}

// enough returns an error when so many bytes are too few on a disk of a size.
func enough(size, free uint64) error {
	if need := min(max(size/roomShare, leastRoom), mostRoom); free < need {
		return errs.Errorf(errs.Unavailable, "the disk of data_dir is full: %d MiB are left, and %d are needed to begin jobs", free>>20, need>>20)
	}
	return nil
}
