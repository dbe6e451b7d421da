// Package verify holds a release against its manifest, every file against what its name promises, and all of it
// against who signed it.
//
// The only thing that is believed is release.json; everything else in dist/ must be what it says, and everything that
// it says must be there. That it was not written by somebody else is what signatures tell, and short of those the
// contents: each file is opened, and says of itself what the manifest says of it. What was not checked is not passed: a
// file that the manifest does not know fails, and so does one that could not be read or that nothing here can open.
//
// Some files are excepted, because they tell of the machine that built or published and not of the release: report.html,
// build.log, timings.json, the .gitignore that keeps git from seeing any of it, and those in publish/. The files of signatures are known by their
// names; see package signature.
package verify

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
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Bounds on a folder from outside.
const (
	maxManifest = 16 << 20 // bytes of release.json or a list of checksums
	maxEntries  = 200_000
	maxDepth    = 32
)

// uncompared are the files of dist/ that differ from one build to the next, and that nothing relies on: what was seen while
// it was built, and what a publishing did.
var uncompared = []string{
	"report.html", "build.log", "timings.json", ".gitignore",
	"publish/journal.jsonl", "publish/journal.jsonl.old", "publish/receipts.json", "publish/lock",
}

// ofSet matches what a publishing to a named set of destinations did.
var ofSet = regexp.MustCompile(`^publish/[a-z0-9][a-z0-9-]*/(journal\.jsonl|journal\.jsonl\.old|receipts\.json)$`)

func isUncompared(p string) bool { return slices.Contains(uncompared, p) || ofSet.MatchString(p) }

// Options say how a release is checked.
type Options struct {
	// AllowUnpublishable passes a release that its manifest marks as unpublishable: one from a dirty tree, say.
	AllowUnpublishable bool
	// Keys are the public keys of those who may have signed the release. All of its signatures must be by one of them.
	Keys []signature.PublicKey
	// Terms say for how long some of the Keys count, by their fingerprints. The others always do.
	Terms map[artifact.Digest]signature.Term
	// Identity is who must have signed the release without a key: whom its policy accepts. Where there are Keys it is asked
	// of a release that names an identity.
	Identity *keyless.Verifier
	// Version is the one that is asked for; "" for any. An older release is whole and well signed, and still not what
	// somebody wants who asked for a newer one.
	Version string
	// AllowUnsigned leaves signatures out of account, whether there are any or not.
	AllowUnsigned bool
	// HashesOnly opens nothing and looks at no signature. It is for a build that asks whether what it wrote is still
	// there.
	HashesOnly bool
	// Downloads says that the release comes from a page without folders, which has what people download and nothing else;
	// see manifest.Release.Offered. What it does not have is held against nothing.
	Downloads bool
	// Release is where Files finds what names the files and who signed it: a folder, or what URL takes; "" for the folder
	// that they are in.
	Release string
	// Repository reads a repository of a registry for Image, host and path being those of its address.
	Repository func(host, path string) Repository
	// Parallel is how many files are read at once; 0 is one for each processor.
	Parallel int
	// Rebuilders says how many must have rebuilt the release and got these bytes.
	Rebuilders Rebuilders
	// Verifier names the program that checks, with its version, for the report.
	Verifier string
}

// Dist checks the release in dir. The report tells what was checked; the error is a fault.Mismatch if any row of it is
// not PASS, and a fault.Usage if dir is not a folder.
func Dist(ctx context.Context, dir string, o Options) (Report, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Report{}, fault.Errorf(fault.Usage, "%s: no such folder or file; name the dist/ folder of a release, or files of one", dir)
	}
	if err == nil && !info.IsDir() {
		return Report{}, fault.Errorf(fault.Usage, "%s is not a folder; name the dist/ folder of a release", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, fault.New(fault.Usage, fmt.Errorf("opening release: %w", err))
	}
	defer root.Close()
	return verdict(ctx, root.FS(), dir, o)
}

