package plan_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/source"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func parseVersion(t testing.TB, s string) version.Version {
	t.Helper()
	v, err := version.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// commit is a commit that is the version; a snapshot has no tag.
func commit(t testing.TB, s string) source.Source {
	t.Helper()
	v := parseVersion(t, s)
	src := source.Source{
		Root: "/work", Commit: "0123456789abcdef0123456789abcdef01234567", Tree: "89abcdef0123456789abcdef0123456789abcdef",
		Time: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC), Version: v, Tag: "v" + s,
	}
	if v.IsSnapshot() {
		src.Tag = ""
	}
	return src
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t testing.TB, yaml, lock string) (config.Config, config.Lock) {
	t.Helper()
	c, err := config.Parse("slipway.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	l, err := config.ParseLock("slipway.lock", []byte(lock))
	if err != nil {
		t.Fatal(err)
	}
	return c, l
}

// fixture is two binaries with variants, all distributions, and a chart with a dependency.
func fixture(t testing.TB) (config.Config, config.Lock) {
	t.Helper()
	return parse(t, string(read(t, "testdata/slipway.yaml")), string(read(t, "testdata/slipway.lock")))
}

func make1(t testing.TB, src source.Source, c config.Config, l config.Lock, o plan.Options) plan.Plan {
	t.Helper()
	p, err := plan.New(src, c, l, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func digest(t testing.TB, p plan.Plan) artifact.Digest {
	t.Helper()
	d, err := p.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = "testdata/" + name
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, name); !bytes.Equal(got, want) {
		t.Errorf("%s changed; with -update, if that is meant:\n%s", name, got)
	}
}

func TestGolden(t *testing.T) {
	c, l := fixture(t)
	p := make1(t, commit(t, "1.2.3-rc.1+build.5"), c, l, plan.Options{})
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "plan.json.golden", b)
	if artifact.Sum(b) != digest(t, p) {
		t.Error("the digest is not that of the canonical bytes")
	}
	var back plan.Plan
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := back.Encode(); err != nil || !bytes.Equal(again, b) {
		t.Errorf("the plan does not survive JSON: %v\n%s", err, again)
	}
	var table bytes.Buffer
	if err := p.Table(&table, c.Publish.Destinations(c.Project, p.Repositories())); err != nil {
		t.Fatal(err)
	}
	golden(t, "plan.txt.golden", table.Bytes())
}

// The commit, slipway.yaml and slipway.lock decide the plan, and nothing else.
func TestPurity(t *testing.T) {
	c, l := fixture(t)
	src := commit(t, "1.2.3")
	want := digest(t, make1(t, src, c, l, plan.Options{}))

	for i := range 20 { // maps have another order each time
		again, lock := fixture(t)
		if got := digest(t, make1(t, src, again, lock, plan.Options{})); got != want {
			t.Fatalf("plan %d is another one", i)
		}
	}
	for what, edit := range map[string]func(s *source.Source){
		"the place of the work tree": func(s *source.Source) { s.Root = "/elsewhere" },
		"other releases":             func(s *source.Source) { s.Released = []version.Version{parseVersion(t, "9.0.0")} },
		"tags before":                func(s *source.Source) { s.Last, s.Commits, s.History = "v1.2.2", 7, []source.Tag{{Name: "v1.2.2"}} },
		"the reason of the version":  func(s *source.Source) { s.Why = "because" },
		"the time's zone":            func(s *source.Source) { s.Time = s.Time.In(time.FixedZone("Kiritimati", 14*3600)) },
	} {
		other := src
		edit(&other)
		if got := digest(t, make1(t, other, c, l, plan.Options{})); got != want {
			t.Errorf("%s changes the plan", what)
		}
	}
	// Whoever publishes it to wherever, a release is the same bytes.
	place := config.Registries{"ghcr.io": {"docker.io/mirror"}}
	for what, edit := range map[string]func(c *config.Config){
		"nowhere to go":            func(c *config.Config) { c.Publish = config.Publish{} },
		"another registry":         func(c *config.Config) { c.Publish.Registries = place },
		"another GitHub":           func(c *config.Config) { c.Publish.GitHub.Repository = "https://github.com/other/releases" },
		"somebody who is told":     func(c *config.Config) { c.Publish.Announce = config.Announcements{{Kind: "slack", URL: "HOOK"}} },
		"a policy of publishing":   func(c *config.Config) { c.Publish.Candidate = "required" },
		"what the test command is": func(c *config.Config) { c.Test = config.Test{Packages: []string{"./x"}, Flags: []string{"-short"}} },
	} {
		other, lock := fixture(t)
		edit(&other)
		p := make1(t, src, other, lock, plan.Options{})
		if b, err := p.Encode(); err != nil || artifact.Sum(b) != want {
			t.Errorf("%s changes the plan: %v", what, err)
		}
	}
	for what, edit := range map[string]func(s *source.Source, c *config.Config, l *config.Lock){
		"the commit":    func(s *source.Source, _ *config.Config, _ *config.Lock) { s.Commit = strings.Repeat("a", 40) },
		"the tree":      func(s *source.Source, _ *config.Config, _ *config.Lock) { s.Tree = strings.Repeat("a", 40) },
		"the time":      func(s *source.Source, _ *config.Config, _ *config.Lock) { s.Time = s.Time.Add(time.Second) },
		"the tag":       func(s *source.Source, _ *config.Config, _ *config.Lock) { s.Tag = "1.2.3" },
		"dirt":          func(s *source.Source, _ *config.Config, _ *config.Lock) { s.Dirty = true },
		"a description": func(_ *source.Source, c *config.Config, _ *config.Lock) { c.Project.Description = "x" },
		"a checksum": func(_ *source.Source, _ *config.Config, l *config.Lock) {
			l.Go.Sums = map[string]string{"linux-amd64": "h1:x"}
		},
		"a base": func(_ *source.Source, _ *config.Config, l *config.Lock) {
			bases := map[string]config.Base{}
			for name, b := range l.Bases {
				b.Digest = artifact.Sum([]byte(name))
				bases[name] = b
			}
			l.Bases = bases
		},
	} {
		other, cfg, lock := src, c, l
		edit(&other, &cfg, &lock)
		if got := digest(t, make1(t, other, cfg, lock, plan.Options{})); got == want {
			t.Errorf("%s does not change the plan", what)
		}
	}
	// Nothing that was given is changed.
	b1, _ := json.Marshal(c)
	again, _ := fixture(t)
	if b2, _ := json.Marshal(again); !bytes.Equal(b1, b2) {
		t.Error("the configuration was changed")
	}
}

const (
	leastLock = "version: 1\ngo: {version: 1.26.8}\n"
	head      = "version: 1\nproject: {name: kit}\n"
)

func TestRefusals(t *testing.T) {
	alpine := func(image, platforms string) string {
		return leastLock + "bases: {alpine: {image: '" + image + "', digest: '" + string(artifact.Sum(nil)) + "', platforms: [" + platforms + "]}}\n"
	}
	const one = head + "binaries: [{name: kit, main: ., targets: [linux/amd64]}]\n"
	for _, tt := range []struct {
		name, yaml, lock string
		version          string
		o                plan.Options
		want             string
	}{
		{name: "another Go", yaml: one + "go: 1.26.7\n", want: "slipway.yaml:4:5: go: 1.26.7 is required and 1.26.8 is locked; run the lock command and commit slipway.lock"},
		{
			name: "no base", yaml: one + "images: [{repository: ghcr.io/a/b, distros: [alpine]}]\n",
			want: "slipway.lock:1:1: bases.alpine is missing: the base of Alpine Linux is not locked; run the lock command and commit slipway.lock",
		},
		{
			name: "another base", yaml: one + "images: [{repository: ghcr.io/a/b, distros: [alpine]}]\n", lock: alpine("docker.io/library/alpine:3.21", "linux/amd64"),
			want: "slipway.lock:3:25: bases.alpine.image: docker.io/library/alpine:3.21 is locked and docker.io/library/alpine:3.22 is required; run the lock command and commit slipway.lock",
		},
		{
			name: "another base by configuration", yaml: one + "images: [{repository: ghcr.io/a/b, distros: [alpine]}]\nbases: {alpine: 'ghcr.io/a/alpine:1'}\n", lock: alpine("docker.io/library/alpine:3.22", "linux/amd64"),
			want: "slipway.lock:3:25: bases.alpine.image: docker.io/library/alpine:3.22 is locked and ghcr.io/a/alpine:1 is required; run the lock command and commit slipway.lock",
		},
		{
			name: "a base without the platform", yaml: one + "images: [{repository: ghcr.io/a/b, distros: [alpine]}]\n", lock: alpine("docker.io/library/alpine:3.22", "linux/arm64"),
			want: "slipway.yaml:4:10: images[0]: ghcr.io/a/b on alpine would have no platform: of what the base has and exclude leaves, kit is built for none; add a target such as linux/amd64 or take alpine out of distros",
		},
		{
			name: "an image whose platforms are excluded", yaml: one + "images: [{repository: ghcr.io/a/b, distros: [alpine], exclude: [linux/amd64]}]\n", lock: alpine("docker.io/library/alpine:3.22", "linux/amd64"),
			want: "slipway.yaml:4:10: images[0]: ghcr.io/a/b on alpine would have no platform: of what the base has and exclude leaves, kit is built for none; add a target such as linux/amd64 or take alpine out of distros",
		},
		{
			name: "an image of variants alone", yaml: head + "binaries: [{name: kit, main: ., targets: [linux/amd64/v3]}]\nimages: [{repository: ghcr.io/a/b, distros: [alpine]}]\n", o: plan.Options{StandIn: true},
			want: "slipway.yaml:4:10: images[0]: ghcr.io/a/b on alpine would have no platform: of what the base has and exclude leaves, kit is built for none; add a target such as linux/amd64 or take alpine out of distros",
		},
		{
			name: "narrowed to nothing", yaml: one, o: plan.Options{Targets: []artifact.Platform{{OS: "plan9", Arch: "386"}, {OS: "darwin", Arch: "arm64"}}},
			want: "slipway.yaml:3:11: binaries: none is built for plan9/386 darwin/arm64",
		},
		{
			name: "archives of one name", yaml: head + "binaries: [{name: kit, main: ., targets: [linux/amd64, linux/arm64]}]\narchives: {name: 'kit_{{ .Os }}'}\n",
			want: `slipway.yaml:4:18: archives.name: path "archives/kit_linux.tar.gz" is named twice; have {{ .Os }}, {{ .Arch }} and {{ .Variant }} in it, so that each target has its own`,
		},
		{
			name: "archives of one name by case", yaml: head + "binaries: [{name: kit, main: ., targets: [linux/mips, linux/mips/softfloat]}]\narchives: {name: 'kit_{{ .Os }}_{{ .Arch }}'}\n",
			want: `slipway.yaml:4:18: archives.name: path "archives/kit_linux_mips.tar.gz" is named twice; have {{ .Os }}, {{ .Arch }} and {{ .Variant }} in it, so that each target has its own`,
		},
		{
			name: "an archive with a slash", yaml: one + "archives: {name: '{{ .Os }}/{{ .Arch }}'}\n",
			want: `slipway.yaml:4:18: archives.name: it gives "linux/amd64" for linux/amd64, which is not the name of a file`,
		},
		{
			name: "an archive without a name", yaml: one + "archives: {name: '{{ .Variant }}'}\n",
			want: `slipway.yaml:4:18: archives.name: it gives "" for linux/amd64, which is not the name of a file`,
		},
		{
			name: "an archive called by a device", yaml: one + "archives: {name: 'con.{{ .Arch }}'}\n",
			want: `slipway.yaml:4:18: archives.name: path "archives/con.amd64.tar.gz": "con.amd64.tar.gz" is a device on Windows; choose another name`,
		},
		{
			name: "a folder that leaves the archive", yaml: one + "archives: {folder: '../{{ .Version }}'}\n",
			want: `slipway.yaml:4:20: archives.folder: path "../1.2.3" leaves its folder`,
		},
		{
			name: "both kinds of quotes", yaml: head + "binaries: [{name: kit, main: ., vars: {main.v: 'it''s \"{{ .Version }}\"'}}]\n",
			want: `slipway.yaml:3:40: binaries[0].vars.main.v: "main.v=it's \"1.2.3\"" has both kinds of quotes, which the Go command cannot pass to the linker`,
		},
		{
			name: "a package outside of its module", yaml: head + "binaries: [{name: kit, main: ./cmd/kit, dir: daemon}]\n",
			want: `slipway.yaml:3:30: binaries[0].main: "cmd/kit" is not in the module's folder "daemon"; both are relative to the root`,
		},
		{
			name: "a package beside its module", yaml: head + "binaries: [{name: kit, main: ./daemons/kit, dir: daemon}]\n",
			want: `slipway.yaml:3:30: binaries[0].main: "daemons/kit" is not in the module's folder "daemon"; both are relative to the root`,
		},
		{
			name: "a tag that no registry takes", yaml: one + "images: [{repository: ghcr.io/a/b, distros: [alpine]}]\n", o: plan.Options{StandIn: true}, version: "1.2.3-" + strings.Repeat("x", 117),
			want: "slipway.yaml:4:10: images[0]: tag 1.2.3-" + strings.Repeat("x", 117) + "-alpine has 130 characters and may have 128; release a shorter version",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.lock == "" {
				tt.lock = leastLock
			}
			if tt.version == "" {
				tt.version = "1.2.3"
			}
			c, l := parse(t, tt.yaml, tt.lock)
			p, err := plan.New(commit(t, tt.version), c, l, tt.o)
			if err == nil || err.Error() != tt.want {
				t.Errorf("\n got %v\nwant %s", err, tt.want)
			}
			if fault.CodeOf(err) != fault.Usage {
				t.Errorf("exit %d, want %d", fault.CodeOf(err), fault.Usage)
			}
			if p.Name != "" {
				t.Errorf("a plan beside an error: %+v", p)
			}
		})
	}
}

