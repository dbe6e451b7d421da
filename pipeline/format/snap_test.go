package format_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// snapGrammar is what snapd validates a version with.
var snapGrammar = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9:.+~-]{0,30}[a-zA-Z0-9+~])?$`)

func TestSnapArch(t *testing.T) {
	want := map[string]string{
		"linux/386": "i386", "linux/386/sse2": "i386", "linux/386/softfloat": "i386",
		"linux/amd64": "amd64", "linux/amd64/v1": "amd64",
		"linux/arm": "armhf", "linux/arm/v6": "armhf", "linux/arm/v7": "armhf",
		"linux/arm64": "arm64", "linux/arm64/v8.0": "arm64",
		"linux/ppc64le": "ppc64el", "linux/ppc64le/power8": "ppc64el",
		"linux/riscv64": "riscv64", "linux/riscv64/rva20u64": "riscv64",
		"linux/s390x": "s390x",
	}
	for _, p := range artifact.Platforms() {
		got, ok := format.Snap.Arch(p)
		if name, known := want[p.String()]; got != name || ok != known {
			t.Errorf("%s is %q, %v; want %q, %v", p, got, ok, name, known)
		}
	}
}

func TestSnapVersion(t *testing.T) {
	for in, want := range map[string]string{
		"1.2.3":                             "1.2.3",
		"1.2.3-rc.1":                        "1.2.3-rc.1",
		"1.2.3-rc.1+build.5":                "1.2.3-rc.1+build.5",
		"1.2.3-snapshot.12.gabcdef012345":   "1.2.3-snapshot.12.gabcdef012345",
		"1.2.3-snapshot.123.gabcdef012345":  "1.2.3-snapshot.123.gabcdef012345",
		"1.12.3-snapshot.123.gabcdef012345": "1.12.3-snapshot.123~84ad581af8a4",
		"1.0.0-a-":                          "1.0.0-a-~",
	} {
		v, err := version.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := format.Snap.Version(v)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if got != want && !(strings.HasSuffix(want, "~") && strings.HasPrefix(got, want)) {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
	if _, err := format.Snap.Version(version.Version{}); err == nil {
		t.Error("no version is written as a version")
	}
	if got := format.Snap.Path(format.Names{Name: "tool", Version: "1.2.3", Arch: "armhf"}); got != "packages/tool_1.2.3_armhf.snap" {
		t.Errorf("the file is %s", got)
	}
}

// Whatever is a version can be written, in snapd's grammar, and only a version that is the same is written the same.
func FuzzSnapVersion(f *testing.F) {
	f.Add("1.2.3", "1.2.3-rc.1")
	f.Add("1.0.0-a-", "1.0.0-a--")
	f.Add("1.12.3-snapshot.123.gabcdef012345", "1.12.3-snapshot.123.gabcdef012346")
	f.Add(strings.Repeat("1", 18)+".2.3", strings.Repeat("1", 18)+".2."+strings.Repeat("1", 18))
	f.Fuzz(func(t *testing.T, a, b string) {
		var out [2]string
		var in [2]version.Version
		for i, s := range []string{a, b} {
			v, err := version.Parse(s)
			if err != nil {
				return
			}
			in[i] = v
			if out[i], err = format.Snap.Version(v); err != nil {
				t.Fatal(err)
			}
			if !snapGrammar.MatchString(out[i]) {
				t.Errorf("%s becomes %s, which snapd refuses", v, out[i])
			}
		}
		if in[0] != in[1] && out[0] == out[1] {
			t.Errorf("%s and %s both become %s", in[0], in[1], out[0])
		}
	})
}
