package scoop_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/scoop"
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
			Title: "The Tool", Summary: "Does one thing <well> & quickly", Description: "Text.",
			Homepage: "https://tool.example.org/", Repository: "https://github.com/acme/tool.git",
			License: "MIT OR Apache-2.0", Vendor: "Acme",
		},
	}
	for _, arch := range []string{"386", "amd64", "arm64"} {
		name := "tool_" + number + "_windows_" + arch
		r.Downloads = append(r.Downloads, format.Download{
			Platform: artifact.Platform{OS: "windows", Arch: arch},
			URL:      "https://github.com/acme/tool/releases/download/v" + number + "/" + name + ".zip",
			Digest:   artifact.Sum([]byte(arch)), Folder: name, Programs: []string{"tool.exe"},
		})
	}
	return r
}

func manifest(t testing.TB, r format.Recipe) []byte {
	t.Helper()
	b, err := scoop.Manifest(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	small := recipe(t, "0.1.0-rc.1")
	small.Downloads = small.Downloads[1:2]
	small.Downloads[0].URL, small.Downloads[0].Folder = "https://example.org/latest.zip", ""
	small.Downloads[0].Programs = []string{"bin/tool.exe", "bin/helper.exe"}
	small.License, small.Homepage, small.Repository = "", "", "https://git.example.org/acme/tool"
	mixed := recipe(t, "1.2.3")
	mixed.Downloads[2].Programs = []string{"tool.exe", "tool-arm.exe"}
	for name, b := range map[string][]byte{
		"full":  manifest(t, recipe(t, "1.2.3")),
		"small": manifest(t, small),
		"mixed": manifest(t, mixed),
	} {
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, want) {
			t.Errorf("%s changed; with -update, if that is meant:\n got %s\nwant %s", name, b, want)
		}
	}
}

func TestIndependence(t *testing.T) {
	want := manifest(t, recipe(t, "1.2.3"))
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	time.Local = time.FixedZone("Kiritimati", 14*3600)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r := recipe(t, "1.2.3")
	r.Time = r.Time.Local()
	slices.Reverse(r.Downloads)
	if !bytes.Equal(manifest(t, r), want) {
		t.Error("another zone, one CPU and another order of downloads give another manifest")
	}
}

// arch is what a manifest says of an architecture.
type arch struct {
	URL        string          `json:"url"`
	Hash       string          `json:"hash"`
	ExtractDir string          `json:"extract_dir"`
	Bin        json.RawMessage `json:"bin"`
}

type read struct {
	Version      string
	Description  string
	Homepage     string
	License      any
	Notes        []string
	Architecture map[string]arch
	Bin          any
	Checkver     struct{ GitHub string }
	Autoupdate   struct{ Architecture map[string]arch }
}

func unmarshal(t testing.TB, b []byte) read {
	t.Helper()
	var m read
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("more than one value: %s", b)
	}
	return m
}

// With another version for $version, autoupdate says what the manifest of that version says.
func TestAutoupdate(t *testing.T) {
	for _, number := range []string{"1.2.3", "1.2.3-rc.1", "1.2.3+meta"} {
		old, next := unmarshal(t, manifest(t, recipe(t, number))), unmarshal(t, manifest(t, recipe(t, "7.8.9")))
		if len(old.Autoupdate.Architecture) != 3 {
			t.Fatalf("%s: autoupdate is %+v", number, old.Autoupdate)
		}
		for name, a := range old.Autoupdate.Architecture {
			if got := strings.ReplaceAll(a.URL, "$version", "7.8.9"); got != next.Architecture[name].URL {
				t.Errorf("%s is updated to %s, want %s", name, got, next.Architecture[name].URL)
			}
			if got := strings.ReplaceAll(a.ExtractDir, "$version", "7.8.9"); got != next.Architecture[name].ExtractDir {
				t.Errorf("%s is updated to %s, want %s", name, got, next.Architecture[name].ExtractDir)
			}
		}
	}
	for url, want := range map[string]string{
		"https://1.2.3.example.org/v1.2.3/tool-1.2.3.zip": "https://1.2.3.example.org/v$version/tool-$version.zip",
		"https://example.org/1.2.30/tool-1.2.3.zip":       "https://example.org/1.2.30/tool-$version.zip",
		"https://example.org/11.2.3/1.2.3/t.zip":          "https://example.org/11.2.3/$version/t.zip",
		"https://example.org/1.2.3.4/1.2.3/t.zip":         "https://example.org/1.2.3.4/$version/t.zip",
		"https://example.org/0.1.2.3/1.2.3/t.zip":         "https://example.org/0.1.2.3/$version/t.zip",
		"https://example.org/11.2.3/t.zip":                "",
		"https://1.2.3.example.org/t.zip":                 "",
	} {
		r := recipe(t, "1.2.3")
		r.Downloads = r.Downloads[:1]
		r.Downloads[0].URL = url
		if got := unmarshal(t, manifest(t, r)).Autoupdate.Architecture["32bit"].URL; got != want {
			t.Errorf("%s is updated as %q, want %q", url, got, want)
		}
	}
	r := recipe(t, "1.2.3")
	r.Downloads[1].URL = "https://example.org/latest.zip"
	if m := unmarshal(t, manifest(t, r)); m.Autoupdate.Architecture != nil {
		t.Errorf("one URL has no version and autoupdate is %+v", m.Autoupdate)
	}
}

