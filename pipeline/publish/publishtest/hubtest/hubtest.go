// Package hubtest is a GitHub in process for tests, as far as releases go out to it: releases with their assets, and the
// parts of git that are reached over the API. It keeps state and enforces the rules that are documented
// (https://docs.github.com/rest): a name that is taken is refused, a branch moves forward only, a draft is seen by
// those who may write, what is immutable stays.
package hubtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Token is who may write everywhere. Any other, where one is shown, is refused.
const Token = "write"

// Hub is a GitHub. Its URL is its API, its place for uploads and its site at once. It may be used concurrently.
type Hub struct {
	mu    sync.Mutex
	repos map[string]*Repo
	next  int64
}

// Repo is a repository.
type Repo struct {
	hub  *Hub
	name string // owner/name

	// Immutable makes published releases immutable
	// (https://docs.github.com/code-security/supply-chain-security/understanding-your-software-supply-chain/immutable-releases).
	Immutable bool
	// ReadOnly refuses everybody's writes.
	ReadOnly bool
	// NoDigests leaves out the digests of assets, as older servers do.
	NoDigests bool
	// Break is how many uploads break off from now on, each leaving an asset in the state starter.
	Break int

	git      *objects
	refs     map[string]string // full name of a ref: id
	branch   string            // the default one
	parent   string            // of a fork
	releases []*release
	pulls    []*pull
	protect  map[string]bool
}

type release struct {
	ID         int64     `json:"id"`
	Tag        string    `json:"tag_name"`
	Target     string    `json:"target_commitish"`
	Name       string    `json:"name"`
	Body       string    `json:"body"`
	Draft      bool      `json:"draft"`
	Prerelease bool      `json:"prerelease"`
	Immutable  bool      `json:"immutable"`
	HTMLURL    string    `json:"html_url"`
	Discussion string    `json:"discussion_url,omitempty"`
	Assets     []*assetV `json:"assets"`

	latest bool
	assets []*asset
}

type asset struct {
	id      int64
	name    string
	label   string
	state   string // uploaded or starter
	content []byte
}

// assetV is an asset as it is shown.
type assetV struct {
	ID     int64   `json:"id"`
	Name   string  `json:"name"`
	Label  string  `json:"label"`
	State  string  `json:"state"`
	Size   int     `json:"size"`
	Digest *string `json:"digest"`
	URL    string  `json:"url"`
	Browse string  `json:"browser_download_url"`
}

// New returns a hub without repositories.
func New() *Hub { return &Hub{repos: map[string]*Repo{}} }

// Add adds a repository, owner/name, whose default branch has the files.
func (h *Hub) Add(name string, files map[string]string) *Repo {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &Repo{hub: h, name: name, git: newObjects(), refs: map[string]string{}, branch: "main", protect: map[string]bool{}}
	if files != nil {
		r.refs["refs/heads/main"] = r.git.commit("begin", nil, r.git.files(files), "2026-01-01T00:00:00Z")
	}
	h.repos[name] = r
	return r
}

// Fork adds a fork of a repository.
func (r *Repo) Fork(name string) *Repo {
	f := r.hub.Add(name, nil)
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	f.git, f.refs, f.parent = r.git, maps.Clone(r.refs), r.name
	return f
}

// Tag points a tag at an id, which need not be a commit that the repository has.
func (r *Repo) Tag(tag, id string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.refs["refs/tags/"+tag] = id
}

// Commit commits files to a branch, as somebody else would.
func (r *Repo) Commit(branch string, files map[string]string) string {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	at := r.refs["refs/heads/"+branch]
	tree := r.git.with(r.git.treeOf(at), files)
	id := r.git.commit("by hand", []string{at}, tree, "2026-01-02T00:00:00Z")
	r.refs["refs/heads/"+branch] = id
	return id
}

// Protect refuses what is pushed to a branch.
func (r *Repo) Protect(branch string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.protect[branch] = true
}

// Set changes a repository while requests may be under way.
func (r *Repo) Set(f func(*Repo)) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	f(r)
}

// File is the content of a file at the head of a branch.
func (r *Repo) File(branch, path string) (string, bool) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	b, ok := r.git.read(r.git.treeOf(r.refs["refs/heads/"+branch]), path)
	return string(b), ok
}

