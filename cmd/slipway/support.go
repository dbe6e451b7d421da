package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	semver "github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// onDay is a lifecycle, and the day that it is asked about.
type onDay struct {
	keys   []string
	at     string
	fresh  int
	asJSON bool
}

const (
	atUsage    = "`day` that is asked about, as 2026-03-17 (default today)"
	freshUsage = "`days` after which what is known is too old to call a release current; 0 for any age"
)

const lifecycleUsage = "LIFECYCLE is lifecycle.json, a file or its URL, with its signature beside it."

func (k *onDay) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&k.keys, "key", nil, "public key `file` that the lifecycle must be signed with; without one its signature is not looked at")
	cmd.Flags().StringVar(&k.at, "at", "", atUsage)
	cmd.Flags().IntVar(&k.fresh, "fresh", lifecycle.Fresh, freshUsage)
	cmd.Flags().BoolVar(&k.asJSON, "json", false, "print JSON")
}

// read reads the lifecycle in a file or at a URL.
func (k *onDay) read(ctx context.Context, place string) (l lifecycle.Lifecycle, at lifecycle.Date, err error) {
	at = lifecycle.DateOf(time.Now())
	if k.at != "" {
		if at, err = lifecycle.ParseDate(k.at); err != nil {
			return l, at, fault.New(fault.Usage, fmt.Errorf("--at: %w", err))
		}
	}
	if k.fresh < 0 || k.fresh > 36500 {
		return l, at, fault.Errorf(fault.Usage, "--fresh %d is not a number of days from 0 to 36500", k.fresh)
	}
	keys, err := verify.ReadKeys(k.keys)
	if err != nil {
		return l, at, err
	}
	if l, err = resolve.Lifecycle(ctx, place, keys); err != nil {
		return l, at, err
	}
	return l, lifecycle.Later(at, l.AsOf), nil // what is written down has happened, whatever the clock here says
}

// stands holds a release that was verified to what is written down of it, and adds that to the notes of the report.
func (k *onDay) stands(ctx context.Context, place string, r *verify.Report, recovery bool) error {
	l, at, err := k.read(ctx, place)
	if err != nil {
		return err
	}
	if r.Name != l.Name || r.Manifest == "" {
		return fault.Errorf(fault.Usage, "--lifecycle %s is about %s, and this is no whole release of it", place, l.Name)
	}
	v, err := parseVersion(r.Name, r.Version)
	if err != nil {
		return err
	}
	s, err := l.Of(v, at, k.fresh)
	if err != nil {
		return fault.New(fault.Policy, fmt.Errorf("%s: %w", place, err))
	}
	if is, _ := l.Release(v); is.Manifest != r.Manifest {
		return fault.Errorf(fault.Mismatch, "%s %s has the manifest %s, and %s says %s", r.Name, v, r.Manifest.Short(), place, is.Manifest.Short())
	}
	said := fmt.Sprintf("%s %s is %s on %s%s; its line is supported until %s", l.Name, v, s.State, at, because(s), s.Until)
	r.Notes = append(r.Notes, said)
	if (s.State >= lifecycle.Overdue || s.Withdrawn != "") && !recovery {
		return fault.Errorf(fault.Policy, "%s; upgrade, or say --recovery to take it all the same", said)
	}
	return nil
}

func newSupport() *cobra.Command {
	var k onDay
	var running string
	cmd := &cobra.Command{
		Use:   "support LIFECYCLE",
		Short: "Show which lines of a platform are supported, and what must be upgraded",
		Long: `support prints the newest release of each line of a platform and the last day on which the line is supported. With --running it
says how that release stands on the day: current, due (it was withdrawn, or has a vulnerability, and there is time left), overdue,
or ended; overdue and ended are exit 9. ` + lifecycleUsage,
		Example: "  slipway support --key edge.pub https://releases.example.com/lifecycle.json\n  slipway support --running 2.1.2 lifecycle.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, at, err := k.read(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			lines := l.Lines(at, k.fresh)
			var mine *lifecycle.Standing
			if running != "" {
				v, err := parseVersion("--running", running)
				if err != nil {
					return err
				}
				s, err := l.Of(v, at, k.fresh)
				if err != nil {
					return fault.New(fault.Usage, err)
				}
				mine = &s
			}
			out := cmd.OutOrStdout()
			if k.asJSON {
				err = writeJSON(out, map[string]any{"name": l.Name, "at": at, "asOf": l.AsOf, "serial": l.Serial, "lines": lines, "running": mine})
			} else {
				writeSupport(out, l, lines, mine, at)
			}
			if err == nil && mine != nil && mine.State >= lifecycle.Overdue {
				err = fault.Errorf(fault.Policy, "%s %s is %s", l.Name, mine.Version, mine.State)
			}
			return err
		},
	}
	k.register(cmd)
	cmd.Flags().StringVar(&running, "running", "", "`version` that is in use")
	return cmd
}

