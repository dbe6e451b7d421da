// Package bake makes base images for a platform: an upstream image by digest, with packages upgraded and added, and files. Programs of
// the image are run once, in an engine that has containers; what they changed becomes one layer, written here.
//
// Package mirrors forget what they had, so a base cannot be made again: it is kept by its digest, and a release takes it as an input.
package bake

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/build/oci"
	"github.com/slipway-build/slipway/pipeline/build/sbom"
	"github.com/slipway-build/slipway/pipeline/build/sbom/osdb"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Options say how a base is made.
type Options struct {
	Recipe
	Tag     string       // of the image: the version of the platform
	Project sbom.Project // of the platform, with the commit that it is made from; the time of that is the time of every file
	Now     time.Time
	Bases   oci.Bases
	Baker   engine.Baker // nil where there is no engine that has containers
	Mirror  string       // URL that stands in for scheme and host of the places that packages come from; "" for those places
	Dir     string       // empty folder that becomes an OCI layout with the base in it
	Before  *Kept        // what was made last, or nil
}

// Kept is a base that was made, as far as it can be compared.
type Kept struct {
	Record   Record
	Packages map[artifact.Platform][]string // see Packages
}

// Result is a base that was made.
type Result struct {
	Record   Record
	Packages map[artifact.Platform][]string
	SBOMs    map[artifact.Platform][]byte // CycloneDX
	// Same says that packages and files are as they were; then the record is that of before, and nothing else is set.
	Same bool
}

// made is a platform on its way.
type made struct {
	Made
	descriptor v1.Descriptor
	installed  osdb.Base
}

// Make makes the base for all platforms of the recipe, and tests each. Where one of them fails there is no result.
func Make(ctx context.Context, o Options) (Result, error) {
	fail := func(err error) (Result, error) { return Result{}, fmt.Errorf("base %s: %w", o.Name, err) }
	if err := checkMirror(o.Mirror); err != nil {
		return Result{}, err
	}
	if o.Baker == nil {
		return fail(errNoEngine)
	}
	recipe, err := o.Recipe.Digest()
	if err != nil {
		return fail(err)
	}
	to, err := oci.NewLayout(o.Dir)
	if err != nil {
		return fail(err)
	}
	all := make([]made, len(o.Platforms))
	packages := map[artifact.Platform][]string{}
	for i, pl := range slices.SortedFunc(slices.Values(o.Platforms), artifact.Platform.Compare) {
		if all[i], err = o.platform(ctx, to, pl); err != nil {
			return fail(fmt.Errorf("for %s: %w", pl, err))
		}
		packages[pl] = list(all[i].installed)
	}
	if b := o.Before; b != nil && b.Record.Recipe == recipe && maps.EqualFunc(b.Packages, packages, slices.Equal) {
		return Result{Record: b.Record, Packages: packages, Same: true}, nil
	}
	image, upstream := o.Base.Upstream()
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Annotations: o.annotations()}
	for _, m := range all {
		index.Manifests = append(index.Manifests, m.descriptor)
	}
	blob, err := to.JSON(index)
	if err != nil {
		return fail(err)
	}
	ref := o.Image + ":" + o.Tag
	desc, err := descriptor(blob, types.OCIImageIndex)
	if err != nil {
		return fail(err)
	}
	to.Name(desc, ref)
	if _, err := to.Close(); err != nil {
		return fail(err)
	}
	out := Result{Packages: packages, SBOMs: map[artifact.Platform][]byte{}, Record: Record{
		Name: o.Name, Image: ref, Digest: blob.Digest, From: image, Upstream: upstream, Recipe: recipe, Engine: o.Baker.Name(), Time: o.Now.UTC().Truncate(time.Second),
	}}
	if o.Script != "" {
		out.Record.Test = &Tested{artifact.Sum([]byte(o.Script)), true}
	}
	for _, m := range all {
		bill, err := sbom.CycloneDX(sbom.Document{
			Project: o.Project,
			Subject: sbom.Subject{Kind: artifact.Image, Name: ref, Platform: m.Platform, Digest: m.Manifest},
			Base:    &sbom.Base{Image: ref, Digest: blob.Digest, Installed: m.installed},
		})
		if err != nil {
			return fail(err)
		}
		m.SBOM = artifact.Sum(bill)
		out.SBOMs[m.Platform] = bill
		out.Record.Platforms = append(out.Record.Platforms, m.Made)
	}
	_, err = out.Record.Encode()
	if err != nil {
		return fail(err)
	}
	return out, nil
}

