package main

import (
	"errors"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/verify"
)

func newVerify() *cobra.Command {
	asJSON := false
	var options verify.Options
	cmd := &cobra.Command{
		Use:   "verify DIST",
		Short: "Check a dist/ folder against its manifest",
		Long: `verify checks that a dist/ folder is the release that its release.json describes: every file is there with its
size and digest, no file is there that should not be, SHA256SUMS agrees, and every image is whole. It prints one row
for each check, those that did not pass at the end, and exits with 5 unless all passed.`,
		Example: "  slipway verify dist\n  slipway verify --json dist",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, _ := debug.ReadBuildInfo()
			options.Verifier = "slipway " + thisBuild(info).Version
			report, err := verify.Dist(cmd.Context(), args[0], options)
			if err != nil && len(report.Rows) == 0 {
				return err
			}
			if asJSON {
				return errors.Join(err, writeJSON(cmd.OutOrStdout(), report))
			}
			return errors.Join(err, report.WriteText(cmd.OutOrStdout()))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.Flags().BoolVar(&options.AllowUnpublishable, "allow-unpublishable", false, "accept a release that its manifest marks as not to be published, such as one with stand-in bases")
	return cmd
}
