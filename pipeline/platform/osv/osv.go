// Package osv says which vulnerabilities installed packages have, by files in the OSV format (https://ossf.github.io/osv-schema/) on
// disk. Nothing is asked of any server: what the files do not say is not known here.
package osv

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/platform/inventory"
	"github.com/slipway-build/slipway/pipeline/platform/osversion"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of what is read.
const (
	maxRecord  = 4 << 20 // bytes of a file
	maxRecords = 1 << 20
)

// Package is an installed package of a distribution.
type Package struct {
	Kind, Name, Version   string // Kind is apk, deb or rpm
	Source, SourceVersion string // of what it was built from; its own where nothing else is said
}

// Image is what is installed in an image of one platform.
type Image struct {
	Name     string
	System   string // distribution and its release: alpine-3.22.1
	Packages []Package
}

// ReadImage reads what is installed out of a bill of materials in CycloneDX.
func ReadImage(name string, bill []byte) (Image, error) {
	all, err := inventory.ReadInstalled(bill)
	if err != nil {
		return Image{}, err
	}
	im := Image{Name: name}
	for _, is := range all {
		p := Package{Kind: is.Kind, Name: is.Name, Version: is.Version}
		p.Source, p.SourceVersion, _ = strings.Cut(is.Upstream, "@")
		p.Source, p.SourceVersion = cmp.Or(p.Source, p.Name), cmp.Or(p.SourceVersion, p.Version)
		if p.Kind == "rpm" { // whose vulnerabilities are told by the names of what is installed
			p.Source, p.SourceVersion = p.Name, p.Version
		}
		im.System = cmp.Or(im.System, is.Distro)
		im.Packages = append(im.Packages, p)
	}
	return im, nil
}

// Finding is a vulnerability that a package has.
type Finding struct {
	Image   string   `json:"image"`
	ID      string   `json:"id"`
	Aliases []string `json:"aliases,omitempty"`
	Package string   `json:"package"`
	Version string   `json:"version"`
	Fixed   string   `json:"fixed,omitempty"` // the first version that does not have it, where there is one
	// Unclear says why it is not known whether the package has it: then it counts as if it had.
	Unclear string `json:"unclear,omitempty"`
}

// record is a file in the OSV format, as far as it is read.
type record struct {
	ID        string   `json:"id"`
	Aliases   []string `json:"aliases"`
	Upstream  []string `json:"upstream"`
	Withdrawn string   `json:"withdrawn"`
	Affected  []struct {
		Package struct {
			Ecosystem string `json:"ecosystem"`
			Name      string `json:"name"`
		} `json:"package"`
		Ranges []struct {
			Type   string  `json:"type"`
			Events []event `json:"events"`
		} `json:"ranges"`
		Versions []string `json:"versions"`
	} `json:"affected"`
}

// event is a version at which a package begins or ends to be vulnerable; one of the three is set.
type event struct {
	Introduced   string `json:"introduced"`
	Fixed        string `json:"fixed"`
	LastAffected string `json:"last_affected"`
}

