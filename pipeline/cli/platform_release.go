package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/source"
	"github.com/slipway-build/slipway/pipeline/verify"
)

func (a *app) platformWithdrawCommand(p *platformChoices) *cobra.Command {
	c := lifecycleChoices{platformChoices: p}
	var why string
	cmd := &cobra.Command{
		Use:   "withdraw VERSION",
		Short: "Have nobody upgrade to a release any more, for a reason",
		Long: `Withdraw adds a release with its reason to withdrawn in platform.yaml, where everything else stays as it is written, and writes
the lifecycle with it. Nothing that was published is removed: the release can be fetched as before, and upgrades lead from it to
others. Where no other release takes an upgrade from one that was to go there, nothing is written, unless --strand says that
it is meant. Commit platform.yaml and publish the lifecycle afterwards.`,
		Example: "  go run ./ci platform withdraw 2.2.2 --why 'it loses its peers' --releases https://releases.example.com --public-key edge.pub --key edge.key",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || why == "" {
				return fault.Errorf(fault.Usage, "name one release, and with --why the reason, which its users read")
			}
			v, err := version.Parse(args[0])
			if err != nil {
				return fault.New(fault.Usage, err)
			}
			return c.withdraw(cmd.Context(), a, v, why)
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "the `reason`, which everybody who has the release reads")
	c.flags(cmd)
	return cmd
}

// withdraw writes platform.yaml before the lifecycle, which is made of it, and takes that back where the lifecycle is refused. A run that
// is killed between the two leaves a file that says what is meant, and the same command goes on from there.
func (c lifecycleChoices) withdraw(ctx context.Context, a *app, v version.Version, why string) error {
	if _, err := c.open(a); err != nil {
		return err
	}
	was, err := readConfiguration(c.file)
	if err != nil {
		return err
	}
	is, err := platform.Withdraw(c.file, was, v, why)
	if err != nil {
		return err
	}
	if err := writeLock(c.file, is); err != nil {
		return fault.New(fault.Usage, err)
	}
	if err := c.run(ctx, a); err != nil {
		if now, e := readConfiguration(c.file); e == nil && bytes.Equal(now, is) { // what somebody else wrote meanwhile stays
			err = errors.Join(err, writeLock(c.file, was))
		}
		return err
	}
	fmt.Fprintf(a.stdout, "%s is withdrawn; commit %s and publish the lifecycle\n", v, display(c.file))
	return nil
}

// platformReleaseChoices are the flags of platform release.
type platformReleaseChoices struct {
	lifecycleChoices
	engine      string
	dryRun      bool
	noLifecycle bool
}

func (a *app) platformReleaseCommand(p *platformChoices) *cobra.Command {
	c := platformReleaseChoices{lifecycleChoices: lifecycleChoices{platformChoices: p}, engine: "auto"}
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Check, build, sign and publish the release of the platform that is tagged here",
		Long: `Release runs every check that a release of the platform has to pass and says all that is found. Then it does what build, sign and
publish do, and writes the lifecycle last, so it never lists a release that cannot be fetched yet. A run that ended early
is finished by the same command: what is done is looked at and left alone.

Without --key the release is signed by the workflow that runs, and the lifecycle is left for somebody who has a key.`,
		Example: "  go run ./ci platform release --dry-run --releases https://releases.example.com --public-key edge.pub\n  go run ./ci platform release --releases https://releases.example.com --public-key edge.pub --key edge.key",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.release(cmd.Context(), a) },
	}
	cmdline.Choice(cmd, &c.engine, "engine", []string{"auto", "dagger", "host"}, "what compiles: auto, dagger or host")
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "run the checks, build into dist/, with --key sign that, and say what would be published; change nothing else")
	cmd.Flags().BoolVar(&c.noLifecycle, "no-lifecycle", false, "leave the lifecycle as it is: that of all lines is written on the default branch, which has every advisory")
	c.flags(cmd)
	return cmd
}

