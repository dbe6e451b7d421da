package artifact_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

func TestParsePlatform(t *testing.T) {
	accepted := map[string]artifact.Platform{
		"linux/amd64":          {OS: "linux", Arch: "amd64"},
		"linux/amd64/v3":       {OS: "linux", Arch: "amd64", Variant: "v3"},
		"linux/arm/v7":         {OS: "linux", Arch: "arm", Variant: "v7"},
		"linux/arm64/v8.0":     {OS: "linux", Arch: "arm64", Variant: "v8.0"},
		"linux/386/softfloat":  {OS: "linux", Arch: "386", Variant: "softfloat"},
		"linux/mipsle":         {OS: "linux", Arch: "mipsle"},
		"freebsd/riscv64":      {OS: "freebsd", Arch: "riscv64"},
		"windows/arm64":        {OS: "windows", Arch: "arm64"},
		"linux/ppc64le/power9": {OS: "linux", Arch: "ppc64le", Variant: "power9"},
	}
	for s, want := range accepted {
		got, err := artifact.ParsePlatform(s)
		if err != nil || got != want {
			t.Errorf("ParsePlatform(%q) = %#v, %v, want %#v", s, got, err, want)
		}
		if got.String() != s {
			t.Errorf("ParsePlatform(%q).String() = %q", s, got)
		}
	}
	const form = ` is not os/arch or os/arch/variant`
	refused := []struct{ in, want string }{
		{"freebsd/ppc64le", `platform "freebsd/ppc64le": Go has no port to "ppc64le" on freebsd; on freebsd it has 386 amd64 arm arm64 riscv64`},
		{"freebsd/s390x", `platform "freebsd/s390x": Go has no port to "s390x" on freebsd; on freebsd it has 386 amd64 arm arm64 riscv64`},
		{"openbsd/ppc64le", `platform "openbsd/ppc64le": Go has no port to "ppc64le" on openbsd; on openbsd it has 386 amd64 arm arm64 ppc64 riscv64`},
		{"openbsd/s390x", `platform "openbsd/s390x": Go has no port to "s390x" on openbsd; on openbsd it has 386 amd64 arm arm64 ppc64 riscv64`},
		{"hurd/amd64", `platform "hurd/amd64": Go has no port to "hurd"; it has aix darwin dragonfly freebsd illumos linux netbsd openbsd plan9 solaris windows`},
		{"linux/s390x/z13", `platform "linux/s390x/z13": s390x has no variants`},
		{"linux/amd64/v5", `platform "linux/amd64/v5": amd64 has no variant "v5"; it has v1 v2 v3 v4`},
		{"linux/arm64/v8", `platform "linux/arm64/v8": arm64 has no variant "v8"; it has v8.0 v8.2 v9.0`},
		{"Linux/amd64", `platform "Linux/amd64": Go has no port to "Linux"; it has aix darwin dragonfly freebsd illumos linux netbsd openbsd plan9 solaris windows`},
		{"", `platform ""` + form},
		{"/", `platform "/"` + form},
		{"linux", `platform "linux"` + form},
		{"linux/", `platform "linux/"` + form},
		{"linux/amd64/", `platform "linux/amd64/"` + form},
		{"linux/amd64/v1/v2", `platform "linux/amd64/v1/v2"` + form},
		{"linux_amd64", `platform "linux_amd64"` + form},
		{strings.Repeat("x", 1<<20), `platform "` + strings.Repeat("x", 60) + `"` + form},
	}
	for _, tt := range refused {
		p, err := artifact.ParsePlatform(tt.in)
		if err == nil {
			t.Errorf("ParsePlatform(%.60q) = %v, want an error", tt.in, p)
		} else if err.Error() != tt.want {
			t.Errorf("ParsePlatform(%.60q):\n got %s\nwant %s", tt.in, err, tt.want)
		}
	}
}

// Every pair of ours is one that the Go command builds, and what we leave out of its list is left out on purpose.
func TestPortsAreGos(t *testing.T) {
	out, err := exec.Command("go", "tool", "dist", "list", "-broken").Output()
	if err != nil {
		t.Skipf("no Go command: %v", err)
	}
	gos := strings.Fields(string(out))
	ours := map[string]bool{}
	for _, p := range artifact.Platforms() {
		ours[p.Base().String()] = true
		if !slices.Contains(gos, p.Base().String()) {
			t.Errorf("%s is no port of Go", p)
		}
	}
	// Ports that a release of a Go program is not made for by this tool, with the reason in the ports table.
	left := map[string]bool{"linux/sparc64": true, "openbsd/mips64": true}
	for _, port := range gos {
		system, _, _ := strings.Cut(port, "/")
		if slices.Contains([]string{"android", "ios", "js", "wasip1"}, system) || left[port] {
			continue
		}
		if !ours[port] {
			t.Errorf("Go has a port %s that the table does not have", port)
		}
	}
}

