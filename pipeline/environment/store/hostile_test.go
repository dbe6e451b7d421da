package store_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// on commits a change of a branch, as a person would.
func (tm *team) on(branch string, change func(work string)) {
	tm.t.Helper()
	work := filepath.Join(tm.t.TempDir(), "work")
	do(tm.t, ".", "clone", "--quiet", "--branch", branch, tm.remote, work)
	change(work)
	do(tm.t, work, "add", "--all")
	do(tm.t, work, "commit", "--quiet", "--message", "x")
	do(tm.t, work, "push", "--quiet")
}

func (tm *team) rules(change ...string) {
	tm.t.Helper()
	tm.on("main", func(work string) {
		name := filepath.Join(work, environment.RulesFile)
		b, err := os.ReadFile(name)
		must(tm.t, err)
		must(tm.t, os.WriteFile(name, []byte(strings.NewReplacer(change...).Replace(string(b))), 0o644))
	})
}

func (tm *team) left(dir, folder string) int {
	tm.t.Helper()
	list, err := os.ReadDir(filepath.Join(dir, folder))
	must(tm.t, err)
	return len(list)
}

// More wait than go into one commit: whoever asks last is not told that it was done before it is.
func TestMoreThanABatch(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	s := tm.open(dir)
	for i := range 251 {
		tm.wait(dir, add("staging", tm.entry("gateway", fmt.Sprintf("1.0.%d", i), "x")))
	}
	tm.now = tm.now.Add(time.Hour) // which all of them are too late for
	ask(t, s, add("staging", tm.entry("gateway", "2.0.0", "a")), 1)
	if n := tm.left(dir, "outbox"); n != 0 {
		t.Errorf("%d requests wait", n)
	}
}

// What was said to have failed is not done behind anybody's back later.
func TestFailedStaysUndone(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	s := tm.open(dir)
	tm.rules("version: 1", "version: 9")
	if _, err := s.Ask(t.Context(), add("staging", tm.entry("gateway", "1.0.0", "a")), nil); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
	tm.rules("version: 9", "version: 1")
	combine(t, tm.open(dir))
	tm.check("0 0 0")
}

// An answer that nobody comes for is not kept for ever.
func TestUnclaimed(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	s := tm.open(dir)
	for _, age := range []time.Duration{25 * time.Hour, time.Hour} {
		name := filepath.Join(dir, "answers", fmt.Sprintf("%032d", int(age.Hours())))
		must(t, os.WriteFile(name, []byte("{}"), 0o600))
		must(t, os.Chtimes(name, tm.now.Add(-age), tm.now.Add(-age)))
	}
	combine(t, s)
	if n := tm.left(dir, "answers"); n != 1 {
		t.Errorf("%d answers", n)
	}
}

// A request that cannot be done keeps nobody else's from being done.
func TestOneBadRequest(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	s := tm.open(dir)
	ask(t, s, add("snapshot", tm.entry("gateway", "1.0.0", "a")), 1)
	// By hand somebody takes away what the log needs.
	tm.on("log", func(work string) {
		must(t, os.Remove(filepath.Join(work, "environments/snapshot/entries/gateway/1.0.0.json")))
	})
	bad := tm.wait(dir, request(environment.Promote, "gateway", "1.0.0", "staging"))
	ask(t, s, add("staging", tm.entry("gateway", "2.0.0", "b")), 2)
	if b, err := os.ReadFile(filepath.Join(dir, "answers", bad)); err != nil || !strings.Contains(string(b), "no stage has the entry") {
		t.Errorf("%s %v", b, err)
	}
}

// An approval that its writer did not sign keeps everybody from deciding by it, and not those alone who check.
func TestForgedApproval(t *testing.T) {
	tm := newTeam(t)
	s := tm.open(t.TempDir())
	e := tm.entry("gateway", "1.0.0", "a")
	ask(t, s, add("staging", e), 1)
	text := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl") + "\n"
	var state environment.State
	must(t, state.Fold([]byte(text), nil))
	q := request(environment.Approve, "gateway", "1.0.0", "production")
	q.By, q.Items[0].Manifest = e.Signed, e.Manifest
	q.At = tm.clock()
	q.Expires = q.At.Add(time.Minute)
	file, err := q.Encode()
	must(t, err)
	line, err := state.Append(environment.Line{
		Time: q.At, Kind: q.Kind, Request: environment.ID(file), By: q.By, Why: q.Why,
		Moves:  []environment.Move{{Component: "gateway", Version: "1.0.0", Manifest: e.Manifest, To: "production"}},
		Signed: &environment.Signed{Request: string(file), Bundle: "{}"},
	})
	must(t, err)
	tm.forge(text+string(line), 2)
	for _, s := range []*store.Store{s, tm.open(t.TempDir())} {
		if err := s.Read(t.Context(), func(store.View) error { return nil }); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "line 2 of the log") {
			t.Errorf("it is read: %v", err)
		}
	}
}

