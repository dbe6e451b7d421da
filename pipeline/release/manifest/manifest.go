// Package manifest holds release.json: what a release consists of, by digest, and the commit and plan it came from.
//
// The manifest is the only thing that passes from the build to those who publish, verify, serve and reproduce: they
// read it and the bytes, and never build. Everything in it follows from the commit; what does not (durations, the
// engine, the machine) is kept elsewhere.
package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Schema names the format that this package reads and writes. A reader refuses any other.
const Schema = "slipway.release/v1"

// The names of the two files that bind a release together, relative to dist/.
const (
	FileName      = "release.json"
	ChecksumsName = "SHA256SUMS"
)

// maxSize bounds a manifest read from outside, in bytes.
const maxSize = 16 << 20

// Release is the content of release.json.
type Release struct {
	Schema     string          `json:"schema"`
	Name       string          `json:"name"`
	Version    version.Version `json:"version"`
	Tag        string          `json:"tag,omitempty"` // the git tag; empty for a snapshot
	Repository string          `json:"repository,omitempty"`
	Commit     string          `json:"commit"`
	Tree       string          `json:"tree"`
	Time       time.Time       `json:"time"` // the commit's
	Plan       artifact.Digest `json:"plan"` // of the canonical plan
	// Unpublishable says why nobody may publish or accept this release; empty for one that may be.
	Unpublishable []string        `json:"unpublishable,omitempty"`
	Inputs        []Input         `json:"inputs"`
	Binaries      []Binary        `json:"binaries"`
	Archives      []Archive       `json:"archives"`
	Images        []Image         `json:"images"`
	Charts        []Chart         `json:"charts"`
	Packages      []Package       `json:"packages"`
	Recipes       []Recipe        `json:"recipes"`
	SBOMs         []SBOM          `json:"sboms"`
	Notes         string          `json:"notes,omitempty"`      // path of the release notes
	Since         string          `json:"since,omitempty"`      // tag of the release that the notes start from
	Provenance    string          `json:"provenance,omitempty"` // path of the unsigned statement
	Signing       *Signing        `json:"signing,omitempty"`
	Files         []artifact.File `json:"files"` // every compared file but SHA256SUMS and this one, sorted by path
}

// Input is something from outside of the commit that went into the release, pinned.
type Input = artifact.Input

// Binary is one compiled program.
type Binary struct {
	Name     string            `json:"name"`
	Platform artifact.Platform `json:"platform"`
	Path     string            `json:"path"`
}

// Archive is what a person downloads for a platform.
type Archive struct {
	Platform artifact.Platform `json:"platform"`
	Path     string            `json:"path"`
}

// Image is a multi-platform image.
type Image struct {
	Repository string          `json:"repository"`
	Distro     string          `json:"distro"`
	Tags       []string        `json:"tags"`
	Floating   []string        `json:"floating,omitempty"` // names that a publisher may move to this image; see version.Moves
	Digest     artifact.Digest `json:"digest"`             // of the index
	Size       int64           `json:"size"`               // of the index, in bytes
	Platforms  []ImagePlatform `json:"platforms"`
}

// ImagePlatform is one platform's manifest of an Image.
type ImagePlatform struct {
	Platform artifact.Platform `json:"platform"`
	Digest   artifact.Digest   `json:"digest"`
	Size     int64             `json:"size"` // of all that a pull fetches: manifest, config and layers, in bytes
}

// Chart is a packaged Helm chart. One that goes to an OCI repository is in the layout of the images too.
type Chart struct {
	Name       string          `json:"name"`
	Version    string          `json:"version"`
	AppVersion string          `json:"appVersion"`
	Path       string          `json:"path"`
	Repository string          `json:"repository,omitempty"` // with the chart's name, without a tag
	Digest     artifact.Digest `json:"digest,omitempty"`     // of its OCI manifest
	Size       int64           `json:"size,omitempty"`       // of its OCI manifest, in bytes
}

