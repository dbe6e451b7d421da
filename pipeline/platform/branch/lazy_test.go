package branch_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/branch"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// component opens a clone as that of a component of a platform.
func (tm *team) component(dir string, change func(*branch.Options)) *branch.Repo {
	tm.t.Helper()
	o := tm.options(dir)
	o.Project, o.Of = "gateway", "edge"
	if change != nil {
		change(&o)
	}
	r, err := branch.Open(tm.t.Context(), o)
	must(tm.t, err)
	return r
}

func lockOf(c platform.Chosen) platform.Lock {
	return platform.Lock{Version: 1, Channel: platform.Stable, Components: map[string]platform.Chosen{"gateway": c}}
}

func TestLazy(t *testing.T) {
	tm := newTeam(t)
	dir := tm.clone()
	base := tm.at("main")
	for _, name := range []string{"v1.4.1", "v1.4.2", "v1.5.0", "other/v1.4.9"} {
		gittest.Git(t, dir, "tag", name)
	}
	later := commit(t, dir, "later", "a", "two\n")
	gittest.Git(t, dir, "push", "--quiet", "--tags", "origin", "main")
	chosen := platform.Chosen{Version: "1.4.2", Tag: "v1.4.2", Commit: base}

	// Many who make it at once find one branch; two lines of one release get two versions.
	var g sync.WaitGroup
	errs := make([]error, 4)
	was := make([]bool, len(errs))
	for i := range errs {
		r := tm.component(tm.clone(), nil)
		g.Go(func() {
			made, _, next, err := r.Lazy(t.Context(), line, lockOf(chosen), "", true)
			if errs[i], was[i] = err, made.Was; err == nil && (next.String() != "1.4.3" || made.Branch != "edge-2.1" || made.Commit != base || !made.Pushed) {
				t.Errorf("%+v, %s", made, next)
			}
		})
	}
	g.Wait()
	first := 0
	for i, err := range errs {
		if err != nil {
			t.Error(err)
		}
		if !was[i] {
			first++
		}
	}
	if first != 1 || tm.at("edge-2.1") != base {
		t.Errorf("%d have made it, and it is at %q", first, tm.at("edge-2.1"))
	}
	gittest.Git(t, dir, "tag", "v1.4.3-rc.1", base)
	r := tm.component(dir, nil)
	if made, _, next, err := r.Lazy(t.Context(), branch.Line{Major: 2, Minor: 2}, lockOf(chosen), "", false); err != nil || next.String() != "1.4.4" || made.Branch != "edge-2.2" || made.Pushed || made.Was {
		t.Errorf("%+v, %s, %v", made, next, err)
	}
	// A branch with that name is at another commit.
	_, _, _, err := r.Lazy(t.Context(), line, platform.Lock{}, later, true)
	fails(t, err, fault.Conflict, "branch edge-2.1 is there")
	// A commit without a version has no next one.
	if made, _, next, err := r.Lazy(t.Context(), branch.Line{Major: 2, Minor: 4}, lockOf(platform.Chosen{Commit: later}), "", false); err != nil || !next.IsZero() || made.Commit != later {
		t.Errorf("%+v, %s, %v", made, next, err)
	}

	for words, lock := range map[string]platform.Lock{
		"is not in this repository; git fetch --tags brings it":                 lockOf(platform.Chosen{Version: "1.4.2", Tag: "v1.4.2", Commit: strings.Repeat("1", 40)}),
		"tag v9.9.9, which the platform has of gateway, is not in this":         lockOf(platform.Chosen{Version: "9.9.9", Tag: "v9.9.9", Commit: base}),
		"tag v1.4.2 moved: it was commit " + later[:12] + " when it was locked": lockOf(platform.Chosen{Version: "1.4.2", Tag: "v1.4.2", Commit: later}),
	} {
		_, _, _, err := r.Lazy(t.Context(), branch.Line{Major: 3}, lock, "", true)
		fails(t, err, fault.Git, words)
	}
	_, _, _, err = r.Lazy(t.Context(), branch.Line{Major: 3}, platform.Lock{}, "", true)
	fails(t, err, fault.Usage, "the lock of the platform has no component gateway; name the commit with --commit")
	_, _, _, err = r.Lazy(t.Context(), branch.Line{Major: 3}, platform.Lock{}, "-x", true)
	fails(t, err, fault.Usage, "is not a revision")
	if tm.at("edge-3.0") != "" {
		t.Error("a branch was made")
	}
}

