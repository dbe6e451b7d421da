package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// maxManifest bounds a manifest, an index or a config read from a registry, in bytes. Registries accept 4 MiB
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests).
const maxManifest = 4 << 20

// Base is one platform of a base image.
type Base struct {
	Config v1.ConfigFile
	Layers []Layer
}

// Layer is a layer of a base, in the form in which its registry has it.
type Layer struct {
	Blob
	MediaType types.MediaType
	Cached    bool // it need not be fetched
	Open      func(context.Context) (io.ReadCloser, error)
}

// Bases finds base images.
type Bases interface {
	// Base returns the base for one platform.
	Base(ctx context.Context, b plan.Base, p artifact.Platform) (Base, error)
}

// Store finds pinned bases in a content-addressed cache, then in mirrors, then where they come from. What it returns
// has the digest that was asked for; a cache that was tampered with or cut short is repaired.
type Store struct {
	Dir     string            // of the cache
	Mirrors map[string]string // registry, with a path perhaps, by the host that it stands in for
	Mirror  string            // tried for every host, after Mirrors
	Client  http.RoundTripper // nil for the default

	locks sync.Map // artifact.Digest -> *sync.Mutex: each content is fetched once
	whole sync.Map // artifact.Digest -> true: hashed since this store began
}

// Base returns the platform of a pinned base; see Bases.
func (s *Store) Base(ctx context.Context, b plan.Base, p artifact.Platform) (Base, error) {
	base, err := s.base(ctx, b, p)
	if err != nil {
		return Base{}, fmt.Errorf("base %s@%s for %s: %w", b.Image, b.Digest, p, err)
	}
	return base, nil
}

func (s *Store) base(ctx context.Context, b plan.Base, p artifact.Platform) (Base, error) {
	desc := v1.Descriptor{MediaType: types.OCIImageIndex}
	raw, err := s.small(ctx, b.Image, b.Digest, manifests)
	if err != nil {
		return Base{}, err
	}
	if desc, err = platformOf(raw, b.Digest, p); err != nil {
		return Base{}, err
	}
	digest, err := artifact.ParseDigest(desc.Digest.String())
	if err != nil {
		return Base{}, err
	}
	if digest != b.Digest {
		if raw, err = s.small(ctx, b.Image, digest, manifests); err != nil {
			return Base{}, err
		}
	}
	var m v1.Manifest
	if err := canonjson.DecodeOpen(raw, &m); err != nil {
		return Base{}, fmt.Errorf("reading manifest %s: %w", digest, err)
	}
	configDigest, err := artifact.ParseDigest(m.Config.Digest.String())
	if err != nil {
		return Base{}, fmt.Errorf("manifest %s: config: %w", digest, err)
	}
	raw, err = s.small(ctx, b.Image, configDigest, blobs)
	if err != nil {
		return Base{}, err
	}
	var out Base
	if err := canonjson.DecodeOpen(raw, &out.Config); err != nil {
		return Base{}, fmt.Errorf("reading config %s: %w", configDigest, err)
	}
	if len(out.Config.RootFS.DiffIDs) != len(m.Layers) {
		return Base{}, fmt.Errorf("manifest %s has %d layers and its config %d", digest, len(m.Layers), len(out.Config.RootFS.DiffIDs))
	}
	for _, l := range m.Layers {
		d, err := artifact.ParseDigest(l.Digest.String())
		if err != nil {
			return Base{}, fmt.Errorf("manifest %s: layer: %w", digest, err)
		}
		media, err := ociLayerType(l.MediaType)
		if err != nil {
			return Base{}, fmt.Errorf("manifest %s: layer %s: %w", digest, d, err)
		}
		_, err = os.Stat(s.file(d))
		out.Layers = append(out.Layers, Layer{Blob: Blob{d, l.Size}, MediaType: media, Cached: err == nil, Open: func(ctx context.Context) (io.ReadCloser, error) {
			if err := s.ensure(ctx, b.Image, d, l.Size, blobs); err != nil {
				return nil, err
			}
			return os.Open(s.file(d))
		}})
	}
	return out, nil
}

