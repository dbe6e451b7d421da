package store

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of what a command that moves something else looks at of releases from outside that were merged. Whoever combines looks at all.
const (
	maxLooks = 3
	missed   = 10 * time.Minute // after which one that could not be had is looked for again
	maxAway  = 1000             // of which that is remembered
	maxLook  = 10 * time.Minute // for one, where others do not wait
)

// patience is how long a command looks at releases from outside in all.
var patience = 30 * time.Second

// looks are the releases from outside that a store has looked at.
type looks struct {
	all  bool // as whoever combines does, or checks a pull request
	n    int
	took time.Duration
	good map[artifact.Digest]bool  // by the file of the entry
	away map[artifact.Digest]int64 // those that could not be had, with the second in which that was
}

// lookAtAll has whatever is merged or proposed be looked at, as if nothing was before.
func (s *Store) lookAtAll() { s.looks = looks{all: true, away: map[artifact.Digest]int64{}} }

// admit looks at a release that a pull request brings from outside. It waits where it cannot be had, and costs nobody else more than is
// bounded here.
func (s *Store) admit(ctx context.Context, e environment.Entry) error {
	if s.o.Admit == nil {
		return fault.Errorf(fault.Transient, "%s %s comes from outside, and nobody here can look at its bytes", e.Component, e.Version)
	}
	file, err := e.Encode()
	if err != nil {
		return err
	}
	digest, now, l := artifact.Sum(file), s.o.Now(), &s.looks
	if l.good[digest] {
		return nil
	}
	if l.away == nil {
		l.away = s.away()
	}
	if since := now.Sub(time.Unix(l.away[digest], 0)); since >= 0 && since < missed || !l.all && (l.n == maxLooks || l.took >= patience) {
		return fault.Errorf(fault.Transient, "%s %s comes from outside, and waits for slipway combine", e.Component, e.Version)
	}
	most := maxLook
	if !l.all {
		most = patience - l.took
	}
	look, cancel := context.WithTimeout(ctx, most)
	began := time.Now()
	err = s.o.Admit(look, s.view, e)
	l.n, l.took = l.n+1, l.took+time.Since(began)
	if err != nil && look.Err() != nil {
		err = fault.New(fault.Transient, err)
	}
	cancel()
	switch {
	case err == nil:
		if l.good == nil {
			l.good = map[artifact.Digest]bool{}
		}
		l.good[digest] = true
	case fault.CodeOf(err) == fault.Transient && ctx.Err() == nil:
		maps.DeleteFunc(l.away, func(_ artifact.Digest, at int64) bool { return now.Sub(time.Unix(at, 0)) > missed })
		if l.away[digest] = now.Unix(); len(l.away) <= maxAway {
			if b, encodeErr := canonjson.Encode(l.away); encodeErr == nil {
				_ = write(s.awayFile(), b) // else it is looked for again
			}
		}
	}
	return err
}

func (s *Store) awayFile() string { return filepath.Join(s.o.Dir, "away.json") }

// away are the releases that this folder could not have.
func (s *Store) away() map[artifact.Digest]int64 {
	all := map[artifact.Digest]int64{}
	if b, err := os.ReadFile(s.awayFile()); err != nil || canonjson.Decode(b, &all) != nil {
		return map[artifact.Digest]int64{}
	}
	return all
}
