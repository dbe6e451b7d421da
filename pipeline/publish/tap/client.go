package tap

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// DefaultAPI is the API of GitHub. That of a GitHub Enterprise Server is https://<host>/api/v3.
const DefaultAPI = "https://api.github.com"

// maxAnswer bounds an answer, in bytes: the contents of a file of maxRecipe in base64, or a page of pull requests.
const maxAnswer = 8 << 20

// What an answer is asked to be (https://docs.github.com/rest/about-the-rest-api/api-versions,
// https://docs.github.com/rest/repos/contents#get-repository-content).
const (
	apiVersion = "2022-11-28"
	typeJSON   = "application/vnd.github+json"
	typeRaw    = "application/vnd.github.raw+json"
)

// client makes the requests to the API that this package needs.
type client struct {
	http *http.Client
	root string
}

func newClient(t *wire.Transport, api string) (client, error) {
	u, err := url.Parse(cmp.Or(api, DefaultAPI))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !wire.Loopback(u.Host)) {
		return client{}, fault.Errorf(fault.Usage, "the API of GitHub is not at https://host/path without user or query")
	}
	return client{http: t.Client(), root: strings.TrimRight(u.String(), "/")}, nil
}

// repository is one on GitHub.
type repository struct{ owner, name string }

func (r repository) String() string { return r.owner + "/" + r.name }

