package verify_test

import (
	"archive/tar"
	"bytes"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// entry is a file, or a link, of an archive.
type entry struct {
	name, link string
	mode       int64
	content    []byte
}

func tarGz(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := archive.Gzip(&b)
	tw := tar.NewWriter(zw)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content))}
		switch {
		case e.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		must(t, tw.WriteHeader(h))
		_, err := tw.Write(e.content)
		must(t, err)
	}
	must(t, tw.Close())
	must(t, zw.Close())
	return b.Bytes()
}

// TestArchives looks for the program where people find it, and nowhere else.
func TestArchives(t *testing.T) {
	linux := artifact.Platform{OS: "linux", Arch: "amd64"}
	program := verifytest.Program("hello", "1.2.3", linux)
	older := verifytest.Program("hello", "1.2.2", linux)
	text := []byte("text")
	for _, tt := range []struct {
		name    string
		entries []entry
		want    string // "" if it passes
	}{
		{"at the top", []entry{{"hello", "", 0o755, program}, {"README", "", 0o644, text}}, ""},
		{"in a folder", []entry{{"hello_1.2.3/", "", 0o755, nil}, {"hello_1.2.3/README", "", 0o644, text}, {"hello_1.2.3/hello", "", 0o755, program}}, ""},
		{"in a folder of folders", []entry{{"a/b/doc/README", "", 0o644, text}, {"a/b/hello", "", 0o755, program}, {"a/b/c/d/e", "", 0o644, text}}, ""},
		{"alone in a folder", []entry{{"a/hello", "", 0o755, program}}, ""},
		{"with a completion of its name", []entry{{"hello", "", 0o755, program}, {"completions/hello", "", 0o644, text}}, ""},
		{"older", []entry{{"hello", "", 0o755, older}}, `"hello" in it is sha256:`},
		{"not executable", []entry{{"hello", "", 0o644, program}}, `"hello" in it cannot be executed`},
		{"deeper than the rest", []entry{{"README", "", 0o644, text}, {"bin/hello", "", 0o755, program}}, "it does not have hello where programs are"},
		{"under another name", []entry{{"hallo", "", 0o755, program}}, "it does not have hello where programs are"},
		{"behind a link", []entry{{"hello", "bin/real", 0o777, nil}, {"bin/real", "", 0o755, program}}, `"hello" in it is a symbolic link and not a program`},
		{"beside an older one", []entry{{"hello", "", 0o755, program}, {"bin/hello", "", 0o755, older}}, `"bin/hello" in it is sha256:`},
		{"nothing", nil, "it does not have hello where programs are"},
		{"out of the archive", []entry{{"hello", "", 0o755, program}, {"../hello", "", 0o755, program}}, "leaves its folder"},
		{"twice", []entry{{"hello", "", 0o755, program}, {"hello", "", 0o755, program}}, "twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := bare(t)
			f.files[linuxArchive] = tarGz(t, tt.entries...)
			f.seal()
			if tt.want == "" {
				f.passed(verify.Options{})
				return
			}
			f.failed(verify.Options{}, linuxArchive, tt.want)
		})
	}
}

// bare is an unsigned release of programs, archives, an image and a chart.
func bare(t *testing.T) *forgery {
	t.Helper()
	files, rel, err := verifytest.Files(verifytest.Options{Bare: true})
	must(t, err)
	return &forgery{t: t, files: files, rel: rel}
}

// add adds a file that the manifest lists as being of a kind.
func (f *forgery) add(p string, kind artifact.Kind, b []byte) {
	f.files[p] = b
	f.rel.Files = append(f.rel.Files, artifact.File{Path: p, Kind: kind})
}