// Platforms are the platforms of a base that Go builds for, sorted; what Resolve found, for the lock.
func Platforms(raw []byte) ([]artifact.Platform, error) {
	var index v1.IndexManifest
	if err := canonjson.DecodeOpen(raw, &index); err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	var out []artifact.Platform
	for _, m := range index.Manifests {
		if p, ok := toPlatform(m.Platform); ok && m.MediaType.IsImage() {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, artifact.Platform.Compare)
	return slices.Compact(out), nil
}

// toPlatform is an OCI platform in Go's terms. The variant that every machine of an architecture has is dropped: arm64
// is always v8, and a 32-bit Arm that names none is v7. Attestations, which say unknown/unknown, are not platforms.
func toPlatform(p *v1.Platform) (artifact.Platform, bool) {
	if p == nil {
		return artifact.Platform{}, false
	}
	variant := p.Variant
	switch {
	case p.Architecture == "arm64" && variant == "v8", p.Architecture == "amd64" && variant == "v1":
		variant = ""
	case p.Architecture == "arm" && variant == "":
		variant = "v7"
	}
	text := p.OS + "/" + p.Architecture
	if variant != "" {
		text += "/" + variant
	}
	out, err := artifact.ParsePlatform(text)
	return out, err == nil
}

// platformOf finds the manifest of a platform in an index. A manifest that is not an index stands for itself.
func platformOf(raw []byte, digest artifact.Digest, p artifact.Platform) (v1.Descriptor, error) {
	var index v1.IndexManifest
	if err := canonjson.DecodeOpen(raw, &index); err != nil {
		return v1.Descriptor{}, fmt.Errorf("reading index %s: %w", digest, err)
	}
	if len(index.Manifests) == 0 {
		h, err := v1.NewHash(string(digest))
		return v1.Descriptor{Digest: h}, err
	}
	var have []string
	for _, m := range index.Manifests {
		q, ok := toPlatform(m.Platform)
		if !ok || !m.MediaType.IsImage() {
			continue
		}
		if q == p {
			return m, nil
		}
		have = append(have, q.String())
	}
	return v1.Descriptor{}, fault.Errorf(fault.Usage, "the index has no %s; it has %s", p, strings.Join(have, " "))
}

// ociLayerType is the OCI name of a layer's media type: Docker's names mean the same bytes.
func ociLayerType(t types.MediaType) (types.MediaType, error) {
	switch t {
	case types.DockerLayer, types.OCILayer:
		return types.OCILayer, nil
	case types.DockerUncompressedLayer, types.OCIUncompressedLayer:
		return types.OCIUncompressedLayer, nil
	case types.OCILayerZStd:
		return t, nil
	}
	return "", fmt.Errorf("media type %q cannot be in an OCI image that anyone may pull", t)
}

// kind is the part of a registry that a content is in.
type kind int

const (
	manifests kind = iota
	blobs
)

func (s *Store) file(d artifact.Digest) string { return filepath.Join(s.Dir, "sha256", d.Hex()) }

// small returns a manifest or a config.
func (s *Store) small(ctx context.Context, image string, d artifact.Digest, k kind) ([]byte, error) {
	if err := s.ensure(ctx, image, d, maxManifest, k); err != nil {
		return nil, err
	}
	return bounded.File(s.file(d), maxManifest)
}

// ensure brings a content into the cache, unless it is there and whole.
func (s *Store) ensure(ctx context.Context, image string, d artifact.Digest, limit int64, k kind) error {
	lock, _ := s.locks.LoadOrStore(d, &sync.Mutex{})
	lock.(*sync.Mutex).Lock()
	defer lock.(*sync.Mutex).Unlock()

	if _, seen := s.whole.Load(d); seen {
		return nil
	}
	if got, _, err := artifact.SumFile(s.file(d)); err == nil && got == d {
		s.whole.Store(d, true)
		return nil
	}
	refs, err := s.places(image)
	if err != nil {
		return err
	}
	tried := []error{fmt.Errorf("cache %s: not there", s.Dir)}
	for _, ref := range refs {
		err := s.fetch(ctx, ref, d, limit, k)
		if err == nil {
			s.whole.Store(d, true)
			return nil
		}
		if path := (*os.PathError)(nil); errors.As(err, &path) {
			return fault.Errorf(fault.Build, "keeping %s: %w", d, err) // the disk, not the registry
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		tried = append(tried, fmt.Errorf("%s: %w", ref.Name(), err))
	}
	return fault.Errorf(codeOf(tried[1:]), "cannot find %s; tried\n%w\nset SLIPWAY_MIRROR or mirrors: to a registry that has it, or run the lock command for a newer base", d, errors.Join(tried...))
}

// places are the repositories that may have the content of an image, in the order in which they are asked.
func (s *Store) places(image string) ([]name.Repository, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "image %q: %w", image, err)
	}
	upstream := ref.Context()
	host := upstream.RegistryStr()
	if host == name.DefaultRegistry {
		host = "docker.io"
	}
	var out []name.Repository
	for _, mirror := range []string{s.Mirrors[host], s.Mirror} {
		if mirror == "" {
			continue
		}
		r, err := name.NewRepository(strings.TrimSuffix(mirror, "/") + "/" + upstream.RepositoryStr())
		if err != nil {
			return nil, fault.Errorf(fault.Usage, "mirror %q: %w", mirror, err)
		}
		out = append(out, r)
	}
	return append(out, upstream), nil
}

