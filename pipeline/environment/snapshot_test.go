package environment_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/environment"
)

// shows is whatever a reader can see of a state.
func (w *world) shows(s *environment.State) string {
	var b strings.Builder
	for _, stage := range w.r.StageNames() {
		for _, name := range s.Components() {
			current, pinned, _ := s.Current(w.r, stage, name)
			fmt.Fprintf(&b, "%s %s: %v %v\n", stage, name, current.Version, pinned)
			for _, v := range s.View(w.r, stage, name) {
				fmt.Fprintf(&b, "%s %s %v\n", v.Version, v.Stage, v.Withdrawn != nil)
				q := environment.Request{Kind: environment.Promote, To: "production", Items: []environment.Item{{Component: name, Version: v.Version}}}
				a, err := environment.Decide(s, w.r, rulesAt, strings.Repeat("0", 32), q, monday)
				fmt.Fprintln(&b, a.Outcomes, err)
			}
		}
		stop, ok := s.Frozen(stage, monday)
		fmt.Fprintln(&b, stage, stop, ok)
	}
	fmt.Fprintln(&b, s.Count, s.Digest, s.At(s.Count), s.At(s.Count+1))
	return b.String()
}

// TestSnapshot holds a snapshot to the state that it was taken of, whatever becomes of that.
func TestSnapshot(t *testing.T) {
	w := newWorld(t, "version: 1\nstages:\n- {name: snapshot, overwrite: always}\n- {name: staging, leaves: [snapshot]}\n- {name: production, leaves: [staging], soak: {evidence: [tests]}, approvals: {count: 1}}\n")
	w.add("snapshot", entry("gateway", "1.0.0", "a"))
	w.add("snapshot", entry("gateway", "1.1.0", "b"))
	w.do(environment.Promote, "gateway", "1.0.0", "staging")
	w.do(environment.Hold, "gateway", "1.1.0", "staging")
	bytes := func(q *environment.Request) { q.Items[0].Manifest = entry("gateway", "1.0.0", "a").Manifest }
	other := environment.Identity{Key: "sha256:other"}
	w.do(environment.Approve, "gateway", "1.0.0", "staging", bytes, func(q *environment.Request) { q.By = other })
	w.do(environment.Evidence, "gateway", "1.0.0", "", bytes, func(q *environment.Request) { q.Report = &environment.Report{Kind: "other", Good: true} })
	taken := w.s.Snapshot()
	before := w.shows(w.s)
	if got := w.shows(taken); got != before {
		t.Fatalf("a snapshot shows\n%s\nand not\n%s", got, before)
	}
	w.add("snapshot", entry("gateway", "1.2.0", "c"))
	w.add("snapshot", entry("control", "1.0.0", "d"))
	w.do(environment.Release, "gateway", "1.1.0", "staging")
	w.do(environment.Promote, "gateway", "1.1.0", "staging")
	w.do(environment.Rollback, "gateway", "1.0.0", "staging")
	w.do(environment.Withdraw, "gateway", "1.1.0", "")
	w.do(environment.Freeze, "", "", "production")
	w.do(environment.Approve, "gateway", "1.0.0", "production", bytes, func(q *environment.Request) { q.By = lead })
	w.do(environment.Evidence, "gateway", "1.0.0", "", bytes, func(q *environment.Request) { q.Report = &environment.Report{Kind: "tests", Good: true} })
	if got := w.shows(taken); got != before {
		t.Errorf("a snapshot shows\n%s\nand not\n%s", got, before)
	}
	if got := w.shows(w.s.Snapshot()); got != w.shows(w.s) || got == before {
		t.Errorf("a later snapshot shows\n%s", got)
	}
}
