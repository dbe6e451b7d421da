package branch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/git/smart"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// wire is how a remote is spoken to without git, over HTTP: a git that asks one thing is some ten processes, here and at the server.
// What is not as expected is left to git.
type wire struct {
	remote *smart.Remote // nil for none
	asked  bool          // whether there is one
	can    smart.Capabilities
	failed time.Time
}

// again is the time after which a remote is spoken to without git again, since that did not work.
const again = time.Minute

// overHTTP is the remote, nil where git is to do all of it.
func (g *Group) overHTTP(ctx context.Context) *smart.Remote {
	if !g.http.asked {
		g.http.asked = true
		if r, ok := smart.New(g.Remote); ok {
			if plain, err := g.clone().git().Plain(ctx); err == nil && plain {
				g.http.remote = r
			}
		}
	}
	if time.Since(g.http.failed) < again {
		return nil
	}
	return g.http.remote
}

// Clock is what time it is by the clock of the remote, where that is known.
func (g *Group) Clock() (now time.Time, known bool) {
	if g.http.remote == nil {
		return time.Time{}, false
	}
	return g.http.remote.Clock()
}

// byGit leaves it to git for a while. The error is that of a context of which git would end too.
func (g *Group) byGit(ctx context.Context) error {
	err := interrupted(ctx)
	if err == nil {
		g.http.failed = time.Now()
	}
	return err
}

// lookOverHTTP are the refs of the remote. Whoever watches refs means to push, so what a push finds is asked for first.
func (g *Group) lookOverHTTP(ctx context.Context) (refs map[string]string, done bool, err error) {
	r := g.overHTTP(ctx)
	if r == nil {
		return nil, false, nil
	}
	if len(g.Watch) > 0 && g.http.can == nil {
		refs, g.http.can, err = r.Writable(ctx)
	} else {
		refs, err = r.Refs(ctx, append([]string{"refs/heads/"}, g.Watch...)...)
	}
	if err != nil {
		return nil, false, g.byGit(ctx)
	}
	// Of one that has nothing git has the last word: so may answer who did not understand.
	return refs, len(refs) > 0, nil
}

// loadOverHTTP fetches objects that are wanted. The first time git does it, since that may be much.
func (g *Group) loadOverHTTP(ctx context.Context, want, have []string) (done bool, err error) {
	r := g.overHTTP(ctx)
	if r == nil || len(have) == 0 {
		return false, nil
	}
	slices.Sort(want)
	pack, err := r.Fetch(ctx, slices.Compact(want), have)
	if err == nil {
		// What an object needs is there, or it is refused: the refs say so of what is below them.
		_, err = g.clone().git().Run(ctx, bytes.NewReader(pack), "index-pack", "--stdin", "--fix-thin", "--strict")
	}
	if said, ok := errors.AsType[smart.Said](err); ok {
		if err := fault.New(fault.Git, &git.Error{Command: "fetch", Said: string(said)}); git.KindOf(err) == git.NoRef {
			return false, err // it is gone since, and git would not find it either
		}
	}
	if err != nil {
		return false, g.byGit(ctx)
	}
	return true, nil
}

// keep has the clone know what the branches are at. It does so as git would: nobody else writes there while the clone is locked.
func (g *Group) keep(ctx context.Context, heads map[string]string) error {
	var in bytes.Buffer
	for b, id := range heads {
		if !g.keepLoose(b, id) {
			fmt.Fprintf(&in, "update %s%s %s\n", grouped, b, id)
		}
	}
	if in.Len() > 0 {
		if _, err := g.clone().git().Run(ctx, &in, "update-ref", "--stdin"); err != nil {
			return err
		}
	}
	g.heads = heads
	return nil
}

