package resolve

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// Composed is a release of a platform.
type Composed struct {
	composition.Platform
	Place    string // where it is: a folder, or a URL
	Release  manifest.Release
	Manifest artifact.Digest
}

// Composition is what the release in a folder or at a URL consists of. Its platform.json is held to the release's manifest, and that to
// its signature as the options say. A release of no platform is a fault.Usage.
func Composition(ctx context.Context, place string, o verify.Options) (c Composed, err error) {
	c.Place = place
	dir := place
	if verify.IsURL(place) {
		if dir, err = os.MkdirTemp("", "slipway-platform-*"); err != nil {
			return c, fault.New(fault.Usage, err)
		}
		defer os.RemoveAll(dir)
		if err := within(ctx, 0, place, func(ctx context.Context) error {
			fetched, err := verify.Some(ctx, place, dir, func(_ manifest.Release, f artifact.File) bool { return f.Path == composition.FileName })
			o.Release = fetched.Address
			return err
		}); err != nil {
			return c, err
		}
	}
	name := filepath.Join(dir, composition.FileName)
	if _, err := os.Stat(name); err != nil {
		return c, fault.Errorf(fault.Usage, "%s: there is no %s: it is no release of a platform", place, composition.FileName)
	}
	var report verify.Report
	if err := within(ctx, 0, place, func(ctx context.Context) error {
		report, err = verify.Files(ctx, []string{name}, o)
		return err
	}); err != nil {
		return c, first(place, report, err)
	}
	b, err := os.ReadFile(name) // of a size that was looked at just now
	if err == nil {
		c.Platform, err = composition.Decode(b)
	}
	if err == nil {
		c.Release, err = manifest.Load(filepath.Join(dir, manifest.FileName))
	}
	c.Manifest = report.Manifest
	return c, unread(place, err)
}

// unread is why a document at an address cannot be read: it is not what it should be, or another version of this program reads it.
func unread(at string, err error) error {
	if err == nil {
		return nil
	}
	code := fault.Mismatch
	if errors.Is(err, canonjson.ErrNewer) {
		code = fault.Usage
	}
	return fault.Errorf(code, "%s: %w", at, err)
}

// first is the first check that did not pass, of what is at an address.
func first(at string, r verify.Report, err error) error {
	for _, row := range r.Rows {
		if row.Verdict != verify.Pass {
			return fault.Errorf(fault.CodeOf(err), "%s: %s: %s", at, row.Path, row.Detail)
		}
	}
	return fault.New(fault.CodeOf(err), err)
}
