package format

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

// APK is the format of Alpine's apk, version 2, which every apk reads
// (https://wiki.alpinelinux.org/wiki/Apk_spec). Versions have the revision r0 at the end: a version is packed once.
//
// apk knows no versions but digit{.digit}{letter}{_suffix{digit}}{-rdigit}, with the suffixes alpha, beta, pre and rc
// before the version, in this order, and cvs, svn, git, hg and p after it
// (https://gitlab.alpinelinux.org/alpine/apk-tools/-/blob/master/src/version.c). So 1.2.3-rc.1 is 1.2.3_rc1-r0, and a
// second number, which SemVer sorts after the first, is a suffix after it: 1.2.3-rc.1.2 is 1.2.3_rc1_p2-r0.
//
// 1.2.4-snapshot.5.g0123456789ab is 1.2.4_rc_git5-r0. apk sorts _rc_git after _rc and any number, and before the end, as
// SemVer sorts snapshot after rc; that matters, since the snapshots after 1.3.0-rc.1 are of 1.3.0. The commit is left
// out. Metadata in numbers is p: 1.2.3+4 is 1.2.3_p4-r0. What else SemVer has cannot be written so that it sorts.
// 1.2.3-rc1 and 1.2.3-rc.1 are equal.
var APK = Format{
	Name: "apk", Carries: true, Ending: ".apk", Arch: apkArches.name, Version: apkVersion, Unfit: tooShort,
	Path: func(n Names) string { return "packages/" + n.Name + "_" + n.Version + "_" + n.Arch + ".apk" },
	// https://wiki.alpinelinux.org/wiki/APKBUILD_Reference#depends
	Relation: &Grammar{
		regexp.MustCompile(`^!?[a-z0-9][A-Za-z0-9._+:-]*(?:(?:<|<=|=|>=|>|~)[A-Za-z0-9._~-]+)?$`), "tool, or tool>=1.2",
	},
}

// apkArches are the architectures that Alpine has or had in the last years (https://alpinelinux.org/releases/). Its armhf
// is ARMv6 with a floating point unit, which is what GOARM=6 is.
var apkArches = arches{
	"386":           "x86",
	"386/softfloat": "x86",
	"amd64":         "x86_64",
	"arm":           "armhf",
	"arm/v7":        "armv7",
	"arm64":         "aarch64",
	"loong64":       "loongarch64",
	"ppc64le":       "ppc64le",
	"riscv64":       "riscv64",
	"s390x":         "s390x",
}

// apkDigits is how many digits a number may have: apk 2 stops at 18.
const apkDigits = 17

func apkVersion(v version.Version) (string, error) {
	if err := checkIdentifiers(v); err != nil {
		return "", err
	}
	s := core(v)
	pre := v.Prerelease()
	if m := snapshots.FindStringSubmatch(pre); m != nil {
		s += "_rc_git" + m[1]
	} else if pre != "" {
		word, rest, _ := strings.Cut(pre, ".")
		number := strings.TrimLeft(word, "abcdefghijklmnopqrstuvwxyz")
		switch word = strings.TrimSuffix(word, number); word {
		case "alpha", "beta", "pre", "rc":
		default:
			return "", fmt.Errorf("version %s: apk has no prerelease %.40q; it knows alpha, beta, pre and rc, and numbers after them, as in rc.1", v, pre)
		}
		s += "_" + word + number
		for id := range strings.SplitSeq(rest, ".") {
			switch {
			case rest == "":
			case !numbers.MatchString(id):
				return "", fmt.Errorf("version %s: apk cannot write %q; after %s it knows only numbers", v, id, word)
			case number == "":
				number = id
				s += id
			default:
				s += "_p" + id
			}
		}
	}
	if meta := v.Metadata(); meta != "" {
		if pre != "" {
			return "", fmt.Errorf("version %s: apk cannot tell the metadata %s from more of the prerelease; leave it out", v, meta)
		}
		for id := range strings.SplitSeq(meta, ".") {
			if !numbers.MatchString(id) {
				return "", fmt.Errorf("version %s: apk cannot write the metadata %q; it knows only numbers there", v, meta)
			}
			s += "_p" + id
		}
	}
	for id := range strings.FieldsFuncSeq(s, func(r rune) bool { return r < '0' || r > '9' }) {
		if len(id) > apkDigits {
			return "", fmt.Errorf("version %s: apk reads no number as long as %s; it ends at %d digits", v, id, apkDigits)
		}
	}
	return s + "-r0", nil
}
