package serve

import (
	"io/fs"
	"time"
)

// state is what tells that a file or a folder is as it was, without reading it. The time of change is the inode's own, which
// no program can set (https://man7.org/linux/man-pages/man7/inode.7.html).
type state struct {
	size, modified, changed int64 // bytes, and nanoseconds since 1970
	inode                   uint64
}

func stateOf(info fs.FileInfo) state {
	s := state{size: info.Size(), modified: info.ModTime().UnixNano()}
	s.changed = s.modified
	s.system(info.Sys())
	return s
}

// settled reports whether the file has not been changed in the time before now, or after it. Within the grain of a file
// system's clock a further change leaves all times as they are.
func (s state) settled(now time.Time, grain time.Duration) bool {
	for _, t := range []int64{s.modified, s.changed} {
		if since := now.Sub(time.Unix(0, t)); since > -grain && since < grain {
			return false
		}
	}
	return true
}

// The grain of the clocks that file systems take times from: ten milliseconds at most on a disk of this machine, and two seconds
// on some that are elsewhere. Files are read again within the coarser one, since nothing wrong may be sent; what is missed in a
// folder is seen at the next scan.
const folderGrain = 20 * time.Millisecond

var fileGrain = 2 * time.Second // a variable for a test
