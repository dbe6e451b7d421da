package store_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

const byPull = "    enter: pull-request\n"

// newPulls is a team whose production is entered by pull request, with gateway 1.0.0 in staging.
func newPulls(t *testing.T) (*team, *store.Store) {
	t.Helper()
	tm := newTeam(t)
	tm.rules("    overwrite: never\n", byPull+"    overwrite: never\n")
	s := tm.open(t.TempDir())
	ask(t, s, add("staging", tm.entry("gateway", "1.0.0", "a")), 1)
	return tm, s
}

// merge merges a branch of the store into another one, as the host does.
func (tm *team) merge(from, into string) {
	tm.t.Helper()
	tm.on(into, func(work string) {
		do(tm.t, work, "merge", "--quiet", "--no-ff", "--message", "merge "+from, "origin/"+from)
		must(tm.t, os.WriteFile(filepath.Join(work, "touched"), []byte(from), 0o644)) // of what is no entry the store says nothing
	})
}

func (tm *team) verdict(want fault.Code) error {
	tm.t.Helper()
	_, err := tm.open(tm.t.TempDir()).Check(tm.t.Context())
	if fault.CodeOf(err) != want {
		tm.t.Errorf("check: %v", err)
	}
	return err
}

// rule is what a rule said.
func rule(all []environment.Outcome, name string) environment.Outcome {
	i := slices.IndexFunc(all, func(o environment.Outcome) bool { return o.Rule == name })
	if i < 0 {
		return environment.Outcome{}
	}
	return all[i]
}

func TestPullRequest(t *testing.T) {
	tm, s := newPulls(t)
	q := request(environment.Promote, "gateway", "1.0.0", "production")
	if r, err := s.Ask(t.Context(), q, nil); err != nil || r.Code != fault.Policy || rule(r.Outcomes, "enter").Fix == "" {
		t.Errorf("%+v, %v", r, err)
	}
	const name = "promote/production/gateway-1.0.0"
	for _, there := range []bool{false, true} {
		p, err := s.Propose(t.Context(), q)
		if err != nil || p.Branch != name || p.Onto != "production" || p.There != there || p.Refused() {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	// The required check asks for the branch, or for the ref that the host has of a pull request.
	do(t, tm.remote, "update-ref", "refs/pull/7/head", name)
	for _, ref := range []string{name, "refs/pull/7/head"} {
		if a, err := tm.open(t.TempDir()).Proposed(t.Context(), "production", ref); err != nil || a.Refused() || a.Nothing || len(a.Line.Moves) != 1 {
			t.Errorf("%s: %+v, %v", ref, a, err)
		}
	}
	do(t, tm.remote, "update-ref", "refs/pull/8/head", do(t, tm.remote, "rev-parse", "main:"+environment.RulesFile))
	for ref, code := range map[string]fault.Code{"none": fault.Usage, "refs/../x": fault.Usage, "staging": fault.OK, "refs/pull/8/head": fault.Mismatch} {
		if _, err := s.Proposed(t.Context(), "production", ref); fault.CodeOf(err) != code {
			t.Errorf("%s: %v", ref, err)
		}
	}
	tm.merge(name, "production")
	tm.verdict(fault.OK)
	tip := do(t, tm.remote, "rev-parse", "production")
	// Whoever moves something next writes down what was merged.
	ask(t, tm.open(t.TempDir()), add("snapshot", tm.entry("control", "2.0.0", "b")), 3)
	must(t, s.Read(t.Context(), func(v store.View) error {
		if h, ok := v.State.Held("production", "gateway", "1.0.0"); !ok || h.Line != 2 {
			t.Errorf("%+v, %v", h, ok)
		}
		return nil
	}))
	if got := tm.files("staging") + tm.files("production"); got != "entries/gateway/1.0.0.json touched" {
		t.Errorf("the branches have %s", got)
	}
	if do(t, tm.remote, "rev-parse", "production") != tip {
		t.Error("something else than a merge moved production, which its host may protect")
	}
	combine(t, s)
	tm.check("3 2 0")
	if p, err := s.Propose(t.Context(), q); err != nil || !p.Nothing || p.Branch != "" {
		t.Errorf("%+v, %v", p, err)
	}
	// Its first line says whose commit it was, and why.
	if line := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl"); !strings.Contains(line, `"kind":"merge"`) || !strings.Contains(line, `"why":"x"`) && !strings.Contains(line, `"why":"promote gateway 1.0.0 to production"`) {
		t.Error(line)
	}
}

// More files than are looked at hide no entry behind them from the check of a pull request.
func TestProposedBehindMany(t *testing.T) {
	tm, s := newPulls(t)
	at := gittest.GitIn(t, tm.remote, "x", "hash-object", "-w", "--stdin")
	tree := func(mode, kind, id string, n int) string {
		var rows strings.Builder
		for i := range n {
			fmt.Fprintf(&rows, "%s %s %s\t%02d\n", mode, kind, id, i)
		}
		return gittest.GitIn(t, tm.remote, rows.String(), "mktree")
	}
	many := tree("040000", "tree", tree("100644", "blob", at, 100), 100)
	entries := gittest.GitIn(t, tm.remote, "040000 tree "+many+"\taaa\n", "mktree")
	junk := do(t, tm.remote, "commit-tree", "-m", "junk", "-p", "production", gittest.GitIn(t, tm.remote, "040000 tree "+entries+"\tentries\n", "mktree"))
	do(t, tm.remote, "update-ref", "refs/heads/production", junk)
	file := gittest.GitIn(t, tm.remote, encode(t, tm.entry("gateway", "6.6.6", "evil")), "hash-object", "-w", "--stdin")
	evil := gittest.GitIn(t, tm.remote, "100644 blob "+file+"\t6.6.6.json\n", "mktree")
	entries = gittest.GitIn(t, tm.remote, "040000 tree "+many+"\taaa\n040000 tree "+evil+"\tgateway\n", "mktree")
	pull := do(t, tm.remote, "commit-tree", "-m", "pull", "-p", junk, gittest.GitIn(t, tm.remote, "040000 tree "+entries+"\tentries\n", "mktree"))
	do(t, tm.remote, "update-ref", "refs/heads/pull", pull)
	if a, err := s.Proposed(t.Context(), "production", "pull"); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "slipway store repair") {
		t.Errorf("%+v, %v", a, err)
	}
}

