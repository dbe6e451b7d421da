//go:build darwin || freebsd || netbsd

package serve

import "syscall"

func (s *state) system(sys any) {
	if st, ok := sys.(*syscall.Stat_t); ok {
		s.inode, s.changed = st.Ino, st.Ctimespec.Nano()
	}
}