// Where the default branch would go on with the version that the branch has next, it is to go on with the minor version after that.
func TestLazyProposes(t *testing.T) {
	tm := newTeam(t)
	dir := tm.clone()
	base := tm.at("main")
	gittest.Git(t, dir, "tag", "v1.4.2", base)
	for text, want := range map[string]string{"1.4.3-dev": "1.5.0-dev", "1.5.0-dev": "", "2.0.0": "", "0.9.0": "1.5.0-dev"} {
		commit(t, dir, text, "VERSION", text+"\n")
		gittest.Git(t, dir, "push", "--quiet", "origin", "main")
		if want != "" {
			_, _ = gittest.Try(t, tm.remote, "", "update-ref", "-d", "refs/heads/gateway-"+want)
			gittest.Git(t, dir, "fetch", "--quiet", "--prune")
		}
		_, p, _, err := tm.component(dir, nil).Lazy(t.Context(), line, platform.Lock{}, "v1.4.2", true)
		if err != nil || (p == nil) != (want == "") || p != nil && (p.Branch != "gateway-"+want || !p.Pushed || tm.show(p.Branch+":VERSION") != want) {
			t.Errorf("%s: %+v, %v", text, p, err)
		}
	}
}

func TestName(t *testing.T) {
	tm := newTeam(t)
	dir := tm.clone()
	for want, change := range map[string]func(*branch.Options){
		"edge-2.1":         nil,
		"edge-gateway-2.1": func(o *branch.Options) { o.TagPrefix = "gateway/" },
		"gateway-2.1":      func(o *branch.Options) { o.TagPrefix, o.Of = "gateway/", "" },
	} {
		if got := tm.component(dir, change).Name(line); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := tm.component(filepath.Join(dir, "."), func(o *branch.Options) { o.Of = "gateway" }).Name(line); got != "gateway-2.1" {
		t.Error(got)
	}
}

func TestBump(t *testing.T) {
	tm := newTeam(t)
	dir := tm.clone()
	for _, name := range []string{"v1.4.3", "v1.4.4-rc.1", "v1.6.0-rc.1", "other/v1.5.7"} {
		gittest.Git(t, dir, "tag", name)
	}
	r := tm.open(dir)
	for before, want := range map[string][2]string{
		"1.5.1":      {"1.5.2", "1.5.2-dev"},
		"1.5.2-dev":  {"1.5.2", "1.5.2-dev"},
		"1.4.2":      {"1.4.5", "1.4.5-dev"}, // another line has 1.4.3, and is about to have 1.4.4
		"1.4.3-dev":  {"1.4.5", "1.4.3-dev"},
		"1.4.4-rc.1": {"1.4.4", "1.4.4-rc.1"},
		"1.6.0-dev":  {"1.6.0", "1.6.0-dev"},
		"2.1.0":      {"2.1.1", "2.1.1-dev"},
	} {
		v, err := version.Parse(before)
		must(t, err)
		for i, dev := range []bool{false, true} {
			if got, err := r.Bump(t.Context(), v, dev); err != nil || got.String() != want[i] {
				t.Errorf("%s, dev %v: %s, want %s; %v", before, dev, got, want[i], err)
			}
		}
	}
	top, err := version.Parse("1.5.9223372036854775807")
	must(t, err)
	if _, err := r.Bump(t.Context(), top, false); fault.CodeOf(err) != fault.Git {
		t.Error(err)
	}
}
