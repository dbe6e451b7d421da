package environments

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// repository is what an environment has of a repository of images or charts.
type repository struct {
	name    string // with its registry
	tags    map[string]artifact.Digest
	members []environment.Seen // the versions that have something in it, each once
}

// repositories are those of a view by what they are called: without the registry, and with it where that can stand in a name.
// Two of one name in different registries are known by their whole names alone.
func repositories(v *view) map[string]*repository {
	all := map[string]*repository{}
	for _, c := range v.components {
		moving := map[string][]string{} // by version
		for _, t := range v.state.Tags(v.state.rules, v.stage.Name, c.Name) {
			if !t.None {
				moving[t.Version] = append(moving[t.Version], t.Name)
			}
		}
		for _, seen := range c.Versions {
			e := v.state.entries[seen.Entry]
			in := func(name string) *repository {
				r := all[name]
				if r == nil {
					r = &repository{name: name, tags: map[string]artifact.Digest{}}
					all[name] = r
				}
				if n := len(r.members); n == 0 || r.members[n-1].Entry != seen.Entry {
					r.members = append(r.members, seen)
				}
				return r
			}
			for _, im := range e.Images {
				in(im.Repository).image(seen, im, moving[seen.Version])
			}
			for _, chart := range e.Charts {
				if r := in(chart.Repository); seen.Withdrawn == nil {
					r.tags[tagOf(chart.Version)] = chart.Digest
				}
			}
		}
	}
	short := map[string]*repository{}
	for name, r := range all {
		_, p := registryOf(name)
		if _, other := short[p]; other {
			short[p] = nil
		} else {
			short[p] = r
		}
	}
	for p, r := range short {
		if r != nil && all[p] == nil {
			all[p] = r
		}
	}
	return all
}

// image adds the tags of an image: those that it was published under, and those that move and stand for its version.
func (r *repository) image(seen environment.Seen, im environment.Image, moving []string) {
	if seen.Withdrawn != nil {
		return
	}
	for _, tag := range append([]string{tagOf(seen.Version)}, moving...) {
		r.tags[tag+"-"+im.Distro] = im.Digest
		if im.Default {
			r.tags[tag] = im.Digest
		}
	}
}

// registryOf are the host and the path of a repository (https://github.com/distribution/reference).
func registryOf(name string) (host, path string) {
	first, rest, ok := strings.Cut(name, "/")
	switch {
	case ok && (strings.ContainsAny(first, ".:") || first == "localhost"):
		if first == "docker.io" {
			first = "registry-1.docker.io"
		}
		host, path = first, rest
	default:
		host, path = "registry-1.docker.io", name
	}
	if host == "registry-1.docker.io" && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	return host, path
}

// registryError is an error as the distribution specification has it
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes).
func registryError(status int, code, format string, args ...any) Answer {
	type one struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	b, _ := json.Marshal(map[string][]one{"errors": {{code, fmt.Sprintf(format, args...)}}}) // strings alone
	return Answer{Code: status, Kind: "application/json", Body: b, Volatile: true}
}

var (
	repositoryNames = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagNames        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// Bounds on what is read for an answer, in bytes, and on the signatures of a release.
const (
	maxManifest  = 4 << 20
	maxReferrers = 1000
)

// registryPath is what the address of a registry asks for, below /v2/.
type registryPath struct{ name, what, ref string }

// parseRegistry reads an address below /v2/. What it asks for is "" where it is none.
func parseRegistry(p string) registryPath {
	if name, ok := strings.CutSuffix(p, "/tags/list"); ok {
		return registryPath{name, "tags", ""}
	}
	for _, what := range []string{"manifests", "blobs", "referrers"} {
		if i := strings.LastIndex(p, "/"+what+"/"); i >= 0 {
			if ref := p[i+len(what)+2:]; ref != "" && !strings.Contains(ref, "/") {
				return registryPath{p[:i], what, ref}
			}
		}
	}
	return registryPath{}
}

// Registry answers what is asked of a registry, below /v2/: the part of the distribution specification with which one pulls
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pull). The environment is the first part of the name of a
// repository, unless it is said.
func (s *Site) Registry(ctx context.Context, env string, r Request) (Answer, error) {
	a, err := s.registry(ctx, env, r)
	if err == nil {
		if a.Header == nil {
			a.Header = map[string]string{}
		}
		a.Header["Docker-Distribution-API-Version"] = "registry/2.0"
	}
	return a, err
}

