package branch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Taken is a commit of the default branch as it is on the branch of a line.
type Taken struct {
	From, To string // commits
	Subject  string
	Was      bool // it was there before
}

// under is a pick that stands still at a conflict.
type under struct {
	Base  string   `json:"base"`            // what the branch was at
	Head  string   `json:"head"`            // the last commit in the clone
	Todo  []string `json:"todo"`            // commits, the one with the conflict first
	Kept  []string `json:"kept,omitempty"`  // those of them that were picked before, and have their trailers
	Files []string `json:"files,omitempty"` // that are in conflict; none where a run was ended between two commits
}

// maxUnder bounds what is written down of it, in bytes.
const maxUnder = 4 << 20

// clone is the repository that commits are picked in: it has nothing of the configuration, the hooks and the attributes of the one that a
// person works in, and its objects only where they are.
type clone struct {
	*Repo
	dir, note string
	stands    bool // it is noted where the pick stands
	branch    string
	again     string // the arguments that go on with the pick
	in        git.Git
}

func (r *Repo) clone(l Line, push bool) clone {
	c := clone{Repo: r, branch: r.Name(l), again: fmt.Sprintf("pick %s --continue", l)}
	if r.o.Of != "" {
		c.again += " --of " + r.o.Of
	}
	if push {
		c.again += " --push"
	}
	c.dir, c.note = filepath.Join(r.own, c.branch), filepath.Join(r.own, c.branch+".json")
	c.in = r.git.In(c.dir).Set("rerere.enabled=false", "core.sparseCheckout=false", "advice.detachedHead=false")
	return c
}

// remove takes the clone away, and what is written down of it.
func (c clone) remove() error {
	return fault.New(fault.Git, errors.Join(os.RemoveAll(c.dir), os.RemoveAll(c.note)))
}

// Abort gives up what a pick has left at a conflict.
func (r *Repo) Abort(ctx context.Context, l Line) error {
	unlock, err := r.lock(ctx, r.Name(l))
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }()
	return r.clone(l, false).remove()
}

// Pick takes commits of the default branch over to the branch of a line, oldest first and each as a commit of its author, and moves the
// branch when all are taken: at the remote with push, else here. What is there already is not taken again. A merge, a root, a commit that
// changes nothing and one that is not on the default branch are a fault.Git that names each, and nothing is taken. So is a conflict, with
// the files and the clone that is left; Continue goes on in it.
func (r *Repo) Pick(ctx context.Context, l Line, revisions []string, push bool) ([]Taken, error) {
	unlock, err := r.begin(ctx, r.Name(l), push)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unlock() }()
	c := r.clone(l, push)
	if _, found, err := c.standing(); err != nil {
		return nil, err
	} else if found {
		return nil, fault.Errorf(fault.Git, "a pick stands at a conflict in %s; finish it there and run %s, or give it up with --abort", c.dir, c.again)
	}
	_, tip, _, err := r.line(ctx, l)
	if err != nil {
		return nil, err
	}
	todo, was, err := r.chosen(ctx, l, tip, revisions)
	if err != nil {
		return nil, err
	}
	if len(todo) == 0 {
		return was, c.finish(ctx, tip, tip, push)
	}
	// A run that was killed leaves a clone that nobody has touched.
	if err := c.remove(); err != nil {
		return nil, err
	}
	if err := c.make(ctx, tip); err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c.take(ctx, under{Base: tip, Head: tip, Todo: todo}, was, push)
}