// Tag is the tag of the chart in its OCI repository: the version, in which a tag cannot have a +
// (https://helm.sh/docs/topics/registries/#oci-feature-deprecation-and-behavior-changes-with-v380).
func (c Chart) Tag() string { return strings.ReplaceAll(c.Version, "+", "_") }

// Package carries its files and is for one platform. Name, version and architecture are in the format's own words.
type Package struct {
	Format       string            `json:"format"` // deb, rpm, apk or snap
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Architecture string            `json:"architecture"`
	Platform     artifact.Platform `json:"platform"`
	Path         string            `json:"path"`
}

// Recipe is a file for a package manager that fetches archives of the release.
type Recipe struct {
	Format   string   `json:"format"` // nupkg, formula, cask, scoop, winget or script
	Name     string   `json:"name"`
	Version  string   `json:"version"` // in the format's own words
	Path     string   `json:"path"`
	Archives []string `json:"archives"` // paths of the archives that it may fetch
}

// SBOM says what an artifact consists of.
type SBOM struct {
	Format   string            `json:"format"`  // cyclonedx or spdx
	Subject  string            `json:"subject"` // path of a file; repository and tag of an image
	Platform artifact.Platform `json:"platform"`
	Digest   artifact.Digest   `json:"digest"` // of the subject; the platform's manifest of an image
	Path     string            `json:"path"`
}

// Signing says who is to sign the release. Signatures are no part of what is compared: each holder of the key makes
// others, at another time. Their files are named by package signature.
type Signing struct {
	Key      artifact.Digest `json:"key,omitempty"` // of the public key's DER (SubjectPublicKeyInfo)
	Identity string          `json:"identity,omitempty"`
	Issuer   string          `json:"issuer,omitempty"`
}

// Encode returns the canonical bytes of the manifest: two-space indentation, files sorted by path, the time in UTC, an
// empty list where there is none, one newline at the end. A manifest that Decode would refuse is an error.
func (r Release) Encode() ([]byte, error) {
	r.Schema = Schema
	r.Time = r.Time.UTC()
	r.Inputs, r.Binaries, r.Archives, r.Charts = list(r.Inputs), list(r.Binaries), list(r.Archives), list(r.Charts)
	r.Packages, r.SBOMs = list(r.Packages), list(r.SBOMs)
	r.Images, r.Recipes = list(slices.Clone(r.Images)), list(slices.Clone(r.Recipes))
	for i, rec := range r.Recipes {
		r.Recipes[i].Archives = list(rec.Archives)
	}
	for i, im := range r.Images {
		r.Images[i].Tags, r.Images[i].Platforms = list(im.Tags), list(im.Platforms)
	}
	r.Files = list(slices.SortedFunc(slices.Values(r.Files), func(a, b artifact.File) int { return strings.Compare(a.Path, b.Path) }))
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("writing manifest: %w", err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(r)
	return b.Bytes(), err
}

// list is s, or an empty one where it is nil: JSON would write null for it.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Decode reads a manifest from outside: bounded, without unknown fields, and checked so that every path in it is safe
// to join to a folder.
//
// JSON leaves room for two readers to see two releases in one file, with keys that come twice or in another letter
// case. Who must know that there is one reading compares the bytes with those of Encode.
func Decode(r io.Reader) (Release, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return Release{}, fmt.Errorf("reading manifest: %w", err)
	}
	if len(b) > maxSize {
		return Release{}, fmt.Errorf("reading manifest: it is larger than %d bytes", maxSize)
	}
	rel, err := decode(b)
	if err != nil {
		return Release{}, fmt.Errorf("reading manifest: %w", err)
	}
	return rel, nil
}

