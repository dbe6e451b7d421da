// Package registrytest is an OCI registry in process for tests: that of go-containerregistry, with what it leaves out and
// real ones insist on. Blobs belong to repositories and are mounted between them, a manifest is refused before what it
// names is there, lists of tags come in pages, and tokens are asked for.
package registrytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Options say what kind of registry it is. The zero value is open to everybody and keeps no lists of referrers.
type Options struct {
	// Referrers has the registry keep lists of what is attached to something
	// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers).
	Referrers bool
	// User and Password are asked for, in exchange for a token, by whoever wants to write, and by everybody where Private.
	User, Password string
	Private        bool
	// Page is how many tags a page of a list has; 0 is 100, as at GitHub.
	Page int
	// NoMount refuses to mount blobs, as some registries do.
	NoMount bool
}

// Registry is a registry. It may be used concurrently.
type Registry struct {
	o     Options
	inner http.Handler

	mu      sync.Mutex
	blobs   map[string]map[string][]byte // by repository and digest
	docs    map[string]map[string][]byte // manifests, likewise
	tags    map[string]map[string]string // digests by repository and tag
	tokens  int
	expired bool // no token is good any more
}

// New returns an empty registry.
func New(o Options) *Registry {
	if o.Page == 0 {
		o.Page = 100
	}
	r := &Registry{o: o, blobs: map[string]map[string][]byte{}, docs: map[string]map[string][]byte{}, tags: map[string]map[string]string{}}
	r.inner = registry.New(registry.WithBlobHandler(r), registry.WithReferrersSupport(o.Referrers), registry.Logger(log.New(io.Discard, "", 0)))
	return r
}

// Get returns a blob of a repository, for the registry within.
func (r *Registry) Get(_ context.Context, repo string, h v1.Hash) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.blobs[repo][h.String()]
	if !ok {
		return nil, registry.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Stat returns the size of a blob, for the registry within.
func (r *Registry) Stat(_ context.Context, repo string, h v1.Hash) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.blobs[repo][h.String()]
	if !ok {
		return 0, registry.ErrNotFound
	}
	return int64(len(b)), nil
}

// Put keeps a blob, for the registry within, which has compared its digest.
func (r *Registry) Put(_ context.Context, repo string, h v1.Hash, rc io.ReadCloser) error {
	b, err := io.ReadAll(rc)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(strings.TrimSuffix(repo, "/blobs"), h.String(), b) // of an upload, the registry within takes it for part of the name
	return nil
}

func (r *Registry) add(repo, digest string, b []byte) {
	if r.blobs[repo] == nil {
		r.blobs[repo] = map[string][]byte{}
	}
	r.blobs[repo][digest] = b
}

// Drop loses a blob, as a registry does that collects what it takes for garbage.
func (r *Registry) Drop(repo, digest string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.blobs[repo], digest)
}

// Expire makes every token a bad one from now on.
func (r *Registry) Expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expired = true
}

// Tag is the digest that a tag stands for; "" for none.
func (r *Registry) Tag(repo, tag string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tags[repo][tag]
}