// verdict checks the release that a person calls name.
func verdict(ctx context.Context, fsys fs.FS, name string, o Options) (Report, error) {
	report, err := check(ctx, fsys, o)
	if err == nil && report.Verdict != Pass {
		failed := report.Count(Fail) + report.Count(Skip)
		err = fault.Errorf(fault.Mismatch, "%s: %d of %d checks did not pass", name, failed, len(report.Rows))
	}
	return report, err
}

func check(ctx context.Context, fsys fs.FS, o Options) (Report, error) {
	d := newDist(ctx, fsys, o)
	if err := d.walk(); err != nil {
		return Report{}, err
	}
	readable, err := d.manifest()
	if err != nil {
		return Report{}, err
	}
	if readable {
		d.release()
		d.checksums()
		d.unknown()
		d.signatures()
		d.files()
		if !o.Downloads && !d.strange {
			d.images()
		}
		d.rebuilders()
	}
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	d.report.finish()
	return d.report, nil
}

func newDist(ctx context.Context, fsys fs.FS, o Options) *dist {
	return &dist{
		ctx: ctx, fsys: fsys, o: o, present: map[string]int64{}, folders: map[string]bool{},
		listed: map[string]artifact.File{}, lists: map[string][]byte{}, report: Report{Verifier: o.Verifier},
	}
}

// dist is a release while it is checked.
type dist struct {
	ctx     context.Context
	fsys    fs.FS
	o       Options
	present map[string]int64 // sizes of the regular files by slash-separated path
	folders map[string]bool
	raw     []byte            // of release.json
	lists   map[string][]byte // of checksums, by name
	rel     manifest.Release
	listed  map[string]artifact.File // the manifest's files by path
	strange bool                     // somebody else wrote it than should have: nothing in it is opened
	beside  bool                     // single files are checked, by as much of the rest as lies beside them; see Files
	report  Report
}

func (d *dist) row(v Verdict, kind, path, format string, args ...any) {
	d.report.Rows = append(d.report.Rows, Row{Path: path, Kind: kind, Verdict: v, Detail: fmt.Sprintf(format, args...)})
}

// walk lists what is in the folder. Nothing is opened but folders, so a link or a pipe cannot lead anywhere.
func (d *dist) walk() error {
	entries := 0
	return fs.WalkDir(d.fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if entries++; entries > maxEntries {
			return fault.Errorf(fault.Mismatch, "listing release: more than %d files", maxEntries)
		}
		switch {
		case d.ctx.Err() != nil:
			return d.ctx.Err()
		case err != nil:
			d.row(Fail, "folder", name, "reading: %v", err)
			if e != nil && e.IsDir() {
				return fs.SkipDir
			}
		case e.IsDir():
			if strings.Count(name, "/") >= maxDepth {
				d.row(Fail, "folder", name, "nested more than %d deep", maxDepth)
				return fs.SkipDir
			}
			d.folders[name] = true
		case e.Type()&fs.ModeSymlink != 0:
			d.row(Fail, "link", name, "a symbolic link; a release has none")
		case !e.Type().IsRegular():
			d.row(Fail, "special", name, "not a regular file")
		default:
			info, err := e.Info()
			if err != nil {
				d.row(Fail, "file", name, "reading: %v", err)
				return nil
			}
			d.present[name] = info.Size()
		}
		return nil
	})
}

