package environment_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

var (
	rulesAt = strings.Repeat("a", 40)
	monday  = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	ours    = environment.Identity{Key: "sha256:ours"}
	lead    = environment.Identity{Key: "sha256:lead"}
)

// world is a log with its rules, a clock, and everything that was written.
type world struct {
	t     testing.TB
	s     *environment.State
	r     environment.Rules
	now   time.Time
	log   []byte
	nonce int
	known map[artifact.Digest]environment.Entry // by the digest of its file
}

// components are what stands above the stages in the rules of tests.
const components = `
components:
  gateway: {key: "sha256:ours"}
  control: {key: "sha256:ours"}
`

func newWorld(t testing.TB, rules string) *world {
	t.Helper()
	r, err := environment.ParseRules("environment.yaml", []byte(cmp.Or(rules, string(environment.Default))+components))
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, s: &environment.State{}, r: r, now: monday}
}

// entry is a version whose bytes are a function of content.
func entry(component, v, content string) environment.Entry {
	return environment.Entry{
		Component: component, Version: v, Commit: artifact.Sum([]byte(content)).Hex()[:40], Manifest: artifact.Sum([]byte("manifest " + content)),
		Signed: ours, Places: []string{"https://releases.example.com/" + component + "/" + v + "/"},
	}
}

// ask decides a request and appends what comes of it, unless it was refused.
func (w *world) ask(q environment.Request) (environment.Answer, error) {
	w.t.Helper()
	w.nonce++
	q.At, q.Expires, q.Nonce = w.now, w.now.Add(10*time.Minute), fmt.Sprint(w.nonce)
	if q.By == (environment.Identity{}) && q.Kind != environment.Merge {
		q.By = ours
	}
	file, err := q.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	parsed, err := environment.ParseRequest(file)
	if err != nil {
		w.t.Fatal(err)
	}
	before := w.s.Count
	if w.nonce%3 == 0 { // whoever comes next has kept the state
		if w.s, _, err = environment.Kept(w.s.Keep(nil)); err != nil {
			w.t.Fatal(err)
		}
	}
	a, err := environment.Decide(w.s, w.r, rulesAt, environment.ID(file), parsed, w.now)
	if w.s.Count != before {
		w.t.Fatal("to decide changes something")
	}
	if err == nil && !a.Nothing && !a.Refused() {
		if q.Kind != environment.Merge {
			a.Line.Signed = &environment.Signed{Request: string(file), Bundle: "{}"}
		}
		line, err := w.s.Append(a.Line)
		if err != nil {
			w.t.Fatal(err)
		}
		w.log = append(w.log, line...)
	}
	return a, err
}

func (w *world) add(to string, e environment.Entry, change ...func(*environment.Request)) environment.Answer {
	w.t.Helper()
	q := environment.Request{Kind: environment.Add, To: to, Items: []environment.Item{{Component: e.Component, Version: e.Version}}, Entries: []environment.Entry{e}}
	return w.change(q, change...)
}

func (w *world) do(kind environment.Kind, component, v, to string, change ...func(*environment.Request)) environment.Answer {
	w.t.Helper()
	return w.change(environment.Request{Kind: kind, To: to, Why: "a test", Items: []environment.Item{{Component: component, Version: v}}}, change...)
}

