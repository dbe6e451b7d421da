// Package build turns a plan into dist/ and its manifest.
//
// An engine compiles; everything else is done here by pure functions, as soon as what it needs is there. The result is
// written beside dist/ and takes its place in one step, so there is never half of it. A build publishes nothing.
package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/build/certs"
	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/build/oci"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/present/progress"
	"github.com/slipway-build/slipway/pipeline/present/report"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Files of dist/ that are never compared, besides report.TimingsName.
const (
	LogName    = "build.log"
	ReportName = "report.html"
)

// Tree gives the files of the commit.
type Tree interface {
	// Export writes them into an empty folder.
	Export(ctx context.Context, dir string) error
}

// Options of a build.
type Options struct {
	Plan plan.Plan
	Tree Tree
	// Engine is asked for only where something has to be compiled. What it prints goes to log. The function that it
	// returns ends the engine.
	Engine func(ctx context.Context, log io.Writer) (engine.Engine, func() error, error)
	Bases  oci.Bases
	Client *http.Client // fetches what charts depend on
	// Components are where the releases of a platform's components come from.
	Components Components
	Out        string // dist/
	Jobs       int    // compiles at once; 0 for what the engine thinks right
	Force      bool   // build even where dist/ is this very release already
	Tool       string // identifies the program that builds; another one builds again
	Tracker    *progress.Tracker

	Config    string               // path of the configuration in the tree, for the provenance
	Generator string               // version of Slipway, for the report and for what tells how the release was made
	Usage     func() report.Totals // what this process has used so far; nil where it is not known
}

// Result of a build.
type Result struct {
	Release manifest.Release
	Cached  bool // dist/ was this very release already
}

// Build makes the release. Targets that do not compile are all reported, each with the compiler's words; then nothing
// publishable is left in dist/, which keeps only the log.
func Build(ctx context.Context, o Options) (Result, error) {
	digest, err := o.Plan.Digest()
	if err != nil {
		return Result{}, err
	}
	if !o.Force {
		if r, ok := current(ctx, o, digest); ok {
			return Result{Release: r, Cached: true}, nil
		}
	}
	stage, err := newStage(o.Out, o.Plan.Name)
	if err != nil {
		return Result{}, fault.Or(err, fault.Build)
	}
	defer stage.remove()
	b := &builder{Options: o, stage: stage, digest: digest}
	release, err := b.run(ctx)
	if err != nil {
		if fault.CodeOf(err) == fault.Unclassified && ctx.Err() == nil {
			// A full disk, a file that cannot be read: no bug of ours.
			return Result{}, fault.New(fault.Build, err)
		}
		if b.compiling && fault.CodeOf(err) == fault.Build {
			err = errors.Join(err, stage.keepLog())
		}
		return Result{}, err
	}
	lost, err := stage.carry(signature.AttestationPath(release.Name, release.Version.String()))
	if err == nil {
		err = stage.commit()
	}
	if err == nil && lost {
		o.Tracker.Note("the signatures that were here are gone: they are of other bytes; sign again")
	}
	return Result{Release: release}, fault.New(fault.Build, err)
}

// builder is one build.
type builder struct {
	Options
	stage  *stage
	digest artifact.Digest
	log    io.Writer
	tree   string // the exported tree
	root   *os.Root
	engine engine.Engine

	compiling bool     // the engine was there, so the log says something
	bases     sync.Map // what bases have installed; see installed

	brought    sync.Once // what components have; see components
	broughtErr error
	parts      []component

	mu    sync.Mutex
	files []artifact.File
}

// add records finished files of dist/.
func (b *builder) add(files ...artifact.File) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files = append(b.files, files...)
}

func (b *builder) run(ctx context.Context) (manifest.Release, error) {
	fail := func(err error) (manifest.Release, error) { return manifest.Release{}, err }
	logFile, err := os.Create(b.stage.path(LogName))
	if err != nil {
		return fail(err)
	}
	defer logFile.Close()
	if _, err := io.WriteString(logFile, stamp(b.Tool, b.digest)); err != nil {
		return fail(err)
	}
	b.log = words.Writer(logFile) // somebody prints it at a terminal

	b.tree = filepath.Join(b.stage.dir, "tree")
	err = b.Tracker.Run("export "+b.Plan.Commit[:min(12, len(b.Plan.Commit))], "source", func() (string, error) {
		if err := os.Mkdir(b.tree, 0o755); err != nil {
			return "", err
		}
		return "", b.Tree.Export(ctx, b.tree)
	})
	if err != nil {
		return fail(err)
	}
	if b.root, err = os.OpenRoot(b.tree); err != nil {
		return fail(err)
	}
	defer b.root.Close()
	if err := CheckFiles(b.Plan, b.root); err != nil {
		return fail(err)
	}

	end, err := b.openEngine(ctx)
	if err != nil {
		return fail(err)
	}
	release, err := b.make(ctx)
	if endErr := end(); err == nil && endErr != nil {
		b.Tracker.Note("ending the engine: " + endErr.Error())
	}
	if err != nil {
		return fail(err)
	}
	return release, b.finish(release)
}

