package environment_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// What no command writes can still be asked for by whoever may write to the folder.
func TestRequestsThatCannotBeMeant(t *testing.T) {
	w := newWorld(t, strict)
	e := entry("gateway", "1.0.0", "a")
	w.add("next", e)
	item := []environment.Item{{Component: "gateway", Version: "1.0.0", Manifest: e.Manifest}}
	for want, q := range map[string]environment.Request{
		`evidence without a report`:                  {Kind: environment.Evidence, Items: item},
		`hold with a report`:                         {Kind: environment.Hold, Why: "x", Items: item, Report: &environment.Report{Kind: "tests"}},
		`"expire" is not something to ask for`:       {Kind: environment.Expire, To: "live", Items: item},
		`freeze until 2026-03-02`:                    {Kind: environment.Freeze, To: "live", Why: "x", Until: monday},
		`promote has no end`:                         {Kind: environment.Promote, To: "beta", Items: item, Until: monday.Add(time.Hour)},
		`key "sha256:ours" and issuer "x" are two`:   {Kind: environment.Promote, To: "beta", Items: item, By: environment.Identity{Key: "sha256:ours", Issuer: "x"}},
		`key "sha256:ours" and identity "x" are two`: {Kind: environment.Promote, To: "beta", Items: item, By: environment.Identity{Key: "sha256:ours", Identity: "x"}},
	} {
		a, err := w.ask(q)
		if fault.CodeOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v %+v, and not %s", err, a.Line, want)
		}
	}
}

// What a report is called is shown, so it is one line.
func TestReportKind(t *testing.T) {
	w := newWorld(t, "")
	e := entry("gateway", "1.0.0", "a")
	w.add("staging", e)
	for kind, good := range map[string]bool{"tests": true, "": false, "te\x1b[2Jsts": false, strings.Repeat("x", 600): false} {
		q := environment.Request{Kind: environment.Evidence, By: ours, At: w.now, Expires: w.now.Add(time.Minute), Report: &environment.Report{Kind: kind, Good: true}, Items: []environment.Item{{Component: "gateway", Version: "1.0.0", Manifest: e.Manifest}}}
		file, err := q.Encode()
		if err != nil {
			t.Fatal(err)
		}
		a, err := environment.Decide(w.s, w.r, rulesAt, environment.ID(file), q, w.now)
		if err == nil {
			a.Line.Signed = &environment.Signed{Request: string(file), Bundle: "{}"}
			_, err = w.s.Append(a.Line)
		}
		if (err == nil) != good {
			t.Errorf("%.20q: %v", kind, err)
		}
	}
}

// Going back asks the rules of the stage that it goes back to as well: what is never changed there stays.
func TestDemoteEnters(t *testing.T) {
	w := newWorld(t, `version: 1
stages:
  - {name: trial, overwrite: always}
  - {name: kept, accepts: [candidate, stable], freeze: [{days: [Tue]}]}
  - {name: beta, overwrite: always}
`)
	w.add("kept", entry("gateway", "1.0.0", "a"))
	w.add("beta", entry("gateway", "1.0.0", "b"))
	w.want(w.do(environment.Demote, "gateway", "1.0.0", "kept"), "7 overwrite")
	if h, _ := w.s.Held("kept", "gateway", "1.0.0"); h.Manifest != entry("gateway", "1.0.0", "a").Manifest {
		t.Error("what is never changed was changed")
	}
	w.add("beta", entry("gateway", "1.1.0", "c"))
	w.do(environment.Hold, "gateway", "1.1.0", "kept")
	w.want(w.do(environment.Demote, "gateway", "1.1.0", "kept"), "9 hold")
	w.do(environment.Release, "gateway", "1.1.0", "kept")
	w.now = w.now.Add(24 * time.Hour)
	w.want(w.do(environment.Demote, "gateway", "1.1.0", "kept"), "9 freeze")
	w.add("beta", entry("gateway", "1.2.0-snapshot.1.g0123456789ab", "d"))
	w.now = w.now.Add(24 * time.Hour)
	w.want(w.do(environment.Demote, "gateway", "1.2.0-snapshot.1.g0123456789ab", "kept"), "9 accepts")
	w.want(w.do(environment.Demote, "gateway", "1.1.0", "kept"), "")
	w.is("in", w.stages("gateway", "1.1.0"), "kept")
	// The same bytes on both sides leave the later one, and take no one's place.
	w.add("beta", entry("gateway", "1.0.0", "a"))
	w.want(w.do(environment.Demote, "gateway", "1.0.0", "kept"), "")
	w.is("in", w.stages("gateway", "1.0.0"), "kept")
}