// A line that somebody writes by hand in a stage with writers is found, also where it names rules from before there were any.
func TestForgedWriter(t *testing.T) {
	tm := newTeam(t)
	s := tm.open(t.TempDir())
	e := tm.entry("gateway", "1.0.0", "a")
	old := do(t, tm.remote, "rev-parse", "main")
	ask(t, s, add("snapshot", e), 1)
	tm.rules("  - name: production", fmt.Sprintf("  - name: production\n    writers: [%q]", e.Signed.Key))
	if r, err := s.Ask(t.Context(), request(environment.Promote, "gateway", "1.0.0", "production"), nil); err != nil || r.Code != fault.Policy {
		t.Error(r, err)
	}
	if r, err := s.Ask(t.Context(), request(environment.Hold, "gateway", "", "production"), tm.key); err != nil || r.Line != 2 {
		t.Error(r, err)
	}
	tm.check("2 1 1")
	text := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl") + "\n"
	for rules, want := range map[string]string{
		do(t, tm.remote, "rev-parse", "main"): "line 3 of the log: the rules refuse it: writers: nobody who signed asks",
		old:                                   "are older than those of the line before",
		strings.Repeat("a", 40):               "branch main never had the rules",
	} {
		var state environment.State
		must(t, state.Fold([]byte(text), nil))
		line, err := state.Append(environment.Line{
			Time: tm.clock(), Kind: environment.Freeze, Request: strings.Repeat("1", 32), Rules: rules, Why: "x",
			Moves: []environment.Move{{To: "production"}},
		})
		must(t, err)
		tm.forge(text+string(line), 2)
		if _, err := tm.open(t.TempDir()).Check(t.Context()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v, and not %s", err, want)
		}
	}
}

// What was signed with a key that the rules no longer have was signed all the same; it signs nothing more.
func TestKeyTakenAway(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	s := tm.open(dir)
	e := tm.entry("gateway", "1.0.0", "a")
	ask(t, s, add("staging", e), 1)
	approve := request(environment.Approve, "gateway", "1.0.0", "production")
	approve.Items[0].Manifest = e.Manifest
	if r, err := s.Ask(t.Context(), approve, tm.key); err != nil || r.Line != 2 {
		t.Fatal(r, err)
	}
	tm.rules("gateway: {key: keys/lead.pub}", "gateway: {identity: 'https://example.com/*'}", "control: {key: keys/lead.pub}", "control: {identity: 'https://example.com/*'}")
	tm.on("main", func(work string) { must(t, os.Remove(filepath.Join(work, "keys/lead.pub"))) })
	tm.check("2 1 1")
	approve.To = "staging"
	for _, s := range []*store.Store{s, tm.open(t.TempDir())} {
		if _, err := s.Ask(t.Context(), approve, tm.key); fault.CodeOf(err) != fault.Credentials {
			t.Error(err)
		}
	}
}

// Rules that change while a store is open, and branches that are not there.
func TestBranchesComeAndGo(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	s := tm.open(dir)
	ask(t, s, add("staging", tm.entry("gateway", "1.0.0", "a")), 1)
	tm.rules("  - name: production", "  - {name: canary}\n  - name: production")
	tm.check("1 1 0")
	ask(t, s, request(environment.Promote, "gateway", "1.0.0", "canary"), 2)
	tm.check("2 2 0")
	tm.rules("  - {name: canary}\n", "")
	tm.check("2 1 0")
	ask(t, s, request(environment.Promote, "gateway", "1.0.0", "production"), 3)
	tm.check("3 1 0")
	log := do(t, tm.remote, "rev-parse", "log")
	do(t, tm.remote, "update-ref", "-d", "refs/heads/log")
	for _, s := range []*store.Store{s, tm.open(dir)} {
		if _, err := s.Check(t.Context()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "the log had 3 lines") {
			t.Error(err)
		}
	}
	do(t, tm.remote, "update-ref", "refs/heads/log", log)
	// In place, and not longer than it was.
	text := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl") + "\n"
	tm.forge(strings.Replace(text, `"why":"a test"`, `"why":"a jest"`, 2), 3)
	if err := s.Read(t.Context(), func(store.View) error { return nil }); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "the log was rewritten: line 3") {
		t.Error(err)
	}
}

