package winget_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/winget"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func recipe(t testing.TB, number string) format.Recipe {
	t.Helper()
	v, err := version.Parse(number)
	if err != nil {
		t.Fatal(err)
	}
	r := format.Recipe{
		Meta: format.Meta{
			Name: "tool", Version: v, Time: time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC),
			Title: "The Tool", Summary: "Does one thing: well", Description: "The tool does one thing.\n\n- It does it \"well\".\n- It's quick, too.",
			Homepage: "https://tool.example.org/", Repository: "https://github.com/acme/tool",
			License: "MIT OR Apache-2.0", Vendor: "Acme & Söhne",
		},
		ReleaseURL: "https://github.com/acme/tool/releases/tag/v" + number,
		ID:         "Acme.Tool", IssuesURL: "https://github.com/acme/tool/issues", LicenseURL: "https://github.com/acme/tool/blob/main/LICENSE",
		Tags: []string{"CLI", "release engineering", "cli", "yes", "1.10"}, Changes: "# New\r\n\r\n- everything\r\n",
	}
	for _, arch := range []string{"386", "amd64", "arm64"} {
		name := "tool_" + number + "_windows_" + arch
		r.Downloads = append(r.Downloads, format.Download{
			Platform: artifact.Platform{OS: "windows", Arch: arch},
			URL:      "https://github.com/acme/tool/releases/download/v" + number + "/" + name + ".zip",
			Digest:   artifact.Sum([]byte(arch)), Folder: name, Programs: []string{"tool.exe", "bin/helper.exe"},
		})
	}
	return r
}

