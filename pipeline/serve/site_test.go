package serve_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// team has a release store and a folder of releases.
type team struct {
	t      testing.TB
	remote string
	root   string
	store  *store.Store // to write with
	key    sign.Key
	apk    signature.Signer // of repositories of apk, nil for none
	mu     sync.Mutex
	now    time.Time

	whole     bool   // releases have packages and recipes
	elsewhere string // folder of the release that was added last and is not in root
}

// git as a person runs it.
var environ, git = gittest.Environ, gittest.Git

func newTeam(t testing.TB) *team {
	t.Helper()
	return newTeamOf(t, "hello", "world")
}

func newTeamOf(t testing.TB, components ...string) *team {
	t.Helper()
	tm := &team{t: t, root: t.TempDir(), remote: filepath.Join(t.TempDir(), "store.git"), now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)}
	git(t, ".", "init", "--quiet", "--bare", "--template=", tm.remote)
	var err error
	tm.key, err = sign.Generate(sign.Ed25519)
	must(t, err)
	tm.store = tm.open()
	rules := strings.Replace(string(environment.Default), "enter: pull-request", "enter: commit", 1) + "\ncomponents:\n"
	for _, name := range components {
		rules += "  " + name + ": {key: keys/lead.pub}\n"
	}
	must(t, tm.store.Init(t.Context(), []byte(rules), map[string][]byte{"lead.pub": tm.key.Public().PEM()}))
	return tm
}

func (tm *team) clock() time.Time {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	tm.now = tm.now.Add(time.Second)
	return tm.now
}

func (tm *team) open() *store.Store {
	tm.t.Helper()
	s, err := store.Open(store.Options{Remote: tm.remote, Environ: environ(tm.t), Dir: tm.t.TempDir(), Now: tm.clock})
	must(tm.t, err)
	return s
}

// ask asks for something that is allowed.
func (tm *team) ask(kind environment.Kind, component, v, to string, more ...environment.Entry) {
	tm.t.Helper()
	q := environment.Request{Kind: kind, To: to, Why: "because of <" + string(kind) + ">", Items: []environment.Item{{Component: component, Version: v}}, Entries: more}
	r, err := tm.store.Ask(tm.t.Context(), q, nil)
	if err != nil || r.Refused() || r.Line == 0 {
		tm.t.Fatalf("%s %s %s: %+v, %v", kind, component, v, r.Outcomes, err)
	}
}

// add has a release enter a stage; its bytes come into the folder where that is said.
func (tm *team) add(name, v, to string, here bool) manifest.Release {
	tm.t.Helper()
	dir := filepath.Join(tm.t.TempDir(), v)
	if here {
		dir = filepath.Join(tm.root, name, v)
	} else {
		tm.elsewhere = dir
	}
	make := write
	if tm.whole {
		make = func(t testing.TB, dir string, o verifytest.Options) manifest.Release {
			r, err := verifytest.Write(dir, o)
			must(t, err)
			return r
		}
	}
	r := make(tm.t, dir, verifytest.Options{Name: name, Version: v})
	b, err := os.ReadFile(filepath.Join(dir, manifest.FileName))
	must(tm.t, err)
	e := environment.Entry{
		Component: name, Version: v, Commit: r.Commit, Manifest: artifact.Sum(b), Signed: environment.Identity{Key: string(tm.key.Public().Fingerprint())},
		Places: []string{"https://releases.example.com/releases/" + name + "/" + v + "/files/"},
	}
	for _, im := range r.Images {
		e.Images = append(e.Images, environment.Image{Repository: im.Repository, Distro: im.Distro, Default: true, Digest: im.Digest})
	}
	for _, c := range r.Charts {
		e.Charts = append(e.Charts, environment.Chart{Repository: c.Repository, Name: c.Name, Version: c.Version, Digest: c.Digest})
	}
	tm.ask(environment.Add, name, v, to, e)
	return r
}

// serving is a server of the store and the folder that has read both.
func (tm *team) serving(o serve.Options) (*serve.Server, http.Handler) {
	tm.t.Helper()
	o.Root, o.Rescan = tm.root, time.Millisecond
	if o.Store == nil {
		o.Store = tm.open()
	}
	s := serve.New(o)
	s.Look(tm.t.Context())
	h := s.Handler()
	eventually(tm.t, "the first scan", func() bool { return get(h, "/readyz").Code == http.StatusOK })
	return s, h
}

// answer is what is got with status 200, as JSON.
func answer[T any](t testing.TB, h http.Handler, target string) (v T) {
	t.Helper()
	w := get(h, target)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", target, w.Code, w.Body)
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &v))
	return v
}

type helmIndex struct {
	Entries map[string][]struct {
		Version, Digest, APIVersion string
		URLs                        []string
	}
}

// three is a team with a version in each environment, of which the one in staging is elsewhere, and an older one in production.
func three(t testing.TB) *team {
	t.Helper()
	tm := newTeam(t)
	tm.add("hello", "1.0.0", "production", true)
	tm.add("hello", "1.1.0", "production", true)
	tm.add("hello", "1.2.0-rc.1", "staging", false)
	tm.add("hello", "1.3.0-dev.1+abc", "snapshot", true)
	return tm
}

func versions(i helmIndex) string {
	var all []string
	for _, e := range i.Entries["hello"] {
		all = append(all, e.Version)
	}
	return strings.Join(all, " ")
}

