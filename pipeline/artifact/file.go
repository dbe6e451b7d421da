package artifact

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Kind says what a file of a release is for.
type Kind string

// The kinds of files, in the order in which they are made.
const (
	Binary    Kind = "binary"
	Archive   Kind = "archive"
	Image     Kind = "image" // a file of the OCI layout
	Chart     Kind = "chart"
	Checksums Kind = "checksums"
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
	Kind   string `json:"kind"` // toolchain, base, chart or certificates
	Name   string `json:"name"`
	Digest string `json:"digest"` // sha256:<hex>, or h1:<base64> for a Go module
}

// reserved are the names that Windows gives to devices, in any letter case and with any ending
// (https://learn.microsoft.com/windows/win32/fileio/naming-a-file#naming-conventions).
var reserved = []string{
	"con", "prn", "aux", "nul",
	"com0", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
	"lpt0", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
}

// CheckPath tells why a slash-separated path may not name a file of a release or of an archive in one: it must be
// relative and clean, stay below its root, and be a legal name on every system that a release is unpacked on.
func CheckPath(p string) error {
	switch {
	case p == "" || p == ".":
		return fmt.Errorf("path %q is empty", p)
	case len(p) > 1024:
		return fmt.Errorf("path %.40q... is longer than 1024 bytes", p)
	case strings.Contains(p, "\\"):
		return fmt.Errorf("path %q has a backslash; separate with /", p)
	case path.IsAbs(p):
		return fmt.Errorf("path %q is absolute; it must be relative", p)
	case p != path.Clean(p) || p == ".." || strings.HasPrefix(p, "../"):
		return fmt.Errorf("path %q leaves its folder or is not clean (want %q)", p, strings.TrimLeft(path.Clean("/"+p), "/"))
	}
	for part := range strings.SplitSeq(p, "/") {
		stem, _, _ := strings.Cut(strings.ToLower(part), ".")
		switch {
		case slices.Contains(reserved, stem):
			return fmt.Errorf("path %q: %q is a device on Windows; choose another name", p, part)
		case strings.HasSuffix(part, ".") || strings.HasSuffix(part, " "):
			return fmt.Errorf("path %q: %q ends in a dot or a space, which Windows drops", p, part)
		case strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`<>:"|?*`, r) }):
			return fmt.Errorf("path %q: %q has a character that not every system allows in a file name", p, part)
		}
	}
	return nil
}

// CheckPaths applies CheckPath to each path and refuses two that are the same where letter case does not count, as on
// macOS and Windows, or one that is a folder of another.
func CheckPaths(paths []string) error {
	seen := make(map[string]string, len(paths))
	for _, p := range paths {
		if err := CheckPath(p); err != nil {
			return err
		}
		folded := strings.ToLower(p)
		if other, ok := seen[folded]; ok {
			if other == p {
				return fmt.Errorf("path %q is named twice", p)
			}
			return fmt.Errorf("paths %q and %q are one file where letter case does not count", other, p)
		}
		seen[folded] = p
	}
	for _, p := range paths {
		for dir := path.Dir(strings.ToLower(p)); dir != "."; dir = path.Dir(dir) {
			if other, ok := seen[dir]; ok {
				return fmt.Errorf("path %q is a file and a folder of %q", other, p)
			}
		}
	}
	return nil
}
