package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/environment/pull"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/branch"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/source"
)

// branchChoices are the flags of the commands about branches.
type branchChoices struct {
	of, main, remote string
	pass             []string
	push             bool
}

func (a *app) branchCommand() *cobra.Command {
	var c branchChoices
	cmd := &cobra.Command{
		Use:   "branch",
		Short: "Make a branch for the fixes of a minor version, and take commits over to it",
		Long: `A minor version that goes on getting fixes has a branch, NAME-2.1 for version 2.1 of project NAME. A fix is made on the default
branch first, and then picked. The commands look at commits alone: what is checked out may have any changes, and stays as it is.
Without --push what they make stays in this repository.`,
		Example: "  go run ./ci branch cut 2.1 --push\n  go run ./ci branch status 2.1\n  go run ./ci branch pick 2.1 6f0c1d2 --push",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.of, "of", "", "`name` of the platform that the branch is made for (default the project's own)")
	flags.StringVar(&c.main, "main", "", "default `branch` (default what the remote says)")
	flags.StringVar(&c.remote, "remote", "origin", "`name` of the remote")
	flags.StringSliceVar(&c.pass, "pass", nil, "`names` of variables that a credential helper of git reads")
	cmd.AddCommand(a.cutCommand(&c), a.lazyCommand(&c), a.pickCommand(&c), a.branchStatusCommand(&c))
	return cmd
}

// open is the repository and the line that the first argument names.
func (c branchChoices) open(ctx context.Context, a *app, args []string) (*branch.Repo, branch.Line, error) {
	a.resumes = true
	if len(args) == 0 {
		return nil, branch.Line{}, fault.Errorf(fault.Usage, "name the minor version, such as 2.1")
	}
	l, err := branch.ParseLine(args[0])
	if err != nil {
		return nil, l, err
	}
	r, _, err := a.branches(ctx, c)
	return r, l, err
}

// branches is the repository of the project here, and the folder of its slipway.yaml.
func (a *app) branches(ctx context.Context, c branchChoices) (*branch.Repo, string, error) {
	cfg, file, err := a.readConfig()
	if err != nil {
		return nil, "", err
	}
	top, err := source.Root(ctx, filepath.Dir(file))
	if err != nil {
		return nil, "", err
	}
	folder := path.Dir(inTree(top, file))
	r, err := branch.Open(ctx, branch.Options{
		Dir: top, Project: cfg.Project.Name, TagPrefix: cfg.Project.TagPrefix, Folder: folder, Of: c.of, Main: c.main, Remote: c.remote, Environ: a.environ, Pass: c.pass,
	})
	return r, filepath.Dir(file), err
}

func pushFlag(cmd *cobra.Command, c *branchChoices) {
	cmd.Flags().BoolVar(&c.push, "push", false, "fetch first, and push what is made")
}

func (a *app) cutCommand(c *branchChoices) *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "cut LINE",
		Short: "Make the branch of a minor version where its release is",
		Long: `Cut makes branch NAME-2.1 at the commit of the highest stable release of 2.1. Where there is a file VERSION beside slipway.yaml
it proposes that the default branch goes on to the next minor version: as branch NAME-2.2.0-dev of one commit, of which
people make a pull request. The same command completes what one before it left. A branch that is there and begins
elsewhere is exit 7.`,
		Example: "  go run ./ci branch cut 2.1\n  go run ./ci branch cut 2.1 --push\n  go run ./ci branch cut 2.1 --from 6f0c1d2",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, l, err := c.open(cmd.Context(), a, args)
			if err != nil {
				return err
			}
			made, p, err := r.Cut(cmd.Context(), l, from, c.push)
			if err == nil || made.Was || made.Pushed {
				a.tellMade(made)
			}
			a.tellProposal(r.Remote(), p)
			return err
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "`commit` that the branch begins at (default that of the highest release)")
	pushFlag(cmd, c)
	return cmd
}

// atMost refuses more arguments than a command has.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return noArgs(cmd, args[min(n, len(args)):])
	}
}

