// Package rerun runs a commit's own pipeline: it compiles the pipeline as the commit's go.mod pins it, and runs it where and how
// its caller says, with as little of this machine as a build can do with. What was released years ago is built again this
// way by the program of its own time; between the two stand the build command and its flags.
package rerun

import (
	"bytes"
	"cmp"
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

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/gocommand"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Options say which pipeline is run, where, and with what of this machine.
type Options struct {
	Source   string // the top folder of a clone, with the commit checked out
	Config   string // path of the configuration that is released by, slash-separated in Source; "" for slipway.yaml
	Pipeline string // folder of the pipeline in Source; "" finds it
	Work     string // folder for what is compiled and what is temporary
	Place    Place
	// Environ is the environment, as of os.Environ, and Pass the names of variables in it that the build sees besides the few that
	// it always does.
	Environ, Pass []string
	Engine        string // host, dagger or auto; "" is auto
	// Go is the release of Go that compiled what was released, such as 1.26.8; "" where nothing says so. It compiles the pipeline, too,
	// where that does not name one.
	Go string
	// Modules is a folder that a module proxy could serve, from which alone modules and toolchains come; "" for where this
	// machine has them from.
	Modules string
	// Prepare is called once the folders of Place are there, and before anything is run; nil does nothing.
	Prepare func() error
	// Overlay makes files of the standard library, which is below goroot, other ones in the pipeline: it names a file for the
	// flag -overlay of the Go command, "" for none. Nil is none.
	Overlay func(goroot string) (file string, err error)
	Log     io.Writer    // gets what the build says
	Step    func(string) // is called with what is done now
}

// Place is where and how a pipeline runs.
type Place struct {
	Home    string // with everything that a user has
	Cache   string // SLIPWAY_CACHE
	GoCache string // "" for the user's own
	Modules string // "" for the user's own
	Zone    string // TZ
	Locale  string // LC_ALL
	Umask   string // "" leaves it
	CPUs    int    // 0 leaves it
}

// Result is what a pipeline was run with.
type Result struct {
	Toolchain string // that the pipeline was compiled with, such as go1.26.8
	Engine    string // that it said it chose, else the one of the options
}

// passed are the variables of the environment that the build sees, with the reason.
var passed = []string{
	"PATH",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", // the way out of this network
	"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
	"SLIPWAY_MIRROR",                                              // where bases are when they are gone elsewhere
	"SYSTEMROOT", "PATHEXT", "APPDATA", "LOCALAPPDATA", "COMSPEC", // Windows cannot start a program without them
}

// compiled are the variables besides the system's that decide how the pipeline is compiled, or where; some of them where they are passed.
var compiled = []string{
	"GOTOOLCHAIN", "GOWORK", "GOFLAGS", "GOENV", "GOCACHE", "GOMODCACHE", "TZ", "LC_ALL", "CGO_ENABLED", "CC", "CXX", "PKG_CONFIG", "PKG_CONFIG_PATH",
	"CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_LDFLAGS",
	"GOSUMDB", // by which the Go command checks a release of its own whenever it becomes that
}

// engineEnv is how the SDK of Dagger finds its engine.
var engineEnv = []string{"_EXPERIMENTAL_DAGGER_", "DAGGER_", "DOCKER_HOST", "CONTAINER_HOST", "XDG_RUNTIME_DIR"}

// pipeline is the pipeline of a commit.
type pipeline struct {
	o         Options
	dir, pkg  string // the folder that it is compiled in, and its name there
	goCommand string
	env       []string
}

// Run compiles the pipeline of the commit and runs it with the flags, the command first. The result is right as far as it got.
func Run(ctx context.Context, o Options, flags []string) (Result, error) {
	var result Result
	p, err := o.open(ctx)
	if err != nil {
		return result, err
	}
	if result.Toolchain, err = p.toolchain(ctx); err != nil {
		return result, err
	}
	tool, err := p.compile(ctx)
	if err != nil {
		return result, err
	}
	o.Step("building")
	said := &listener{}
	c := p.in(o.Source)
	c.log = io.MultiWriter(o.Log, said)
	if err := c.run(ctx, o.Place.Umask, tool, flags...); err != nil {
		return result, fmt.Errorf("building: %w", err)
	}
	result.Engine = cmp.Or(said.engine, o.Engine)
	return result, nil
}

// open finds the pipeline and makes the folders that it runs in.
func (o Options) open(ctx context.Context) (*pipeline, error) {
	dir, pkg, own, err := findPipeline(o.Source, o.Config, o.Pipeline)
	if err != nil {
		return nil, err
	}
	p := &pipeline{o: o, dir: dir, pkg: pkg}
	if p.goCommand, err = findGo(); err != nil {
		return nil, err
	}
	if p.env, err = o.env(ctx, p.goCommand); err != nil {
		return nil, err
	}
	if own {
		p.env = append(p.env, "GOWORK=off")
	}
	for _, d := range []string{o.Place.Cache, filepath.Join(o.Work, "tmp"), o.Place.Home} {
		if d != "" {
			if err := os.MkdirAll(d, 0o700); err != nil {
				return nil, err
			}
		}
	}
	if o.Prepare != nil {
		return p, o.Prepare()
	}
	return p, nil
}

func findGo() (string, error) {
	name, err := exec.LookPath("go")
	if err != nil {
		return "", errors.New("there is no Go command on PATH; install Go from https://go.dev/dl")
	}
	return name, nil
}

// in runs programs in a folder, with more in their environment.
func (p *pipeline) in(dir string, more ...string) child {
	return child{dir: dir, env: slices.Concat(p.env, more), log: p.o.Log}
}

// compiling runs programs in the folder that the pipeline is compiled in, with what a compiler may see: nothing that opens anything.
func (p *pipeline) compiling(more ...string) child {
	env := append(gocommand.Home(filepath.Join(p.o.Work, "home")), "GOPROXY=off") // empty, whether the build is to have the user's or not
	seen := slices.DeleteFunc(gocommand.Only(p.env, compiled), func(kv string) bool {
		name, value, _ := strings.Cut(kv, "=")
		return name == "GOSUMDB" && gocommand.IsSecret(name, value)
	})
	return child{dir: p.dir, env: slices.Concat(gocommand.Environ(p.env), seen, env, more), log: p.o.Log}
}

// toolchain is the release of Go that the commit pins its pipeline to, which is used from here on.
func (p *pipeline) toolchain(ctx context.Context) (string, error) {
	name, err := p.pinned(ctx)
	if err != nil {
		return "", err
	}
	p.env = append(p.env, "GOTOOLCHAIN="+name)
	if p.o.Go != "" && "go"+p.o.Go != name {
		// Pipelines up to 0.1 take what the Go command says while it fetches a release for a part of its name.
		if _, err := p.in(p.dir, "GOTOOLCHAIN=go"+p.o.Go).output(ctx, p.goCommand, "version"); err != nil {
			return name, fmt.Errorf("getting Go %s: %w", p.o.Go, err)
		}
	}
	return name, nil
}

// compile compiles the pipeline.
func (p *pipeline) compile(ctx context.Context) (tool string, err error) {
	settings, err := p.in(p.dir).output(ctx, p.goCommand, "env", "-json", "GOROOT", "GOVERSION")
	if err != nil {
		return "", fmt.Errorf("getting the Go release of the pipeline: %w", err)
	}
	var release struct{ GOROOT, GOVERSION string }
	if err := json.Unmarshal(settings, &release); err != nil {
		return "", fmt.Errorf("asking Go for its release: %w", err)
	}
	tool = filepath.Join(p.o.Work, "pipeline")
	if runtime.GOOS == "windows" {
		tool += ".exe"
	}
	// Without the paths in it what is compiled for one run serves another, where the cache is not to be an empty one.
	flags := []string{"-buildvcs=false", "-trimpath"}
	if p.o.Overlay != nil {
		file, err := p.o.Overlay(release.GOROOT)
		if err != nil {
			return "", err
		}
		if file != "" {
			flags = append(flags, "-overlay", file)
		}
	}
	// Without cgo the pipeline shares the compiled standard library of most programs that it builds.
	var env []string
	if !slices.Contains(p.o.Pass, "CGO_ENABLED") {
		env = []string{"CGO_ENABLED=0"}
	}
	p.o.Step("compiling the pipeline of the commit")
	// Modules are fetched with what opens private ones, and by nothing that runs any of them.
	_, err = p.in(p.dir, env...).output(ctx, p.goCommand, slices.Concat([]string{"list", "-deps"}, flags, []string{p.pkg})...)
	if err == nil {
		err = p.compiling(env...).run(ctx, p.o.Place.Umask, p.goCommand, slices.Concat([]string{"build"}, flags, []string{"-o", tool, p.pkg})...)
	}
	if err != nil {
		return "", fmt.Errorf("compiling the pipeline of the commit: %w", err)
	}
	return tool, nil
}

// Download has the Go command fetch modules, such as golang.org/toolchain@v0.0.1-go1.26.8.linux-amd64, into Place.Modules.
func Download(ctx context.Context, o Options, modules ...string) error {
	goCommand, err := findGo()
	if err != nil {
		return err
	}
	env, err := o.env(ctx, goCommand)
	if err != nil {
		return err
	}
	c := child{dir: filepath.Join(o.Work, "tmp"), env: append(env, "GOWORK=off", "GOTOOLCHAIN=local"), log: o.Log}
	return c.run(ctx, "", goCommand, append([]string{"mod", "download"}, modules...)...)
}

// pinned is the toolchain that the commit pins its pipeline to: by the toolchain line of the pipeline's go.mod, else by the
// lock, whose release compiles everything else, else by the go line.
func (p *pipeline) pinned(ctx context.Context) (string, error) {
	// Reading go.mod takes no release in particular, and the one that is here may be too old for the pipeline.
	out, err := p.compiling("GOTOOLCHAIN=local").output(ctx, p.goCommand, "mod", "edit", "-json")
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
	if p.o.Go != "" && version.Compare("go"+p.o.Go, line) >= 0 {
		return "go" + p.o.Go, nil
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
			return "", "", false, fault.Errorf(fault.Usage, "--pipeline %.200q is not a folder of the repository", named)
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
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	b, err := bounded.Head(f, 1<<20)
	return err == nil && bytes.Contains(b, []byte("/pipeline/cli"))
}

// environ is a variable of the environment.
func (o Options) environ(name string) string {
	for _, kv := range slices.Backward(o.Environ) {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// ofMachine are the variables of the environment that the build sees as they are.
func (o Options) ofMachine() []string {
	env := gocommand.Only(o.Environ, passed, o.Pass)
	if o.Engine == "host" {
		return env
	}
	for _, kv := range o.Environ {
		if slices.ContainsFunc(engineEnv, func(prefix string) bool { return strings.HasPrefix(kv, prefix) }) {
			env = append(env, kv)
		}
	}
	return env
}

// credentials say where registries' and modules' credentials are: they are looked for below a home that is not there now.
func (o Options) credentials() []string {
	var env []string
	home := o.environ("HOME")
	for _, credential := range []struct{ name, file string }{
		{"DOCKER_CONFIG", ".docker"}, {"NETRC", ".netrc"},
	} {
		value := o.environ(credential.name)
		if value == "" && home != "" {
			value = filepath.Join(home, credential.file)
		}
		if _, err := os.Stat(value); value != "" && err == nil {
			env = append(env, credential.name+"="+value)
		}
	}
	return env
}

// env is all that the build sees of this machine.
func (o Options) env(ctx context.Context, goCommand string) ([]string, error) {
	env := o.ofMachine()
	settings, err := gocommand.Settings(ctx, goCommand, o.Environ)
	if err != nil {
		return nil, err
	}
	goCache, modules := settings["GOCACHE"], settings["GOMODCACHE"]
	if o.Place.GoCache != "" {
		goCache = o.Place.GoCache
	}
	if o.Place.Modules != "" {
		// What was downloaded before need not be downloaded again: it is unpacked again and checked against go.sum.
		modules = o.Place.Modules
		settings["GOPROXY"] = fileURL(filepath.Join(settings["GOMODCACHE"], "cache", "download")) + "," + settings["GOPROXY"]
	}
	if o.Modules != "" {
		settings["GOPROXY"] = fileURL(o.Modules)
		// The checksum database was asked when the bundle was made, and its answers are in it. A later state of it, which
		// the user's Go may know of, could not be proved to follow from that.
		env = append(env, "GOPATH="+filepath.Join(o.Work, "gopath"))
	}
	for _, name := range gocommand.Modules {
		env = append(env, name+"="+settings[name])
	}
	env = append(env, o.credentials()...)
	tmp := filepath.Join(o.Work, "tmp")
	env = append(env,
		"HOME="+o.Place.Home, "USERPROFILE="+o.Place.Home, "SLIPWAY_CACHE="+o.Place.Cache,
		"TMPDIR="+tmp, "TMP="+tmp, "TEMP="+tmp, "TZ="+o.Place.Zone, "LC_ALL="+o.Place.Locale,
		"GOCACHE="+goCache, "GOMODCACHE="+modules, "GOFLAGS=-modcacherw", "GOENV=off",
	)
	if !slices.Contains(o.Pass, "GIT_CONFIG_COUNT") {
		// A clone of another user's repository is not a reason to refuse it: its commit is what was asked for.
		env = append(env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	}
	if o.Place.CPUs != 0 {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(o.Place.CPUs))
	}
	return env, nil
}

// fileURL is a folder as GOPROXY requires it.
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
	defer gocommand.End(cmd) // what a build leaves running could change what is compared, and would be in the way of the next
	// What a program leaves running behind it is not a failure of its own.
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
	gocommand.Group(cmd)
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

// RemoveAll removes a folder that a pipeline ran in, read-only folders of a module cache in it included.
func RemoveAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
