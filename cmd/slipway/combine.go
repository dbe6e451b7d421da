package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/environment/store"
)

func newCombine() *cobra.Command {
	var s storage
	var once bool
	cmd := &cobra.Command{
		Use: "combine", Short: "Commit what many writers ask of a release store",
		Long: `combine commits the requests that wait in a release store, all of them at once, until it is interrupted. It is for stores with many
writers that have clones of their own, whose pushes would come in each other's way: while it runs they leave their requests to it.
Several at once do no harm, and no store needs one: without it one of those who wait does the same. With --once it commits what
waits now.`,
		Example: "  slipway combine --store https://example.com/releases.git\n  slipway combine --once",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := s.open()
			if err != nil {
				return err
			}
			if once {
				did, err := st.Combine(cmd.Context())
				s.combined(cmd.OutOrStdout(), did)
				return err
			}
			return st.Lead(cmd.Context(), func(did store.Combined) { s.combined(cmd.OutOrStdout(), did) })
		},
	}
	s.register(cmd, false)
	cmd.Flags().BoolVar(&once, "once", false, "commit what waits now, and end")
	return cmd
}

// combined prints what a round did, nothing where there was nothing to do.
func (s *storage) combined(w io.Writer, did store.Combined) {
	switch {
	case did.Lines == 0 && len(did.Removed) == 0:
		return
	case s.json:
		json.NewEncoder(w).Encode(did)
		return
	case did.Lines == 1:
		fmt.Fprintln(w, "1 line")
	case did.Lines > 1:
		fmt.Fprintf(w, "%d lines\n", did.Lines)
	}
	for _, r := range did.Removed {
		fmt.Fprintln(w, "removed", r)
	}
}