func (a *app) tellMade(m branch.Made) {
	at, how := fmt.Sprintf("%.12s", m.Commit), "made here; --push pushes it"
	if m.Tag != "" {
		at = m.Tag + ", commit " + at
	}
	switch {
	case m.Was:
		how = "was there"
	case m.Pushed:
		how = "made and pushed"
	}
	fmt.Fprintf(a.stdout, "%s begins at %s: %s\n", words.Line(m.Branch), words.Line(at), how)
}

// tellProposal says what is to be proposed, if anything is there for it.
func (a *app) tellProposal(remote string, p *branch.Proposal) {
	if p == nil || p.Commit == "" {
		return
	}
	a.tellMade(p.Made)
	fmt.Fprintf(a.stdout, "it brings %s of %s from %s to %s; open a pull request of it%s\n", words.Line(p.File), words.Line(p.Main), p.Before, p.Next, words.Line(proposalPage(remote, p)))
}

// proposalPage is the page on which a pull request is opened, where the host is one that has it under a known address.
func proposalPage(remote string, p *branch.Proposal) string {
	page := pull.Page(remote)
	if !p.Pushed || page == nil {
		return ""
	}
	switch page.Hostname() {
	case "github.com":
		return ": " + page.JoinPath("compare", p.Main+"..."+p.Branch).String() + "?expand=1"
	case "gitlab.com":
		q := url.Values{"merge_request[source_branch]": {p.Branch}, "merge_request[target_branch]": {p.Main}}
		return ": " + page.JoinPath("-", "merge_requests", "new").String() + "?" + q.Encode()
	}
	return " at " + page.String()
}

func (a *app) lazyCommand(c *branchChoices) *cobra.Command {
	var file, commit string
	cmd := &cobra.Command{
		Use:   "lazy LINE",
		Short: "Make the branch of a component when its first fix is needed",
		Long: `Lazy makes the branch for a line of a platform in the repository of a component: at the commit that the platform's lock has
of it, and named after the platform. It prints the version that the fix gets: one patch above the highest that this
repository has a tag of in that minor version. So two lines that have the same release of the component get two
versions. As cut does it proposes the next minor version for the default branch. A tag that has moved since it was locked
is exit 3. Of two callers one finds what the other has made.`,
		Example: "  go run ./ci branch lazy 2.1 --platform ../edge/platform.yaml --push\n  go run ./ci branch lazy 2.1 --of edge --commit v1.4.2",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var lock platform.Lock
			switch {
			case file == "" && commit == "":
				return fault.Errorf(fault.Usage, "name the platform.yaml that has this component with --platform, or the commit with --commit")
			case file != "":
				name, l, err := platformOf(file)
				if err != nil {
					return err
				}
				if lock = l; c.of == "" {
					c.of = name
				}
			}
			r, l, err := c.open(cmd.Context(), a, args)
			if err != nil {
				return err
			}
			made, p, next, err := r.Lazy(cmd.Context(), l, lock, commit, c.push)
			if err == nil || made.Was || made.Pushed {
				a.tellMade(made)
			}
			if !next.IsZero() {
				fmt.Fprintf(a.stdout, "the next version there is %s\n", next)
			}
			a.tellProposal(r.Remote(), p)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "platform", "", "platform.yaml of the platform, a `file` with its lock beside it")
	cmd.Flags().StringVar(&commit, "commit", "", "`commit` that the branch begins at, in place of the lock's")
	pushFlag(cmd, c)
	return cmd
}

// platformOf is the name of a platform, and its lock of channel stable.
func platformOf(file string) (string, platform.Lock, error) {
	var l platform.Lock
	if err := regular(file); err != nil {
		return "", l, err
	}
	b, err := readConfiguration(file)
	if err != nil {
		return "", l, err
	}
	p, err := platform.Parse(file, b)
	if err != nil {
		return "", l, err
	}
	lock := platformChoices{file: file, channel: string(platform.Stable)}.lockFile()
	if err := regular(lock); err != nil {
		return "", l, fault.Errorf(fault.Usage, "%w; run platform lock in the repository of the platform", err)
	}
	if b, err = readConfiguration(lock); err != nil {
		return "", l, err
	}
	l, err = platform.ParseLock(lock, b)
	return p.Name, l, err
}

