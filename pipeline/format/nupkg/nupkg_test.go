package nupkg_test

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/nupkg"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// recipe is a release of a tool for three architectures.
func recipe(t testing.TB) format.Recipe {
	t.Helper()
	v, err := version.Parse("1.2.3-rc.1")
	if err != nil {
		t.Fatal(err)
	}
	r := format.Recipe{
		Meta: format.Meta{
			Name: "tool", Version: v, Time: time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC),
			Title: "The Tool", Summary: "Does one thing <well> & quickly",
			Description: "The tool does one thing.\n\n- It does it \"well\".\n- It's quick, too: 2 > 1 && 1 < 2.",
			Homepage:    "https://tool.example.org/", Repository: "https://git.example.org/acme/tool",
			License: "Apache-2.0", Vendor: "Acme & Söhne", Maintainer: "Release Desk <release@example.org>",
		},
		ReleaseURL: "https://git.example.org/acme/tool/releases/v1.2.3-rc.1",
		NotesURL:   "https://git.example.org/acme/tool/releases/v1.2.3-rc.1#notes",

		LicenseText: []byte("Apache License\nVersion 2.0\n"),
		LicenseURL:  "https://git.example.org/acme/tool/LICENSE",
		IssuesURL:   "https://git.example.org/acme/tool/issues?a=1&b=2",
		Tags:        []string{"cli", "release engineering", "cli", "a,b", ""},
	}
	for _, arch := range []string{"386", "amd64", "arm64"} {
		name := "tool_1.2.3-rc.1_windows_" + arch
		r.Downloads = append(r.Downloads, format.Download{
			Platform: artifact.Platform{OS: "windows", Arch: arch},
			URL:      "https://git.example.org/acme/tool/releases/v1.2.3-rc.1/" + name + ".zip",
			Digest:   artifact.Sum([]byte(arch)), Size: 1000, Folder: name,
			Programs: []string{"tool.exe"}, Files: []string{"LICENSE", "README.md"},
		})
	}
	return r
}

func write(t testing.TB, r format.Recipe) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := nupkg.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack is the names and the contents of a package.
func unpack(t testing.TB, b []byte) ([]string, map[string]string) {
	t.Helper()
	zr, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	parts := map[string]string{}
	for _, f := range zr.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if f.FileInfo().IsDir() || f.Flags&0x800 != 0 || f.Method != zip.Deflate {
			t.Errorf("%s is a folder, or has a name or a method that is not for everyone", f.Name)
		}
		names = append(names, f.Name)
		parts[f.Name] = string(content)
	}
	return names, parts
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s changed; with -update, if that is meant:\n got %s\nwant %s", name, got, want)
	}
}

func TestGolden(t *testing.T) {
	small := recipe(t)
	small.Meta = format.Meta{Name: "tool", Version: small.Version, Time: small.Time, Description: "A tool."}
	small.ReleaseURL, small.NotesURL, small.LicenseText, small.LicenseURL, small.IssuesURL, small.Tags = "", "", nil, "", "", nil
	small.Downloads = small.Downloads[:1]
	for _, tt := range []struct {
		name   string
		recipe format.Recipe
	}{{"full", recipe(t)}, {"small", small}} {
		t.Run(tt.name, func(t *testing.T) {
			b := write(t, tt.recipe)
			names, parts := unpack(t, b)
			list := artifact.Sum(b).Hex() + "\n"
			for _, name := range names {
				list += "-- " + name + " --\n" + parts[name]
			}
			golden(t, tt.name+".golden", list)
			check(t, tt.recipe, b)
		})
	}
}

// Nothing but the recipe decides the bytes.
func TestIndependence(t *testing.T) {
	want := write(t, recipe(t))
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	time.Local = time.FixedZone("Kiritimati", 14*3600)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r := recipe(t)
	r.Time = r.Time.Local()
	slices.Reverse(r.Downloads)
	if !bytes.Equal(write(t, r), want) {
		t.Error("another zone, one CPU and another order of downloads give another package")
	}
	runtime.GOMAXPROCS(8)
	if !bytes.Equal(write(t, recipe(t)), want) {
		t.Error("eight CPUs give another package")
	}

	// The name of the properties is that of the contents.
	other := recipe(t)
	other.LicenseText = append(other.LicenseText, "more"...)
	a, _ := unpack(t, want)
	b, _ := unpack(t, write(t, other))
	if slices.Equal(a, b) {
		t.Error("another license gives the properties no other name")
	}
}