// errNoEngine is what anybody hears who has programs run in an image, and has an engine that compiles alone.
var errNoEngine = fault.Errorf(fault.Usage, "programs of an image run in the Dagger engine alone: start a container runtime, or name an engine with _EXPERIMENTAL_DAGGER_RUNNER_HOST")

func (o Options) annotations() map[string]string {
	image, digest := o.Base.Upstream()
	const oci = "org.opencontainers.image."
	a := map[string]string{oci + "base.name": image, oci + "base.digest": string(digest), oci + "created": o.Project.Time.UTC().Format(time.RFC3339), oci + "version": o.Tag}
	for key, value := range map[string]string{"source": o.Project.Repository, "revision": o.Project.Commit} {
		if value != "" {
			a[oci+key] = value
		}
	}
	return a
}

// platform makes the base for one platform, tests it, and reads what is installed.
func (o Options) platform(ctx context.Context, to *oci.Layout, pl artifact.Platform) (made, error) {
	work, err := os.MkdirTemp(o.Dir, ".work-*")
	if err != nil {
		return made{}, err
	}
	defer os.RemoveAll(work)
	image, digest := o.Base.Upstream()
	base, err := o.Bases.Base(ctx, plan.Base{Image: image, Digest: digest}, pl)
	if err != nil {
		return made{}, err
	}
	var lower []opener
	for _, l := range base.Layers {
		lower = append(lower, l.Open)
	}
	if err := hasDatabase(ctx, o.From, lower); err != nil {
		return made{}, err
	}
	before, err := flat(ctx, lower, "")
	if err != nil {
		return made{}, fmt.Errorf("%s: %w", o.From, err)
	}
	im := img{Base: base}
	if err := im.add(ctx, to); err != nil {
		return made{}, err
	}
	steps, err := o.step(o.Mirror, before)
	if err != nil {
		return made{}, err
	}
	after := maps.Clone(before)
	if len(steps) > 0 {
		in, out := filepath.Join(work, "in.tar"), filepath.Join(work, "out.tar")
		if err := im.archive(to, o.Dir, in); err != nil {
			return made{}, err
		}
		if err := o.Baker.Bake(ctx, engine.Bake{Image: in, Platform: pl.String(), Steps: steps}, out); err != nil {
			return made{}, err
		}
		layers, err := layersOf(work, out)
		if err == nil {
			after, err = flat(ctx, layers, work)
		}
		if err != nil {
			return made{}, fmt.Errorf("reading what the engine wrote: %w", err)
		}
	}
	entries, err := difference(before, after, o.Added)
	if err != nil {
		return made{}, err
	}
	m := made{Made: Made{Platform: pl}}
	if len(entries) > 0 {
		var diffID artifact.Digest
		blob, err := to.Write(func(w io.Writer) error {
			z := archive.Gzip(w)
			meter := artifact.NewMeter(z)
			if err := archive.Layer(meter, entries, o.Project.Time); err != nil {
				return err
			}
			diffID = meter.Digest()
			return z.Close()
		})
		if err != nil {
			return made{}, err
		}
		m.Layer = blob.Digest
		if err := im.over(blob, diffID, "slipway: base "+o.Name, o.Project.Time); err != nil {
			return made{}, err
		}
		lower = append(lower, func(context.Context) (io.ReadCloser, error) { return os.Open(blobFile(o.Dir, blob.Digest)) })
	}
	if m.descriptor, err = im.manifest(to, o.annotations()); err != nil {
		return made{}, err
	}
	m.descriptor.Platform = &v1.Platform{OS: pl.OS, Architecture: pl.Arch, Variant: base.Config.Variant}
	m.Manifest = artifact.Digest(m.descriptor.Digest.String())
	if m.installed, err = osdb.Read(ctx, sources(lower)); err != nil {
		return made{}, err
	}
	if err := whole(m.installed); err != nil {
		return made{}, err
	}
	m.Packages = len(m.installed.Packages)
	return m, o.test(ctx, o.Baker, work, pl, func(name string) error { return im.archive(to, o.Dir, name) })
}

