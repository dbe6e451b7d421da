package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/build"
	"github.com/slipway-build/slipway/pipeline/build/chart"
	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/reproduce"
	"github.com/slipway-build/slipway/pipeline/source"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check slipway.yaml, slipway.lock, the plan and the charts; build nothing",
		Long: `Check finds before a release what would stop it: a mistake in the files, a base that is not locked, two outputs
with one name, a chart that does not lint, does not render or names an image that is not pinned, a file VERSION whose version
is another commit's, a tag of a version that is to be made on a branch of its own. It prints nothing when all is well.`,
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
			return a.withTree(ctx, p.source, build.Looks(pl), func(tree string) error {
				root, err := os.OpenRoot(tree)
				if err != nil {
					return err
				}
				defer root.Close()
				errs := []error{build.CheckFiles(pl, root), p.checkVersionFile(ctx), a.checkBranch(ctx, p)}
				for _, bin := range pl.Binaries {
					if info, err := os.Stat(filepath.Join(tree, bin.Dir, bin.Package)); err != nil || !info.IsDir() {
						errs = append(errs, fault.Errorf(fault.Usage, "binary %s: there is no folder %q in the commit", bin.Name, bin.Package))
						break
					}
				}
				for _, c := range pl.Charts {
					errs = append(errs, a.checkChart(ctx, tree, p, pl, c))
				}
				return errors.Join(errs...)
			})
		},
	}
}

// checkChart packages a chart and throws the package away.
func (a *app) checkChart(ctx context.Context, tree string, p project, pl plan.Plan, c plan.Chart) error {
	scratch, err := os.MkdirTemp("", "slipway-charts-*")
	if err != nil {
		return err
	}
	from, err := a.components(p)
	var offered []chart.Part
	if err == nil {
		offered, err = build.ChartParts(ctx, pl, c, from)
	}
	if err == nil {
		_, err = build.PackageChart(ctx, io.Discard, pl, c, offered, tree, scratch, http.DefaultClient)
	}
	return errors.Join(err, os.RemoveAll(scratch))
}

func (a *app) verifyCommand() *cobra.Command {
	var c verify.Flags
	cmd := &cobra.Command{
		Use:   "verify [DIST|URL|IMAGE|FILE...]",
		Short: "Check a release, a file of one or an image against its signatures and its contents",
		Long: `Verify hashes every file and opens it: a package must be of this version, a program for its platform, an image whole to
its last layer, and a recipe must name the digests of this release. A file that the release does not list is a
failure, and so is a release that is marked as not for publishing. Signatures are checked with --key, else with the keys
that slipway.yaml names; without a key for them they are skipped, and a skipped check is not a pass. In the repository
that the release was built from, its tag must still be where it was. Without an argument the release must be that of the
project and the commit here. From a URL only what the manifest lists is fetched. Single files are checked by what lies
beside them or at --release, and an image or a chart in a registry, oci://host/repository:tag, by its signature.`,
		Example: "  go run ./ci verify\n  go run ./ci verify dist --json\n  go run ./ci verify --key slipway.pub https://example.org/releases/tool/1.2.3/\n" +
			"  go run ./ci verify oci://ghcr.io/owner/tool:1.2.3",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Check(); err != nil {
				return err
			}
			f, err := a.finished(cmd.Context(), args)
			if err != nil {
				return err
			}
			if !f.named {
				if err := a.belongs(cmd.Context(), f); err != nil {
					return err
				}
				args = []string{f.dir}
			}
			if err := a.believe(f, &c, cmd.Flags().Changed("issuer")); err != nil {
				return err
			}
			c.Repository = reproduce.Repository
			if v := strings.Trim(strings.TrimPrefix(toolVersion(), "v"), "()"); v != "" {
				c.Verifier = "slipway " + v
			}
			return a.verify(cmd.Context(), f, args, c)
		},
	}
	c.Register(cmd.Flags(), " (default signing.key and trust of slipway.yaml)", " (default signing.identity of slipway.yaml)")
	return cmd
}

// believe fills in whose signatures count: those of the key or identity that the flags name, else of the one that slipway.yaml
// names, unless the release need not be signed. A release of another project is not held to the key of this one.
func (a *app) believe(f finished, c *verify.Flags, issuer bool) error {
	if f.file != "" && len(c.KeyFiles) == 0 && !c.AllowUnsigned && (verify.IsURL(f.dir) || !c.AllowUnpublishable || !unfinished(f)) {
		cfg, _, err := a.readConfig()
		if err != nil {
			return err
		}
		named := c.By.Identity != ""
		if !named && c.By.Root != "" {
			c.By.Identity = cfg.Signing.Identity
			if url := cfg.Signing.IssuerURL(); url != "" && !issuer {
				c.By.Issuer = url
			}
		}
		if !named && (cfg.Signing.Key != "" || c.By.Identity != "") {
			if c.Keys, c.Terms, err = trusted(cfg, f.root); err != nil {
				return err
			}
			// Of a URL nothing is known before it is verified.
			if rel, err := f.manifest(); err == nil {
				if err := f.of(rel, cfg.Project); err != nil {
					return fmt.Errorf("%w, or who signed it with --key or --identity", err)
				}
			}
		}
	}
	return c.Read()
}

// trusted are the keys that slipway.yaml names, as they lie in the folder of the project, and for how long they count.
func trusted(cfg config.Config, root string) ([]signature.PublicKey, map[artifact.Digest]signature.Term, error) {
	const maxKeys = 64 << 10 // bytes
	keys, terms, err := cfg.Keys(func(name string) ([]byte, error) {
		return bounded.File(filepath.Join(root, filepath.FromSlash(name)), maxKeys)
	})
	return keys, terms, fault.New(fault.Usage, err)
}

func (a *app) verify(ctx context.Context, f finished, names []string, c verify.Flags) error {
	report, err := verify.Check(ctx, names, c.Options)
	if len(report.Rows) == 0 {
		return err
	}
	if !verify.IsURL(f.dir) {
		err = errors.Join(err, verifyTag(ctx, f))
	}
	return errors.Join(err, c.Write(a.stdout, report))
}

// unfinished reports whether a release is marked as not for publishing and is not signed, as it need not be.
func unfinished(f finished) bool {
	rel, err := f.manifest()
	if err != nil || len(rel.Unpublishable) == 0 {
		return false
	}
	_, err = os.Lstat(filepath.Join(f.dir, signature.ManifestBundle))
	return errors.Is(err, os.ErrNotExist)
}

// verifyTag holds the tag of a release to the commit that the release was built from, in a repository that has the
// commit: elsewhere the tag is another project's.
func verifyTag(ctx context.Context, f finished) error {
	rel, err := f.manifest()
	if err != nil || rel.Tag == "" || f.root == "" {
		return nil // the report tells of a manifest that cannot be read
	}
	if ours, err := source.Has(ctx, f.root, rel.Commit); err != nil || !ours {
		return err
	}
	return source.VerifyTag(ctx, f.root, rel.Tag, rel.Commit)
}