func (w *world) change(q environment.Request, change ...func(*environment.Request)) environment.Answer {
	w.t.Helper()
	for _, c := range change {
		c(&q)
	}
	a, err := w.ask(w.byPull(q))
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// byPull is what a request becomes where versions enter by pull request, and it is merged.
func (w *world) byPull(q environment.Request) environment.Request {
	stage, err := w.r.Stage(q.To)
	if w.known == nil {
		w.known = map[artifact.Digest]environment.Entry{}
	}
	for _, e := range q.Entries {
		file, _ := e.Encode()
		w.known[artifact.Sum(file)] = e
	}
	if err != nil || stage.Enter != "pull-request" || q.Kind != environment.Add && q.Kind != environment.Promote {
		return q
	}
	entries := q.Entries
	if q.Kind == environment.Promote {
		for _, it := range q.Items {
			h, ok := w.s.Nearest(w.r, q.To, it.Component, it.Version)
			if !ok {
				return q
			}
			entries = append(entries, w.known[h.Entry])
		}
	}
	q.Kind, q.Entries = environment.Merge, entries
	return q
}

// refusal is the rules that refuse, with the exit code; "" for an answer that does not.
func refusal(a environment.Answer) string {
	var all []string
	for _, o := range a.Outcomes {
		if !o.OK {
			all = append(all, o.Rule)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", a.Code, strings.Join(all, " "))
}

func (w *world) want(a environment.Answer, want string) {
	w.t.Helper()
	if got := refusal(a); got != want {
		w.t.Errorf("refused by %q and should be by %q: %+v", got, want, a.Outcomes)
	}
}

// stages are the stages that a version is in.
func (w *world) stages(component, v string) string {
	var all []string
	for _, name := range w.r.StageNames() {
		if _, ok := w.s.Held(name, component, v); ok {
			all = append(all, name)
		}
	}
	return strings.Join(all, " ")
}

func (w *world) view(stage string) string {
	var all []string
	for _, v := range w.s.View(w.r, stage, "gateway") {
		all = append(all, v.Version)
	}
	return strings.Join(all, " ")
}

func (w *world) current(stage string) string {
	v, pinned, ok := w.s.Current(w.r, stage, "gateway")
	if !ok {
		return ""
	}
	if pinned {
		return v.Version + " pinned"
	}
	return v.Version
}

func (w *world) is(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: %q and not %q", what, got, want)
	}
}

// TestSeed is the summary table of the proposal, with the rules that a new store has
// (https://github.com/elastic/package-registry/issues/86).
func TestSeed(t *testing.T) {
	t.Run("add package", func(t *testing.T) {
		w := newWorld(t, "")
		for stage, byPull := range map[string]bool{"snapshot": false, "staging": false, "production": true} {
			e := entry("gateway", "1.0.0", "a")
			for _, kind := range []environment.Kind{environment.Add, environment.Merge} {
				q := environment.Request{Kind: kind, To: stage, Items: []environment.Item{{Component: e.Component, Version: e.Version}}, Entries: []environment.Entry{e}}
				w2 := *w
				w2.s = &environment.State{}
				a, err := w2.ask(q)
				if err != nil {
					t.Fatal(err)
				}
				want := "9 enter"
				if byPull == (kind == environment.Merge) {
					want = ""
				}
				w.want(a, want)
			}
		}
	})
	t.Run("docker image", func(t *testing.T) {
		for _, stage := range newWorld(t, "").r.Stages {
			if !slices.Contains(stage.Tags, stage.Name) {
				t.Errorf("%s has the tags %v", stage.Name, stage.Tags)
			}
		}
	})
	t.Run("version overwrite", func(t *testing.T) {
		w := newWorld(t, "")
		for _, stage := range []string{"snapshot", "staging", "production"} {
			v := "1.0." + fmt.Sprint(len(stage))
			w.want(w.add(stage, entry("gateway", v, "a")), "")
			again := w.add(stage, entry("gateway", v, "a"))
			if !again.Nothing {
				t.Errorf("%s: the same again is something to do", stage)
			}
			other := w.add(stage, entry("gateway", v, "b"))
			replace := w.add(stage, entry("gateway", v, "c"), func(q *environment.Request) { q.Replace, q.Why = true, "it was broken" })
			switch stage {
			case "snapshot":
				w.want(other, "")
				w.want(replace, "")
			case "staging":
				w.want(other, "7 overwrite")
				w.want(replace, "")
			case "production":
				w.want(other, "7 overwrite")
				w.want(replace, "7 overwrite")
			}
		}
	})
	t.Run("packages", func(t *testing.T) {
		w := newWorld(t, "")
		w.add("snapshot", entry("gateway", "1.3.0-rc.1", "c"))
		w.add("staging", entry("gateway", "1.2.0", "b"))
		w.add("production", entry("gateway", "1.1.0", "a"))
		w.is("snapshot", w.view("snapshot"), "1.3.0-rc.1 1.2.0 1.1.0")
		w.is("staging", w.view("staging"), "1.2.0 1.1.0")
		w.is("production", w.view("production"), "1.1.0")
	})
	t.Run("the production version is taken", func(t *testing.T) {
		w := newWorld(t, "")
		w.add("production", entry("gateway", "1.1.0", "a"))
		w.add("snapshot", entry("gateway", "1.1.0", "b"))
		w.is("in", w.stages("gateway", "1.1.0"), "snapshot production")
		if v := w.s.View(w.r, "snapshot", "gateway"); len(v) != 1 || v[0].Stage != "production" {
			t.Errorf("%+v", v)
		}
	})
	t.Run("staging leaves snapshot, and is picked again", func(t *testing.T) {
		w := newWorld(t, "")
		w.add("snapshot", entry("gateway", "1.1.0", "a"))
		w.want(w.do(environment.Promote, "gateway", "1.1.0", "staging"), "")
		w.is("in", w.stages("gateway", "1.1.0"), "staging")
		w.add("snapshot", entry("gateway", "1.1.0", "b"))
		w.want(w.do(environment.Promote, "gateway", "1.1.0", "staging"), "7 overwrite")
		w.want(w.do(environment.Promote, "gateway", "1.1.0", "staging", func(q *environment.Request) { q.Replace = true }), "")
		w.is("in", w.stages("gateway", "1.1.0"), "staging")
		if h, _ := w.s.Held("staging", "gateway", "1.1.0"); h.Manifest != entry("gateway", "1.1.0", "b").Manifest {
			t.Error("it is the one from before")
		}
	})
	t.Run("production leaves staging", func(t *testing.T) {
		w := newWorld(t, "")
		w.add("staging", entry("gateway", "1.1.0", "a"))
		w.want(w.do(environment.Promote, "gateway", "1.1.0", "production"), "")
		w.is("in", w.stages("gateway", "1.1.0"), "production")
		w.want(w.do(environment.Demote, "gateway", "1.1.0", "staging"), "7 overwrite")
		w.is("in", w.stages("gateway", "1.1.0"), "production")
	})
	t.Run("stages may be followed and need not be", func(t *testing.T) {
		w := newWorld(t, "")
		w.add("snapshot", entry("gateway", "1.1.0", "a"))
		w.want(w.do(environment.Promote, "gateway", "1.1.0", "production"), "")
		w.is("in", w.stages("gateway", "1.1.0"), "production")
	})
	t.Run("stack version", func(t *testing.T) {
		w := newWorld(t, "")
		w.add("snapshot", entry("gateway", "1.1.1-snapshot.4.g0123456789ab", "a"))
		w.want(w.do(environment.Promote, "gateway", "1.1.1-snapshot.4.g0123456789ab", "production"), "9 accepts")
	})
}

// strict are rules in which every rule is asked.
const strict = `version: 1
stages:
  - {name: next, overwrite: always, keep: 2, current: newest}
  - {name: beta, from: [next], overwrite: if-needed, leaves: [next]}
  - name: live
    from: [beta]
    candidate: same-commit
    accepts: [stable]
    current: stable
    writers: ["sha256:ours", "https://example.com/*"]
    soak: {in: beta, for: 3d, rebuilt: 2, evidence: [tests]}
    approvals: {count: 1, of: ["sha256:lead"]}
    freeze: [{days: [Fri, Sat, Sun]}, {from: "00:00", until: "05:59"}]
`

// TestRules has each rule refuse and allow.
func TestRules(t *testing.T) {
	w := newWorld(t, strict)
	w.want(w.add("next", entry("gateway", "1.0.0-rc.1", "a"), func(q *environment.Request) { q.Entries[0].Signed = lead }), "9 signed")
	w.want(w.add("next", entry("gateway", "1.0.0-rc.1", "a"), func(q *environment.Request) { q.Entries[0].Unpublishable = []string{"of a dirty tree"} }), "9 policies")
	w.want(w.add("live", entry("gateway", "1.0.0", "a")), "9 from candidate soak soak soak approvals")
	w.add("next", entry("gateway", "1.0.0-rc.1", "other"))
	w.add("next", entry("gateway", "1.0.0", "a"))
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "beta"), "")
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 candidate soak soak soak approvals")

	w.add("next", entry("gateway", "1.0.0-rc.2", "a"))
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 soak soak soak approvals")
	w.now = w.now.Add(71 * time.Hour)
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 soak soak soak approvals")
	manifest := entry("gateway", "1.0.0", "a").Manifest
	report := func(kind string, by environment.Identity, good bool) {
		t.Helper()
		w.want(w.do(environment.Evidence, "gateway", "1.0.0", "", func(q *environment.Request) {
			q.By, q.Report, q.Items[0].Manifest = by, &environment.Report{Kind: kind, Good: good}, manifest
		}), "")
	}
	w.now = w.now.Add(time.Hour) // Thursday, 10:00
	one, other := environment.Identity{Key: "sha256:one"}, environment.Identity{Key: "sha256:other"}
	report("rebuilt", one, true)
	report("rebuilt", one, true)
	report("tests", one, true)
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 soak approvals")
	report("rebuilt", other, false)
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 soak approvals")
	report("rebuilt", other, true)
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 approvals")
	approve := func(by environment.Identity) {
		t.Helper()
		w.do(environment.Approve, "gateway", "1.0.0", "live", func(q *environment.Request) { q.By, q.Items[0].Manifest = by, manifest })
	}
	approve(other)
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 approvals")
	approve(lead)
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live", func(q *environment.Request) { q.By = lead }), "9 writers approvals")

	w.want(w.do(environment.Hold, "gateway", "", "live"), "")
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 hold")
	w.want(w.do(environment.Release, "gateway", "", "live"), "")
	freeze := environment.Request{Kind: environment.Freeze, To: "live", Why: "an audit", Until: w.now.Add(time.Hour)}
	w.want(w.change(freeze), "")
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 freeze")
	w.now = w.now.Add(20 * time.Hour) // Friday, 06:00: the freeze has ended, and the week's window has begun
	a := w.do(environment.Promote, "gateway", "1.0.0", "live")
	w.want(a, "9 freeze")
	for _, o := range a.Outcomes {
		if o.Rule == "freeze" {
			w.is("the way out", o.Fix, "wait until 2026-03-09 06:00 UTC")
		}
	}
	w.now = time.Date(2026, 3, 9, 6, 0, 0, 0, time.UTC)
	w.want(w.do(environment.Withdraw, "gateway", "1.0.0", ""), "")
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 withdrawn")
	w.want(w.do(environment.Restore, "gateway", "1.0.0", ""), "")

	// What was approved and reported does not count for other bytes.
	w.add("next", entry("gateway", "1.0.0", "b"))
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "beta", func(q *environment.Request) { q.Replace = true }), "")
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 candidate soak soak soak approvals")
	w.add("next", entry("gateway", "1.0.0", "a"))
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "beta", func(q *environment.Request) { q.Replace = true }), "")
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "9 soak")
	w.now = w.now.Add(72 * time.Hour)
	w.want(w.do(environment.Promote, "gateway", "1.0.0", "live"), "")
	w.is("in", w.stages("gateway", "1.0.0"), "beta live")
	if a := w.do(environment.Promote, "gateway", "1.0.0", "live"); !a.Nothing {
		t.Errorf("again: %+v", a)
	}

	// A set is one line, or nothing.
	w.add("next", entry("gateway", "1.1.0", "c"))
	w.add("next", entry("control", "2.0.0", "c"))
	w.do(environment.Hold, "control", "2.0.0", "beta")
	set := environment.Request{Kind: environment.Promote, To: "beta", Items: []environment.Item{{Component: "gateway", Version: "1.1.0"}, {Component: "control", Version: "2.0.0"}}}
	before := w.s.Count
	w.want(w.change(set), "9 hold")
	w.is("in", w.stages("gateway", "1.1.0"), "next")
	w.do(environment.Release, "control", "2.0.0", "beta")
	w.want(w.change(set), "")
	if w.s.Count != before+2 || w.stages("gateway", "1.1.0")+w.stages("control", "2.0.0") != "betabeta" {
		t.Errorf("%d lines more", w.s.Count-before)
	}

	// What the log comes to is what it came to.
	var again environment.State
	if err := again.Fold(w.log, nil); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(again.In("next"), again.In("beta"), again.In("live")) != fmt.Sprint(w.s.In("next"), w.s.In("beta"), w.s.In("live")) || again.Digest != w.s.Digest {
		t.Error("the log comes to something else")
	}
}

