// Package tap carries recipes into a git repository on GitHub that a package manager reads: formulae and casks into a
// Homebrew tap, manifests into a Scoop bucket or a fork of winget's repository.
//
// It needs no git. All files of a release are one commit, made of objects that are not visible until the branch is moved to
// it, or until a branch of its own is created at it for a pull request (https://docs.github.com/rest/git). The commit
// depends on its parent and on the release alone. So nothing is staged, and a branch that moved meanwhile is looked at
// again and never forced.
//
// A formula, a cask and a Scoop manifest have one name for all versions. The version in the file that is there says
// whose turn it is: a newer one is kept, an older one gives way. What cannot be read as a recipe of the same name is
// somebody else's, and is refused. A version of winget has a folder of its own, in which nothing ever changes.
package tap

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/internal/github"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Kind is whose recipes a repository holds.
type Kind string

// The kinds of repositories, by the keys below publish at which formats go to them.
const (
	Homebrew Kind = "homebrew"
	Scoop    Kind = "scoop"
	Winget   Kind = "winget"
)

// maxRecipe bounds a recipe, in bytes: the largest file whose contents the API tells
// (https://docs.github.com/rest/repos/contents#get-repository-content).
const maxRecipe = 1 << 20

// Options say where the recipes of a release go.
type Options struct {
	Release   publish.Release
	Transport *wire.Transport // shows the token to the host of API; its Simulate is this package's
	API       string          // root of the API; "" is https://api.github.com
	Kind      Kind
	// Package leaves out all recipes but those of one name; "" leaves out none. Of several packages winget requires each in a
	// pull request of its own.
	Package string
	// Owner and Repo are the repository that is written to: the tap, the bucket or the fork.
	Owner, Repo string
	// Branch is where the files are to be in the end; "" is the default branch. With a pull request it is one of the
	// repository that the request goes to.
	Branch string
	// Folder is where in the repository the files go: of Homebrew the folder with Formula and Casks, of winget the one with
	// manifests, both the root for ""; of Scoop the one with the manifests themselves, bucket for "" and the root for ".".
	Folder string
	// Committer and Email are the author and the committer.
	Committer, Email string
	Message          string // of the commit; "" is "<name> <version>"
	// Follow makes the files those of this release whichever version is there, for a repository that follows something else than
	// the highest version.
	Follow bool
	// PullRequest proposes the commit, in a branch of its own, instead of making it.
	PullRequest bool
	// Upstream is the repository that the pull request goes to, as owner/name; "" is the one that is written to. Another one
	// must be what that is a fork of.
	Upstream string
	Title    string // of the pull request; "" is the message, and for winget the title that its moderators ask for
	Body     string // of the pull request
}

// Applies reports whether a release has anything for a repository of the kind. A prerelease has not: users of a package
// manager would get it as an update.
func Applies(m manifest.Release, k Kind) bool { return len(recipes(m, k)) > 0 }

func recipes(m manifest.Release, k Kind) []manifest.Recipe {
	if !m.Version.IsStable() {
		return nil
	}
	_, out := format.Going(m, string(k))
	return out
}

