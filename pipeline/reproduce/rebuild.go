package reproduce

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
	"github.com/slipway-build/slipway/pipeline/reproduce/rerun"
	"github.com/slipway-build/slipway/pipeline/verify"
)

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
	err = r.rerun(ctx, src, where, varied, flags)
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
		r.report.row(Skip, kind, p.rel.Commit, "its pipeline succeeded, and what it wrote is not a whole release: %s", oneLine(err))
		return "", false
	}
	r.report.row(Pass, kind, p.rel.Commit, "its own pipeline built it with the %s engine", r.report.Engine)
	return out, true
}

// online reports whether the pipeline itself still has to fetch something over TLS: compilers are run by the Go command.
func (r *run) online(p published) bool {
	if r.o.Bundle != "" {
		return false
	}
	return r.mayBeDagger() || slices.ContainsFunc(p.rel.Inputs, func(in artifact.Input) bool {
		return in.Kind == "base" || in.Kind == "chart" || in.Kind == "component"
	})
}

// mayBeDagger reports whether the pipeline would compile in a Dagger engine: where it is told to, or finds one.
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

// rerun runs the commit's pipeline.
func (r *run) rerun(ctx context.Context, src string, where place, vary []Variation, flags []string) error {
	o := r.rerunOptions(where)
	o.Source, o.Config, o.Pipeline = src, r.p.config(), r.o.Pipeline
	o.Prepare = func() error { return r.seed(where.Cache) }
	if where.clock != 0 {
		o.Overlay = func(goroot string) (string, error) {
			file, err := overlay(r.work, goroot, where.clock)
			if errors.Is(err, errClock) {
				i := slices.IndexFunc(vary, func(v Variation) bool { return v.Name == "clock" })
				vary[i].Is = err.Error()
				return "", nil
			}
			return file, err
		}
	}
	result, err := rerun.Run(ctx, o, flags)
	r.toolchain = result.Toolchain
	if err != nil {
		return err
	}
	r.report.Engine, r.report.Host = result.Engine, runtime.GOOS+"/"+runtime.GOARCH
	return nil
}

// rerunOptions say what a pipeline sees of this machine.
func (r *run) rerunOptions(where place) rerun.Options {
	o := rerun.Options{
		Work: r.work, Place: where.Place, Environ: r.o.Environ, Pass: r.o.Pass, Engine: r.o.Engine, Go: lockedGo(r.p.rel), Log: r.o.Log, Step: r.o.Step,
	}
	if r.o.Bundle != "" {
		o.Modules = filepath.Join(r.o.Bundle, bundledModules)
	}
	return o
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
