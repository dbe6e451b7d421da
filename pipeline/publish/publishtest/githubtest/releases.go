package githubtest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxBody is how long the text of a release may be, in characters. GitHub tells it where more are sent.
const maxBody = 125_000

// instant is every time of what has none of its own.
const instant = "2026-01-01T00:00:00Z"

type release struct {
	id         int64
	tag        string
	target     string
	name       string
	body       string
	draft      bool
	prerelease bool
	immutable  bool
	latest     bool
	discussion string // category
	assets     []*asset
}

type asset struct {
	id      int64
	name    string
	label   string
	kind    string // media type
	state   string // uploaded or starter
	content []byte
}

// shownRelease is a release as the API shows it.
type shownRelease struct {
	ID         int64        `json:"id"`
	Tag        string       `json:"tag_name"`
	Target     string       `json:"target_commitish"`
	Name       string       `json:"name"`
	Body       string       `json:"body"`
	Draft      bool         `json:"draft"`
	Prerelease bool         `json:"prerelease"`
	Immutable  *bool        `json:"immutable,omitempty"`
	Created    string       `json:"created_at"`
	Published  *string      `json:"published_at"`
	URL        string       `json:"url"`
	HTMLURL    string       `json:"html_url"`
	AssetsURL  string       `json:"assets_url"`
	UploadURL  string       `json:"upload_url"`
	Discussion string       `json:"discussion_url,omitempty"`
	Assets     []shownAsset `json:"assets"`
}

// shownAsset is an asset as the API shows it.
type shownAsset struct {
	ID      int64   `json:"id"`
	Name    string  `json:"name"`
	Label   string  `json:"label"`
	State   string  `json:"state"`
	Kind    string  `json:"content_type"`
	Size    int     `json:"size"`
	Digest  *string `json:"digest"`
	Created string  `json:"created_at"`
	Updated string  `json:"updated_at"`
	URL     string  `json:"url"`
	Browse  string  `json:"browser_download_url"`
}

// Draft adds a draft for a tag, as a person does who writes the notes first, with an asset where there is content.
func (r *Repo) Draft(tag, body string, assets map[string]string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	rel := &release{id: r.hub.id(), tag: tag, target: r.branch, name: tag, body: body, draft: true}
	for _, name := range slices.Sorted(maps.Keys(assets)) {
		rel.assets = append(rel.assets, &asset{id: r.hub.id(), name: name, kind: "application/octet-stream", state: "uploaded", content: []byte(assets[name])})
	}
	r.releases = append(r.releases, rel)
}

// Publish adds a published release of a tag, as an earlier one. It is called the latest unless it is a prerelease.
func (r *Repo) Publish(tag string, prerelease bool) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	rel := &release{id: r.hub.id(), tag: tag, target: r.branch, name: tag, prerelease: prerelease, immutable: r.Immutable}
	r.releases = append(r.releases, rel)
	if !prerelease {
		r.makeLatest(rel)
	}
}

// Release changes the release of a tag by hand: whether it is out, and its assets, of which one without content is
// removed. A draft that is made public by it is called the latest.
func (r *Repo) Release(tag string, draft bool, assets map[string]string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for _, rel := range r.releases {
		if rel.tag != tag {
			continue
		}
		if rel.draft && !draft && !rel.prerelease {
			r.makeLatest(rel)
		}
		rel.draft, rel.immutable = draft, !draft && r.Immutable
		for _, name := range slices.Sorted(maps.Keys(assets)) {
			rel.assets = slices.DeleteFunc(rel.assets, func(a *asset) bool { return a.name == name })
			if assets[name] != "" {
				rel.assets = append(rel.assets, &asset{
					id: r.hub.id(), name: name, kind: "application/octet-stream", state: "uploaded", content: []byte(assets[name]),
				})
			}
		}
	}
}

// Starter leaves in every release of a tag what a broken upload leaves.
func (r *Repo) Starter(tag, name string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for _, rel := range r.releases {
		if rel.tag == tag {
			rel.assets = append(rel.assets, &asset{id: r.hub.id(), name: name, kind: "application/octet-stream", state: "starter"})
		}
	}
}

