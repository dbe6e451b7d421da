package version

import (
	"slices"
	"strconv"
)

// Floating lists the names that a stable version may move: latest-<distro>, and for the default distro also latest,
// <major> and <major>.<minor>. A prerelease has none. Which version each of them stands for depends on what else is
// released; Holder knows.
func Floating(v Version, distro string, isDefault bool) []string {
	if !v.IsStable() {
		return nil
	}
	names := []string{"latest-" + distro}
	if isDefault {
		major := strconv.FormatUint(v.Major(), 10)
		names = append(names, "latest", major, major+"."+strconv.FormatUint(v.Minor(), 10))
	}
	return names
}

// Holder is the version that a name of v's Floating stands for, given every released version (v among them or not;
// prereleases do not count): the highest stable one that the name speaks of. latest and latest-<distro> stand for the
// highest of all, <major> for the highest of that major, <major>.<minor> for the highest of that minor. So the backport
// 1.2.9 after 1.3.0 and 2.0.0 holds 1.2 alone.
func Holder(name string, v Version, released []Version, distro string, isDefault bool) Version {
	for _, r := range released {
		if r.Compare(v) > 0 && slices.Contains(Floating(r, distro, isDefault), name) {
			v = r
		}
	}
	return v
}