// Log are the messages of the commits of a branch, newest first.
func (r *Repo) Log(branch string) []string {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	var out []string
	for id := r.refs["refs/heads/"+branch]; id != ""; {
		c := r.git.commits[id]
		out = append(out, c.message)
		if id = ""; len(c.parents) > 0 {
			id = c.parents[0]
		}
	}
	return out
}

// Draft adds a draft for a tag, as a person does who writes the notes first, with an asset where there is content.
func (r *Repo) Draft(tag, body string, assets map[string]string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	rel := &release{ID: r.hub.id(), Tag: tag, Name: tag, Body: body, Draft: true}
	for _, name := range slices.Sorted(maps.Keys(assets)) {
		rel.assets = append(rel.assets, &asset{id: r.hub.id(), name: name, state: "uploaded", content: []byte(assets[name])})
	}
	r.releases = append(r.releases, rel)
}

// Publish adds a published release of a tag, as an earlier one.
func (r *Repo) Publish(tag string, prerelease bool) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	rel := &release{ID: r.hub.id(), Tag: tag, Name: tag, Prerelease: prerelease}
	r.releases = append(r.releases, rel)
	if !prerelease {
		r.makeLatest(rel)
	}
}

// Latest is the tag of the release that is called the latest; "" for none.
func (r *Repo) Latest() string {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for _, rel := range r.releases {
		if rel.latest {
			return rel.Tag
		}
	}
	return ""
}

func (r *Repo) makeLatest(rel *release) {
	for _, other := range r.releases {
		other.latest = other == rel
	}
}

func (h *Hub) id() int64 {
	h.next++
	return h.next
}

// State is all that the hub has, without the numbers and the order of things that came side by side.
func (h *Hub) State() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	for name, r := range h.repos {
		for ref, id := range r.refs {
			lines = append(lines, fmt.Sprintf("%s %s %s", name, ref, id))
		}
		for _, rel := range r.releases {
			at := fmt.Sprintf("%s release %s", name, rel.Tag)
			lines = append(lines, fmt.Sprintf("%s name=%q draft=%v prerelease=%v latest=%v immutable=%v discussion=%q body=%x", at, rel.Name, rel.Draft, rel.Prerelease, rel.latest, rel.Immutable, rel.Discussion, sha256.Sum256([]byte(rel.Body))))
			for _, a := range rel.assets {
				lines = append(lines, fmt.Sprintf("%s asset %s %s %d %x", at, a.name, a.state, len(a.content), sha256.Sum256(a.content)))
			}
		}
		for _, p := range r.pulls {
			lines = append(lines, fmt.Sprintf("%s pull %s -> %s %s %q %q", name, p.head(), p.Base.Ref, p.State, p.Title, p.Body))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// request is a request to a repository.
type request struct {
	*http.Request
	w     http.ResponseWriter
	repo  *Repo
	rest  string // of the path, after the repository
	base  string // URL of the hub
	write bool   // whether whoever asks may write
}

func (q request) say(status int, v any) {
	q.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	q.w.WriteHeader(status)
	if v != nil {
		_ = json.NewEncoder(q.w).Encode(v)
	}
}

func (q request) refuse(status int, message string, errs ...map[string]string) {
	q.say(status, map[string]any{"message": message, "errors": errs, "documentation_url": "https://docs.github.com/rest"})
}

func (q request) notFound() { q.refuse(http.StatusNotFound, "Not Found") }

func (q request) invalid(resource, field, code string) {
	q.refuse(http.StatusUnprocessableEntity, "Validation Failed", map[string]string{"resource": resource, "field": field, "code": code})
}

// decode reads the body of a request.
func (q request) decode(v any) bool {
	b, err := io.ReadAll(io.LimitReader(q.Body, 16<<20))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		q.refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	return err == nil
}

var repoPath = regexp.MustCompile(`^/repos/([^/]+/[^/]+)(?:/(.*))?$`)

func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := request{Request: r, w: w, base: "http://" + r.Host}
	token, shown := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if shown && token != Token {
		q.refuse(http.StatusUnauthorized, "Bad credentials")
		return
	}
	if strings.HasPrefix(r.URL.Path, "/storage/") {
		h.storage(q, shown)
		return
	}
	if tag, name, ok := downloads(r.URL.Path); ok {
		h.download(q, tag, name)
		return
	}
	m := repoPath.FindStringSubmatch(r.URL.Path)
	h.mu.Lock()
	defer h.mu.Unlock()
	if m == nil || h.repos[m[1]] == nil {
		q.notFound()
		return
	}
	q.repo, q.rest = h.repos[m[1]], m[2]
	q.write = shown && !q.repo.ReadOnly
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case !reads && !shown:
		q.refuse(http.StatusUnauthorized, "Requires authentication")
	case !reads && !q.write:
		q.refuse(http.StatusForbidden, "Resource not accessible by integration")
	default:
		h.route(q)
	}
}