func tags(p plan.Plan) string {
	var out []string
	for _, im := range p.Images {
		out = append(out, fmt.Sprint(im.Tags, im.Floating))
	}
	return strings.Join(out, " ")
}

func TestTags(t *testing.T) {
	for _, tt := range []struct{ version, fields, want string }{
		{"1.2.3", "distros: [alpine, ubi]", "[1.2.3-alpine 1.2.3] [latest-alpine latest 1 1.2] [1.2.3-ubi] [latest-ubi]"},
		{"1.2.3", "distros: [alpine, ubi], default: ubi", "[1.2.3-alpine] [latest-alpine] [1.2.3-ubi 1.2.3] [latest-ubi latest 1 1.2]"},
		{"1.2.3", "default: distroless", "[1.2.3-alpine] [latest-alpine] [1.2.3-ubuntu] [latest-ubuntu] [1.2.3-distroless 1.2.3] [latest-distroless latest 1 1.2] [1.2.3-ubi] [latest-ubi]"},
		{"1.2.3-rc.1", "distros: [ubuntu]", "[1.2.3-rc.1-ubuntu 1.2.3-rc.1] []"},
		{"1.2.3+meta.1", "distros: [ubuntu]", "[1.2.3_meta.1-ubuntu 1.2.3_meta.1] [latest-ubuntu latest 1 1.2]"},
		{"1.2.4-snapshot.3.g0123456789ab", "distros: [ubuntu]", "[1.2.4-snapshot.3.g0123456789ab-ubuntu 1.2.4-snapshot.3.g0123456789ab] []"},
	} {
		c, l := parse(t, head+"binaries: [{name: kit, main: ., targets: [linux/amd64]}]\nimages: [{repository: ghcr.io/a/b, "+tt.fields+"}]\n", leastLock)
		if got := tags(make1(t, commit(t, tt.version), c, l, plan.Options{StandIn: true})); got != tt.want {
			t.Errorf("%s with %s:\n got %s\nwant %s", tt.version, tt.fields, got, tt.want)
		}
	}
}