// TestContents has manifests that agree with their files, of which something else is wrong.
func TestContents(t *testing.T) {
	recipe := func(f *forgery, format, ending string) *manifest.Recipe {
		i := slices.IndexFunc(f.rel.Recipes, func(r manifest.Recipe) bool { return r.Format == format && strings.HasSuffix(r.Path, ending) })
		return &f.rel.Recipes[i]
	}
	edit := func(f *forgery, p, old, new string) {
		if !bytes.Contains(f.files[p], []byte(old)) {
			f.t.Fatalf("%s has no %q", p, old)
		}
		f.files[p] = bytes.ReplaceAll(f.files[p], []byte(old), []byte(new))
	}
	const cask, formula, install = "packages/homebrew/Casks/hello.rb", "packages/homebrew/Formula/hello.rb", "packages/install.sh"
	for _, tt := range []struct {
		name       string
		plant      func(f *forgery)
		path, want string
	}{
		{"a kind that nobody knows", func(f *forgery) { f.add("docs/x", "manual", []byte("x")) }, "docs/x", "release.json does not say what it is"},
		{"an archive of nothing", func(f *forgery) { f.add("archives/x.tar.gz", artifact.Archive, f.files[linuxArchive]) }, "archives/x.tar.gz", "does not say what it is"},
		{"a recipe of nothing", func(f *forgery) { f.add("packages/x.rb", artifact.Recipe, f.files[cask]) }, "packages/x.rb", "does not say what it is"},
		{"checksums as a file", func(f *forgery) { f.add("SHA512SUMS", artifact.Checksums, []byte("x")) }, "SHA512SUMS", "does not say what it is"},
		{"an image elsewhere", func(f *forgery) { f.add("images/extra", artifact.Image, []byte("x")) }, "images/extra", "no place in the layout"},
		{"an archive for two platforms", func(f *forgery) {
			f.rel.Archives = append(f.rel.Archives, manifest.Archive{Platform: f.rel.Archives[1].Platform, Path: linuxArchive})
		}, linuxArchive, "linux/arm64: \"hello\" in it is sha256:"},
		{"an archive for a platform without a program", func(f *forgery) {
			f.rel.Archives[0].Platform = artifact.Platform{OS: "darwin", Arch: "arm64"}
		}, linuxArchive, "the release has no program for darwin/arm64"},
		{"an archive that nothing opens", func(f *forgery) {
			f.rename(linuxArchive, "archives/hello.7z")
		}, "archives/hello.7z", "want .tar.gz or .zip"},
		{"an archive that is none", func(f *forgery) { f.files[linuxArchive] = []byte("no archive") }, linuxArchive, "opening tar.gz"},
		{"a program of another toolchain", func(f *forgery) {
			f.rel.Inputs[0].Name = "golang.org/toolchain@v0.0.1-go1.26.1.linux-amd64"
		}, "binaries/hello_linux_amd64/hello", `it was compiled by "go1.26.0", and the toolchain of the release is "go1.26.1"`},
		{"no toolchain", func(f *forgery) { f.rel.Inputs = nil }, "binaries/hello_linux_amd64/hello", `the toolchain of the release is ""`},
		{"a program that is not Go", func(f *forgery) {
			f.files["binaries/hello_linux_amd64/hello"] = bytes.Repeat([]byte{0}, 200)
		}, "binaries/hello_linux_amd64/hello", "opening binary"},
		{"a program for another instruction set", func(f *forgery) {
			f.rename("binaries/hello_linux_amd64/hello", "binaries/hello_linux_amd64v3/hello")
			f.rel.Binaries[0].Platform.Variant = "v3"
		}, "binaries/hello_linux_amd64v3/hello", `it is not a program for linux/amd64/v3: its GOAMD64 is "v1", want "v3"`},
		{"a package of no format", func(f *forgery) { f.rel.Packages[0].Format = "msi" }, f0.Packages[0].Path, `packages of format "msi" are not opened`},
		{"a package of another format", func(f *forgery) { f.rel.Packages[0].Format = "rpm" }, f0.Packages[0].Path, "its architecture in release.json"},
		{"a package for a platform without one", func(f *forgery) {
			f.rel.Packages[0].Platform = artifact.Platform{OS: "windows", Arch: "amd64"}
		}, f0.Packages[0].Path, "there is no deb for windows/amd64"},
		{"a package of another name", func(f *forgery) {
			p := &f.rel.Packages[0]
			p.Name = "other"
			f.rename(p.Path, strings.Replace(p.Path, "hello", "other", 1))
		}, strings.Replace(f0.Packages[0].Path, "hello", "other", 1), `its name is "hello", want "other"`},
		{"a chart of another version", func(f *forgery) { f.rel.Charts[0].AppVersion = "1.2.4" }, "charts/hello-1.2.3.tgz", `its appVersion in release.json is "1.2.4", want "1.2.3"`},
		{"a chart of another name", func(f *forgery) {
			f.rel.Charts[0].Name = "other"
			f.rename("charts/hello-1.2.3.tgz", "charts/other-1.2.3.tgz")
		}, "charts/other-1.2.3.tgz", `its name is "hello", want "other"`},
		{"a recipe of no format", func(f *forgery) { recipe(f, "cask", "").Format = "flatpak" }, cask, `recipes of format "flatpak" are not opened`},
		{"a recipe without the version", func(f *forgery) { edit(f, cask, "1.2.3", "1.2.34") }, cask, "the version 1.2.3 is not in it"},
		{"a recipe that fetches something else", func(f *forgery) {
			edit(f, install, string(f.digest(linuxArchive).Hex()), strings.Repeat("0", 64))
		}, install, "sha256:" + strings.Repeat("0", 64) + " in it is not the digest of an archive"},
		{"a recipe that fetches less", func(f *forgery) {
			edit(f, formula, string(f.digest(linuxArchive).Hex()), f.digest("archives/hello_1.2.3_linux_arm64.tar.gz").Hex())
		}, formula, "the digest of hello_1.2.3_linux_amd64.tar.gz is not in it"},
		{"a recipe for nothing", func(f *forgery) { recipe(f, "scoop", "").Archives = nil }, "packages/scoop/hello.json", "in it is not the digest of an archive"},
		{"a recipe that fetches nothing", func(f *forgery) {
			recipe(f, "cask", "").Archives = nil
			f.files[cask] = []byte("1.2.3")
		}, cask, "it fetches no archive of the release"},
		{"a recipe that is no text", func(f *forgery) { f.files[cask] = []byte("1.2.3\x00") }, cask, "not text in UTF-8"},
		{"winget without an installer", func(f *forgery) {
			r := recipe(f, "winget", ".installer.yaml")
			f.rename(r.Path, path.Dir(r.Path)+"/Example.hello.other.yaml")
		}, "Example.hello.other.yaml", "the file should be called *.installer.yaml"},
		{"a nupkg that is no package", func(f *forgery) {
			f.files["packages/hello.1.2.3.nupkg"] = f.files["archives/hello_1.2.3_windows_amd64.zip"]
		}, "packages/hello.1.2.3.nupkg", "opening nupkg"},
		{"a bill of no format", func(f *forgery) { f.rel.SBOMs[0].Format = "swid" }, f0.SBOMs[0].Path, `bills of materials of format "swid" are not opened`},
		{"a bill of another format", func(f *forgery) { f.rel.SBOMs[0].Format = "spdx" }, f0.SBOMs[0].Path, "opening spdx"},
		{"a bill of nothing in the release", func(f *forgery) { f.rel.SBOMs[0].Subject = "notes.md" }, f0.SBOMs[0].Path, `it is of "notes.md" for linux/amd64, which is not in release.json`},
		{"empty notes", func(f *forgery) { f.files["notes.md"] = []byte(" \n") }, "notes.md", "it is empty"},
		{"notes that are no text", func(f *forgery) { f.files["notes.md"] = []byte("\xff") }, "notes.md", "not text in UTF-8"},
		{"notes larger than their bound", func(f *forgery) { f.files["notes.md"] = bytes.Repeat([]byte("x"), 5<<20) }, "notes.md", "at most 4194304 are read"},
		{"Artifact Hub is told nothing", func(f *forgery) { f.files["charts/artifacthub-repo.yml"] = []byte("ignore: []\n") }, "charts/artifacthub-repo.yml", "it says nothing to Artifact Hub"},
		{"Artifact Hub is told more", func(f *forgery) { f.files["charts/artifacthub-repo.yml"] = []byte("owner: me\n") }, "charts/artifacthub-repo.yml", "field owner not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := unsigned(t, nil)
			tt.plant(f)
			f.seal()
			f.failed(verify.Options{}, tt.path, tt.want)
		})
	}
}

