//go:build !unix

package verify_test

import "os"

// pipe makes what is no regular file either.
func pipe(name string) error { return os.Symlink("nowhere", name) }
