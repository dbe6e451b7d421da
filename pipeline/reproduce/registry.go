package reproduce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format/compare"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// ociScheme is what an image of a registry is named with, as Helm does it.
const ociScheme = "oci://"

// maxBlob bounds one blob of an image, in bytes.
const (
	maxBlob  = 4 << 30
	maxPages = 100 // of a list of what refers to something
)

// image is an image, or a chart, of a registry.
type image struct {
	name   string // host/path:tag
	path   string // without the host
	tag    string
	digest artifact.Digest
	blobs  *registryBlobs
}

// Annotations by which an image says what it was made of
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md#pre-defined-annotation-keys).
const (
	revision = verify.Revision
	sourceOf = "org.opencontainers.image.source"
	versions = "org.opencontainers.image.version"
)

// document is what is read of an index or a manifest.
type document struct {
	MediaType   string            `json:"mediaType"`
	Annotations map[string]string `json:"annotations"`
	Config      struct {
		MediaType string          `json:"mediaType"`
		Digest    artifact.Digest `json:"digest"`
	} `json:"config"`
	Manifests []struct {
		Digest artifact.Digest `json:"digest"`
	} `json:"manifests"`
}

// findImage reads what a registry has under a name. A registry has no release.json: the commit is the one that the image
// names, and the image is all that is compared.
func (r *run) findImage(ctx context.Context, name string) (published, error) {
	ref, ok := verify.ParseReference(name)
	if !ok || ref.Digest != "" {
		return published{}, fault.Errorf(fault.Usage, "%.200q is not an image such as oci://ghcr.io/owner/tool:1.2.3", name)
	}
	if len(r.o.Verify.Keys) > 0 || r.o.Verify.Identity != nil {
		return published{}, fault.Errorf(fault.Usage, "%s: its signature is checked with slipway verify; remove --key or --identity", name)
	}
	b := newRegistry(ctx, ref.Host, ref.Path)
	b.dir = filepath.Join(r.fetched, "blobs")
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return published{}, err
	}
	raw, err := b.get("manifests/"+ref.Tag, maxManifest, true)
	if isStatus(err, http.StatusNotFound) {
		return published{}, fault.Errorf(fault.Usage, "%s: the registry has no such image", name)
	}
	if err != nil {
		return published{}, err
	}
	im := &image{name: ref.Host + "/" + ref.Path + ":" + ref.Tag, path: ref.Path, tag: ref.Tag, digest: artifact.Sum(raw), blobs: b}
	if err := writeWhole(filepath.Join(b.dir, im.digest.Hex()), raw); err != nil {
		return published{}, err
	}
	notes, err := b.annotations(raw)
	if err != nil {
		return published{}, fmt.Errorf("%s: %w", name, err)
	}
	p := published{where: name, dir: b.dir, image: im}
	p.rel.Name, p.rel.Commit, p.rel.Repository = ref.Path, notes[revision], notes[sourceOf]
	if p.rel.Version, err = version.Parse(notes[versions]); err != nil || !artifact.IsCommit(notes[revision]) {
		return p, fault.Errorf(fault.Mismatch, "%s: it does not say which version and commit it was made of (%s, %s)", name, versions, revision)
	}
	r.report.row(Pass, kindRelease, im.name, "%s", im.digest)
	return p, nil
}

// annotations are those of an index or a manifest, of its first platform where the index has none.
func (b *registryBlobs) annotations(raw []byte) (map[string]string, error) {
	var d document
	if err := canonjson.DecodeOpen(raw, &d); err != nil {
		return nil, fault.Errorf(fault.Mismatch, "reading its manifest: %w", err)
	}
	if d.Annotations[revision] != "" || len(d.Manifests) == 0 {
		return d.Annotations, nil
	}
	first, err := b.content(d.Manifests[0].Digest)
	if err != nil {
		return nil, err
	}
	var child document
	if err := canonjson.DecodeOpen(first, &child); err != nil {
		return nil, fault.Errorf(fault.Mismatch, "reading its manifest %s: %w", d.Manifests[0].Digest, err)
	}
	return child.Annotations, nil
}

// registryImage compares an image of a registry with the one of this name that was built.
func (c *comparison) registryImage() error {
	im := c.p.image
	row := Row{Path: im.name, Kind: string(artifact.Image), Verdict: Fail, Published: im.digest}
	own := map[string]bool{}
	for _, o := range objectsOf(c.rel, false) {
		own[o.tag] = true
	}
	for _, o := range objectsOf(c.rel, true) {
		_, at, _ := strings.Cut(o.repository, "/")
		if at == im.path && o.tag == im.tag {
			row.Rebuilt, row.Kind = o.digest, string(o.kind)
		}
	}
	if !own[im.tag] {
		// An older release under a name that moves is not a mismatch; whoever asked for the newest should know.
		row.Detail = "a name that moves; it is " + c.rel.Version.String() + " now"
	}
	switch {
	case row.Rebuilt == "":
		row.Detail = "published under this name, which the commit does not give"
	case row.Rebuilt == row.Published:
		row.Verdict = Pass
	default:
		im.blobs.ctx = c.ctx
		var err error
		row.Differences, err = compare.Images(c.ctx, im.blobs, blobs(c.builtFile(blobsDir)), row.Published, row.Rebuilt, compare.Options{})
		if err != nil {
			return err
		}
	}
	c.report.Rows = append(c.report.Rows, row)
	return nil
}

