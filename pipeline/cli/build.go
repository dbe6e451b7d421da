package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/modfile"

	"github.com/slipway-build/slipway/pipeline/build"
	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/build/engine/dagger"
	"github.com/slipway-build/slipway/pipeline/build/engine/host"
	"github.com/slipway-build/slipway/pipeline/build/oci"
	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/internal/gocommand"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/platform/supply"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/present/progress"
	"github.com/slipway-build/slipway/pipeline/present/report"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/source"
)

// choices are the flags that a plan and a build share.
type choices struct {
	engine     string
	bases      string
	targets    []string
	standalone bool
	jobs       uint
	noCache    bool
	force      bool
	out        string
	json       bool
}

// planFlags adds the flags that decide what is built.
func (c *choices) planFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	c.bases = "locked"
	cmdline.Choice(cmd, &c.bases, "bases", []string{"locked", "stand-in"}, "bases of the images: locked, or stand-in for tiny ones made in memory")
	flags.StringSliceVar(&c.targets, "targets", nil, "build only these `platforms`; host means this machine's, and linux on its architecture")
	flags.BoolVar(&c.standalone, "standalone", false, "need nothing but Go and git: --engine host --bases stand-in")
	flags.BoolVar(&c.json, "json", false, "print JSON")
}

// engineFlags adds the flags that decide how it is compiled.
func (c *choices) engineFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	c.engine = "auto"
	cmdline.Choice(cmd, &c.engine, "engine", []string{"auto", "dagger", "host"}, "what compiles: auto, dagger or host")
	flags.UintVar(&c.jobs, "jobs", 0, "`number` of compilations at once (default the engine's number of cores)")
	flags.BoolVar(&c.noCache, "no-cache", false, "compile everything again, from cold caches")
}

// options are the plan's options that the flags ask for.
func (c *choices) options() (plan.Options, error) {
	var o plan.Options
	if c.standalone {
		if c.engine == "dagger" {
			return o, fault.Errorf(fault.Usage, "--standalone is --engine host; leave out --engine dagger")
		}
		c.engine, c.bases = "host", "stand-in"
	}
	o.StandIn = c.bases == "stand-in"
	for _, t := range c.targets {
		if t == "host" {
			for _, system := range []string{runtime.GOOS, "linux"} {
				o.Targets = append(o.Targets, artifact.Platform{OS: system, Arch: runtime.GOARCH})
			}
			continue
		}
		p, err := artifact.ParsePlatform(t)
		if err != nil {
			return o, fault.Errorf(fault.Usage, "--targets: %w", err)
		}
		o.Targets, o.Required = append(o.Targets, p), append(o.Required, p)
	}
	slices.SortFunc(o.Targets, artifact.Platform.Compare)
	o.Targets = slices.Compact(o.Targets)
	return o, nil
}

func (a *app) planCommand() *cobra.Command {
	var c choices
	var commit string
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print every output, input and tag of a release",
		Long: `Plan prints what a build of this commit would make, and from what. With --commit it is another commit of this repository, by the
slipway.yaml and slipway.lock that are in it: nothing is checked out, and the work tree may have changes.`,
		Example: "  go run ./ci plan\n  go run ./ci plan --json > plan.json\n  go run ./ci plan --commit v1.2.3",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := c.options()
			if err != nil {
				return err
			}
			load := a.load
			if commit != "" {
				load = func(ctx context.Context) (project, error) { return a.loadAt(ctx, commit) }
			}
			p, err := load(cmd.Context())
			if err != nil {
				return err
			}
			pl, err := p.newPlan(cmd.Context(), o)
			if err != nil {
				return err
			}
			if c.json {
				b, err := pl.Encode()
				if err != nil {
					return err
				}
				_, err = a.stdout.Write(b)
				return err
			}
			return pl.Table(a.stdout, p.config.Places(pl.Repositories()))
		},
	}
	c.planFlags(cmd)
	cmd.Flags().StringVar(&commit, "commit", "", "plan another `commit`, by its name, a tag or a branch (default what is checked out)")
	return cmd
}

