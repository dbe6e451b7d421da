package osversion

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// apkVersion is a version as apk reads it (https://wiki.alpinelinux.org/wiki/APKBUILD_Reference#pkgver): numbers, a letter, suffixes with
// numbers, a hash and the number of the build.
var apkVersion = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)*)([a-z]?)((?:_[a-z]+[0-9]*)*)(?:~([0-9a-f]+))?(?:-r([0-9]+))?$`)

var apkSuffix = regexp.MustCompile(`_([a-z]+)([0-9]*)`)

// apkSuffixes are in their order; "" is a version without one, which is behind its candidates and before what was added to it.
var apkSuffixes = []string{"alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p"}

type apk struct {
	numbers  []string
	letter   string
	suffixes [][2]string // word and number
	hash     string
	build    string
}

func parseAPK(v string) (apk, bool) {
	m := apkVersion.FindStringSubmatch(v)
	if m == nil {
		return apk{}, false
	}
	p := apk{numbers: strings.Split(m[1], "."), letter: m[2], hash: m[4], build: m[5]}
	for _, s := range apkSuffix.FindAllStringSubmatch(m[3], -1) {
		if !slices.Contains(apkSuffixes, s[1]) {
			return apk{}, false
		}
		p.suffixes = append(p.suffixes, [2]string{s[1], s[2]})
	}
	return p, true
}

// compareAPK compares two versions that parseAPK reads, as apk_version_compare of apk-tools does. There is no library of it that is
// kept: the one that scanners use has not changed since 2020, and puts 2.0_rc1 behind 2.0.
func compareAPK(a, b string) int {
	va, _ := parseAPK(a)
	vb, _ := parseAPK(b)
	for i := range max(len(va.numbers), len(vb.numbers)) {
		if i >= len(va.numbers) || i >= len(vb.numbers) {
			return cmp.Compare(len(va.numbers), len(vb.numbers))
		}
		na, nb := va.numbers[i], vb.numbers[i]
		d := compareNumbers(na, nb)
		if i > 0 && (na[0] == '0' || nb[0] == '0') { // behind the first point it is read as a fraction
			d = strings.Compare(na, nb)
		}
		if d != 0 {
			return d
		}
	}
	if d := strings.Compare(va.letter, vb.letter); d != 0 {
		return d
	}
	for i := range max(len(va.suffixes), len(vb.suffixes)) {
		sa, sb := suffixAt(va, i), suffixAt(vb, i)
		if d := cmp.Or(cmp.Compare(slices.Index(apkSuffixes, sa[0]), slices.Index(apkSuffixes, sb[0])), compareNumbers(sa[1], sb[1])); d != 0 {
			return d
		}
	}
	return cmp.Or(strings.Compare(va.hash, vb.hash), compareNumbers(va.build, vb.build))
}

func suffixAt(v apk, i int) [2]string {
	if i < len(v.suffixes) {
		return v.suffixes[i]
	}
	return [2]string{}
}

// compareNumbers compares numbers of any length; none is 0.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