// openEngine opens the engine, if there is something to compile, and returns what ends it.
func (b *builder) openEngine(ctx context.Context) (end func() error, err error) {
	if len(b.Plan.Binaries) == 0 {
		return func() error { return nil }, nil
	}
	err = b.Tracker.Run("engine", "source", func() (detail string, err error) {
		b.engine, end, err = b.Engine(ctx, b.log)
		if err != nil {
			return "", err
		}
		info := b.engine.Info()
		return fmt.Sprintf("%s on %s with go%s", info.Name, info.Host, info.Go), nil
	})
	return end, err
}

// make does everything that takes long, side by side.
func (b *builder) make(ctx context.Context) (manifest.Release, error) {
	b.compiling = true
	layout, err := oci.NewLayout(b.stage.path("images"))
	if err != nil {
		return manifest.Release{}, err
	}
	assembler := &oci.Assembler{Layout: layout, Bases: b.Bases, Time: b.Plan.Time}
	release := b.release()
	images := b.images()

	// What fails here for good makes everything else pointless, so it ends the group. A target that does not compile
	// does not: the others tell whether they compile too.
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return b.fetchBases(groupCtx) })
	group.Go(func() error {
		charts, err := b.charts(groupCtx, layout)
		release.Charts = charts
		return err
	})
	group.Go(func() error {
		return b.compileAll(groupCtx, func(bin plan.Binary) error { return b.packed(groupCtx, bin, assembler, images) })
	})
	if err := group.Wait(); err != nil {
		return manifest.Release{}, err
	}
	if release.Images, err = b.assemble(ctx, assembler, images); err != nil {
		return manifest.Release{}, err
	}
	blobs, err := layout.Close()
	if err != nil {
		return manifest.Release{}, err
	}
	inLayout := func(c manifest.Chart) bool { return c.Digest != "" }
	if len(images) == 0 && !slices.ContainsFunc(release.Charts, inLayout) {
		if err := os.RemoveAll(b.stage.path("images")); err != nil {
			return manifest.Release{}, err
		}
	} else {
		for name, blob := range blobs {
			b.add(artifact.File{Path: "images/" + name, Kind: artifact.Image, Size: blob.Size, Digest: blob.Digest})
		}
	}
	return b.complement(ctx, release)
}

// release is the manifest as far as the plan says it.
func (b *builder) release() manifest.Release {
	p := b.Plan
	r := manifest.Release{
		Name: p.Name, Version: p.Version, Tag: p.Tag, Repository: p.Repository,
		Commit: p.Commit, Tree: p.Tree, Time: p.Time, Plan: b.digest, Unpublishable: p.Unpublishable,
		Since: p.Notes.Since, Inputs: p.Inputs, Binaries: []manifest.Binary{}, Archives: []manifest.Archive{}, Images: []manifest.Image{}, Charts: []manifest.Chart{},
	}
	if slices.ContainsFunc(p.Charts, func(c plan.Chart) bool { return c.Version != c.AppVersion }) {
		r.Requires = []string{manifest.ChartVersions}
	}
	for _, im := range p.Images {
		if im.Certificates != "" {
			r.Inputs = append(r.Inputs[:len(r.Inputs):len(r.Inputs)], artifact.Input{
				Kind: "certificates", Name: certs.Module + "@" + certs.Version(), Digest: string(artifact.Sum(certs.Bundle())),
			})
			break
		}
	}
	for _, bin := range p.Binaries {
		r.Binaries = append(r.Binaries, manifest.Binary{Name: bin.Name, Platform: bin.Platform, Path: bin.Path})
	}
	for _, a := range p.Archives {
		r.Archives = append(r.Archives, manifest.Archive{Platform: a.Platform, Path: a.Path})
	}
	for _, pkg := range p.Packages {
		for _, c := range pkg.Carriers {
			r.Packages = append(r.Packages, manifest.Package{
				Format: c.Format, Name: c.Name, Version: c.Version, Architecture: c.Architecture, Platform: c.Platform, Path: c.Path,
			})
		}
	}
	if s := p.Signing; s != nil {
		r.Signing = &manifest.Signing{Key: s.Key, Identity: s.Identity, Issuer: s.Issuer}
	}
	return r
}