// A clock that is behind the log would date a move before what it follows.
func TestClockBehind(t *testing.T) {
	tm := newTeam(t)
	s := tm.open(t.TempDir())
	ask(t, s, add("staging", tm.entry("gateway", "1.0.0", "a")), 1)
	tm.now = tm.now.Add(-time.Hour)
	if _, err := s.Ask(t.Context(), add("staging", tm.entry("gateway", "1.1.0", "a")), nil); fault.CodeOf(err) != fault.Transient || !strings.Contains(fmt.Sprint(err), "set the clock") {
		t.Error(err)
	}
	tm.now = tm.now.Add(time.Hour)
	ask(t, s, add("staging", tm.entry("gateway", "1.1.0", "a")), 2)
}

// Rules that are on main before there is a store are not lost.
func TestInitKeepsRules(t *testing.T) {
	tm := &team{t: t, remote: filepath.Join(t.TempDir(), "store.git"), now: time.Now()}
	do(t, ".", "init", "--quiet", "--bare", "--template=", "--initial-branch=main", tm.remote)
	work := filepath.Join(t.TempDir(), "work")
	do(t, ".", "clone", "--quiet", tm.remote, work)
	rules := []byte("version: 1\nstages: [{name: only}]\n")
	must(t, os.WriteFile(filepath.Join(work, environment.RulesFile), rules, 0o644))
	do(t, work, "add", "--all")
	do(t, work, "commit", "--quiet", "--message", "x")
	do(t, work, "push", "--quiet", "origin", "HEAD:main")
	s := tm.open(t.TempDir())
	if err := s.Init(t.Context(), environment.Default, nil); fault.CodeOf(err) != fault.Conflict {
		t.Error(err)
	}
	must(t, s.Init(t.Context(), rules, nil))
	tm.check("0 0 0")
}

// No message says a password, and nothing is an option or a program for git.
func TestRemote(t *testing.T) {
	for _, remote := range []string{"", "--upload-pack=x", "ext::sh -c x", "git://example.com/x", "http://user:secret@example.com/x", "https://user:sec%ret@example.com/x"} {
		_, err := store.Open(store.Options{Remote: remote, Environ: environ(t), Dir: t.TempDir(), Now: time.Now})
		if fault.CodeOf(err) != fault.Usage || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: %v", remote, err)
		}
	}
	tm := &team{t: t, remote: "https://user:secret@127.0.0.1:1/store.git", now: time.Now()}
	if err := tm.open(t.TempDir()).Read(t.Context(), func(store.View) error { return nil }); fault.CodeOf(err) != fault.Transient || strings.Contains(fmt.Sprint(err), "secret") {
		t.Error(err)
	}
	tm.remote = "file://user:secret@localhost" + filepath.Join(t.TempDir(), "empty.git")
	do(t, ".", "init", "--quiet", "--bare", "--template=", tm.remote[len("file://user:secret@localhost"):])
	if err := tm.open(t.TempDir()).Read(t.Context(), func(store.View) error { return nil }); err == nil || strings.Contains(fmt.Sprint(err), "secret") {
		t.Error(err)
	}
}

