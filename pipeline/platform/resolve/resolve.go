// Package resolve chooses the components of a platform: it asks each repository for its refs, takes what the channel says, and finds
// and verifies the release of that. What comes of it is a lock.
package resolve

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/reproduce"
	"github.com/slipway-build/slipway/pipeline/source"
	"github.com/slipway-build/slipway/pipeline/verify"
)

const (
	usualPatience = 5 * time.Minute

	parallel = 16       // components that are looked at at once
	maxRefs  = 64 << 20 // bytes that one repository says of its refs
)

// needs is the oldest git that has every option used here.
var needs = git.Version{Major: 2, Minor: 25}

// Options say what is resolved.
type Options struct {
	Platform platform.Platform
	Dir      string // of platform.yaml, which paths in it are relative to
	Channel  platform.Channel
	Before   platform.Lock // that was written last; zero for none

	// Only are the components that are chosen anew; others stay as they were. All where it is empty.
	Only []string
	// Keep has a component stay as it was where its repository or its releases cannot be reached, and says so by Kept.
	Keep bool
	Kept func(component string, err error)

	Environ []string // of the machine: what git and GitHub may need
	Pass    []string // names of variables that a credential helper of git reads
	// Patience is how long one repository may take to say its refs, a server to list its releases, and one release to be verified; 0 for
	// five minutes.
	Patience time.Duration
	Root     string // file with the keys of Sigstore's services, for components that a workflow signs; "" for those known
}

// Lock chooses the components. Where one cannot be chosen there is no lock, and the error says why of each that cannot.
func Lock(ctx context.Context, o Options) (platform.Lock, error) {
	for _, name := range o.Only {
		if _, ok := o.Platform.Components[name]; !ok {
			return platform.Lock{}, fault.Errorf(fault.Usage, "there is no component %.60q; there is %s", name, strings.Join(o.Platform.Names(), ", "))
		}
	}
	names := o.Platform.Names()
	// Components of one repository, or with releases at one place, are chosen by one answer.
	repositories, places := o.repositories(ctx), o.places(ctx)
	chosen, errs := make([]platform.Chosen, len(names)), make([]error, len(names))
	var g errgroup.Group
	g.SetLimit(parallel)
	for i, name := range names {
		was, known := o.Before.Components[name]
		if known && len(o.Only) > 0 && !slices.Contains(o.Only, name) {
			chosen[i] = was
			continue
		}
		g.Go(func() error {
			c := o.Platform.Components[name]
			chosen[i], errs[i] = o.choose(name, was, repositories[c.Repository])
			if errs[i] == nil {
				chosen[i], errs[i] = o.find(ctx, name, chosen[i], places[c.Releases])
			}
			if errs[i] == nil {
				errs[i] = stays(was, chosen[i])
			}
			if known && o.Keep && fault.CodeOf(errs[i]) == fault.Transient {
				o.Kept(name, errs[i])
				chosen[i], errs[i] = was, nil
			}
			if errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", name, errs[i])
			}
			return nil
		})
	}
	_ = g.Wait() // no function returns an error
	if err := errors.Join(errs...); err != nil {
		return platform.Lock{}, err
	}
	l := platform.Lock{Version: 1, Channel: o.Channel, Components: map[string]platform.Chosen{}, Bases: o.Before.Bases}
	for i, name := range names {
		l.Components[name] = chosen[i]
	}
	return l, o.Platform.Check(l)
}

// stays refuses a release that was locked and is gone, or is another one of the same version, which is made once.
func stays(was, is platform.Chosen) error {
	if !was.Published() || was.Tag == "" || was.Tag != is.Tag || was.Manifest == is.Manifest {
		return nil
	}
	now := "is gone"
	if is.Published() {
		now = "is " + is.Manifest.Short()
	}
	return fault.Errorf(fault.Mismatch, "release %s was %s when it was locked, and %s: a version is made once: take a new one, or, where you know why, take the component out of the lock", was.Version, was.Manifest.Short(), now)
}