func (s *Store) options(ctx context.Context) []remote.Option {
	o := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent("slipway")}
	client := s.Client
	if client == nil {
		client = remote.DefaultTransport
	}
	return append(o, remote.WithTransport(web.Kept(client)))
}

// fetch downloads a content into the cache: to a temporary file, and only what has the digest is kept.
func (s *Store) fetch(ctx context.Context, repo name.Repository, d artifact.Digest, limit int64, k kind) error {
	ref := repo.Digest(string(d))
	var r io.ReadCloser
	if k == manifests {
		got, err := remote.Get(ref, s.options(ctx)...)
		if err != nil {
			return err
		}
		r = io.NopCloser(bytes.NewReader(got.Manifest))
	} else {
		layer, err := remote.Layer(ref, s.options(ctx)...)
		if err != nil {
			return err
		}
		if r, err = layer.Compressed(); err != nil {
			return err
		}
	}
	defer r.Close()
	dir := filepath.Dir(s.file(d))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".fetch-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	m := artifact.NewMeter(f)
	if _, err := io.Copy(m, io.LimitReader(r, limit+1)); err != nil {
		return err
	}
	if m.Digest() != d {
		return fmt.Errorf("it answered with %d bytes of the digest %s", m.Size(), m.Digest())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.file(d))
}

// Resolve asks for the digest that an image's tag has now, for the lock: mirrors first, as for the content. The index
// is left in the cache.
func (s *Store) Resolve(ctx context.Context, image string) (artifact.Digest, []artifact.Platform, error) {
	ref, err := name.NewTag(image)
	if err != nil {
		return "", nil, fault.Errorf(fault.Usage, "image %q: %w", image, err)
	}
	refs, err := s.places(image)
	if err != nil {
		return "", nil, err
	}
	var tried []error
	for _, repo := range refs {
		got, err := remote.Get(repo.Tag(ref.TagStr()), s.options(ctx)...)
		if err != nil {
			tried = append(tried, fmt.Errorf("%s: %w", repo.Name(), err))
			continue
		}
		digest := artifact.Sum(got.Manifest)
		if string(digest) != got.Digest.String() {
			return "", nil, fault.Errorf(fault.Mismatch, "%s: the registry calls %s what has the digest %s", repo.Name(), got.Digest, digest)
		}
		if !got.MediaType.IsIndex() {
			return "", nil, fault.Errorf(fault.Usage, "%s is for one platform only; name an image with an index", image)
		}
		platforms, err := Platforms(got.Manifest)
		if err != nil {
			return "", nil, err
		}
		return digest, platforms, nil
	}
	return "", nil, fault.Errorf(codeOf(tried), "resolving %s: %w", image, errors.Join(tried...))
}

// codeOf is the exit code for a content that no registry gave: Credentials where all of them ask who we are, Transient
// otherwise, since a registry that is down and one that has nothing today are told apart only by trying again.
func codeOf(tried []error) fault.Code {
	for _, err := range tried {
		var refused *transport.Error
		if errors.Is(err, web.ErrClear) {
			continue
		}
		if !errors.As(err, &refused) || fault.OfStatus(refused.StatusCode) != fault.Credentials {
			return fault.Transient
		}
	}
	return fault.Credentials
}
