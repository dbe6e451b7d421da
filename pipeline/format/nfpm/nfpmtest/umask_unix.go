//go:build unix

package nfpmtest

import "syscall"

// umask sets the process's mask of modes and returns what sets it back.
func umask(mask int) func() {
	old := syscall.Umask(mask)
	return func() { syscall.Umask(old) }
}
