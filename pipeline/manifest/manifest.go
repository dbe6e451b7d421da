// Package manifest holds release.json: what a release consists of, by digest, and the commit and plan it came from.
//
// The manifest is the only thing that passes from the build to those who publish, verify, serve and reproduce: they
// read it and the bytes, and never build. Everything in it follows from the commit; what does not (durations, the
// engine, the machine) is kept elsewhere.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/artifact"
	"github.com/slipway-build/slipway/pipeline/version"
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

// Chart is a packaged Helm chart.
type Chart struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	AppVersion string `json:"appVersion"`
	Path       string `json:"path"`
}

// Encode returns the canonical bytes of the manifest: two-space indentation, files sorted by path, one newline at the
// end. A manifest that Decode would refuse is an error.
func (r Release) Encode() ([]byte, error) {
	r.Schema = Schema
	r.Files = slices.SortedFunc(slices.Values(r.Files), func(a, b artifact.File) int { return strings.Compare(a.Path, b.Path) })
	if err := r.check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(r)
	return b.Bytes(), err
}

// Decode reads a manifest from outside: bounded, without unknown fields, and checked so that every path in it is safe
// to join to a folder.
func Decode(r io.Reader) (Release, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return Release{}, fmt.Errorf("reading manifest: %w", err)
	}
	if len(b) > maxSize {
		return Release{}, fmt.Errorf("reading manifest: it is larger than %d bytes", maxSize)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var rel Release
	if err := dec.Decode(&rel); err != nil {
		return Release{}, fmt.Errorf("reading manifest: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Release{}, errors.New("reading manifest: something follows it")
	}
	if err := rel.check(); err != nil {
		return Release{}, fmt.Errorf("reading manifest: %w", err)
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

// check refuses a manifest that contradicts itself.
func (r Release) check() error {
	if r.Schema != Schema {
		return fmt.Errorf("schema %q is not %q; read it with the version of slipway that wrote it", r.Schema, Schema)
	}
	if r.Name == "" || r.Version.IsZero() || r.Commit == "" {
		return errors.New("name, version or commit is missing")
	}
	if _, err := artifact.ParseDigest(string(r.Plan)); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	known := make(map[string]bool, len(r.Files))
	paths := make([]string, len(r.Files))
	for i, f := range r.Files {
		if _, err := artifact.ParseDigest(string(f.Digest)); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		if f.Size < 0 {
			return fmt.Errorf("%s: size %d is negative", f.Path, f.Size)
		}
		if f.Path == FileName || f.Path == ChecksumsName {
			return fmt.Errorf("%s cannot list itself", f.Path)
		}
		known[f.Path] = true
		paths[i] = f.Path
	}
	if err := artifact.CheckPaths(paths); err != nil {
		return err
	}
	var named []string
	for _, b := range r.Binaries {
		named = append(named, b.Path)
	}
	for _, a := range r.Archives {
		named = append(named, a.Path)
	}
	for _, c := range r.Charts {
		named = append(named, c.Path)
	}
	for _, p := range named {
		if !known[p] {
			return fmt.Errorf("%q is not among the files", p)
		}
	}
	for _, i := range r.Images {
		if _, err := artifact.ParseDigest(string(i.Digest)); err != nil {
			return fmt.Errorf("image %s (%s): %w", i.Repository, i.Distro, err)
		}
	}
	return nil
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
// that is not safe or one that is named twice is an error.
func ParseChecksums(r io.Reader) (map[string]artifact.Digest, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading checksums: %w", err)
	}
	if len(b) > maxSize {
		return nil, fmt.Errorf("reading checksums: more than %d bytes", maxSize)
	}
	sums := map[string]artifact.Digest{}
	for i, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		hex, name, ok := strings.Cut(line, " ")
		d, err := artifact.ParseDigest("sha256:" + hex)
		if !ok || err != nil || name == "" || (name[0] != ' ' && name[0] != '*') {
			return nil, fmt.Errorf("checksums:%d: want <64 hex digits>, two spaces and a path", i+1)
		}
		name = name[1:]
		if err := artifact.CheckPath(name); err != nil {
			return nil, fmt.Errorf("checksums:%d: %w", i+1, err)
		}
		if _, ok := sums[name]; ok {
			return nil, fmt.Errorf("checksums:%d: %q is named twice", i+1, name)
		}
		sums[name] = d
	}
	return sums, nil
}
