package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/source"
)

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this commit and the reason for it",
		Example: "  go run ./ci version\n  go run ./ci version next\n  git tag -a v$(go run ./ci version next --candidate)",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			src, err := a.readVersion(cmd)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(a.stdout).Encode(struct {
					source.Source
					Why string `json:"why"`
				}{src, src.Why})
			}
			_, err = fmt.Fprintf(a.stdout, "%s  %s\n", src.Version, words.Line(src.Why))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(a.nextCommand(), a.bumpCommand(), a.tagCommand())
	return cmd
}

// readVersion reads the commit; slipway.yaml matters for its tag prefix alone.
func (a *app) readVersion(cmd *cobra.Command) (source.Source, error) {
	cfg, name, err := a.readConfig()
	if err != nil {
		return source.Source{}, err
	}
	return a.readSource(cmd.Context(), a.root(cmd.Context(), name), cfg)
}

func (a *app) nextCommand() *cobra.Command {
	var asJSON bool
	wanted := map[version.Bump]*bool{}
	cmd := &cobra.Command{
		Use:   "next",
		Short: "Propose the next version from the tags and the commits since",
		Long: `Next reads the commit messages since the highest stable version as Conventional Commits and proposes what comes
next: a candidate first, and later the version that the open candidates were for.`,
		Example: "  go run ./ci version next\n  go run ./ci version next --candidate",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			src, err := a.readVersion(cmd)
			if err != nil {
				return err
			}
			proposal, err := propose(cmd, src)
			if err != nil {
				return err
			}
			for bump, want := range wanted {
				if !*want {
					continue
				}
				v := proposal.Of(bump)
				if v.IsZero() {
					return fault.Errorf(fault.Git, "there is no next %s: %s", bump, proposal.Reason)
				}
				_, err := fmt.Fprintln(a.stdout, v)
				return err
			}
			if asJSON {
				return json.NewEncoder(a.stdout).Encode(proposal)
			}
			for _, bump := range []version.Bump{version.Candidate, version.Release, version.Patch, version.Minor, version.Major} {
				if v := proposal.Of(bump); !v.IsZero() {
					fmt.Fprintf(a.stdout, "%-10s %s\n", bump, v)
				}
			}
			if !proposal.Suggested.IsZero() {
				fmt.Fprintf(a.stdout, "%-10s %s\n", "suggested", proposal.Suggested)
			}
			_, err = fmt.Fprintln(a.stdout, words.Line(proposal.Reason))
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	var names []string
	for _, bump := range []version.Bump{version.Candidate, version.Release, version.Patch, version.Minor, version.Major} {
		wanted[bump] = flags.Bool(bump.String(), false, "print the next "+bump.String()+" alone")
		names = append(names, bump.String())
	}
	cmd.MarkFlagsMutuallyExclusive(append(names, "json")...)
	return cmd
}

// propose is what may come after the commit.
func propose(cmd *cobra.Command, src source.Source) (version.Proposal, error) {
	changes, err := source.Log(cmd.Context(), src.Root, src.Stable(), src.Commit)
	if err != nil {
		return version.Proposal{}, err
	}
	var commits []version.Commit
	for _, c := range changes {
		commits = append(commits, version.ParseCommit(c.Message))
	}
	var history []version.Version
	unchanged := false
	for _, t := range src.History {
		history = append(history, t.Version)
		unchanged = t.Commit == src.Commit // the highest comes last
	}
	return version.Next(history, commits, version.NextOptions{Unchanged: unchanged, FeatureIsPatch: true, Taken: src.Released}), nil
}
