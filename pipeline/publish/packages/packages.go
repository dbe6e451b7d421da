// Package packages writes what apt, dnf and apk read: indexes of the packages that have the current versions of an environment, signed. An
// index is a function of these versions, of the line of the log as of which they are that, and of the keys; the packages stay where they are.
//
// A place, which is a folder or a bucket, has the releases below releases/, as a folder of releases that is published to has them, and
// beside these the indexes, below dists/, rpm/ and apk/, as any server of files shows them. An index lists what is current and nothing else:
// these package managers take the highest version that they find, so that a version that was rolled back from must not be there.
//
// Whoever reads meanwhile finds what an index names: what is named comes first, and what an index has named stays until the one after
// that. Before anything else, but behind the tags of all that is there, comes the record of what is to be written. Hence nobody who reads
// an older state of a store replaces in a bucket what somebody wrote of a newer one: each write has the tag that was read, and who
// has written last has had them from before the record of the other. Whatever stops a writer, the next one finds by the record what is not as
// it says.
//
// One window remains, since a bucket removes and copies without a condition: who was overtaken between its look at the record and a removal
// takes away what the other has perhaps written anew. It finds that out and says so, and the same command with the newer state of the store
// writes it again; where it is killed before, the next run does.
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
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/publish/bucket"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/openpgp"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Folders and files of a repository.
const (
	releasesDir = "releases/"
	stateDir    = "packages/"
	knownDir    = stateDir + "known/"
	KeyFile     = "packages.asc"
	aptDir      = "dists/"
	dnfDir      = "rpm/"
	apkDir      = "apk/"
)

const (
	maxManifest = 16 << 20
	maxIndex    = 128 << 20
	maxState    = 8 << 20
	patience    = 10 * time.Minute
	// revision is raised when other indexes are written of the same packages.
	revision = 2
	// rounds is how often an environment is tried that others write at the same time.
	rounds = 10
)

// Options say what is written.
type Options struct {
	Dir    string           // has releases/
	Bucket *bucket.Objects  // in place of Dir
	Key    openpgp.Key      // of apt and dnf
	APK    signature.Signer // of apk, with a key of RSA, since apk knows no other; nil writes nothing for it
	Check  bool             // nothing is written
	// Fetch brings the manifest of a release that is not in the folder, with its packages, into another one. Then an index has its
	// packages, too, at the addresses that they would have here: that is for a server that sends on, which is none for a bucket. Nil leaves such releases out.
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

// Package is a deb, an rpm or an apk of a release, as far as an index has it.
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
	Header       [2]int64          `json:"header"`             // of an rpm: where it begins and ends
	Identity     string            `json:"identity,omitempty"` // of an apk, as apk writes it

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
	Shared   map[string]shared          `json:"shared"`
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
	at, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	defer at.close()
	if !o.Check {
		unlock, err := at.lock(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	var errs []error
	for _, s := range stages {
		if err := ctx.Err(); err != nil {
			return all, fault.New(fault.Transient, err)
		}
		w, err := reconcile(ctx, o, at, s)
		for round := 1; round < rounds && errors.Is(err, bucket.ErrChanged) && w.Was <= s.Line; round++ {
			w, err = reconcile(ctx, o, at, s)
		}
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("packages of %s: %w", s.Name, err))
		case w.Why != "":
			all = append(all, w)
		}
	}
	if len(errs) == 0 && !o.Check {
		return all, forget(ctx, at, stages)
	}
	return all, errors.Join(errs...)
}