// repositories are the refs of each repository, which is asked when the first component needs it, and never again.
func (o Options) repositories(ctx context.Context) map[string]func() (refs, error) {
	all := map[string]func() (refs, error){}
	here := sync.OnceValues(func() (git.Git, error) { return o.here(ctx) })
	for _, c := range o.Platform.Components {
		all[c.Repository] = sync.OnceValues(func() (refs, error) { return o.refs(ctx, c.Repository, here) })
	}
	return all
}

// places are the releases at each place of components, which is asked when the first one needs it, and never again.
func (o Options) places(ctx context.Context) map[string]func() ([]reproduce.Listed, error) {
	all := map[string]func() ([]reproduce.Listed, error){}
	for _, c := range o.Platform.Components {
		all[c.Releases] = sync.OnceValues(func() ([]reproduce.Listed, error) { return o.At(ctx, c.Releases) })
	}
	return all
}

// At are the releases at a place that platform.yaml names: a URL, or a folder beside it.
func (o Options) At(ctx context.Context, releases string) ([]reproduce.Listed, error) {
	if !verify.IsURL(releases) {
		releases = filepath.Join(o.Dir, filepath.FromSlash(releases))
	}
	return Released(ctx, releases, o.Patience, o.getenv)
}

// Looker answers with a component as it was chosen, and with its release where there is one by now. Each place of releases is asked
// once: who wants to see what has come since takes another Looker. Many may ask it at once.
func Looker(ctx context.Context, o Options) func(name string, c platform.Chosen) (platform.Chosen, error) {
	places := o.places(ctx)
	return func(name string, c platform.Chosen) (platform.Chosen, error) {
		if c.Published() {
			return c, nil
		}
		return o.find(ctx, name, c, places[o.Platform.Components[name].Releases])
	}
}

func (o Options) choose(name string, was platform.Chosen, ask func() (refs, error)) (platform.Chosen, error) {
	c := o.Platform.Components[name]
	refs, err := ask()
	if err != nil {
		return platform.Chosen{}, err
	}
	var is platform.Chosen
	switch o.Channel {
	case platform.Dev:
		branch := c.Branch
		if branch == "" {
			branch = refs.head
		}
		if is.Commit = refs.branches[branch]; is.Commit == "" {
			if branch == "" {
				return is, fault.Errorf(fault.Git, "%s is empty, or its HEAD is at no branch; name one with branch", source.HideUser(c.Repository))
			}
			return is, fault.Errorf(fault.Git, "%s has no branch %.80q", source.HideUser(c.Repository), branch)
		}
	case platform.Staging:
		if is = refs.highest(c); is.Tag == "" {
			return is, fault.Errorf(fault.Git, "%s has no tag %s<version> in %q; it has %d tags", source.HideUser(c.Repository), c.TagPrefix, c.Constraint, len(refs.tags))
		}
	default:
		if c.Pin == "" {
			return is, fault.Errorf(fault.Usage, "%s: channel stable takes what is pinned, and it has no pin", o.Platform.At("components."+name))
		}
		pin, err := version.Parse(c.Pin)
		if err != nil {
			return is, fault.New(fault.Usage, err)
		}
		if is = refs.tagOf(c, pin); is.Tag == "" {
			return is, fault.Errorf(fault.Git, "%s has no tag %sv%s, which is pinned at %s", source.HideUser(c.Repository), c.TagPrefix, pin, o.Platform.At("components."+name+".pin"))
		}
	}
	if was.Tag != "" && was.Tag == is.Tag && was.Commit != is.Commit {
		return is, fault.Errorf(fault.Git, "tag %s moved: it was commit %.12s when it was locked and is %.12s; a version is made once: take a new one", is.Tag, was.Commit, is.Commit)
	}
	return is, nil
}

// Released are the releases at a place: a folder, or a URL, which has all of patience for its answer; 0 is five minutes.
func Released(ctx context.Context, place string, patience time.Duration, getenv func(string) string) (all []reproduce.Listed, err error) {
	err = within(ctx, patience, place, func(ctx context.Context) error {
		all, err = reproduce.Releases(ctx, place, getenv)
		return err
	})
	return all, err
}

