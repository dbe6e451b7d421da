// Package verifytest writes small but whole releases, for the tests of those who read releases.
//
// Everything in them is what its name says: programs that carry build information, though they do not run, archives and
// packages by the writers of the pipeline, bills of materials and provenance. Only the base layer of the image is a few
// bytes, since nobody opens one.
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

	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Options say what the release is. The zero value is hello 1.2.3.
type Options struct {
	Name          string
	Version       string
	Time          time.Time
	Commit, Tree  string // of the source
	Unpublishable []string
	// Signing says who is to sign the release; nobody does it here.
	Signing *manifest.Signing
	// Bare leaves out packages, recipes, bills of materials, notes and provenance, for tests that show a release and would
	// change with each of those.
	Bare bool
	// ChartYAML replaces the chart's Chart.yaml.
	ChartYAML string
	// Chart replaces the whole chart archive.
	Chart []byte
	// Base is the layer that the platforms of the image share; a few bytes where it is nil.
	Base []byte
	// Payload is put in the place of the archive for linux/amd64. It need not be one.
	Payload []byte
	// Edit changes the files, by path, before they are listed in the manifest. The provenance is not among them.
	Edit func(files map[string][]byte)
	// EditDocument changes a JSON document of the image ("config", "manifest" or "index") or of the chart ("chart
	// config" or "chart manifest") before others refer to it.
	EditDocument func(kind string, b []byte) []byte
	// EditManifest changes the manifest before it is written. The provenance says what it says then.
	EditManifest func(r *manifest.Release)
}

// Go is the version of Go that the programs were made with.
const Go = "go1.26.0"

// hubFile tells Artifact Hub whose the charts are.
const hubFile = "charts/artifacthub-repo.yml"

// platforms are what the release has programs for.
var platforms = []artifact.Platform{{OS: "linux", Arch: "amd64"}, {OS: "linux", Arch: "arm64"}, {OS: "windows", Arch: "amd64"}}

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