// The Go command takes every instruction set that Env names: it turns it into a build tag of the same meaning.
func TestEnvIsGos(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("no Go command: %v", err)
	}
	tags := map[string]string{"GO386": "386", "GOAMD64": "amd64", "GOARM": "arm", "GOARM64": "arm64", "GORISCV64": "riscv64"}
	seen := map[string]bool{}
	for _, p := range artifact.Platforms() {
		env := p.Env()
		if len(env) < 3 || seen[strings.Join(env[1:], " ")] {
			continue
		}
		seen[strings.Join(env[1:], " ")] = true
		cmd := exec.Command("go", "list", "-f", "{{context.ToolTags}}", "unsafe")
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", p, err, out)
			continue
		}
		name, value, _ := strings.Cut(env[2], "=")
		tag := tags[name]
		if tag == "" {
			tag = p.Arch
		}
		if !slices.Contains(strings.Fields(strings.Trim(string(out), "[]\n")), tag+"."+value) {
			t.Errorf("%s: %v gives the build tags %s, want %s.%s among them", p, env, out, tag, value)
		}
	}
	if len(seen) < 25 {
		t.Errorf("%d instruction sets were tried, want all", len(seen))
	}
}

func TestEnv(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64":            "GOOS=linux GOARCH=amd64 GOAMD64=v1",
		"linux/amd64/v3":         "GOOS=linux GOARCH=amd64 GOAMD64=v3",
		"linux/386":              "GOOS=linux GOARCH=386 GO386=sse2",
		"linux/arm":              "GOOS=linux GOARCH=arm GOARM=6",
		"linux/arm/v7":           "GOOS=linux GOARCH=arm GOARM=7",
		"darwin/arm64":           "GOOS=darwin GOARCH=arm64 GOARM64=v8.0",
		"linux/mips/softfloat":   "GOOS=linux GOARCH=mips GOMIPS=softfloat",
		"linux/mips64le":         "GOOS=linux GOARCH=mips64le GOMIPS64=hardfloat",
		"linux/ppc64le/power10":  "GOOS=linux GOARCH=ppc64le GOPPC64=power10",
		"openbsd/riscv64":        "GOOS=openbsd GOARCH=riscv64 GORISCV64=rva20u64",
		"linux/riscv64/rva22u64": "GOOS=linux GOARCH=riscv64 GORISCV64=rva22u64",
		"linux/s390x":            "GOOS=linux GOARCH=s390x",
		"linux/loong64":          "GOOS=linux GOARCH=loong64",
	} {
		p, err := artifact.ParsePlatform(in)
		if err != nil {
			t.Error(err)
		}
		if got := strings.Join(p.Env(), " "); got != want {
			t.Errorf("%s: Env = %s, want %s", in, got, want)
		}
	}
}

func TestPlatforms(t *testing.T) {
	all := artifact.Platforms()
	if !slices.IsSortedFunc(all, artifact.Platform.Compare) || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Error("platforms are not sorted, each once")
	}
	slugs := map[string]artifact.Platform{}
	for _, p := range all {
		parsed, err := artifact.ParsePlatform(p.String())
		if err != nil || parsed != p {
			t.Errorf("ParsePlatform(%q) = %v, %v", p, parsed, err)
		}
		b, err := json.Marshal(p)
		var back artifact.Platform
		if err == nil {
			err = json.Unmarshal(b, &back)
		}
		if err != nil || back != p || string(b) != `"`+p.String()+`"` {
			t.Errorf("%s as JSON is %s and back %v, %v", p, b, back, err)
		}
		if err := artifact.CheckPath(p.Slug()); err != nil || strings.Contains(p.Slug(), "/") {
			t.Errorf("slug %q is no file name: %v", p.Slug(), err)
		}
		if other, ok := slugs[p.Slug()]; ok {
			t.Errorf("%s and %s have the slug %s", p, other, p.Slug())
		}
		slugs[p.Slug()] = p
	}
	p := artifact.Platform{OS: "windows", Arch: "amd64", Variant: "v3"}
	if p.Slug() != "windows_amd64v3" || p.Exe("tool") != "tool.exe" || p.Base() != (artifact.Platform{OS: "windows", Arch: "amd64"}) {
		t.Errorf("%s has the slug %s, the program %s and the base %s", p, p.Slug(), p.Exe("tool"), p.Base())
	}
	if p := (artifact.Platform{OS: "linux", Arch: "arm", Variant: "v7"}); p.Slug() != "linux_armv7" || p.Exe("tool") != "tool" {
		t.Errorf("%s has the slug %s and the program %s", p, p.Slug(), p.Exe("tool"))
	}
}

func FuzzParsePlatform(f *testing.F) {
	for _, s := range []string{"linux/amd64", "linux/arm/v7", "freebsd/s390x", "linux/amd64/", "//", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := artifact.ParsePlatform(s)
		if err != nil {
			if p != (artifact.Platform{}) || len(err.Error()) > 2000 {
				t.Errorf("%v beside %.100v...", p, err)
			}
			return
		}
		if p.String() != s {
			t.Errorf("%q reads as %q", s, p)
		}
	})
}