var (
	ownerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
	repoName  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
	objectID  = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

func (r repository) valid() bool {
	return ownerName.MatchString(r.owner) && repoName.MatchString(r.name) && strings.Trim(r.name, ".") != ""
}

// same tells whether a full name is the repository's; GitHub does not distinguish letter case.
func (r repository) same(full string) bool { return strings.EqualFold(full, r.String()) }

// validBranch tells whether git and a URL take the name of a branch (https://git-scm.com/docs/git-check-ref-format).
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

// escape is a slash-separated name as part of a URL.
func escape(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// send makes a request and returns its answer. In is sent as JSON, where it is not nil.
func (c client) send(ctx context.Context, method, at, accept string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.root+at, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("X-GitHub-Api-Version", apiVersion)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	return res, wire.Fault(err)
}

// call makes a request and reads its answer, which has the status, into out, where that is not nil.
func (c client) call(ctx context.Context, method, at string, in, out any, status int) error {
	res, err := c.send(ctx, method, at, typeJSON, in)
	if err != nil {
		return err
	}
	if err := wire.Expect(res, status); err != nil {
		return err
	}
	b, err := wire.ReadAll(res, maxAnswer)
	if err != nil || out == nil {
		return err
	}
	return unmarshal(at, b, out)
}

func unmarshal(at string, b []byte, out any) error {
	if err := json.Unmarshal(b, out); err != nil {
		return fault.Errorf(fault.Transient, "the answer to %s is not what the API says: %w", at, err)
	}
	return nil
}

// description is what the API says of a repository.
type description struct {
	FullName      string `json:"full_name"`
	Page          string `json:"html_url"`
	DefaultBranch string `json:"default_branch"`
	Archived      bool   `json:"archived"`
	Disabled      bool   `json:"disabled"`
	Permissions   struct {
		Push bool `json:"push"`
	} `json:"permissions"` // none without a token
	Parent *struct { // of a fork
		FullName string `json:"full_name"`
	} `json:"parent"`
	Source *struct { // the first of a fork's ancestors
		FullName string `json:"full_name"`
	} `json:"source"`
}

// named is the repository in the letter case that it has.
func (d description) named(r repository) repository {
	if owner, name, ok := strings.Cut(d.FullName, "/"); ok && r.same(d.FullName) {
		return repository{owner, name}
	}
	return r
}

// page is where people look at a file; "" where the API does not say.
func (d description) page(branch, at string) string {
	if address(d.Page) == "" {
		return ""
	}
	return strings.TrimSuffix(d.Page, "/") + "/blob/" + escape(branch) + "/" + escape(at)
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

// repository asks what a repository is (https://docs.github.com/rest/repos/repos#get-a-repository).
func (c client) repository(ctx context.Context, r repository) (description, error) {
	var d description
	err := c.call(ctx, http.MethodGet, "/repos/"+r.String(), nil, &d, http.StatusOK)
	switch {
	case wire.StatusOf(err) == http.StatusNotFound:
		return d, fault.Errorf(fault.Usage, "there is no repository %s, or the token does not see it: %w", r, err)
	case err != nil:
		return d, fmt.Errorf("asking for %s: %w", r, err)
	case d.FullName != "" && !r.same(d.FullName):
		return d, fault.Errorf(fault.Usage, "%s is called %.200q now; write that", r, d.FullName)
	case !validBranch(d.DefaultBranch):
		return d, fault.Errorf(fault.Transient, "%s says that its default branch is %.100q, which is none", r, d.DefaultBranch)
	}
	return d, nil
}

// isApp tells whether the token is of an app's installation, which alone may ask what it is installed in
// (https://docs.github.com/rest/apps/installations#list-repositories-accessible-to-the-app-installation).
func (c client) isApp(ctx context.Context) (bool, error) {
	res, err := c.send(ctx, http.MethodHead, "/installation/repositories?per_page=1", typeJSON, nil)
	if err != nil {
		return false, err
	}
	res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return false, nil
	}
	return false, wire.Expect(res, http.StatusOK)
}

// reference is what a branch is at.
type reference struct {
	Ref    string `json:"ref"`
	Object struct {
		SHA string `json:"sha"`
	} `json:"object"`
}

// tip is the commit that a branch is at; "" where there is no such branch
// (https://docs.github.com/rest/git/refs#get-a-reference). A repository without commits answers 409.
func (c client) tip(ctx context.Context, r repository, branch string) (string, error) {
	var ref reference
	err := c.call(ctx, http.MethodGet, "/repos/"+r.String()+"/git/ref/heads/"+escape(branch), nil, &ref, http.StatusOK)
	switch status := wire.StatusOf(err); {
	case status == http.StatusNotFound || status == http.StatusConflict:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading branch %s of %s: %w", branch, r, err)
	case ref.Ref != "refs/heads/"+branch || !objectID.MatchString(ref.Object.SHA):
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
func (c client) contents(ctx context.Context, r repository, at, commit string, depth publish.Depth) (blob, error) {
	accept := typeJSON
	if depth == publish.Read {
		accept = typeRaw
	}
	res, err := c.send(ctx, http.MethodGet, "/repos/"+r.String()+"/contents/"+escape(at)+"?ref="+commit, accept, nil)
	if err != nil {
		return blob{}, err
	}
	if res.StatusCode == http.StatusNotFound {
		res.Body.Close()
		return blob{}, nil
	}
	if err := wire.Expect(res, http.StatusOK); err != nil {
		return blob{}, fmt.Errorf("reading %s in %s: %w", at, r, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return blob{}, wire.Fault(fmt.Errorf("reading %s in %s: %w", at, r, err))
	case len(b) > maxAnswer || accept == typeRaw && len(b) > maxRecipe:
		return blob{there: true, odd: fmt.Sprintf("it has more than %d bytes", maxRecipe)}, nil
	case accept == typeRaw:
		return blob{there: true, content: b}, nil
	}
	return decode(at, b)
}

// decode reads an answer that tells of contents. One about a folder is a list.
func decode(at string, b []byte) (blob, error) {
	if b = bytes.TrimSpace(b); bytes.HasPrefix(b, []byte("[")) {
		return blob{there: true, odd: "it is a folder"}, nil
	}
	var f struct {
		Type     string `json:"type"`
		Encoding string `json:"encoding"`
		Content  string `json:"content"`
	}
	if err := unmarshal(at, b, &f); err != nil {
		return blob{}, err
	}
	switch {
	case f.Type != "file":
		return blob{there: true, odd: fmt.Sprintf("it is a %.20q and not a file", f.Type)}, nil
	case f.Encoding == "none":
		return blob{there: true, odd: fmt.Sprintf("it has more than %d bytes", maxRecipe)}, nil
	case f.Encoding != "base64":
		return blob{}, fault.Errorf(fault.Transient, "the contents of %s come in encoding %.20q", at, f.Encoding)
	}
	content, err := base64.StdEncoding.DecodeString(f.Content) // which passes over the newlines in it
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

// like tells whether a commit is the other one on whatever parent.
func (f found) like(c commit) bool {
	return strings.TrimSpace(f.Message) == strings.TrimSpace(c.Message) && f.Author == c.Author && f.Committer == c.Committer && len(f.Parents) == 1
}

// commit reads a commit (https://docs.github.com/rest/git/commits#get-a-commit-object).
func (c client) commit(ctx context.Context, r repository, id string) (found, error) {
	var f found
	if err := c.call(ctx, http.MethodGet, "/repos/"+r.String()+"/git/commits/"+id, nil, &f, http.StatusOK); err != nil {
		return f, fmt.Errorf("reading commit %.12s of %s: %w", id, r, err)
	}
	if !objectID.MatchString(f.Tree.SHA) {
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
func (c client) makeTree(ctx context.Context, r repository, base string, files []file) (string, error) {
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
func (c client) makeCommit(ctx context.Context, r repository, in commit) (string, error) {
	return c.make(ctx, r, "commits", in)
}

// make makes an object that nobody sees. Its name is its content, so a second time makes the same one.
func (c client) make(ctx context.Context, r repository, kind string, in any) (string, error) {
	var out object
	if err := c.call(wire.Repeating(ctx), http.MethodPost, "/repos/"+r.String()+"/git/"+kind, in, &out, http.StatusCreated); err != nil {
		return "", fmt.Errorf("writing to %s: %w", r, err)
	}
	if !objectID.MatchString(out.SHA) {
		return "", fault.Errorf(fault.Transient, "%s calls what it made %.70q", r, out.SHA)
	}
	return out.SHA, nil
}

// move moves a branch forward (https://docs.github.com/rest/git/refs#update-a-reference).
func (c client) move(ctx context.Context, r repository, branch, to string) error {
	in := struct {
		SHA   string `json:"sha"`
		Force bool   `json:"force"`
	}{SHA: to}
	if err := c.call(ctx, http.MethodPatch, "/repos/"+r.String()+"/git/refs/heads/"+escape(branch), in, nil, http.StatusOK); err != nil {
		return fmt.Errorf("moving branch %s of %s: %w", branch, r, err)
	}
	return nil
}

// create creates a branch (https://docs.github.com/rest/git/refs#create-a-reference).
func (c client) create(ctx context.Context, r repository, branch, at string) error {
	in := struct {
		Ref string `json:"ref"`
		SHA string `json:"sha"`
	}{"refs/heads/" + branch, at}
	if err := c.call(ctx, http.MethodPost, "/repos/"+r.String()+"/git/refs", in, nil, http.StatusCreated); err != nil {
		return fmt.Errorf("creating branch %s of %s: %w", branch, r, err)
	}
	return nil
}

// sync brings a branch of a fork up to date with the one of that name that it was forked from
// (https://docs.github.com/rest/branches/branches#sync-a-fork-branch-with-the-upstream-repository). One that is up to date
// stays as it is.
func (c client) sync(ctx context.Context, r repository, branch string) error {
	in := struct {
		Branch string `json:"branch"`
	}{branch}
	err := c.call(wire.Repeating(ctx), http.MethodPost, "/repos/"+r.String()+"/merge-upstream", in, nil, http.StatusOK)
	switch wire.StatusOf(err) {
	case http.StatusConflict, http.StatusUnprocessableEntity:
		return fault.Errorf(fault.Usage, "branch %s of %s cannot be brought up to date; sync the fork by hand, on its page: %w", branch, r, err)
	}
	if err != nil {
		return fmt.Errorf("bringing %s up to date: %w", r, err)
	}
	return nil
}

// pull is a pull request.
type pull struct {
	Number   int     `json:"number"`
	State    string  `json:"state"` // open or closed
	MergedAt *string `json:"merged_at"`
	Page     string  `json:"html_url"`
	Head     struct {
		Ref  string `json:"ref"`
		Repo *struct {
			FullName string `json:"full_name"`
		} `json:"repo"` // null once the fork is deleted
	} `json:"head"`
}

// String is the pull request as a person finds it.
func (p pull) String() string {
	return cmp.Or(address(p.Page), fmt.Sprintf("pull request %d", p.Number))
}

// pulls are the pull requests, in whatever state, from a branch
// (https://docs.github.com/rest/pulls/pulls#list-pull-requests).
func (c client) pulls(ctx context.Context, into, from repository, branch, base string) ([]pull, error) {
	q := url.Values{"state": {"all"}, "head": {from.owner + ":" + branch}, "base": {base}, "per_page": {"100"}}
	var all []pull
	if err := c.call(ctx, http.MethodGet, "/repos/"+into.String()+"/pulls?"+q.Encode(), nil, &all, http.StatusOK); err != nil {
		return nil, fmt.Errorf("asking for pull requests of %s: %w", into, err)
	}
	var out []pull
	for _, p := range all {
		// An owner may have several forks.
		if p.Head.Ref == branch && (p.Head.Repo == nil || from.same(p.Head.Repo.FullName)) {
			out = append(out, p)
		}
	}
	return out, nil
}

// proposal is a pull request to be made.
type proposal struct {
	Title    string `json:"title"`
	Body     string `json:"body,omitempty"`
	Head     string `json:"head"`
	HeadRepo string `json:"head_repo,omitempty"`
	Base     string `json:"base"`
}

// open opens a pull request (https://docs.github.com/rest/pulls/pulls#create-a-pull-request).
func (c client) open(ctx context.Context, into repository, in proposal) error {
	if err := c.call(ctx, http.MethodPost, "/repos/"+into.String()+"/pulls", in, nil, http.StatusCreated); err != nil {
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

// refusal is what GitHub says where it refuses, in lower case; "" where it did not.
func refusal(err error) string {
	if e, ok := errors.AsType[*wire.StatusError](err); ok {
		return strings.ToLower(e.Message)
	}
	return ""
}
