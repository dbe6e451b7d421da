// Package cli is the command line of the pipeline: commands, flags and exit codes. It reads the environment, the clock
// and the machine, so that nothing behind it has to, and wires the rooms together.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/present/progress"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/source"
)

// Main runs the command line and returns the exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	a := &app{
		stdout: cmdline.Output(os.Stdout), stderr: cmdline.Output(os.Stderr), terminal: os.Stderr,
		getenv: os.Getenv, environ: os.Environ(),
	}
	return a.run(ctx, args)
}

// app is one run of the command line.
type app struct {
	stdout   io.Writer
	stderr   io.Writer
	terminal *os.File // what the display draws on, which escapes what it shows by itself
	getenv   func(string) string
	environ  []string

	config   string // --config
	progress string // --progress
	tag      string // --tag
	since    string // --since
	dirty    bool   // --dirty
	cache    string // --cache
	resumes  bool   // the command goes on from where it was interrupted
	took     bool   // it was said which slipway.yaml is taken
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.command()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return int(fault.OK)
	}
	if ctx.Err() != nil {
		err = fault.Errorf(fault.Transient, "interrupted; nothing was changed: run the same command again")
		if a.resumes {
			err = fault.Errorf(fault.Transient, "interrupted; the same command goes on from here")
		}
	}
	cmdline.Fail(a.stderr, err)
	if fault.OfSystem(err) != fault.Unclassified {
		err = fault.Or(err, fault.Build) // of this machine, and no bug of ours
	}
	return fault.Exit(err)
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "ci",
		Short: "Build a reproducible release of this repository",
		Long: `One commit in, one release out, bit for bit the same wherever and whenever it is built.

slipway.yaml says what is released, slipway.lock what it is made from. Nothing else decides.`,
		Example:       "  go run ./ci plan\n  go run ./ci build --standalone --targets host\n  go run ./ci build",
		SilenceUsage:  true,
		SilenceErrors: true,

		SuggestionsMinimumDistance: 2,

		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.config, "config", "", "`file` that says what is released, with its lock beside it (default slipway.yaml here or above)")
	flags.StringVar(&a.cache, "cache", "", "`folder` that keeps bases and toolchains (default $SLIPWAY_CACHE, else the user's cache)")
	flags.StringVar(&a.tag, "tag", "", "version `tag` to build, where the commit has several (default what CI was started for)")
	flags.StringVar(&a.since, "since", "", "`tag` that the release notes start from (default the release before in the commit's history; release.json names it)")
	flags.BoolVar(&a.dirty, "dirty", false, "accept a tree with uncommitted changes; the release says so and cannot be published")
	a.progress = "auto"
	cmdline.Choice(root, &a.progress, "progress", progress.Choices(), "how steps are shown: auto, tty, plain, github or json")
	cmdline.Version(root, cmp.Or(strings.Trim(strings.TrimPrefix(toolVersion(), "v"), "()"), "devel")+" ("+runtime.Version()+")")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fault.Errorf(fault.Usage, "%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(a.initCommand(), a.lockCommand(), a.versionCommand(), a.branchCommand(), a.planCommand(), a.checkCommand(),
		a.testCommand(), a.buildCommand(), a.signCommand(), a.keygenCommand(), a.verifyCommand(), a.publishCommand(), a.reconcileCommand(), a.platformCommand(), a.basesCommand(), a.vendorCommand(), a.doctorCommand())
	return root
}

// noArgs refuses arguments; a wrong name of a command is one.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	if elsewhere := cmdline.Elsewhere(cmd, args[0]); elsewhere != "" && !cmd.HasParent() {
		hint = "; " + elsewhere
	}
	return fault.Errorf(fault.Usage, "unknown argument %q of %s%s", args[0], cmd.CommandPath(), hint)
}

// project is what the files and the commit of a repository say.
type project struct {
	config config.Config
	lock   config.Lock
	source source.Source
	file   string // slipway.yaml, absolute
}

// readConfig reads slipway.yaml.
func (a *app) readConfig() (config.Config, string, error) {
	name, err := a.configFile()
	if err != nil {
		return config.Config{}, "", err
	}
	b, err := readConfiguration(name)
	if err != nil {
		return config.Config{}, "", err
	}
	c, err := config.Parse(cmp.Or(a.config, filepath.Base(name)), b)
	return c, name, fault.New(fault.Usage, err)
}