// Folders of folders in which there is no file, more than can be counted, keep nobody busy: not the check of a pull request, which anybody may
// open, nor those who move something.
func TestFoldersOfNothing(t *testing.T) {
	tm, s := newPulls(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tree := gittest.GitIn(t, tm.remote, "", "mktree")
	for range 12 {
		var rows strings.Builder
		for i := range 50 {
			fmt.Fprintf(&rows, "040000 tree %s\t%02d\n", tree, i)
		}
		tree = gittest.GitIn(t, tm.remote, rows.String(), "mktree")
	}
	commit := func(on, folder string) string {
		rows := do(t, tm.remote, "ls-tree", on) + fmt.Sprintf("\n040000 tree %s\t%s\n", tree, folder)
		return do(t, tm.remote, "commit-tree", "-m", "x", "-p", on, gittest.GitIn(t, tm.remote, strings.TrimSpace(rows)+"\n", "mktree"))
	}
	do(t, tm.remote, "update-ref", "refs/heads/pull", commit("production", "entries"))
	if a, err := s.Proposed(ctx, "production", "pull"); err == nil && !a.Refused() || ctx.Err() != nil {
		t.Errorf("%+v, %v", a, err)
	}
	do(t, tm.remote, "update-ref", "refs/heads/production", "pull")
	r, err := s.Ask(ctx, add("snapshot", tm.entry("control", "1.0.0", "a")), nil)
	if err != nil || r.Refused() {
		t.Errorf("%+v, %v", r, err)
	}
	do(t, tm.remote, "update-ref", "refs/heads/production", "production^")
	do(t, tm.remote, "update-ref", "refs/heads/log", commit("log", "environments0"))
	if _, err := s.Check(ctx); err != nil {
		t.Errorf("beside what is read: %v", err)
	}
	do(t, tm.remote, "update-ref", "refs/heads/snapshot", commit(do(t, tm.remote, "commit-tree", "-m", "x", "-p", "snapshot", gittest.GitIn(t, tm.remote, "", "mktree")), "entries"))
	if _, err := s.Check(ctx); fault.CodeOf(err) != fault.Mismatch {
		t.Errorf("where entries are: %v", err)
	}
}

// A merge is read off the branch of the stage, which its host lets nobody push to, and is nothing to ask for: not here, not in the queue,
// and not by who may sign.
func TestMergeAskedFor(t *testing.T) {
	tm, s := newPulls(t)
	q := add("production", tm.entry("gateway", "1.0.0", "a"))
	q.Kind = environment.Merge
	for _, signer := range []signature.Signer{nil, tm.key} {
		if r, err := s.Ask(t.Context(), q, signer); fault.CodeOf(err) != fault.Policy || !strings.Contains(fmt.Sprint(err), "nobody asks for") {
			t.Errorf("%+v, %v", r, err)
		}
	}
	dir := t.TempDir()
	tm.open(dir)
	tm.queue(dir, tm.wait(dir, q))
	did, err := s.Combine(t.Context())
	if err != nil || did.Lines != 0 || len(did.Removed) != 1 || !strings.Contains(did.Removed[0], "nobody asks for") {
		t.Errorf("%+v, %v", did, err)
	}
	tm.check("1 1 0")
}

// What is merged against the rules is not in the environment, is named, keeps nobody from moving on, and is put back.
func TestMergeRefused(t *testing.T) {
	const path = "entries/gateway/1.0.0.json"
	for name, c := range map[string]struct {
		change func(tm *team, work string)
		want   string
	}{
		"other bytes of a release in staging": {func(tm *team, work string) {
			e := tm.entry("gateway", "1.0.0", "a")
			e.Places = []string{"https://elsewhere.example.com/"}
			file(tm.t, work, path, encode(tm.t, e))
		}, "entry"},
		"from outside, and nobody says that it is signed": {func(tm *team, work string) {
			e := tm.entry("gateway", "2.0.0", "c")
			e.Signed.Key = "sha256:" + strings.Repeat("0", 64)
			file(tm.t, work, "entries/gateway/2.0.0.json", encode(tm.t, e))
		}, "signed"},
		"a component that there is not": {func(tm *team, work string) {
			file(tm.t, work, "entries/other/1.0.0.json", encode(tm.t, tm.entry("other", "1.0.0", "a")))
		}, "merge"},
		"another place": {func(tm *team, work string) {
			file(tm.t, work, "entries/gateway/1.0.1.json", encode(tm.t, tm.entry("gateway", "1.0.0", "a")))
		}, "merge"},
		"no entry":    {func(tm *team, work string) { file(tm.t, work, path, "{}") }, "merge"},
		"a name":      {func(tm *team, work string) { file(tm.t, work, "entries/a\nb\x1b[2J", "{}") }, "merge"},
		"a long file": {func(tm *team, work string) { file(tm.t, work, path, strings.Repeat("x", environment.MaxEntry+1)) }, "merge"},
		"a link": {func(tm *team, work string) {
			must(tm.t, os.MkdirAll(filepath.Join(work, "entries"), 0o755))
			must(tm.t, os.Symlink("/etc/passwd", filepath.Join(work, "entries/x")))
		}, "merge"},
		"no folder": {func(tm *team, work string) { file(tm.t, work, "entries", "x") }, ""},
		"all or nothing": {func(tm *team, work string) {
			file(tm.t, work, path, encode(tm.t, tm.entry("gateway", "1.0.0", "a")))
			file(tm.t, work, "entries/gateway/bad.json", "{}")
		}, "merge"},
	} {
		if !fixture.Full && !slices.Contains([]string{"other bytes of a release in staging", "a name", "all or nothing"}, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			tm, _ := newPulls(t)
			s, err := store.Open(store.Options{
				Remote: tm.remote, Environ: environ(t), Dir: t.TempDir(), Now: tm.clock,
				Admit: func(context.Context, store.View, environment.Entry) error { return nil },
			})
			must(t, err)
			tm.on("production", func(work string) { c.change(tm, work) })
			line := 3
			if c.want == "" {
				line = 2
			}
			ask(t, s, add("snapshot", tm.entry("control", "2.0.0", "b")), line)
			if c.want == "" {
				tm.verdict(fault.OK)
				return
			}
			must(t, s.Read(t.Context(), func(v store.View) error {
				if all := v.State.In("production"); len(all) > 0 {
					t.Errorf("%+v", all)
				}
				return nil
			}))
			text := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl")
			if !strings.Contains(strings.Split(text, "\n")[1], `"ok":false,"rule":"`+c.want+`"`) && !strings.Contains(strings.Split(text, "\n")[1], `"rule":"`+c.want+`","ok":false`) {
				t.Errorf("the log says %s", text)
			}
			if err := tm.verdict(fault.Mismatch); err != nil && !strings.Contains(err.Error(), "which line 2 of the log refuses: slipway store repair") {
				t.Error(err)
			}
			ask(t, s, request(environment.Promote, "control", "2.0.0", "staging"), 4) // it is refused once
			all, err := s.Repair(t.Context())
			if err != nil || len(all) != 1 || all[0].For != "production" {
				t.Fatalf("%+v, %v", all, err)
			}
			if again, err := tm.open(t.TempDir()).Repair(t.Context()); err != nil || len(again) != 1 || !again[0].There || again[0].Branch != all[0].Branch {
				t.Errorf("again: %+v, %v", again, err)
			}
			if a, err := s.Proposed(t.Context(), "production", all[0].Branch); err != nil || a.Refused() {
				t.Errorf("the required check: %+v, %v", a, err)
			}
			tm.merge(all[0].Branch, "production")
			tm.verdict(fault.OK)
			ask(t, s, request(environment.Promote, "control", "2.0.0", "staging"), 0)
			// The same once more is put back by the same branch.
			tm.on("production", func(work string) { c.change(tm, work) })
			combine(t, s)
			if again, err := s.Repair(t.Context()); err != nil || len(again) != 1 || again[0].There || again[0].Branch != all[0].Branch {
				t.Errorf("once more: %+v, %v", again, err)
			}
		})
	}
}

