package branch_test

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/platform/branch"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// cut makes the branch, and a clone.
func (tm *team) cut() string {
	tm.t.Helper()
	dir := tm.clone()
	_, _, err := tm.open(dir).Cut(tm.t.Context(), line, "", true)
	must(tm.t, err)
	return dir
}

func (tm *team) show(what string) string {
	tm.t.Helper()
	return gittest.Git(tm.t, tm.remote, "show", what)
}

// states are those of the commits of the default branch, by subject.
func (tm *team) states(dir string) map[string]branch.State {
	tm.t.Helper()
	gittest.Git(tm.t, dir, "fetch", "--quiet")
	s, err := tm.open(dir).Status(tm.t.Context(), line)
	must(tm.t, err)
	all := map[string]branch.State{}
	for _, c := range s.Commits {
		all[c.Subject] = c.State
	}
	return all
}

func TestPick(t *testing.T) {
	tm := newTeam(t)
	dir := tm.cut()
	first := commit(t, dir, "fix: one\n\nWhy.", "b", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n", "VERSION", "2.2.0-dev\n")
	second := commit(t, dir, "fix: two\n\nWhy.\n\nSigned-off-by: Ann Author <ann@example.com>", "c", "x\n")
	commit(t, dir, "feat: not this", "d", "x\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	must(t, os.WriteFile(filepath.Join(dir, "b"), []byte("dirty"), 0o644))
	r := tm.open(dir)
	taken, err := r.Pick(t.Context(), line, []string{second[:9], "main~2", second}, true)
	must(t, err)
	if len(taken) != 2 || taken[0].From != first || taken[1].From != second || taken[1].To != tm.at("edge-2.1") || taken[0].Was {
		t.Fatalf("%+v", taken)
	}
	const head = "Ann Author <ann@example.com> 2026-01-02T03:04:05+02:00 Example\n"
	format := func(id string) string {
		return gittest.Git(t, tm.remote, "log", "-1", "--format=%an <%ae> %aI %cn%n%B", id)
	}
	patch := strings.Fields(gittest.GitIn(t, dir, gittest.Git(t, dir, "show", second)+"\n", "patch-id", "--stable"))[0]
	if got, want := format(taken[1].To), head+"fix: two\n\nWhy.\n\nSigned-off-by: Ann Author <ann@example.com>\n(cherry picked from commit "+second+")\nSlipway-Patch-Id: "+patch; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := format(taken[0].To), head+"fix: one\n\nWhy.\n\n(cherry picked from commit "+first+")\nSlipway-Patch-Id: "; !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if tm.show("edge-2.1:VERSION") != "2.1.0" || !strings.Contains(tm.show("edge-2.1:b"), "five") {
		t.Error("the version did not stay, or the fix did not come")
	}
	if states := tm.states(dir); states["fix: one"] != branch.Picked || states["fix: two"] != branch.Picked || states["feat: not this"] != branch.Missing {
		t.Errorf("%v", states)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "b")); err != nil || string(got) != "dirty" {
		t.Errorf("%q, %v", got, err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, ".git", "slipway")); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return !strings.HasSuffix(e.Name(), ".lock") }) {
		t.Errorf("%v, %v", left, err)
	}
	was, at := gittest.Git(t, dir, "rev-parse", "HEAD"), tm.at("edge-2.1")
	taken, err = r.Pick(t.Context(), line, []string{first, second}, true)
	if err != nil || len(taken) != 2 || !taken[0].Was || tm.at("edge-2.1") != at || gittest.Git(t, dir, "rev-parse", "HEAD") != was {
		t.Errorf("%+v, %v", taken, err)
	}
}

