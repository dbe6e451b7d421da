package environment

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// State is what the lines of a log come to. The zero value is that of an empty log. It is not for several goroutines at once.
type State struct {
	Count  int             // lines
	Digest artifact.Digest // of the last line, "" for none
	Time   time.Time       // of the last line

	stages     map[string]map[string]map[string]Held // by stage, component, version
	components map[string]*component
	frozen     map[string]Stop // by stage
	requests   requests
	digests    digests
}

// At is the digest of the line with that number, "" where there is none.
func (s *State) At(n int) artifact.Digest { return s.digests.at(n) }

// Held is a version that is in a stage.
type Held struct {
	Component, Version string
	Commit             string
	Manifest, Entry    artifact.Digest
	Entered            time.Time // these very bytes
	Line               int
	came               int // line in which these bytes came in, from where they were promoted or demoted since
}

// Stop is a hold or a freeze.
type Stop struct {
	By    Identity
	Why   string
	Until time.Time // zero: until it is ended
	Line  int
}

func (s Stop) over(now time.Time) bool { return !s.Until.IsZero() && !now.Before(s.Until) }

// component is what is known of a component in all stages.
type component struct {
	versions map[string]*history
	pinned   map[string]pin     // by stage
	held     map[[2]string]Stop // by version, "" for all of them, and stage, "" for each
}

// pin is the version that a rollback has made the current one, and the line that says so.
type pin struct {
	version string
	line    int
}

// history is what is known of a version.
type history struct {
	version   version.Version
	seen      map[seen]bool // also after the stage was left
	withdrawn *Stop
	approvals map[approval]time.Time
	reports   map[report]bool
}

type seen struct {
	stage, commit string
	manifest      artifact.Digest
}

type approval struct {
	manifest artifact.Digest
	stage    string
	by       Identity
}

type report struct {
	manifest artifact.Digest
	kind     string
	by       Identity
}

func child[K comparable, V any](m *map[K]V, key K, fresh func() V) V {
	if *m == nil {
		*m = map[K]V{}
	}
	v, ok := (*m)[key]
	if !ok {
		v = fresh()
		(*m)[key] = v
	}
	return v
}

func (s *State) component(name string) *component {
	return child(&s.components, name, func() *component {
		return &component{}
	})
}

func (c *component) of(v string) *history {
	return child(&c.versions, v, func() *history { return newHistory(v) })
}

func newHistory(v string) *history {
	parsed, _ := version.Parse(v) // which was looked at when the line was
	return &history{version: parsed}
}

func set[K comparable, V any](m *map[K]V, key K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = v
}

// apply adds a line that was checked.
func (s *State) apply(l Line) {
	s.requests.add(l.Request, l.N)
	for _, m := range l.Moves {
		s.move(l, m)
	}
}

func (s *State) move(l Line, m Move) {
	stop := Stop{By: l.By, Why: l.Why, Until: l.Until, Line: l.N}
	switch l.Kind {
	case Refused:
		return
	case Freeze:
		set(&s.frozen, m.To, stop)
		return
	case Thaw:
		delete(s.frozen, m.To)
		return
	}
	c := s.component(m.Component)
	switch l.Kind {
	case Hold:
		set(&c.held, [2]string{m.Version, m.To}, stop)
	case Release:
		delete(c.held, [2]string{m.Version, m.To})
		if m.Version == "" {
			delete(c.pinned, m.To)
		}
	case Rollback:
		set(&c.pinned, m.To, pin{m.Version, l.N})
	case Withdraw:
		c.of(m.Version).withdrawn = &stop
	case Restore:
		c.of(m.Version).withdrawn = nil
	case Approve:
		set(&c.of(m.Version).approvals, approval{m.Manifest, m.To, l.By}, l.Time)
	case Evidence:
		set(&c.of(m.Version).reports, report{m.Manifest, l.Report.Kind, l.By}, l.Report.Good)
	default:
		came := l.N
		if before, ok := s.Held(m.From, m.Component, m.Version); ok && before.Manifest == m.Manifest {
			came = before.came
		}
		for _, stage := range m.Left {
			delete(s.stages[stage][m.Component], m.Version)
		}
		if m.To == "" {
			return
		}
		in := s.stages[m.To]
		versions := in[m.Component]
		set(&versions, m.Version, Held{Component: m.Component, Version: m.Version, Commit: m.Commit, Manifest: m.Manifest, Entry: m.Entry, Entered: l.Time, Line: l.N, came: came})
		set(&in, m.Component, versions)
		set(&s.stages, m.To, in)
		set(&c.of(m.Version).seen, seen{m.To, m.Commit, m.Manifest}, true)
	}
}

// Request is the number of the line that a request became, 0 for none.
func (s *State) Request(id string) int { return s.requests.line(id) }

// Held is a version in a stage.
func (s *State) Held(stage, component, version string) (Held, bool) {
	h, ok := s.stages[stage][component][version]
	return h, ok
}

// In are the versions that are in a stage itself, by component and then the highest first.
func (s *State) In(stage string) []Held {
	var all []Held
	for _, versions := range s.stages[stage] {
		all = slices.AppendSeq(all, maps.Values(versions))
	}
	s.sort(all)
	return all
}

