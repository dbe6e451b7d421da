package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// Media types and annotations of signatures in a registry.
const (
	// IndexMediaType and ManifestMediaType are the types of what is signed: an image for several platforms, or a chart.
	IndexMediaType    = "application/vnd.oci.image.index.v1+json"
	ManifestMediaType = "application/vnd.oci.image.manifest.v1+json"

	// SignatureAnnotation has the signature, in base64, of the layer that it is on.
	SignatureAnnotation = "dev.cosignproject.cosign/signature"

	configMediaType  = "application/vnd.oci.image.config.v1+json"
	emptyMediaType   = "application/vnd.oci.empty.v1+json"
	payloadMediaType = "application/vnd.dev.cosign.simplesigning.v1+json"

	bundleContent   = "dev.sigstore.bundle.content"
	bundlePredicate = "dev.sigstore.bundle.predicateType"

	payloadType   = "cosign container image signature"
	statementType = "https://in-toto.io/Statement/v1"
	signPredicate = "https://sigstore.dev/cosign/sign/v1"
)

// Bounds of a signature from a registry.
const (
	maxManifest   = 4 << 20 // bytes, as registries have it
	maxPayload    = 1 << 20 // bytes
	maxSignatures = 32      // of one image
)

// empty is the content of a blob that says nothing (https://github.com/opencontainers/image-spec/blob/main/manifest.md
// #guidance-for-an-empty-descriptor).
var empty = []byte("{}")

// Image is what a signature in a registry is bound to: the index of an image, or the manifest of a chart.
type Image struct {
	Repository string // such as ghcr.io/owner/name, without a tag
	Digest     artifact.Digest
	MediaType  string   // IndexMediaType or ManifestMediaType
	Size       int64    // of what has the digest, in bytes
	Version    string   // of the release
	Tags       []string // that belong to the version: none that moves
}

// Object is a manifest for a registry with the blobs that it names.
type Object struct {
	Name         string // reference of the manifest, by tag or digest
	Tag          string // of the manifest; empty for one that is found as a referrer of the image
	ArtifactType string // "" for one that has none
	Manifest     []byte
	Blobs        [][]byte
}

// Digest is the digest of the manifest.
func (o Object) Digest() artifact.Digest { return artifact.Sum(o.Manifest) }

// Fetch reads a blob of the digest and the size in bytes. What it returns is held against both.
type Fetch func(d artifact.Digest, size int64) ([]byte, error)