// Continue goes on where a conflict is solved.
func (r *Repo) Continue(ctx context.Context, l Line, push bool) ([]Taken, error) {
	unlock, err := r.begin(ctx, r.Name(l), push)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unlock() }()
	c := r.clone(l, push)
	u, found, err := c.standing()
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fault.Errorf(fault.Git, "no pick to branch %s stands at a conflict here; begin one with pick %s COMMIT", c.branch, l)
	}
	c.stands = true
	if u, err = c.next(ctx, u); err != nil {
		return nil, err
	}
	// What others have brought to the branch meanwhile comes first.
	_, tip, _, err := r.line(ctx, l)
	if err != nil {
		return nil, err
	}
	inside := *r
	inside.git = c.in
	if tip != u.Base {
		pushed, err := inside.ancestor(ctx, u.Head, tip)
		if err != nil {
			return nil, err
		}
		if pushed && len(u.Todo) == 0 { // by a run that was killed after that
			return nil, c.remove()
		}
		done, err := inside.log(ctx, u.Base, u.Head, "%s")
		if err != nil {
			return nil, err
		}
		again := under{Base: tip, Head: tip}
		for _, d := range done {
			again.Kept = append(again.Kept, d.id)
		}
		again.Todo = slices.Concat(again.Kept, u.Todo)
		u = again
		if err := c.write(u); err != nil {
			return nil, err
		}
		if err := c.reset(ctx, tip); err != nil {
			return nil, err
		}
	}
	return c.take(ctx, u, nil, push)
}

// reset brings the clone to a commit, whatever a run that was killed has begun there.
func (c clone) reset(ctx context.Context, to string) error {
	if _, err := c.in.Run(ctx, nil, "checkout", "--quiet", "--force", "--detach", to, "--"); err != nil {
		return err
	}
	_, err := c.in.Run(ctx, nil, "clean", "--quiet", "--force", "-d", "-x")
	return err
}

// next is where a pick stands once its conflict is solved, or once what a killed run has begun is taken back.
func (c clone) next(ctx context.Context, u under) (under, error) {
	if len(u.Files) == 0 {
		return u, c.reset(ctx, u.Head)
	}
	head, err := c.in.ID(ctx, nil, "rev-parse", "--verify", "HEAD")
	if err != nil {
		return u, err
	}
	if head != u.Head {
		out, err := c.in.Run(ctx, nil, "log", "-1", "--no-show-signature", "--format=%P%x00%B", head, "--")
		if err != nil {
			return u, err
		}
		// A run that was killed may have made the commit and not noted it.
		parent, text, _ := strings.Cut(string(out), "\x00")
		from := last(pickedFrom, text)
		if parent != u.Head || from != u.Todo[0] && (from == "" || !slices.Contains(u.Kept, u.Todo[0])) {
			return u, fault.Errorf(fault.Git, "%s is at commit %.12s and not at %.12s: somebody has committed there; undo it with git reset --soft %[3]s, and leave the commit to pick --continue", c.dir, head, u.Head)
		}
		u.Head, u.Todo, u.Files = head, u.Todo[1:], nil
		return u, c.write(u)
	}
	if err := c.solved(ctx, u); err != nil {
		return u, err
	}
	to, err := c.commit(ctx, u, u.Todo[0])
	if err != nil {
		return u, err
	}
	u.Head, u.Todo, u.Files = to, u.Todo[1:], nil
	return u, c.write(u)
}

// chosen are the commits to be picked, in the order in which they were made, and those that are there already.
func (r *Repo) chosen(ctx context.Context, l Line, tip string, revisions []string) (todo []string, was []Taken, err error) {
	name, main, err := r.main(ctx)
	if err != nil {
		return nil, nil, err
	}
	fork, err := r.fork(ctx, main, tip)
	if err != nil {
		return nil, nil, err
	}
	left, err := r.log(ctx, fork, main, "%s")
	if err != nil {
		return nil, nil, err
	}
	right, err := r.log(ctx, fork, tip, "%B")
	if err != nil {
		return nil, nil, err
	}
	sides, err := r.compare(ctx, main, left, right)
	if err != nil {
		return nil, nil, err
	}
	is, order := map[string]Commit{}, map[string]int{}
	for _, c := range sides {
		is[c.Commit] = c
	}
	for i, c := range left {
		order[c.id] = i
	}
	var errs []error
	for _, rev := range revisions {
		id, err := r.Commit(ctx, rev)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		there, err := r.ancestor(ctx, id, tip)
		if err != nil {
			return nil, nil, err
		}
		at, onMain := order[id]
		why := ""
		switch {
		case there:
			why = fmt.Sprintf("is in branch %s itself", r.Name(l))
		case !onMain:
			why = fmt.Sprintf("is not on %s; a fix is made there first, and then picked", name)
		case len(left[at].parents) == 0:
			why = "is a root, which changes nothing that is there before; pick a commit that has a parent"
		case len(left[at].parents) > 1:
			why = "is a merge; name the commits that it brought"
		case is[id].State == Empty:
			why = fmt.Sprintf("changes nothing but what %s says, or nothing at all", r.versionFile())
		}
		if why != "" {
			errs = append(errs, fault.Errorf(fault.Git, "commit %.12s %s", id, why))
		} else if !slices.Contains(todo, id) {
			todo = append(todo, id)
		}
	}
	if len(errs) > 0 {
		return nil, nil, errors.Join(errs...)
	}
	slices.SortFunc(todo, func(a, b string) int { return order[a] - order[b] })
	todo = slices.DeleteFunc(todo, func(id string) bool {
		c := is[id]
		if c.Branch != "" {
			was = append(was, Taken{id, c.Branch, c.Subject, true})
		}
		return c.Branch != ""
	})
	return todo, was, nil
}

