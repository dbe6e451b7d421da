package reproduce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// passed are the variables of the environment that the build sees, with the reason.
var passed = []string{
	"PATH",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", // the way out of this network
	"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
	"SLIPWAY_MIRROR",                                              // where bases are when they are gone elsewhere
	"SYSTEMROOT", "PATHEXT", "APPDATA", "LOCALAPPDATA", "COMSPEC", // Windows cannot start a program without them
}

// moduleEnv is how modules are fetched. What is fetched is held to go.sum, so none of this changes a byte.
var moduleEnv = []string{"GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GOINSECURE", "GOAUTH"}

// engineEnv is how the SDK of Dagger finds its engine.
var engineEnv = []string{"_EXPERIMENTAL_DAGGER_", "DAGGER_", "DOCKER_HOST", "CONTAINER_HOST", "XDG_RUNTIME_DIR"}

// rebuild runs the pipeline of the commit and returns the folder that it wrote.
func (r *run) rebuild(ctx context.Context, p published, src string, vary []Variation) (string, bool) {
	const kind = "build"
	out := filepath.Join(r.work, "dist")
	flags, err := r.flags(p, src, out)
	if err != nil {
		r.report.row(Skip, kind, p.rel.Name+" "+p.rel.Version.String(), "%s", oneLine(err))
		return "", false
	}
	where, varied := differ(vary, r.work, r.o.environ, r.online(p))
	started := r.o.Now()
	err = r.pipeline(ctx, src, where, varied, flags)
	r.report.Variations = varied
	r.report.Build = r.o.Now().Sub(started).Round(time.Millisecond).Seconds()
	if ctx.Err() != nil {
		return "", false
	}
	if err != nil {
		r.report.row(Skip, kind, p.rel.Commit, "%s", oneLine(err))
		return "", false
	}
	// A pipeline that ends well and has written something else than it says has built nothing that could be compared.
	whole, err := verify.Dist(ctx, out, verify.Options{AllowUnpublishable: true, AllowUnsigned: true, HashesOnly: true})
	if err != nil {
		for _, row := range whole.Rows {
			if row.Verdict != verify.Pass {
				err = fmt.Errorf("%s: %s", row.Path, row.Detail)
				break
			}
		}
		r.report.row(Skip, kind, p.rel.Commit, "its pipeline ended well, and what it wrote is no whole release: %s", oneLine(err))
		return "", false
	}
	r.report.row(Pass, kind, p.rel.Commit, "its own pipeline built it with the %s engine", r.report.Engine)
	return out, true
}

// online tells whether the pipeline itself still has to fetch something over TLS: compilers are run by the Go command.
func (r *run) online(p published) bool {
	if r.o.Bundle != "" {
		return false
	}
	return r.mayBeDagger() || slices.ContainsFunc(p.rel.Inputs, func(in artifact.Input) bool {
		return in.Kind == "base" || in.Kind == "chart"
	})
}

// mayBeDagger tells whether the pipeline would compile in a Dagger engine: where it is told to, or finds one.
func (r *run) mayBeDagger() bool {
	switch r.o.Engine {
	case "host":
		return false
	case "dagger":
		return true
	}
	if r.o.environ("_EXPERIMENTAL_DAGGER_RUNNER_HOST") != "" {
		return true
	}
	return slices.ContainsFunc([]string{"docker", "podman", "nerdctl"}, func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	})
}

// flags are what the build command of the commit's pipeline is told. They are as few as can be, since every pipeline that
// was ever released must know them.
func (r *run) flags(p published, src, out string) ([]string, error) {
	flags := []string{"build", "--progress", "plain", "--out", out}
	if p.rel.Tag != "" {
		flags = append(flags, "--tag", p.rel.Tag)
	}
	if p.rel.Since != "" {
		flags = append(flags, "--since", p.rel.Since)
	}
	if r.o.Engine != "" && r.o.Engine != "auto" {
		flags = append(flags, "--engine", r.o.Engine)
	}
	if config := p.config(); config != "" {
		flags = append(flags, "--config", filepath.Join(src, filepath.FromSlash(config)))
	}
	if r.mayBeDagger() || !r.varied("cache") {
		// The engine's caches are its own, and so are those of the user: only this makes them cold.
		flags = append(flags, "--no-cache")
	}
	for _, why := range p.rel.Unpublishable {
		switch {
		case strings.Contains(why, "stand-in bases"):
			flags = append(flags, "--bases", "stand-in")
		case strings.Contains(why, "narrowed"):
			var targets []string
			for _, b := range p.rel.Binaries {
				if !slices.Contains(targets, b.Platform.String()) {
					targets = append(targets, b.Platform.String())
				}
			}
			flags = append(flags, "--targets", strings.Join(targets, ","))
		default:
			return nil, fmt.Errorf("it cannot be built again: %s", why)
		}
	}
	return flags, nil
}

