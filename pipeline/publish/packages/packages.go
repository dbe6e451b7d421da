// Package packages writes what apt and dnf read: indexes of the packages that have the current versions of an environment, signed. An index
// is a function of these versions, of the time at which one of them became it, and of the key; the packages stay where they are.
//
// A folder has the releases below releases/, as a folder of releases that is published to has them, and beside these the indexes, below
// dists/ and rpm/, as any server of files shows them. An index lists what is current and nothing else: these package managers take the
// highest version that they find, so that a version that was rolled back from must not be there.
package packages

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/openpgp"
)

// Folders and files of a repository.
const (
	releasesDir = "releases/"
	stateDir    = "packages/"
	KeyFile     = "packages.asc"
)

const (
	maxManifest = 16 << 20
	maxState    = 8 << 20
	patience    = 10 * time.Minute
	// revision is raised when other indexes are written of the same packages.
	revision = 1
)

// Options say what is written.
type Options struct {
	Dir   string // has releases/
	Key   openpgp.Key
	Check bool // nothing is written
}

// Stage is what is current in an environment.
type Stage struct {
	Name    string
	Line    int       // by which it became what it is
	At      time.Time // of that line
	Current []environment.Seen
}

// Written is an environment whose indexes were written, or are to be.
type Written struct {
	Stage string
	Line  int
	Was   int    // line that they were of before, 0 for none
	Why   string // they are to be written
}

// Package is a package of a release.
type Package struct {
	Path   string // below the folder
	Size   int64
	Digest artifact.Digest
	Facts  inspect.Facts
	header [2]int64 // of an rpm: where it begins and ends
}

// state is what was written for an environment.
type state struct {
	Schema   string                     `json:"schema"`
	Revision int                        `json:"revision"`
	Line     int                        `json:"line"`
	At       time.Time                  `json:"at"`
	Key      string                     `json:"key"`
	Versions []version                  `json:"versions"`
	Files    map[string]artifact.Digest `json:"files"`
	Before   []string                   `json:"before"` // files of the indexes before, which stay for those who read them
}

type version struct {
	Component string          `json:"component"`
	Version   string          `json:"version"`
	Manifest  artifact.Digest `json:"manifest"`
}

const schema = "slipway.packages/v1"

