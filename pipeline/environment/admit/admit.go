// Package admit looks at a release before it enters a store: every byte is verified as verify does, with the signer that the
// store names for its component. What comes of it is an entry.
package admit

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// Signer is who must have signed a release: the holder of a key, or a workflow.
type Signer struct {
	Key      signature.PublicKey
	Identity *keyless.Verifier
	Name     environment.Identity // of either, as rules name it
}

// By is who must sign the releases of a component, as the rules of a store and its keys say. Root is a file with the keys of Sigstore's
// services, for a workflow; "" are those that verify knows.
func By(c environment.Component, keys map[string]signature.PublicKey, root string) (Signer, error) {
	by := Signer{Key: keys[c.Key], Name: environment.Identity{Key: c.Key, Identity: c.Identity, Issuer: c.Issuer}}
	if c.Identity == "" {
		return by, nil
	}
	var err error
	by.Identity, err = verify.IdentityFlags{Identity: c.Identity, Issuer: c.Issuer, Root: root}.Verifier()
	return by, err
}

// Entry is the entry of a release in a folder or at a URL, which stays its place. A release that is not whole is a fault.Mismatch;
// one that is whole and not signed by the signer is a fault.Policy.
func Entry(ctx context.Context, place, component, version string, by Signer) (environment.Entry, error) {
	dir, downloads := place, false
	if verify.IsURL(place) {
		tmp, err := os.MkdirTemp("", "slipway-admit-*")
		if err != nil {
			return environment.Entry{}, fault.New(fault.Usage, err)
		}
		defer os.RemoveAll(tmp)
		fetched, err := verify.Fetch(ctx, place, tmp, verify.Options{})
		if err != nil {
			return environment.Entry{}, err
		}
		dir, downloads, place = tmp, fetched.Downloads, fetched.Address
	} else {
		abs, err := filepath.Abs(place)
		if err != nil {
			return environment.Entry{}, fault.New(fault.Usage, err)
		}
		place = (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs) + "/"}).String()
	}
	o := verify.Options{AllowUnpublishable: true, Downloads: downloads, Version: version, Identity: by.Identity}
	if !by.Key.IsZero() {
		o.Keys = []signature.PublicKey{by.Key}
	}
	report, err := verify.Dist(ctx, dir, o)
	if err != nil {
		unsigned := o
		unsigned.AllowUnsigned, unsigned.Keys, unsigned.Identity = true, nil, nil
		if _, e := verify.Dist(ctx, dir, unsigned); e == nil {
			return environment.Entry{}, fault.Errorf(fault.Policy, "signed: %s is whole and not signed by %s: %w", place, by.Name, errors.Join(failures(report)...))
		}
		if bad := failures(report); len(bad) > 0 { // for whoever cannot look into the folder that it was brought to
			err = fault.New(fault.CodeOf(err), errors.Join(bad...))
		}
		return environment.Entry{}, fmt.Errorf("%s: %w", place, err)
	}
	name := filepath.Join(dir, manifest.FileName)
	rel, err := manifest.Load(name)
	if err != nil {
		return environment.Entry{}, err
	}
	digest, _, err := artifact.SumFile(name)
	if err != nil {
		return environment.Entry{}, fault.New(fault.Transient, err)
	}
	if rel.Name != component {
		return environment.Entry{}, fault.Errorf(fault.Mismatch, "%s is a release of %s, and not of %s", place, rel.Name, component)
	}
	e := environment.Entry{
		Component: rel.Name, Version: rel.Version.String(), Commit: rel.Commit, Manifest: digest, Signed: by.Name,
		Unpublishable: rel.Unpublishable, Places: []string{place},
	}
	for _, im := range rel.Images {
		e.Images = append(e.Images, environment.Image{
			Repository: im.Repository, Distro: im.Distro, Default: slices.Contains(im.Tags, rel.Version.OCITag()), Digest: im.Digest,
		})
	}
	for _, c := range rel.Charts {
		if c.Digest != "" {
			e.Charts = append(e.Charts, environment.Chart{Repository: c.Repository, Name: c.Name, Version: c.Version, Digest: c.Digest})
		}
	}
	return e, nil
}

// failures are up to three checks that did not pass.
func failures(r verify.Report) []error {
	var all []error
	for _, row := range r.Rows {
		if row.Verdict != verify.Pass && len(all) < 3 {
			all = append(all, fmt.Errorf("%s: %s", row.Path, row.Detail))
		}
	}
	return all
}
