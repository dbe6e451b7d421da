// Package dagger is the engine that compiles in containers, through the Dagger SDK. It is the only room that knows the
// SDK.
//
// The builder is an empty container with the pinned Go toolchain mounted at /usr/local/go, a CA bundle, a /tmp and two
// cache volumes: no image is pulled, so no registry can be down, rate-limit or move underneath. A binary that needs
// cgo, or tests that need more than Go, name a builder image by digest instead.
package dagger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"dagger.io/dagger"

	"github.com/slipway-build/slipway/pipeline/build/certs"
	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/internal/gocommand"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Where things are in the container.
const (
	goRoot    = "/usr/local/go"
	sourceDir = "/src"
	outDir    = "/out"
	homeDir   = "/tmp"
	caBundle  = "/etc/ssl/certs/ca-certificates.crt"
	netrcFile = "/run/secrets/netrc"
)

// Options of the Dagger engine.
type Options struct {
	Toolchain plan.Toolchain
	Environ   []string // of the process, to take the settings of modules from
	Cache     string   // folder that keeps laid-out toolchains
	Cold      bool     // new cache volumes, so that nothing compiled earlier is used
	Jobs      int      // compiles at once; 0 for as many as this machine has cores
	Log       io.Writer
	Wait      time.Duration // for the engine to answer; 0 is a minute for an address, and five where its image is fetched first
}

// Engine is a session with a Dagger engine.
type Engine struct {
	client   *dagger.Client
	platform string
	o        Options
	base     *dagger.Container         // everything but the tree, the platform's environment and what only fetching may see
	secrets  map[string]*dagger.Secret // settings of modules with a password
	netrc    *dagger.Secret            // nil where there is none
	roots    string                    // CA certificates as PEM
	run      string                    // makes the steps of a cold build its own

	mu    sync.Mutex
	trees map[string]*dagger.Directory
}

// New connects to the engine that the SDK's own environment names, else to the one it starts in the container runtime.
// End it with Close.
func New(ctx context.Context, o Options) (*Engine, error) {
	client, err := connect(ctx, o, "start one, or use --engine host")
	if err != nil {
		return nil, err
	}
	e := &Engine{client: client, o: o, trees: map[string]*dagger.Directory{}}
	if e.o.Jobs <= 0 {
		e.o.Jobs = runtime.NumCPU()
	}
	if err := e.prepare(ctx); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return e, nil
}

// connect opens a session. wayOut is what to do where that is not possible.
func connect(ctx context.Context, o Options, wayOut string) (*dagger.Client, error) {
	conn, err := open(ctx, o)
	if err != nil {
		return nil, fault.Errorf(fault.Transient, "connecting to the Dagger engine: %w; %s", err, wayOut)
	}
	client, err := dagger.Connect(ctx, dagger.WithConn(conn))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return client, nil
}

// Close ends the session.
func (e *Engine) Close() error { return e.client.Close() }

// Info describes the engine.
func (e *Engine) Info() engine.Info {
	return engine.Info{Name: "dagger", Host: e.platform, Go: e.o.Toolchain.Version, Jobs: e.o.Jobs}
}

