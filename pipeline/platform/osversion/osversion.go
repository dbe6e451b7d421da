// Package osversion orders versions of packages as their own package manager does: apk, dpkg and rpm, and the Go command for modules
// and for Go itself. The order of one says nothing of another: 1.0~rc1 is before 1.0 for dpkg, and no version at all for apk.
package osversion

import (
	"cmp"
	"fmt"
	"strings"

	deb "github.com/knqyf263/go-deb-version"
	rpm "github.com/knqyf263/go-rpm-version"
	"golang.org/x/mod/semver"
)

// maxLen bounds a version, in bytes.
const maxLen = 256

// Compare is negative where a is before b, and positive where it is behind it. kind is the type of a package URL: apk, deb, rpm or golang.
// What is no version of that kind is an error, as is a kind whose order is not known here.
func Compare(kind, a, b string) (int, error) {
	for _, v := range []string{a, b} {
		if err := Check(kind, v); err != nil {
			return 0, err
		}
	}
	switch kind {
	case "apk":
		return compareAPK(a, b), nil
	case "deb":
		va, err := deb.NewVersion(a)
		if err != nil {
			return 0, err
		}
		vb, err := deb.NewVersion(b)
		return cmp.Compare(va.Compare(vb), 0), err
	case "rpm":
		va, vb := rpm.NewVersion(a), rpm.NewVersion(b)
		return va.Compare(vb), nil
	}
	return semver.Compare(goVersion(a), goVersion(b)), nil
}

// Check says why a version is none of its kind.
func Check(kind, v string) error {
	if v == "" || len(v) > maxLen || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%.60q is no version", v)
	}
	ok := true
	switch kind {
	case "apk":
		_, ok = parseAPK(v)
	case "deb":
		_, err := deb.NewVersion(v)
		ok = err == nil
	case "rpm":
		epoch, _, has := strings.Cut(v, ":")
		ok = !has || epoch != "" && len(epoch) <= 9 && strings.Trim(epoch, "0123456789") == ""
	case "golang":
		ok = semver.IsValid(goVersion(v))
	default:
		return fmt.Errorf("the order of versions of kind %.40q is not known; known are apk, deb, golang and rpm", kind)
	}
	if !ok {
		return fmt.Errorf("%.60q is no version of kind %s", v, kind)
	}
	return nil
}

// goVersion is a version of a module, or of Go itself, whose candidates are called 1.26rc1.
func goVersion(v string) string {
	v = strings.TrimPrefix(strings.TrimPrefix(v, "go"), "v")
	for _, pre := range []string{"rc", "beta"} {
		if numbers, n, ok := strings.Cut(v, pre); ok && strings.Trim(numbers, "0123456789.") == "" && n != "" {
			for strings.Count(numbers, ".") < 2 {
				numbers += ".0"
			}
			return "v" + numbers + "-" + pre + "." + n
		}
	}
	return "v" + v
}
