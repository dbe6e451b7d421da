package sbom

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"github.com/slipway-build/slipway/pipeline/build/sbom/osdb"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

var update = flag.Bool("update", false, "write golden files")

func project() Project {
	return Project{
		Name: "tool", Version: "1.2.3-rc.1", Vendor: "Tools & Sons <tools@example.com>", License: "Apache-2.0",
		Repository: "https://example.com/tools/tool", Commit: "0123456789abcdef0123456789abcdef01234567",
		Time: time.Date(2025, 3, 1, 13, 30, 5, 999, time.FixedZone("there", 3600)), Tool: "slipway 0.1.0",
	}
}

func program() Program {
	return Program{
		Path: "tool", Digest: artifact.Sum([]byte("tool")), Main: "example.com/tools/tool/v2/cmd/tool", Module: "example.com/tools/tool/v2", Go: "1.26.8",
		Modules: []Module{
			{Path: "github.com/Masterminds/semver/v3", Version: "v3.5.0", Sum: "h1:kQceYJfbupGfZOKZQg0kou0DgAKhzDg2NZPAwZ/2OOE="},
			{Path: "example.com/fork", Version: "v1.0.0+incompatible", Sum: "h1:DMTTonx5m65Ic0GOoRY2c16WCbHxOOw6xxezuLaBpcU=", Replaces: "example.com/original@v0.9.0"},
			{Path: "example.com/tools/part", Folder: "./part"},
		},
		Settings: []Setting{{"CGO_ENABLED", "0"}, {"GOOS", "linux"}, {"GOARCH", "amd64"}, {"-tags", "netgo,osusergo"}},
	}
}

func binary() Document {
	return Document{
		Project: project(), Programs: []Program{program()},
		Subject: Subject{Kind: artifact.Binary, Name: "tool", Digest: program().Digest, Platform: artifact.Platform{OS: "linux", Arch: "amd64"}},
	}
}

func archived() Document {
	p, q := program(), program()
	p.Path = "tool_1.2.3/tool"
	q.Path, q.Main, q.Settings = "tool_1.2.3/toolctl", "example.com/tools/tool/v2", []Setting{{"CGO_ENABLED", "1"}}
	q.Modules = q.Modules[:1]
	return Document{
		Project: project(), Programs: []Program{q, p}, Files: []File{NewFile("tool_1.2.3/README.md", []byte("read")), NewFile("tool_1.2.3/LICENSE", []byte("license"))},
		Subject: Subject{Kind: artifact.Archive, Name: "tool_1.2.3_linux_amd64.tar.gz", Digest: artifact.Sum([]byte("archive")), Platform: artifact.Platform{OS: "linux", Arch: "amd64"}},
	}
}

func image() Document {
	p := program()
	p.Path, p.Modules = "usr/bin/tool", p.Modules[:1]
	return Document{
		Project: project(), Programs: []Program{p}, Files: []File{NewFile("licenses/LICENSE", []byte("license"))},
		Subject: Subject{Kind: artifact.Image, Name: "localhost:5000/tools/tool:1.2.3-ubi", Digest: artifact.Sum([]byte("image")), Platform: artifact.Platform{OS: "linux", Arch: "arm", Variant: "v7"}},
		Base: &Base{
			Image: "registry.example.com/ubi9/ubi-micro:9.6", Digest: artifact.Sum([]byte("base")),
			Installed: osdb.Base{
				Distribution: osdb.Distribution{ID: "rhel", Version: "9.6", Title: "Red Hat Enterprise Linux 9.6 (Plow)"},
				Packages: []osdb.Package{
					{Type: "rpm", Name: "libstdc++", Version: "11.5.0-5.el9_5", Arch: "x86_64", Source: "gcc", SourceVersion: "11.5.0-5.el9_5", License: "GPLv3+ with exceptions", Vendor: "Red Hat, Inc."},
					{Type: "rpm", Name: "setup", Version: "2:2.13.7-10.el9", Arch: "noarch", Source: "setup", SourceVersion: "2.13.7-10.el9", License: "LicenseRef-Not-Copyrightable", Vendor: "Red Hat, Inc."},
					{Type: "rpm", Name: "tzdata", Version: "2025b-1.el9", Arch: "noarch", License: "mit and  0BSD"},
					{Type: "rpm", Name: "zlib", Version: "1.2.11-40.el9", Arch: "x86_64", License: "Zlib AND (MIT OR gpl-2.0-only WITH classpath-exception-2.0)"},
				},
				Databases: []osdb.Database{
					{Path: "var/lib/rpm/Packages", Format: "rpm", Problem: "it is a Berkeley DB, which is not read"},
					{Path: "var/lib/rpm/rpmdb.sqlite", Format: "rpm", Packages: 4},
				},
			},
		},
	}
}

