//go:build unix && !openbsd && !netbsd && !solaris && !illumos && !aix

package cli

import "golang.org/x/sys/unix"

// freeDisk is what an unprivileged process may still write to the file system of dir, in bytes.
func freeDisk(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil
}
