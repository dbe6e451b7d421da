// Package verifytest writes small but whole releases, for the tests of those who read releases.
package verifytest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/archive"
	"github.com/slipway-build/slipway/pipeline/artifact"
	"github.com/slipway-build/slipway/pipeline/manifest"
	"github.com/slipway-build/slipway/pipeline/version"
)

// Options say what the release is. The zero value is hello 1.2.3.
type Options struct {
	Name          string
	Version       string
	Time          time.Time
	Unpublishable []string
	// ChartYAML replaces the chart's Chart.yaml.
	ChartYAML string
	// Chart replaces the whole chart archive.
	Chart []byte
	// Payload is what the archive for linux/amd64 holds in place of a few bytes.
	Payload []byte
	// Edit changes the files, by path, before they are listed in the manifest.
	Edit func(files map[string][]byte)
	// EditDocument changes a JSON document of the image ("config", "manifest" or "index") before others refer to it.
	EditDocument func(kind string, b []byte) []byte
	// EditManifest changes the manifest before it is written.
	EditManifest func(r *manifest.Release)
}

// Write writes the release to dir, which need not exist, and returns its manifest.
func Write(dir string, o Options) (manifest.Release, error) {
	files, r, err := Files(o)
	if err != nil {
		return r, err
	}
	for p, b := range files {
		name := filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return r, err
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			return r, err
		}
	}
	return r, nil
}

