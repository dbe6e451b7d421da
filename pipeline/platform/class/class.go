// Package class holds a release of a platform to what its number promises. The third number is for security: such a release changes what
// its advisories name, and nothing else. Below a new major number nothing breaks that users hold on to. Both are worked out of the bytes:
// of the commits, the bills of materials, the charts and the images of the releases. What a change does, people still review.
package class

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/change"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Finding is something that a release does and its number promises that it does not.
type Finding struct {
	Place string `json:"place"` // component and file, package, field or the like
	Text  string `json:"text"`  // one sentence, which names the place
}

// Gate is a check of a release.
type Gate struct {
	Name  string
	Check func(context.Context, Release) ([]Finding, error)
}

// Gates are all of them, in the order in which they run.
var Gates = []Gate{{"security", security}, {"compatibility", compatibility}}

// Release is a release of a platform that is to be made.
type Release struct {
	Platform   platform.Platform
	Advisories []lifecycle.Advisory
	Version    version.Version
	After      composition.Platform   // what it consists of
	Releases   []composition.Platform // all that there are; later ones and those of other lines too
	// Open brings two releases of one component.
	Open func(ctx context.Context, before, after composition.Component) (Pair, error)
	// Own brings the repository of the platform with the commit of a release of it, and the commit that is to be released.
	Own func(ctx context.Context, before version.Version) (Source, error)
	// Environ is the environment, as of os.Environ: what git and the Go command may need.
	Environ []string
}

// Source is two commits of one repository.
type Source struct {
	Dir           string
	Before, After string
}

// Pair is a release of a component with the one before it.
type Pair struct {
	Source
	Before, After change.Release
}

// Check runs the gates. All findings are told, sorted, without those that platform.yaml excepts; an exception for this release that
// excepts nothing is one as well. An error is about what could not be looked at.
func Check(ctx context.Context, r Release) ([]Finding, error) {
	var all []Finding
	for _, g := range Gates {
		found, err := g.Check(ctx, r)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Place, b.Place), strings.Compare(a.Text, b.Text))
	})
	return r.except(slices.Compact(all)), nil
}

func (r Release) except(all []Finding) []Finding {
	for i, e := range r.Platform.Exceptions {
		if e.Release != r.Version.String() {
			continue
		}
		n := len(all)
		all = slices.DeleteFunc(all, func(f Finding) bool { return f.Place == e.What || f.Text == e.What })
		if len(all) == n {
			key := fmt.Sprintf("exceptions[%d]", i)
			all = append(all, Finding{key, fmt.Sprintf("%s: %q excepts nothing of %s; take it out", r.Platform.At(key), e.What, r.Version)})
		}
	}
	return all
}

// Fixes are the advisories that a release fixes.
func Fixes(all []lifecycle.Advisory, v version.Version) []lifecycle.Advisory {
	var fixed []lifecycle.Advisory
	for _, a := range all {
		if a.Fixes(v) {
			fixed = append(fixed, a)
		}
	}
	return fixed
}

// before is the highest full release below this one that a promise was made with.
func (r Release) before(promised func(version.Version) bool) (before composition.Platform, ok bool) {
	for _, p := range r.Releases {
		if v := p.Version; v.IsStable() && v.Compare(r.Version) < 0 && promised(v) && (!ok || v.Compare(before.Version) > 0) {
			before, ok = p, true
		}
	}
	return before, ok
}

func (r Release) sameLine(v version.Version) bool {
	return lifecycle.Line(v) == lifecycle.Line(r.Version)
}

func (r Release) sameMajor(v version.Version) bool { return v.Major() == r.Version.Major() }