func TestCurrent(t *testing.T) {
	w := newWorld(t, "")
	w.is("nothing", w.current("production"), "")
	w.add("production", entry("gateway", "1.3.0", "a"))
	w.add("production", entry("gateway", "1.2.9", "b")) // a backport
	w.add("production", entry("gateway", "1.4.0-rc.1", "c"))
	w.add("snapshot", entry("gateway", "1.3.1-snapshot.1.g0123456789ab", "d"))
	w.is("production", w.current("production"), "1.3.0")
	w.is("staging", w.current("staging"), "1.4.0-rc.1")
	w.is("snapshot", w.current("snapshot"), "1.3.1-snapshot.1.g0123456789ab")
	w.want(w.do(environment.Rollback, "gateway", "1.2.9", "production"), "")
	w.is("rolled back", w.current("production"), "1.2.9 pinned")
	w.add("production", entry("gateway", "1.3.1", "e"))
	w.is("a later one", w.current("production"), "1.2.9 pinned")
	w.want(w.do(environment.Withdraw, "gateway", "1.2.9", ""), "")
	w.is("the pinned one is withdrawn", w.current("production"), "1.3.1")
	w.want(w.do(environment.Rollback, "gateway", "1.2.9", "production"), "9 withdrawn")
	w.want(w.do(environment.Restore, "gateway", "1.2.9", ""), "")
	w.want(w.do(environment.Release, "gateway", "", "production"), "")
	w.is("released", w.current("production"), "1.3.1")
	for range 25 {
		w.add("snapshot", entry("gateway", fmt.Sprintf("2.0.0-snapshot.%d.g0123456789ab", w.nonce), fmt.Sprint(w.nonce)))
	}
	expired := environment.Expired(w.s, w.r, "snapshot")
	if len(expired) != 6 || expired[0].Component != "gateway" || expired[5].Version != "1.3.1-snapshot.1.g0123456789ab" {
		t.Errorf("%+v", expired)
	}
}