// within bounds what a place may take for its answer as a whole. A server that always says a little more is never silent for so long
// that a client of HTTP would give it up.
func within(ctx context.Context, patience time.Duration, place string, ask func(context.Context) error) error {
	patience = cmp.Or(patience, usualPatience)
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := ask(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fault.Errorf(fault.Transient, "%s has not answered in %s", source.HideUser(place), patience)
	}
	return err
}

// find adds the release of what was chosen. It is verified by its signature, and must be of that very commit.
func (o Options) find(ctx context.Context, name string, is platform.Chosen, released func() ([]reproduce.Listed, error)) (platform.Chosen, error) {
	c := o.Platform.Components[name]
	list, err := released()
	if err != nil {
		return is, err
	}
	i := slices.IndexFunc(list, func(l reproduce.Listed) bool {
		if is.Tag == "" {
			return l.Name == name && snapshotOf(l.Version, is.Commit)
		}
		return l.Version == is.Version && l.Of(name, is.Tag)
	})
	if i < 0 {
		return is, nil
	}
	check := verify.Options{Release: list[i].Address(), Version: list[i].Version, AllowUnpublishable: o.Channel == platform.Dev}
	signer, err := o.signer(c, &check)
	if err != nil {
		return is, err
	}
	var report verify.Report
	err = within(ctx, o.Patience, check.Release, func(ctx context.Context) error {
		report, err = verify.Files(ctx, nil, check)
		return err
	})
	switch {
	case err != nil:
		return is, first(list[i].Address(), report, err)
	case report.Name != name:
		return is, fault.Errorf(fault.Mismatch, "%s is a release of %s", list[i].Address(), report.Name)
	case report.Commit != is.Commit:
		return is, fault.Errorf(fault.Git, "%s is of commit %.12s, and tag %s is at %.12s: one of them moved", list[i].Address(), report.Commit, is.Tag, is.Commit)
	}
	is.Version, is.Manifest, is.Signer = report.Version, report.Manifest, signer
	is.Charts = map[string]string{}
	for _, chart := range report.Release.Charts {
		is.Charts[chart.Name] = chart.Version
	}
	is.Notes = ""
	for _, f := range report.Release.Files {
		// A page of GitHub has the notes as its text, and seldom as a file.
		if f.Path == report.Release.Notes && !strings.Contains(list[i].URL, "/releases/download/") {
			is.Notes = f.Digest
		}
	}
	return is, nil
}

// snapshotOf reports whether a version is that of a snapshot of a commit.
func snapshotOf(v, commit string) bool {
	parsed, err := version.Parse(v)
	_, short, ok := strings.Cut(v, ".g")
	return err == nil && parsed.IsSnapshot() && ok && len(short) >= 7 && strings.HasPrefix(commit, short)
}

// signer has the check ask for who is to sign the releases of a component, and returns how a lock calls that.
func (o Options) signer(c platform.Component, check *verify.Options) (string, error) {
	if c.Identity != "" {
		var err error
		check.Identity, err = verify.IdentityFlags{Identity: c.Identity, Issuer: c.Issuer, Root: o.Root}.Verifier()
		return c.Identity, err
	}
	keys, err := verify.ReadKeys([]string{filepath.Join(o.Dir, filepath.FromSlash(c.Key))})
	if err != nil {
		return "", err
	}
	check.Keys = keys
	return string(keys[0].Fingerprint()), nil
}