// What the branch of a stage loses is not gone, and comes back by a repair.
func TestMergeTakesAway(t *testing.T) {
	tm, s := newPulls(t)
	_, err := s.Propose(t.Context(), request(environment.Promote, "gateway", "1.0.0", "production"))
	must(t, err)
	tm.merge("promote/production/gateway-1.0.0", "production")
	combine(t, s)
	tm.on("production", func(work string) { must(t, os.RemoveAll(filepath.Join(work, "entries"))) })
	combine(t, s)
	tm.verdict(fault.Mismatch)
	must(t, s.Read(t.Context(), func(v store.View) error {
		if _, ok := v.State.Held("production", "gateway", "1.0.0"); !ok || v.State.Count != 3 {
			t.Errorf("it is gone after %d lines", v.State.Count)
		}
		return nil
	}))
	all, err := s.Repair(t.Context())
	must(t, err)
	tm.merge(all[0].Branch, "production")
	tm.verdict(fault.OK)
}

// Whatever is on the branch of a stage, others move on, check names it, and a repair puts the branch back.
func TestMergeAnything(t *testing.T) {
	for name, change := range map[string]func(tm *team, work string){
		"the branch is gone": func(tm *team, work string) { do(tm.t, tm.remote, "update-ref", "-d", "refs/heads/production") },
		"it is at an older commit": func(tm *team, work string) {
			do(tm.t, tm.remote, "update-ref", "refs/heads/production", "production~2")
		},
		"an entry says something else of the same bytes": func(tm *team, work string) {
			do(tm.t, work, "checkout", "--quiet", "production")
			e := tm.entry("gateway", "1.0.0", "a")
			e.Places = []string{"https://elsewhere.example.com/"}
			file(tm.t, work, "entries/gateway/1.0.0.json", encode(tm.t, e))
			do(tm.t, work, "add", ".")
			do(tm.t, work, "commit", "--quiet", "--message", "x")
			do(tm.t, work, "push", "--quiet", "origin", "production")
		},
		"a name of 200 kB": func(tm *team, work string) { tm.push(work, "production", strings.Repeat("x", 200_000)) },
		"millions of names in a few hundred bytes": func(tm *team, work string) {
			names := make([]string, 100)
			for i := range names {
				names[i] = fmt.Sprint(i)
			}
			tm.push(work, "production", names, names, names, names)
		},
	} {
		if !fixture.Full && name != "the branch is gone" && name != "a name of 200 kB" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			tm, s := newPulls(t)
			p, err := s.Propose(t.Context(), request(environment.Promote, "gateway", "1.0.0", "production"))
			must(t, err)
			tm.merge(p.Branch, "production")
			combine(t, s)
			tm.check("2 1 0")
			work := t.TempDir()
			do(t, work, "clone", "--quiet", tm.remote, ".")
			change(tm, work)
			if r, err := s.Ask(t.Context(), add("snapshot", tm.entry("control", "2.0.0", "b")), nil); err != nil || r.Line == 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			tm.verdict(fault.Mismatch)
			all, err := s.Repair(t.Context())
			if strings.HasPrefix(name, "millions") {
				if fault.CodeOf(err) != fault.Mismatch {
					t.Errorf("%+v, %v", all, err)
				}
				return // to a commit before
			}
			must(t, err)
			if all[0].For != "" { // git has no file of such a name in a work tree, and a host needs none
				do(t, tm.remote, "update-ref", "refs/heads/production", all[0].Branch)
			}
			tm.verdict(fault.OK)
			if got := tm.files("production"); got != "entries/gateway/1.0.0.json touched" && got != "entries/gateway/1.0.0.json" {
				t.Errorf("production has %.200s", got)
			}
		})
	}
}

