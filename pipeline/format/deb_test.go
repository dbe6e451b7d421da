package format_test

import (
	"cmp"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// writing is a version and how a format writes it.
type writing struct {
	version version.Version
	written string
}

// writable are the versions that a format can write, among all that have up to three of some identifiers, sorted as
// SemVer does. No identifier begins with another word, which Deb says is not sorted.
func writable(t testing.TB, f format.Format) []writing {
	t.Helper()
	ids := []string{"0", "1", "2", "10", "20240229", "alpha", "beta", "pre", "rc", "RC", "m1", "m2", "snapshot"}
	pres := []string{""}
	var grow func(prefix string, depth int)
	grow = func(prefix string, depth int) {
		for _, id := range ids {
			pres = append(pres, prefix+id)
			if depth > 1 {
				grow(prefix+id+".", depth-1)
			}
		}
	}
	grow("", 3)
	var all []writing
	for _, core := range []string{"0.9.0", "1.0.0", "1.0.1", "1.0.10", "1.10.0", "10.0.0"} {
		for _, pre := range pres {
			if core != "1.0.0" && strings.Count(pre, ".") > 1 {
				continue
			}
			v := parse(t, strings.TrimSuffix(core+"-"+pre, "-"))
			if s, err := f.Version(v); err == nil {
				all = append(all, writing{v, s})
			}
		}
		for _, s := range []string{
			core + "-snapshot.0.g0123456789ab", core + "-snapshot.3.gfedcba987654", core + "-snapshot.12.g00000000000e",
			version.Snapshot(parse(t, core), 5, "0123456789abcdef").String(),
			version.Snapshot(parse(t, core+"-rc.1"), 5, "0123456789abcdef").String(),
		} {
			v := parse(t, s)
			w, err := f.Version(v)
			if err != nil {
				t.Errorf("%s: a snapshot cannot be written: %v", f.Name, err)
			}
			all = append(all, writing{v, w})
		}
	}
	slices.SortFunc(all, func(a, b writing) int { return a.version.Compare(b.version) })
	return slices.CompactFunc(all, func(a, b writing) bool { return a.version.Compare(b.version) == 0 })
}

// checkOrder holds pairs of versions to SemVer's order: each with the twenty next, and with every seventeenth behind them.
func checkOrder(t *testing.T, f format.Format, least int, compare func(a, b string) int) {
	t.Helper()
	all := writable(t, f)
	if len(all) < least {
		t.Fatalf("only %d versions can be written, want %d", len(all), least)
	}
	for i, a := range all {
		for j := i + 1; j < len(all); j++ {
			b := all[j]
			if j > i+20 {
				j += 16
			}
			if compare(a.written, b.written) >= 0 || compare(b.written, a.written) <= 0 {
				t.Fatalf("%s is before %s; %s is not before %s", a.version, b.version, a.written, b.written)
			}
		}
	}
	// Metadata has no order, but stays between its version and the next.
	for _, s := range []string{"1.0.0+4", "1.0.0+0.7"} {
		w, err := f.Version(parse(t, s))
		if err != nil {
			t.Fatal(err)
		}
		before, _ := f.Version(parse(t, "1.0.0"))
		after, _ := f.Version(parse(t, "1.0.1-alpha"))
		if compare(before, w) >= 0 || compare(w, after) >= 0 {
			t.Errorf("%s is not between %s and %s", w, before, after)
		}
	}
}

// neighbours are up to n pairs of versions next to each other in SemVer's order, from all over it. A tool whose order is
// one sorts all right if it sorts each pair right.
func neighbours(t testing.TB, f format.Format, n int) [][2]string {
	t.Helper()
	all := writable(t, f)
	step := max(1, len(all)/n)
	var pairs [][2]string
	for i := step; i < len(all); i += step {
		pairs = append(pairs, [2]string{all[i-step].written, all[i].written})
	}
	return pairs
}

// dpkgCompare compares versions without epoch and revision as
// https://www.debian.org/doc/debian-policy/ch-controlfields.html#version says.
func dpkgCompare(a, b string) int {
	digit := func(s string, i int) bool { return i < len(s) && s[i] >= '0' && s[i] <= '9' }
	weight := func(s string, i int) int {
		switch {
		case i >= len(s) || digit(s, i):
			return 0
		case s[i] == '~':
			return -1
		case s[i] >= 'A' && s[i] <= 'Z' || s[i] >= 'a' && s[i] <= 'z':
			return int(s[i])
		}
		return int(s[i]) + 256
	}
	for a != "" || b != "" {
		i := 0
		for ; i < len(a) && !digit(a, i) || i < len(b) && !digit(b, i); i++ {
			if c := cmp.Compare(weight(a, i), weight(b, i)); c != 0 {
				return c
			}
		}
		number := func(s string) (int, string) {
			s = s[min(i, len(s)):]
			n := 0
			for digit(s, n) {
				n++
			}
			v, _ := strconv.Atoi("0" + s[:n])
			return v, s[n:]
		}
		var x, y int
		x, a = number(a)
		y, b = number(b)
		if x != y {
			return cmp.Compare(x, y)
		}
	}
	return 0
}

func TestDebOrder(t *testing.T) { checkOrder(t, format.Deb, 1000, dpkgCompare) }

func TestDebOrderOfDpkg(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("install dpkg")
	}
	for _, p := range neighbours(t, format.Deb, 200) {
		if err := exec.Command(dpkg, "--compare-versions", p[0], "lt", p[1]).Run(); err != nil {
			t.Errorf("dpkg does not sort %s before %s: %v", p[0], p[1], err)
		}
	}
}