// Find are the vulnerabilities of the images, by all files of a tree that end in .json, sorted. An image whose distribution no file speaks of
// is a fault.Usage, since nothing is known of it; so is a file that is not in the format.
func Find(ctx context.Context, tree fs.FS, images []Image) ([]Finding, error) {
	sources := make([]map[string][]Package, len(images))
	spoken := make([]bool, len(images))
	for i, im := range images {
		sources[i] = map[string][]Package{}
		for _, p := range im.Packages {
			sources[i][p.Source] = append(sources[i][p.Source], p)
		}
	}
	var found []Finding
	records := 0
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".json" {
			return cmp.Or(err, ctx.Err())
		}
		if records++; records > maxRecords {
			return fmt.Errorf("there are more than %d", maxRecords)
		}
		b, err := bounded.FS(tree, name, maxRecord)
		if err != nil {
			return err
		}
		var r record
		if err := canonjson.DecodeOpen(b, &r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if r.ID == "" {
			return fmt.Errorf("%s: it has no id, so it is not in the OSV format", name)
		}
		for i, im := range images {
			for _, a := range r.Affected {
				if !speaksOf(a.Package.Ecosystem, im.System) {
					continue
				}
				spoken[i] = true
				if r.Withdrawn != "" {
					continue
				}
				for _, p := range sources[i][a.Package.Name] {
					f := Finding{Image: im.Name, ID: r.ID, Aliases: append(slices.Clone(r.Aliases), r.Upstream...), Package: p.Name, Version: p.Version}
					has := slices.Contains(a.Versions, p.SourceVersion)
					for _, rng := range a.Ranges {
						if rng.Type != "ECOSYSTEM" {
							continue // commits, which no package is told by
						}
						within, fixed, err := in(p.Kind, p.SourceVersion, rng.Events)
						if err != nil {
							f.Unclear = err.Error()
						}
						if within {
							f.Fixed = cmp.Or(f.Fixed, fixed)
						}
						has = has || within
					}
					if has || f.Unclear != "" {
						found = append(found, f)
					}
				}
			}
		}
		return ctx.Err()
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for i, im := range images {
		if err == nil && !spoken[i] {
			err = fmt.Errorf("no file speaks of %s, which %s is of", cmp.Or(im.System, "its distribution"), im.Name)
		}
	}
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Image, b.Image), cmp.Compare(a.Package, b.Package), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Version, b.Version))
	})
	return slices.CompactFunc(found, func(a, b Finding) bool {
		return a.Image == b.Image && a.Package == b.Package && a.ID == b.ID && a.Version == b.Version
	}), nil
}

// in reports whether a version is in a range, and the first one behind it that is not.
func in(kind, v string, events []event) (within bool, fixed string, err error) {
	since := "" // the last introduction that is not behind the version
	less := func(a, b string) bool {
		switch { // 0 is before every version
		case b == "0":
			return false
		case a == "0":
			return true
		}
		n, wrong := osversion.Compare(kind, a, b)
		if wrong != nil && err == nil {
			err = wrong
		}
		return n < 0
	}
	for _, e := range events {
		if e.Introduced != "" && !less(v, e.Introduced) && (since == "" || less(since, e.Introduced)) {
			since = e.Introduced
		}
	}
	if since == "" {
		return false, "", err
	}
	for _, e := range events {
		switch {
		case e.Fixed != "" && less(since, e.Fixed):
			if !less(v, e.Fixed) {
				return false, "", err
			}
			if fixed == "" || less(e.Fixed, fixed) {
				fixed = e.Fixed
			}
		case e.LastAffected != "" && !less(e.LastAffected, since) && less(e.LastAffected, v):
			return false, "", err
		}
	}
	return true, fixed, err
}

// names are what OSV calls distributions (https://ossf.github.io/osv-schema/#affectedpackage-field), by what they call themselves.
var names = map[string]string{
	"alpine": "Alpine", "debian": "Debian", "ubuntu": "Ubuntu", "rhel": "Red Hat", "rocky": "Rocky Linux", "almalinux": "AlmaLinux", "wolfi": "Wolfi", "chainguard": "Chainguard",
}

// speaksOf reports whether an ecosystem is that of a system, such as Alpine:v3.22 of alpine-3.22.1. One without a release is of all.
func speaksOf(ecosystem, system string) bool {
	id, release, _ := strings.Cut(system, "-")
	name, rest, hasRelease := strings.Cut(ecosystem, ":")
	if want, ok := names[id]; !ok || name != want {
		return false
	}
	if !hasRelease {
		return true
	}
	major, _, _ := strings.Cut(release, ".")
	short := release
	if parts := strings.SplitN(release, ".", 3); len(parts) > 2 {
		short = parts[0] + "." + parts[1]
	}
	switch id {
	case "alpine":
		return rest == "v"+short
	case "ubuntu":
		return rest == release || rest == release+":LTS"
	case "rhel": // Red Hat:enterprise_linux:9::baseos
		product, of, _ := strings.Cut(rest, ":")
		of, _, _ = strings.Cut(of, ":")
		return product == "enterprise_linux" && (of == major || of == short)
	}
	return rest == major || rest == short
}