func (a *app) pickCommand(c *branchChoices) *cobra.Command {
	var goOn, abort bool
	cmd := &cobra.Command{
		Use:   "pick LINE COMMIT...",
		Short: "Take commits of the default branch over to the branch of a minor version",
		Long: `Pick takes commits over in a clone of its own, oldest first, each with its author and message and with lines that say what it
was picked from. The file VERSION stays as it is on the branch. The branch moves when all are taken. Merges, roots, commits
that change nothing and commits that are not on the default branch are named, and nothing is taken. A conflict is exit 3,
and names the files and the clone to solve it in; then --continue goes on, and --abort gives it up.`,
		Example: "  go run ./ci branch pick 2.1 6f0c1d2\n  go run ./ci branch pick 2.1 6f0c1d2 1aa5de0 --push\n  go run ./ci branch pick 2.1 --continue --push",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, l, err := c.open(cmd.Context(), a, args)
			if err != nil {
				return err
			}
			revs := args[1:]
			var taken []branch.Taken
			switch {
			case (goOn || abort) && len(revs) > 0 || goOn && abort:
				return fault.Errorf(fault.Usage, "--continue and --abort are about the pick that stands at a conflict; give one of them, and no commits")
			case abort:
				return r.Abort(cmd.Context(), l)
			case goOn:
				taken, err = r.Continue(cmd.Context(), l, c.push)
			case len(revs) == 0:
				return fault.Errorf(fault.Usage, "name the commits to be picked; branch status %s says which are missing", l)
			default:
				taken, err = r.Pick(cmd.Context(), l, revs, c.push)
			}
			if err != nil {
				return err
			}
			for _, t := range taken {
				how := "picked as"
				if t.Was {
					how = "was picked as"
				}
				fmt.Fprintf(a.stdout, "%.12s %s %.12s  %s\n", t.From, how, t.To, words.Line(t.Subject))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&goOn, "continue", false, "go on with the pick whose conflict is solved")
	cmd.Flags().BoolVar(&abort, "abort", false, "give up the pick that stands at a conflict")
	pushFlag(cmd, c)
	return cmd
}

func (a *app) branchStatusCommand(c *branchChoices) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status LINE",
		Short: "Show which commits the branch of a minor version has of the default branch",
		Long: `Status compares the branch with the default branch, as far as this repository knows them: run git fetch before. Each commit since
the branch was made is one of these: picked, and both make the same change; same, picked without a line that says so;
edited, where the changes differ; missing from the branch; empty, which changes nothing but VERSION; own, which the
branch alone has; unfounded, which says that it was picked from what is not on the default branch, and is exit 9.`,
		Example: "  go run ./ci branch status 2.1\n  go run ./ci branch status 2.1 --json",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, l, err := c.open(cmd.Context(), a, args)
			if err != nil {
				return err
			}
			s, err := r.Status(cmd.Context(), l)
			if err != nil && fault.CodeOf(err) != fault.Policy {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				return errors.Join(err, enc.Encode(s))
			}
			for _, one := range s.Commits {
				ids := fmt.Sprintf("%.12s", one.Commit)
				if one.Branch != "" {
					ids = fmt.Sprintf("%-12.12s > %.12s", one.Commit, one.Branch)
				}
				fmt.Fprintf(a.stdout, "%-9s  %-27s  %s\n", one.State, ids, words.Line(one.Subject))
			}
			fmt.Fprintf(a.stdout, "%s left %s at %.12s; %s missing\n", words.Line(s.Branch), words.Line(s.Main), s.Fork, words.Count(s.Count(branch.Missing), "commit"))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) bumpCommand() *cobra.Command {
	var dev bool
	cmd := &cobra.Command{
		Use:   "bump",
		Short: "Write the next version into the file VERSION",
		Long: `Bump raises the version in the file VERSION beside slipway.yaml: 2.1.4-dev becomes 2.1.4, and 2.1.4 becomes 2.1.5. With --dev
2.1.4 becomes 2.1.5-dev, for what is worked on after a release. Versions that this repository has tags of are stepped
over. It commits nothing.`,
		Example: "  go run ./ci version bump\n  go run ./ci version bump --dev",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, dir, err := a.branches(cmd.Context(), branchChoices{remote: "origin"})
			if err != nil {
				return err
			}
			file := filepath.Join(dir, branch.VersionFile)
			info, err := os.Lstat(file)
			switch {
			case errors.Is(err, os.ErrNotExist):
				return fault.Errorf(fault.Git, "there is no %s beside slipway.yaml; write the version that is worked on into one, such as 2.1.0-dev", branch.VersionFile)
			case err != nil:
				return fault.New(fault.Git, err)
			case !info.Mode().IsRegular():
				return fault.Errorf(fault.Git, "%s is not a file; write one in its place", file)
			}
			b, err := bounded.File(file, maxText)
			if err != nil {
				return fault.New(fault.Git, err)
			}
			v, err := branch.ParseVersionFile(branch.VersionFile, b)
			if err != nil {
				return err
			}
			next, err := r.Bump(cmd.Context(), v, dev)
			if err != nil {
				return err
			}
			if next != v {
				if err := writeLock(file, []byte(next.String()+"\n")); err != nil {
					return fault.New(fault.Git, err)
				}
			}
			fmt.Fprintln(a.stdout, next)
			return nil
		},
	}
	cmd.Flags().BoolVar(&dev, "dev", false, "go on to the next patch, with -dev")
	return cmd
}