// manifest reads release.json and reports whether anything can be held against it. A manifest that another version of this
// program would read is an error: nothing is wrong with the release for all that can be told.
func (d *dist) manifest() (bool, error) {
	const kind = "manifest"
	raw, err := d.read(manifest.FileName, maxManifest)
	if err != nil {
		d.row(Fail, kind, manifest.FileName, "%v", err)
		return false, nil
	}
	rel, err := manifest.Decode(bytes.NewReader(raw))
	if fault.CodeOf(err) == fault.Usage {
		return false, fmt.Errorf("%s: %w", manifest.FileName, err)
	}
	if err != nil {
		d.row(Fail, kind, manifest.FileName, "%v", err)
		return false, nil
	}
	d.raw, d.rel = raw, rel
	for _, f := range rel.Files {
		d.listed[f.Path] = f
	}
	d.report.Name, d.report.Version, d.report.Commit, d.report.Manifest = rel.Name, rel.Version.String(), rel.Commit, artifact.Sum(raw)
	d.report.Release = &rel
	if n := len(rel.Unknown); n > 0 {
		const most = 10
		var keys []string
		for _, m := range rel.Unknown[:min(n, most)] {
			keys = append(keys, fmt.Sprintf("%.60q", m.Key))
		}
		if n > most {
			keys = append(keys, fmt.Sprintf("and %d more", n-most))
		}
		d.report.Notes = append(d.report.Notes, fmt.Sprintf("%s is of minor version %d, which is later than this program knows; it says what was not looked at: %s",
			manifest.FileName, rel.Minor, strings.Join(keys, ", ")))
	}
	d.row(Pass, kind, manifest.FileName, "")
	return true, nil
}

// name is what people call the release.
func (d *dist) name() string { return d.rel.Name + " " + d.rel.Version.String() }

func (d *dist) release() {
	const kind = "release"
	name := d.name()
	switch why := strings.Join(d.rel.Unpublishable, "; "); {
	case d.o.Version != "" && strings.TrimPrefix(d.o.Version, "v") != d.rel.Version.String():
		d.row(Fail, kind, name, "%s is asked for", strings.TrimPrefix(d.o.Version, "v"))
	case len(d.rel.Unpublishable) == 0:
		d.row(Pass, kind, name, "")
	case d.o.AllowUnpublishable:
		d.row(Pass, kind, name, "unpublishable, and allowed: %s", why)
	default:
		d.row(Fail, kind, name, "unpublishable: %s", why)
	}
}

// checksums holds the lists of checksums against the manifest: people check a release with them who do not have this program.
func (d *dist) checksums() {
	const kind = string(artifact.Checksums)
	for _, l := range d.rel.Lists(artifact.Sum(d.raw)) {
		got, err := d.read(l.Name, maxManifest)
		switch {
		case d.beside && errors.Is(err, errMissing):
			continue
		case err != nil:
			d.row(Fail, kind, l.Name, "%v", err)
			continue
		case bytes.Equal(got, l.Content):
			d.row(Pass, kind, l.Name, "")
		default:
			d.row(Fail, kind, l.Name, "%s", difference(got, l.Content))
		}
		d.lists[l.Name] = got
	}
}

