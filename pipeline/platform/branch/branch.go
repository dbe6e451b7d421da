// Package branch is about branches of releases: one for each minor version that goes on getting fixes, beside the default branch, where
// fixes are made first. It makes such a branch, takes commits over to it, and says what of either side is on the other.
//
// What a person has checked out is never looked at nor changed. Each step looks first what is there, so that the same command completes
// what one before it left, and of two that do the same at once the second finds what the first has done.
package branch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/source"
)

// The oldest git that has every option used here, and the oldest one whose patch-id tells two changes of a file of bytes apart, and of a
// mode.
var (
	needs      = git.Version{Major: 2, Minor: 31}
	needsPatch = git.Version{Major: 2, Minor: 39}
)

// patience is how long a command waits for another one about the same branch in the same repository.
const patience = 5 * time.Second

// Options say which repository, which project of it, and how its remote is reached.
type Options struct {
	Dir       string // any folder of the work tree
	Project   string // its name in slipway.yaml
	TagPrefix string // of its tags
	Folder    string // of slipway.yaml, from the top of the repository, with slashes; "" for the top

	// Of is the name of the platform that the branch is made for; "" for the project's own. A branch of a project with a prefix has both
	// names, since there may be another project of the platform in the repository.
	Of string
	// Main is the default branch; "" for the one that the remote says.
	Main string
	// Remote is the name of the remote; it need not be there.
	Remote  string
	Environ []string // of the machine
	Pass    []string // names of variables that a credential helper reads; see git.Remote
}

// Repo is a repository with a project in it.
type Repo struct {
	o   Options
	git git.Git // without the programs that the clone names
	url string  // of the remote; "" for none
	own string  // folder in .git for what is under way
}

// Line is a minor version: 2.1.
type Line struct{ Major, Minor uint64 }