// push puts files below entries/gateway on top of a branch: a name, or all of some names.
func (tm *team) push(work, on string, names ...any) {
	tm.t.Helper()
	must(tm.t, os.WriteFile(filepath.Join(work, "one"), []byte("x"), 0o600))
	id, kind := do(tm.t, work, "hash-object", "-w", "one"), "100644 blob"
	for _, level := range append(slices.Clone(names), "gateway", "entries") {
		list, ok := level.([]string)
		if !ok {
			list = []string{level.(string)}
		}
		var rows strings.Builder
		for _, name := range list {
			fmt.Fprintf(&rows, "%s %s\t%s\n", kind, id, name)
		}
		id, kind = tm.given(work, rows.String(), "mktree"), "040000 tree"
	}
	commit := tm.given(work, "x", "commit-tree", "-p", "origin/"+on, id)
	do(tm.t, work, "push", "--quiet", "origin", commit+":refs/heads/"+on)
}

// given is what git answers to what it is given.
func (tm *team) given(work, in string, args ...string) string {
	tm.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Example", "-c", "user.email=example@example.com"}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = work, environ(tm.t), strings.NewReader(in)
	out, err := cmd.Output()
	must(tm.t, err)
	return strings.TrimSpace(string(out))
}

// A merge whose line would be too long is refused, and keeps nobody else.
func TestMergeTooLong(t *testing.T) {
	tm, s := newPulls(t)
	var items []environment.Item
	q := environment.Request{Kind: environment.Add, To: "staging"}
	for i := range 250 {
		e := tm.entry("gateway", fmt.Sprintf("2.%d.0-%s", i, strings.Repeat("x", 100)), "a")
		q.Items, q.Entries = append(q.Items, environment.Item{Component: "gateway", Version: e.Version}), append(q.Entries, e)
		if len(q.Items) == 50 || i == 249 {
			r, err := s.Ask(t.Context(), q, nil)
			if err != nil || r.Line == 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			items, q.Items, q.Entries = append(items, q.Items...), nil, nil
		}
	}
	p, err := s.Propose(t.Context(), environment.Request{Kind: environment.Promote, To: "production", Items: items})
	if err != nil || p.Branch == "" {
		t.Fatalf("%+v, %v", p, err)
	}
	tm.merge(p.Branch, "production")
	if r, err := s.Ask(t.Context(), add("snapshot", tm.entry("control", "2.0.0", "b")), nil); err != nil || r.Line == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := tm.verdict(fault.Mismatch); err == nil || !strings.Contains(err.Error(), "refuses") {
		t.Error(err)
	}
}

