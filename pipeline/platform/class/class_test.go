package class_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/build/sbom"
	"github.com/slipway-build/slipway/pipeline/build/sbom/osdb"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/change"
	"github.com/slipway-build/slipway/pipeline/platform/class"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// side is what is in a release of a component, and in its commit.
type side struct {
	files   map[string]string
	modules map[string]string // that its program was linked from
	goes    string            // version of Go
	module  string            // of its program, whose flags are looked at then
	system  osdb.Distribution
	os      map[string]string // packages of the base, of apk
	base    string            // content that the base's digest is of
	image   bool
	archive bool
	second  map[string]string // modules of a second program; nil for none
	chart   map[string]string // files of a chart; nil for none
	config  map[string]any    // of the image; nil for none
}

func (s side) clone() side {
	s.files, s.modules, s.os = maps.Clone(s.files), maps.Clone(s.modules), maps.Clone(s.os)
	s.chart, s.config = maps.Clone(s.chart), maps.Clone(s.config)
	return s
}

func start() side {
	return side{
		files: map[string]string{
			"go.mod": "module example.com/gateway\n\ngo 1.26\n\nrequire golang.org/x/net v0.34.0\n", "main.go": "package main\n\nfunc main() {}\n",
			"internal/mux/mux.go": "package mux\n", "internal/ui/theme.go": "package ui\n", "VERSION": "1.4.2\n",
			"charts/gateway/templates/service.yaml": "kind: Service\n",
		},
		modules: map[string]string{"golang.org/x/net": "v0.34.0", "golang.org/x/text": "v0.20.0"}, goes: "1.26.1",
		system: osdb.Distribution{ID: "alpine", Version: "3.22.1"}, os: map[string]string{"openssl": "3.5.1-r0", "musl": "1.2.5-r3"}, base: "base", image: true, archive: true,
	}
}

// plain is a file that is put on top of what is there.
func (s *side) put(name, text string) { s.files[name] = text }

// world is a platform with one component, in two releases.
type world struct {
	t             *testing.T
	before, after side
	changes       string             // of the advisory, in YAML
	version       string             // of the release that is checked
	bases         []composition.Base // of the release
	promises      string             // of the component in platform.yaml
	extra         string             // of platform.yaml
	fixed         string
	own           map[string]string // files of the platform's repository that the release changes
	added, gone   bool              // a second component is new, or gone
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, before: start(), version: "2.1.4", fixed: "2.1.4"}
	w.after = w.before.clone()
	w.changes = "  gateway:\n    packages: [{purl: pkg:golang/golang.org/x/net, fixed: 0.34.1}]\n    paths: [\"internal/mux/**\"]\n"
	// The fix as it should be.
	w.after.modules["golang.org/x/net"] = "v0.34.1"
	w.after.put("go.mod", strings.ReplaceAll(w.after.files["go.mod"], "v0.34.0", "v0.34.1"))
	w.after.put("internal/mux/mux.go", "package mux\n\nconst fixed = true\n")
	w.after.put("VERSION", "1.4.3\n")
	return w
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// commits makes a repository with one commit for each set of files.
func commits(t *testing.T, sets ...map[string]string) (dir string, ids []string) {
	t.Helper()
	dir = t.TempDir()
	gittest.Git(t, dir, "init", "--quiet", "--template=", ".")
	for i, files := range sets {
		if i > 0 {
			gittest.Git(t, dir, "rm", "-r", "--quiet", ".")
		}
		write(t, dir, files)
		gittest.Git(t, dir, "add", "--all")
		gittest.Git(t, dir, "commit", "--quiet", "--allow-empty", "-m", fmt.Sprint(i))
		ids = append(ids, gittest.Git(t, dir, "rev-parse", "HEAD"))
	}
	return dir, ids
}

