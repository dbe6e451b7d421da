package store_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// team is a store with a bare repository, a clock and the key of a lead.
type team struct {
	t      testing.TB
	remote string
	now    time.Time
	mu     sync.Mutex
	key    sign.Key
}

// git as a person runs it.
var environ, do = gittest.Environ, gittest.Git

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newTeam is a team of one goroutine.
func newTeam(t *testing.T) *team {
	t.Helper()
	fixture.SkipRace(t)
	return newTeams(t)
}

// newTeams is a team that may write from several goroutines.
func newTeams(t testing.TB) *team {
	t.Helper()
	tm := &team{t: t, remote: filepath.Join(t.TempDir(), "store.git"), now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)}
	do(t, ".", "init", "--quiet", "--bare", "--template=", tm.remote)
	var err error
	tm.key, err = sign.Generate(sign.Ed25519)
	must(t, err)
	rules := strings.Replace(string(environment.Default), byPull, "", 1) + "\ncomponents:\n  gateway: {key: keys/lead.pub}\n  control: {key: keys/lead.pub}\n"
	must(t, tm.open(t.TempDir()).Init(t.Context(), []byte(rules), map[string][]byte{"lead.pub": tm.key.Public().PEM()}))
	return tm
}

func (tm *team) clock() time.Time {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	tm.now = tm.now.Add(time.Second)
	return tm.now
}

// open is the store from a folder of its own.
func (tm *team) open(dir string) *store.Store {
	tm.t.Helper()
	s, err := store.Open(store.Options{Remote: tm.remote, Environ: environ(tm.t), Dir: dir, Now: tm.clock})
	must(tm.t, err)
	return s
}

func (tm *team) entry(component, v, content string) environment.Entry {
	return environment.Entry{
		Component: component, Version: v, Commit: artifact.Sum([]byte(content)).Hex()[:40], Manifest: artifact.Sum([]byte("manifest " + content)),
		Signed: environment.Identity{Key: string(tm.key.Public().Fingerprint())}, Places: []string{"https://releases.example.com/" + component + "/" + v + "/"},
	}
}

func add(to string, e environment.Entry) environment.Request {
	return environment.Request{Kind: environment.Add, To: to, Items: []environment.Item{{Component: e.Component, Version: e.Version}}, Entries: []environment.Entry{e}}
}

func request(kind environment.Kind, component, v, to string) environment.Request {
	return environment.Request{Kind: kind, To: to, Why: "a test", Items: []environment.Item{{Component: component, Version: v}}}
}

// ask asks and wants the line that comes of it.
func ask(t testing.TB, s *store.Store, q environment.Request, line int) store.Result {
	t.Helper()
	r, err := s.Ask(t.Context(), q, nil)
	if err != nil || r.Line != line {
		t.Fatalf("line %d and not %d: %+v, %v", r.Line, line, r.Outcomes, err)
	}
	return r
}

func combine(t testing.TB, s *store.Store) {
	t.Helper()
	_, err := s.Combine(t.Context())
	must(t, err)
}

// files are the entries of a branch.
func (tm *team) files(on string) string {
	tm.t.Helper()
	return strings.Join(strings.Fields(do(tm.t, tm.remote, "ls-tree", "-r", "--name-only", on)), " ")
}

func (tm *team) check(want string) {
	tm.t.Helper()
	n, err := tm.open(tm.t.TempDir()).Check(tm.t.Context())
	if got := fmt.Sprint(n.Lines, n.Entries, n.Signatures); err != nil || got != want {
		tm.t.Errorf("%s and not %s: %v", got, want, err)
	}
}