func (a *app) buildCommand() *cobra.Command {
	var c choices
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the release of this commit into dist/",
		Long: `Build compiles, packs and assembles everything that the plan says, and writes dist/ with release.json and
SHA256SUMS. A dist/ that already is this release is left as it is, after every byte was checked.`,
		Example: "  go run ./ci build --standalone --targets host\n  go run ./ci build --engine dagger\n  go run ./ci build --targets linux/amd64,darwin/arm64",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.build(cmd.Context(), &c) },
	}
	c.planFlags(cmd)
	c.engineFlags(cmd)
	cmd.Flags().StringVar(&c.out, "out", "", "`folder` of the result (default dist beside slipway.yaml)")
	cmd.Flags().BoolVar(&c.force, "force", false, "build even if dist/ already is this release")
	return cmd
}

func (a *app) build(ctx context.Context, c *choices) (err error) {
	start := time.Now()
	o, err := c.options()
	if err != nil {
		return err
	}
	if _, err := a.configFile(); err != nil { // before the display is there: it may have something to say
		return err
	}
	display, err := a.display(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, display.Close()) }()
	tracker := progress.NewTracker(display, nil)

	var p project
	var pl plan.Plan
	err = tracker.Run("plan", "source", func() (string, error) {
		if p, err = a.load(ctx); err != nil {
			return "", err
		}
		pl, err = p.newPlan(ctx, o)
		return fmt.Sprintf("%s %s", pl.Name, pl.Version), err
	})
	if err != nil {
		return err
	}
	if c.out == "" {
		c.out = distOf(p.source.Root, p.file)
	}
	store, err := a.store(p.config)
	if err != nil {
		return err
	}
	components, err := a.components(p)
	if err != nil {
		return err
	}
	tool, err := toolDigest()
	if err != nil {
		return err
	}
	var bases oci.Bases = store
	if o.StandIn {
		bases = oci.StandIns{}
	}
	display.SetTotal(steps(pl))
	result, err := build.Build(ctx, build.Options{
		Plan: pl,
		Tree: p.source,
		Engine: func(ctx context.Context, log io.Writer) (engine.Engine, func() error, error) {
			return a.openEngine(ctx, c, pl.Toolchain, log, tracker)
		},
		Bases:  bases,
		Client: http.DefaultClient,

		Components: components,

		Out:     c.out,
		Jobs:    int(c.jobs),
		Force:   c.force || c.noCache,
		Tool:    string(tool),
		Tracker: tracker,

		Config:    configPath(p),
		Generator: generator(ctx, p),
		Usage: func() report.Totals {
			totals := usage()
			totals.Start = start
			return totals
		},
	})
	if err != nil {
		return err
	}
	if github, ok := display.(*progress.GitHub); ok {
		github.AddArtifacts(artifacts(result.Release)...)
	}
	if err := display.Close(); err != nil {
		return err
	}
	return a.printResult(c, result, time.Since(start))
}

// artifacts are what the summary of a CI run lists.
func artifacts(r manifest.Release) []progress.Artifact {
	byPath := map[string]artifact.File{}
	for _, f := range r.Files {
		byPath[f.Path] = f
	}
	var out []progress.Artifact
	file := func(path string) {
		f := byPath[path]
		out = append(out, progress.Artifact{Name: filepath.Base(path), Detail: artifact.FormatSize(f.Size), Digest: string(f.Digest)})
	}
	for _, a := range r.Archives {
		file(a.Path)
	}
	for _, im := range r.Images {
		out = append(out, progress.Artifact{
			Name: im.Repository + ":" + im.Tags[0], Detail: count(len(im.Platforms), "platform", "platforms"), Digest: string(im.Digest),
		})
	}
	for _, c := range r.Charts {
		file(c.Path)
	}
	for _, p := range r.Packages {
		file(p.Path)
	}
	for _, rec := range r.Recipes {
		file(rec.Path)
	}
	return out
}

// steps is how many steps a build of the plan has.
func steps(p plan.Plan) int {
	bases := map[plan.Base]bool{}
	for _, im := range p.Images {
		if !im.Base.StandIn {
			bases[im.Base] = true
		}
	}
	n := 5 + min(1, len(p.Binaries)) + len(p.Binaries) + len(p.Archives) + len(bases) + len(p.Images) + len(p.Charts)
	for _, pkg := range p.Packages {
		n += len(pkg.Carriers) + len(pkg.Recipes)
	}
	return n
}

