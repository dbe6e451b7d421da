package osdb

import (
	"os"
	"path/filepath"
	"testing"
)

func fuzz(f *testing.F, parse func([]byte) ([]Package, error), seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ps, err := parse(b)
		if err != nil && len(ps) > maxPackages {
			t.Error("more packages than there may be")
		}
		_ = check(ps)
	})
}

func FuzzApk(f *testing.F)     { fuzz(f, parseApk, apkOne, apkTwo, "P:") }
func FuzzDpkg(f *testing.F)    { fuzz(f, parseDpkg, dpkgOne, "Package: a\n b\n\n\n") }
func FuzzControl(f *testing.F) { fuzz(f, parseControl, tzdata) }

func FuzzHeader(f *testing.F) {
	for _, h := range headers() {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseHeader(b); err == nil && p.Version == "" {
			t.Error("a package without a version")
		}
	})
}

func FuzzRPM(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "rpmdb.sqlite"))
	if err != nil {
		f.Fatal(err)
	}
	fuzz(f, parseRPM, string(b), string(b[:1024]))
}

func FuzzRelease(f *testing.F) {
	f.Add([]byte(release))
	f.Fuzz(func(t *testing.T, b []byte) { parseRelease(b) })
}

func FuzzRead(f *testing.F) {
	one := tarOf(f, entry{"lib", "-> usr/lib"}, entry{"usr/lib/apk/db/installed", apkOne}, entry{"etc/os-release", release}, entry{"x", "=> lib/apk/db/installed"})
	two := tarOf(f, entry{"lib/apk/db/.wh.installed", ""}, entry{"var/lib/.wh..wh..opq", ""}, entry{"var/lib/dpkg/status.d/a", tzdata})
	f.Add(one, two)
	f.Add(gzipped(f, one), zstandard(f, two))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		tree, err := unpack(t.Context(), []Layer{layerOf(a), layerOf(b)}, bounds{unpacked: 1 << 22, entries: 1000, kept: 1 << 20, work: 1 << 16})
		if err != nil {
			return
		}
		for _, p := range tree.base().Packages {
			if p.Name == "" || p.Version == "" {
				t.Errorf("package %+v", p)
			}
		}
	})
}