// What was signed for one store does not count in another one with the same keys, neither as a request nor in its log.
func TestSignedElsewhere(t *testing.T) {
	one, two := newTeam(t), newTeam(t)
	two.key = one.key
	for _, tm := range []*team{one, two} {
		tm.on("main", func(work string) {
			must(t, os.WriteFile(filepath.Join(work, "keys/both.pub"), one.key.Public().PEM(), 0o644))
		})
	}
	e := one.entry("gateway", "1.0.0", "a")
	approve := request(environment.Approve, "gateway", "1.0.0", "production")
	approve.Items[0].Manifest = e.Manifest
	dirs := []string{t.TempDir(), t.TempDir()}
	for i, tm := range []*team{one, two} {
		tm.rules("keys/lead.pub", "keys/both.pub")
		ask(t, tm.open(dirs[i]), add("staging", e), 1)
	}
	if r, err := one.open(dirs[0]).Ask(t.Context(), approve, one.key); err != nil || r.Line != 2 {
		t.Fatal(r, err)
	}
	// The request, as it stands in the log of the one, is put before the other.
	var signed environment.Signed
	must(t, one.open(dirs[0]).Read(t.Context(), func(v store.View) error {
		if len(v.Store) != 32 {
			t.Errorf("the store is %q", v.Store)
		}
		return nil
	}))
	text := do(t, one.remote, "cat-file", "blob", "log:log/000000.jsonl") + "\n"
	must(t, new(environment.State).Fold([]byte(text), func(l environment.Line) error {
		if l.Signed != nil {
			signed = *l.Signed
		}
		return nil
	}))
	b, err := canonjson.Encode(map[string]string{"request": signed.Request, "bundle": signed.Bundle})
	must(t, err)
	id := environment.ID([]byte(signed.Request))
	must(t, os.WriteFile(filepath.Join(dirs[1], "outbox", id), b, 0o600))
	combine(t, two.open(dirs[1]))
	if b, err := os.ReadFile(filepath.Join(dirs[1], "answers", id)); err != nil || !strings.Contains(string(b), "it was signed for the store ") || !strings.Contains(string(b), `"code":5,`) {
		t.Errorf("%s, %v", b, err)
	}
	two.check("1 1 0")
	// In a line that somebody pushes.
	theirs := do(t, two.remote, "cat-file", "blob", "log:log/000000.jsonl") + "\n"
	var state environment.State
	must(t, state.Fold([]byte(theirs), nil))
	q, err := environment.ParseRequest([]byte(signed.Request))
	must(t, err)
	line, err := state.Append(environment.Line{Time: q.At, Kind: q.Kind, Request: id, By: q.By, Why: q.Why, Signed: &signed, Moves: []environment.Move{{Component: "gateway", Version: "1.0.0", Manifest: e.Manifest, To: "production"}}})
	must(t, err)
	two.forge(theirs+string(line), 2)
	for _, dir := range []string{dirs[1], t.TempDir()} {
		if err := two.open(dir).Read(t.Context(), func(store.View) error { return nil }); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "line 2 of the log: it was signed for the store ") {
			t.Error(err)
		}
	}
}

// A store keeps its id, or goes without one for ever. Who has seen it notices another one.
func TestStoreID(t *testing.T) {
	for was, now := range map[string]string{"": strings.Repeat("1", 32), strings.Repeat("1", 32): "", strings.Repeat("2", 32): strings.Repeat("1", 32)} {
		tm := newTeam(t)
		dir := t.TempDir()
		set := func(id string) {
			tm.on("log", func(work string) {
				text := `{"count":0}`
				if id != "" {
					text = `{"count":0,"store":"` + id + `"}`
				}
				must(t, os.WriteFile(filepath.Join(work, "head.json"), []byte(text), 0o644))
			})
		}
		set(was)
		e := tm.entry("gateway", "1.0.0", "a")
		ask(t, tm.open(dir), add("staging", e), 1)
		approve := request(environment.Approve, "gateway", "1.0.0", "production")
		approve.Items[0].Manifest = e.Manifest
		if r, err := tm.open(dir).Ask(t.Context(), approve, tm.key); err != nil || r.Line != 2 {
			t.Fatal(r, err)
		}
		tm.check("2 1 1")
		set(now)
		if err := tm.open(dir).Read(t.Context(), func(store.View) error { return nil }); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "head.json of branch log: this is store ") {
			t.Errorf("from %q to %q: %v", was, now, err)
		}
		if err := tm.open(t.TempDir()).Read(t.Context(), func(store.View) error { return nil }); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "line 2 of the log: it was signed for the store ") {
			t.Errorf("from %q to %q, for the first time: %v", was, now, err)
		}
	}
	tm := newTeam(t)
	tm.on("log", func(work string) {
		must(t, os.WriteFile(filepath.Join(work, "head.json"), []byte(`{"count":0,"store":"../x"}`), 0o644))
	})
	if err := tm.open(t.TempDir()).Read(t.Context(), func(store.View) error { return nil }); fault.CodeOf(err) != fault.Mismatch {
		t.Error(err)
	}
}