// difference names the first path, in bytewise order, on which two lists of checksums do not agree.
func difference(got, want []byte) string {
	have, err := manifest.ParseChecksums(bytes.NewReader(got))
	if err != nil {
		return err.Error()
	}
	wanted, err := manifest.ParseChecksums(bytes.NewReader(want))
	if err != nil {
		return err.Error()
	}
	for _, p := range slices.Sorted(maps.Keys(wanted)) {
		switch d, ok := have[p]; {
		case !ok:
			return p + " is missing from it"
		case d != wanted[p]:
			return fmt.Sprintf("%s has %s in it, and %s in %s", p, d, wanted[p], manifest.FileName)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(have)) {
		if _, ok := wanted[p]; !ok {
			return p + " is in it, and not in " + manifest.FileName
		}
	}
	return "the lines are not in bytewise order of the paths, or not in the form that sha256sum writes"
}

// unknown fails every file that the manifest does not list.
func (d *dist) unknown() {
	known := append(d.rel.ListNames(), manifest.FileName)
	for p := range d.present {
		if _, ok := d.listed[p]; !ok && !slices.Contains(known, p) && !isUncompared(p) && !d.isSignature(p) {
			d.row(Fail, "file", p, "not in %s", manifest.FileName)
		}
	}
}

// files hashes what the manifest lists and opens it, several files at once and the largest first, so that no processor
// is left alone with one in the end.
func (d *dist) files() {
	files := slices.Clone(d.rel.Files)
	if d.o.Downloads {
		files = slices.DeleteFunc(files, func(f artifact.File) bool {
			_, there := d.present[f.Path]
			return !there && !format.Offered(d.rel, f)
		})
	}
	slices.SortStableFunc(files, func(a, b artifact.File) int { return cmp.Compare(b.Size, a.Size) })
	rows := make([]Row, len(files))
	looks := d.looks()
	d.each(len(files), func(n int, buf []byte) {
		f := files[n]
		row := Row{Path: f.Path, Kind: string(f.Kind), Verdict: Pass}
		var err error
		if row.Detail, err = d.file(f, looks[f.Path], buf); err != nil {
			row.Verdict, row.Detail = Fail, oneLine(err)
		}
		rows[n] = row
	})
	d.report.Rows = append(d.report.Rows, rows...)
}

// each calls work with every number below n, in the order of the numbers, several at once.
func (d *dist) each(n int, work func(i int, buf []byte)) {
	parallel := d.o.Parallel
	if parallel <= 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	queue := make(chan int)
	var workers sync.WaitGroup
	for range min(parallel, n) {
		workers.Go(func() {
			buf := make([]byte, 256<<10)
			for i := range queue {
				work(i, buf)
			}
		})
	}
	for i := range n {
		queue <- i
	}
	close(queue)
	workers.Wait()
}

// file holds a file against its digest, and what it says of itself against the manifest.
func (d *dist) file(want artifact.File, looks []look, buf []byte) (string, error) {
	f, err := d.open(want)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return d.contents(f, want, looks, buf)
}

// contents is file for one that is open.
func (d *dist) contents(f fs.File, want artifact.File, looks []look, buf []byte) (string, error) {
	// One byte more than promised is enough to know that the file grew while it was read.
	got, err := sum(d.ctx, io.LimitReader(f, want.Size+1), buf)
	if err != nil {
		return "", err
	}
	if got != want.Digest {
		return "", fmt.Errorf("%s, want %s", got, want.Digest)
	}
	switch {
	case d.o.HashesOnly || ofLayout(want):
		return "", nil
	case d.strange:
		return "its digest alone", nil
	case want.Kind == artifact.Image:
		return "", errors.New("it has no place in the layout of the images")
	case len(looks) == 0:
		return "", fmt.Errorf("%s does not say what it is, so nothing in it was checked", manifest.FileName)
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		return "", errors.New("it cannot be read at any place, so nothing in it was checked")
	}
	var details []string
	for _, look := range looks {
		detail, err := look(opened{d.ctx, at, want})
		if err != nil {
			return "", err
		}
		details = append(details, detail)
	}
	return strings.Join(details, "; "), nil
}

// open opens a file that is there and has the size that it should have.
func (d *dist) open(want artifact.File) (fs.File, error) {
	if err := d.ctx.Err(); err != nil {
		return nil, err
	}
	switch size, ok := d.present[want.Path]; {
	case !ok:
		return nil, errMissing
	case size != want.Size:
		return nil, fmt.Errorf("%d bytes, want %d", size, want.Size)
	}
	f, err := d.fsys.Open(want.Path)
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	return f, nil
}

// oneLine is the text of joined errors on the one line that a row has.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

var errMissing = errors.New("missing")

// read returns a whole regular file of at most limit bytes.
func (d *dist) read(name string, limit int64) ([]byte, error) {
	switch size, ok := d.present[name]; {
	case !ok:
		return nil, errMissing
	case size > limit:
		return nil, fmt.Errorf("%d bytes; at most %d are read", size, limit)
	}
	b, err := bounded.FS(d.fsys, name, limit)
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	return b, nil
}

// reader ends when its context does. It hides the file's other methods, so that the copy uses the buffer it is given.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// compareRows orders rows by path, then kind, so that a report does not depend on the order of work.
func compareRows(a, b Row) int {
	return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Detail, b.Detail))
}

// blobPath is where an OCI layout under images/ keeps the bytes of a digest.
func blobPath(d artifact.Digest) string { return path.Join(layoutDir, "blobs/sha256", d.Hex()) }
