package class

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/platform/change"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/reproduce"
	"github.com/slipway-build/slipway/pipeline/source"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// Opener brings releases of components into a folder, which the caller removes. It brings each of them once.
type Opener struct {
	resolve.Options
	Work string

	clones   map[string]string         // by repository
	releases map[string]change.Release // by manifest
	listed   map[string][]reproduce.Listed
}

// Open is Release.Open. The commits are brought from the repository that platform.yaml names, the releases from where their platforms say
// that they are; each is held to the digest of its manifest that was locked, and its files to that.
func (o *Opener) Open(ctx context.Context, before, after composition.Component) (Pair, error) {
	var p Pair
	var err error
	p.Source.Before, p.Source.After = before.Commit, after.Commit
	if p.Dir, err = o.clone(ctx, after); err != nil {
		return p, err
	}
	if has, err := source.Has(ctx, p.Dir, before.Commit); err != nil || !has {
		return p, cmp.Or(err, fault.Errorf(fault.Git, "%s no longer has commit %.12s, which %s was made of: push a tag of it again", source.HideUser(after.Repository), before.Commit, before.Called()))
	}
	if p.Before, err = o.release(ctx, before); err == nil {
		p.After, err = o.release(ctx, after)
	}
	return p, err
}

func (o *Opener) clone(ctx context.Context, c composition.Component) (string, error) {
	key := c.Repository + " " + c.Commit
	if dir, ok := o.clones[key]; ok {
		return dir, nil
	}
	dir := filepath.Join(o.Work, fmt.Sprintf("clone-%d", len(o.clones)))
	if err := source.Clone(ctx, o.Remote(c.Repository), dir, c.Commit, o.Pass...); err != nil {
		return "", err
	}
	if o.clones == nil {
		o.clones = map[string]string{}
	}
	o.clones[key] = dir
	return dir, nil
}

// maxDocument bounds the files of images that are looked at, which are their documents and not their layers.
const maxDocument = 1 << 20

// wanted are the files of a release that gates look at.
func wanted(_ manifest.Release, f artifact.File) bool {
	return strings.HasSuffix(f.Path, ".cdx.json") || f.Kind == artifact.Chart || strings.HasPrefix(f.Path, "images/") && f.Size <= maxDocument
}

func (o *Opener) release(ctx context.Context, c composition.Component) (change.Release, error) {
	if c.Manifest == "" {
		return change.Release{}, fault.Errorf(fault.Policy, "%s is not published, and what its number promises cannot be seen; run platform lock once it is", c.Called())
	}
	if r, ok := o.releases[string(c.Manifest)]; ok {
		return r, nil
	}
	list, ok := o.listed[c.Releases]
	if !ok {
		var err error
		if list, err = o.At(ctx, c.Releases); err != nil {
			return change.Release{}, err
		}
		if o.listed == nil {
			o.listed = map[string][]reproduce.Listed{}
		}
		o.listed[c.Releases] = list
	}
	i := slices.IndexFunc(list, func(l reproduce.Listed) bool { return l.Version == c.Version && l.Of(c.Name, c.Tag) })
	if i < 0 {
		return change.Release{}, fault.Errorf(fault.Mismatch, "%s has no release %s, which was locked", c.Releases, c.Called())
	}
	dir := list[i].Address()
	if verify.IsURL(dir) {
		dir = filepath.Join(o.Work, fmt.Sprintf("release-%d", len(o.releases)))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return change.Release{}, fault.New(fault.Usage, err)
		}
		if _, err := verify.Some(ctx, list[i].Address(), dir, wanted); err != nil {
			return change.Release{}, err
		}
	}
	r, err := change.Open(dir, c.Manifest)
	if err == nil {
		if o.releases == nil {
			o.releases = map[string]change.Release{}
		}
		o.releases[string(c.Manifest)] = r
	}
	return r, err
}
