package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/environment/index"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func newCombine() *cobra.Command {
	var s storage
	var once, auto bool
	var by []string
	cmd := &cobra.Command{
		Use: "combine", Short: "Commit what many writers ask of a release store",
		Long: `combine commits the requests that wait in a release store, all of them at once, and writes down what was merged, until it is
interrupted. It is for stores with many writers that have clones of their own, whose pushes would come in each other's way: while it runs
they leave their requests to it. Several at once do no harm, and no store needs one: without it one of those who wait does the same. With
--once it commits what waits now; with --auto besides it promotes what environments with auto in the rules allow, or proposes that by a pull
request. With --index-key it signs what the store is at afterwards, as slipway store sign does.`,
		Example: "  slipway combine --store https://example.com/releases.git\n  slipway combine --once --auto --key ci.key --index-key index.key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if auto && !once {
				return fault.Errorf(fault.Usage, "--auto needs --once: have a schedule run it")
			}
			keys, err := signers(by, s.passphrase)
			if err != nil {
				return err
			}
			st, err := s.open()
			if err != nil {
				return err
			}
			var x *index.Index
			if len(keys) > 0 {
				if x, err = s.openIndex(); err != nil {
					return err
				}
			}
			said := func(did store.Combined) error {
				s.combined(cmd.OutOrStdout(), did)
				if len(keys) == 0 {
					return nil
				}
				return s.signIndex(cmd, st, x, keys)
			}
			if !once {
				return st.Lead(cmd.Context(), said)
			}
			did, err := st.Combine(cmd.Context())
			if err != nil {
				s.combined(cmd.OutOrStdout(), did)
				return err
			}
			if auto {
				err = s.promote(cmd, st) // of which a failure keeps nobody from knowing what the store is at
			}
			return errors.Join(err, said(did))
		},
	}
	s.register(cmd, false)
	cmd.Flags().BoolVar(&once, "once", false, "commit what waits now, and end")
	cmd.Flags().BoolVar(&auto, "auto", false, "promote what the rules promote by themselves")
	s.registerKey(cmd)
	cmd.Flags().StringArrayVar(&by, "index-key", nil, "sign what the store is at with this online key in a PEM `file`, or env:NAME")
	return cmd
}

// promote asks for what the rules promote by themselves. Each is one request, so that one that is refused meanwhile keeps back no other.
func (s *storage) promote(cmd *cobra.Command, st *store.Store) error {
	all, err := st.Promotions(cmd.Context())
	if err != nil {
		return err
	}
	for _, q := range all {
		err = errors.Join(err, s.askOf(cmd, st, q))
	}
	return err
}

// combined prints what a round did, nothing where there was nothing to do.
func (s *storage) combined(w io.Writer, did store.Combined) {
	switch {
	case did.Lines == 0 && len(did.Removed) == 0:
		return
	case s.json:
		json.NewEncoder(w).Encode(did)
		return
	case did.Lines > 0:
		fmt.Fprintln(w, cmdline.Count(did.Lines, "line"))
	}
	for _, r := range did.Removed {
		fmt.Fprintln(w, "removed", r)
	}
}
