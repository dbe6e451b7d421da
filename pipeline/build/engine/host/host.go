// Package host is the embedded engine: it compiles with the Go command of this machine, told to be the pinned release,
// in a scrubbed environment. It needs Go and nothing else.
package host

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/internal/gocommand"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Options of the host engine.
type Options struct {
	Go      string   // release of the toolchain, such as 1.26.8
	Environ []string // of the process, to take a short list of settings from
	Cache   string   // build cache instead of the user's own; a new folder makes a build cold
	Log     io.Writer
}

// Engine is the host engine.
type Engine struct {
	goCommand string
	fetching  []string // what the Go command sees where it fetches modules
	env       []string // what compilers and tests see
	home      string   // the empty home of these
	o         Options
}

// New finds the Go command, has it become the pinned release (the Go command fetches it and checks it against the
// checksum database where it is another one) and returns an engine. End it with Close.
func New(ctx context.Context, o Options) (*Engine, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return nil, fault.Errorf(fault.Build, "the host engine needs the Go command, which is not on PATH; install Go from https://go.dev/dl or use --engine dagger")
	}
	e := &Engine{goCommand: path, o: o}
	settings, err := gocommand.Settings(ctx, path, o.Environ)
	if err != nil {
		return nil, err
	}
	cache := settings["GOCACHE"]
	if o.Cache != "" {
		cache = o.Cache
	}
	fixed := append(engine.FixedEnv(), "GOMODCACHE="+settings["GOMODCACHE"], "GOCACHE="+cache, "GOTOOLCHAIN=go"+o.Go)
	e.fetching, e.env = gocommand.Fetching(o.Environ), gocommand.Environ(o.Environ)
	for _, name := range gocommand.Modules {
		value := settings[name]
		e.fetching = append(e.fetching, name+"="+value)
		if gocommand.IsSecret(name, value) {
			value = "off"
		}
		e.env = append(e.env, name+"="+value)
	}
	e.fetching = append(e.fetching, fixed...)

	// A release that is fetched first is reported on standard error.
	var out, said bytes.Buffer
	cmd := e.command(ctx, e.fetching, os.TempDir(), "env", "GOVERSION")
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, engine.NewFailure("finding Go "+o.Go, said.String(), fmt.Errorf("getting Go %s: %w", o.Go, err))
	}
	if got := strings.TrimSpace(out.String()); got != "go"+o.Go {
		return nil, fault.Errorf(fault.Build, "the Go command calls itself %s where go%s is locked; install the unmodified release", got, o.Go)
	}
	if e.home, err = os.MkdirTemp("", "slipway-home-*"); err != nil {
		return nil, err
	}
	e.env = slices.Concat(e.env, gocommand.Home(e.home), fixed)
	return e, nil
}

// Close removes what compilers and tests had for a home.
func (e *Engine) Close() error { return os.RemoveAll(e.home) }

// Info describes the engine.
func (e *Engine) Info() engine.Info {
	return engine.Info{Name: "host", Host: runtime.GOOS + "/" + runtime.GOARCH, Go: e.o.Go, Jobs: runtime.GOMAXPROCS(0)}
}

// Compile builds one binary; see engine.Engine.
func (e *Engine) Compile(ctx context.Context, tree string, b plan.Binary, out string) error {
	step := "compile " + b.Name + " " + b.Platform.String()
	if b.Builder != "" {
		return fault.Errorf(fault.Build, "%s: it needs cgo, and only the Dagger engine runs its builder image; use --engine dagger", step)
	}
	args := append([]string{"build"}, b.Flags...)
	args = append(args, "-o", out, b.Package)
	dir := filepath.Join(tree, filepath.FromSlash(b.Dir))
	compile := func() (string, error) {
		return e.run(ctx, slices.Concat(e.env, b.Env, engine.Offline()), dir, args...)
	}
	output, err := compile()
	if err != nil && engine.LacksModule(output) {
		if output, err = e.run(ctx, slices.Concat(e.fetching, b.Env), dir, engine.Fetch(b)...); err == nil {
			output, err = compile()
		}
	}
	fmt.Fprintf(e.o.Log, "== %s\n%s", step, output)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return engine.NewFailure(step, output, err)
	}
	return nil
}

// Test runs the project's tests; see engine.Engine.
func (e *Engine) Test(ctx context.Context, tree string, t plan.Test, w io.Writer) error {
	if t.Builder != "" {
		return fault.Errorf(fault.Build, "the tests need a builder image, and only the Dagger engine runs it; use --engine dagger")
	}
	env := slices.Concat(e.env, engine.TestEnv(t))
	if !engine.IsVendored(tree) {
		if output, err := e.run(ctx, e.fetching, tree, "mod", "download"); err != nil {
			if _, lacks := e.run(ctx, slices.Concat(env, engine.Offline()), tree, engine.LookForTests(t)...); lacks != nil {
				return engine.NewFailure("modules of the tests", output, err)
			}
		}
	}
	cmd := e.command(ctx, env, tree, append(append([]string{"test"}, t.Flags...), t.Packages...)...)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return engine.NewTestFailure("", err)
	}
	return nil
}

func (e *Engine) command(ctx context.Context, env []string, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.goCommand, args...)
	cmd.Dir = dir
	cmd.Env = append(slices.Clip(env), "PWD="+dir)
	// An interrupted Go command removes its work folder; a killed one leaves it.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (e *Engine) run(ctx context.Context, env []string, dir string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := e.command(ctx, env, dir, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