func (o Options) getenv(name string) string {
	for _, kv := range slices.Backward(o.Environ) {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// refs are what a repository has, by name, with the commits that tags lead to.
type refs struct {
	head     string // the branch that HEAD is at
	branches map[string]string
	tags     map[string]string
}

// Remote is where a repository is that platform.yaml names: a URL, or a folder beside it.
func (o Options) Remote(repository string) string {
	if strings.Contains(repository, ":") { // a host, and no folder
		return repository
	}
	return filepath.Join(o.Dir, filepath.FromSlash(repository))
}

// here is git in the folder of platform.yaml, which may be in a repository, with a configuration of its own, or in none.
func (o Options) here(ctx context.Context) (git.Git, error) {
	g, err := git.New(git.Local(o.Environ), o.Dir, needs)
	if err != nil {
		return g, err
	}
	if _, none := g.Run(ctx, nil, "rev-parse", "--git-dir"); none == nil {
		return g.Distrust(ctx)
	}
	return g, nil
}

// refs asks a repository, by what git is here.
func (o Options) refs(ctx context.Context, repository string, here func() (git.Git, error)) (refs, error) {
	remote := o.Remote(repository)
	if remote != repository {
		if _, err := os.Stat(remote); err != nil {
			return refs{}, fault.Errorf(fault.Usage, "repository %s: there is no such folder; name a URL, or a folder beside %s", repository, platform.FileName)
		}
		var err error
		if remote, err = filepath.Abs(remote); err != nil { // git runs in another folder
			return refs{}, fault.New(fault.Usage, err)
		}
	}
	g, err := here()
	if err != nil {
		return refs{}, err
	}
	g = g.With(git.Unattended(git.Remote(o.Environ, remote, o.Pass...))...)
	patience := cmp.Or(o.Patience, usualPatience)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it has not answered in %s", patience))
	defer cancel()
	r := refs{branches: map[string]string{}, tags: map[string]string{}}
	err = g.Stream(ctx, nil, r.read, "ls-remote", "--symref", "--", remote, "HEAD", "refs/heads/*", "refs/tags/*")
	if err != nil {
		return refs{}, git.OfRemote(fmt.Errorf("asking %s for its refs: %w", source.HideUser(remote), err))
	}
	return r, nil
}

// read reads what git ls-remote --symref writes: "ref: NAME\tHEAD", and "ID\tNAME". The line of what an annotated tag leads to is
// behind its own, with ^{} at the end.
func (r *refs) read(out io.Reader) error {
	limited := &io.LimitedReader{R: out, N: maxRefs}
	lines := bufio.NewScanner(limited)
	for lines.Scan() {
		id, name, _ := strings.Cut(lines.Text(), "\t")
		if target, ok := strings.CutPrefix(id, "ref: refs/heads/"); ok && name == "HEAD" {
			r.head = target
			continue
		}
		if name, ok := strings.CutPrefix(name, "refs/heads/"); ok && git.IsObject(id) {
			r.branches[name] = id
		} else if name, ok := strings.CutPrefix(name, "refs/tags/"); ok && git.IsObject(id) {
			r.tags[strings.TrimSuffix(name, "^{}")] = id
		}
	}
	if limited.N == 0 { // what is behind that may be the very tag
		return fault.Errorf(fault.Git, "it says more than %d MiB of refs", maxRefs>>20)
	}
	return fault.New(fault.Git, lines.Err())
}

// highest is the tag of the highest version that a component may be taken in. Of two tags of one version it is the one with a v.
func (r refs) highest(c platform.Component) platform.Chosen {
	var best platform.Chosen
	var highest version.Version
	for tag, commit := range r.tags {
		v, ok := source.ParseTag(tag, c.TagPrefix)
		if !ok || v.IsSnapshot() || !c.Constraint.Has(v) {
			continue
		}
		if d := v.Compare(highest); best.Tag == "" || d > 0 || d == 0 && tag > best.Tag {
			best, highest = platform.Chosen{Version: v.String(), Tag: tag, Commit: commit}, v
		}
	}
	return best
}

// tagOf is the tag of a version.
func (r refs) tagOf(c platform.Component, v version.Version) platform.Chosen {
	for _, tag := range []string{c.TagPrefix + "v" + v.String(), c.TagPrefix + v.String()} {
		if commit := r.tags[tag]; commit != "" {
			return platform.Chosen{Version: v.String(), Tag: tag, Commit: commit}
		}
	}
	return platform.Chosen{}
}
