package lifecycle

import (
	"fmt"
	"slices"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

// State is how a release stands on a day. A later one of them is worse, and time alone makes none better.
type State int

const (
	Current State = iota // it is supported, and nothing is known against it
	Unknown              // what is known is too old to say so
	Due                  // it was withdrawn, or has a vulnerability, and there is time left to upgrade
	Overdue              // that time is over
	Ended                // its line is no longer supported
)

var states = []string{"current", "unknown", "due", "overdue", "ended"}

func (s State) String() string { return states[s] }

// MarshalText is the word for it.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Standing is how a release stands, and why.
type Standing struct {
	Version    version.Version `json:"version"`
	State      State           `json:"state"`
	Until      Date            `json:"until"`                // last day of its line's support
	Newest     string          `json:"newest,omitempty"`     // the highest release of its line that stands
	Advisories []string        `json:"advisories,omitempty"` // that it has
	Due        *Date           `json:"due,omitempty"`        // the first day on which one of them is due
	Withdrawn  string          `json:"withdrawn,omitempty"`
}

// Fresh is after how many days what was written down is too old to call a release current, where nobody says otherwise.
const Fresh = 14

// Of is how a release stands on a day. Facts that are more than so many days older than that are too old to call it current; 0 is any age.
func (l Lifecycle) Of(v version.Version, at Date, fresh int) (Standing, error) {
	r, ok := l.Release(v)
	if !ok {
		return Standing{}, fmt.Errorf("%s is no release of %s", v, l.Name)
	}
	s := Standing{Version: v, Until: r.Until, Withdrawn: r.Withdrawn}
	for _, other := range l.Releases {
		if sameLine(other.Version, v) && other.Withdrawn == "" {
			s.Newest = other.Version.String()
		}
	}
	for _, a := range l.open(v) {
		s.Advisories = append(s.Advisories, a.ID)
		if s.Due == nil || a.Due.Before(*s.Due) {
			s.Due = &a.Due
		}
	}
	switch {
	case r.Until.Before(at):
		s.State = Ended
	case s.Due != nil && s.Due.Before(at):
		s.State = Overdue
	case s.Due != nil || s.Withdrawn != "":
		s.State = Due
	case fresh > 0 && l.AsOf.AddDays(fresh).Before(at):
		s.State = Unknown
	}
	return s, nil
}

// Lines are how the newest releases of all lines stand on a day, the highest line first. Where a line has others, none is withdrawn.
func (l Lifecycle) Lines(at Date, fresh int) []Standing {
	var newest []Release
	for _, r := range slices.Backward(l.Releases) {
		switch last := len(newest) - 1; {
		case last < 0 || !sameLine(newest[last].Version, r.Version):
			newest = append(newest, r)
		case newest[last].Withdrawn != "" && r.Withdrawn == "":
			newest[last] = r
		}
	}
	var all []Standing
	for _, r := range newest {
		if s, err := l.Of(r.Version, at, fresh); err == nil {
			all = append(all, s)
		}
	}
	return all
}
