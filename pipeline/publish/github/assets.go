package github

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/artifact"
	"github.com/slipway-build/slipway/pipeline/fault"
	"github.com/slipway-build/slipway/pipeline/manifest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/signature"
)

// Bounds of a release
// (https://docs.github.com/repositories/releasing-projects-on-github/about-releases#storage-and-bandwidth-quotas).
const (
	maxAssets = 1000
	maxSize   = 2 << 30 // bytes of an asset
)

// asset is a file of the release under the name that it has on GitHub, where there are no folders.
type asset struct {
	name      string
	file      artifact.File
	mediaType string
}

// renamed are the characters that GitHub takes out of the names of assets, putting a dot in their place
// (https://docs.github.com/rest/releases/assets#upload-a-release-asset): of 1.2.3~rc.1, say, in the name of a Debian
// package.
var renamed = regexp.MustCompile(`[^A-Za-z0-9._+@-]+`)

func nameOf(file string) string {
	return strings.Trim(renamed.ReplaceAllString(path.Base(file), "."), ".")
}

// carried tells which files become assets: what people download, what tells of it and what vouches for it. Programs are
// in the archives, images in their registries, and recipes where package managers look.
func carried(m manifest.Release, f artifact.File) bool {
	switch f.Kind {
	case artifact.Archive, artifact.Package, artifact.Chart, artifact.SBOM, artifact.Provenance:
		return true
	case artifact.Recipe:
		return slices.ContainsFunc(m.Recipes, func(r manifest.Recipe) bool {
			return r.Path == f.Path && (r.Format == "script" || r.Format == "nupkg")
		})
	}
	return false
}

// assetsOf are the assets of a release, sorted by name, with whatever signatures there are.
func assetsOf(rel publish.Release) ([]asset, error) {
	files := []string{manifest.FileName, manifest.ChecksumsName}
	for _, f := range rel.Manifest.Files {
		if carried(rel.Manifest, f) {
			files = append(files, f.Path)
		}
	}
	for _, pattern := range []string{"*" + signature.Suffix, signature.AttestationsDir + "/*.intoto.jsonl"} {
		found, err := fs.Glob(os.DirFS(rel.Dir), pattern)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	var out []asset
	taken := map[string]string{}
	for _, p := range files {
		f, err := rel.Hash(p)
		if err != nil {
			return nil, fault.New(fault.Mismatch, err)
		}
		a := asset{name: nameOf(p), file: f, mediaType: mediaType(p)}
		switch {
		case taken[a.name] != "":
			return nil, fault.Errorf(fault.Usage, "%s and %s would both be %s on GitHub, where there are no folders; rename one of them", taken[a.name], p, a.name)
		case f.Size >= maxSize:
			return nil, fault.Errorf(fault.Usage, "%s has %s and an asset on GitHub less than %s", p, artifact.FormatSize(f.Size), artifact.FormatSize(maxSize))
		}
		taken[a.name] = p
		out = append(out, a)
	}
	if len(out) > maxAssets {
		return nil, fault.Errorf(fault.Usage, "the release has %d assets and may have %d on GitHub", len(out), maxAssets)
	}
	slices.SortFunc(out, func(a, b asset) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// mediaTypes are those of what a browser would otherwise take for something else, by ending.
var mediaTypes = map[string]string{
	".gz": "application/gzip", ".tgz": "application/gzip", ".zip": "application/zip", ".json": "application/json", ".jsonl": "application/jsonl",
	".deb": "application/vnd.debian.binary-package", ".rpm": "application/x-rpm", ".sh": "text/x-shellscript",
}

func mediaType(name string) string {
	if t := mediaTypes[filepath.Ext(name)]; t != "" {
		return t
	}
	return "application/octet-stream"
}

// marker is a comment in the text of a release, which nobody sees, that says whose bytes the draft is for.
func (d *Destination) marker() string { return fmt.Sprintf("<!-- %s -->", d.o.Release.Digest) }

// bodyOf is the text of the release: its notes, cut where GitHub would refuse them.
func bodyOf(rel publish.Release) (string, error) {
	name := rel.Manifest.Notes
	if name == "" {
		return "", nil
	}
	f, err := os.Open(rel.Path(name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 8*maxBody))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
	const more = "\n\n(GitHub shows no more than this; the rest is in the changelog.)"
	const room = maxBody - 200 // for what follows
	if utf8.RuneCountInString(text) > room {
		text = string([]rune(text)[:room-len(more)])
		text = text[:max(strings.LastIndexByte(text, '\n'), 0)] + more
	}
	return text, nil
}