func TestUsage(t *testing.T) {
	w := newWorld(t, "")
	w.add("production", entry("gateway", "1.0.0", "a"))
	item := []environment.Item{{Component: "gateway", Version: "1.0.0"}}
	for want, q := range map[string]environment.Request{
		`there is no environment "prodution"; did you mean "production"?`: {Kind: environment.Promote, To: "prodution", Items: item},
		`there is no component "gatway"; did you mean "gateway"?`:         {Kind: environment.Promote, To: "production", Items: []environment.Item{{Component: "gatway", Version: "1.0.0"}}},
		`gateway 2.0.0 is in no environment before production`:            {Kind: environment.Promote, To: "production", Items: []environment.Item{{Component: "gateway", Version: "2.0.0"}}},
		`promote gateway 1.0.0 to which environment?`:                     {Kind: environment.Promote, Items: item},
		`withdraw needs a reason`:                                         {Kind: environment.Withdraw, Items: item},
		`version "v1.0.0" is written as 1.0.0`:                            {Kind: environment.Promote, To: "production", Items: []environment.Item{{Component: "gateway", Version: "v1.0.0"}}},
		`gateway 3.0.0 was never in an environment`:                       {Kind: environment.Withdraw, Why: "x", Items: []environment.Item{{Component: "gateway", Version: "3.0.0"}}},
		`freeze of which environment?`:                                    {Kind: environment.Freeze, Why: "x"},
		`add with 0 entries for 1 versions`:                               {Kind: environment.Add, To: "production", Items: item},
		`gateway 1.0.0 never had the bytes`:                               {Kind: environment.Approve, To: "production", Items: item},
		`"explode" is not something to ask for`:                           {Kind: "explode", Items: item},
		`"refused" is not something to ask for`:                           {Kind: environment.Refused, Items: item},
		`promote of 0 versions: name between 1 and 250`:                   {Kind: environment.Promote, To: "production"},
		`the entry is of control 1.0.0 and the request of gateway 1.0.0`:  {Kind: environment.Add, To: "snapshot", Items: item, Entries: []environment.Entry{entry("control", "1.0.0", "x")}},
		`"https://user:secret@example.com/" is not a URL without a password`: {Kind: environment.Add, To: "snapshot", Items: item, Entries: []environment.Entry{func() environment.Entry {
			e := entry("gateway", "1.0.0", "x")
			e.Places = []string{"https://user:secret@example.com/"}
			return e
		}()}},
	} {
		if _, err := w.ask(q); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, and not %s", err, want)
		}
	}
	for _, q := range []environment.Request{{At: monday.Add(time.Hour), Expires: monday.Add(2 * time.Hour)}, {At: monday.Add(-time.Hour), Expires: monday}, {At: monday, Expires: monday.Add(25 * time.Hour)}} {
		q.Kind, q.Items, q.Why = environment.Withdraw, item, "x"
		a, err := environment.Decide(w.s, w.r, rulesAt, strings.Repeat("0", 32), q, monday)
		if err != nil || refusal(a) != "9 request" {
			t.Errorf("%v %+v", err, a)
		}
	}
}