func documents() map[string]Document {
	standIn := image()
	standIn.Base = &Base{Image: "stand-in/alpine", Installed: osdb.Base{Distribution: osdb.Distribution{ID: "alpine", Version: "3.22"}}}
	bare := binary()
	bare.Project = Project{Name: "tool", Version: "1.0.0", Time: time.Unix(0, 0), Tool: "slipway 0.1.0"}
	bare.Subject.Platform = artifact.Platform{}
	bare.Programs = []Program{{Digest: bare.Subject.Digest}}
	return map[string]Document{"binary": binary(), "archive": archived(), "image": image(), "stand-in": standIn, "bare": bare}
}

func TestGolden(t *testing.T) {
	for name, d := range documents() {
		for ending, write := range map[string]func(Document) ([]byte, error){"cdx": CycloneDX, "spdx": SPDX} {
			t.Run(name+" "+ending, func(t *testing.T) {
				got, err := write(d)
				if err != nil {
					t.Fatal(err)
				}
				if ending == "cdx" {
					checkCycloneDX(t, got)
				} else {
					checkSPDX(t, got)
				}
				if name == "stand-in" || name == "bare" {
					return
				}
				golden := filepath.Join("testdata", name+"."+ending+".json")
				if *update {
					if err := os.WriteFile(golden, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s differs; run with -update and look at what changed:\n%s", golden, got)
				}
			})
		}
	}
}

// The order in which parts are given, the zone of the time and the number of processors change nothing.
func TestSameBytes(t *testing.T) {
	for name, d := range documents() {
		for ending, write := range map[string]func(Document) ([]byte, error){"cdx": CycloneDX, "spdx": SPDX} {
			want, err := write(d)
			if err != nil {
				t.Fatal(err)
			}
			slices.Reverse(d.Programs)
			slices.Reverse(d.Files)
			for _, p := range d.Programs {
				slices.Reverse(p.Modules)
				slices.Reverse(p.Settings)
			}
			if d.Base != nil {
				slices.Reverse(d.Base.Installed.Packages)
			}
			d.Project.Time = d.Project.Time.In(time.FixedZone("elsewhere", -7*3600))
			old := runtime.GOMAXPROCS(1)
			got, err := write(d)
			runtime.GOMAXPROCS(old)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s %s differs, %v", name, ending, err)
			}
		}
	}
}

func TestIdentifiers(t *testing.T) {
	seen := map[string]string{}
	for name, d := range documents() {
		if name == "bare" { // the same program
			continue
		}
		for _, format := range []string{"cyclonedx", "spdx"} {
			id := d.identifier(format)
			if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
				t.Errorf("%s is no UUID of version 5", id)
			}
			if other, ok := seen[id]; ok && !(name == "stand-in" || other == "stand-in "+format) {
				t.Errorf("%s %s and %s are both %s", name, format, other, id)
			}
			seen[id] = name + " " + format
		}
	}
	if got, want := space.String(), "3cff0dd0-e2b9-576f-94fc-26cebc91cf59"; got != want {
		t.Errorf("the namespace is %s, want %s: every identifier would change", got, want)
	}
}

