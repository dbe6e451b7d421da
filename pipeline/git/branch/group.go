package branch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

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
	// Watch are the beginnings of other refs of the remote that Fetch looks at. They may point at anything. Of those Want names the ones to
	// fetch.
	Watch []string
	Want  func(refs map[string]string) []string

	Author, Email string // of commits, also as the committer

	there   map[string]string // all branches of the remote when it was last asked
	heads   map[string]string // of those that are followed
	watched map[string]string
	fresh   bool              // nobody has used what the remote said last
	onto    map[string]string // what each of the commits that were made last was made on
	locked  bool
	http    wire
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
	g.locked, g.fresh = true, false
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

// tidy puts packs together, and removes what a git began that was killed or found no room on the disk. Where it fails nothing is lost, and
// whoever comes next tries again.
func (g *Group) tidy(ctx context.Context) {
	packs, err := filepath.Glob(filepath.Join(g.Dir, "objects", "pack", "*.pack"))
	if err != nil || len(packs) <= maxPacks {
		return
	}
	g.clone().git().Run(ctx, nil, "repack", "-d", "-q", "--geometric=2")
	for _, pattern := range []string{filepath.Join("objects", "*", "tmp_*"), "fast_import_crash_*"} {
		all, _ := filepath.Glob(filepath.Join(g.Dir, pattern))
		for _, name := range all {
			if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > 24*time.Hour { // and not of one that goes on
				os.Remove(name)
			}
		}
	}
}

// grouped are the branches in the clone.
const grouped = "refs/slipway/group/"

// Fetch has Head be what the branches are at now, and Watched what the other refs are. It asks once, and fetches what is not there yet.
func (g *Group) Fetch(ctx context.Context) error {
	for try := 1; ; try++ {
		// A ref may be gone before it is fetched.
		if err := g.fetch(ctx); git.KindOf(err) != git.NoRef || try == tries {
			return err
		}
	}
}

// tries is how often something is looked at again that went while it was looked at.
const tries = 5

func (g *Group) fetch(ctx context.Context) error {
	if !g.fresh {
		if err := g.Look(ctx); err != nil {
			return err
		}
	}
	g.fresh = false
	return g.load(ctx)
}

// Look asks what the remote has, and fetches nothing: Fetch does, once, without asking again.
func (g *Group) Look(ctx context.Context) error {
	refs, done, err := g.lookOverHTTP(ctx)
	if err == nil && !done {
		refs, err = g.lookByGit(ctx)
	}
	if err != nil {
		return err
	}
	g.there, g.watched = map[string]string{}, map[string]string{}
	for ref, id := range refs {
		if name, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
			g.there[name] = id
		} else if slices.ContainsFunc(g.Watch, func(prefix string) bool { return strings.HasPrefix(ref, prefix) }) {
			g.watched[ref] = id
		}
	}
	g.fresh = true
	return nil
}

func (g *Group) lookByGit(ctx context.Context) (map[string]string, error) {
	args := []string{"ls-remote", "--", remoteName, "refs/heads/*"}
	for _, prefix := range g.Watch {
		args = append(args, prefix+"*")
	}
	out, err := g.asking().Run(ctx, nil, args...)
	if err != nil {
		return nil, git.OfRemote(err)
	}
	refs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		id, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if !git.IsObject(id) {
			return nil, fault.Errorf(fault.Transient, "the git repository says that %.80q is at %.60q", ref, id)
		}
		refs[ref] = id
	}
	return refs, nil
}

// asking is git for what asks a remote what it has. In the first version of the protocol that is one request, in the second one two, which
// spare nothing where all refs are asked for (https://git-scm.com/docs/protocol-v2).
func (g *Group) asking() git.Git { return g.clone().git().Set("protocol.version=0") }

// Follow has Branches be others, as the remote had them when it was last asked.
func (g *Group) Follow(ctx context.Context, branches []string) error {
	g.Branches = branches
	if err := g.load(ctx); git.KindOf(err) != git.NoRef {
		return err
	}
	return g.Fetch(ctx)
}

