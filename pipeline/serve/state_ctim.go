//go:build linux || openbsd || dragonfly || solaris

package serve

import "syscall"

func (s *state) system(sys any) {
	if st, ok := sys.(*syscall.Stat_t); ok {
		s.inode, s.changed = st.Ino, st.Ctim.Nano()
	}
}