// Reconcile writes the indexes of environments that are not what they should be. A release that is not in the folder is in no index. What
// cannot be read there is a fault.Mismatch.
func Reconcile(ctx context.Context, o Options, stages []Stage) (all []Written, err error) {
	if info, err := os.Stat(filepath.Join(o.Dir, releasesDir)); err != nil || !info.IsDir() {
		return nil, fault.Errorf(fault.Usage, "%s has no folder releases: name one in which publish.folder is %s", o.Dir, filepath.Join(o.Dir, releasesDir))
	}
	var f folder
	if f.Root, err = os.OpenRoot(o.Dir); err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	defer f.Close()
	if f.releases, err = os.OpenRoot(filepath.Join(o.Dir, releasesDir)); err != nil { // which may be a link
		return nil, fault.New(fault.Usage, err)
	}
	defer f.releases.Close()
	if !o.Check {
		if err := f.MkdirAll(stateDir, 0o755); err != nil {
			return nil, fault.New(fault.Usage, err)
		}
		unlock, err := filelock.Lock(ctx, filepath.Join(o.Dir, stateDir, ".lock"), patience)
		if err != nil {
			return nil, fault.New(fault.Transient, err)
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	for _, s := range stages {
		if err := ctx.Err(); err != nil {
			return all, fault.New(fault.Transient, err)
		}
		w, err := reconcile(ctx, o, f, s)
		if err != nil {
			return all, fmt.Errorf("packages of %s: %w", s.Name, err)
		}
		if w.Why != "" {
			all = append(all, w)
		}
	}
	return all, nil
}

// folder is the folder that is written to, and its releases.
type folder struct {
	*os.Root
	releases *os.Root
}

func reconcile(ctx context.Context, o Options, root folder, s Stage) (Written, error) {
	w := Written{Stage: s.Name, Line: s.Line}
	last, err := readState(root, s.Name)
	if err != nil {
		return w, err
	}
	if w.Was = last.Line; last.Line > s.Line {
		return w, nil // whoever read the store later was first
	}
	next := state{Schema: schema, Revision: revision, Line: s.Line, At: s.At.UTC(), Key: o.Key.Fingerprint(), Versions: []version{}, Files: map[string]artifact.Digest{}, Before: []string{}}
	var releases []manifest.Release
	for _, seen := range s.Current {
		r, ok, err := release(root, seen)
		if err != nil {
			return w, err
		}
		if ok {
			releases = append(releases, r)
			next.Versions = append(next.Versions, version{seen.Component, seen.Version, seen.Manifest})
		}
	}
	if w.Why = last.differs(root, next); w.Why == "" || o.Check {
		return w, nil
	}
	files, err := write(ctx, o, root, s, releases)
	if err != nil {
		return w, err
	}
	for name, b := range files {
		next.Files[name] = artifact.Sum(b)
	}
	for name := range last.Files {
		if _, stays := files[name]; !stays {
			next.Before = append(next.Before, name)
		}
	}
	slices.Sort(next.Before)
	b, err := canonjson.Indent(next)
	if err != nil {
		return w, err
	}
	// What is named by its digest comes first and what names it last, so that whoever reads meanwhile finds it.
	names := slices.SortedFunc(maps.Keys(files), func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	for _, name := range names {
		if err := put(root, name, files[name]); err != nil {
			return w, err
		}
	}
	if err := put(root, stateFile(s.Name), b); err != nil {
		return w, err
	}
	for _, name := range last.Before {
		if _, stays := files[name]; !stays && !slices.Contains(next.Before, name) && belongs(name, s.Name) {
			if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return w, fault.New(fault.Usage, err)
			}
		}
	}
	return w, nil
}

// rank orders files as they are written.
func rank(name string) int {
	switch path.Base(name) {
	case "InRelease":
		return 3
	case "Release", "Release.gpg", "repomd.xml", "repomd.xml.asc":
		return 2
	case "Packages", "Packages.gz":
		return 1
	}
	return 0
}

// belongs tells the files of an environment, whatever a state says that it has written.
func belongs(name, stage string) bool {
	return fs.ValidPath(name) && (strings.HasPrefix(name, "dists/"+stage+"/") || strings.HasPrefix(name, "rpm/"+stage+"/"))
}

func stateFile(stage string) string { return stateDir + stage + ".json" }

// readState is what was written last, of line 0 for nothing.
func readState(root folder, stage string) (s state, err error) {
	b, err := bounded.FS(root.FS(), stateFile(stage), maxState)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return state{}, nil
	case err != nil:
		return state{}, fault.New(fault.Usage, err)
	}
	if err := canonjson.Decode(b, &s); err != nil || s.Schema != schema {
		return state{}, fault.Errorf(fault.Mismatch, "%s is not what was written: remove it, and the indexes are written anew", stateFile(stage))
	}
	return s, nil
}

// differs says why other indexes are to be written, "" where those that are there are right.
func (s state) differs(root folder, next state) string {
	switch {
	case s.Line == 0:
		return "there are none"
	case s.Revision != next.Revision, s.Key != next.Key:
		return "they were written otherwise"
	case s.Line != next.Line, !s.At.Equal(next.At):
		return fmt.Sprintf("they are of line %d", s.Line)
	case !slices.Equal(s.Versions, next.Versions):
		return "a release has come into the folder since, or has gone"
	}
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		b, err := bounded.FS(root.FS(), name, maxManifest*8)
		if err != nil || artifact.Sum(b) != s.Files[name] {
			return name + " is not what was written"
		}
	}
	return ""
}

// release is the manifest of a release, false where it is not in the folder.
func release(root folder, seen environment.Seen) (manifest.Release, bool, error) {
	b, err := bounded.FS(root.releases.FS(), seen.Component+"/"+seen.Version+"/"+manifest.FileName, maxManifest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return manifest.Release{}, false, nil
	case err != nil:
		return manifest.Release{}, false, fault.New(fault.Usage, err)
	case artifact.Sum(b) != seen.Manifest: // another release than the one that the store has
		return manifest.Release{}, false, nil
	}
	r, err := manifest.Decode(bytes.NewReader(b))
	return r, err == nil, fault.New(fault.Mismatch, err)
}