// f0 is the manifest of the release that the cases change.
var f0 = func() manifest.Release {
	_, rel, err := verifytest.Files(verifytest.Options{})
	if err != nil {
		panic(err)
	}
	return rel
}()

// TestProvenance has statements about something else than the manifest says.
func TestProvenance(t *testing.T) {
	const statement = "attestations/hello_1.2.3.provenance.json"
	for _, tt := range []struct {
		name, want string
		about      func(r *manifest.Release)
	}{
		{"another commit", "its commit or its inputs are not those of release.json: source with gitCommit:0123", func(r *manifest.Release) { r.Commit = strings.Repeat("e", 40) }},
		{"another tree", "gitTree:89ab", func(r *manifest.Release) { r.Tree = strings.Repeat("e", 40) }},
		{"another repository", `it is about "https://example.com/other"`, func(r *manifest.Release) { r.Repository = "https://example.com/other" }},
		{"another tag", `at "refs/tags/v1.2.2"`, func(r *manifest.Release) { r.Tag = "v1.2.2" }},
		{"another plan", "it is about version \"1.2.3\" with the plan sha256:", func(r *manifest.Release) { r.Plan = artifact.Sum(nil) }},
		{"another toolchain", "toolchain:golang.org/toolchain@v0.0.1-go1.26.0.linux-amd64", func(r *manifest.Release) { r.Inputs[0].Name = "golang.org/toolchain@v0.0.1-go1.26.9.linux-amd64" }},
		{"an input less", "is not in it", func(r *manifest.Release) { r.Inputs = nil }},
		{"an input more", `it names "zbase:docker.io/library/alpine:3"`, func(r *manifest.Release) {
			r.Inputs = append(r.Inputs, manifest.Input{Kind: "zbase", Name: "docker.io/library/alpine:3", Digest: string(artifact.Sum(nil))})
		}},
		{"a file less", "archives/hello_1.2.3_linux_amd64.tar.gz with sha256:", func(r *manifest.Release) { r.Files = r.Files[1:] }},
		{"a file more", `"zzz" with "sha256:`, func(r *manifest.Release) {
			r.Files = append(r.Files, artifact.File{Path: "zzz", Digest: artifact.Sum(nil)})
		}},
		{"another image", "ghcr.io/example/hello:1.2.3-alpine with sha256:", func(r *manifest.Release) { r.Images[0].Digest = artifact.Sum(nil) }},
		{"no image", "ghcr.io/example/hello:1.2.3-alpine with sha256:", func(r *manifest.Release) { r.Images = nil }},
		{"no chart", "ghcr.io/example/charts/hello:1.2.3 with sha256:", func(r *manifest.Release) { r.Charts = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := unsigned(t, nil)
			other := f.rel
			other.Inputs, other.Images = slices.Clone(f.rel.Inputs), slices.Clone(f.rel.Images)
			tt.about(&other)
			b, err := verifytest.Statement(other)
			must(t, err)
			f.put(statement, b)
			f.failed(verify.Options{}, statement, tt.want)
		})
	}
	t.Run("not written as it should be", func(t *testing.T) {
		f := unsigned(t, nil)
		f.put(statement, append(f.files[statement], '\n'))
		f.failed(verify.Options{}, statement, "canonical")
	})
	t.Run("of a run", func(t *testing.T) {
		f := unsigned(t, nil)
		f.put(statement, bytes.Replace(f.files[statement], []byte("\n    }\n  }\n}\n"), []byte(",\n      \"metadata\": {\n        \"invocationId\": \"x\"\n      }\n    }\n  }\n}\n"), 1))
		f.failed(verify.Options{}, statement, "it describes one run")
	})
}

