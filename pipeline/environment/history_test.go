package environment_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// current is a version that stands for an environment.
type current struct {
	version  string
	manifest artifact.Digest
}

// follows holds the history of a log to the state that each of its lines comes to.
func (w *world) follows() (changes int) {
	w.t.Helper()
	var folded, replayed environment.State
	var history environment.History
	now := map[[2]string]current{} // by what the history says
	err := folded.Fold(w.log, func(l environment.Line) error {
		if err := replayed.Replay(w.r, l); err != nil {
			return err
		}
		for _, c := range history.Add(w.r, l) {
			changes++
			at := [2]string{c.Stage, c.Component}
			if now[at] == (current{c.Version, c.Manifest}) || c.Line != l.N || !c.Time.Equal(l.Time) {
				return fmt.Errorf("%+v is no change", c)
			}
			now[at] = current{c.Version, c.Manifest}
		}
		for _, stage := range w.r.StageNames() {
			for _, name := range replayed.Components() {
				is, _, _ := replayed.Current(w.r, stage, name)
				if got := now[[2]string{stage, name}]; got != (current{is.Version, is.Manifest}) {
					return fmt.Errorf("line %d, %s: %s of %s was %s %s, and the history says %+v", l.N, l.Kind, stage, name, is.Version, is.Manifest, got)
				}
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return changes
}

// TestHistory asks for whatever makes something else the current version, by all rules for that.
func TestHistory(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t, `version: 1
stages:
- {name: newest, overwrite: always, current: newest, keep: 3}
- {name: semver, from: [newest, outside], overwrite: always, leaves: [newest], current: semver}
- {name: stable, from: [semver, newest, outside], overwrite: always, leaves: [semver, newest], current: stable}
`)
	kinds := []environment.Kind{environment.Promote, environment.Promote, environment.Demote, environment.Rollback, environment.Release, environment.Withdraw, environment.Restore, environment.Hold}
	for range 800 {
		w.now = w.now.Add(time.Second)
		component, v, to := []string{"gateway", "control"}[rnd.IntN(2)], []string{"1.0.0", "1.0.0+1", "1.1.0-rc.1", "1.1.0", "1.2.0", "2.0.0-rc.1"}[rnd.IntN(6)], w.r.StageNames()[rnd.IntN(3)]
		q := environment.Request{Kind: environment.Add, To: to, Why: "a test", Replace: true, Items: []environment.Item{{Component: component, Version: v}}}
		if rnd.IntN(3) > 0 {
			q.Kind = kinds[rnd.IntN(len(kinds))]
			if q.Replace = q.Kind == environment.Promote; q.Kind == environment.Release && rnd.IntN(2) > 0 {
				q.Items[0].Version = ""
			}
			if q.Kind == environment.Withdraw || q.Kind == environment.Restore {
				q.To = ""
			}
		} else {
			q.Entries = []environment.Entry{entry(component, v, fmt.Sprint(rnd.IntN(3)))}
		}
		_, _ = w.ask(q) // what is refused changes nothing
		for _, moves := range environment.Expired(w.s, w.r, "newest") {
			line, err := w.s.Append(environment.Line{Time: w.now, Kind: environment.Expire, Request: environment.ID(fmt.Append(nil, "expire", w.s.Count)), Rules: rulesAt, Moves: []environment.Move{moves}})
			if err != nil {
				t.Fatal(err)
			}
			w.log = append(w.log, line...)
		}
	}
	if n := w.follows(); n < 60 {
		t.Errorf("only %d changes", n)
	}
}
