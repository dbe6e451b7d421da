package main

import (
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/scaffold"
)

func newInit() *cobra.Command {
	var o scaffold.Options
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write slipway.yaml, slipway.lock, ci/ and a release workflow into a Go repository",
		Long: `Init looks at the repository (main packages, module, licence, charts, Dockerfiles) and writes what a release needs. It
never overwrites a file. The bases are locked at the digests that this version knows; the pipeline's lock command takes
newer ones.`,
		Example: "  slipway init\n  slipway init --from-goreleaser .goreleaser.yml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Dir, err = filepath.Abs(o.Dir); err != nil {
				return err
			}
			o.GoVersion = strings.TrimPrefix(runtime.Version(), "go")
			o.Version = version
			o.Remote = scaffold.Remote(cmd.Context(), o.Dir)
			result, err := scaffold.Init(cmd.Context(), o)
			if err != nil {
				return err
			}
			return result.Write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.Dir, "dir", ".", "root of the repository")
	cmd.Flags().StringVar(&o.GoReleaser, "from-goreleaser", "", "`file` of GoReleaser to start from; what cannot be carried over is listed")
	cmd.Flags().StringVar(&o.Store, "store", "", "`URL` of the release store that the project is in; in a clone of the store itself init writes its workflow")
	return cmd
}
