// Package reproduce proves that a published release is what its commit builds, or says exactly where it is not.
//
// A release is found where it was published and checked as a receiver checks it. Then its commit is cloned into a clean
// place, the pipeline of that very commit is compiled as its own go.mod pins it, and run where everything is different
// that must not matter: the path, the time zone, the locale, the clock, the user's folders, the caches. What comes out is
// held against what was published, byte for byte, and what differs is explained to the innermost place.
//
// Nothing of this program goes into the bytes that it compares: it may be years newer than the pipeline that it runs. All
// that it asks of that pipeline is the build command and the flags that say which release is wanted.
//
// A commit's pipeline is a program of the commit's author, and so is everything that it compiles. Who rebuilds a release
// runs both, as any user of its sources would; in a container or a machine of its own where they are not trusted.
package reproduce

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/reproduce/rerun"
	"github.com/slipway-build/slipway/pipeline/source"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// Options say what is reproduced, and how.
type Options struct {
	// Release is a dist/ folder, the URL of a release (what a server, slipway serve or GitHub has), oci://repository:tag for
	// an image in a registry, or a version, which is looked for in From.
	Release string
	// From is where versions are found: a folder of releases, the URL of a slipway serve, or the URL of a repository on
	// GitHub. "" is the origin of the repository that the current folder is in.
	From string
	// Repository is the URL or the path of the git repository that has the commit; "" is the one that the release names.
	Repository string
	// Bundle is a folder that Vendor wrote: source, modules, toolchain, bases and the release itself. Nothing is fetched
	// from anywhere else then.
	Bundle string
	// Registries asks the registries that the release names for its images and charts, too: whether they have under its
	// names what the commit builds.
	Registries bool
	// Verify says who must have signed the release, and what else of it is accepted.
	Verify verify.Options
	// Engine is what compiles: host, dagger, or auto for the choice of the commit's pipeline.
	Engine string
	// Vary are the names of what is made different; nil is all of Variations, an empty list nothing.
	Vary []string
	// Pipeline is the folder of the pipeline in the tree; "" is ci or slipway-ci.
	Pipeline string
	// Pass are names of environment variables that the build sees besides the few that it always does: credentials of
	// private registries and modules.
	Pass []string
	// Work is the folder for everything that is fetched and built; "" is one in the user's cache that only the same
	// reproduction uses, so that one that was interrupted goes on from there.
	Work string
	// Keep leaves that folder as it is.
	Keep bool
	// Known reports whether a release has been reproduced before, so that it need not be again: Run returns ErrKnown. Nil
	// knows none.
	Known func(name, version string, manifest artifact.Digest) bool
	// Environ is the environment, as of os.Environ.
	Environ []string
	// Log gets what the build says; nil drops it.
	Log io.Writer
	// Step is called with what is done now; it may be nil.
	Step func(string)
	// Now is the clock, for the report; nil is time.Now.
	Now func() time.Time
	// Tool is this program with its version, for the report.
	Tool string
}

// ErrKnown says that Options.Known knows the release, and that it is still what it was: it was found and checked, and its
// tag names its commit. It was not built again.
var ErrKnown = errors.New("it has been reproduced before")

// Run reproduces a release. The report tells what was compared; the error is a fault.Mismatch if the verdict is not Pass. An
// error of another code, without a verdict, says that nothing was found out: a flag that is wrong, or an end from
// outside, after which the same call begins again with what was fetched.
func Run(ctx context.Context, o Options) (Report, error) {
	return reproduce(ctx, o, nil)
}

// reproduce runs a reproduction, and after one that passed what somebody wants to do with what it left.
func reproduce(ctx context.Context, o Options, after func(*run) error) (Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Bundle != "" {
		var err error
		if o, err = o.fromBundle(ctx); err != nil {
			return Report{}, err
		}
	}
	vary, err := choose(o.Vary)
	if err != nil {
		return Report{}, err
	}
	place, err := o.room(ctx)
	if err != nil {
		return Report{}, err
	}
	r := &run{o: o, work: place.scratch, fetched: place.fetched, report: Report{Schema: Schema, Tool: o.Tool, Started: o.Now().UTC().Truncate(time.Second)}}
	err = r.all(ctx, vary)
	if err == nil && ctx.Err() == nil {
		r.report.finish(o.Now())
		if after != nil && r.report.Verdict == Pass {
			err = after(r)
		}
	}
	if ctx.Err() != nil {
		place.leave(true)
		return Report{}, fault.Errorf(fault.Transient, "reproducing %s: interrupted; the same command begins again with what was fetched", verify.Printable(o.Release))
	}
	if err != nil {
		place.leave(false)
		return Report{}, err
	}
	// What could not be compared may be when the same command is run again.
	place.leave(r.report.Verdict == Skip)
	if r.report.Verdict != Pass {
		return r.report, fault.Errorf(fault.Mismatch, "%s: %s", verify.Printable(cmp.Or(r.report.title(), o.Release)), r.report.summary())
	}
	return r.report, nil
}

