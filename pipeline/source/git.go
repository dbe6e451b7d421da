package source

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// needs is the oldest git that has every option used here.
var needs = git.Version{Major: 2, Minor: 25}

// repo is git in a repository: in its work tree, or in its own folder.
type repo struct {
	git.Git
	bare bool // there is no work tree, or Dir is not in it
}

// at is git in a folder, with what it sees while it works on this machine.
func at(dir string) (repo, error) {
	g, err := git.New(git.Local(os.Environ()), dir, needs)
	return repo{Git: g}, err
}

// in is the same git in another repository.
func (r repo) in(dir string) repo { return repo{Git: r.In(dir)} }

// distrust is r without the programs that the repository's own configuration names.
func (r repo) distrust(ctx context.Context) (repo, error) {
	g, err := r.Distrust(ctx)
	return repo{g, r.bare}, err
}

// run is what git writes for args, the subcommand first.
func (r repo) run(ctx context.Context, args ...string) (string, error) {
	return r.ask(ctx, "", args...)
}

// ask is run with something on git's standard input.
func (r repo) ask(ctx context.Context, in string, args ...string) (string, error) {
	out, err := r.Run(ctx, strings.NewReader(in), args...)
	return string(out), err
}

// open finds the work tree that dir is in. filters are as in Options.
func open(ctx context.Context, dir string, filters ...string) (repo, error) {
	r, err := openAny(ctx, dir, filters...)
	if err == nil && r.bare {
		err = fault.Errorf(fault.Git, "%s is not in a work tree: run this in a clone that is not bare, outside .git", r.Dir)
	}
	return r, err
}

// openAny finds the repository that dir is in: its work tree, else its own folder.
func openAny(ctx context.Context, dir string, filters ...string) (repo, error) {
	if dir == "" {
		dir = "."
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return repo{}, fault.Errorf(fault.Git, "finding %s: %w", dir, err)
	}
	if info, err := os.Stat(abs); err != nil {
		return repo{}, fault.Errorf(fault.Git, "finding the repository: %w", err)
	} else if !info.IsDir() {
		return repo{}, fault.Errorf(fault.Git, "finding the repository: %s is not a folder", dir)
	}
	r, err := at(abs)
	if err == nil {
		err = r.CheckVersion(ctx)
	}
	if err != nil {
		return repo{}, err
	}
	out, err := r.run(ctx, "rev-parse", "--is-shallow-repository", "--show-toplevel")
	if git.KindOf(err) == git.NotBare {
		r.bare = true
		out, err = r.run(ctx, "rev-parse", "--is-shallow-repository", "--absolute-git-dir")
	}
	if git.KindOf(err) == git.NoRepository {
		return repo{}, fault.Errorf(fault.Git,
			"%s is not in a git repository: run this in a clone of one, or begin one with `git init` and `git commit`", abs)
	}
	if err != nil {
		return repo{}, err
	}
	shallow, root, _ := strings.Cut(out, "\n")
	if shallow == "true" {
		return repo{}, fault.Errorf(fault.Git, "%s is a shallow clone, so its history and tags are not all there: "+
			"complete it with `git fetch --unshallow --tags`", abs)
	}
	r.Dir, r.Filters = filepath.FromSlash(strings.TrimSuffix(root, "\n")), filters
	return r.distrust(ctx)
}

// isRoot reports whether r.Dir is the root of a work tree, and not a folder in that of another repository, which is
// what git takes an empty submodule for.
func (r repo) isRoot(ctx context.Context) (bool, error) {
	if _, err := os.Lstat(filepath.Join(r.Dir, ".git")); err != nil {
		return false, nil
	}
	prefix, err := r.run(ctx, "rev-parse", "--show-prefix")
	if git.KindOf(err) == git.NoRepository {
		return false, nil
	}
	return err == nil && strings.TrimSuffix(prefix, "\n") == "", err
}

// resolve is the commit that rev names, "" where there is none. rev must have passed checkName or be ours: --verify
// takes one argument that does not begin with -, and git before 2.30 has no other way to say so.
func (r repo) resolve(ctx context.Context, rev string) (string, error) {
	out, err := r.run(ctx, "rev-parse", "--verify", "--quiet", rev+"^{commit}")
	if git.No(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	id := strings.TrimSuffix(out, "\n")
	if !git.IsObject(id) {
		return "", fault.Errorf(fault.Git, "resolving %q: git answers %.80q", rev, id)
	}
	return id, nil
}

// checkName refuses names from outside that git could take for an option or for a transport that runs a program. Any
// other name is data: it is never given to a shell.
func checkName(what, s string) error {
	switch {
	case len(s) > 1024:
		return fault.Errorf(fault.Git, "%s %.40q... is longer than 1024 bytes", what, s)
	case strings.HasPrefix(s, "-"):
		return fault.Errorf(fault.Git, "%s %q begins with a hyphen, like an option of git: rename it", what, s)
	case strings.Contains(s, "ext::"):
		return fault.Errorf(fault.Git, "%s %q contains ext::, the name of a transport that runs a program: rename it", what, s)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fault.Errorf(fault.Git, "%s %q contains control characters: rename it", what, s)
	}
	return nil
}
