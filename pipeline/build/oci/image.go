package oci

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/build/certs"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Assembler puts images together in one layout. Its methods may be called concurrently.
type Assembler struct {
	Layout *Layout
	Bases  Bases
	Time   time.Time // the commit's: of every entry, image and index

	layers sync.Map // string, the layer's key -> func() (layer, error): each layer is packed once
}

// Contents are the files of an image for one platform, by the platform.
type Contents func(artifact.Platform) ([]archive.File, error)

// Built is an assembled image.
type Built struct {
	Index     Blob
	Platforms []BuiltPlatform
}

// BuiltPlatform is one platform of a built image.
type BuiltPlatform struct {
	Platform artifact.Platform
	Manifest Blob
	Size     int64 // of manifest, config and layers together, in bytes
}

// layer is a layer of ours.
type layer struct {
	Blob
	diffID v1.Hash
}

// Assemble puts together all platforms of an image and names its index by all of its tags. Images with the same key
// have the same contents on a platform, so they share the layer: packed once, stored once, pushed once.
func (a *Assembler) Assemble(ctx context.Context, im plan.Image, key string, contents Contents) (Built, error) {
	built := Built{Platforms: make([]BuiltPlatform, len(im.Platforms))}
	descriptors := make([]v1.Descriptor, len(im.Platforms))
	group, ctx := errgroup.WithContext(ctx)
	for i, pl := range im.Platforms {
		group.Go(func() error {
			var err error
			built.Platforms[i], descriptors[i], err = a.platform(ctx, im, key, pl.Platform, contents)
			if err != nil {
				return fmt.Errorf("%s on %s for %s: %w", im.Repository, im.Distro, pl.Platform, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Built{}, err
	}
	index, err := a.Layout.JSON(v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests:     descriptors,
		Annotations:   im.Labels,
	})
	if err != nil {
		return Built{}, err
	}
	desc, err := descriptor(index, types.OCIImageIndex)
	if err != nil {
		return Built{}, err
	}
	for _, tag := range im.Tags {
		a.Layout.Name(desc, im.Repository+":"+tag)
	}
	built.Index = index
	return built, nil
}

// platform assembles one platform of an image.
func (a *Assembler) platform(ctx context.Context, im plan.Image, key string, pl artifact.Platform, contents Contents) (BuiltPlatform, v1.Descriptor, error) {
	fail := func(err error) (BuiltPlatform, v1.Descriptor, error) { return BuiltPlatform{}, v1.Descriptor{}, err }
	ours, err := a.pack(key+" "+pl.String(), func() ([]archive.File, error) { return contents(pl) })
	if err != nil {
		return fail(err)
	}
	base, err := a.Bases.Base(ctx, im.Base, pl)
	if err != nil {
		return fail(err)
	}
	config := a.config(im, pl, base.Config)
	var layers []v1.Descriptor
	var size int64
	for _, l := range base.Layers {
		if err := a.Layout.Add(l.Blob, func() (io.ReadCloser, error) { return l.Open(ctx) }); err != nil {
			return fail(err)
		}
		d, err := descriptor(l.Blob, l.MediaType)
		if err != nil {
			return fail(err)
		}
		layers = append(layers, d)
		size += l.Size
	}
	add := func(l layer, createdBy string) error {
		d, err := descriptor(l.Blob, types.OCILayer)
		if err != nil {
			return err
		}
		layers = append(layers, d)
		size += l.Size
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.diffID)
		config.History = append(config.History, v1.History{Created: v1.Time{Time: a.Time.UTC()}, CreatedBy: createdBy})
		return nil
	}
	if im.Certificates != "" {
		l, err := a.pack("certificates "+im.Certificates, func() ([]archive.File, error) {
			return []archive.File{archive.Bytes(strings.TrimPrefix(im.Certificates, "/"), certs.Bundle())}, nil
		})
		if err != nil {
			return fail(err)
		}
		if err := add(l, "slipway: CA certificates"); err != nil {
			return fail(err)
		}
	}
	if err := add(ours, "slipway: "+im.Path); err != nil {
		return fail(err)
	}
	configBlob, err := a.Layout.JSON(config)
	if err != nil {
		return fail(err)
	}
	configDesc, err := descriptor(configBlob, types.OCIConfigJSON)
	if err != nil {
		return fail(err)
	}
	manifest, err := a.Layout.JSON(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        configDesc,
		Layers:        layers,
		Annotations:   im.Labels,
	})
	if err != nil {
		return fail(err)
	}
	desc, err := descriptor(manifest, types.OCIManifestSchema1)
	if err != nil {
		return fail(err)
	}
	desc.Platform = &v1.Platform{OS: pl.OS, Architecture: pl.Arch, Variant: ociVariant(pl)}
	return BuiltPlatform{pl, manifest, size + configBlob.Size + manifest.Size}, desc, nil
}

// ociVariant is the variant that the index names: what runtimes expect of arm64 is v8, though it goes without saying.
func ociVariant(p artifact.Platform) string {
	if p.Arch == "arm64" && p.Variant == "" {
		return "v8"
	}
	return p.Variant
}

// config is the image's configuration: the base's layers, history and environment, and for the rest what the plan
// says. The base's labels are not taken over, since they describe the base.
func (a *Assembler) config(im plan.Image, pl artifact.Platform, base v1.ConfigFile) v1.ConfigFile {
	c := v1.ConfigFile{
		Architecture: pl.Arch,
		OS:           pl.OS,
		Variant:      ociVariant(pl),
		Created:      v1.Time{Time: a.Time.UTC()},
		History:      slices.Clone(base.History),
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: slices.Clone(base.RootFS.DiffIDs)},
		Config: v1.Config{
			User:       im.Process.User,
			Entrypoint: im.Process.Entrypoint,
			Cmd:        im.Process.Cmd,
			Env:        mergeEnv(base.Config.Env, im.Process.Env),
			WorkingDir: cmp.Or(im.Process.Workdir, "/"),
			Labels:     im.Labels,
		},
	}
	for _, p := range im.Process.Ports {
		if c.Config.ExposedPorts == nil {
			c.Config.ExposedPorts = map[string]struct{}{}
		}
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		c.Config.ExposedPorts[p] = struct{}{}
	}
	for _, v := range im.Process.Volumes {
		if c.Config.Volumes == nil {
			c.Config.Volumes = map[string]struct{}{}
		}
		c.Config.Volumes[v] = struct{}{}
	}
	return c
}

