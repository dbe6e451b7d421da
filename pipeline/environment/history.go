package environment

import (
	"slices"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Change is that something else became the current version of a component in an environment.
type Change struct {
	Line int
	Kind Kind
	By   Identity
	Why  string
	Time time.Time

	Stage, Component string
	Version          string          // "" for none any more
	Manifest         artifact.Digest // of that
}

// History is what was the current version, line by line. The zero value is that of an empty log. It knows what versions are where,
// and nothing else of a state.
type History struct {
	Count int // lines that were added

	state State
	now   map[[2]string]Change // by stage and component
}

// Add adds the next line of a log that holds, and returns what changed by it, the environments in their order, as the rules have it
// that are given: those of today say what a version of the past stood for, too.
func (h *History) Add(r Rules, l Line) (all []Change) {
	h.Count = l.N
	switch l.Kind {
	case Refused, Freeze, Thaw, Hold, Approve, Evidence:
		return nil // which make nothing current
	}
	var names []string
	for _, m := range l.Moves {
		h.state.move(l, m)
		names = append(names, m.Component)
	}
	slices.Sort(names)
	for _, stage := range r.StageNames() {
		for _, name := range slices.Compact(names) {
			is, _, _ := h.state.Current(r, stage, name)
			at := [2]string{stage, name}
			if last := h.now[at]; last.Version == is.Version && last.Manifest == is.Manifest {
				continue
			}
			c := Change{Line: l.N, Kind: l.Kind, By: l.By, Why: l.Why, Time: l.Time, Stage: stage, Component: name, Version: is.Version, Manifest: is.Manifest}
			set(&h.now, at, c)
			all = append(all, c)
		}
	}
	return all
}
