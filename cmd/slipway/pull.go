package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/pull"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// byPull reports whether all that refuses an answer is that the stage is entered by pull request, or what a merge would decide again.
func byPull(a environment.Answer) bool {
	for _, o := range a.Outcomes {
		if !o.OK && o.Rule == "enter" {
			return true
		}
	}
	return false
}

// propose has versions enter a stage by pull request.
func (s *storage) propose(cmd *cobra.Command, st *store.Store, q environment.Request) error {
	r := pull.Request{Title: asked(q), Body: q.Why}
	p, err := st.Propose(cmd.Context(), q, func(branch, into string) []string {
		return r.Options(st.Remote(), branch, into, os.Getenv)
	})
	switch {
	case err != nil:
		return err
	case p.Branch == "" && p.Refused():
		if err := s.proposed(cmd, p, ""); err != nil {
			return err
		}
		return fault.Errorf(p.Code, "%s is refused: %s", asked(q), strings.Join(refusals(p.Outcomes), ", "))
	case p.Branch == "":
		return s.proposed(cmd, p, "")
	}
	r.Branch, r.Into, r.Said = p.Branch, p.Onto, p.Said
	page, err := pull.Open(cmd.Context(), st.Remote(), r, os.Getenv)
	if err != nil {
		return err
	}
	return s.proposed(cmd, p, page)
}

// proposed prints what became of a proposal. Page is that of its pull request, "" for none.
func (s *storage) proposed(cmd *cobra.Command, p store.Proposal, page string) error {
	if s.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(told{
			Refused: p.Refused(), Moves: append([]environment.Move{}, p.Line.Moves...), Rules: append([]environment.Outcome{}, p.Outcomes...),
			Branch: p.Branch, Page: page,
		})
	}
	if p.Refused() {
		outcomes(cmd.ErrOrStderr(), p.Outcomes)
	}
	if p.Branch != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "branch %s proposes it for %s: %s\n", p.Branch, p.Onto, cmp.Or(page, "open a pull request of it"))
	}
	return nil
}

// checkProposal prints what the rules say of a pull request.
func (s *storage) checkProposal(cmd *cobra.Command, st *store.Store, stage, ref string) error {
	if stage == "" {
		return fault.Errorf(fault.Usage, "check a pull request into which environment? name it with --environment")
	}
	if ref == "" {
		return fault.Errorf(fault.Usage, "check which pull request into %s? name its branch or its ref with --pull-request", stage)
	}
	a, err := st.Proposed(cmd.Context(), stage, ref)
	if err != nil {
		return err
	}
	a.Outcomes = append([]environment.Outcome{}, a.Outcomes...)
	return s.verdict(cmd, a, ref, stage)
}

// verdict prints what the rules say of something that would enter a stage, and is an error where they refuse it.
func (s *storage) verdict(cmd *cobra.Command, a environment.Answer, what, stage string) error {
	if s.json {
		if err := json.NewEncoder(cmd.OutOrStdout()).Encode(a.Outcomes); err != nil {
			return err
		}
	} else {
		outcomes(cmd.OutOrStdout(), a.Outcomes)
	}
	if a.Refused() {
		return fault.Errorf(a.Code, "%s does not enter %s: %s", what, stage, strings.Join(refusals(a.Outcomes), ", "))
	}
	return nil
}

func newStoreRepair() *cobra.Command {
	var s storage
	var line int
	cmd := &cobra.Command{
		Use: "repair", Short: "Put entries that were changed by hand back to what the log says",
		Long: `repair puts the entries on the branches of a store back to what the lines of its log say, by a commit on top. For an
environment that is entered by pull request the commit goes to a branch of its own, with a pull request as promote opens one. What was merged and is not in the
log yet stays. It changes no line of the log: a log that does not hold is restored from a clone that has seen it. The one exception are
lines that somebody dated ahead, by whose time nobody could move anything for long: --from-line takes them off the end of the log, and
only if this machine's clock says that the first of them is still to come. Nobody whose clock is right has counted them yet.`,
		Example: "  slipway store repair --store https://example.com/releases.git\n  slipway store repair --from-line 1043",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := s.open()
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("from-line") {
				off, err := st.TakeOff(cmd.Context(), line)
				if err != nil {
					return err
				}
				for _, l := range off {
					fmt.Fprintf(cmd.OutOrStdout(), "line %d is taken off: %s, of %s, by %s\n", l.N, cmdline.Line(l.String()), l.Time.Format(time.RFC3339), cmdline.Line(l.By.String()))
				}
			}
			what := pull.Request{Title: "put back what the log has"}
			all, err := st.Repair(cmd.Context(), func(branch, into string) []string {
				return what.Options(st.Remote(), branch, into, os.Getenv)
			})
			for _, r := range all {
				text := fmt.Sprintf("branch %s: %s put back", r.Branch, cmdline.Count(r.Files, "file"))
				if r.For != "" {
					what.Branch, what.Into, what.Said = r.Branch, r.For, r.Said
					page, openErr := pull.Open(cmd.Context(), st.Remote(), what, os.Getenv)
					err = errors.Join(err, openErr)
					text += "; " + cmp.Or(page, "open a pull request of it into "+r.For)
				}
				fmt.Fprintln(cmd.OutOrStdout(), text)
			}
			return err
		},
	}
	s.registerStore(cmd)
	cmd.Flags().IntVar(&line, "from-line", 0, "first take lines off the log from this `number` on, which are dated ahead of this machine's clock")
	return cmd
}
