package inspect_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/build/sbom"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/apk"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/brew"
	"github.com/slipway-build/slipway/pipeline/format/deb"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/format/nupkg"
	"github.com/slipway-build/slipway/pipeline/format/rpm"
	"github.com/slipway-build/slipway/pipeline/format/scoop"
	"github.com/slipway-build/slipway/pipeline/format/script"
	"github.com/slipway-build/slipway/pipeline/format/snap"
	"github.com/slipway-build/slipway/pipeline/format/squashfs"
	"github.com/slipway-build/slipway/pipeline/format/winget"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// release is what the pipeline's own writers are given.
func release(t testing.TB, program []byte) format.Package {
	t.Helper()
	v, err := version.Parse("1.2.3-rc.1")
	must(t, err)
	add := func(role format.Role, name string, b []byte) format.File {
		f := archive.Bytes(name, b)
		if role == format.Program {
			f = f.WithExec()
		}
		return format.File{File: f, Role: role}
	}
	return format.Package{
		Meta: format.Meta{
			Name: "hello", Version: v, Time: commitTime, Title: "Hello", Summary: "Says hello", Description: "Hello says hello.\n\nTwice.\n",
			Homepage: "https://hello.example.com", Repository: "https://git.example.com/hello", License: "MIT", Vendor: "Example",
			Maintainer: "Example <hello@example.com>",
		},
		Platform: artifact.Platform{OS: "linux", Arch: "arm64"},
		Files: []format.File{
			add(format.Program, "usr/bin/hello", program),
			add(format.License, "usr/share/doc/hello/LICENSE", []byte("free\n")),
			add(format.Document, "usr/share/doc/hello/README.md", []byte("# Hello\n")),
			add(format.Manual, "usr/share/man/man1/hello.1", []byte(".TH hello 1\n")),
			add(format.Completion, "usr/share/bash-completion/completions/hello", []byte("complete -C hello hello\n")),
			add(format.Unit, "usr/lib/systemd/system/hello.service", []byte("[Service]\nExecStart=/usr/bin/hello\n\n[Install]\nWantedBy=multi-user.target\n")),
			add(format.Config, "etc/hello.conf", []byte("a=b\n")),
			add(format.Data, "usr/share/hello/empty", nil),
		},
		Section: "utils",
		Plugs:   []string{"network"},
	}
}

type packer struct {
	name, format string
	write        func(io.Writer, format.Package) error
}

var packers = []packer{
	{"deb", inspect.Deb, deb.Write},
	{"rpm", inspect.RPM, rpm.Write},
	{"apk", inspect.APK, apk.Write},
	{"snap", inspect.Snap, func(w io.Writer, p format.Package) error { return snap.Write(w, p, snap.Options{}) }},
	{"snap by zstd", inspect.Snap, func(w io.Writer, p format.Package) error {
		return snap.Write(w, p, snap.Options{Compression: squashfs.Zstd})
	}},
}

// What the pipeline packs, this package reads: the name, the version and the architecture in the format's own words,
// and the program with its digest.
func TestPackers(t *testing.T) {
	program := []byte(pattern(700_000) + noise(300_000))
	p := release(t, program)
	formats := map[string]format.Format{inspect.Deb: format.Deb, inspect.RPM: format.RPM, inspect.APK: format.APK, inspect.Snap: format.Snap}
	for _, packer := range packers {
		t.Run(packer.name, func(t *testing.T) {
			var b bytes.Buffer
			must(t, packer.write(&b, p))
			f, err := open(t, packer.format, b.Bytes())
			must(t, err)
			format := formats[packer.format]
			want, err := format.Version(p.Version)
			must(t, err)
			arch, _ := format.Arch(p.Platform)
			got := f.Version
			if packer.format == inspect.RPM {
				got = f.Fields["rpm.Version"]
				if want != got && want == f.Version {
					got = want // with its release
				}
			}
			if f.Name != "hello" || got != want || f.Architecture != arch {
				t.Errorf("it is %s %s %s, want hello %s %s", f.Name, f.Version, f.Architecture, want, arch)
			}
			i := slices.IndexFunc(f.Entries, func(e inspect.Entry) bool { return strings.HasSuffix(e.Name, "bin/hello") && e.Type == inspect.File })
			if i < 0 || f.Entries[i].Digest != artifact.Sum(program) || f.Entries[i].Mode.Perm() != 0o755 || f.Entries[i].UID != 0 {
				t.Errorf("the program is missing or another:\n%s", dump(f))
			}
			for _, e := range f.Entries {
				if !e.ModTime.Equal(commitTime) && e.Part != "control" {
					t.Errorf("%q is of %s", e.Name, e.ModTime)
				}
			}
		})
	}
}