func reconcile(ctx context.Context, o Options, at place, s Stage) (Written, error) {
	w := Written{Stage: s.Name, Line: s.Line}
	last, stateTag, err := readState(ctx, at, s.Name)
	if err != nil {
		return w, err
	}
	damaged, err := last.damaged(ctx, at)
	if err != nil {
		return w, err
	}
	if w.Was = last.Line; last.Line > s.Line { // whoever read the store later was first
		if damaged != "" && !o.Check { // perhaps by this one, before that was known
			err = fault.Errorf(fault.Transient, "%s, which is of line %d: %w", damaged, last.Line, bucket.ErrChanged)
		}
		return w, err
	}
	next := state{
		Schema: schema, Revision: revision, Line: s.Line, At: s.At.UTC(), Key: o.fingerprint(), Versions: []version{},
		Files: map[string]artifact.Digest{}, Shared: map[string]shared{}, Before: []string{},
	}
	var releases []environment.Seen
	for _, seen := range s.Current {
		ok, err := here(ctx, at, seen)
		if err != nil {
			return w, err
		}
		if ok || o.Fetch != nil {
			releases = append(releases, seen)
			next.Versions = append(next.Versions, version{seen.Component, seen.Version, seen.Manifest})
		}
	}
	if w.Why = cmp.Or(last.differs(next), damaged); w.Why == "" || o.Check {
		return w, nil
	}
	made, err := write(ctx, o, at, s, releases)
	if err != nil {
		return w, err
	}
	next.Shared = made.shared
	tags := map[string]string{} // of what is to be replaced
	for name, b := range made.files {
		next.Files[name] = artifact.Sum(b)
		was, tag, err := at.read(ctx, name, maxIndex)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !bounded.IsTooLarge(err) {
			return w, err
		}
		if err != nil || !bytes.Equal(was, b) {
			tags[name] = tag
		}
	}
	// What the indexes before have named stays, and what those before them have named goes. Where the last ones are not whole nobody knows
	// which ones are read.
	stale := last.names()
	if damaged != "" {
		stale = append(stale, last.Before...)
	}
	for _, name := range stale {
		if !next.has(name) && belongs(name, s.Name) {
			next.Before = append(next.Before, name)
		}
	}
	slices.Sort(next.Before)
	next.Before = slices.Compact(next.Before)
	b, err := canonjson.Indent(next)
	if err != nil {
		return w, err
	}
	if damaged == "" {
		if err := last.clear(ctx, at, s.Name, stateTag, next); err != nil {
			return w, err
		}
	}
	if err := at.write(ctx, stateFile(s.Name), b, stateTag); err != nil {
		return w, err
	}
	for _, name := range slices.Sorted(maps.Keys(next.Shared)) {
		s := next.Shared[name]
		is, err := at.shares(ctx, name, s)
		if err == nil && !is {
			err = at.share(ctx, name, s)
		}
		if err != nil {
			return w, err
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(tags), func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) }) {
		if err := at.write(ctx, name, made.files[name], tags[name]); err != nil {
			return w, err
		}
	}
	return w, nil
}