func TestFields(t *testing.T) {
	for in, want := range map[string]string{
		"": "Unknown", "MIT": "MIT", "MIT OR Apache-2.0": "MIT|Apache-2.0", "MIT AND BSD-3-Clause AND ISC": "MIT,BSD-3-Clause,ISC",
		"(MIT OR ISC) AND 0BSD": "(MIT OR ISC) AND 0BSD", "MIT OR ISC AND 0BSD": "MIT OR ISC AND 0BSD",
		"GPL-2.0-only WITH Classpath-exception-2.0": "GPL-2.0-only WITH Classpath-exception-2.0",
	} {
		r := recipe(t, "1.2.3")
		r.License = in
		if got := unmarshal(t, manifest(t, r)).License; got != want {
			t.Errorf("license %q is %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"https://github.com/acme/tool": "https://github.com/acme/tool", "https://github.com/acme/tool.git": "https://github.com/acme/tool",
		"https://github.com/acme/tool/": "https://github.com/acme/tool", "https://github.com/acme": "", "https://gitlab.com/acme/tool": "",
		"https://github.com.example.org/acme/tool": "", "": "", "https://github.com/acme/tool/tree/main": "",
	} {
		r := recipe(t, "1.2.3")
		r.Repository = in
		if got := unmarshal(t, manifest(t, r)).Checkver.GitHub; got != want {
			t.Errorf("releases of %q are looked for at %q, want %q", in, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for want, change := range map[string]func(*format.Recipe){
		"making the Scoop manifest: the release has no zip for Windows that the package could fetch": func(r *format.Recipe) { r.Downloads = nil },
		"making the Scoop manifest: version is not set":                                              func(r *format.Recipe) { r.Version = version.Version{} },
		"making the Scoop manifest: no home page, which Scoop requires; set the homepage or the repository": func(r *format.Recipe) {
			r.Homepage, r.Repository = "", ""
		},
		`making the Scoop manifest: URL "file:///etc" is not http(s)://host/path`:                                                           func(r *format.Recipe) { r.Homepage = "file:///etc" },
		`making the Scoop manifest: download for windows/386: "https://example.org/$version.zip" has a $, which begins a variable of Scoop`: func(r *format.Recipe) { r.Downloads[0].URL = "https://example.org/$version.zip" },
		`making the Scoop manifest: download for windows/386: "$dir" has a $, which begins a variable of Scoop`:                             func(r *format.Recipe) { r.Downloads[0].Folder = "$dir" },
	} {
		r := recipe(t, "1.2.3")
		change(&r)
		b, err := scoop.Manifest(r)
		if err == nil || err.Error() != want || b != nil {
			t.Errorf("%v beside %d bytes\nwant %s", err, len(b), want)
		}
		if none := strings.Contains(want, "no zip"); errors.Is(err, format.ErrNoWindows) != none {
			t.Errorf("%v is format.ErrNoWindows: %t", err, !none)
		}
	}
	if _, err := scoop.Manifest(format.Recipe{}); err == nil {
		t.Error("an empty recipe makes a manifest")
	}
}

func FuzzManifest(f *testing.F) {
	for _, s := range []string{
		"'; Remove-Item -Recurse C:\\ #", "$(whoami) $version ${x}", "\"}, \"pre_install\": \"x\", \"a\": {\"", "</script>", "\\", "\\u0022", "a\r\nb\u2028c",
		"\x00\x1b[31m", "\ufeff\uffff", "\xff\xfe", "日本語 😀", strings.Repeat("long ", 5000),
	} {
		f.Add(s, "https://example.org/1.2.3/it's$(x);@.zip", "dir")
		f.Add("a", "https://example.org/1.2.3.zip", s)
	}
	f.Fuzz(func(t *testing.T, s, url, path string) {
		r := recipe(t, "1.2.3")
		r.Title, r.Summary, r.Description, r.License, r.Vendor = s, s, s, s, s
		r.Downloads[0].URL, r.Downloads[0].Folder = url, path
		r.Downloads[1].Programs = []string{path}
		b, err := scoop.Manifest(r)
		if err != nil {
			return
		}
		m := unmarshal(t, b)
		if d := format.Line(s); d != "" && m.Description != d {
			t.Errorf("the description is %q, want %q", m.Description, d)
		}
		// Where the first URL is no zip there is no 32bit.
		if a, ok := m.Architecture["32bit"]; ok && (a.URL != url || a.ExtractDir != strings.ReplaceAll(path, "/", `\`)) {
			t.Errorf("32bit is %+v, want %q in %q", a, url, path)
		}
		var bin string
		if err := json.Unmarshal(m.Architecture["64bit"].Bin, &bin); path != "tool.exe" && (err != nil || bin != strings.ReplaceAll(path, "/", `\`)) {
			t.Errorf("the program is %q, %v, want %q", bin, err, path)
		}
		if !bytes.HasSuffix(b, []byte("\n}\n")) || bytes.Contains(b, []byte("\r")) {
			t.Error("the line ends are not LF")
		}
	})
}