// Files returns the release's files by path, and its manifest.
func Files(o Options) (map[string][]byte, manifest.Release, error) {
	if o.Name == "" {
		o.Name = "hello"
	}
	if o.Version == "" {
		o.Version = "1.2.3"
	}
	if o.Time.IsZero() {
		o.Time = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	}
	v, err := version.Parse(o.Version)
	if err != nil {
		return nil, manifest.Release{}, err
	}
	r := manifest.Release{
		Name: o.Name, Version: v, Tag: "v" + o.Version, Repository: "https://example.com/" + o.Name,
		Commit: "0123456789abcdef0123456789abcdef01234567", Tree: "89abcdef0123456789abcdef0123456789abcdef",
		Time: o.Time, Plan: artifact.Sum([]byte("plan")), Unpublishable: o.Unpublishable,
		Inputs: []manifest.Input{{Kind: "toolchain", Name: "go1.26.0", Digest: "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}},
	}
	files := map[string][]byte{}
	for _, p := range []artifact.Platform{{OS: "linux", Arch: "amd64"}, {OS: "linux", Arch: "arm64"}, {OS: "windows", Arch: "amd64"}} {
		binary := path.Join("binaries", o.Name+"_"+p.Slug(), p.Exe(o.Name))
		files[binary] = []byte("the program for " + p.String())
		r.Binaries = append(r.Binaries, manifest.Binary{Name: o.Name, Platform: p, Path: binary})
		ending := ".tar.gz"
		if p.OS == "windows" {
			ending = ".zip"
		}
		archive := path.Join("archives", o.Name+"_"+o.Version+"_"+p.Slug()+ending)
		files[archive] = []byte("the archive for " + p.String())
		if o.Payload != nil && p.String() == "linux/amd64" {
			files[archive] = o.Payload
		}
		r.Archives = append(r.Archives, manifest.Archive{Platform: p, Path: archive})
	}
	if o.EditDocument == nil {
		o.EditDocument = func(_ string, b []byte) []byte { return b }
	}
	image, err := layout(files, "ghcr.io/example/"+o.Name, o.Version+"-alpine", o.EditDocument)
	if err != nil {
		return nil, manifest.Release{}, err
	}
	r.Images = []manifest.Image{image}

	chart := manifest.Chart{Name: o.Name, Version: o.Version, AppVersion: o.Version, Path: "charts/" + o.Name + "-" + o.Version + ".tgz"}
	if o.ChartYAML == "" {
		o.ChartYAML = fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\nappVersion: %q\ndescription: Says hello.\ntype: application\n", o.Name, o.Version, o.Version)
	}
	if o.Chart == nil {
		if o.Chart, err = Tar(map[string]string{o.Name + "/Chart.yaml": o.ChartYAML, o.Name + "/values.yaml": "replicas: 1\n"}); err != nil {
			return nil, manifest.Release{}, err
		}
	}
	files[chart.Path] = o.Chart
	r.Charts = []manifest.Chart{chart}

	if o.Edit != nil {
		o.Edit(files)
	}
	kinds := map[string]artifact.Kind{"binaries": artifact.Binary, "archives": artifact.Archive, "images": artifact.Image, "charts": artifact.Chart}
	for _, p := range slices.Sorted(maps.Keys(files)) {
		folder, _, _ := strings.Cut(p, "/")
		r.Files = append(r.Files, artifact.File{Path: p, Kind: kinds[folder], Size: int64(len(files[p])), Digest: artifact.Sum(files[p])})
	}
	if o.EditManifest != nil {
		o.EditManifest(&r)
	}
	encoded, err := r.Encode()
	if err != nil {
		return nil, manifest.Release{}, err
	}
	files[manifest.FileName] = encoded
	files[manifest.ChecksumsName] = manifest.Checksums(append(slices.Clone(r.Files), artifact.File{Path: manifest.FileName, Digest: artifact.Sum(encoded)}))
	files["report.html"], files["build.log"], files["timings.json"] = []byte("<html>"), []byte("log"), []byte("{}")
	return files, r, nil
}

// Tar returns a gzip-compressed tar of the files.
func Tar(files map[string]string) ([]byte, error) {
	var b bytes.Buffer
	zw := archive.Gzip(&b)
	tw := tar.NewWriter(zw)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			return nil, err
		}
		if _, err := tw.Write([]byte(files[name])); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	err := zw.Close()
	return b.Bytes(), err
}

// Blob is where an OCI layout keeps b.
func Blob(b []byte) string { return "images/blobs/sha256/" + artifact.Sum(b).Hex() }

// layout adds an OCI layout with one image of two platforms, which share a base layer.
func layout(files map[string][]byte, repository, tag string, edit func(string, []byte) []byte) (manifest.Image, error) {
	type object = map[string]any
	var failed error
	blob := func(b []byte) ([]byte, artifact.Digest) {
		files[Blob(b)] = b
		return b, artifact.Sum(b)
	}
	document := func(kind string, content object) ([]byte, artifact.Digest) {
		b, err := json.Marshal(content)
		if err != nil {
			failed = err
		}
		return blob(edit(kind, b))
	}
	image := manifest.Image{Repository: repository, Distro: "alpine", Tags: []string{tag}}
	var manifests []object
	for _, p := range []artifact.Platform{{OS: "linux", Arch: "amd64"}, {OS: "linux", Arch: "arm64"}} {
		base, baseDigest := blob([]byte("a base layer"))
		layer, layerDigest := blob([]byte("a layer for " + p.String()))
		config, configDigest := document("config", object{"os": p.OS, "architecture": p.Arch, "rootfs": object{"type": "layers"}})
		m, mDigest := document("manifest", object{
			"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
			"config": object{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": configDigest, "size": len(config)},
			"layers": []object{
				{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": baseDigest, "size": len(base)},
				{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layerDigest, "size": len(layer)},
			},
		})
		manifests = append(manifests, object{
			"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": mDigest, "size": len(m),
			"platform": object{"os": p.OS, "architecture": p.Arch},
		})
		image.Platforms = append(image.Platforms, manifest.ImagePlatform{
			Platform: p, Digest: mDigest, Size: int64(len(m) + len(config) + len(base) + len(layer)),
		})
	}
	index, indexDigest := document("index", object{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests})
	image.Digest, image.Size = indexDigest, int64(len(index))
	files["images/oci-layout"] = []byte(`{"imageLayoutVersion":"1.0.0"}`)
	top, err := json.Marshal(object{"schemaVersion": 2, "manifests": []object{{
		"mediaType": "application/vnd.oci.image.index.v1+json", "digest": indexDigest, "size": len(index),
		"annotations": object{"org.opencontainers.image.ref.name": repository + ":" + tag},
	}}})
	if err == nil {
		err = failed
	}
	files["images/index.json"] = top
	return image, err
}