// clear removes what neither the indexes that are there nor those that come have, unless somebody else has begun to write meanwhile.
func (s state) clear(ctx context.Context, at place, stage, tag string, next state) error {
	gone := slices.DeleteFunc(slices.Clone(s.Before), func(name string) bool { return s.has(name) || next.has(name) || !belongs(name, stage) })
	if len(gone) == 0 {
		return nil
	}
	if _, now, err := readState(ctx, at, stage); err != nil || now != tag {
		return cmp.Or(err, fault.Errorf(fault.Transient, "%s: %w", stateFile(stage), bucket.ErrChanged))
	}
	for _, name := range gone {
		if err := at.remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// open opens the place that is meant, if it has releases.
func (o Options) open(ctx context.Context) (place, error) {
	if o.Bucket == nil {
		return openFolder(o.Dir)
	}
	any, err := o.Bucket.Any(ctx, releasesDir)
	if err == nil && !any {
		err = fault.Errorf(fault.Usage, "%s has no releases/: name a bucket and a prefix below which publish.bucket.prefix is releases/ and the name of the project", o.Bucket)
	}
	return objects{o.Bucket}, err
}

// fingerprint names the keys.
func (o Options) fingerprint() string {
	if o.APK == nil {
		return o.Key.Fingerprint()
	}
	return o.Key.Fingerprint() + " " + string(o.APK.Public().Fingerprint())
}

// names are those of all files that a state has.
func (s state) names() []string {
	return slices.AppendSeq(slices.Collect(maps.Keys(s.Files)), maps.Keys(s.Shared))
}

func (s state) has(name string) bool { return s.Files[name] != "" || s.Shared[name] != (shared{}) }

// rank orders files as they are written: 0 is what is named by its digest, and what names it comes last.
func rank(name string) int {
	switch base := path.Base(name); {
	case base == "InRelease":
		return 3
	case slices.Contains([]string{"Release", "Release.gpg", "repomd.xml", "repomd.xml.asc", apkIndex}, base):
		return 2
	case strings.Contains(name, "/by-hash/"), strings.HasPrefix(name, dnfDir):
		return 0
	}
	return 1
}

// belongs tells the files of an environment, whatever a state says that it has written.
func belongs(name, stage string) bool {
	return fs.ValidPath(name) && slices.ContainsFunc([]string{aptDir, dnfDir, apkDir}, func(dir string) bool { return strings.HasPrefix(name, dir+stage+"/") })
}

func stateFile(stage string) string { return stateDir + stage + ".json" }

// readState is what was written last, of line 0 for nothing, and its tag.
func readState(ctx context.Context, at place, stage string) (s state, tag string, err error) {
	b, tag, err := at.read(ctx, stateFile(stage), maxState)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return state{}, "", nil
	case err != nil:
		return state{}, "", err
	}
	if err := canonjson.Decode(b, &s); err != nil || s.Schema != schema {
		return state{}, "", fault.Errorf(fault.Mismatch, "%s is not what was written: remove it, and the indexes are written anew", stateFile(stage))
	}
	return s, tag, nil
}

// differs says why other indexes are to be written, "" where those that were written are the ones.
func (s state) differs(next state) string {
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
	return ""
}

// damaged says which of the files that were written is not there as it was, "" for none.
func (s state) damaged(ctx context.Context, at place) (string, error) {
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		b, _, err := at.read(ctx, name, maxIndex)
		switch {
		case errors.Is(err, fs.ErrNotExist), bounded.IsTooLarge(err), err == nil && artifact.Sum(b) != s.Files[name]:
			return name + " is not what was written", nil
		case err != nil:
			return "", err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Shared)) {
		if ok, err := at.shares(ctx, name, s.Shared[name]); err != nil {
			return "", err
		} else if !ok {
			return name + " is not what was written", nil
		}
	}
	return "", nil
}

