package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/verify"
)

func newPlatform() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "platform",
		Short: "Show what releases of a platform consist of",
		Long: `A release of a platform has platform.json, which says which releases of which components it consists of, each by commit and by the
digest of its manifest. A release is a dist/ folder or a URL.`,
		Example: "  slipway platform show --key edge.pub https://releases.example.com/releases/edge/2.1.4/\n  slipway platform diff dist/2.1.3 dist/2.1.4",
	}
	cmd.AddCommand(newPlatformShow(), newPlatformDiff(), newPlatformGraph())
	return cmd
}

// composed reads what releases of platforms consist of.
type composed struct {
	keys   []string
	asJSON bool
}

func (c *composed) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&c.keys, "key", nil, "public key `file` that the releases must be signed with; without one signatures are not looked at")
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print JSON")
}

// read is what the release in a folder or at a URL consists of.
func (c *composed) read(ctx context.Context, place string) (composition.Platform, error) {
	o := verify.Options{AllowUnsigned: len(c.keys) == 0, AllowUnpublishable: true}
	var err error
	if o.Keys, err = verify.ReadKeys(c.keys); err != nil {
		return composition.Platform{}, err
	}
	is, err := resolve.Composition(ctx, place, o)
	return is.Platform, err
}

func newPlatformShow() *cobra.Command {
	var c composed
	cmd := &cobra.Command{
		Use:     "show DIST|URL",
		Short:   "Show which releases a release of a platform consists of",
		Long:    "show prints the components of a release of a platform: version, commit, manifest, and what each of them needs.",
		Example: "  slipway platform show dist",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := c.read(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if c.asJSON {
				return writeJSON(out, p)
			}
			fmt.Fprintf(out, "%s %s, by channel %s\n", p.Name, p.Version, cmdline.Line(p.Channel))
			width := 0
			for _, c := range p.Components {
				width = max(width, len(c.Name))
			}
			for _, c := range p.Components {
				state := "not published"
				if c.Manifest != "" {
					state = string(c.Manifest)
				}
				needs := ""
				if len(c.Needs) > 0 {
					needs = ", needs " + strings.Join(c.Needs, ", ")
				}
				fmt.Fprintf(out, "  %-*s  %s  commit %.12s  %s%s\n", width, c.Name, cmdline.Line(c.Called()), c.Commit, state, needs)
			}
			for _, b := range p.Bases {
				fmt.Fprintf(out, "  base %s  %s  %s\n", b.Name, cmdline.Line(b.Image), b.Digest)
			}
			return nil
		},
	}
	c.register(cmd)
	return cmd
}

func newPlatformDiff() *cobra.Command {
	var c composed
	cmd := &cobra.Command{
		Use:     "diff DIST|URL DIST|URL",
		Short:   "Show what differs between two releases of a platform",
		Long:    "diff prints each component that another release of a platform has in another version, commit or release, or not at all.",
		Example: "  slipway platform diff https://releases.example.com/releases/edge/2.1.3/ https://releases.example.com/releases/edge/2.1.4/",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			before, err := c.read(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			after, err := c.read(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			if before.Name != after.Name {
				return fault.Errorf(fault.Usage, "%s is a release of %s, and %s one of %s; name two of one platform", args[0], before.Name, args[1], after.Name)
			}
			all, same := composition.Diff(before, after)
			bases := composition.DiffBases(before, after)
			out := cmd.OutOrStdout()
			if c.asJSON {
				return writeJSON(out, map[string]any{"name": after.Name, "before": before.Version, "after": after.Version, "changes": append([]composition.Change{}, all...), "bases": append([]composition.BaseChange{}, bases...), "same": append([]string{}, same...)})
			}
			fmt.Fprintf(out, "%s %s -> %s\n", after.Name, before.Version, after.Version)
			for _, change := range all {
				fmt.Fprintf(out, "  %s\n", cmdline.Line(change.String()))
			}
			for _, change := range bases {
				fmt.Fprintf(out, "  %s\n", cmdline.Line(change.String()))
			}
			if len(same) > 0 {
				fmt.Fprintf(out, "  the same: %s\n", strings.Join(same, ", "))
			}
			return nil
		},
	}
	c.register(cmd)
	return cmd
}
