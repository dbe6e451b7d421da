package build

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/build/sbom"
	"github.com/slipway-build/slipway/pipeline/build/sbom/osdb"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
)

// complement adds what is made of finished files: recipes, bills of materials, notes and the provenance.
func (b *builder) complement(ctx context.Context, r manifest.Release) (manifest.Release, error) {
	var err error
	if r.Recipes, err = b.recipes(ctx); err != nil {
		return r, err
	}
	modules := &moduleSet{seen: map[provenance.Module]bool{}}
	if r.SBOMs, err = b.sboms(ctx, r, modules); err != nil {
		return r, err
	}
	news, err := b.notes(ctx)
	if err != nil {
		return r, err
	}
	err = b.Tracker.Run("notes and provenance", "manifest", func() (string, error) {
		if r.Notes, err = b.text(b.Plan.Notes.Path, artifact.Notes, news); err != nil {
			return "", err
		}
		if hub := b.Plan.Hub; hub != nil {
			if _, err := b.text(hub.Path, artifact.Recipe, hub.Text); err != nil {
				return "", err
			}
		}
		if pl := b.Plan.Platform; pl != nil {
			if _, err := b.text(pl.Path, artifact.Composed, pl.Text); err != nil {
				return "", err
			}
		}
		statement, err := b.statement(r, modules.all())
		if err != nil {
			return "", err
		}
		r.Provenance, err = b.text(b.Plan.Provenance, artifact.Provenance, string(statement))
		return artifact.FormatSize(int64(len(statement))), err
	})
	return r, err
}

// text writes a file of dist/ and returns its path.
func (b *builder) text(name string, kind artifact.Kind, content string) (string, error) {
	_, err := b.write(name, kind, func(w io.Writer) error {
		_, err := io.WriteString(w, content)
		return err
	})
	return name, err
}

// statement is the provenance of everything that is there by now.
func (b *builder) statement(r manifest.Release, modules []provenance.Module) ([]byte, error) {
	p := b.Plan
	facts := provenance.Facts{
		Repository: p.Repository, Tag: p.Tag, Commit: p.Commit, Tree: p.Tree, Config: b.Config, Version: p.Version.String(),
		Plan: b.digest, Builder: map[string]string{"slipway": b.Generator},
		Inputs: r.Inputs, Modules: modules,
	}
	// Of images it is the index that people name; there is a bound on how many subjects a verifier reads.
	for _, f := range b.files {
		if f.Kind != artifact.Image {
			facts.Files = append(facts.Files, f)
		}
	}
	for _, im := range r.Images {
		facts.Images = append(facts.Images, provenance.Image{Repository: im.Repository, Tag: im.Tag(), Digest: im.Digest})
	}
	for _, c := range r.Charts {
		if c.Digest != "" {
			facts.Images = append(facts.Images, provenance.Image{Repository: c.Repository, Tag: c.Tag(), Digest: c.Digest})
		}
	}
	return provenance.Statement(facts)
}

// moduleSet collects the modules of all programs.
type moduleSet struct {
	mu   sync.Mutex
	seen map[provenance.Module]bool
}

func (m *moduleSet) add(p sbom.Program) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mod := range p.Modules {
		if mod.Version != "" {
			m.seen[provenance.Module{Path: mod.Path, Version: mod.Version, Sum: mod.Sum}] = true
		}
	}
}

func (m *moduleSet) all() []provenance.Module {
	var out []provenance.Module
	for mod := range m.seen {
		out = append(out, mod)
	}
	return out
}

// project is what every bill of materials says of the release.
func (b *builder) project() sbom.Project {
	p := b.Plan
	return sbom.Project{
		Name: p.Name, Version: p.Version.String(), Vendor: p.Project.Vendor, License: p.Project.License,
		Repository: p.Repository, Commit: p.Commit, Time: p.Time, Tool: "slipway " + b.Generator,
	}
}

// sboms writes the bills of materials, several at once.
func (b *builder) sboms(ctx context.Context, r manifest.Release, modules *moduleSet) ([]manifest.SBOM, error) {
	if len(b.Plan.SBOMs) == 0 {
		return nil, nil
	}
	out := make([]manifest.SBOM, 2*len(b.Plan.SBOMs))
	err := b.Tracker.Run("bills of materials", "manifest", func() (string, error) {
		programs, err := b.programs(ctx)
		if err != nil {
			return "", err
		}
		for _, p := range programs {
			modules.add(p)
		}
		var total atomic.Int64
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(b.jobs())
		for i, s := range b.Plan.SBOMs {
			group.Go(func() error {
				d, err := b.document(ctx, s, r, programs)
				if err != nil {
					return fmt.Errorf("describing %s: %w", s.Subject, err)
				}
				for j, f := range []struct {
					format, ending string
					encode         func(sbom.Document) ([]byte, error)
				}{{"cyclonedx", ".cdx.json", sbom.CycloneDX}, {"spdx", ".spdx.json", sbom.SPDX}} {
					content, err := f.encode(d)
					if err != nil {
						return err
					}
					name, err := b.text(s.Path+f.ending, artifact.SBOM, string(content))
					if err != nil {
						return err
					}
					total.Add(int64(len(content)))
					out[2*i+j] = manifest.SBOM{Format: f.format, Subject: s.Subject, Platform: s.Platform, Digest: d.Subject.Digest, Path: name}
				}
				return nil
			})
		}
		err = group.Wait()
		return fmt.Sprintf("%d files, %s", len(out), artifact.FormatSize(total.Load())), err
	})
	return out, err
}

