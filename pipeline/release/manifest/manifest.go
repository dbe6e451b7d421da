// Package manifest holds release.json: what a release consists of, by digest, and the commit and plan it came from.
//
// The manifest is the only thing that passes from the build to those who publish, verify, serve and reproduce: they
// read it and the bytes, and never build. Everything in it follows from the commit; what does not (durations, the
// engine, the machine) is kept elsewhere.
package manifest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Schema names the format that this package reads and writes, with its major version. A reader refuses any other.
const Schema = "slipway.release/v1"

// format is what this version reads. A minor version that adds a key puts it behind all others in Release. Minor version 1
// added Downloads.
var format = canonjson.Format{Schema: Schema, Minor: 1, Knows: []string{ChartVersions}}

// ChartVersions is required of the readers of a release with charts that have versions of their own. Without it each has the
// release's, and a chart of another version is not of the release.
const ChartVersions = "chart-versions"

// The names of the files that bind a release together, relative to dist/.
const (
	FileName      = "release.json"
	ChecksumsName = "SHA256SUMS"
	// DownloadsName is the file of checksums for places without folders, such as the page of a release on GitHub.
	DownloadsName = "checksums.txt"
)

// maxSize bounds a manifest read from outside, in bytes.
const maxSize = 16 << 20

// Release is the content of release.json.
type Release struct {
	Schema     string          `json:"schema"`
	Minor      int             `json:"minor,omitempty"`
	Requires   []string        `json:"requires,omitempty"` // what a reader has to know to be right about the release
	Name       string          `json:"name"`
	Version    version.Version `json:"version"`
	Tag        string          `json:"tag,omitempty"` // the git tag; empty for a snapshot
	Repository string          `json:"repository,omitempty"`
	Commit     string          `json:"commit"`
	Tree       string          `json:"tree"`
	Time       time.Time       `json:"time"` // the commit's
	Plan       artifact.Digest `json:"plan"` // of the canonical plan
	// Unpublishable says why this release must not be published or accepted; empty for one that may be.
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
	Files         []artifact.File `json:"files"` // every compared file but the lists of checksums and this one, sorted by path
	// Downloads is DownloadsName where the release has that file; "" before minor version 1.
	Downloads string `json:"downloads,omitempty"`

	// Unknown is what a later minor version says besides. It is passed on with the release, and decides nothing.
	Unknown canonjson.Unknown `json:"-"`
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
	Floating   []string        `json:"floating,omitempty"` // names that a publisher may move to this image; see version.Holder
	Digest     artifact.Digest `json:"digest"`             // of the index
	Size       int64           `json:"size"`               // of the index, in bytes
	Platforms  []ImagePlatform `json:"platforms"`
}

// Tag is the first of the image's tags, which tells it from the others in its repository; "" where it has none.
func (im Image) Tag() string {
	if len(im.Tags) == 0 {
		return ""
	}
	return im.Tags[0]
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
	Format   string            `json:"format"`            // cyclonedx or spdx
	Subject  string            `json:"subject"`           // path of a file; repository and tag of an image
	Platform artifact.Platform `json:"platform,omitzero"` // none of a platform's components
	Digest   artifact.Digest   `json:"digest"`            // of the subject; the platform's manifest of an image
	Path     string            `json:"path"`
}

// Signing says who is to sign the release. Signatures are not part of what is compared: each holder of the key makes
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
	if r.Downloads != "" {
		r.Minor = max(r.Minor, 1)
	}
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
	return canonjson.Indent(r)
}

// list is s, or an empty one where it is nil: JSON would write null for it.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Decode reads a manifest from outside: bounded, in the one form that Encode gives it, so that no two readers see two
// releases in it, and checked so that every path in it is safe to join to a folder. A manifest of a later minor version is
// read as far as it is known; one that only another version can read is a fault.Usage.
func Decode(r io.Reader) (Release, error) {
	b, err := bounded.Read(r, maxSize)
	if err != nil {
		return Release{}, fmt.Errorf("reading manifest: %w", err)
	}
	rel, err := decode(b)
	if err != nil {
		err = fmt.Errorf("reading manifest: %w", err)
		if errors.Is(err, canonjson.ErrNewer) {
			err = fault.New(fault.Usage, err)
		}
		return Release{}, err
	}
	return rel, nil
}