// config is the configuration that the release was made by, as its provenance says, where it is not the usual one.
func (p published) config() string {
	if p.rel.Provenance == "" {
		return ""
	}
	b, err := readRegular(p.dir, p.rel.Provenance, 32<<20)
	if err != nil || artifact.Sum(b) != p.seen[p.rel.Provenance] {
		return ""
	}
	d, err := provenance.Parse(b)
	if err != nil {
		return ""
	}
	config := d.Predicate.Definition.External.Config
	if config == "slipway.yaml" || !filepath.IsLocal(filepath.FromSlash(config)) {
		return ""
	}
	return config
}

// pipeline compiles the commit's pipeline, as its own go.mod pins it, and runs it.
func (r *run) pipeline(ctx context.Context, src string, where place, vary []Variation, flags []string) error {
	dir, pkg, own, err := findPipeline(src, r.p.config(), r.o.Pipeline)
	if err != nil {
		return err
	}
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return errors.New("there is no Go command on PATH; install Go from https://go.dev/dl")
	}
	env, err := r.env(ctx, goCommand, where, own)
	if err != nil {
		return err
	}
	for _, d := range []string{where.cache, filepath.Join(r.work, "tmp"), where.home} {
		if d != "" {
			if err := os.MkdirAll(d, 0o700); err != nil {
				return err
			}
		}
	}
	if err := r.seed(where.cache); err != nil {
		return err
	}
	c := child{dir: dir, env: env, log: r.o.Log}
	if r.toolchain, err = r.pinned(ctx, goCommand, c); err != nil {
		return err
	}
	c.env = append(slices.Clone(c.env), "GOTOOLCHAIN="+r.toolchain)

	if locked := lockedGo(r.p.rel); locked != "" && "go"+locked != r.toolchain {
		// Pipelines up to 0.1 take what the Go command says while it fetches a release for a part of its name.
		first := c
		first.env = append(slices.Clone(c.env), "GOTOOLCHAIN=go"+locked)
		if _, err := first.output(ctx, goCommand, "version"); err != nil {
			return fmt.Errorf("getting Go %s: %w", locked, err)
		}
	}
	settings, err := c.output(ctx, goCommand, "env", "-json", "GOROOT", "GOVERSION")
	if err != nil {
		return fmt.Errorf("getting the Go release of the pipeline: %w", err)
	}
	var release struct{ GOROOT, GOVERSION string }
	if err := json.Unmarshal(settings, &release); err != nil {
		return fmt.Errorf("asking Go for its release: %w", err)
	}
	tool := filepath.Join(r.work, "pipeline")
	if runtime.GOOS == "windows" {
		tool += ".exe"
	}
	// Without the paths in it what is compiled for one rebuild serves another, where the cache is not to be an empty one.
	build := []string{"build", "-buildvcs=false", "-trimpath", "-o", tool}
	if where.clock != 0 {
		file, err := overlay(r.work, release.GOROOT, where.clock)
		switch {
		case errors.Is(err, errClock):
			i := slices.IndexFunc(vary, func(v Variation) bool { return v.Name == "clock" })
			vary[i].Is = err.Error()
		case err != nil:
			return err
		default:
			build = append(build, "-overlay", file)
		}
	}
	r.o.Step("compiling the pipeline of the commit")
	if err := c.run(ctx, where.umask, goCommand, append(build, pkg)...); err != nil {
		return fmt.Errorf("compiling the pipeline of the commit: %w", err)
	}
	r.o.Step("building")
	said := &listener{}
	c.dir, c.log = src, io.MultiWriter(r.o.Log, said)
	if err := c.run(ctx, where.umask, tool, flags...); err != nil {
		return fmt.Errorf("building: %w", err)
	}
	if r.report.Engine = said.engine; r.report.Engine == "" {
		r.report.Engine = r.o.Engine
	}
	r.report.Host = runtime.GOOS + "/" + runtime.GOARCH
	return nil
}

// lockedGo is the Go release that compiles a release, by its inputs; "" where they do not say.
func lockedGo(m manifest.Release) string {
	for _, in := range m.Inputs {
		if _, at, ok := strings.Cut(in.Name, "@v0.0.1-go"); in.Kind == "toolchain" && ok {
			if i := strings.LastIndex(at, "."); i > 0 {
				return at[:i]
			}
		}
	}
	return ""
}