// run is one reproduction.
type run struct {
	o       Options
	work    string // for all that the build may write; empty when it begins
	fetched string // for what is fetched
	report  Report
	p       published
	src     string // the clone

	toolchain string // that the pipeline was compiled with
}

func (r *run) all(ctx context.Context, vary []Variation) error {
	r.o.Step("finding " + verify.Printable(r.o.Release))
	var err error
	if r.p, err = r.find(ctx); err != nil {
		return r.unfound(err)
	}
	r.report.describe(r.p)
	r.o.Step("checking " + verify.Printable(r.p.where))
	if !r.check(ctx, &r.p) {
		return nil
	}
	var ok bool
	if r.src, ok = r.source(ctx, &r.p); !ok || ctx.Err() != nil {
		return nil
	}
	if r.o.Known != nil && r.report.Count(Pass) == len(r.report.Rows) && r.o.Known(r.report.Name, r.report.Version, r.report.Manifest) {
		return ErrKnown
	}
	rebuilt, ok := r.rebuild(ctx, r.p, r.src, vary)
	if !ok || ctx.Err() != nil {
		return nil
	}
	r.o.Step("comparing")
	return r.compare(ctx, r.p, rebuilt)
}

// unfound turns what kept a release from being found into a verdict, but for what is wrong with the command.
func (r *run) unfound(err error) error {
	if fault.CodeOf(err) == fault.Usage {
		return err
	}
	r.report.row(Skip, kindRelease, r.o.Release, "%s", oneLine(err))
	return nil
}

// source clones the repository of the release, and holds the tag and the tree to what the manifest says of them. It tells
// whether there is something to build.
func (r *run) source(ctx context.Context, p *published) (string, bool) {
	const kind = "source"
	if p.rel.Commit == "" {
		r.report.row(Skip, kind, "commit", "nothing says which commit the release was made of")
		return "", false
	}
	from, why := r.repository(ctx, *p)
	if why != "" {
		r.report.row(Skip, kind, p.rel.Commit, "%s; give --repository", why)
		return "", false
	}
	if at := samePlace(p.home); r.o.Repository == "" && at != "" && samePlace(p.rel.Repository) != at {
		// Whoever can put a release in a place could otherwise have it built from a repository of their own.
		r.report.row(Fail, kind, p.rel.Commit, "the release was found at %s and says that it is of %s; if that is right, give --repository", p.home, p.rel.Repository)
		return "", false
	}
	r.report.Repository = source.HideUser(from)
	dir, err := r.clone(ctx, from, p.rel.Commit)
	if err != nil {
		// A commit that is not there is no accident of a network: nobody can look at what was released.
		verdict := Skip
		if errors.Is(err, source.ErrNoCommit) {
			verdict = Fail
		}
		r.report.row(verdict, kind, p.rel.Commit, "%s", oneLine(err))
		return "", false
	}
	if p.image != nil {
		if err := tagOf(ctx, dir, p); err != nil {
			r.report.row(Skip, kind, p.rel.Commit, "%s", oneLine(err))
			return "", false
		}
		r.report.Tag = p.rel.Tag
	}
	if tag := p.rel.Tag; tag != "" {
		at, err := source.TagCommit(ctx, dir, tag)
		switch {
		case err != nil:
			r.report.row(Skip, kind, "tag "+tag, "%s", oneLine(err))
			return "", false
		case at == "":
			r.report.row(Fail, kind, "tag "+tag, "%s has no such tag", r.report.Repository)
			return "", false
		case at != p.rel.Commit:
			r.report.row(Fail, kind, "tag "+tag, "it names %s now, and the release was made of %s: the tag was moved", at, p.rel.Commit)
			return "", false
		}
		r.report.row(Pass, kind, "tag "+tag, "names %s", p.rel.Commit)
	} else if err := source.Untag(ctx, dir, p.rel.Commit); err != nil { // a snapshot stays one, whatever was tagged since
		r.report.row(Skip, kind, p.rel.Commit, "%s", oneLine(err))
		return "", false
	}
	tree, err := source.TreeOf(ctx, dir, p.rel.Commit)
	switch {
	case err != nil:
		r.report.row(Skip, kind, p.rel.Commit, "%s", oneLine(err))
		return "", false
	case p.rel.Tree != "" && tree != p.rel.Tree:
		r.report.row(Fail, kind, p.rel.Commit, "its tree is %s, and the release says %s", tree, p.rel.Tree)
		return "", false
	}
	r.report.row(Pass, kind, p.rel.Commit, "cloned from %s", r.report.Repository)
	return dir, true
}

