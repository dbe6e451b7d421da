package branch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Group is a bare repository of our own that has several branches of one remote. They move together or not at all, and never
// other than forward.
type Group struct {
	Git      git.Git // as that of a Clone
	Dir      string  // where the clone is; it stays, and is used again
	Remote   string  // URL or absolute path
	Branches []string

	Author, Email string // of commits, also as the committer

	heads   map[string]string
	locked  bool
	objects *objects // that answers questions while the clone is locked; nil for none yet
}

func (g *Group) clone() *Clone { return &Clone{Git: g.Git, Dir: g.Dir, Remote: g.Remote} }

// Locked runs f while no other process works in the clone, which is made where it is not there yet.
func (g *Group) Locked(ctx context.Context, f func() error) (err error) {
	if err := interrupted(ctx); err != nil {
		return err
	}
	unlock, err := g.clone().lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := os.Stat(filepath.Join(g.Dir, "HEAD")); errors.Is(err, fs.ErrNotExist) {
		if err := g.clone().Git.CheckVersion(ctx); err != nil {
			return err
		}
		if err := g.clone().Init(ctx); err != nil {
			return err
		}
	} else if err != nil {
		return fault.New(fault.Usage, err)
	}
	g.locked = true
	err = f()
	g.locked = false
	if g.objects != nil {
		g.objects.close()
		g.objects = nil
	}
	if err == nil {
		g.tidy(ctx)
	}
	return err
}

// maxPacks is how many packs the clone has before they become few: every commit and every fetch leaves one, and git looks for an
// object in each of them.
const maxPacks = 50

// tidy puts packs together. Where it fails nothing is lost, and whoever comes next tries again.
func (g *Group) tidy(ctx context.Context) {
	packs, err := filepath.Glob(filepath.Join(g.Dir, "objects", "pack", "*.pack"))
	if err == nil && len(packs) > maxPacks {
		g.clone().git().Run(ctx, nil, "repack", "-d", "-q", "--geometric=2")
	}
}

// grouped are the branches in the clone.
const grouped = "refs/slipway/group/"

// Fetch has Head be what the branches are at now. It asks once, and fetches where something has moved.
func (g *Group) Fetch(ctx context.Context) error {
	args := []string{"ls-remote", "--", remoteName}
	for _, b := range g.Branches {
		args = append(args, "refs/heads/"+b)
	}
	out, err := g.clone().git().Run(ctx, nil, args...)
	if err != nil {
		return git.OfRemote(err)
	}
	var specs []string
	heads, moved := map[string]string{}, false
	have, err := g.have(ctx) // also from another process
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		id, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		name, ok := strings.CutPrefix(ref, "refs/heads/")
		if !ok || !slices.Contains(g.Branches, name) {
			continue // one that ends like it
		}
		if !git.IsObject(id) {
			return fault.Errorf(fault.Transient, "the git repository says that %s is at %.60q", name, id)
		}
		heads[name], moved = id, moved || have[name] != id
		specs = append(specs, "+"+ref+":"+grouped+name)
	}
	if !moved {
		g.heads = heads
		return nil
	}
	if _, err := g.clone().git().Set("fetch.unpackLimit=1").Run(ctx, nil, append([]string{"fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--", remoteName}, specs...)...); err != nil {
		return git.OfRemote(err)
	}
	// What they are at by now, if they moved in between.
	if have, err = g.have(ctx); err != nil {
		return err
	}
	maps.DeleteFunc(have, func(name, _ string) bool { return heads[name] == "" })
	g.heads = have
	return nil
}

// have are the commits that the clone has of the branches.
func (g *Group) have(ctx context.Context) (map[string]string, error) {
	at := map[string]string{}
	for _, b := range g.Branches {
		obj, _, err := g.get(ctx, grouped+b, 0)
		if err != nil {
			return nil, err
		}
		if obj.kind == "commit" {
			at[b] = obj.id
		}
	}
	return at, nil
}

// Head is the commit that a branch was at when it was last asked for, "" for a branch that was not there.
func (g *Group) Head(branch string) string { return g.heads[branch] }

// Commit makes commits. It pushes nothing.
func (g *Group) Commit(ctx context.Context, all []Commit) ([]string, error) {
	return commits(ctx, g.clone().git(), g.Author, g.Email, all)
}

// Push moves branches to commits, all or none. It reports whether one of them had moved: then Fetch, and make other commits on
// what is there.
func (g *Group) Push(ctx context.Context, to map[string]string) (behind bool, err error) {
	args := []string{"push", "--porcelain", "--atomic", "--", remoteName}
	for _, b := range slices.Sorted(maps.Keys(to)) {
		args = append(args, to[b]+":refs/heads/"+b)
	}
	// By this git moves what the clone has of the branches too, so that nobody has to fetch what was pushed from here.
	_, err = g.clone().git().Set("remote."+remoteName+".fetch=+refs/heads/*:"+grouped+"*").Run(ctx, nil, args...)
	switch {
	case err == nil:
		for b, id := range to {
			g.heads[b] = id
		}
		return false, nil
	case git.KindOf(err) == git.Moved:
		return true, fault.New(fault.Transient, fmt.Errorf("%w; others push too: try again", err))
	case strings.Contains(err.Error(), "does not support --atomic"):
		return false, fault.New(fault.Usage, fmt.Errorf("%w: use a git server that moves several branches at once", err))
	}
	return false, git.OfRemote(err)
}

// Has reports whether a branch has a commit.
func (g *Group) Has(ctx context.Context, branch, commit string) (bool, error) {
	if g.heads[branch] == "" {
		return false, nil
	}
	return g.Contains(ctx, g.heads[branch], commit)
}

// Contains reports whether a commit has another one in its history.
func (g *Group) Contains(ctx context.Context, commit, earlier string) (bool, error) {
	_, err := g.clone().git().Run(ctx, nil, "merge-base", "--is-ancestor", earlier, commit)
	if git.No(err) {
		return false, nil
	}
	return err == nil, err
}

// Height is how many commits a commit goes back to the first, itself included, along first parents.
func (g *Group) Height(ctx context.Context, commit string) (int64, error) {
	out, err := g.clone().git().Run(ctx, nil, "rev-list", "--count", "--first-parent", commit, "--")
	if err != nil {
		return 0, err
	}
	var n int64
	if _, err := fmt.Sscan(string(out), &n); err != nil {
		return 0, fault.Errorf(fault.Git, "running git rev-list: it answers %.80q", out)
	}
	return n, nil
}