// registries holds what registries have under the names of the release to what the commit builds. Names that move are no
// part of it: they may be another release's by now.
func (c *comparison) registries() {
	for _, o := range objectsOf(c.rel, false) {
		name := o.repository + ":" + o.tag
		row := Row{Path: name, Kind: "registry", Verdict: Pass, Rebuilt: o.digest}
		ref, ok := verify.ParseReference(name)
		if !ok {
			row.Verdict, row.Detail = Skip, "not the name of an image in a registry"
			c.report.Rows = append(c.report.Rows, row)
			continue
		}
		raw, err := newRegistry(c.ctx, ref.Host, ref.Path).get("manifests/"+ref.Tag, maxManifest, true)
		switch {
		case isStatus(err, http.StatusNotFound):
			row.Verdict, row.Detail = Fail, "the registry has nothing under this name"
		case err != nil:
			row.Verdict, row.Detail = Skip, oneLine(err)
		default:
			if row.Published = artifact.Sum(raw); row.Published != row.Rebuilt {
				row.Verdict, row.Detail = Fail, "the registry has other bytes; reproduce oci://"+name+" says which"
			}
		}
		c.report.Rows = append(c.report.Rows, row)
	}
}

// named is an image or a chart of a release, with one of its tags.
type named struct {
	repository, tag string
	object
}

// objectsOf are the images and charts of a release by every tag, those that may move to it included if floating says so.
func objectsOf(m manifest.Release, floating bool) []named {
	var all []named
	for _, im := range m.Images {
		tags := im.Tags
		if floating {
			tags = slices.Concat(im.Tags, im.Floating)
		}
		for _, tag := range tags {
			all = append(all, named{im.Repository, tag, object{artifact.Image, im.Digest}})
		}
	}
	for _, ch := range m.Charts {
		if ch.Digest != "" {
			all = append(all, named{ch.Repository, ch.Tag(), object{artifact.Chart, ch.Digest}})
		}
	}
	return all
}

// registryBlobs are the contents of a repository, fetched when they are asked for.
type registryBlobs struct {
	ctx        context.Context
	host, path string
	dir        string
	token      string
}

func newRegistry(ctx context.Context, host, path string) *registryBlobs {
	if host == "docker.io" {
		host = "registry-1.docker.io"
	}
	return &registryBlobs{ctx: ctx, host: host, path: path}
}

// Repository reads a repository of a registry without credentials, for verify.Image.
func Repository(host, path string) verify.Repository { return repository{host, path} }

type repository struct{ host, path string }

func (r repository) Manifest(ctx context.Context, at string, limit int64) ([]byte, error) {
	return r.read(ctx, "manifests/"+at, limit, true)
}

func (r repository) Blob(ctx context.Context, d artifact.Digest, size int64) ([]byte, error) {
	return r.read(ctx, "blobs/"+string(d), size, false)
}

// Referrers asks for a page after the other as long as each names a next one, limit bytes of all.
func (r repository) Referrers(ctx context.Context, d artifact.Digest, limit int64) (pages [][]byte, err error) {
	reg := newRegistry(ctx, r.host, r.path)
	at := reg.address("referrers/" + string(d) + "?artifactType=" + url.QueryEscape(signature.BundleMediaType))
	for left := limit; at != ""; {
		b, answer, err := reg.ask(at, left, true)
		for _, code := range []int{http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable} { // of a registry of OCI 1.0
			if isStatus(err, code) && pages == nil {
				err = fmt.Errorf("%w: %w", err, fs.ErrNotExist)
			}
		}
		if err != nil {
			return nil, absent(err)
		}
		pages = append(pages, b)
		left -= int64(len(b))
		if at = web.Next(answer, at); at != "" && len(pages) == maxPages {
			return nil, fault.Errorf(fault.Transient, "%s/%s lists what refers to %s on more than %d pages", r.host, r.path, d.Short(), maxPages)
		}
	}
	return pages, nil
}

func (r repository) read(ctx context.Context, at string, limit int64, isManifest bool) ([]byte, error) {
	b, err := newRegistry(ctx, r.host, r.path).get(at, limit, isManifest)
	return b, absent(err)
}