func checkText(t *testing.T, b []byte) {
	t.Helper()
	if !bytes.HasSuffix(b, []byte("\n")) || bytes.HasSuffix(b, []byte("\n\n")) {
		t.Error("it does not end in one newline")
	}
	var canonical bytes.Buffer
	if err := json.Indent(&canonical, bytes.TrimSuffix(b, []byte("\n")), "", "  "); err != nil || canonical.String()+"\n" != string(b) {
		t.Errorf("it is not indented with two spaces: %v", err)
	}
	if bytes.Contains(b, []byte(`\u00`)) {
		t.Error("it has characters that are escaped for HTML")
	}
}

func checkPURL(t *testing.T, s string) {
	t.Helper()
	u, err := packageurl.FromString(s)
	if err != nil {
		t.Errorf("purl %s: %v", s, err)
	} else if !strings.EqualFold(u.ToString(), s) {
		t.Errorf("purl %s is written %s", s, u.ToString())
	}
}

func checkCycloneDX(t *testing.T, b []byte) {
	t.Helper()
	checkText(t, b)
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(b), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	refs := map[string]bool{}
	var all []cdx.Component
	all = append(all, *bom.Metadata.Component)
	if bom.Components != nil {
		all = append(all, *bom.Components...)
	}
	for _, c := range all {
		if c.BOMRef == "" || refs[c.BOMRef] || c.Name == "" || c.Type == "" {
			t.Errorf("component %+v has no reference, one that is taken, or no name", c)
		}
		refs[c.BOMRef] = true
		if c.PackageURL != "" {
			checkPURL(t, c.PackageURL)
		}
	}
	reached := map[string]bool{"subject": true}
	if bom.Dependencies != nil {
		for _, d := range *bom.Dependencies {
			if !refs[d.Ref] || !slices.IsSorted(*d.Dependencies) {
				t.Errorf("dependencies of %s, which is not there, or in no order", d.Ref)
			}
			for _, to := range *d.Dependencies {
				if !refs[to] {
					t.Errorf("%s depends on %s, which is not there", d.Ref, to)
				}
				reached[to] = true
			}
		}
	}
	for ref := range refs {
		if !reached[ref] {
			t.Errorf("nothing leads to %s", ref)
		}
	}
	for _, c := range *bom.Compositions {
		for _, ref := range *c.Dependencies {
			if !refs[string(ref)] {
				t.Errorf("composition of %s, which is not there", ref)
			}
		}
	}
	var again bytes.Buffer
	if err := cdx.NewBOMEncoder(&again, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).Encode(&bom); err != nil || !bytes.Equal(again.Bytes(), b) {
		t.Errorf("read and written again it differs: %v", err)
	}
}

func checkSPDX(t *testing.T, b []byte) {
	t.Helper()
	checkText(t, b)
	var doc spdx.Document
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	valid := regexp.MustCompile(`^[A-Za-z0-9.-]+$`)
	ids := map[common.ElementID]bool{"DOCUMENT": true}
	add := func(id common.ElementID) {
		if !valid.MatchString(string(id)) || ids[id] {
			t.Errorf("identifier %s is not one, or is taken", id)
		}
		ids[id] = true
	}
	licenses := map[string]bool{}
	for _, l := range doc.OtherLicenses {
		if licenses[l.LicenseIdentifier] || l.ExtractedText == "" {
			t.Errorf("license %s is there twice or has no text", l.LicenseIdentifier)
		}
		licenses[l.LicenseIdentifier] = true
	}
	for _, p := range doc.Packages {
		add(p.PackageSPDXIdentifier)
		if p.FilesAnalyzed || p.PackageDownloadLocation == "" {
			t.Errorf("package %s", p.PackageName)
		}
		for _, r := range p.PackageExternalReferences {
			if r.RefType == "purl" {
				checkPURL(t, r.Locator)
			}
		}
		if l := p.PackageLicenseDeclared; l != "" {
			e, ok := parseLicense(l)
			if !ok || e.text != l {
				t.Errorf("license %s is no expression", l)
			}
			for _, ref := range e.refs {
				if !licenses[ref] {
					t.Errorf("license %s is not explained", ref)
				}
			}
		}
	}
	if len(doc.Files) > 0 {
		t.Errorf("%d files, and the packages say that none were analyzed", len(doc.Files))
	}
	reached := map[common.ElementID]bool{"DOCUMENT": true}
	described := 0
	for _, r := range doc.Relationships {
		if !ids[r.RefA.ElementRefID] || !ids[r.RefB.ElementRefID] {
			t.Errorf("relationship %+v of something that is not there", r)
		}
		reached[r.RefB.ElementRefID] = true
		if r.Relationship == common.TypeRelationshipDescribe {
			described++
		}
	}
	if described != 1 {
		t.Errorf("%d things are described", described)
	}
	for id := range ids {
		if !reached[id] {
			t.Errorf("nothing leads to %s", id)
		}
	}
}

