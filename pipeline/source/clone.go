package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Clone clones the repository at remote, a URL or a path, into the new folder dir, with its whole history and all tags,
// and checks out the commit with its submodules as they are recorded. No hook is run. A repository that has no such commit is
// ErrNoCommit. An error may leave a part of it in dir. pass are the names of variables that a credential helper reads; see git.Remote.
func Clone(ctx context.Context, remote, dir, commit string, pass ...string) error {
	if !git.IsObject(commit) {
		return fault.Errorf(fault.Git, "commit %.80q is not a full object name", commit)
	}
	if strings.HasPrefix(remote, "-") {
		return fault.Errorf(fault.Usage, "repository %.200q is neither a URL nor a path", remote)
	}
	if _, err := os.Stat(remote); err == nil { // git would take a name with a colon in it for a host
		if remote, err = filepath.Abs(remote); err != nil {
			return err
		}
	}
	// A repository that may name others, as submodules, may name those on this machine only if it is on it itself.
	protocols := "https:http:ssh:git"
	if _, err := os.Stat(remote); err == nil {
		protocols += ":file"
	}
	r, err := at("")
	if err != nil {
		return err
	}
	// What is fetched is not trusted: its objects are checked as they come.
	remotely, err := git.New(git.Remote(os.Environ(), remote, pass...), "", needs)
	if err != nil {
		return err
	}
	remotely.Protocols = protocols
	remotely = remotely.Set("transfer.fsckObjects=true")
	if _, err := remotely.Run(ctx, nil, "clone", "--quiet", "--no-checkout", "--config=core.autocrlf=false", "--", remote, dir); err != nil {
		return fmt.Errorf("cloning %s: %w", HideUser(remote), err)
	}
	r, remotely = r.in(dir), remotely.In(dir)
	if got, err := r.resolve(ctx, commit); err != nil {
		return err
	} else if got == "" { // no branch and no tag leads to it; a server may have it all the same
		if _, err := remotely.Run(ctx, nil, "fetch", "--quiet", "origin", commit); err != nil {
			if git.KindOf(err) == git.NoRef {
				return fault.Errorf(fault.Git, "%s: %w %s", HideUser(remote), ErrNoCommit, commit)
			}
			return fmt.Errorf("fetching %s from %s: %w", commit, HideUser(remote), err)
		}
	}
	// Whoever works in the clone is not told the password.
	if hidden := HideUser(remote); hidden != remote {
		if _, err := r.run(ctx, "remote", "set-url", "origin", hidden); err != nil {
			return err
		}
	}
	if _, err := r.Set("advice.detachedHead=false").Run(ctx, nil, "checkout", "--quiet", "--detach", commit); err != nil {
		return fmt.Errorf("checking out %s: %w", commit, err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".gitmodules")); err == nil {
		if _, err := remotely.Run(ctx, nil, "submodule", "--quiet", "update", "--init", "--recursive"); err != nil {
			return fmt.Errorf("checking out submodules: %w", err)
		}
	}
	return nil
}

// TagCommit is the commit that a tag names, "" where there is no such tag.
func TagCommit(ctx context.Context, dir, tag string) (string, error) {
	tag = strings.TrimPrefix(tag, tagRefs)
	if err := checkName("tag", tag); err != nil {
		return "", err
	}
	r, err := open(ctx, dir)
	if err != nil {
		return "", err
	}
	return r.resolve(ctx, tagRefs+tag)
}

// TreeOf is the tree of a commit.
func TreeOf(ctx context.Context, dir, commit string) (string, error) {
	if !git.IsObject(commit) {
		return "", fault.Errorf(fault.Git, "commit %.80q is not a full object name", commit)
	}
	r, err := at(dir)
	if err != nil {
		return "", err
	}
	out, err := r.run(ctx, "rev-parse", "--verify", commit+"^{tree}")
	return strings.TrimSpace(out), err
}

// Remote is the URL that the repository's remote has, "" where it has none of that name.
func Remote(ctx context.Context, dir, name string) (string, error) {
	r, err := at(dir)
	if err != nil {
		return "", err
	}
	out, err := r.run(ctx, "config", "--get", "remote."+name+".url")
	if git.No(err) {
		return "", nil
	}
	return strings.TrimSpace(out), err
}

// Bundle writes the commit with its history, the tag, and the other tags of its history into the file name, from which
// Clone clones.
func Bundle(ctx context.Context, dir, name, commit, tag string) error {
	r, err := open(ctx, dir)
	if err != nil {
		return err
	}
	if name, err = filepath.Abs(name); err != nil {
		return err
	}
	out, err := r.run(ctx, "for-each-ref", "--merged="+commit, "--format=%(refname)", "refs/tags")
	if err != nil {
		return err
	}
	refs := strings.Fields(out)
	if tag != "" && !slices.Contains(refs, tagRefs+tag) {
		return fault.Errorf(fault.Git, "tag %s is not in the history of %s", words.Quoted(tag), commit)
	}
	// HEAD is what a clone would check out, and the only name of a commit that has no tag.
	if _, err := r.run(ctx, append([]string{"bundle", "create", "--quiet", name, "HEAD"}, refs...)...); err != nil {
		return fmt.Errorf("bundling the source: %w", err)
	}
	return nil
}

// ErrNoCommit says that a repository has no such commit, or none that it gives.
var ErrNoCommit = errors.New("it has no commit")

// Untag forgets the tags that name a commit. In a clone that is made for one build, which none of them is for.
func Untag(ctx context.Context, dir, commit string) error {
	tags, err := TagsAt(ctx, dir, commit)
	if err != nil || len(tags) == 0 {
		return err
	}
	r, err := at(dir)
	if err == nil {
		_, err = r.run(ctx, append([]string{"tag", "--delete", "--"}, tags...)...)
	}
	return err
}

// HideUser is a URL without what may be a password in it.
func HideUser(remote string) string {
	scheme, rest, ok := strings.Cut(remote, "://")
	host, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(host, "@"); ok && i >= 0 {
		return scheme + "://" + host[i+1:] + "/" + path
	}
	return remote
}

// TagsAt are the tags that name a commit, in bytewise order.
func TagsAt(ctx context.Context, dir, commit string) ([]string, error) {
	if !git.IsObject(commit) {
		return nil, fault.Errorf(fault.Git, "commit %.80q is not a full object name", commit)
	}
	r, err := at(dir)
	if err != nil {
		return nil, err
	}
	out, err := r.run(ctx, "for-each-ref", "--points-at="+commit, "--format=%(refname:strip=2)", "refs/tags")
	return strings.Fields(out), err
}
