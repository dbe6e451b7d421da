package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/build/chart"
	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/present/progress"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/policy"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/source"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// publishChoices are the flags of publish.
type publishChoices struct {
	to                 string
	environment        string
	destinations       string
	trustedRoot        string
	dryRun             bool
	status, deep       bool
	json, verbose      bool
	announce           bool
	allowUnpublishable bool
}

func (a *app) publishCommand() *cobra.Command {
	var c publishChoices
	cmd := &cobra.Command{
		Use:   "publish [DIST]",
		Short: "Carry a finished release to where people get it, as one transaction",
		Long: `Publish first checks that nothing stands in the way, at any destination, then uploads everything that is not yet public
and reads it back. Only when all of that is right everywhere does it make the release visible: images by their tags, the
release on GitHub, chart repositories, and last what points at those. If it is interrupted, the same command continues
from there: what a destination already holds is left alone, and a name that holds other bytes is never replaced (exit 7).

It publishes to the destinations below publish in slipway.yaml or, with --to, to the set of that name below destinations.
Sets do not affect each other: each has a journal and receipts of its own.

Where slipway.yaml names a release store, the names that move are left to the reconcile command, and the release is added to an
environment of the store in the end: to that of --environment, else the one that slipway.yaml names. It is published to the
set of destinations of that name, where there is one. A release that the store's rules refuse is not published.

A version is published only by a workflow, which proves its identity. A person can publish snapshots, and anything to this
machine: for a rehearsal, --destinations names a file that has what is otherwise below publish. Tokens are read from the
environment variables that the configuration names, and those of registries also from Docker's configuration. What was
done is recorded in dist/publish.`,
		Example: "  go run ./ci publish --dry-run\n  go run ./ci publish\n  go run ./ci publish --status\n  go run ./ci publish --to staging\n  go run ./ci publish --destinations rehearsal.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.resumes = true
			f, err := a.finished(cmd.Context(), args)
			if err != nil {
				return err
			}
			return a.publish(cmd.Context(), f, c)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&c.dryRun, "dry-run", false, "print what would be changed where and what is there already, and change nothing")
	flags.BoolVar(&c.verbose, "verbose", false, "with --dry-run: print every request that would change something as well")
	flags.BoolVar(&c.status, "status", false, "print how the release stands everywhere, as the destinations have it now")
	flags.BoolVar(&c.deep, "deep", false, "with --status: fetch every byte and compare")
	flags.BoolVar(&c.json, "json", false, "print JSON")
	flags.StringVar(&c.to, "to", "", "`name` of a set under destinations in slipway.yaml to publish to, instead of publish there")
	flags.StringVar(&c.environment, "environment", "", "`name` of the environment of the release store that the release enters (default that of slipway.yaml)")
	flags.StringVar(&c.destinations, "destinations", "", "`file` that says where to publish, instead of publish in slipway.yaml")
	flags.StringVar(&c.trustedRoot, "trusted-root", "", "`file` with the keys of Sigstore's services, to check signatures of a workflow with")
	flags.BoolVar(&c.announce, "announce", false, "send announcements again, which are otherwise sent once")
	flags.BoolVar(&c.allowUnpublishable, "allow-unpublishable", false, "publish a release that is marked as not for publishing to this machine, to try it")
	return cmd
}

func (a *app) publish(ctx context.Context, f finished, c publishChoices) (err error) {
	if c.dryRun && c.status {
		return fault.Errorf(fault.Usage, "--dry-run and --status cannot be used together: one shows what would be done, the other what was")
	}
	if c.verbose && !c.dryRun {
		return fault.Errorf(fault.Usage, "--verbose is for --dry-run; what a publishing asked for is in dist/%s", publish.JournalName)
	}
	if c.deep && !c.status {
		return fault.Errorf(fault.Usage, "--deep is for --status; publish reads back what it stages anyway")
	}
	if err := a.belongs(ctx, f); err != nil {
		return err
	}
	s := &shipment{app: a, root: f.root, choices: c}
	if s.rel, err = openRelease(f.dir); err != nil {
		return err
	}
	if s.config, _, err = a.readConfig(); err != nil {
		return err
	}
	stage, follows := c.enters(s.config)
	s.choices = c
	if s.to, err = a.whereTo(s.config, c); err != nil {
		return err
	}
	end, err := s.openJournal(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if s.display, err = a.display(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.display.Close()) }()
	s.tracker = progress.NewTracker(s.display, nil)
	if n := s.journal.Unanswered(); n > 0 {
		s.tracker.Note(fmt.Sprintf("an earlier run ended with %s open; each is checked before anything is sent", count(n, "request", "requests")))
	}
	if follows {
		if err := s.prepareEntering(ctx, stage); err != nil {
			return err
		}
	}
	if c.status {
		return s.status(ctx)
	}
	return s.run(ctx)
}

