// Package verify holds a release against its manifest.
//
// The only thing that is believed is release.json; everything else in dist/ must be what it says, and everything that
// it says must be there. What was not checked is not passed: a file that the manifest does not know fails, and so does
// one that could not be read. Four files are excepted, because they tell of the machine that built and not of the
// release: report.html, build.log, timings.json and the .gitignore that keeps git from seeing any of it.
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
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/slipway-build/slipway/pipeline/artifact"
	"github.com/slipway-build/slipway/pipeline/fault"
	"github.com/slipway-build/slipway/pipeline/manifest"
)

// Bounds on a folder from outside.
const (
	maxManifest = 16 << 20 // bytes of release.json or SHA256SUMS
	maxEntries  = 200_000
	maxDepth    = 32
)

// uncompared are the files of dist/ that differ from one build to the next, and that nobody relies on.
var uncompared = []string{"report.html", "build.log", "timings.json", ".gitignore"}

// Options say how a release is checked.
type Options struct {
	// AllowUnpublishable passes a release that its manifest marks as unpublishable: one from a dirty tree, say.
	AllowUnpublishable bool
	// Parallel is how many files are hashed at once; 0 is one for each processor.
	Parallel int
	// Verifier names the program that checks, with its version, for the report.
	Verifier string
}

// Dist checks the release in dir. The report tells what was checked; the error is a fault.Mismatch if any row of it is
// not PASS, and a fault.Usage if dir is not a folder.
func Dist(ctx context.Context, dir string, o Options) (Report, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Report{}, fault.Errorf(fault.Usage, "%s: no such folder; name the dist/ folder of a release", dir)
	}
	if err == nil && !info.IsDir() {
		return Report{}, fault.Errorf(fault.Usage, "%s is not a folder; name the dist/ folder of a release", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, fault.New(fault.Usage, fmt.Errorf("opening release: %w", err))
	}
	defer root.Close()
	report, err := check(ctx, root.FS(), o)
	if err == nil && report.Verdict != Pass {
		failed := report.Count(Fail) + report.Count(Skip)
		err = fault.Errorf(fault.Mismatch, "%s: %d of %d checks did not pass", dir, failed, len(report.Rows))
	}
	return report, err
}

func check(ctx context.Context, fsys fs.FS, o Options) (Report, error) {
	d := dist{fsys: fsys, present: map[string]int64{}, report: Report{Verifier: o.Verifier}}
	if err := d.walk(ctx); err != nil {
		return Report{}, err
	}
	if d.manifest() {
		d.release(o)
		d.checksums()
		d.unknown()
		if err := d.files(ctx, o.Parallel); err != nil {
			return Report{}, err
		}
		d.images()
	}
	d.report.finish()
	return d.report, nil
}

// dist is a release while it is checked.
type dist struct {
	fsys    fs.FS
	present map[string]int64 // sizes of the regular files by slash-separated path
	raw     []byte           // of release.json
	rel     manifest.Release
	report  Report
}

func (d *dist) row(v Verdict, kind, path, format string, args ...any) {
	d.report.Rows = append(d.report.Rows, Row{Path: path, Kind: kind, Verdict: v, Detail: fmt.Sprintf(format, args...)})
}

