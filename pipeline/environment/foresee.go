package environment

import (
	"slices"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Find is the entry of a version in a stage that has it.
type Find func(h Held, stage string) (Entry, error)

// Foresee is what the rules would say of a request at a time. Of one that only a pull request can do it is what they would say of the
// merge. So whoever explains, checks or promotes by rule says what whoever moves will be told.
func Foresee(s *State, r Rules, rules string, q Request, now time.Time, find Find) (Answer, error) {
	if q.ByPull(r) {
		var err error
		if q, err = q.AsMerge(s, r, find); err != nil {
			return Answer{}, err
		}
	}
	return Decide(s, r, rules, Untold, q, now)
}

// ByPull reports whether a request would enter a stage that is entered by pull request alone.
func (q Request) ByPull(r Rules) bool {
	stage, err := r.Stage(q.To)
	return err == nil && stage.Enter == "pull-request" && (q.Kind == Add || q.Kind == Promote)
}

// AsMerge is a request to add or to promote as the merge of a pull request with the same versions is one. What it does not bring is of
// the stage that it would be promoted from.
func (q Request) AsMerge(s *State, r Rules, find Find) (Request, error) {
	if _, err := r.Stage(q.To); err != nil {
		return q, err
	}
	all := make([]Entry, len(q.Items))
	for i, it := range q.Items {
		if j := slices.IndexFunc(q.Entries, func(e Entry) bool { return e.Component == it.Component && e.Version == it.Version }); j >= 0 {
			all[i] = q.Entries[j]
			continue
		}
		if _, err := r.Component(it.Component); err != nil {
			return q, err
		}
		h, ok := s.Nearest(r, q.To, it.Component, it.Version)
		if !ok {
			return q, fault.Errorf(fault.Usage, "%s %s is in no environment before %s: add it first, with the URL of its release", it.Component, it.Version, q.To)
		}
		var err error
		if all[i], err = find(h.Held, h.Stage); err != nil {
			return q, err
		}
	}
	q.Kind, q.Entries = Merge, all
	return q, nil
}

// passing are the rules that time and people may change the answer of.
var passing = []string{"soak", "approvals", "freeze", "hold"}

// Passing reports whether time or people may still change that the rules refuse a request.
func (a Answer) Passing() bool {
	return !slices.ContainsFunc(a.Outcomes, func(o Outcome) bool { return !o.OK && !slices.Contains(passing, o.Rule) })
}