// standing is a pick that stands at a conflict, if there is one.
func (c clone) standing() (u under, found bool, err error) {
	b, err := bounded.File(c.note, maxUnder)
	if errors.Is(err, fs.ErrNotExist) {
		return u, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &u)
	}
	if err == nil && (!git.IsObject(u.Base) || !git.IsObject(u.Head) || slices.ContainsFunc(u.Todo, func(id string) bool { return !git.IsObject(id) }) || len(u.Files) > 0 && len(u.Todo) == 0) {
		err = errors.New("it names no commits")
	}
	if err != nil {
		err = fault.Errorf(fault.Git, "reading %s: %w; give that pick up with --abort", c.note, err)
	}
	return u, err == nil, err
}

// write notes where a pick stands, in one step.
func (c clone) write(u under) error {
	b, err := json.MarshalIndent(u, "", "  ")
	if err == nil {
		err = os.WriteFile(c.note+".new", append(b, '\n'), 0o666)
	}
	if err == nil {
		err = os.Rename(c.note+".new", c.note)
	}
	return fault.New(fault.Git, err)
}

// make clones the repository at a commit.
func (c clone) make(ctx context.Context, at string) error {
	from, err := c.say(ctx, "rev-parse", "--path-format=absolute", "--git-common-dir")
	if err != nil {
		return err
	}
	if _, err := c.git.Run(ctx, nil, "clone", "--quiet", "--shared", "--no-checkout", "--no-tags", "--template=", "--", from, c.dir); err != nil {
		return err
	}
	info := filepath.Join(c.dir, ".git", "info")
	if err = os.MkdirAll(info, 0o777); err == nil {
		err = os.WriteFile(filepath.Join(info, "attributes"), []byte(asRecorded), 0o666)
	}
	if err != nil {
		return fault.New(fault.Git, err)
	}
	_, err = c.in.Run(ctx, nil, "checkout", "--quiet", "--detach", at, "--")
	return err
}

// asRecorded has git write and read the files of the clone as they are recorded: what it would convert, or what a filter would, differs
// from the commit before anybody has changed it.
const asRecorded = "* -text !eol !ident !filter !working-tree-encoding\n"

// take picks what is to be picked, and moves the branch.
func (c clone) take(ctx context.Context, u under, taken []Taken, push bool) ([]Taken, error) {
	for len(u.Todo) > 0 {
		id := u.Todo[0]
		_, err := c.in.Run(ctx, nil, "cherry-pick", "--no-commit", id)
		if restore := c.restore(ctx); restore != nil {
			return nil, cmp.Or(err, restore)
		}
		files, unmerged := c.unmerged(ctx)
		switch {
		case unmerged != nil:
			return nil, unmerged
		case len(files) > 0:
			u.Files = files
			if err := c.write(u); err != nil {
				return nil, err
			}
			return nil, c.conflict(id, files)
		case err != nil && !onlyVersion(err):
			return nil, err
		}
		to, err := c.commit(ctx, u, id)
		if err != nil {
			return nil, err
		}
		u.Head, u.Todo = to, u.Todo[1:]
		if c.stands {
			if err := c.write(u); err != nil {
				return nil, err
			}
		}
	}
	return c.finished(ctx, u, taken, push)
}