func (h *Hub) route(q request) {
	kind, rest, _ := strings.Cut(q.rest, "/")
	switch kind {
	case "":
		q.say(http.StatusOK, map[string]any{
			"full_name": q.repo.name, "default_branch": q.repo.branch, "html_url": q.base + "/" + q.repo.name, "archived": false,
			"permissions": map[string]bool{"pull": true, "push": q.write},
			"parent":      map[bool]any{true: map[string]string{"full_name": q.repo.parent}}[q.repo.parent != ""],
		})
	case "releases":
		h.releases(q, rest)
	case "git":
		h.gitData(q, rest)
	case "contents":
		h.contents(q, rest)
	case "pulls":
		h.pullRequests(q, rest)
	case "merge-upstream":
		h.mergeUpstream(q)
	default:
		q.notFound()
	}
}

// releases serves releases and their assets (https://docs.github.com/rest/releases).
func (h *Hub) releases(q request, rest string) {
	parts := strings.Split(rest, "/")
	switch {
	case rest == "" && q.Method == http.MethodGet:
		h.list(q)
	case rest == "" && q.Method == http.MethodPost:
		h.create(q)
	case parts[0] == "tags" && q.Method == http.MethodGet:
		q.found(slices.IndexFunc(q.repo.releases, func(r *release) bool { return r.Tag == strings.TrimPrefix(rest, "tags/") && !r.Draft }))
	case rest == "latest" && q.Method == http.MethodGet:
		q.found(slices.IndexFunc(q.repo.releases, func(r *release) bool { return r.latest }))
	case parts[0] == "assets" && len(parts) == 2:
		h.asset(q, parts[1])
	default:
		i := slices.IndexFunc(q.repo.releases, func(r *release) bool { return strconv.FormatInt(r.ID, 10) == parts[0] && (!r.Draft || q.write) })
		switch {
		case i < 0:
			q.notFound()
		case len(parts) == 1 && q.Method == http.MethodGet:
			q.found(i)
		case len(parts) == 1 && q.Method == http.MethodPatch:
			h.edit(q, q.repo.releases[i])
		case len(parts) == 1 && q.Method == http.MethodDelete:
			q.repo.releases = slices.Delete(q.repo.releases, i, i+1)
			q.say(http.StatusNoContent, nil)
		case len(parts) == 2 && parts[1] == "assets" && q.Method == http.MethodGet:
			all := q.show(q.repo.releases[i]).Assets
			from, to := q.page(len(all))
			q.say(http.StatusOK, all[from:to])
		case len(parts) == 2 && parts[1] == "assets" && q.Method == http.MethodPost:
			h.upload(q, q.repo.releases[i])
		default:
			q.notFound()
		}
	}
}

// page is the part of a list that was asked for, with the link to the next one
// (https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api).
func (q request) page(n int) (from, to int) {
	query := q.URL.Query()
	size, page := 30, 1
	if v, err := strconv.Atoi(query.Get("per_page")); err == nil && v > 0 {
		size = min(v, 100)
	}
	if v, err := strconv.Atoi(query.Get("page")); err == nil && v > 0 {
		page = v
	}
	from, to = min((page-1)*size, n), min(page*size, n)
	if to < n {
		query.Set("page", strconv.Itoa(page+1))
		q.w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, q.base, q.URL.Path, query.Encode()))
	}
	return from, to
}

func (q request) found(i int) {
	if i < 0 {
		q.notFound()
		return
	}
	q.say(http.StatusOK, q.show(q.repo.releases[i]))
}

