package config_test

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

const goSum = "h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM="

func lock() config.Lock {
	return config.Lock{
		Version: 1,
		Go:      config.Toolchain{Version: "1.26.8", Sums: map[string]string{"linux-arm64": goSum, "linux-amd64": goSum}},
		Bases: map[string]config.Base{
			"ubi":    {Image: "localhost:5000/ubi:9.8", Digest: artifact.Sum([]byte("u")), Platforms: []artifact.Platform{{OS: "linux", Arch: "amd64"}}},
			"alpine": {Image: "docker.io/library/alpine:3.22", Digest: artifact.Sum([]byte("a")), Platforms: []artifact.Platform{{OS: "linux", Arch: "arm", Variant: "v7"}, {OS: "linux", Arch: "arm64"}}},
		},
		Charts: []config.Dependency{
			{Chart: "charts/tool", Name: "postgresql", Version: "1.20", Repository: "oci://registry-1.docker.io/bitnamicharts", Digest: artifact.Sum([]byte("p"))},
			{Chart: "charts/true", Name: "null", Version: "1.0", Repository: "", Digest: artifact.Sum([]byte("n"))},
		},
	}
}

// content is what a lock says, without where it says it.
func content(l config.Lock) config.Lock {
	return config.Lock{Version: l.Version, Go: l.Go, Bases: l.Bases, Charts: l.Charts}
}

func TestLockRoundTrip(t *testing.T) {
	for name, l := range map[string]config.Lock{
		"whole": lock(),
		"least": {Version: 1, Go: config.Toolchain{Version: "1.26rc1"}},
	} {
		b := l.Encode()
		back, err := config.ParseLock("f", b)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, b)
		}
		if !reflect.DeepEqual(content(back), l) {
			t.Errorf("%s reads back as\n%+v\nwant\n%+v\nfrom\n%s", name, content(back), l, b)
		}
		if again := back.Encode(); !bytes.Equal(again, b) {
			t.Errorf("%s encodes again as\n%s\nand first as\n%s", name, again, b)
		}
	}
	back, err := config.ParseLock("slipway.lock", lock().Encode())
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"bases.alpine.image": "slipway.lock:10:12", "bases.ubuntu": "slipway.lock:9:3", "charts[1]": "slipway.lock:26:5"} {
		if got := back.At(key); got != want {
			t.Errorf("At(%s) = %s, want %s", key, got, want)
		}
	}
}

func TestLockErrors(t *testing.T) {
	digest := string(artifact.Sum([]byte("x")))
	const head = "version: 1\ngo: {version: 1.26.8}\n"
	base := func(fields string) string { return head + "bases: {alpine: {" + fields + "}}\n" }
	dependency := func(fields string) string { return head + "charts: [{" + fields + ", digest: '" + digest + "'}]\n" }
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", "f:1:1: the file is empty"},
		{"Go without a version", "version: 1\ngo: {sums: {}}\n", "f:2:5: go.version is missing: Go release"},
		{"version", "version: 2\ngo: {version: 1.26.8}\n", `f:1:10: version: "2" is not one of 1`},
		{"unknown key", head + "base: {}\n", `f:3:1: unknown key "base"; did you mean "bases"?`},
		{"duplicate key", head + "go: {version: 1.26.8}\n", `f:3:1: key "go" is already on line 2`},
		{"Go's version", "version: 1\ngo: {version: 1.26}\n", `f:2:15: go.version: "1.26" is not a Go release such as 1.26.8`},
		{"Go's host", "version: 1\ngo: {version: 1.26.8, sums: {linux: '" + goSum + "'}}\n", `f:2:30: go.sums.linux: "linux" is not a host such as linux-amd64`},
		{"Go's checksum", "version: 1\ngo: {version: 1.26.8, sums: {linux-amd64: h1:x}}\n", `f:2:30: go.sums.linux-amd64: "h1:x" is not a checksum of the form h1:<44 characters>`},
		{"base of nothing", head + "bases: {debian: {image: 'docker.io/library/debian:12', digest: '" + digest + "', platforms: [linux/amd64]}}\n", `f:3:9: bases.debian: there is no distribution "debian"`},
		{"null base", head + "bases: {alpine: }\n", "f:3:17: bases.alpine: want a mapping, have nothing"},
		{"empty base", base(""), "f:3:17: bases.alpine.image is missing: Image and tag that the digest was resolved from\n" +
			"f:3:17: bases.alpine.digest is missing: Digest of the index (or of the manifest, where the image has one platform)\n" +
			"f:3:17: bases.alpine.platforms is missing: Platforms of the index that Go builds for"},
		{"base without platforms", base("image: 'docker.io/library/alpine:3.22', digest: '" + digest + "', platforms: []"), "f:3:152: bases.alpine.platforms is empty: Platforms of the index that Go builds for"},
		{"base by digest", base("image: 'docker.io/library/alpine@" + digest + "', digest: '" + digest + "', platforms: [linux/amd64]"), `f:3:25: bases.alpine.image: "docker.io/library/alpine@` + digest[:35] + `" is not an image with its registry and tag`},
		{"digest", base("image: 'docker.io/library/alpine:3.22', digest: sha256:../../x, platforms: [linux/amd64]"), `f:3:66: bases.alpine.digest: digest "sha256:../../x" is not sha256:<64 lower-case hex digits>`},
		{"platform", base("image: 'docker.io/library/alpine:3.22', digest: '" + digest + "', platforms: [linux/amd64, linux/vax]"), `f:3:166: bases.alpine.platforms[1]: platform "linux/vax": Go has no port to "vax" on linux; on linux it has 386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x`},
		{"platform twice", base("image: 'docker.io/library/alpine:3.22', digest: '" + digest + "', platforms: [linux/amd64, linux/amd64]"), `f:3:166: bases.alpine.platforms[1]: linux/amd64 is named twice`},
		{"chart outside", dependency("chart: ../c, name: n, version: 1.0.0"), `f:3:18: charts[0].chart: path "../c" leaves its folder`},
		{"dependency called ..", dependency("chart: c, name: .., version: 1.0.0"), `f:3:27: charts[0].name: ".." is not the name of a chart`},
		{"version with a slash", dependency("chart: c, name: n, version: 1.0.0/x"), `f:3:39: charts[0].version: "1.0.0/x" is not the version of a chart`},
		{"several", "version: 1\ngo: {version: x, sums: {a: b}}\n", `f:2:15: go.version: "x" is not a Go release such as 1.26.8
f:2:25: go.sums.a: "a" is not a host such as linux-amd64
f:2:25: go.sums.a: "b" is not a checksum of the form h1:<44 characters>`},
	} {
		l, err := config.ParseLock("f", []byte(tt.in))
		if err == nil {
			t.Errorf("%s: no error, want\n%s", tt.name, tt.want)
		} else if err.Error() != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, err, tt.want)
		}
		if !reflect.DeepEqual(l, config.Lock{}) {
			t.Errorf("%s: a lock beside an error: %+v", tt.name, l)
		}
	}
}