// Latest is the tag of the release that is called the latest; "" for none.
func (r *Repo) Latest() string {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for _, rel := range r.releases {
		if rel.latest {
			return rel.tag
		}
	}
	return ""
}

// Asset is the content of an asset of the release of a tag, and whether the release is out.
func (r *Repo) Asset(tag, name string) (content []byte, public bool) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for _, rel := range r.releases {
		for _, a := range rel.assets {
			if rel.tag == tag && a.name == name {
				return bytes.Clone(a.content), !rel.draft
			}
		}
	}
	return nil, false
}

func (r *Repo) makeLatest(rel *release) {
	for _, other := range r.releases {
		other.latest = other == rel
	}
}

// state is what State tells of a release.
func (rel *release) state(r *Repo) []string {
	at := fmt.Sprintf("%s release %s", r.name, rel.tag)
	lines := []string{fmt.Sprintf("%s target=%s name=%q draft=%v prerelease=%v latest=%v immutable=%v discussion=%q body=%x",
		at, rel.target, rel.name, rel.draft, rel.prerelease, rel.latest, rel.immutable, rel.discussion, sha256.Sum256([]byte(rel.body)))}
	for _, a := range rel.assets {
		lines = append(lines, fmt.Sprintf("%s asset %s %q %s %s %d %s", at, a.name, a.label, a.kind, a.state, len(a.content), sum(a.content)))
	}
	return lines
}

// folder is the name that a release has in URLs of the site: its tag, once it is out.
func (rel *release) folder() string {
	if rel.draft {
		return fmt.Sprintf("untagged-%x", sha256.Sum256([]byte(strconv.FormatInt(rel.id, 10))))[:29]
	}
	return rel.tag
}

// show is a release as it is seen.
func (q request) show(rel *release) shownRelease {
	url := fmt.Sprintf("%s/releases/%d", q.api(), rel.id)
	out := shownRelease{
		ID: rel.id, Tag: rel.tag, Target: rel.target, Name: rel.name, Body: rel.body, Draft: rel.draft, Prerelease: rel.prerelease, Created: instant,
		URL: url, AssetsURL: url + "/assets", HTMLURL: q.site() + "/releases/tag/" + rel.folder(), Assets: []shownAsset{},
		UploadURL: fmt.Sprintf("%s/repos/%s/releases/%d/assets{?name,label}", q.base(q.hub.hosts.Uploads), q.repo.name, rel.id),
	}
	if !q.repo.NoImmutable {
		out.Immutable = &rel.immutable
	}
	if !rel.draft {
		at := instant
		out.Published = &at
	}
	if rel.discussion != "" {
		out.Discussion = q.site() + "/discussions/1"
	}
	for _, a := range rel.assets {
		out.Assets = append(out.Assets, q.showAsset(rel, a))
	}
	return out
}

func (q request) showAsset(rel *release, a *asset) shownAsset {
	out := shownAsset{
		ID: a.id, Name: a.name, Label: a.label, State: a.state, Kind: a.kind, Size: len(a.content), Created: instant, Updated: instant,
		URL:    fmt.Sprintf("%s/releases/assets/%d", q.api(), a.id),
		Browse: fmt.Sprintf("%s/releases/download/%s/%s", q.site(), rel.folder(), a.name),
	}
	if a.state == "uploaded" && !q.repo.NoDigests {
		digest := sum(a.content)
		out.Digest = &digest
	}
	return out
}

// serveReleases serves releases and their assets (https://docs.github.com/rest/releases).
func (h *Hub) serveReleases(q request, rest string) {
	first, below, _ := strings.Cut(rest, "/")
	get := q.Method == http.MethodGet || q.Method == http.MethodHead
	switch {
	case rest == "" && get:
		h.list(q)
	case rest == "" && q.Method == http.MethodPost:
		h.create(q)
	case first == "tags" && get:
		q.found(func(r *release) bool { return r.tag == below && !r.draft }) // drafts are in the list alone
	case rest == "latest" && get:
		h.latest(q)
	case first == "assets":
		h.serveAsset(q, below)
	default:
		i := slices.IndexFunc(q.repo.releases, func(r *release) bool { return strconv.FormatInt(r.id, 10) == first && (!r.draft || q.may()) })
		if i < 0 {
			q.notFound()
			return
		}
		h.serveRelease(q, q.repo.releases[i], below)
	}
}