// Proposals are the recipes that go to a repository one by one, by the name to choose them by: those of winget, where
// they are pull requests, and of every other kind all at once, which is "".
func Proposals(m manifest.Release, k Kind, pullRequest bool) []string {
	var names []string
	for _, r := range recipes(m, k) {
		if !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	if k != Winget || !pullRequest || len(names) < 2 {
		return []string{""}
	}
	return names
}

// chosen are the recipes that go.
func chosen(o Options) []manifest.Recipe {
	return slices.DeleteFunc(recipes(o.Release.Manifest, o.Kind), func(r manifest.Recipe) bool {
		return o.Package != "" && r.Name != o.Package
	})
}

// Destination is a repository of recipes.
type Destination struct {
	api      client
	kind     Kind
	repo     github.Repo // that is written to
	upstream github.Repo // that the files are to be in: the same, or what it is a fork of
	branch   string      // of upstream; "" is the default branch
	proposal string      // the branch with the commit that is proposed; "" where the commit is made
	commit   commit      // but for its tree and its parent
	title    string
	body     string
	version  version.Version
	follow   bool
	files    []file
}

// file is a recipe of the release.
type file struct {
	artifact.File
	at      string // in the repository
	format  string
	content []byte
	recipe  recipe // what a reader makes of the content; zero for winget
}

// New reads the recipes of the release. For a release that has none of the kind, see Applies, it returns a destination
// without items, which asks nobody. A recipe that is not what the manifest says is a Mismatch, an option that says
// nothing or what no repository has is Usage.
func New(o Options) (*Destination, error) {
	m := o.Release.Manifest
	d := &Destination{
		kind: o.Kind, follow: o.Follow, repo: github.Repo{Owner: o.Owner, Name: o.Repo}, branch: o.Branch, body: o.Body, version: m.Version,
		commit: commit{Message: cmp.Or(o.Message, m.Name+" "+m.Version.String())},
	}
	d.upstream = d.repo
	if !slices.Contains([]Kind{Homebrew, Scoop, Winget}, o.Kind) {
		return nil, fault.Errorf(fault.Usage, "there is no repository of recipes of kind %.40q; the kinds are homebrew, scoop and winget", o.Kind)
	}
	if !d.repo.Valid() {
		return nil, fault.Errorf(fault.Usage, "%.150q is not a repository on GitHub; write owner/name", d.repo.String())
	}
	if o.Branch != "" && !validBranch(o.Branch) {
		return nil, fault.Errorf(fault.Usage, "%s: %.100q cannot be the name of a branch", d.repo, o.Branch)
	}
	if err := d.sign(o.Committer, o.Email, m.Time); err != nil {
		return nil, err
	}
	if o.PullRequest {
		if err := d.propose(o); err != nil {
			return nil, err
		}
	}
	var err error
	if d.api, err = newClient(o.Transport, o.API); err != nil {
		return nil, err
	}
	for _, r := range chosen(o) {
		f, err := open(o.Release, r, o.Folder)
		if err != nil {
			return nil, err
		}
		d.files = append(d.files, f)
	}
	// One order, whatever the manifest's: the commit is the same either way, and so are the requests.
	slices.SortFunc(d.files, func(a, b file) int { return strings.Compare(a.at, b.at) })
	var at []string
	for _, f := range d.files {
		at = append(at, f.at)
	}
	if err := artifact.CheckPaths(at); err != nil {
		return nil, fault.Errorf(fault.Usage, "%s: %w", d.repo, err)
	}
	return d, nil
}

// sign fills in who commits, and when.
func (d *Destination) sign(name, email string, when time.Time) error {
	for _, s := range []string{name, email} {
		odd := strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '<' || r == '>' })
		if s == "" || strings.TrimSpace(s) != s || odd {
			return fault.Errorf(fault.Usage, "%s: %.100q is not the name or the address of a committer; write publish.committer as Name <address>", d.repo, s)
		}
	}
	d.commit.Author = person{name, email, when.UTC().Format(time.RFC3339)}
	d.commit.Committer = d.commit.Author
	return nil
}

// propose fills in what a pull request needs.
func (d *Destination) propose(o Options) error {
	// Two kinds may share a repository, so the kind is in the name.
	d.proposal = "slipway/" + string(o.Kind) + "-" + cmp.Or(o.Package, o.Release.Manifest.Name) + "-" + d.version.String()
	if !validBranch(d.proposal) {
		return fault.Errorf(fault.Usage, "%s: %.100q cannot be the name of a branch", d.repo, d.proposal)
	}
	if o.Upstream != "" {
		var err error
		if d.upstream, err = github.ParseRepo(o.Upstream); err != nil {
			return fault.Errorf(fault.Usage, "upstream of pull requests: %w", err)
		}
	}
	d.title = cmp.Or(o.Title, d.commit.Message)
	if rs := chosen(o); o.Kind == Winget && o.Title == "" && len(rs) > 0 {
		// https://github.com/microsoft/winget-pkgs/blob/master/.github/PULL_REQUEST_TEMPLATE.md
		d.title = "New version: " + rs[0].Name + " version " + rs[0].Version
	}
	return nil
}

