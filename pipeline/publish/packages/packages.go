// Package packages writes what apt and dnf read: indexes of the packages that have the current versions of an environment, signed. An index
// is a function of these versions, of the line of the log as of which they are that, and of the key; the packages stay where they are.
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
	knownDir    = stateDir + "known/"
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
	// Fetch brings the manifest of a release that is not in the folder, with its debs and rpms, into another one. Then an index has its
	// packages, too, at the addresses that they would have here: that is for a server that sends on. Nil leaves such releases out.
	Fetch func(context.Context, environment.Seen) (dir string, err error)
}

// Stage is what is current in an environment.
type Stage struct {
	Name    string
	Line    int       // as of which that is
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

// Package is a deb or an rpm of a release, as far as an index has it.
type Package struct {
	Path         string            `json:"path"` // below the folder of the release
	Format       string            `json:"format"`
	Size         int64             `json:"size"`
	Digest       artifact.Digest   `json:"digest"`
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Architecture string            `json:"architecture"`
	Fields       map[string]string `json:"fields"` // see inspect.Facts
	Files        []File            `json:"files"`
	Header       [2]int64          `json:"header"` // of an rpm: where it begins and ends

	at string // below the folder that has releases/
}

// File is a file that a package installs.
type File struct {
	Name   string `json:"name"`
	Folder bool   `json:"folder,omitempty"`
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

// Reconcile writes the indexes of environments that are not what they should be. An environment with a package that is not what its
// release says, which is a fault.Mismatch, keeps the indexes that it has, and so does one of which something cannot be had.
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
	var errs []error
	for _, s := range stages {
		if err := ctx.Err(); err != nil {
			return all, fault.New(fault.Transient, err)
		}
		w, err := reconcile(ctx, o, f, s)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("packages of %s: %w", s.Name, err))
		case w.Why != "":
			all = append(all, w)
		}
	}
	if len(errs) == 0 && !o.Check {
		return all, forget(f, stages)
	}
	return all, errors.Join(errs...)
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
	var releases []environment.Seen
	for _, seen := range s.Current {
		ok, err := here(root, seen)
		if err != nil {
			return w, err
		}
		if ok || o.Fetch != nil {
			releases = append(releases, seen)
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
		return "they are of other versions"
	}
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		b, err := bounded.FS(root.FS(), name, maxManifest*8)
		if err != nil || artifact.Sum(b) != s.Files[name] {
			return name + " is not what was written"
		}
	}
	return ""
}

