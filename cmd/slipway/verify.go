package main

import (
	"errors"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/verify"
)

func newVerify() *cobra.Command {
	var (
		asJSON   bool
		keys     []string
		identity verify.IdentityFlags
		options  verify.Options

		rebuilderKeys []string
		verdicts      []string
	)
	cmd := &cobra.Command{
		Use:   "verify DIST|URL",
		Short: "Check a release against its manifest, its contents and its signatures",
		Long: `verify checks that a dist/ folder, or what is below a URL, is the release that its release.json describes: every file
is there with its size and digest, no file is there that should not be, SHA256SUMS agrees, every image is whole, and
every file says of itself what the manifest says of it: the version of a package, the platform of a program, the digests
in a recipe. With --key it checks all signatures too. Without a key those of a signed release are skipped, and a skipped
check is not a pass. With --rebuilders it requires that many signed verdicts of others who built the release again and
got these bytes, as slipway reproduce --attest writes them; a single verdict with other bytes fails it. It prints one row
for each check, those that did not pass at the end, and exits with 5 unless all passed. From a URL it fetches only what
the manifest lists, so other files there are not seen.`,
		Example: "  slipway verify --key slipway.pub dist\n  slipway verify --json dist\n" +
			"  slipway verify --key slipway.pub https://example.org/releases/tool/1.2.3/\n" +
			"  slipway verify --rebuilders 2 --rebuilder-key a.pub --rebuilder-key b.pub --verdicts verdicts/ dist",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if options.AllowUnsigned && len(keys) > 0 {
				return fault.Errorf(fault.Usage, "--key and --allow-unsigned cannot be used together: signatures are either checked or ignored")
			}
			var err error
			if options.Keys, err = verify.ReadKeys(keys); err != nil {
				return err
			}
			if options.Identity, err = identity.Verifier(); err != nil {
				return err
			}
			if options.Rebuilders.Keys, err = verify.ReadKeys(rebuilderKeys); err != nil {
				return err
			}
			if want := options.Rebuilders.Want; want < 0 || want > len(rebuilderKeys) || (want > 0) != (len(verdicts) > 0) {
				return fault.Errorf(fault.Usage, "--rebuilders %d, with %d times --rebuilder-key and %d times --verdicts: name the key of each rebuilder who counts, and where their signed verdicts are",
					want, len(rebuilderKeys), len(verdicts))
			}
			if options.Rebuilders.Verdicts, err = verify.ReadVerdicts(verdicts); err != nil {
				return err
			}
			info, _ := debug.ReadBuildInfo()
			options.Verifier = "slipway " + thisBuild(info).Version
			check := verify.Dist
			if verify.IsURL(args[0]) {
				check = verify.URL
			}
			report, err := check(cmd.Context(), args[0], options)
			if err != nil && len(report.Rows) == 0 {
				return err
			}
			if asJSON {
				return errors.Join(err, writeJSON(cmd.OutOrStdout(), report))
			}
			return errors.Join(err, report.WriteText(cmd.OutOrStdout()))
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print the report as JSON")
	flags.StringArrayVar(&keys, "key", nil, "public key in a PEM `file` that the release must be signed with; if several are given, one is enough")
	flags.StringVar(&identity.Identity, "identity", "", "URL of the `workflow` that must have signed the release, in which * stands for anything")
	flags.StringVar(&identity.Issuer, "issuer", verify.GitHubIssuer, "`URL` of the issuer that vouches for the workflow")
	flags.StringVar(&identity.Root, "trusted-root", "", "`file` with the keys of Sigstore's services, as cosign trusted-root create writes it")
	flags.IntVar(&options.Rebuilders.Want, "rebuilders", 0, "`number` of rebuilders who must have signed that they got the same bytes")
	flags.StringArrayVar(&rebuilderKeys, "rebuilder-key", nil, "public key in a PEM `file` of a rebuilder who counts")
	flags.StringArrayVar(&verdicts, "verdicts", nil, "`path` of signed verdicts, or of a folder that has some")
	flags.StringVar(&options.Version, "want", "", "`version` that the release must be")
	flags.BoolVar(&options.AllowUnsigned, "allow-unsigned", false, "ignore signatures, whether there are any or not")
	flags.BoolVar(&options.AllowUnpublishable, "allow-unpublishable", false, "accept a release that its manifest marks as not to be published, such as one with stand-in bases")
	return cmd
}
