package format_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/compare"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/format/writers"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// A format that is in All is in every table of functions that it needs, and what is written under its name is read under
// its name.
func TestTables(t *testing.T) {
	for i, f := range format.All {
		t.Run(f.Name, func(t *testing.T) {
			if found, ok := format.Find(f.Name); !ok || found.Name != f.Name || slices.Index(format.Where(nil), f.Name) != i {
				t.Fatal("it is not found by its name, or has that of another")
			}
			if f.Ending == "" || f.Arch == nil || f.Version == nil || f.Path == nil {
				t.Fatal("it lacks its ending, its platforms, its versions or its path")
			}
			if f.Carries && (f.Folder || f.Inner != nil || f.Choose != nil || f.Offered) || !f.Carries && (f.Relation != nil || f.Revision != "" || f.Zsh != "") {
				t.Error("it has what only a recipe or only a package has")
			}
			if i > 0 && f.Carries && !format.All[i-1].Carries {
				t.Error("it stands behind a recipe; what carries its files comes first")
			}
			if f.Carries {
				checkCarrier(t, f)
			} else {
				checkRecipe(t, f)
			}
		})
	}
}

func TestOffered(t *testing.T) {
	rel := manifest.Release{
		Packages: []manifest.Package{{Format: "deb", Path: "packages/a.deb"}, {Format: "snap", Path: "packages/a.snap"}},
		Recipes:  []manifest.Recipe{{Format: "unknown", Path: "packages/unknown"}},
	}
	for _, f := range []string{"nupkg", "formula", "cask", "scoop", "winget", "script"} {
		rel.Recipes = append(rel.Recipes, manifest.Recipe{Format: f, Path: "packages/" + f})
	}
	for file, want := range map[artifact.File]bool{
		{Path: "a.tar.gz", Kind: artifact.Archive}:          true,
		{Path: "packages/a.deb", Kind: artifact.Package}:    true,
		{Path: "packages/nupkg", Kind: artifact.Recipe}:     true,
		{Path: "packages/script", Kind: artifact.Recipe}:    true,
		{Path: "packages/formula", Kind: artifact.Recipe}:   false,
		{Path: "packages/winget", Kind: artifact.Recipe}:    false,
		{Path: "packages/unknown", Kind: artifact.Recipe}:   false,
		{Path: "charts/other.yml", Kind: artifact.Recipe}:   false,
		{Path: "binaries/a_linux/a", Kind: artifact.Binary}: false,
	} {
		if got := format.Offered(rel, file); got != want {
			t.Errorf("%s is offered: %t, want %t", file.Path, got, want)
		}
	}
	for key, want := range map[string]string{"snap": "snap", "homebrew": "formula cask", "scoop": "scoop", "winget": "winget", "chocolatey": "nupkg", "folder": ""} {
		var got []string
		packages, recipes := format.Going(rel, key)
		for _, p := range packages {
			got = append(got, p.Format)
		}
		for _, r := range recipes {
			got = append(got, r.Format)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q goes to %s, want %s", got, key, want)
		}
	}
}

var about = format.Meta{
	Name: "tool", Time: time.Unix(1700000000, 0).UTC(), Title: "Tool", Summary: "Does things", Description: "It does things.",
	Homepage: "https://example.com", Repository: "https://example.com/tool", License: "MIT", Vendor: "Example", Maintainer: "Example <mail@example.com>",
}

func names(t *testing.T, f format.Format, arch string) (format.Names, format.Meta) {
	t.Helper()
	meta := about
	meta.Version = parse(t, "1.2.3")
	v, err := f.Version(meta.Version)
	if err != nil {
		t.Fatal(err)
	}
	name := f.NameOf(format.Facts{Name: meta.Name, Vendor: meta.Vendor, Title: meta.Title})
	return format.Names{Project: meta.Name, Name: name, Version: v, Arch: arch}, meta
}