// openJournal reads what was asked of remotes, and goes on with it unless this run asks for nothing. The function that it
// returns ends that.
func (s *shipment) openJournal(ctx context.Context) (end func() error, err error) {
	if s.choices.dryRun || s.choices.status { // what is only looked at or told of leaves no trace
		s.journal, err = publish.ReadJournal(s.rel.Dir, s.choices.to, s.rel.Digest)
		return func() error { return nil }, err
	}
	unlock, err := publish.Lock(ctx, s.rel.Dir)
	if err != nil {
		return nil, err
	}
	if s.journal, err = publish.OpenJournal(s.rel.Dir, s.choices.to, s.rel.Digest, time.Now); err != nil {
		return nil, errors.Join(err, unlock())
	}
	return func() error { return errors.Join(s.journal.Close(), unlock()) }, nil
}

// status prints how the release stands everywhere.
func (s *shipment) status(ctx context.Context) error {
	targets, err := s.targets()
	if err != nil {
		return err
	}
	depth := publish.Listed
	if s.choices.deep {
		depth = publish.Read
	}
	result, err := publish.Status(ctx, targets, depth, publish.Options{Journal: s.journal, Tracker: s.tracker})
	if closing := s.display.Close(); closing != nil {
		return closing
	}
	return errors.Join(s.printStatus(result, s.choices.json), err, standing(result))
}

// run publishes the release, or says what that would ask for.
func (s *shipment) run(ctx context.Context) error {
	if err := s.checkRelease(ctx); err != nil {
		return err
	}
	if s.choices.dryRun {
		var mu sync.Mutex // destinations are side by side
		s.tell = func(r wire.Request) {
			mu.Lock()
			defer mu.Unlock()
			s.told(r)
		}
	}
	targets, err := s.targets()
	if err != nil {
		return err
	}
	if err := s.allowed(ctx); err != nil {
		return err
	}
	result, err := publish.Run(ctx, targets, publish.Options{Journal: s.journal, Tracker: s.tracker, DryRun: s.choices.dryRun})
	if s.choices.dryRun {
		if err != nil {
			return err
		}
		if closing := s.display.Close(); closing != nil {
			return closing
		}
		if s.choices.json {
			return s.printStatus(result, true)
		}
		if err := s.printPlanned(result); err != nil {
			return err
		}
		return s.enter(ctx)
	}
	// Receipts say how everything stands, also after a run that did not get to its end.
	if written := publish.NewReceipts(s.rel, s.choices.to, result).Write(s.rel.Dir); written != nil && err == nil {
		err = written
	}
	if err != nil {
		return err
	}
	if github, ok := s.display.(*progress.GitHub); ok {
		github.AddArtifacts(where(result)...)
	}
	if closing := s.display.Close(); closing != nil {
		return closing
	}
	if err := s.printResult(result); err != nil {
		return err
	}
	return s.enter(ctx)
}

// printResult says what was published.
func (s *shipment) printResult(r publish.Result) error {
	a := s.app
	if s.choices.json {
		return s.printStatus(r, true)
	}
	for _, o := range r.Outcomes {
		if o.Error != "" {
			fmt.Fprintf(a.stderr, "slipway: %s; the release is published all the same\n", words.Line(o.Error))
		}
		for _, it := range o.Items {
			if it.State == publish.Kept && it.Detail != "" {
				fmt.Fprintf(a.stdout, "%s: left alone: %s\n", words.Line(it.Name), words.Line(it.Detail))
			}
		}
	}
	verb := "published"
	if !r.Changed {
		verb = "published already, nothing to do"
	}
	s.printWaiting()
	_, err := fmt.Fprintf(a.stdout, "%s %s: %s (%s)\n", s.rel.Manifest.Name, s.rel.Manifest.Version, verb, count(len(r.Outcomes), "destination", "destinations"))
	s.printWays()
	return err
}

// where is what the summary of a CI run lists: everything that people see now.
func where(r publish.Result) []progress.Artifact {
	var out []progress.Artifact
	for _, o := range r.Outcomes {
		for _, it := range o.Items {
			if it.Phase == publish.Flip {
				out = append(out, progress.Artifact{Name: o.Destination + ": " + it.Name, Detail: string(it.State), Digest: string(it.Digest)})
			}
		}
	}
	return out
}

