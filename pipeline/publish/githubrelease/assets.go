package githubrelease

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// What GitHub takes
// (https://docs.github.com/repositories/releasing-projects-on-github/about-releases#storage-and-bandwidth-quotas).
const (
	maxAssets = 1000
	maxAsset  = 2 << 30 // bytes; one has fewer
)

// Asset is a file of the release under its name on GitHub.
type Asset struct {
	Name string // what the path ends with: a release has no folders
	File artifact.File
	Type string // media type, as browsers are told it
	// Signature says that each holder of the key makes other bytes. One that is there already is left alone.
	Signature bool
}

// Assets are the files of a release that people download from its page, sorted by name: archives, packages, charts, bills
// of materials, the install script, provenance, the manifest, the checksums and every signature that was made. Programs
// are in the archives, images in their registries and recipes in the places of their package managers. The notes are the
// page itself, and an asset only where they are longer than what it shows.
//
// A file that GitHub would not take, or not under its name, is a Usage error.
func Assets(rel publish.Release) ([]Asset, error) {
	self, ok := rel.File(manifest.FileName)
	if !ok {
		return nil, errors.New("the release was not opened")
	}
	files, err := rel.Lists()
	if err != nil {
		return nil, err
	}
	files = append(files, self)
	for _, f := range rel.Manifest.Files {
		if format.Offered(rel.Manifest, f) {
			files = append(files, f)
		}
	}
	long, err := notesAreLong(rel)
	if err != nil {
		return nil, err
	}
	if long {
		notes, _ := rel.File(rel.Manifest.Notes)
		files = append(files, notes)
	}
	signatures, err := signaturesOf(rel, files)
	if err != nil {
		return nil, err
	}
	var assets []Asset
	for i, f := range slices.Concat(files, signatures) {
		assets = append(assets, Asset{Name: path.Base(f.Path), File: f, Type: mediaType(f.Path), Signature: i >= len(files)})
	}
	slices.SortFunc(assets, func(a, b Asset) int { return strings.Compare(a.Name, b.Name) })
	return assets, check(assets)
}

// signaturesOf are the signatures in dist/ that are files of their own: of the whole release, of any file that is an
// asset, and of what is said about the release.
func signaturesOf(rel publish.Release, files []artifact.File) ([]artifact.File, error) {
	names := signature.Whole(rel.Manifest)
	for _, f := range files {
		names = append(names, f.Path+signature.Suffix)
	}
	const said = signature.AttestationsDir + "/*"
	for _, pattern := range []string{"*" + signature.Suffix, said + signature.Suffix, said + ".intoto.jsonl"} {
		found, err := fs.Glob(os.DirFS(rel.Dir), pattern)
		if err != nil {
			return nil, fmt.Errorf("reading signatures: %w", err)
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	return rel.Unlisted(slices.Compact(names))
}

// kept are names that GitHub takes as they are. It puts a dot in the place of any other character, and takes dots from
// both ends (https://docs.github.com/rest/releases/assets#upload-a-release-asset; which characters, is told by those who
// tried: https://github.com/softprops/action-gh-release/issues/159).
var kept = regexp.MustCompile(`^[A-Za-z0-9_+-]([A-Za-z0-9._+-]*[A-Za-z0-9_+-])?$`)

// check refuses what GitHub refuses, or takes under another name.
func check(assets []Asset) error {
	if len(assets) > maxAssets {
		return fault.Errorf(fault.Usage, "the release has %d files to download, and GitHub takes %d of one release; build fewer targets or formats",
			len(assets), maxAssets)
	}
	seen := map[string]string{} // paths by name, where letter case does not count
	for _, a := range assets {
		folded := strings.ToLower(a.Name)
		switch other := seen[folded]; {
		case other != "":
			return fault.Errorf(fault.Usage, "%s and %s have one name on GitHub, where a release has no folders; rename one of them",
				other, a.File.Path)
		case !kept.MatchString(a.Name):
			return fault.Errorf(fault.Usage, "%s: GitHub would rename %q; use only letters, digits and ._+-",
				a.File.Path, a.Name)
		case a.File.Size >= maxAsset:
			return fault.Errorf(fault.Usage, "%s has %s, and GitHub takes files below %s", a.File.Path,
				artifact.FormatSize(a.File.Size), artifact.FormatSize(maxAsset))
		case a.File.Size == 0:
			return fault.Errorf(fault.Usage, "%s is empty, and GitHub takes no empty files", a.File.Path)
		}
		seen[folded] = a.File.Path
	}
	return nil
}

// mediaTypes are by ending. A table of the machine's would make other releases elsewhere.
var mediaTypes = map[string]string{
	".deb":  "application/vnd.debian.binary-package",
	".gz":   "application/gzip",
	".json": "application/json",
	".md":   "text/markdown; charset=utf-8",
	".rpm":  "application/x-rpm",
	".sh":   "text/x-shellscript; charset=utf-8",
	".tgz":  "application/gzip",
	".txt":  "text/plain; charset=utf-8",
	".zip":  "application/zip",
}

func mediaType(name string) string {
	if t := mediaTypes[path.Ext(name)]; t != "" {
		return t
	}
	if path.Base(name) == manifest.ChecksumsName {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}
