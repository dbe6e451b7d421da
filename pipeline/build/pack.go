package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/build/chart"
	"github.com/slipway-build/slipway/pipeline/build/oci"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/present/progress"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// write makes one file of dist/ and records it.
func (b *builder) write(name string, kind artifact.Kind, fill func(io.Writer) error) (int64, error) {
	out := b.stage.path(name)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return 0, err
	}
	f, err := os.Create(out)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buffer := bufio.NewWriterSize(f, 64<<10) // compressors write a few hundred bytes at a time
	m := artifact.NewMeter(buffer)
	if err := fill(m); err != nil {
		return 0, err
	}
	if err := errors.Join(buffer.Flush(), f.Close()); err != nil {
		return 0, err
	}
	b.add(artifact.File{Path: name, Kind: kind, Size: m.Size(), Digest: m.Digest()})
	return m.Size(), nil
}

// packed packs what a finished binary was the last missing part of: archives, packages, and the layer of each image.
func (b *builder) packed(ctx context.Context, bin plan.Binary, assembler *oci.Assembler, images []imageJob) error {
	for _, a := range b.Plan.Archives {
		if slices.Contains(a.Binaries, bin.Path) && b.complete(a.Binaries, bin) {
			if err := b.archive(ctx, a); err != nil {
				return err
			}
		}
	}
	for _, p := range b.Plan.Packages {
		for _, c := range p.Carriers {
			if slices.Contains(c.Binaries, bin.Path) && b.complete(c.Binaries, bin) {
				if err := b.carrier(ctx, p, c); err != nil {
					return err
				}
			}
		}
	}
	for _, job := range images {
		for _, pl := range job.Platforms {
			if pl.Binary != bin.Path {
				continue
			}
			if err := assembler.Pack(job.key, pl.Platform, job.contents); err != nil {
				return fmt.Errorf("%s for %s: %w", job.Repository, pl.Platform, err)
			}
		}
	}
	return nil
}

// complete reports whether bin is the one of the binaries that was still missing.
func (b *builder) complete(binaries []string, bin plan.Binary) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := -1
	for _, want := range binaries {
		i := slices.IndexFunc(b.files, func(f artifact.File) bool { return f.Path == want })
		if i < 0 {
			return false
		}
		last = max(last, i)
	}
	// Of several that finish together, the one recorded last packs.
	return b.files[last].Path == bin.Path
}

// archive packs one archive.
func (b *builder) archive(ctx context.Context, a plan.Archive) error {
	return b.Tracker.Run("pack "+path.Base(a.Path), "pack", func() (string, error) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		var files []archive.File
		for _, name := range a.Binaries {
			f, err := archive.Disk(path.Join(a.Folder, path.Base(name)), b.stage.path(name))
			if err != nil {
				return "", err
			}
			files = append(files, f.WithExec())
		}
		names, err := b.match(a.Files)
		if err != nil {
			return "", fault.Errorf(fault.Usage, "archives.files: %w", err)
		}
		for _, name := range names {
			f, err := archive.Tree(path.Join(a.Folder, name), b.root, name)
			if err != nil {
				return "", err
			}
			files = append(files, f)
		}
		pack := archive.TarGz
		if strings.HasSuffix(a.Path, ".zip") {
			pack = archive.Zip
		}
		size, err := b.write(a.Path, artifact.Archive, func(w io.Writer) error { return pack(w, files, b.Plan.Time) })
		return artifact.FormatSize(size), err
	})
}