// An entry that was changed by hand is not taken for the one that the log says.
func TestEntryChanged(t *testing.T) {
	tm := newTeam(t)
	s := tm.open(t.TempDir())
	ask(t, s, add("staging", tm.entry("gateway", "1.0.0", "a")), 1)
	entry := func() (e environment.Entry, err error) {
		must(t, s.Read(t.Context(), func(store.View) error {
			e, err = s.Entry(t.Context(), "staging", "gateway", "1.0.0")
			return nil
		}))
		return e, err
	}
	if e, err := entry(); err != nil || e.Manifest != tm.entry("gateway", "1.0.0", "a").Manifest {
		t.Errorf("%+v, %v", e, err)
	}
	other, err := tm.entry("gateway", "1.0.0", "b").Encode()
	must(t, err)
	tm.on("log", func(work string) {
		must(t, os.WriteFile(filepath.Join(work, "environments", "staging", "entries", "gateway", "1.0.0.json"), other, 0o600))
	})
	if e, err := entry(); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "is not the entry of line 1: run slipway store check") {
		t.Errorf("%+v, %v", e, err)
	}
}

// A line that is dated ahead stops nobody for ever: it counts for nobody before its time, is named, and is taken off. Nothing else is.
func TestLineAhead(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	s := tm.open(dir)
	ask(t, s, add("snapshot", tm.entry("gateway", "1.0.0", "a")), 1)
	wrong := t.TempDir()
	by := 100 * time.Hour
	broken := func(dir string) *store.Store {
		s, err := store.Open(store.Options{Remote: tm.remote, Environ: environ(t), Dir: dir, Now: func() time.Time { return tm.clock().Add(by) }})
		must(t, err)
		return s
	}
	running := broken(wrong)
	ask(t, running, request(environment.Promote, "gateway", "1.0.0", "staging"), 2)
	ask(t, broken(t.TempDir()), add("staging", tm.entry("control", "1.0.0", "a")), 3)
	by = 0
	// All see it, also whoever has a folder from when the clock was wrong.
	for _, s := range []*store.Store{s, tm.open(t.TempDir()), tm.open(wrong), running} {
		_, askErr := s.Ask(t.Context(), add("staging", tm.entry("gateway", "1.1.0", "a")), nil)
		_, checkErr := s.Check(t.Context())
		for _, err := range []error{askErr, checkErr} {
			if fault.CodeOf(err) != fault.Transient || !strings.Contains(fmt.Sprint(err), "line 2 of the log (promote gateway 1.0.0: snapshot -> staging, by nobody who signed) is of 2026-03-06") || !strings.Contains(err.Error(), "slipway store repair --from-line 2 ") {
				t.Error(err)
			}
		}
	}
	for line, code := range map[int]fault.Code{1: fault.Policy, 3: fault.Transient, 4: fault.Transient, 0: fault.Usage, -1: fault.Usage} {
		if _, err := s.TakeOff(t.Context(), line); fault.CodeOf(err) != code {
			t.Errorf("from line %d: %v", line, err)
		}
	}
	off, err := s.TakeOff(t.Context(), 2)
	if err != nil || len(off) != 2 || off[1].Moves[0].Component != "control" {
		t.Fatalf("%+v, %v", off, err)
	}
	if _, err := s.TakeOff(t.Context(), 2); fault.CodeOf(err) != fault.Usage {
		t.Errorf("again: %v", err)
	}
	_, err = s.Repair(t.Context())
	must(t, err)
	tm.check("1 1 0")
	if got := tm.files("staging") + tm.files("snapshot"); got != "entries/gateway/1.0.0.json" {
		t.Errorf("the branches have %s", got)
	}
	ask(t, s, request(environment.Promote, "gateway", "1.0.0", "staging"), 2)
	// Whose clock was ahead has seen what there is no more.
	err = tm.open(wrong).Read(t.Context(), func(store.View) error { return nil })
	if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "if it was taken off since this clock was ahead, remove "+filepath.Join(wrong, "seen.json")) {
		t.Error(err)
	}
	must(t, os.Remove(filepath.Join(wrong, "seen.json")))
	ask(t, tm.open(wrong), add("staging", tm.entry("control", "1.0.0", "a")), 3)
	tm.check("3 2 0")
}