// programs reads what each binary was linked from, by its path in dist/.
func (b *builder) programs(ctx context.Context) (map[string]sbom.Program, error) {
	var mu sync.Mutex
	out := map[string]sbom.Program{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(b.jobs())
	for _, bin := range b.Plan.Binaries {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, ok := b.file(bin.Path)
			if !ok {
				return fmt.Errorf("%s is not there", bin.Path)
			}
			p, err := sbom.ReadProgram(b.stage.path(bin.Path), f.Digest)
			mu.Lock()
			defer mu.Unlock()
			out[bin.Path] = p
			return err
		})
	}
	return out, group.Wait()
}

// document is what a bill of materials is written from.
func (b *builder) document(ctx context.Context, s plan.SBOM, r manifest.Release, programs map[string]sbom.Program) (sbom.Document, error) {
	d := sbom.Document{Project: b.project(), Subject: sbom.Subject{Kind: s.Kind, Name: path.Base(s.Subject), Platform: s.Platform}}
	file, _ := b.file(s.Subject)
	d.Subject.Digest = file.Digest
	at := func(name, in string) sbom.Program {
		p := programs[name]
		p.Path = in
		return p
	}
	switch s.Kind {
	case artifact.Binary:
		d.Programs = []sbom.Program{at(s.Subject, path.Base(s.Subject))}
	case artifact.Archive:
		i := slices.IndexFunc(b.Plan.Archives, func(a plan.Archive) bool { return a.Path == s.Subject })
		a := b.Plan.Archives[i]
		for _, name := range a.Binaries {
			d.Programs = append(d.Programs, at(name, path.Join(a.Folder, path.Base(name))))
		}
		names, err := b.match(a.Files)
		if err != nil {
			return d, err
		}
		for _, name := range names {
			content, err := b.root.ReadFile(name)
			if err != nil {
				return d, err
			}
			d.Files = append(d.Files, sbom.NewFile(path.Join(a.Folder, name), content))
		}
	case artifact.Composed:
		d.Subject.Name, d.Subject.Digest = b.Plan.Name, artifact.Sum([]byte(b.Plan.Platform.Text))
		var err error
		d.Merged, err = b.merged(ctx)
		return d, err
	case artifact.Image:
		return b.imageDocument(ctx, d, s, r, at)
	}
	return d, nil
}

func (b *builder) imageDocument(ctx context.Context, d sbom.Document, s plan.SBOM, r manifest.Release, at func(name, in string) sbom.Program) (sbom.Document, error) {
	d.Subject.Name = s.Subject
	i := slices.IndexFunc(b.Plan.Images, func(im plan.Image) bool { return im.Repository+":"+im.Tags[0] == s.Subject })
	im := b.Plan.Images[i]
	for _, p := range r.Images[i].Platforms {
		if p.Platform == s.Platform {
			d.Subject.Digest = p.Digest
		}
	}
	for _, pl := range im.Platforms {
		if pl.Platform != s.Platform {
			continue
		}
		d.Programs = []sbom.Program{at(pl.Binary, strings.TrimPrefix(im.Path, "/"))}
		files, err := b.imageFiles(im, pl.Binary)
		if err != nil {
			return d, err
		}
		for _, f := range files[1:] { // the first is the binary
			content, err := readAll(f)
			if err != nil {
				return d, err
			}
			d.Files = append(d.Files, sbom.NewFile(f.Name, content))
		}
	}
	installed, err := b.installed(ctx, im.Base, s.Platform)
	d.Base = &sbom.Base{Image: im.Base.Image, Digest: im.Base.Digest, Installed: installed}
	return d, err
}

func readAll(f archive.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return bounded.Head(r, f.Size)
}

// installed is what a base has for a platform. It is read once, as early as somebody asks.
func (b *builder) installed(ctx context.Context, base plan.Base, pl artifact.Platform) (osdb.Base, error) {
	type result struct {
		base osdb.Base
		err  error
	}
	key := base.Image + "@" + string(base.Digest) + " " + pl.String()
	once, _ := b.bases.LoadOrStore(key, sync.OnceValue(func() result {
		found, err := b.Bases.Base(ctx, base, pl)
		if err != nil {
			return result{err: err}
		}
		var layers []osdb.Layer
		for _, l := range found.Layers {
			layers = append(layers, l.Open)
		}
		installed, err := osdb.Read(ctx, layers)
		if err != nil {
			err = fault.New(fault.Build, fmt.Errorf("reading packages of %s for %s: %w", base.Image, pl, err))
		}
		return result{installed, err}
	}))
	got := once.(func() result)()
	return got.base, got.err
}