// write makes all files of an environment.
func write(ctx context.Context, o Options, root folder, s Stage, releases []manifest.Release) (map[string][]byte, error) {
	debs, rpms := []Package{}, []Package{}
	taken := map[[4]string]bool{}
	for _, r := range releases {
		for _, made := range r.Packages {
			list := map[string]*[]Package{"deb": &debs, "rpm": &rpms}[made.Format]
			if list == nil {
				continue
			}
			p, err := open(ctx, root, r, made)
			if err != nil {
				return nil, err
			}
			// Of two components with a package of one name the first has it.
			key := [4]string{made.Format, p.Facts.Name, p.Facts.Version, p.Facts.Architecture}
			if !taken[key] {
				taken[key] = true
				*list = append(*list, p)
			}
		}
	}
	for _, list := range [][]Package{debs, rpms} {
		slices.SortFunc(list, func(a, b Package) int {
			return cmp.Or(cmp.Compare(a.Facts.Name, b.Facts.Name), cmp.Compare(a.Facts.Version, b.Facts.Version), cmp.Compare(a.Facts.Architecture, b.Facts.Architecture))
		})
	}
	files, err := apt(s.Name, s.At, debs)
	if err != nil {
		return nil, fault.New(fault.Mismatch, err)
	}
	others, err := dnf(s.Name, s.At, rpms)
	if err != nil {
		return nil, fault.New(fault.Mismatch, err)
	}
	maps.Copy(files, others)
	dir := "dists/" + s.Name + "/"
	repomd := "rpm/" + s.Name + "/repodata/repomd.xml"
	for name, f := range map[string]func() ([]byte, error){
		dir + "InRelease":   func() ([]byte, error) { return o.Key.Clear(files[dir+"Release"], s.At) },
		dir + "Release.gpg": func() ([]byte, error) { return o.Key.Detached(files[dir+"Release"], s.At) },
		repomd + ".asc":     func() ([]byte, error) { return o.Key.Detached(files[repomd], s.At) },
		KeyFile:             o.Key.Public,
	} {
		if files[name], err = f(); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// open reads a package, and holds it to what the release says of it.
func open(ctx context.Context, root folder, r manifest.Release, made manifest.Package) (Package, error) {
	p := Package{Path: releasesDir + r.Name + "/" + r.Version.String() + "/" + made.Path}
	i := slices.IndexFunc(r.Files, func(f artifact.File) bool { return f.Path == made.Path })
	if i < 0 {
		return p, fault.Errorf(fault.Mismatch, "%s is not among the files of its release", p.Path)
	}
	listed := r.Files[i]
	f, err := root.releases.Open(strings.TrimPrefix(p.Path, releasesDir))
	if err != nil {
		return p, fault.New(fault.Usage, err)
	}
	defer f.Close()
	m := artifact.NewMeter(io.Discard)
	if _, err := io.Copy(m, f); err != nil {
		return p, fault.New(fault.Usage, err)
	}
	if p.Size, p.Digest = m.Size(), m.Digest(); p.Digest != listed.Digest {
		return p, fault.Errorf(fault.Mismatch, "%s has other bytes than its release says: publish it again", p.Path)
	}
	if p.Facts, err = inspect.Open(ctx, made.Format, f, p.Size, inspect.Options{}); err != nil {
		return p, fault.New(fault.Mismatch, fmt.Errorf("%s: %w", p.Path, err))
	}
	if made.Format == "rpm" {
		p.header, err = headerOf(f)
	}
	return p, fault.New(fault.Mismatch, err)
}

// put writes a file that appears whole.
func put(root folder, name string, b []byte) error {
	err := root.MkdirAll(path.Dir(name), 0o755)
	fresh := path.Join(path.Dir(name), ".new-"+path.Base(name)) // which nobody else writes, since the folder is locked
	if err == nil {
		err = root.WriteFile(fresh, b, 0o644)
	}
	if err == nil {
		err = root.Rename(fresh, name)
	}
	return fault.New(fault.Usage, err)
}