// load fetches what the clone does not have of what the remote has.
func (g *Group) load(ctx context.Context) error {
	have, err := g.have(ctx) // also from another process
	if err != nil {
		return err
	}
	var specs, want []string
	heads := map[string]string{}
	for _, b := range g.Branches {
		id := g.there[b]
		if id == "" {
			continue
		}
		if heads[b] = id; have[b] != id {
			specs, want = append(specs, "+refs/heads/"+b+":"+grouped+b), append(want, id)
		}
	}
	if g.Want != nil {
		for _, ref := range g.Want(g.watched) {
			obj, _, err := g.get(ctx, g.watched[ref], 0)
			if err != nil {
				return err
			}
			if obj.id == "" {
				specs, want = append(specs, ref), append(want, g.watched[ref])
			}
		}
	}
	g.heads = heads
	if len(specs) == 0 {
		return nil
	}
	if done, err := g.loadOverHTTP(ctx, want, slices.Collect(maps.Values(have))); done {
		return errors.Join(err, g.keep(ctx, heads))
	} else if err != nil {
		return err
	}
	if _, err := g.asking().Set("fetch.unpackLimit=1").Run(ctx, nil, append([]string{"fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--", remoteName}, specs...)...); err != nil {
		return git.OfRemote(err)
	}
	// What they are at by now, if they moved in between.
	if have, err = g.have(ctx); err != nil {
		return err
	}
	maps.DeleteFunc(have, func(name, _ string) bool { return heads[name] == "" })
	g.heads = have
	for _, b := range g.Branches {
		if heads[b] != "" && have[b] == "" { // git says nothing of it
			return fault.Errorf(fault.Usage, "git does not fetch branch %s: if its repository is a shallow clone, have it whole with git fetch --unshallow", b)
		}
	}
	return nil
}

// Watched are the objects that the other refs of the remote were at when it was last asked, by their full names.
func (g *Group) Watched() map[string]string { return g.watched }

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

// At is the commit that any branch of the remote was at when it was last asked for, "" for one that was not there.
func (g *Group) At(branch string) string { return g.there[branch] }

// Commit makes commits. It pushes nothing.
func (g *Group) Commit(ctx context.Context, all []Commit) ([]string, error) {
	for i, c := range all {
		if c.Over && c.Onto != "" {
			rows, err := g.rows(ctx, c.Onto+":", "")
			if err != nil {
				return nil, err
			}
			all[i].stays = slices.DeleteFunc(rows, func(r row) bool { return len(r.name) > maxName })
		}
	}
	ids, err := commits(ctx, g.clone().git(), g.Author, g.Email, all)
	g.onto = map[string]string{}
	for i, id := range ids {
		g.onto[id] = all[i].Onto
	}
	return ids, err
}

// Ref is what becomes of a ref that is no branch.
type Ref struct {
	Name     string // full
	From, To string // objects; "" for none
}

// spec are the arguments that move a ref if it is where it was thought to be.
func (r Ref) spec() []string {
	return []string{"--force-with-lease=" + r.Name + ":" + r.From, r.To + ":" + r.Name}
}

// Push moves branches to commits, and other refs with them, all or none. It reports whether one of them had moved: then Fetch, and make
// other commits on what is there.
func (g *Group) Push(ctx context.Context, to map[string]string, refs ...Ref) (behind bool, err error) {
	g.fresh = false
	if done, behind, err := g.pushOverHTTP(ctx, to, refs); done || err != nil {
		return behind, err
	}
	options, specs := []string{"--porcelain", "--atomic"}, []string{}
	for _, b := range slices.Sorted(maps.Keys(to)) {
		specs = append(specs, to[b]+":refs/heads/"+b)
	}
	for _, r := range refs {
		options, specs = append(options, r.spec()[0]), append(specs, r.spec()[1])
	}
	// By this git moves what the clone has of the branches too, so that nobody has to fetch what was pushed from here.
	_, err = g.clone().git().Set("remote."+remoteName+".fetch=+refs/heads/*:"+grouped+"*").Run(ctx, nil, slices.Concat([]string{"push"}, options, []string{"--", remoteName}, specs)...)
	switch {
	case err == nil:
		for b, id := range to {
			g.heads[b] = id
		}
		g.moved(refs)
		return false, nil
	case git.KindOf(err) == git.Moved:
		return true, comesSecond(err)
	case strings.Contains(err.Error(), "matches more than one"):
		return false, fault.New(fault.Usage, fmt.Errorf("%w: a ref such as refs/tags/refs/heads/NAME or refs/heads/refs/heads/NAME is there, which git takes for the branch too: delete it", err))
	case strings.Contains(err.Error(), "does not support --atomic"):
		return false, fault.New(fault.Usage, fmt.Errorf("%w: use a git server that moves several branches at once", err))
	}
	return false, git.OfRemote(err)
}