// release writes a release with the bills of materials of what is in it.
func (s side) release(t *testing.T, v, commit string) (string, artifact.Digest) {
	t.Helper()
	dir := t.TempDir()
	is, err := version.Parse(v)
	if err != nil {
		t.Fatal(err)
	}
	r := manifest.Release{Name: "gateway", Version: is, Tag: "v" + v, Commit: commit, Tree: commit, Time: time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC), Plan: artifact.Sum([]byte("plan"))}
	program := func(modules map[string]string) sbom.Program {
		p := sbom.Program{Path: "gateway", Digest: artifact.Sum([]byte(v)), Main: s.module, Module: s.module, Go: s.goes}
		for _, m := range slices.Sorted(maps.Keys(modules)) {
			p.Modules = append(p.Modules, sbom.Module{Path: m, Version: modules[m], Sum: "h1:" + modules[m]})
		}
		return p
	}
	bill := func(path string, d sbom.Document) {
		d.Project = sbom.Project{Name: "gateway", Version: v, Time: r.Time, Tool: "slipway 1"}
		b, err := sbom.CycloneDX(d)
		if err != nil {
			t.Fatal(err)
		}
		path = "sbom/" + path + ".cdx.json"
		write(t, dir, map[string]string{path: string(b)})
		r.SBOMs = append(r.SBOMs, manifest.SBOM{Format: "cyclonedx", Subject: d.Subject.Name, Platform: artifact.Platform{OS: "linux", Arch: "amd64"}, Digest: d.Subject.Digest, Path: path})
		r.Files = append(r.Files, artifact.File{Path: path, Kind: artifact.SBOM, Size: int64(len(b)), Digest: artifact.Sum(b)})
	}
	if s.archive {
		bill("gateway_"+v+"_linux_amd64.tar.gz", sbom.Document{Subject: sbom.Subject{Kind: artifact.Archive, Name: "gateway.tar.gz", Digest: artifact.Sum([]byte(v))}, Programs: []sbom.Program{program(s.modules)}})
	}
	if s.second != nil {
		bill("tool_"+v+"_linux_amd64.tar.gz", sbom.Document{Subject: sbom.Subject{Kind: artifact.Archive, Name: "tool.tar.gz", Digest: artifact.Sum([]byte(v))}, Programs: []sbom.Program{program(s.second)}})
	}
	if s.image {
		base := sbom.Base{Image: "docker.io/library/alpine:3.22", Digest: artifact.Sum([]byte(s.base)), Installed: osdb.Base{Distribution: s.system}}
		for _, name := range slices.Sorted(maps.Keys(s.os)) {
			base.Installed.Packages = append(base.Installed.Packages, osdb.Package{Type: "apk", Name: name, Version: s.os[name], Arch: "x86_64"})
		}
		bill("gateway_"+v+"_alpine_linux_amd64", sbom.Document{Subject: sbom.Subject{Kind: artifact.Image, Name: "ghcr.io/acme/gateway:" + v, Digest: artifact.Sum([]byte("image" + v))}, Programs: []sbom.Program{program(s.modules)}, Base: &base})
	}
	file := func(path string, kind artifact.Kind, b []byte) artifact.Digest {
		write(t, dir, map[string]string{path: string(b)})
		f := artifact.File{Path: path, Kind: kind, Size: int64(len(b)), Digest: artifact.Sum(b)}
		if !slices.Contains(r.Files, f) {
			r.Files = append(r.Files, f)
		}
		return f.Digest
	}
	if s.chart != nil {
		files := map[string]string{}
		for name, text := range s.chart {
			files["gateway/"+name] = text
		}
		b, err := verifytest.Tar(files)
		if err != nil {
			t.Fatal(err)
		}
		path := "charts/gateway-" + v + ".tgz"
		file(path, artifact.Chart, b)
		r.Charts = append(r.Charts, manifest.Chart{Name: "gateway", Version: v, AppVersion: v, Path: path})
	}
	if s.config != nil {
		blob := func(v any) artifact.Digest {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return file("images/blobs/sha256/"+artifact.Sum(b).Hex(), artifact.Image, b)
		}
		config := blob(map[string]any{"config": s.config})
		m := blob(map[string]any{"config": map[string]any{"digest": config}})
		r.Images = append(r.Images, manifest.Image{
			Repository: "ghcr.io/acme/gateway", Distro: "alpine", Tags: []string{v}, Digest: m, Size: 1,
			Platforms: []manifest.ImagePlatform{{Platform: artifact.Platform{OS: "linux", Arch: "amd64"}, Digest: m, Size: 1}},
		})
	}
	slices.SortFunc(r.Files, func(a, b artifact.File) int { return strings.Compare(a.Path, b.Path) })
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{manifest.FileName: string(b)})
	return dir, artifact.Sum(b)
}

