package plan

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Package is what one entry of packages makes.
type Package struct {
	Name        string              `json:"name"`
	Summary     string              `json:"summary"`
	Description string              `json:"description"`
	Maintainer  string              `json:"maintainer"`
	Section     string              `json:"section"`
	Manuals     []string            `json:"manuals,omitempty"`     // patterns in the tree
	Completions map[string]string   `json:"completions,omitempty"` // files of the tree by shell
	Units       []string            `json:"units,omitempty"`       // files of the tree
	Files       map[string]string   `json:"files,omitempty"`       // files of the tree by path on the target
	Depends     map[string][]string `json:"depends,omitempty"`     // by format
	Test        []string            `json:"test"`                  // arguments that print the version
	Snap        *Snap               `json:"snap,omitempty"`
	Tags        []string            `json:"tags,omitempty"` // words to find a nupkg by
	Carriers    []Carrier           `json:"carriers"`
	Recipes     []Recipe            `json:"recipes"`
}

// Snap is what only snaps have.
type Snap struct {
	Confinement string   `json:"confinement"`
	Plugs       []string `json:"plugs,omitempty"`
	Compression string   `json:"compression"`
	NoServices  bool     `json:"noServices,omitempty"` // leaves the units out
}

// Carrier is a package for one platform that carries its files. Name, version and architecture are in the format's own
// words.
type Carrier struct {
	Format       string            `json:"format"`
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Architecture string            `json:"architecture"`
	Platform     artifact.Platform `json:"platform"`
	Path         string            `json:"path"`
	Binaries     []string          `json:"binaries"` // paths in dist/
}

// Recipe is what a package manager reads that fetches archives of the release.
type Recipe struct {
	Format   string   `json:"format"`
	Name     string   `json:"name"`
	Version  string   `json:"version"`  // in the format's own words
	Path     string   `json:"path"`     // of the file; of the folder for winget, which wants several
	Archives []string `json:"archives"` // paths in dist/
}

// SBOM is what a binary, an archive or an image for one platform consists of, in two formats.
type SBOM struct {
	Kind     artifact.Kind     `json:"kind"`
	Subject  string            `json:"subject"` // path in dist/; repository and tag of an image
	Platform artifact.Platform `json:"platform"`
	Path     string            `json:"path"` // without .cdx.json or .spdx.json
}

// carriers are the formats of packages that carry their files, in the order of the plan.
var carriers = []format.Format{format.Deb, format.RPM, format.APK, format.Snap}

// fetchers say which archives a format has a use for and where its recipe is put.
var fetchers = []struct {
	format string
	uses   func(artifact.Platform) bool
	path   func(name, version string) string
}{
	{"nupkg", windows, func(name, version string) string { return "packages/" + format.Nupkg.File(name, version, "") }},
	{"formula", brewed, func(name, _ string) string { return "packages/homebrew/Formula/" + name + ".rb" }},
	{"cask", brewed, func(name, _ string) string { return "packages/homebrew/Casks/" + name + ".rb" }},
	{"scoop", windows, func(name, _ string) string { return "packages/scoop/" + name + ".json" }},
	{"winget", windows, func(name, _ string) string { return "packages/winget/" + name }},
	{"script", unix, func(name, _ string) string { return "packages/" + name + "-install.sh" }},
}

// windows are the platforms of Windows that package managers there know.
func windows(p artifact.Platform) bool { return p.OS == "windows" && p.Variant == "" }

// brewed are the platforms that Homebrew runs on (https://docs.brew.sh/Support-Tiers).
func brewed(p artifact.Platform) bool {
	return (p.OS == "darwin" || p.OS == "linux") && (p.Arch == "amd64" || p.Arch == "arm64") && p.Variant == ""
}

// unix are the platforms that a shell script installs on.
func unix(p artifact.Platform) bool {
	return p.OS != "windows" && p.OS != "plan9" && (p.Variant == "" || p.Arch == "arm")
}

func (p planner) packages(out Plan) ([]Package, error) {
	all := []Package{}
	for i, c := range p.cfg.Packages {
		key := fmt.Sprintf("packages[%d]", i)
		built, err := p.pkg(key, c, out)
		if err != nil {
			return nil, err
		}
		all = append(all, built)
	}
	return all, nil
}