type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Size         int64             `json:"size"`
	Digest       artifact.Digest   `json:"digest"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

type imageManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Subject       *descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// imageConfig is what cosign writes as the config of a signature: an image without a system and a time.
type imageConfig struct {
	Architecture string    `json:"architecture"`
	Created      string    `json:"created"`
	History      []history `json:"history"`
	OS           string    `json:"os"`
	RootFS       rootFS    `json:"rootfs"`
	Config       struct{}  `json:"config"`
}

type history struct {
	Created string `json:"created"`
}

type rootFS struct {
	Type    string            `json:"type"`
	DiffIDs []artifact.Digest `json:"diff_ids"`
}

// payload is what is signed in cosign's classic form
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#simple-signing).
type payload struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]string `json:"optional"`
}

// statement is what is signed in cosign's newer form: an in-toto statement that the subject is signed.
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     struct{}  `json:"predicate"`
}

type subject struct {
	Name        string            `json:"name"`
	Digest      map[string]string `json:"digest"`
	Annotations map[string]string `json:"annotations"`
}

// claims are what a signature says beside repository and digest. They are strings, since that is what cosign's
// --annotations compares, and without a comma, at which it splits them.
func (im Image) claims() map[string]string {
	return map[string]string{"version": im.Version, "tags": strings.Join(im.Tags, " ")}
}

// String names the image with its digest.
func (im Image) String() string { return im.Repository + "@" + string(im.Digest) }

// Check says why there can be no signature over the image.
func (im Image) Check() error {
	if _, err := artifact.ParseDigest(string(im.Digest)); err != nil {
		return err
	}
	last := im.Repository[strings.LastIndex(im.Repository, "/")+1:]
	switch {
	case last == "" || strings.ContainsAny(last, ":@") || strings.ContainsAny(im.Repository, "@ \t\r\n"):
		return fmt.Errorf("%.80q is not a repository without a tag and a digest", im.Repository)
	case im.MediaType != IndexMediaType && im.MediaType != ManifestMediaType:
		return fmt.Errorf("media type %.80q is not that of an image", im.MediaType)
	case im.Size <= 0:
		return fmt.Errorf("a size of %d bytes", im.Size)
	case im.Version == "":
		return errors.New("there is no version that a signature could be bound to")
	}
	for _, t := range im.Tags {
		if t == "" || strings.ContainsAny(t, ", ") {
			return fmt.Errorf("%.80q is not a tag", t)
		}
	}
	return nil
}

// Payload is what is signed in cosign's classic form.
func (im Image) Payload() ([]byte, error) {
	if err := im.Check(); err != nil {
		return nil, err
	}
	var p payload
	p.Critical.Identity.Reference = im.Repository
	p.Critical.Image.Digest = string(im.Digest)
	p.Critical.Type = payloadType
	p.Optional = im.claims()
	return canonjson.Encode(p)
}

// Statement is what is signed in cosign's newer form.
func (im Image) Statement() ([]byte, error) {
	if err := im.Check(); err != nil {
		return nil, err
	}
	return canonjson.Encode(statement{
		Type:          statementType,
		Subject:       []subject{{Name: im.Repository, Digest: map[string]string{"sha256": im.Digest.Hex()}, Annotations: im.claims()}},
		PredicateType: signPredicate,
	})
}

// SignImage signs the image in both forms that cosign reads, the classic one first.
func SignImage(signer Signer, im Image) ([]Object, error) {
	p, err := im.Payload()
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", im, err)
	}
	s, err := im.Statement()
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", im, err)
	}
	sig, err := sign(signer, p)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", im, err)
	}
	classic, err := ClassicObject(im, sig, nil)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", im, err)
	}
	bundle, err := SignStatement(signer, s)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", im, err)
	}
	referrer, err := ReferrerObject(im, bundle)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", im, err)
	}
	return []Object{classic, referrer}, nil
}

// ClassicTag is the tag under which cosign looks for signatures of the digest.
func ClassicTag(d artifact.Digest) string { return "sha256-" + d.Hex() + ".sig" }

// ClassicObject is the image in whose layer cosign looks for a signature over im.Payload. Annotations are put on the
// layer beside the signature: a certificate, say.
func ClassicObject(im Image, sig []byte, annotations map[string]string) (Object, error) {
	p, err := im.Payload()
	if err != nil {
		return Object{}, err
	}
	const never = "0001-01-01T00:00:00Z"
	config, err := canonjson.Encode(imageConfig{
		Created: never,
		History: []history{{Created: never}},
		RootFS:  rootFS{Type: "layers", DiffIDs: []artifact.Digest{artifact.Sum(p)}},
	})
	if err != nil {
		return Object{}, err
	}
	layer := describe(payloadMediaType, p)
	layer.Annotations = map[string]string{SignatureAnnotation: base64.StdEncoding.EncodeToString(sig)}
	for k, v := range annotations {
		layer.Annotations[k] = v
	}
	manifest, err := canonjson.Encode(imageManifest{
		SchemaVersion: 2,
		MediaType:     ManifestMediaType,
		Config:        describe(configMediaType, config),
		Layers:        []descriptor{layer},
	})
	tag := ClassicTag(im.Digest)
	return Object{Name: im.Repository + ":" + tag, Tag: tag, Manifest: manifest, Blobs: [][]byte{config, p}}, err
}

// ReferrerObject is the manifest with which a registry answers for referrers of the image, and whose layer is a bundle
// with im.Statement (https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md#oci).
func ReferrerObject(im Image, b Bundle) (Object, error) {
	if err := im.Check(); err != nil {
		return Object{}, err
	}
	if b.Envelope == nil {
		return Object{}, errors.New("the bundle signs a file and not a statement")
	}
	layer, err := b.Encode()
	if err != nil {
		return Object{}, err
	}
	manifest, err := canonjson.Encode(imageManifest{
		SchemaVersion: 2,
		MediaType:     ManifestMediaType,
		ArtifactType:  BundleMediaType,
		Config:        describe(emptyMediaType, empty),
		Layers:        []descriptor{describe(BundleMediaType, layer)},
		Subject:       &descriptor{MediaType: im.MediaType, Size: im.Size, Digest: im.Digest},
		Annotations:   map[string]string{bundleContent: "dsse-envelope", bundlePredicate: signPredicate},
	})
	return Object{
		Name:         im.Repository + "@" + string(artifact.Sum(manifest)),
		ArtifactType: BundleMediaType,
		Manifest:     manifest,
		Blobs:        [][]byte{empty, layer},
	}, err
}

func describe(mediaType string, b []byte) descriptor {
	return descriptor{MediaType: mediaType, Size: int64(len(b)), Digest: artifact.Sum(b)}
}

// ClassicSignature is one signature in the classic form. Nothing about it is verified.
type ClassicSignature struct {
	Payload     []byte
	Signature   []byte
	Annotations map[string]string // of the layer, the signature included
}

// ReadClassic reads the signatures under a ClassicTag. Others than the project may have signed the image too.
func ReadClassic(manifest []byte, fetch Fetch) ([]ClassicSignature, error) {
	m, err := readManifest(manifest)
	if err != nil {
		return nil, err
	}
	switch {
	case m.ArtifactType != "" || m.Subject != nil || m.Config.MediaType != configMediaType:
		return nil, errors.New("reading signature: it is not in cosign's classic form")
	case len(m.Layers) == 0:
		return nil, errors.New("reading signature: there is no signature")
	case len(m.Layers) > maxSignatures:
		return nil, fmt.Errorf("reading signature: more than %d", maxSignatures)
	}
	if _, err := fetched(fetch, m.Config, maxManifest); err != nil {
		return nil, err
	}
	var out []ClassicSignature
	for _, l := range m.Layers {
		if l.MediaType != payloadMediaType {
			return nil, fmt.Errorf("reading signature: a layer of type %.80q instead of %s", l.MediaType, payloadMediaType)
		}
		sig, err := base64.StdEncoding.Strict().DecodeString(l.Annotations[SignatureAnnotation])
		if err != nil || len(sig) == 0 {
			return nil, errors.New("reading signature: a layer has no signature")
		}
		p, err := fetched(fetch, l, maxPayload)
		if err != nil {
			return nil, err
		}
		out = append(out, ClassicSignature{Payload: p, Signature: sig, Annotations: l.Annotations})
	}
	return out, nil
}

// Subject is what a referrer refers to.
type Subject struct {
	MediaType string
	Size      int64 // bytes
	Digest    artifact.Digest
}

// ReadReferrer reads the bundle of a referrer and what it refers to. Nothing is verified.
func ReadReferrer(manifest []byte, fetch Fetch) (Bundle, Subject, error) {
	m, err := readManifest(manifest)
	if err != nil {
		return Bundle{}, Subject{}, err
	}
	switch {
	case m.ArtifactType != BundleMediaType:
		return Bundle{}, Subject{}, fmt.Errorf("reading signature: an artifact of type %.80q instead of %s", m.ArtifactType, BundleMediaType)
	case m.Subject == nil:
		return Bundle{}, Subject{}, errors.New("reading signature: it does not say what it signs")
	case m.Config.MediaType != emptyMediaType || m.Config.Digest != artifact.Sum(empty):
		return Bundle{}, Subject{}, fmt.Errorf("reading signature: a config of type %.80q and digest %.80s instead of an empty one", m.Config.MediaType, m.Config.Digest)
	case len(m.Layers) != 1:
		return Bundle{}, Subject{}, fmt.Errorf("reading signature: %d layers instead of one bundle", len(m.Layers))
	case m.Layers[0].MediaType != BundleMediaType:
		return Bundle{}, Subject{}, fmt.Errorf("reading signature: a layer of type %.80q instead of %s", m.Layers[0].MediaType, BundleMediaType)
	}
	if _, err := fetched(fetch, m.Config, int64(len(empty))); err != nil {
		return Bundle{}, Subject{}, err
	}
	b, err := fetched(fetch, m.Layers[0], maxBundle)
	if err != nil {
		return Bundle{}, Subject{}, err
	}
	bundle, err := ParseBundle(b)
	return bundle, Subject{m.Subject.MediaType, m.Subject.Size, m.Subject.Digest}, err
}

// ReferrersTag is the tag of the index of what refers to the digest, where the registry does not keep one
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema).
func ReferrersTag(d artifact.Digest) string { return "sha256-" + d.Hex() }

// Listed is a manifest that an index names.
type Listed struct {
	Digest artifact.Digest
	Size   int64 // bytes
}

// Check says why the bytes are not the manifest.
func (l Listed) Check(b []byte) error {
	if got := artifact.Sum(b); got != l.Digest || int64(len(b)) != l.Size {
		return fmt.Errorf("reading signature: %s has the digest %s and %d bytes instead of %d", l.Digest, got, len(b), l.Size)
	}
	return nil
}

// ReadReferrers are the manifests in the pages of an index of referrers that may be signatures: bundles that nobody calls something
// else. The index is what the registry says, and proves nothing.
func ReadReferrers(pages ...[]byte) ([]Listed, error) {
	var out []Listed
	for _, page := range pages {
		listed, err := readPage(page)
		if err != nil {
			return nil, fmt.Errorf("reading referrers: %w", err)
		}
		if out = append(out, listed...); len(out) > maxSignatures {
			return nil, fmt.Errorf("reading referrers: more than %d signatures", maxSignatures)
		}
	}
	return out, nil
}

func readPage(index []byte) ([]Listed, error) {
	var x imageIndex
	if len(index) > maxManifest {
		return nil, fmt.Errorf("more than %d bytes", maxManifest)
	}
	if err := canonjson.DecodeOpen(index, &x); err != nil {
		return nil, err
	}
	if x.SchemaVersion != 2 || x.MediaType != IndexMediaType {
		return nil, fmt.Errorf("media type %.80q instead of %s", x.MediaType, IndexMediaType)
	}
	var out []Listed
	for _, d := range x.Manifests {
		// Some registries say the type of the config in the place of that of the artifact.
		isBundle := d.ArtifactType == BundleMediaType || d.ArtifactType == emptyMediaType
		if said := d.Annotations[bundlePredicate]; !isBundle || said != "" && said != signPredicate {
			continue
		}
		if _, err := artifact.ParseDigest(string(d.Digest)); err != nil {
			return nil, err
		}
		switch {
		case d.MediaType != ManifestMediaType:
			return nil, fmt.Errorf("a manifest of type %.80q instead of %s", d.MediaType, ManifestMediaType)
		case d.Size <= 0 || d.Size > maxManifest:
			return nil, fmt.Errorf("a manifest of %d bytes; at most %d are read", d.Size, maxManifest)
		case len(out) > maxSignatures:
			return out, nil
		}
		out = append(out, Listed{d.Digest, d.Size})
	}
	return out, nil
}

func readManifest(b []byte) (imageManifest, error) {
	var m imageManifest
	if len(b) > maxManifest {
		return m, fmt.Errorf("reading signature: a manifest of more than %d bytes", maxManifest)
	}
	if err := canonjson.Decode(b, &m); err != nil {
		return m, fmt.Errorf("reading signature: %w", err)
	}
	if m.SchemaVersion != 2 || m.MediaType != ManifestMediaType {
		return m, fmt.Errorf("reading signature: media type %.80q instead of %s", m.MediaType, ManifestMediaType)
	}
	return m, nil
}

func fetched(fetch Fetch, d descriptor, limit int64) ([]byte, error) {
	if d.Size < 0 || d.Size > limit {
		return nil, fmt.Errorf("reading signature: a blob of %d bytes; at most %d are read", d.Size, limit)
	}
	if _, err := artifact.ParseDigest(string(d.Digest)); err != nil {
		return nil, fmt.Errorf("reading signature: %w", err)
	}
	b, err := fetch(d.Digest, d.Size)
	if err != nil {
		return nil, fmt.Errorf("reading signature: %w", err)
	}
	return b, Listed{d.Digest, d.Size}.Check(b)
}

// VerifyClassic says why none of the signatures under a ClassicTag is one with key over the image; nil means that one
// of them is.
func VerifyClassic(manifest []byte, fetch Fetch, im Image, key PublicKey) error {
	sigs, err := ReadClassic(manifest, fetch)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range sigs {
		err := key.Verify(s.Payload, s.Signature)
		if err == nil {
			err = im.CheckPayload(s.Payload)
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// VerifyReferrer says why the referrer is not a signature with key over the image; nil means that it is one.
func VerifyReferrer(manifest []byte, fetch Fetch, im Image, key PublicKey) error {
	bundle, subject, err := ReadReferrer(manifest, fetch)
	if err != nil {
		return err
	}
	if want := (Subject{im.MediaType, im.Size, im.Digest}); subject != want {
		return fmt.Errorf("it is a referrer of %.80s (%.80s, %d bytes) and not of %s (%s, %d bytes)",
			subject.Digest, subject.MediaType, subject.Size, want.Digest, want.MediaType, want.Size)
	}
	s, err := VerifyStatement(bundle, key)
	if err != nil {
		return err
	}
	return im.CheckStatement(s)
}

// CheckPayload says why a payload, whose signature holds, is about another image, name or version.
func (im Image) CheckPayload(b []byte) error {
	if err := im.Check(); err != nil {
		return err
	}
	var p payload
	if err := canonjson.Decode(b, &p); err != nil {
		return fmt.Errorf("reading signed payload: %w", err)
	}
	if p.Critical.Type != payloadType {
		return fmt.Errorf("the signed payload is of type %.80q instead of %q", p.Critical.Type, payloadType)
	}
	return im.checkClaims(p.Critical.Identity.Reference, p.Critical.Image.Digest, p.Optional)
}

// Claimed is what a payload says that it is a signature of: repository, digest, version and tags. Nothing is verified.
func Claimed(b []byte) (Image, error) {
	var p payload
	if err := canonjson.Decode(b, &p); err != nil {
		return Image{}, fmt.Errorf("reading signed payload: %w", err)
	}
	return Image{
		Repository: p.Critical.Identity.Reference, Digest: artifact.Digest(p.Critical.Image.Digest),
		Version: p.Optional["version"], Tags: strings.Fields(p.Optional["tags"]),
	}, nil
}

// ClaimedByReferrer is what the statement in a referrer's bundle says that it is a signature of. Nothing is verified.
func ClaimedByReferrer(manifest []byte, fetch Fetch) (Image, error) {
	bundle, _, err := ReadReferrer(manifest, fetch)
	if err != nil {
		return Image{}, err
	}
	if bundle.Envelope == nil {
		return Image{}, errors.New("it signs a file and not a statement")
	}
	s, err := readStatement(bundle.Envelope.Payload)
	if err != nil {
		return Image{}, err
	}
	repository, claims := s.claims()
	return Image{
		Repository: repository, Digest: artifact.Digest("sha256:" + s.Digest["sha256"]),
		Version: claims["version"], Tags: strings.Fields(claims["tags"]),
	}, nil
}

// CheckStatement says why a statement, whose signature holds, is about another image, name or version.
func (im Image) CheckStatement(b []byte) error {
	if err := im.Check(); err != nil {
		return err
	}
	s, err := readStatement(b)
	if err != nil {
		return err
	}
	repository, claims := s.claims()
	return im.checkClaims(repository, "sha256:"+s.Digest["sha256"], claims)
}

// readStatement is the one subject of a statement that it is signed.
func readStatement(b []byte) (subject, error) {
	var s statement
	if err := canonjson.Decode(b, &s); err != nil {
		return subject{}, fmt.Errorf("reading signed statement: %w", err)
	}
	switch {
	case s.Type != statementType:
		return subject{}, fmt.Errorf("the signed statement is of type %.80q instead of %s", s.Type, statementType)
	case s.PredicateType != signPredicate:
		return subject{}, fmt.Errorf("the signed statement says %.80q and not %s", s.PredicateType, signPredicate)
	case len(s.Subject) != 1:
		return subject{}, fmt.Errorf("the signed statement is about %d subjects instead of one", len(s.Subject))
	case len(s.Subject[0].Digest) != 1:
		return subject{}, errors.New("the signed statement does not have one digest of its subject")
	}
	return s.Subject[0], nil
}

// claims are the repository and what is said beside it. cosign leaves the name out; who signs with it says it in an annotation.
func (s subject) claims() (repository string, claims map[string]string) {
	if s.Name != "" {
		return s.Name, s.Annotations
	}
	claims = maps.Clone(s.Annotations)
	delete(claims, "repository")
	return s.Annotations["repository"], claims
}

func (im Image) checkClaims(repository, digest string, claims map[string]string) error {
	if digest != string(im.Digest) {
		return fmt.Errorf("the signature is over %.80s and not over %s", digest, im.Digest)
	}
	if repository != im.Repository {
		return fmt.Errorf("the signature is for an image in %.80q and not in %s", repository, im.Repository)
	}
	want := im.claims()
	for _, name := range []string{"version", "tags"} {
		if claims[name] != want[name] {
			return fmt.Errorf("the signature is for %s %.80q and not for %q", name, claims[name], want[name])
		}
	}
	if len(claims) != len(want) {
		return errors.New("the signature says more than repository, digest, version and tags")
	}
	return nil
}

// Merge makes one image of those that are the same bytes under one name, with the tags of all.
func Merge(images []Image) []Image {
	var out []Image
	for _, im := range images {
		i := slices.IndexFunc(out, func(o Image) bool {
			return o.Repository == im.Repository && o.Digest == im.Digest && o.Version == im.Version
		})
		if i < 0 {
			im.Tags = slices.Clone(im.Tags)
			out = append(out, im)
			continue
		}
		for _, t := range im.Tags {
			if !slices.Contains(out[i].Tags, t) {
				out[i].Tags = append(out[i].Tags, t)
			}
		}
	}
	return out
}

// ImagesOf are what must be signed of a release in registries: the index of every image and the manifest of every chart,
// one for those that are the same under one name.
func ImagesOf(rel manifest.Release) []Image {
	var all []Image
	for _, im := range rel.Images {
		all = append(all, Image{
			Repository: im.Repository, Digest: im.Digest, MediaType: IndexMediaType, Size: im.Size,
			Version: rel.Version.String(), Tags: im.Tags,
		})
	}
	for _, c := range rel.Charts {
		if c.Digest != "" {
			all = append(all, Image{
				Repository: c.Repository, Digest: c.Digest, MediaType: ManifestMediaType, Size: c.Size,
				Version: c.Version, Tags: []string{c.Tag()},
			})
		}
	}
	return Merge(all)
}