// keepLoose writes a ref as a file of its own, where the clone keeps refs in files.
func (g *Group) keepLoose(branch, id string) bool {
	if _, err := os.Stat(filepath.Join(g.Dir, "reftable")); err == nil || CheckName(branch) != nil {
		return false
	}
	name := filepath.Join(g.Dir, filepath.FromSlash(grouped+branch))
	if b, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(b)) == id {
		return true
	}
	if os.MkdirAll(filepath.Dir(name), 0o755) != nil {
		return false
	}
	f, err := os.CreateTemp(g.Dir, "ref-*")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(id + "\n")
	for _, next := range []func() error{f.Sync, f.Close, func() error { return os.Rename(f.Name(), name) }} {
		if e := next(); err == nil {
			err = e
		}
	}
	return err == nil
}

// pushOverHTTP is Push, of commits that were made here on what the branches were at: the remote moves each from there and from nowhere
// else. What it refuses for another reason than that git is to ask again: it tells people more.
func (g *Group) pushOverHTTP(ctx context.Context, to map[string]string, refs []Ref) (done, behind bool, err error) {
	r := g.overHTTP(ctx)
	if r == nil {
		return false, false, nil
	}
	var updates []smart.Update
	var revisions strings.Builder
	for _, b := range slices.Sorted(maps.Keys(to)) {
		onto, ours := g.onto[to[b]]
		if !ours || onto != g.heads[b] {
			return false, false, nil
		}
		updates = append(updates, update(Ref{"refs/heads/" + b, onto, to[b]}))
		fmt.Fprintln(&revisions, to[b])
		if onto != "" {
			fmt.Fprintln(&revisions, "^"+onto)
		}
	}
	for _, ref := range refs {
		if ref.To != "" {
			return false, false, nil
		}
		updates = append(updates, update(ref))
	}
	var pack []byte
	if len(to) > 0 {
		pack, err = g.clone().git().Run(ctx, strings.NewReader(revisions.String()), "pack-objects", "--revs", "--thin", "--stdout", "--delta-base-offset", "--quiet")
		if err != nil {
			return false, false, err
		}
	}
	if g.http.can == nil {
		if _, g.http.can, err = r.Writable(ctx); err != nil {
			return false, false, g.byGit(ctx)
		}
	}
	pushed, err := r.Push(ctx, updates, pack, g.http.can)
	if err != nil {
		return false, false, g.byGit(ctx)
	}
	if len(pushed.Refused) > 0 {
		err := g.refused(pushed)
		if git.KindOf(err) != git.Moved {
			return false, false, nil
		}
		return true, true, comesSecond(err)
	}
	g.moved(refs)
	heads := map[string]string{}
	maps.Copy(heads, g.heads)
	maps.Copy(heads, to)
	return true, false, g.keep(ctx, heads)
}

func update(r Ref) smart.Update {
	u := smart.Update{Name: r.Name, From: smart.None, To: smart.None}
	if r.From != "" {
		u.From = r.From
	}
	if r.To != "" {
		u.To = r.To
	}
	return u
}

// refused is what git would say of a push.
func (g *Group) refused(pushed smart.Pushed) error {
	said := pushed.Said
	for _, name := range slices.Sorted(maps.Keys(pushed.Refused)) {
		said += fmt.Sprintf("\n! %s (%s)", name, pushed.Refused[name])
	}
	if g.Git.Hide != nil {
		said = g.Git.Hide(said)
	}
	return &git.Error{Command: "push", Said: said}
}

// pushRefsOverHTTP is PushRefs.
func (g *Group) pushRefsOverHTTP(ctx context.Context, refs []Ref, files [][]byte) (done bool, left []Ref, said, err error) {
	r := g.overHTTP(ctx)
	if r == nil {
		return false, nil, nil, nil
	}
	var updates []smart.Update
	for _, ref := range refs {
		updates = append(updates, update(ref))
	}
	pushed, err := r.Push(ctx, updates, smart.Pack(files...), nil)
	if err != nil {
		return false, nil, nil, g.byGit(ctx)
	}
	left = g.apart(refs, func(r Ref) bool { return pushed.Refused[r.Name] == "" })
	if len(left) > 0 {
		said = g.refused(pushed)
	}
	return true, left, said, nil
}