func (p planner) pkg(key string, c config.Package, out Plan) (Package, error) {
	name := c.PackageName(p.cfg.Project.Name)
	description := cmp.Or(c.Description, out.Project.Description)
	built := Package{
		Name:        name,
		Summary:     cmp.Or(c.Summary, summary(cmp.Or(p.cfg.Project.Description, c.Description, out.Project.Title))),
		Description: description,
		Maintainer:  cmp.Or(c.Maintainer, maintainer(out.Project.Vendor, p.cfg.Project.Repository)),
		Section:     cmp.Or(c.Section, "utils"),
		Manuals:     c.Manuals,
		Completions: c.Completions,
		Units:       c.Units,
		Files:       c.Files,
		Depends:     c.Depends,
		Test:        c.Test,
		Carriers:    []Carrier{},
		Recipes:     []Recipe{},
	}
	if len(built.Test) == 0 {
		built.Test = []string{"--version"}
	}
	wanted := c.Binaries
	if len(wanted) == 0 {
		for _, b := range p.cfg.Binaries {
			wanted = append(wanted, b.Name)
		}
	}
	// A platform has a use for the package if it has every binary of it.
	byPlatform := map[artifact.Platform][]string{}
	for _, b := range out.Binaries {
		if slices.Contains(wanted, b.Name) {
			byPlatform[b.Platform] = append(byPlatform[b.Platform], b.Path)
		}
	}
	maps.DeleteFunc(byPlatform, func(_ artifact.Platform, paths []string) bool { return len(paths) < len(wanted) })
	platforms := slices.SortedFunc(maps.Keys(byPlatform), artifact.Platform.Compare)

	named := func(format string) bool { return len(c.Formats) == 0 || slices.Contains(c.Formats, format) }
	// empty is what to do where a format would have nothing: an error where it was asked for.
	empty := func(format, what string) error {
		if len(c.Formats) == 0 || len(p.o.Targets) > 0 {
			return nil
		}
		return fmt.Errorf("%s: %s: %s has no use for any target of %s; add %s or take %s out of formats",
			p.cfg.At(key+".formats"), key, format, strings.Join(wanted, ", "), what, format)
	}
	for _, f := range carriers {
		if !named(f.Name) {
			continue
		}
		files, err := p.carriers(key, f, c, name, platforms, byPlatform)
		if err != nil {
			return Package{}, err
		}
		if len(files) == 0 {
			if err := empty(f.Name, "one such as linux/amd64"); err != nil {
				return Package{}, err
			}
		}
		built.Carriers = append(built.Carriers, files...)
		if f.Name == format.Snap.Name && len(files) > 0 {
			built.Snap = &Snap{
				Confinement: cmp.Or(c.Snap.Confinement, "strict"), Plugs: c.Snap.Plugs,
				Compression: cmp.Or(c.Snap.Compression, "xz"), NoServices: c.Snap.Services == "none",
			}
			if len(built.Snap.Plugs) == 0 && built.Snap.Confinement != "classic" { // which confines nothing
				built.Snap.Plugs = []string{"home", "network"}
			}
		}
	}
	for _, f := range fetchers {
		if !named(f.format) {
			continue
		}
		r := Recipe{Format: f.format, Name: name, Version: p.src.Version.String()}
		for _, a := range out.Archives {
			if slices.Contains(platforms, a.Platform) && f.uses(a.Platform) {
				r.Archives = append(r.Archives, a.Path)
			}
		}
		if len(r.Archives) == 0 {
			if err := empty(f.format, "one such as windows/amd64, darwin/arm64 or linux/amd64"); err != nil {
				return Package{}, err
			}
			continue
		}
		switch f.format {
		case format.Nupkg.Name:
			var err error
			r.Name = cmp.Or(c.Nupkg.ID, name)
			if r.Version, err = format.Nupkg.Version(p.src.Version); err != nil {
				return Package{}, fmt.Errorf("%s: %s: %s: %w", p.cfg.At(key+".formats"), key, f.format, err)
			}
			built.Tags = c.Nupkg.Tags
		case "winget":
			r.Name = cmp.Or(c.Winget.ID, identifier(out.Project.Vendor)+"."+identifier(out.Project.Title))
		}
		r.Path = f.path(r.Name, r.Version)
		if f.format == "script" && name == p.cfg.Project.Name {
			r.Path = "packages/install.sh"
		}
		built.Recipes = append(built.Recipes, r)
	}
	return built, nil
}

