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
			if stages, err = currentOf(ctx, st, v); err != nil || !r.fetch {
				return err
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

// currentOf is what is current in each environment, and the line by which it became that: the last by which anything did, which an index
// has its time from.
func currentOf(ctx context.Context, st *store.Store, v store.View) ([]packages.Stage, error) {
	if v.State.Count == 0 {
		return nil, nil
	}
	var stages []packages.Stage
	at := map[string]int{}
	for _, name := range v.Rules.StageNames() {
		at[name] = len(stages)
		stages = append(stages, packages.Stage{Name: name})
	}
	var history environment.History
	var files []int
	for i := 0; i*store.LinesOfFile < v.State.Count; i++ {
		files = append(files, i)
	}
	err := st.Lines(ctx, st.LogHead(), func(l environment.Line) error {
		changes := history.Add(v.Rules, l)
		for i := range stages {
			if l.N == 1 {
				stages[i].Line, stages[i].At = l.N, l.Time
			}
		}
		for _, c := range changes {
			s := &stages[at[c.Stage]]
			s.Line, s.At = c.Line, c.Time
		}
		return nil
	}, files...)
	for i := range stages {
		for _, name := range v.State.Components() {
			if current, _, ok := v.State.Current(v.Rules, stages[i].Name, name); ok {
				stages[i].Current = append(stages[i].Current, current)
			}
		}
	}
	return stages, err
}
