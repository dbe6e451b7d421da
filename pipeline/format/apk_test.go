package format_test

import (
	"cmp"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/format"
)

var (
	apkGrammar = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*-r[0-9]+$`)
	apkTokens  = regexp.MustCompile(`^[0-9]+|\.[0-9]+|_[a-z]+|[0-9]+|-r[0-9]+`)
	suffixes   = []string{"_alpha", "_beta", "_pre", "_rc", "", "_cvs", "_svn", "_git", "_hg", "_p"}
)

// apkCompare compares versions as apk does: token by token; where the kinds of tokens differ, a prerelease's suffix is
// lowest, and then the end, a revision, the number of a suffix, a suffix, a further number.
func apkCompare(a, b string) int {
	type token struct{ rank, value int }
	scan := func(s string) (all []token) {
		suffix := false
		for _, t := range apkTokens.FindAllString(s, -1) {
			n, _ := strconv.Atoi(strings.TrimLeft(t, ".-r_"))
			switch {
			case strings.HasPrefix(t, "-r"):
				all = append(all, token{1, n})
			case strings.HasPrefix(t, "_"):
				i := slices.Index(suffixes, t) - slices.Index(suffixes, "")
				all = append(all, token{3, i})
				suffix = true
			case suffix:
				all = append(all, token{2, n})
			default:
				all = append(all, token{4, n})
			}
		}
		return append(all, token{})
	}
	x, y := scan(a), scan(b)
	for i := range min(len(x), len(y)) {
		p, q := x[i], y[i]
		switch {
		case p.rank == q.rank && p.value == q.value:
		case p.rank == q.rank:
			return cmp.Compare(p.value, q.value)
		case p.rank == 3 && p.value < 0:
			return -1
		case q.rank == 3 && q.value < 0:
			return 1
		default:
			return cmp.Compare(p.rank, q.rank)
		}
	}
	return 0
}

func TestAPKOrder(t *testing.T) {
	checkOrder(t, format.APK, 150, apkCompare)
	for _, w := range writable(t, format.APK) {
		if !apkGrammar.MatchString(w.written) {
			t.Errorf("%s is no version of apk", w.written)
		}
	}
}

func TestAPKOrderOfAPK(t *testing.T) {
	apk, err := exec.LookPath("apk")
	if err != nil {
		t.Skip("install apk-tools")
	}
	for _, p := range neighbours(t, format.APK, 200) {
		out, err := exec.Command(apk, "version", "-t", p[0], p[1]).Output()
		if err != nil || strings.TrimSpace(string(out)) != "<" {
			t.Errorf("apk does not sort %s before %s: %s %v", p[0], p[1], out, err)
		}
	}
}

func TestAPKVersion(t *testing.T) {
	checkVersions(t, format.APK, [][2]string{
		{"1.2.3", "1.2.3-r0"},
		{"1.2.3-rc.1", "1.2.3_rc1-r0"},
		{"1.2.3-rc1", "1.2.3_rc1-r0"},
		{"1.2.3-rc", "1.2.3_rc-r0"},
		{"1.2.3-alpha.0.2.3", "1.2.3_alpha0_p2_p3-r0"},
		{"1.2.3-rc1.2", "1.2.3_rc1_p2-r0"},
		{"1.2.4-snapshot.5.g0123456789ab", "1.2.4_rc_git5-r0"},
		{"1.2.3+4", "1.2.3_p4-r0"},
		{"1.2.3-dev.1", `version 1.2.3-dev.1: apk has no prerelease "dev.1"; it knows alpha, beta, pre and rc, and numbers after them, as in rc.1`},
		{"1.2.3-1", `version 1.2.3-1: apk has no prerelease "1"; it knows alpha, beta, pre and rc, and numbers after them, as in rc.1`},
		{"1.2.3-RC.1", `version 1.2.3-RC.1: apk has no prerelease "RC.1"; it knows alpha, beta, pre and rc, and numbers after them, as in rc.1`},
		{"1.2.3-snapshot.dirty", `version 1.2.3-snapshot.dirty: apk has no prerelease "snapshot.dirty"; it knows alpha, beta, pre and rc, and numbers after them, as in rc.1`},
		{"1.2.3-rc.x", `version 1.2.3-rc.x: apk cannot write "x"; after rc it knows only numbers`},
		{"1.2.3+build", `version 1.2.3+build: apk cannot write the metadata "build"; it knows only numbers there`},
		{"1.2.3-rc.1+7", "version 1.2.3-rc.1+7: apk cannot tell the metadata 7 from more of the prerelease; leave it out"},
		{"1.2.3-rc.123456789012345678", "version 1.2.3-rc.123456789012345678: apk reads no number as long as 123456789012345678; it ends at 17 digits"},
		{"1.2.3-rc10", `version 1.2.3-rc10: package managers do not sort "rc10" as SemVer does; separate words and numbers by dots, as in rc.1`},
	})
}

func TestAPKArch(t *testing.T) {
	checkArches(t, format.APK, `
linux/386 x86
linux/386/softfloat x86
linux/386/sse2 x86
linux/amd64 x86_64
linux/amd64/v1 x86_64
linux/arm armhf
linux/arm/v6 armhf
linux/arm/v7 armv7
linux/arm64 aarch64
linux/arm64/v8.0 aarch64
linux/loong64 loongarch64
linux/ppc64le ppc64le
linux/ppc64le/power8 ppc64le
linux/riscv64 riscv64
linux/riscv64/rva20u64 riscv64
linux/s390x s390x
`)
}