func TestEnvironmentCharts(t *testing.T) {
	tm := three(t)
	s, h := tm.serving(serve.Options{})
	for env, want := range map[string]string{
		"production": "1.1.0 1.0.0",
		"staging":    "1.2.0-rc.1 1.1.0 1.0.0",
		"snapshot":   "1.3.0-dev.1+abc 1.2.0-rc.1 1.1.0 1.0.0",
	} {
		if got := versions(answer[helmIndex](t, h, "/environments/"+env+"/charts/index.yaml")); got != want {
			t.Errorf("%s has %s, want %s", env, got, want)
		}
	}
	// What was withdrawn is not offered, what was rolled back to is the first.
	tm.ask(environment.Withdraw, "hello", "1.2.0-rc.1", "")
	tm.ask(environment.Rollback, "hello", "1.0.0", "production")
	s.Look(t.Context())
	if got := versions(answer[helmIndex](t, h, "/environments/production/charts/index.yaml")); got != "1.0.0 1.1.0" {
		t.Error(got)
	}
	i := answer[helmIndex](t, h, "/environments/snapshot/charts/index.yaml")
	if got := versions(i); got != "1.3.0-dev.1+abc 1.1.0 1.0.0" {
		t.Error(got)
	}
	// The URLs are those of the bytes.
	for _, e := range i.Entries["hello"] {
		w := get(h, "/environments/snapshot/charts/"+e.URLs[0])
		if w.Code != http.StatusBadRequest { // which is why clients resolve it
			t.Errorf("%s: %d", e.URLs[0], w.Code)
		}
		w = get(h, "/environments/snapshot/"+strings.TrimPrefix(e.URLs[0], "../"))
		if w.Code != http.StatusOK || artifact.Sum(w.Body.Bytes()).Hex() != e.Digest || e.APIVersion != "v2" {
			t.Errorf("%+v: %d", e, w.Code)
		}
	}
	if w := get(h, "/environments/elsewhere/charts/index.yaml"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "there is snapshot, staging, production") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestEnvironmentOfAChartElsewhere(t *testing.T) {
	tm := newTeam(t)
	tm.add("hello", "1.0.0", "production", false)
	_, h := tm.serving(serve.Options{})
	i := answer[helmIndex](t, h, "/environments/production/charts/index.yaml")
	if e := i.Entries["hello"]; len(e) != 1 || !slices.Equal(e[0].URLs, []string{"oci://ghcr.io/example/charts/hello:1.0.0"}) || e[0].APIVersion != "v2" {
		t.Errorf("%+v", e)
	}
}

func TestEnvironmentDownloads(t *testing.T) {
	tm := three(t)
	tm.add("world", "1.0.0", "snapshot", true)
	// Other bytes in the folder than those of the entry are not this version.
	must(t, os.RemoveAll(filepath.Join(tm.root, "world")))
	write(t, filepath.Join(tm.root, "world", "1.0.0"), verifytest.Options{Name: "world", Version: "1.0.0", Commit: strings.Repeat("c", 40)})
	_, h := tm.serving(serve.Options{})
	const elsewhere = "https://releases.example.com/releases/"
	for target, want := range map[string]string{
		"/environments/production/releases/hello/current/":                          "../1.1.0/",
		"/environments/production/releases/hello/current":                           "1.1.0/",
		"/environments/production/releases/hello/current/files/release.json":        "../../1.1.0/files/release.json",
		"/environments/snapshot/releases/hello/current/release.json":                "../1.3.0-dev.1+abc/release.json",
		"/environments/production/releases/hello/1.1.0":                             "1.1.0/",
		"/environments/staging/releases/hello/1.2.0-rc.1/files/release.json":        elsewhere + "hello/1.2.0-rc.1/files/release.json",
		"/environments/staging/releases/hello/1.2.0-rc.1/archives/a%20b":            elsewhere + "hello/1.2.0-rc.1/files/archives/a%20b",
		"/environments/staging/releases/hello/1.2.0-rc.1/download/x":                elsewhere + "hello/1.2.0-rc.1/download/x",
		"/environments/staging/releases/hello/1.2.0-rc.1/":                          elsewhere + "hello/1.2.0-rc.1/",
		"/environments/snapshot/releases/world/1.0.0/files/release.json":            elsewhere + "world/1.0.0/files/release.json",
		"/environments/snapshot/releases/hello/1.3.0-dev.1+abc/charts/x":            "404",
		"/environments/production/releases/hello/1.1.0/files/release.json":          "200",
		"/environments/production/releases/hello/1.1.0/release.json":                "200",
		"/environments/production/releases/hello/1.1.0/download/release.json":       "200",
		"/environments/production/releases/hello/1.1.0/":                            "200",
		"/environments/production/releases/hello/1.2.0-rc.1/files/release.json":     "404",
		"/environments/production/releases/world/current/":                          "404",
		"/environments/production/releases/hello/":                                  "404",
		"/environments/production/releases/hello/1.1.0/files/../../1.0.0":           "400",
		"/environments/production/releases/hello/1.1.0/download/signatures%2findex": "400",
		"/environments/production/elsewhere":                                        "404",
		"/environments/production":                                                  "404",
		"/environments/":                                                            "404",
	} {
		w := get(h, target)
		got := fmt.Sprint(w.Code)
		if w.Code == http.StatusTemporaryRedirect {
			got = w.Header().Get("Location")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

func TestEnvironmentAtAHost(t *testing.T) {
	tm := three(t)
	_, h := tm.serving(serve.Options{Hostnames: map[string]string{"production.example.com": "production"}})
	at := func(host, target string) *httptest.ResponseRecorder {
		r := newRequest(target)
		r.Host = host
		return record(h, r)
	}
	for _, host := range []string{"production.example.com", "PRODUCTION.example.com:8080", "production.example.com."} {
		for _, target := range []string{"/charts/index.yaml", "/releases/hello/1.1.0/release.json", "/", "/v2/example/hello/tags/list", "/api/v1/environments", "/timeline", "/healthz"} {
			if w := at(host, target); w.Code != http.StatusOK {
				t.Errorf("%s%s: %d", host, target, w.Code)
			}
		}
		if w := at(host, "/releases/hello/1.2.0-rc.1/release.json"); w.Code != http.StatusNotFound {
			t.Errorf("%s has what is in staging: %d", host, w.Code)
		}
	}
	if w := at("other.example.com", "/v2/example/hello/tags/list"); w.Code != http.StatusNotFound {
		t.Error(w.Code)
	}
	if got := versions(answer[helmIndex](t, h, "/environments/staging/charts/index.yaml")); !strings.HasPrefix(got, "1.2.0-rc.1") {
		t.Error(got)
	}
}

func TestEnvironmentsNeedTheirStore(t *testing.T) {
	tm := three(t)
	s, h := tm.serving(serve.Options{})
	must(t, os.Rename(tm.remote, tm.remote+".gone"))
	s.Look(t.Context())
	if w := get(h, "/readyz"); w.Code != http.StatusOK {
		t.Errorf("not ready without the store: %s", w.Body)
	}
	if got := versions(answer[helmIndex](t, h, "/environments/production/charts/index.yaml")); got != "1.1.0 1.0.0" {
		t.Error(got)
	}
	since := answer[struct{ UnreachableSince string }](t, h, "/api/v1/environments").UnreachableSince
	if since == "" || !strings.Contains(get(h, "/").Body.String(), since) {
		t.Errorf("the page does not say that the store is gone since %q", since)
	}
	if m := get(h, "/metrics").Body.String(); !strings.Contains(m, `slipway_store_looks_total{result="error"} 1`) {
		t.Error(m)
	}
	must(t, os.Rename(tm.remote+".gone", tm.remote))
	tm.ask(environment.Promote, "hello", "1.2.0-rc.1", "production")
	s.Look(t.Context())
	if got := versions(answer[helmIndex](t, h, "/environments/production/charts/index.yaml")); got != "1.1.0 1.2.0-rc.1 1.0.0" {
		t.Error(got)
	}
	if since := answer[struct{ UnreachableSince string }](t, h, "/api/v1/environments").UnreachableSince; since != "" {
		t.Error(since)
	}
}

// A server that has never seen its store is not ready, and says nothing as if it had.
func TestEnvironmentsBeforeTheStore(t *testing.T) {
	tm := newTeam(t)
	must(t, os.RemoveAll(tm.remote))
	s := serve.New(serve.Options{Root: tm.root, Store: tm.open()})
	h := s.Handler()
	s.Look(t.Context())
	for _, target := range []string{"/readyz", "/", "/api/v1/environments", "/api/v1/events", "/environments/production/charts/index.yaml", "/v2/production/x/tags/list"} {
		if w := get(h, target); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	if w := get(h, "/healthz"); w.Code != http.StatusOK {
		t.Error(w.Code)
	}
}

// registry is a repository of an environment.
const registry = "/v2/production/example/hello"

func TestEnvironmentRegistry(t *testing.T) {
	tm := three(t)
	tm.add("world", "1.0.0", "production", true)
	_, h := tm.serving(serve.Options{})
	var there, elsewhere manifest.Release
	there, err := manifest.Load(filepath.Join(tm.root, "hello", "1.1.0", manifest.FileName))
	must(t, err)
	index := there.Images[0].Digest
	elsewhere = tm.add("hello", "1.4.0", "snapshot", false)
	_ = elsewhere

	if w := get(h, "/v2/"); w.Code != http.StatusOK || w.Header().Get("Docker-Distribution-Api-Version") != "registry/2.0" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	type list struct {
		Name string
		Tags []string
	}
	tags := answer[list](t, h, registry+"/tags/list")
	if got := strings.Join(tags.Tags, " "); tags.Name != "example/hello" || got != "1 1-alpine 1.0 1.0-alpine 1.0.0 1.0.0-alpine 1.1 1.1-alpine 1.1.0 1.1.0-alpine latest latest-alpine production production-alpine" {
		t.Errorf("%+v", tags)
	}
	w := get(h, registry+"/tags/list?n=2&last=1.0.0")
	if got := w.Body.String(); !strings.Contains(got, `["1.0.0-alpine","1.1"]`) || w.Header().Get("Link") != `<list?last=1.1&n=2>; rel="next"` {
		t.Errorf("%s %v", got, w.Header())
	}
	if got := answer[list](t, h, registry+"/tags/list?n=0"); got.Tags == nil || len(got.Tags) > 0 {
		t.Errorf("%+v", got)
	}
	if got := answer[list](t, h, "/v2/snapshot/ghcr.io/example/charts/hello/tags/list"); !slices.Contains(got.Tags, "1.3.0-dev.1_abc") {
		t.Errorf("%+v", got)
	}

	// A tag, what it leads to, and what that leads to.
	w = get(h, registry+"/manifests/production")
	if w.Code != http.StatusOK || artifact.Sum(w.Body.Bytes()) != index || w.Header().Get("Docker-Content-Digest") != string(index) ||
		w.Header().Get("Content-Type") != "application/vnd.oci.image.index.v1+json" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	var images struct {
		Manifests []struct{ Digest string }
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &images))
	w = get(h, registry+"/manifests/"+images.Manifests[0].Digest)
	var one struct {
		Config, Subject struct{ Digest string }
		Layers          []struct{ Digest string }
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &one))
	if w.Header().Get("Content-Type") != "application/vnd.oci.image.manifest.v1+json" || len(one.Layers) == 0 {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	for _, layer := range one.Layers {
		w := get(h, registry+"/blobs/"+layer.Digest)
		if w.Code != http.StatusOK || string(artifact.Sum(w.Body.Bytes())) != layer.Digest || w.Header().Get("Content-Disposition") != "" {
			t.Errorf("%s: %d %v", layer.Digest, w.Code, w.Header())
		}
		if w := do(h, http.MethodHead, registry+"/blobs/"+layer.Digest); w.Code != http.StatusOK || w.Body.Len() > 0 || w.Header().Get("Content-Length") == "" {
			t.Errorf("%s: %d %v", layer.Digest, w.Code, w.Header())
		}
	}

	none := "sha256:" + strings.Repeat("0", 64)
	type failed struct {
		Errors []struct{ Code string }
	}
	for target, want := range map[string]string{
		registry + "/manifests/" + none:                             "404 MANIFEST_UNKNOWN",
		registry + "/manifests/1.2.0-rc.1":                          "404 MANIFEST_UNKNOWN", // it is in staging
		registry + "/manifests/.x":                                  "404 MANIFEST_UNKNOWN",
		registry + "/manifests/" + one.Layers[0].Digest:             "404 MANIFEST_UNKNOWN", // it is a layer
		registry + "/blobs/" + none:                                 "404 BLOB_UNKNOWN",
		registry + "/blobs/sha512:0":                                "404 DIGEST_INVALID",
		registry + "/referrers/x":                                   "400 DIGEST_INVALID",
		registry + "/uploads/":                                      "404 UNSUPPORTED",
		registry + "/tags/list?n=x":                                 "400 UNSUPPORTED",
		"/v2/production/other/tags/list":                            "404 NAME_UNKNOWN",
		"/v2/elsewhere/example/hello/tags/list":                     "404 NAME_UNKNOWN",
		"/v2/production/Example/hello/tags/list":                    "400 NAME_INVALID",
		"/v2/production/" + strings.Repeat("a", 300) + "/tags/list": "400 NAME_INVALID",
	} {
		w := get(h, target)
		var f failed
		if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || len(f.Errors) != 1 || fmt.Sprint(w.Code, " ", f.Errors[0].Code) != want {
			t.Errorf("%s: %d %s, want %s", target, w.Code, w.Body, want)
		}
		if w := do(h, http.MethodHead, target); fmt.Sprint(w.Code) != want[:3] || w.Body.Len() > 0 {
			t.Errorf("HEAD %s: %d %s", target, w.Code, w.Body)
		}
	}

	// What is not here is where the entry says.
	for target, want := range map[string]string{
		"/v2/staging/example/hello/manifests/1.2.0-rc.1":      "/manifests/sha256:",
		"/v2/staging/example/hello/manifests/" + none:         "/manifests/" + none,
		"/v2/staging/example/hello/blobs/" + none:             "/blobs/" + none,
		"/v2/staging/example/hello/referrers/" + none:         "/referrers/" + none,
		"/v2/staging/ghcr.io/example/hello/manifests/staging": "/manifests/sha256:",
	} {
		w := get(h, target)
		if to := w.Header().Get("Location"); w.Code != http.StatusTemporaryRedirect || !strings.HasPrefix(to, "https://ghcr.io/v2/example/hello"+want) {
			t.Errorf("%s: %d %s", target, w.Code, to)
		}
	}
}

// A digest that one repository has is not had from another one, nor from an environment that does not see it.
func TestEnvironmentRegistryKeepsApart(t *testing.T) {
	tm := newTeam(t)
	tm.add("hello", "1.0.0", "production", true)
	tm.add("world", "1.0.0", "production", true)
	r := tm.add("hello", "2.0.0-rc.1", "snapshot", true)
	_, h := tm.serving(serve.Options{})
	digest := string(r.Images[0].Digest)
	for target, want := range map[string]int{
		"/v2/snapshot/example/hello/manifests/" + digest:   http.StatusOK,
		"/v2/production/example/hello/manifests/" + digest: http.StatusNotFound,
		"/v2/snapshot/example/world/manifests/" + digest:   http.StatusNotFound,
	} {
		if w := get(h, target); w.Code != want {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

func TestEnvironmentReferrers(t *testing.T) {
	tm := newTeam(t)
	r := tm.add("hello", "1.0.0", "production", true)
	_, err := sign.Release(t.Context(), filepath.Join(tm.root, "hello", "1.0.0"), sign.Options{Signer: tm.key})
	must(t, err)
	_, h := tm.serving(serve.Options{})
	type index struct {
		MediaType string
		Manifests []struct{ Digest, ArtifactType, MediaType string }
	}
	of := registry + "/referrers/" + string(r.Images[0].Digest)
	got := answer[index](t, h, of)
	if len(got.Manifests) == 0 || got.MediaType != "application/vnd.oci.image.index.v1+json" {
		t.Fatalf("%+v", got)
	}
	kind := got.Manifests[0].ArtifactType
	if w := get(h, registry+"/manifests/"+got.Manifests[0].Digest); w.Code != http.StatusOK || w.Header().Get("Content-Type") != got.Manifests[0].MediaType || kind == "" {
		t.Errorf("%d %v of %+v", w.Code, w.Header(), got)
	}
	w := get(h, of+"?artifactType="+strings.ReplaceAll(kind, "+", "%2B"))
	if w.Header().Get("Oci-Filters-Applied") != "artifactType" || !strings.Contains(w.Body.String(), kind) {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	if got := answer[index](t, h, of+"?artifactType=other"); len(got.Manifests) > 0 || got.Manifests == nil {
		t.Errorf("%+v", got)
	}
	if got := answer[index](t, h, registry+"/referrers/sha256:"+strings.Repeat("0", 64)); len(got.Manifests) > 0 {
		t.Errorf("%+v", got)
	}
}

type listedReleases struct {
	Log      struct{ Line int }
	Releases []struct {
		Component, Version, In string
		CurrentIn, PinnedIn    []string
	}
	Next string
}

func (l listedReleases) String() string {
	var all []string
	for _, r := range l.Releases {
		all = append(all, strings.TrimSpace(r.Component+" "+r.Version+" "+strings.Join(r.CurrentIn, "+")))
	}
	return strings.Join(all, ", ")
}

func TestAPIReleases(t *testing.T) {
	tm := three(t)
	tm.add("world", "1.0.0", "staging", false)
	tm.ask(environment.Withdraw, "hello", "1.0.0", "")
	tm.ask(environment.Rollback, "hello", "1.1.0", "snapshot")
	_, h := tm.serving(serve.Options{})
	for query, want := range map[string]string{
		"":                                     "hello 1.3.0-dev.1+abc, hello 1.2.0-rc.1 staging, hello 1.1.0 snapshot+production, hello 1.0.0, world 1.0.0 snapshot+staging",
		"?environment=production":              "hello 1.1.0 snapshot+production, hello 1.0.0",
		"?component=world":                     "world 1.0.0 snapshot+staging",
		"?q=rc.1":                              "hello 1.2.0-rc.1 staging",
		"?q=hello+1.0":                         "hello 1.0.0",
		"?state=withdrawn":                     "hello 1.0.0",
		"?state=pinned":                        "hello 1.1.0 snapshot+production",
		"?state=pinned&environment=production": "",
		"?state=current&environment=staging":   "hello 1.2.0-rc.1 staging, world 1.0.0 snapshot+staging",
		"?limit=2&component=hello&state=withdrawn": "hello 1.0.0",
	} {
		if got := answer[listedReleases](t, h, "/api/v1/releases"+query); got.String() != want || got.Next != "" {
			t.Errorf("%s: %s, next %q", query, got, got.Next)
		}
	}
}

// Whatever moves between two pages, what is there all the while is listed once.
func TestAPIPagesNeitherSkipNorRepeat(t *testing.T) {
	fixture.SkipRace(t)
	tm := newTeam(t)
	for i := range 12 {
		tm.add("hello", fmt.Sprintf("1.%d.0-rc.1", i), "snapshot", false)
	}
	s, h := tm.serving(serve.Options{})
	seen := map[string]int{}
	after, begun := "", 0
	for page := 0; ; page++ {
		got := answer[listedReleases](t, h, "/api/v1/releases?limit=3&after="+after)
		if page == 0 {
			begun = got.Log.Line
		}
		for _, r := range got.Releases {
			seen[r.Version]++
		}
		if after = got.Next; after == "" {
			break
		}
		// One that was listed moves, one that is still to come moves, and one comes in before and one behind.
		tm.ask(environment.Promote, "hello", fmt.Sprintf("1.%d.0-rc.1", 11-page), "staging")
		tm.ask(environment.Promote, "hello", fmt.Sprintf("1.%d.0-rc.1", page), "staging")
		tm.add("hello", fmt.Sprintf("2.%d.0", page), "snapshot", false)
		tm.add("hello", fmt.Sprintf("0.%d.0", page), "snapshot", false)
		s.Look(t.Context())
	}
	if begun != 12 {
		t.Error(begun)
	}
	for i := range 12 {
		if v := fmt.Sprintf("1.%d.0-rc.1", i); seen[v] != 1 {
			t.Errorf("%s was listed %d times", v, seen[v])
		}
	}
	for v, n := range seen {
		if n != 1 {
			t.Errorf("%s was listed %d times", v, n)
		}
	}
}

func TestAPIMoves(t *testing.T) {
	tm := three(t)
	s, h := tm.serving(serve.Options{})
	type listed struct {
		Moves []struct {
			Line      int
			Kind, Why string
			Moves     []struct{ Component, Version, From, To string }
		}
		Next string
	}
	first := answer[listed](t, h, "/api/v1/moves?limit=2")
	if len(first.Moves) != 2 || first.Moves[0].Line != 4 || first.Moves[0].Moves[0].Version != "1.3.0-dev.1+abc" || first.Moves[0].Why != "because of <add>" {
		t.Fatalf("%+v", first)
	}
	// A move in between is not in the pages that come.
	tm.ask(environment.Promote, "hello", "1.2.0-rc.1", "production")
	s.Look(t.Context())
	second := answer[listed](t, h, "/api/v1/moves?limit=2&after="+first.Next)
	if len(second.Moves) != 2 || second.Moves[0].Line != 2 || second.Next != "" {
		t.Fatalf("%+v", second)
	}
	if now := answer[listed](t, h, "/api/v1/moves"); len(now.Moves) != 5 || now.Moves[0].Kind != "promote" || now.Moves[0].Moves[0].From != "staging" {
		t.Errorf("%+v", now)
	}
}

func TestAPIWhyAndDiff(t *testing.T) {
	tm := three(t)
	tm.ask(environment.Hold, "hello", "1.2.0-rc.1", "production")
	_, h := tm.serving(serve.Options{})
	type decided struct {
		Allowed, There bool
		Rules          []struct {
			Rule, Detail, Fix string
			OK                bool
		}
	}
	why := answer[decided](t, h, "/api/v1/why?component=hello&version=1.2.0-rc.1&to=production")
	if i := slices.IndexFunc(why.Rules, func(r struct {
		Rule, Detail, Fix string
		OK                bool
	},
	) bool {
		return !r.OK
	}); why.Allowed || i < 0 || why.Rules[i].Rule != "hold" || why.Rules[i].Fix != "slipway hold hello 1.2.0-rc.1 --release --environment production" {
		t.Errorf("%+v", why)
	}
	if why := answer[decided](t, h, "/api/v1/why?component=hello&version=1.2.0-rc.1&to=staging"); !why.There || why.Allowed {
		t.Errorf("%+v", why)
	}
	// Of an environment that is entered by pull request it is what the rules say of the merge, as the command has it.
	tm.ask(environment.Release, "hello", "1.2.0-rc.1", "production")
	work := t.TempDir()
	git(t, work, "clone", "--quiet", "--branch", "main", tm.remote, ".")
	file := filepath.Join(work, environment.RulesFile)
	b, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, bytes.Replace(b, []byte("enter: commit"), []byte("enter: pull-request"), 1), 0o600))
	git(t, work, "commit", "--quiet", "--all", "--message", "x")
	git(t, work, "push", "--quiet")
	_, h = tm.serving(serve.Options{})
	if why := answer[decided](t, h, "/api/v1/why?component=hello&version=1.2.0-rc.1&to=production"); !why.Allowed || why.Rules[len(why.Rules)-1].Rule != "entry" {
		t.Errorf("%+v", why)
	}
	type compared struct {
		Here        bool
		Differences []struct {
			Title string
			Rows  []struct{ Name, Before, After string }
		}
		Same []string
	}
	d := answer[compared](t, h, "/api/v1/diff?component=hello&from=1.0.0&to=1.1.0")
	if !d.Here || len(d.Differences) < 2 || d.Differences[0].Title != "Digests" || !slices.Contains(d.Same, "source") || !slices.Contains(d.Same, "images") {
		t.Errorf("%+v", d)
	}
	if d := answer[compared](t, h, "/api/v1/diff?component=hello&from=1.1.0&to=1.2.0-rc.1"); d.Here || len(d.Differences) != 1 {
		t.Errorf("%+v", d)
	}
}

func TestAPIRefuses(t *testing.T) {
	tm := three(t)
	_, h := tm.serving(serve.Options{})
	other := newTeam(t)
	other.add("hello", "1.0.0", "snapshot", false)
	other.add("hello", "1.1.0", "snapshot", false)
	_, elsewhere := other.serving(serve.Options{})
	foreign := answer[listedReleases](t, elsewhere, "/api/v1/releases?limit=1").Next
	moves := answer[listedReleases](t, h, "/api/v1/moves?limit=1").Next
	for target, want := range map[string]string{
		"releases?limit=0":                                "400 limit is ",
		"releases?limit=201":                              "400 limit is ",
		"releases?limit=01":                               "400 limit is ",
		"releases?limit=1&limit=2":                        "400 limit is there twice",
		"releases?state=any":                              "400 state is ",
		"releases?environment=prod":                       "400 environment: there is no environment",
		"releases?component=helo":                         "400 component: there is no",
		"releases?page=2":                                 "400 there is no parameter",
		"releases?q=" + strings.Repeat("x", 201):          "400 q has more than 200 bytes",
		"releases?q=%ff":                                  "400 q has more than",
		"releases?after=x":                                "400 after is not one",
		"releases?after=" + moves:                         "400 after is of a list of moves",
		"releases?after=" + foreign:                       "400 after is of another store",
		"moves?after=" + foreign:                          "400 after is of a list of releases",
		"moves?component=hello":                           "400 there is no parameter",
		"why?component=hello&version=1.0.0":               "400 to is missing",
		"why?component=hello&version=1.0.0&to=x":          "400 to: there is no environment",
		"why?component=no&version=1.0.0&to=staging":       "404 there is no component",
		"why?component=hello&version=9.0.0&to=production": "404 hello 9.0.0 is in no environment",
		"diff?component=hello&from=1.0.0&to=9.0.0":        "404 hello 9.0.0 is in no environment",
		"diff?component=hello&from=1.0.0":                 "400 to is missing",
		"environments?x=":                                 "400 there is no parameter",
		"nothing":                                         "404 there is nothing here",
	} {
		w := get(h, "/api/v1/"+target)
		var f struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || !strings.HasPrefix(fmt.Sprint(w.Code, " ", f.Error), want) {
			t.Errorf("%s: %d %s, want %s", target, w.Code, w.Body, want)
		}
		if !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", target, w.Header())
		}
	}
	if w := do(h, http.MethodPost, "/api/v1/releases"); w.Code != http.StatusMethodNotAllowed {
		t.Error(w.Code)
	}
}

func TestAPIETag(t *testing.T) {
	tm := three(t)
	s, h := tm.serving(serve.Options{})
	for _, target := range []string{"/api/v1/environments", "/api/v1/releases?limit=1", "/api/v1/moves", "/environments/staging/charts/index.yaml"} {
		tag := get(h, target).Header().Get("Etag")
		if w := get(h, target, "If-None-Match", tag); tag == "" || w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s: %d with %s", target, w.Code, tag)
		}
	}
	tag := get(h, "/api/v1/environments").Header().Get("Etag")
	tm.ask(environment.Promote, "hello", "1.2.0-rc.1", "production")
	s.Look(t.Context())
	if w := get(h, "/api/v1/environments", "If-None-Match", tag); w.Code != http.StatusOK {
		t.Error(w.Code)
	}
	// What depends on the time is not kept.
	if w := get(h, "/api/v1/why?component=hello&version=1.0.0&to=production"); w.Header().Get("Cache-Control") != "no-store" {
		t.Error(w.Header())
	}
}

// TestOpenAPI holds the description to what is answered: each address and each parameter of it is there, and each answer has the
// shape that is described.
func TestOpenAPI(t *testing.T) {
	tm := three(t)
	tm.ask(environment.Withdraw, "hello", "1.0.0", "")
	tm.ask(environment.Freeze, "", "", "production")
	_, h := tm.serving(serve.Options{})
	type parameter struct {
		Name     string
		Required bool
	}
	doc := answer[struct {
		OpenAPI string
		Paths   map[string]struct {
			Get struct {
				Parameters []parameter
				Responses  map[string]struct {
					Content map[string]struct{ Schema map[string]any }
				}
			}
		}
		Components struct{ Schemas map[string]map[string]any }
	}](t, h, "/api/v1/openapi.json")
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) != 7 {
		t.Fatalf("%s with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	good := map[string]string{
		"component": "hello", "version": "1.2.0-rc.1", "from": "1.0.0", "to": "1.1.0", "environment": "staging", "q": "1", "state": "current", "limit": "1",
	}
	for p, path := range doc.Paths {
		if p == "/events" {
			continue
		}
		if p == "/why" {
			good["to"] = "production"
		} else {
			good["to"] = "1.1.0"
		}
		var query []string
		for _, is := range path.Get.Parameters {
			if is.Name != "after" {
				query = append(query, is.Name+"="+good[is.Name])
			}
		}
		for _, target := range []string{p + "?" + strings.Join(query, "&"), p} {
			w := get(h, "/api/v1"+strings.TrimSuffix(target, "?"))
			response, ok := path.Get.Responses[fmt.Sprint(w.Code)]
			if !ok {
				t.Errorf("%s: %d is not described: %s", target, w.Code, w.Body)
				continue
			}
			var v any
			must(t, json.Unmarshal(w.Body.Bytes(), &v))
			if err := fits(v, response.Content["application/json"].Schema, doc.Components.Schemas); err != nil {
				t.Errorf("%s: %v\n%s", target, err, w.Body)
			}
		}
		for _, is := range path.Get.Parameters {
			without := slices.DeleteFunc(slices.Clone(query), func(q string) bool { return strings.HasPrefix(q, is.Name+"=") })
			w := get(h, "/api/v1"+p+"?"+strings.Join(without, "&"))
			if (w.Code == http.StatusBadRequest) != is.Required {
				t.Errorf("%s without %s: %d", p, is.Name, w.Code)
			}
		}
	}
}

// fits says why a value is not what a schema describes, as far as this description goes.
func fits(v any, schema map[string]any, all map[string]map[string]any) error {
	if ref, ok := schema["$ref"].(string); ok {
		return fits(v, all[strings.TrimPrefix(ref, "#/components/schemas/")], all)
	}
	switch v := v.(type) {
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		if schema["type"] != "object" {
			return fmt.Errorf("an object, and not %v", schema["type"])
		}
		required, _ := schema["required"].([]any)
		for _, key := range required {
			if _, there := v[key.(string)]; !there {
				return fmt.Errorf("%v is missing", key)
			}
		}
		for key, each := range v {
			of, known := properties[key].(map[string]any)
			if !known && properties != nil {
				return fmt.Errorf("%s is not described", key)
			}
			if known {
				if err := fits(each, of, all); err != nil {
					return fmt.Errorf("%s: %w", key, err)
				}
			}
		}
		return nil
	case []any:
		of, ok := schema["items"].(map[string]any)
		if !ok {
			return fmt.Errorf("a list, and not %v", schema["type"])
		}
		for _, each := range v {
			if err := fits(each, of, all); err != nil {
				return err
			}
		}
		return nil
	}
	want := map[string]string{"string": "string", "float64": "integer", "bool": "boolean"}[fmt.Sprintf("%T", v)]
	if schema["type"] != want {
		return fmt.Errorf("%v is not %v", v, schema["type"])
	}
	return nil
}

// nextEvent reads a stream of events up to an empty line.
func nextEvent(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	var all []string
	for {
		line, err := r.ReadString('\n')
		must(t, err)
		if line == "\n" {
			return strings.Join(all, "")
		}
		all = append(all, line)
	}
}

func TestEvents(t *testing.T) {
	tm := three(t)
	s, h := tm.serving(serve.Options{MaxRequests: 1})
	server := httptest.NewServer(h)
	defer server.Close()
	open := func() (*http.Response, *bufio.Reader) {
		resp, err := http.Get(server.URL + "/api/v1/events")
		must(t, err)
		return resp, bufio.NewReader(resp.Body)
	}
	resp, stream := open()
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != "text/event-stream" || !strings.HasPrefix(nextEvent(t, stream), "id: 4\nevent: state\ndata: {\"line\":4,\"digest\":\"sha256:") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	// It takes no place of a request, of which there is one.
	if w := get(h, "/api/v1/environments"); w.Code != http.StatusOK {
		t.Error(w.Code)
	}
	tm.ask(environment.Promote, "hello", "1.2.0-rc.1", "production")
	s.Look(t.Context())
	if got := nextEvent(t, stream); !strings.HasPrefix(got, "id: 5\n") {
		t.Error(got)
	}
	must(t, resp.Body.Close())
	eventually(t, "the end of the stream", func() bool {
		return strings.Contains(get(h, "/metrics").Body.String(), "slipway_event_streams 0\n")
	})
	// There is a limit, and who is beyond it hears of it.
	var all []*http.Response
	for range 256 {
		resp, stream := open()
		all = append(all, resp)
		nextEvent(t, stream)
	}
	resp, err := http.Get(server.URL + "/api/v1/events")
	must(t, err)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	for _, resp := range append(all, resp) {
		must(t, resp.Body.Close())
	}
}

var hrefs = regexp.MustCompile(`(?:href|src)="([^"]*)"`)

// TestSitePages goes to wherever a link leads from the first page.
func TestSitePages(t *testing.T) {
	tm := three(t)
	tm.add("world", "0.1.0", "snapshot", true)
	tm.ask(environment.Withdraw, "hello", "1.0.0", "")
	tm.ask(environment.Freeze, "", "", "production")
	s, h := tm.serving(serve.Options{})
	pages := map[string]string{}
	todo := []string{"http://example.com/"}
	for len(todo) > 0 {
		at, err := url.Parse(todo[0])
		todo = todo[1:]
		must(t, err)
		at.Fragment = ""
		if _, done := pages[at.String()]; done || at.Scheme != "http" || at.Host != "example.com" {
			continue
		}
		w := get(h, at.RequestURI())
		pages[at.String()] = w.Body.String()
		switch w.Code {
		case http.StatusTemporaryRedirect:
			to, err := at.Parse(w.Header().Get("Location"))
			must(t, err)
			todo = append(todo, to.String())
		case http.StatusOK:
		default:
			t.Errorf("%s: %d %s", at, w.Code, w.Body)
		}
		if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			continue
		}
		for _, m := range hrefs.FindAllStringSubmatch(w.Body.String(), -1) {
			to, err := at.Parse(html.UnescapeString(m[1]))
			must(t, err)
			todo = append(todo, to.String())
		}
	}
	for at, want := range map[string]string{
		"":                            "Nothing enters production: because of &lt;freeze&gt;, in line 7 by nobody who signed.",
		"c/hello":                     "Withdrawn: because of &lt;withdraw&gt;, in line 6 by nobody who signed.",
		"c/hello/1.0.0...1.1.0":       "1.0.0 → 1.1.0",
		"c/hello/1.2.0-rc.1/why":      "It does not enter yet.",
		"c/hello/1.3.0-dev.1+abc/why": "because of &lt;add&gt;",
		"timeline":                    "hello 1.2.0-rc.1</a>: outside → staging",
		"environments/production/":    "helm repo add production http://example.com/environments/production/charts",
		"releases":                    `<a href="timeline">Timeline</a> <a href="releases" aria-current="page">Releases</a></nav>`,
		"releases/hello/1.1.0/":       "<h1>hello 1.1.0</h1>",
		"environments/production/releases/hello/1.1.0/": "<h1>hello 1.1.0</h1>",
	} {
		page, ok := pages["http://example.com/"+at]
		if !ok || !strings.Contains(page, want) {
			t.Errorf("/%s was found: %v, without %s:\n%s", at, ok, want, page)
		}
	}
	// The one script is the server's own, and nothing else runs.
	for at, want := range map[string]string{"/": "; script-src 'self'; connect-src 'self'", "/releases": "frame-ancestors 'none'"} {
		if csp := get(h, at).Header().Get("Content-Security-Policy"); !strings.HasSuffix(csp, want) {
			t.Errorf("%s: %s", at, csp)
		}
	}
	for _, at := range []string{"/c/none", "/c/hello/9.9.9/why", "/c/hello/1.0.0...9.9.9", "/c/hello/1.0.0", "/c/", "/?page=2", "/?page=x", "/c/hello?page=0", "/c/hello/1.0.0/why/x"} {
		if w := get(h, at); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", at, w.Code)
		}
	}
	if w := get(h, "/timeline?after=x"); w.Code != http.StatusBadRequest {
		t.Error(w.Code)
	}
	if w := get(h, "/?q=wor"); !strings.Contains(w.Body.String(), "c/world") || strings.Contains(w.Body.String(), "c/hello") {
		t.Error(w.Body)
	}
	// The timeline is read from the log as far as it goes now.
	for i := range 60 {
		tm.ask(environment.Hold, "hello", "", []string{"snapshot", "staging"}[i%2])
	}
	s.Look(t.Context())
	w := get(h, "/timeline")
	next := regexp.MustCompile(`rel="next" href="(\?after=[^"]*)"`).FindStringSubmatch(w.Body.String())
	if next == nil || !strings.Contains(w.Body.String(), `id="line-67"`) || strings.Contains(w.Body.String(), `id="line-17"`) {
		t.Fatal(w.Body)
	}
	if w := get(h, "/timeline"+next[1]); !strings.Contains(w.Body.String(), `id="line-17"`) || !strings.Contains(w.Body.String(), `id="line-1"`) {
		t.Error(w.Body)
	}
}

// Without a folder there is no list of releases, and all bytes are elsewhere.
func TestSiteWithoutAFolder(t *testing.T) {
	tm := newTeam(t)
	tm.add("hello", "1.0.0", "production", false)
	tm.root = ""
	_, h := tm.serving(serve.Options{})
	for target, want := range map[string]int{
		"/": 200, "/releases": 404, "/releases.json": 404, "/charts/index.yaml": 404, "/environments/production/releases/hello/current/release.json": 307, "/environments/production/install.sh": 404,
	} {
		if w := get(h, target); w.Code != want {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	if strings.Contains(get(h, "/").Body.String(), `href="releases"`) {
		t.Error("the page leads to a list that is not there")
	}
}

func TestInstallCurrent(t *testing.T) {
	tm := newTeam(t)
	script := []byte("#!/bin/sh\necho \"installs with $* from $HELLO_DOWNLOAD_BASE\"\nexit 3\n")
	add := func(name, v string) {
		dir := filepath.Join(tm.root, name, v)
		r := write(t, dir, verifytest.Options{
			Name: name, Version: v, Edit: func(files map[string][]byte) { files["recipes/install.sh"] = script },
			EditManifest: func(r *manifest.Release) {
				i := slices.IndexFunc(r.Files, func(f artifact.File) bool { return f.Path == "recipes/install.sh" })
				r.Files[i].Kind = artifact.Recipe
				r.Recipes = append(r.Recipes, manifest.Recipe{Format: "script", Name: name, Version: v, Path: "recipes/install.sh"})
			},
		})
		b, err := os.ReadFile(filepath.Join(dir, manifest.FileName))
		must(t, err)
		tm.ask(environment.Add, name, v, "production", environment.Entry{
			Component: name, Version: v, Commit: r.Commit, Manifest: artifact.Sum(b), Signed: environment.Identity{Key: string(tm.key.Public().Fingerprint())}, Places: []string{"file:///none/"},
		})
	}
	add("hello", "1.0.0")
	add("hello", "1.1.0")
	s, h := tm.serving(serve.Options{})
	server := httptest.NewServer(h)
	defer server.Close()
	base := server.URL + "/environments/production/"
	run := func(args ...string) (string, int) {
		resp, err := http.Get(base + "install.sh")
		must(t, err)
		defer resp.Body.Close()
		cmd := exec.Command("sh", append([]string{"-s", "--"}, args...)...)
		cmd.Stdin = resp.Body
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	want := "from " + base + "releases/hello/1.1.0/download\n"
	for _, args := range [][]string{{"hello", "--dir", "a b"}, {"--dir", "a b"}} {
		if out, code := run(args...); out != "installs with --dir a b "+want || code != 3 {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
	if out, code := run("other"); code != 2 || out != "install.sh: name one of these: hello\n" {
		t.Errorf("%d %s", code, out)
	}
	add("world", "1.0.0")
	s.Look(t.Context())
	if out, code := run(); code != 2 || out != "install.sh: name one of these: hello, world\n" {
		t.Errorf("%d %s", code, out)
	}
	// A script that is not the one of the release is not run.
	name := filepath.Join(tm.root, "hello", "1.1.0", "recipes", "install.sh")
	must(t, os.WriteFile(name, []byte(strings.Replace(string(script), "installs", "stealing", 1)), 0o600))
	if out, code := run("hello"); code != 4 || strings.Contains(out, "stealing") {
		t.Errorf("%d %s", code, out)
	}
	if out, err := exec.Command("sh", "-n", "-c", get(h, "/environments/production/install.sh").Body.String()).CombinedOutput(); err != nil {
		t.Error(string(out))
	}
	r := newRequest("/environments/production/install.sh")
	r.Host = "$(reboot)"
	if w := record(h, r); w.Code != http.StatusBadRequest {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