// What was picked by hand is not picked again, with or without a line that says so.
func TestPickByHand(t *testing.T) {
	tm := newTeam(t)
	dir := tm.cut()
	fix := commit(t, dir, "fix", "c", "x\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	gittest.Git(t, dir, "switch", "--quiet", "edge-2.1")
	commit(t, dir, "own", "d", "x\n")
	gittest.Git(t, dir, "cherry-pick", fix)
	gittest.Git(t, dir, "push", "--quiet", "origin", "edge-2.1")
	at := tm.at("edge-2.1")
	taken, err := tm.open(dir).Pick(t.Context(), line, []string{fix}, true)
	if err != nil || len(taken) != 1 || taken[0] != (branch.Taken{From: fix, To: at, Subject: "fix", Was: true}) || tm.at("edge-2.1") != at {
		t.Errorf("%+v, %v", taken, err)
	}
}

// Files are picked as they are recorded, whatever attributes would make of them.
func TestPickAsRecorded(t *testing.T) {
	tm := newTeam(t)
	dir := tm.clone()
	raw := func(message, text string) string {
		id := gittest.GitIn(t, dir, text, "hash-object", "-w", "--stdin", "--no-filters")
		gittest.Git(t, dir, "update-index", "--add", "--cacheinfo", "100644,"+id+",dos")
		gittest.Git(t, dir, "commit", "--quiet", "-m", message)
		return gittest.Git(t, dir, "rev-parse", "HEAD")
	}
	commit(t, dir, "attributes", ".gitattributes", "dos text eol=crlf ident\n")
	begin := raw("dos", "1\r\n2\r\n3\r\n4\r\n$Id$\r\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "HEAD:main")
	_, _, err := tm.open(dir).Cut(t.Context(), line, begin, true)
	must(t, err)
	for i, text := range []string{"feature", "feature, mended"} {
		must(t, os.WriteFile(filepath.Join(dir, "b"), []byte("1\n2\n3\n4\n"+text+"\n6\n7\n8\n9\n"), 0o644))
		gittest.Git(t, dir, "add", "b")
		if i == 0 {
			gittest.Git(t, dir, "commit", "--quiet", "-m", text)
		}
	}
	fix := raw("fix", "1\r\n2\r\n3\r\n4\r\n$Id$\r\nfive\r\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "HEAD:main")
	r := tm.open(dir)
	_, err = r.Pick(t.Context(), line, []string{fix}, true)
	fails(t, err, fault.Git, "by itself: b;")
	solve(t, dir)
	if _, err := r.Continue(t.Context(), line, true); err != nil {
		t.Fatal(err)
	}
	if want, got := gittest.Git(t, dir, "rev-parse", fix+":dos"), gittest.Git(t, tm.remote, "rev-parse", "edge-2.1:dos"); got != want {
		t.Errorf("%q", tm.show("edge-2.1:dos"))
	}
}

// The id of a change of bytes is the same for a clone that writes ids of objects shorter.
func TestPickBytes(t *testing.T) {
	tm := newTeam(t)
	dir := tm.cut()
	fix := commit(t, dir, "bytes", "bytes", "\x00one")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	if _, err := tm.open(dir).Pick(t.Context(), line, []string{fix}, true); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"4", "20"} {
		gittest.Git(t, dir, "config", "core.abbrev", n)
		if states := tm.states(dir); states["bytes"] != branch.Picked {
			t.Errorf("%v", states)
		}
	}
}

// Without --push the branch is moved here, and pushed later by the same command. Where it is checked out it is not moved behind anybody's back.
func TestPickHere(t *testing.T) {
	tm := newTeam(t)
	dir := tm.cut()
	fix := commit(t, dir, "fix", "b", "x\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	base := tm.at("edge-2.1")
	gittest.Git(t, dir, "switch", "--quiet", "edge-2.1")
	r := tm.open(dir)
	_, err := r.Pick(t.Context(), line, []string{fix}, false)
	fails(t, err, fault.Git, "branch edge-2.1 is checked out in ")
	if gittest.Git(t, dir, "rev-parse", "edge-2.1") != base || gittest.Git(t, dir, "status", "--porcelain") != "" {
		t.Error("it was moved")
	}
	gittest.Git(t, dir, "switch", "--quiet", "main")
	taken, err := r.Pick(t.Context(), line, []string{fix}, false)
	must(t, err)
	if at := gittest.Git(t, dir, "rev-parse", "edge-2.1"); at != taken[0].To || tm.at("edge-2.1") != base {
		t.Errorf("%s, %+v", at, taken)
	}
	again, err := r.Pick(t.Context(), line, []string{fix}, true)
	if err != nil || !again[0].Was || tm.at("edge-2.1") != taken[0].To {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestPickRefuses(t *testing.T) {
	tm := newTeam(t)
	dir := tm.cut()
	gittest.Git(t, dir, "switch", "--quiet", "--create", "side")
	side := commit(t, dir, "side", "side", "x\n")
	gittest.Git(t, dir, "switch", "--quiet", "main")
	good := commit(t, dir, "good", "good", "x\n")
	gittest.Git(t, dir, "merge", "--quiet", "--no-ff", "-m", "merge", "side")
	gittest.Git(t, dir, "tag", "merge")
	gittest.Git(t, dir, "switch", "--quiet", "--orphan", "root")
	root := commit(t, dir, "root", "root", "x\n")
	gittest.Git(t, dir, "switch", "--quiet", "main")
	gittest.Git(t, dir, "merge", "--quiet", "--allow-unrelated-histories", "-m", "merge too", "root")
	empty := commit(t, dir, "empty")
	only := commit(t, dir, "version", "VERSION", "2.2.0-dev\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	unpushed := commit(t, dir, "unpushed", "x", "x\n")
	gittest.Git(t, dir, "switch", "--quiet", "--create", "foreign", "v2.1.0")
	foreign := commit(t, dir, "foreign", "foreign", "x\n")
	r := tm.open(dir)
	at := tm.at("edge-2.1")
	for rev, words := range map[string]string{
		"merge": "is a merge; name the commits that it brought", root: "is a root", empty: "changes nothing but what VERSION says", only: "changes nothing but what VERSION says",
		foreign: "is not on main; a fix is made there first", unpushed: "is not on main", "v2.1.0": "is in branch edge-2.1 itself",
		"nothing": "is no commit of this repository", "main..foreign": "is no commit of this repository",
	} {
		_, err := r.Pick(t.Context(), line, []string{good, rev}, true)
		fails(t, err, fault.Git, words)
		if strings.Contains(err.Error(), good[:12]) {
			t.Error(err)
		}
	}
	for _, rev := range []string{"-x", "--all", "--exec=touch /tmp/x"} {
		_, err := r.Pick(t.Context(), line, []string{good, rev}, true)
		fails(t, err, fault.Usage, "is not a revision")
	}
	if tm.at("edge-2.1") != at {
		t.Error("the branch was moved")
	}
	_, err := r.Pick(t.Context(), line, []string{root, foreign}, true)
	fails(t, err, fault.Git, root[:12])
	fails(t, err, fault.Git, foreign[:12])
	if _, err := r.Pick(t.Context(), line, []string{side, good}, true); err != nil { // which a merge brought
		t.Error(err)
	}
}

// conflicting is a clone in which the second of three commits does not go onto the branch by itself.
func conflicting(t *testing.T, tm *team) (dir string, ids []string) {
	t.Helper()
	dir = tm.cut()
	commit(t, dir, "feature", "b", "1\n2\n3\n4\nfeature\n6\n7\n8\n9\n")
	ids = []string{
		commit(t, dir, "fix: one", "one", "x\n"), commit(t, dir, "fix: two", "b", "1\n2\n3\n4\nfeature, mended\n6\n7\n8\n9\n", "a", "two\n", "VERSION", "2.2.0-dev\n"),
		commit(t, dir, "fix: three", "three", "x\n"),
	}
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	return dir, ids
}

// solve solves the conflict in the clone, by hand.
func solve(t *testing.T, dir string) string {
	t.Helper()
	in := filepath.Join(dir, ".git", "slipway", "edge-2.1")
	must(t, os.WriteFile(filepath.Join(in, "b"), []byte("1\n2\n3\n4\nmended\n6\n7\n8\n9\n"), 0o644))
	gittest.Git(t, in, "add", "b")
	return in
}

func TestConflict(t *testing.T) {
	tm := newTeam(t)
	dir, ids := conflicting(t, tm)
	at := tm.at("edge-2.1")
	r := tm.open(dir)
	_, err := r.Continue(t.Context(), line, true)
	fails(t, err, fault.Git, "no pick to branch edge-2.1 stands at a conflict here")
	_, err = r.Pick(t.Context(), line, ids, true)
	in := filepath.Join(dir, ".git", "slipway", "edge-2.1")
	fails(t, err, fault.Git, "commit "+ids[1][:12]+" does not go onto branch edge-2.1 by itself: b; solve that in "+in+", git add the files there, and run pick 2.1 --continue --push, or")
	if tm.at("edge-2.1") != at {
		t.Error("the branch was moved")
	}
	_, err = r.Pick(t.Context(), line, ids, true)
	fails(t, err, fault.Git, "a pick stands at a conflict in "+in)
	_, err = r.Continue(t.Context(), line, true)
	fails(t, err, fault.Git, "by itself: b; solve that")
	gittest.Git(t, in, "add", "b")
	_, err = r.Continue(t.Context(), line, true)
	fails(t, err, fault.Git, "b still has the marks of a conflict")
	must(t, os.WriteFile(filepath.Join(in, "b"), []byte("other\n"), 0o644))
	_, err = r.Continue(t.Context(), line, true)
	fails(t, err, fault.Git, "has changes that are not added: b")
	solve(t, dir)
	gittest.Git(t, in, "commit", "--quiet", "-m", "by hand")
	_, err = r.Continue(t.Context(), line, true)
	fails(t, err, fault.Git, "somebody has committed there; undo it with git reset --soft "+gittest.Git(t, in, "rev-parse", "HEAD^")[:12])
	gittest.Git(t, in, "reset", "--quiet", "--soft", "HEAD^")
	taken, err := r.Continue(t.Context(), line, true)
	must(t, err)
	if len(taken) != 3 || taken[1].From != ids[1] || tm.at("edge-2.1") != taken[2].To {
		t.Fatalf("%+v", taken)
	}
	checkThree(t, tm, dir)
	if got := gittest.Git(t, tm.remote, "log", "-3", "--format=%an", "edge-2.1"); strings.Count(got, "Ann Author") != 3 {
		t.Error(got)
	}
	if _, err := os.Stat(in); err == nil {
		t.Error("the clone is left")
	}
}

// Marks of a conflict that the picked commit has itself are what its file is about.
func TestMarks(t *testing.T) {
	tm := newTeam(t)
	dir := tm.cut()
	commit(t, dir, "docs", "b", "1\n2\n3\n4\n<<<<<<< mine\n6\n7\n8\n9\n")
	fix := commit(t, dir, "fix: docs", "b", "1\n2\n3\n4\n<<<<<<< theirs\n6\n7\n8\n9\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	r := tm.open(dir)
	_, err := r.Pick(t.Context(), line, []string{fix}, true)
	fails(t, err, fault.Git, "by itself: b;")
	in := filepath.Join(dir, ".git", "slipway", "edge-2.1")
	must(t, os.WriteFile(filepath.Join(in, "b"), []byte("<<<<<<< theirs\n"), 0o644))
	gittest.Git(t, in, "add", "b")
	if _, err = r.Continue(t.Context(), line, true); err != nil || tm.show("edge-2.1:b") != "<<<<<<< theirs" {
		t.Error(err)
	}
}

// The name of a file is one line of a message, whatever is in it.
func TestConflictName(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file can be called so")
	}
	tm := newTeam(t)
	dir := tm.cut()
	const name = "-a\nslipway: done\x1b[2J"
	commit(t, dir, "feature", name, "1\n")
	fix := commit(t, dir, "fix", name, "2\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	r := tm.open(dir)
	_, err := r.Pick(t.Context(), line, []string{fix}, true)
	fails(t, err, fault.Git, "by itself: -a")
	if strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("%q", err)
	}
	in := filepath.Join(dir, ".git", "slipway", "edge-2.1")
	must(t, os.WriteFile(filepath.Join(in, name), []byte("3\n"), 0o644))
	gittest.Git(t, in, "add", "--all")
	if _, err = r.Continue(t.Context(), line, true); err != nil {
		t.Error(err)
	}
}

// checkThree holds the branch to what the three picks make of it.
func checkThree(t *testing.T, tm *team, dir string) {
	t.Helper()
	states := tm.states(dir)
	if states["fix: one"] != branch.Picked || states["fix: two"] != branch.Edited || states["fix: three"] != branch.Picked {
		t.Errorf("%v", states)
	}
	if tm.show("edge-2.1:VERSION") != "2.1.0" || tm.show("edge-2.1:b") != "1\n2\n3\n4\nmended\n6\n7\n8\n9" || tm.show("edge-2.1:a") != "two" || tm.show("edge-2.1:three") != "x" {
		t.Errorf("the branch has\n%s", gittest.Git(t, tm.remote, "log", "-p", "main..edge-2.1"))
	}
	if messages := gittest.Git(t, tm.remote, "log", "--format=%B", "v2.1.0..edge-2.1"); len(regexp.MustCompile(`\(cherry picked`).FindAllString(messages, -1)) != len(regexp.MustCompile(`fix: `).FindAllString(messages, -1)) {
		t.Errorf("the messages are\n%s", messages)
	}
}

func TestAbort(t *testing.T) {
	tm := newTeam(t)
	dir, ids := conflicting(t, tm)
	r := tm.open(dir)
	_, err := r.Pick(t.Context(), line, ids, true)
	fails(t, err, fault.Git, "by itself")
	must(t, r.Abort(t.Context(), line))
	must(t, r.Abort(t.Context(), line))
	if _, err := r.Pick(t.Context(), line, ids[:1], true); err != nil {
		t.Error(err)
	}
	// What is noted can be broken, and is never believed.
	for _, note := range []string{"", "{", `{"base":"-x","head":"-x"}`, `{"base":"` + ids[0] + `","head":"` + ids[0] + `","todo":["--all"]}`, `{"base":"` + ids[0] + `","head":"` + ids[0] + `","files":["b"]}`} {
		must(t, os.WriteFile(filepath.Join(dir, ".git", "slipway", "edge-2.1.json"), []byte(note), 0o644))
		_, err := r.Continue(t.Context(), line, true)
		fails(t, err, fault.Git, "give that pick up with --abort")
	}
	must(t, r.Abort(t.Context(), line))
}

// What somebody else pushes while a conflict is solved is below what is picked, and nothing is lost.
func TestMovedMeanwhile(t *testing.T) {
	tm := newTeam(t)
	dir, ids := conflicting(t, tm)
	r := tm.open(dir)
	_, err := r.Pick(t.Context(), line, ids, true)
	fails(t, err, fault.Git, "by itself")
	other := tm.clone()
	more := commit(t, other, "fix: other", "other", "x\n")
	gittest.Git(t, other, "push", "--quiet", "origin", "main")
	if _, err := tm.open(other).Pick(t.Context(), line, []string{more}, true); err != nil {
		t.Fatal(err)
	}
	solve(t, dir)
	taken, err := r.Continue(t.Context(), line, true)
	must(t, err)
	if len(taken) != 3 || taken[1].From != ids[1] {
		t.Errorf("%+v", taken)
	}
	checkThree(t, tm, dir)
	if states := tm.states(dir); states["fix: other"] != branch.Picked {
		t.Errorf("%v", states)
	}
}

// A run that was killed once it had pushed has nothing left to do, also where somebody else has gone on from there.
func TestPushedBefore(t *testing.T) {
	tm := newTeam(t)
	dir, ids := conflicting(t, tm)
	r := tm.open(dir)
	_, err := r.Pick(t.Context(), line, ids, true)
	fails(t, err, fault.Git, "by itself")
	solve(t, dir)
	tm.refuse(true)
	_, err = r.Continue(t.Context(), line, true)
	fails(t, err, fault.Policy, "Protected")
	tm.refuse(false)
	in := filepath.Join(dir, ".git", "slipway", "edge-2.1")
	gittest.Git(t, in, "push", "--quiet", tm.remote, "HEAD:edge-2.1")
	other := tm.clone()
	gittest.Git(t, other, "switch", "--quiet", "edge-2.1")
	more := commit(t, other, "more", "more", "x\n")
	gittest.Git(t, other, "push", "--quiet", "origin", "edge-2.1")
	if taken, err := r.Continue(t.Context(), line, true); err != nil || len(taken) != 0 || tm.at("edge-2.1") != more {
		t.Errorf("%+v, %v", taken, err)
	}
	if _, err := os.Stat(in); err == nil {
		t.Error("the clone is left")
	}
}

// Of several who pick at once each ends with its commit on the branch, some after a second try.
func TestPickAtOnce(t *testing.T) {
	tm := newTeam(t)
	dir := tm.cut()
	var ids []string
	for _, name := range []string{"p", "q", "r", "s"} {
		ids = append(ids, commit(t, dir, "fix: "+name, name, name+"\n"))
	}
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	var g sync.WaitGroup
	for i, id := range ids {
		at := dir
		if i%2 == 0 {
			at = tm.clone()
		}
		r := tm.open(at)
		g.Go(func() {
			for range 20 {
				if _, err := r.Pick(t.Context(), line, []string{id}, true); fault.CodeOf(err) != fault.Transient {
					if err != nil {
						t.Error(err)
					}
					return
				}
			}
			t.Errorf("%s was never picked", id)
		})
	}
	g.Wait()
	if n := gittest.Git(t, tm.remote, "rev-list", "--count", "v2.1.0..edge-2.1"); n != "4" {
		t.Errorf("there are %s commits", n)
	}
	for name, state := range tm.states(tm.clone()) {
		if state != branch.Picked {
			t.Errorf("%s is %s", name, state)
		}
	}
}

// Neither hooks nor drivers of the clone's own configuration run.
func TestPickRunsNothing(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the program is a script")
	}
	tm := newTeam(t)
	dir := tm.cut()
	ran := filepath.Join(t.TempDir(), "ran")
	program := filepath.Join(t.TempDir(), "program")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\necho \"$0 $*\" >> '"+ran+"'\nexit 0\n"), 0o755))
	commit(t, dir, "drivers", ".gitattributes", "b merge=own diff=own filter=own\n")
	commit(t, dir, "feature", "b", "1\n2\n3\n4\nfeature\n6\n7\n8\n9\n")
	fix := commit(t, dir, "fix", "b", "1\n2\n3\n4\nfeature, mended\n6\n7\n8\n9\n", "c", "x\n")
	attributes := gittest.Git(t, dir, "rev-parse", "HEAD~2")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	for _, key := range []string{"merge.own.driver", "diff.own.command", "diff.own.textconv", "filter.own.clean", "filter.own.smudge", "core.fsmonitor", "core.sshCommand"} {
		gittest.Git(t, dir, "config", key, program+" "+key)
	}
	for _, hook := range []string{"post-checkout", "pre-commit", "commit-msg", "prepare-commit-msg", "post-commit", "pre-push", "reference-transaction", "post-index-change"} {
		must(t, os.MkdirAll(filepath.Join(dir, ".git", "hooks"), 0o755))
		must(t, os.Symlink(program, filepath.Join(dir, ".git", "hooks", hook)))
	}
	r := tm.open(dir)
	if _, err := r.Pick(t.Context(), line, []string{attributes}, false); err != nil {
		t.Fatal(err)
	}
	_, err := r.Pick(t.Context(), line, []string{fix}, false)
	fails(t, err, fault.Git, "by itself: b;")
	solve(t, dir)
	os.Remove(ran) // which git add has asked, as a person
	_, err = r.Continue(t.Context(), line, false)
	must(t, err)
	// A push writes down where the remote's branch is, and git asks that hook whatever it is told.
	must(t, os.Remove(filepath.Join(dir, ".git", "hooks", "reference-transaction")))
	if _, err := r.Pick(t.Context(), line, []string{fix}, true); err != nil || tm.at("edge-2.1") == tm.at("v2.1.0") {
		t.Error(err)
	}
	if _, err := r.Status(t.Context(), line); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(ran); err == nil {
		t.Errorf("these ran:\n%s", b)
	}
}

// Where the version file is all that is in conflict there is none.
func TestPickVersion(t *testing.T) {
	tm := newTeam(t)
	dir := tm.cut()
	gittest.Git(t, dir, "switch", "--quiet", "edge-2.1")
	commit(t, dir, "2.1.1-dev", "VERSION", "2.1.1-dev\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "edge-2.1")
	gittest.Git(t, dir, "switch", "--quiet", "main")
	changed := commit(t, dir, "fix: changes it", "VERSION", "2.2.0-dev\n", "c", "x\n")
	gittest.Git(t, dir, "rm", "--quiet", "VERSION")
	gone := commit(t, dir, "fix: removes it", "d", "x\n")
	crlf := commit(t, dir, "fix: makes it again", "VERSION", "2.2.0-dev\r\n", "e", "x\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	taken, err := tm.open(dir).Pick(t.Context(), line, []string{changed, gone, crlf}, true)
	if err != nil || len(taken) != 3 {
		t.Fatalf("%+v, %v", taken, err)
	}
	if tm.show("edge-2.1:VERSION") != "2.1.1-dev" || tm.show("edge-2.1:c") != "x" || tm.show("edge-2.1:d") != "x" || tm.show("edge-2.1:e") != "x" {
		t.Error(gittest.Git(t, tm.remote, "log", "-p", "edge-2.1"))
	}
	// And a branch without one gets none.
	gittest.Git(t, dir, "branch", "--quiet", "--force", "edge-2.1", "origin/edge-2.1")
	gittest.Git(t, dir, "switch", "--quiet", "edge-2.1")
	gittest.Git(t, dir, "rm", "--quiet", "VERSION")
	commit(t, dir, "none")
	gittest.Git(t, dir, "push", "--quiet", "origin", "edge-2.1")
	gittest.Git(t, dir, "switch", "--quiet", "main")
	more := commit(t, dir, "fix: more", "VERSION", "2.2.1-dev\n", "f", "x\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	if _, err := tm.open(dir).Pick(t.Context(), line, []string{more}, true); err != nil {
		t.Fatal(err)
	}
	if got := gittest.Git(t, tm.remote, "ls-tree", "--name-only", "edge-2.1", "VERSION", "f"); got != "f" {
		t.Errorf("the branch has %q", got)
	}
}
