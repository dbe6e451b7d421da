package store

import (
	"testing"
	"time"
)

// SetDead changes after which time a lease is anybody's.
func SetDead(t testing.TB, d time.Duration) {
	before := dead
	dead = d
	t.Cleanup(func() { dead = before })
}
