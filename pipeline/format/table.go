package format

import (
	"cmp"
	"regexp"
	"slices"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Format is all that is known of a format without a library: how it writes names, what it suits, where it goes. What
// needs a library is in tables of functions by name: format/writers, format/inspect, format/compare and publish/tap.
type Format struct {
	// Name of the format, in configurations and manifests: deb.
	Name string
	// Carries says that its packages carry their files. One of any other format is a recipe, which fetches archives of
	// the release.
	Carries bool
	// Ending of the file that a verifier opens.
	Ending string
	// Offered says that people download the recipe as it is. A package always is.
	Offered bool
	// Goes is the key below publish that carries it; "" where it is only downloaded.
	Goes string
	// Kept is the folder of a repository of recipes that has those of the format; "" where they are not in one, or each version is
	// in a folder of its own.
	Kept string
	// Arch is the format's name for a platform; false where the format does not suit it. One recipe is for all platforms
	// that it suits, so it has no names.
	Arch func(artifact.Platform) (string, bool)
	// Version is the format's way to write a version, so that it sorts as SemVer does. An error says what cannot be
	// written.
	Version func(version.Version) (string, error)
	// Revision is what the file says behind the version and a hyphen; "" where versions have none.
	Revision string
	// Path is where the file is below dist/.
	Path func(Names) string
	// Called is the name of a project's package; nil is the one that the configuration has for the format, else the
	// package's.
	Called func(Facts) string
	// Unfit is why a project cannot have the format, and what would change that; "" where it can. It is nil where every
	// project can.
	Unfit func(Facts) string
	// Relation is the grammar by which a package names others that it needs; nil where it cannot. The formats of
	// distributions have one.
	Relation *Grammar
	// Zsh is the folder for completions of zsh where it is not the usual one.
	Zsh string
	// Folder says that a recipe is several files: Path is their folder, and the one with Ending names the archives.
	Folder bool
	// Inner says which of the files in a recipe have checksums; nil where the recipe is one text.
	Inner *Inner
	// Choose is what a recipe takes an archive for: of several for one it takes one, and for "" none. It is nil where it
	// takes one for each platform.
	Choose func(artifact.Platform) string
}

// Names decide the path of a package. Name, version and architecture are in the format's own words.
type Names struct {
	Project, Name, Version string
	Arch                   string // "" of a recipe
}

// Facts decide what a package is called in a format, and whether it can have the format.
type Facts struct {
	Name     string // of the package
	ID       string // what the configuration has as its name for this format; ""
	Title    string
	Vendor   string
	License  string   // SPDX expression, or ""
	Programs []string // names of the binaries
}

// Grammar is that of one relation.
type Grammar struct {
	Pattern *regexp.Regexp
	Example string
}

// Inner is where the checksums are in a recipe that is an archive itself.
type Inner struct {
	Script string                 // path of the file that fetches
	Sums   func(name string) bool // whether people or the package manager take checksums from a file
}

// All are the formats in the order of plans and of the documentation: first those that carry their files.
var All = []Format{Deb, RPM, APK, Snap, Nupkg, Formula, Cask, Scoop, Winget, Script}

// Find finds a format by its name.
func Find(name string) (Format, bool) {
	i := slices.IndexFunc(All, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return Format{}, false
	}
	return All[i], true
}

// Where returns the names of the formats that a condition holds for, in the order of All; every name where it is nil.
func Where(holds func(Format) bool) []string {
	var names []string
	for _, f := range All {
		if holds == nil || holds(f) {
			names = append(names, f.Name)
		}
	}
	return names
}

// NameOf is what a project's package is called in the format.
func (f Format) NameOf(facts Facts) string {
	if f.Called != nil {
		return f.Called(facts)
	}
	return cmp.Or(facts.ID, facts.Name)
}

// Suits reports whether the format has a use for a platform.
func (f Format) Suits(p artifact.Platform) bool {
	_, ok := f.Arch(p)
	return ok
}

// Going returns the packages and the recipes of a release that a key below publish carries.
func Going(rel manifest.Release, key string) ([]manifest.Package, []manifest.Recipe) {
	goes := func(name string) bool {
		f, ok := Find(name)
		return ok && f.Goes == key
	}
	return slices.DeleteFunc(slices.Clone(rel.Packages), func(p manifest.Package) bool { return !goes(p.Format) }),
		slices.DeleteFunc(slices.Clone(rel.Recipes), func(r manifest.Recipe) bool { return !goes(r.Format) })
}

// Offered reports whether a file of a release is one that people download from a page: archives, packages, charts, bills
// of materials, provenance, and of the recipes those that are used as they are. Programs are in the archives, images in
// their registries, other recipes where their package managers look.
func Offered(rel manifest.Release, file artifact.File) bool {
	switch file.Kind {
	case artifact.Archive, artifact.Package, artifact.Chart, artifact.SBOM, artifact.Provenance:
		return true
	case artifact.Recipe:
		return slices.ContainsFunc(rel.Recipes, func(r manifest.Recipe) bool {
			f, ok := Find(r.Format)
			return ok && f.Offered && r.Path == file.Path
		})
	}
	return false
}
