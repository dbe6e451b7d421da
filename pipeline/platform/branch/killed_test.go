package branch_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/branch"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// work does in this process what TestKilled asks for: the command, the folder and its arguments.
func work(args []string) error {
	ctx := context.Background()
	r, err := branch.Open(ctx, branch.Options{Dir: args[1], Project: "edge", Remote: "origin", Environ: os.Environ()})
	if err != nil {
		return err
	}
	switch args[0] {
	case "cut":
		_, _, err = r.Cut(ctx, line, "", true)
	case "lazy":
		_, _, _, err = r.Lazy(ctx, line, platform.Lock{}, "v2.1.0", true)
	case "pick":
		_, err = r.Pick(ctx, line, args[2:], true)
	case "continue", "moved":
		_, err = r.Continue(ctx, line, true)
	}
	return err
}

// killing is a folder with a git that kills who runs it before, or after, its run of that number.
func killing(t *testing.T, when string, at int) string {
	t.Helper()
	real, err := exec.LookPath("git")
	must(t, err)
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nn=$(cat '%[1]s/n' 2>/dev/null || echo 0); n=$((n+1)); echo $n > '%[1]s/n'\n"+
		"[ $n != %[2]d ] || [ %[3]s != before ] || { kill -9 $PPID; exit 1; }\n'%[4]s' \"$@\"; r=$?\n"+
		"[ $n != %[2]d ] || [ %[3]s != after ] || kill -9 $PPID\nexit $r\n", bin, at, when, real)
	must(t, os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755))
	return bin
}

// Each command is killed before and after each git that it runs. The same command then ends with what one ends with that nobody kills.
func TestKilled(t *testing.T) {
	fixture.SkipRace(t)
	if runtime.GOOS == "windows" {
		t.Skip("the git that kills is a script")
	}
	whens := []string{"after", "before"}
	if !fixture.Full {
		whens = whens[:1] // what is done and not known is the harder case
	}
	for _, way := range []string{"cut", "lazy", "pick", "continue", "moved"} {
		points := 0
		for _, when := range whens {
			for at, ended := 1, false; !ended; at++ {
				if !fixture.Full && at > 1 && at%15 != 0 {
					continue
				}
				tm := newTeam(t)
				want := prepare(t, tm, way)
				run := func(path string) (string, error) {
					cmd := exec.Command(os.Args[0])
					cmd.Env = append(tm.env, job+"="+strings.Join(append([]string{way}, want.args...), " "), "PATH="+path+string(filepath.ListSeparator)+os.Getenv("PATH"))
					out, err := cmd.CombinedOutput()
					if err != nil && cmd.ProcessState.ExitCode() != -1 {
						t.Fatalf("%s, %s git %d: %v\n%s", way, when, at, err, out)
					}
					return string(out), err
				}
				_, err := run(killing(t, when, at))
				if ended = err == nil; !ended {
					points++
					if out, err := run(""); err != nil {
						t.Fatalf("%s, after a kill %s git %d: %v\n%s", way, when, at, err, out)
					}
				}
				want.check(fmt.Sprintf("%s, killed %s git %d", way, when, at))
			}
		}
		t.Logf("%s was killed at %d points", way, points)
		if points < 2 {
			t.Errorf("%s was killed at %d points", way, points)
		}
	}
}

// outcome is what a way is to end with.
type outcome struct {
	args  []string
	check func(when string)
}

func prepare(t *testing.T, tm *team, way string) outcome {
	t.Helper()
	if way == "cut" || way == "lazy" {
		return outcome{[]string{tm.clone()}, func(when string) {
			if tm.at("edge-2.1") != tm.at("main") || gittest.Git(t, tm.remote, "show", "edge-2.2.0-dev:VERSION") != "2.2.0-dev" ||
				gittest.Git(t, tm.remote, "rev-list", "--count", "main..edge-2.2.0-dev") != "1" {
				t.Errorf("%s: the branches are\n%s", when, gittest.Git(t, tm.remote, "for-each-ref"))
			}
		}}
	}
	dir, ids := conflicting(t, tm)
	if way == "pick" {
		ids = []string{ids[0], ids[2]}
		return outcome{append([]string{dir}, ids...), func(when string) {
			if n := gittest.Git(t, tm.remote, "rev-list", "--count", "v2.1.0..edge-2.1"); n != "2" || tm.states(dir)["fix: three"] != branch.Picked {
				t.Errorf("%s: there are %s commits", when, n)
			}
		}}
	}
	if _, err := tm.open(dir).Pick(t.Context(), line, ids, true); err == nil {
		t.Fatal("there was no conflict")
	}
	solve(t, dir)
	want := "3"
	if way == "moved" {
		want = "4"
		other := tm.clone()
		gittest.Git(t, other, "switch", "--quiet", "edge-2.1")
		commit(t, other, "own", "own", "x\n")
		gittest.Git(t, other, "push", "--quiet", "origin", "edge-2.1")
	}
	return outcome{[]string{dir}, func(when string) {
		if n := gittest.Git(t, tm.remote, "rev-list", "--count", "v2.1.0..edge-2.1"); n != want {
			t.Errorf("%s: there are %s commits", when, n)
		}
		checkThree(t, tm, dir)
	}}
}