func TestStore(t *testing.T) {
	tm := newTeam(t)
	one, other := tm.open(t.TempDir()), tm.open(t.TempDir())
	tm.check("0 0 0")
	ask(t, one, add("snapshot", tm.entry("gateway", "1.0.0", "a")), 1)
	ask(t, other, request(environment.Promote, "gateway", "1.0.0", "staging"), 2)
	if got := tm.files("staging"); got != "entries/gateway/1.0.0.json" || tm.files("snapshot") != "" {
		t.Errorf("staging has %s, and snapshot %s", got, tm.files("snapshot"))
	}
	ask(t, one, request(environment.Promote, "gateway", "1.0.0", "production"), 3)
	// git sees a rename, so the history of an entry is that of its moves.
	if got := tm.files("log"); got != "environments/production/entries/gateway/1.0.0.json head.json log/000000.jsonl" {
		t.Error(got)
	}
	if n := do(t, tm.remote, "log", "--format=%s", "--follow", "log", "--", "environments/production/entries/gateway/1.0.0.json"); n !=
		"promote gateway 1.0.0: staging -> production\npromote gateway 1.0.0: snapshot -> staging\nadd gateway 1.0.0: outside -> snapshot" {
		t.Error(n)
	}
	// What is refused moves nothing.
	before := do(t, tm.remote, "for-each-ref")
	r, err := other.Ask(t.Context(), add("production", tm.entry("gateway", "1.0.0", "b")), nil)
	if err != nil || r.Code != fault.Conflict || do(t, tm.remote, "for-each-ref") != before {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := other.Ask(t.Context(), add("production", tm.entry("gateway", "1.0.0", "a")), nil); err != nil || !r.Nothing || do(t, tm.remote, "for-each-ref") != before {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := other.Ask(t.Context(), request(environment.Promote, "gateway", "9.0.0", "production"), nil); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
	must(t, one.Read(t.Context(), func(v store.View) error {
		e, err := one.Entry(t.Context(), "production", "gateway", "1.0.0")
		if err != nil || e.Manifest != tm.entry("gateway", "1.0.0", "a").Manifest {
			t.Errorf("%+v, %v", e, err)
		}
		if now, _, ok := v.State.Current(v.Rules, "staging", "gateway"); !ok || now.Version != "1.0.0" || now.Stage != "production" {
			t.Errorf("%+v", now)
		}
		return nil
	}))
	// What a stage keeps no longer leaves in the same commit.
	dir := t.TempDir()
	many := tm.open(dir)
	for i := range 22 {
		tm.wait(dir, add("snapshot", tm.entry("control", fmt.Sprintf("1.0.0-snapshot.%d.g0123456789ab", i+1), "x")))
	}
	combine(t, many)
	if n := len(strings.Fields(tm.files("snapshot"))); n != 20 {
		t.Errorf("snapshot has %d entries", n)
	}
	tm.check("26 21 0")
	if err := tm.open(t.TempDir()).Init(t.Context(), environment.Default, nil); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("made again: %v", err)
	}
}

// Hundreds of lines go into files of 256, and what is new is read behind what is known.
func TestLong(t *testing.T) {
	tm := newTeam(t)
	one, other := tm.open(t.TempDir()), tm.open(t.TempDir())
	for batch := range 3 {
		dir := t.TempDir()
		s := tm.open(dir)
		for i := range 150 {
			e := tm.entry("gateway", fmt.Sprintf("1.%d.%d", batch, i), "x")
			tm.wait(dir, add("staging", e))
		}
		combine(t, s)
		must(t, other.Read(t.Context(), func(v store.View) error {
			if v.State.Count != 150*(batch+1) {
				t.Errorf("%d lines", v.State.Count)
			}
			return nil
		}))
	}
	ask(t, other, request(environment.Hold, "gateway", "", ""), 451)
	ask(t, one, request(environment.Release, "gateway", "", ""), 452)
	tm.check("452 450 0")
	if got := tm.files("log"); !strings.HasSuffix(got, "log/000000.jsonl log/000001.jsonl") {
		t.Error(got[len(got)-100:])
	}
	if n := len(strings.Fields(do(t, tm.remote, "log", "--format=%h", "log"))); n != 6 {
		t.Errorf("%d commits", n)
	}
	// Lines that are taken off may be a file and more.
	before, now := do(t, tm.remote, "rev-parse", "log^{tree}"), tm.now
	tm.now = tm.now.Add(time.Hour)
	dir := t.TempDir()
	late := tm.open(dir)
	for i := range 70 {
		tm.wait(dir, add("staging", tm.entry("control", fmt.Sprintf("2.0.%d", i), "x")))
	}
	combine(t, late)
	tm.now = now
	off, err := one.TakeOff(t.Context(), 453)
	if err != nil || len(off) != 70 || do(t, tm.remote, "rev-parse", "log^{tree}") != before {
		t.Errorf("%d lines, %v", len(off), err)
	}
}

// wait writes a request down as somebody who has not got the lock yet.
func (tm *team) wait(dir string, q environment.Request) string {
	tm.t.Helper()
	q.At = tm.clock()
	q.Expires, q.Nonce = q.At.Add(10*time.Minute), rand.Text()
	file, err := q.Encode()
	must(tm.t, err)
	id := environment.ID(file)
	must(tm.t, os.WriteFile(filepath.Join(dir, "outbox", id), fmt.Appendf(nil, `{"request":%q}`, file), 0o600))
	return id
}

// Many move at once, some from folders of their own and some from a shared one: each move is in one line, and the state is
// that of the log.
func TestManyWriters(t *testing.T) {
	tm := newTeams(t)
	writers, moves := 4, 2
	if fixture.Full {
		writers, moves = 8, 4
	}
	shared := t.TempDir()
	var wg sync.WaitGroup
	lines := make([][]int, writers)
	for w := range writers {
		dir := shared
		if w%2 == 0 {
			dir = t.TempDir()
		}
		s := tm.open(dir)
		wg.Go(func() {
			for i := range moves {
				r, err := s.Ask(context.WithoutCancel(t.Context()), add("staging", tm.entry("gateway", fmt.Sprintf("1.%d.%d", w, i), "x")), nil)
				if err != nil || r.Line == 0 {
					t.Error(r, err)
				}
				lines[w] = append(lines[w], r.Line)
			}
		})
	}
	wg.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(lines...)))
	for i, n := range all {
		if n != i+1 {
			t.Fatalf("lines %v", all)
		}
	}
	tm.check(fmt.Sprint(writers*moves, writers*moves, 0))
	if merges := do(t, tm.remote, "log", "--merges", "--format=%h", "log"); merges != "" {
		t.Errorf("the history is not a line: %s", merges)
	}
	for _, folder := range []string{"outbox", "answers"} {
		if left, err := os.ReadDir(filepath.Join(shared, folder)); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v", folder, left, err)
		}
	}
}

