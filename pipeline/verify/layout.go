package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/artifact"
	"github.com/slipway-build/slipway/pipeline/manifest"
)

// layoutDir holds one OCI layout for all images
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
const layoutDir = "images"

// refName is the annotation by which index.json names an image
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md#pre-defined-annotation-keys).
const refName = "org.opencontainers.image.ref.name"

// maxDocument is what a registry takes as an index, a manifest or a config, in bytes
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests).
const maxDocument = 4 << 20

// descriptor refers to a blob
// (https://github.com/opencontainers/image-spec/blob/main/descriptor.md).
type descriptor struct {
	Digest      artifact.Digest   `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
	Platform    platform          `json:"platform"`
}

type platform struct {
	OS      string `json:"os"`
	Arch    string `json:"architecture"`
	Variant string `json:"variant"`
}

func (p platform) is(want artifact.Platform) bool {
	return p.OS == want.OS && p.Arch == want.Arch && (want.Variant == "" || p.Variant == want.Variant)
}

type imageIndex struct {
	Manifests []descriptor `json:"manifests"`
}

type imageManifest struct {
	Config descriptor   `json:"config"`
	Layers []descriptor `json:"layers"`
}

// layout is the OCI layout while it is checked.
type layout struct {
	*dist
	listed  map[string]artifact.File // what the manifest says of the layout's files, by path
	reached map[string]bool          // blobs that an image refers to, by path
}

// images holds the OCI layout against the images of the manifest. That each blob hashes to its name has been checked
// by files: here it is enough that the name, the size and the list of files agree.
func (d *dist) images() {
	l := layout{dist: d, listed: map[string]artifact.File{}, reached: map[string]bool{}}
	for _, f := range d.rel.Files {
		if strings.HasPrefix(f.Path, layoutDir+"/") {
			l.listed[f.Path] = f
		}
	}
	if len(d.rel.Images) == 0 && len(l.listed) == 0 {
		return
	}
	before := d.report.Count(Fail)
	var marker struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := l.decode(layoutDir+"/oci-layout", &marker); err != nil {
		l.row(Fail, "layout", layoutDir+"/oci-layout", "%v", err)
	} else if marker.Version != "1.0.0" {
		l.row(Fail, "layout", layoutDir+"/oci-layout", "imageLayoutVersion %q, want 1.0.0", marker.Version)
	}

	names := l.names()
	for _, image := range d.rel.Images {
		for _, tag := range append(slices.Clone(image.Tags), image.Floating...) {
			name := image.Repository + ":" + tag
			named, ok := names[name]
			delete(names, name)
			switch {
			case ok && (named.Digest != image.Digest || named.Size != image.Size):
				l.row(Fail, "image", name, "index.json gives %s of %d bytes, want %s of %d", named.Digest, named.Size, image.Digest, image.Size)
			case ok:
				l.row(Pass, "image", name, "")
			case slices.Contains(image.Tags, tag): // a floating tag is for a publisher to set
				l.row(Fail, "image", name, "index.json does not name it")
			}
		}
		if len(image.Tags) == 0 {
			l.row(Fail, "image", image.Repository, "the image for %s has no tag", image.Distro)
		}
		l.image(image)
	}
	for name, named := range names {
		l.row(Fail, "image", name, "index.json names it (%s), and %s does not", named.Digest, manifest.FileName)
	}
	if d.report.Count(Fail) > before {
		return // an image was not followed to its end, so what nothing refers to is not known
	}
	for p := range l.listed {
		if strings.HasPrefix(p, layoutDir+"/blobs/") && !l.reached[p] {
			l.row(Fail, "layout", p, "no image refers to this blob")
		}
	}
}

// names reads index.json: descriptors by the image name that they carry.
func (l *layout) names() map[string]descriptor {
	const name = layoutDir + "/index.json"
	var index imageIndex
	if err := l.decode(name, &index); err != nil {
		l.row(Fail, "layout", name, "%v", err)
		return nil
	}
	names := make(map[string]descriptor, len(index.Manifests))
	for _, m := range index.Manifests {
		ref := m.Annotations[refName]
		if _, ok := names[ref]; ok || ref == "" {
			l.row(Fail, "layout", name, "%s is named %q, which is empty or stands twice", m.Digest, ref)
			continue
		}
		names[ref] = m
	}
	return names
}

// image follows an image from its index to the last layer.
func (l *layout) image(image manifest.Image) {
	name := image.Repository
	if len(image.Tags) > 0 {
		name += ":" + image.Tags[0]
	}
	var index imageIndex
	if err := l.document(descriptor{Digest: image.Digest, Size: image.Size}, &index); err != nil {
		l.row(Fail, "index", name, "%v", err)
		for _, p := range image.Platforms {
			l.row(Skip, "platform", name+" "+p.Platform.String(), "the index of the image could not be read")
		}
		return
	}
	unclaimed := index.Manifests
	for _, p := range image.Platforms {
		row := name + " " + p.Platform.String()
		i := slices.IndexFunc(unclaimed, func(m descriptor) bool { return m.Digest == p.Digest })
		if i < 0 {
			l.row(Fail, "platform", row, "the index does not have its manifest %s", p.Digest)
			continue
		}
		m := unclaimed[i]
		unclaimed = slices.Delete(slices.Clone(unclaimed), i, i+1)
		if err := l.platform(m, p); err != nil {
			l.row(Fail, "platform", row, "%v", err)
			continue
		}
		l.row(Pass, "platform", row, "")
	}
	for _, m := range unclaimed {
		l.row(Fail, "index", name, "has a manifest %s for %s/%s that %s does not name", m.Digest, m.Platform.OS, m.Platform.Arch, manifest.FileName)
	}
}

// platform checks one platform's manifest, config and layers.
func (l *layout) platform(m descriptor, want manifest.ImagePlatform) error {
	if !m.Platform.is(want.Platform) {
		return fmt.Errorf("the index gives it for %s/%s %s", m.Platform.OS, m.Platform.Arch, m.Platform.Variant)
	}
	var image imageManifest
	if err := l.document(m, &image); err != nil {
		return err
	}
	var config platform
	if err := l.document(image.Config, &config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if !config.is(want.Platform.Base()) {
		return fmt.Errorf("its config is for %s/%s", config.OS, config.Arch)
	}
	if len(image.Layers) == 0 {
		return errors.New("it has no layer")
	}
	size := m.Size + image.Config.Size
	counted := map[artifact.Digest]bool{}
	for i, layer := range image.Layers {
		if err := l.blob(layer); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		if !counted[layer.Digest] { // a layer that stands twice is pulled once
			counted[layer.Digest] = true
			size += layer.Size
		}
	}
	if size != want.Size {
		return fmt.Errorf("a pull fetches %d bytes, and %s says %d", size, manifest.FileName, want.Size)
	}
	return nil
}

// blob checks that the layout has the blob that is referred to.
func (l *layout) blob(d descriptor) error {
	if d.Digest == "" {
		return errors.New("a descriptor has no digest")
	}
	p := blobPath(d.Digest)
	f, ok := l.listed[p]
	switch {
	case !ok:
		return fmt.Errorf("blob %s is not in %s", d.Digest, manifest.FileName)
	case f.Digest != d.Digest:
		return fmt.Errorf("blob %s is listed with %s", d.Digest, f.Digest)
	case f.Size != d.Size:
		return fmt.Errorf("blob %s has %d bytes, and its descriptor says %d", d.Digest, f.Size, d.Size)
	}
	if _, ok := l.present[p]; !ok {
		return fmt.Errorf("blob %s: %w", d.Digest, errMissing)
	}
	l.reached[p] = true
	return nil
}

// document reads a blob that is JSON. It is hashed again, since what is parsed must be what was checked.
func (l *layout) document(d descriptor, into any) error {
	if err := l.blob(d); err != nil {
		return err
	}
	b, err := l.read(blobPath(d.Digest), maxDocument)
	if err == nil && artifact.Sum(b) != d.Digest {
		err = errors.New("it does not hash to its name")
	}
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	return nil
}

// decode reads a JSON file of the layout that is not a blob.
func (l *layout) decode(name string, into any) error {
	if _, ok := l.listed[name]; !ok {
		return fmt.Errorf("not in %s", manifest.FileName)
	}
	b, err := l.read(name, maxDocument)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}