// A release from outside enters once somebody has looked at its bytes, and waits as long as nobody can.
func TestMergeFromOutside(t *testing.T) {
	tm, _ := newPulls(t)
	var says error
	s, err := store.Open(store.Options{
		Remote: tm.remote, Environ: environ(t), Dir: t.TempDir(), Now: tm.clock,
		Admit: func(context.Context, store.View, environment.Entry) error { return says },
	})
	must(t, err)
	e := tm.entry("gateway", "3.0.0", "d")
	tm.on("production", func(work string) { file(t, work, "entries/gateway/3.0.0.json", encode(t, e)) })
	says = fault.Errorf(fault.Transient, "its server is away")
	combine(t, s)
	n, err := s.Check(t.Context())
	if err != nil || n.Lines != 1 || n.Waiting != 1 {
		t.Fatalf("%+v, %v", n, err)
	}
	combine(t, tm.open(t.TempDir())) // which cannot look
	says = nil
	combine(t, s)
	tm.check("2 2 0")

	says = fault.Errorf(fault.Mismatch, "it has other bytes")
	e.Version = "4.0.0"
	tm.on("production", func(work string) { file(t, work, "entries/gateway/4.0.0.json", encode(t, e)) })
	combine(t, s)
	tm.verdict(fault.Mismatch)
}

// What waits costs a command that moves something else a bounded look, and none for a while; whoever combines looks at all.
func TestMergesFromOutsideWait(t *testing.T) {
	store.SetPatience(t, 100*time.Millisecond)
	tm, _ := newPulls(t)
	looked, slow := 0, false
	says := fault.Errorf(fault.Transient, "its server is away")
	open := func(dir string) *store.Store {
		s, err := store.Open(store.Options{Remote: tm.remote, Environ: environ(t), Dir: dir, Now: tm.clock, Admit: func(ctx context.Context, _ store.View, _ environment.Entry) error {
			if looked++; slow {
				<-ctx.Done()
				return ctx.Err()
			}
			return says
		}})
		must(t, err)
		return s
	}
	for i := range 5 {
		e := tm.entry("gateway", fmt.Sprintf("3.0.%d", i), "d")
		tm.on("production", func(work string) { file(t, work, "entries/gateway/"+e.Version+".json", encode(t, e)) })
	}
	line, dir := 1, t.TempDir()
	move := func(dir, what string, want int) {
		t.Helper()
		looked, line = 0, line+1
		ask(t, open(dir), add("snapshot", tm.entry("control", fmt.Sprintf("2.0.%d", line), "b")), line)
		if looked != want {
			t.Errorf("%s: %d looks and not %d", what, looked, want)
		}
	}
	move(dir, "the first time", 3)
	move(dir, "those that are left", 2)
	move(dir, "and then none", 0)
	move(t.TempDir(), "from another folder", 3)
	tm.now = tm.now.Add(10 * time.Minute)
	move(dir, "after some time", 3)
	slow = true
	move(t.TempDir(), "one that takes its time", 1)
	slow = false
	for _, says = range []error{says, nil} {
		looked = 0
		combine(t, open(dir))
		if looked != 5 {
			t.Errorf("whoever combines looks at %d", looked)
		}
	}
	tm.check(fmt.Sprint(line+5, line+5, 0))
}

