package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	semver "github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/reproduce"
)

// home is where releases of this program are.
const home = "https://github.com/slipway-build/slipway"

func newVersion() *cobra.Command {
	var check, asJSON bool
	var from string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the Go version of this program",
		Long: `version says what this program is. With --check it asks a place of releases for the newest stable version, says which one that
is and where, and downloads nothing. No other command asks for that by itself.`,
		Example: "  slipway version\n  slipway version --json\n  slipway version --check",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo()
			about := struct {
				build
				Newest string `json:"newest,omitempty"`
				At     string `json:"at,omitempty"`
			}{build: thisBuild(info)}
			if check {
				newest, err := newestAt(cmd.Context(), from)
				if err != nil {
					return err
				}
				about.Newest, about.At = newest.Version, newest.Address()
			} else if cmd.Flags().Changed("from") {
				return fault.Errorf(fault.Usage, "--from goes with --check")
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return writeJSON(out, about)
			}
			_, err := fmt.Fprintln(out, "slipway", about.build)
			if err != nil || !check {
				return err
			}
			if about.older(about.Newest) {
				_, err = fmt.Fprintf(out, "%s is there: %s\n", about.Newest, about.At)
			} else {
				_, err = fmt.Fprintf(out, "the newest release is %s\n", about.Newest)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&check, "check", false, "ask for the newest release")
	cmd.Flags().StringVar(&from, "from", home, "with --check: a `folder` of releases, the URL of slipway serve or of a repository on GitHub")
	return cmd
}

// newestAt is the release of slipway with the highest stable version in a place.
func newestAt(ctx context.Context, from string) (newest reproduce.Listed, err error) {
	list, err := reproduce.Releases(ctx, from, os.Getenv)
	if err != nil {
		return newest, err
	}
	for _, l := range list { // the highest version comes last
		if v, err := semver.Parse(l.Version); err == nil && v.IsStable() && cmp.Or(l.Name, "slipway") == "slipway" {
			newest = l
		}
	}
	if newest.Version == "" {
		return newest, fault.Errorf(fault.Usage, "there is no stable release of slipway in %q; name another place with --from", from)
	}
	return newest, nil
}

// older reports whether a version comes after this build's. A build of no version is of no age.
func (b build) older(than string) bool {
	mine, err := semver.Parse(b.Version)
	other, otherErr := semver.Parse(than)
	return err == nil && otherErr == nil && mine.Compare(other) < 0
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
