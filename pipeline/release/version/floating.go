package version

import "strconv"

// Floating lists the names that a stable version may move: latest-<distro>, and for the default distro also latest,
// <major> and <major>.<minor>. A prerelease has none. Which of them v really moves depends on what else is released;
// Moves knows.
func Floating(v Version, distro string, isDefault bool) []string {
	return floating(v, distro, isDefault, func(scope) bool { return true })
}

// Moves lists the names of Floating that v moves, given every released version (v among them or not; prereleases do
// not count). A name moves only to the highest stable version that it speaks of: latest and latest-<distro> to the
// highest of all, <major> to the highest of that major, <major>.<minor> to the highest of that minor. So the backport
// 1.2.9 after 1.3.0 and 2.0.0 moves 1.2 alone.
func Moves(v Version, released []Version, distro string, isDefault bool) []string {
	return floating(v, distro, isDefault, func(in scope) bool {
		for _, r := range released {
			if r.IsStable() && in(r) && r.Compare(v) > 0 {
				return false
			}
		}
		return true
	})
}

// scope reports whether a released version belongs to what a floating name speaks of.
type scope func(Version) bool

func floating(v Version, distro string, isDefault bool, moves func(scope) bool) []string {
	if !v.IsStable() {
		return nil
	}
	all := func(Version) bool { return true }
	sameMajor := func(r Version) bool { return r.Major() == v.Major() }
	sameMinor := func(r Version) bool { return sameMajor(r) && r.Minor() == v.Minor() }
	major := strconv.FormatUint(v.Major(), 10)

	var names []string
	add := func(name string, in scope) {
		if moves(in) {
			names = append(names, name)
		}
	}
	add("latest-"+distro, all)
	if isDefault {
		add("latest", all)
		add(major, sameMajor)
		add(major+"."+strconv.FormatUint(v.Minor(), 10), sameMinor)
	}
	return names
}
