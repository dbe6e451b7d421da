package osversion_test

import (
	"testing"

	"github.com/slipway-build/slipway/pipeline/platform/osversion"
)

// The pairs are from the manuals and the tests of the package managers: apk-tools test/version.data, dpkg lib/dpkg/t/t-version.c, rpm
// tests/rpmvercmp.at, and https://go.dev/ref/mod#versions.
var ordered = []struct{ kind, before, after string }{
	{"apk", "0.1.0_alpha", "0.1.0"},
	{"apk", "0.1.0_alpha", "0.1.3_alpha"},
	{"apk", "1.99999999999999999998", "1.99999999999999999999"},
	{"apk", "0.01", "0.1"},
	{"apk", "1.0.4-r3", "1.0.4-r4"},
	{"apk", "3.0.10-r1", "3.0.11-r0"},
	{"apk", "1.2.9", "1.2.10"},
	{"apk", "2.0_rc1", "2.0"},
	{"apk", "2.0", "2.0_p1"},
	{"apk", "2.0", "2.0a"},
	{"apk", "1.2.2_pre2", "1.2.2_rc1"},
	{"deb", "0:0-0", "0:0-1"},
	{"deb", "1.0~rc1-1", "1.0-1"},
	{"deb", "1.0-1", "1.0-1+deb12u1"},
	{"deb", "9:1.0", "10:0.1"},
	{"deb", "1.0a7", "1.0b7"},
	{"deb", "3.0.15-1~deb12u1", "3.0.15-1"},
	{"deb", "1.9", "1.10"},
	{"rpm", "1.0", "2.0"},
	{"rpm", "2.0", "2.0.1"},
	{"rpm", "5.5p1", "5.5p2"},
	{"rpm", "5.5p9", "5.5p10"},
	{"rpm", "1.0~rc1", "1.0"},
	{"rpm", "1.0", "1.0^"},
	{"rpm", "1.0^git1", "1.0^git2"},
	{"rpm", "1.0^git1", "1.01"},
	{"rpm", "1.0-1.el9", "1.0-2.el9"},
	{"rpm", "9.9-1", "1:0.1-1"},
	{"golang", "v0.34.0", "0.34.1"},
	{"golang", "v0.0.0-20260101000000-abcdefabcdef", "v0.0.1"},
	{"golang", "1.26rc1", "1.26.0"},
	{"golang", "1.26.7", "1.26.8"},
	{"golang", "v1.9.0", "v1.10.0"},
}

func TestCompare(t *testing.T) {
	for _, tt := range ordered {
		for _, d := range []struct {
			a, b string
			want int
		}{{tt.before, tt.after, -1}, {tt.after, tt.before, 1}, {tt.before, tt.before, 0}} {
			got, err := osversion.Compare(tt.kind, d.a, d.b)
			if err != nil || got != d.want {
				t.Errorf("%s: %s to %s is %d, %v; want %d", tt.kind, d.a, d.b, got, err, d.want)
			}
		}
	}
	for _, tt := range [][2]string{{"apk", "1.0~rc1"}, {"apk", ""}, {"apk", "1_new"}, {"deb", "a:1"}, {"rpm", "x:1"}, {"golang", "new"}, {"npm", "1.0.0"}, {"rpm", "1 0"}} {
		if _, err := osversion.Compare(tt[0], tt[1], tt[1]); err == nil {
			t.Errorf("%s: %q is a version", tt[0], tt[1])
		}
	}
}

func FuzzCompare(f *testing.F) {
	for _, tt := range ordered {
		f.Add(tt.kind, tt.before, tt.after)
	}
	f.Fuzz(func(t *testing.T, kind, a, b string) {
		ab, err := osversion.Compare(kind, a, b)
		ba, err2 := osversion.Compare(kind, b, a)
		if (err == nil) != (err2 == nil) || err == nil && ab != -ba {
			t.Errorf("%s: %q to %q is %d, %v, and back %d, %v", kind, a, b, ab, err, ba, err2)
		}
	})
}
