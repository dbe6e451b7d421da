package format

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Deb is the format of dpkg (https://manpages.debian.org/deb.5).
//
// A package is native in Debian's sense: who makes the program makes the package, so its version is the release's and
// has no revision behind a hyphen. 1.2.3-rc.1 is 1.2.3~rc.1, since dpkg sorts a tilde before everything, the end
// included (https://manpages.debian.org/deb-version.7). Build metadata stays behind its plus, with dots for hyphens.
//
// dpkg sorts identifiers of a prerelease as SemVer does where they are numbers or words; see checkIdentifiers. Two kinds
// of pairs are left that no project has in one version: a word and another that begins with it, both with more behind
// (pre.1 is before preview.1 by SemVer, and after it by dpkg; rc.1 and rc1 likewise), and snapshots of the same number
// of commits, whose order means nothing.
//
// The name of the file has a dot for the tilde: GitHub renames assets so, and silently.
var Deb = Format{
	Name: "deb", Carries: true, Ending: ".deb", Arch: debArches.name, Version: debVersion, Unfit: tooShort,
	Path: func(n Names) string {
		return "packages/" + n.Name + "_" + fileVersion(n.Version) + "_" + n.Arch + ".deb"
	},
	// https://www.debian.org/doc/debian-policy/ch-relationships.html
	Relation: &Grammar{
		regexp.MustCompile(`^` + debRelation + `(?: \| ` + debRelation + `)*$`), "tool, or tool (>= 1.2)",
	},
	Zsh: "usr/share/zsh/vendor-completions",
}

const debRelation = `[a-z0-9][a-z0-9+.-]+(?::[a-z0-9]+)?(?: \((?:<<|<=|=|>=|>>) [A-Za-z0-9.+~:-]+\))?`

// tooShort is why a name is none for a distribution: all of them ask for two characters.
func tooShort(f Facts) string {
	if len(f.Name) < 2 {
		return "the name is too short; set name"
	}
	return ""
}

// debArches are the names of https://manpages.debian.org/dpkg-architecture.1 (those of Debian and of its ports).
//
// A program for GOARM=6 is armhf: Raspberry Pi OS calls its ARMv6 so, and Debian its ARMv7, which runs it. The program
// is static, so it does not meet the calling convention in which armel differs. For GOARM=7 armhf is Debian's own
// meaning of the name. Debian has no names for instruction sets of amd64 that every dpkg obeys
// (Architecture-Variant is Ubuntu's alone), so those have none.
var debArches = arches{
	"386":                "i386",
	"386/softfloat":      "i386",
	"amd64":              "amd64",
	"arm":                "armhf",
	"arm/v5":             "armel",
	"arm/v7":             "armhf",
	"arm64":              "arm64",
	"loong64":            "loong64",
	"mips":               "mips",
	"mips/softfloat":     "mips",
	"mips64":             "mips64",
	"mips64/softfloat":   "mips64",
	"mips64le":           "mips64el",
	"mips64le/softfloat": "mips64el",
	"mipsle":             "mipsel",
	"mipsle/softfloat":   "mipsel",
	"ppc64":              "ppc64",
	"ppc64le":            "ppc64el",
	"riscv64":            "riscv64",
	"s390x":              "s390x",
}

func debVersion(v version.Version) (string, error) {
	if err := checkIdentifiers(v); err != nil {
		return "", err
	}
	s := core(v)
	if v.IsPrerelease() {
		s += "~" + v.Prerelease()
	}
	if v.Metadata() != "" {
		s += "+" + strings.ReplaceAll(v.Metadata(), "-", ".")
	}
	return s, nil
}

// arches are a format's names for architectures of Linux, by architecture or architecture/variant in Go's terms.
type arches map[string]string

// name is the format's name for a platform. A variant that asks for no more than its architecture does is not told from
// it; any other has a name only where it has one of its own.
func (a arches) name(p artifact.Platform) (string, bool) {
	if p.OS != "linux" {
		return "", false
	}
	key := p.Arch
	if fmt.Sprint(p.Env()) != fmt.Sprint(p.Base().Env()) {
		key += "/" + p.Variant
	}
	name, ok := a[key]
	return name, ok
}

func core(v version.Version) string {
	return fmt.Sprintf("%d.%d.%d", v.Major(), v.Minor(), v.Patch())
}

// fileVersion is a version as it may be in the name of a file that GitHub does not rename.
func fileVersion(s string) string { return strings.ReplaceAll(s, "~", ".") }

var (
	numbers   = regexp.MustCompile(`^[0-9]+$`)
	words     = regexp.MustCompile(`^[A-Za-z]+[0-9]?$`)
	snapshots = regexp.MustCompile(`^snapshot\.([0-9]+)\.g[0-9a-f]+$`)
)

// checkIdentifiers refuses a prerelease whose identifiers package managers do not sort as SemVer does. They compare the
// numbers in a word as numbers, and SemVer compares their digits as characters: 1.0.0-rc10 is before 1.0.0-rc2
// (https://semver.org/spec/v2.0.0.html#spec-item-11). So an identifier is a number, or a word with at most one digit at
// its end. The commit at the end of a snapshot is what it is; see version.Snapshot.
func checkIdentifiers(v version.Version) error {
	if v.IsZero() {
		return errors.New("version is not set")
	}
	if !v.IsPrerelease() || snapshots.MatchString(v.Prerelease()) {
		return nil
	}
	for id := range strings.SplitSeq(v.Prerelease(), ".") {
		if !numbers.MatchString(id) && !words.MatchString(id) {
			return fmt.Errorf("version %s: package managers do not sort %q as SemVer does; separate words and numbers by dots, as in rc.1", v, id)
		}
	}
	return nil
}