// prepare finds out what the engine runs on, brings the toolchain there and describes the builder.
func (e *Engine) prepare(ctx context.Context) error {
	platform, err := e.client.DefaultPlatform(ctx)
	if err != nil {
		return fault.Errorf(fault.Transient, "asking the Dagger engine for its platform: %w", err)
	}
	system, arch, _ := strings.Cut(string(platform), "/")
	arch, _, _ = strings.Cut(arch, "/") // arm64/v8 runs the arm64 toolchain
	e.platform = system + "/" + arch

	goCommand, err := exec.LookPath("go")
	if err != nil {
		return fault.Errorf(fault.Build, "the Go command is not on PATH; it fetches and checks the toolchain: install Go from https://go.dev/dl")
	}
	runsOn := system + "-" + arch
	if e.o.Toolchain.Sums[runsOn] == "" {
		return fault.Errorf(fault.Usage, "the lock has no checksum of the toolchain for %s, which this Dagger engine runs on; run the lock command and commit it", runsOn)
	}
	tc, err := engine.FetchToolchain(ctx, engine.ToolchainSource{
		GoCommand: goCommand,
		Environ:   e.o.Environ,
		Release:   e.o.Toolchain.Version,
		Host:      runsOn,
		Sum:       e.o.Toolchain.Sums[runsOn],
		Cache:     e.o.Cache,
	})
	if err != nil {
		return err
	}
	toolchain, err := e.client.Host().Directory(tc.Dir).Sync(ctx)
	if err != nil {
		return fault.Errorf(fault.Transient, "sending the toolchain to the Dagger engine: %w", err)
	}
	settings, err := gocommand.Settings(ctx, goCommand, e.o.Environ)
	if err != nil {
		return err
	}

	suffix := ""
	if e.o.Cold {
		e.run = rand.Text()
		suffix = "-" + e.run
	}
	base := e.client.Container().
		WithMountedDirectory(goRoot, toolchain).
		WithMountedTemp("/tmp").
		WithMountedCache("/cache/mod", e.client.CacheVolume("slipway-mod"+suffix)).
		WithMountedCache("/cache/build", e.client.CacheVolume("slipway-build"+suffix)).
		WithEnvVariable("GOROOT", goRoot).
		WithEnvVariable("GOMODCACHE", "/cache/mod").
		WithEnvVariable("GOCACHE", "/cache/build").
		WithEnvVariable("GOTOOLCHAIN", "local").
		WithEnvVariable("HOME", homeDir).
		WithEnvVariable("PATH", goRoot+"/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").
		WithEnvVariable("SSL_CERT_FILE", caBundle)
	base = withEnv(base, engine.FixedEnv())
	e.secrets = map[string]*dagger.Secret{}
	for _, name := range gocommand.Modules {
		switch value := settings[name]; {
		case value == "" || name == "GOAUTH": // of what that may name a container has the netrc alone, which is meant where nothing is said
		case gocommand.IsSecret(name, value):
			e.secrets[name] = e.client.SetSecret("slipway-"+strings.ToLower(name), value)
			base = base.WithEnvVariable(name, "off")
		default:
			base = base.WithEnvVariable(name, value)
		}
	}
	if b, err := os.ReadFile(netrcPath(e.o.Environ)); err == nil {
		e.netrc = e.client.SetSecret("slipway-netrc", string(b))
	}
	e.base, e.roots = base, roots(e.o.Environ)
	return nil
}

// roots are the CA certificates that this machine trusts, since the way to the module proxy may lead through a proxy
// of a company; where this machine has no such file, the pinned ones.
func roots(environ []string) string {
	for _, name := range []string{
		lookup(environ, "SSL_CERT_FILE"),
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/cert.pem",
	} {
		if b, err := os.ReadFile(name); name != "" && err == nil && len(b) > 0 {
			return string(b)
		}
	}
	return string(certs.Bundle())
}

func netrcPath(environ []string) string {
	if name := lookup(environ, "NETRC"); name != "" {
		return name
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(lookup(environ, "USERPROFILE"), "_netrc")
	}
	return filepath.Join(lookup(environ, "HOME"), ".netrc")
}