// printResult says what is in dist/ now.
func (a *app) printResult(c *choices, r build.Result, took time.Duration) error {
	rel := r.Release
	sums, _, err := artifact.SumFile(filepath.Join(c.out, manifest.ChecksumsName))
	if err != nil {
		return err
	}
	if c.json {
		enc := json.NewEncoder(a.stdout)
		return enc.Encode(struct {
			Dir           string          `json:"dir"`
			Name          string          `json:"name"`
			Version       string          `json:"version"`
			Commit        string          `json:"commit"`
			Checksums     artifact.Digest `json:"checksums"` // of SHA256SUMS: equal for equal releases
			Unpublishable []string        `json:"unpublishable,omitempty"`
			Cached        bool            `json:"cached"`
		}{c.out, rel.Name, rel.Version.String(), rel.Commit, sums, rel.Unpublishable, r.Cached})
	}
	verb := fmt.Sprintf("built in %s", took.Round(100*time.Millisecond))
	if r.Cached {
		verb = fmt.Sprintf("is this release already, every byte checked in %s", took.Round(10*time.Millisecond))
	}
	parts := []string{
		count(len(rel.Binaries), "binary", "binaries"), count(len(rel.Archives), "archive", "archives"),
		count(len(rel.Images), "image", "images"), count(len(rel.Charts), "chart", "charts"),
	}
	packages := map[string]bool{}
	for _, p := range rel.Packages {
		packages[p.Path] = true
	}
	for _, r := range rel.Recipes { // winget requires several files for one
		packages[r.Format+" "+r.Name] = true
	}
	if n := len(packages); n > 0 {
		parts = append(parts, count(n, "package", "packages"))
	}
	fmt.Fprintf(a.stdout, "%s %s: %s\n%s: %s\nSHA256SUMS %s\n", rel.Name, rel.Version, strings.Join(parts, ", "), display(c.out), verb, sums)
	for _, why := range rel.Unpublishable {
		fmt.Fprintf(a.stdout, "not for publishing: %s\n", why)
	}
	return nil
}

// display is a path as seen from here, where that is shorter.
func display(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return path
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// toolDigest identifies this program.
func toolDigest() (artifact.Digest, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	d, _, err := artifact.SumFile(exe)
	return d, err
}

// configPath is where the configuration lies in the tree; its name alone where it lies elsewhere.
func configPath(p project) string {
	return cmp.Or(inTree(p.source.Root, p.file), filepath.Base(p.file))
}

// self is the module of this program.
const self = "github.com/slipway-build/slipway"

// generator is the version of Slipway, for what a release says of how it was made. It depends on the go.mod that
// Slipway is a requirement of, or on the version that was asked for, and never on whether the program was built or run,
// in a clone or not. In its own repository Slipway builds itself, so its version is that of the release.
func generator(ctx context.Context, p project) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if mod, err := p.source.Blob(ctx, "go.mod", maxText); err == nil && modfile.ModulePath(mod) == self {
		return p.source.Version.String()
	}
	stamped := slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "vcs" })
	if v := moduleVersion(info); v != "" && v != "(devel)" && (info.Main.Path != self || !stamped) {
		return strings.TrimPrefix(v, "v")
	}
	return "devel"
}

// toolVersion is the version of Slipway that runs, as its module is known here; "" where it is not.
func toolVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return moduleVersion(info)
}

func moduleVersion(info *debug.BuildInfo) string {
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == self {
			return m.Version
		}
	}
	return ""
}

// store is where bases come from.
func (a *app) store(c config.Config) (*oci.Store, error) {
	cache, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	return &oci.Store{Dir: filepath.Join(cache, "blobs"), Mirrors: c.Mirrors, Mirror: a.getenv("SLIPWAY_MIRROR")}, nil
}

// components are where the releases of a platform's components come from: the places that platform.yaml names, of which folders are
// beside it, and the cache that bases are in, too.
func (a *app) components(p project) (*supply.Store, error) {
	cache, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(p.source.Root, filepath.FromSlash(path.Dir(path.Clean(p.config.Platform))))
	return &supply.Store{Cache: filepath.Join(cache, "blobs"), Dir: dir, Getenv: a.getenv}, nil
}

