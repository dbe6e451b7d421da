package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/reproduce"
	"github.com/slipway-build/slipway/pipeline/trust/ledger"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// reproduction are the flags of reproduce.
type reproduction struct {
	options  reproduce.Options
	keys     []string
	trust    string
	identity verify.IdentityFlags
	vary     string
	asJSON   bool
	html     string
	log      string

	attest     string
	attestKey  string
	passphrase string

	all          bool
	ledger       string
	ledgerBranch string
	again        bool
}

func newReproduce() *cobra.Command {
	var r reproduction
	cmd := &cobra.Command{
		Use:   "reproduce VERSION|URL|DIST",
		Short: "Build a published release again from its commit and compare every byte",
		Long: `reproduce finds a release, checks its manifest and its signatures, clones its commit into a clean place, compiles the
pipeline of that commit as its own go.mod pins it, and runs it with everything changed that must not matter: path, time
zone, locale, umask, home, clock, number of processors, caches. It compares the result with what was published and
explains each difference down to the innermost place.

A release is a dist/ folder, a URL (of a server, of slipway serve, of a release on GitHub), oci://registry/image:tag, or a
version of the repository that this folder is in, or of --from. It needs Go and git. It runs the pipeline of
the commit, which is a program by the authors of the commit: if you do not trust them, run reproduce in a container.

It exits with 5 unless everything passed; what could not be compared is skipped, and a skip is not a pass.`,
		Example: "  slipway reproduce v1.2.3\n  slipway reproduce --repository . dist\n" +
			"  slipway reproduce --key slipway.pub https://github.com/owner/tool/releases/tag/v1.2.3\n" +
			"  slipway reproduce oci://ghcr.io/owner/tool:1.2.3\n" +
			"  slipway reproduce --all --from https://example.org/ --ledger ledger/",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o, flags := &r.options, cmd.Flags()
	flags.StringVar(&o.From, "from", "", "where versions are looked for: a `folder` of releases, the URL of slipway serve or of a repository on GitHub (default this repository's origin)")
	flags.StringVar(&o.Repository, "repository", "", "`URL` or path of the git repository with the commit (default the one that the release names)")
	flags.StringVar(&o.Bundle, "bundle", "", "`folder` that ci vendor wrote; nothing is fetched from elsewhere then, and no release needs to be named")
	o.Engine, r.vary = "auto", "all"
	cmdline.Choice(cmd, &o.Engine, "engine", []string{"auto", "dagger", "host"}, "what compiles: host, dagger, or auto for the choice of the commit's pipeline")
	flags.BoolVar(&o.Registries, "registries", false, "also check that the registries have, under the release's names, what the commit builds")
	cmdline.Choices(cmd, &r.vary, "vary", []string{"all", "none"}, reproduce.Variations(), "what is made different: all, none, or some of "+strings.Join(reproduce.Variations(), ","))
	flags.StringVar(&o.Pipeline, "pipeline", "", "`folder` of the pipeline in the repository (default ci or slipway-ci, beside slipway.yaml or above)")
	flags.StringSliceVar(&o.Pass, "pass", nil, "`names` of environment variables that the build is to see, such as credentials for its private modules, and git when it goes to a remote")
	flags.StringVar(&o.Work, "work", "", "`folder` to fetch and build in (default one in the user's cache)")
	flags.BoolVar(&o.Keep, "keep", false, "keep what was fetched and built")
	flags.StringArrayVar(&r.keys, "key", nil, "public key in a PEM `file` that the release must be signed with; if several are given, one is enough")
	flags.StringVar(&r.trust, "trust", "", trustUsage)
	flags.StringVar(&r.identity.Identity, "identity", "", "URL of the `workflow` that must have signed the release, in which * stands for anything")
	flags.StringVar(&r.identity.Issuer, "issuer", verify.GitHubIssuer, "`URL` of the issuer that vouches for the workflow")
	flags.StringVar(&r.identity.Root, "trusted-root", "", "`file` with the keys of Sigstore's services, as cosign trusted-root create writes it")
	flags.BoolVar(&o.Verify.AllowUnsigned, "allow-unsigned", false, "ignore signatures, whether there are any or not")
	flags.BoolVar(&o.Verify.AllowUnpublishable, "allow-unpublishable", false, "accept a release that its manifest marks as not to be published, such as one with stand-in bases")
	flags.StringVar(&o.Verify.Version, "want", "", "`version` that the release must be")
	flags.BoolVar(&r.asJSON, "json", false, "print the report as JSON")
	flags.StringVar(&r.html, "html", "", "write the report as a page to `file`")
	flags.StringVar(&r.log, "log", "", "write the output of the build to `file`")
	flags.StringVar(&r.attest, "attest", "", "sign the verdict with --attest-key and write it into `folder`; see slipway verify --rebuilders")
	flags.StringVar(&r.attestKey, "attest-key", "", "private key in a PEM `file`, or env:NAME")
	flags.StringVar(&r.passphrase, "passphrase-file", "", "`file` with the passphrase of the key (default $"+sign.PassphraseVariable+")")
	flags.BoolVar(&r.all, "all", false, "reproduce all releases of --from that have no verdict in the ledger yet")
	flags.StringVar(&r.ledger, "ledger", "", "`folder` of the ledger that verdicts are appended to")
	flags.StringVar(&r.ledgerBranch, "ledger-branch", "", "`branch` of the repository that has the ledger instead")
	flags.BoolVar(&r.again, "again", false, "with --all: also those that have passed before")
	return cmd
}

func (r *reproduction) run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o := &r.options
	if len(args) > 0 {
		o.Release = args[0]
	}
	switch {
	case r.all && (len(args) > 0 || o.Bundle != ""):
		return fault.Errorf(fault.Usage, "--all reproduces the releases of --from; do not name another")
	case r.all && (r.html != "" || o.Verify.Version != ""):
		return fault.Errorf(fault.Usage, "--html and --want are for one release; remove --all")
	case r.again && !r.all:
		return fault.Errorf(fault.Usage, "--again goes with --all: a release that is named is always built again")
	case !r.all && o.Release == "" && o.Bundle == "":
		return fault.Errorf(fault.Usage, "no release is named: name a dist/ folder, a URL or a version, or give --all")
	case o.Verify.AllowUnsigned && len(r.keys) > 0:
		return fault.Errorf(fault.Usage, "--key and --allow-unsigned cannot be used together: signatures are either checked or ignored")
	case (r.attest == "") != (r.attestKey == ""):
		return fault.Errorf(fault.Usage, "--attest and --attest-key go together: where the verdict goes, and what signs it")
	case r.ledger != "" && r.ledgerBranch != "":
		return fault.Errorf(fault.Usage, "--ledger and --ledger-branch cannot be used together: a ledger is in one place")
	}
	switch r.vary {
	case "all":
	case "none":
		o.Vary = []string{}
	default:
		o.Vary = strings.Split(r.vary, ",")
	}
	if o.Verify.Keys, err = verify.ReadKeys(r.keys); err != nil {
		return err
	}
	if err := believe(&o.Verify, r.trust); err != nil {
		return err
	}
	if o.Verify.Identity, err = r.identity.Verifier(); err != nil {
		return err
	}
	signer, err := r.signer() // before the work, so that a wrong passphrase is not found after it
	if err != nil {
		return err
	}
	book, err := r.book()
	if err != nil {
		return err
	}
	hideEnvironment()
	info, _ := debug.ReadBuildInfo()
	o.Tool, o.Environ = "slipway "+thisBuild(info).Version, os.Environ()
	o.Step = func(what string) { fmt.Fprintf(stderr, "%s ...\n", cmdline.Line(what)) }
	if r.log != "" {
		f, err := os.OpenFile(r.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
		if err != nil {
			return fault.New(fault.Usage, err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		o.Log = f
	}
	if r.all {
		return r.history(ctx, signer, book, stdout, stderr)
	}
	return r.one(ctx, signer, book, stdout, stderr)
}

// signer signs verdicts; nil if they are not signed.
func (r *reproduction) signer() (signature.Signer, error) {
	if r.attestKey == "" {
		return nil, nil
	}
	return sign.Source{Key: r.attestKey, PassphraseFile: r.passphrase}.Open()
}

// one reproduces one release and shows what came of it.
func (r *reproduction) one(ctx context.Context, signer signature.Signer, book ledger.Store, stdout, stderr io.Writer) error {
	report, err := reproduce.Run(ctx, r.options)
	if report.Verdict == "" {
		return err
	}
	err = errors.Join(err, r.keep(ctx, report, signer, book, stderr))
	if r.html != "" {
		page, e := report.HTML()
		if e == nil {
			e = fault.New(fault.Usage, os.WriteFile(r.html, page, 0o644))
		}
		err = errors.Join(err, e)
	}
	if r.asJSON {
		return errors.Join(err, writeJSON(stdout, report))
	}
	return errors.Join(err, report.WriteText(stdout))
}

// keep signs a verdict and puts it into the ledger, where that is asked for.
func (r *reproduction) keep(ctx context.Context, report reproduce.Report, signer signature.Signer, book ledger.Store, stderr io.Writer) error {
	var errs []error
	signed := false
	if signer != nil && report.Verdict != reproduce.Skip {
		name, err := reproduce.Attest(report, signer, r.attest)
		if signed = err == nil; signed {
			fmt.Fprintf(stderr, "signed the verdict: %s\n", name)
		}
		errs = append(errs, err)
	}
	if book != nil && named(report) {
		e := entry(report)
		if signed {
			e.Rebuilder = string(signer.Public().Fingerprint())
		}
		errs = append(errs, book.Append(ctx, e))
	}
	return errors.Join(errs...)
}

// history reproduces all releases of a place, the oldest first, and keeps each verdict in the ledger as soon as it is there:
// a run that ends early goes on where it was. A release that cannot even be looked at is not a reason to leave others out.
func (r *reproduction) history(ctx context.Context, signer signature.Signer, book ledger.Store, stdout, stderr io.Writer) error {
	list, err := reproduce.Releases(ctx, r.options.From, os.Getenv)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fault.Errorf(fault.Usage, "there is no release in %s; name the folder or the server that has them with --from", r.options.From)
	}
	var known ledger.Ledger
	if book != nil {
		if known, err = book.Read(ctx); err != nil {
			return err
		}
	}
	reports := []reproduce.Report{}
	errs := []error{gone(known, list)}
	passed, before := 0, 0
	for _, l := range list {
		o := r.options
		o.Release, o.From = l.Address(), ""
		o.Verify.Version = l.Version
		o.Known = func(name, version string, manifest artifact.Digest) bool {
			e, ok := known.Last(name, version, manifest)
			return ok && e.Verdict == ledger.Pass && !r.again
		}
		fmt.Fprintf(stderr, "== %s\n", cmdline.Line(strings.TrimSpace(l.Name+" "+cmp.Or(l.Version, l.Address()))))
		report, err := reproduce.Run(ctx, o)
		switch {
		case errors.Is(err, reproduce.ErrKnown):
			before++
			continue
		case ctx.Err() != nil:
			return err
		case report.Verdict == "":
			errs = append(errs, fmt.Errorf("%s: %w", l.Address(), err))
			continue
		case err == nil:
			passed++
		}
		errs = append(errs, err, r.keep(ctx, report, signer, book, stderr))
		reports = append(reports, report)
		if !r.asJSON {
			errs = append(errs, report.WriteText(stdout))
		}
	}
	if r.asJSON {
		return errors.Join(append(errs, writeJSON(stdout, reports))...)
	}
	fmt.Fprintf(stdout, "%d releases: %d reproduced, %d not, %d had passed before\n", len(list), passed, len(list)-passed-before, before)
	return errors.Join(errs...)
}

// gone are the releases that the ledger knows and that are published no more.
func gone(known ledger.Ledger, list []reproduce.Listed) error {
	var errs []error
	for _, e := range known.Latest() {
		if !slices.ContainsFunc(list, func(l reproduce.Listed) bool {
			return (l.Name == "" || l.Name == e.Name) && (l.Version == "" || l.Version == e.Version)
		}) {
			errs = append(errs, fault.Errorf(fault.Mismatch, "%s %s is in the ledger and no longer published", e.Name, e.Version))
		}
	}
	return errors.Join(errs...)
}

// book opens the ledger; nil where none is asked for.
func (r *reproduction) book() (ledger.Store, error) {
	switch {
	case r.ledger != "":
		return ledger.OpenFolder(r.ledger), nil
	case r.ledgerBranch == "":
		return nil, nil
	case r.options.Repository == "":
		return nil, fault.Errorf(fault.Usage, "--ledger-branch is a branch of --repository; give both")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "finding a folder for the ledger's branch: %w", err)
	}
	// The folder stays: it remembers how far the branch went, so that entries cannot be taken away behind it.
	dir := filepath.Join(cache, "slipway", "ledger", artifact.Sum([]byte(r.options.Repository+"\n"+r.ledgerBranch)).Short())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	return ledger.OpenBranch(ledger.BranchOptions{
		Remote: r.options.Repository, Branch: r.ledgerBranch, Environ: os.Environ(), Pass: r.options.Pass, Dir: dir, Author: "slipway <slipway@localhost>",
	}), nil
}

// named reports whether a report says which release it is about: if a manifest cannot be read, no one could look the
// entry up.
func named(r reproduce.Report) bool {
	return r.Name != "" && r.Version != "" && len(r.Commit) >= 40 && r.Manifest != ""
}

// entry is what the ledger keeps of a report.
func entry(r reproduce.Report) ledger.Entry {
	e := ledger.Entry{
		Schema: ledger.Schema, Time: r.Finished, Name: r.Name, Version: r.Version, Commit: r.Commit, Manifest: r.Manifest,
		Rebuilt: r.Rebuilt, Verdict: ledger.Verdict(r.Verdict), Passed: r.Count(reproduce.Pass), Failed: r.Count(reproduce.Fail),
		Skipped: r.Count(reproduce.Skip), Engine: r.Engine, Host: r.Host, Tool: r.Tool, Why: r.First(),
	}
	if e.Why == "" && r.Verdict != reproduce.Pass {
		e.Why = "nothing was compared"
	}
	return e
}
