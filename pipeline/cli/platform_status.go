package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// stands is how a component stands, as JSON.
type stands struct {
	Component string `json:"component"`
	Locked    string `json:"locked,omitempty"`
	Manifest  string `json:"manifest,omitempty"` // of the release of what is locked
	Allowed   string `json:"allowed,omitempty"`
	Newest    string `json:"newest,omitempty"`
	Branch    string `json:"branch,omitempty"`
	Head      string `json:"head,omitempty"`
	HeadTag   string `json:"headTag,omitempty"`
	Error     string `json:"error,omitempty"`
}

func (a *app) platformStatusCommand(c *platformChoices) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what there is of each component, beside what is locked",
		Long: `Status asks the repositories and the releases of all components and shows for each what is locked on the channel and whether
that is published, the highest tag that may be taken, the highest there is, and the head of its branch. It says where the lock does not
agree with platform.yaml. It writes nothing, and what cannot be reached is exit 6 after all else was shown.`,
		Example: "  go run ./ci platform status\n  go run ./ci platform status --channel staging --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := c.open(a)
			if err != nil {
				return err
			}
			var errs []error
			rows, called := []stands{}, func(c platform.Chosen) string {
				if c.Commit == "" {
					return ""
				}
				return c.Called()
			}
			for _, s := range resolve.Survey(cmd.Context(), o) {
				row := stands{
					Component: s.Name, Locked: called(s.Locked), Manifest: string(s.Locked.Manifest), Allowed: called(s.Allowed), Newest: called(s.Newest),
					Branch: s.Branch, Head: s.Head, HeadTag: s.Tag,
				}
				if s.Err != nil {
					row.Error = s.Err.Error()
					errs = append(errs, fmt.Errorf("%s: %w", s.Name, s.Err))
				}
				rows = append(rows, row)
			}
			if asJSON {
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				return errors.Join(enc.Encode(rows), fault.Or(errors.Join(errs...), fault.Transient))
			}
			tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(tw, "COMPONENT\t%s\tPUBLISHED\tMAY BE TAKEN\tNEWEST\tHEAD\n", strings.ToUpper(string(o.Channel)))
			for _, r := range rows {
				published, head := "no", "?"
				switch {
				case r.Manifest != "":
					published = "yes"
				case r.Locked == "":
					published = ""
				}
				if r.Head != "" {
					head = r.Branch + " " + cmp.Or(r.HeadTag, r.Head[:12])
				}
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Component, words.Line(cmp.Or(r.Locked, "-")), published, words.Line(cmp.Or(r.Allowed, "-")), words.Line(cmp.Or(r.Newest, "-")), words.Line(head))
			}
			if err := tw.Flush(); err != nil {
				return err
			}
			if len(o.Before.Components) > 0 {
				if err := o.Platform.Agrees(o.Before); err != nil {
					fmt.Fprintln(a.stdout, words.Line("the lock does not agree: "+err.Error()))
				}
			}
			return fault.Or(errors.Join(errs...), fault.Transient)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