// serveRelease serves one release.
func (h *Hub) serveRelease(q request, rel *release, below string) {
	switch below + " " + q.Method {
	case " GET", " HEAD":
		q.say(http.StatusOK, q.show(rel))
	case " PATCH":
		h.edit(q, rel)
	case " DELETE":
		q.repo.releases = slices.DeleteFunc(q.repo.releases, func(r *release) bool { return r == rel })
		q.say(http.StatusNoContent, nil)
	case "assets GET":
		all := q.show(rel).Assets
		from, to := q.page(len(all))
		q.say(http.StatusOK, all[from:to])
	case "assets POST":
		h.upload(q, rel)
	default:
		q.notFound()
	}
}

// latest tells of the release that is called the latest, else of the newest that may be
// (https://docs.github.com/rest/releases/releases#get-the-latest-release).
func (h *Hub) latest(q request) {
	if slices.ContainsFunc(q.repo.releases, func(r *release) bool { return r.latest }) {
		q.found(func(r *release) bool { return r.latest })
		return
	}
	q.found(func(r *release) bool { return !r.draft && !r.prerelease })
}

// found answers with the newest release for which f is true.
func (q request) found(f func(*release) bool) {
	for _, rel := range slices.Backward(q.repo.releases) {
		if f(rel) {
			q.say(http.StatusOK, q.show(rel))
			return
		}
	}
	q.notFound()
}

// list lists releases, newest first. Drafts are for those who may write
// (https://docs.github.com/rest/releases/releases#list-releases).
func (h *Hub) list(q request) {
	all := []shownRelease{}
	for _, r := range slices.Backward(q.repo.releases) {
		if !r.draft || q.may() {
			all = append(all, q.show(r))
		}
	}
	from, to := q.page(len(all))
	q.say(http.StatusOK, all[from:to])
}

// change is what a release is made of or changed to. What is absent stays
// (https://docs.github.com/rest/releases/releases#create-a-release).
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

func set[T any](to, from *T) {
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
		q.invalid(problem{Resource: "Release", Field: "tag_name", Code: "missing_field"})
		return
	}
	rel := &release{target: q.repo.branch}
	if h.apply(q, rel, c) {
		rel.id = h.id()
		q.repo.releases = append(q.repo.releases, rel)
		q.say(http.StatusCreated, q.show(rel))
	}
}

func (h *Hub) edit(q request, rel *release) {
	var c change
	if q.decode(&c) && h.apply(q, rel, c) {
		q.say(http.StatusOK, q.show(rel))
	}
}

