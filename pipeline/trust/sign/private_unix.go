//go:build unix

package sign

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// private refuses a file of the user's own that others may read or write. What belongs to somebody else, such as a
// secret that is mounted into a container, has the modes that they gave it.
func private(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if mode := info.Mode().Perm(); ok && int(st.Uid) == os.Getuid() && info.Mode().IsRegular() && mode&0o077 != 0 {
		return fmt.Errorf("others may read or write it (mode %04o); if no one has, run chmod 600; otherwise create a new key", mode)
	}
	return nil
}
