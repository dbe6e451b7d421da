// Package githubtest is a fixture: a GitHub in process, as far as releases go out to it. It has releases with their
// assets, git's objects and refs as they are reached over the API, contents, forks and pull requests.
//
// It keeps state and enforces the rules that are documented (https://docs.github.com/rest): a name that is taken is
// refused, a branch moves forward only, a draft is seen by those who may write, what is immutable stays. Ids of git are
// those that git gives, so that the same commit made twice is one.
//
// One handler is the API, the place for uploads, the site and the storage of assets at once. The paths of an Enterprise
// Server, /api/v3 and /api/uploads, work as well as none. Hosts tells them apart.
package githubtest

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The tokens that are known. Any other, where one is shown, is refused.
const (
	Token  = "write" // of a person who may write everywhere
	Reader = "read"  // of a person who may read everywhere
	// App is of the installation of an app, as that of a workflow is. It may write everywhere, and what it may do to a
	// repository is not told with the repository.
	App = "app"
)

// Bounds of requests, in bytes
// (https://docs.github.com/repositories/releasing-projects-on-github/about-releases#storage-and-bandwidth-quotas).
const (
	maxJSON  = 10 << 20
	maxAsset = 2 << 30
)

// maxAssets is how many assets a release has at most.
const maxAssets = 1000

// Hub is a GitHub. It may be used concurrently.
type Hub struct {
	mu    sync.Mutex
	repos map[string]*Repo  // by name in lower case
	moved map[string]string // names of repositories by their former ones, in lower case
	next  int64
	hosts Hosts
	leaks []string

	instead func(w http.ResponseWriter, r *http.Request) bool
	quota   *quota
}

// Hosts are the URLs of the parts of a GitHub, without a slash at the end. A part that is "" is wherever a request came
// to.
type Hosts struct {
	API     string
	Uploads string // takes assets; where it is another host than the API's, the API's takes none
	Site    string // has the pages for people, and the downloads
	Storage string // has the bytes of assets, and gets no token; "" is another name of the host where a request came to
}

type quota struct {
	left  int
	reset int64
}

// New returns a hub without repositories.
func New() *Hub { return &Hub{repos: map[string]*Repo{}, moved: map[string]string{}} }

// SetHosts tells the hub its URLs.
func (h *Hub) SetHosts(hosts Hosts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hosts = hosts
}

// Instead has f answer requests in the hub's place where it returns true, for a secondary rate limit or any other
// trouble.
func (h *Hub) Instead(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.instead = f
}

// Quota leaves n requests to everybody. Any further one is refused until it is set again. Reset is when the remote says
// that this will be, in seconds since 1970
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).
func (h *Hub) Quota(n int, reset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.quota = &quota{n, reset}
}

// NoQuota leaves any number of requests to everybody, as at the beginning.
func (h *Hub) NoQuota() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.quota = nil
}

// Leaks are the requests that carried a token to where none belongs.
func (h *Hub) Leaks() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.leaks)
}

// Add adds a repository, owner/name, whose default branch has the files. With nil it is empty.
func (h *Hub) Add(name string, files map[string]string) *Repo {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &Repo{
		hub: h, name: name, git: newObjects(), refs: map[string]string{}, branch: "main",
		protect: map[string]string{}, burned: map[string]bool{},
	}
	if files != nil {
		r.refs["refs/heads/main"] = r.git.byHand("begin", nil, r.git.with("", files), "2026-01-01T00:00:00Z")
	}
	h.repos[strings.ToLower(name)] = r
	return r
}

// Move gives a repository another name. The former one leads there.
func (h *Hub) Move(from, to string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repos[strings.ToLower(from)]
	delete(h.repos, strings.ToLower(from))
	r.name = to
	h.repos[strings.ToLower(to)], h.moved[strings.ToLower(from)] = r, to
}

// Repo is a repository. Its fields are set before it is used, or through Set.
type Repo struct {
	hub  *Hub
	name string // owner/name

	// Immutable makes what is published from now on immutable
	// (https://docs.github.com/code-security/supply-chain-security/understanding-your-software-supply-chain/immutable-releases).
	Immutable bool
	Private   bool
	Archived  bool
	// ReadOnly refuses everybody's writes, and tells so.
	ReadOnly bool
	// NoDigests leaves out the digests of assets, as older servers do.
	NoDigests bool
	// NoImmutable leaves out whether releases are immutable, as older servers do.
	NoImmutable bool
	// Break is how many uploads break off from now on, each leaving an asset in the state starter.
	Break int
	// Discussions are the categories that there are.
	Discussions []string

	git      *objects
	refs     map[string]string // full name of a ref: id
	branch   string            // the default one
	parent   *Repo             // of a fork
	releases []*release
	pulls    []*pull
	protect  map[string]string // by branch, what is said to who pushes
	burned   map[string]bool   // tags that an immutable release had
}

