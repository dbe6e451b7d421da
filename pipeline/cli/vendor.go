package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/reproduce"
	"github.com/slipway-build/slipway/pipeline/verify"
)

func (a *app) vendorCommand() *cobra.Command {
	var (
		o         reproduce.Options
		out       string
		keys      []string
		identity  verify.IdentityFlags
		platforms []string
		asJSON    bool
	)
	cmd := &cobra.Command{
		Use:   "vendor VERSION|URL|DIST",
		Short: "Save a release with everything needed to rebuild it offline",
		Long: `Vendor reproduces a published release from empty caches and saves everything that this needed: the commit with its history
as a git bundle, every Go module and the toolchain as a module proxy serves them, the base images as an OCI layout, and the
release itself. The folder that it writes needs nothing else: slipway reproduce --bundle proves the release from it without
a network, even years later when bases and modules are gone. It is also a way to carry a release to a place without a
network.

A release that does not reproduce is not saved.`,
		Example: "  go run ./ci vendor v1.2.3\n  go run ./ci vendor --repository . --out slipway-1.2.3 dist",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if len(args) == 0 {
				return fault.Errorf(fault.Usage, "no release is named: name a version, a URL or a dist/ folder")
			}
			o.Release = args[0]
			var also []artifact.Platform
			for _, s := range platforms {
				p, err := artifact.ParsePlatform(s)
				if err != nil {
					return fault.Errorf(fault.Usage, "--platforms: %w", err)
				}
				also = append(also, p)
			}
			var err error
			if o.Verify.Keys, err = verify.ReadKeys(keys); err != nil {
				return err
			}
			if o.Verify.Identity, err = identity.Verifier(); err != nil {
				return err
			}
			if out == "" {
				out = bundleName(o.Release)
			}
			o.Environ, o.Tool = a.environ, "slipway "+toolVersion()
			o.Step = func(what string) { fmt.Fprintf(a.stderr, "%s ...\n", words.Line(what)) }
			v, err := reproduce.Vendor(ctx, o, out, also)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(a.stdout).Encode(v)
			}
			fmt.Fprintf(a.stdout, "%s %s: %s, %s\nslipway reproduce --bundle %s proves it without a network\n", v.Name, v.Version,
				count(v.Files, "file", "files"), artifact.FormatSize(v.Size), v.Dir)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&out, "out", "", "`folder` to write, which must not be there (default the release's name with .bundle)")
	flags.StringSliceVar(&platforms, "platforms", nil, "`platforms` besides this machine's that the bundle is to be built on: their Go toolchains come in too")
	flags.StringVar(&o.From, "from", "", "where versions are looked for: a `folder` of releases, the URL of slipway serve or of a repository on GitHub (default this repository's origin)")
	flags.StringVar(&o.Repository, "repository", "", "`URL` or path of the git repository with the commit (default the one that the release names)")
	flags.StringSliceVar(&o.Pass, "pass", nil, "`names` of environment variables that the build is to see, such as credentials for its private modules, and git when it goes to a remote")
	flags.StringVar(&o.Pipeline, "pipeline", "", "`folder` of the pipeline in the repository (default ci or slipway-ci, beside slipway.yaml or above)")
	flags.StringVar(&o.Work, "work", "", "`folder` to fetch and build in (default one in the user's cache)")
	flags.BoolVar(&o.Keep, "keep", false, "keep what was fetched and built")
	flags.StringVar(&o.Verify.Version, "want", "", "`version` that the release must be")
	flags.StringArrayVar(&keys, "key", nil, "public key in a PEM `file` that the release must be signed with")
	flags.StringVar(&identity.Identity, "identity", "", "URL of the `workflow` that must have signed the release, in which * stands for anything")
	flags.StringVar(&identity.Issuer, "issuer", verify.GitHubIssuer, "`URL` of the issuer that vouches for the workflow")
	flags.StringVar(&identity.Root, "trusted-root", "", "`file` with the keys of Sigstore's services, as cosign trusted-root create writes it")
	flags.BoolVar(&o.Verify.AllowUnsigned, "allow-unsigned", false, "ignore signatures, whether there are any or not")
	flags.BoolVar(&o.Verify.AllowUnpublishable, "allow-unpublishable", false, "keep a release that its manifest marks as not to be published, such as one with stand-in bases")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// bundleName is the default name of the bundle of a release.
func bundleName(release string) string {
	release = strings.TrimRight(release, "/\\.")
	name := strings.TrimPrefix(release[strings.LastIndexAny(release, "/\\")+1:], "v")
	return cmp.Or(name, "release") + ".bundle"
}