func (s *Site) registry(ctx context.Context, env string, r Request) (Answer, error) {
	if s.state.Load() == nil {
		return Answer{}, errStarting
	}
	if r.Path == "" {
		return Answer{Kind: "application/json", Body: []byte("{}")}, nil
	}
	p := parseRegistry(r.Path)
	if p.what == "" {
		return registryError(http.StatusNotFound, "UNSUPPORTED", "this is no address that one pulls from"), nil
	}
	if len(p.name) > 255 || !repositoryNames.MatchString(p.name) {
		return registryError(http.StatusBadRequest, "NAME_INVALID", "%.80q is not the name of a repository", p.name), nil
	}
	if env == "" {
		env, p.name, _ = strings.Cut(p.name, "/")
	}
	_, v, err := s.stage(env)
	if err != nil {
		return registryError(Code(err), "NAME_UNKNOWN", "%v", err), nil
	}
	repo := v.repositories[p.name]
	if repo == nil {
		return registryError(http.StatusNotFound, "NAME_UNKNOWN", "%s has no repository %.80q", env, p.name), nil
	}
	switch p.what {
	case "tags":
		return repo.list(r, p.name)
	case "manifests":
		return s.manifest(ctx, repo, p.ref)
	case "blobs":
		return s.blob(repo, p.ref)
	}
	return s.referrers(ctx, repo, p.ref, r.Query)
}

// list answers with the tags, in the order of their bytes, and as many as are asked for.
func (r *repository) list(q Request, name string) (Answer, error) {
	tags := slices.Sorted(maps.Keys(r.tags))
	if last := q.Query.Get("last"); last != "" {
		i, found := slices.BinarySearch(tags, last)
		if found {
			i++
		}
		tags = tags[i:]
	}
	a := Answer{Kind: "application/json"}
	if text := q.Query.Get("n"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return registryError(http.StatusBadRequest, "UNSUPPORTED", "n is %.40q and not a number", text), nil
		}
		if n < len(tags) {
			tags = tags[:n]
			if n > 0 {
				next := url.Values{"n": {text}, "last": {tags[n-1]}}
				a.Header = map[string]string{"Link": fmt.Sprintf(`<list?%s>; rel="next"`, next.Encode())}
			}
		}
	}
	var err error
	a.Body, err = json.Marshal(struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{name, append([]string{}, tags...)})
	return a, err
}

// find is the release here that has a blob, nil for none, and whether all releases of the repository are here.
func (s *Site) find(r *repository, d artifact.Digest) (found Release, path string, all bool, err error) {
	all = true
	for _, m := range r.members {
		here := s.shelf.Find(m.Component, m.Version, m.Manifest)
		if here == nil {
			all = false
			continue
		}
		if path, err = here.Blob(d); path != "" || err != nil {
			return here, path, all, err
		}
	}
	return nil, "", all, nil
}

// upstream leads to the registry that the images were published to.
func (r *repository) upstream(what, ref string) Answer {
	host, p := registryOf(r.name)
	to := url.URL{Scheme: "https", Host: host, Path: "/v2/" + p + "/" + what + "/" + ref}
	return Answer{Code: http.StatusTemporaryRedirect, Location: to.String(), Volatile: true}
}

