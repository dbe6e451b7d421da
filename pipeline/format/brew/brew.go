// Package brew renders what Homebrew installs a release from: a formula and a cask, both of which fetch the release's
// own archives for macOS and Linux.
//
// Both follow Homebrew's documentation (https://docs.brew.sh/Formula-Cookbook, https://docs.brew.sh/Cask-Cookbook) and
// the style checks of its repository (https://github.com/Homebrew/brew/tree/HEAD/Library/Homebrew/rubocops).
//
// Four platforms are named: macOS and Linux, each on 64-bit ARM and on 64-bit Intel. Homebrew does not run on 32-bit
// Intel, and 32-bit ARM is of its lowest tier (https://docs.brew.sh/Homebrew-on-Linux#arm32-tier-3-support), so archives
// for those stay out and the 64-bit ones are kept from them. Where a release has several archives for one platform that
// differ in the instruction set, the least demanding is taken.
package brew

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"unicode"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

//go:embed *.tmpl
var templates embed.FS

var parsed = template.Must(template.New("").Funcs(template.FuncMap{
	"quote": quote,
	"list":  list,
}).ParseFS(templates, "*.tmpl"))

func render(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := parsed.ExecuteTemplate(&b, name, data); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// The systems and processors that a formula or cask names, in the order in which Homebrew requires them.
var (
	systems    = []struct{ os, block string }{{"darwin", "macos"}, {"linux", "linux"}}
	processors = []struct{ arch, block, symbol string }{{"arm64", "arm", "arm64"}, {"amd64", "intel", "x86_64"}}
)

// target is one of the platforms with the archive for it.
type target struct {
	format.Download
	System, Processor string // as in on_macos and on_arm
	Symbol            string // of the processor, as in depends_on arch:
}

// Guarded reports whether the processor's block is also read by 32-bit machines.
func (t target) Guarded() bool { return t.System == "linux" && t.Processor == "arm" }

// Sum is the archive's SHA-256.
func (t target) Sum() string { return t.Digest.Hex() }

// targets are the platforms that the release has archives for, in Homebrew's order.
func targets(downloads []format.Download) ([]target, error) {
	var all []target
	for _, s := range systems {
		for _, p := range processors {
			best := -1
			for i, d := range downloads {
				if d.Platform.OS == s.os && d.Platform.Arch == p.arch && (best < 0 || demand(d) < demand(downloads[best])) {
					best = i
				}
			}
			if best < 0 {
				continue
			}
			if err := checkDownload(downloads[best]); err != nil {
				return nil, err
			}
			all = append(all, target{downloads[best], s.block, p.block, p.symbol})
		}
	}
	if len(all) == 0 {
		return nil, fault.Errorf(fault.Usage, "no archive is for macOS or Linux on arm64 or amd64, which is what Homebrew runs on; add such a target or leave Homebrew out")
	}
	return all, nil
}

// demand orders the archives of one platform by what they ask of the processor: one without a variant asks least, and
// the names of variants count upwards.
func demand(d format.Download) string { return d.Platform.Variant }

func checkDownload(d format.Download) error {
	if err := checkURL(d.URL); err != nil {
		return fault.Errorf(fault.Usage, "archive for %s: %w", d.Platform, err)
	}
	if _, err := artifact.ParseDigest(string(d.Digest)); err != nil {
		return fault.Errorf(fault.Bug, "archive for %s: %w", d.Platform, err)
	}
	if len(d.Programs) == 0 {
		return fault.Errorf(fault.Usage, "archive for %s has no program to install", d.Platform)
	}
	if d.Folder != "" {
		if err := artifact.CheckPath(d.Folder); err != nil {
			return fault.Errorf(fault.Usage, "archive for %s: %w", d.Platform, err)
		}
	}
	if err := artifact.CheckPaths(slices.Concat(d.Programs, d.Files)); err != nil {
		return fault.Errorf(fault.Usage, "archive for %s: %w", d.Platform, err)
	}
	return nil
}

// checkURL refuses what Homebrew refuses in a URL or cannot fetch.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return err
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return fmt.Errorf("%q is not an http(s) URL", s)
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fmt.Errorf("%q has characters that a URL does not; write the host in Punycode and %%-encode the rest", s)
	}
	return nil
}

