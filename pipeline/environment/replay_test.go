package environment_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
)

// What somebody wrote into a log who may push, and the rules did not allow, is found by whoever has the log and the rules.
func TestDecidedByRules(t *testing.T) {
	w := newWorld(t, strict+"  - {name: open, from: [beta], enter: pull-request}\n")
	w.add("next", entry("gateway", "1.0.0", "a"))
	w.add("next", entry("gateway", "1.1.0-rc.1", "b"))
	w.do(environment.Promote, "gateway", "1.0.0", "beta")
	w.add("next", entry("gateway", "1.0.0", "z"))
	a, held := entry("gateway", "1.0.0", "a"), func(stage, v string) environment.Move {
		h, _ := w.s.Held(stage, "gateway", v)
		return environment.Move{Component: "gateway", Version: v, Commit: h.Commit, Manifest: h.Manifest, Entry: h.Entry, From: stage}
	}
	to := func(m environment.Move, stage string, left ...string) environment.Move {
		m.To, m.Left = stage, left
		return m
	}
	for want, l := range map[string]environment.Line{
		"":                                     {Kind: environment.Promote, Moves: []environment.Move{to(held("next", "1.1.0-rc.1"), "beta", "next")}},
		"the rules refuse it: writers":         {Kind: environment.Promote, Moves: []environment.Move{to(held("beta", "1.0.0"), "live")}},
		"by the rules it moves":                {Kind: environment.Promote, Moves: []environment.Move{to(held("next", "1.1.0-rc.1"), "beta")}},
		"the rules refuse it: writers: nobody": {Kind: environment.Promote, Moves: []environment.Move{to(held("next", "1.1.0-rc.1"), "live")}},
		"the rules refuse it: enter":           {Kind: environment.Promote, Moves: []environment.Move{to(held("beta", "1.0.0"), "open")}},
		"merge into":                           {Kind: environment.Merge, Moves: []environment.Move{to(held("next", "1.1.0-rc.1"), "beta", "next")}},
		"is in no environment before":          {Kind: environment.Promote, Moves: []environment.Move{to(environment.Move{Component: "gateway", Version: "9.0.0", Commit: a.Commit, Manifest: a.Manifest, Entry: a.Manifest, From: "next"}, "beta")}},
		"there is no component":                {Kind: environment.Hold, Why: "x", Moves: []environment.Move{{Component: "other"}}},
		"needs a reason":                       {Kind: environment.Withdraw, Moves: []environment.Move{{Component: "gateway", Version: "1.0.0"}}},
		"there is no environment":              {Kind: environment.Freeze, Why: "x", Moves: []environment.Move{{To: "nowhere"}}},
		"is not beyond what next keeps":        {Kind: environment.Expire, Moves: []environment.Move{{Component: "gateway", Version: "1.1.0-rc.1", From: "next", Left: []string{"next"}}}},
		"the rules refuse it: overwrite":       {Kind: environment.Promote, Moves: []environment.Move{to(held("next", "1.0.0"), "beta", "next")}},
	} {
		l.Time, l.Request, l.Rules = w.now.Add(time.Second), strings.Repeat("1", 32), rulesAt
		if want == "merge into" {
			want = "the rules refuse it: enter: beta is entered by a command"
		}
		var again environment.State
		all := slices.Clone(w.log)
		var forged environment.State
		if err := forged.Fold(all, nil); err != nil {
			t.Fatal(err)
		}
		line, err := forged.Append(l)
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		var checked environment.State
		err = again.Fold(append(all, line...), func(l environment.Line) error { return checked.Replay(w.r, l) })
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%v\nand not %s", err, want)
		}
	}
}
