//go:build unix

package cli

import (
	"runtime"
	"syscall"
	"time"

	"github.com/slipway-build/slipway/pipeline/present/report"
)

// usage is the CPU time of this process and of the programs that it ran, and its own peak memory.
func usage() report.Totals {
	var t report.Totals
	var self, children syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &self) != nil || syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children) != nil {
		return t
	}
	for _, tv := range []syscall.Timeval{self.Utime, self.Stime, children.Utime, children.Stime} {
		t.CPU += time.Duration(tv.Nano())
	}
	t.PeakMemory = int64(self.Maxrss)
	if runtime.GOOS != "darwin" {
		t.PeakMemory *= 1024 // kilobytes, but on macOS
	}
	return t
}
