package verify

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// layoutDir holds one OCI layout for all images, and for the charts that go to a registry
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
const layoutDir = "images"

// Media types of a chart in a registry (https://helm.sh/docs/topics/registries/#helm-chart-manifest).
const (
	chartConfig  = "application/vnd.cncf.helm.config.v1+json"
	chartContent = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// ofLayout reports whether a file has a place in the layout. Such a file is looked at by following the images: one that
// no image leads to fails there.
func ofLayout(f artifact.File) bool {
	return f.Kind == artifact.Image &&
		(f.Path == layoutDir+"/oci-layout" || f.Path == layoutDir+"/index.json" || f.Path == blobPath(f.Digest))
}

// refName is the annotation by which index.json names an image
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md#pre-defined-annotation-keys).
const refName = "org.opencontainers.image.ref.name"

// maxDocument is what a registry takes as an index, a manifest or a config, in bytes
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests).
const maxDocument = 4 << 20

// descriptor refers to a blob
// (https://github.com/opencontainers/image-spec/blob/main/descriptor.md).
type descriptor struct {
	MediaType   string            `json:"mediaType"`
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

// imageConfig is what an image says of itself
// (https://github.com/opencontainers/image-spec/blob/main/config.md).
type imageConfig struct {
	platform
	Config struct {
		Labels map[string]string `json:"Labels"`
	} `json:"config"`
}

// layout is the OCI layout while it is checked.
type layout struct {
	*dist
	reached map[string]bool // blobs that an image refers to, by path
	layers  []ownLayer
}

// ownLayer is the layer of an image that has the program in it.
type ownLayer struct {
	row      string
	digest   artifact.Digest
	platform artifact.Platform
}

// images holds the OCI layout against the images and charts of the manifest. That each blob hashes to its name has been
// checked by files: here it is enough that the name, the size and the list of files agree.
func (d *dist) images() {
	l := layout{dist: d, reached: map[string]bool{}}
	listed := slices.ContainsFunc(d.rel.Files, func(f artifact.File) bool { return strings.HasPrefix(f.Path, layoutDir+"/") })
	inside := slices.ContainsFunc(d.rel.Charts, func(c manifest.Chart) bool { return c.Digest != "" })
	if len(d.rel.Images) == 0 && !listed && !inside {
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
	for _, c := range d.rel.Charts {
		if c.Digest == "" {
			continue
		}
		name := c.Repository + ":" + c.Tag()
		named, ok := names[name]
		delete(names, name)
		switch err := l.chart(c); {
		case !ok:
			l.row(Fail, "chart", name, "index.json does not name it")
		case named.Digest != c.Digest || named.Size != c.Size:
			l.row(Fail, "chart", name, "index.json gives %s of %d bytes, want %s of %d", named.Digest, named.Size, c.Digest, c.Size)
		case err != nil:
			l.row(Fail, "chart", name, "%s", oneLine(err))
		default:
			l.row(Pass, "chart", name, "")
		}
	}
	l.programs()
	for name, named := range names {
		l.row(Fail, "image", name, "index.json names it (%s), and %s does not", named.Digest, manifest.FileName)
	}
	if d.report.Count(Fail) > before {
		return // an image was not followed to its end, so what nothing refers to is not known
	}
	for p := range d.listed {
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
		own, err := l.platform(m, p)
		switch {
		case err != nil:
			l.row(Fail, "platform", row, "%s", oneLine(err))
		case l.o.HashesOnly:
			l.row(Pass, "platform", row, "")
		default: // the row follows when the layer has been opened
			l.layers = append(l.layers, ownLayer{row, own.Digest, p.Platform})
		}
	}
	for _, m := range unclaimed {
		l.row(Fail, "index", name, "has a manifest %s for %s/%s that %s does not name", m.Digest, m.Platform.OS, m.Platform.Arch, manifest.FileName)
	}
}

// platform checks one platform's manifest, config and layers, and returns the last layer: ours, on top of the base's.
func (l *layout) platform(m descriptor, want manifest.ImagePlatform) (descriptor, error) {
	if !m.Platform.is(want.Platform) {
		return descriptor{}, fmt.Errorf("the index gives it for %s/%s %s", m.Platform.OS, m.Platform.Arch, m.Platform.Variant)
	}
	var image imageManifest
	if err := l.document(m, &image); err != nil {
		return descriptor{}, err
	}
	var config imageConfig
	if err := l.document(image.Config, &config); err != nil {
		return descriptor{}, fmt.Errorf("config: %w", err)
	}
	if !config.is(want.Platform.Base()) {
		return descriptor{}, fmt.Errorf("its config is for %s/%s", config.OS, config.Arch)
	}
	if len(image.Layers) == 0 {
		return descriptor{}, errors.New("it has no layer")
	}
	size := m.Size + image.Config.Size
	counted := map[artifact.Digest]bool{}
	for i, layer := range image.Layers {
		if err := l.blob(layer); err != nil {
			return descriptor{}, fmt.Errorf("layer %d: %w", i, err)
		}
		if !counted[layer.Digest] { // a layer that stands twice is pulled once
			counted[layer.Digest] = true
			size += layer.Size
		}
	}
	if size != want.Size {
		return descriptor{}, fmt.Errorf("a pull fetches %d bytes, and %s says %d", size, manifest.FileName, want.Size)
	}
	if l.o.HashesOnly {
		return descriptor{}, nil
	}
	const label = "org.opencontainers.image."
	return image.Layers[len(image.Layers)-1], errors.Join(
		differs("label "+label+"version", config.Config.Labels[label+"version"], l.rel.Version.String()),
		differs("label "+label+"revision", config.Config.Labels[label+"revision"], l.rel.Commit),
	)
}

// programs opens the layers that have the programs of images in them, each once, and gives the platforms their rows.
func (l *layout) programs() {
	var digests []artifact.Digest
	for _, own := range l.layers {
		if !slices.Contains(digests, own.digest) {
			digests = append(digests, own.digest)
		}
	}
	type result struct {
		entries []inspect.Entry
		err     error
	}
	results := make([]result, len(digests))
	l.each(len(digests), func(i int, _ []byte) {
		results[i].entries, results[i].err = l.openLayer(digests[i])
	})
	for _, own := range l.layers {
		r := results[slices.Index(digests, own.digest)]
		has, err := "", r.err
		if err == nil {
			has, err = hasProgram(r.entries, l.dist.programs(own.platform))
		}
		if err != nil {
			l.row(Fail, "platform", own.row, "layer %s: %v", own.digest, err)
			continue
		}
		l.row(Pass, "platform", own.row, "%s", has)
	}
}

func (l *layout) openLayer(d artifact.Digest) ([]inspect.Entry, error) {
	want := l.listed[blobPath(d)]
	f, err := l.open(want)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	at, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errors.New("it cannot be read at any place, so nothing in it was checked")
	}
	facts, err := opened{l.ctx, at, want}.inspect(inspect.TarGz, inspect.Options{})
	return facts.Entries, err
}

// hasProgram requires one of the programs among the files, under any name, and no other file to have the name of one.
func hasProgram(entries []inspect.Entry, programs map[string]artifact.Digest) (string, error) {
	var found string
	for _, e := range entries {
		if e.Type != inspect.File || e.Mode&0o111 == 0 {
			continue
		}
		if want, ok := programs[path.Base(e.Name)]; ok && e.Digest != want {
			return "", fmt.Errorf("%q in it is %s, and the program of the release is %s", e.Name, e.Digest, want)
		}
		for _, want := range programs {
			if e.Digest == want {
				found = cmp.Or(found, e.Name)
			}
		}
	}
	if found == "" {
		return "", errors.New("no program of the release for this platform is in it")
	}
	return found, nil
}

// chart checks the manifest of a chart as a registry has it.
func (l *layout) chart(c manifest.Chart) error {
	var m imageManifest
	if err := l.document(descriptor{Digest: c.Digest, Size: c.Size}, &m); err != nil {
		return err
	}
	var config struct {
		Name       string `json:"name"`
		Version    string `json:"version"`
		AppVersion string `json:"appVersion"`
	}
	if err := l.document(m.Config, &config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	file := l.listed[c.Path]
	switch {
	case m.Config.MediaType != chartConfig:
		return fmt.Errorf("its config is of type %.80q, want %s", m.Config.MediaType, chartConfig)
	case len(m.Layers) != 1 || m.Layers[0].MediaType != chartContent:
		return fmt.Errorf("it has %d layers, want one of type %s", len(m.Layers), chartContent)
	case m.Layers[0].Digest != file.Digest:
		return fmt.Errorf("its layer is %s, and %s is %s", m.Layers[0].Digest, c.Path, file.Digest)
	}
	return errors.Join(
		l.blob(m.Layers[0]),
		differs("config's name", config.Name, c.Name),
		differs("config's version", config.Version, c.Version),
		differs("config's appVersion", config.AppVersion, c.AppVersion),
	)
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
		err = canonjson.DecodeOpen(b, into)
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
	return canonjson.DecodeOpen(b, into)
}