// Whoever has a key that was taken out of keys/, and may push, agrees to nothing any more by naming the rules of before: every command sees it.
func TestRevokedApprover(t *testing.T) {
	tm := newTeam(t)
	stolen, err := sign.Generate(sign.Ed25519)
	must(t, err)
	tm.on("main", func(work string) {
		must(t, os.WriteFile(filepath.Join(work, "keys/stolen.pub"), stolen.Public().PEM(), 0o644))
	})
	old := do(t, tm.remote, "rev-parse", "main")
	seen, e := tm.open(t.TempDir()), tm.entry("gateway", "1.0.0", "a")
	ask(t, seen, add("staging", e), 1)
	tm.on("main", func(work string) { must(t, os.Remove(filepath.Join(work, "keys/stolen.pub"))) })
	ask(t, seen, add("staging", tm.entry("gateway", "1.1.0", "a")), 2)
	text := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl") + "\n"
	var state environment.State
	must(t, state.Fold([]byte(text), nil))
	q := request(environment.Approve, "gateway", "1.0.0", "production")
	q.By, q.Items[0].Manifest, q.At = environment.Identity{Key: string(stolen.Public().Fingerprint())}, e.Manifest, tm.clock()
	q.Expires = q.At.Add(time.Minute)
	must(t, seen.Read(t.Context(), func(v store.View) error { q.Store = v.Store; return nil }))
	file, err := q.Encode()
	must(t, err)
	bundle, err := signature.SignBlob(stolen, file)
	must(t, err)
	b, err := bundle.Encode()
	must(t, err)
	line, err := state.Append(environment.Line{
		Time: q.At, Kind: q.Kind, Request: environment.ID(file), By: q.By, Why: q.Why, Rules: old,
		Moves:  []environment.Move{{Component: "gateway", Version: "1.0.0", Manifest: e.Manifest, To: "production"}},
		Signed: &environment.Signed{Request: string(file), Bundle: string(b)},
	})
	must(t, err)
	tm.forge(text+string(line), 3)
	for _, s := range []*store.Store{seen, tm.open(t.TempDir())} {
		if err := s.Read(t.Context(), func(store.View) error { return nil }); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "line 3 of the log: its rules "+old+" are older than those of the line before") {
			t.Errorf("it is read: %v", err)
		}
	}
}

// What git does not do with a repository is said by what is wrong with that.
func TestOddRemote(t *testing.T) {
	tm := newTeam(t)
	shallow := filepath.Join(t.TempDir(), "shallow.git")
	tm.rules("version: 1", "version: 1 # as before")
	do(t, ".", "clone", "--quiet", "--bare", "--depth=1", "--no-single-branch", "file://"+tm.remote, shallow)
	remote := tm.remote
	tm.remote = shallow
	if err := tm.open(t.TempDir()).Read(t.Context(), func(store.View) error { return nil }); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "git fetch --unshallow") {
		t.Error(err)
	}
	tm.remote = remote
	do(t, tm.remote, "update-ref", "refs/tags/refs/heads/log", "main")
	if _, err := tm.open(t.TempDir()).Ask(t.Context(), add("staging", tm.entry("gateway", "1.0.0", "a")), nil); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "refs/tags/refs/heads/NAME") {
		t.Error(err)
	}
}

// Taking a line off that is dated ahead has nobody forget how far the log went: somebody may have rewritten it, and dated a line ahead to have that
// done.
func TestTakeOffRewritten(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	s := tm.open(dir)
	ask(t, s, add("snapshot", tm.entry("gateway", "1.0.0", "a")), 1)
	one := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl") + "\n"
	ask(t, s, add("snapshot", tm.entry("gateway", "1.1.0", "a")), 2)
	two := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl") + "\n"
	seen, err := os.ReadFile(filepath.Join(dir, "seen.json"))
	must(t, err)
	for name, tt := range map[string]struct {
		text string
		code fault.Code
	}{"rewritten": {one, fault.Mismatch}, "as it was": {two, fault.OK}} {
		var state environment.State
		must(t, state.Fold([]byte(tt.text), nil))
		for n, at := range []time.Time{tm.now, tm.now.AddDate(1, 0, 0)} {
			line, err := state.Append(environment.Line{Time: at, Kind: environment.Freeze, Request: strings.Repeat(fmt.Sprint(n+1), 32), Why: "x", Moves: []environment.Move{{To: "snapshot"}}})
			must(t, err)
			tt.text += string(line)
		}
		tm.forge(tt.text, 0)
		if _, err := tm.open(dir).TakeOff(t.Context(), state.Count); fault.CodeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), "the log was rewritten: line 2 was ") {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(filepath.Join(dir, "seen.json")); err != nil || (string(now) == string(seen)) != (tt.code == fault.Mismatch) {
			t.Errorf("%s: %s, %v", name, now, err)
		}
		must(t, os.WriteFile(filepath.Join(dir, "seen.json"), seen, 0o600))
	}
}