func TestSnapshot(t *testing.T) {
	c, l := parse(t, head+"binaries: [{name: kit, main: ., targets: [linux/amd64], vars: {main.v: '{{ .Tag }}|{{ .Prerelease }}|{{ .Timestamp }}'}}]\ncharts: [{path: .}]\n", leastLock)
	p := make1(t, commit(t, "1.2.4-snapshot.3.g0123456789ab"), c, l, plan.Options{})
	if p.Tag != "" || p.Archives[0].Path != "archives/kit_1.2.4-snapshot.3.g0123456789ab_linux_amd64.tar.gz" {
		t.Errorf("tag %q, archive %s", p.Tag, p.Archives[0].Path)
	}
	if want := "-ldflags=-s -w -buildid= -X main.v=v1.2.4-snapshot.3.g0123456789ab|snapshot.3.g0123456789ab|1709208000"; !slices.Contains(p.Binaries[0].Flags, want) {
		t.Errorf("flags %q, want %s", p.Binaries[0].Flags, want)
	}
	if ch := p.Charts[0]; ch.Name != "kit" || ch.Dir != "." || ch.Path != "charts/kit-1.2.4-snapshot.3.g0123456789ab.tgz" {
		t.Errorf("chart %+v", ch)
	}
	if len(p.Unpublishable) > 0 {
		t.Errorf("unpublishable: %q", p.Unpublishable)
	}
}