// maxPacking is how many binaries are packed at once at most. Each takes up to 25 MiB.
const maxPacking = 4

// compileAll compiles every binary, as many at once as the engine likes, and calls done for each that is there. All
// that do not compile are in the error.
func (b *builder) compileAll(ctx context.Context, done func(plan.Binary) error) error {
	slots, packing := make(chan struct{}, b.jobs()), make(chan struct{}, min(b.jobs(), maxPacking))
	errs := make([]error, len(b.Plan.Binaries))
	var wg sync.WaitGroup
	for i, bin := range b.Plan.Binaries {
		select {
		case <-ctx.Done():
			errs[i] = ctx.Err()
		case slots <- struct{}{}:
			wg.Go(func() {
				err := b.compile(ctx, bin)
				<-slots
				if err == nil {
					packing <- struct{}{}
					err = done(bin)
					<-packing
				}
				errs[i] = err
			})
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// jobs is how many compiles run at once.
func (b *builder) jobs() int {
	switch {
	case b.Jobs > 0:
		return b.Jobs
	case b.engine == nil:
		return 1
	}
	return max(1, b.engine.Info().Jobs)
}

// compile makes one binary of dist/.
func (b *builder) compile(ctx context.Context, bin plan.Binary) error {
	return b.Tracker.Run("compile "+bin.Name+" "+bin.Platform.String(), "compile", func() (string, error) {
		out := b.stage.path(bin.Path)
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			return "", err
		}
		if err := b.engine.Compile(ctx, b.tree, bin, out); err != nil {
			return "", err
		}
		if err := isProgram(out); err != nil {
			return "", fault.Errorf(fault.Usage, "binary %s: %s %w", bin.Name, bin.Package, err)
		}
		digest, size, err := artifact.SumFile(out)
		if err != nil {
			return "", err
		}
		b.add(artifact.File{Path: bin.Path, Kind: artifact.Binary, Size: size, Digest: digest})
		return artifact.FormatSize(size), nil
	})
}

// isProgram tells a program from what the Go command writes for a package that is none: an ar archive.
func isProgram(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var magic [8]byte
	if _, err := io.ReadFull(f, magic[:]); err == nil && string(magic[:]) == "!<arch>\n" {
		return errors.New("is not a main package")
	}
	return nil
}

// finish writes the manifest, the checksums and what is not compared.
func (b *builder) finish(r manifest.Release) error {
	err := b.Tracker.Run("manifest", "manifest", func() (string, error) {
		r.Files, r.Downloads = b.files, manifest.DownloadsName
		encoded, err := r.Encode()
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(b.stage.path(manifest.FileName), encoded, 0o644); err != nil {
			return "", err
		}
		lists := r.Lists(artifact.Sum(encoded))
		for _, l := range lists {
			if err := os.WriteFile(b.stage.path(l.Name), l.Content, 0o644); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("%d files", len(b.files)+1+len(lists)), nil
	})
	if err != nil {
		return err
	}
	return b.describe(r)
}

// describe writes the timings and the report.
func (b *builder) describe(r manifest.Release) error {
	var facts []report.Fact
	if b.engine != nil {
		info := b.engine.Info()
		facts = append(facts,
			report.Fact{Name: "engine", Value: info.Name},
			report.Fact{Name: "toolchain", Value: "go" + info.Go + " on " + info.Host},
			report.Fact{Name: "compiles at once", Value: fmt.Sprint(b.jobs())})
	}
	facts = append(facts, report.Fact{Name: "machine", Value: fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())})
	var timings report.Timings
	for _, t := range b.Tracker.Timings() {
		timings = append(timings, report.Timing{Step: t.Step, Group: t.Group, Start: t.Start, End: t.End, State: t.State.String()})
	}
	var totals report.Totals
	if b.Usage != nil {
		totals = b.Usage()
	}
	totals.Parallel = b.jobs()
	encoded, err := timings.Encode(totals)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.stage.path(report.TimingsName), encoded, 0o644); err != nil {
		return err
	}
	var page bytes.Buffer
	if err := report.Write(&page, report.Data{
		Release: r, Timings: timings, Facts: facts, Generated: b.Generator,
		Totals: totals,
	}); err != nil {
		return err
	}
	return os.WriteFile(b.stage.path(ReportName), page.Bytes(), 0o644)
}