// A machine whose clock is behind takes no good line off: the store's server says what time it is.
func TestTakeOffBehind(t *testing.T) {
	tm := newTeams(t)
	url := tm.serve(func(repo *gittest.Repo) http.HandlerFunc { return repo.ServeHTTP })
	open := func(by time.Duration) *store.Store {
		s, err := store.Open(store.Options{Remote: url, Environ: environ(t), Dir: t.TempDir(), Now: func() time.Time { return time.Now().Add(by) }})
		must(t, err)
		return s
	}
	ask(t, open(0), add("staging", tm.entry("gateway", "1.0.0", "a")), 1)
	off, err := open(-time.Hour).TakeOff(t.Context(), 1)
	if fault.CodeOf(err) != fault.Transient || !strings.Contains(fmt.Sprint(err), "that of the store's server ") {
		t.Errorf("%v, %v", off, err)
	}
	tm.now = time.Now()
	tm.check("1 1 0")
}

// What a thief can do with the key of a release job that may push: what that job could, until the key is taken out of keys/. No other
// component, no other environment, and nobody's agreement.
func TestStolenWriter(t *testing.T) {
	tm := newTeam(t)
	stolen, err := sign.Generate(sign.Ed25519)
	must(t, err)
	tm.on("main", func(work string) {
		must(t, os.WriteFile(filepath.Join(work, "keys/gateway.pub"), stolen.Public().PEM(), 0o644))
	})
	lead, job := string(tm.key.Public().Fingerprint()), string(stolen.Public().Fingerprint())
	tm.rules("  gateway: {key: keys/lead.pub}", "  gateway: {key: keys/gateway.pub}",
		"  - name: snapshot", fmt.Sprintf("  - name: snapshot\n    writers: [%q, %q]", lead, job),
		"  - name: staging", fmt.Sprintf("  - name: staging\n    writers: [%q]", lead),
		"  - name: production", fmt.Sprintf("  - name: production\n    writers: [%q]\n    approvals: {count: 1, of: [%q, sha256:other]}", lead, lead))
	of := func(component, v, content string, key sign.Key) environment.Entry {
		e := tm.entry(component, v, content)
		e.Signed.Key = string(key.Public().Fingerprint())
		return e
	}
	s := tm.open(t.TempDir())
	gateway, control := of("gateway", "1.0.0", "a", stolen), of("control", "1.0.0", "a", tm.key)
	for i, q := range []environment.Request{add("staging", gateway), add("snapshot", control)} {
		if r, err := s.Ask(t.Context(), q, tm.key); err != nil || r.Line != i+1 {
			t.Fatal(r, err)
		}
	}
	approve := request(environment.Approve, "gateway", "1.0.0", "production")
	approve.Items[0].Manifest = gateway.Manifest
	freeze := environment.Request{Kind: environment.Freeze, To: "production", Why: "x"}
	bare := request(environment.Promote, "gateway", "1.0.0", "production")
	for _, c := range []struct {
		what   string
		q      environment.Request
		signer signature.Signer
		want   string // rule, "" for what it can do
	}{
		{"another version of its own component", add("snapshot", of("gateway", "1.1.0", "evil", stolen)), stolen, ""},
		{"and to have it forgotten", request(environment.Withdraw, "gateway", "1.1.0", ""), stolen, ""},
		{"other bytes for what somebody else released", add("snapshot", of("control", "1.0.0", "evil", stolen)), stolen, "signed"},
		{"the next environment", add("staging", of("gateway", "1.2.0", "evil", stolen)), stolen, "writers"},
		{"to promote", request(environment.Promote, "gateway", "1.0.0", "production"), stolen, "writers"},
		{"to promote without a signature", bare, nil, "writers"},
		{"to agree in its own name", approve, stolen, ""},
		{"and have that count", bare, tm.key, "approvals"},
		{"to stop production", freeze, stolen, "writers"},
		{"to stop a component everywhere", request(environment.Hold, "control", "", ""), stolen, "writers"},
		{"to go back", request(environment.Rollback, "gateway", "1.0.0", "staging"), stolen, "writers"},
	} {
		r, err := s.Ask(t.Context(), c.q, c.signer)
		if err != nil || r.Refused() != (c.want != "") || c.want != "" && !slices.ContainsFunc(r.Outcomes, func(o environment.Outcome) bool { return !o.OK && o.Rule == c.want }) {
			t.Errorf("%s: %+v, %v", c.what, r, err)
		}
	}
	tm.check("5 3 5")
	// A line by hand, with that very signature, is no other than a request.
	text := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl") + "\n"
	var state environment.State
	must(t, state.Fold([]byte(text), nil))
	must(t, s.Read(t.Context(), func(v store.View) error { bare.Store = v.Store; return nil }))
	bare.By, bare.At = environment.Identity{Key: job}, tm.clock()
	bare.Expires = bare.At.Add(time.Minute)
	file, err := bare.Encode()
	must(t, err)
	bundle, err := signature.SignBlob(stolen, file)
	must(t, err)
	b, err := bundle.Encode()
	must(t, err)
	h, _ := state.Held("staging", "gateway", "1.0.0")
	line, err := state.Append(environment.Line{
		Time: bare.At, Kind: bare.Kind, Request: environment.ID(file), By: bare.By, Why: bare.Why, Rules: do(t, tm.remote, "rev-parse", "main"),
		Moves:  []environment.Move{{Component: "gateway", Version: "1.0.0", From: "staging", To: "production", Commit: h.Commit, Manifest: h.Manifest, Entry: h.Entry, Left: []string{"staging"}}},
		Signed: &environment.Signed{Request: string(file), Bundle: string(b)},
	})
	must(t, err)
	good := do(t, tm.remote, "rev-parse", "log")
	tm.forge(text+string(line), 6)
	if _, err := tm.open(t.TempDir()).Check(t.Context()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "line 6 of the log: the rules refuse it: writers") {
		t.Error(err)
	}
	do(t, tm.remote, "update-ref", "refs/heads/log", good)
	// And with the key gone it is nobody's.
	tm.rules("keys/gateway.pub", "keys/lead.pub")
	tm.on("main", func(work string) { must(t, os.Remove(filepath.Join(work, "keys/gateway.pub"))) })
	if _, err := s.Ask(t.Context(), add("snapshot", of("gateway", "1.3.0", "evil", stolen)), stolen); fault.CodeOf(err) != fault.Credentials {
		t.Error(err)
	}
	if r, err := s.Ask(t.Context(), add("snapshot", of("gateway", "1.3.0", "evil", stolen)), tm.key); err != nil || rule(r.Outcomes, "signed").OK {
		t.Errorf("%+v, %v", r, err)
	}
	tm.check("5 3 5")
}

// Whose clock is ahead of that of the store's server writes nothing, where the server says what time it is.
func TestClockAhead(t *testing.T) {
	fixture.SkipRace(t)
	repo := gittest.New(t)
	server := httptest.NewServer(repo)
	t.Cleanup(server.Close)
	remote := strings.Replace(server.URL, "http://", "http://writer:"+gittest.Token+"@", 1) + "/repo.git"
	by := time.Duration(0)
	s, err := store.Open(store.Options{Remote: remote, Environ: environ(t), Dir: t.TempDir(), Now: func() time.Time { return time.Now().Add(by) }})
	must(t, err)
	must(t, s.Init(t.Context(), environment.Default, nil))
	freeze := environment.Request{Kind: environment.Freeze, To: "staging", Why: "x"}
	for i, shift := range []time.Duration{-time.Hour, 0, time.Minute, time.Hour} {
		by = shift
		r, err := s.Ask(t.Context(), freeze, nil)
		if shift < time.Hour {
			if err != nil || r.Line != i+1 {
				t.Errorf("by %s: %+v, %v", shift, r, err)
			}
		} else if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "that of the store's server ") {
			t.Errorf("by %s: %+v, %v", shift, r, err)
		}
	}
}
