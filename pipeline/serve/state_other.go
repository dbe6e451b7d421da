//go:build !(linux || openbsd || dragonfly || solaris || darwin || freebsd || netbsd)

package serve

// system knows no more of a file here than its size and its time.
func (s *state) system(any) {}