// What is entered by pull request is not entered by a command that takes a version back, from where a command has put it.
func TestDemoteIsNoWayIn(t *testing.T) {
	w := newWorld(t, `version: 1
stages:
  - {name: next}
  - {name: live, enter: pull-request, approvals: {count: 1, of: [pull-request]}}
  - {name: beyond, overwrite: always}
`)
	w.add("beyond", entry("gateway", "1.0.0", "a"))
	w.want(w.do(environment.Demote, "gateway", "1.0.0", "live"), "9 enter")
	w.want(w.do(environment.Demote, "gateway", "1.0.0", "next"), "")
}

// The writers of a stage are asked whatever changes it, also where the request does not name it.
func TestWriters(t *testing.T) {
	w := newWorld(t, `version: 1
stages:
  - {name: next, overwrite: always}
  - {name: live, overwrite: always, writers: ["sha256:ours"]}
`)
	w.add("live", entry("gateway", "1.0.0", "a"))
	w.add("next", entry("gateway", "1.1.0", "b"))
	by := func(q *environment.Request) { q.By = lead }
	for _, to := range []string{"", "next"} {
		w.want(w.do(environment.Withdraw, "gateway", "1.0.0", to, by), "9 writers")
	}
	w.want(w.do(environment.Withdraw, "gateway", "1.1.0", "", by), "")
	w.want(w.do(environment.Restore, "gateway", "1.1.0", "", by), "")
	w.want(w.do(environment.Withdraw, "gateway", "1.0.0", ""), "")
	w.want(w.do(environment.Restore, "gateway", "1.0.0", "", by), "9 writers")
	w.want(w.do(environment.Restore, "gateway", "1.0.0", ""), "")
	w.want(w.do(environment.Demote, "gateway", "1.0.0", "next", by), "9 writers")
	w.want(w.do(environment.Hold, "gateway", "", "", by), "9 writers")
	w.want(w.do(environment.Hold, "gateway", "", "next", by), "")
	w.want(w.do(environment.Hold, "gateway", "", ""), "")
	w.want(w.do(environment.Release, "gateway", "", "", by), "9 writers")
	w.want(w.do(environment.Release, "gateway", "", ""), "")
}

func TestRulesNameNoBranchOfTheStore(t *testing.T) {
	for _, name := range []string{"main", "log", "metadata"} {
		if _, err := environment.ParseRules("environment.yaml", []byte("version: 1\nstages: [{name: "+name+"}]")); fault.CodeOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), "the name of another branch of the store") {
			t.Error(name, err)
		}
	}
	// What is proposed has a branch below that name.
	for name, want := range map[string]bool{"promote": false, "repair": false, "promoted": true} {
		for _, enter := range []string{"pull-request", "commit"} {
			_, err := environment.ParseRules("environment.yaml", []byte("version: 1\nstages: [{name: "+name+"}, {name: production, enter: "+enter+"}]"))
			if want = want || enter == "commit"; (err == nil) != want || err != nil && !strings.Contains(err.Error(), name+"/") {
				t.Errorf("%s and %s: %v", name, enter, err)
			}
		}
	}
}

