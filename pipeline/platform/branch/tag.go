package branch

import (
	"context"
	"fmt"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Tagged is the tag of a version.
type Tagged struct {
	Tag    string
	Commit string
	Branch string // that the commit is on, as the remote has it
	Was    bool   // the remote had it already
}

// Tag gives the commit that is checked out the tag of the version in its VERSION file, at the remote, and then here. The commit has to be
// on the branch of its minor version, or on the default branch while there is no such branch: a release of a line that has a branch is
// made there. The same call completes what one that was killed has left. With look it finds out whether that may be, and pushes nothing.
func (r *Repo) Tag(ctx context.Context, look bool) (t Tagged, err error) {
	if err := r.fetch(ctx); err != nil {
		return t, err
	}
	if t.Commit, err = r.Commit(ctx, "HEAD"); err != nil {
		return t, err
	}
	if changed, err := r.say(ctx, "status", "--porcelain", "--untracked-files=normal"); err != nil || changed != "" {
		if err == nil {
			err = fault.Errorf(fault.Git, "the tree has changes that are in no commit; commit them, or git stash --include-untracked")
		}
		return t, err
	}
	v, err := r.versionAt(ctx, t.Commit)
	switch {
	case err != nil:
		return t, err
	case v.IsZero():
		return t, fault.Errorf(fault.Git, "commit %.12s has no %s with a version; write one, or make the tag with git", t.Commit, r.versionFile())
	case v.IsPrerelease():
		return t, fault.Errorf(fault.Git, "%s says %s, which is worked on; run go run ./ci version bump and commit that first", r.versionFile(), v)
	}
	t.Tag = r.o.TagPrefix + "v" + v.String()
	l := Line{v.Major(), v.Minor()}
	t.Branch = r.Name(l)
	tip, err := r.resolve(ctx, r.branches()+t.Branch)
	if err != nil {
		return t, err
	}
	why := fmt.Sprintf("%s has branch %s, and its releases are made there: pick the commit with go run ./ci branch pick %[1]s", l, t.Branch)
	if tip == "" {
		if t.Branch, tip, err = r.main(ctx); err != nil {
			return t, err
		}
		why = fmt.Sprintf("it is not on %s as %s has it; push it there first, or make branch %s", t.Branch, r.o.Remote, r.Name(l))
	}
	at, err := r.resolve(ctx, "refs/tags/"+t.Tag)
	if err != nil {
		return t, err
	}
	if at != "" && at != t.Commit {
		return t, fault.Errorf(fault.Git, "tag %s is of commit %.12s, and this is %.12s: a version is made once; run go run ./ci version bump", t.Tag, at, t.Commit)
	}
	if on, err := r.ancestor(ctx, t.Commit, tip); err != nil || !on {
		if err == nil {
			err = fault.Errorf(fault.Git, "commit %.12s is not to be %s: %s", t.Commit, v, why)
		}
		return t, err
	}
	if look {
		return t, nil
	}
	// A tag that is only here is pushed as it is, annotated and signed.
	from := t.Commit
	if at != "" {
		from = "refs/tags/" + t.Tag
	}
	if t.Was, err = r.pushRef(ctx, "refs/tags/"+t.Tag, from, false); err != nil || at != "" {
		return t, err
	}
	_, err = r.git.Run(ctx, nil, "update-ref", "refs/tags/"+t.Tag, t.Commit)
	return t, err
}

// Belongs holds a commit that is tagged with a full version to the branch of its minor version, where there is one here or at the remote:
// releases of a line that has a branch are made there, and what the default branch has by now may break its promises. Nothing is fetched.
func (r *Repo) Belongs(ctx context.Context, v version.Version, commit string) error {
	l := Line{v.Major(), v.Minor()}
	name := r.Name(l)
	p, err := r.at(ctx, name)
	if err != nil || p == (place{}) {
		return err
	}
	for _, tip := range []string{p.here, p.there} {
		if tip == "" {
			continue
		}
		if on, err := r.ancestor(ctx, commit, tip); err != nil || on {
			return err
		}
	}
	return fault.Errorf(fault.Git, "commit %.12s is tagged as %s and is not on branch %s, where the releases of %s are made: pick it there, and tag what comes of that as a later version", commit, v, name, l)
}