// openEngine starts the engine that the flags ask for.
func (a *app) openEngine(ctx context.Context, c *choices, tc plan.Toolchain, log io.Writer, tracker *progress.Tracker) (engine.Engine, func() error, error) {
	kind := c.engine
	if kind == "auto" {
		var why string
		kind, why = a.autoEngine(ctx)
		tracker.Note(fmt.Sprintf("engine %s: %s", kind, why))
	}
	cache, err := a.cacheDir()
	if err != nil {
		return nil, nil, err
	}
	switch kind {
	case "host":
		o := host.Options{Go: tc.Version, Environ: a.environ, Log: log}
		end := func() error { return nil }
		if c.noCache {
			if err := os.MkdirAll(cache, 0o755); err != nil {
				return nil, nil, err
			}
			build.RemoveStale(cache, "cold-")
			if o.Cache, err = os.MkdirTemp(cache, fmt.Sprintf("cold-%d-*", os.Getpid())); err != nil {
				return nil, nil, err
			}
			end = func() error { return os.RemoveAll(o.Cache) }
		}
		e, err := host.New(ctx, o)
		if err != nil {
			return nil, nil, errors.Join(err, end())
		}
		return e, func() error { return errors.Join(e.Close(), end()) }, nil
	case "dagger":
		e, err := dagger.New(ctx, dagger.Options{
			Toolchain: tc, Environ: a.environ, Cache: filepath.Join(cache, "toolchains"),
			Cold: c.noCache, Jobs: int(c.jobs), Log: log,
		})
		if err == nil {
			return e, e.Close, nil
		}
		if c.engine != "auto" || a.getenv(runnerHost) != "" || fault.CodeOf(err) != fault.Transient || ctx.Err() != nil {
			return nil, nil, err
		}
		// A container runtime is there and the SDK cannot bring its engine to it; the host gives the same bytes.
		tracker.Note("engine host: " + err.Error())
		byHost := *c
		byHost.engine = "host"
		return a.openEngine(ctx, &byHost, tc, log, tracker)
	}
	return nil, nil, fault.Errorf(fault.Bug, "there is no engine %q", kind)
}

// runnerHost is where the SDK looks for an engine that runs already.
const runnerHost = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"

// autoEngine is Dagger wherever one answers or can be started, else the host, and why.
func (a *app) autoEngine(ctx context.Context) (kind, why string) {
	if at := a.getenv(runnerHost); at != "" {
		return "dagger", runnerHost + " names one at " + at
	}
	if runtimeName := containerRuntime(ctx, a.environ); runtimeName != "" {
		return "dagger", runtimeName + " answers, so the SDK can start one"
	}
	return "host", "no container runtime answers and " + runnerHost + " is not set"
}

// containerRuntime is the first of the runtimes that the SDK can use whose server answers.
func containerRuntime(ctx context.Context, environ []string) string {
	for _, name := range []string{"docker", "podman", "nerdctl"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		cmd := exec.CommandContext(ctx, path, "info", "--format", "{{json .}}")
		cmd.Env = gocommand.Runtime(environ)
		cmd.WaitDelay = time.Second
		err = cmd.Run()
		cancel()
		if err == nil {
			return name
		}
	}
	return ""
}

func (a *app) testCommand() *cobra.Command {
	var c choices
	cmd := &cobra.Command{
		Use:     "test",
		Short:   "Run the project's tests in the engine, on a clean tree",
		Example: "  go run ./ci test --engine host",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			p, err := a.load(ctx)
			if err != nil {
				return err
			}
			if p.lock.Go.Version == "" {
				return fault.Errorf(fault.Usage, "the project has no binaries, so no Go release is locked to run tests with; name one as go in %s and run the lock command", config.FileName)
			}
			if _, err := p.newPlan(ctx, plan.Options{StandIn: true}); err != nil {
				return err
			}
			tc := plan.Toolchain{Version: p.lock.Go.Version, Sums: p.lock.Go.Sums} // of the tests, also where nothing is compiled
			return a.withTree(ctx, p.source, nil, func(tree string) (err error) {
				e, end, err := a.openEngine(ctx, &c, tc, io.Discard, progress.NewTracker(nil, nil))
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, end()) }()
				return e.Test(ctx, tree, plan.NewTest(p.config.Test), a.stdout)
			})
		},
	}
	c.engineFlags(cmd)
	return cmd
}

// withTree calls f with a clean copy of the commit's tree, or of what keep picks of it; see source.ExportSome.
func (a *app) withTree(ctx context.Context, src source.Source, keep func(string) bool, f func(tree string) error) (err error) {
	dir, err := os.MkdirTemp("", "slipway-tree-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := src.ExportSome(ctx, dir, keep); err != nil {
		return err
	}
	return f(dir)
}