// To have been in a stage is asked for without a time as well.
func TestSoakWithoutTime(t *testing.T) {
	w := newWorld(t, `version: 1
stages:
  - {name: beta}
  - {name: live, soak: {in: beta}}
`)
	w.want(w.add("live", entry("gateway", "1.0.0", "a")), "9 soak")
	w.add("beta", entry("gateway", "1.0.0", "a"))
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "")
}

// The newest version is the one that came in last. That an older one goes on does not make it new.
func TestNewest(t *testing.T) {
	w := newWorld(t, "")
	w.add("staging", entry("gateway", "1.0.0", "a"))
	w.add("snapshot", entry("gateway", "1.1.0-snapshot.1.g0123456789ab", "b"))
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "production"), "")
	w.is("snapshot", w.current("snapshot"), "1.1.0-snapshot.1.g0123456789ab")
	w.add("snapshot", entry("gateway", "1.0.1", "c"))
	w.add("snapshot", entry("gateway", "1.0.2", "d"))
	w.add("snapshot", entry("gateway", "1.0.1", "other"))
	w.is("other bytes", w.current("snapshot"), "1.0.1")
}

// What is current in an earlier environment, which sees it in a later stage, does not expire there either.
func TestExpiredElsewhere(t *testing.T) {
	w := newWorld(t, `version: 1
stages:
  - {name: next, overwrite: always}
  - {name: beta, overwrite: always, keep: 1}
`)
	for i := range 3 {
		w.add("beta", entry("gateway", fmt.Sprintf("1.%d.0", i), "a"))
	}
	w.want(w.do(environment.Rollback, "gateway", "1.0.0", "next"), "")
	if all := environment.Expired(w.s, w.r, "beta"); len(all) != 1 || all[0].Version != "1.1.0" {
		t.Errorf("%+v", all)
	}
}

// A candidate that is not to be used any more speaks for nothing.
func TestCandidateWithdrawn(t *testing.T) {
	w := newWorld(t, `version: 1
stages:
  - {name: beta}
  - {name: live, candidate: same-commit}
`)
	w.add("beta", entry("gateway", "1.0.0-rc.1", "a"))
	w.add("beta", entry("gateway", "1.0.0", "a"))
	w.want(w.do(environment.Withdraw, "gateway", "1.0.0-rc.1", ""), "")
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 candidate")
	w.want(w.do(environment.Restore, "gateway", "1.0.0-rc.1", ""), "")
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "")
}

// The way out of a hold ends that hold, and no other.
func TestHoldNamesItself(t *testing.T) {
	w := newWorld(t, "")
	w.add("snapshot", entry("gateway", "1.0.0", "a"))
	for _, c := range []struct{ version, stage, want string }{
		{"", "", "slipway hold gateway --release"},
		{"1.0.0", "", "slipway hold gateway 1.0.0 --release"},
		{"1.0.0", "staging", "slipway hold gateway 1.0.0 --release --environment staging"},
	} {
		w.do(environment.Hold, "gateway", c.version, c.stage)
		a := w.do(environment.Promote, "gateway", "1.0.0", "staging")
		for _, o := range a.Outcomes {
			if o.Rule == "hold" {
				w.is("the way out", o.Fix, c.want)
			}
		}
		w.do(environment.Release, "gateway", c.version, c.stage)
	}
}

// The bytes that somebody agrees to are those that would go on, and not those that they replace.
func TestNearest(t *testing.T) {
	w := newWorld(t, "")
	w.add("staging", entry("gateway", "1.0.0", "a"))
	w.add("snapshot", entry("gateway", "1.0.0", "b"))
	for to, want := range map[string]string{"snapshot": "b", "staging": "b", "production": "a"} {
		if h, ok := w.s.Nearest(w.r, to, "gateway", "1.0.0"); !ok || h.Manifest != entry("", "", want).Manifest {
			t.Errorf("%s: %+v", to, h)
		}
	}
	if h, ok := w.s.Nearest(w.r, "staging", "gateway", "2.0.0"); ok {
		t.Errorf("%+v", h)
	}
}