// tagOf finds the tag that an image was released under: of those on its commit the one that ends in its version.
func tagOf(ctx context.Context, dir string, p *published) error {
	tags, err := source.TagsAt(ctx, dir, p.rel.Commit)
	for _, t := range tags {
		last := t[strings.LastIndex(t, "/")+1:]
		if strings.TrimPrefix(last, "v") == p.rel.Version.String() {
			p.rel.Tag = t
		}
	}
	return err
}

// remotes are the URLs that are cloned because a release names them. Others, a path or a program of git's, only a person
// may name.
var remotes = regexp.MustCompile(`^(https://|ssh://|git@[A-Za-z0-9.-]+:)[^\s]+$`)

// repository is where the commit is looked for, or why it is nowhere.
func (r *run) repository(ctx context.Context, p published) (from, why string) {
	switch {
	case r.o.Repository != "":
		return r.o.Repository, ""
	case remotes.MatchString(p.rel.Repository):
		return p.rel.Repository, ""
	case p.rel.Repository != "":
		return "", fmt.Sprintf("the release names the repository %.200q, which is cloned only if --repository names it", p.rel.Repository)
	}
	if top, err := source.Root(ctx, "."); err == nil {
		return top, ""
	}
	return "", "the release names no repository"
}

// samePlace is a repository's URL in a form in which two ways to write it are the same.
func samePlace(repository string) string {
	return strings.ToLower(fromGit(repository))
}

// clone makes the clean place. It is made again each time: what a build has touched is no longer clean.
func (r *run) clone(ctx context.Context, from, commit string) (string, error) {
	parent := r.work
	if r.varied("path") {
		parent = filepath.Join(parent, "another path", "deeper", "down")
	}
	r.o.Step("cloning " + verify.Printable(source.HideUser(from)))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	dir := filepath.Join(parent, "src")
	return dir, source.Clone(ctx, from, dir, commit, r.o.Pass...)
}

func (r *run) varied(name string) bool {
	names := r.o.Vary
	if names == nil {
		return true
	}
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// room are the folders that one reproduction works in. No other process uses them meanwhile.
type room struct {
	dir     string
	fetched string // kept for a while after a run that ended early, and checked again when it is used
	scratch string // of one run
	keep    bool
	unlock  func() error
}

// For how long is kept what was fetched by a run that ended early, and how old a folder is when it is abandoned.
const (
	fresh     = time.Hour
	abandoned = 7 * 24 * time.Hour
)

// room makes the folders: below Work, or the user's cache, one that only this reproduction uses.
func (o Options) room(ctx context.Context) (*room, error) {
	base := o.Work
	if base == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fault.Errorf(fault.Usage, "finding a folder to work in: %w; name one with --work", err)
		}
		base = filepath.Join(cache, "slipway", "reproduce")
		sweep(base, o.Now())
	}
	here, err := os.Getwd() // a folder of this name elsewhere, or a version of another repository, is another release
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	what := fmt.Sprintf("%q %q %q %q %q %q", o.Release, o.From, o.Repository, o.Bundle, o.Engine, here)
	if base, err = filepath.Abs(base); err != nil {
		return nil, err
	}
	r := &room{dir: filepath.Join(base, artifact.Sum([]byte(what)).Short()), keep: o.Keep}
	r.fetched, r.scratch = filepath.Join(r.dir, "published"), filepath.Join(r.dir, "build")
	failed := func(err error) (*room, error) {
		return nil, fault.New(fault.Usage, fmt.Errorf("making a folder to work in: %w", err))
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return failed(err)
	}
	// The lock is beside the folder: one inside of it would go with it, and two could have it.
	if r.unlock, err = filelock.Lock(ctx, r.dir+".lock", 0); err != nil {
		return failed(err)
	}
	err = rerun.RemoveAll(r.scratch) // of a run that was killed
	if info, e := os.Stat(r.fetched); e == nil && o.Now().Sub(info.ModTime()) > fresh {
		err = errors.Join(err, rerun.RemoveAll(r.fetched))
	}
	if err = errors.Join(err, os.MkdirAll(r.scratch, 0o700)); err != nil {
		return failed(errors.Join(err, r.unlock()))
	}
	return r, nil
}

// leave gives the folders up. What cannot be removed is not a reason to keep a verdict back, and is removed by a later run.
func (r *room) leave(unfinished bool) {
	if !r.keep {
		_ = rerun.RemoveAll(r.scratch)
		if _, err := os.Stat(r.fetched); !unfinished || err != nil {
			_ = rerun.RemoveAll(r.dir)
		}
	}
	_ = r.unlock()
}

// sweep removes what runs left that were never begun again.
func sweep(base string, now time.Time) {
	entries, _ := os.ReadDir(base)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > abandoned {
			_ = rerun.RemoveAll(filepath.Join(base, e.Name()))
		}
	}
}

// oneLine is the text of an error on the one line that a row has.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}