// onlyVersion reports whether a pick ended with a conflict, and with nothing else: none is left if that was in the version file.
func onlyVersion(err error) bool {
	e, ok := errors.AsType[*git.Error](err)
	return ok && strings.Contains(e.Said, "could not apply")
}

func (c clone) conflict(id string, files []string) error {
	names := files
	if len(names) > 10 {
		names = append(slices.Clone(names[:10]), fmt.Sprintf("and %d more", len(files)-10))
	}
	return fault.Errorf(fault.Git, "commit %.12s does not go onto branch %s by itself: %s; solve that in %s, git add the files there, and run %s, or give it up with --abort",
		id, c.branch, words.Line(strings.Join(names, ", ")), c.dir, c.again)
}

// unmerged are the files that are in conflict.
func (c clone) unmerged(ctx context.Context) ([]string, error) {
	out, err := c.in.Run(ctx, nil, "diff", "--name-only", "-z", "--diff-filter=U", "--no-ext-diff")
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}

// restore gives the version file the content that it has on the branch.
func (c clone) restore(ctx context.Context) error {
	file := ":(top,literal)" + c.versionFile()
	if _, err := c.in.Run(ctx, nil, "reset", "--quiet", "HEAD", "--", file); err != nil {
		return err
	}
	has, err := c.in.Run(ctx, nil, "ls-files", "-z", "--", file)
	if err != nil {
		return err
	}
	if len(has) > 0 {
		_, err = c.in.Run(ctx, nil, "checkout-index", "--quiet", "--force", "--", c.versionFile())
		return err
	}
	return fault.New(fault.Git, os.RemoveAll(filepath.Join(c.dir, filepath.FromSlash(c.versionFile()))))
}

var marker = regexp.MustCompile(`(?m)^(?:<<<<<<< |>>>>>>> )`)

// solved holds the clone to what can be committed: nothing in conflict, all that was changed added, and no mark of a conflict left.
func (c clone) solved(ctx context.Context, u under) error {
	if err := c.restore(ctx); err != nil {
		return err
	}
	files, err := c.unmerged(ctx)
	if err != nil {
		return err
	}
	if len(files) > 0 {
		return c.conflict(u.Todo[0], files)
	}
	out, err := c.in.Run(ctx, nil, "diff", "--name-only", "-z", "--no-ext-diff")
	if err != nil {
		return err
	}
	if len(out) > 0 {
		return fault.Errorf(fault.Git, "%s has changes that are not added: %s; git add them there", c.dir, words.Line(strings.Join(strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), ", ")))
	}
	for _, name := range u.Files {
		entry, err := c.in.Run(ctx, nil, "ls-files", "-z", "--", ":(top,literal)"+name)
		if err != nil {
			return err
		}
		if len(entry) == 0 { // it was solved by removing it
			continue
		}
		b, err := c.in.Run(ctx, nil, "cat-file", "blob", ":0:"+name)
		if err != nil {
			return err
		}
		// They may be what the file is about.
		was, _ := c.in.Run(ctx, nil, "cat-file", "blob", u.Todo[0]+":"+name)
		if marker.Match(b) && !marker.Match(was) {
			return fault.Errorf(fault.Git, "%s still has the marks of a conflict; solve it in %s and git add it", words.Line(name), c.dir)
		}
	}
	return nil
}