// checkVersions compares what a format writes, or why it does not.
func checkVersions(t *testing.T, f format.Format, table [][2]string) {
	t.Helper()
	for _, tt := range table {
		got, err := f.Version(parse(t, tt[0]))
		if err != nil {
			got = err.Error()
		}
		if got != tt[1] {
			t.Errorf("%s of %s: %s\nwant %s", f.Name, tt[0], got, tt[1])
		}
	}
	if s, err := f.Version(version.Version{}); err == nil || err.Error() != "version is not set" {
		t.Errorf("%s of no version: %q, %v", f.Name, s, err)
	}
}

func TestDebVersion(t *testing.T) {
	checkVersions(t, format.Deb, [][2]string{
		{"1.2.3", "1.2.3"},
		{"v0.0.0", "0.0.0"},
		{"1.2.3-rc.1", "1.2.3~rc.1"},
		{"1.2.3-rc1", "1.2.3~rc1"},
		{"1.2.3-0", "1.2.3~0"},
		{"1.2.3-alpha.beta.2", "1.2.3~alpha.beta.2"},
		{"1.2.4-snapshot.5.g0123456789ab", "1.2.4~snapshot.5.g0123456789ab"},
		{"1.2.3+build-7.x", "1.2.3+build.7.x"},
		{"1.2.3-rc.1+7", "1.2.3~rc.1+7"},
		{"1.2.3-rc10", `version 1.2.3-rc10: package managers do not sort "rc10" as SemVer does; separate words and numbers by dots, as in rc.1`},
		{"1.2.3-beta-1", `version 1.2.3-beta-1: package managers do not sort "beta-1" as SemVer does; separate words and numbers by dots, as in rc.1`},
		{"1.2.3-rc.0a", `version 1.2.3-rc.0a: package managers do not sort "0a" as SemVer does; separate words and numbers by dots, as in rc.1`},
		{"1.2.3-snapshot.x.g01", `version 1.2.3-snapshot.x.g01: package managers do not sort "g01" as SemVer does; separate words and numbers by dots, as in rc.1`},
	})
}

// checkArches compares the names of a format with all that it has one for, as "linux/amd64 amd64" per line.
func checkArches(t *testing.T, f format.Format, want string) {
	t.Helper()
	var got strings.Builder
	for _, p := range artifact.Platforms() {
		if name, ok := f.Arch(p); ok {
			fmt.Fprintf(&got, "%s %s\n", p, name)
		} else if name != "" {
			t.Errorf("%s has the name %s and none", p, name)
		}
	}
	if want := strings.TrimLeft(want, "\n"); got.String() != want {
		t.Errorf("%s has the architectures\n%swant\n%s", f.Name, got.String(), want)
	}
	for _, p := range []artifact.Platform{{}, {OS: "linux"}, {OS: "linux", Arch: "arm", Variant: "v9"}, {OS: "linux", Arch: "vax"}} {
		if name, ok := f.Arch(p); ok {
			t.Errorf("%s has the name %s", p, name)
		}
	}
}

func TestDebArch(t *testing.T) {
	checkArches(t, format.Deb, `
linux/386 i386
linux/386/softfloat i386
linux/386/sse2 i386
linux/amd64 amd64
linux/amd64/v1 amd64
linux/arm armhf
linux/arm/v5 armel
linux/arm/v6 armhf
linux/arm/v7 armhf
linux/arm64 arm64
linux/arm64/v8.0 arm64
linux/loong64 loong64
linux/mips mips
linux/mips/hardfloat mips
linux/mips/softfloat mips
linux/mips64 mips64
linux/mips64/hardfloat mips64
linux/mips64/softfloat mips64
linux/mips64le mips64el
linux/mips64le/hardfloat mips64el
linux/mips64le/softfloat mips64el
linux/mipsle mipsel
linux/mipsle/hardfloat mipsel
linux/mipsle/softfloat mipsel
linux/ppc64 ppc64
linux/ppc64/power8 ppc64
linux/ppc64le ppc64el
linux/ppc64le/power8 ppc64el
linux/riscv64 riscv64
linux/riscv64/rva20u64 riscv64
linux/s390x s390x
`)
}

func TestPackageFiles(t *testing.T) {
	for _, tt := range []struct {
		f       format.Format
		v, want string
	}{
		{format.Deb, "1.2.3", "tool_1.2.3_x.deb"},
		{format.Deb, "1.2.3-rc.1", "tool_1.2.3.rc.1_x.deb"},
		{format.RPM, "1.2.3", "tool-1.2.3-1.x.rpm"},
		{format.RPM, "1.2.3-rc.1", "tool-1.2.3.rc.1-1.x.rpm"},
		{format.APK, "1.2.3", "tool_1.2.3-r0_x.apk"},
		{format.APK, "1.2.3-rc.1", "tool_1.2.3_rc1-r0_x.apk"},
	} {
		v, err := tt.f.Version(parse(t, tt.v))
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.f.Path(format.Names{Name: "tool", Version: v, Arch: "x"}); got != "packages/"+tt.want {
			t.Errorf("%s %s is %s, want %s", tt.f.Name, tt.v, got, tt.want)
		}
	}
}
