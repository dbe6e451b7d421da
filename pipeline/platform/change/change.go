// Package change says what differs between two releases of a component: the files of its source, and in what was made of them the
// packages, the bases and the distributions. It judges nothing.
package change

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/platform/inventory"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// Release is a release in a folder, of which the files that are asked for are there.
type Release struct {
	manifest.Release
	Dir string
}

// Open opens the release in a folder whose release.json has a digest.
func Open(dir string, is artifact.Digest) (Release, error) {
	name := filepath.Join(dir, manifest.FileName)
	rel, err := manifest.Load(name)
	if err != nil {
		return Release{}, fault.New(fault.Mismatch, err)
	}
	b, err := bounded.File(name, 64<<20)
	if err != nil {
		return Release{}, fault.New(fault.Mismatch, err)
	}
	if now := artifact.Sum(b); now != is {
		return Release{}, fault.Errorf(fault.Mismatch, "%s is %s, and %s was locked: it was made again, or is another one", name, now.Short(), is.Short())
	}
	return Release{rel, dir}, nil
}

// File is the content of a file of the release, held to its digest.
func (r Release) File(path string, limit int64) ([]byte, error) {
	i := slices.IndexFunc(r.Files, func(f artifact.File) bool { return f.Path == path })
	if i < 0 {
		return nil, fault.Errorf(fault.Mismatch, "%s has no file %.120q", r.Dir, path)
	}
	b, err := bounded.File(filepath.Join(r.Dir, filepath.FromSlash(path)), limit)
	if err == nil && artifact.Sum(b) != r.Files[i].Digest {
		err = fmt.Errorf("%s is damaged: it is not what release.json says", path)
	}
	return b, fault.New(fault.Mismatch, err)
}

// Artifact is what a file of a release is called whatever the version: without it.
func (r Release) Artifact(path string) string {
	return strings.ReplaceAll(path, r.Version.String(), "VERSION")
}

// Bills are the bills of materials of the release, by artifact. Of a release without any there are none.
func (r Release) Bills() (map[string]inventory.Bill, error) {
	all := map[string]inventory.Bill{}
	for _, s := range r.SBOMs {
		if s.Format != "cyclonedx" {
			continue
		}
		bill, err := r.bill(s.Path)
		if err != nil {
			return nil, fault.Errorf(fault.Mismatch, "%s: %w", filepath.Join(r.Dir, filepath.FromSlash(s.Path)), err)
		}
		all[r.Artifact(strings.TrimPrefix(strings.TrimSuffix(s.Path, ".cdx.json"), "sbom/"))] = bill
	}
	return all, nil
}

// bill reads a bill twice, once for its digest, so that none is ever whole in memory.
func (r Release) bill(path string) (b inventory.Bill, err error) {
	i := slices.IndexFunc(r.Files, func(f artifact.File) bool { return f.Path == path })
	if i < 0 {
		return b, errors.New("release.json does not list it")
	}
	name := filepath.Join(r.Dir, filepath.FromSlash(path))
	is, _, err := artifact.SumFile(name)
	if err != nil {
		return b, err
	}
	if is != r.Files[i].Digest {
		return b, errors.New("it is damaged: it is not what release.json says")
	}
	f, err := os.Open(name)
	if err != nil {
		return b, err
	}
	defer f.Close()
	return inventory.Read(f)
}

// Package is a package that differs in an artifact: Before is empty for one that is new, After for one that is gone.
type Package struct {
	Artifact, Name string
	Before, After  []string // versions
}

// String is the package with both sides.
func (p Package) String() string {
	switch {
	case len(p.Before) == 0:
		return fmt.Sprintf("%s %s, which is new", p.Name, strings.Join(p.After, ", "))
	case len(p.After) == 0:
		return fmt.Sprintf("%s %s, which is gone", p.Name, strings.Join(p.Before, ", "))
	}
	return fmt.Sprintf("%s %s -> %s", p.Name, strings.Join(p.Before, ", "), strings.Join(p.After, ", "))
}

// Packages are the packages that differ, by artifact and name, in the artifacts that both releases have.
func Packages(before, after map[string]inventory.Bill) []Package {
	var all []Package
	for _, artifact := range slices.Sorted(maps.Keys(after)) {
		was, ok := before[artifact]
		if !ok {
			continue
		}
		is := after[artifact]
		names := map[string]bool{}
		for name := range was.Packages {
			names[name] = true
		}
		for name := range is.Packages {
			names[name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if !slices.Equal(was.Packages[name], is.Packages[name]) {
				all = append(all, Package{artifact, name, was.Packages[name], is.Packages[name]})
			}
		}
	}
	return all
}

// Names are what one of two has and the other has not, sorted.
func Names[V any](before, after map[string]V) (gone, added []string) {
	for name := range before {
		if _, ok := after[name]; !ok {
			gone = append(gone, name)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			added = append(added, name)
		}
	}
	slices.Sort(gone)
	slices.Sort(added)
	return gone, added
}

var needs = git.Version{Major: 2, Minor: 25}

// Paths are the files that differ between two commits of the repository in dir, sorted; one that was renamed is two.
func Paths(ctx context.Context, environ []string, dir, before, after string) ([]string, error) {
	if !artifact.IsCommit(before) || !artifact.IsCommit(after) {
		return nil, fault.Errorf(fault.Git, "%.60q or %.60q is not the full name of a commit", before, after)
	}
	g, err := git.New(git.Local(environ), dir, needs)
	if err == nil {
		g, err = g.Distrust(ctx)
	}
	if err != nil {
		return nil, err
	}
	out, err := g.Run(ctx, nil, "diff-tree", "-r", "--name-only", "--no-renames", "--no-ext-diff", "-z", before, after)
	if err != nil {
		return nil, fault.New(fault.Git, fmt.Errorf("comparing commits %.12s and %.12s: %w", before, after, err))
	}
	paths := strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	slices.Sort(paths)
	return paths, nil
}