func decode(b []byte) (Release, error) {
	var rel Release
	if err := format.Decode(b, &rel, &rel.Unknown); err != nil {
		return Release{}, err
	}
	if err := rel.check(); err != nil {
		return Release{}, err
	}
	canonical, err := rel.Encode()
	if err != nil {
		return Release{}, err
	}
	if err := canonjson.Same(b, canonical); err != nil {
		return Release{}, fmt.Errorf("%w, so two readers may see two releases", err)
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
	if err := cmp.Or(format.Check(canonjson.Head{Schema: r.Schema, Minor: r.Minor, Requires: r.Requires}, r.Unknown), r.checkIdentity()); err != nil {
		return err
	}
	files, err := r.checkFiles()
	if err != nil {
		return err
	}
	return cmp.Or(
		each(r.Binaries, func(b Binary) error { return cmp.Or(files.are(b.Path, artifact.Binary), checkPlatform(b.Platform)) }),
		each(r.Archives, func(a Archive) error { return cmp.Or(files.are(a.Path, artifact.Archive), checkPlatform(a.Platform)) }),
		each(r.Charts, func(c Chart) error { return cmp.Or(files.are(c.Path, artifact.Chart), c.check()) }),
		each(r.Packages, func(p Package) error { return cmp.Or(files.are(p.Path, artifact.Package), checkPlatform(p.Platform)) }),
		each(r.Recipes, files.checkRecipe),
		each(r.SBOMs, files.checkSBOM),
		files.mayBe(r.Notes, artifact.Notes),
		files.mayBe(r.Provenance, artifact.Provenance),
		r.Signing.check(),
		each(r.Images, Image.check),
	)
}

// each is the first error of a list.
func each[T any](list []T, check func(T) error) error {
	for _, one := range list {
		if err := check(one); err != nil {
			return err
		}
	}
	return nil
}

func (r Release) checkIdentity() error {
	switch {
	case r.Name == "" || r.Version.IsZero() || r.Commit == "":
		return errors.New("name, version or commit is missing")
	case strings.HasPrefix(r.Commit, "-") || strings.HasPrefix(r.Tree, "-") || strings.HasPrefix(r.Tag, "-") || strings.HasPrefix(r.Since, "-"):
		return errors.New("commit, tree or tag begins with -; git would take it for an option")
	case r.Time.Unix() < 0 || r.Time.Nanosecond() != 0 || r.Time.Year() > 9999:
		return fmt.Errorf("time %s is not a commit time in whole seconds since 1970", r.Time.UTC().Format(time.RFC3339Nano))
	}
	if _, err := artifact.ParseDigest(string(r.Plan)); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	return nil
}

// kinds are the kinds of a release's files by path.
type kinds map[string]artifact.Kind

func (r Release) checkFiles() (kinds, error) {
	files := make(kinds, len(r.Files))
	paths := []string{FileName, ChecksumsName} // no file has the name of these, in any letter case
	switch r.Downloads {
	case "":
	case DownloadsName:
		paths = append(paths, DownloadsName)
	default:
		return nil, fmt.Errorf("downloads: %.80q is not %s", r.Downloads, DownloadsName)
	}
	for _, f := range r.Files {
		if _, err := artifact.ParseDigest(string(f.Digest)); err != nil {
			return nil, fmt.Errorf("%.80q: %w", f.Path, err)
		}
		if f.Size < 0 {
			return nil, fmt.Errorf("%.80q: size %d is negative", f.Path, f.Size)
		}
		if f.Path == FileName || f.Path == ChecksumsName || f.Path == r.Downloads {
			return nil, fmt.Errorf("%s cannot list itself", f.Path)
		}
		files[f.Path] = f.Kind
		paths = append(paths, f.Path)
	}
	return files, artifact.CheckPaths(paths)
}

// are refuses a path that is not a file of the kind.
func (k kinds) are(p string, want artifact.Kind) error {
	switch kind, ok := k[p]; {
	case !ok:
		return fmt.Errorf("%.80q is not among the files", p)
	case kind != want:
		return fmt.Errorf("%.80q is a file of kind %q and named as %s", p, kind, want)
	}
	return nil
}

// mayBe is are for a path that need not be there.
func (k kinds) mayBe(p string, want artifact.Kind) error {
	if p == "" {
		return nil
	}
	return k.are(p, want)
}

func (k kinds) checkRecipe(r Recipe) error {
	if err := k.are(r.Path, artifact.Recipe); err != nil {
		return err
	}
	for _, a := range r.Archives {
		if err := k.are(a, artifact.Archive); err != nil {
			return fmt.Errorf("%.80s: %w", r.Path, err)
		}
	}
	return nil
}

func (k kinds) checkSBOM(s SBOM) error {
	err := k.are(s.Path, artifact.SBOM)
	if s.Platform != (artifact.Platform{}) || k[s.Subject] != artifact.Composed {
		err = cmp.Or(err, checkPlatform(s.Platform))
	}
	if err != nil {
		return err
	}
	if _, err := artifact.ParseDigest(string(s.Digest)); err != nil {
		return fmt.Errorf("%.80s: %w", s.Path, err)
	}
	return nil
}

func (c Chart) check() error {
	if (c.Repository == "") != (c.Digest == "") || c.Size < 0 {
		return fmt.Errorf("chart %.80s: it has only some of repository, digest and size", c.Name)
	}
	if c.Digest != "" {
		if _, err := artifact.ParseDigest(string(c.Digest)); err != nil {
			return fmt.Errorf("chart %.80s: %w", c.Name, err)
		}
	}
	return nil
}

func (s *Signing) check() error {
	switch {
	case s == nil:
		return nil
	case (s.Key == "") == (s.Identity == "") || (s.Identity == "") != (s.Issuer == ""):
		return errors.New("signing: want a key, or an identity and its issuer")
	case s.Key != "":
		if _, err := artifact.ParseDigest(string(s.Key)); err != nil {
			return fmt.Errorf("signing: key: %w", err)
		}
	}
	return nil
}

func (im Image) check() error {
	if err := im.checkContents(); err != nil {
		return fmt.Errorf("image %.80s (%.80s): %w", im.Repository, im.Distro, err)
	}
	return nil
}

func (im Image) checkContents() error {
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

// List is a file of checksums, which follows from the manifest.
type List struct {
	Name    string
	Content []byte
}

// ListNames are the names of the files of checksums that the release has; see Lists.
func (r Release) ListNames() []string {
	if r.Downloads == "" {
		return []string{ChecksumsName}
	}
	return []string{ChecksumsName, r.Downloads}
}

// Lists are the files of checksums of the release whose release.json has the digest: SHA256SUMS, with every file by its path,
// and where the release has it that of the downloads, by the names that they have where there are no folders.
func (r Release) Lists(self artifact.Digest) []List {
	all := append(slices.Clone(r.Files), artifact.File{Path: FileName, Kind: artifact.Checksums, Digest: self})
	lists := []List{{ChecksumsName, Checksums(all)}}
	if r.Downloads != "" {
		lists = append(lists, List{r.Downloads, Checksums(flat(all))})
	}
	return lists
}

// flat are the files without their folders, but for programs and images, which nobody has under these names. A name that two
// of them have, or one and a list, is left out: it says nothing about either. Nothing that people download has such a name,
// since files of one folder differ in their names and those of two in their endings.
func flat(files []artifact.File) []artifact.File {
	folded := func(f artifact.File) string { return artifact.Fold(path.Base(f.Path)) }
	seen := map[string]int{artifact.Fold(ChecksumsName): 1, artifact.Fold(DownloadsName): 1}
	for _, f := range files {
		if f.Kind != artifact.Binary && f.Kind != artifact.Image {
			seen[folded(f)]++
		}
	}
	var out []artifact.File
	for _, f := range files {
		if f.Kind != artifact.Binary && f.Kind != artifact.Image && seen[folded(f)] == 1 {
			f.Path = path.Base(f.Path)
			out = append(out, f)
		}
	}
	return out
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
	b, err := bounded.Read(r, maxSize)
	if err != nil {
		return nil, fmt.Errorf("reading checksums: %w", err)
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