func TestDiff(t *testing.T) {
	if d := config.Diff(lock(), lock()); len(d) != 0 {
		t.Errorf("a lock differs from itself: %v", d)
	}
	after := lock()
	after.Go = config.Toolchain{Version: "1.26.9", Sums: map[string]string{"linux-arm64": goSum}}
	alpine := after.Bases["alpine"]
	alpine.Digest = artifact.Sum([]byte("b"))
	after.Bases = map[string]config.Base{"alpine": alpine, "ubuntu": {Image: "docker.io/library/ubuntu:24.04", Digest: artifact.Sum([]byte("t"))}}
	after.Charts = append(after.Charts[:1:1], after.Charts[0])
	var got []string
	for _, c := range config.Diff(lock(), after) {
		got = append(got, c.String())
	}
	digest := func(s string) string { return string(artifact.Sum([]byte(s))) }
	want := []string{
		"~ base alpine: docker.io/library/alpine:3.22@" + digest("a") + " (linux/arm/v7 linux/arm64) -> docker.io/library/alpine:3.22@" + digest("b") + " (linux/arm/v7 linux/arm64)",
		"- base ubi: localhost:5000/ubi:9.8@" + digest("u") + " (linux/amd64)",
		"+ base ubuntu: docker.io/library/ubuntu:24.04@" + digest("t") + " ()",
		"- chart null of charts/true: 1.0 from , " + digest("n"),
		"+ chart postgresql of charts/tool (2): 1.20 from oci://registry-1.docker.io/bitnamicharts, " + digest("p"),
		"~ go: 1.26.8 -> 1.26.9",
		"- go for linux-amd64: " + goSum,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if d := config.Diff(config.Lock{}, lock()); len(d) != 7 || d[0].Old != "" || fmt.Sprint(d[4]) != "+ go: 1.26.8" {
		t.Errorf("from nothing: %v", d)
	}
}

var positioned = regexp.MustCompile(`^f\.yaml:[1-9][0-9]*:[1-9][0-9]*: `)

// checkPositions holds the first line of an error, and each that was joined to it, to file:line:column.
func checkPositions(t *testing.T, err error) {
	t.Helper()
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, e := range all {
		if !positioned.MatchString(e.Error()) {
			t.Errorf("an error without a position: %q", e)
		}
	}
	if len(err.Error()) > 64<<10 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func FuzzParseLock(f *testing.F) {
	own, err := os.ReadFile("../../slipway.lock")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(own))
	f.Add(string(lock().Encode()))
	f.Add("version: 1\ngo: {version: 1.26.8}\n")
	f.Add("version: 1\ngo: &g {version: 1.26.8, sums: {linux-amd64: *g}}\n")
	f.Add("version: 1\ngo: {version: 1.26.8}\ncharts: [{chart: c, name: 'n: #', version: \"1\\n2\", repository: ' x', digest: " + string(artifact.Sum(nil)) + "}]\n")
	f.Fuzz(func(t *testing.T, s string) {
		start := time.Now()
		l, err := config.ParseLock("f.yaml", []byte(s))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s for %d bytes", took, len(s))
		}
		if err != nil {
			checkPositions(t, err)
			return
		}
		b := l.Encode()
		back, err := config.ParseLock("f.yaml", b)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, b)
		}
		if d := config.Diff(l, back); len(d) != 0 || !bytes.Equal(back.Encode(), b) {
			t.Fatalf("%v\n%s\n%s", d, b, back.Encode())
		}
	})
}