// Offer pushes a branch that is to be there as Push does, and returns what the remote says. Options are for what has these:
// https://git-scm.com/docs/git-push#Documentation/git-push.txt---push-optionoption.
func (g *Group) Offer(ctx context.Context, name, commit string, options ...string) (said string, err error) {
	with := *g
	with.http = wire{asked: true} // git shows what the remote says, and has options
	with.Git.Said = func(s string) { said = s }
	plain := with.Git
	for _, o := range options {
		with.Git = with.Git.Set("push.pushOption=" + o)
	}
	_, err = with.Push(ctx, map[string]string{name: commit})
	if err != nil && len(options) > 0 && strings.Contains(err.Error(), "does not support push options") {
		with.Git = plain
		_, err = with.Push(ctx, map[string]string{name: commit})
	}
	return said, err
}

func comesSecond(err error) error {
	return fault.New(fault.Transient, fmt.Errorf("%w; others push too: try again", err))
}

func (g *Group) moved(refs []Ref) {
	for _, r := range refs {
		if r.To == "" {
			delete(g.watched, r.Name)
			continue
		}
		if g.watched == nil {
			g.watched = map[string]string{}
		}
		g.watched[r.Name] = r.To
	}
}

// PushRefs moves refs that are no branches, each by itself, to objects that the remote has or to some of the files, and returns those that
// did not move, with what git says of all that. An error is one of the remote.
func (g *Group) PushRefs(ctx context.Context, refs []Ref, files ...[]byte) (left []Ref, said error, err error) {
	g.fresh = false
	if done, left, said, err := g.pushRefsOverHTTP(ctx, refs, files); done || err != nil {
		return left, said, err
	}
	if err := g.blobs(ctx, files); err != nil {
		return nil, nil, err
	}
	options, specs := []string{"--porcelain"}, []string{}
	for _, r := range refs {
		options, specs = append(options, r.spec()[0]), append(specs, r.spec()[1])
	}
	out, err := g.clone().git().Run(ctx, nil, slices.Concat([]string{"push"}, options, []string{"--", remoteName}, specs)...)
	if err == nil {
		g.moved(refs)
		return nil, nil, nil
	}
	// https://git-scm.com/docs/git-push#_output
	ended := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if parts := strings.Split(line, "\t"); len(parts) == 3 {
			_, name, _ := strings.Cut(parts[1], ":")
			ended[name] = parts[0] != "!"
		}
	}
	if len(ended) == 0 {
		return nil, nil, git.OfRemote(err)
	}
	left = g.apart(refs, func(r Ref) bool { return ended[r.Name] })
	return left, err, nil
}

// apart remembers which refs moved, and returns the others.
func (g *Group) apart(refs []Ref, went func(Ref) bool) (left []Ref) {
	var all []Ref
	for _, r := range refs {
		if went(r) {
			all = append(all, r)
		} else {
			left = append(left, r)
		}
	}
	g.moved(all)
	return left
}

// blobs puts files into the clone.
func (g *Group) blobs(ctx context.Context, all [][]byte) error {
	if len(all) == 0 {
		return nil
	}
	var in bytes.Buffer
	for _, b := range all {
		fmt.Fprintf(&in, "blob\ndata %d\n%s\n", len(b), b)
	}
	_, err := fastImport(ctx, g.clone().git(), &in, 0)
	return err
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
