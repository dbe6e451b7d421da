package tap

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	gh "github.com/google/go-github/v60/github"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/internal/github"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// maxAnswer bounds an answer, in bytes: the contents of a file of maxRecipe in base64, or a page of pull requests.
const maxAnswer = 8 << 20

// client makes the requests to the API that this package needs.
type client struct{ *github.Client }

func newClient(t *wire.Transport, api string) (client, error) {
	c, err := t.GitHub(api, "", maxAnswer)
	return client{c}, err
}

// validBranch reports whether git and a URL take the name of a branch (https://git-scm.com/docs/git-check-ref-format).
func validBranch(s string) bool {
	if s == "" || len(s) > 240 || s == "@" || strings.HasPrefix(s, "-") || strings.Contains(s, "..") || strings.Contains(s, "@{") ||
		strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || unicode.IsControl(r) || strings.ContainsRune(`~^:?*[\`, r) }) {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// named is the repository in the letter case that it has.
func named(d github.Repository, r github.Repo) github.Repo {
	if owner, name, ok := strings.Cut(d.FullName, "/"); ok && r.Is(d.FullName) {
		return github.Repo{Owner: owner, Name: name}
	}
	return r
}

// page is where people look at a file; "" where the API does not say.
func page(d github.Repository, branch, at string) string {
	if address(d.Page) == "" {
		return ""
	}
	return strings.TrimSuffix(d.Page, "/") + "/blob/" + github.Escape(branch) + "/" + github.Escape(at)
}

// address is a URL that an answer gives for people to open; "" for anything else.
func address(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || len(s) > 500 ||
		strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return ""
	}
	return s
}

// repository asks what a repository is.
func (c client) repository(ctx context.Context, r github.Repo) (github.Repository, error) {
	d, err := wire.GitHubRepository(ctx, c.Client, r, fault.Usage)
	if err == nil && !validBranch(d.DefaultBranch) {
		err = fault.Errorf(fault.Transient, "%s says that its default branch is %.100q, which cannot be the name of a branch", r, d.DefaultBranch)
	}
	return d, err
}

// tip is the commit that a branch is at; "" where there is no such branch.
func (c client) tip(ctx context.Context, r github.Repo, branch string) (string, error) {
	ref, found, err := c.Reference(ctx, r, "heads/"+branch)
	switch {
	case err != nil:
		return "", fmt.Errorf("reading branch %s of %s: %w", branch, r, err)
	case !found:
		return "", nil
	case ref.Ref != "refs/heads/"+branch || !artifact.IsCommit(ref.Object.SHA):
		return "", fault.Errorf(fault.Transient, "%s was asked for branch %s and answers with %.100q at %.70q", r, branch, ref.Ref, ref.Object.SHA)
	}
	return ref.Object.SHA, nil
}

// blob is what has the name of a file.
type blob struct {
	there   bool
	content []byte
	odd     string // why it has no content that could be compared
}

// contents reads what is at a path in a commit (https://docs.github.com/rest/repos/contents#get-repository-content). With
// depth Read it takes the bytes themselves, which caches and mirrors hand out.
func (c client) contents(ctx context.Context, r github.Repo, at, commit string, depth publish.Depth) (blob, error) {
	req, err := c.NewRequest(ctx, http.MethodGet, "/repos/"+r.String()+"/contents/"+github.Escape(at)+"?ref="+commit, nil)
	if err != nil {
		return blob{}, err
	}
	raw := depth == publish.Read
	if raw {
		req.Header.Set("Accept", github.Raw)
	}
	res, err := c.Do(req, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return blob{}, fmt.Errorf("reading %s in %s: %w", at, r, err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return blob{}, nil
	}
	b, err := bounded.Read(res.Body, maxAnswer)
	switch {
	case bounded.IsTooLarge(err) || raw && len(b) > maxRecipe:
		return blob{there: true, odd: fmt.Sprintf("it has more than %d bytes", maxRecipe)}, nil
	case err != nil:
		return blob{}, wire.Fault(fmt.Errorf("reading %s in %s: %w", at, r, err))
	case raw:
		return blob{there: true, content: b}, nil
	}
	return decode(at, b)
}

// decode reads an answer that tells of contents. One about a folder is a list.
func decode(at string, b []byte) (blob, error) {
	if b = bytes.TrimSpace(b); bytes.HasPrefix(b, []byte("[")) {
		return blob{there: true, odd: "it is a folder"}, nil
	}
	var f gh.RepositoryContent
	err := canonjson.DecodeOpen(b, &f)
	switch {
	case err != nil:
		return blob{}, fault.Errorf(fault.Transient, "the answer with the contents of %s is not what the API says: %w", at, err)
	case f.GetType() != "file":
		return blob{there: true, odd: fmt.Sprintf("it is a %.20q and not a file", f.GetType())}, nil
	case f.GetEncoding() == "none":
		return blob{there: true, odd: fmt.Sprintf("it has more than %d bytes", maxRecipe)}, nil
	case f.GetEncoding() != "base64":
		return blob{}, fault.Errorf(fault.Transient, "the contents of %s come in encoding %.20q", at, f.GetEncoding())
	}
	text := "" // which GetContent of the type would read as another encoding
	if f.Content != nil {
		text = *f.Content
	}
	content, err := base64.StdEncoding.DecodeString(text) // which passes over the newlines in it
	if err != nil {
		return blob{}, fault.Errorf(fault.Transient, "reading the contents of %s: %w", at, err)
	}
	return blob{there: true, content: content}, nil
}

type person struct {
	Name  string `json:"name"`
	Email string `json:"email"`
	Date  string `json:"date"`
}

// commit is a commit to be made.
type commit struct {
	Message   string   `json:"message"`
	Tree      string   `json:"tree"`
	Parents   []string `json:"parents"`
	Author    person   `json:"author"`
	Committer person   `json:"committer"`
}

type object struct {
	SHA string `json:"sha"`
}

// found is a commit that is there.
type found struct {
	Message   string   `json:"message"`
	Tree      object   `json:"tree"`
	Parents   []object `json:"parents"`
	Author    person   `json:"author"`
	Committer person   `json:"committer"`
}

// like reports whether a commit is the other one on whatever parent.
func (f found) like(c commit) bool {
	return strings.TrimSpace(f.Message) == strings.TrimSpace(c.Message) && f.Author == c.Author && f.Committer == c.Committer && len(f.Parents) == 1
}

// commit reads a commit (https://docs.github.com/rest/git/commits#get-a-commit-object).
func (c client) commit(ctx context.Context, r github.Repo, id string) (found, error) {
	var f found
	if err := c.Get(ctx, "/repos/"+r.String()+"/git/commits/"+id, &f); err != nil {
		return f, fmt.Errorf("reading commit %.12s of %s: %w", id, r, err)
	}
	if !artifact.IsCommit(f.Tree.SHA) {
		return f, fault.Errorf(fault.Transient, "%s says that the tree of commit %.12s is %.70q", r, id, f.Tree.SHA)
	}
	return f, nil
}

// entry is a file of a tree to be made.
type entry struct {
	Path    string `json:"path"`
	Mode    string `json:"mode"`
	Type    string `json:"type"`
	Content string `json:"content"`
}

// makeTree makes a tree of another and files that are put into it (https://docs.github.com/rest/git/trees#create-a-tree).
func (c client) makeTree(ctx context.Context, r github.Repo, base string, files []file) (string, error) {
	in := struct {
		Base string  `json:"base_tree"`
		Tree []entry `json:"tree"`
	}{Base: base}
	for _, f := range files {
		in.Tree = append(in.Tree, entry{f.at, "100644", "blob", string(f.content)})
	}
	return c.make(ctx, r, "trees", in)
}

// makeCommit makes a commit (https://docs.github.com/rest/git/commits#create-a-commit).
func (c client) makeCommit(ctx context.Context, r github.Repo, in commit) (string, error) {
	return c.make(ctx, r, "commits", in)
}

// make makes an object that is not visible. Its name is its content, so a second time makes the same one.
func (c client) make(ctx context.Context, r github.Repo, kind string, in any) (string, error) {
	var out object
	if err := c.Call(wire.Repeating(ctx), http.MethodPost, "/repos/"+r.String()+"/git/"+kind, in, &out, http.StatusCreated); err != nil {
		return "", fmt.Errorf("writing to %s: %w", r, err)
	}
	if !artifact.IsCommit(out.SHA) {
		return "", fault.Errorf(fault.Transient, "%s calls what it made %.70q", r, out.SHA)
	}
	return out.SHA, nil
}

// move moves a branch forward (https://docs.github.com/rest/git/refs#update-a-reference).
func (c client) move(ctx context.Context, r github.Repo, branch, to string) error {
	in := struct {
		SHA   string `json:"sha"`
		Force bool   `json:"force"`
	}{SHA: to}
	if err := c.Call(ctx, http.MethodPatch, "/repos/"+r.String()+"/git/refs/heads/"+github.Escape(branch), in, nil, http.StatusOK); err != nil {
		return fmt.Errorf("moving branch %s of %s: %w", branch, r, err)
	}
	return nil
}

// create creates a branch (https://docs.github.com/rest/git/refs#create-a-reference).
func (c client) create(ctx context.Context, r github.Repo, branch, at string) error {
	in := struct {
		Ref string `json:"ref"`
		SHA string `json:"sha"`
	}{"refs/heads/" + branch, at}
	if err := c.Call(ctx, http.MethodPost, "/repos/"+r.String()+"/git/refs", in, nil, http.StatusCreated); err != nil {
		return fmt.Errorf("creating branch %s of %s: %w", branch, r, err)
	}
	return nil
}

// sync brings a branch of a fork up to date with the one of that name that it was forked from
// (https://docs.github.com/rest/branches/branches#sync-a-fork-branch-with-the-upstream-repository). One that is up to date
// stays as it is.
func (c client) sync(ctx context.Context, r github.Repo, branch string) error {
	in := struct {
		Branch string `json:"branch"`
	}{branch}
	err := c.Call(wire.Repeating(ctx), http.MethodPost, "/repos/"+r.String()+"/merge-upstream", in, nil, http.StatusOK)
	status := wire.StatusOf(err)
	switch {
	case status == http.StatusUnprocessableEntity && strings.Contains(wire.Refusal(err), "workflow"):
		// Upstream has workflows, and who writes those needs a permission of its own.
		return fault.Errorf(fault.Credentials, "the token may not bring branch %s of %s up to date: give it the scope workflow, or sync the fork by hand, on its page: %w", branch, r, err)
	case status == http.StatusNotFound:
		// It was there when it was asked for; GitHub says this of what a token may not change.
		return fault.Errorf(fault.Credentials, "the token may not write to %s: %w", r, err)
	case status == http.StatusConflict, status == http.StatusUnprocessableEntity:
		return fault.Errorf(fault.Transient, "branch %s of %s cannot be brought up to date; sync the fork by hand, on its page, and run the same command again: %w", branch, r, err)
	case err != nil:
		return fmt.Errorf("bringing %s up to date: %w", r, err)
	}
	return nil
}

// title is a pull request as a person finds it.
func title(p *gh.PullRequest) string {
	return cmp.Or(address(p.GetHTMLURL()), fmt.Sprintf("pull request %d", p.GetNumber()))
}

// pulls are the pull requests, in whatever state, from a branch
// (https://docs.github.com/rest/pulls/pulls#list-pull-requests).
func (c client) pulls(ctx context.Context, into, from github.Repo, branch, base string) ([]*gh.PullRequest, error) {
	q := url.Values{"state": {"all"}, "head": {from.Owner + ":" + branch}, "base": {base}, "per_page": {"100"}}
	var all []*gh.PullRequest
	if err := c.Get(ctx, "/repos/"+into.String()+"/pulls?"+q.Encode(), &all); err != nil {
		return nil, fmt.Errorf("asking for pull requests of %s: %w", into, err)
	}
	// An owner may have several forks, and one that is deleted has no repository.
	return slices.DeleteFunc(all, func(p *gh.PullRequest) bool {
		repo := p.GetHead().GetRepo()
		return p.GetHead().GetRef() != branch || repo != nil && !from.Is(repo.GetFullName())
	}), nil
}

// open opens a pull request (https://docs.github.com/rest/pulls/pulls#create-a-pull-request).
func (c client) open(ctx context.Context, into github.Repo, in *gh.NewPullRequest) error {
	if err := c.Call(ctx, http.MethodPost, "/repos/"+into.String()+"/pulls", in, nil, http.StatusCreated); err != nil {
		return fmt.Errorf("opening a pull request to %s: %w", into, err)
	}
	return nil
}

// Simulate answers what would change something as GitHub does where all goes well; for wire.Options.
func Simulate(req *http.Request) *http.Response {
	const made = `{"sha":"0000000000000000000000000000000000000000"}`
	if req.Method == http.MethodPatch || strings.HasSuffix(req.URL.Path, "/merge-upstream") {
		return wire.Answer(http.StatusOK, made)
	}
	return wire.Answer(http.StatusCreated, made)
}