func (s *State) sort(all []Held) {
	slices.SortFunc(all, func(a, b Held) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), s.parsed(b).Compare(s.parsed(a)), cmp.Compare(a.Version, b.Version))
	})
}

// find is what is known of a version, nothing where it was never in the log.
func (s *State) find(component, version string) *history {
	if c := s.components[component]; c != nil && c.versions[version] != nil {
		return c.versions[version]
	}
	return &history{}
}

func (s *State) parsed(h Held) version.Version { return s.find(h.Component, h.Version).version }

// Seen is a version as the readers of an environment see it.
type Seen struct {
	Held
	Stage     string // that it is in: the environment itself, or one further on
	Withdrawn *Stop
}

// View is what the readers of an environment see of a component, the highest version first: what is in its stage and in all
// that come later. Where a version is in two, the one further on is seen.
func (s *State) View(r Rules, stage, component string) []Seen {
	found := map[string]Seen{}
	names := r.StageNames()
	for _, name := range names[max(slices.Index(names, stage), 0):] {
		for v, h := range s.stages[name][component] {
			found[v] = Seen{Held: h, Stage: name, Withdrawn: s.find(component, v).withdrawn}
		}
	}
	all := slices.Collect(maps.Values(found))
	slices.SortFunc(all, func(a, b Seen) int {
		return cmp.Or(s.parsed(b.Held).Compare(s.parsed(a.Held)), cmp.Compare(a.Version, b.Version))
	})
	return all
}

// Current is the version that an environment stands for, and whether a rollback has pinned it; false where there is
// none. A version that was withdrawn never is.
func (s *State) Current(r Rules, stage, component string) (current Seen, pinned, ok bool) {
	return s.CurrentOf(r, stage, component, func(version.Version) bool { return true })
}

// Pinned is the line of the rollback that says what the current version of an environment is, 0 where none does.
func (s *State) Pinned(stage, component string) int {
	if c := s.components[component]; c != nil {
		return c.pinned[stage].line
	}
	return 0
}

// CurrentOf is Current as if the environment had nothing but the versions that are wanted: those of a line such as 1.2.
func (s *State) CurrentOf(r Rules, stage, component string, wanted func(version.Version) bool) (current Seen, pinned, ok bool) {
	rule, err := r.Stage(stage)
	if err != nil {
		return Seen{}, false, false
	}
	pin := ""
	if c := s.components[component]; c != nil {
		pin = c.pinned[stage].version
	}
	for _, v := range s.View(r, stage, component) {
		switch {
		case v.Withdrawn != nil || !wanted(s.parsed(v.Held)):
		case v.Version == pin:
			return v, true, true
		case rule.Current == "stable" && s.parsed(v.Held).IsPrerelease():
		case !ok, rule.Current == "newest" && v.came > current.came:
			current, ok = v, true
		}
	}
	return current, false, ok
}

// Nearest is a version in the stage that it would be promoted from to another one, which is the last before that one; or in that one
// itself, where no stage before has it.
func (s *State) Nearest(r Rules, to, component, version string) (found Seen, ok bool) {
	names := r.StageNames()
	for _, name := range names[:slices.Index(names, to)+1] {
		if h, there := s.Held(name, component, version); there && (name != to || !ok) {
			found, ok = Seen{Held: h, Stage: name}, true
		}
	}
	return found, ok
}

// Having is the stage that has the bytes of an entry: the one that it is to enter, or the nearest one before.
func (s *State) Having(r Rules, to string, e Entry) (found Seen, ok bool) {
	if h, there := s.Held(to, e.Component, e.Version); there && h.Manifest == e.Manifest {
		return Seen{Held: h, Stage: to}, true
	}
	found, ok = s.Nearest(r, to, e.Component, e.Version)
	return found, ok && found.Manifest == e.Manifest
}

// Components are the names of all that is or was in a stage.
func (s *State) Components() []string { return slices.Sorted(maps.Keys(s.components)) }

// Frozen is what keeps everything out of a stage at a time.
func (s *State) Frozen(stage string, now time.Time) (Stop, bool) {
	stop, ok := s.frozen[stage]
	return stop, ok && !stop.over(now)
}

// held is a hold with what it is about.
type held struct {
	Stop
	component, version, stage string
}

// release is the command that ends a hold: one that names another version or stage ends another hold.
func (h held) release() string {
	text := strings.TrimSpace("slipway hold "+h.component+" "+h.version) + " --release"
	if h.stage != "" {
		text += " --environment " + h.stage
	}
	return text
}

// stopped is the hold that keeps a version out of a stage at a time.
func (s *State) stopped(m Move, now time.Time) (held, bool) {
	c := s.components[m.Component]
	if c == nil {
		return held{}, false
	}
	for _, v := range []string{m.Version, ""} {
		for _, stage := range []string{m.To, ""} {
			if stop, ok := c.held[[2]string{v, stage}]; ok && !stop.over(now) {
				return held{stop, m.Component, v, stage}, true
			}
		}
	}
	return held{}, false
}
