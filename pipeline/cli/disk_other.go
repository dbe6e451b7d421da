//go:build !unix || openbsd || netbsd || solaris || illumos || aix

package cli

import "errors"

// freeDisk is unknown where the system has no statfs of the usual form.
func freeDisk(string) (uint64, error) {
	return 0, errors.New("the free space is not known on this system")
}