// Name is owner/name.
func (r *Repo) Name() string {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	return r.name
}

// Set changes a repository while requests may be under way.
func (r *Repo) Set(f func(*Repo)) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	f(r)
}

// State is all that the hub has, without numbers and without the order of what came side by side.
func (h *Hub) State() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	for _, r := range h.repos {
		for ref, id := range r.refs {
			lines = append(lines, fmt.Sprintf("%s %s %s", r.name, ref, id))
		}
		for _, rel := range r.releases {
			lines = append(lines, rel.state(r)...)
		}
		for _, p := range r.pulls {
			lines = append(lines, fmt.Sprintf("%s pull %s -> %s %s merged=%v %q %q", r.name, p.Head.Label, p.Base.Ref, p.State, p.Merged != nil, p.Title, p.Body))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func (h *Hub) id() int64 {
	h.next++
	return h.next
}

// request is a request to a repository.
type request struct {
	*http.Request
	hub   *Hub
	w     http.ResponseWriter
	repo  *Repo
	rest  string // of the path, after the repository
	token string
}

// may tells whether whoever asks may write.
func (q request) may() bool { return (q.token == Token || q.token == App) && !q.repo.ReadOnly }

func (q request) base(part string) string { return cmp.Or(part, "http://"+q.Host) }
func (q request) api() string             { return q.base(q.hub.hosts.API) + "/repos/" + q.repo.name }
func (q request) site() string            { return q.base(q.hub.hosts.Site) + "/" + q.repo.name }

func (q request) say(status int, v any) {
	q.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	q.w.Header().Set("X-GitHub-Media-Type", "github.v3; format=json")
	q.w.WriteHeader(status)
	if v != nil {
		_ = json.NewEncoder(q.w).Encode(v)
	}
}

// problem is what is wrong with a field (https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api).
type problem struct {
	Resource string `json:"resource"`
	Field    string `json:"field,omitempty"`
	Code     string `json:"code"`
	Message  string `json:"message,omitempty"`
}

func (q request) refuse(status int, message string, problems ...problem) {
	answer := map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)}
	if len(problems) > 0 {
		answer["errors"] = problems
	}
	q.say(status, answer)
}

func (q request) notFound() { q.refuse(http.StatusNotFound, "Not Found") }

func (q request) invalid(problems ...problem) {
	q.refuse(http.StatusUnprocessableEntity, "Validation Failed", problems...)
}

// decode reads the body of a request.
func (q request) decode(v any) bool {
	b, err := io.ReadAll(io.LimitReader(q.Body, maxJSON+1))
	switch {
	case len(b) > maxJSON:
		q.refuse(http.StatusRequestEntityTooLarge, "Payload too big")
		return false
	case err != nil || json.Unmarshal(b, v) != nil:
		q.refuse(http.StatusBadRequest, "Problems parsing JSON")
		return false
	}
	return true
}

// page is the part of a list that was asked for, with links to the next one and the last
// (https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api).
func (q request) page(n int) (from, to int) {
	query := q.URL.Query()
	size, page := 30, 1
	if v, err := strconv.Atoi(query.Get("per_page")); err == nil && v > 0 {
		size = min(v, 100)
	}
	if v, err := strconv.Atoi(query.Get("page")); err == nil && v > 0 {
		page = min(v, 1_000_000)
	}
	from, to = min((page-1)*size, n), min(page*size, n)
	if to < n {
		link := func(page int, rel string) string {
			query.Set("page", strconv.Itoa(page))
			return fmt.Sprintf(`<%s%s?%s>; rel=%q`, q.base(q.hub.hosts.API), q.URL.Path, query.Encode(), rel)
		}
		q.w.Header().Set("Link", link(page+1, "next")+", "+link((n+size-1)/size, "last"))
	}
	return from, to
}

var repoPath = regexp.MustCompile(`^/repos/([^/]+/[^/]+)(?:/(.*))?$`)