// carriers are the packages of one format. Of two platforms that the format has one name for, the first is taken.
func (p planner) carriers(key string, f format.Format, c config.Package, name string, platforms []artifact.Platform, binaries map[artifact.Platform][]string) ([]Carrier, error) {
	var out []Carrier
	if f.Name == format.Snap.Name {
		name = cmp.Or(c.Snap.Name, name)
	}
	seen := map[string]bool{}
	for _, pl := range platforms {
		arch, ok := f.Arch(pl)
		if !ok || seen[arch] {
			continue
		}
		seen[arch] = true
		v, err := f.Version(p.src.Version)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %s: %w; take %s out of formats", p.cfg.At(key+".formats"), key, f.Name, err, f.Name)
		}
		out = append(out, Carrier{
			Format: f.Name, Name: name, Version: v, Architecture: arch, Platform: pl,
			Path: "packages/" + f.File(name, v, arch), Binaries: binaries[pl],
		})
	}
	return out, nil
}

// maintainer is the vendor, with the address that GitHub gives the owner of a repository there
// (https://docs.github.com/account-and-profile/reference/email-addresses-reference#your-noreply-email-address). Debian
// wants an address; elsewhere none is known.
func maintainer(vendor, repository string) string {
	if !strings.HasPrefix(repository, "https://github.com/") || strings.ContainsAny(vendor, "<>@") {
		return vendor
	}
	return vendor + " <" + owner(repository) + "@users.noreply.github.com>"
}

// summary is the first sentence of a description, cut at a word to what the strictest format takes.
func summary(description string) string {
	const most = 78
	s := strings.Join(strings.Fields(description), " ")
	if i := strings.Index(s, ". "); i > 0 {
		s = s[:i]
	}
	s = strings.TrimRight(s, ".")
	if r := []rune(s); len(r) > most {
		s = string(r[:most])
		if i := strings.LastIndex(s, " "); i > most/2 {
			s = s[:i]
		}
		s = strings.TrimRight(s, " ,;:.-")
	}
	return s
}

// identifier is text without what an identifier of winget may not have.
func identifier(s string) string {
	return cmp.Or(strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-') {
			return r
		}
		return -1
	}, s), "Unknown")
}

// sboms are the bills of materials: of every binary, of every archive, and of every image for each of its platforms.
func sboms(out Plan) []SBOM {
	all := []SBOM{}
	for _, b := range out.Binaries {
		all = append(all, SBOM{Kind: artifact.Binary, Subject: b.Path, Platform: b.Platform, Path: "sbom/" + path.Base(path.Dir(b.Path))})
	}
	for _, a := range out.Archives {
		all = append(all, SBOM{Kind: artifact.Archive, Subject: a.Path, Platform: a.Platform, Path: "sbom/" + path.Base(a.Path)})
	}
	repositories := map[string]string{} // by the last part of the name; "" where several have it
	for _, im := range out.Images {
		base := path.Base(im.Repository)
		if other, ok := repositories[base]; ok && other != im.Repository {
			repositories[base] = ""
		} else if !ok {
			repositories[base] = im.Repository
		}
	}
	for _, im := range out.Images {
		name := path.Base(im.Repository)
		if repositories[name] == "" {
			name = strings.NewReplacer("/", "_", ":", "_").Replace(im.Repository)
		}
		for _, pl := range im.Platforms {
			all = append(all, SBOM{
				Kind: artifact.Image, Subject: im.Repository + ":" + im.Tags[0], Platform: pl.Platform,
				Path: fmt.Sprintf("sbom/%s_%s_%s", name, im.Tags[0], pl.Platform.Slug()),
			})
		}
	}
	return all
}