// meanwhile is an environment in which somebody else moves a branch at the remote just before a push.
func (tm *team) meanwhile(branch, to string) []string {
	tm.t.Helper()
	real, err := exec.LookPath("git")
	must(tm.t, err)
	bin := tm.t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *' push '*) '%[1]s' --git-dir '%[2]s' update-ref refs/heads/%[3]s %[4]s;; esac\nexec '%[1]s' \"$@\"\n", real, tm.remote, branch, to)
	must(tm.t, os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755))
	return append(tm.env, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// What somebody else has pushed between the look and the push is found, and never overwritten.
func TestMovedBeforePush(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the git that moves is a script")
	}
	tm := newTeam(t)
	dir := tm.clone()
	base, fix := tm.at("main"), commit(t, dir, "fix", "c", "x\n")
	other := commit(t, dir, "fix: other", "d", "x\n")
	gittest.Git(t, dir, "push", "--quiet")
	open := func(environ []string) *branch.Repo {
		o := tm.options(dir)
		o.Environ = environ
		r, err := branch.Open(t.Context(), o)
		must(t, err)
		return r
	}
	_, _, err := open(tm.meanwhile("edge-2.1", other)).Cut(t.Context(), line, "", true)
	fails(t, err, fault.Conflict, "branch edge-2.1 is there, at commit "+other[:12])
	if tm.at("edge-2.1") != other {
		t.Error("it was overwritten")
	}
	gittest.Git(t, tm.remote, "update-ref", "-d", "refs/heads/edge-2.1")
	gittest.Git(t, dir, "fetch", "--quiet", "--prune")
	made, _, err := open(tm.meanwhile("edge-2.1", base)).Cut(t.Context(), line, "", true)
	if err != nil || !made.Was || tm.at("edge-2.1") != base {
		t.Errorf("%+v, %v", made, err)
	}
	// A proposal that somebody else has made is taken as it is.
	gittest.Git(t, tm.remote, "update-ref", "-d", "refs/heads/edge-2.2.0-dev")
	gittest.Git(t, dir, "fetch", "--quiet", "--prune")
	gittest.Git(t, dir, "switch", "--quiet", "--detach", "main")
	theirs := commit(t, dir, "by hand", "VERSION", "2.2.0-dev\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "HEAD:refs/heads/theirs")
	_, p, err := open(tm.meanwhile("edge-2.2.0-dev", theirs)).Cut(t.Context(), line, "", true)
	if err != nil || p == nil || !p.Was || p.Commit != theirs || tm.at("edge-2.2.0-dev") != theirs {
		t.Errorf("%+v, %v", p, err)
	}

	gittest.Git(t, dir, "switch", "--quiet", "--detach", base)
	moved := commit(t, dir, "by hand", "e", "x\n")
	gittest.Git(t, dir, "push", "--quiet", "origin", "HEAD:refs/heads/moved")
	_, err = open(tm.meanwhile("edge-2.1", moved)).Pick(t.Context(), line, []string{fix}, true)
	fails(t, err, fault.Transient, "somebody has moved the branch meanwhile; run the same command again")
	if tm.at("edge-2.1") != moved {
		t.Error("it was overwritten")
	}
	if _, err = tm.open(dir).Pick(t.Context(), line, []string{fix}, true); err != nil || gittest.Git(t, tm.remote, "rev-parse", "edge-2.1^") != moved {
		t.Error(err)
	}
}

// A git that is too old to compare changes of bytes is named where they are compared, and does for the rest.
func TestOldGit(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the git that is older is a script")
	}
	tm := newTeam(t)
	dir := tm.clone()
	open := func(says string) (*branch.Repo, error) {
		real, err := exec.LookPath("git")
		must(t, err)
		bin := t.TempDir()
		script := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *' version ') echo git version %s; exit;; esac\nexec '%s' \"$@\"\n", says, real)
		must(t, os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755))
		o := tm.options(dir)
		o.Environ = append(tm.env, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
		return branch.Open(t.Context(), o)
	}
	r, err := open("2.34.1")
	must(t, err)
	if _, _, err := r.Cut(t.Context(), line, "", true); err != nil {
		t.Error(err)
	}
	_, err = r.Status(t.Context(), line)
	fails(t, err, fault.Git, "install git 2.39 or later")
	_, err = open("2.25.1")
	fails(t, err, fault.Git, "install git 2.31 or later")
}

// refuse has the remote refuse every push, or no more.
func (tm *team) refuse(yes bool) {
	tm.t.Helper()
	hook := filepath.Join(tm.remote, "hooks", "pre-receive")
	if !yes {
		must(tm.t, os.Remove(hook))
		return
	}
	must(tm.t, os.MkdirAll(filepath.Dir(hook), 0o755))
	must(tm.t, os.WriteFile(hook, []byte("#!/bin/sh\necho GH006: Protected branch update failed >&2\nexit 1\n"), 0o755))
}

// A remote that refuses a push keeps what it has, nothing is left here, and the same command goes on when it allows it.
func TestRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the hook is a script")
	}
	tm := newTeam(t)
	dir := tm.clone()
	fix := commit(t, dir, "fix", "c", "x\n")
	gittest.Git(t, dir, "push", "--quiet")
	r := tm.open(dir)
	tm.refuse(true)
	_, _, err := r.Cut(t.Context(), line, "", true)
	fails(t, err, fault.Policy, "Protected branch update failed")
	if refs := gittest.Git(t, dir, "for-each-ref", "refs/heads"); strings.Contains(refs, "edge") || tm.at("edge-2.1") != "" {
		t.Errorf("there is\n%s", refs)
	}
	tm.refuse(false)
	made, _, err := r.Cut(t.Context(), line, "", true)
	if err != nil || made.Was || !made.Pushed {
		t.Errorf("%+v, %v", made, err)
	}
	tm.refuse(true)
	_, err = r.Pick(t.Context(), line, []string{fix}, true)
	fails(t, err, fault.Policy, "Protected branch update failed")
	tm.refuse(false)
	taken, err := r.Pick(t.Context(), line, []string{fix}, true)
	if err != nil || len(taken) != 1 || taken[0].Was || tm.at("edge-2.1") != taken[0].To {
		t.Errorf("%+v, %v", taken, err)
	}
}