// pinned is the toolchain that the commit pins its pipeline to: by the toolchain line of the pipeline's go.mod, else by the
// lock, whose release compiles everything else, else by the go line.
func (r *run) pinned(ctx context.Context, goCommand string, c child) (string, error) {
	// Reading go.mod takes no release in particular, and the one that is here may be too old for the pipeline.
	c.env = append(slices.Clone(c.env), "GOTOOLCHAIN=local")
	out, err := c.output(ctx, goCommand, "mod", "edit", "-json")
	if err != nil {
		return "", fmt.Errorf("reading go.mod of the pipeline: %w", err)
	}
	var mod struct{ Go, Toolchain string }
	if err := json.Unmarshal(out, &mod); err != nil {
		return "", fmt.Errorf("reading go.mod of the pipeline: %w", err)
	}
	line := "go" + mod.Go
	if mod.Toolchain != "" && mod.Toolchain != "default" && version.Compare(mod.Toolchain, line) >= 0 {
		return mod.Toolchain, nil
	}
	if locked := lockedGo(r.p.rel); locked != "" && version.Compare("go"+locked, line) >= 0 {
		return "go" + locked, nil
	}
	if strings.Count(line, ".") < 2 { // a language version, of which there is no release but the first
		line += ".0"
	}
	return line, nil
}

// findPipeline finds the package of the pipeline in a tree, and whether it is a module of its own. It returns the folder to
// compile it in and its name there. Of several the nearest to the configuration counts, as whose release it is does.
func findPipeline(src, config, named string) (dir, pkg string, own bool, err error) {
	var names []string
	for at := path.Dir(config); ; at = path.Dir(at) {
		names = append(names, path.Join(at, "ci"), path.Join(at, "slipway-ci"))
		if at == "." {
			break
		}
	}
	if named != "" {
		if names = []string{named}; !filepath.IsLocal(named) {
			return "", "", false, fault.Errorf(fault.Usage, "--pipeline %.200q is no folder of the repository", named)
		}
	}
	for _, n := range names {
		at := filepath.Join(src, n)
		files, err := filepath.Glob(filepath.Join(at, "*.go"))
		if err != nil || named == "" && !slices.ContainsFunc(files, callsPipeline) {
			continue // a program of the project's own
		}
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, ".", true, nil
		}
		return src, "./" + filepath.ToSlash(n), false, nil
	}
	return "", "", false, fmt.Errorf("the commit has no pipeline in %s; name its folder with --pipeline", strings.Join(names, " or "))
}

func callsPipeline(name string) bool {
	b, err := readBounded(name, 1<<20)
	return err == nil && bytes.Contains(b, []byte("/pipeline/cli"))
}