// A request whose answer was lost is done once: whoever comes next finds it in the log.
func TestAnswerLost(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	s := tm.open(dir)
	id := tm.wait(dir, add("staging", tm.entry("gateway", "1.0.0", "a")))
	kept, err := os.ReadFile(filepath.Join(dir, "outbox", id))
	must(t, err)
	combine(t, s)
	must(t, os.Remove(filepath.Join(dir, "answers", id)))
	must(t, os.WriteFile(filepath.Join(dir, "outbox", id), kept, 0o600)) // killed before it was taken away
	combine(t, tm.open(dir))
	tm.check("1 1 0")
	if b, err := os.ReadFile(filepath.Join(dir, "answers", id)); err != nil || !strings.Contains(string(b), `"line":1,`) {
		t.Errorf("%s, %v", b, err)
	}
	// One that nobody did in time is not done any more.
	id = tm.wait(dir, add("staging", tm.entry("gateway", "2.0.0", "a")))
	tm.mu.Lock()
	tm.now = tm.now.Add(time.Hour)
	tm.mu.Unlock()
	combine(t, s)
	tm.check("1 1 0")
	if b, err := os.ReadFile(filepath.Join(dir, "answers", id)); err != nil || !strings.Contains(string(b), `"code":9`) {
		t.Errorf("%s, %v", b, err)
	}
	// What is not a request is taken away, and holds nobody up.
	must(t, os.WriteFile(filepath.Join(dir, "outbox", "junk"), []byte("{"), 0o600))
	ask(t, s, add("staging", tm.entry("gateway", "3.0.0", "a")), 2)
}