func decode(b []byte) (Release, error) {
	// The schema first: a newer one has fields that this version does not know, and they are not what is wrong.
	var format struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &format); err != nil {
		return Release{}, err
	}
	if format.Schema != Schema {
		return Release{}, fmt.Errorf("schema %.60q is not %q; read it with the version of slipway that wrote it", format.Schema, Schema)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var rel Release
	if err := dec.Decode(&rel); err != nil {
		return Release{}, err
	}
	if err := rel.check(); err != nil {
		return Release{}, err
	}
	return rel, nil
}

// Load reads the manifest file name; see Decode.
func Load(name string) (Release, error) {
	f, err := os.Open(name)
	if err != nil {
		return Release{}, err
	}
	defer f.Close()
	return Decode(f)
}

// check refuses a manifest that contradicts itself, or in which a reader would take for an option what is none.
func (r Release) check() error {
	switch {
	case r.Name == "" || r.Version.IsZero() || r.Commit == "":
		return errors.New("name, version or commit is missing")
	case strings.HasPrefix(r.Commit, "-") || strings.HasPrefix(r.Tree, "-") || strings.HasPrefix(r.Tag, "-") || strings.HasPrefix(r.Since, "-"):
		return errors.New("commit, tree or tag begins with -; git would take it for an option")
	case r.Time.Unix() < 0 || r.Time.Nanosecond() != 0 || r.Time.Year() > 9999:
		return fmt.Errorf("time %s is no commit time in whole seconds since 1970", r.Time.UTC().Format(time.RFC3339Nano))
	}
	if _, err := artifact.ParseDigest(string(r.Plan)); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	kinds := make(map[string]artifact.Kind, len(r.Files))
	paths := []string{FileName, ChecksumsName} // no file has the name of these two, in any letter case
	for _, f := range r.Files {
		if _, err := artifact.ParseDigest(string(f.Digest)); err != nil {
			return fmt.Errorf("%.80q: %w", f.Path, err)
		}
		if f.Size < 0 {
			return fmt.Errorf("%.80q: size %d is negative", f.Path, f.Size)
		}
		if f.Path == FileName || f.Path == ChecksumsName {
			return fmt.Errorf("%s cannot list itself", f.Path)
		}
		kinds[f.Path] = f.Kind
		paths = append(paths, f.Path)
	}
	if err := artifact.CheckPaths(paths); err != nil {
		return err
	}
	of := func(p string, want artifact.Kind) error {
		switch kind, ok := kinds[p]; {
		case !ok:
			return fmt.Errorf("%.80q is not among the files", p)
		case kind != want:
			return fmt.Errorf("%.80q is a file of kind %q and named as %s", p, kind, want)
		}
		return nil
	}
	for _, b := range r.Binaries {
		if err := cmp.Or(of(b.Path, artifact.Binary), checkPlatform(b.Platform)); err != nil {
			return err
		}
	}
	for _, a := range r.Archives {
		if err := cmp.Or(of(a.Path, artifact.Archive), checkPlatform(a.Platform)); err != nil {
			return err
		}
	}
	for _, c := range r.Charts {
		if err := of(c.Path, artifact.Chart); err != nil {
			return err
		}
		if (c.Repository == "") != (c.Digest == "") || c.Size < 0 {
			return fmt.Errorf("chart %.80s: of repository, digest and size it has some", c.Name)
		}
		if c.Digest != "" {
			if _, err := artifact.ParseDigest(string(c.Digest)); err != nil {
				return fmt.Errorf("chart %.80s: %w", c.Name, err)
			}
		}
	}
	for _, p := range r.Packages {
		if err := cmp.Or(of(p.Path, artifact.Package), checkPlatform(p.Platform)); err != nil {
			return err
		}
	}
	for _, rec := range r.Recipes {
		if err := of(rec.Path, artifact.Recipe); err != nil {
			return err
		}
		for _, a := range rec.Archives {
			if err := of(a, artifact.Archive); err != nil {
				return fmt.Errorf("%.80s: %w", rec.Path, err)
			}
		}
	}
	for _, s := range r.SBOMs {
		if err := cmp.Or(of(s.Path, artifact.SBOM), checkPlatform(s.Platform)); err != nil {
			return err
		}
		if _, err := artifact.ParseDigest(string(s.Digest)); err != nil {
			return fmt.Errorf("%.80s: %w", s.Path, err)
		}
	}
	if r.Notes != "" {
		if err := of(r.Notes, artifact.Notes); err != nil {
			return err
		}
	}
	if r.Provenance != "" {
		if err := of(r.Provenance, artifact.Provenance); err != nil {
			return err
		}
	}
	if s := r.Signing; s != nil {
		if (s.Key == "") == (s.Identity == "") || (s.Identity == "") != (s.Issuer == "") {
			return errors.New("signing: want a key, or an identity and its issuer")
		}
		if s.Key != "" {
			if _, err := artifact.ParseDigest(string(s.Key)); err != nil {
				return fmt.Errorf("signing: key: %w", err)
			}
		}
	}
	for _, im := range r.Images {
		if err := im.check(); err != nil {
			return fmt.Errorf("image %.80s (%.80s): %w", im.Repository, im.Distro, err)
		}
	}
	return nil
}