// mergeEnv is the base's environment with ours on top, in the base's order.
func mergeEnv(base, ours []string) []string {
	set := map[string]string{}
	for _, kv := range ours {
		k, v, _ := strings.Cut(kv, "=")
		set[k] = v
	}
	var out []string
	for _, kv := range base {
		k, _, _ := strings.Cut(kv, "=")
		if v, ok := set[k]; ok {
			kv = k + "=" + v
			delete(set, k)
		}
		out = append(out, kv)
	}
	for _, k := range slices.Sorted(maps.Keys(set)) {
		out = append(out, k+"="+set[k])
	}
	return out
}

// pack writes a layer, once for each key.
func (a *Assembler) pack(key string, files func() ([]archive.File, error)) (layer, error) {
	once, _ := a.layers.LoadOrStore(key, sync.OnceValues(func() (layer, error) {
		fs, err := files()
		if err != nil {
			return layer{}, err
		}
		content := artifact.NewMeter(io.Discard)
		blob, err := a.Layout.Write(func(w io.Writer) error {
			gz := archive.Gzip(w)
			if err := archive.Tar(io.MultiWriter(content, gz), fs, a.Time); err != nil {
				return err
			}
			return gz.Close()
		})
		if err != nil {
			return layer{}, err
		}
		diffID, err := v1.NewHash(string(content.Digest()))
		return layer{blob, diffID}, err
	}))
	return once.(func() (layer, error))()
}

// Pack writes the layer that Assemble will want for the key and the platform, so that it can be done as soon as the
// platform's binary is there.
func (a *Assembler) Pack(key string, pl artifact.Platform, contents Contents) error {
	_, err := a.pack(key+" "+pl.String(), func() ([]archive.File, error) { return contents(pl) })
	return err
}

func descriptor(b Blob, t types.MediaType) (v1.Descriptor, error) {
	h, err := v1.NewHash(string(b.Digest))
	return v1.Descriptor{MediaType: t, Size: b.Size, Digest: h}, err
}
