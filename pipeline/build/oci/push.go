package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Attached is a file of a document that refers to an index.
type Attached struct {
	Name, MediaType string
	Content         []byte
}

// Sum is the digest of the file.
func (a Attached) Sum() artifact.Digest { return artifact.Sum(a.Content) }

// pusher talks to the registry of an image.
type pusher struct {
	tag     name.Tag
	options []remote.Option
}

func newPusher(ctx context.Context, image string, client http.RoundTripper) (pusher, error) {
	tag, err := name.NewTag(image)
	if err != nil {
		return pusher{}, fault.Errorf(fault.Usage, "image %q: %w", image, err)
	}
	if client == nil {
		client = remote.DefaultTransport
	}
	return pusher{tag, []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent("slipway"), remote.WithTransport(web.Kept(client)),
	}}, nil
}

// fail gives an error of a registry its exit code.
func (p pusher) fail(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	code := fault.Transient
	if refused := (*transport.Error)(nil); errors.As(err, &refused) {
		code = fault.OfStatus(refused.StatusCode)
	}
	return fault.Errorf(code, "%s: %s: %w", p.tag.Name(), what, err)
}

// free refuses a tag that has another digest.
func (p pusher) free(ctx context.Context, index artifact.Digest) error {
	has, err := remote.Head(p.tag, p.options...)
	if refused := (*transport.Error)(nil); errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return p.fail(ctx, "looking for it", err)
	}
	if has.Digest.String() != string(index) {
		return fault.Errorf(fault.Conflict, "%s is there as %s, and the tag of a base never moves; choose another version, or delete that one", p.tag.Name(), has.Digest)
	}
	return nil
}

// Tag gives an index that the registry has by digest its name. A tag that has another digest is a fault.Conflict.
func Tag(ctx context.Context, image string, index artifact.Digest, client http.RoundTripper) error {
	p, err := newPusher(ctx, image, client)
	if err == nil {
		err = p.free(ctx, index)
	}
	if err != nil {
		return err
	}
	is, err := remote.Get(p.tag.Digest(string(index)), p.options...)
	if err != nil {
		return p.fail(ctx, "reading "+string(index), err)
	}
	if err := remote.Tag(p.tag, is, p.options...); err != nil {
		return p.fail(ctx, "giving it its tag", err)
	}
	return nil
}

// Push sends an index of the layout in dir to the repository of image by digest, and then one artifact of a type that refers to it with what
// is attached. The tag is left to Tag; one that has another digest is a fault.Conflict, and nothing is sent. Client may be nil for
// the default.
func Push(ctx context.Context, dir, image string, index artifact.Digest, artifactType string, attached []Attached, client http.RoundTripper) error {
	p, err := newPusher(ctx, image, client)
	if err == nil {
		err = p.free(ctx, index)
	}
	if err != nil {
		return err
	}
	read, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return err
	}
	hash, err := v1.NewHash(string(index))
	if err != nil {
		return err
	}
	ours, err := read.ImageIndex(hash)
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(p.tag.Digest(string(index)), ours, p.options...); err != nil {
		return p.fail(ctx, "pushing", err)
	}
	size, err := ours.Size()
	if err != nil {
		return err
	}
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.MediaType(artifactType)), types.OCIManifestSchema1)
	for _, a := range attached {
		img, err = mutate.Append(img, mutate.Addendum{
			Layer:       static.NewLayer(a.Content, types.MediaType(a.MediaType)),
			Annotations: map[string]string{"org.opencontainers.image.title": a.Name},
		})
		if err != nil {
			return err
		}
	}
	about, ok := mutate.Subject(img, v1.Descriptor{MediaType: types.OCIImageIndex, Digest: hash, Size: size}).(v1.Image)
	if !ok {
		return fmt.Errorf("%s: what describes it is no document", image)
	}
	digest, err := about.Digest()
	if err != nil {
		return err
	}
	if err := remote.Write(p.tag.Digest(digest.String()), about, p.options...); err != nil {
		return p.fail(ctx, "pushing what describes it", err)
	}
	return nil
}

// Bounds of what is attached to an index.
const (
	maxAttached    = 16 << 20 // bytes of a file
	maxAttachments = 256
)

// Attachments are the files of the artifact of a type that refers to an index, by their names; see Push. Mirrors are not asked: they
// need not have what refers to something. An index without one is an error.
func (s *Store) Attachments(ctx context.Context, image string, index artifact.Digest, artifactType string) (map[string][]byte, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "image %q: %w", image, err)
	}
	repo := ref.Context()
	list, err := remote.Referrers(repo.Digest(string(index)), append(s.options(ctx), remote.WithFilter("artifactType", artifactType))...)
	if err != nil {
		return nil, err
	}
	of, err := list.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range of.Manifests {
		if d.ArtifactType != artifactType {
			continue
		}
		im, err := remote.Image(repo.Digest(d.Digest.String()), s.options(ctx)...)
		if err != nil {
			return nil, err
		}
		m, err := im.Manifest()
		if err != nil {
			return nil, err
		}
		out := map[string][]byte{}
		for _, l := range m.Layers {
			if l.Size > maxAttached || len(out) > maxAttachments {
				return nil, fmt.Errorf("%s has more in it than is read", d.Digest)
			}
			layer, err := im.LayerByDigest(l.Digest)
			if err != nil {
				return nil, err
			}
			r, err := layer.Compressed() // as it is, with its digest checked
			if err != nil {
				return nil, err
			}
			b, err := bounded.Read(r, maxAttached)
			if err = errors.Join(err, r.Close()); err != nil {
				return nil, err
			}
			out[l.Annotations["org.opencontainers.image.title"]] = b
		}
		return out, nil
	}
	return nil, fmt.Errorf("nothing of type %s refers to %s", artifactType, index)
}