// TestNupkgArchitectures asks of a nupkg only what Chocolatey has a place for.
func TestNupkgArchitectures(t *testing.T) {
	f := unsigned(t, nil)
	arm := artifact.Platform{OS: "windows", Arch: "arm64"}
	var b bytes.Buffer
	must(t, archive.Zip(&b, []archive.File{archive.Bytes("hello.exe", f.files["binaries/hello_windows_amd64/hello.exe"]).WithExec()}, time.Unix(1<<30, 0)))
	const zip = "archives/hello_1.2.3_windows_arm64.zip"
	f.add(zip, artifact.Archive, b.Bytes())
	f.rel.Archives = append(f.rel.Archives, manifest.Archive{Platform: arm, Path: zip})
	for i, r := range f.rel.Recipes {
		if r.Format == "nupkg" || r.Format == "scoop" {
			f.rel.Recipes[i].Archives = append(slices.Clone(r.Archives), zip)
		}
	}
	f.seal()
	report := f.refused(verify.Options{})
	f.tells(report, "packages/scoop/hello.json", "the digest of hello_1.2.3_windows_arm64.zip is not in it")
	for _, r := range report.Rows {
		if strings.HasSuffix(r.Path, ".nupkg") && r.Verdict != verify.Pass {
			t.Errorf("%s: %s", r.Path, r.Detail)
		}
	}
}

func TestOccurs(t *testing.T) {
	for text, want := range map[string]bool{
		"":                        false,
		"1.2.3":                   true,
		"v1.2.3":                  true,
		"version \"1.2.3\"":       true,
		"tool_1.2.3_linux":        true,
		"tool_1.2.3.zip":          true,
		"It is 1.2.3.":            true,
		"1.2.34":                  false,
		"11.2.3":                  false,
		"0.1.2.3":                 false,
		"1.2.3-rc.1":              false,
		"1.2.3+4":                 false,
		"1.2.3.4":                 false,
		"1.2.3-rc.1 before 1.2.3": true,
		"1.2.31.2.3":              false,
	} {
		if got := verify.Occurs(text, "1.2.3"); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}
