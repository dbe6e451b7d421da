package cli

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/publish/names"
	"github.com/slipway-build/slipway/pipeline/publish/packages"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/openpgp"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// repository is a folder with indexes of packages.
type repository struct {
	dir, key, passphraseFile string
	fetch                    bool // also what is not in it
}

// keyName is what people see of the key of package repositories.
const keyName = "slipway packages"

// reconcilePackages has the indexes of a folder be what the store says, and ends when nothing is left to write.
func (a *app) reconcilePackages(ctx context.Context, st *store.Store, r repository, check bool) (all []names.Name, err error) {
	signer, err := sign.Source{
		Key: r.key, PassphraseFile: r.passphraseFile, LookupEnv: a.lookupEnv,
		Prompt: func() ([]byte, error) { return a.ask("passphrase of " + r.key + ": ") },
	}.Open()
	if err != nil {
		return nil, err
	}
	key, err := openpgp.New(signer, keyName)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	entries := map[artifact.Digest]environment.Entry{}
	o := packages.Options{Dir: r.dir, Key: key, Check: check}
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
		if err != nil || check || len(written) == 0 {
			return all, err
		}
		if round == otherRounds {
			return all, fault.Errorf(fault.Transient, "%s does not stay what it was made: others write it at the same time; the same command goes on", r.dir)
		}
	}
}

// isPackage reports whether a file is what apt or dnf installs.
func isPackage(rel manifest.Release, f artifact.File) bool {
	return slices.ContainsFunc(rel.Packages, func(p manifest.Package) bool {
		return p.Path == f.Path && (p.Format == format.Deb.Name || p.Format == format.RPM.Name)
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