// maker makes a release.
type maker struct {
	Options
	version version.Version
	files   map[string][]byte
	r       manifest.Release
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
	if o.Commit == "" {
		o.Commit, o.Tree = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"
	}
	if o.EditDocument == nil {
		o.EditDocument = func(_ string, b []byte) []byte { return b }
	}
	v, err := version.Parse(o.Version)
	if err != nil {
		return nil, manifest.Release{}, err
	}
	m := maker{Options: o, version: v, files: map[string][]byte{}, r: manifest.Release{
		Name: o.Name, Version: v, Tag: "v" + o.Version, Repository: "https://example.com/" + o.Name,
		Commit: o.Commit, Tree: o.Tree,
		Time: o.Time, Plan: artifact.Sum([]byte("plan")), Unpublishable: o.Unpublishable, Signing: o.Signing,
		Inputs: []manifest.Input{{
			Kind: "toolchain", Name: "golang.org/toolchain@v0.0.1-" + Go + ".linux-amd64",
			Digest: "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		}},
	}}
	steps := []func() error{m.programs, m.chart, m.images}
	if !o.Bare {
		steps = append(steps, m.packages, m.recipes, m.sboms, m.texts)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, manifest.Release{}, err
		}
	}
	if o.Edit != nil {
		o.Edit(m.files)
	}
	for _, p := range slices.Sorted(maps.Keys(m.files)) {
		m.list(p)
	}
	if o.EditManifest != nil {
		o.EditManifest(&m.r)
	}
	if !o.Bare {
		if err := m.provenance(); err != nil {
			return nil, manifest.Release{}, err
		}
	}
	encoded, err := m.r.Encode()
	if err != nil {
		return nil, manifest.Release{}, err
	}
	m.files[manifest.FileName] = encoded
	m.files[manifest.ChecksumsName] = manifest.Checksums(append(slices.Clone(m.r.Files), artifact.File{Path: manifest.FileName, Digest: artifact.Sum(encoded)}))
	m.files["report.html"], m.files["build.log"], m.files["timings.json"] = []byte("<html>"), []byte("log"), []byte("{}")
	return m.files, m.r, nil
}

// list adds a file to the manifest.
func (m *maker) list(p string) {
	kinds := map[string]artifact.Kind{
		"binaries": artifact.Binary, "archives": artifact.Archive, "images": artifact.Image, "charts": artifact.Chart,
		"packages": artifact.Package, "sbom": artifact.SBOM, "attestations": artifact.Provenance, "notes.md": artifact.Notes,
	}
	folder, _, _ := strings.Cut(p, "/")
	kind := kinds[folder]
	if p == hubFile || slices.ContainsFunc(m.r.Recipes, func(r manifest.Recipe) bool { return r.Path == p }) {
		kind = artifact.Recipe
	}
	m.r.Files = append(m.r.Files, artifact.File{Path: p, Kind: kind, Size: int64(len(m.files[p])), Digest: artifact.Sum(m.files[p])})
}

// Program is a program of the release for a platform.
func Program(name, version string, p artifact.Platform) []byte { return program(name, version, p) }

// programs adds the programs and their archives.
func (m *maker) programs() error {
	for _, p := range platforms {
		exe := p.Exe(m.Name)
		binary := path.Join("binaries", m.Name+"_"+p.Slug(), exe)
		m.files[binary] = program(m.Name, m.Version, p)
		m.r.Binaries = append(m.r.Binaries, manifest.Binary{Name: m.Name, Platform: p, Path: binary})

		write, ending := archive.TarGz, ".tar.gz"
		if p.OS == "windows" {
			write, ending = archive.Zip, ".zip"
		}
		var b bytes.Buffer
		err := write(&b, []archive.File{archive.Bytes(exe, m.files[binary]).WithExec(), archive.Bytes("LICENSE", []byte(license))}, m.Time)
		if err != nil {
			return err
		}
		name := path.Join("archives", m.Name+"_"+m.Version+"_"+p.Slug()+ending)
		m.files[name] = b.Bytes()
		if m.Payload != nil && p.String() == "linux/amd64" {
			m.files[name] = m.Payload
		}
		m.r.Archives = append(m.r.Archives, manifest.Archive{Platform: p, Path: name})
	}
	return nil
}

const license = "Do with it what you like.\n"

func (m *maker) chart() error {
	c := manifest.Chart{Name: m.Name, Version: m.Version, AppVersion: m.Version, Path: "charts/" + m.Name + "-" + m.Version + ".tgz"}
	about := m.ChartYAML
	if about == "" {
		about = fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\nappVersion: %q\ndescription: Says hello.\ntype: application\n", m.Name, m.Version, m.Version)
	}
	content := m.Options.Chart
	if content == nil {
		var err error
		if content, err = Tar(map[string]string{m.Name + "/Chart.yaml": about, m.Name + "/values.yaml": "replicas: 1\n"}); err != nil {
			return err
		}
	}
	m.files[c.Path] = content
	m.r.Charts = []manifest.Chart{c}
	return nil
}

// texts adds what people and Artifact Hub read.
func (m *maker) texts() error {
	m.r.Notes = "notes.md"
	m.files[m.r.Notes] = []byte("## Added\n\n- A greeting.\n")
	m.files[hubFile] = []byte("owners:\n  - name: example\n    email: mail@example.com\n")
	return nil
}

// provenance adds the statement about the manifest as it is.
func (m *maker) provenance() error {
	m.r.Provenance = path.Join("attestations", m.Name+"_"+m.Version+".provenance.json")
	statement, err := Statement(m.r)
	if err != nil {
		return err
	}
	m.files[m.r.Provenance] = statement
	m.list(m.r.Provenance)
	return nil
}

// Statement is the provenance of a release, whose files but the statement itself are in the manifest.
func Statement(r manifest.Release) ([]byte, error) {
	facts := provenance.Facts{
		Repository: r.Repository, Tag: r.Tag, Commit: r.Commit, Tree: r.Tree, Config: "slipway.yaml",
		Version: r.Version.String(), Plan: r.Plan, Builder: map[string]string{"slipway": "0.0.0"}, Inputs: r.Inputs,
		Modules: []provenance.Module{{Path: "example.com/greeting", Version: "v1.0.0", Sum: "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}},
	}
	for _, f := range r.Files {
		if f.Path != r.Provenance && f.Kind != artifact.Image {
			facts.Files = append(facts.Files, f)
		}
	}
	for _, im := range r.Images {
		facts.Images = append(facts.Images, provenance.Image{Repository: im.Repository, Digest: im.Digest})
	}
	for _, c := range r.Charts {
		if c.Digest != "" {
			facts.Images = append(facts.Images, provenance.Image{Repository: c.Repository, Digest: c.Digest})
		}
	}
	return provenance.Statement(facts)
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

type object = map[string]any

// blob adds a blob to the layout.
func (m *maker) blob(mediaType string, b []byte) object {
	m.files[Blob(b)] = b
	return object{"mediaType": mediaType, "digest": artifact.Sum(b), "size": len(b)}
}

// document adds a blob that is JSON, and returns its bytes too.
func (m *maker) document(kind, mediaType string, content object) (object, []byte, error) {
	b, err := json.Marshal(content)
	b = m.EditDocument(kind, b)
	return m.blob(mediaType, b), b, err
}

const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
	typeChart    = "application/vnd.cncf.helm.config.v1+json"
	typeContent  = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

	refName = "org.opencontainers.image.ref.name"
)

// images adds an OCI layout with one image of two platforms, which share a base layer, and the chart.
func (m *maker) images() error {
	image := manifest.Image{Repository: "ghcr.io/example/" + m.Name, Distro: "alpine", Tags: []string{m.Version + "-alpine"}}
	labels := object{"org.opencontainers.image.version": m.Version, "org.opencontainers.image.revision": m.Commit}
	var manifests []object
	for _, p := range platforms[:2] {
		var own bytes.Buffer
		binary := m.files[path.Join("binaries", m.Name+"_"+p.Slug(), m.Name)]
		if err := archive.TarGz(&own, []archive.File{archive.Bytes("usr/local/bin/"+m.Name, binary).WithExec()}, m.Time); err != nil {
			return err
		}
		base := m.Base
		if base == nil {
			base = []byte("a base layer")
		}
		config, configBytes, err := m.document("config", typeConfig, object{
			"os": p.OS, "architecture": p.Arch, "rootfs": object{"type": "layers"},
			"config": object{"Entrypoint": []string{"/usr/local/bin/" + m.Name}, "Labels": labels},
		})
		if err != nil {
			return err
		}
		one, oneBytes, err := m.document("manifest", typeManifest, object{
			"schemaVersion": 2, "mediaType": typeManifest, "config": config,
			"layers": []object{m.blob(typeLayer, base), m.blob(typeLayer, own.Bytes())},
		})
		if err != nil {
			return err
		}
		one["platform"] = object{"os": p.OS, "architecture": p.Arch}
		manifests = append(manifests, one)
		image.Platforms = append(image.Platforms, manifest.ImagePlatform{
			Platform: p, Digest: artifact.Sum(oneBytes), Size: int64(len(oneBytes) + len(configBytes) + len(base) + own.Len()),
		})
	}
	index, indexBytes, err := m.document("index", typeIndex, object{"schemaVersion": 2, "mediaType": typeIndex, "manifests": manifests})
	if err != nil {
		return err
	}
	image.Digest, image.Size = artifact.Sum(indexBytes), int64(len(indexBytes))
	index["annotations"] = object{refName: image.Repository + ":" + image.Tags[0]}
	m.r.Images = []manifest.Image{image}

	c := &m.r.Charts[0]
	config, _, err := m.document("chart config", typeChart, object{"apiVersion": "v2", "name": c.Name, "version": c.Version, "appVersion": c.AppVersion})
	if err != nil {
		return err
	}
	chart, chartBytes, err := m.document("chart manifest", typeManifest, object{
		"schemaVersion": 2, "mediaType": typeManifest, "config": config, "layers": []object{m.blob(typeContent, m.files[c.Path])},
	})
	if err != nil {
		return err
	}
	c.Repository, c.Digest, c.Size = "ghcr.io/example/charts/"+m.Name, artifact.Sum(chartBytes), int64(len(chartBytes))
	chart["annotations"] = object{refName: c.Repository + ":" + c.Tag()}

	m.files["images/oci-layout"] = []byte(`{"imageLayoutVersion":"1.0.0"}`)
	m.files["images/index.json"], err = json.Marshal(object{"schemaVersion": 2, "manifests": []object{index, chart}})
	return err
}