// The rules that decide are those of main as a merge is written into the log, at the time of that. The required check says the same as
// long as nothing changes, and whoever is refused can have it put back and propose it again.
func TestRulesMeanwhile(t *testing.T) {
	const name, approvals = "promote/production/gateway-1.0.0", byPull + "    approvals: {count: 1}\n"
	q := request(environment.Promote, "gateway", "1.0.0", "production")
	stricter := func(tm *team, _ *store.Store) { tm.rules(byPull, approvals) }
	looser := func(tm *team, _ *store.Store) { tm.rules(approvals, byPull) }
	proposed := func(tm *team, s *store.Store) {
		p, err := s.Propose(tm.t.Context(), q)
		if err != nil || p.Branch != name {
			tm.t.Fatalf("%+v, %v", p, err)
		}
	}
	merged := func(tm *team, _ *store.Store) { tm.merge(name, "production") }
	written := func(tm *team, s *store.Store) { combine(tm.t, s) }
	asks := func(kind environment.Kind) func(*team, *store.Store) {
		return func(tm *team, s *store.Store) {
			q := environment.Request{Kind: kind, To: "production", Why: "a test"}
			if kind == environment.Hold {
				q.Items = []environment.Item{{Component: "gateway"}}
			}
			r, err := s.Ask(tm.t.Context(), q, nil)
			if err != nil || r.Line == 0 {
				tm.t.Fatalf("%+v, %v", r, err)
			}
		}
	}
	checked := func(code fault.Code, refuses string) func(*team, *store.Store) {
		return func(tm *team, s *store.Store) {
			tm.t.Helper()
			a, err := tm.open(tm.t.TempDir()).Proposed(tm.t.Context(), "production", name)
			if err != nil {
				a.Code = fault.CodeOf(err)
			}
			if a.Code != code || refuses != "" && (rule(a.Outcomes, refuses).Rule == "" || rule(a.Outcomes, refuses).OK) {
				tm.t.Errorf("the check: %d, %+v, %v", a.Code, a.Outcomes, err)
			}
		}
	}
	again := func(tm *team, s *store.Store) {
		all, err := s.Repair(tm.t.Context())
		if err != nil || len(all) != 1 || all[0].For != "production" {
			tm.t.Fatalf("%+v, %v", all, err)
		}
		tm.merge(all[0].Branch, "production")
		tm.verdict(fault.OK)
	}
	type steps []func(*team, *store.Store)
	for what, c := range map[string]struct {
		do      steps
		refuses string // what the log says
		in      bool   // production
	}{
		"stricter before the merge": {steps{proposed, checked(0, ""), stricter, checked(fault.Policy, "approvals"), merged, written}, "approvals", false},
		"stricter after the merge":  {steps{proposed, merged, stricter, written}, "approvals", false},
		"stricter once it is there": {steps{proposed, merged, written, stricter, written}, "", true},
		"looser after the merge":    {steps{stricter, proposed, checked(fault.Policy, "approvals"), merged, looser, written}, "", true},
		"and once it was refused":   {steps{stricter, proposed, merged, written, looser, written, again, proposed, checked(0, ""), merged, written}, "approvals", true},
		"frozen before the merge":   {steps{proposed, asks(environment.Freeze), checked(fault.Policy, "freeze"), merged, written}, "freeze", false},
		"frozen after the merge":    {steps{proposed, merged, asks(environment.Freeze)}, "", true}, // which is written first
		"thawed after the merge":    {steps{proposed, asks(environment.Freeze), merged, asks(environment.Thaw), again, proposed, merged, written}, "freeze", true},
		"a window that begins": {steps{proposed, merged, func(tm *team, _ *store.Store) {
			tm.rules(byPull, byPull+"    freeze: [{from: \"12:00\", until: \"13:00\"}]\n")
			tm.now = tm.now.Add(150 * time.Minute)
		}, written}, "freeze", false},
		"held before the merge":       {steps{proposed, asks(environment.Hold), checked(fault.Policy, "hold"), merged, written}, "hold", false},
		"no component any more":       {steps{proposed, func(tm *team, _ *store.Store) { tm.rules("  gateway: {key: keys/lead.pub}\n", "") }, checked(fault.Policy, "merge"), merged, written}, "merge", false},
		"entered by a command by now": {steps{proposed, func(tm *team, _ *store.Store) { tm.rules(byPull, "") }, checked(fault.Usage, "")}, "", false},
		"written as it waits": {steps{proposed, merged, func(tm *team, s *store.Store) {
			if _, err := s.Propose(tm.t.Context(), q); fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "slipway combine --once") {
				tm.t.Error(err)
			}
		}, written}, "", true},
	} {
		if !fixture.Full && !slices.Contains([]string{"stricter after the merge", "and once it was refused", "written as it waits"}, what) {
			continue
		}
		t.Run(what, func(t *testing.T) {
			tm, s := newPulls(t)
			for _, f := range c.do {
				f(tm, s)
			}
			text := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl")
			if refused := strings.Contains(text, `"kind":"refused"`); refused != (c.refuses != "") || refused && !strings.Contains(text, `"ok":false,"rule":"`+c.refuses+`"`) && !strings.Contains(text, `"rule":"`+c.refuses+`","ok":false`) {
				t.Errorf("the log says %s", text)
			}
			must(t, s.Read(t.Context(), func(v store.View) error {
				if _, in := v.State.Held("production", "gateway", "1.0.0"); in != c.in {
					t.Errorf("it is in production: %t", in)
				}
				return nil
			}))
			code := fault.OK
			if c.refuses != "" && !c.in {
				code = fault.Mismatch // until it is put back
			}
			tm.verdict(code)
		})
	}
	// What was merged before the rules took a stage from pull requests is put back, and a command does it.
	tm, s := newPulls(t)
	proposed(tm, s)
	merged(tm, s)
	tm.rules(byPull, "")
	tm.verdict(fault.Mismatch)
	all, err := s.Repair(t.Context())
	if err != nil || len(all) != 1 || all[0].For != "" {
		t.Errorf("%+v, %v", all, err)
	}
	ask(t, s, q, 2)
	tm.check("2 1 0")
	// And what waited for a stage that is no more keeps nobody from moving on.
	tm, s = newPulls(t)
	proposed(tm, s)
	merged(tm, s)
	rules := do(t, tm.remote, "cat-file", "blob", "main:"+environment.RulesFile)
	i, j := strings.Index(rules, "  - name: production"), strings.Index(rules, "\ncomponents:")
	tm.rules(rules[i:j], "")
	ask(t, s, add("snapshot", tm.entry("control", "2.0.0", "b")), 2)
	tm.check("2 2 0")
}