// State is all that the registry has, a line each, sorted.
func (r *Registry) State() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for repo, blobs := range r.blobs {
		for d, b := range blobs {
			lines = append(lines, fmt.Sprintf("%s blob %s %d", repo, d, len(b)))
		}
	}
	for repo, docs := range r.docs {
		for d := range docs {
			lines = append(lines, fmt.Sprintf("%s manifest %s", repo, d))
		}
	}
	for repo, tags := range r.tags {
		for t, d := range tags {
			lines = append(lines, fmt.Sprintf("%s tag %s %s", repo, t, d))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
}

func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/token" {
		r.token(w, req)
		return
	}
	if !r.allowed(req) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="registrytest"`, req.Host))
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		return
	}
	rest := strings.TrimPrefix(req.URL.Path, "/v2/")
	switch repo, reference, ok := cutLast(rest, "/manifests/"); {
	case ok && req.Method == http.MethodPut:
		r.putManifest(w, req, repo, reference)
		return
	case ok && req.Method == http.MethodDelete:
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "nothing is deleted here")
		return
	}
	if repo, ok := strings.CutSuffix(rest, "/blobs/uploads/"); ok && req.Method == http.MethodPost && req.URL.Query().Get("mount") != "" {
		if r.mount(repo, req.URL.Query().Get("from"), req.URL.Query().Get("mount")) {
			w.Header().Set("Location", "/v2/"+repo+"/blobs/"+req.URL.Query().Get("mount"))
			w.WriteHeader(http.StatusCreated)
			return
		}
	}
	if repo, ok := strings.CutSuffix(rest, "/tags/list"); ok {
		r.list(w, req, repo)
		return
	}
	r.inner.ServeHTTP(w, req)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (r *Registry) token(w http.ResponseWriter, req *http.Request) {
	user, password, ok := req.BasicAuth()
	who := "reader"
	switch {
	case ok && user == r.o.User && password == r.o.Password:
		who = "writer"
	case ok || r.o.Private:
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "user or password is wrong")
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens++
	_ = json.NewEncoder(w).Encode(map[string]string{"token": fmt.Sprintf("%s-%d", who, r.tokens)})
}

func (r *Registry) allowed(req *http.Request) bool {
	if r.o.User == "" {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.expired {
		return false
	}
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead
	return strings.HasPrefix(token, "writer-") || strings.HasPrefix(token, "reader-") && reads && !r.o.Private
}

// putManifest takes a manifest whose blobs and manifests the repository has
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests).
func (r *Registry) putManifest(w http.ResponseWriter, req *http.Request, repo, reference string) {
	b, err := io.ReadAll(io.LimitReader(req.Body, 4<<20))
	if err != nil {
		refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", err.Error())
		return
	}
	var m struct {
		Config    *struct{ Digest string }
		Layers    []struct{ Digest string }
		Manifests []struct{ Digest string }
	}
	if err := json.Unmarshal(b, &m); err != nil {
		refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", err.Error())
		return
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	fallback := strings.HasPrefix(reference, "sha256-") // a list of what is attached may outlive what it lists
	if missing := r.missing(repo, m.Layers, m.Manifests); missing != "" && !fallback {
		refuse(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", missing+" is unknown to "+repo)
		return
	}
	h, _, err := v1.SHA256(bytes.NewReader(b))
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	if strings.HasPrefix(reference, "sha256:") && reference != h.String() {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "the manifest is "+h.String())
		return
	}
	again := req.Clone(req.Context())
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	rec := httptest.NewRecorder()
	r.inner.ServeHTTP(rec, again)
	if rec.Code == http.StatusCreated {
		r.mu.Lock()
		if r.docs[repo] == nil {
			r.docs[repo], r.tags[repo] = map[string][]byte{}, map[string]string{}
		}
		r.docs[repo][h.String()] = b
		if reference != h.String() {
			r.tags[repo][reference] = h.String()
		}
		r.mu.Unlock()
	}
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

func (r *Registry) missing(repo string, blobs, docs []struct{ Digest string }) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range blobs {
		if _, ok := r.blobs[repo][b.Digest]; !ok {
			return b.Digest
		}
	}
	for _, d := range docs {
		if _, ok := r.docs[repo][d.Digest]; !ok {
			return d.Digest
		}
	}
	return ""
}

func (r *Registry) mount(repo, from, digest string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.blobs[from][digest]
	if !ok || r.o.NoMount {
		return false
	}
	r.add(repo, digest, b)
	return true
}

// list lists tags in pages (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags).
func (r *Registry) list(w http.ResponseWriter, req *http.Request, repo string) {
	r.mu.Lock()
	names, known := slices.Sorted(maps.Keys(r.tags[repo])), r.tags[repo] != nil
	r.mu.Unlock()
	if !known {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", repo+" is unknown")
		return
	}
	page := r.o.Page
	if n, err := strconv.Atoi(req.URL.Query().Get("n")); err == nil {
		page = min(page, n)
	}
	last := req.URL.Query().Get("last")
	names = slices.DeleteFunc(names, func(n string) bool { return n <= last })
	if len(names) > page {
		names = names[:page]
		w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?n=%d&last=%s>; rel="next"`, repo, page, names[page-1]))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"name": repo, "tags": names})
}