const header = `version: 1
name: edge
components:
  gateway: {repository: https://example.com/mono, tagPrefix: gateway/, pin: 1.4.3, releases: shelf, key: k}
  proto: {repository: https://example.com/mono, tagPrefix: proto/, pin: 1.4.3, releases: shelf, key: k}
`

// check runs the gates on what the world is.
func (w *world) check() ([]class.Finding, error) {
	t := w.t
	t.Helper()
	p, err := platform.Parse("platform.yaml", []byte(strings.Replace(header, "releases: shelf, key: k", "releases: shelf, key: k"+w.promises, 1)+w.extra))
	if err != nil {
		return nil, err
	}
	parse := func(s string) version.Version {
		v, err := version.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	dir, ids := commits(t, w.before.files, w.after.files)
	component := func(name, v, commit string, m artifact.Digest) composition.Component {
		return composition.Component{Name: name, Version: v, Tag: name + "/v" + v, Commit: commit, Manifest: m, Signer: "sha256:k", Repository: "https://example.com/mono", Releases: "shelf"}
	}
	beforeDir, beforeSum := w.before.release(t, "1.4.2", ids[0])
	afterDir, afterSum := w.after.release(t, "1.4.3", ids[1])
	before := composition.Platform{Name: "edge", Version: parse("2.1.3"), Components: []composition.Component{component("gateway", "1.4.2", ids[0], beforeSum)}}
	after := composition.Platform{Name: "edge", Version: parse(w.version), Components: []composition.Component{component("gateway", "1.4.3", ids[1], afterSum)}}
	after.Bases = w.bases
	other := component("proto", "0.9.3", ids[0], beforeSum)
	if !w.added {
		before.Components = append(before.Components, other)
	}
	if !w.gone {
		after.Components = append(after.Components, other)
	}
	r := class.Release{Platform: p, Version: parse(w.version), After: after, Releases: []composition.Platform{before}, Environ: append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off")}
	if w.fixed != "" {
		a, err := lifecycle.ParseAdvisory("advisory.yaml", []byte("version: 1\nid: EDGE-2026-003\naffected: \">=2.0.0 <2.1.4\"\nfixed: ["+w.fixed+"]\npublished: 2026-03-03\ndue: 2026-03-17\nchanges:\n"+w.changes))
		if err != nil {
			return nil, err
		}
		r.Advisories = []lifecycle.Advisory{a}
	}
	r.Open = func(_ context.Context, b, a composition.Component) (class.Pair, error) {
		pair := class.Pair{Source: class.Source{Dir: dir, Before: b.Commit, After: a.Commit}}
		open := map[artifact.Digest]string{beforeSum: beforeDir, afterSum: afterDir}
		var err error
		if pair.Before, err = change.Open(open[b.Manifest], b.Manifest); err == nil {
			pair.After, err = change.Open(open[a.Manifest], a.Manifest)
		}
		return pair, err
	}
	r.Own = func(context.Context, version.Version) (class.Source, error) {
		files := map[string]string{"platform.yaml": "a", "README.md": "a"}
		changed := maps.Clone(files)
		changed["platform.yaml"] = "b"
		maps.Copy(changed, w.own)
		dir, ids := commits(t, files, changed)
		return class.Source{Dir: dir, Before: ids[0], After: ids[1]}, nil
	}
	return class.Check(t.Context(), r)
}

const none = "is no security release: "

// securityRows are what a security release may not do, each with what is said of it, and what it may.
var securityRows = []struct {
	name string
	want []string // parts of the findings, in their order; none for what is legal
	edit func(w *world)
}{
	{"the fix alone", nil, func(*world) {}},
	{"a changelog", nil, func(w *world) { w.after.put("CHANGELOG.md", "x") }},
	{"a lock", nil, func(w *world) { w.after.put("slipway.lock", "x") }},
	{"go.sum", nil, func(w *world) { w.after.put("go.sum", "x") }},
	{"vendored below a named module", nil, func(w *world) {
		w.after.put("vendor/golang.org/x/net/http2/frame.go", "x")
		w.after.put("vendor/modules.txt", "x")
	}},
	{"above the fix", nil, func(w *world) { w.after.modules["golang.org/x/net"] = "v0.35.0" }},
	{"the package is gone", nil, func(w *world) { delete(w.after.modules, "golang.org/x/net") }},
	{"a file of another project", nil, func(w *world) { w.after.put("proto/main.go", "x") }},
	{"a new file that is named", nil, func(w *world) { w.after.put("internal/mux/deep/er.go", "x") }},
	{"a file that is named is gone", nil, func(w *world) { delete(w.after.files, "internal/mux/mux.go") }},
	{"Go itself, named", nil, func(w *world) {
		w.changes = "  gateway:\n    packages: [{purl: pkg:golang/golang.org/x/net, fixed: 0.34.1}, {purl: pkg:golang/stdlib, fixed: 1.26.2}]\n    paths: [\"internal/mux/**\"]\n"
		w.after.goes = "1.26.2"
	}},
	{"a package of the base, named", nil, func(w *world) {
		w.changes += "  # the base\n"
		w.changes = strings.Replace(w.changes, "0.34.1}", "0.34.1}, {purl: pkg:apk/alpine/openssl, fixed: 3.5.2-r0}", 1)
		w.after.os["openssl"], w.after.base = "3.5.2-r1", "newer"
	}},
	{"under patch anything", nil, func(w *world) { w.extra, w.fixed = "numbering: patch\n", ""; w.after.put("internal/ui/theme.go", "x") }},
	{"under patch a fix with more", nil, func(w *world) { w.extra = "numbering: patch\n"; w.after.put("internal/ui/theme.go", "x") }},
	{"a minor release with a fix", nil, func(w *world) { w.version, w.fixed = "2.2.0", "2.2.0"; w.after.put("internal/ui/theme.go", "x") }},
	{"an exception by place", nil, func(w *world) {
		w.after.put("internal/ui/theme.go", "x")
		w.extra = "exceptions: [{what: gateway internal/ui/theme.go, release: 2.1.4, reason: it was drawn wrong}]\n"
	}},
	{"an exception by text", nil, func(w *world) {
		w.after.put("internal/ui/theme.go", "x")
		w.extra = "exceptions: [{what: \"2.1.4 is no security release: gateway changes internal/ui/theme.go, which no advisory names\", release: 2.1.4, reason: it was drawn wrong}]\n"
	}},
	{"an exception of another release", nil, func(w *world) { w.extra = "exceptions: [{what: x, release: 2.1.3, reason: it was}]\n" }},
	{"the platform's facts", nil, func(w *world) {
		w.own = map[string]string{"advisories/a.yaml": "x", "risks/b.yaml": "x", "platform.lock": "x", "CHANGELOG.md": "x"}
	}},
	{"a file of the platform, named", nil, func(w *world) {
		w.changes += "  edge: {paths: [README.md]}\n"
		w.own = map[string]string{"README.md": "b"}
	}},

	{"a file", []string{"2.1.4 " + none + "gateway changes internal/ui/theme.go, which no advisory names"}, func(w *world) { w.after.put("internal/ui/theme.go", "x") }},
	{"a new file", []string{"gateway changes internal/ui/new.go, which"}, func(w *world) { w.after.put("internal/ui/new.go", "x") }},
	{"a file is gone", []string{"gateway changes internal/ui/theme.go, which"}, func(w *world) { delete(w.after.files, "internal/ui/theme.go") }},
	{"a rename into what is named", []string{"gateway changes internal/ui/theme.go, which"}, func(w *world) {
		w.after.put("internal/mux/theme.go", w.after.files["internal/ui/theme.go"])
		delete(w.after.files, "internal/ui/theme.go")
	}},
	{"a template of a chart", []string{"gateway changes charts/gateway/templates/service.yaml, which"}, func(w *world) { w.after.put("charts/gateway/templates/service.yaml", "x") }},
	{"a folder beside the named one", []string{"gateway changes internal/muxer/x.go, which"}, func(w *world) { w.after.put("internal/muxer/x.go", "x") }},
	{"vendored, not named", []string{"gateway changes vendor/golang.org/x/text/x.go, which"}, func(w *world) { w.after.put("vendor/golang.org/x/text/x.go", "x") }},
	{"a VERSION elsewhere", []string{"gateway changes internal/VERSION, which"}, func(w *world) { w.after.put("internal/VERSION", "x") }},
	{"a module", []string{"gateway changes package pkg:golang/golang.org/x/text v0.20.0 -> v0.21.0, which no advisory names"}, func(w *world) { w.after.modules["golang.org/x/text"] = "v0.21.0" }},
	{"a new module", []string{"gateway changes package pkg:golang/example.com/more v1.0.0, which is new, which no advisory names"}, func(w *world) { w.after.modules["example.com/more"] = "v1.0.0" }},
	{"a module is gone", []string{"pkg:golang/golang.org/x/text v0.20.0, which is gone"}, func(w *world) { delete(w.after.modules, "golang.org/x/text") }},
	{"Go itself", []string{"gateway changes package pkg:golang/stdlib 1.26.1 -> 1.26.2, which"}, func(w *world) { w.after.goes = "1.26.2" }},
	{"a package of the base", []string{"has another base in", "gateway changes package pkg:apk/alpine/musl 1.2.5-r3 -> 1.2.5-r4, which"}, func(w *world) { w.after.os["musl"], w.after.base = "1.2.5-r4", "newer" }},
	{"a base with the same packages", []string{"gateway has another base in gateway_VERSION_alpine_linux_amd64"}, func(w *world) { w.after.base = "newer" }},
	{"half a fix", []string{"2.1.4 is half a fix: gateway has pkg:golang/golang.org/x/net v0.34.0 in gateway_VERSION"}, func(w *world) {
		w.after.modules["golang.org/x/net"] = "v0.34.0"
		w.after.image = false
		w.before.image = false
	}},
	{"half a fix, of two programs", []string{"2.1.4 is half a fix: gateway has pkg:golang/golang.org/x/net v0.34.0 in tool_VERSION_linux_amd64.tar.gz, and the fix is in 0.34.1"}, func(w *world) {
		w.before.second = map[string]string{"golang.org/x/net": "v0.34.0"}
		w.after.second = w.before.second
	}},
	{"half a fix under patch", []string{"2.1.4 is half a fix"}, func(w *world) {
		w.extra = "numbering: patch\n"
		w.before.second = map[string]string{"golang.org/x/net": "v0.34.0"}
		w.after.second = w.before.second
	}},
	{"half a fix of the base", []string{"2.1.4 is half a fix: gateway has pkg:apk/alpine/openssl 3.5.2_rc1-r0"}, func(w *world) {
		w.changes = strings.Replace(w.changes, "0.34.1}", "0.34.1}, {purl: pkg:apk/alpine/openssl, fixed: 3.5.2-r0}", 1)
		w.after.os["openssl"], w.after.base = "3.5.2_rc1-r0", "newer"
	}},
	{"no bill", []string{"gateway no longer has gateway_VERSION_alpine_linux_amd64", "gateway no longer has gateway_VERSION_linux_amd64.tar.gz", "is no fix that can be seen: gateway has no bill"}, func(w *world) { w.after.archive, w.after.image = false, false }},
	{"an artifact is gone", []string{"gateway no longer has gateway_VERSION_alpine_linux_amd64"}, func(w *world) { w.after.image = false }},
	{"an artifact is new", []string{"gateway has tool_VERSION_linux_amd64.tar.gz, which is new"}, func(w *world) { w.after.second = map[string]string{"golang.org/x/net": "v0.34.1"} }},
	{"another system", []string{"gateway is on another system in gateway_VERSION_alpine_linux_amd64: alpine 3.22.1 -> alpine 3.22.2"}, func(w *world) { w.after.system.Version = "3.22.2" }},
	{"a godebug", []string{"gateway changes more in go.mod than what is required: godebug http2server=0"}, func(w *world) { w.after.files["go.mod"] += "\ngodebug http2server=0\n" }},
	{"a folder for a module", []string{"gateway changes more in go.mod than what is required: module example.com/gateway; replace golang.org/x/text => ./text"}, func(w *world) { w.after.files["go.mod"] += "\nreplace golang.org/x/text => ./text\n" }},
	{"a new component", []string{"2.1.4 " + none + "component proto is new"}, func(w *world) { w.added = true }},
	{"a component is gone", []string{"2.1.4 breaks what was in 2.1.3: component proto is gone", "2.1.4 " + none + "component proto is gone"}, func(w *world) { w.gone = true }},
	{"a file of the platform", []string{"edge changes README.md, which no advisory names"}, func(w *world) { w.own = map[string]string{"README.md": "b"} }},
	{"a base of the platform", []string{"base alpine: new, ghcr.io/acme/base:1 ", "changes internal/ui/theme.go"}, func(w *world) {
		w.bases = []composition.Base{{Name: "alpine", Image: "ghcr.io/acme/base:1", Digest: artifact.Sum([]byte("base")), Record: artifact.Sum([]byte("record"))}}
		w.after.put("internal/ui/theme.go", "x")
	}},
	{"no bills before either", []string{"gateway has no bills of materials, which would say what its go.mod changes"}, func(w *world) {
		w.changes = "  gateway: {paths: [\"internal/mux/**\"]}\n"
		w.before.archive, w.before.image, w.after.archive, w.after.image = false, false, false, false
		w.before.config = map[string]any{}
		w.after.config = w.before.config
	}},
	{"a lock beside a chart", []string{"gateway changes slipway.lock, which no advisory names"}, func(w *world) {
		w.before.chart = map[string]string{"values.yaml": "a: 1\n"}
		w.after.chart = w.before.chart
		w.after.put("slipway.lock", "x")
	}},
	{"no advisory", []string{"2.1.4 " + none + "no advisory names it as fixed"}, func(w *world) { w.fixed = "" }},
	{"an advisory of another release", []string{"2.1.4 " + none + "no advisory names it as fixed"}, func(w *world) { w.fixed = "2.0.9" }},
	{"the first of a line", []string{"2.2.1 " + none + "there is no release of line 2.2 before it"}, func(w *world) { w.version, w.fixed = "2.2.1", "2.2.1" }},
	{"an exception of nothing", []string{"platform.yaml:6:14: \"gateway main.go\" excepts nothing of 2.1.4; take it out"}, func(w *world) { w.extra = "exceptions: [{what: gateway main.go, release: 2.1.4, reason: it was}]\n" }},
	{"all at once, sorted", []string{"changes internal/ui/a.go", "changes internal/ui/b.go", "pkg:golang/golang.org/x/text v0.20.0 -> v0.21.0"}, func(w *world) {
		w.after.put("internal/ui/b.go", "x")
		w.after.put("internal/ui/a.go", "x")
		w.after.modules["golang.org/x/text"] = "v0.21.0"
	}},
}

func TestSecurity(t *testing.T) {
	for _, tt := range securityRows {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.edit(w)
			found, err := w.check()
			if err != nil {
				t.Fatal(err)
			}
			w.compare(found, tt.want)
		})
	}
}

