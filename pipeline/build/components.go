package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/build/chart"
	"github.com/slipway-build/slipway/pipeline/build/sbom"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/notes"
)

// Components brings what a release of a platform takes from those of its components.
type Components interface {
	// Component brings the manifest of a component's release, held to the digest that the component has, and those of its files that
	// are wanted, held to the digests in that.
	Component(ctx context.Context, c composition.Component, wanted func(manifest.Release, artifact.File) bool) (manifest.Release, error)
	// File is where on this machine a file with a digest is that was brought.
	File(d artifact.Digest) string
}

// fetchers is how many components are brought at once.
const fetchers = 8

// component is one of a platform, with its release.
type component struct {
	composition.Component
	release manifest.Release // zero for one that was not published
}

// bring brings what is wanted of all components of a plan.
func bring(ctx context.Context, p plan.Plan, from Components, wanted func(manifest.Release, artifact.File) bool) ([]component, error) {
	if p.Platform == nil {
		return nil, nil
	}
	is, err := composition.Decode([]byte(p.Platform.Text))
	if err != nil {
		return nil, fault.New(fault.Bug, err)
	}
	all, errs := make([]component, len(is.Components)), make([]error, len(is.Components))
	var group errgroup.Group
	group.SetLimit(fetchers)
	for i, c := range is.Components {
		all[i].Component = c
		if _, published := c.Input(); !published {
			continue
		}
		group.Go(func() error {
			r, err := from.Component(ctx, c, wanted)
			if err == nil {
				err = holds(p, c.Name, r)
			}
			if err != nil {
				errs[i] = fmt.Errorf("component %s %s: %w", c.Name, c.Called(), err)
			}
			all[i].release = r
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
	return all, errors.Join(errs...)
}

// holds requires a component's release to have the charts that the plan says, and no others.
func holds(p plan.Plan, name string, r manifest.Release) error {
	for _, c := range p.Charts {
		if c.Components == nil {
			continue
		}
		var said []string
		for _, part := range c.Components {
			if part.Component == name {
				said = append(said, part.Name+" "+part.Version)
			}
		}
		var has []string
		for _, chart := range r.Charts {
			has = append(has, chart.Name+" "+chart.Version)
		}
		slices.Sort(said)
		slices.Sort(has)
		if !slices.Equal(said, has) {
			return fault.Errorf(fault.Mismatch, "its release has the charts %q, and platform.lock says %q; run platform lock and commit it", has, said)
		}
	}
	return nil
}

// wanted are the files of a component's release that the plan takes something from; nil where it takes nothing of any.
func wanted(p plan.Plan) func(manifest.Release, artifact.File) bool {
	charts := slices.ContainsFunc(p.Charts, func(c plan.Chart) bool { return c.Components != nil })
	texts := map[artifact.Digest]bool{}
	if p.Platform != nil {
		for _, c := range p.Platform.Changes {
			if c.Notes != "" {
				texts[c.Notes] = true
			}
		}
	}
	described := slices.ContainsFunc(p.SBOMs, func(s plan.SBOM) bool { return s.Kind == artifact.Composed })
	if !charts && !described && len(texts) == 0 {
		return nil
	}
	return func(r manifest.Release, f artifact.File) bool {
		return described && f.Kind == artifact.SBOM && slices.Contains(bills(r), f.Path) || charts && f.Kind == artifact.Chart && slices.ContainsFunc(r.Charts, func(c manifest.Chart) bool { return c.Path == f.Path }) ||
			f.Path == r.Notes && texts[f.Digest]
	}
}

// bills are the paths of the bills of materials of a release that say all that it consists of: what is in a binary is in its archive.
func bills(r manifest.Release) (all []string) {
	for _, s := range r.SBOMs {
		binary := slices.ContainsFunc(r.Binaries, func(b manifest.Binary) bool { return b.Path == s.Subject })
		packed := slices.ContainsFunc(r.Archives, func(a manifest.Archive) bool { return a.Platform == s.Platform })
		if s.Format == "cyclonedx" && !(binary && packed) {
			all = append(all, s.Path)
		}
	}
	return all
}

// maxBill bounds a bill of materials of a component, in bytes.
const maxBill = 64 << 20

// merged is what all components consist of.
func (b *builder) merged(ctx context.Context) (*sbom.Merged, error) {
	all, err := b.components(ctx)
	if err != nil {
		return nil, err
	}
	var members []sbom.Member
	for _, c := range all {
		m := sbom.Member{Name: c.Name, Version: c.Version, Repository: c.Repository, Commit: c.Commit, Manifest: c.Manifest, Needs: c.Needs}
		for _, name := range bills(c.release) {
			m.Bills = append(m.Bills, func() ([]byte, error) {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				return bounded.File(b.Components.File(fileOf(c.release, name).Digest), maxBill)
			})
		}
		members = append(members, m)
	}
	out, err := sbom.Merge(members)
	return out, fault.New(fault.Build, err)
}

// maxNotes bounds the notes of a component, in bytes.
const maxNotes = 8 << 20

// notes are those of the release, with what is new in its components.
func (b *builder) notes(ctx context.Context) (string, error) {
	own, of := b.Plan.Notes.Markdown, b.Plan.Platform
	if of == nil {
		return own, nil
	}
	all, err := b.components(ctx)
	if err != nil {
		return "", err
	}
	var changed []notes.Part
	for _, c := range of.Changes {
		part := notes.Part{Title: c.Title}
		if c.Notes != "" {
			if !slices.ContainsFunc(all, func(have component) bool { return fileOf(have.release, have.release.Notes).Digest == c.Notes }) {
				return "", fault.Errorf(fault.Mismatch, "component %s: its release has not the notes that platform.lock says; run platform lock and commit it", c.Title)
			}
			text, err := bounded.File(b.Components.File(c.Notes), maxNotes)
			if err != nil {
				return "", fault.New(fault.Build, fmt.Errorf("component %s: reading its notes: %w", c.Title, err))
			}
			part.Markdown = string(text)
		}
		changed = append(changed, part)
	}
	return notes.Over(own, changed, of.Same), nil
}

// parts are the charts of components that a chart may have in it.
func parts(c plan.Chart, all []component, from Components) (out []chart.Part) {
	for _, part := range c.Components {
		i := slices.IndexFunc(all, func(of component) bool { return of.Name == part.Component })
		r := all[i].release
		j := slices.IndexFunc(r.Charts, func(c manifest.Chart) bool { return c.Name == part.Name })
		f := fileOf(r, r.Charts[j].Path) // which it lists, or else it could not be read
		out = append(out, chart.Part{
			Dependency: chart.Dependency{
				Name: part.Name, Version: part.Version, Repository: chart.ComponentScheme + part.Component, Digest: f.Digest, File: from.File(f.Digest),
			},
			Alias: part.Alias,
		})
	}
	return out
}

// fileOf is the file of a release with a path.
func fileOf(r manifest.Release, name string) artifact.File {
	i, ok := slices.BinarySearchFunc(r.Files, name, func(f artifact.File, name string) int { return cmp.Compare(f.Path, name) })
	if !ok {
		return artifact.File{}
	}
	return r.Files[i]
}

// ChartParts brings the charts of components that a chart of the plan may have in it.
func ChartParts(ctx context.Context, p plan.Plan, c plan.Chart, from Components) ([]chart.Part, error) {
	if c.Components == nil {
		return nil, nil
	}
	all, err := bring(ctx, p, from, func(r manifest.Release, f artifact.File) bool { return f.Kind == artifact.Chart })
	if err != nil {
		return nil, err
	}
	return parts(c, all, from), nil
}

// components brings, once, all that the plan takes of the components.
func (b *builder) components(ctx context.Context) ([]component, error) {
	b.brought.Do(func() {
		take := wanted(b.Plan)
		if take == nil {
			return
		}
		b.broughtErr = b.Tracker.Run("components", "source", func() (string, error) {
			var err error
			b.parts, err = bring(ctx, b.Plan, b.Components, take)
			return fmt.Sprintf("%d", len(b.parts)), err
		})
	})
	return b.parts, b.broughtErr
}
