package cli

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/scaffold"
)

func (a *app) initCommand() *cobra.Command {
	var o scaffold.Options
	var offline bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write slipway.yaml, slipway.lock, ci/ and a release workflow into a Go repository",
		Long: `Init looks at the repository (main packages, module, licence, charts, Dockerfiles) and writes what a release needs. It
never overwrites a file. The pipeline becomes a module of its own in ci/, so its dependencies never move the versions that
the product is built from.`,
		Example: "  go run github.com/slipway-build/slipway/ci@latest init\n  go run github.com/slipway-build/slipway/ci@latest init --from-goreleaser .goreleaser.yml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !offline {
				o.Lock = func(ctx context.Context, cfg config.Config) (config.Lock, error) {
					return a.resolve(ctx, cfg, config.Lock{}, o.Dir, nil)
				}
			}
			return a.init(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Dir, "dir", ".", "root of the repository")
	flags.StringVar(&o.GoReleaser, "from-goreleaser", "", "`file` of GoReleaser to start from; what cannot be carried over is listed")
	flags.StringVar(&o.Store, "store", "", "`URL` of the release store that the project is in; in a clone of the store itself init writes its workflow")
	flags.StringVar(&o.Replace, "replace", "", "`folder` of Slipway's source, to use instead of a released version")
	flags.BoolVar(&offline, "offline", false, "lock the bases that this version of Slipway knows, and ask no registry")
	return cmd
}

func (a *app) init(ctx context.Context, o scaffold.Options) error {
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if o.Replace != "" {
		if o.Replace, err = filepath.Abs(o.Replace); err != nil {
			return err
		}
	}
	o.GoVersion = strings.TrimPrefix(runtime.Version(), "go")
	o.Version = toolVersion()
	o.Remote = scaffold.Remote(ctx, o.Dir)
	result, err := scaffold.Init(ctx, o)
	if err != nil {
		return err
	}
	return result.Write(a.stdout)
}