// here reports whether a release is in the folder. Another one than the one that the store has is not it.
func here(root folder, seen environment.Seen) (bool, error) {
	b, err := bounded.FS(root.releases.FS(), inReleases(seen)+"/"+manifest.FileName, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && artifact.Sum(b) == seen.Manifest, fault.New(fault.Usage, err)
}

func inReleases(seen environment.Seen) string { return seen.Component + "/" + seen.Version }

// known is what was found out of a release: to open its packages takes longer than all else.
type known struct {
	Schema   string    `json:"schema"`
	Revision int       `json:"revision"`
	Packages []Package `json:"packages"`
}

func knownFile(d artifact.Digest) string { return knownDir + d.Hex() + ".json" }

// packagesOf are the packages of a release, from what was found out before, from the folder, or from where it is.
func packagesOf(ctx context.Context, o Options, root folder, seen environment.Seen) ([]Package, error) {
	var k known
	b, err := bounded.FS(root.FS(), knownFile(seen.Manifest), maxState)
	if err != nil || canonjson.Decode(b, &k) != nil || k.Schema != schema || k.Revision != revision {
		k = known{Schema: schema, Revision: revision, Packages: []Package{}}
		if k.Packages, err = opened(ctx, o, root, seen); err != nil {
			return nil, fmt.Errorf("%s %s: %w", seen.Component, seen.Version, err)
		}
		b, err := canonjson.Indent(k)
		if err == nil {
			err = put(root, knownFile(seen.Manifest), b)
		}
		if err != nil {
			return nil, err
		}
	}
	for i := range k.Packages {
		k.Packages[i].at = releasesDir + inReleases(seen) + "/" + k.Packages[i].Path
	}
	return k.Packages, nil
}

// opened are the packages of a release by their own bytes.
func opened(ctx context.Context, o Options, root folder, seen environment.Seen) ([]Package, error) {
	is, err := here(root, seen)
	if err != nil {
		return nil, err
	}
	var dir *os.Root
	if is {
		dir, err = root.releases.OpenRoot(inReleases(seen))
	} else if o.Fetch == nil {
		return nil, fault.Errorf(fault.Transient, "it has gone from the folder; the same command goes on")
	} else {
		var at string
		if at, err = o.Fetch(ctx, seen); err != nil {
			return nil, err
		}
		dir, err = os.OpenRoot(at)
	}
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	defer dir.Close()
	b, err := bounded.FS(dir.FS(), manifest.FileName, maxManifest)
	if err == nil && artifact.Sum(b) != seen.Manifest {
		err = fault.Errorf(fault.Mismatch, "%s is not the one that the store has", manifest.FileName)
	}
	if err != nil {
		return nil, fault.Or(err, fault.Usage)
	}
	r, err := manifest.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fault.New(fault.Mismatch, err)
	}
	all := []Package{}
	for _, made := range r.Packages {
		if made.Format != "deb" && made.Format != "rpm" {
			continue
		}
		p, err := open(ctx, dir, r, made)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// forget removes what was found out of releases that are current nowhere.
func forget(root folder, stages []Stage) error {
	current := map[string]bool{}
	for _, s := range stages {
		for _, seen := range s.Current {
			current[path.Base(knownFile(seen.Manifest))] = true
		}
	}
	list, err := fs.ReadDir(root.FS(), path.Clean(knownDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		if !current[e.Name()] {
			err = errors.Join(err, root.Remove(knownDir+e.Name()))
		}
	}
	return fault.New(fault.Usage, err)
}

// write makes all files of an environment.
func write(ctx context.Context, o Options, root folder, s Stage, releases []environment.Seen) (map[string][]byte, error) {
	debs, rpms := []Package{}, []Package{}
	taken := map[[4]string]bool{}
	for _, seen := range releases {
		all, err := packagesOf(ctx, o, root, seen)
		if err != nil {
			return nil, err
		}
		for _, p := range all {
			list := &debs
			if p.Format == "rpm" {
				list = &rpms
			}
			// Of two components with a package of one name the first has it.
			key := [4]string{p.Format, p.Name, p.Version, p.Architecture}
			if !taken[key] {
				taken[key] = true
				*list = append(*list, p)
			}
		}
	}
	for _, list := range [][]Package{debs, rpms} {
		slices.SortFunc(list, func(a, b Package) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Architecture, b.Architecture))
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
func open(ctx context.Context, dir *os.Root, r manifest.Release, made manifest.Package) (Package, error) {
	p := Package{Path: made.Path, Format: made.Format, Fields: map[string]string{}, Files: []File{}}
	i := slices.IndexFunc(r.Files, func(f artifact.File) bool { return f.Path == made.Path })
	if i < 0 {
		return p, fault.Errorf(fault.Mismatch, "%s is not among the files of its release", p.Path)
	}
	listed := r.Files[i]
	f, err := dir.Open(p.Path)
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
	facts, err := inspect.Open(ctx, made.Format, f, p.Size, inspect.Options{})
	if err != nil {
		return p, fault.New(fault.Mismatch, fmt.Errorf("%s: %w", p.Path, err))
	}
	p.Name, p.Version, p.Architecture = facts.Name, facts.Version, facts.Architecture
	for key, value := range facts.Fields {
		p.Fields[key] = strings.ToValidUTF8(value, "\ufffd") // which is how it is kept
	}
	for _, e := range facts.Entries {
		if made.Format == "rpm" { // apt has no list of files
			p.Files = append(p.Files, File{strings.ToValidUTF8(e.Name, "\ufffd"), e.Type == inspect.Folder})
		}
	}
	if made.Format == "rpm" {
		p.Header, err = headerOf(f)
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
