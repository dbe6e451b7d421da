package publish

import (
	"context"
	"os"
	"path/filepath"

	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// lockName keeps two runs of the same dist/ apart.
const lockName = Dir + "/lock"

// Lock waits until no other run on this machine publishes from dir, which is dist/, and keeps others waiting until it is
// released. A run that ends in any way releases it.
func Lock(ctx context.Context, dir string) (unlock func() error, err error) {
	name := filepath.Join(dir, filepath.FromSlash(lockName))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	unlock, err = filelock.Lock(ctx, name, 0)
	return unlock, fault.New(fault.Usage, err)
}