func (a *app) tagCommand() *cobra.Command {
	var c branchChoices
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "tag",
		Short: "Tag the commit with the version in the file VERSION, and push the tag",
		Long: `Tag makes the tag of the version that VERSION says, of the commit that is checked out, and pushes it. It fetches and looks first: a
version with a suffix, a tree with changes, a tag of another commit, and a commit that is not on the branch of its minor
version, or on the default branch while there is no such branch, are exit 3. The same command completes what one that
was killed has left.`,
		Example: "  go run ./ci version tag --dry-run\n  go run ./ci version tag",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.resumes = true
			r, _, err := a.branches(cmd.Context(), c)
			if err != nil {
				return err
			}
			t, err := r.Tag(cmd.Context(), dryRun)
			if err != nil {
				return err
			}
			how := "made and pushed"
			switch {
			case t.Was:
				how = "was there"
			case dryRun:
				how = "may be made"
			}
			_, err = fmt.Fprintf(a.stdout, "%s of %.12s on %s: %s\n", t.Tag, t.Commit, t.Branch, how)
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&dryRun, "dry-run", false, "only say whether it may be made")
	flags.StringVar(&c.of, "of", "", "`name` of the platform that the branch of the minor version was made for")
	flags.StringVar(&c.main, "main", "", "default `branch` (default what the remote says)")
	flags.StringVar(&c.remote, "remote", "origin", "`name` of the remote")
	flags.StringSliceVar(&c.pass, "pass", nil, "`names` of variables that a credential helper of git reads")
	return cmd
}

// checkVersionFile holds a file VERSION that names a release to the commit that the release is of. What is no version at all is a file of
// somebody else's.
func (p project) checkVersionFile(ctx context.Context) error {
	folder := inTree(p.source.Root, filepath.Dir(p.file))
	name := path.Join(folder, branch.VersionFile)
	b, err := p.source.Blob(ctx, name, maxText)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil || b == nil || !branch.IsVersionFile(b) { // a folder of that name, for one
		return nil
	}
	v, err := branch.ParseVersionFile(name, b)
	if err != nil || v.IsPrerelease() {
		return err
	}
	prefix := p.config.Project.TagPrefix
	for _, tag := range []string{prefix + "v" + v.String(), prefix + v.String()} {
		at, err := source.TagCommit(ctx, p.source.Root, tag)
		if err != nil {
			return err
		}
		if at != "" && at != p.source.Commit {
			return fault.Errorf(fault.Git, "%s says %s, and tag %s is of commit %.12s: what is worked on here is another version; run go run ./ci version bump --dev and commit that",
				name, v, tag, at)
		}
	}
	return nil
}

// checkBranch holds the tag of a version to the branch that releases of its line are made on.
func (a *app) checkBranch(ctx context.Context, p project) error {
	if p.source.Tag == "" || !p.source.Version.IsStable() {
		return nil
	}
	r, _, err := a.branches(ctx, branchChoices{remote: "origin"})
	if err != nil {
		return err
	}
	return r.Belongs(ctx, p.source.Version, p.source.Commit)
}