func TestParseRules(t *testing.T) {
	for text, want := range map[string]string{
		"version: 2\nstages: [{name: a}]":                                            "environment.yaml:1:10: ",
		"version: 1":                                                                 "stages",
		"version: 1\nstages: [{name: A}]":                                            `environment.yaml:2:17: stages[0].name: "A" is not the name of a stage`,
		"version: 1\nstages: [{name: outside}]":                                      `and not outside`,
		"version: 1\nstages: [{name: a}, {name: a}]":                                 "there is another stage a",
		"version: 1\nstages: [{name: a}, {name: b, from: [c]}]":                      `"c" is not a stage before this one`,
		"version: 1\nstages: [{name: a}, {name: b, leaves: [b]}]":                    `"b" is not a stage before this one`,
		"version: 1\nstages: [{name: a, soak: {for: 3d}}]":                           "for needs in",
		"version: 1\nstages: [{name: a}, {name: b, soak: {in: a, for: 3 days}}]":     `"3 days" is not a time such as 72h or 3d`,
		"version: 1\nstages: [{name: a, accepts: [stables]}]":                        `"stables" is none of snapshot, candidate, stable`,
		"version: 1\nstages: [{name: a, enter: pull-requests}]":                      "pull-request",
		"version: 1\nstages: [{name: a, tags: ['{patch}']}]":                         `"{patch}" is not a tag`,
		"version: 1\nstages: [{name: a, tags: [-a]}]":                                `"-a" is not a tag`,
		"version: 1\nstages: [{name: a, auto: promote}]":                             "nothing is promoted into the first stage",
		"version: 1\nstages: [{name: a, candidate: same-commit}]":                    "no stage is before the first one",
		"version: 1\nstages: [{name: a, keep: -1}]":                                  "a count is less than nothing",
		"version: 1\nstages: [{name: a, freeze: [{days: [Friday]}]}]":                `"Friday" is none of Sun, Mon`,
		"version: 1\nstages: [{name: a, freeze: [{from: '22:00', until: '05:00'}]}]": "it ends before it begins",
		"version: 1\nstages: [{name: a, freeze: [{from: '24:00'}]}]":                 `"24:00" is not a time such as 16:00`,
		"version: 1\nstages: [{name: a, overwrites: never}]":                         `unknown key "overwrites" under stages[0]; did you mean "overwrite"?`,
		"version: 1\nstages: [{name: a}]\ncomponents: {x: {}}":                       "say who signs its releases",
		"version: 1\nstages: [{name: a}]\ncomponents: {x: {key: k, identity: i}}":    "say who signs its releases",
		"version: 1\nstages: [{name: a}]\ncomponents: {'a/../b': {key: k}}":          `"a/../b" is not a name`,
		"version: 1\nstages: [" + strings.Repeat("{name: a}, ", 9) + "]":             "9 stages; at most 8 are read",
		"version: 1\nstages: [{name: a, current: latest}]":                           "current",
	} {
		if _, err := environment.ParseRules("environment.yaml", []byte(text)); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v\nand not %s", text, err, want)
		}
	}
}