// apply makes or changes a release; it tells whether that is allowed, and has answered where it is not.
func (h *Hub) apply(q request, rel *release, c change) bool {
	next, fresh := *rel, rel.id == 0
	set(&next.tag, c.Tag)
	set(&next.target, c.Target)
	set(&next.name, c.Name)
	set(&next.body, c.Body)
	set(&next.draft, c.Draft)
	set(&next.prerelease, c.Prerelease)
	mark := cmp.Or(deref(c.Latest), "true")
	publishes := !next.draft && (fresh || rel.draft)
	switch {
	case !slices.Contains([]string{"true", "false", "legacy"}, mark), mark == "true" && c.Latest != nil && !next.draft && next.prerelease:
		q.invalid(problem{Resource: "Release", Field: "make_latest", Code: "invalid"})
	case utf8.RuneCountInString(next.body) > maxBody:
		q.invalid(problem{
			Resource: "Release", Field: "body", Code: "custom", Message: fmt.Sprintf("body is too long (maximum is %d characters)", maxBody),
		})
	case rel.immutable && (next.tag != rel.tag || next.draft || next.target != rel.target):
		q.refuse(http.StatusUnprocessableEntity, "Cannot modify the tag of an immutable release.")
	case next.tag != rel.tag && q.repo.burned[next.tag]:
		q.invalid(problem{Resource: "Release", Field: "tag_name", Code: "custom", Message: "tag_name was used by an immutable release"})
	case !next.draft && slices.ContainsFunc(q.repo.releases, func(o *release) bool { return o != rel && !o.draft && o.tag == next.tag }):
		q.invalid(problem{Resource: "Release", Field: "tag_name", Code: "already_exists"})
	case publishes && !q.repo.tagged(next.tag, next.target):
		q.invalid(problem{Resource: "Release", Code: "custom", Message: "Published releases must have a valid tag"})
	case !next.draft && deref(c.Discussion) != "" && !slices.Contains(q.repo.Discussions, *c.Discussion):
		q.refuse(http.StatusNotFound, "Discussion category not found")
	default:
		if publishes {
			next.immutable = q.repo.Immutable
			q.repo.burned[next.tag] = q.repo.burned[next.tag] || next.immutable
		}
		if !next.draft {
			next.discussion = cmp.Or(next.discussion, deref(c.Discussion))
		}
		*rel = next
		if rel.draft || rel.prerelease {
			rel.latest = false
		} else if c.Latest != nil && mark == "true" || publishes && mark != "false" {
			q.repo.makeLatest(rel)
		}
		return true
	}
	return false
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// tagged tells whether a tag is there, after making it where its target is.
func (r *Repo) tagged(tag, target string) bool {
	ref := "refs/tags/" + tag
	if r.refs[ref] != "" {
		return true
	}
	id := cmp.Or(r.refs["refs/heads/"+target], target)
	if _, ok := r.git.commits[id]; !ok {
		return false
	}
	r.refs[ref] = id
	return true
}

// renamed are the characters that GitHub takes out of the names of assets
// (https://docs.github.com/rest/releases/assets#upload-a-release-asset, which does not list them;
// https://github.com/github/rest-api-description/issues/2968 and
// https://github.com/softprops/action-gh-release/issues/159 do).
var renamed = regexp.MustCompile(`[^A-Za-z0-9._+-]+`)

// upload takes an asset (https://docs.github.com/rest/releases/assets#upload-a-release-asset).
func (h *Hub) upload(q request, rel *release) {
	name := strings.Trim(renamed.ReplaceAllString(q.URL.Query().Get("name"), "."), ".")
	switch {
	case h.hosts.Uploads != "" && h.hosts.Uploads != h.hosts.API && !strings.HasPrefix(h.hosts.Uploads, "http://"+q.Host):
		q.notFound() // the API takes no bytes
		return
	case name == "":
		q.invalid(problem{Resource: "ReleaseAsset", Field: "name", Code: "missing_field"})
		return
	case rel.immutable:
		q.refuse(http.StatusUnprocessableEntity, "Cannot upload assets to an immutable release.")
		return
	case slices.ContainsFunc(rel.assets, func(a *asset) bool { return a.name == name }):
		q.invalid(problem{Resource: "ReleaseAsset", Field: "name", Code: "already_exists"})
		return
	case len(rel.assets) >= maxAssets:
		q.invalid(problem{Resource: "ReleaseAsset", Code: "custom", Message: fmt.Sprintf("a release has at most %d assets", maxAssets)})
		return
	case q.ContentLength < 0:
		q.refuse(http.StatusLengthRequired, "Bad Content-Length")
		return
	case q.ContentLength >= maxAsset:
		q.invalid(problem{Resource: "ReleaseAsset", Field: "size", Code: "custom", Message: "size must be less than 2147483648"})
		return
	case q.ContentLength == 0:
		q.invalid(problem{Resource: "ReleaseAsset", Field: "size", Code: "custom", Message: "size must be greater than or equal to 1"})
		return
	case q.Header.Get("Content-Type") == "":
		q.refuse(http.StatusUnprocessableEntity, "Content-Type is missing")
		return
	}
	a := &asset{id: h.id(), name: name, label: q.URL.Query().Get("label"), kind: q.Header.Get("Content-Type"), state: "starter"}
	rel.assets = append(rel.assets, a)
	// Others go on while the bytes arrive.
	h.mu.Unlock()
	b, err := io.ReadAll(io.LimitReader(q.Body, maxAsset))
	h.mu.Lock()
	if err != nil || int64(len(b)) != q.ContentLength || q.repo.Break > 0 {
		q.repo.Break = max(q.repo.Break-1, 0)
		q.refuse(http.StatusBadGateway, "Server Error")
		return
	}
	a.state, a.content = "uploaded", b
	q.say(http.StatusCreated, q.showAsset(rel, a))
}

// serveAsset serves an asset by its number (https://docs.github.com/rest/releases/assets).
func (h *Hub) serveAsset(q request, id string) {
	rel, i := h.find(id)
	if rel == nil || rel.draft && !q.may() || !slices.Contains(q.repo.releases, rel) {
		q.notFound()
		return
	}
	a := rel.assets[i]
	get := q.Method == http.MethodGet || q.Method == http.MethodHead
	switch {
	case q.Method == http.MethodDelete && rel.immutable:
		q.refuse(http.StatusUnprocessableEntity, "Cannot delete asset from an immutable release.")
	case q.Method == http.MethodDelete:
		rel.assets = slices.Delete(rel.assets, i, i+1)
		q.say(http.StatusNoContent, nil)
	case !get:
		q.notFound()
	case q.Header.Get("Accept") != "application/octet-stream":
		q.say(http.StatusOK, q.showAsset(rel, a))
	case a.state != "uploaded":
		q.notFound()
	default:
		// The bytes are on another host, which no token is for.
		storage := h.hosts.Storage
		if storage == "" {
			storage = "http://localhost" + q.Host[max(strings.LastIndexByte(q.Host, ':'), 0):]
		}
		http.Redirect(q.w, q.Request, storage+"/storage/"+id, http.StatusFound)
	}
}

// find is the asset with the number: its release, and its place there.
func (h *Hub) find(id string) (*release, int) {
	for _, r := range h.repos {
		for _, rel := range r.releases {
			for i, a := range rel.assets {
				if strconv.FormatInt(a.id, 10) == id {
					return rel, i
				}
			}
		}
	}
	return nil, 0
}

var downloadPath = regexp.MustCompile(`^/([^/]+/[^/]+)/releases/download/(.+)/([^/]+)$`)

// bytes serves the bytes of assets: the storage to those who were led there, the site to everybody, once they are out.
// A token is one too many at either.
func (h *Hub) bytes(q request, shown bool) {
	var content []byte
	found := false
	if id, ok := strings.CutPrefix(q.URL.Path, "/storage/"); ok {
		if rel, i := h.find(id); rel != nil {
			content, found = rel.assets[i].content, rel.assets[i].state == "uploaded"
		}
		if shown {
			h.leaks = append(h.leaks, q.Method+" "+q.URL.Path)
			q.refuse(http.StatusBadRequest, "Only one auth mechanism allowed")
			return
		}
	} else {
		m := downloadPath.FindStringSubmatch(q.URL.Path)
		r := h.repos[strings.ToLower(m[1])]
		if shown && h.hosts.Site != "" && h.hosts.Site != h.hosts.API {
			h.leaks = append(h.leaks, q.Method+" "+q.URL.Path)
		}
		if r != nil && !r.Private {
			for _, rel := range r.releases {
				for _, a := range rel.assets {
					if rel.tag == m[2] && !rel.draft && a.name == m[3] && a.state == "uploaded" {
						content, found = a.content, true
					}
				}
			}
		}
	}
	if !found {
		http.NotFound(q.w, q.Request)
		return
	}
	q.w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	// Others go on while the bytes leave.
	h.mu.Unlock()
	defer h.mu.Lock()
	_, _ = q.w.Write(content)
}