// readLock reads the slipway.lock beside slipway.yaml.
func readLock(configFile string) (config.Lock, error) {
	name := filepath.Join(filepath.Dir(configFile), config.LockFileName)
	err := regular(name)
	if errors.Is(err, os.ErrNotExist) {
		return config.Lock{}, fault.Errorf(fault.Usage, "%w; run the lock command and commit it", err)
	}
	var b []byte
	if err == nil {
		b, err = readConfiguration(name)
	}
	if err != nil {
		return config.Lock{}, err
	}
	l, err := config.ParseLock(config.LockFileName, b)
	return l, fault.New(fault.Usage, err)
}

// regular refuses what a clone has in the place of a file and what may not have an end: a link to a device, say. A link to a file
// elsewhere is one that a person may have made.
func regular(name string) error {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", name)
	}
	return fault.New(fault.Usage, err)
}

// readConfiguration reads a file of at most a little more than a configuration may have, so that the parser can say what is
// wrong with a larger one.
func readConfiguration(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	defer f.Close()
	b, err := bounded.Head(f, 2<<20)
	return b, fault.New(fault.Usage, err)
}

// load reads everything that a plan is made from.
func (a *app) load(ctx context.Context) (project, error) {
	var p project
	var err error
	if p.config, p.file, err = a.readConfig(); err != nil {
		return p, err
	}
	if p.lock, err = readLock(p.file); err != nil {
		return p, err
	}
	p.source, err = a.readSource(ctx, a.root(ctx, p.file), p.config)
	return p, err
}

func (a *app) readSource(ctx context.Context, dir string, cfg config.Config) (source.Source, error) {
	return a.read(ctx, source.Options{
		Dir: dir, Ref: a.ref(), AllowDirty: a.dirty, Filters: cfg.Filters, TagPrefix: cfg.Project.TagPrefix, Since: a.since,
	})
}

func (a *app) read(ctx context.Context, o source.Options) (source.Source, error) {
	src, err := source.Read(ctx, o)
	if err == nil && a.tag != "" && "refs/tags/"+src.Tag != a.ref() {
		// A run of CI for another project's tag builds a snapshot of this one; who names a tag means that version.
		return src, fault.Errorf(fault.Git, "tag %s is of another project: the tags of this one are such as %sv1.2.3", a.tag, o.TagPrefix)
	}
	return src, err
}

// ref is what this run was started for: the flag, else what the CI system says.
func (a *app) ref() string {
	if a.tag != "" {
		return "refs/tags/" + strings.TrimPrefix(a.tag, "refs/tags/")
	}
	if a.getenv("GITHUB_ACTIONS") == "true" {
		return a.getenv("GITHUB_REF")
	}
	if tag := a.getenv("CI_COMMIT_TAG"); tag != "" { // GitLab
		return "refs/tags/" + tag
	}
	return ""
}

// cacheDir is the folder below which bases and toolchains are kept.
func (a *app) cacheDir() (string, error) {
	for _, dir := range []string{a.cache, a.getenv("SLIPWAY_CACHE")} {
		if dir != "" {
			return filepath.Abs(dir)
		}
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fault.Errorf(fault.Usage, "finding a folder for the cache: %w; name one with --cache", err)
	}
	return filepath.Join(dir, "slipway"), nil
}

// display opens the progress display that the user chose.
func (a *app) display(ctx context.Context) (progress.Display, error) {
	d, err := progress.Open(a.terminal, a.getenv, a.progress, ctx.Done())
	return d, fault.New(fault.Usage, err)
}

// newPlan is the plan of the project.
func (p project) newPlan(ctx context.Context, o plan.Options) (plan.Plan, error) {
	o.Files = map[string][]byte{}
	var listed []string
	if dir := plan.Folder(p.config); dir != "" {
		all, err := p.source.List(ctx, dir)
		if err != nil {
			return plan.Plan{}, err
		}
		listed = slices.DeleteFunc(all, func(name string) bool { return path.Ext(name) != ".yaml" })
	}
	for range 2 { // platform.yaml names keys
		for _, name := range append(plan.Reads(p.config, o.Files), listed...) {
			if _, ok := o.Files[name]; ok {
				continue
			}
			b, err := p.source.Blob(ctx, name, maxText)
			if err != nil {
				return plan.Plan{}, err
			}
			if b != nil {
				o.Files[name] = b
			}
		}
	}
	if p.config.Platform != "" && p.source.Since != "" {
		before, err := source.Find(ctx, p.source.Root, p.source.Since)
		if err == nil {
			o.Before, err = before.Blob(ctx, path.Join(path.Dir(path.Clean(p.config.Platform)), platform.LockFileName), maxText)
		}
		if err != nil {
			return plan.Plan{}, fmt.Errorf("reading what the release before consists of: %w", err)
		}
	}
	return plan.New(p.source, p.config, p.lock, o)
}

// maxText bounds a changelog or a public key, in bytes.
const maxText = 8 << 20