// TestTampering changes each line of a log in every way that a thief could: the fold finds it, and leaves the state as it was.
func TestTampering(t *testing.T) {
	w := newWorld(t, "")
	for i := range 5 {
		w.add("snapshot", entry("gateway", fmt.Sprintf("1.0.%d", i), "a"))
	}
	lines := bytes.SplitAfter(w.log, []byte("\n"))[:5]
	try := func(what string, lines [][]byte) {
		t.Helper()
		var s environment.State
		if err := s.Fold(bytes.Join(lines, nil), nil); fault.CodeOf(err) != fault.Mismatch || s.Count != 0 || len(s.In("snapshot")) != 0 {
			t.Errorf("%s: %v, and the state has %d lines", what, err, s.Count)
		}
	}
	for i := range lines {
		changed := slices.Clone(lines)
		changed[i] = bytes.Replace(lines[i], []byte("1.0."), []byte("1.1."), 1)
		if i < len(lines)-1 {
			try(fmt.Sprintf("line %d changed", i), changed)
			try(fmt.Sprintf("line %d removed", i), slices.Delete(slices.Clone(lines), i, i+1))
			swapped := slices.Clone(lines)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			try(fmt.Sprintf("lines %d and %d exchanged", i, i+1), swapped)
		}
		try(fmt.Sprintf("line %d twice", i), slices.Insert(slices.Clone(lines), i, lines[i]))
		spaced := slices.Clone(lines)
		spaced[i] = bytes.Replace(lines[i], []byte(`,"time"`), []byte(`, "time"`), 1)
		try(fmt.Sprintf("line %d with a space", i), spaced)
		torn := slices.Clone(lines)
		torn[i] = torn[i][:len(torn[i])-1]
		try(fmt.Sprintf("line %d without an end", i), torn)
	}
	// What a later version requires is no forgery, and cannot be read either.
	later := bytes.Replace(lines[0], []byte(`"schema":"slipway.move/v1"`), []byte(`"schema":"slipway.move/v2"`), 1)
	var s environment.State
	if err := s.Fold(later, nil); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
}

