package environment

import (
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Tag is a name that moves, with the version that it stands for.
type Tag struct {
	Name   string // {major} and {minor} are filled in
	Seen          // zero where no version is the current one for it
	None   bool
	Pinned bool // by a rollback
	Line   int  // of the log, that says so
}

// Tags are those of an environment for a component, in the order of the rules. Those of which it never had a version are left out.
//
// A tag stands for the version that would be current if the environment had only those that the tag speaks of: latest of all, 1.2 of those
// of that line. So a backport moves the names of its line alone, as it does where publish moves them; and a rollback takes back the
// names that speak of the version that it pins, and no others.
func (s *State) Tags(r Rules, stage, component string) []Tag {
	rule, err := r.Stage(stage)
	if err != nil {
		return nil
	}
	view := s.View(r, stage, component)
	var all []Tag
	for _, template := range rule.Tags {
		done := map[string]bool{}
		for _, seen := range view {
			t := Tag{Name: fill(template, s.parsed(seen.Held))}
			if done[t.Name] {
				continue
			}
			done[t.Name] = true
			speaks := func(v version.Version) bool { return fill(template, v) == t.Name }
			var ok bool
			if t.Seen, t.Pinned, ok = s.CurrentOf(r, stage, component, speaks); ok {
				t.Line = s.says(rule, component, t, view, speaks)
				all = append(all, t)
				continue
			}
			// Of a line that has only prereleases there was nothing to be current.
			withdrawn := func(v Seen) bool { return v.Withdrawn != nil && speaks(s.parsed(v.Held)) }
			if t.None = true; t.Name == template || slices.ContainsFunc(view, withdrawn) {
				all = append(all, t)
			}
		}
	}
	return all
}

// says is the line by which a version is the current one: that of a rollback, else the one that it entered by, or a later one that
// withdrew what would be.
func (s *State) says(rule Stage, component string, t Tag, view []Seen, speaks func(version.Version) bool) int {
	if t.Pinned {
		return s.Pinned(rule.Name, component)
	}
	at := t.Seen.Line
	for _, v := range view {
		above := s.parsed(v.Held).Compare(s.parsed(t.Held)) > 0
		if rule.Current == "newest" {
			above = v.came > t.came
		}
		if v.Withdrawn != nil && above && speaks(s.parsed(v.Held)) {
			at = max(at, v.Withdrawn.Line)
		}
	}
	return at
}

// fill is a template of a tag for a version.
func fill(template string, v version.Version) string {
	return strings.NewReplacer("{major}", strconv.FormatUint(v.Major(), 10), "{minor}", strconv.FormatUint(v.Minor(), 10)).Replace(template)
}