// CheckFiles finds what a plan names and the tree lacks: files of archives and images, licences. It is what a build
// would end with after it compiled.
func CheckFiles(p plan.Plan, root *os.Root) error {
	b := builder{Options: Options{Plan: p}, root: root}
	var errs []error
	for _, a := range p.Archives[:min(1, len(p.Archives))] { // all have the same files
		if _, err := b.match(a.Files); err != nil {
			errs = append(errs, fault.Errorf(fault.Usage, "archives.files: %w", err))
		}
	}
	if _, err := b.match(p.Licenses); err != nil {
		errs = append(errs, fault.Errorf(fault.Usage, "project.licenseFiles: %w", err))
	}
	seen := map[string]bool{}
	for _, pkg := range p.Packages {
		named := slices.Concat(slices.Sorted(maps.Values(pkg.Completions)), pkg.Units, slices.Sorted(maps.Values(pkg.Files)))
		for _, name := range named {
			if info, err := root.Stat(path.Clean(name)); err != nil || !info.Mode().IsRegular() {
				errs = append(errs, fault.Errorf(fault.Usage, "packages: %s: there is no file %q in the commit", pkg.Name, name))
			}
		}
		formats := map[string]bool{}
		for _, c := range pkg.Carriers {
			if formats[c.Format] {
				continue // all of a format have the same files
			}
			formats[c.Format] = true
			if _, err := b.placement(pkg, c); err != nil {
				errs = append(errs, fault.Errorf(fault.Usage, "packages: %s: %s: %w", pkg.Name, c.Format, err))
				break
			}
		}
	}
	for _, im := range p.Images {
		for _, to := range slices.Sorted(maps.Keys(im.Files)) {
			from := path.Clean(im.Files[to])
			if info, err := root.Stat(from); !seen[from] && (err != nil || !info.Mode().IsRegular()) {
				errs = append(errs, fault.Errorf(fault.Usage, "images: files: there is no file %q in the commit", from))
			}
			seen[from] = true
		}
	}
	return errors.Join(errs...)
}

// Looks reports, by its path, whether a file of the tree is one that CheckFiles and PackageChart look at, or a folder on the way to
// one. Nil is all of them.
func Looks(p plan.Plan) func(name string) bool {
	patterns := slices.Clone(p.Licenses)
	for _, a := range p.Archives {
		patterns = append(patterns, a.Files...)
	}
	for _, pkg := range p.Packages {
		patterns = slices.Concat(patterns, pkg.Manuals, pkg.Units, slices.Collect(maps.Values(pkg.Completions)), slices.Collect(maps.Values(pkg.Files)))
	}
	for _, im := range p.Images {
		patterns = slices.AppendSeq(patterns, maps.Values(im.Files))
	}
	var folders []string
	for _, b := range p.Binaries {
		if dir := path.Join(b.Dir, b.Package); dir != "." { // which is there
			folders = append(folders, dir)
		}
	}
	for _, c := range p.Charts {
		if c.Made != nil {
			continue
		}
		if c.Dir == "." || slices.ContainsFunc(c.Dependencies, func(d plan.ChartDependency) bool { return strings.HasPrefix(d.Repository, "file:") }) {
			return nil
		}
		folders = append(folders, c.Dir)
	}
	for i := range patterns {
		patterns[i] = path.Clean(patterns[i])
	}
	slices.Sort(patterns)
	patterns = slices.Compact(patterns)
	return func(name string) bool {
		return slices.ContainsFunc(folders, func(dir string) bool {
			return name == dir || strings.HasPrefix(name, dir+"/") || strings.HasPrefix(dir, name+"/")
		}) || slices.ContainsFunc(patterns, func(pattern string) bool {
			// As many parts of the pattern as the name has.
			parts, n := strings.Split(pattern, "/"), strings.Count(name, "/")+1
			ok, err := path.Match(strings.Join(parts[:min(n, len(parts))], "/"), name)
			return ok && err == nil
		})
	}
}