// show is a release as it is seen.
func (q request) show(r *release) release {
	out := *r
	out.HTMLURL = q.base + "/" + q.repo.name + "/releases/tag/" + r.Tag
	out.Assets = []*assetV{}
	for _, a := range r.assets {
		v := &assetV{
			ID: a.id, Name: a.name, Label: a.label, State: a.state, Size: len(a.content),
			URL:    fmt.Sprintf("%s/repos/%s/releases/assets/%d", q.base, q.repo.name, a.id),
			Browse: fmt.Sprintf("%s/%s/releases/download/%s/%s", q.base, q.repo.name, r.Tag, a.name),
		}
		if a.state == "uploaded" && !q.repo.NoDigests {
			sum := sha256.Sum256(a.content)
			digest := "sha256:" + hex.EncodeToString(sum[:])
			v.Digest = &digest
		}
		out.Assets = append(out.Assets, v)
	}
	return out
}

func (h *Hub) list(q request) {
	var all []release
	for _, r := range slices.Backward(q.repo.releases) {
		if !r.Draft || q.write {
			all = append(all, q.show(r))
		}
	}
	from, to := q.page(len(all))
	q.say(http.StatusOK, append([]release{}, all[from:to]...))
}

// change is what a release is made of or changed to.
type change struct {
	Tag        *string `json:"tag_name"`
	Target     *string `json:"target_commitish"`
	Name       *string `json:"name"`
	Body       *string `json:"body"`
	Draft      *bool   `json:"draft"`
	Prerelease *bool   `json:"prerelease"`
	Latest     *string `json:"make_latest"`
	Discussion *string `json:"discussion_category_name"`
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (h *Hub) create(q request) {
	var c change
	if !q.decode(&c) {
		return
	}
	if c.Tag == nil || *c.Tag == "" {
		q.invalid("Release", "tag_name", "missing_field")
		return
	}
	r := &release{ID: h.id()}
	set(&r.Tag, c.Tag)
	if status := h.apply(q, r, c); status {
		q.repo.releases = append(q.repo.releases, r)
		q.say(http.StatusCreated, q.show(r))
	}
}

// apply changes a release; it tells whether that is allowed.
func (h *Hub) apply(q request, r *release, c change) bool {
	next := *r
	set(&next.Tag, c.Tag)
	set(&next.Target, c.Target)
	set(&next.Name, c.Name)
	set(&next.Body, c.Body)
	set(&next.Draft, c.Draft)
	set(&next.Prerelease, c.Prerelease)
	switch {
	case len([]rune(next.Body)) > 125000:
		q.refuse(http.StatusUnprocessableEntity, "Validation Failed", map[string]string{"resource": "Release", "field": "body", "code": "custom", "message": "body is too long (maximum is 125000 characters)"})
		return false
	case r.Immutable && (next.Tag != r.Tag || next.Draft || next.Target != r.Target):
		q.refuse(http.StatusUnprocessableEntity, "Cannot modify the tag of an immutable release")
		return false
	case !next.Draft && slices.ContainsFunc(q.repo.releases, func(o *release) bool { return o != r && !o.Draft && o.Tag == next.Tag }):
		q.invalid("Release", "tag_name", "already_exists")
		return false
	case !next.Draft && slices.ContainsFunc(r.assets, func(a *asset) bool { return a.state != "uploaded" }):
		q.invalid("Release", "assets", "invalid")
		return false
	}
	if !next.Draft {
		next.Immutable = q.repo.Immutable || r.Immutable
		if q.repo.refs["refs/tags/"+next.Tag] == "" {
			q.repo.refs["refs/tags/"+next.Tag] = next.Target
		}
		if c.Discussion != nil && *c.Discussion != "" {
			next.Discussion = "discussion in " + *c.Discussion
		}
	}
	first := r.Draft || len(q.repo.releases) == 0 || !slices.Contains(q.repo.releases, r)
	*r = next
	latest := "legacy"
	set(&latest, c.Latest)
	if !r.Draft && !r.Prerelease && (latest == "true" || latest == "legacy" && first) {
		q.repo.makeLatest(r)
	}
	return true
}

func (h *Hub) edit(q request, r *release) {
	var c change
	if q.decode(&c) && h.apply(q, r, c) {
		q.say(http.StatusOK, q.show(r))
	}
}

// renamed are the characters that GitHub takes out of the names of assets.
var renamed = regexp.MustCompile(`[^A-Za-z0-9._+@-]+`)

func (h *Hub) upload(q request, r *release) {
	name := strings.Trim(renamed.ReplaceAllString(q.URL.Query().Get("name"), "."), ".")
	switch {
	case name == "":
		q.invalid("ReleaseAsset", "name", "missing_field")
		return
	case r.Immutable:
		q.refuse(http.StatusUnprocessableEntity, "Cannot upload assets to an immutable release.")
		return
	case slices.ContainsFunc(r.assets, func(a *asset) bool { return a.name == name }):
		q.invalid("ReleaseAsset", "name", "already_exists")
		return
	case len(r.assets) >= 1000:
		q.refuse(http.StatusUnprocessableEntity, "A release has at most 1000 assets")
		return
	case q.ContentLength < 0:
		q.refuse(http.StatusLengthRequired, "Bad Content-Length")
		return
	}
	a := &asset{id: h.id(), name: name, label: q.URL.Query().Get("label"), state: "starter"}
	r.assets = append(r.assets, a)
	// Others go on while the bytes arrive.
	h.mu.Unlock()
	b, err := io.ReadAll(q.Body)
	h.mu.Lock()
	if err != nil || q.repo.Break > 0 {
		q.repo.Break = max(q.repo.Break-1, 0)
		q.refuse(http.StatusBadGateway, "Server Error")
		return
	}
	a.state, a.content = "uploaded", b
	shown := q.show(r).Assets
	i := slices.IndexFunc(shown, func(v *assetV) bool { return v.ID == a.id })
	if i < 0 { // it was deleted meanwhile
		q.notFound()
		return
	}
	q.say(http.StatusCreated, shown[i])
}

func (h *Hub) asset(q request, id string) {
	for _, r := range q.repo.releases {
		for i, a := range r.assets {
			if strconv.FormatInt(a.id, 10) != id || r.Draft && !q.write {
				continue
			}
			switch {
			case q.Method == http.MethodDelete && r.Immutable:
				q.refuse(http.StatusUnprocessableEntity, "Cannot delete assets of an immutable release.")
			case q.Method == http.MethodDelete:
				r.assets = slices.Delete(r.assets, i, i+1)
				q.say(http.StatusNoContent, nil)
			case q.Header.Get("Accept") == "application/octet-stream" && a.state == "uploaded":
				// The bytes are on another host, which no token is for.
				port := q.Host[strings.LastIndexByte(q.Host, ':'):]
				http.Redirect(q.w, q.Request, "http://localhost"+port+"/storage/"+id, http.StatusFound)
			default:
				q.say(http.StatusOK, q.show(r).Assets[i])
			}
			return
		}
	}
	q.notFound()
}

// storage serves the bytes of an asset. A token that is sent there is one too many.
func (h *Hub) storage(q request, shown bool) {
	h.mu.Lock()
	var content []byte
	found := false
	for _, r := range h.repos {
		for _, rel := range r.releases {
			for _, a := range rel.assets {
				if strconv.FormatInt(a.id, 10) == strings.TrimPrefix(q.URL.Path, "/storage/") {
					content, found = a.content, true
				}
			}
		}
	}
	h.mu.Unlock()
	switch {
	case shown:
		q.refuse(http.StatusBadRequest, "Only one auth mechanism allowed")
	case !found:
		q.notFound()
	default:
		_, _ = q.w.Write(content)
	}
}

var downloadPath = regexp.MustCompile(`^/([^/]+/[^/]+)/releases/download/(.+)/([^/]+)$`)

func downloads(path string) (tag, name string, ok bool) {
	m := downloadPath.FindStringSubmatch(path)
	if m == nil || strings.HasPrefix(path, "/repos/") {
		return "", "", false
	}
	return m[1] + "\n" + m[2], m[3], true
}

// download serves an asset to everybody, once it is public.
func (h *Hub) download(q request, where, name string) {
	repo, tag, _ := strings.Cut(where, "\n")
	h.mu.Lock()
	var content []byte
	found := false
	if r := h.repos[repo]; r != nil {
		for _, rel := range r.releases {
			for _, a := range rel.assets {
				if rel.Tag == tag && !rel.Draft && a.name == name && a.state == "uploaded" {
					content, found = a.content, true
				}
			}
		}
	}
	h.mu.Unlock()
	if !found {
		http.NotFound(q.w, q.Request)
		return
	}
	_, _ = q.w.Write(content)
}
