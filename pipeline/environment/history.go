package environment

import (
	"cmp"
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
	now   map[[2]string]Seen // by stage and component
}

// Add adds the next line of a log that holds, and returns what changed by it, the environments in their order, as the rules have it
// that are given, the same every time: those of today say what a version of the past stood for, too.
func (h *History) Add(r Rules, l Line) (all []Change) {
	h.Count = l.N
	switch l.Kind {
	case Refused, Freeze, Thaw, Hold, Approve, Evidence:
		return nil // which make nothing current
	}
	touched := map[string][]string{} // versions by component, "" for whatever is pinned
	for _, m := range l.Moves {
		h.state.move(l, m)
		switch {
		case l.Kind == Rollback || l.Kind == Release && m.Version == "":
			touched[m.Component] = append(touched[m.Component], "")
		case l.Kind != Release:
			touched[m.Component] = append(touched[m.Component], m.Version)
		}
	}
	names := make([]string, 0, len(touched))
	for name := range touched {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, stage := range r.Stages {
		for _, name := range names {
			at := [2]string{stage.Name, name}
			last := h.now[at]
			is := h.current(r.Stages[i:], name, last, touched[name])
			set(&h.now, at, is)
			if last.Version == is.Version && last.Manifest == is.Manifest {
				continue
			}
			all = append(all, Change{Line: l.N, Kind: l.Kind, By: l.By, Why: l.Why, Time: l.Time, Stage: stage.Name, Component: name, Version: is.Version, Manifest: is.Manifest})
		}
	}
	return all
}

// current is what State.Current is, of the first of the stages. A log of many versions has it asked many times, so no more is looked at than
// can have become another answer.
func (h *History) current(stages []Stage, name string, last Seen, touched []string) Seen {
	pinned := ""
	if c := h.state.components[name]; c != nil {
		pinned = c.pinned[stages[0].Name].version
	}
	if slices.Contains(touched, "") || slices.Contains(touched, last.Version) {
		last, touched = Seen{}, nil
		for _, stage := range stages {
			for v := range h.state.stages[stage.Name][name] {
				touched = append(touched, v)
			}
		}
	} else if last.Version != "" && last.Version == pinned {
		return last
	}
	for _, v := range touched {
		is, ok := h.seen(stages, name, v)
		switch {
		case !ok || is.Withdrawn != nil:
		case v == pinned:
			return is
		case stages[0].Current == "stable" && h.state.parsed(is.Held).IsPrerelease():
		case last.Version == "" || h.before(stages[0], is, last):
			last = is
		}
	}
	return last
}

// seen is a version as the readers of the first of the stages see it.
func (h *History) seen(stages []Stage, name, v string) (Seen, bool) {
	for _, stage := range slices.Backward(stages) {
		if held, ok := h.state.Held(stage.Name, name, v); ok {
			return Seen{Held: held, Stage: stage.Name, Withdrawn: h.state.find(name, v).withdrawn}, true
		}
	}
	return Seen{}, false
}

// before reports whether of two versions the first is the current one.
func (h *History) before(stage Stage, a, b Seen) bool {
	order := cmp.Or(h.state.parsed(b.Held).Compare(h.state.parsed(a.Held)), cmp.Compare(a.Version, b.Version))
	if stage.Current == "newest" {
		return cmp.Or(cmp.Compare(b.came, a.came), order) < 0
	}
	return order < 0
}
