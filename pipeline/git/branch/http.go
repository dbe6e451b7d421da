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
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// wire is how a remote is spoken to without git, over HTTP: a git that asks one thing is some ten processes, here and at the server.
// What is not as expected is left to git.
type wire struct {
	remote *smart.Remote // nil for none
	asked  bool          // whether there is one
	named  bool          // git was asked who this is
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

// speak asks the remote something. Where it has to know who asks, git says that, of its credential helpers or GIT_ASKPASS. It reports whether
// there was an answer; what has none is left to git for a while, but for what the server says and what ends with the context.
func (g *Group) speak(ctx context.Context, ask func(*smart.Remote) error) (answered bool, err error) {
	r := g.overHTTP(ctx)
	if r == nil {
		return false, nil
	}
	err = ask(r)
	if errors.Is(err, smart.ErrUnknown) && !g.http.named {
		g.http.named = true
		if user, password, ok := g.whoami(ctx); ok {
			g.http.remote = r.As(user, password)
			err = ask(g.http.remote)
		}
	}
	if err == nil {
		return true, nil
	}
	if said, ok := errors.AsType[smart.Said](err); ok {
		if err := fault.New(fault.Git, &git.Error{Command: "fetch", Said: string(said)}); git.KindOf(err) == git.NoRef {
			return false, err // it is gone since, and git would not find it either
		}
	}
	if err := interrupted(ctx); err != nil {
		return false, err
	}
	g.http.failed = time.Now()
	return false, nil
}

// whoami is who git would be at the remote (https://git-scm.com/docs/git-credential).
func (g *Group) whoami(ctx context.Context) (user, password string, ok bool) {
	out, err := g.clone().git().Run(ctx, strings.NewReader("url="+g.Remote+"\n\n"), "credential", "fill")
	for line := range strings.Lines(string(out)) {
		switch key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); key {
		case "username":
			user = value
		case "password":
			password = value
		}
	}
	return user, password, err == nil && password != ""
}

// lookOverHTTP are the refs of the remote. Whoever watches refs means to push, so what a push finds is asked for first.
func (g *Group) lookOverHTTP(ctx context.Context) (refs map[string]string, done bool, err error) {
	_, err = g.speak(ctx, func(r *smart.Remote) (err error) {
		if len(g.Watch) > 0 && g.http.can == nil {
			refs, g.http.can, err = r.Writable(ctx)
		} else {
			refs, err = r.Refs(ctx, append([]string{"refs/heads/"}, g.Watch...)...)
		}
		return err
	})
	// Of one that has nothing git has the last word: so may answer who did not understand.
	return refs, len(refs) > 0, err
}

// loadOverHTTP fetches objects that are wanted. The first time git does it, since that may be much.
func (g *Group) loadOverHTTP(ctx context.Context, want, have []string) (done bool, err error) {
	if len(have) == 0 {
		return false, nil
	}
	slices.Sort(want)
	return g.speak(ctx, func(r *smart.Remote) error {
		want = slices.Compact(want)
		pack, err := r.Fetch(ctx, want, have)
		if err == nil {
			// What an object needs is there, or it is refused: the refs say so of what is below them.
			_, err = g.clone().git().Run(ctx, bytes.NewReader(pack), "index-pack", "--stdin", "--fix-thin", "--strict")
		}
		for _, id := range want {
			obj := object{}
			if err == nil {
				obj, _, err = g.get(ctx, id, 0)
			}
			if err == nil && obj.id == "" {
				err = fmt.Errorf("the git server does not send %s", id)
			}
		}
		return err
	})
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
	return filelock.Replace(g.Dir, name, []byte(id+"\n")) == nil // what lies below refs/, git takes for refs
}

// pushOverHTTP is Push, of commits that were made here on what the branches were at: the remote moves each from there and from nowhere
// else. What it refuses for another reason than that git is to ask again: it tells people more.
func (g *Group) pushOverHTTP(ctx context.Context, to map[string]string, refs []Ref) (done, behind bool, err error) {
	if g.overHTTP(ctx) == nil {
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
	var pushed smart.Pushed
	answered, err := g.speak(ctx, func(r *smart.Remote) (err error) {
		if g.http.can == nil {
			_, g.http.can, err = r.Writable(ctx)
		}
		if err == nil {
			pushed, err = r.Push(ctx, updates, pack, g.http.can)
		}
		return err
	})
	if !answered {
		return false, false, err
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
	var updates []smart.Update
	for _, ref := range refs {
		updates = append(updates, update(ref))
	}
	var pushed smart.Pushed
	answered, err := g.speak(ctx, func(r *smart.Remote) (err error) {
		pushed, err = r.Push(ctx, updates, smart.Pack(files...), nil)
		return err
	})
	if !answered {
		return false, nil, nil, err
	}
	left = g.apart(refs, func(r Ref) bool { return pushed.Refused[r.Name] == "" })
	if len(left) > 0 {
		said = g.refused(pushed)
	}
	return true, left, said, nil
}
