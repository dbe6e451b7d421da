package class

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/change"
	"github.com/slipway-build/slipway/pipeline/platform/inventory"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/source"
)

// compatibility holds a release below a new major number to the one before it: the highest of its line, or else of the lines before. What
// is below 1.0 promises nothing (https://semver.org/spec/v2.0.0.html#spec-item-4).
func compatibility(ctx context.Context, r Release) ([]Finding, error) {
	before, ok := r.before(r.sameLine)
	if !ok {
		before, ok = r.before(r.sameMajor)
	}
	if !ok || r.Version.Major() == 0 {
		return nil, nil
	}
	b := breaks{Release: r, since: before.Version.String()}
	for _, was := range before.Components {
		c, ok := r.After.Component(was.Name)
		if !ok {
			b.add(was.Name, "component %s is gone", was.Name)
			continue
		}
		if was.Commit == c.Commit && was.Manifest == c.Manifest {
			continue
		}
		pair, err := r.Open(ctx, was, c)
		if err == nil {
			err = b.component(ctx, was, c, pair)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return b.found, nil
}

// breaks collects what a release breaks.
type breaks struct {
	Release
	since string
	found []Finding
}

func (b *breaks) add(place, format string, args ...any) {
	b.found = append(b.found, Finding{place, fmt.Sprintf("%s breaks what was in %s: ", b.Version, b.since) + fmt.Sprintf(format, args...)})
}

func (b *breaks) component(ctx context.Context, was, is composition.Component, p Pair) error {
	if err := kept(b, is.Name, "chart", p, charts, chart.breaks); err != nil {
		return err
	}
	if err := kept(b, is.Name, "image", p, images, imageConfig.breaks); err != nil {
		return err
	}
	before, after, err := both(p, change.Release.Bills)
	if err != nil {
		return err
	}
	b.systems(is.Name, before, after)
	def := b.Platform.Components[is.Name]
	if was.Commit == is.Commit {
		return nil
	}
	work, err := os.MkdirTemp("", "slipway-trees-*")
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	defer os.RemoveAll(work)
	var trees [2]string
	for i, commit := range []string{was.Commit, is.Commit} {
		trees[i] = filepath.Join(work, fmt.Sprint(i))
		if err := os.Mkdir(trees[i], 0o700); err != nil {
			return fault.New(fault.Usage, err)
		}
		at, err := source.Find(ctx, p.Dir, commit)
		if err == nil {
			err = at.Export(ctx, trees[i])
		}
		if err != nil {
			return err
		}
	}
	if err := b.schemas(is.Name, def, trees); err != nil {
		return err
	}
	if err := b.api(ctx, is.Name, def, trees); err != nil {
		return err
	}
	return b.flags(ctx, is.Name, def, [2]map[string]inventory.Bill{before, after}, trees)
}

// both reads something of both releases of a pair.
func both[T any](p Pair, read func(change.Release) (T, error)) (before, after T, err error) {
	if before, err = read(p.Before); err == nil {
		after, err = read(p.After)
	}
	return before, after, err
}

// kept holds each of a kind of artifact that a component had to what has become of it.
func kept[T any](b *breaks, component, kind string, p Pair, read func(change.Release) (map[string]T, error), broken func(was, is T) ([]string, error)) error {
	before, after, err := both(p, read)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		place := component + " " + kind + " " + name
		next, ok := after[name]
		if !ok {
			b.add(place, "%s is gone", place)
			continue
		}
		found, err := broken(before[name], next)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind, name, err)
		}
		for _, text := range found {
			b.add(place, "%s: %s", place, text)
		}
	}
	return nil
}

// systems holds images to the distribution that they were on.
func (b *breaks) systems(component string, before, after map[string]inventory.Bill) {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		was := before[name].System
		if is, ok := after[name]; ok && was != "" && release(was) != release(is.System) {
			b.add(component+" "+name, "%s is on %s in %s, and was on %s", component, is.System, name, was)
		}
	}
}

// release is the release of a distribution, of its name and its VERSION_ID: the third number of 3.22.1 counts the fixes of Alpine 3.22.
func release(system string) string {
	name, id, _ := strings.Cut(system, " ")
	numbers := strings.SplitN(id, ".", 3)
	return name + " " + strings.Join(numbers[:min(2, len(numbers))], ".")
}

// maxSchema bounds a schema, in bytes.
const maxSchema = 4 << 20

func (b *breaks) schemas(component string, def platform.Component, trees [2]string) error {
	for _, name := range def.Schemas {
		place := component + " " + name
		var texts [2][]byte
		for i, tree := range trees {
			var err error
			if texts[i], err = bounded.File(filepath.Join(tree, filepath.FromSlash(name)), maxSchema); err != nil && !os.IsNotExist(err) {
				return fault.New(fault.Git, err)
			}
		}
		if texts[0] == nil && texts[1] == nil {
			return fault.Errorf(fault.Usage, "%s: there is no file %s in it; mend schemas", b.Platform.At("components."+component+".schemas"), name)
		}
		if texts[0] == nil {
			continue
		}
		if texts[1] == nil {
			b.add(place, "%s is gone", place)
			continue
		}
		found, err := narrowed(texts[0], texts[1], nil)
		if err != nil {
			return fault.Errorf(fault.Git, "%s: %w", name, err)
		}
		for _, text := range found {
			b.add(place, "%s: %s", place, text)
		}
	}
	return nil
}