// openRelease reads the manifest of a finished dist/.
func openRelease(dir string) (publish.Release, error) {
	rel, err := publish.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return rel, fault.Errorf(fault.Usage, "%s has no release; the build command makes one", display(dir))
	}
	if err != nil && fault.CodeOf(err) != fault.Usage { // which is one that only another version reads
		err = fault.New(fault.Mismatch, err)
	}
	return rel, err
}

// whereTo is where a release goes: what a file of its own says, else the configuration.
func (a *app) whereTo(cfg config.Config, c publishChoices) (config.Publish, error) {
	if c.to != "" && c.destinations != "" {
		return config.Publish{}, fault.Errorf(fault.Usage, "--to and --destinations cannot be used together: one names a set of slipway.yaml, the other a file")
	}
	if c.destinations == "" {
		to, err := cfg.Set(c.to)
		return to, fault.New(fault.Usage, err)
	}
	b, err := readConfiguration(c.destinations)
	if err != nil {
		return config.Publish{}, err
	}
	if whole, err := config.Parse(filepath.Base(c.destinations), b); err == nil {
		return config.Publish{}, fault.Errorf(fault.Usage, "%s is the configuration of %s; --destinations names a file with what stands below publish there, by itself", c.destinations, whole.Project.Name)
	}
	to, err := config.ParsePublish(filepath.Base(c.destinations), b)
	return to, fault.New(fault.Usage, err)
}

// checked is the fact that every file of the release was opened and every signature looked at. A later run of the same
// release hashes the files again and no more.
const checked = "checked"

// checkRelease holds the files to the manifest and the manifest to its signatures.
func (s *shipment) checkRelease(ctx context.Context) error {
	rel, cfg := s.rel, s.config
	return s.tracker.Run("check the release", "publish", func() (string, error) {
		all, err := signed(rel.Dir)
		if err != nil {
			return "", fault.New(fault.Mismatch, err)
		}
		o := verify.Options{AllowUnpublishable: true, AllowUnsigned: true} // who may be published is a policy
		if cfg.Signing.Key != "" && len(rel.Manifest.Unpublishable) == 0 {
			o.AllowUnsigned = false
			if o.Keys, o.Terms, err = trusted(cfg, s.root); err != nil {
				return "", err
			}
		}
		if s.choices.trustedRoot != "" {
			if cfg.Signing.Identity == "" {
				return "", fault.Errorf(fault.Usage, "--trusted-root is for a release that a workflow signs; slipway.yaml has no signing.identity")
			}
			o.AllowUnsigned = false
			flags := verify.IdentityFlags{Identity: cfg.Signing.Identity, Issuer: cfg.Signing.IssuerURL(), Root: s.choices.trustedRoot}
			if o.Identity, err = flags.Verifier(); err != nil {
				return "", err
			}
		}
		// Who is believed belongs to what was checked: a key may have been revoked since.
		by := fmt.Sprint(all, cfg.Signing, o.Terms)
		for _, k := range o.Keys {
			by += string(k.Fingerprint())
		}
		all = artifact.Sum([]byte(by))
		o.HashesOnly = s.journal.Fact(checked) == string(all)
		report, err := verify.Dist(ctx, rel.Dir, o)
		if err != nil {
			var b strings.Builder
			if report.Verdict != "" {
				err = errors.Join(err, report.WriteText(&b))
			}
			return "", withOutput(err, b.String())
		}
		if rel.Manifest.Signing != nil && len(rel.Manifest.Unpublishable) == 0 {
			if _, err := os.Stat(rel.Path(signature.ChecksumsBundle)); err != nil {
				return "", fault.Errorf(fault.Mismatch, "the release is not signed, and its manifest says that it is to be; run the sign command")
			}
		}
		return count(report.Count(verify.Pass), "check passed", "checks passed"), s.journal.SetFact(checked, string(all))
	})
}

// signed is a digest of what names every file of a release, and of every signature.
func signed(dir string) (artifact.Digest, error) {
	m := artifact.NewMeter(io.Discard)
	for _, pattern := range []string{manifest.ChecksumsName, "*" + signature.Suffix, signature.AttestationsDir + "/*", signature.LayoutDir + "/*", signature.LayoutDir + "/blobs/sha256/*"} {
		names, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil {
			return "", err
		}
		for _, name := range names { // sorted
			if info, err := os.Stat(name); err != nil || info.IsDir() {
				continue
			}
			sum, size, err := artifact.SumFile(name)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(m, "%s %d %s\n", sum, size, filepath.Base(name))
		}
	}
	return m.Digest(), nil
}

