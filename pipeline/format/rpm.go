package format

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

// RPM is the format of rpm (https://rpm.org/docs/latest/manual/format_v4.html). Versions are without the release, which
// is always 1.
//
// 1.2.3-rc.1 is 1.2.3~rc.1: rpm sorts a tilde before everything, the end included, and has no hyphen in a version
// (https://rpm.org/docs/latest/manual/dependencies.html). It sorts a word before a number where SemVer does the
// opposite, so a prerelease is a word that numbers follow. The rest is as in Deb; but to rpm all separators are one, so
// that 1.2.3~rc.1 and 1.2.3~rc1 are equal, and metadata behind a prerelease would be more of the prerelease.
//
// The name of the file has a dot for the tilde: GitHub renames assets so, and silently.
var RPM = Format{
	Name: "rpm", Carries: true, Ending: ".rpm", Arch: rpmArches.name, Version: rpmVersion, Revision: RPMRelease, Unfit: tooShort,
	Path: func(n Names) string {
		return "packages/" + n.Name + "-" + fileVersion(n.Version) + "-" + RPMRelease + "." + n.Arch + ".rpm"
	},
	// https://rpm-software-management.github.io/rpm/manual/dependencies.html
	Relation: &Grammar{
		regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9._+/-]*(?:\([A-Za-z0-9._:+-]*\))*(?: (?:<|<=|=|>=|>) [A-Za-z0-9._+~^:-]+)?$`),
		"tool, or tool >= 1.2",
	},
}

// RPMRelease is the release of every RPM package: a version is packed once.
const RPMRelease = "1"

// rpmArches are the names of https://github.com/rpm-software-management/rpm/blob/master/rpmrc.in. An ARMv7 installs
// what is for armv6hl, too, and rpm from 4.19 on knows the levels of x86-64.
var rpmArches = arches{
	"386":                "i686",
	"386/softfloat":      "i586",
	"amd64":              "x86_64",
	"amd64/v2":           "x86_64_v2",
	"amd64/v3":           "x86_64_v3",
	"amd64/v4":           "x86_64_v4",
	"arm":                "armv6hl",
	"arm/v5":             "armv5tel",
	"arm/v7":             "armv7hl",
	"arm64":              "aarch64",
	"loong64":            "loongarch64",
	"mips":               "mips",
	"mips/softfloat":     "mips",
	"mips64":             "mips64",
	"mips64/softfloat":   "mips64",
	"mips64le":           "mips64el",
	"mips64le/softfloat": "mips64el",
	"mipsle":             "mipsel",
	"mipsle/softfloat":   "mipsel",
	"ppc64":              "ppc64",
	"ppc64le":            "ppc64le",
	"riscv64":            "riscv64",
	"s390x":              "s390x",
}

func rpmVersion(v version.Version) (string, error) {
	if err := checkIdentifiers(v); err != nil {
		return "", err
	}
	s := core(v)
	if !v.IsPrerelease() {
		if v.Metadata() != "" {
			s += "+" + strings.ReplaceAll(v.Metadata(), "-", ".")
		}
		return s, nil
	}
	if v.Metadata() != "" {
		return "", fmt.Errorf("version %s: rpm cannot tell the metadata %s from more of the prerelease; leave it out", v, v.Metadata())
	}
	if !snapshots.MatchString(v.Prerelease()) {
		if v.IsSnapshot() {
			return "", fmt.Errorf("version %s: rpm does not sort it among snapshots such as %s-snapshot.1.g0123456789ab; use another word", v, core(v))
		}
		for i, id := range strings.Split(v.Prerelease(), ".") {
			if numbers.MatchString(id) != (i > 0) {
				return "", fmt.Errorf("version %s: rpm sorts words before numbers, and SemVer numbers before words; write a word and then numbers, as in rc.1", v)
			}
		}
	}
	return s + "~" + v.Prerelease(), nil
}
