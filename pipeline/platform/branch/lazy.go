package branch

import (
	"context"
	"strings"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/source"
)

// Lazy makes the branch of a component when its first fix is needed: at the commit that the platform's lock has of it, or at from, a
// revision. next is the version of that fix, zero where the commit has no version. As Cut does it proposes that the default branch goes on to
// the minor version after that one, since its own next patch would have the same name. A tag that has moved since it was locked is a
// fault.Git, and a branch that is there and begins elsewhere a fault.Conflict.
func (r *Repo) Lazy(ctx context.Context, l Line, lock platform.Lock, from string, push bool) (made Made, p *Proposal, next version.Version, err error) {
	made = Made{Branch: r.Name(l)}
	unlock, err := r.begin(ctx, made.Branch, push)
	if err != nil {
		return made, nil, next, err
	}
	defer func() { _ = unlock() }()
	name, main, err := r.main(ctx)
	if err != nil {
		return made, nil, next, err
	}
	if from != "" {
		made.Commit, err = r.Commit(ctx, from)
		if _, ok := source.ParseTag(from, r.o.TagPrefix); ok && err == nil { // the version that is meant, where the commit has several
			var at string
			if at, err = r.resolve(ctx, "refs/tags/"+from); at == made.Commit {
				made.Tag = from
			}
		}
	} else {
		made, err = r.locked(ctx, made, lock)
	}
	if err != nil {
		return made, nil, next, err
	}
	v, err := r.versionOf(ctx, made)
	if err != nil {
		return made, nil, next, err
	}
	if err := r.ensure(ctx, &made, main, push); err != nil || v.IsZero() {
		return made, nil, next, err
	}
	if next, err = r.Next(ctx, v); err != nil {
		return made, nil, next, err
	}
	p, err = r.propose(ctx, Line{v.Major(), v.Minor()}, name, main, push)
	return made, p, next, err
}

// locked is what a platform has of the project.
func (r *Repo) locked(ctx context.Context, made Made, lock platform.Lock) (Made, error) {
	c, ok := lock.Components[r.o.Project]
	if !ok {
		return made, fault.Errorf(fault.Usage, "the lock of the platform has no component %s; name the commit with --commit", r.o.Project)
	}
	made.Tag, made.Commit = c.Tag, c.Commit
	if is, err := r.resolve(ctx, c.Commit); err != nil {
		return made, err
	} else if is != c.Commit {
		return made, fault.Errorf(fault.Git, "commit %.12s, which the platform has of %s, is not in this repository; git fetch --tags brings it, if this is the component's", c.Commit, r.o.Project)
	}
	if c.Tag == "" {
		return made, nil
	}
	at, err := r.resolve(ctx, "refs/tags/"+c.Tag)
	switch {
	case err != nil:
		return made, err
	case at == "":
		return made, fault.Errorf(fault.Git, "tag %s, which the platform has of %s, is not in this repository; bring it with git fetch --tags", c.Tag, r.o.Project)
	case at != c.Commit:
		return made, fault.Errorf(fault.Git, "tag %s moved: it was commit %.12s when it was locked and is %.12s; a version is made once: take a new one", c.Tag, c.Commit, at)
	}
	return made, nil
}

// versionOf is the version that a commit has by its tag; zero for none.
func (r *Repo) versionOf(ctx context.Context, m Made) (version.Version, error) {
	out, err := r.say(ctx, "tag", "--points-at", m.Commit)
	if err != nil {
		return version.Version{}, err
	}
	at := map[string]bool{}
	for name := range strings.SplitSeq(out, "\n") {
		at[name] = true
	}
	all, err := r.tags(ctx)
	var v version.Version
	for _, t := range all {
		if at[t.name] && (m.Tag == "" || m.Tag == t.name) {
			v = t.version
		}
	}
	return v, err
}

// Bump is what a version file says next: without its suffix, or the next patch where it has none; with dev the next patch with -dev, or
// what it is where it has a suffix. A version that a tag of the repository has, or has gone past in its minor version, is stepped over.
func (r *Repo) Bump(ctx context.Context, v version.Version, dev bool) (version.Version, error) {
	if dev && v.IsPrerelease() {
		return v, nil
	}
	next, err := r.Next(ctx, v)
	if err != nil {
		return v, err
	}
	if v.IsPrerelease() {
		released, err := version.Parse(strings.TrimSuffix(v.String(), "-"+v.Prerelease()))
		if err != nil {
			return v, fault.New(fault.Git, err)
		}
		taken, err := r.stable(ctx, released)
		if err != nil || !taken {
			return released, err
		}
		return next, nil
	}
	if dev {
		next, err = version.Parse(next.String() + "-dev")
	}
	return next, fault.New(fault.Git, err)
}

// stable reports whether a version, or a higher stable one of its minor version, is tagged.
func (r *Repo) stable(ctx context.Context, v version.Version) (bool, error) {
	all, err := r.tags(ctx)
	for _, t := range all {
		if (Line{v.Major(), v.Minor()}).has(t.version) && t.version.IsStable() && t.version.Compare(v) >= 0 {
			return true, err
		}
	}
	return false, err
}
