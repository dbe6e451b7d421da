package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/platform/class"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/source"
)

// checkChoices are the flags of platform check.
type checkChoices struct {
	*platformChoices
	against, publicKey, version string
	json                        bool
}

func (a *app) platformCheckCommand(p *platformChoices) *cobra.Command {
	c := checkChoices{platformChoices: p}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Hold the release that is here to what its number promises",
		Long: `Check compares what is locked with the releases before it. A release whose third number is for security changes what its
advisories name, and nothing else; below a new major number nothing breaks that users hold on to. All findings are printed, and are
exit 9. What is meant all the same stands in platform.yaml under exceptions, with the reason.`,
		Example: "  go run ./ci platform check --against https://releases.example.com --public-key edge.pub\n  go run ./ci platform check --against ../shelf --public-key edge.pub --as 2.1.4",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, v, err := c.check(cmd.Context(), a)
			if err != nil {
				return err
			}
			if c.json {
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				if err := enc.Encode(append([]class.Finding{}, found...)); err != nil {
					return err
				}
			}
			if len(found) == 0 {
				if !c.json {
					fmt.Fprintf(a.stdout, "%s keeps what its number promises\n", v)
				}
				return nil
			}
			if !c.json {
				for _, f := range found {
					fmt.Fprintln(a.stdout, words.Line(f.Text))
				}
			}
			return fault.Errorf(fault.Policy, "%s does not keep what its number promises: %s; give it another number, take out what is not meant, or name it under exceptions in platform.yaml", v, count(len(found), "finding", "findings"))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&c.against, "against", "", "where the releases of the platform are: a `place` such as a folder, slipway serve or a repository on GitHub")
	flags.StringVar(&c.publicKey, "public-key", "", "`file` with the key that they are signed with")
	flags.StringVar(&c.version, "as", "", "`version` that the release is to have (default that of the tag)")
	flags.BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

// check runs the gates on what is here.
func (c checkChoices) check(ctx context.Context, a *app) (found []class.Finding, v version.Version, err error) {
	if c.against == "" || c.publicKey == "" {
		return nil, v, fault.Errorf(fault.Usage, "name with --against where the releases of the platform are, and with --public-key by which key they are signed")
	}
	o, err := c.open(a)
	if err == nil {
		err = c.locked(o)
	}
	if err == nil {
		err = o.Platform.Agrees(o.Before)
	}
	if err != nil {
		return nil, v, err
	}
	head, err := source.Read(ctx, source.Options{Dir: o.Dir, Commit: "HEAD"})
	if err != nil {
		return nil, v, err
	}
	v = head.Version
	if c.version != "" {
		if v, err = version.Parse(c.version); err != nil {
			return nil, v, fault.New(fault.Usage, err)
		}
	}
	if v.IsSnapshot() {
		return nil, v, fault.Errorf(fault.Usage, "the commit here has no tag, and a snapshot promises nothing; say with --as which version it is to have")
	}
	r := class.Release{Platform: o.Platform, Version: v, After: o.Platform.Compose(o.Before), Environ: a.environ}
	r.After.Version = v
	if r.Advisories, err = factsOf(filepath.Join(o.Dir, lifecycle.AdvisoriesDir), lifecycle.ParseAdvisory); err != nil {
		return nil, v, err
	}
	all, err := a.composed(ctx, o.Platform.Name, c.against, c.publicKey)
	if err != nil {
		return nil, v, err
	}
	for _, is := range all {
		r.Releases = append(r.Releases, is.Platform)
	}
	r.Own = func(ctx context.Context, before version.Version) (class.Source, error) {
		i := slices.IndexFunc(all, func(is resolve.Composed) bool { return is.Version.Compare(before) == 0 })
		was := all[i].Release.Commit
		if has, err := source.Has(ctx, head.Root, was); err != nil || !has {
			return class.Source{}, errors.Join(err, fault.Errorf(fault.Git, "the repository here does not have commit %.12s, which %s %s was made of; fetch the tags and the history", was, o.Platform.Name, before))
		}
		return class.Source{Dir: head.Root, Before: was, After: head.Commit}, nil
	}
	work, err := os.MkdirTemp("", "slipway-check-*")
	if err != nil {
		return nil, v, fault.New(fault.Usage, err)
	}
	defer os.RemoveAll(work)
	r.Open = (&class.Opener{Options: o, Work: work}).Open
	found, err = class.Check(ctx, r)
	return found, v, err
}
