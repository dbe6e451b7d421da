package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/build"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/source"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check slipway.yaml, slipway.lock, the plan and the charts; build nothing",
		Long: `Check finds before a release what would stop it: a mistake in the files, a base that is not locked, outputs of one
name, a chart that does not lint, does not render or names an image that is not pinned. It says nothing when all is well.`,
		Example: "  go run ./ci check",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			p, err := a.load(ctx)
			if err != nil {
				return err
			}
			pl, err := p.newPlan(ctx, plan.Options{})
			if err != nil {
				return err
			}
			return a.withTree(ctx, p.source, func(tree string) error {
				root, err := os.OpenRoot(tree)
				if err != nil {
					return err
				}
				defer root.Close()
				errs := []error{build.CheckFiles(pl, root)}
				for _, bin := range pl.Binaries {
					if info, err := os.Stat(filepath.Join(tree, bin.Dir, bin.Package)); err != nil || !info.IsDir() {
						errs = append(errs, fault.Errorf(fault.Usage, "binary %s: there is no folder %s in the commit", bin.Name, bin.Package))
						break
					}
				}
				for _, c := range pl.Charts {
					errs = append(errs, checkChart(ctx, tree, pl, c))
				}
				return errors.Join(errs...)
			})
		},
	}
}

// checkChart packages a chart and throws the package away.
func checkChart(ctx context.Context, tree string, pl plan.Plan, c plan.Chart) error {
	scratch, err := os.MkdirTemp("", "slipway-charts-*")
	if err != nil {
		return err
	}
	_, err = build.PackageChart(ctx, io.Discard, pl, c, tree, scratch, http.DefaultClient)
	return errors.Join(err, os.RemoveAll(scratch))
}

func (a *app) verifyCommand() *cobra.Command {
	var asJSON bool
	var keys []string
	var identity verify.IdentityFlags
	var o verify.Options
	cmd := &cobra.Command{
		Use:   "verify [DIST|URL]",
		Short: "Check a release against its manifest, its contents and its signatures",
		Long: `Verify hashes every file and opens it: a package must be of this version, a program for its platform, an image whole to
its last layer, and a recipe must name the digests of this release. A file that nobody vouches for is a failure, and so
is a release that says of itself that it is not for publishing. Signatures are checked with --key, else with the key that
slipway.yaml names; those that there is no key for are skipped, and a skipped check is no pass. In the repository that
the release was built from, its tag must still be where it was. Of a URL only what the manifest lists is fetched.`,
		Example: "  go run ./ci verify\n  go run ./ci verify dist --json\n  go run ./ci verify --key slipway.pub https://example.org/releases/tool/1.2.3/",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.AllowUnsigned && len(keys) > 0 {
				return fault.Errorf(fault.Usage, "--key and --allow-unsigned: signatures are either checked or left out of account; take one away")
			}
			dir, root := "dist", ""
			if file, err := a.configFile(); err == nil {
				root = a.root(cmd.Context(), file)
				dir = filepath.Join(root, "dist")
			}
			if len(args) == 1 {
				dir = args[0]
			}
			remote := verify.IsURL(dir)
			if root != "" && len(keys) == 0 && !o.AllowUnsigned && (remote || !o.AllowUnpublishable || !unfinished(dir)) {
				cfg, _, err := a.readConfig()
				if err != nil {
					return err
				}
				if identity.Identity == "" && identity.Root != "" {
					identity.Identity = cfg.Signing.Identity
					if issuer := cfg.Signing.IssuerURL(); issuer != "" && !cmd.Flags().Changed("issuer") {
						identity.Issuer = issuer
					}
				}
				if cfg.Signing.Key != "" && identity.Identity == "" {
					keys = append(keys, filepath.Join(root, filepath.FromSlash(cfg.Signing.Key)))
				}
			}
			var err error
			if o.Keys, err = verify.ReadKeys(keys); err != nil {
				return err
			}
			if o.Identity, err = identity.Verifier(); err != nil {
				return err
			}
			check := verify.Dist
			if remote {
				check = verify.URL
			}
			report, err := check(cmd.Context(), dir, o)
			if report.Verdict == "" {
				return err
			}
			if !remote {
				err = errors.Join(err, verifyTag(cmd.Context(), root, dir))
			}
			if asJSON {
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				return errors.Join(err, enc.Encode(report))
			}
			if err != nil {
				return errors.Join(err, report.WriteText(a.stdout))
			}
			_, err = fmt.Fprintf(a.stdout, "%s %s: %s\n", report.Name, report.Version, count(report.Count(verify.Pass), "check passed", "checks passed"))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringArrayVar(&keys, "key", nil, "public key in a PEM `file` by which the release must be signed; of several one is enough (default signing.key of slipway.yaml)")
	cmd.Flags().StringVar(&identity.Identity, "identity", "", "URL of the `workflow` that must have signed the release, in which * stands for anything (default signing.identity of slipway.yaml)")
	cmd.Flags().StringVar(&identity.Issuer, "issuer", verify.GitHubIssuer, "`URL` of who vouches for the workflow")
	cmd.Flags().StringVar(&identity.Root, "trusted-root", "", "`file` with the keys of Sigstore's services, as cosign trusted-root create writes it")
	cmd.Flags().StringVar(&o.Version, "want", "", "`version` that the release must be")
	cmd.Flags().BoolVar(&o.AllowUnsigned, "allow-unsigned", false, "leave signatures out of account, whether there are any or not")
	cmd.Flags().BoolVar(&o.AllowUnpublishable, "allow-unpublishable", false, "accept a release that is marked as not for publishing")
	return cmd
}

// unfinished tells whether a release is marked as not for publishing and is not signed, as nobody has to sign one.
func unfinished(dist string) bool {
	rel, err := manifest.Load(filepath.Join(dist, manifest.FileName))
	if err != nil || len(rel.Unpublishable) == 0 {
		return false
	}
	_, err = os.Lstat(filepath.Join(dist, signature.ManifestBundle))
	return errors.Is(err, os.ErrNotExist)
}

// verifyTag holds the tag of a release to the commit that the release was built from, in a repository that has the
// commit: elsewhere the tag is another project's.
func verifyTag(ctx context.Context, root, dist string) error {
	rel, err := manifest.Load(filepath.Join(dist, manifest.FileName))
	if err != nil || rel.Tag == "" || root == "" {
		return nil // the report tells of a manifest that cannot be read
	}
	if ours, err := source.Has(ctx, root, rel.Commit); err != nil || !ours {
		return err
	}
	return source.VerifyTag(ctx, root, rel.Tag, rel.Commit)
}