// Who signs is held to the signature, by whoever moves it and by whoever checks the log later.
func TestSigned(t *testing.T) {
	tm := newTeam(t)
	s := tm.open(t.TempDir())
	e := tm.entry("gateway", "1.0.0", "a")
	ask(t, s, add("staging", e), 1)
	approve := request(environment.Approve, "gateway", "1.0.0", "production")
	approve.Items[0].Manifest = e.Manifest
	r, err := s.Ask(t.Context(), approve, tm.key)
	if err != nil || r.Line != 2 {
		t.Fatal(r, err)
	}
	tm.check("2 1 1")
	stranger, err := sign.Generate(sign.Ed25519)
	must(t, err)
	if _, err := s.Ask(t.Context(), approve, stranger); fault.CodeOf(err) != fault.Credentials || !strings.Contains(err.Error(), "the store does not know the key") {
		t.Errorf("a key that is not there: %v", err)
	}
	// Somebody who may push writes a line in the name of the lead.
	text := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl") + "\n"
	tm.forge(strings.Replace(text, `"to":"production"`, `"to":"staging"`, 1), 2)
	if _, err := tm.open(t.TempDir()).Check(t.Context()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "is not what was signed") {
		t.Errorf("another stage than was signed: %v", err)
	}
	tm.forge(strings.Replace(text, `\"to\":\"production\"`, `\"to\":\"staging\"`, 1), 2)
	if _, err := tm.open(t.TempDir()).Check(t.Context()); fault.CodeOf(err) != fault.Mismatch {
		t.Errorf("another request under the same signature: %v", err)
	}
}

// forge puts a log into the place of the one that is there, as if it had always been so.
func (tm *team) forge(text string, _ int) {
	tm.t.Helper()
	work := filepath.Join(tm.t.TempDir(), "work")
	do(tm.t, ".", "clone", "--quiet", "--branch", "log", tm.remote, work)
	must(tm.t, os.WriteFile(filepath.Join(work, "log", "000000.jsonl"), []byte(text), 0o644))
	do(tm.t, work, "add", "--all")
	do(tm.t, work, "commit", "--quiet", "--message", "x")
	do(tm.t, work, "push", "--quiet", "--force")
}

// Every way in which a branch can be other than the log says is found, and named.
func TestDamage(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	s := tm.open(dir)
	ask(t, s, add("staging", tm.entry("gateway", "1.0.0", "a")), 1)
	ask(t, s, add("staging", tm.entry("gateway", "1.1.0", "b")), 2)
	good := map[string]string{}
	for line := range strings.Lines(do(t, tm.remote, "for-each-ref", "--format=%(refname) %(objectname)")) {
		ref, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		good[ref] = id
	}
	for what, c := range map[string]struct {
		on     string
		change func(work string)
		want   string
	}{
		"an entry more on a stage": {"staging", func(work string) {
			must(t, os.WriteFile(filepath.Join(work, "entries/gateway/9.0.0.json"), []byte("{}"), 0o644))
		}, "branch staging: entries/gateway/9.0.0.json is there, and no line of the log put it there"},
		"an entry less": {"staging", func(work string) { must(t, os.Remove(filepath.Join(work, "entries/gateway/1.0.0.json"))) }, "branch staging: entries/gateway/1.0.0.json is gone"},
		"an entry changed": {"log", func(work string) {
			must(t, os.WriteFile(filepath.Join(work, "environments/staging/entries/gateway/1.0.0.json"), []byte("{}"), 0o644))
		}, "branch log: environments/staging/entries/gateway/1.0.0.json has other bytes"},
		"a link": {"staging", func(work string) { must(t, os.Symlink("/etc/passwd", filepath.Join(work, "entries/x"))) }, "is not a plain file"},
		"a line changed": {"log", func(work string) {
			name := filepath.Join(work, "log/000000.jsonl")
			b, err := os.ReadFile(name)
			must(t, err)
			must(t, os.WriteFile(name, []byte(strings.Replace(string(b), "1.0.0", "1.0.1", 1)), 0o644))
		}, "line 2 of the log: prev is"},
		"a line less": {"log", func(work string) {
			name := filepath.Join(work, "log/000000.jsonl")
			b, err := os.ReadFile(name)
			must(t, err)
			first, _, _ := strings.Cut(string(b), "\n")
			must(t, os.WriteFile(name, []byte(first+"\n"), 0o644))
		}, "branch log: environments/staging/entries/gateway/1.1.0.json is there"},
	} {
		work := filepath.Join(t.TempDir(), "work")
		do(t, ".", "clone", "--quiet", "--branch", c.on, tm.remote, work)
		c.change(work)
		do(t, work, "add", "--all")
		do(t, work, "commit", "--quiet", "--message", "x")
		do(t, work, "push", "--quiet")
		if _, err := tm.open(t.TempDir()).Check(t.Context()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v\nand not %s", what, err, c.want)
		}
		for _, ref := range slices.Sorted(maps.Keys(good)) {
			do(t, tm.remote, "update-ref", ref, good[ref])
		}
	}
	tm.check("2 2 0")
	// A log that was rewritten as a whole is consistent in itself. Who saw it before knows better.
	do(t, tm.remote, "update-ref", "refs/heads/log", do(t, tm.remote, "rev-parse", "log~1"))
	do(t, tm.remote, "update-ref", "refs/heads/staging", do(t, tm.remote, "rev-parse", "staging~1"))
	tm.check("1 1 0")
	if _, err := tm.open(dir).Check(t.Context()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "the log was rewritten: line 2 was") {
		t.Error(err)
	}
}

