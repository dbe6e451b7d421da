package plan

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

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
	Platform artifact.Platform `json:"platform,omitzero"`
	Path     string            `json:"path"` // without .cdx.json or .spdx.json
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
	built := p.described(c, out)
	programs := c.Binaries
	if len(programs) == 0 {
		for _, b := range p.cfg.Binaries {
			programs = append(programs, b.Name)
		}
	}
	binaries := together(out.Binaries, programs)
	for _, f := range format.All {
		if len(c.Formats) > 0 && !slices.Contains(c.Formats, f.Name) {
			continue
		}
		name := f.NameOf(format.Facts{Name: built.Name, ID: c.ID(f.Name), Title: out.Project.Title, Vendor: out.Project.Vendor})
		made, err := 0, error(nil)
		if f.Carries {
			made, err = p.carriers(&built, f, name, binaries)
		} else {
			made, err = p.recipe(&built, f, name, binaries, out.Archives)
		}
		if err != nil {
			return Package{}, fmt.Errorf("%s: %s: %s: %w; remove %s from formats", p.cfg.At(key+".formats"), key, f.Name, err, f.Name)
		}
		// A format that was named is wanted, unless the plan was narrowed.
		if made == 0 && len(c.Formats) > 0 && len(p.o.Targets) == 0 {
			suitable := "one such as windows/amd64, darwin/arm64 or linux/amd64"
			if f.Carries {
				suitable = "one such as linux/amd64"
			}
			return Package{}, fmt.Errorf("%s: %s: no target of %s can be packaged as %s; add %s, or remove %s from formats",
				p.cfg.At(key+".formats"), key, strings.Join(programs, ", "), f.Name, suitable, f.Name)
		}
		if made > 0 {
			built.special(f, c)
		}
	}
	return built, nil
}

// described is the package without what it is made as.
func (p planner) described(c config.Package, out Plan) Package {
	built := Package{
		Name:        c.PackageName(p.cfg.Project.Name),
		Summary:     cmp.Or(c.Summary, summary(cmp.Or(p.cfg.Project.Description, c.Description, out.Project.Title))),
		Description: cmp.Or(c.Description, out.Project.Description),
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
	return built
}

// special adds what only packages of one format have.
func (p *Package) special(f format.Format, c config.Package) {
	switch f.Name {
	case format.Snap.Name:
		p.Snap = &Snap{
			Confinement: cmp.Or(c.Snap.Confinement, "strict"), Plugs: c.Snap.Plugs,
			Compression: cmp.Or(c.Snap.Compression, "xz"), NoServices: c.Snap.Services == "none",
		}
		if len(p.Snap.Plugs) == 0 && p.Snap.Confinement != "classic" { // which confines nothing
			p.Snap.Plugs = []string{"home", "network"}
		}
	case format.Nupkg.Name:
		p.Tags = c.Nupkg.Tags
	}
}

// together are the paths of binaries by platform, for the platforms that have all of the named ones.
func together(binaries []Binary, names []string) map[artifact.Platform][]string {
	all := map[artifact.Platform][]string{}
	for _, b := range binaries {
		if slices.Contains(names, b.Name) {
			all[b.Platform] = append(all[b.Platform], b.Path)
		}
	}
	maps.DeleteFunc(all, func(_ artifact.Platform, paths []string) bool { return len(paths) < len(names) })
	return all
}

// carriers adds the packages of a format that carry their files and says how many these are. Of two platforms that the
// format has one name for, the first is taken.
func (p planner) carriers(to *Package, f format.Format, name string, binaries map[artifact.Platform][]string) (int, error) {
	seen := map[string]bool{}
	for _, pl := range slices.SortedFunc(maps.Keys(binaries), artifact.Platform.Compare) {
		arch, ok := f.Arch(pl)
		if !ok || seen[arch] {
			continue
		}
		seen[arch] = true
		v, err := f.Version(p.src.Version)
		if err != nil {
			return 0, err
		}
		to.Carriers = append(to.Carriers, Carrier{
			Format: f.Name, Name: name, Version: v, Architecture: arch, Platform: pl, Binaries: binaries[pl],
			Path: f.Path(format.Names{Project: p.cfg.Project.Name, Name: name, Version: v, Arch: arch}),
		})
	}
	return len(seen), nil
}

// recipe adds the recipe of a format and says how many archives it fetches; without any there is none.
func (p planner) recipe(to *Package, f format.Format, name string, binaries map[artifact.Platform][]string, archives []Archive) (int, error) {
	r := Recipe{Format: f.Name, Name: name}
	for _, a := range archives {
		if binaries[a.Platform] != nil && f.Suits(a.Platform) {
			r.Archives = append(r.Archives, a.Path)
		}
	}
	if len(r.Archives) == 0 {
		return 0, nil
	}
	var err error
	if r.Version, err = f.Version(p.src.Version); err != nil {
		return 0, err
	}
	r.Path = f.Path(format.Names{Project: p.cfg.Project.Name, Name: name, Version: r.Version})
	to.Recipes = append(to.Recipes, r)
	return len(r.Archives), nil
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