// about is what a formula and a cask say in the same words.
type about struct {
	Name, Desc, Homepage, Version string
	Requires                      []string // depends_on of the whole
	Livecheck                     bool
}

func describe(r format.Recipe, all []target, kind kind) (about, error) {
	name := r.Name
	if !validName.MatchString(name) {
		return about{}, fault.Errorf(fault.Usage, "%q cannot be the name of a Homebrew %s: write a lower-case letter, then letters, digits, - _ . + and at most one @ before a version", name, kind)
	}
	if r.Version.IsZero() {
		return about{}, fault.Errorf(fault.Bug, "%s has no version", r.Name)
	}
	home := strings.TrimSuffix(cmp.Or(r.Homepage, r.Repository), ".git")
	if home == "" {
		return about{}, fault.Errorf(fault.Usage, "Homebrew requires a homepage: give the project a homepage or a repository")
	}
	if err := checkURL(home); err != nil {
		return about{}, fault.Errorf(fault.Usage, "homepage: %w", err)
	}
	return about{
		Name:      name,
		Desc:      desc(r.Meta, name, kind),
		Homepage:  home,
		Version:   r.Version.String(),
		Requires:  requires(all),
		Livecheck: livecheck(r, name, all),
	}, nil
}

// kind is what is rendered.
type kind string

const (
	formulaKind kind = "formula"
	caskKind    kind = "cask"
)

// validName is what Homebrew reads as the name of a formula or a cask whose Ruby class has a name, and what is safe as
// the name of a file.
var validName = regexp.MustCompile(`^[a-z][a-z0-9+._-]*(@[0-9][a-z0-9.]*)?$`)

// requires are the requirements by which Homebrew refuses a platform that the release is not for: one system, one
// processor.
func requires(all []target) []string {
	var out []string
	if one(all, func(t target) string { return t.Symbol }) {
		out = append(out, "arch: :"+all[0].Symbol)
	}
	if one(all, func(t target) string { return t.System }) {
		out = append(out, ":"+all[0].System)
	}
	return out
}

func one(all []target, key func(target) string) bool {
	return !slices.ContainsFunc(all, func(t target) bool { return key(t) != key(all[0]) })
}

// gitHubRelease is a file of a release on GitHub, with the version as Homebrew reads it from there: the second of the
// VERSION_PARSERS that can match such a URL (https://github.com/Homebrew/brew/blob/HEAD/Library/Homebrew/version.rb).
// The first is dateVersion.
var (
	gitHubRelease = regexp.MustCompile(`^https://github\.com/[^/]+/[^/]+/releases/download/(?:[rvV]_?)?(\d+(?:\.\d+)+)/[^/]+$`)
	dateVersion   = regexp.MustCompile(`\d{4}-\d{2}-\d{2}`)
)

// versionInURL reports whether Homebrew reads just this version from the URL: writing it again is then an error of brew
// audit. Elsewhere Homebrew's guesses differ between platforms (the 64 of arm64 is one), so the version is written.
func versionInURL(u, version string) bool {
	m := gitHubRelease.FindStringSubmatch(u)
	return m != nil && m[1] == version && !dateVersion.MatchString(u)
}

// livecheck reports whether the latest release of the repository on GitHub answers if the formula or cask is up to date.
// It does not for a prerelease, which is never the latest release, nor for a versioned formula, which stays behind.
func livecheck(r format.Recipe, name string, all []target) bool {
	return r.Version.IsStable() && !strings.Contains(name, "@") && !slices.ContainsFunc(all, func(t target) bool {
		return !versionInURL(t.URL, r.Version.String())
	})
}