// compare holds the texts of the findings to what is wanted, one by one; what is said of several artifacts counts once.
func (w *world) compare(found []class.Finding, want []string) {
	w.t.Helper()
	var texts []string
	for _, f := range found {
		texts = append(texts, f.Text)
	}
	texts = slices.Compact(texts)
	if len(texts) != len(want) {
		w.t.Fatalf("found\n%s\nwant %d: %q", strings.Join(texts, "\n"), len(want), want)
	}
	for i, part := range want {
		if !strings.Contains(texts[i], part) {
			w.t.Errorf("found %q, want %q", texts[i], part)
		}
	}
}

// TestInclusion holds the verdict to what it comes to: the files that changed without those that are named.
func TestInclusion(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		w := newWorld(t)
		w.after = w.before.clone()
		var globs, want []string
		for _, folder := range []string{"a", "b", "c", "d"} {
			named, changed := chance.IntN(2) == 0, chance.IntN(2) == 0
			if named {
				globs = append(globs, fmt.Sprintf("%q", folder+"/**"))
			}
			if changed {
				w.after.put(folder+"/deep/x.txt", "x")
			}
			if changed && !named {
				want = append(want, "gateway changes "+folder+"/deep/x.txt, which no advisory names")
			}
		}
		w.changes = "  gateway: {paths: [" + strings.Join(append(globs, "none"), ", ") + "]}\n"
		found, err := w.check()
		if err != nil {
			t.Fatal(err)
		}
		w.compare(found, want)
	}
}

