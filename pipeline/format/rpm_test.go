package format_test

import (
	"cmp"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/format"
)

// rpmCompare compares versions as https://rpm.org/docs/latest/manual/dependencies.html says, without the caret.
func rpmCompare(a, b string) int {
	digit := func(r rune) bool { return r >= '0' && r <= '9' }
	letter := func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' }
	for a != "" || b != "" {
		separator := func(r rune) bool { return !digit(r) && !letter(r) && r != '~' }
		a, b = strings.TrimLeftFunc(a, separator), strings.TrimLeftFunc(b, separator)
		ta, tb := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~")
		switch {
		case ta && tb:
			a, b = a[1:], b[1:]
			continue
		case ta:
			return -1
		case tb:
			return 1
		case a == "" || b == "":
			return cmp.Compare(len(a), len(b))
		}
		kind := letter
		if digit(rune(a[0])) {
			kind = digit
		}
		ra, rb := strings.TrimLeftFunc(a, kind), strings.TrimLeftFunc(b, kind)
		x, y := a[:len(a)-len(ra)], b[:len(b)-len(rb)]
		if y == "" { // one is a number, the other is a word
			if digit(rune(a[0])) {
				return 1
			}
			return -1
		}
		if c := cmp.Compare(x, y); digit(rune(x[0])) {
			m, _ := strconv.Atoi(x)
			n, _ := strconv.Atoi(y)
			if m != n {
				return cmp.Compare(m, n)
			}
		} else if c != 0 {
			return c
		}
		a, b = ra, rb
	}
	return 0
}

func TestRPMOrder(t *testing.T) { checkOrder(t, format.RPM, 300, rpmCompare) }

func TestRPMOrderOfRPM(t *testing.T) {
	rpm, err := exec.LookPath("rpm")
	if err != nil {
		t.Skip("install rpm")
	}
	var script strings.Builder
	pairs := neighbours(t, format.RPM, 400)
	for _, p := range pairs {
		fmt.Fprintf(&script, "print(rpm.vercmp('%s', '%s'), ' ')", p[0], p[1])
	}
	out, err := exec.Command(rpm, "--eval", "%{lua: "+script.String()+"}").Output()
	if err != nil {
		t.Fatal(err)
	}
	results := strings.Fields(string(out))
	if len(results) != len(pairs) {
		t.Fatalf("%d results of %d pairs: %s", len(results), len(pairs), out)
	}
	for i, p := range pairs {
		if results[i] != "-1" {
			t.Errorf("rpm does not sort %s before %s: %s", p[0], p[1], results[i])
		}
	}
}

func TestRPMVersion(t *testing.T) {
	checkVersions(t, format.RPM, [][2]string{
		{"1.2.3", "1.2.3"},
		{"1.2.3-rc.1", "1.2.3~rc.1"},
		{"1.2.3-rc1", "1.2.3~rc1"},
		{"1.2.3-rc.1.2", "1.2.3~rc.1.2"},
		{"1.2.4-snapshot.5.g0123456789ab", "1.2.4~snapshot.5.g0123456789ab"},
		{"1.2.3+build-7.x", "1.2.3+build.7.x"},
		{"1.2.3-rc.1+7", "version 1.2.3-rc.1+7: rpm cannot tell the metadata 7 from more of the prerelease; leave it out"},
		{"1.2.3-1", "version 1.2.3-1: rpm sorts words before numbers, and SemVer numbers before words; write a word and then numbers, as in rc.1"},
		{"1.2.3-rc.x", "version 1.2.3-rc.x: rpm sorts words before numbers, and SemVer numbers before words; write a word and then numbers, as in rc.1"},
		{"1.2.3-snapshot.1.2", "version 1.2.3-snapshot.1.2: rpm does not sort it among snapshots such as 1.2.3-snapshot.1.g0123456789ab; use another word"},
		{"1.2.3-rc10", `version 1.2.3-rc10: package managers do not sort "rc10" as SemVer does; separate words and numbers by dots, as in rc.1`},
	})
}

func TestRPMArch(t *testing.T) {
	checkArches(t, format.RPM, `
linux/386 i686
linux/386/softfloat i586
linux/386/sse2 i686
linux/amd64 x86_64
linux/amd64/v1 x86_64
linux/amd64/v2 x86_64_v2
linux/amd64/v3 x86_64_v3
linux/amd64/v4 x86_64_v4
linux/arm armv6hl
linux/arm/v5 armv5tel
linux/arm/v6 armv6hl
linux/arm/v7 armv7hl
linux/arm64 aarch64
linux/arm64/v8.0 aarch64
linux/loong64 loongarch64
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
linux/ppc64le ppc64le
linux/ppc64le/power8 ppc64le
linux/riscv64 riscv64
linux/riscv64/rva20u64 riscv64
linux/s390x s390x
`)
}