// A thousand random requests have the state that a model of maps has, and so has the log when it is read again.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		fmt.Sscan(s, &seed)
	}
	t.Logf("SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t, "")
	type key struct{ stage, component, version string }
	model := map[key]string{} // content
	withdrawn := map[[2]string]bool{}
	held := map[string]bool{} // component
	frozen := map[string]bool{}
	names := w.r.StageNames()
	moved := 0
	for range 3000 {
		w.now = w.now.Add(time.Duration(rnd.IntN(3)) * time.Second)
		component, content := []string{"gateway", "control"}[rnd.IntN(2)], fmt.Sprint(rnd.IntN(3))
		v := []string{"1.0.0", "1.0.1-rc.1", "1.0.1", "1.0.2-snapshot.1.g0123456789ab"}[rnd.IntN(4)]
		to := rnd.IntN(3)
		stage := names[to]
		may := func(content string) bool {
			there, taken := model[key{stage, component, v}]
			parsed, _ := version.Parse(v)
			return !withdrawn[[2]string{component, v}] && !held[component] && !frozen[stage] && (!taken || stage == "snapshot" || there == content) &&
				(stage != "production" || !parsed.IsSnapshot())
		}
		enter := func(content string) {
			if model[key{stage, component, v}] == content {
				return
			}
			model[key{stage, component, v}] = content
			for _, before := range names[:to] {
				if model[key{before, component, v}] == content {
					delete(model, key{before, component, v})
				}
			}
		}
		var a environment.Answer
		allowed := true
		switch rnd.IntN(8) {
		case 0, 1, 2:
			same := model[key{stage, component, v}] == content
			if allowed = same || may(content); allowed {
				enter(content)
			}
			a = w.add(stage, entry(component, v, content))
		case 3, 4:
			from := -1
			for i := range to {
				if _, ok := model[key{names[i], component, v}]; ok {
					from = i
				}
			}
			if from < 0 {
				continue
			}
			content := model[key{names[from], component, v}]
			same := model[key{stage, component, v}] == content
			if allowed = same || may(content); allowed {
				enter(content)
			}
			a = w.do(environment.Promote, component, v, stage)
		case 5:
			if !slices.ContainsFunc(slices.Collect(maps.Keys(model)), func(k key) bool { return k.component == component && k.version == v }) {
				continue
			}
			kind := environment.Withdraw
			if withdrawn[[2]string{component, v}] {
				kind = environment.Restore
			}
			withdrawn[[2]string{component, v}] = kind == environment.Withdraw
			a = w.do(kind, component, v, "")
		case 6:
			kind := environment.Hold
			if held[component] {
				kind = environment.Release
			}
			held[component] = kind == environment.Hold
			a = w.do(kind, component, "", "")
		case 7:
			kind := environment.Freeze
			if frozen[stage] {
				kind = environment.Thaw
			}
			frozen[stage] = kind == environment.Freeze
			a = w.change(environment.Request{Kind: kind, To: stage, Why: "x"})
		}
		if a.Refused() == allowed {
			t.Fatalf("%s %s to %s: allowed %v, and %+v", component, v, stage, allowed, a)
		}
		if allowed {
			moved++
		}
	}
	check := func(s *environment.State) {
		t.Helper()
		found := map[key]string{}
		for _, stage := range names {
			for _, h := range s.In(stage) {
				for c := range 3 {
					if e := entry(h.Component, h.Version, fmt.Sprint(c)); e.Manifest == h.Manifest {
						found[key{stage, h.Component, h.Version}] = fmt.Sprint(c)
					}
				}
			}
		}
		if !maps.Equal(found, model) {
			t.Errorf("%v\nand the model has\n%v", found, model)
		}
	}
	check(w.s)
	var again, replayed environment.State
	if err := again.Fold(w.log, func(l environment.Line) error { return replayed.Replay(w.r, l) }); err != nil {
		t.Fatal(err)
	}
	w.follows()
	check(&again)
	check(&replayed)
	if moved < 500 {
		t.Errorf("only %d requests were allowed", moved)
	}
}