// A command reads the files of the log that are new since the state was kept, and no others, unless it is to check them.
func TestKeptState(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	grow := func(n int) {
		t.Helper()
		s := tm.open(dir)
		for i := range n {
			tm.wait(dir, add("staging", tm.entry("gateway", fmt.Sprintf("%d.%d.%d", n, tm.now.Unix(), i), "x")))
		}
		combine(t, s)
	}
	count := func() (n int) {
		t.Helper()
		must(t, tm.open(dir).Read(t.Context(), func(v store.View) error {
			n = v.State.Count
			return nil
		}))
		return n
	}
	kept := filepath.Join(dir, "state")
	grow(15)
	count()
	if _, err := os.Stat(kept); err == nil {
		t.Error("a state of 15 lines is kept")
	}
	grow(235)
	grow(50)
	if n := count(); n != 300 {
		t.Errorf("%d lines", n)
	}
	first, err := os.ReadFile(kept)
	must(t, err)
	// Damaged, of another version, or of another log: as if there were none.
	for _, bad := range []string{"", "{}", "\n", string(first[:len(first)-1]), strings.Replace(string(first), "slipway.state/", "slipway.state/0", 1), strings.Replace(string(first), `"last":`, `"last":1`, 1)} {
		must(t, os.WriteFile(kept, []byte(bad), 0o600))
		if n := count(); n != 300 {
			t.Errorf("%d lines", n)
		}
	}
	must(t, os.WriteFile(kept, first, 0o600))
	grow(15)
	if n := count(); n != 315 {
		t.Errorf("%d lines", n)
	}
	if now, err := os.ReadFile(kept); err != nil || string(now) != string(first) {
		t.Errorf("kept again after 15 lines: %v", err)
	}
	grow(205)
	// The first file of the log is nowhere any more, and nobody asks for it.
	clone := filepath.Join(dir, "store.git")
	packs, err := filepath.Glob(filepath.Join(clone, "objects", "pack", "*.pack"))
	must(t, err)
	away := t.TempDir()
	must(t, os.Rename(filepath.Join(clone, "objects", "pack"), filepath.Join(away, "pack")))
	for _, p := range packs {
		in, err := os.Open(filepath.Join(away, "pack", filepath.Base(p)))
		must(t, err)
		cmd := exec.Command("git", "unpack-objects", "-q")
		cmd.Dir, cmd.Env, cmd.Stdin = clone, environ(t), in
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		must(t, in.Close())
	}
	id := do(t, tm.remote, "rev-parse", "log:log/000000.jsonl")
	blob := filepath.Join(clone, "objects", id[:2], id[2:])
	must(t, os.Rename(blob, blob+".away"))
	if n := count(); n != 520 {
		t.Errorf("%d lines", n)
	}
	if _, err := tm.open(dir).Check(t.Context()); err == nil {
		t.Error("a file of the log is gone, and all is well")
	}
	must(t, os.Rename(blob+".away", blob))
	// Who has the state of a log that was rewritten, in a file that is not read any more, notices that.
	work := filepath.Join(t.TempDir(), "work")
	do(t, ".", "clone", "--quiet", "--branch", "log", tm.remote, work)
	name := filepath.Join(work, "log/000000.jsonl")
	b, err := os.ReadFile(name)
	must(t, err)
	must(t, os.WriteFile(name, []byte(strings.Replace(string(b), "staging", "stagink", 1)), 0o644))
	do(t, work, "commit", "--quiet", "--all", "--message", "x")
	do(t, work, "push", "--quiet")
	if err := tm.open(dir).Read(t.Context(), func(store.View) error { return nil }); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "the log was rewritten: line ") {
		t.Error(err)
	}
}