// A pull request that also changes something else could pass as one that does not.
func TestProposedWithOthers(t *testing.T) {
	tm, s := newPulls(t)
	_, err := s.Propose(t.Context(), request(environment.Promote, "gateway", "1.0.0", "production"))
	must(t, err)
	tm.on("promote/production/gateway-1.0.0", func(work string) { file(t, work, "workflows/x.yml", "x") })
	if _, err := s.Proposed(t.Context(), "production", "promote/production/gateway-1.0.0"); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "workflows/x.yml") {
		t.Error(err)
	}
	tm.on("production", func(work string) { file(t, work, "workflows/y.yml", "x") })
	if a, err := s.Proposed(t.Context(), "production", "production"); err != nil || !a.Nothing {
		t.Errorf("%+v, %v", a, err)
	}
}

// What a person may still allow is proposed, and whoever merges counts as one who agrees where the rules say so.
func TestMergeApproves(t *testing.T) {
	tm, s := newPulls(t)
	q := request(environment.Promote, "gateway", "1.0.0", "production")
	tm.rules(byPull, byPull+"    approvals: {count: 2, of: [pull-request, "+string(tm.key.Public().Fingerprint())+"]}\n")
	p, err := s.Propose(t.Context(), q)
	if err != nil || p.Branch == "" || rule(p.Outcomes, "approvals").Detail != "1 of 2" {
		t.Fatalf("%+v, %v", p, err)
	}
	agree := request(environment.Approve, "gateway", "1.0.0", "production")
	agree.Items[0].Manifest = tm.entry("gateway", "1.0.0", "a").Manifest
	r, err := s.Ask(t.Context(), agree, tm.key)
	if err != nil || r.Line != 2 {
		t.Fatal(r, err)
	}
	tm.merge(p.Branch, "production")
	combine(t, s)
	tm.check("3 1 1")
	// Nothing but other bytes would change what never changes.
	ask(t, s, add("snapshot", tm.entry("gateway", "1.0.0", "z")), 4)
	if p, err := s.Propose(t.Context(), q); err != nil || p.Branch != "" || p.Code != fault.Conflict {
		t.Errorf("%+v, %v", p, err)
	}
}

// Options go with the push that proposes, to a server that takes some, and what it says comes back.
func TestProposeOffers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the hook is a script")
	}
	tm, s := newPulls(t)
	offer := func(branch, into string) []string {
		return []string{"merge_request.create", "merge_request.title=" + branch + " into " + into}
	}
	must(t, os.MkdirAll(filepath.Join(tm.remote, "hooks"), 0o755))
	must(t, os.WriteFile(filepath.Join(tm.remote, "hooks", "post-receive"), []byte("#!/bin/sh\necho \"$GIT_PUSH_OPTION_COUNT: $GIT_PUSH_OPTION_0, $GIT_PUSH_OPTION_1\"\n"), 0o755))
	for i, want := range []string{": , ", "remote: 2: merge_request.create, merge_request.title=promote/production/gateway-1.0.0 into production"} {
		do(t, tm.remote, "config", "receive.advertisePushOptions", fmt.Sprint(i == 1))
		p, err := s.Propose(t.Context(), request(environment.Promote, "gateway", "1.0.0", "production"), offer)
		if err != nil || p.There || !strings.Contains(p.Said, want) {
			t.Errorf("%+v, %v, and not %s", p, err, want)
		}
		do(t, tm.remote, "update-ref", "-d", "refs/heads/"+p.Branch)
	}
	tm.on("production", func(work string) { file(t, work, "entries/x", "{}") })
	combine(t, s)
	if all, err := s.Repair(t.Context(), offer); err != nil || len(all) != 1 || !strings.Contains(all[0].Said, "2: merge_request.create, merge_request.title="+all[0].Branch+" into production") {
		t.Errorf("%+v, %v", all, err)
	}
}