// walk lists what is in the folder. Nothing is opened but folders, so a link or a pipe cannot lead anywhere.
func (d *dist) walk(ctx context.Context) error {
	entries := 0
	return fs.WalkDir(d.fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if entries++; entries > maxEntries {
			return fault.Errorf(fault.Mismatch, "listing release: more than %d files", maxEntries)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
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

// manifest reads release.json and tells whether anything can be held against it.
func (d *dist) manifest() bool {
	const kind = "manifest"
	raw, err := d.read(manifest.FileName, maxManifest)
	if err != nil {
		d.row(Fail, kind, manifest.FileName, "%v", err)
		return false
	}
	rel, err := manifest.Decode(bytes.NewReader(raw))
	if err != nil {
		d.row(Fail, kind, manifest.FileName, "%v", err)
		return false
	}
	d.raw, d.rel = raw, rel
	d.report.Name, d.report.Version, d.report.Commit = rel.Name, rel.Version.String(), rel.Commit
	// A key that stands twice, or in other letter case, is read by some readers and not by others.
	if canonical, err := rel.Encode(); err != nil || !bytes.Equal(canonical, raw) {
		d.row(Fail, kind, manifest.FileName, "not in its canonical form, so two readers may see two releases")
		return true
	}
	d.row(Pass, kind, manifest.FileName, "")
	return true
}

func (d *dist) release(o Options) {
	const kind = "release"
	name := d.rel.Name + " " + d.rel.Version.String()
	switch why := strings.Join(d.rel.Unpublishable, "; "); {
	case len(d.rel.Unpublishable) == 0:
		d.row(Pass, kind, name, "")
	case o.AllowUnpublishable:
		d.row(Pass, kind, name, "unpublishable, and allowed: %s", why)
	default:
		d.row(Fail, kind, name, "unpublishable: %s", why)
	}
}

// checksums holds SHA256SUMS against the manifest: people check a release with it who do not have this program.
func (d *dist) checksums() {
	kind := string(artifact.Checksums)
	got, err := d.read(manifest.ChecksumsName, maxManifest)
	if err != nil {
		d.row(Fail, kind, manifest.ChecksumsName, "%v", err)
		return
	}
	want := manifest.Checksums(append(slices.Clone(d.rel.Files), artifact.File{Path: manifest.FileName, Digest: artifact.Sum(d.raw)}))
	if bytes.Equal(got, want) {
		d.row(Pass, kind, manifest.ChecksumsName, "")
		return
	}
	d.row(Fail, kind, manifest.ChecksumsName, "%s", difference(got, want))
}

// difference names the first path, in bytewise order, on which two SHA256SUMS do not agree.
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
	known := map[string]bool{manifest.FileName: true, manifest.ChecksumsName: true}
	for _, f := range d.rel.Files {
		known[f.Path] = true
	}
	for _, p := range uncompared {
		known[p] = true
	}
	for p := range d.present {
		if !known[p] {
			d.row(Fail, "file", p, "not in %s", manifest.FileName)
		}
	}
}

// files hashes what the manifest lists, several files at once.
func (d *dist) files(ctx context.Context, parallel int) error {
	if parallel <= 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	rows := make([]Row, len(d.rel.Files))
	work := make(chan int)
	var workers sync.WaitGroup
	for range min(parallel, len(rows)) {
		workers.Go(func() {
			buf := make([]byte, 256<<10)
			for i := range work {
				f := d.rel.Files[i]
				rows[i] = Row{Path: f.Path, Kind: string(f.Kind), Verdict: Pass}
				if err := d.file(ctx, f, buf); err != nil {
					rows[i].Verdict, rows[i].Detail = Fail, err.Error()
				}
			}
		})
	}
	for i := range rows {
		work <- i
	}
	close(work)
	workers.Wait()
	d.report.Rows = append(d.report.Rows, rows...)
	return ctx.Err()
}

func (d *dist) file(ctx context.Context, want artifact.File, buf []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch size, ok := d.present[want.Path]; {
	case !ok:
		return errMissing
	case size != want.Size:
		return fmt.Errorf("%d bytes, want %d", size, want.Size)
	}
	f, err := d.fsys.Open(want.Path)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	defer f.Close()
	meter := artifact.NewMeter(io.Discard)
	// One byte more than promised is enough to know that the file grew while it was read.
	if _, err := io.CopyBuffer(meter, io.LimitReader(reader{ctx, f}, want.Size+1), buf); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if got := meter.Digest(); got != want.Digest {
		return fmt.Errorf("%s, want %s", got, want.Digest)
	}
	return nil
}

var errMissing = errors.New("missing")

// read returns a whole regular file of at most limit bytes.
func (d *dist) read(name string, limit int64) ([]byte, error) {
	switch size, ok := d.present[name]; {
	case !ok:
		return nil, errMissing
	case size > limit:
		return nil, fmt.Errorf("%d bytes; at most %d are read", size, limit)
	}
	f, err := d.fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit))
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