// The texts that name a release's downloads have their digests and their URLs.
func TestRecipes(t *testing.T) {
	p := release(t, nil)
	r := format.Recipe{Meta: p.Meta, ReleaseURL: "https://git.example.com/hello/releases/1", NotesURL: "https://git.example.com/hello/notes"}
	for _, platform := range []string{"darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64", "windows/arm64"} {
		pl, err := artifact.ParsePlatform(platform)
		must(t, err)
		ending := ".tar.gz"
		if pl.OS == "windows" {
			ending = ".zip"
		}
		name := "hello_1.2.3-rc.1_" + pl.Slug()
		r.Downloads = append(r.Downloads, format.Download{
			Platform: pl, URL: "https://git.example.com/hello/download/" + name + ending, Digest: artifact.Sum([]byte(platform)), Size: 100,
			Folder: name, Programs: []string{pl.Exe("hello")}, Files: []string{"LICENSE"},
		})
	}
	texts := map[string][]byte{}
	keep := func(name string, b []byte, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		texts[name] = b
	}
	b, err := brew.Formula(r)
	keep("formula", b, err)
	b, err = brew.Cask(r)
	keep("cask", b, err)
	b, err = scoop.Manifest(r)
	keep("scoop", b, err)
	manifests, err := winget.Manifests(r)
	must(t, err)
	for name, b := range manifests {
		if strings.Contains(name, "installer") {
			keep("winget", b, nil)
		}
	}
	b, err = script.Install(r)
	keep("script", b, err)
	systems := map[string]string{"formula": "darwin linux", "cask": "darwin linux", "scoop": "windows", "winget": "windows", "script": "darwin linux"}
	for name, want := range systems {
		text := string(texts[name])
		for _, d := range r.Downloads {
			if !strings.Contains(want, d.Platform.OS) {
				continue
			}
			if !strings.Contains(strings.ToLower(text), d.Digest.Hex()) {
				t.Errorf("%s: the digest of %s was not found in\n%s", name, d.Platform, text)
			}
			// A formula writes the version into its URLs as a variable, a script the base.
			if base := d.URL[:strings.LastIndex(d.URL, "/")]; !strings.Contains(text, base) {
				t.Errorf("%s: the URL of %s was not found in\n%s", name, d.Platform, text)
			}
		}
	}

	var out bytes.Buffer
	r.LicenseText = []byte("free\n")
	must(t, nupkg.Write(&out, r))
	f, err := open(t, inspect.Nupkg, out.Bytes())
	must(t, err)
	want, err := format.Nupkg.Version(r.Version)
	must(t, err)
	if f.Name != "hello" || f.Version != want {
		t.Errorf("the nupkg is %s %s, want hello %s", f.Name, f.Version, want)
	}
}

func TestBillsOfMaterials(t *testing.T) {
	d := sbom.Document{
		Project: sbom.Project{Name: "hello", Version: "1.2.3", Vendor: "Example", License: "MIT", Repository: "https://git.example.com/hello", Commit: strings.Repeat("a", 40), Time: commitTime, Tool: "slipway 0.0.0"},
		Subject: sbom.Subject{Kind: artifact.Archive, Name: "hello_1.2.3_linux_amd64.tar.gz", Platform: artifact.Platform{OS: "linux", Arch: "amd64"}, Digest: artifact.Sum([]byte("archive"))},
		Programs: []sbom.Program{{
			Path: "hello", Digest: artifact.Sum([]byte("hello")), Main: "example.com/hello", Module: "example.com/hello", Go: "1.26.8",
			Modules: []sbom.Module{{Path: "example.com/a", Version: "v1.0.0"}, {Path: "example.com/b", Version: "v1.0.0"}},
		}},
		Files: []sbom.File{sbom.NewFile("LICENSE", []byte("free\n"))},
	}
	for format, write := range map[string]func(sbom.Document) ([]byte, error){inspect.CycloneDX: sbom.CycloneDX, inspect.SPDX: sbom.SPDX} {
		b, err := write(d)
		must(t, err)
		f, err := open(t, format, b)
		must(t, err)
		t.Logf("%s", dump(f))
		if f.Name != d.Subject.Name || f.Version != "1.2.3" || f.Fields[format+".digest"] != string(d.Subject.Digest) || f.Fields[format+".components"] == "0" {
			t.Errorf("%s: %s", format, dump(f))
		}
	}
}

// program is 10 MB that compress like a Go program: this test, repeated where it is smaller.
func program(t testing.TB) []byte {
	self, err := os.Executable()
	must(t, err)
	b, err := os.ReadFile(self)
	must(t, err)
	for len(b) < 10<<20 {
		b = append(b, b...)
	}
	return b[:10<<20]
}

// How long it takes to open a package with a program of 10 MB.
func TestTime(t *testing.T) {
	if testing.Short() {
		t.Skip("packs 10 MB ten times")
	}
	p := release(t, program(t))
	all := append(packers[:len(packers):len(packers)], []packer{
		{"tar.gz", inspect.TarGz, func(w io.Writer, p format.Package) error {
			return archive.TarGz(w, []archive.File{p.Files[0].File}, commitTime)
		}},
		{"zip", inspect.Zip, func(w io.Writer, p format.Package) error {
			return archive.Zip(w, []archive.File{p.Files[0].File}, commitTime)
		}},
	}...)
	for _, packer := range all {
		name := filepath.Join(t.TempDir(), "file")
		out, err := os.Create(name)
		must(t, err)
		start := time.Now()
		must(t, packer.write(out, p))
		packed := time.Since(start)
		size, err := out.Seek(0, io.SeekEnd)
		must(t, err)
		best := time.Hour
		var used int64
		times := 1
		if fixture.Full {
			times = 3
		}
		for range times {
			used = peak(func() {
				start = time.Now()
				_, err = inspect.Open(t.Context(), packer.format, out, size, inspect.Options{})
				best = min(best, time.Since(start))
			})
			must(t, err)
		}
		must(t, out.Close())
		t.Logf("%-12s %6d KB: packed in %v, opened in %v with %d KB allocated", packer.name, size>>10, packed.Round(time.Millisecond), best.Round(time.Millisecond), used>>10)
		if used > 100<<20 {
			t.Errorf("%s: %d bytes were allocated", packer.name, used)
		}
	}
}
