package store

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Locate is a remote as everybody on this machine names it: a URL as it is, and a folder that is there by its absolute path.
func Locate(remote string) string {
	if strings.Contains(remote, "://") || remote == "" {
		return remote
	}
	if abs, err := filepath.Abs(remote); err == nil {
		if _, err := os.Stat(abs); err == nil {
			return abs
		}
	}
	return remote
}

// OpenBelow is the store at a remote, with a folder of its own below dir, which is one of the user's that stays. Pass are the names of
// variables that a credential helper of git reads.
func OpenBelow(dir, remote string, environ []string, pass ...string) (*Store, error) {
	remote = Locate(remote)
	return Open(Options{
		Remote: remote, Environ: environ, Pass: pass, Now: time.Now, Dir: filepath.Join(dir, "store", artifact.Sum([]byte(remote)).Short()),
	})
}