func TestEntry(t *testing.T) {
	e := entry("gateway", "1.2.3+linux.1", "a")
	e.Images = []environment.Image{{Repository: "ghcr.io/acme/gateway", Distro: "alpine", Default: true, Digest: artifact.Sum(nil)}}
	e.Charts = []environment.Chart{{Repository: "ghcr.io/acme/charts/gateway", Name: "gateway", Version: "1.2.3", Digest: artifact.Sum(nil)}}
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := environment.ParseEntry(b)
	if err != nil || got.Images[0] != e.Images[0] || got.Charts[0] != e.Charts[0] {
		t.Errorf("%+v, %v", got, err)
	}
	if p := environment.Path(e.Component, e.Version); p != "entries/gateway/1.2.3_linux.1.json" {
		t.Error(p)
	}
	for what, c := range map[string][2]string{
		"a key twice":         {`"component"`, `"component": "x", "component"`},
		"a key in other case": {`"commit"`, `"Commit"`},
		"an unknown key":      {`"commit"`, `"x": 1, "commit"`},
		"a terminal's escape": {"alpine", `\u001b[31m`},
		"a mark of direction": {"alpine", "al\u202epine"},
		"no digest":           {"sha256:", "sha256-"},
		"a version with a v":  {`"1.2.3+`, `"v1.2.3+`},
		"a path for a name":   {`"gateway"`, `"a/../b"`},
		"a place on a phone":  {"https://", "tel://"},
	} {
		if _, err := environment.ParseEntry(bytes.Replace(b, []byte(c[0]), []byte(c[1]), 1)); fault.CodeOf(err) != fault.Mismatch {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := environment.ParseEntry(append(b, bytes.Repeat([]byte(" "), environment.MaxEntry)...)); fault.CodeOf(err) != fault.Mismatch {
		t.Error(err)
	}
	if _, err := environment.ParseEntry(bytes.Replace(b, []byte("entry/v1"), []byte("entry/v2"), 1)); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
}

func FuzzParseEntry(f *testing.F) {
	b, err := entry("gateway", "1.2.3", "a").Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := environment.ParseEntry(b)
		if err != nil {
			return
		}
		if again, err := e.Encode(); err == nil && len(e.Unknown) == 0 && e.Minor == 0 && !bytes.Equal(again, b) {
			t.Errorf("%s\nis written as\n%s", b, again)
		}
	})
}

func FuzzFold(f *testing.F) {
	w := newWorld(f, "")
	for i := range 3 {
		w.add("snapshot", entry("gateway", fmt.Sprintf("1.0.%d", i), "a"))
	}
	w.do(environment.Hold, "gateway", "", "")
	f.Add(w.log)
	f.Fuzz(func(t *testing.T, b []byte) {
		var s environment.State
		if err := s.Fold(b, nil); err != nil {
			return
		}
		if s.Count != bytes.Count(b, []byte("\n")) {
			t.Errorf("%d lines are %d", bytes.Count(b, []byte("\n")), s.Count)
		}
		for _, c := range s.Components() {
			s.Current(w.r, "production", c)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	w := newWorld(f, "")
	w.add("snapshot", entry("gateway", "1.0.0", "a"))
	q := environment.Request{Kind: environment.Promote, To: "staging", At: monday, Expires: monday.Add(time.Minute), Items: []environment.Item{{Component: "gateway", Version: "1.0.0"}}}
	b, err := q.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := environment.ParseRequest(b)
		if err != nil {
			return
		}
		s := &environment.State{}
		if err := s.Fold(w.log, nil); err != nil {
			t.Fatal(err)
		}
		a, err := environment.Decide(s, w.r, rulesAt, environment.ID(b), q, monday)
		if err != nil || a.Nothing || a.Refused() {
			return
		}
		if (a.Line.By != environment.Identity{}) {
			a.Line.Signed = &environment.Signed{Request: string(b)}
		}
		line, err := s.Append(a.Line)
		if err != nil {
			return
		}
		var again environment.State
		if err := again.Fold(append(bytes.Clone(w.log), line...), nil); err != nil {
			t.Errorf("%s\nwas written and cannot be read: %v", line, err)
		}
	})
}

func FuzzParseRules(f *testing.F) {
	f.Add(environment.Default)
	f.Add([]byte(strict + components))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := environment.ParseRules("environment.yaml", b); err == nil && len(r.Stages) == 0 {
			t.Error("rules without a stage")
		}
	})
}