func open(rel publish.Release, r manifest.Recipe, folder string) (file, error) {
	f := file{format: r.Format}
	var ok bool
	if f.File, ok = rel.File(r.Path); !ok {
		return file{}, fault.Errorf(fault.Mismatch, "%s is not among the files of the release", r.Path)
	}
	if f.Size > maxRecipe {
		return file{}, fault.Errorf(fault.Usage, "%s has %s; GitHub tells the contents of files up to %s",
			r.Path, artifact.FormatSize(f.Size), artifact.FormatSize(maxRecipe))
	}
	var err error
	if f.content, err = os.ReadFile(rel.Path(r.Path)); err != nil {
		return file{}, err
	}
	if artifact.Sum(f.content) != f.Digest {
		return file{}, fault.Errorf(fault.Mismatch, "%s is not what the manifest says; build the release again", r.Path)
	}
	if !utf8.Valid(f.content) {
		return file{}, fault.Errorf(fault.Mismatch, "%s is not text in UTF-8", r.Path)
	}
	place := places[r.Format]
	if f.at, err = place.at(folder, r.Path); err != nil {
		return file{}, fault.New(fault.Mismatch, err)
	}
	if place.read == nil {
		return f, nil
	}
	// The next release reads this one, so it is read now.
	if f.recipe, err = read(r.Format, f.content); err != nil {
		return file{}, fault.Errorf(fault.Mismatch, "%s: %w", r.Path, err)
	}
	if f.recipe.version != rel.Manifest.Version {
		return file{}, fault.Errorf(fault.Mismatch, "%s is of %s and the release %s", r.Path, f.recipe.version, rel.Manifest.Version)
	}
	return f, nil
}

// Look tells of every file. It also holds the token to what will be asked of it. With a pull request, a file counts as
// there once it is proposed.
func (d *Destination) Look(ctx context.Context, depth publish.Depth) ([]publish.Item, error) {
	v, err := d.look(ctx, depth)
	return v.items, err
}

// Stage does nothing: a commit is not visible before a branch is at it, and then it is public.
func (d *Destination) Stage(context.Context) error { return nil }

// Flip makes the commit, or proposes it.
func (d *Destination) Flip(ctx context.Context) error {
	v, err := d.look(ctx, publish.Listed)
	if err != nil {
		return err
	}
	var changes []file
	for i, it := range v.items {
		switch it.State {
		case publish.Different:
			return fault.Errorf(fault.Conflict, "%s is taken: %s", it.Name, it.Detail)
		case publish.Missing, publish.Movable:
			changes = append(changes, d.files[i])
		}
	}
	switch {
	case len(changes) == 0:
		return nil
	case d.proposal != "":
		return d.request(ctx, v, changes)
	}
	made, err := d.write(ctx, v.head, changes)
	if err != nil {
		return err
	}
	return d.advance(ctx, v.branch, v.head, made)
}

// view is what a look saw.
type view struct {
	items  []publish.Item
	branch string      // that the files are to be in
	head   string      // its commit
	tip    string      // commit of the proposal; "" where it is not there
	from   github.Repo // that is written to, in the letter case of GitHub
}

func (d *Destination) look(ctx context.Context, depth publish.Depth) (view, error) {
	if len(d.files) == 0 {
		return view{}, nil
	}
	target, err := d.writable(ctx)
	if err != nil {
		return view{}, err
	}
	v := view{from: named(target, d.repo)}
	if d.forks() {
		if target, err = d.forkOf(ctx, target); err != nil {
			return view{}, err
		}
	}
	v.branch = cmp.Or(d.branch, target.DefaultBranch)
	switch v.head, err = d.api.tip(ctx, d.upstream, v.branch); {
	case err != nil:
		return view{}, err
	case v.head == "":
		return view{}, fault.Errorf(fault.Usage, "%s has no branch %s; push a first commit to it or name another branch", d.upstream, v.branch)
	}
	for _, f := range d.files {
		there, err := d.api.contents(ctx, d.upstream, f.at, v.head, depth)
		if err != nil {
			return view{}, err
		}
		it := publish.Item{
			Name: d.upstream.String() + "/" + f.at, Phase: publish.Flip, Digest: f.Digest, Size: f.Size, URL: page(target, v.branch, f.at),
		}
		it.State, it.Detail = f.judge(there, d.follow)
		v.items = append(v.items, it)
	}
	if d.proposal != "" {
		err = d.proposed(ctx, &v, depth)
	}
	return v, err
}

