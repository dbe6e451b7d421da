package verifytest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/build/sbom"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/apk"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/brew"
	"github.com/slipway-build/slipway/pipeline/format/deb"
	"github.com/slipway-build/slipway/pipeline/format/nupkg"
	"github.com/slipway-build/slipway/pipeline/format/rpm"
	"github.com/slipway-build/slipway/pipeline/format/scoop"
	"github.com/slipway-build/slipway/pipeline/format/script"
	"github.com/slipway-build/slipway/pipeline/format/snap"
	"github.com/slipway-build/slipway/pipeline/format/squashfs"
	"github.com/slipway-build/slipway/pipeline/format/winget"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// carriers are the formats of packages that carry their files, with their writers.
var carriers = []struct {
	format format.Format
	write  func(io.Writer, format.Package) error
}{
	{format.Deb, deb.Write},
	{format.RPM, rpm.Write},
	{format.APK, apk.Write},
	{format.Snap, func(w io.Writer, p format.Package) error {
		return snap.Write(w, p, snap.Options{Compression: squashfs.Zstd})
	}},
}

func (m *maker) meta() format.Meta {
	return format.Meta{
		Name: m.Name, Version: m.version, Time: m.Time, Title: m.Name, Summary: "Says hello", Description: "It says hello to whoever runs it.",
		Homepage: m.r.Repository, Repository: m.r.Repository, License: "MIT", Vendor: "Example", Maintainer: "Example <mail@example.com>",
	}
}

// packed keeps packages from one release to the next, since tests write many that differ in other things. Nobody
// changes what is kept.
var packed sync.Map // packedKey -> []byte

type packedKey struct {
	format, name, version string
	time                  time.Time
	platform              artifact.Platform
}

// packages adds a package of every format for every platform that has them.
func (m *maker) packages() error {
	if len(m.Name) < 2 {
		return nil // no format takes such a name
	}
	for _, c := range carriers {
		for _, p := range platforms {
			arch, ok := c.format.Arch(p)
			if !ok {
				continue
			}
			v, err := c.format.Version(m.version)
			if err != nil {
				continue // this version has no package of the format
			}
			key := packedKey{c.format.Name, m.Name, m.Version, m.Time, p}
			kept, ok := packed.Load(key)
			if !ok {
				binary := m.files[path.Join("binaries", m.Name+"_"+p.Slug(), m.Name)]
				var b bytes.Buffer
				err := c.write(&b, format.Package{Meta: m.meta(), Platform: p, Section: "utils", Changes: "- A greeting.", Files: []format.File{
					{File: archive.Bytes("usr/bin/"+m.Name, binary).WithExec(), Role: format.Program},
					{File: archive.Bytes("usr/share/doc/"+m.Name+"/LICENSE", []byte(license)), Role: format.License},
				}})
				if err != nil {
					return fmt.Errorf("%s: %w", c.format.Name, err)
				}
				kept = b.Bytes()
				packed.Store(key, kept)
			}
			name := "packages/" + c.format.File(m.Name, v, arch)
			m.files[name] = bytes.Clone(kept.([]byte))
			m.r.Packages = append(m.r.Packages, manifest.Package{
				Format: c.format.Name, Name: m.Name, Version: v, Architecture: arch, Platform: p, Path: name,
			})
		}
	}
	return nil
}

