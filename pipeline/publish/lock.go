package publish

import (
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// lockName keeps two runs of the same dist/ apart.
const lockName = Dir + "/lock"

// Lock waits until no other run on this machine publishes from dir, which is dist/, and keeps others waiting until it is
// released. A run that ends in any way releases it.
func Lock(dir string) (unlock func() error, err error) {
	name := filepath.Join(dir, filepath.FromSlash(lockName))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	f, err := lockedfile.Create(name)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	return f.Close, nil
}
