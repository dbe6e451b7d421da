package bake

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/build/layertar"
	"github.com/slipway-build/slipway/pipeline/build/oci"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// maxManifest bounds a manifest, an index or a config, in bytes, as registries do.
const maxManifest = 4 << 20

// img is an image of one platform that is in a layout.
type img struct {
	oci.Base
	layers []v1.Descriptor
}

// add brings the layers of the image into a layout.
func (im *img) add(ctx context.Context, to *oci.Layout) error {
	im.Config.History, im.Config.RootFS.DiffIDs = slices.Clone(im.Config.History), slices.Clone(im.Config.RootFS.DiffIDs)
	for _, l := range im.Layers {
		if err := to.Add(l.Blob, func() (io.ReadCloser, error) { return l.Open(ctx) }); err != nil {
			return err
		}
		d, err := descriptor(l.Blob, l.MediaType)
		if err != nil {
			return err
		}
		im.layers = append(im.layers, d)
	}
	return nil
}

// over lays a layer of the layout over the image.
func (im *img) over(blob oci.Blob, diffID artifact.Digest, by string, t time.Time) error {
	d, err := descriptor(blob, types.OCILayer)
	if err != nil {
		return err
	}
	id, err := v1.NewHash(string(diffID))
	if err != nil {
		return err
	}
	im.layers = append(im.layers, d)
	im.Config.Created = v1.Time{Time: t.UTC()}
	im.Config.RootFS.DiffIDs = append(im.Config.RootFS.DiffIDs, id)
	im.Config.History = append(im.Config.History, v1.History{Created: im.Config.Created, CreatedBy: by})
	return nil
}

// manifest writes config and manifest into the layout.
func (im *img) manifest(to *oci.Layout, annotations map[string]string) (v1.Descriptor, error) {
	blob, err := to.JSON(im.Config)
	if err != nil {
		return v1.Descriptor{}, err
	}
	config, err := descriptor(blob, types.OCIConfigJSON)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if blob, err = to.JSON(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: im.layers, Annotations: annotations}); err != nil {
		return v1.Descriptor{}, err
	}
	return descriptor(blob, types.OCIManifestSchema1)
}

// archive writes the image as an OCI archive, for an engine. dir is the folder of the layout.
func (im *img) archive(to *oci.Layout, dir, name string) error {
	d, err := im.manifest(to, nil)
	if err != nil {
		return err
	}
	index, err := canonjson.Encode(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{d}})
	if err != nil {
		return err
	}
	files := []archive.File{archive.Bytes("index.json", index), archive.Bytes("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))}
	config, err := to.JSON(im.Config)
	if err != nil {
		return err
	}
	hexes := []string{d.Digest.Hex, config.Digest.Hex()}
	for _, l := range im.layers {
		hexes = append(hexes, l.Digest.Hex)
	}
	slices.Sort(hexes)
	for _, hex := range slices.Compact(hexes) {
		f, err := archive.Disk("blobs/sha256/"+hex, blobFile(dir, artifact.Digest("sha256:"+hex)))
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := archive.Tar(f, files, time.Unix(0, 0)); err != nil {
		return err
	}
	return f.Close()
}

func blobFile(dir string, d artifact.Digest) string {
	return filepath.Join(dir, "blobs", "sha256", d.Hex())
}

func descriptor(b oci.Blob, t types.MediaType) (v1.Descriptor, error) {
	h, err := v1.NewHash(string(b.Digest))
	return v1.Descriptor{MediaType: t, Digest: h, Size: b.Size}, err
}

// layersOf are the layers of the image of an OCI archive, which is unpacked into dir.
func layersOf(dir, name string) ([]opener, error) {
	blobs, err := unpack(dir, name)
	if err != nil {
		return nil, err
	}
	read := func(hex string, v any) error {
		b, err := bounded.File(blobs[hex], maxManifest)
		if err != nil {
			return err
		}
		return canonjson.DecodeOpen(b, v)
	}
	at := "index.json"
	var m v1.Manifest
	for depth := 0; ; depth++ { // an index may be in an index
		var index v1.IndexManifest
		if err := read(at, &index); err != nil {
			return nil, err
		}
		var images []v1.Descriptor
		for _, d := range index.Manifests {
			if d.Platform == nil || d.Platform.OS != "unknown" { // an attestation is none
				images = append(images, d)
			}
		}
		if len(images) != 1 || depth == 4 {
			return nil, fmt.Errorf("it has %d images, and one was asked for", len(images))
		}
		at = images[0].Digest.Hex
		if images[0].MediaType.IsImage() {
			break
		}
	}
	if err := read(at, &m); err != nil {
		return nil, err
	}
	var out []opener
	for _, l := range m.Layers {
		file, ok := blobs[l.Digest.Hex]
		if !ok {
			return nil, fmt.Errorf("layer %s is not in it", l.Digest)
		}
		out = append(out, func(context.Context) (io.ReadCloser, error) { return os.Open(file) })
	}
	return out, nil
}

// unpack unpacks what is in an OCI archive into dir, and returns the files: index.json, and blobs by their digest in hexadecimal.
func unpack(dir, name string) (map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out, left := map[string]string{}, int64(maxUnpacked)
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		key, blob := strings.CutPrefix(layertar.Clean(h.Name), "blobs/sha256/")
		if h.Typeflag != tar.TypeReg || !blob && key != "index.json" || strings.Contains(key, "/") || out[key] != "" {
			continue
		}
		if left -= h.Size; left < 0 || len(out) > 4096 {
			return nil, errors.New("it has more in it than any base")
		}
		to, err := os.CreateTemp(dir, "blob-*")
		if err != nil {
			return nil, err
		}
		m := artifact.NewMeter(to)
		_, err = io.Copy(m, tr)
		if err = errors.Join(err, to.Close()); err != nil {
			return nil, err
		}
		if blob && m.Digest().Hex() != key {
			return nil, fmt.Errorf("%s has the digest %s", h.Name, m.Digest())
		}
		out[key] = to.Name()
	}
}