// program is the one that stands for the package: the one of its name, or the first.
func program(r format.Recipe, all []target) string {
	for _, t := range all {
		for _, p := range t.Programs {
			if path.Base(p) == r.Name {
				return path.Base(p)
			}
		}
	}
	return path.Base(all[0].Programs[0])
}

// completion is a file that completes a program's arguments in a shell.
type completion struct {
	Shell  string // as Homebrew calls it
	Path   string
	Target string // file name where it is installed
}

// Renamed reports whether the file is installed under another name than it has.
func (c completion) Renamed() bool { return path.Base(c.Path) != c.Target }

// shells are those that Homebrew has a folder for, and the name that a file has in it for a program.
var shells = []struct{ name, homebrew, before, after string }{
	{"bash", "bash", "", ""},
	{"fish", "fish", "", ".fish"},
	{"powershell", "pwsh", "_", ".ps1"},
	{"zsh", "zsh", "_", ""},
}

// completions are the recipe's, in the order of shells. The file is for the program that it is named after; for the one
// that stands for the package where it is called otherwise, such as completions/bash.
func completions(r format.Recipe, all []target) ([]completion, error) {
	programs := map[string]bool{}
	for _, t := range all {
		for _, p := range t.Programs {
			programs[path.Base(p)] = true
		}
	}
	var out []completion
	for _, sh := range shells {
		p, ok := r.Completions[sh.name]
		if !ok {
			continue
		}
		if err := inAll(all, p); err != nil {
			return nil, err
		}
		base := path.Base(p)
		stem := strings.TrimPrefix(strings.TrimSuffix(base, path.Ext(base)), "_")
		if !programs[stem] {
			stem = program(r, all)
		}
		out = append(out, completion{sh.homebrew, p, sh.before + stem + sh.after})
	}
	for name := range r.Completions {
		if !slices.ContainsFunc(shells, func(s struct{ name, homebrew, before, after string }) bool { return s.name == name }) {
			return nil, fault.Errorf(fault.Bug, "completions for %q: the shells are bash, fish, powershell and zsh", name)
		}
	}
	return out, nil
}

// manual is a page of the manual.
type manual struct{ Section, Path string }

// manualName is what both a formula and a cask take for the name of a manual page.
var manualName = regexp.MustCompile(`\.([1-8])(?:\.gz)?$`)

func manuals(r format.Recipe, all []target) ([]manual, error) {
	var out []manual
	for _, p := range slices.Sorted(slices.Values(r.Manuals)) {
		m := manualName.FindStringSubmatch(p)
		if m == nil {
			return nil, fault.Errorf(fault.Usage, "manual page %q does not end in its section, such as .1", p)
		}
		if err := inAll(all, p); err != nil {
			return nil, err
		}
		out = append(out, manual{m[1], p})
	}
	return out, nil
}

// inAll makes sure that every archive has the file: Homebrew would only find out on the user's machine.
func inAll(all []target, p string) error {
	for _, t := range all {
		if !slices.Contains(t.Files, p) {
			return fault.Errorf(fault.Usage, "the archive for %s has no %q, which Homebrew is to install", t.Platform, p)
		}
	}
	return nil
}

// quote is s as a Ruby string that means nothing but its characters: no interpolation, no line break, nothing that an
// editor shows otherwise than Ruby reads it.
func quote(s string) string { return `"` + escape(s) + `"` }

func escape(s string) string {
	var b strings.Builder
	runes := []rune(strings.ToValidUTF8(s, "\ufffd"))
	for i, r := range runes {
		switch {
		case r == '"' || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '#' && i+1 < len(runes) && strings.ContainsRune("{$@", runes[i+1]):
			b.WriteString(`\#`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r != ' ' && !unicode.IsGraphic(r) || r != ' ' && unicode.IsSpace(r):
			b.WriteString(`\u{` + hex(r) + `}`)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func list(s []string) string {
	quoted := make([]string, len(s))
	for i, v := range s {
		quoted[i] = quote(v)
	}
	return strings.Join(quoted, ", ")
}