func (s *Site) manifest(ctx context.Context, r *repository, ref string) (Answer, error) {
	d, err := artifact.ParseDigest(ref)
	if err != nil {
		if !tagNames.MatchString(ref) {
			return registryError(http.StatusNotFound, "MANIFEST_UNKNOWN", "%.140q is neither a digest nor a tag", ref), nil
		}
		if d = r.tags[ref]; d == "" {
			return registryError(http.StatusNotFound, "MANIFEST_UNKNOWN", "there is no tag %s", ref), nil
		}
	}
	here, p, all, err := s.find(r, d)
	switch {
	case err != nil:
		return Answer{}, err
	case here == nil && all:
		return registryError(http.StatusNotFound, "MANIFEST_UNKNOWN", "there is no manifest %s", d), nil
	case here == nil:
		return r.upstream("manifests", string(d)), nil
	}
	b, err := here.Text(ctx, p, maxManifest)
	if err != nil {
		return Answer{}, err
	}
	var m struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(b, &m); err != nil || m.MediaType == "" {
		return registryError(http.StatusNotFound, "MANIFEST_UNKNOWN", "%s is not a manifest", d), nil
	}
	return Answer{Kind: m.MediaType, Body: b, ETag: `"` + string(d) + `"`, Header: map[string]string{"Docker-Content-Digest": string(d)}}, nil
}

func (s *Site) blob(r *repository, ref string) (Answer, error) {
	d, err := artifact.ParseDigest(ref)
	if err != nil {
		return registryError(http.StatusNotFound, "DIGEST_INVALID", "%.140q is not a digest of SHA-256", ref), nil
	}
	here, p, all, err := s.find(r, d)
	switch {
	case err != nil:
		return Answer{}, err
	case here == nil && all:
		return registryError(http.StatusNotFound, "BLOB_UNKNOWN", "there is no blob %s", d), nil
	case here == nil:
		return r.upstream("blobs", string(d)), nil
	}
	return Answer{Release: here, File: p, Kind: "application/octet-stream", Header: map[string]string{"Docker-Content-Digest": string(d)}}, nil
}

// descriptor is a manifest that another one refers to
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md).
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       artifact.Digest   `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// referrers answers with the signatures that are about a manifest.
func (s *Site) referrers(ctx context.Context, r *repository, ref string, q url.Values) (Answer, error) {
	d, err := artifact.ParseDigest(ref)
	if err != nil {
		return registryError(http.StatusBadRequest, "DIGEST_INVALID", "%.140q is not a digest of SHA-256", ref), nil
	}
	here, _, all, err := s.find(r, d)
	if err != nil {
		return Answer{}, err
	}
	if here == nil && !all {
		return r.upstream("referrers", string(d)), nil
	}
	found := []descriptor{}
	if here != nil {
		if found, err = about(ctx, here, d); err != nil {
			return Answer{}, err
		}
	}
	a := Answer{Kind: "application/vnd.oci.image.index.v1+json"}
	if kind := q.Get("artifactType"); kind != "" {
		found = slices.DeleteFunc(found, func(d descriptor) bool { return d.ArtifactType != kind })
		a.Header = map[string]string{"OCI-Filters-Applied": "artifactType"}
	}
	a.Body, err = json.Marshal(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, a.Kind, found})
	return a, err
}

// about are the manifests in a release's layout of signatures whose subject has that digest.
func about(ctx context.Context, here Release, d artifact.Digest) ([]descriptor, error) {
	found := []descriptor{}
	index, err := here.File("signatures/index.json", false)
	if err != nil || index == "" {
		return found, err
	}
	b, err := here.Text(ctx, index, maxManifest)
	if err != nil {
		return found, err
	}
	var layout struct {
		Manifests []descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(b, &layout); err != nil {
		return found, err
	}
	for _, m := range layout.Manifests[:min(len(layout.Manifests), maxReferrers)] {
		p, err := here.Blob(m.Digest)
		if err != nil || p == "" {
			return found, err
		}
		if b, err = here.Text(ctx, p, maxManifest); err != nil {
			return found, err
		}
		var about struct {
			ArtifactType string `json:"artifactType"`
			Config       struct {
				MediaType string `json:"mediaType"`
			} `json:"config"`
			Subject     descriptor        `json:"subject"`
			Annotations map[string]string `json:"annotations"`
		}
		if err := json.Unmarshal(b, &about); err != nil {
			return found, err
		}
		if about.Subject.Digest == d {
			kind := about.ArtifactType
			if kind == "" {
				kind = about.Config.MediaType
			}
			found = append(found, descriptor{m.MediaType, m.Digest, m.Size, kind, about.Annotations})
		}
	}
	return found, nil
}
