package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/publish/names"
	"github.com/slipway-build/slipway/pipeline/publish/registry"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func (a *app) reconcileCommand() *cobra.Command {
	var remote string
	var pass []string
	var check, asJSON bool
	var repository repository
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Have the names that move follow a release store",
		Long: `A release store says which version is the current one in which environment; see docs/environments.md. reconcile moves the tags
that its rules name under tags to these versions, forward, or back where a rollback says so. It goes by digest and sends no
bytes; a name that no version is the current one for stays where it is. It ends when there is nothing left to move, and then
prints what it moved. Several of it at the same time leave what the store says.

Where a slipway.yaml applies it is about that project alone, and its images are looked for where that file publishes them to. If
that file names the store, the chart repository, the tap, the bucket of Scoop and what GitHub calls the latest release follow the
environment that is for everybody as well. Elsewhere it is about all tags that the store has. With --check it moves nothing, and exits with 5 where something is to be moved.

With --packages it does something else: in a folder, or below a prefix of a bucket, that has a folder of releases, called releases, it
writes the indexes that apt, dnf and apk read of each environment, with the packages of the current versions, and signs them with
--packages-key. For apk that has to be a key of RSA, by itself or as a second one.`,
		Example: "  go run ./ci reconcile\n  go run ./ci reconcile --check --store https://example.com/releases.git\n  go run ./ci reconcile --packages /srv --packages-key env:PACKAGES_KEY\n" +
			"  go run ./ci reconcile --packages https://s3.example.com/bucket/prefix --packages-key packages.key --packages-key apk.key",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.resumes = true
			cfg, err := a.projectIfAny()
			if err != nil {
				return err
			}
			st, err := a.openStore(remote, cfg, pass)
			if err != nil {
				return err
			}
			var result names.Result
			if repository.dir != "" {
				result.Names, err = a.reconcilePackages(cmd.Context(), st, repository, check)
			} else {
				result, err = names.Reconcile(cmd.Context(), a.follow(st, cfg, check))
			}
			if repository.dir == "" && cfg != nil && cfg.Environment.Store != "" && cmd.Context().Err() == nil {
				all, left, otherErr := a.followOthers(cmd.Context(), st, *cfg, check)
				result.Names, result.Left, err = append(result.Names, all...), append(result.Left, left...), errors.Join(err, otherErr)
			}
			if printed := a.printNames(result, check, asJSON); printed != nil {
				return errors.Join(printed, err)
			}
			if n := len(result.Names); err == nil && check && n > 0 {
				err = fault.Errorf(fault.Mismatch, "%s not where the store says; the reconcile command moves them", count(n, "name is", "names are"))
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&remote, "store", "", "`URL` or path of the store's git repository (default $SLIPWAY_STORE, else that of slipway.yaml)")
	flags.StringArrayVar(&pass, "pass", nil, "`name` of an environment variable that a credential helper of git reads")
	flags.StringVar(&repository.dir, "packages", "", "instead, write the indexes of apt, dnf and apk into this `folder`, which has releases/, or bucket: https://SERVICE/BUCKET/PREFIX, with AWS_REGION and the credentials of publish.bucket")
	flags.BoolVar(&repository.fetch, "fetch", false, "have packages of releases that are elsewhere in the indexes, too, for slipway serve, which sends on to them")
	flags.StringArrayVar(&repository.keys, "packages-key", nil, "`file` with the private key that signs them, or env:NAME; Ed25519, ECDSA P-256 or RSA. apk takes RSA alone, which may be a second one")
	flags.StringVar(&repository.passphraseFile, "passphrase-file", "", "`file` with the passphrase of these keys")
	flags.BoolVar(&check, "check", false, "move nothing, and say what is to be moved")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// projectIfAny is the configuration that applies here; nil where none does.
func (a *app) projectIfAny() (*config.Config, error) {
	cfg, _, err := a.readConfig()
	if _, none := errors.AsType[*noProject](err); none {
		return nil, nil
	}
	return &cfg, err
}

// storeRemote is where the store is that is meant.
func (a *app) storeRemote(named string, cfg *config.Config) string {
	remote := cmp.Or(named, a.getenv("SLIPWAY_STORE"))
	if cfg != nil {
		remote = cmp.Or(remote, cfg.Environment.Store)
	}
	return store.Locate(remote)
}

// openStore is the store that is meant, in the folder that every command on this machine has for it.
func (a *app) openStore(named string, cfg *config.Config, pass []string) (*store.Store, error) {
	remote := a.storeRemote(named, cfg)
	if remote == "" {
		return nil, fault.Errorf(fault.Usage, "no store is named: say --store URL, set SLIPWAY_STORE, or name it under environment in slipway.yaml")
	}
	dir, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	return store.OpenBelow(dir, remote, a.environ, pass...)
}

// follow says what follows the store: a project's names where there is one.
func (a *app) follow(st *store.Store, cfg *config.Config, check bool) names.Options {
	o := names.Options{
		Check: check,
		Read: func(ctx context.Context, f func(names.Store) error) error {
			return st.Read(ctx, func(v store.View) error {
				return f(names.Store{State: v.State, Rules: v.Rules, Entry: func(s environment.Seen) (environment.Entry, error) {
					return st.Entry(ctx, s.Stage, s.Component, s.Version)
				}})
			})
		},
		Open: func(ctx context.Context, repository string) (names.Registry, error) {
			host, _, _ := strings.Cut(repository, "/")
			auth, err := a.registryAuth(host)
			if err != nil {
				return nil, err
			}
			t := wire.New(wire.Options{Destination: host, Base: network(), UserAgent: userAgent()})
			return registry.OpenTags(ctx, repository, auth, t, !check)
		},
	}
	if cfg != nil {
		o.Component = cfg.Project.Name
		o.Repositories = func(stage, repository string) []string { return setOf(*cfg, stage).Registries.Targets(repository) }
	}
	return o
}

// setOf is where what is in an environment is published to: the set of its name, else the one below publish.
func setOf(cfg config.Config, environment string) config.Publish {
	if set, ok := cfg.Destinations[environment]; ok {
		return set
	}
	return cfg.Publish
}

// printNames says what was moved or is to be, and what stays where it is.
func (a *app) printNames(r names.Result, check, asJSON bool) error {
	for _, left := range r.Left {
		fmt.Fprintf(a.stderr, "slipway: %s\n", words.Line(left))
	}
	if asJSON {
		if r.Names == nil {
			r.Names = []names.Name{}
		}
		return json.NewEncoder(a.stdout).Encode(r.Names)
	}
	for _, n := range r.Names {
		text := n.Moved()
		if check {
			text = n.Drift()
		}
		if _, err := fmt.Fprintln(a.stdout, words.Line(text)); err != nil {
			return err
		}
	}
	return nil
}