func manifests(t testing.TB, r format.Recipe) map[string][]byte {
	t.Helper()
	m, err := winget.Manifests(r)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func list(m map[string][]byte) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		b.WriteString("-- " + name + " --\n")
		b.Write(m[name])
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	small := recipe(t, "0.1.0-rc.1+build.7")
	small.Meta = format.Meta{Name: "tool", Version: small.Version, Time: small.Time, Summary: "A tool", Description: "A tool", Vendor: "Acme"}
	small.ReleaseURL, small.ID, small.IssuesURL, small.LicenseURL, small.Tags, small.Changes = "", "", "", "", nil, ""
	small.Downloads = small.Downloads[1:2]
	small.Downloads[0].Folder, small.Downloads[0].Programs = "", []string{"tool.exe"}
	for name, got := range map[string]string{
		"full":  list(manifests(t, recipe(t, "1.2.3"))),
		"small": list(manifests(t, small)),
	} {
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s changed; with -update, if that is meant:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestIndependence(t *testing.T) {
	want := list(manifests(t, recipe(t, "1.2.3")))
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	time.Local = time.FixedZone("Kiritimati", 14*3600)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r := recipe(t, "1.2.3")
	r.Time = r.Time.Local()
	slices.Reverse(r.Downloads)
	if got := list(manifests(t, r)); got != want {
		t.Errorf("another zone, one CPU and another order of downloads give\n%s", got)
	}
}

func TestPaths(t *testing.T) {
	for id, want := range map[string]string{
		"":               "manifests/a/AcmeShne/tool/1.2.3/AcmeShne.tool",
		"Acme.Tool":      "manifests/a/Acme/Tool/1.2.3/Acme.Tool",
		"Acme.Tool.Core": "manifests/a/Acme/Tool/Core/1.2.3/Acme.Tool.Core",
		"7zip.7-zip":     "manifests/7/7zip/7-zip/1.2.3/7zip.7-zip",
	} {
		r := recipe(t, "1.2.3")
		r.ID = id
		got := slices.Sorted(maps.Keys(manifests(t, r)))
		if !slices.Equal(got, []string{want + ".installer.yaml", want + ".locale.en-US.yaml", want + ".yaml"}) {
			t.Errorf("%q has the files %q", id, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	for want, change := range map[string]func(*format.Recipe){
		"making the winget manifests: the release has no zip for Windows that the package could fetch": func(r *format.Recipe) { r.Downloads = nil },
		"making the winget manifests: version is not set":                                              func(r *format.Recipe) { r.Version = version.Version{} },
		"making the winget manifests: time 0001-01-01T00:00:00Z is not a release date":                 func(r *format.Recipe) { r.Time = time.Time{} },
		`making the winget manifests: identifier "Acme" is not <Publisher>.<Package> of up to 32 characters each; set the identifier`: func(r *format.Recipe) {
			r.ID = "Acme"
		},
		`making the winget manifests: identifier "a/../../b.c" is not <Publisher>.<Package> of up to 32 characters each; set the identifier`: func(r *format.Recipe) { r.ID = "a/../../b.c" },
		`making the winget manifests: identifier ".tool" is not <Publisher>.<Package> of up to 32 characters each; set the identifier`:       func(r *format.Recipe) { r.ID, r.Vendor = "", "日本" },
		`making the winget manifests: identifier "con.tool": path "manifests/c/con/tool/1.2.3/con.tool.yaml": "con" is a device on Windows; choose another name`: func(r *format.Recipe) {
			r.ID = "con.tool"
		},
		`making the winget manifests: download for windows/386: program "tool" does not end in .exe, as winget requires`: func(r *format.Recipe) { r.Downloads[0].Programs = []string{"tool"} },
		`making the winget manifests: download for windows/386: two programs are called "Tool"`: func(r *format.Recipe) {
			r.Downloads[0].Programs = []string{"a/tool.exe", "b/Tool.exe"}
		},
		`making the winget manifests: download for windows/386: a command of winget has 1 to 40 characters, "` + strings.Repeat("a", 41) + `" has 41`: func(r *format.Recipe) {
			r.Downloads[0].Programs = []string{strings.Repeat("a", 41) + ".exe"}
		},
		`making the winget manifests: publisher "" is shorter than the 2 characters that winget requires`: func(r *format.Recipe) { r.Vendor = "" },
		`making the winget manifests: short description "ok" is shorter than the 3 characters that winget requires`: func(r *format.Recipe) {
			r.Summary = "ok"
		},
		`making the winget manifests: URL "ftp://x/" is not http(s)://host/path`: func(r *format.Recipe) { r.IssuesURL = "ftp://x/" },
	} {
		r := recipe(t, "1.2.3")
		change(&r)
		m, err := winget.Manifests(r)
		if err == nil || err.Error() != want || m != nil {
			t.Errorf("%v beside %d files\nwant %s", err, len(m), want)
		}
		if none := strings.Contains(want, "no zip"); errors.Is(err, format.ErrNoWindows) != none {
			t.Errorf("%v is format.ErrNoWindows: %t", err, !none)
		}
	}
	if _, err := winget.Manifests(format.Recipe{}); err == nil {
		t.Error("an empty recipe makes manifests")
	}
}

// read reads a manifest in the strictest way: one document, its keys known, every scalar a string.
func read(t testing.TB, b []byte) map[string]any {
	t.Helper()
	if bytes.ContainsRune(b, '\r') || !bytes.HasSuffix(b, []byte("\n")) {
		t.Errorf("the line ends are not LF: %q", b)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var n yaml.Node
	if err := dec.Decode(&n); err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	var strict func(*yaml.Node)
	strict = func(n *yaml.Node) {
		if n.Anchor != "" || n.Alias != nil || n.Kind == yaml.ScalarNode && n.ShortTag() != "!!str" {
			t.Errorf("%q in line %d is no string", n.Value, n.Line)
		}
		for _, c := range n.Content {
			strict(c)
		}
	}
	strict(&n)
	var m map[string]any
	if err := n.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if err := dec.Decode(&n); !errors.Is(err, io.EOF) {
		t.Errorf("more than one document: %v", err)
	}
	return m
}

var (
	localeKeys = strings.Fields("PackageIdentifier PackageVersion PackageLocale Publisher PublisherSupportUrl PackageName PackageUrl " +
		"License LicenseUrl ShortDescription Description Moniker Tags ReleaseNotes ReleaseNotesUrl ManifestType ManifestVersion")
	installerKeys = strings.Fields("PackageIdentifier PackageVersion InstallerType NestedInstallerType Commands ReleaseDate Installers ManifestType ManifestVersion")
	versionKeys   = strings.Fields("PackageIdentifier PackageVersion DefaultLocale ManifestType ManifestVersion")
)

// check reads the manifests back and finds every text in its place.
func check(t testing.TB, r format.Recipe, files map[string][]byte) {
	t.Helper()
	if len(files) != 3 {
		t.Fatalf("%d files", len(files))
	}
	number, _, _ := strings.Cut(r.Version.String(), "+")
	for name, b := range files {
		if err := artifact.CheckPath(name); err != nil {
			t.Error(err)
		}
		m := read(t, b)
		keys, kind := versionKeys, "version"
		switch {
		case strings.HasSuffix(name, ".installer.yaml"):
			keys, kind = installerKeys, "installer"
		case strings.HasSuffix(name, ".locale.en-US.yaml"):
			keys, kind = localeKeys, "defaultLocale"
		}
		for key := range m {
			if !slices.Contains(keys, key) {
				t.Errorf("%s has the key %q", name, key)
			}
		}
		if m["PackageVersion"] != number || m["ManifestVersion"] != "1.10.0" || m["ManifestType"] != kind {
			t.Errorf("%s is %v", name, m)
		}
		if !bytes.HasPrefix(b, []byte("# yaml-language-server: $schema=https://aka.ms/winget-manifest."+kind+".1.10.0.schema.json\n\n")) {
			t.Errorf("%s begins with %.100q", name, b)
		}
		switch kind {
		case "installer":
			checkInstallers(t, r, m)
		case "defaultLocale":
			for key, want := range map[string]struct {
				text string
				max  int
			}{
				"Publisher": {format.Line(r.Vendor), 256}, "PackageName": {format.Line(r.Title), 256}, "License": {format.Line(r.License), 512},
				"ShortDescription": {format.Line(r.Summary), 256}, "Description": {strings.TrimSpace(format.Plain(r.Description)), 10000},
				"ReleaseNotes": {strings.TrimSpace(format.Plain(r.Changes)), 10000},
				"PackageUrl":   {r.Homepage, 2048}, "ReleaseNotesUrl": {r.ReleaseURL, 2048},
			} {
				got, there := m[key].(string)
				if !there && (len([]rune(want.text)) < 3 || key == "Description" && m["ShortDescription"] == want.text) || want.text == "" {
					continue
				}
				head, cut := strings.CutSuffix(got, "…")
				if got != want.text && (!cut || !strings.HasPrefix(want.text, head)) || len(utf16.Encode([]rune(got))) > want.max {
					t.Errorf("%s is %q, want %q", key, got, want.text)
				}
			}
		}
	}
}

func checkInstallers(t testing.TB, r format.Recipe, m map[string]any) {
	t.Helper()
	windows, err := format.Windows(r)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := m["Installers"].([]any)
	if len(all) != len(windows) || m["InstallerType"] != "zip" || m["NestedInstallerType"] != "portable" || m["ReleaseDate"] != r.Time.UTC().Format(time.DateOnly) {
		t.Fatalf("the installers are %v", m)
	}
	for i, d := range windows {
		in, _ := all[i].(map[string]any)
		if in["Architecture"] != map[string]string{"386": "x86", "amd64": "x64", "arm64": "arm64"}[d.Platform.Arch] || in["InstallerUrl"] != d.URL || in["InstallerSha256"] != strings.ToUpper(d.Digest.Hex()) || len(in) != 4 {
			t.Errorf("the installer of %s is %v", d.Platform, in)
		}
		nested, _ := in["NestedInstallerFiles"].([]any)
		if len(nested) != len(d.Programs) {
			t.Fatalf("%s has the files %v", d.Platform, nested)
		}
		for j, p := range d.Programs {
			file, _ := nested[j].(map[string]any)
			want := strings.ReplaceAll(p, "/", `\`)
			if d.Folder != "" {
				want = strings.ReplaceAll(d.Folder, "/", `\`) + `\` + want
			}
			base := p[strings.LastIndexByte(p, '/')+1:]
			if file["RelativeFilePath"] != want || file["PortableCommandAlias"] != base[:len(base)-len(".exe")] || len(file) != 2 {
				t.Errorf("%s of %s is %v, want %s", p, d.Platform, file, want)
			}
		}
	}
}

func TestReadBack(t *testing.T) {
	check(t, recipe(t, "1.2.3"), manifests(t, recipe(t, "1.2.3")))
	r := recipe(t, "1.2.3+build")
	r.Description = strings.Repeat("word ", 5000)
	r.Summary = strings.Repeat("😀", 300)
	check(t, r, manifests(t, r))
}

func FuzzManifests(f *testing.F) {
	for _, s := range []string{
		"a: b", "- a", "# a", "a #b", "&a *b", "!!int 1", "%TAG", "---\nx", "...\nx", "? a\n: b", "{a: b}", "[a]", "'a'", "\"a\\x\"", "`a`", "@a", "| a", "> a", "|+\n  a",
		"yes no on off", "yes", "null", "~", "0x1F", "1_000", "1.10", "1e3", "2024-02-29", "12:30:45", "=", "<<", ".inf",
		"$(whoami) '; x", "a\n  b\n c", " a\n\n\n b ", "a \nb\t\n", "\ta", "a\r\nb\rc\u0085d\u2028e\u2029f", "\x00\x1b[31m\x7f\u009b", "\ufeff\uffff\U0001fffe", "\xff\xfe", "日本語 😀 \u202e", "\u00a0\u3000a\u200b",
		strings.Repeat("long text ", 2000), strings.Repeat("é", 12000), "#\n#", "a\n# b", "a:\n- b\n",
	} {
		f.Add(s, "https://example.org/1.2.3/it's$(x);@#.zip", "dir", "tool.exe")
		f.Add("abc", "https://example.org/1.2.3.zip", s, s+".exe")
	}
	f.Fuzz(func(t *testing.T, s, url, dir, program string) {
		r := recipe(t, "1.2.3")
		r.Title, r.Summary, r.Description, r.License, r.Vendor = s, s, s, s, s
		r.Changes, r.Tags = s, []string{s, dir}
		r.Downloads[0].URL, r.Downloads[0].Folder = url, dir
		r.Downloads[1].Programs = []string{program}
		files, err := winget.Manifests(r)
		if err != nil {
			return
		}
		check(t, r, files)
	})
}