func platforms(im plan.Image) string {
	var out []string
	for _, p := range im.Platforms {
		out = append(out, p.Platform.String())
	}
	return strings.Join(out, " ")
}

// An image has the platforms that its distribution, its base and its binary have, in the order of the distribution.
func TestImagePlatforms(t *testing.T) {
	c, l := fixture(t)
	want := map[string]string{
		"ghcr.io/example/kit alpine":     "linux/amd64 linux/arm64 linux/386 linux/arm/v7 linux/ppc64le linux/riscv64",
		"ghcr.io/example/kit ubuntu":     "linux/amd64 linux/arm64 linux/ppc64le linux/riscv64",
		"ghcr.io/example/kit distroless": "linux/amd64 linux/arm64 linux/arm/v7 linux/ppc64le",
		"ghcr.io/example/kit ubi":        "linux/amd64 linux/arm64 linux/ppc64le",
		"ghcr.io/example/kitd ubi":       "linux/amd64",
	}
	p := make1(t, commit(t, "1.2.3"), c, l, plan.Options{})
	for _, im := range p.Images {
		key := im.Repository + " " + im.Distro
		if got := platforms(im); got != want[key] {
			t.Errorf("%s has %s, want %s", key, got, want[key])
		}
		delete(want, key)
		for _, pl := range im.Platforms {
			if !slices.ContainsFunc(p.Binaries, func(b plan.Binary) bool { return b.Path == pl.Binary && b.Platform == pl.Platform }) {
				t.Errorf("%s: %s is not the binary for %s", key, pl.Binary, pl.Platform)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestStandIns(t *testing.T) {
	c, l := fixture(t)
	l.Bases = nil
	p := make1(t, commit(t, "1.2.3"), c, l, plan.Options{StandIn: true})
	if want := []string{"its images stand on stand-in bases"}; !slices.Equal(p.Unpublishable, want) {
		t.Errorf("unpublishable: %q, want %q", p.Unpublishable, want)
	}
	for _, im := range p.Images {
		if im.Base.Digest != "" || !im.Base.StandIn || im.Base.Image != "stand-in/"+im.Distro || im.Labels["io.github.slipway-build.stand-in"] != "true" {
			t.Errorf("%s: base %+v, labels %v", im.Distro, im.Base, im.Labels)
		}
		if im.Labels["org.opencontainers.image.base.digest"] != "" {
			t.Errorf("%s: a stand-in has the digest of a base: %v", im.Distro, im.Labels)
		}
	}
	// Where the base is not asked, the distribution says what there is.
	if got := platforms(p.Images[1]); got != "linux/amd64 linux/arm64 linux/arm/v7 linux/ppc64le linux/riscv64" {
		t.Errorf("ubuntu has %s", got)
	}
	for _, in := range p.Inputs {
		if in.Kind == "base" {
			t.Errorf("a base is an input: %+v", in)
		}
	}
	c.Images = nil
	if p := make1(t, commit(t, "1.2.3"), c, l, plan.Options{StandIn: true}); len(p.Unpublishable) > 0 {
		t.Errorf("a release without images is unpublishable: %q", p.Unpublishable)
	}
}

func TestNarrowed(t *testing.T) {
	c, l := fixture(t)
	src := commit(t, "1.2.3")
	src.Dirty = true
	p := make1(t, src, c, l, plan.Options{Targets: []artifact.Platform{{OS: "windows", Arch: "amd64"}, {OS: "linux", Arch: "386"}}})
	if want := []string{"it was built from a dirty tree", "it was narrowed to some of its targets"}; !slices.Equal(p.Unpublishable, want) {
		t.Errorf("unpublishable: %q, want %q", p.Unpublishable, want)
	}
	var paths []string
	for _, b := range p.Binaries {
		paths = append(paths, b.Path)
	}
	if want := []string{"binaries/kit_linux_386/kit", "binaries/kit_windows_amd64/kit.exe", "binaries/kitd_windows_amd64/kitd.exe"}; !slices.Equal(paths, want) {
		t.Errorf("binaries %q, want %q", paths, want)
	}
	if len(p.Archives) != 2 || len(p.Archives[1].Binaries) != 2 || p.Archives[1].Path != "archives/kit_1.2.3_windows_amd64.zip" {
		t.Errorf("archives %+v", p.Archives)
	}
	// Of the images only alpine has a platform left.
	if len(p.Images) != 1 || p.Images[0].Distro != "alpine" || platforms(p.Images[0]) != "linux/386" {
		t.Errorf("images %+v", p.Images)
	}

	// A target without a variant stands for all of its variants, one with a variant for itself.
	for target, want := range map[artifact.Platform]int{{OS: "linux", Arch: "amd64"}: 3, {OS: "linux", Arch: "amd64", Variant: "v3"}: 1, {OS: "linux", Arch: "arm"}: 1} {
		if p := make1(t, src, c, l, plan.Options{Targets: []artifact.Platform{target}}); len(p.Binaries) != want {
			t.Errorf("%s: %d binaries, want %d", target, len(p.Binaries), want)
		}
	}
}

// A dependency of two charts is one input.
func TestInputsOnce(t *testing.T) {
	c, l := fixture(t)
	c.Charts = append(c.Charts, config.Chart{Path: "deploy/charts/another"})
	l.Charts[1] = l.Charts[0]
	l.Charts[1].Chart = "./deploy/charts/another/"
	p := make1(t, commit(t, "1.2.3"), c, l, plan.Options{})
	seen := map[artifact.Input]int{}
	for _, in := range p.Inputs {
		if seen[in]++; seen[in] > 1 {
			t.Errorf("%+v is named %d times", in, seen[in])
		}
	}
	if len(p.Charts[0].Dependencies) != 1 || len(p.Charts[1].Dependencies) != 1 {
		t.Errorf("charts %+v", p.Charts)
	}
}

func TestFewestLabels(t *testing.T) {
	c, l := parse(t, head+"binaries: [{name: kit, main: ., targets: [linux/amd64]}]\nimages: [{repository: ghcr.io/a/b, distros: [alpine]}]\n", leastLock)
	p := make1(t, commit(t, "1.2.3"), c, l, plan.Options{StandIn: true})
	b, err := json.Marshal(p.Images[0].Labels)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"io.github.slipway-build.stand-in":"true",` +
		`"org.opencontainers.image.authors":"kit","org.opencontainers.image.base.name":"stand-in/alpine","org.opencontainers.image.created":"2024-02-29T12:00:00Z",` +
		`"org.opencontainers.image.description":"kit","org.opencontainers.image.revision":"0123456789abcdef0123456789abcdef01234567","org.opencontainers.image.title":"kit",` +
		`"org.opencontainers.image.vendor":"kit","org.opencontainers.image.version":"1.2.3"}`
	if string(b) != want {
		t.Errorf("labels\n%s\nwant\n%s", b, want)
	}
}

// The Go command and its linker take the flags as they are meant.
func TestGoTakesFlags(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles and links a program")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("no Go command: %v", err)
	}
	want := map[string]string{
		"spaces": "two  words ", "lines": "one\ntwo\n\tthree", "single": "it's -extld=/tmp/x here", "double": `"quoted" -w`,
		"empty": "", "equals": "a=b", "backslash": `\n\`, "dollar": "$(id) `id`", "letters": "é 語", "path": "-X main.empty=x",
	}
	host := runtime.GOOS + "/" + runtime.GOARCH
	var yaml, source strings.Builder
	fmt.Fprintf(&yaml, "%sbinaries:\n- name: kit\n  main: ./cmd\n  targets: [%s]\n  vars:\n", head, host)
	source.WriteString("package main\n\nvar ")
	names := slices.Sorted(maps.Keys(want))
	source.WriteString(strings.Join(names, ", ") + " string\n\nfunc main() {\n")
	for _, name := range names {
		fmt.Fprintf(&yaml, "    main.%s: %q\n", name, want[name])
		fmt.Fprintf(&source, "\tprint(%s, \"\\x00\")\n", name)
	}
	source.WriteString("}\n")
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/kit\n\ngo 1.26\n", "cmd/main.go": source.String()} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, l := parse(t, yaml.String(), leastLock)
	b := make1(t, commit(t, "1.2.3"), c, l, plan.Options{}).Binaries[0]

	program := filepath.Join(dir, "kit.exe")
	build := exec.Command("go", append(append([]string{"build"}, b.Flags...), "-o", program, b.Package)...)
	build.Dir = dir
	build.Env = append(os.Environ(), append(b.Env, "GOWORK=off", "GOFLAGS=")...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var stderr bytes.Buffer // print writes there
	run := exec.Command(program)
	run.Stderr = &stderr
	if err := run.Run(); err != nil {
		t.Fatal(err)
	}
	for i, got := range strings.Split(strings.TrimSuffix(stderr.String(), "\x00"), "\x00") {
		if got != want[names[i]] {
			t.Errorf("main.%s is %q, want %q", names[i], got, want[names[i]])
		}
	}
}