// judge tells how a file stands where something else, or nothing, has its name.
func (f file) judge(b blob, follow bool) (publish.State, string) {
	switch {
	case !b.there:
		return publish.Missing, ""
	case b.odd != "":
		return publish.Different, b.odd
	case string(b.content) == string(f.content):
		return publish.Same, ""
	case places[f.format].read == nil:
		return publish.Different, "it has other bytes, and what is in the folder of a version never changes"
	}
	r, err := read(f.format, b.content)
	switch {
	case err != nil:
		return publish.Different, fmt.Sprintf("what is there is not a %s recipe that this release could follow: %v; if it is not needed, delete it", f.format, err)
	case r.id != f.recipe.id:
		return publish.Different, fmt.Sprintf("what is there is %.100q and not %q", r.id, f.recipe.id)
	}
	switch c := r.version.Compare(f.recipe.version); {
	case c < 0 || follow && c > 0:
		return publish.Movable, "it is of " + r.version.String()
	case follow:
		return publish.Movable, "it is of " + r.version.String() + " and has other bytes"
	case c > 0:
		return publish.Kept, "it is of " + r.version.String() + ", which is newer"
	}
	return publish.Different, "it is of " + r.version.String() + " and has other bytes"
}

// writable is the repository that is written to. A token that may not is Credentials.
func (d *Destination) writable(ctx context.Context) (github.Repository, error) {
	r, err := d.api.repository(ctx, d.repo)
	switch {
	case err != nil:
		return r, err
	case r.Archived || r.Disabled:
		return r, fault.Errorf(fault.Usage, "%s is archived and takes no commits", d.repo)
	case r.Permissions.Push:
		return r, nil
	}
	// To an app, whose permissions are not a user's, the field says nothing.
	app, err := d.api.IsApp(ctx)
	if err == nil && !app {
		err = fault.Errorf(fault.Credentials, "the token may not push to %s; "+
			"it needs write access to its contents, which the token of a workflow has for its own repository alone", d.repo)
	}
	return r, err
}

// write makes a commit with the files on top of another, in the repository that is written to. A second time makes the
// same one.
func (d *Destination) write(ctx context.Context, parent string, files []file) (string, error) {
	base, err := d.api.commit(ctx, d.upstream, parent)
	if err != nil {
		return "", err
	}
	tree, err := d.api.makeTree(ctx, d.repo, base.Tree.SHA, files)
	if err != nil {
		return "", err
	}
	c := d.commit
	c.Tree, c.Parents = tree, []string{parent}
	return d.api.makeCommit(ctx, d.repo, c)
}

// advance moves the branch from one commit to another, its child. Where it moved meanwhile the error is Transient: a
// second look sees what is there then.
func (d *Destination) advance(ctx context.Context, branch, from, to string) error {
	moved := func(now string) error {
		return fault.Errorf(fault.Transient, "%s: branch %s was at %.12s and is at %.12s now; nothing was written, and the next attempt begins there",
			d.repo, branch, from, now)
	}
	now, err := d.api.tip(ctx, d.repo, branch)
	if err != nil {
		return err
	}
	if now != from {
		return moved(now)
	}
	refused := d.api.move(ctx, d.repo, branch, to)
	status := wire.StatusOf(refused)
	if status != 403 && status != 409 && status != 422 {
		return refused
	}
	if now, err = d.api.tip(ctx, d.repo, branch); err != nil {
		return err
	}
	switch {
	case now == to:
		return nil
	case now != from:
		return moved(now)
	case protected.MatchString(wire.Refusal(refused)):
		return fault.Errorf(fault.Policy, "branch %s takes commits only through pull requests: set pullRequest: always, or let the token pass its rules: %w",
			branch, refused)
	case status == 403:
		return refused
	}
	// It may have moved and moved back.
	return fault.New(fault.Transient, refused)
}

// protected is how GitHub says that the rules of a branch are not met
// (https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/managing-rulesets/troubleshooting-rules).
var protected = regexp.MustCompile(`protected|rule violation|through a pull request|status check|approving review|verified signatures|merge queue`)