func TestErrors(t *testing.T) {
	for want, edit := range map[string]func(w *world){
		"advisory EDGE-2026-003 changes core, which is no component of edge": func(w *world) { w.changes = "  core: {paths: [a]}\n" },
		"the order of versions of kind \"npm\" is not known":                 func(w *world) { w.changes = "  gateway: {packages: [{purl: pkg:npm/a, fixed: \"1\"}]}\n" },
		"is no version of kind apk":                                          func(w *world) { w.changes = "  gateway: {packages: [{purl: pkg:apk/alpine/a, fixed: \"new\"}]}\n" },
		"has every file; name those":                                         func(w *world) { w.changes = "  gateway: {paths: [\"**\"]}\n" },
		"has a ** beside something else":                                     func(w *world) { w.changes = "  gateway: {paths: [\"a/**b\"]}\n" },
		"is not a path in the repository":                                    func(w *world) { w.changes = "  gateway: {paths: [\"../a\"]}\n" },
		"without a version, such as":                                         func(w *world) { w.changes = "  gateway: {packages: [{purl: pkg:golang/a@v1, fixed: \"1.0.0\"}]}\n" },
		"reason is missing":                                                  func(w *world) { w.extra = "exceptions: [{what: a, release: 2.1.4}]\n" },
		"\"often\"":                                                          func(w *world) { w.extra = "numbering: often\n" },
		"\"2.1\" is not a version":                                           func(w *world) { w.extra = "exceptions: [{what: a, release: \"2.1\", reason: b}]\n" },
	} {
		w := newWorld(t)
		edit(w)
		if _, err := w.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestMatch(t *testing.T) {
	for glob, paths := range map[string][2]string{
		"internal/mux/**": {"internal/mux/a.go internal/mux/a/b.go internal/mux", "internal/muxer/a.go internal/a.go"},
		"**/*.go":         {"a.go a/b.go a/b/c.go", "a.txt a.go/b"},
		"a/**/b":          {"a/b a/x/b a/x/y/b", "a b a/bc"},
		"*.md":            {"README.md", "docs/README.md README.mdx"},
	} {
		for p := range strings.FieldsSeq(paths[0]) {
			if !class.Match(glob, p) {
				t.Errorf("%s does not have %s", glob, p)
			}
		}
		for p := range strings.FieldsSeq(paths[1]) {
			if class.Match(glob, p) {
				t.Errorf("%s has %s", glob, p)
			}
		}
	}
	start := time.Now()
	class.Match(strings.Repeat("**/", 300)+"x", strings.Repeat("a/", 300)+"y")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a pattern took %s", took)
	}
}