func lookup(environ []string, name string) string {
	for _, kv := range environ {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

func withEnv(c *dagger.Container, env []string) *dagger.Container {
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		c = c.WithEnvVariable(name, value)
	}
	return c
}

// tree is the folder in the engine, sent once.
func (e *Engine) tree(ctx context.Context, dir string) (*dagger.Directory, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := e.trees[dir]; d != nil {
		return d, nil
	}
	d, err := e.client.Host().Directory(dir).Sync(ctx)
	if err != nil {
		return nil, fault.Errorf(fault.Transient, "sending the tree to the Dagger engine: %w", err)
	}
	e.trees[dir] = d
	return d, nil
}

// builder is the container that a step runs in.
func (e *Engine) builder(ctx context.Context, dir, image, workdir string, env []string) (*dagger.Container, error) {
	tree, err := e.tree(ctx, dir)
	if err != nil {
		return nil, err
	}
	c := e.base
	if image != "" {
		// The image brings a C toolchain; Go, the settings and the caches stay the same.
		c = c.WithRootfs(e.client.Container().From(image).Rootfs())
	}
	c = c.WithNewFile(caBundle, e.roots).WithMountedDirectory(sourceDir, tree).WithWorkdir(path.Join(sourceDir, workdir))
	c = withEnv(c, env)
	if e.run != "" {
		c = c.WithEnvVariable("SLIPWAY_COLD", e.run)
	}
	return c, nil
}

// fetch has the Go command fetch modules, as the only program that gets what opens private ones.
func (e *Engine) fetch(ctx context.Context, c *dagger.Container, args ...string) error {
	for name, secret := range e.secrets {
		c = c.WithSecretVariable(name, secret)
	}
	if e.netrc != nil {
		c = c.WithMountedSecret(netrcFile, e.netrc).WithEnvVariable("NETRC", netrcFile)
	}
	// Where modules go is a volume, and may be empty again where the engine remembers that the step was run.
	c = c.WithEnvVariable("SLIPWAY_FETCH", rand.Text())
	_, err := c.WithExec(append([]string{goRoot + "/bin/go"}, args...)).Sync(ctx)
	return err
}

// Compile builds one binary; see engine.Engine.
func (e *Engine) Compile(ctx context.Context, tree string, b plan.Binary, out string) error {
	step := "compile " + b.Name + " " + b.Platform.String()
	c, err := e.builder(ctx, tree, b.Builder, b.Dir, b.Env)
	if err != nil {
		return err
	}
	built := path.Join(outDir, path.Base(b.Path))
	args := append([]string{goRoot + "/bin/go", "build"}, b.Flags...)
	offline := withEnv(c, engine.Offline()).WithExec(append(args, "-o", built, b.Package))
	compiled, err := offline.Sync(ctx)
	if said := (*dagger.ExecError)(nil); errors.As(err, &said) && engine.LacksModule(said.Stderr) {
		if err = e.fetch(ctx, c, engine.Fetch(b)...); err == nil {
			compiled, err = offline.Sync(ctx)
		}
	}
	if err != nil {
		return failure(ctx, step, err)
	}
	if _, err := compiled.File(built).Export(ctx, out); err != nil {
		return fault.Errorf(fault.Transient, "%s: bringing the binary back from the Dagger engine: %w", step, err)
	}
	return nil
}

// Test runs the project's tests; see engine.Engine.
func (e *Engine) Test(ctx context.Context, tree string, t plan.Test, w io.Writer) error {
	c, err := e.builder(ctx, tree, t.Builder, ".", engine.TestEnv(t))
	if err != nil {
		return err
	}
	if !engine.IsVendored(tree) {
		if err := e.fetch(ctx, c, "mod", "download"); err != nil {
			look := append([]string{goRoot + "/bin/go"}, engine.LookForTests(t)...)
			if _, lacks := withEnv(c, engine.Offline()).WithEnvVariable("SLIPWAY_FETCH", rand.Text()).WithExec(look).Sync(ctx); lacks != nil {
				return failure(ctx, "modules of the tests", err)
			}
		}
	}
	args := append([]string{goRoot + "/bin/go", "test"}, t.Flags...)
	stdout, err := c.WithExec(append(args, t.Packages...)).Stdout(ctx)
	if err != nil {
		err = failure(ctx, "test", err)
		if f := (*engine.Failure)(nil); errors.As(err, &f) {
			fmt.Fprint(w, f.Printed)
			return engine.NewTestFailure(f.Printed, f.Err)
		}
		return err
	}
	_, err = io.WriteString(w, stdout)
	return err
}

// failure tells a program that failed from an engine that did.
func failure(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exec *dagger.ExecError
	if errors.As(err, &exec) {
		output := ""
		for _, said := range []string{exec.Stdout, exec.Stderr} {
			if said = strings.TrimSuffix(said, "\n"); said != "" {
				output += said + "\n"
			}
		}
		return engine.NewFailure(step, output, fmt.Errorf("exit status %d", exec.ExitCode))
	}
	return fault.Errorf(fault.Transient, "%s: the Dagger engine: %w", step, err)
}
