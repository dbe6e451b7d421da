// Package filelock keeps processes, and goroutines of one, apart by the name of a file, and replaces files under those who look without
// a lock. A lock ends with the process that holds it.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrHeld says that somebody else has held the lock for as long as was to be waited.
var ErrHeld = errors.New("another process has held it")

// Lock waits until no one else holds the file, and keeps others waiting until unlock is called. The file is made, and stays. Where
// patience is over it is an ErrHeld; 0 waits as long as ctx does.
func Lock(ctx context.Context, name string, patience time.Duration) (unlock func() error, err error) {
	deadline := time.Now().Add(patience)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		unlock, err := try(name)
		switch {
		case err != nil:
			return nil, err
		case unlock != nil:
			return unlock, nil
		case patience > 0 && time.Now().After(deadline):
			return nil, fmt.Errorf("locking %s: %w for %s; try again once it has ended, or remove the file if there is none", name, ErrHeld, patience)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}
