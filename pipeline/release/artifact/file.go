package artifact

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

// Kind says what a file of a release is for.
type Kind string

// The kinds of files, in the order in which they are made.
const (
	Binary     Kind = "binary"
	Archive    Kind = "archive"
	Package    Kind = "package" // carries its files: deb, rpm, apk, snap, nupkg
	Recipe     Kind = "recipe"  // fetches an archive: formula, cask, Scoop and winget manifests, install script
	Image      Kind = "image"   // a file of the OCI layout
	Chart      Kind = "chart"
	SBOM       Kind = "sbom"
	Notes      Kind = "notes"
	Composed   Kind = "platform" // what a release of a platform consists of
	Provenance Kind = "provenance"
	Checksums  Kind = "checksums"
)

// File is one file of dist/.
type File struct {
	Path   string `json:"path"` // slash-separated, relative to dist/
	Kind   Kind   `json:"kind"`
	Size   int64  `json:"size"` // bytes
	Digest Digest `json:"digest"`
}

// Input is something from outside of the commit that goes into a release, pinned.
type Input struct {
	Kind   string `json:"kind"` // toolchain, base, chart, certificates, key or component
	Name   string `json:"name"`
	Digest string `json:"digest"` // sha256:<hex>, or h1:<base64> for a Go module
}

// reserved are the names that Windows gives to devices, in any letter case and with any ending
// (https://learn.microsoft.com/windows/win32/fileio/naming-a-file#naming-conventions).
var reserved = []string{
	"con", "prn", "aux", "nul", "conin$", "conout$",
	"com0", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "com¹", "com²", "com³",
	"lpt0", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9", "lpt¹", "lpt²", "lpt³",
}

// Bounds of a path, in bytes: what every file system in use can hold.
const (
	maxPath = 1024
	maxPart = 255
)

// CheckPath says why a slash-separated path may not name a file of a release or of an archive in one: it must be
// relative and clean, stay below its root, and be a legal name on every system that a release is unpacked on.
func CheckPath(p string) error {
	clean := path.Clean(p)
	switch {
	case p == "" || p == ".":
		return fmt.Errorf("path %q is empty", p)
	case len(p) > maxPath:
		return fmt.Errorf("path %.40q... is longer than %d bytes", p, maxPath)
	case !utf8.ValidString(p):
		return fmt.Errorf("path %q is not UTF-8", p)
	case strings.Contains(p, "\\"):
		return fmt.Errorf("path %q has a backslash; separate with /", p)
	case path.IsAbs(p):
		return fmt.Errorf("path %q is absolute; it must be relative", p)
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return fmt.Errorf("path %q leaves its folder", p)
	case p != clean:
		return fmt.Errorf("path %q is not clean; write %q", p, clean)
	}
	for part := range strings.SplitSeq(p, "/") {
		stem, _, _ := strings.Cut(strings.ToLower(part), ".")
		switch {
		case len(part) > maxPart:
			return fmt.Errorf("path %.40q...: %.40q... is longer than %d bytes", p, part, maxPart)
		case slices.Contains(reserved, strings.TrimRight(stem, " ")):
			return fmt.Errorf("path %q: %q is a device on Windows; choose another name", p, part)
		case strings.HasSuffix(part, ".") || strings.HasSuffix(part, " "):
			return fmt.Errorf("path %q: %q ends in a dot or a space, which Windows drops", p, part)
		case strings.ContainsFunc(part, forbidden):
			return fmt.Errorf("path %q: %q has a character that not every system allows in a file name", p, part)
		}
	}
	return nil
}

// forbidden reports whether a system refuses the character in a file name, or a terminal obeys it.
func forbidden(r rune) bool {
	return words.IsObeyed(r) || strings.ContainsRune(`<>:"|?*`, r)
}

// CheckPaths applies CheckPath to each path and refuses two that are the same where letter case does not count, as on
// macOS and Windows, or one that is a folder of another.
func CheckPaths(paths []string) error {
	seen := make(map[string]string, len(paths))
	for _, p := range paths {
		if err := CheckPath(p); err != nil {
			return err
		}
		folded := Fold(p)
		if other, ok := seen[folded]; ok {
			if other == p {
				return fmt.Errorf("path %q is named twice", p)
			}
			return fmt.Errorf("paths %q and %q are one file where letter case does not count", other, p)
		}
		seen[folded] = p
	}
	for _, p := range paths {
		for dir := path.Dir(Fold(p)); dir != "."; dir = path.Dir(dir) {
			if other, ok := seen[dir]; ok {
				return fmt.Errorf("path %q is a file and a folder of %q", other, p)
			}
		}
	}
	return nil
}

// Fold gives strings that differ in letter case alone one form: of each letter's cases the first in Unicode's order.
func Fold(s string) string {
	return strings.Map(func(r rune) rune {
		first := r
		for c := unicode.SimpleFold(r); c != r; c = unicode.SimpleFold(c) {
			first = min(first, c)
		}
		return first
	}, s)
}

// FormatSize writes a number of bytes in decimal units, as registries and file managers do.
func FormatSize(n int64) string {
	const unit = 1000
	switch f := float64(n); {
	case n < unit:
		return fmt.Sprintf("%d B", n)
	case f < 999.95e3:
		return fmt.Sprintf("%.1f kB", f/1e3)
	case f < 999.95e6:
		return fmt.Sprintf("%.1f MB", f/1e6)
	default:
		return fmt.Sprintf("%.2f GB", f/1e9)
	}
}