func TestRefuses(t *testing.T) {
	for name, change := range map[string]func(*Document){
		"kind":                      func(d *Document) { d.Subject.Kind = artifact.Chart },
		"subject without a name":    func(d *Document) { d.Subject.Name = "" },
		"project without version":   func(d *Document) { d.Project.Version = "" },
		"no time":                   func(d *Document) { d.Project.Time = time.Time{} },
		"no generator":              func(d *Document) { d.Project.Tool = "slipway" },
		"no digest":                 func(d *Document) { d.Subject.Digest, d.Programs[0].Digest = "", "" },
		"another program":           func(d *Document) { d.Programs[0].Digest = artifact.Sum(nil) },
		"two programs":              func(d *Document) { d.Programs = append(d.Programs, d.Programs[0]) },
		"a binary with a base":      func(d *Document) { d.Base = &Base{} },
		"an archive with one twice": func(d *Document) { *d = archived(); d.Files = append(d.Files, d.Files[0]) },
	} {
		d := binary()
		change(&d)
		for _, write := range []func(Document) ([]byte, error){CycloneDX, SPDX} {
			if _, err := write(d); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
}

func TestPURL(t *testing.T) {
	digest := artifact.Sum(nil)
	alpine, ubuntu, rhel := osdb.Distribution{ID: "alpine", Version: "3.22.1"}, osdb.Distribution{ID: "ubuntu", Version: "24.04"}, osdb.Distribution{ID: "rhel", Version: "9.6"}
	for _, test := range []struct{ got, want string }{
		{golangPURL("stdlib", "1.26.8", ""), "pkg:golang/stdlib@1.26.8"},
		{golangPURL("github.com/Masterminds/semver/v3", "v3.5.0", ""), "pkg:golang/github.com/Masterminds/semver/v3@v3.5.0"},
		{golangPURL("gopkg.in/yaml.v3", "v3.0.1+incompatible", "cmd/x"), "pkg:golang/gopkg.in/yaml.v3@v3.0.1%2Bincompatible#cmd/x"},
		{golangPURL("example.com/part", "", ""), "pkg:golang/example.com/part"},
		{packagePURL(osdb.Package{Type: "apk", Name: "musl", Version: "1.2.5-r10", Arch: "x86_64", Source: "musl"}, alpine), "pkg:apk/alpine/musl@1.2.5-r10?arch=x86_64&distro=alpine-3.22.1"},
		{packagePURL(osdb.Package{Type: "apk", Name: "ssl_client", Version: "1.37.0-r19", Arch: "x86_64", Source: "busybox"}, alpine), "pkg:apk/alpine/ssl_client@1.37.0-r19?arch=x86_64&distro=alpine-3.22.1&upstream=busybox"},
		{packagePURL(osdb.Package{Type: "deb", Name: "libstdc++6", Version: "14.2.0-4ubuntu2~24.04", Arch: "amd64", Source: "gcc-14", SourceVersion: "14.2.0-4ubuntu2~24.04"}, ubuntu), "pkg:deb/ubuntu/libstdc%2B%2B6@14.2.0-4ubuntu2~24.04?arch=amd64&distro=ubuntu-24.04&upstream=gcc-14"},
		{packagePURL(osdb.Package{Type: "deb", Name: "login", Version: "1:4.13+dfsg1-4", Arch: "amd64", Source: "shadow", SourceVersion: "1:4.13"}, osdb.Distribution{ID: "debian"}), "pkg:deb/debian/login@1:4.13%2Bdfsg1-4?arch=amd64&distro=debian&upstream=shadow%401:4.13"},
		{packagePURL(osdb.Package{Type: "rpm", Name: "setup", Version: "2:2.13.7-10.el9", Arch: "noarch", Source: "setup", SourceVersion: "2.13.7-10.el9"}, rhel), "pkg:rpm/redhat/setup@2.13.7-10.el9?arch=noarch&distro=rhel-9.6&epoch=2&upstream=setup-2.13.7-10.el9.src.rpm"},
		{packagePURL(osdb.Package{Type: "rpm", Name: "a", Version: "1-1"}, osdb.Distribution{}), "pkg:rpm/a@1-1"},
		{imagePURL("docker.io/library/alpine:3.22", digest, ""), "pkg:oci/alpine@" + string(digest) + "?repository_url=docker.io%2Flibrary%2Falpine&tag=3.22"},
		{imagePURL("localhost:5000/Tool", digest, "arm64"), "pkg:oci/tool@" + string(digest) + "?arch=arm64&repository_url=localhost:5000%2FTool"},
	} {
		if test.got != test.want {
			t.Errorf("%s, want %s", test.got, test.want)
		}
		checkPURL(t, test.got)
	}
}

func TestLicense(t *testing.T) {
	for in, want := range map[string]string{
		"MIT":                            "MIT",
		"mit":                            "MIT",
		"GPL-2.0-or-later":               "GPL-2.0-or-later",
		"Apache-2.0+":                    "Apache-2.0+",
		"GPL-2.0+":                       "GPL-2.0+",
		"MIT AND  (bsd-2-clause OR ISC)": "MIT AND (BSD-2-Clause OR ISC)",
		"GPL-3.0-or-later WITH GCC-exception-3.1": "GPL-3.0-or-later WITH GCC-exception-3.1",
		"LicenseRef-Mine OR MIT":                  "LicenseRef-Mine OR MIT",
		"((MIT))":                                 "((MIT))",
		"":                                        "",
		"GPLv2+":                                  "",
		"MIT and BSD":                             "",
		"MIT AND":                                 "",
		"OR":                                      "",
		"(MIT":                                    "",
		"MIT)":                                    "",
		"MIT ISC":                                 "",
		"MIT WITH":                                "",
		"MIT WITH MIT":                            "",
		"LicenseRef-":                             "",
		"LicenseRef-a_b":                          "",
		"+":                                       "",
		strings.Repeat("(", 40) + "MIT" + strings.Repeat(")", 40): "",
		strings.Repeat("MIT OR ", 1000) + "MIT":                   "",
	} {
		if e, ok := parseLicense(in); e.text != want || ok != (want != "") {
			t.Errorf("%.60q gives %q, want %q", in, e.text, want)
		}
	}
	if len(licenses()) != 727 || len(exceptions()) != 84 {
		t.Errorf("%d licenses and %d exceptions", len(licenses()), len(exceptions()))
	}
	if e, _ := parseLicense("mit"); !e.simple {
		t.Error("MIT is one license")
	}
	if e, _ := parseLicense("Apache-2.0+"); e.simple {
		t.Error("Apache-2.0+ is no license of the list")
	}
}

func FuzzLicense(f *testing.F) {
	for _, s := range []string{"MIT", "MIT AND (ISC OR 0BSD)", "GPL-2.0-only WITH Classpath-exception-2.0", "LicenseRef-a", "((", "GPLv2+"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, ok := parseLicense(s)
		if !ok {
			return
		}
		if again, ok := parseLicense(e.text); !ok || again.text != e.text {
			t.Errorf("%q gives %q and that gives %q", s, e.text, again.text)
		}
	})
}

func TestProgramOf(t *testing.T) {
	got := programOf(&debug.BuildInfo{
		GoVersion: "go1.26.8 X:boringcrypto", Path: "example.com/a/cmd/b", Main: debug.Module{Path: "example.com/a", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "m/one", Version: "v1.0.0", Sum: "h1:1"},
			{Path: "m/two", Version: "v1.0.0", Replace: &debug.Module{Path: "m/fork", Version: "v1.1.0", Sum: "h1:2"}},
			{Path: "m/three", Version: "v1.0.0", Replace: &debug.Module{Path: "../three", Version: "(devel)"}},
			{Path: "m/four", Version: "(devel)"},
			{Path: "m/five", Replace: &debug.Module{Path: "m/five", Version: "v5.0.0"}},
		},
		Settings: []debug.BuildSetting{{Key: "-ldflags", Value: "-X main.token=secret"}, {Key: "-tags", Value: "a"}, {Key: "GOOS", Value: "linux"}, {Key: "CGO_CFLAGS", Value: "-I/home"}, {Key: "CGO_ENABLED", Value: "0"}},
	})
	want := Program{
		Main: "example.com/a/cmd/b", Module: "example.com/a", Go: "1.26.8",
		Modules: []Module{
			{Path: "m/one", Version: "v1.0.0", Sum: "h1:1"},
			{Path: "m/fork", Version: "v1.1.0", Sum: "h1:2", Replaces: "m/two@v1.0.0"},
			{Path: "m/three", Folder: "../three"},
			{Path: "m/four"},
			{Path: "m/five", Version: "v5.0.0", Replaces: "m/five"},
		},
		Settings: []Setting{{"-tags", "a"}, {"GOOS", "linux"}, {"CGO_ENABLED", "0"}},
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
}

// Programs of systems whose executables have other forms, as this Go builds them.
func TestReadProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":       "module example.com/hello\n\ngo 1.26\n\nrequire example.com/part v1.0.0\n\nreplace example.com/part => ./part\n",
		"main.go":      "package main\n\nimport \"example.com/part\"\n\nfunc main() { part.Say() }\n",
		"part/go.mod":  "module example.com/part\n\ngo 1.26\n",
		"part/part.go": "package part\n\nfunc Say() { print() }\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	platforms := []string{"linux/amd64", "windows/amd64", "darwin/arm64"}
	if fixture.Full {
		platforms = append(platforms, "plan9/amd64")
	}
	for _, platform := range platforms {
		system, arch, _ := strings.Cut(platform, "/")
		out := filepath.Join(dir, "hello-"+system)
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, ".")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		digest := artifact.Sum([]byte(system))
		p, err := ReadProgram(out, digest)
		if err != nil {
			t.Fatal(err)
		}
		if p.Path != "hello-"+system || p.Digest != digest || p.Main != "example.com/hello" || p.Go != strings.TrimPrefix(strings.Fields(runtime.Version())[0], "go") ||
			!slices.Contains(p.Settings, Setting{"GOOS", system}) || !slices.Equal(p.Modules, []Module{{Path: "example.com/part", Folder: "./part"}}) {
			t.Errorf("%+v", p)
		}
	}
	if _, err := ReadProgram(filepath.Join(dir, "main.go"), ""); err == nil {
		t.Error("a text is taken for a program")
	}
	if _, err := ReadProgram(filepath.Join(dir, "nothing"), ""); err == nil {
		t.Error("nothing is taken for a program")
	}
}