func (c platformReleaseChoices) release(ctx context.Context, a *app) error {
	if c.channel != string(platform.Stable) {
		return fault.Errorf(fault.Usage, "a release is of channel stable, whose lock is committed; leave out --channel")
	}
	if c.releases == "" || c.publicKey == "" {
		return fault.Errorf(fault.Usage, "name with --releases where the releases of the platform are, and with --public-key by which key they are signed: what comes next is held to them")
	}
	o, err := c.open(a)
	if err != nil {
		return err
	}
	head, err := source.Read(ctx, source.Options{Dir: o.Dir, Commit: "HEAD"})
	if err != nil {
		return err
	}
	if head.Tag == "" {
		return fault.Errorf(fault.Git, "commit %.12s has no tag of a version: a release is made of one; tag it, for instance v1.0.0", head.Commit)
	}
	v := head.Version
	if err := a.gates(ctx, o, v, checkChoices{platformChoices: c.platformChoices, against: c.releases, publicKey: c.publicKey}); err != nil {
		return err
	}
	if err := a.build(ctx, &choices{engine: c.engine, bases: "locked"}); err != nil {
		return err
	}
	f, err := a.finished(ctx, nil)
	if err != nil {
		return err
	}
	if signed := a.signed(ctx, f, c.root); !signed && c.dryRun && c.key == "" { // a signature of a workflow is in a public log for ever
		fmt.Fprintln(a.stdout, "it passes; what would be published is shown with --key, since only what is signed is published")
		return nil
	} else if !signed {
		if err := a.sign(ctx, f, signChoices{key: c.key, passphraseFile: c.passphraseFile, trustedRoot: c.root}); err != nil {
			return err
		}
	}
	if err := a.publish(ctx, f, publishChoices{dryRun: c.dryRun, trustedRoot: c.root}); err != nil || c.dryRun {
		return err
	}
	if c.key == "" || c.noLifecycle {
		fmt.Fprintln(a.stdout, "the lifecycle does not have it yet: run platform lifecycle on the default branch")
		return nil
	}
	return c.run(ctx, a)
}

// signed reports whether a release is signed as slipway.yaml says. Nobody makes the same signature twice, and one that is published is
// never replaced, so a release that was signed is not signed again.
func (a *app) signed(ctx context.Context, f finished, root string) bool {
	flags := verify.Flags{By: verify.IdentityFlags{Root: root, Issuer: verify.GitHubIssuer}}
	if a.believe(f, &flags, false) != nil || len(flags.Keys) == 0 && flags.Identity == nil {
		return false
	}
	_, err := verify.Check(ctx, []string{f.dir}, flags.Options)
	return err == nil
}

// gates says all that keeps a release of the platform from being made, of what is known before it is built.
func (a *app) gates(ctx context.Context, o resolve.Options, v version.Version, promises checkChoices) error {
	var errs []error
	if err := o.Platform.Agrees(o.Before); err != nil {
		errs = append(errs, err)
	}
	now, err := resolve.Lock(ctx, o)
	if err != nil {
		errs = append(errs, err)
	} else {
		for _, change := range platform.Diff(o.Before, now) {
			errs = append(errs, fault.Errorf(fault.Mismatch, "%s is not what is there now: %s; run platform lock and commit it", platform.LockFileName, words.Line(change)))
		}
		for _, name := range o.Platform.Names() {
			if is := now.Components[name]; !is.Published() {
				errs = append(errs, fault.Errorf(fault.Policy, "%s %s is not published; run platform build, or wait for its workflow", name, is.Called()))
			}
		}
	}
	if len(errs) == 0 { // what was compared otherwise would not be what is released
		found, _, err := promises.check(ctx, a)
		errs = append(errs, err)
		for _, f := range found {
			errs = append(errs, fault.Errorf(fault.Policy, "%s", words.Line(f.Text)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s %s is not released:\n%w", o.Platform.Name, v, err)
	}
	return nil
}
