package class

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/change"
	"github.com/slipway-build/slipway/pipeline/platform/inventory"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/platform/osversion"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/source"
)

// named is what the advisories that a release fixes name of a component.
type named struct {
	packages map[string][]string // versions with the fixes, by package URL
	paths    []string
}

// security holds a release to the advisories that it fixes. Where the third number is for security alone, it changes nothing else.
func security(ctx context.Context, r Release) ([]Finding, error) {
	g := surplus{Release: r, fixes: Fixes(r.Advisories, r.Version), names: map[string]named{}, bare: map[string]bool{}}
	strict := r.Version.IsStable() && r.Version.Patch() > 0 && r.Platform.Numbering == platform.NumberingSecurity
	if len(g.fixes) == 0 {
		if strict {
			g.add("", "no advisory names it as fixed; give it another number, or number fixes of any kind so: numbering: %s", platform.NumberingPatch)
		}
		return g.found, nil
	}
	if err := g.read(); err != nil {
		return nil, err
	}
	before, ok := r.before(r.sameLine)
	if !ok {
		before, ok = r.before(r.sameMajor)
		if strict || !ok && r.Version.Patch() > 0 {
			g.add("", "there is no release of line %s before it, which it could fix", lifecycle.Line(r.Version))
			return g.found, nil
		}
	}
	g.strict = strict
	for _, c := range r.After.Components {
		was, known := before.Component(c.Name)
		if !known {
			if was = c; strict { // its release is compared with itself, for what it has to have
				g.add(c.Name, "component %s is new", c.Name)
			}
		}
		same := was.Commit == c.Commit && was.Manifest == c.Manifest
		if _, fixed := g.names[c.Name]; same && !fixed {
			continue
		}
		pair, err := r.Open(ctx, was, c)
		if err == nil {
			err = g.component(ctx, c, pair)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	if !strict {
		return g.found, nil
	}
	for _, c := range before.Components {
		if _, ok := r.After.Component(c.Name); !ok {
			g.add(c.Name, "component %s is gone", c.Name)
		}
	}
	for _, b := range composition.DiffBases(before, r.After) {
		if !g.system() {
			g.add(b.Name, "%s, and no advisory names a package of a system", b)
		}
	}
	own, err := r.Own(ctx, before.Version)
	if err == nil {
		err = g.paths(ctx, r.Platform.Name, own, func(p string) bool {
			top, _, in := strings.Cut(p, "/")
			return in && (top == lifecycle.AdvisoriesDir || top == lifecycle.RisksDir) || p == platform.FileName || p == platform.LockFileName
		})
	}
	return g.found, err
}

// surplus collects what a security release does besides.
type surplus struct {
	Release
	fixes  []lifecycle.Advisory
	names  map[string]named // by component
	strict bool
	bare   map[string]bool // components without charts
	found  []Finding
}

func (g *surplus) add(place, format string, args ...any) {
	text := fmt.Sprintf("%s is no security release: ", g.Version) + fmt.Sprintf(format, args...)
	g.found = append(g.found, Finding{place, text})
}

// read collects what the advisories name, and refuses what names nothing.
func (g *surplus) read() error {
	for _, a := range g.fixes {
		for _, component := range slices.Sorted(maps.Keys(a.Changes)) {
			if _, ok := g.After.Component(component); !ok && component != g.Platform.Name {
				return fault.Errorf(fault.Usage, "advisory %s changes %s, which is no component of %s", a.ID, component, g.Platform.Name)
			}
			is := g.names[component]
			if is.packages == nil {
				is.packages = map[string][]string{}
			}
			for _, p := range a.Changes[component].Packages {
				name, _, err := inventory.Split(p.PURL)
				if err == nil {
					err = osversion.Check(inventory.Kind(name), p.Fixed)
				}
				if err != nil {
					return fault.Errorf(fault.Usage, "advisory %s, %s: %w", a.ID, component, err)
				}
				is.packages[name] = append(is.packages[name], p.Fixed)
			}
			is.paths = append(is.paths, a.Changes[component].Paths...)
			g.names[component] = is
		}
	}
	return nil
}

// system reports whether an advisory names a package of a distribution, for which a new base is made.
func (g *surplus) system() bool {
	for _, is := range g.names {
		for name := range is.packages {
			if inventory.Kind(name) != "golang" {
				return true
			}
		}
	}
	return false
}

// component looks at one that was changed, or that an advisory names.
func (g *surplus) component(ctx context.Context, c composition.Component, p Pair) error {
	before, after, err := both(p, change.Release.Bills)
	if err != nil {
		return err
	}
	if err := g.whole(c.Name, after); err != nil || !g.strict {
		return err
	}
	if len(after) == 0 && len(p.After.Binaries)+len(p.After.Images) > 0 {
		g.add(c.Name, "%s has no bills of materials, which would say what its go.mod changes", c.Name)
	}
	gone, added := change.Names(before, after)
	for _, name := range gone {
		g.add(c.Name+" "+name, "%s no longer has %s", c.Name, name)
	}
	for _, name := range added {
		g.add(c.Name+" "+name, "%s has %s, which is new", c.Name, name)
	}
	fixed := map[string]bool{} // artifacts whose base has a package that is named
	for _, pkg := range change.Packages(before, after) {
		if _, ok := g.names[c.Name].packages[pkg.Name]; !ok {
			g.add(c.Name+" "+pkg.Name, "%s changes package %s, which no advisory names", c.Name, pkg)
		} else if inventory.Kind(pkg.Name) != "golang" {
			fixed[pkg.Artifact] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		was, is := before[name], after[name]
		if was.System != is.System && slices.Contains(slices.Sorted(maps.Keys(before)), name) {
			g.add(c.Name+" "+name, "%s is on another system in %s: %s -> %s", c.Name, name, was.System, is.System)
		}
		if was.Base != is.Base && !fixed[name] && was.Base != "" {
			g.add(c.Name+" "+name, "%s has another base in %s, and no advisory names a package of it", c.Name, name)
		}
	}
	g.bare[c.Name] = len(p.Before.Charts)+len(p.After.Charts) == 0
	return g.paths(ctx, c.Name, p.Source, nil)
}

// whole refuses half a fix: each package that is named is at the fix in every artifact that has it, and in at least one.
func (g *surplus) whole(component string, bills map[string]inventory.Bill) error {
	packages := g.names[component].packages
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		found := false
		for _, artifact := range slices.Sorted(maps.Keys(bills)) {
			for _, has := range bills[artifact].Packages[name] {
				found = true
				for _, fix := range packages[name] {
					d, err := osversion.Compare(inventory.Kind(name), has, fix)
					if err != nil {
						return fmt.Errorf("%s in %s: %w", name, artifact, err)
					}
					if d < 0 {
						g.found = append(g.found, Finding{component + " " + artifact, fmt.Sprintf("%s is half a fix: %s has %s %s in %s, and the fix is in %s", g.Version, component, name, has, artifact, fix)})
					}
				}
			}
		}
		if !found && len(bills) == 0 {
			g.found = append(g.found, Finding{component + " " + name, fmt.Sprintf("%s is no fix that can be seen: %s has no bill of materials, which would say whether %s is fixed", g.Version, component, name)})
		}
	}
	return nil
}

// paths looks at the files that were changed. also is what else is free.
func (g *surplus) paths(ctx context.Context, name string, s Source, also func(string) bool) error {
	if s.Before == s.After {
		return nil
	}
	paths, err := change.Paths(ctx, g.Environ, s.Dir, s.Before, s.After)
	if err != nil {
		return err
	}
	for _, p := range paths {
		if g.foreign(name, p) || also != nil && also(p) {
			continue
		}
		if path.Base(p) == "go.mod" {
			if err := g.module(ctx, name, s, p); err != nil {
				return err
			}
			continue
		}
		if !g.free(name, p) && !slices.ContainsFunc(g.names[name].paths, func(glob string) bool { return Match(glob, p) }) {
			g.add(name+" "+p, "%s changes %s, which no advisory names", name, p)
		}
	}
	return nil
}

// foreign reports whether a path is in the folder of another project of the same repository.
func (g *surplus) foreign(name, p string) bool {
	is, ok := g.Platform.Components[name]
	for other, c := range g.Platform.Components {
		if ok && other != name && c.Repository == is.Repository && strings.HasSuffix(c.TagPrefix, "/") &&
			strings.HasPrefix(p, c.TagPrefix) && !strings.HasPrefix(is.TagPrefix, c.TagPrefix) {
			return true
		}
	}
	return false
}

// free are the files whose effect is seen elsewhere, in packages and bases, and those that say what a release is.
func (g *surplus) free(name, p string) bool {
	own := strings.TrimPrefix(p, g.Platform.Components[name].TagPrefix)
	switch own {
	case "VERSION", "CHANGELOG.md":
		return true
	case "slipway.lock": // pins bases, which bills of materials show, and what charts depend on, which nothing shows
		return g.bare[name]
	}
	if path.Base(p) == "go.sum" {
		return true
	}
	rest, vendored := strings.CutPrefix(own, "vendor/")
	if !vendored {
		return false
	}
	for purl := range g.names[name].packages {
		module, ok := strings.CutPrefix(purl, "pkg:golang/")
		if ok && strings.HasPrefix(rest, module+"/") {
			return true
		}
	}
	return rest == "modules.txt" && len(g.names[name].packages) > 0
}

// maxModule bounds a go.mod, in bytes.
const maxModule = 1 << 20

// module looks at a go.mod. What it requires is seen in the packages; what it says of the behaviour of the runtime is not, nor is a module
// that a folder stands in for.
func (g *surplus) module(ctx context.Context, name string, s Source, file string) error {
	var sides [2]string
	for i, commit := range []string{s.Before, s.After} {
		at, err := source.Find(ctx, s.Dir, commit)
		if err != nil {
			return err
		}
		b, err := at.Blob(ctx, file, maxModule)
		if err != nil {
			return err
		}
		f, err := modfile.Parse(file, b, nil)
		if err != nil {
			return fault.Errorf(fault.Git, "commit %.12s: %w", commit, err)
		}
		var says []string
		for _, d := range f.Godebug {
			says = append(says, "godebug "+d.Key+"="+d.Value)
		}
		for _, r := range f.Replace {
			if r.New.Version == "" {
				says = append(says, "replace "+r.Old.String()+" => "+r.New.Path)
			}
		}
		if f.Module != nil {
			says = append(says, "module "+f.Module.Mod.Path)
		}
		slices.Sort(says)
		sides[i] = strings.Join(says, "; ")
	}
	if sides[0] != sides[1] && !slices.ContainsFunc(g.names[name].paths, func(glob string) bool { return Match(glob, file) }) {
		g.add(name+" "+file, "%s changes more in %s than what is required: %s", name, file, sides[1])
	}
	return nil
}

// Match reports whether a path is one of a pattern: a * is part of a name, and ** any number of folders.
func Match(glob, p string) bool {
	return match(strings.Split(glob, "/"), strings.Split(p, "/"))
}

func match(glob, p []string) bool {
	// reach[i] is whether what was read of the pattern can have taken the first i parts: no pattern costs more than both lengths.
	reach := make([]bool, len(p)+1)
	reach[0] = true
	for _, part := range glob {
		next := make([]bool, len(p)+1)
		for i, ok := range reach {
			switch {
			case !ok:
			case part == "**":
				for j := i; j <= len(p); j++ {
					next[j] = true
				}
			case i < len(p):
				if is, err := path.Match(part, p[i]); is && err == nil {
					next[i+1] = true
				}
			}
		}
		reach = next
	}
	return reach[len(p)]
}
