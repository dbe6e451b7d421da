package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/environment/index"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// now is the clock of current; tests set it.
var now = time.Now

func newCurrent() *cobra.Command {
	var s storage
	var from, stage, root string
	cmd := &cobra.Command{
		Use: "current NAME", Short: "Show the current version of an environment, as it was signed",
		Long: `current reads the signed index of a release store from a URL, from a folder or from the store itself, and prints the current
version of a component with the digest of its manifest and the places that have it. It trusts none of them: every file is held
to the root, which the first time is named with --root, and to what was seen before, which is kept. It exits with 5 for an index
that is older than that, that has expired, or whose files do not belong to one another, and with 6 where a file cannot be had.`,
		Example: `  slipway current tool --environment production --from https://releases.example.com/ --root root.json
  slipway current tool --environment staging`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if stage == "" {
				return fault.Errorf(fault.Usage, "current %s of what? name an --environment", args[0])
			}
			client := &tuf.Client{Now: now}
			var err error
			if root != "" {
				if client.Root, err = readFile(root); err != nil {
					return fault.New(fault.Usage, fmt.Errorf("reading --root: %w", err))
				}
			}
			var x *index.Index
			place := from
			switch {
			case from == "":
				var o store.Options
				if o, err = s.options(); err == nil {
					place = o.Remote
					x, err = index.Open(o)
				}
			case verify.IsURL(from):
				client.Source, err = tuf.NewWeb(from, verify.NewClient())
			default:
				place, err = filepath.Abs(from)
				client.Source = tuf.Folder(place)
			}
			if err != nil {
				return err
			}
			if client.Dir, err = stateDir("index", place); err != nil {
				return err
			}
			show := func(source tuf.Source) error {
				client.Source = source
				return s.current(cmd, client, stage, args[0])
			}
			if x != nil {
				return x.Open(cmd.Context(), show)
			}
			return show(client.Source)
		},
	}
	s.register(cmd, false)
	cmd.Flags().StringVar(&from, "from", "", "`URL` or folder of the index (default the branch metadata of the store)")
	cmd.Flags().StringVar(&stage, "environment", "", "`environment` whose current version it is")
	cmd.Flags().StringVar(&root, "root", "", "`file` with a root that you have from somebody you trust; it is kept")
	return cmd
}

func (s *storage) current(cmd *cobra.Command, client *tuf.Client, stage, name string) error {
	c, at, err := index.Read(cmd.Context(), client, stage, name)
	if err != nil {
		return err
	}
	v, ok := c.Of(c.Current)
	if !ok {
		return fault.Errorf(fault.Usage, "%s has no current version of %s: what it has of it is withdrawn, or none is of the kind that its rules ask for", stage, name)
	}
	if s.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
			Environment string         `json:"environment"`
			Component   string         `json:"component"`
			Pinned      bool           `json:"pinned,omitempty"`
			Log         index.Position `json:"log"`
			index.Version
		}{stage, name, c.Pinned, at, v})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s\nmanifest  %s\n", v.Version, v.Manifest)
	for _, p := range v.Places {
		fmt.Fprintf(cmd.OutOrStdout(), "place     %s\n", p)
	}
	return nil
}