// sources are the layers as the reader of package databases takes them.
func sources(layers []opener) (out []osdb.Layer) {
	for _, l := range layers {
		out = append(out, osdb.Layer(l))
	}
	return out
}

// hasDatabase refuses a base without a package database, since its packages cannot be listed.
func hasDatabase(ctx context.Context, from string, layers []opener) error {
	is, err := osdb.Read(ctx, sources(layers))
	if err == nil {
		err = whole(is)
	}
	if err != nil {
		return fault.New(fault.Usage, fmt.Errorf("%s: %w", from, err))
	}
	return nil
}

// whole refuses a file system whose packages cannot all be told.
func whole(is osdb.Base) error {
	for _, db := range is.Databases {
		if db.Problem != "" {
			return fmt.Errorf("the package database %s: %s", db.Path, db.Problem)
		}
	}
	if len(is.Packages) == 0 {
		return fault.Errorf(fault.Usage, "it has no package database, so its packages cannot be listed; take an image that has one")
	}
	return nil
}

// list are the packages as lines that can be compared and shown: type, name, version and architecture.
func list(is osdb.Base) []string {
	out := make([]string, len(is.Packages))
	for i, p := range is.Packages {
		out[i] = line(p.Type, p.Name, p.Version, p.Arch)
	}
	slices.Sort(out)
	return out
}

func line(kind, name, version, arch string) string {
	return strings.Join([]string{kind, name, version, arch}, " ")
}

// test runs the test of the recipe in an image that pack writes as an OCI archive.
func (r Recipe) test(ctx context.Context, baker engine.Baker, work string, pl artifact.Platform, pack func(name string) error) error {
	if r.Script == "" {
		return nil
	}
	name := filepath.Join(work, "test.tar")
	if err := pack(name); err != nil {
		return err
	}
	return baker.Bake(ctx, engine.Bake{Image: name, Platform: pl.String(), Steps: []engine.Step{{Name: "test", Args: []string{"/bin/sh", "-c", r.Script}, Unique: true}}}, "")
}

// Retest runs the test of the recipe again, in a base as it was pushed, on all its platforms. Files are kept in dir meanwhile.
func Retest(ctx context.Context, r Recipe, is plan.Base, bases oci.Bases, baker engine.Baker, dir string) error {
	if baker == nil {
		return fmt.Errorf("base %s: %w", r.Name, errNoEngine)
	}
	if r.Script == "" {
		return fault.Errorf(fault.Usage, "base %s has no test; name one in platform.yaml", r.Name)
	}
	to, err := oci.NewLayout(dir)
	if err != nil {
		return err
	}
	for _, pl := range r.Platforms {
		base, err := bases.Base(ctx, is, pl)
		if err != nil {
			return err
		}
		im := img{Base: base}
		if err := im.add(ctx, to); err != nil {
			return err
		}
		if err := r.test(ctx, baker, dir, pl, func(name string) error { return im.archive(to, dir, name) }); err != nil {
			return fmt.Errorf("base %s for %s: %w", r.Name, pl, err)
		}
	}
	return nil
}