func checkCarrier(t *testing.T, f format.Format) {
	linux := artifact.Platform{OS: "linux", Arch: "amd64"}
	arch, ok := f.Arch(linux)
	if !ok {
		t.Fatalf("it has no name for %s, for which every package is made here", linux)
	}
	n, meta := names(t, f, arch)
	var b bytes.Buffer
	err := writers.Package(&b, f.Name, format.Package{Meta: meta, Platform: linux, Section: "utils", Files: []format.File{
		{File: archive.Bytes("usr/bin/tool", []byte("\x7fELF")).WithExec(), Role: format.Program},
		{File: archive.Bytes("usr/share/doc/tool/LICENSE", []byte("MIT")), Role: format.License},
	}})
	if err != nil {
		t.Fatalf("format/writers: %v", err)
	}
	facts := read(t, f, b.Bytes())
	v := n.Version
	if f.Revision != "" {
		v += "-" + f.Revision
	}
	if facts.Name != n.Name || facts.Version != v || facts.Architecture != arch {
		t.Errorf("what is written is %s %s %s, want %s %s %s", facts.Name, facts.Version, facts.Architecture, n.Name, v, arch)
	}
	if !slices.ContainsFunc(facts.Entries, func(e inspect.Entry) bool { return e.Name == "usr/bin/tool" && e.Mode&0o111 != 0 }) {
		t.Error("the program is not in what is written")
	}
	if got := compare.FormatOf(f.Path(n)); got != f.Name {
		t.Errorf("%s is compared as %q", f.Path(n), got)
	}
}

func checkRecipe(t *testing.T, f format.Format) {
	n, meta := names(t, f, "")
	r := format.Recipe{Meta: meta, ID: n.Name, Test: []string{"--version"}, LicenseText: []byte("MIT")}
	var fetched []artifact.Digest
	for _, p := range []artifact.Platform{{OS: "darwin", Arch: "arm64"}, {OS: "linux", Arch: "amd64"}, {OS: "windows", Arch: "amd64"}} {
		ending := ".tar.gz"
		if p.OS == "windows" {
			ending = ".zip"
		}
		d := format.Download{
			Platform: p, URL: "https://example.com/tool_" + p.Slug() + ending, Digest: artifact.Sum([]byte(p.String())), Size: 1, Programs: []string{p.Exe("tool")},
		}
		r.Downloads = append(r.Downloads, d)
		if f.Suits(p) {
			fetched = append(fetched, d.Digest)
		}
	}
	if len(fetched) == 0 {
		t.Fatal("it suits none of the usual platforms")
	}
	files, err := writers.Recipe(f.Name, f.Path(n), r)
	if err != nil {
		t.Fatalf("format/writers: %v", err)
	}
	var opened []string
	for name, content := range files {
		if !bytes.HasSuffix([]byte(name), []byte(f.Ending)) {
			continue
		}
		opened = append(opened, name)
		if f.Inner != nil {
			if facts := read(t, f, content); facts.Name != n.Name || facts.Version != n.Version {
				t.Errorf("what is written is %s %s, want %s %s", facts.Name, facts.Version, n.Name, n.Version)
			}
		}
		for _, d := range fetched {
			if f.Inner == nil && !bytes.Contains(bytes.ToLower(content), []byte(d.Hex())) {
				t.Errorf("%s is not in %s", d, name)
			}
		}
		if got := compare.FormatOf(name); got == "" {
			t.Errorf("%s is compared as nothing that is known", name)
		}
	}
	if len(opened) != 1 || !f.Folder && opened[0] != f.Path(n) {
		t.Errorf("it is verified by %q, want one file with the ending %s", opened, f.Ending)
	}
}

func read(t *testing.T, f format.Format, b []byte) inspect.Facts {
	t.Helper()
	facts, err := inspect.Open(t.Context(), f.Name, bytes.NewReader(b), int64(len(b)), inspect.Options{})
	if err != nil {
		t.Fatalf("format/inspect: %v", err)
	}
	return facts
}
