package brew

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

var update = flag.Bool("update", false, "write the golden files")

const release = "https://github.com/example/kit/releases/download/v1.2.3/"

func parse(t testing.TB, s string) version.Version {
	t.Helper()
	v, err := version.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func platform(t testing.TB, s string) artifact.Platform {
	t.Helper()
	p, err := artifact.ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func download(t testing.TB, target string) format.Download {
	p := platform(t, target)
	file := "kit_1.2.3_" + p.Slug() + ".tar.gz"
	return format.Download{
		Platform: p, URL: release + file, Digest: artifact.Sum([]byte(file)), Size: 1,
		Programs: []string{"kit"},
		Files:    []string{"LICENSE", "completions/_kit", "completions/kit.bash", "completions/kit.fish", "completions/kit.ps1", "man/kit.1", "man/kit.toml.5"},
	}
}

// recipe is a release with everything that Homebrew installs.
func recipe(t testing.TB, targets ...string) format.Recipe {
	r := format.Recipe{
		Meta: format.Meta{
			Name: "kit", Version: parse(t, "1.2.3"), Title: "Kit", Summary: "The kit that builds a thing on the command line",
			Description: "Kit builds things.", Homepage: "https://kit.example.com/", Repository: "https://github.com/example/kit", License: "Apache-2.0",
		},
		Completions: map[string]string{"bash": "completions/kit.bash", "zsh": "completions/_kit", "fish": "completions/kit.fish", "powershell": "completions/kit.ps1"},
		Manuals:     []string{"man/kit.1", "man/kit.toml.5"},
		Test:        []string{"--version"},
	}
	for _, target := range targets {
		r.Downloads = append(r.Downloads, download(t, target))
	}
	return r
}

var everything = []string{
	"darwin/amd64", "darwin/arm64", "freebsd/amd64", "linux/386", "linux/amd64", "linux/amd64/v3", "linux/arm/v7", "linux/arm64", "windows/amd64",
}

// variations are the recipes that the golden files, the tools of Ruby and the harness see.
func variations(t testing.TB) map[string]format.Recipe {
	all := map[string]format.Recipe{"full": recipe(t, everything...)}

	one := recipe(t, "darwin/arm64")
	one.License = "MIT OR Apache-2.0"
	all["one"] = one

	macos := recipe(t, "darwin/amd64", "darwin/arm64")
	macos.Completions, macos.Manuals, macos.Test = nil, nil, nil
	macos.License = "(GPL-2.0-or-later WITH Classpath-exception-2.0 OR MIT) AND LicenseRef-public-domain AND BSD-3-Clause"
	macos.Name = "kit@1.2"
	all["macos"] = macos

	// A candidate in folders, with a second program that macOS on Intel and Linux on ARM lack, words that differ and a host
	// that is not GitHub.
	uneven := recipe(t, "darwin/amd64", "darwin/arm64", "linux/amd64")
	uneven.Version = parse(t, "1.3.0-rc.1")
	uneven.License = ""
	uneven.Test = []string{"-v", "it's \"$HOME\" #{version}"}
	uneven.Completions = map[string]string{"bash": "completions/bash", "zsh": "completions/zsh.sh", "fish": "completions/fish"}
	for i := range uneven.Downloads {
		d := &uneven.Downloads[i]
		d.Folder = "kit-1.3.0-rc.1-" + []string{"mac-intel", "mac-arm", "linux"}[i]
		d.URL = "https://dl.example.com/kit/1.3.0-rc.1/" + d.Folder + ".tgz"
		d.Files = []string{"completions/bash", "completions/fish", "completions/zsh.sh", "man/kit.1", "man/kit.toml.5"}
		if i > 0 {
			d.Programs = []string{"kit", "kitd"}
		}
	}
	all["uneven"] = uneven

	folder := recipe(t, "darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64")
	for i := range folder.Downloads {
		d := &folder.Downloads[i]
		d.Folder = strings.TrimSuffix(filepath.Base(d.URL), ".tar.gz")
		d.Programs = []string{"kit", "kitd"}
	}
	all["folder"] = folder

	linux := recipe(t, "linux/arm64")
	linux.Name = "kit-one+"
	all["linux"] = linux
	return all
}

// rendered writes every formula and cask to a folder of its own that is called as in a tap, and returns their paths by
// variation.
func rendered(t *testing.T) map[string][2]string {
	t.Helper()
	out := map[string][2]string{}
	for name, v := range variations(t) {
		dir := filepath.Join(t.TempDir(), name)
		f, err := Formula(v)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c, err := Cask(v)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		file := v.Name
		paths := [2]string{filepath.Join(dir, "Formula", file+".rb"), filepath.Join(dir, "Casks", file+".rb")}
		for i, b := range [][]byte{f, c} {
			if err := os.MkdirAll(filepath.Dir(paths[i]), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(paths[i], b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		out[name] = paths
	}
	return out
}

func TestGolden(t *testing.T) {
	var sums strings.Builder
	files := rendered(t)
	for _, name := range slices.Sorted(mapsKeys(files)) {
		for i, kind := range []string{"formula", "cask"} {
			got, err := os.ReadFile(files[name][i])
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+"."+kind+".rb")
			fmt.Fprintf(&sums, "%s  %s\n", artifact.Sum(got).Hex(), filepath.Base(golden))
			compare(t, golden, got)
		}
	}
	compare(t, filepath.Join("testdata", "SHA256SUMS"), []byte(sums.String()))
}

func mapsKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func compare(t *testing.T, golden string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-update writes it):\n%s", golden, got)
	}
}

func TestSameBytesEveryTime(t *testing.T) {
	first := variations(t)
	for range 20 {
		for name, v := range variations(t) {
			for kind, f := range map[string]func(format.Recipe) ([]byte, error){"formula": Formula, "cask": Cask} {
				a, errA := f(first[name])
				b, errB := f(v)
				if errA != nil || errB != nil || !bytes.Equal(a, b) {
					t.Fatalf("%s %s differs between two runs (%v, %v)", name, kind, errA, errB)
				}
			}
		}
	}
}

func ruby(t testing.TB) string {
	t.Helper()
	p, err := exec.LookPath("ruby")
	if err != nil {
		t.Skip("no ruby; install the package ruby")
	}
	return p
}

func TestSyntax(t *testing.T) {
	ruby := ruby(t)
	for name, paths := range rendered(t) {
		for _, p := range paths {
			if out, err := exec.Command(ruby, "-wc", p).CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "Syntax OK" {
				t.Errorf("%s: %s: %v\n%s", name, filepath.Base(p), err, out)
			}
		}
	}
}

// TestStyle runs rubocop with the settings of Homebrew's Library/.rubocop.yml that it knows without Homebrew's own cops.
func TestStyle(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	rubocop, err := exec.LookPath("rubocop")
	if err != nil {
		t.Skip("no rubocop; install the package rubocop")
	}
	settings, err := filepath.Abs("testdata/rubocop.yml")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--config", settings, "--cache", "false", "--format", "emacs"}
	for _, paths := range rendered(t) {
		args = append(args, paths[:]...)
	}
	cmd := exec.Command(rubocop, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// evaluated is what the harness prints.
type evaluated struct {
	Class, Token, URL, Version, SHA256, Desc, Homepage, Name, Output string
	License                                                          any
	Requires                                                         []any
	Installed                                                        []string
	Livecheck                                                        map[string]string
}

func harness(t testing.TB, args ...string) (evaluated, error) {
	t.Helper()
	cmd := exec.Command(ruby(t), append([]string{"testdata/harness.rb"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return evaluated{}, fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	var e evaluated
	if err := json.Unmarshal(out, &e); err != nil {
		return evaluated{}, fmt.Errorf("%w in %s", err, out)
	}
	return e, nil
}

// unpack makes the files of an archive, its programs as scripts that tell the version and their arguments.
func unpack(t *testing.T, d format.Download, version string) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range slices.Concat(d.Programs, d.Files) {
		p = filepath.Join(dir, d.Folder, p)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("#!/bin/sh\necho "+version+" from the URL; printf '<%s>' \"$@\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestPlatforms has Ruby read every formula and cask on each of the four platforms: each gets its own archive or none,
// and what is in it is installed.
func TestPlatforms(t *testing.T) {
	files := rendered(t)
	for name, v := range variations(t) {
		if testing.Short() && name != "full" && name != "uneven" {
			continue
		}
		for _, s := range systems {
			for _, p := range processors {
				t.Run(name+" "+s.os+" "+p.arch, func(t *testing.T) {
					want := format.Download{}
					for _, d := range v.Downloads {
						if d.Platform == (artifact.Platform{OS: s.os, Arch: p.arch}) {
							want = d
						}
					}
					args := []string{s.block, p.block}
					if want.URL != "" {
						args = append(args, unpack(t, want, v.Version.String()), t.TempDir())
					}
					f, err := harness(t, append([]string{"formula", files[name][0]}, args...)...)
					if err != nil {
						t.Fatal(err)
					}
					c, err := harness(t, append([]string{"cask", files[name][1]}, args...)...)
					if err != nil {
						t.Fatal(err)
					}
					if want.URL == "" {
						refused(t, f, "formula", s.block, p.symbol)
						refused(t, c, "cask", s.block, p.symbol)
						return
					}
					for kind, got := range map[string]evaluated{"formula": f, "cask": c} {
						if got.URL != want.URL || got.SHA256 != want.Digest.Hex() {
							t.Errorf("the %s fetches\n%s %s, want\n%s %s", kind, got.URL, got.SHA256, want.URL, want.Digest.Hex())
						}
						if got.Desc == "" || got.Homepage != v.Homepage {
							t.Errorf("the %s says %q, %q", kind, got.Desc, got.Homepage)
						}
					}
					if c.Version != v.Version.String() {
						t.Errorf("version %q", c.Version)
					}
					checkInstalled(t, v, want, f, c)
					if n := len(v.Test); n > 0 && !strings.HasSuffix(f.Output, "<"+v.Test[n-1]+">") {
						t.Errorf("the test gave the program other arguments: %s", f.Output)
					}
				})
			}
		}
	}
}

func refused(t *testing.T, e evaluated, kind, system, symbol string) {
	t.Helper()
	requires := fmt.Sprint(e.Requires)
	if !(strings.Contains(requires, "arch") && !strings.Contains(requires, symbol)) &&
		!(strings.Contains(requires, "macos") && system != "macos") && !(strings.Contains(requires, "linux") && system != "linux") {
		t.Errorf("nothing in the %s refuses %s on %s: %s", kind, system, symbol, requires)
	}
}

func checkInstalled(t *testing.T, r format.Recipe, d format.Download, f, c evaluated) {
	t.Helper()
	var formula, cask []string
	in := func(p string) string { return strings.TrimPrefix(d.Folder+"/"+p, "/") }
	for _, p := range d.Programs {
		formula = append(formula, "bin/"+p)
		cask = append(cask, "binary "+in(p))
	}
	if r.Manuals != nil {
		formula = append(formula, "share/man/man1/kit.1", "share/man/man5/kit.toml.5")
		cask = append(cask, "manpage "+in("man/kit.1"), "manpage "+in("man/kit.toml.5"))
	}
	if r.Completions != nil {
		formula = append(formula, "etc/bash_completion.d/kit", "share/zsh/site-functions/_kit", "share/fish/vendor_completions.d/kit.fish")
		if _, ok := r.Completions["powershell"]; ok {
			formula = append(formula, "share/pwsh/completions/_kit.ps1")
			cask = append(cask, "bash_completion "+in("completions/kit.bash"), "zsh_completion "+in("completions/_kit"), "fish_completion "+in("completions/kit.fish"))
		} else {
			cask = append(cask, "bash_completion "+in("completions/bash")+" kit", "zsh_completion "+in("completions/zsh.sh")+" _kit", "fish_completion "+in("completions/fish")+" kit.fish")
		}
	}
	for _, s := range [][]string{formula, cask, f.Installed, c.Installed} {
		slices.Sort(s)
	}
	if !slices.Equal(f.Installed, formula) {
		t.Errorf("the formula installs\n%q, want\n%q", f.Installed, formula)
	}
	if !slices.Equal(c.Installed, cask) {
		t.Errorf("the cask installs\n%q, want\n%q", c.Installed, cask)
	}
}

// TestNot64Bit keeps the archive for 64-bit ARM from a 32-bit system, which Homebrew also calls ARM.
func TestNot64Bit(t *testing.T) {
	files := rendered(t)
	for _, name := range []string{"full", "linux"} {
		e, err := harness(t, "formula", files[name][0], "linux", "arm32")
		if err != nil {
			t.Fatal(err)
		}
		if e.URL != "" {
			t.Errorf("%s: 32-bit ARM gets %s", name, e.URL)
		}
	}
}

func TestClass(t *testing.T) {
	for name, want := range map[string]string{
		"slipway": "Slipway", "foo-bar": "FooBar", "foo_bar.baz": "FooBarBaz", "foo@1.2": "FooAT12", "foo@12": "FooAT12", "c++": "Cxx",
		"go-1-20": "Go120", "a2b": "A2b", "foo-": "Foo-", "kit-one+": "KitOnex", "x.y@3.11": "XYAT311", "fooBAR": "Foobar",
	} {
		if got := class(name); got != want {
			t.Errorf("class(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestDesc(t *testing.T) {
	for summary, want := range map[string]string{
		"builds things":                 "Builds things",
		"A builder of things.":          "Builder of things",
		"The  kit that\nbuilds a thing": "Builds a thing",
		"kit is a builder":              "Builder",
		"Kit: the builder":              "Builder",
		"Kit - builds":                  "Builds",
		"K-I t builds":                  "Builds",
		"Kitchen of things":             "Kitchen of things",
		"KIT":                           "Kit builds things", // of the description: see below
		"macOS images without a Mac":    "macOS images without a Mac",
		"iOS tool":                      "iOS tool",
		"Tools, hammers, etc.":          "Tools, hammers, etc.",
		"Command line tool, commandline Command line": "Command-line tool, command-line Command-line",
		"🚀 Rockets ✨ for all":                         "Rockets for all",
		"Ends so. ...":                                "Ends so",
		"éclair of tools":                             "Éclair of tools",
		"Anthem":                                      "Anthem",
		"a the an a kit: the thing":                   "Thing",
		strings.Repeat("word ", 20):                   "W" + strings.TrimSpace(strings.Repeat("word ", 16))[1:],
		strings.Repeat("x", 90):                       strings.ToUpper("x") + strings.Repeat("x", 79),
		"Twenty four letters here " + strings.Repeat("y", 50) + " and the rest of it": "Twenty four letters here " + strings.Repeat("y", 50),
		"Sixty " + strings.Repeat("z", 65) + " that, and more words":                  "Sixty " + strings.Repeat("z", 65),
	} {
		m := format.Meta{Summary: summary, Description: "Things that kit builds. More."}
		if summary == "KIT" {
			want = "Things that kit builds"
		}
		got := desc(m, "kit", formulaKind)
		if got != want {
			t.Errorf("desc(%q) =\n%q, want\n%q", summary, got, want)
		}
	}
	if got := desc(format.Meta{}, "kit", caskKind); got != "Command-line application" {
		t.Errorf("nothing gives %q", got)
	}
}

// wellFormed tells what brew audit has against a description: the rules of desc_helper.rb.
func wellFormed(d, name string) string {
	pattern := regexp.MustCompile(`(?i)^` + strings.Join(strings.Split(strings.ReplaceAll(name, "-", ""), ""), `[\s-]?`) + `\b`)
	switch {
	case d == "":
		return "is empty"
	case utf8.RuneCountInString(d) > 80:
		return "is too long"
	case strings.TrimSpace(d) != d:
		return "has spaces around it"
	case regexp.MustCompile(`(?i)command ?line`).MatchString(d):
		return "has command line"
	case regexp.MustCompile(`(?i)^(the|an?)\s`).MatchString(d):
		return "starts with an article"
	case regexp.MustCompile(`^[a-z]`).MatchString(d) && !slices.Contains([]string{"iOS", "iPhone", "macOS"}, strings.Fields(d)[0]):
		return "starts small"
	case pattern.MatchString(d):
		return "starts with the name"
	case strings.HasSuffix(d, ".") && !strings.HasSuffix(d, "etc."):
		return "ends with a full stop"
	case strings.ContainsFunc(d, func(r rune) bool { return unicode.Is(unicode.So, r) }):
		return "has symbols"
	}
	return ""
}

func FuzzDesc(f *testing.F) {
	f.Add("The kit: a kit. is command line", "kit")
	f.Add("k i t ...", "k-it")
	f.Add("The.\u2028an é\xff", "a")
	f.Fuzz(func(t *testing.T, summary, name string) {
		if !validName.MatchString(name) || strings.ContainsAny(name, "+.@_") || len(name) > 30 {
			return
		}
		d := desc(format.Meta{Summary: summary, Description: summary}, name, formulaKind)
		if what := wellFormed(d, name); what != "" && !strings.HasPrefix(d, "Command-line ") {
			t.Errorf("desc(%q) of %s = %q: %s", summary, name, d, what)
		}
	})
}

func TestLicense(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		"MIT":                                `"MIT"`,
		"GPL-2.0+":                           `"GPL-2.0+"`,
		"MIT OR Apache-2.0":                  `any_of: ["MIT", "Apache-2.0"]`,
		"MIT and 0BSD":                       `all_of: ["MIT", "0BSD"]`,
		"MIT OR MIT":                         `"MIT"`,
		"(MIT OR (0BSD OR ISC))":             `any_of: ["MIT", "0BSD", "ISC"]`,
		"Apache-2.0 WITH LLVM-exception":     `"Apache-2.0" => { with: "LLVM-exception" }`,
		"LicenseRef-public-domain":           ":public_domain",
		"LicenseRef-Mine":                    ":cannot_represent",
		"DocumentRef-x:LicenseRef-y":         ":cannot_represent",
		"NOASSERTION":                        ":cannot_represent",
		"MIT OR":                             ":cannot_represent",
		"(MIT":                               ":cannot_represent",
		"MIT)":                               ":cannot_represent",
		"MIT Apache-2.0":                     ":cannot_represent",
		`MIT"; system("id"); "`:              ":cannot_represent",
		"MIT, Apache-2.0":                    ":cannot_represent",
		"X WITH OR":                          ":cannot_represent",
		strings.Repeat("(", 99) + "MIT":      ":cannot_represent",
		"MIT AND (Apache-2.0 OR 0BSD)":       "all_of: [\n    \"MIT\",\n    { any_of: [\"Apache-2.0\", \"0BSD\"] },\n  ]",
		"MIT OR Apache-2.0 WITH A-exception": "any_of: [\n    \"MIT\",\n    { \"Apache-2.0\" => { with: \"A-exception\" } },\n  ]",
		"A AND (B OR (C AND D))":             "all_of: [\n    \"A\",\n    { any_of: [\n      \"B\",\n      { all_of: [\"C\", \"D\"] },\n    ] },\n  ]",
	} {
		if got := license(in); got != want {
			t.Errorf("license(%q) =\n%s, want\n%s", in, got, want)
		}
	}
}

func TestVersionInURL(t *testing.T) {
	for _, c := range []struct {
		url, version string
		want         bool
	}{
		{release + "kit_1.2.3_darwin_arm64.tar.gz", "1.2.3", true},
		{"https://github.com/a/b/releases/download/1.2.3/x.zip", "1.2.3", true},
		{"https://github.com/a/b/releases/download/v1.2.3-rc.1/x.zip", "1.2.3-rc.1", false},
		{"https://github.com/a/b/releases/download/v1.2.3/2024-01-02.zip", "1.2.3", false},
		{"https://github.com/a/b/releases/download/tools/v1.2.3/x.zip", "1.2.3", false},
		{"https://dl.example.com/kit_1.2.3_darwin_arm64.tar.gz", "1.2.3", false},
		{release + "x.tar.gz", "1.2.4", false},
	} {
		if got := versionInURL(c.url, c.version); got != c.want {
			t.Errorf("%s %s: %t", c.url, c.version, got)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*format.Recipe)
		want   string
	}{
		{"no archive for Homebrew", func(r *format.Recipe) { r.Downloads = r.Downloads[:0] }, "no archive is for macOS or Linux"},
		{"no homepage", func(r *format.Recipe) { r.Homepage, r.Repository = "", "" }, "Homebrew requires a homepage"},
		{"a homepage that is none", func(r *format.Recipe) { r.Homepage = "javascript:alert(1)" }, "not an http(s) URL"},
		{"a name that is no class", func(r *format.Recipe) { r.Name = "7zip" }, "cannot be the name"},
		{"a name that is a path", func(r *format.Recipe) { r.Name = "a/../../b" }, "cannot be the name"},
		{"a URL with a space", func(r *format.Recipe) { r.Downloads[0].URL += " x" }, "a URL does not"},
		{"a digest that is none", func(r *format.Recipe) { r.Downloads[0].Digest = "sha256:x" }, "is not sha256"},
		{"no program", func(r *format.Recipe) { r.Downloads[0].Programs = nil }, "no program"},
		{"a program elsewhere", func(r *format.Recipe) { r.Downloads[0].Programs = []string{"../kit"} }, "leaves its folder"},
		{"a completion that is not there", func(r *format.Recipe) { r.Completions["bash"] = "kit.bash" }, `has no "kit.bash"`},
		{"a shell that is none", func(r *format.Recipe) { r.Completions["elvish"] = "kit.elv" }, "elvish"},
		{"a manual without a section", func(r *format.Recipe) { r.Manuals = []string{"LICENSE"} }, "does not end in its section"},
		{"a manual that is not there", func(r *format.Recipe) { r.Manuals = []string{"kit.1"} }, `has no "kit.1"`},
		{"no version", func(r *format.Recipe) { r.Version = version.Version{} }, "no version"},
	} {
		r := recipe(t, "darwin/amd64", "linux/amd64")
		c.change(&r)
		for kind, f := range map[string]func(format.Recipe) ([]byte, error){"formula": Formula, "cask": Cask} {
			b, err := f(r)
			if err == nil || !strings.Contains(err.Error(), c.want) || b != nil {
				t.Errorf("%s, %s: %v", c.name, kind, err)
			}
			if code := fault.CodeOf(err); code != fault.Usage && c.name != "no version" && !strings.Contains(c.name, "digest") && !strings.Contains(c.name, "shell") {
				t.Errorf("%s, %s: exit code %d", c.name, kind, code)
			}
		}
	}

	deep := recipe(t, "darwin/amd64", "linux/amd64")
	deep.Downloads[0].Folder, deep.Downloads[1].Folder = "a/b", "a/c"
	if _, err := Formula(deep); err == nil || !strings.Contains(err.Error(), "use one folder") {
		t.Errorf("folders that differ below the top: %v", err)
	}
}

// hostile is text that ends strings, starts interpolation or hides.
var hostile = []string{
	`"; exit 3; "`, `#{exit 3}`, `\#{exit 3}`, `\\#{exit 3}`, `\`, `\" + exit(3).to_s + \"`, "#$0 #@x #@@y", "a\nexit 3\n", "a\r\nend\nexit 3", "\x00\x1b[31m",
	"`exit 3`", `%x(exit 3)`, "\u202eevil\u2066", "__END__\n", "=begin\n", "é世界 💥", "a\xff\xfeb", "\u2028exit 3", "'; exit 3; '", `"#{`, "{{.Name}}",
}

// TestHostileText has Ruby read back every text that could break out of its quotes.
func TestHostileText(t *testing.T) {
	for _, text := range hostile {
		r := recipe(t, "darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64")
		r.Title, r.Summary, r.Description, r.License = text, text, text, text
		r.Test = []string{text}
		if strings.ContainsRune(text, 0) {
			r.Test = []string{"--version"} // which no argument of a program holds
		}
		dir := t.TempDir()
		for kind, f := range map[string]func(format.Recipe) ([]byte, error){"formula": Formula, "cask": Cask} {
			b, err := f(r)
			if err != nil {
				t.Errorf("%q: %v", text, err)
				continue
			}
			p := filepath.Join(dir, kind+".rb")
			if err := os.WriteFile(p, b, 0o644); err != nil {
				t.Fatal(err)
			}
			e, err := harness(t, kind, p, "linux", "intel", unpack(t, r.Downloads[2], "1.2.3"), t.TempDir())
			if err != nil {
				t.Errorf("%q: %v\n%s", text, err, b)
				continue
			}
			if want := desc(r.Meta, "kit", formulaKind); kind == "formula" && e.Desc != want {
				t.Errorf("%q: description %q, want %q", text, e.Desc, want)
			}
			if kind == "cask" && e.Name != oneLine(text) {
				t.Errorf("%q: name %q", text, e.Name)
			}
			if want := "<" + strings.ToValidUTF8(r.Test[0], "\ufffd") + ">"; kind == "formula" && !strings.HasSuffix(e.Output, want) {
				t.Errorf("%q: the test's argument arrives as %q", text, e.Output)
			}
		}
	}
}

// FuzzQuote reads a string as Ruby does: it ends where it should, and nothing in it is more than text.
func FuzzQuote(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q := quote(s)
		got, err := unquote(q)
		if err != nil || got != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("%q is written %s and read %q, %v", s, q, got, err)
		}
	})
}

// unquote reads a double-quoted string of Ruby (https://docs.ruby-lang.org/en/3.3/syntax/literals_rdoc.html) and refuses
// what is not only text.
func unquote(q string) (string, error) {
	body, ok := strings.CutPrefix(q, `"`)
	if !ok {
		return "", fmt.Errorf("no quote in front")
	}
	var b strings.Builder
	runes := []rune(body)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '"':
			if i != len(runes)-1 {
				return "", fmt.Errorf("ends at %d", i)
			}
			return b.String(), nil
		case r == '#' && i+1 < len(runes) && strings.ContainsRune("{$@", runes[i+1]):
			return "", fmt.Errorf("interpolation at %d", i)
		case r < ' ' || r == 0x7f:
			return "", fmt.Errorf("control character at %d", i)
		case r == '\\':
			i++
			if i == len(runes) {
				return "", fmt.Errorf("ends in a backslash")
			}
			switch runes[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'u':
				var code rune
				rest := string(runes[i+1:])
				if _, err := fmt.Sscanf(rest, "{%x}", &code); err != nil {
					return "", err
				}
				b.WriteRune(code)
				i += 1 + strings.IndexByte(rest, '}')
			case '"', '\\', '#':
				b.WriteRune(runes[i])
			default:
				return "", fmt.Errorf("escape %q", runes[i])
			}
		default:
			b.WriteRune(r)
		}
	}
	return "", fmt.Errorf("no quote behind")
}
