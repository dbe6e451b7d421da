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

// SetUnanswered changes after which time a request is pushed in spite of a lease.
func SetUnanswered(t testing.TB, d time.Duration) {
	before := unanswered
	unanswered = d
	t.Cleanup(func() { unanswered = before })
}

// SetPatience changes how long a command looks at releases that others have merged.
func SetPatience(t testing.TB, d time.Duration) {
	before := patience
	patience = d
	t.Cleanup(func() { patience = before })
}

// SetMaxQueue changes how many requests wait in the queue.
func SetMaxQueue(t testing.TB, n int) {
	before := maxQueue
	maxQueue = n
	t.Cleanup(func() { maxQueue = before })
}

// SetStep has a function be called between changes of files.
func SetStep(f func()) { step = f }

// Crowded reports whether a request of this folder waited in the queue a short time ago.
func (s *Store) Crowded() bool {
	_, crowded := s.crowded()
	return crowded
}
