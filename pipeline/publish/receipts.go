package publish

import (
	"os"
	"path/filepath"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// receiptsFormat is what this version writes. Minor version 1 added the set.
var receiptsFormat = canonjson.Format{Schema: "slipway.receipts/v1", Minor: 1}

// Receipts say where a release is, with the digest of everything there.
type Receipts struct {
	Schema       string          `json:"schema"`
	Minor        int             `json:"minor,omitempty"`
	Requires     []string        `json:"requires,omitempty"`
	Name         string          `json:"name"`
	Version      string          `json:"version"`
	Commit       string          `json:"commit"`
	Release      artifact.Digest `json:"release"` // of release.json
	Destinations []Outcome       `json:"destinations"`
	Set          string          `json:"set,omitempty"` // of destinations; "" for the default one

	Unknown canonjson.Unknown `json:"-"` // what a later minor version says besides
}

// NewReceipts are the receipts of a release that stands at a set of destinations as result says.
func NewReceipts(rel Release, set string, result Result) Receipts {
	m := rel.Manifest
	return Receipts{
		Schema: receiptsFormat.Schema, Minor: receiptsFormat.Minor, Name: m.Name, Version: m.Version.String(), Commit: m.Commit, Release: rel.Digest,
		Destinations: result.Outcomes, Set: set,
	}
}

// Write puts receipts.json beside the manifest, whole or not at all.
func (r Receipts) Write(dir string) error {
	b, err := canonjson.Indent(r)
	if err != nil {
		return err
	}
	name := record(dir, r.Set, ReceiptsName)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", b, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// Release is what is published: a finished dist/ with its manifest.
type Release struct {
	Dir      string // dist/
	Manifest manifest.Release
	Digest   artifact.Digest // of release.json

	files map[string]artifact.File
}

// Open reads the manifest in dir. The caller must have checked that the files are what it says.
func Open(dir string) (Release, error) {
	name := filepath.Join(dir, manifest.FileName)
	m, err := manifest.Load(name)
	if err != nil {
		return Release{}, err
	}
	sum, size, err := artifact.SumFile(name)
	if err != nil {
		return Release{}, err
	}
	r := Release{Dir: dir, Manifest: m, Digest: sum, files: map[string]artifact.File{}}
	for _, f := range m.Files {
		r.files[f.Path] = f
	}
	r.files[manifest.FileName] = artifact.File{Path: manifest.FileName, Kind: artifact.Checksums, Size: size, Digest: sum}
	return r, nil
}

// File is the file of the release at the path, with its digest and size.
func (r Release) File(path string) (artifact.File, bool) {
	f, ok := r.files[path]
	return f, ok
}

// Path is where the file is on this machine.
func (r Release) Path(path string) string { return filepath.Join(r.Dir, filepath.FromSlash(path)) }

// Hash is a file of dist/ that the manifest does not list, such as a signature, with its digest and size.
func (r Release) Hash(path string) (artifact.File, error) {
	if f, ok := r.files[path]; ok {
		return f, nil
	}
	sum, size, err := artifact.SumFile(r.Path(path))
	return artifact.File{Path: path, Kind: artifact.Checksums, Size: size, Digest: sum}, err
}