// env is all that the build sees of this machine.
func (r *run) env(ctx context.Context, goCommand string, where place, own bool) ([]string, error) {
	names := slices.Concat(passed, r.o.Pass)
	var env []string
	for _, kv := range r.o.Environ {
		name, _, _ := strings.Cut(kv, "=")
		keep := slices.ContainsFunc(names, func(n string) bool { return n == name || runtime.GOOS == "windows" && strings.EqualFold(n, name) })
		if !keep && r.o.Engine != "host" {
			keep = slices.ContainsFunc(engineEnv, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		}
		if keep {
			env = append(env, kv)
		}
	}
	ask := exec.CommandContext(ctx, goCommand, append([]string{"env", "-json", "GOCACHE", "GOMODCACHE"}, moduleEnv...)...)
	ask.Dir, ask.Env = r.work, append(slices.Clone(r.o.Environ), "GOTOOLCHAIN=local", "GOWORK=off")
	out, err := ask.Output()
	if err != nil {
		return nil, fmt.Errorf("asking Go for its settings: %w", err)
	}
	settings := map[string]string{}
	if err := json.Unmarshal(out, &settings); err != nil {
		return nil, fmt.Errorf("asking Go for its settings: %w", err)
	}
	goCache, modules := settings["GOCACHE"], settings["GOMODCACHE"]
	if where.goCache != "" {
		goCache = where.goCache
	}
	if where.modules != "" {
		// What was downloaded before need not be downloaded again: it is unpacked anew and held to go.sum.
		modules = where.modules
		settings["GOPROXY"] = fileURL(filepath.Join(settings["GOMODCACHE"], "cache", "download")) + "," + settings["GOPROXY"]
	}
	if r.o.Bundle != "" {
		settings["GOPROXY"] = fileURL(filepath.Join(r.o.Bundle, bundledModules))
		// The checksum database was asked when the bundle was made, and its answers are in it. A later state of it, which
		// the user's Go may know of, could not be proved to follow from that.
		env = append(env, "GOPATH="+filepath.Join(r.work, "gopath"))
	}
	for _, name := range moduleEnv {
		env = append(env, name+"="+settings[name])
	}
	home := r.o.environ("HOME")
	for _, credential := range []struct{ name, file string }{
		{"DOCKER_CONFIG", ".docker"}, {"NETRC", ".netrc"}, // both are looked for below a home that is not there now
	} {
		value := r.o.environ(credential.name)
		if value == "" && home != "" {
			value = filepath.Join(home, credential.file)
		}
		if _, err := os.Stat(value); value != "" && err == nil {
			env = append(env, credential.name+"="+value)
		}
	}
	tmp := filepath.Join(r.work, "tmp")
	env = append(env,
		"HOME="+where.home, "USERPROFILE="+where.home, "SLIPWAY_CACHE="+where.cache,
		"TMPDIR="+tmp, "TMP="+tmp, "TEMP="+tmp, "TZ="+where.zone, "LC_ALL="+where.locale,
		"GOCACHE="+goCache, "GOMODCACHE="+modules, "GOFLAGS=-modcacherw", "GOENV=off",
	)
	if !slices.Contains(r.o.Pass, "GIT_CONFIG_COUNT") {
		// A clone of another user's repository is no reason to refuse it: its commit is what was asked for.
		env = append(env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	}
	if own {
		env = append(env, "GOWORK=off")
	}
	if where.cpus != 0 {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(where.cpus))
	}
	return env, nil
}

// fileURL is a folder as GOPROXY wants it.
func fileURL(dir string) string {
	dir = filepath.ToSlash(dir)
	if !strings.HasPrefix(dir, "/") {
		dir = "/" + dir
	}
	// A comma or a bar would end the address there.
	return strings.NewReplacer(",", "%2C", "|", "%7C").Replace((&url.URL{Scheme: "file", Path: dir}).String())
}

// child runs the programs of a commit.
type child struct {
	dir string
	env []string
	log io.Writer
}

// run runs a program to its end. Where it fails, the error has its exit code and its last words.
func (c child) run(ctx context.Context, umask, name string, args ...string) error {
	if umask != "" {
		// Nothing else sets it for one process alone.
		args = append([]string{"-c", "umask " + umask + `; exec "$0" "$@"`, name}, args...)
		name = "sh"
	}
	last := &tail{}
	cmd := c.command(ctx, name, args...)
	w := io.MultiWriter(c.log, last)
	cmd.Stdout, cmd.Stderr = w, w
	defer endGroup(cmd)
	// What a program leaves running behind it is no failure of its own.
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return childError{err, last.words()}
	}
	return nil
}

func (c child) output(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := c.command(ctx, name, args...)
	last := &tail{}
	cmd.Stderr = io.MultiWriter(c.log, last)
	out, err := cmd.Output()
	if err != nil {
		return nil, childError{err, last.words()}
	}
	return out, nil
}

func (c child) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.dir
	cmd.Env = append(slices.Clone(c.env), "PWD="+c.dir)
	// A pipeline that is interrupted ends its engine; one that is killed leaves it.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	ownGroup(cmd)
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// childError is a program that did not succeed, with what it said in the end.
type childError struct {
	err  error
	said string
}

func (e childError) Error() string {
	if e.said == "" {
		return e.err.Error()
	}
	return e.err.Error() + ": " + e.said
}

func (e childError) Unwrap() error { return e.err }

// listener hears which engine a pipeline chose: its step says "host on linux/amd64 with go1.26.8".
type listener struct {
	line   []byte
	engine string
}

var engineLine = regexp.MustCompile(`\b([a-z]+) on [a-z0-9]+/[a-z0-9]+ with go`)

func (l *listener) Write(b []byte) (int, error) {
	const longest = 4 << 10
	for _, c := range b {
		if c != '\n' {
			if len(l.line) < longest {
				l.line = append(l.line, c)
			}
			continue
		}
		if m := engineLine.FindSubmatch(l.line); m != nil && l.engine == "" {
			l.engine = string(m[1])
		}
		l.line = l.line[:0]
	}
	return len(b), nil
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	const keep = 8 << 10
	t.b = append(t.b, b[max(0, len(b)-keep):]...)
	t.b = t.b[max(0, len(t.b)-keep):]
	return len(b), nil
}

// words are the complaints among the last lines: those of a pipeline begin with its name.
func (t *tail) words() string {
	var all, own []string
	for line := range strings.SplitSeq(string(t.b), "\n") {
		line = strings.TrimSpace(strings.ToValidUTF8(line, "?"))
		if line == "" {
			continue
		}
		all = append(all, line)
		if text, ok := strings.CutPrefix(line, "slipway: "); ok {
			own = append(own, text)
		}
	}
	const lines = 4
	if len(own) > 0 {
		return strings.Join(own[:min(len(own), 2*lines)], "; ")
	}
	return strings.Join(all[max(0, len(all)-lines):], "; ")
}