// absent has what a registry has not be an fs.ErrNotExist.
func absent(err error) error {
	if err == nil {
		return nil
	}
	if isStatus(err, http.StatusNotFound) {
		return fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	return fault.Or(err, fault.Transient)
}

// Open fetches a content; see compare.Blobs.
func (b *registryBlobs) Open(d artifact.Digest) (compare.Source, func() error, error) {
	if _, err := artifact.ParseDigest(string(d)); err != nil {
		return compare.Source{}, nil, err
	}
	name := filepath.Join(b.dir, d.Hex())
	if got, _, err := artifact.SumFile(name); err != nil || got != d {
		raw, err := b.content(d)
		switch {
		case isStatus(err, http.StatusNotFound):
			if err := b.blob(d, name); err != nil {
				return compare.Source{}, nil, err
			}
		case err != nil:
			return compare.Source{}, nil, err
		default:
			if err := writeWhole(name, raw); err != nil {
				return compare.Source{}, nil, err
			}
		}
	}
	return openSource(b.dir, d.Hex())
}

// blob streams a blob to a file.
func (b *registryBlobs) blob(d artifact.Digest, name string) error {
	// A byte of it is asked for first: that gets the token, and tells what keeps the rest from coming.
	if _, err := b.get("blobs/"+string(d), 0, false); err != nil && !bounded.IsTooLarge(err) {
		if isStatus(err, http.StatusNotFound) {
			return fmt.Errorf("%s/%s: %s: %w", b.host, b.path, d, fs.ErrNotExist)
		}
		return err // of the credentials, which a small answer tells as well
	}
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, b.address("blobs/"+string(d)), http.NoBody)
	if err != nil {
		return err
	}
	if b.token != "" {
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fault.New(fault.Transient, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return statusError{at: req.URL.String(), code: resp.StatusCode}.coded()
	}
	f, err := os.CreateTemp(b.dir, ".fetch-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	meter := artifact.NewMeter(f)
	_, err = io.Copy(meter, io.LimitReader(resp.Body, maxBlob))
	if err = errors.Join(err, f.Close()); err != nil {
		return fault.New(fault.Transient, err)
	}
	if got := meter.Digest(); got != d {
		return fault.Errorf(fault.Mismatch, "%s/%s: the registry gives %s for %s", b.host, b.path, got, d)
	}
	return os.Rename(f.Name(), name)
}

// content is a manifest, held to its digest.
func (b *registryBlobs) content(d artifact.Digest) ([]byte, error) {
	raw, err := b.get("manifests/"+string(d), maxManifest, true)
	if err != nil {
		return nil, err
	}
	if got := artifact.Sum(raw); got != d {
		return nil, fault.Errorf(fault.Mismatch, "%s/%s: the registry gives %s for %s", b.host, b.path, got, d)
	}
	return raw, nil
}

func (b *registryBlobs) address(at string) string {
	scheme := "https"
	if web.Loopback(b.host) {
		scheme = "http"
	}
	return scheme + "://" + b.host + "/v2/" + b.path + "/" + at
}

// get asks the registry, with an anonymous token if it requires one
// (https://distribution.github.io/distribution/spec/auth/token/).
func (b *registryBlobs) get(at string, limit int64, isManifest bool) ([]byte, error) {
	raw, _, err := b.ask(b.address(at), limit, isManifest)
	return raw, err
}

// ask is get of an address, with the headers of the answer.
func (b *registryBlobs) ask(address string, limit int64, isManifest bool) ([]byte, http.Header, error) {
	header := http.Header{}
	if isManifest {
		header.Set("Accept", signature.IndexMediaType+", "+signature.ManifestMediaType)
	}
	for range 2 {
		if b.token != "" {
			header.Set("Authorization", "Bearer "+b.token)
		}
		raw, answer, err := getWith(b.ctx, address, limit, header)
		if !isStatus(err, http.StatusUnauthorized) || b.token != "" {
			return raw, answer, err
		}
		if err := b.login(answer.Get("WWW-Authenticate")); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, fault.Errorf(fault.Credentials, "%s: the registry does not allow anonymous reads", address)
}

// challenge matches a part of what a registry asks for.
var challenge = regexp.MustCompile(`([a-z]+)="([^"]*)"`)

func (b *registryBlobs) login(asked string) error {
	scheme, rest, _ := strings.Cut(asked, " ")
	fields := map[string]string{}
	for _, m := range challenge.FindAllStringSubmatch(rest, -1) {
		fields[m[1]] = m[2]
	}
	realm, err := url.Parse(fields["realm"])
	if !strings.EqualFold(scheme, "Bearer") || err != nil || realm.Host == "" {
		return fault.Errorf(fault.Credentials, "%s/%s cannot be read without credentials; fetch the release and name its folder", b.host, b.path)
	}
	if !web.Private(realm) {
		return fault.Errorf(fault.Credentials, "%s gives tokens out at %.200s, which is not https", b.host, realm.Redacted())
	}
	realm.RawQuery = url.Values{"service": {fields["service"]}, "scope": {"repository:" + b.path + ":pull"}}.Encode()
	raw, err := get(b.ctx, realm.String(), 1<<20, nil)
	if err != nil {
		return err
	}
	var said struct {
		Token  string `json:"token"`
		Access string `json:"access_token"`
	}
	if err := canonjson.DecodeOpen(raw, &said); err != nil {
		return fmt.Errorf("reading the token of %s: %w", b.host, err)
	}
	if b.token = said.Token; b.token == "" {
		b.token = said.Access
	}
	if b.token == "" {
		return errors.New(b.host + " gives no token")
	}
	return nil
}
