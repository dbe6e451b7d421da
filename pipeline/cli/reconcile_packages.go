package cli

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/publish/bucket"
	"github.com/slipway-build/slipway/pipeline/publish/names"
	"github.com/slipway-build/slipway/pipeline/publish/packages"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/openpgp"
)

// repository is a folder, or a bucket, with indexes of packages.
type repository struct {
	dir            string
	keys           []string
	passphraseFile string
	fetch          bool // also what is not in it
}

// keyName is what people see of the key of package repositories.
const keyName = "slipway packages"

// reconcilePackages has the indexes of a folder be what the store says, and ends when nothing is left to write.
func (a *app) reconcilePackages(ctx context.Context, st *store.Store, r repository, check bool) (all []names.Name, err error) {
	o, err := a.packageKeys(r)
	if err != nil {
		return nil, err
	}
	o.Check, o.Dir = check, r.dir
	if u, err := url.Parse(r.dir); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		if r.fetch {
			return nil, fault.Errorf(fault.Usage, "--fetch is for a folder that slipway serve has: a bucket sends nobody on to where a release is, so publish the releases to it")
		}
		if o.Bucket, err = a.packageBucket(u); err != nil {
			return nil, err
		}
	}
	entries := map[artifact.Digest]environment.Entry{}
	if r.fetch {
		below, err := os.MkdirTemp("", "slipway-packages-*")
		if err != nil {
			return nil, fault.New(fault.Usage, err)
		}
		defer os.RemoveAll(below)
		o.Fetch = func(ctx context.Context, seen environment.Seen) (string, error) {
			rel, err := parts(ctx, below, entries[seen.Entry], isPackage)
			return rel.Dir, err
		}
	}
	for round := 1; ; round++ {
		var stages []packages.Stage
		if err := st.Read(ctx, func(v store.View) (err error) {
			stages = currentOf(v)
			if !r.fetch {
				return nil
			}
			for _, s := range stages {
				for _, seen := range s.Current {
					if entries[seen.Entry], err = st.Entry(ctx, seen.Stage, seen.Component, seen.Version); err != nil {
						return err
					}
				}
			}
			return nil
		}); err != nil {
			return all, err
		}
		written, err := packages.Reconcile(ctx, o, stages)
		for _, w := range written {
			all = append(all, names.Name{Name: fmt.Sprintf("%s: packages of %s", r.dir, w.Stage), Detail: w.Why, Environment: w.Stage, Line: w.Line})
		}
		others := errors.Is(err, bucket.ErrChanged)
		if err != nil && !others || check || len(written) == 0 && !others {
			return all, err
		}
		if round == otherRounds {
			return all, fault.Errorf(fault.Transient, "%s does not stay what it was made: others write it at the same time; the same command goes on", r.dir)
		}
	}
}

// packageKeys are the keys that sign: the first one for apt and dnf, and the first one of RSA for apk as well.
func (a *app) packageKeys(r repository) (o packages.Options, err error) {
	if len(r.keys) == 0 {
		r.keys = []string{""} // of which it is said that there is none
	}
	for i, name := range r.keys {
		key, err := a.openKey(name, r.passphraseFile)
		if err != nil {
			return o, err
		}
		_, isRSA := key.Public().Crypto().(*rsa.PublicKey)
		if isRSA && o.APK == nil {
			o.APK = key
		} else if i > 0 {
			return o, fault.Errorf(fault.Usage, "a second key of packages is one of RSA, for apk, and %s is of kind %s", display(name), key.Public().Kind())
		}
		if i > 0 {
			continue
		}
		if o.Key, err = openpgp.New(key, keyName); err != nil {
			return o, fault.New(fault.Usage, err)
		}
	}
	return o, nil
}

// packageBucket is a bucket by its URL: that of the service, the name of the bucket, and what stands in front of all its keys.
func (a *app) packageBucket(u *url.URL) (*bucket.Objects, error) {
	name, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	s := &shipment{app: a}
	o := bucket.Options{
		Transport: wire.New(wire.Options{Destination: u.Host, Base: network(), UserAgent: userAgent()}),
		Endpoint:  u.Scheme + "://" + u.Host, Bucket: name, Prefix: prefix, Region: a.getenv("AWS_REGION"),
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.Errorf(fault.Usage, "a bucket is https, the host of its service, its name and a prefix, and nothing else: %s", wire.Redact(u))
	}
	s.bucketKeys(&o)
	if err := s.lacking(); err != nil {
		return nil, err
	}
	return bucket.Open(o)
}

// isPackage reports whether a file is what is in an index.
func isPackage(rel manifest.Release, f artifact.File) bool {
	return slices.ContainsFunc(rel.Packages, func(p manifest.Package) bool {
		return p.Path == f.Path && slices.Contains(packages.Formats, p.Format)
	})
}

// currentOf is what is current in each environment. An index has the time of the last line of the log, so that it is never older than one
// before, which apt would pass over.
func currentOf(v store.View) []packages.Stage {
	var stages []packages.Stage
	if v.State.Count == 0 {
		return nil
	}
	for _, name := range v.Rules.StageNames() {
		s := packages.Stage{Name: name, Line: v.State.Count, At: v.State.Time}
		for _, component := range v.State.Components() {
			if current, _, ok := v.State.Current(v.Rules, name, component); ok {
				s.Current = append(s.Current, current)
			}
		}
		stages = append(stages, s)
	}
	return stages
}
