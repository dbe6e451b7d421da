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
	env       []string
	o         Options
}

// New finds the Go command, has it become the pinned release (the Go command fetches it and checks it against the
// checksum database where it is another one) and returns an engine.
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
	e.env = gocommand.Environ(o.Environ)
	for _, name := range gocommand.Modules {
		e.env = append(e.env, name+"="+settings[name])
	}
	cache := settings["GOCACHE"]
	if o.Cache != "" {
		cache = o.Cache
	}
	e.env = append(e.env, "GOMODCACHE="+settings["GOMODCACHE"], "GOCACHE="+cache, "GOTOOLCHAIN=go"+o.Go)
	e.env = append(e.env, engine.FixedEnv()...)

	// A release that is fetched first is reported on standard error.
	var out, said bytes.Buffer
	cmd := e.command(ctx, os.TempDir(), nil, "env", "GOVERSION")
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, engine.NewFailure("finding Go "+o.Go, said.String(), fmt.Errorf("getting Go %s: %w", o.Go, err))
	}
	if got := strings.TrimSpace(out.String()); got != "go"+o.Go {
		return nil, fault.Errorf(fault.Build, "the Go command calls itself %s where go%s is locked; install the unmodified release", got, o.Go)
	}
	return e, nil
}

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
	output, err := e.run(ctx, filepath.Join(tree, filepath.FromSlash(b.Dir)), b.Env, args...)
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
	if output, err := e.run(ctx, tree, nil, "mod", "download"); err != nil {
		return engine.NewFailure("modules of the tests", output, err)
	}
	cmd := e.command(ctx, tree, engine.TestEnv(t), append(append([]string{"test"}, t.Flags...), t.Packages...)...)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return engine.NewTestFailure("", err)
	}
	return nil
}

func (e *Engine) command(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.goCommand, args...)
	cmd.Dir = dir
	cmd.Env = slices.Concat(e.env, env, []string{"PWD=" + dir})
	// An interrupted Go command removes its work folder; a killed one leaves it.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (e *Engine) run(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := e.command(ctx, dir, env, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