// commit makes what is in the index of the clone a commit on its head, by the author of id and with its message.
func (c clone) commit(ctx context.Context, u under, id string) (string, error) {
	tree, err := c.in.ID(ctx, nil, "write-tree")
	if err != nil {
		return "", err
	}
	was, err := c.in.ID(ctx, nil, "rev-parse", "--verify", u.Head+"^{tree}")
	if err != nil {
		return "", err
	}
	if tree == was {
		return "", fault.Errorf(fault.Git, "nothing of commit %.12s is left to change on branch %s; give this pick up with --abort, and leave the commit out", id, c.branch)
	}
	out, err := c.in.Run(ctx, nil, "log", "-1", "--no-show-signature", "--no-color", "--date=raw", "--format=%an%x00%ae%x00%ad%x00%B", id, "--")
	f := strings.SplitN(string(out), "\x00", 4)
	if err != nil || len(f) != 4 {
		return "", cmp.Or(err, fault.Errorf(fault.Git, "running git log: it answers %.80q", out))
	}
	if !slices.Contains(u.Kept, id) {
		patch, err := c.patchIDs(ctx, []string{id})
		if err != nil {
			return "", err
		}
		f[3] = message(f[3], id, patch[id])
	}
	by := c.in.With("GIT_AUTHOR_NAME="+f[0], "GIT_AUTHOR_EMAIL="+f[1], "GIT_AUTHOR_DATE=@"+f[2])
	to, err := by.ID(ctx, strings.NewReader(f[3]), "commit-tree", tree, "-p", u.Head)
	if err != nil {
		return "", err
	}
	_, err = c.in.Run(ctx, nil, "update-ref", "--no-deref", "HEAD", to, u.Head)
	return to, err
}

// trailing are the lines of a paragraph of trailers (git-interpret-trailers(1)), with git's own of a cherry-pick.
var trailing = regexp.MustCompile(`^(?:[A-Za-z0-9-]+: .*|[ \t].*|\(cherry picked from commit [0-9a-f]+\))$`)

// message is that of a commit with the trailers of a pick.
func message(original, id, patch string) string {
	m := strings.TrimRight(original, "\n")
	end := "\n\n"
	if i := strings.LastIndex(m, "\n\n"); i >= 0 && !slices.ContainsFunc(strings.Split(m[i+2:], "\n"), func(l string) bool { return !trailing.MatchString(l) }) {
		end = "\n"
	}
	return fmt.Sprintf("%s%s(cherry picked from commit %s)\n%s: %s\n", m, end, id, patchKey, patch)
}

// finished brings the commits out of the clone and moves the branch to the last of them.
func (c clone) finished(ctx context.Context, u under, taken []Taken, push bool) ([]Taken, error) {
	if _, err := c.git.Run(ctx, nil, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--", c.dir, "HEAD"); err != nil {
		return nil, err
	}
	made, err := c.log(ctx, u.Base, u.Head, "%B")
	if err != nil {
		return nil, err
	}
	for _, m := range made {
		taken = append(taken, Taken{last(pickedFrom, m.message), m.id, m.subject(), false})
	}
	if err := c.finish(ctx, u.Base, u.Head, push); err != nil {
		return nil, err
	}
	return taken, c.remove()
}

// finish moves the branch from a commit to another one: at the remote with push, and here.
func (c clone) finish(ctx context.Context, from, to string, push bool) error {
	p, err := c.at(ctx, c.branch)
	if err != nil {
		return err
	}
	if push && p.there != to {
		if _, err := c.push(ctx, c.branch, to, p.there == ""); git.KindOf(err) == git.Moved {
			return fault.Errorf(fault.Transient, "%w: somebody has moved the branch meanwhile; run the same command again", err)
		} else if err != nil {
			return err
		}
	}
	if p.here == to || push && p.here == "" || p.here == "" && from == to {
		return nil
	}
	checked, err := c.say(ctx, "for-each-ref", "--format=%(worktreepath)", "refs/heads/"+c.branch)
	switch {
	case err != nil:
		return err
	case checked != "" && push:
		return nil // git pull brings it there
	case checked != "":
		return fault.Errorf(fault.Git, "branch %s is checked out in %s; switch to another one there, or push with --push, and run this again", c.branch, checked)
	}
	_, err = c.git.Run(ctx, nil, "update-ref", "-m", "pick", "refs/heads/"+c.branch, to, cmp.Or(p.here, strings.Repeat("0", len(to))))
	return err
}
