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
	"github.com/slipway-build/slipway/pipeline/fault"
	"github.com/slipway-build/slipway/pipeline/manifest"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/source"
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
			pl, err := p.newPlan(plan.Options{})
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
	return errors.Join(
		build.PackageChart(ctx, io.Discard, pl, c, tree, scratch, http.DefaultClient),
		os.RemoveAll(scratch),
	)
}

func (a *app) verifyCommand() *cobra.Command {
	var asJSON, standIns bool
	cmd := &cobra.Command{
		Use:   "verify [DIST]",
		Short: "Check every file of a release against its manifest",
		Long: `Verify hashes every file, opens the image layout and follows every digest in it. A file that nobody vouches for is a
failure, and so is a release that says of itself that it is not for publishing. In the repository that the release was
built from, its tag must still be where it was.`,
		Example: "  go run ./ci verify\n  go run ./ci verify dist --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, root := "dist", ""
			if file, err := a.configFile(); err == nil {
				root = a.root(cmd.Context(), file)
				dir = filepath.Join(root, "dist")
			}
			if len(args) == 1 {
				dir = args[0]
			}
			report, err := verify.Dist(cmd.Context(), dir, verify.Options{AllowUnpublishable: standIns})
			if report.Verdict == "" {
				return err
			}
			err = errors.Join(err, verifyTag(cmd.Context(), root, dir))
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
	cmd.Flags().BoolVar(&standIns, "allow-unpublishable", false, "accept a release that is marked as not for publishing")
	return cmd
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