// outputError carries what a step has to say at length.
type outputError struct {
	error
	output string
}

func (e outputError) Output() string { return e.output }
func (e outputError) Unwrap() error  { return e.error }

func withOutput(err error, output string) error {
	if output == "" {
		return err
	}
	return outputError{err, output}
}

// allowed holds the release to the policies, and the configuration to the commit that the release is of.
func (s *shipment) allowed(ctx context.Context) error {
	local := policy.Local(s.where)
	return s.tracker.Run("policies", "publish", func() (string, error) {
		if !local && s.choices.destinations == "" {
			if err := s.sameCommit(ctx); err != nil {
				return "", err
			}
		}
		o := policy.Options{
			Release: s.rel.Manifest, Destinations: s.where, AllowUnpublishable: s.choices.allowUnpublishable,
			Tokens: policy.Environment{Lookup: s.app.lookupEnv}, Issuer: s.to.Issuer,
			Images:   s.images,
			Registry: s,
			// Of a rehearsal nobody asks for a candidate.
			CandidateFirst: s.to.Candidate == "required" && !local,
		}
		if o.CandidateFirst && s.rel.Manifest.Version.IsStable() {
			var err error
			if o.Released, err = s.released(ctx); err != nil {
				return "", err
			}
		}
		findings, err := policy.Check(ctx, o)
		passed := 0
		for _, f := range findings {
			if f.Passed {
				passed++
			}
		}
		return fmt.Sprintf("%d of %d hold", passed, len(findings)), err
	})
}

// images are those in a packaged chart of the release.
func (s *shipment) images(path string) ([]string, error) {
	b, err := bounded.File(s.rel.Path(path), maxText)
	if err != nil {
		return nil, err
	}
	return chart.Images(b)
}

// sameCommit refuses to publish by another configuration than that of the release's commit: where a release goes is
// part of what was tagged.
func (s *shipment) sameCommit(ctx context.Context) error {
	src, err := source.Read(ctx, source.Options{Dir: s.root, Ref: s.app.ref(), AllowDirty: true, Filters: s.config.Filters, TagPrefix: s.config.Project.TagPrefix})
	if err != nil {
		return err
	}
	rel := s.rel.Manifest
	switch {
	case src.Commit != rel.Commit:
		return fault.Errorf(fault.Git, "the release is of commit %.12s and this is commit %.12s, whose slipway.yaml may send it elsewhere; git checkout %[1]s, or name the places with --destinations", rel.Commit, src.Commit)
	case src.Dirty && rel.Tag != "":
		return fault.Errorf(fault.Git, "the tree has uncommitted changes, so slipway.yaml may not be that of the release; commit or stash them")
	}
	return nil
}

// standing is an error where the release is not everywhere that it should be.
func standing(r publish.Result) error {
	missing, different := 0, 0
	for _, o := range r.Outcomes {
		for _, it := range o.Items {
			switch {
			case it.State.Done():
			case it.State == publish.Different:
				different++
			default:
				missing++
			}
		}
	}
	switch {
	case different > 0:
		return fault.Errorf(fault.Conflict, "%s other bytes", count(different, "name has", "names have"))
	case missing > 0:
		return fault.Errorf(fault.Transient, "%s not there; the publish command puts what is missing", count(missing, "thing is", "things are"))
	}
	return nil
}

// printStatus tells how the release stands.
func (s *shipment) printStatus(r publish.Result, asJSON bool) error {
	a, rel := s.app, s.rel
	if asJSON {
		b, err := canonjson.Indent(publish.NewReceipts(rel, s.choices.to, r))
		if err != nil {
			return err
		}
		_, err = a.stdout.Write(b)
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s %s\n", rel.Manifest.Name, rel.Manifest.Version)
	for _, o := range r.Outcomes {
		fmt.Fprintf(w, "\n%s\t%d of %d\t%s\n", words.Line(o.Destination), o.There(), len(o.Items), words.Line(o.Error))
		for _, it := range o.Items {
			// What is staged and there is a number; what is visible, and what is not as it should be, is told.
			if it.Phase == publish.Flip || it.State != publish.Same {
				fmt.Fprintf(w, "  %s\t%s\t%s\n", it.State, words.Line(it.Name), words.Line(it.Detail))
			}
		}
	}
	return w.Flush()
}