func TestArchitectures(t *testing.T) {
	for name, tt := range map[string]struct {
		keep []int
		want string
	}{
		"both":  {[]int{0, 1}, "url checksum checksumType url64bit checksum64 checksumType64"},
		"386":   {[]int{0}, "url checksum checksumType"},
		"amd64": {[]int{1, 2}, "url64bit checksum64 checksumType64"},
	} {
		r := recipe(t)
		all := r.Downloads
		r.Downloads = nil
		for _, i := range tt.keep {
			r.Downloads = append(r.Downloads, all[i])
		}
		b := write(t, r)
		check(t, r, b)
		_, parts := unpack(t, b)
		var keys []string
		for line := range strings.Lines(parts["tools/chocolateyinstall.ps1"]) {
			if key, _, ok := strings.Cut(line, "= "); ok && strings.HasPrefix(line, "  ") {
				keys = append(keys, strings.TrimSpace(key))
			}
		}
		if got := strings.Join(keys, " "); got != "packageName unzipLocation "+tt.want {
			t.Errorf("%s: the script gives %s", name, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	for want, change := range map[string]func(*format.Recipe){
		"making the Chocolatey package: the release has no zip for Windows that the package could fetch":                                           func(r *format.Recipe) { r.Downloads = nil },
		"making the Chocolatey package: the release has no zip for Windows that the package could fetch ":                                          func(r *format.Recipe) { r.Downloads = r.Downloads[2:] },
		"making the Chocolatey package: version is not set":                                                                                        func(r *format.Recipe) { r.Version = version.Version{} },
		"making the Chocolatey package: package name \"a b\" is not an id for NuGet: up to 100 letters, digits and _ with single . or - between":   func(r *format.Recipe) { r.Name = "a b" },
		"making the Chocolatey package: path \"con.nuspec\": \"con.nuspec\" is a device on Windows; choose another name":                           func(r *format.Recipe) { r.Name = "con" },
		"making the Chocolatey package: URL \"javascript:alert(1)\" is not http(s)://host/path":                                                    func(r *format.Recipe) { r.Homepage = "javascript:alert(1)" },
		"making the Chocolatey package: URL of example.org carries a user or password, which everyone would read; remove it":                       func(r *format.Recipe) { r.IssuesURL = "https://u:p@example.org" },
		"making the Chocolatey package: time 1969-12-31T23:59:59Z is not between 1970 and 2106; archives cannot hold it":                           func(r *format.Recipe) { r.Time = time.Unix(-1, 0) },
		"making the Chocolatey package: download for windows/386: digest \"sha256:'; whoami; '\" is not sha256:<64 lower-case hex digits>":         func(r *format.Recipe) { r.Downloads[0].Digest = "sha256:'; whoami; '" },
		"making the Chocolatey package: download for windows/386: URL \"https://example.org/a b.zip\" has characters that must be percent-encoded": func(r *format.Recipe) { r.Downloads[0].URL = "https://example.org/a b.zip" },
		"making the Chocolatey package: download for windows/386: URL \"https://example.org/a.zip\\n'; whoami\" is not http(s)://host/path":        func(r *format.Recipe) { r.Downloads[0].URL = "https://example.org/a.zip\n'; whoami" },
	} {
		r := recipe(t)
		change(&r)
		var b bytes.Buffer
		err := nupkg.Write(&b, r)
		if err == nil || err.Error() != strings.TrimSpace(want) || b.Len() > 0 {
			t.Errorf("%v after %d bytes\nwant %s", err, b.Len(), want)
		}
		if none := strings.Contains(want, "no zip"); errors.Is(err, format.ErrNoWindows) != none {
			t.Errorf("%v is format.ErrNoWindows: %t", err, !none)
		}
	}
	if err := nupkg.Write(io.Discard, format.Recipe{}); err == nil {
		t.Error("an empty recipe makes a package")
	}
	full := errors.New("no space left on device")
	if err := nupkg.Write(failing{full}, recipe(t)); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

type nuspec struct {
	XMLName  xml.Name `xml:"http://schemas.microsoft.com/packaging/2015/06/nuspec.xsd package"`
	Metadata struct {
		Fields []struct {
			XMLName xml.Name
			Text    string `xml:",chardata"`
			Inner   string `xml:",innerxml"`
		} `xml:",any"`
	} `xml:"http://schemas.microsoft.com/packaging/2015/06/nuspec.xsd metadata"`
}

// check reads a package back and finds every text in its place, whole.
func check(t testing.TB, r format.Recipe, b []byte) {
	t.Helper()
	names, parts := unpack(t, b)
	var properties string
	want := []string{"[Content_Types].xml", "_rels/.rels", "legal/VERIFICATION.txt", r.Name + ".nuspec", "tools/chocolateyinstall.ps1", "tools/chocolateyuninstall.ps1"}
	if len(r.LicenseText) > 0 {
		want = append(want, "legal/LICENSE.txt")
	}
	for _, name := range names {
		if strings.HasPrefix(name, "package/services/metadata/core-properties/") {
			properties = name
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if properties == "" || !slices.Equal(names, want) {
		t.Fatalf("the parts are %q, want %q and the properties", names, want)
	}

	var spec nuspec
	if err := xml.Unmarshal([]byte(parts[r.Name+".nuspec"]), &spec); err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for _, f := range spec.Metadata.Fields {
		if _, twice := fields[f.XMLName.Local]; twice || strings.Contains(f.Inner, "<") {
			t.Errorf("%s is there twice or has elements: %s", f.XMLName.Local, f.Inner)
		}
		fields[f.XMLName.Local] = f.Text
	}
	number, err := format.Nupkg.Version(r.Version)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(got, whole string, n int) bool {
		head, ok := strings.CutSuffix(got, "…")
		return got == whole || ok && len(utf16.Encode([]rune(got))) <= n && strings.HasPrefix(whole, head)
	}
	if fields["id"] != r.Name || fields["version"] != number || fields["requireLicenseAcceptance"] != "false" {
		t.Errorf("id %q, version %q, requireLicenseAcceptance %q", fields["id"], fields["version"], fields["requireLicenseAcceptance"])
	}
	if s := strings.TrimSpace(format.Plain(r.Description)); s != "" && !cut(fields["description"], s, 4000) {
		t.Errorf("the description is %q, want %q", fields["description"], s)
	}
	if s := format.Line(r.Summary); s != "" && !cut(fields["summary"], s, 4000) {
		t.Errorf("the summary is %q, want %q", fields["summary"], s)
	}
	if s := format.Line(r.Title); s != "" && !cut(fields["title"], s, 256) {
		t.Errorf("the title is %q, want %q", fields["title"], s)
	}
	for _, name := range []string{"id", "version", "title", "authors", "owners", "tags", "summary", "description"} {
		if strings.TrimSpace(fields[name]) == "" {
			t.Errorf("%s is empty", name)
		}
		if len(utf16.Encode([]rune(fields[name]))) > 4000 {
			t.Errorf("%s is longer than 4000 characters", name)
		}
	}
	if strings.Contains(fields["authors"], "@") || strings.ContainsAny(fields["tags"], ",\n") {
		t.Errorf("authors %q, tags %q", fields["authors"], fields["tags"])
	}

	// Relations lead to parts, and every part has a type.
	var rels struct {
		Relationship []struct {
			Type, Target, ID string
			Attrs            []xml.Attr `xml:",any,attr"`
		}
	}
	if err := xml.Unmarshal([]byte(parts["_rels/.rels"]), &rels); err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, rel := range rels.Relationship {
		for _, a := range rel.Attrs {
			if a.Name.Local == "Target" {
				targets[a.Value] = true
			}
		}
	}
	if len(targets) != 2 || !targets["/"+r.Name+".nuspec"] || !targets["/"+properties] {
		t.Errorf("the relations lead to %v", targets)
	}
	for _, name := range names {
		ext := strings.TrimPrefix(filepath.Ext(name), ".")
		if name != "[Content_Types].xml" && !strings.Contains(parts["[Content_Types].xml"], `Extension="`+ext+`"`) {
			t.Errorf("%s has no type", name)
		}
	}
	var props struct {
		Identifier  string `xml:"http://purl.org/dc/elements/1.1/ identifier"`
		Description string `xml:"http://purl.org/dc/elements/1.1/ description"`
		Version     string `xml:"version"`
	}
	if err := xml.Unmarshal([]byte(parts[properties]), &props); err != nil {
		t.Fatal(err)
	}
	if props.Identifier != r.Name || props.Description != fields["description"] || props.Version != number {
		t.Errorf("the properties are %+v", props)
	}

	// What remains of the scripts without their strings is what the templates say.
	windows, err := format.Windows(r)
	if err != nil {
		t.Fatal(err)
	}
	install := "$ErrorActionPreference = ''\n\n$toolsDir = Split-Path -Parent $MyInvocation.MyCommand.Definition\n\n$packageArgs = @{\n  packageName    = ''\n  unzipLocation  = $toolsDir\n"
	uninstall := "$ErrorActionPreference = ''\n\n"
	texts, gone := []string{"Stop", r.Name}, []string{"Stop"}
	last := ""
	for _, d := range windows {
		switch d.Platform.Arch {
		case "386":
			install += "  url            = ''\n  checksum       = ''\n  checksumType   = ''\n"
		case "amd64":
			install += "  url64bit       = ''\n  checksum64     = ''\n  checksumType64 = ''\n"
		default:
			continue
		}
		texts = append(texts, d.URL, d.Digest.Hex(), "sha256")
		u, err := format.CheckURL(d.URL)
		if err != nil {
			t.Fatal(err)
		}
		if name := format.Line(u.Path[strings.LastIndexByte(u.Path, '/')+1:]); name != last {
			uninstall += "Uninstall-ChocolateyZipPackage -PackageName '' -ZipFileName ''\n"
			gone = append(gone, r.Name, name)
			last = name
		}
		if v := parts["legal/VERIFICATION.txt"]; !strings.Contains(v, "\r\n  "+d.URL+"\r\n  SHA-256: "+d.Digest.Hex()+"\r\n") {
			t.Errorf("VERIFICATION.txt does not name %s:\n%s", d.URL, v)
		}
	}
	install += "}\n\nInstall-ChocolateyZipPackage @packageArgs\n"
	for name, want := range map[string]struct {
		code  string
		texts []string
	}{"tools/chocolateyinstall.ps1": {install, texts}, "tools/chocolateyuninstall.ps1": {uninstall, gone}} {
		code, texts, err := powershell(parts[name])
		if err != nil || code != want.code || !slices.Equal(texts, want.texts) {
			t.Errorf("%s: %v, code %q with %q\nwant %q with %q", name, err, code, texts, want.code, want.texts)
		}
	}
	for name, text := range parts {
		if ends := strings.Count(text, "\n"); ends == 0 || text[len(text)-1] != '\n' {
			t.Errorf("%s has no last line end", name)
		} else if crs := strings.Count(text, "\r\n"); (strings.HasSuffix(name, ".ps1") || strings.HasSuffix(name, ".txt")) != (crs == ends) || crs != 0 && crs != ends {
			t.Errorf("%s has %d line ends, %d of Windows", name, ends, crs)
		}
	}
}

// powershell takes a script apart: the code with every string emptied and line ends of LF, and the strings. It knows
// what the scripts may have, and no more: a string in double quotes, a comment, a backtick or an expression is an error.
func powershell(script string) (code string, texts []string, err error) {
	script, ok := strings.CutPrefix(script, "\ufeff")
	if !ok {
		return "", nil, errors.New("no byte order mark")
	}
	single := func(r rune) bool { return strings.ContainsRune("'\u2018\u2019\u201a\u201b", r) }
	var b, text strings.Builder
	in := false
	runes := []rune(script)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case in && single(r) && i+1 < len(runes) && single(runes[i+1]):
			text.WriteRune(r)
			i++
		case in && single(r):
			in = false
			texts = append(texts, text.String())
			text.Reset()
			b.WriteRune('\'')
		case in:
			text.WriteRune(r)
		case single(r):
			in = true
			b.WriteRune('\'')
		case strings.ContainsRune("\"\u201c\u201d\u201e`#;&|()[]", r):
			return "", nil, fmt.Errorf("%q in code", r)
		case r != '\r':
			b.WriteRune(r)
		}
	}
	if in {
		return "", nil, errors.New("a string does not end")
	}
	return b.String(), texts, nil
}

// The tests stand on this reader of scripts.
func TestPowershell(t *testing.T) {
	code, texts, err := powershell("\ufeffa 'b''c\u2019\u2018d$(x)' e ''\r\n")
	if err != nil || code != "a '' e ''\n" || !slices.Equal(texts, []string{"b'c\u2019d$(x)", ""}) {
		t.Errorf("%q, %q, %v", code, texts, err)
	}
	for _, s := range []string{"a", "\ufeff'a", "\ufeff'a''", "\ufeff\"a\"", "\ufeff'a'; b", "\ufeff'a\u2019 # '"} {
		if code, texts, err := powershell(s); err == nil {
			t.Errorf("%q is read as %q, %q", s, code, texts)
		}
	}
}

// hostile are texts that try to leave their place.
var hostile = []string{
	"'; Remove-Item -Recurse C:\\ #", "\u2019; whoami; \u2018", "\u201a\u201b", "$(whoami) `n $env:PATH ${x}", "@'\n'@", "\"\r\n\"",
	"</description></metadata></package>", "<![CDATA[x]]>", "]]>", "<!-- -->", "&lt;&amp;&#0;", "<?xml?>", "{{.ID}} {{quote .}}",
	"\x00\x01\x1b[31m\x7f", "\ufeff\ufffe\uffff", "\xff\xfe\xc3", "a\rb\r\nc\u2028d\u0085e", "日本語 😀 مرحبا", "--- !!x\n- *y: &z |", strings.Repeat("long ", 2000), strings.Repeat("😀", 3000),
}

func FuzzWrite(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, "https://example.org/it's$(x);@a=%27%E2%80%99%22.zip", "x")
		f.Add("a", "https://example.org/a.zip", s)
	}
	f.Fuzz(func(t *testing.T, s, url, more string) {
		r := recipe(t)
		r.Title, r.Summary, r.Description, r.Vendor, r.Maintainer, r.License = s, s, s, s, s, s
		r.LicenseText, r.Notes, r.Tags = []byte(more), more, []string{s, more}
		r.Downloads[0].URL = url
		var b bytes.Buffer
		if err := nupkg.Write(&b, r); err != nil {
			if b.Len() > 0 {
				t.Errorf("%d bytes beside %v", b.Len(), err)
			}
			return
		}
		check(t, r, b.Bytes())
	})
}

// Every field that is refused is refused with an error, whatever is in it.
func FuzzRefusals(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i := range 8 {
			r := recipe(t)
			*[]*string{&r.Name, &r.Homepage, &r.Repository, &r.ReleaseURL, &r.NotesURL, &r.LicenseURL, &r.IssuesURL, &r.Downloads[1].Folder}[i] = s
			var b bytes.Buffer
			if err := nupkg.Write(&b, r); err == nil {
				check(t, r, b.Bytes())
			}
		}
	})
}

func TestTools(t *testing.T) {
	name := filepath.Join(t.TempDir(), "tool.nupkg")
	if err := os.WriteFile(name, write(t, recipe(t)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"unzip", "-t", name}, {"zipinfo", name}} {
		if _, err := exec.LookPath(args[0]); err != nil {
			t.Skipf("%s is missing; install unzip", args[0])
		}
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("[Content_Types].xml")) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}