// ServeHTTP answers a request.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := request{Request: r, hub: h, w: w}
	h.mu.Lock()
	instead := h.instead
	h.mu.Unlock()
	if instead != nil && instead(w, r) {
		return
	}
	header := r.Header.Get("Authorization")
	for _, scheme := range []string{"Bearer ", "bearer ", "token "} {
		if token, ok := strings.CutPrefix(header, scheme); ok {
			q.token = token
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if path := r.URL.Path; strings.HasPrefix(path, "/storage/") || downloadPath.MatchString(path) && !strings.HasPrefix(path, "/repos/") {
		h.bytes(q, header != "")
		return
	}
	if !h.counted(q) {
		return
	}
	if header != "" && !slices.Contains([]string{Token, Reader, App}, q.token) {
		q.refuse(http.StatusUnauthorized, "Bad credentials")
		return
	}
	h.route(q)
}

// counted counts a request, and tells whether one was left.
func (h *Hub) counted(q request) bool {
	const limit = 5000
	left, reset := limit, int64(1_800_000_000)
	if h.quota != nil {
		left, reset = h.quota.left-1, h.quota.reset
		h.quota.left = max(left, 0)
	}
	for name, n := range map[string]int64{"Limit": limit, "Remaining": int64(max(left, 0)), "Used": int64(limit - max(left, 0)), "Reset": reset} {
		q.w.Header().Set("X-RateLimit-"+name, strconv.FormatInt(n, 10))
	}
	q.w.Header().Set("X-RateLimit-Resource", "core")
	if left < 0 {
		q.refuse(http.StatusForbidden, "API rate limit exceeded for user ID 1.")
	}
	return left >= 0
}

// route finds whom a request is for.
func (h *Hub) route(q request) {
	path := q.URL.Path
	for _, prefix := range []string{"/api/v3", "/api/uploads"} {
		if rest, ok := strings.CutPrefix(path, prefix+"/"); ok {
			path = "/" + rest
		}
	}
	if path == "/installation/repositories" {
		h.installation(q)
		return
	}
	m := repoPath.FindStringSubmatch(path)
	if m == nil {
		q.notFound()
		return
	}
	name := strings.ToLower(m[1])
	if to, ok := h.moved[name]; ok {
		h.redirect(q, "/repos/"+to+strings.TrimPrefix(path, "/repos/"+m[1]))
		return
	}
	q.repo, q.rest = h.repos[name], m[2]
	reads := q.Method == http.MethodGet || q.Method == http.MethodHead
	switch {
	case q.repo == nil || q.repo.Private && q.token == "":
		q.notFound() // what is private is not even there
	case reads:
		h.serve(q)
	case q.token == "":
		q.refuse(http.StatusUnauthorized, "Requires authentication")
	case q.repo.Archived:
		q.refuse(http.StatusForbidden, "Repository was archived so is read-only.")
	case !q.may():
		q.refuse(http.StatusForbidden, "Resource not accessible by personal access token")
	default:
		h.serve(q)
	}
}

// redirect leads to where a repository is now
// (https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects).
func (h *Hub) redirect(q request, path string) {
	status := http.StatusTemporaryRedirect
	if q.Method == http.MethodGet || q.Method == http.MethodHead {
		status = http.StatusMovedPermanently
	}
	to := url.URL{Path: path, RawQuery: q.URL.RawQuery}
	q.w.Header().Set("Location", q.base(h.hosts.API)+to.String())
	q.refuse(status, "Moved Permanently")
}

// installation lists what an app is installed in, which is told to apps alone
// (https://docs.github.com/rest/apps/installations#list-repositories-accessible-to-the-app-installation).
func (h *Hub) installation(q request) {
	switch q.token {
	case "":
		q.refuse(http.StatusUnauthorized, "Requires authentication")
	case App:
		list := []any{}
		for _, name := range slices.Sorted(maps.Keys(h.repos)) {
			list = append(list, map[string]string{"full_name": h.repos[name].name})
		}
		from, to := q.page(len(list))
		q.say(http.StatusOK, map[string]any{"total_count": len(list), "repositories": list[from:to]})
	default:
		q.refuse(http.StatusForbidden, "You must authenticate with an installation access token in order to list repositories for an installation.")
	}
}

// serve answers for a repository.
func (h *Hub) serve(q request) {
	kind, rest, _ := strings.Cut(q.rest, "/")
	switch kind {
	case "":
		h.about(q)
	case "releases":
		h.serveReleases(q, rest)
	case "git":
		h.serveGit(q, rest)
	case "contents":
		h.serveContents(q, rest)
	case "tags":
		h.serveTags(q)
	case "pulls":
		h.servePulls(q, rest)
	case "merge-upstream":
		h.mergeUpstream(q)
	default:
		q.notFound()
	}
}

// about tells of a repository (https://docs.github.com/rest/repos/repos#get-a-repository).
func (h *Hub) about(q request) {
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		q.notFound()
		return
	}
	r := q.repo
	owner, name, _ := strings.Cut(r.name, "/")
	about := map[string]any{
		"name": name, "full_name": r.name, "owner": map[string]string{"login": owner}, "default_branch": r.branch,
		"html_url": q.site(), "url": q.api(), "archived": r.Archived, "private": r.Private, "fork": r.parent != nil,
	}
	if q.token != "" {
		push := q.may() && q.token != App
		about["permissions"] = map[string]bool{"admin": false, "maintain": false, "push": push, "triage": push, "pull": q.token != App}
	}
	if r.parent != nil {
		up := map[string]string{"full_name": r.parent.name, "default_branch": r.parent.branch}
		about["parent"], about["source"] = up, up
	}
	q.say(http.StatusOK, about)
}

func sum(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
