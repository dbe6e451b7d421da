// Package winget makes the manifests of the Windows Package Manager, which fetches the release's own zips.
//
// A release has three files: version, installer and default locale. They follow the JSON schemas of manifest version
// 1.10.0 (https://github.com/microsoft/winget-cli/tree/master/schemas/JSON/manifests/v1.10.0), which newer clients read
// too; no newer version has anything for a zip with programs.
package winget

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

const (
	manifestVersion = "1.10.0"
	locale          = "en-US"
)

type head struct {
	PackageIdentifier string `yaml:"PackageIdentifier"`
	PackageVersion    string `yaml:"PackageVersion"`
}

type tail struct {
	ManifestType    string `yaml:"ManifestType"`
	ManifestVersion string `yaml:"ManifestVersion"`
}

type versionManifest struct {
	head          `yaml:",inline"`
	DefaultLocale string `yaml:"DefaultLocale"`
	tail          `yaml:",inline"`
}

type installerManifest struct {
	head                `yaml:",inline"`
	InstallerType       string      `yaml:"InstallerType"`
	NestedInstallerType string      `yaml:"NestedInstallerType"`
	Commands            []text      `yaml:"Commands,omitempty"`
	ReleaseDate         string      `yaml:"ReleaseDate"`
	Installers          []installer `yaml:"Installers"`
	tail                `yaml:",inline"`
}

type installer struct {
	Architecture         string   `yaml:"Architecture"`
	NestedInstallerFiles []nested `yaml:"NestedInstallerFiles"`
	InstallerURL         string   `yaml:"InstallerUrl"`
	InstallerSha256      string   `yaml:"InstallerSha256"`
}

type nested struct {
	RelativeFilePath     text `yaml:"RelativeFilePath"`
	PortableCommandAlias text `yaml:"PortableCommandAlias,omitempty"`
}

type localeManifest struct {
	head                `yaml:",inline"`
	PackageLocale       string `yaml:"PackageLocale"`
	Publisher           text   `yaml:"Publisher"`
	PublisherSupportURL text   `yaml:"PublisherSupportUrl,omitempty"`
	PackageName         text   `yaml:"PackageName"`
	PackageURL          text   `yaml:"PackageUrl,omitempty"`
	License             text   `yaml:"License"`
	LicenseURL          text   `yaml:"LicenseUrl,omitempty"`
	ShortDescription    text   `yaml:"ShortDescription"`
	Description         text   `yaml:"Description,omitempty"`
	Moniker             text   `yaml:"Moniker,omitempty"`
	Tags                []text `yaml:"Tags,omitempty"`
	ReleaseNotes        text   `yaml:"ReleaseNotes,omitempty"`
	ReleaseNotesURL     text   `yaml:"ReleaseNotesUrl,omitempty"`
	tail                `yaml:",inline"`
}

// text is a string that is written on several lines only where that cannot change it: where no line begins or ends in
// white space and every character is a printed one.
type text string

// MarshalYAML chooses the style.
func (t text) MarshalYAML() (any, error) {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: string(t), Style: yaml.DoubleQuotedStyle}
	plain := !strings.ContainsFunc(string(t), func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) })
	for line := range strings.SplitSeq(string(t), "\n") {
		plain = plain && strings.TrimSpace(line) == line
	}
	switch {
	case plain && strings.Contains(string(t), "\n") && !strings.HasPrefix(string(t), "\n") && !strings.HasSuffix(string(t), "\n"):
		n.Style = yaml.LiteralStyle
	case plain && !strings.Contains(string(t), "\n"):
		return string(t), nil
	}
	return n, nil
}

var (
	identifier = regexp.MustCompile(`^[^.\s\\/:*?"<>|\x00-\x1f]{1,32}(\.[^.\s\\/:*?"<>|\x00-\x1f]{1,32}){1,7}$`)
	arches     = map[string]string{"386": "x86", "amd64": "x64", "arm64": "arm64"}
)

// Manifests are the files of the recipe by their path in a repository of manifests:
// manifests/<first letter>/<Publisher>/<Package>/<version>/<Publisher>.<Package>[.installer|.locale.en-US].yaml
// (https://learn.microsoft.com/windows/package-manager/package/repository). It returns format.ErrNoWindows where the
// release has no zip for Windows.
//
// The version is the release's without build metadata, which winget would sort below the version without any. Texts are
// made plain and cut to the schemas' bounds as format.Cut has it; a text that is shorter than they allow is an error.
func Manifests(r format.Recipe) (map[string][]byte, error) {
	out, err := manifests(r)
	if err != nil {
		return nil, fmt.Errorf("making the winget manifests: %w", err)
	}
	return out, nil
}

func manifests(r format.Recipe) (map[string][]byte, error) {
	if r.Version.IsZero() {
		return nil, errors.New("version is not set")
	}
	if y := r.Time.UTC().Year(); y < 1970 || y > 9999 {
		return nil, fmt.Errorf("time %s is not a release date", r.Time.UTC().Format(time.RFC3339))
	}
	number, _, _ := strings.Cut(r.Version.String(), "+")
	id := cmp.Or(r.ID, word(r.Vendor)+"."+word(r.Name))
	if utf8.RuneCountInString(id) > 128 || !utf8.ValidString(id) || !identifier.MatchString(id) {
		return nil, fmt.Errorf("identifier %.150q is not <Publisher>.<Package> of up to 32 characters each; set the identifier", id)
	}
	h := head{id, number}

	inst, err := installers(r)
	if err != nil {
		return nil, err
	}
	inst.head = h
	loc, err := describe(r)
	if err != nil {
		return nil, err
	}
	loc.head = h

	first, _ := utf8.DecodeRuneInString(id)
	dir := path.Join("manifests", string(unicode.ToLower(first)), strings.ReplaceAll(id, ".", "/"), number)
	out := map[string][]byte{}
	for _, f := range []struct {
		name, kind string
		manifest   any
	}{
		{id, "version", versionManifest{h, locale, tail{"version", manifestVersion}}},
		{id + ".installer", "installer", inst},
		{id + ".locale." + locale, "defaultLocale", loc},
	} {
		b := bytes.NewBufferString("# yaml-language-server: $schema=https://aka.ms/winget-manifest." + f.kind + "." + manifestVersion + ".schema.json\n\n")
		enc := yaml.NewEncoder(b)
		enc.SetIndent(2)
		if err := enc.Encode(f.manifest); err != nil {
			return nil, err
		}
		if err := enc.Close(); err != nil {
			return nil, err
		}
		name := path.Join(dir, f.name+".yaml")
		if err := artifact.CheckPath(name); err != nil {
			return nil, fmt.Errorf("identifier %q: %w", id, err)
		}
		out[name] = b.Bytes()
	}
	return out, nil
}