// match returns the regular files of the tree that match the patterns, sorted. A pattern without a wildcard must match.
func (b *builder) match(patterns []string) ([]string, error) {
	var out []string
	for _, pattern := range patterns {
		names, err := fs.Glob(b.root.FS(), path.Clean(pattern))
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		found := false
		for _, name := range names {
			if info, err := b.root.Stat(name); err == nil && info.Mode().IsRegular() {
				out, found = append(out, name), true
			}
		}
		if !found && !strings.ContainsAny(pattern, `*?[`) {
			return nil, fmt.Errorf("there is no file %q in the commit", pattern)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// imageJob is an image with the contents of its own layer.
type imageJob struct {
	plan.Image
	key      string // equal for images with equal contents
	contents oci.Contents
}

// images are the images of the plan. Those that differ in their base alone have one key.
func (b *builder) images() []imageJob {
	var jobs []imageJob
	for _, im := range b.Plan.Images {
		binaries := map[artifact.Platform]string{}
		for _, pl := range im.Platforms {
			binaries[pl.Platform] = pl.Binary
		}
		jobs = append(jobs, imageJob{
			Image: im,
			// The name of the binary is that of its file on every platform that images have.
			key: fmt.Sprintf("%s %q %q", im.Repository, im.Path, fmt.Sprint(im.Files)),
			contents: func(pl artifact.Platform) ([]archive.File, error) {
				return b.imageFiles(im, binaries[pl])
			},
		})
	}
	return jobs
}

// imageFiles are the files of an image's own layer: the binary, the licences and what the project adds.
func (b *builder) imageFiles(im plan.Image, binary string) ([]archive.File, error) {
	f, err := archive.Disk(strings.TrimPrefix(im.Path, "/"), b.stage.path(binary))
	if err != nil {
		return nil, err
	}
	files := []archive.File{f.WithExec()}
	licenses, err := b.match(b.Plan.Licenses)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "project.licenseFiles: %w", err)
	}
	for _, name := range licenses {
		f, err := archive.Tree("licenses/"+name, b.root, name)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	for _, to := range slices.Sorted(maps.Keys(im.Files)) {
		f, err := archive.Tree(strings.TrimPrefix(to, "/"), b.root, path.Clean(im.Files[to]))
		if err != nil {
			return nil, fault.Errorf(fault.Usage, "images: files: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// fetchBases brings every base into the cache while the compiler is busy.
func (b *builder) fetchBases(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, im := range b.Plan.Images {
		// Of several images on one base and the same platforms, one is enough.
		if im.Base.StandIn || slices.ContainsFunc(b.Plan.Images[:i], func(o plan.Image) bool {
			return o.Base == im.Base && slices.EqualFunc(o.Platforms, im.Platforms, func(a, b plan.ImagePlatform) bool { return a.Platform == b.Platform })
		}) {
			continue
		}
		group.Go(func() error {
			return b.Tracker.Do("base "+im.Base.Image, "images", func() (progress.Result, error) {
				var size int64
				cached := true
				for _, pl := range im.Platforms {
					base, err := b.Bases.Base(ctx, im.Base, pl.Platform)
					if err != nil {
						return progress.Result{}, err
					}
					for _, l := range base.Layers {
						cached = cached && l.Cached
						r, err := l.Open(ctx)
						if err != nil {
							return progress.Result{}, err
						}
						r.Close()
						size += l.Size
					}
					if _, err := b.installed(ctx, im.Base, pl.Platform); err != nil {
						return progress.Result{}, err
					}
				}
				return progress.Result{Detail: platforms(len(im.Platforms)) + ", " + artifact.FormatSize(size), Cached: cached}, nil
			})
		})
	}
	return group.Wait()
}

// assemble puts the images together.
func (b *builder) assemble(ctx context.Context, assembler *oci.Assembler, jobs []imageJob) ([]manifest.Image, error) {
	out := make([]manifest.Image, len(jobs))
	group, ctx := errgroup.WithContext(ctx)
	for i, job := range jobs {
		group.Go(func() error {
			return b.Tracker.Run("image "+path.Base(job.Repository)+" "+job.Distro, "images", func() (string, error) {
				built, err := assembler.Assemble(ctx, job.Image, job.key, job.contents)
				if err != nil {
					return "", err
				}
				out[i] = manifest.Image{
					Repository: job.Repository, Distro: job.Distro, Tags: job.Tags, Floating: job.Floating,
					Digest: built.Index.Digest, Size: built.Index.Size,
				}
				for _, p := range built.Platforms {
					out[i].Platforms = append(out[i].Platforms, manifest.ImagePlatform{Platform: p.Platform, Digest: p.Manifest.Digest, Size: p.Size})
				}
				return platforms(len(built.Platforms)), nil
			})
		})
	}
	return out, group.Wait()
}

func platforms(n int) string {
	if n == 1 {
		return "1 platform"
	}
	return fmt.Sprintf("%d platforms", n)
}

// charts packages the charts, and puts those that go to a registry into the layout as well.
func (b *builder) charts(ctx context.Context, layout *oci.Layout) ([]manifest.Chart, error) {
	out := []manifest.Chart{}
	if _, err := b.components(ctx); err != nil {
		return nil, err
	}
	for _, c := range b.Plan.Charts {
		err := b.Tracker.Run("chart "+c.Name, "chart", func() (string, error) {
			var result chart.Result
			var offered []chart.Part
			if c.Components != nil {
				all, err := b.components(ctx)
				if err != nil {
					return "", err
				}
				offered = parts(c, all, b.Components)
			}
			size, err := b.write(c.Path, artifact.Chart, func(w io.Writer) (err error) {
				result, err = PackageChart(ctx, w, b.Plan, c, offered, b.tree, b.stage.dir, b.Client)
				return err
			})
			if err != nil {
				return "", err
			}
			if result.Stored > chart.MaxStored*9/10 {
				b.Tracker.Note(fmt.Sprintf("chart %s: an installation of all of it takes %s in the secret that Helm keeps it in, which may have %s; leave charts out by their value enabled, or install them one by one",
					c.Name, artifact.FormatSize(int64(result.Stored)), artifact.FormatSize(chart.MaxStored)))
			}
			built := manifest.Chart{Name: c.Name, Version: c.Version, AppVersion: c.AppVersion, Path: c.Path, Repository: c.Repository}
			if c.Repository != "" {
				file, _ := b.file(c.Path)
				blob, err := oci.AddFile(layout, c.Repository+":"+built.Tag(), oci.File{
					Path: b.stage.path(c.Path), Digest: file.Digest, Size: file.Size, MediaType: chart.ContentType,
					Config: result.OCI.Config, ConfigType: chart.ConfigType, Annotations: result.OCI.Annotations,
				})
				if err != nil {
					return "", err
				}
				built.Digest, built.Size = blob.Digest, blob.Size
			}
			out = append(out, built)
			return artifact.FormatSize(size), nil
		})
		if err != nil {
			return nil, fault.Or(err, fault.Build)
		}
	}
	return out, nil
}

// PackageChart writes the package of one chart of the plan. What it depends on is fetched into scratch, a folder for
// things that are not needed later; what components offer it is there already.
func PackageChart(ctx context.Context, w io.Writer, p plan.Plan, c plan.Chart, offered []chart.Part, tree, scratch string, client *http.Client) (chart.Result, error) {
	if made := c.Made; made != nil {
		return chart.PackageUmbrella(ctx, w, chart.Umbrella{
			Name: c.Name, Description: made.Description, Home: made.Home, Source: made.Source, Text: made.Text, Charts: offered,
		}, chart.Options{Version: c.Version, AppVersion: c.AppVersion, Time: p.Time, Annotations: c.Annotations, Defaults: c.Defaults})
	}
	dir := filepath.Join(tree, filepath.FromSlash(c.Dir))
	o := chart.Options{Dir: dir, Version: c.Version, AppVersion: c.AppVersion, Time: p.Time, Annotations: c.Annotations, Defaults: c.Defaults}
	for _, part := range offered {
		o.Offered = append(o.Offered, part.Dependency)
	}
	for _, d := range c.Dependencies {
		dep := chart.Dependency{
			Name: d.Name, Version: d.Version, Repository: d.Repository, Digest: d.Digest,
			Dir: dir, File: filepath.Join(scratch, d.Digest.Hex()+".tgz"),
		}
		if err := chart.Fetch(ctx, dep, client, dep.File); err != nil {
			return chart.Result{}, err
		}
		o.Dependencies = append(o.Dependencies, dep)
	}
	result, err := chart.Package(ctx, w, o)
	if err == nil && result.Name != c.Name {
		err = fault.Errorf(fault.Usage, "%s/Chart.yaml: the chart is called %q and its folder %q; Helm requires one name for both", c.Dir, result.Name, c.Name)
	}
	return result, err
}
