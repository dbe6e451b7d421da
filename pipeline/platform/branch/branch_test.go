package branch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/platform/branch"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// job has this program be another process that a git kills.
const job = "SLIPWAY_TEST_BRANCH"

func TestMain(m *testing.M) {
	if what := os.Getenv(job); what != "" {
		if err := work(strings.Fields(what)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(fault.Exit(err))
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var line = branch.Line{Major: 2, Minor: 1}

// team is a remote, and clones of it.
type team struct {
	t      *testing.T
	remote string
	env    []string
}

func newTeam(t *testing.T) *team {
	t.Helper()
	tm := &team{t, gittest.Bare(t), gittest.Environ(t, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always")}
	gittest.Git(t, tm.remote, "symbolic-ref", "HEAD", "refs/heads/main")
	dir := filepath.Join(t.TempDir(), "seed")
	gittest.Git(t, tm.remote, "init", "--quiet", "--initial-branch=main", dir)
	gittest.Git(t, dir, "remote", "add", "origin", tm.remote)
	commit(t, dir, "begin", "VERSION", "2.1.0\n", "a", "one\n", "b", "1\n2\n3\n4\n5\n6\n7\n8\n9\n")
	gittest.Git(t, dir, "tag", "v2.1.0")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main", "v2.1.0")
	return tm
}

func (tm *team) clone() string {
	tm.t.Helper()
	dir := filepath.Join(tm.t.TempDir(), "clone")
	gittest.Git(tm.t, tm.remote, "clone", "--quiet", tm.remote, dir)
	return dir
}

func (tm *team) options(dir string) branch.Options {
	return branch.Options{Dir: dir, Project: "edge", Remote: "origin", Environ: tm.env}
}

func (tm *team) open(dir string) *branch.Repo {
	tm.t.Helper()
	r, err := branch.Open(tm.t.Context(), tm.options(dir))
	must(tm.t, err)
	return r
}

// at is the commit of a branch at the remote.
func (tm *team) at(name string) string {
	out, _ := gittest.Try(tm.t, tm.remote, "", "rev-parse", "--verify", "--quiet", "refs/heads/"+name)
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// commit writes files and commits them.
func commit(t *testing.T, dir, message string, files ...string) string {
	t.Helper()
	for f := range slices.Chunk(files, 2) {
		name := filepath.Join(dir, f[0])
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, []byte(f[1]), 0o644))
	}
	gittest.Git(t, dir, "add", "--all")
	gittest.Git(t, dir, "commit", "--quiet", "--allow-empty", "--author=Ann Author <ann@example.com>", "--date=2026-01-02T03:04:05+02:00", "-m", message)
	return gittest.Git(t, dir, "rev-parse", "HEAD")
}

// fails holds an error to a code and words.
func fails(t *testing.T, err error, code fault.Code, words string) {
	t.Helper()
	if fault.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), words) {
		t.Errorf("the error has code %d, want %d, and %q: %v", fault.CodeOf(err), code, words, err)
	}
}

func TestParseLine(t *testing.T) {
	if l, err := branch.ParseLine("2.1"); err != nil || l != line || l.String() != "2.1" {
		t.Error(l, err)
	}
	for _, s := range []string{"", "2", "2.1.0", "v2.1", "02.1", "-x", "2.-1", "2.1\n", "9999999999.1"} {
		_, err := branch.ParseLine(s)
		fails(t, err, fault.Usage, "such as 2.1")
	}
}

func TestCut(t *testing.T) {
	tm := newTeam(t)
	dir := tm.clone()
	base := tm.at("main")
	commit(t, dir, "later", "a", "two\n")
	gittest.Git(t, dir, "push", "--quiet")
	must(t, os.WriteFile(filepath.Join(dir, "a"), []byte("dirty"), 0o644)) // which is nobody's business
	r := tm.open(dir)

	// Here alone first, then at the remote, then nothing is left to do.
	made, p, err := r.Cut(t.Context(), line, "", false)
	must(t, err)
	if made != (branch.Made{Branch: "edge-2.1", Commit: base, Tag: "v2.1.0"}) || p == nil || p.Branch != "edge-2.2.0-dev" || p.Was || p.Pushed {
		t.Errorf("%+v, %+v", made, p)
	}
	if tm.at("edge-2.1") != "" || gittest.Git(t, dir, "rev-parse", "edge-2.1") != base {
		t.Error("the branch is not here alone")
	}
	proposed := p.Commit
	made, p, err = r.Cut(t.Context(), line, "", true)
	must(t, err)
	if made.Was || !made.Pushed || p.Was || !p.Pushed || p.Commit != proposed || tm.at("edge-2.1") != base || tm.at("edge-2.2.0-dev") != proposed {
		t.Errorf("%+v, %+v", made, p)
	}
	if got := gittest.Git(t, tm.remote, "diff", "--stat=80", "--summary", "main", "edge-2.2.0-dev"); !strings.Contains(got, "1 file changed") {
		t.Error(got)
	}
	if got := gittest.Git(t, tm.remote, "show", "edge-2.2.0-dev:VERSION"); got != "2.2.0-dev" {
		t.Error(got)
	}
	made, p, err = r.Cut(t.Context(), line, "", true)
	must(t, err)
	if !made.Was || !p.Was {
		t.Errorf("%+v, %+v", made, p)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(got) != "dirty" {
		t.Errorf("%q, %v", got, err)
	}

	// Another clone finds the same, also when the line has had its next release.
	other := tm.clone()
	gittest.Git(t, other, "switch", "--quiet", "edge-2.1")
	commit(t, other, "fix", "b", "fixed\n", "VERSION", "2.1.1\n")
	gittest.Git(t, other, "tag", "v2.1.1")
	gittest.Git(t, other, "push", "--quiet", "origin", "edge-2.1", "v2.1.1")
	if made, _, err = tm.open(other).Cut(t.Context(), line, "", true); err != nil || !made.Was || made.Tag != "v2.1.1" {
		t.Errorf("%+v, %v", made, err)
	}
	// Where the proposal was taken there is none.
	gittest.Git(t, tm.remote, "update-ref", "refs/heads/main", proposed)
	if _, p, err = tm.open(other).Cut(t.Context(), line, "", true); err != nil || p != nil {
		t.Errorf("%+v, %v", p, err)
	}
}

// Of several projects of a repository each has branches, tags and a version file of its own.
func TestProjects(t *testing.T) {
	tm := newTeam(t)
	dir := tm.clone()
	released := commit(t, dir, "gateway", "gateway/VERSION", "2.1.4\n")
	gittest.Git(t, dir, "tag", "gateway/v2.1.4")
	fix := commit(t, dir, "fix", "gateway/fix", "x\n", "VERSION", "2.3.0-dev\n", "gateway/VERSION", "2.1.5-dev\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main", "gateway/v2.1.4")
	o := tm.options(dir)
	o.Project, o.TagPrefix, o.Folder = "gateway", "gateway/", "gateway"
	r, err := branch.Open(t.Context(), o)
	must(t, err)
	made, p, err := r.Cut(t.Context(), line, "", true)
	if err != nil || made.Branch != "gateway-2.1" || made.Commit != released || p.Branch != "gateway-2.2.0-dev" || p.File != "gateway/VERSION" {
		t.Errorf("%+v, %+v, %v", made, p, err)
	}
	if tm.show("gateway-2.2.0-dev:VERSION") != "2.3.0-dev" || tm.show("gateway-2.2.0-dev:gateway/VERSION") != "2.2.0-dev" {
		t.Error("the proposal is of another project")
	}
	if _, err := r.Pick(t.Context(), line, []string{fix}, true); err != nil {
		t.Error(err)
	}
	if tm.show("gateway-2.1:gateway/VERSION") != "2.1.4" || tm.show("gateway-2.1:VERSION") != "2.3.0-dev" || tm.show("gateway-2.1:gateway/fix") != "x" {
		t.Error("the version of the project did not stay, or more than that stayed")
	}
	made, p, err = tm.open(dir).Cut(t.Context(), line, "", true)
	if err != nil || made.Branch != "edge-2.1" || made.Tag != "v2.1.0" || p != nil {
		t.Errorf("%+v, %+v, %v", made, p, err)
	}
}

// A branch that is there at another commit is told, whether that is beside the release or behind it on the default branch.
func TestCutElsewhere(t *testing.T) {
	tm := newTeam(t)
	dir := tm.clone()
	later := commit(t, dir, "later", "a", "two\n")
	gittest.Git(t, dir, "push", "--quiet")
	gittest.Git(t, tm.remote, "update-ref", "refs/heads/edge-2.1", later)
	for _, push := range []bool{false, true} {
		if !push {
			gittest.Git(t, dir, "fetch", "--quiet")
		}
		_, _, err := tm.open(dir).Cut(t.Context(), line, "", push)
		fails(t, err, fault.Conflict, "branch edge-2.1 is there, at commit "+later[:12]+", and does not begin at")
	}
	if tm.at("edge-2.1") != later {
		t.Error("the branch was moved")
	}
	made, _, err := tm.open(dir).Cut(t.Context(), line, later, true)
	if err != nil || !made.Was || made.Commit != later {
		t.Errorf("%+v, %v", made, err)
	}
	// And one that is called like the proposal.
	gittest.Git(t, tm.remote, "update-ref", "refs/heads/edge-2.2.0-dev", later)
	_, _, err = tm.open(dir).Cut(t.Context(), line, later, true)
	fails(t, err, fault.Conflict, "branch edge-2.2.0-dev is there")
	// And two of a name that have nothing to do with each other.
	gittest.Git(t, dir, "switch", "--quiet", "--orphan", "edge-2.1")
	commit(t, dir, "alone", "x", "x")
	gittest.Git(t, dir, "switch", "--quiet", "main")
	_, _, err = tm.open(dir).Cut(t.Context(), line, "", true)
	fails(t, err, fault.Conflict, "and neither has the other")
}

func TestBadInput(t *testing.T) {
	tm := newTeam(t)
	dir := tm.clone()
	r := tm.open(dir)
	for _, rev := range []string{"-x", "--all", "--output=/tmp/x", "HEAD\n", "a\x00b"} {
		_, _, err := r.Cut(t.Context(), line, rev, false)
		fails(t, err, fault.Usage, "is not a revision")
	}
	for _, rev := range []string{"nowhere", "main..HEAD", "HEAD:a", "main:", strings.Repeat("1", 40)} {
		_, _, err := r.Cut(t.Context(), line, rev, false)
		fails(t, err, fault.Git, "is no commit of this repository")
	}
	_, _, err := r.Cut(t.Context(), branch.Line{Major: 3}, "", false)
	fails(t, err, fault.Git, "there is no release of 3.0, a tag such as v3.0.0; tag one, or name the commit with --from")
	if refs := gittest.Git(t, dir, "for-each-ref", "refs/heads"); strings.Count(refs, "\n") != 0 {
		t.Errorf("something was made:\n%s", refs)
	}
	_, err = r.Status(t.Context(), line)
	fails(t, err, fault.Git, "there is no branch edge-2.1")

	for name, change := range map[string]func(*branch.Options){
		"a remote": func(o *branch.Options) { o.Remote = "-x" }, "a platform": func(o *branch.Options) { o.Of = "a..b" },
		"a path": func(o *branch.Options) { o.Of = "a/b" }, "a branch": func(o *branch.Options) { o.Main = "@{-1}" }, "a project": func(o *branch.Options) { o.Project = "a b" },
	} {
		o := tm.options(dir)
		change(&o)
		if _, err := branch.Open(t.Context(), o); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := tm.options(dir)
	o.Main = "trunk"
	r, err = branch.Open(t.Context(), o)
	must(t, err)
	_, _, err = r.Cut(t.Context(), line, "", false)
	fails(t, err, fault.Git, "the default branch trunk has no commit")

	unborn := t.TempDir()
	gittest.Git(t, unborn, "init", "--quiet", "--initial-branch=main", ".")
	_, _, err = tm.open(unborn).Cut(t.Context(), line, "", false)
	fails(t, err, fault.Git, "nothing says which branch is the default one; name it with --main")
	_, _, err = tm.open(unborn).Cut(t.Context(), line, "", true)
	fails(t, err, fault.Usage, "there is no remote origin to push to")

	shallow := filepath.Join(t.TempDir(), "shallow")
	commit(t, dir, "later", "a", "two\n")
	gittest.Git(t, dir, "push", "--quiet")
	gittest.Git(t, tm.remote, "clone", "--quiet", "--depth=1", "file://"+filepath.ToSlash(tm.remote), shallow)
	_, err = branch.Open(t.Context(), tm.options(shallow))
	fails(t, err, fault.Git, "is a shallow clone")
	_, err = branch.Open(t.Context(), tm.options(t.TempDir()))
	fails(t, err, fault.Git, "is not in the work tree of a git repository")
}

// Of many who make one branch at once, each ends with that branch, and one proposal is made.
func TestCutAtOnce(t *testing.T) {
	tm := newTeam(t)
	var g sync.WaitGroup
	errs := make([]error, 6)
	one := tm.clone()
	for i := range errs {
		dir := one
		if i%2 == 0 {
			dir = tm.clone()
		}
		r := tm.open(dir)
		g.Go(func() { _, _, errs[i] = r.Cut(t.Context(), line, "", true) })
	}
	g.Wait()
	for i, err := range errs {
		if err != nil && fault.CodeOf(err) != fault.Transient {
			t.Errorf("%d: %v", i, err)
		}
	}
	if errs[0] != nil && errs[2] != nil && errs[4] != nil || tm.at("edge-2.1") != tm.at("main") || tm.at("edge-2.2.0-dev") == "" {
		t.Errorf("%v, %q, %q", errs, tm.at("edge-2.1"), tm.at("edge-2.2.0-dev"))
	}
}

var hostileVersions = map[string]string{
	"2.1.0\r\n": "carriage return", "2.1.0\r": "carriage return", "2.1.0\n2.1.1\n": "more than one line", "2.1.0\n\n": "more than one line", "2.1\n": "is not SemVer",
	"": "is not SemVer", " 2.1.0\n": "is not SemVer", "v2.1.0\n": "the v belongs to the tag alone", "2.1.0+x\n": "build metadata",
	strings.Repeat("1", 5000): "has 5000 bytes", "\x00": "is not SemVer",
}

func TestVersionFile(t *testing.T) {
	for _, text := range []string{"2.1.0\n", "2.1.0", "2.1.0-dev\n"} {
		if v, err := branch.ParseVersionFile("VERSION", []byte(text)); err != nil || v.String() != strings.TrimSpace(text) {
			t.Errorf("%q: %v, %v", text, v, err)
		}
	}
	for text, words := range hostileVersions {
		_, err := branch.ParseVersionFile("VERSION", []byte(text))
		fails(t, err, fault.Git, words)
		if !strings.Contains(err.Error(), "; write one version such as 1.2.3 or 1.2.4-dev into it") {
			t.Error(err)
		}
	}
	for text, want := range map[string]bool{"2.1.0\r\n": true, "2.1.0\nx": true, "v1.0.0": true, "go1.26": false, "": false, "the version": false} {
		if branch.IsVersionFile([]byte(text)) != want {
			t.Errorf("%q is a version file: %v", text, !want)
		}
	}
}

// A version file that is written badly stops the proposal and not the branch; what is called so and is none does not.
func TestCutVersionFile(t *testing.T) {
	for text, words := range hostileVersions {
		tm := newTeam(t)
		dir := tm.clone()
		commit(t, dir, "odd", "VERSION", text)
		gittest.Git(t, dir, "push", "--quiet")
		made, p, err := tm.open(dir).Cut(t.Context(), line, "", true)
		if branch.IsVersionFile([]byte(text)) {
			fails(t, err, fault.Git, words)
		} else if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if !made.Pushed || p != nil || tm.at("edge-2.1") == "" || tm.at("edge-2.2.0-dev") != "" {
			t.Errorf("%q: %+v, %+v", text, made, p)
		}
	}
	tm := newTeam(t)
	dir := tm.clone()
	none := func(what string) {
		t.Helper()
		commit(t, dir, what)
		gittest.Git(t, dir, "push", "--quiet")
		if _, p, err := tm.open(dir).Cut(t.Context(), line, "", true); err != nil || p != nil {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
		gittest.Git(t, dir, "rm", "-r", "--quiet", "VERSION")
	}
	must(t, os.Remove(filepath.Join(dir, "VERSION")))
	must(t, os.Mkdir(filepath.Join(dir, "VERSION"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "VERSION", "a"), []byte("2.1.0\n"), 0o644))
	none("a folder")
	if err := os.Symlink("2.1.0", filepath.Join(dir, "VERSION")); err != nil {
		t.Skip(err)
	}
	none("a link")
	must(t, os.WriteFile(filepath.Join(dir, "VERSION"), []byte(strings.Repeat("x", 10<<20)), 0o644))
	none("a large file")
}

// The states of commits, out of the history alone.
func TestStatus(t *testing.T) {
	tm := newTeam(t)
	dir := tm.clone()
	_, _, err := tm.open(dir).Cut(t.Context(), line, "", true)
	must(t, err)
	ids := map[string]string{}
	for _, name := range []string{"picked", "same", "edited", "forged", "lying", "missing", "binary", "swapped"} {
		ids[name] = commit(t, dir, name+"\n\nSigned-off-by: A <a@example.com>", "dir/"+name, name+"\n")
	}
	ids["bytes"] = commit(t, dir, "bytes", "bytes", "\x00one")
	ids["other bytes"] = commit(t, dir, "other bytes", "more", "\x00one")
	ids["version"] = commit(t, dir, "version", "VERSION", "2.2.0-dev\n")
	ids["both"] = commit(t, dir, "both", "VERSION", "2.2.1-dev\n", "both", "both\n")
	ids["nothing"] = commit(t, dir, "nothing")
	gittest.Git(t, dir, "push", "--quiet")

	gittest.Git(t, dir, "switch", "--quiet", "edge-2.1")
	on := map[string]string{}
	byHand := func(name string) { on[name] = gittest.Git(t, dir, "rev-parse", "HEAD") }
	trailer := func(id string) string { return "\n\n(cherry picked from commit " + id + ")" }
	gittest.Git(t, dir, "cherry-pick", "-x", ids["picked"])
	byHand("picked")
	gittest.Git(t, dir, "cherry-pick", ids["same"])
	byHand("same")
	on["edited"] = commit(t, dir, "edited"+trailer(ids["edited"]), "dir/edited", "other\n")
	// A patch id in the message proves nothing.
	gittest.Git(t, dir, "cherry-pick", "-x", ids["missing"])
	forgedID := strings.Fields(gittest.GitIn(t, dir, gittest.Git(t, dir, "show", "HEAD")+"\n", "patch-id", "--stable"))[0]
	gittest.Git(t, dir, "reset", "--quiet", "--hard", "HEAD^")
	on["forged"] = commit(t, dir, "forged"+trailer(ids["forged"])+"\nSlipway-Patch-Id: "+forgedID, "dir/missing2", "missing\n")
	on["lying"] = commit(t, dir, "lying"+trailer(ids["lying"])+"\nSlipway-Patch-Id: "+forgedID, "dir/lying", "lying\n")
	on["other bytes"] = commit(t, dir, "other bytes"+trailer(ids["other bytes"]), "more", "\x00two")
	gittest.Git(t, dir, "cherry-pick", "-x", ids["bytes"])
	byHand("bytes")
	on["both"] = commit(t, dir, "both"+trailer(ids["both"]), "VERSION", "2.1.1-dev\n", "both", "both\n")
	on["own"] = commit(t, dir, "own", "VERSION", "2.1.1\n")
	on["own2"] = commit(t, dir, "own2", "own", "x")
	s, err := tm.open(dir).Status(t.Context(), line)
	must(t, err)
	got := map[string]branch.Commit{}
	for _, c := range s.Commits {
		got[c.Subject] = c
	}
	want := map[string]branch.State{
		"picked": branch.Picked, "same": branch.Same, "edited": branch.Edited, "forged": branch.Edited, "lying": branch.Edited, "missing": branch.Missing, "binary": branch.Missing,
		"swapped": branch.Missing, "bytes": branch.Picked, "other bytes": branch.Edited, "version": branch.Empty, "both": branch.Picked, "nothing": branch.Empty,
		"own": branch.Own, "own2": branch.Own,
	}
	for name, state := range want {
		if c := got[name]; c != (branch.Commit{State: state, Commit: ids[name], Branch: on[name], Subject: name}) {
			t.Errorf("%s, want %s: %+v", name, state, c)
		}
	}
	if len(s.Commits) != len(want) || s.Fork != gittest.Git(t, dir, "rev-parse", "v2.1.0") || s.Main != "main" || s.Count(branch.Missing) != 3 {
		t.Errorf("%d commits, %+v", len(s.Commits), s)
	}
	// An order: the default branch's, then the branch's own.
	if s.Commits[0].Subject != "picked" || s.Commits[len(want)-1].Subject != "own2" {
		t.Errorf("%+v", s.Commits)
	}

	// A trailer that names what is elsewhere, or nowhere.
	gittest.Git(t, dir, "switch", "--quiet", "--create", "side", "main")
	side := commit(t, dir, "side", "side", "side")
	gittest.Git(t, dir, "switch", "--quiet", "edge-2.1")
	commit(t, dir, "unfounded"+trailer(side), "side", "side")
	commit(t, dir, "nowhere"+trailer(strings.Repeat("1", 40)), "side2", "side")
	s, err = tm.open(dir).Status(t.Context(), line)
	fails(t, err, fault.Policy, "2 of branch edge-2.1 say that they were picked from what is not on main: commit ")
	if s.Count(branch.Unfounded) != 2 || len(s.Commits) != len(want)+2 {
		t.Errorf("%+v", s)
	}
}

// A merge of either side into the other does not hide what was picked.
func TestStatusMerged(t *testing.T) {
	tm := newTeam(t)
	dir := tm.clone()
	_, _, err := tm.open(dir).Cut(t.Context(), line, "", true)
	must(t, err)
	fix, other := commit(t, dir, "fix", "fix", "x\n"), commit(t, dir, "other", "other", "x\n")
	gittest.Git(t, dir, "switch", "--quiet", "edge-2.1")
	gittest.Git(t, dir, "cherry-pick", "-x", fix)
	gittest.Git(t, dir, "switch", "--quiet", "main")
	gittest.Git(t, dir, "merge", "--quiet", "--no-ff", "-m", "merge", "edge-2.1")
	gittest.Git(t, dir, "push", "--quiet", "origin", "main")
	s, err := tm.open(dir).Status(t.Context(), line)
	must(t, err)
	if len(s.Commits) != 2 || s.Commits[0].State != branch.Picked || s.Commits[0].Commit != fix || s.Commits[1].State != branch.Missing || s.Commits[1].Commit != other {
		t.Errorf("%+v", s.Commits)
	}
}

func TestStatusSpeed(t *testing.T) {
	fixture.SkipRace(t)
	const many = 1000
	tm := newTeam(t)
	var b strings.Builder
	for i := range many {
		fmt.Fprintf(&b, "commit refs/heads/main\ncommitter A <a@example.com> %d +0000\ndata 8\nfix %04d\n", 1_700_000_000+i, i)
		if i == 0 {
			b.WriteString("from refs/heads/main^0\n")
		}
		text := strings.Repeat(fmt.Sprintf("line %d\n", i), 40)
		fmt.Fprintf(&b, "M 100644 inline d%d/f%d\ndata %d\n%s\n", i%20, i, len(text), text)
	}
	gittest.GitIn(t, tm.remote, b.String(), "fast-import", "--quiet")
	dir := tm.clone()
	r := tm.open(dir)
	_, _, err := r.Cut(t.Context(), line, "", true)
	must(t, err)
	begin := time.Now()
	s, err := r.Status(t.Context(), line)
	must(t, err)
	took := time.Since(begin)
	t.Logf("%d commits in %s", many, took)
	if s.Count(branch.Missing) != many || took > 20*time.Second {
		t.Errorf("%d are missing, in %s", s.Count(branch.Missing), took)
	}
}