func installers(r format.Recipe) (installerManifest, error) {
	downloads, err := format.Windows(r)
	if err != nil {
		return installerManifest{}, err
	}
	m := installerManifest{
		InstallerType: "zip", NestedInstallerType: "portable",
		ReleaseDate: r.Time.UTC().Format(time.DateOnly),
		tail:        tail{"installer", manifestVersion},
	}
	for _, d := range downloads {
		i := installer{Architecture: arches[d.Platform.Arch], InstallerURL: d.URL, InstallerSha256: strings.ToUpper(d.Digest.Hex())}
		seen := map[string]bool{}
		for _, p := range d.Programs {
			if !strings.EqualFold(path.Ext(p), ".exe") {
				return installerManifest{}, fmt.Errorf("download for %s: program %q does not end in .exe, as winget requires", d.Platform, p)
			}
			alias := strings.TrimSuffix(path.Base(p), path.Ext(p))
			file := strings.ReplaceAll(path.Join(d.Folder, p), "/", `\`)
			switch {
			case alias == "" || length(alias) > 40:
				return installerManifest{}, fmt.Errorf("download for %s: a command of winget has 1 to 40 characters, %q has %d", d.Platform, alias, length(alias))
			case length(file) > 512:
				return installerManifest{}, fmt.Errorf("download for %s: path %.40q... is longer than 512 characters", d.Platform, file)
			case seen[strings.ToLower(alias)]:
				return installerManifest{}, fmt.Errorf("download for %s: two programs are called %q", d.Platform, alias)
			}
			seen[strings.ToLower(alias)] = true
			i.NestedInstallerFiles = append(i.NestedInstallerFiles, nested{text(file), text(alias)})
			if !slices.Contains(m.Commands, text(alias)) && len(m.Commands) < 16 {
				m.Commands = append(m.Commands, text(alias))
			}
		}
		if len(i.NestedInstallerFiles) > 1024 {
			return installerManifest{}, fmt.Errorf("download for %s has more than 1024 programs", d.Platform)
		}
		m.Installers = append(m.Installers, i)
	}
	return m, nil
}

func describe(r format.Recipe) (localeManifest, error) {
	m := localeManifest{
		PackageLocale: locale,
		Publisher:     line(r.Vendor, 256), PublisherSupportURL: text(r.IssuesURL),
		PackageName: line(cmp.Or(format.Line(r.Title), r.Name), 256),
		PackageURL:  text(cmp.Or(r.Homepage, r.Repository)),
		License:     line(cmp.Or(format.Line(r.License), "Unknown"), 512), LicenseURL: text(r.LicenseURL),
		ShortDescription: line(cmp.Or(format.Line(r.Summary), format.Line(r.Description)), 256),
		Description:      lines(r.Description, 10000),
		Moniker:          text(word(r.Name)),
		ReleaseNotes:     lines(r.Changes, 10000),
		ReleaseNotesURL:  text(cmp.Or(r.NotesURL, r.ReleaseURL)),
		tail:             tail{"defaultLocale", manifestVersion},
	}
	for _, t := range r.Tags {
		t := text(strings.ToLower(strings.ReplaceAll(format.Line(t), " ", "-")))
		if t != "" && length(string(t)) <= 40 && !slices.Contains(m.Tags, t) && len(m.Tags) < 16 {
			m.Tags = append(m.Tags, t)
		}
	}
	// What is optional and shorter than allowed says nothing.
	if utf8.RuneCountInString(string(m.Description)) < 3 || m.Description == m.ShortDescription {
		m.Description = ""
	}
	if length(string(m.Moniker)) > 40 {
		m.Moniker = ""
	}
	for _, f := range []struct {
		name string
		text text
		min  int
	}{{"publisher", m.Publisher, 2}, {"package name", m.PackageName, 2}, {"license", m.License, 3}, {"short description", m.ShortDescription, 3}} {
		if utf8.RuneCountInString(string(f.text)) < f.min {
			return m, fmt.Errorf("%s %q is shorter than the %d characters that winget requires", f.name, f.text, f.min)
		}
	}
	for _, u := range []text{m.PublisherSupportURL, m.PackageURL, m.LicenseURL, m.ReleaseNotesURL} {
		if u == "" {
			continue
		}
		if _, err := format.CheckURL(string(u)); err != nil {
			return m, err
		}
	}
	return m, nil
}

// word is the letters, digits and hyphens of a name.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return -1
	}, s)
}

func line(s string, n int) text { return text(format.Cut(format.Line(s), n)) }

func lines(s string, n int) text { return text(format.Cut(strings.TrimSpace(format.Plain(s)), n)) }

// length counts as Windows does.
func length(s string) int { return len(utf16.Encode([]rune(s))) }