// here reports whether a release is in the place. Another one than the one that the store has is not it.
func here(ctx context.Context, at place, seen environment.Seen) (bool, error) {
	b, _, err := at.read(ctx, releasesDir+inReleases(seen)+"/"+manifest.FileName, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && artifact.Sum(b) == seen.Manifest, err
}

func inReleases(seen environment.Seen) string { return seen.Component + "/" + seen.Version }

// known is what was found out of a release: to open its packages takes longer than all else.
type known struct {
	Schema   string    `json:"schema"`
	Revision int       `json:"revision"`
	Packages []Package `json:"packages"`
}

func knownFile(d artifact.Digest) string { return knownDir + d.Hex() + ".json" }

// packagesOf are the packages of a release, from what was found out before, from the place, or from where it is.
func packagesOf(ctx context.Context, o Options, at place, seen environment.Seen) ([]Package, error) {
	var k known
	b, tag, err := at.read(ctx, knownFile(seen.Manifest), maxState)
	if err != nil || canonjson.Decode(b, &k) != nil || k.Schema != schema || k.Revision != revision {
		k = known{Schema: schema, Revision: revision, Packages: []Package{}}
		if k.Packages, err = opened(ctx, o, at, seen); err != nil {
			return nil, fmt.Errorf("%s %s: %w", seen.Component, seen.Version, err)
		}
		b, err := canonjson.Indent(k)
		if err == nil {
			err = at.write(ctx, knownFile(seen.Manifest), b, tag)
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
func opened(ctx context.Context, o Options, at place, seen environment.Seen) ([]Package, error) {
	in := releasesDir + inReleases(seen) + "/"
	is, err := here(ctx, at, seen)
	switch {
	case err != nil:
		return nil, err
	case is:
	case o.Fetch == nil:
		return nil, fault.Errorf(fault.Transient, "it has gone from the place; the same command goes on")
	default:
		dir, err := o.Fetch(ctx, seen)
		if err != nil {
			return nil, err
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, fault.New(fault.Usage, err)
		}
		defer root.Close()
		at, in = folder{root, root}, ""
	}
	b, _, err := at.read(ctx, in+manifest.FileName, maxManifest)
	if err == nil && artifact.Sum(b) != seen.Manifest {
		err = fault.Errorf(fault.Mismatch, "%s is not the one that the store has", manifest.FileName)
	}
	if err != nil {
		return nil, err
	}
	r, err := manifest.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fault.New(fault.Mismatch, err)
	}
	all := []Package{}
	for _, made := range r.Packages {
		if !slices.Contains(Formats, made.Format) {
			continue
		}
		p, err := open(ctx, at, in, r, made)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// Formats are those of the packages that are in an index.
var Formats = []string{format.Deb.Name, format.RPM.Name, format.APK.Name}

// forget removes what was found out of releases that are current nowhere.
func forget(ctx context.Context, at place, stages []Stage) error {
	current := map[string]bool{}
	for _, s := range stages {
		for _, seen := range s.Current {
			current[knownFile(seen.Manifest)] = true
		}
	}
	all, err := at.list(ctx, knownDir)
	for _, name := range all {
		if !current[name] {
			err = errors.Join(err, at.remove(ctx, name))
		}
	}
	return err
}

// repository are the files of an environment.
type repository struct {
	files  map[string][]byte
	shared map[string]shared
}

// write makes all files of an environment.
func write(ctx context.Context, o Options, at place, s Stage, releases []environment.Seen) (made repository, err error) {
	lists := map[string][]Package{}
	taken := map[[4]string]bool{}
	for _, seen := range releases {
		all, err := packagesOf(ctx, o, at, seen)
		if err != nil {
			return made, err
		}
		for _, p := range all {
			// Of two components with a package of one name the first has it.
			key := [4]string{p.Format, p.Name, p.Version, p.Architecture}
			if !taken[key] {
				taken[key] = true
				lists[p.Format] = append(lists[p.Format], p)
			}
		}
	}
	for _, list := range lists {
		slices.SortFunc(list, func(a, b Package) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Architecture, b.Architecture))
		})
	}
	files, err := apt(s.Name, s.At, lists[format.Deb.Name])
	if err != nil {
		return made, fault.New(fault.Mismatch, err)
	}
	others, err := dnf(s.Name, s.At, lists[format.RPM.Name])
	if err != nil {
		return made, fault.New(fault.Mismatch, err)
	}
	maps.Copy(files, others)
	made = repository{files, map[string]shared{}}
	if o.APK != nil {
		if err := made.apk(o.APK, s.Name, s.At, lists[format.APK.Name]); err != nil {
			return made, fault.Or(err, fault.Mismatch)
		}
	}
	dir := aptDir + s.Name + "/"
	repomd := dnfDir + s.Name + "/repodata/repomd.xml"
	for name, f := range map[string]func() ([]byte, error){
		dir + "InRelease":   func() ([]byte, error) { return o.Key.Clear(files[dir+"Release"], s.At) },
		dir + "Release.gpg": func() ([]byte, error) { return o.Key.Detached(files[dir+"Release"], s.At) },
		repomd + ".asc":     func() ([]byte, error) { return o.Key.Detached(files[repomd], s.At) },
		KeyFile:             o.Key.Public,
	} {
		if files[name], err = f(); err != nil {
			return made, err
		}
	}
	return made, nil
}

// open reads a package, and holds it to what the release says of it.
func open(ctx context.Context, at place, in string, r manifest.Release, made manifest.Package) (Package, error) {
	p := Package{Path: made.Path, Format: made.Format, Fields: map[string]string{}, Files: []File{}}
	i := slices.IndexFunc(r.Files, func(f artifact.File) bool { return f.Path == made.Path })
	if i < 0 {
		return p, fault.Errorf(fault.Mismatch, "%s is not among the files of its release", p.Path)
	}
	listed := r.Files[i]
	f, err := at.open(ctx, in+p.Path, listed.Size)
	if err != nil {
		return p, err
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
	switch made.Format {
	case format.RPM.Name:
		for _, e := range facts.Entries { // the others have no list of files
			p.Files = append(p.Files, File{strings.ToValidUTF8(e.Name, "\ufffd"), e.Type == inspect.Folder})
		}
		p.Header, err = headerOf(f)
	case format.APK.Name:
		p.Identity, err = identityOf(f, p.Fields["apk.control"])
	}
	return p, fault.New(fault.Mismatch, err)
}