func (im Image) check() error {
	if _, err := artifact.ParseDigest(string(im.Digest)); err != nil {
		return err
	}
	if im.Size < 0 {
		return fmt.Errorf("size %d is negative", im.Size)
	}
	for _, p := range im.Platforms {
		if err := checkPlatform(p.Platform); err != nil {
			return err
		}
		if _, err := artifact.ParseDigest(string(p.Digest)); err != nil {
			return fmt.Errorf("%s: %w", p.Platform, err)
		}
		if p.Size < 0 {
			return fmt.Errorf("%s: size %d is negative", p.Platform, p.Size)
		}
	}
	return nil
}

// checkPlatform refuses the platform of a field that is not there; others are checked where they are read.
func checkPlatform(p artifact.Platform) error {
	_, err := artifact.ParsePlatform(p.String())
	return err
}

// Checksums returns SHA256SUMS for the files: "<hex>  <path>" lines in the bytewise order of the paths, as sha256sum
// reads them.
func Checksums(files []artifact.File) []byte {
	files = slices.SortedFunc(slices.Values(files), func(a, b artifact.File) int { return strings.Compare(a.Path, b.Path) })
	var b bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&b, "%s  %s\n", f.Digest.Hex(), f.Path)
	}
	return b.Bytes()
}

// ParseChecksums reads SHA256SUMS: digests by path. Both modes of sha256sum are read; a line of any other form, a path
// that is not safe, two that are one file where letter case does not count, or no line at all is an error.
func ParseChecksums(r io.Reader) (map[string]artifact.Digest, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading checksums: %w", err)
	}
	if len(b) > maxSize {
		return nil, fmt.Errorf("reading checksums: more than %d bytes", maxSize)
	}
	sums := map[string]artifact.Digest{}
	var names []string
	line := 0
	for text := range strings.SplitSeq(strings.TrimSuffix(string(b), "\n"), "\n") {
		line++
		hex, name, ok := strings.Cut(text, " ")
		d, err := artifact.ParseDigest("sha256:" + hex)
		if !ok || err != nil || name == "" || (name[0] != ' ' && name[0] != '*') {
			return nil, fmt.Errorf("checksums:%d: want <64 hex digits>, two spaces and a path", line)
		}
		name = name[1:]
		if err := artifact.CheckPath(name); err != nil {
			return nil, fmt.Errorf("checksums:%d: %w", line, err)
		}
		if _, ok := sums[name]; ok {
			return nil, fmt.Errorf("checksums:%d: %q is named twice", line, name)
		}
		sums[name] = d
		names = append(names, name)
	}
	if err := artifact.CheckPaths(names); err != nil {
		return nil, fmt.Errorf("reading checksums: %w", err)
	}
	return sums, nil
}
