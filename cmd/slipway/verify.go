package main

import (
	"errors"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/reproduce"
	"github.com/slipway-build/slipway/pipeline/verify"
)

func newVerify() *cobra.Command {
	var f verify.Flags
	var project, life string
	var k onDay
	var recovery bool
	cmd := &cobra.Command{
		Use:   "verify DIST|URL|IMAGE|FILE...",
		Short: "Check a release, a file of one or an image against its signatures and its contents",
		Long: `verify checks that a dist/ folder, or what is below a URL, is the release that its release.json describes: every file
is there with its size and digest, no file is there that should not be, the lists of checksums agree, every image is
whole, and every file says of itself what the manifest says of it: the version of a package, the platform of a program,
the digests in a recipe. With --key it checks all signatures too. Without a key those of a signed release are skipped,
and a skipped check is not a pass. With --rebuilders it requires that many signed verdicts of others who built the
release again and got these bytes, as slipway reproduce --attest writes them; a single verdict with other bytes fails it.
From a URL it fetches only what the manifest lists, so other files there are not seen.

Of files it checks each by what lies beside it, or at --release: release.json, SHA256SUMS or checksums.txt, and their
signatures. Of an image or a chart in a registry, oci://host/repository:tag or @digest, it checks that it is signed under
this name, tag and version. It says what that proves and what it does not.

With --lifecycle a release of a platform must be the one that is written down there, and stand: see slipway support.

It prints a verdict and a count of each kind of check, and each check that did not pass; with --verbose every check. It
exits with 5 unless all passed.`,
		Example: "  slipway verify --key slipway.pub dist\n  slipway verify --json dist\n" +
			"  slipway verify --key slipway.pub https://example.org/releases/tool/1.2.3/\n" +
			"  slipway verify --key slipway.pub tool_1.2.3_linux_amd64.tar.gz\n" +
			"  slipway verify --key slipway.pub oci://ghcr.io/owner/tool:1.2.3\n" +
			"  slipway verify --rebuilders 2 --rebuilder-key a.pub --rebuilder-key b.pub --verdicts verdicts/ dist",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.Check(); err != nil {
				return err
			}
			if err := believe(&f.Options, project); err != nil {
				return err
			}
			if err := f.Read(); err != nil {
				return err
			}
			info, _ := debug.ReadBuildInfo()
			f.Verifier, f.Repository = "slipway "+thisBuild(info).Version, reproduce.Repository
			report, err := verify.Check(cmd.Context(), args, f.Options)
			if err != nil && len(report.Rows) == 0 {
				return err
			}
			if err == nil && life != "" {
				err = k.stands(cmd.Context(), life, &report, recovery)
			}
			return errors.Join(err, f.Write(cmd.OutOrStdout(), report))
		},
	}
	f.Register(cmd.Flags(), "", "")
	cmd.Flags().StringVar(&project, "trust", "", trustUsage)
	cmd.Flags().StringVar(&life, "lifecycle", "", "`file` or URL that says how the releases of a platform stand: one that is withdrawn, overdue or no longer supported is exit 9")
	cmd.Flags().StringSliceVar(&k.keys, "lifecycle-key", nil, "public key `file` that --lifecycle must be signed with")
	cmd.Flags().IntVar(&k.fresh, "fresh", lifecycle.Fresh, freshUsage)
	cmd.Flags().StringVar(&k.at, "at", "", atUsage)
	cmd.Flags().BoolVar(&recovery, "recovery", false, "pass a release that is withdrawn, overdue or no longer supported, and say so: whoever recovers needs exactly that one")
	return cmd
}