// Every version that there may be has a branch that proposes it, and none has that of another one.
func TestProposedBranches(t *testing.T) {
	tm, s := newPulls(t)
	for i, v := range []string{"1.1.0-a.lock", "1.1.0-a+lock", "1.1.0-a.lock.1"} {
		ask(t, s, add("staging", tm.entry("gateway", v, v)), i+2)
		want := "promote/production/gateway-" + map[string]string{"1.1.0-a.lock": "1.1.0-a.lock_", "1.1.0-a+lock": "1.1.0-a_lock"}[v]
		if p, err := s.Propose(t.Context(), request(environment.Promote, "gateway", v, "production")); err != nil || p.There || i < 2 && p.Branch != want {
			t.Errorf("%s: %+v, %v", v, p, err)
		}
	}
}

// Entries that somebody changed by hand are put back, and the log has all of it.
func TestRepair(t *testing.T) {
	tm := newTeam(t)
	s := tm.open(t.TempDir())
	for i, v := range []string{"1.0.0", "1.1.0", "1.2.0"} {
		ask(t, s, add("staging", tm.entry("gateway", v, v)), i+1)
	}
	for on, folder := range map[string]string{"staging": "", "log": "environments/staging/"} {
		tm.on(on, func(work string) {
			at := filepath.Join(work, filepath.FromSlash(folder), "entries", "gateway")
			must(t, os.Remove(filepath.Join(at, "1.0.0.json")))
			must(t, os.WriteFile(filepath.Join(at, "1.1.0.json"), []byte("{}"), 0o644))
			must(t, os.WriteFile(filepath.Join(at, "9.9.9.json"), []byte("{}"), 0o644))
			must(t, os.Remove(filepath.Join(at, "1.2.0.json")))
			must(t, os.MkdirAll(filepath.Join(at, "1.2.0.json", "x"), 0o755))
			must(t, os.Symlink("y", filepath.Join(at, "1.2.0.json", "x", "z")))
		})
	}
	tm.verdict(fault.Mismatch)
	all, err := tm.open(t.TempDir()).Repair(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	tm.check("3 3 0")
	if all, err := s.Repair(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("again: %+v, %v", all, err)
	}
	ask(t, s, request(environment.Promote, "gateway", "1.2.0", "production"), 4)
	// Of what is in the way of others they are told what puts it back.
	work := t.TempDir()
	do(t, work, "clone", "--quiet", tm.remote, ".")
	tm.push(work, "staging", strings.Repeat("x", 200_000))
	if _, err := s.Ask(t.Context(), add("staging", tm.entry("gateway", "1.3.0", "c")), nil); err == nil || !strings.Contains(err.Error(), "slipway store repair puts it back") {
		t.Error(err)
	}
	if all, err := s.Repair(t.Context()); err != nil || len(all) != 1 || all[0].Branch != "staging" {
		t.Errorf("%+v, %v", all, err)
	}
	ask(t, s, add("staging", tm.entry("gateway", "1.3.0", "c")), 5)
	must(t, os.WriteFile(filepath.Join(work, "one"), []byte("x"), 0o600))
	id := do(t, work, "hash-object", "-w", "one")
	for _, on := range []string{"staging", "log"} {
		do(t, work, "fetch", "--quiet", "origin", on)
		rows := fmt.Sprintf("%s\n100644 blob %s\tREADME\n100644 blob %[2]s\t%s\n", do(t, work, "ls-tree", "FETCH_HEAD"), id, strings.Repeat("x", 200_000))
		commit := tm.given(work, "x", "commit-tree", "-p", "FETCH_HEAD", tm.given(work, rows, "mktree"))
		do(t, work, "push", "--quiet", "origin", commit+":refs/heads/"+on)
		if _, err := s.Ask(t.Context(), add("staging", tm.entry("gateway", "1.4.0", on)), nil); err == nil || !strings.Contains(err.Error(), "slipway store repair puts it back") {
			t.Errorf("%s: %v", on, err)
		}
		if all, err := s.Repair(t.Context()); err != nil || len(all) != 1 || all[0].Branch != on || all[0].Files != 1 || !strings.HasPrefix(tm.files(on), "README en") {
			t.Errorf("%s: %+v, %v, %.200s", on, all, err, tm.files(on))
		}
	}
	ask(t, s, add("staging", tm.entry("gateway", "1.4.0", "d")), 6)
	tm.check("6 5 0")
}

func file(t testing.TB, work, name, content string) {
	t.Helper()
	at := filepath.Join(work, filepath.FromSlash(name))
	must(t, os.MkdirAll(filepath.Dir(at), 0o755))
	must(t, os.WriteFile(at, []byte(content), 0o644))
}

func encode(t testing.TB, e environment.Entry) string {
	t.Helper()
	b, err := e.Encode()
	must(t, err)
	return string(b)
}