func parseVersion(flag, s string) (semver.Version, error) {
	v, err := semver.Parse(s)
	if err != nil {
		return v, fault.New(fault.Usage, fmt.Errorf("%s: %w", flag, err))
	}
	return v, nil
}

func writeSupport(w io.Writer, l lifecycle.Lifecycle, lines []lifecycle.Standing, mine *lifecycle.Standing, at lifecycle.Date) {
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, s := range lines {
		until := "until " + s.Until.String()
		if s.State == lifecycle.Ended {
			until = "ended on " + s.Until.String()
		} else if left := at.Days(s.Until); left < 90 {
			until += fmt.Sprintf(", in %d days", left)
			if left == 1 {
				until = strings.TrimSuffix(until, "s")
			}
		}
		note := ""
		if s.State != lifecycle.Current && s.State != lifecycle.Ended {
			note = s.State.String() + because(s)
		}
		if mine != nil && lifecycle.Line(mine.Version) == lifecycle.Line(s.Version) {
			note = "you run " + mine.Version.String() + ": " + mine.State.String() + because(*mine)
			if path, err := l.Path(mine.Version, semver.Version{}, at); err != nil {
				note += "; " + err.Error()
			} else if len(path) > 0 {
				note += "; go to " + path[0].String()
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", lifecycle.Line(s.Version), s.Version, until, cmdline.Line(note))
	}
	t.Flush()
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// because is why a release stands as it does.
func because(s lifecycle.Standing) string {
	why := ""
	if len(s.Advisories) > 0 {
		why = ", " + strings.Join(s.Advisories, " ") + " by " + s.Due.String()
	}
	if s.Withdrawn != "" {
		why += ", withdrawn: " + s.Withdrawn
	}
	return why
}

func newUpgrade() *cobra.Command {
	var k onDay
	var from, to string
	cmd := &cobra.Command{
		Use:   "upgrade LIFECYCLE --from VERSION",
		Short: "Show the way of upgrades from a release of a platform to a supported one",
		Long: `upgrade prints the shortest way from a release to the newest supported one that can be reached, or to --to, one upgrade in a line,
and what keeps it from those that may not be taken. No upgrade brings a vulnerability that was not there before. Where there is no
way, the exit code is 9. ` + lifecycleUsage,
		Example: "  slipway upgrade --from 2.0.1 lifecycle.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				return fault.Errorf(fault.Usage, "name with --from the version that is in use")
			}
			begin, err := parseVersion("--from", from)
			if err != nil {
				return err
			}
			var end semver.Version
			if to != "" {
				if end, err = parseVersion("--to", to); err != nil {
					return err
				}
			}
			l, at, err := k.read(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			for _, v := range []semver.Version{begin, end} {
				if _, ok := l.Release(v); !ok && !v.IsZero() {
					return fault.Errorf(fault.Usage, "%s is no release of %s", v, l.Name)
				}
			}
			path, err := l.Path(begin, end, at)
			var avoided []string
			for e := range l.Edges() {
				if l.Releases[e.From].Version == begin && e.Why != "" {
					avoided = append(avoided, fmt.Sprintf("not to %s: %s", l.Releases[e.To].Version, reason(l, e)))
				}
			}
			out := cmd.OutOrStdout()
			if k.asJSON {
				return errors.Join(fault.New(fault.Policy, err), writeJSON(out, map[string]any{"name": l.Name, "from": begin, "at": at, "path": append([]semver.Version{}, path...), "avoided": append([]string{}, avoided...)}))
			}
			for _, line := range avoided {
				fmt.Fprintln(out, cmdline.Line(line))
			}
			if err != nil {
				return fault.New(fault.Policy, err)
			}
			switch {
			case begin == end:
				fmt.Fprintf(out, "%s is what is in use\n", begin)
			case len(path) == 0:
				fmt.Fprintf(out, "%s is where upgrades end\n", begin)
			}
			last := begin
			for _, v := range path {
				fmt.Fprintf(out, "%s -> %s\n", last, v)
				last = v
			}
			return nil
		},
	}
	k.register(cmd)
	cmd.Flags().StringVar(&from, "from", "", "`version` that is in use")
	cmd.Flags().StringVar(&to, "to", "", "`version` to get to (default the newest supported one that can be reached)")
	return cmd
}

// reason is why an upgrade may not be taken, in words.
func reason(l lifecycle.Lifecycle, e lifecycle.Edge) string {
	if e.Why == "withdrawn" {
		return "withdrawn, " + l.Releases[e.To].Withdrawn
	}
	if i := slices.IndexFunc(l.Risks, func(r lifecycle.Risk) bool { return r.Name == e.Why }); i >= 0 {
		return strings.TrimSpace(e.Why + ": " + l.Risks[i].Message + " " + l.Risks[i].URL)
	}
	return "it has " + e.Why
}

func newPlatformGraph() *cobra.Command {
	var k onDay
	var check bool
	format := "text"
	cmd := &cobra.Command{
		Use:   "graph LIFECYCLE",
		Short: "Show the upgrades between the releases of a platform",
		Long: `graph prints each upgrade, those that may not be taken with the reason. With --check it is exit 9 where somebody who takes upgrades
can end in a release that is not the newest one of a supported line. ` + lifecycleUsage,
		Example: "  slipway platform graph --check lifecycle.json\n  slipway platform graph --format dot lifecycle.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, at, err := k.read(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			out, edges := bufio.NewWriter(cmd.OutOrStdout()), l.Edges() // of thousands of lines
			switch {
			case k.asJSON:
				err = writeGraph(out, l, edges)
			case format == "dot":
				fmt.Fprintf(out, "digraph %q {\n", l.Name)
				for _, r := range l.Releases {
					fmt.Fprintf(out, "  %q\n", r.Version.String())
				}
				for e := range edges {
					label := ""
					if e.Why != "" {
						label = fmt.Sprintf(" [style=dashed, label=%q]", e.Why)
					}
					fmt.Fprintf(out, "  %q -> %q%s\n", l.Releases[e.From].Version.String(), l.Releases[e.To].Version.String(), label)
				}
				fmt.Fprintln(out, "}")
			default:
				for e := range edges {
					why := ""
					if e.Why != "" {
						why = "  no: " + reason(l, e)
					}
					fmt.Fprintf(out, "%s -> %s%s\n", l.Releases[e.From].Version, l.Releases[e.To].Version, cmdline.Line(why))
				}
			}
			err = errors.Join(err, out.Flush())
			if ends := l.Check(at); err == nil && check && len(ends) > 0 {
				var all []string
				for _, d := range ends {
					all = append(all, d.String())
				}
				err = fault.Errorf(fault.Policy, "no upgrade leads on from %s", strings.Join(all, "; from "))
			}
			return err
		},
	}
	k.register(cmd)
	cmdline.Choice(cmd, &format, "format", []string{"text", "dot"}, "how it is printed: text or dot")
	cmd.Flags().BoolVar(&check, "check", false, "fail where somebody who takes upgrades can end in a release that is not supported")
	return cmd
}

func writeGraph(w io.Writer, l lifecycle.Lifecycle, edges iter.Seq[lifecycle.Edge]) error {
	type edge struct {
		From semver.Version `json:"from"`
		To   semver.Version `json:"to"`
		Why  string         `json:"notBecause,omitempty"`
	}
	all := []edge{}
	for e := range edges {
		all = append(all, edge{l.Releases[e.From].Version, l.Releases[e.To].Version, e.Why})
	}
	return writeJSON(w, map[string]any{"name": l.Name, "edges": all})
}