// recipes adds what package managers read that fetch the archives.
func (m *maker) recipes() error {
	if len(m.Name) < 2 {
		return nil // as above
	}
	r := format.Recipe{Meta: m.meta(), Test: []string{"--version"}}
	var unix, windows []string
	for _, a := range m.r.Archives {
		b := m.files[a.Path]
		r.Downloads = append(r.Downloads, format.Download{
			Platform: a.Platform, URL: "https://example.com/download/" + path.Base(a.Path), Digest: artifact.Sum(b), Size: int64(len(b)),
			Programs: []string{a.Platform.Exe(m.Name)}, Files: []string{"LICENSE"},
		})
		if a.Platform.OS == "windows" {
			windows = append(windows, a.Path)
		} else {
			unix = append(unix, a.Path)
		}
	}
	add := func(format, name, version, path string, archives []string, content []byte) {
		m.files[path] = content
		m.r.Recipes = append(m.r.Recipes, manifest.Recipe{Format: format, Name: name, Version: version, Path: path, Archives: archives})
	}
	v, err := format.Nupkg.Version(m.version)
	if err == nil {
		var b bytes.Buffer
		if err := nupkg.Write(&b, r, nupkg.Options{License: []byte(license)}); err != nil {
			return err
		}
		add(format.Nupkg.Name, m.Name, v, "packages/"+format.Nupkg.File(m.Name, v, ""), windows, b.Bytes())
	}
	for _, one := range []struct {
		format, path string
		archives     []string
		write        func() ([]byte, error)
	}{
		{"formula", "packages/homebrew/Formula/" + m.Name + ".rb", unix, func() ([]byte, error) { return brew.Formula(r, brew.Options{}) }},
		{"cask", "packages/homebrew/Casks/" + m.Name + ".rb", unix, func() ([]byte, error) { return brew.Cask(r, brew.Options{}) }},
		{"scoop", "packages/scoop/" + m.Name + ".json", windows, func() ([]byte, error) { return scoop.Manifest(r, scoop.Options{}) }},
		{"script", "packages/install.sh", unix, func() ([]byte, error) { return script.Install(r, script.Options{}) }},
	} {
		content, err := one.write()
		if err != nil {
			return fmt.Errorf("%s: %w", one.format, err)
		}
		add(one.format, m.Name, m.Version, one.path, one.archives, content)
	}
	id := "Example." + m.Name
	files, err := winget.Manifests(r, winget.Options{Identifier: id})
	for _, name := range slices.Sorted(maps.Keys(files)) {
		add("winget", id, m.Version, path.Join("packages/winget", id, name), windows, files[name])
	}
	return err
}

// sboms adds the bills of materials of everything that has one.
func (m *maker) sboms() error {
	for _, b := range m.r.Binaries {
		digest := artifact.Sum(m.files[b.Path])
		if err := m.sbom(artifact.Binary, b.Path, path.Base(b.Path), path.Base(path.Dir(b.Path)), b.Platform, digest); err != nil {
			return err
		}
	}
	for _, a := range m.r.Archives {
		digest := artifact.Sum(m.files[a.Path])
		if err := m.sbom(artifact.Archive, a.Path, path.Base(a.Path), path.Base(a.Path), a.Platform, digest); err != nil {
			return err
		}
	}
	for _, im := range m.r.Images {
		name := im.Repository + ":" + im.Tags[0]
		for _, p := range im.Platforms {
			stem := fmt.Sprintf("%s_%s_%s", path.Base(im.Repository), im.Tags[0], p.Platform.Slug())
			if err := m.sbom(artifact.Image, name, name, stem, p.Platform, p.Digest); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *maker) sbom(kind artifact.Kind, subject, name, stem string, p artifact.Platform, digest artifact.Digest) error {
	exe := p.Exe(m.Name)
	d := sbom.Document{
		Project: sbom.Project{
			Name: m.Name, Version: m.Version, Vendor: "Example", License: "MIT", Repository: m.r.Repository,
			Commit: m.r.Commit, Time: m.Time, Tool: "slipway 0.0.0",
		},
		Subject: sbom.Subject{Kind: kind, Name: name, Platform: p, Digest: digest},
		Programs: []sbom.Program{{
			Path: exe, Digest: artifact.Sum(m.files[path.Join("binaries", m.Name+"_"+p.Slug(), exe)]),
			Main: "example.com/" + m.Name, Module: "example.com/" + m.Name, Go: Go[len("go"):],
		}},
	}
	for _, f := range []struct {
		format, ending string
		encode         func(sbom.Document) ([]byte, error)
	}{{"cyclonedx", ".cdx.json", sbom.CycloneDX}, {"spdx", ".spdx.json", sbom.SPDX}} {
		content, err := f.encode(d)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", f.format, subject, err)
		}
		file := "sbom/" + stem + f.ending
		m.files[file] = content
		m.r.SBOMs = append(m.r.SBOMs, manifest.SBOM{Format: f.format, Subject: subject, Platform: p, Digest: digest, Path: file})
	}
	return nil
}