var lines = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})$`)

// ParseLine reads a line. An error is a fault.Usage.
func ParseLine(s string) (Line, error) {
	m := lines.FindStringSubmatch(s)
	if m == nil {
		return Line{}, fault.Errorf(fault.Usage, "%.40q is not the first two numbers of a version, such as 2.1", s)
	}
	major, _ := strconv.ParseUint(m[1], 10, 64)
	minor, _ := strconv.ParseUint(m[2], 10, 64)
	return Line{major, minor}, nil
}

func (l Line) String() string { return fmt.Sprintf("%d.%d", l.Major, l.Minor) }

func (l Line) has(v version.Version) bool { return v.Major() == l.Major && v.Minor() == l.Minor }

// Open finds the repository. One that is shallow or has no work tree is a fault.Git.
func Open(ctx context.Context, o Options) (*Repo, error) {
	for what, name := range map[string]string{"remote": o.Remote, "default branch": o.Main, "project": o.Project, "platform": o.Of} {
		if err := named(what, name); err != nil {
			return nil, err
		}
	}
	r := &Repo{o: o}
	g, err := git.New(git.Local(o.Environ), o.Dir, needs)
	if err == nil {
		err = g.CheckVersion(ctx)
	}
	if err != nil {
		return nil, err
	}
	out, err := g.Run(ctx, nil, "rev-parse", "--is-shallow-repository", "--show-toplevel")
	shallow, top, _ := strings.Cut(strings.TrimSuffix(string(out), "\n"), "\n")
	switch kind := git.KindOf(err); {
	case kind == git.NoRepository || kind == git.NotBare:
		return nil, fault.Errorf(fault.Git, "%s is not in the work tree of a git repository: run this in a clone that is not bare", o.Dir)
	case err != nil:
		return nil, err
	case shallow == "true":
		return nil, fault.Errorf(fault.Git, "%s is a shallow clone, so its history is not all there: complete it with git fetch --unshallow --tags", top)
	}
	top = filepath.FromSlash(top)
	if r.git, err = g.In(top).Distrust(ctx); err != nil {
		return nil, err
	}
	r.git = r.git.With(git.Identity(o.Environ)...)
	if r.url, err = source.Remote(ctx, top, o.Remote); err != nil {
		return nil, err
	}
	dir, err := r.say(ctx, "rev-parse", "--path-format=absolute", "--git-common-dir")
	r.own = filepath.Join(filepath.FromSlash(dir), "slipway")
	return r, err
}

// badName is what git does not take in the name of a branch, or reads in a revision (git-check-ref-format(1), gitrevisions(7)).
var badName = regexp.MustCompile("[\x00-\x20\x7f~^:?*\\[\\\\]|\\.\\.|@\\{|//|^[-/]|/$|\\.lock$|\\.$")

func named(what, name string) error {
	if badName.MatchString(name) || len(name) > 200 || what == "platform" && strings.Contains(name, "/") {
		return fault.Errorf(fault.Usage, "%.80q is not a name of a %s that git takes", name, what)
	}
	return nil
}

// Name is what the branch of a line is called: NAME-2.1.
func (r *Repo) Name(l Line) string {
	name := r.o.Project
	if r.o.Of != "" && r.o.Of != name {
		if name = r.o.Of; r.o.TagPrefix != "" {
			name += "-" + r.o.Project
		}
	}
	return name + "-" + l.String()
}

// Remote is the address of the remote, "" for none.
func (r *Repo) Remote() string { return r.url }

// say is what git answers in one line.
func (r *Repo) say(ctx context.Context, args ...string) (string, error) {
	out, err := r.git.Run(ctx, nil, args...)
	return strings.TrimSuffix(string(out), "\n"), err
}

// resolve is the commit that a name stands for, "" for none.
func (r *Repo) resolve(ctx context.Context, rev string) (string, error) {
	id, err := r.git.ID(ctx, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if git.No(err) {
		return "", nil
	}
	return id, err
}

// Commit is the commit that a revision of a person names.
func (r *Repo) Commit(ctx context.Context, rev string) (string, error) {
	if strings.HasPrefix(rev, "-") || len(rev) > 1000 || strings.ContainsFunc(rev, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return "", fault.Errorf(fault.Usage, "%.80q is not a revision", rev)
	}
	id, err := r.resolve(ctx, rev)
	if err == nil && id == "" {
		err = fault.Errorf(fault.Git, "%.80q is no commit of this repository; name each commit by its id, a tag or a branch", rev)
	}
	return id, err
}

// ancestor reports whether a commit is another one, or in its history.
func (r *Repo) ancestor(ctx context.Context, old, young string) (bool, error) {
	_, err := r.git.Run(ctx, nil, "merge-base", "--is-ancestor", old, young)
	if git.No(err) {
		return false, nil
	}
	return err == nil, err
}

// lock keeps two commands about a branch apart in one repository.
func (r *Repo) lock(ctx context.Context, name string) (func() error, error) {
	if err := os.MkdirAll(r.own, 0o777); err != nil {
		return nil, fault.New(fault.Git, err)
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(r.own, name+".lock"), patience)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fault.Errorf(fault.Transient, "another command is at work on branch %s in this repository; run this again when it has ended", name)
	}
	return unlock, fault.New(fault.Git, err)
}

// outside is git where it goes to the remote.
func (r *Repo) outside(ctx context.Context) (git.Git, error) {
	if r.url == "" {
		return git.Git{}, fault.Errorf(fault.Usage, "there is no remote %s to push to; add one, or name another with --remote", r.o.Remote)
	}
	g, err := git.New(git.Unattended(git.Remote(r.o.Environ, r.url, r.o.Pass...)), r.git.Dir, needs)
	if err != nil {
		return g, err
	}
	return g.Distrust(ctx)
}

// clobbers is how git says of a tag that it is at different commits, when it is not told to be quiet.
var clobbers = regexp.MustCompile(`\[rejected\] +(\S+) +-> \S+ +\(would clobber existing tag\)`)

// fetch brings what the remote has.
func (r *Repo) fetch(ctx context.Context) error {
	g, err := r.outside(ctx)
	if err != nil {
		return err
	}
	_, err = g.Run(ctx, nil, "fetch", "--no-write-fetch-head", "--no-recurse-submodules", "--tags", "--", r.o.Remote,
		"+refs/heads/*:refs/remotes/"+r.o.Remote+"/*")
	if e, ok := errors.AsType[*git.Error](err); ok {
		if m := clobbers.FindStringSubmatch(e.Said); m != nil {
			return fault.Errorf(fault.Git, "tag %.100q is at another commit here than at %s; see which is right, and delete the other one", m[1], r.o.Remote)
		}
	}
	return git.OfRemote(err)
}

// push makes a branch at the remote, which must not be there, or moves it forward: never by force, so that nothing that somebody else
// has pushed is lost. It says whether it was at the commit already.
func (r *Repo) push(ctx context.Context, name, to string, isNew bool) (was bool, err error) {
	return r.pushRef(ctx, "refs/heads/"+name, to, isNew)
}

func (r *Repo) pushRef(ctx context.Context, ref, to string, isNew bool) (was bool, err error) {
	g, err := r.outside(ctx)
	if err != nil {
		return false, err
	}
	args := []string{"push", "--porcelain"}
	if isNew {
		args = append(args, "--force-with-lease="+ref+":")
	}
	out, err := g.Run(ctx, nil, append(args, "--", r.o.Remote, to+":"+ref)...)
	return strings.Contains(string(out), "\n=\t"), git.OfRemote(err)
}

// main is the name of the default branch and its commit: at the remote where there is one, else here.
func (r *Repo) main(ctx context.Context) (name, commit string, err error) {
	if name = r.o.Main; name == "" {
		if name, err = r.mainName(ctx); err != nil {
			return "", "", err
		}
	}
	if commit, err = r.resolve(ctx, r.branches()+name); err == nil && commit == "" {
		err = fault.Errorf(fault.Git, "the default branch %s has no commit; make one and push it, or name another branch with --main", name)
	}
	return name, commit, err
}

// branches are where those branches are that others see.
func (r *Repo) branches() string {
	if r.url == "" {
		return "refs/heads/"
	}
	return "refs/remotes/" + r.o.Remote + "/"
}

func (r *Repo) mainName(ctx context.Context) (string, error) {
	if r.url != "" {
		head, err := r.say(ctx, "symbolic-ref", "--quiet", r.branches()+"HEAD")
		if name, ok := strings.CutPrefix(head, r.branches()); ok && err == nil {
			return name, nil
		}
	}
	var found []string
	for _, name := range []string{"main", "master"} {
		id, err := r.resolve(ctx, r.branches()+name)
		if err != nil {
			return "", err
		}
		if id != "" {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		return "", fault.Errorf(fault.Git, "nothing says which branch is the default one; name it with --main")
	}
	return found[0], nil
}

// place is the commit that a branch is at here, and at the remote; "" where it is not.
type place struct{ here, there string }

func (r *Repo) at(ctx context.Context, name string) (p place, err error) {
	if p.here, err = r.resolve(ctx, "refs/heads/"+name); err == nil && r.url != "" {
		p.there, err = r.resolve(ctx, r.branches()+name)
	}
	return p, err
}

// tip is the newer commit of the two places; "" where the branch is in none.
func (r *Repo) tip(ctx context.Context, name string) (string, place, error) {
	p, err := r.at(ctx, name)
	if err != nil || p.here == "" || p.there == "" || p.here == p.there {
		return cmp.Or(p.here, p.there), p, err
	}
	if older, err := r.ancestor(ctx, p.there, p.here); err != nil || older {
		return p.here, p, err
	}
	if older, err := r.ancestor(ctx, p.here, p.there); err != nil || older {
		return p.there, p, err
	}
	return "", p, fault.Errorf(fault.Conflict, "branch %s is at %.12s here and at %.12s at %s, and neither has the other: push the one here by hand, or remove it with git branch -D %[1]s",
		name, p.here, p.there, r.o.Remote)
}

// line is the branch of a line, which must be there.
func (r *Repo) line(ctx context.Context, l Line) (name, tip string, p place, err error) {
	name = r.Name(l)
	if tip, p, err = r.tip(ctx, name); err == nil && tip == "" {
		err = fault.Errorf(fault.Git, "there is no branch %s; make it with go run ./ci branch cut %s, or lazy for a component of a platform", name, l)
	}
	return name, tip, p, err
}

// fork is the commit at which a branch left the default branch. Both are followed by first parents, so that a merge of either into
// the other moves nothing; where they meet in no such commit it is what git takes for their base.
func (r *Repo) fork(ctx context.Context, main, tip string) (string, error) {
	var on [2][]string
	for i, id := range []string{main, tip} {
		out, err := r.git.Run(ctx, nil, "rev-list", "--first-parent", id)
		if err != nil {
			return "", err
		}
		on[i] = strings.Fields(string(out))
	}
	trunk := map[string]bool{}
	for _, id := range on[0] {
		trunk[id] = true
	}
	if i := slices.IndexFunc(on[1], func(id string) bool { return trunk[id] }); i >= 0 {
		return on[1][i], nil
	}
	id, err := r.say(ctx, "merge-base", main, tip)
	if git.No(err) {
		return "", fault.Errorf(fault.Git, "commits %.12s and %.12s have no history in common", main, tip)
	}
	return id, err
}

// tag is a tag of the project.
type tag struct {
	name    string
	version version.Version
}

// tags are those of the project in the whole repository, lowest first.
func (r *Repo) tags(ctx context.Context) ([]tag, error) {
	out, err := r.git.Run(ctx, nil, "for-each-ref", "--format=%(refname:strip=2)", "refs/tags/")
	if err != nil {
		return nil, err
	}
	var all []tag
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSuffix(name, "\n")
		if v, ok := source.ParseTag(name, r.o.TagPrefix); ok {
			all = append(all, tag{name, v})
		}
	}
	slices.SortStableFunc(all, func(a, b tag) int { return a.version.Compare(b.version) })
	return all, nil
}

// Next is the version that comes next in the minor version of v: one patch above the highest that any tag of the repository has, candidates
// included, and above v. Two lines that have the same release of a component thus never give two commits one name.
func (r *Repo) Next(ctx context.Context, v version.Version) (version.Version, error) {
	all, err := r.tags(ctx)
	if err != nil {
		return version.Version{}, err
	}
	patch := v.Patch()
	for _, t := range all {
		if (Line{v.Major(), v.Minor()}).has(t.version) {
			patch = max(patch, t.version.Patch())
		}
	}
	next, err := version.Parse(fmt.Sprintf("%d.%d.%d", v.Major(), v.Minor(), patch+1))
	return next, fault.New(fault.Git, err)
}
