// Package assemble builds the components of a platform that are not published yet: each from the commit that is locked, by the
// pipeline of that commit, once all that it needs is there.
//
// A component's pipeline is a program of the component's authors. It is run as reproduce runs one: with a list of variables in which
// there is no key and no token, in a home of its own. What it wrote is held to the commit and the version that were asked for.
package assemble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/reproduce/rerun"
	"github.com/slipway-build/slipway/pipeline/source"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// Options say what is built, and where.
type Options struct {
	resolve.Options        // with the lock in Before
	Out             string // folder with one folder for each component that is built; made where it is missing
	Jobs            int    // components that are built at once; 0 for one
	Engine          string // host, dagger or auto; "" is auto

	// Finish does with a component that is built what else there is to do, such as signing it. Nil does nothing.
	Finish func(ctx context.Context, component, dist string) error
	Step   func(component, what string) // is called with what is done now; nil does nothing
}

// State is how a component stands after a run.
type State string

// The states.
const (
	Published State = "published" // there is a release of it, which is not touched
	Built     State = "built"     // it is in Dist
	Failed    State = "failed"    // Err says why
	Skipped   State = "skipped"   // After failed, or was skipped
)

// Component is one of them after a run.
type Component struct {
	Name string
	platform.Chosen
	State State
	Dist  string // folder of what was built
	After string
	Err   error
}

// logName is where a component's pipeline wrote what it said, in Out.
func logName(component string) string { return component + ".log" }

// Run builds what is missing, in the order of what the components need. It says how each of them stands, in that order; what was
// built before is looked at and not built again. The error is that of the whole: one of a single component is in its Err.
func Run(ctx context.Context, o Options) ([]Component, error) {
	names, err := o.Platform.Order()
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	if o.Step == nil {
		o.Step = func(string, string) {}
	}
	if o.Out, err = filepath.Abs(o.Out); err == nil { // pipelines run elsewhere
		err = os.MkdirAll(o.Out, 0o755)
	}
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(o.Out, ".lock"), 0)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	all := make([]Component, len(names))
	for i, name := range names {
		all[i] = Component{Name: name, Chosen: o.Before.Components[name]}
	}
	look := resolve.Looker(ctx, o.Options)
	failed, skipped := order(ctx, names, func(name string) []string {
		return slices.Sorted(maps.Keys(o.Platform.Components[name].Needs))
	}, max(1, o.Jobs), func(ctx context.Context, name string) error {
		return o.one(ctx, look, &all[slices.Index(names, name)])
	})
	for i := range all {
		c := &all[i]
		if c.Err = failed[c.Name]; c.Err != nil {
			c.State = Failed
		}
		if c.After = skipped[c.Name]; c.After != "" {
			c.State = Skipped
		}
	}
	return all, unlock()
}

// one brings a component to where it is published or built.
func (o Options) one(ctx context.Context, look func(string, platform.Chosen) (platform.Chosen, error), c *Component) error {
	is, err := look(c.Name, c.Chosen)
	if err != nil {
		return err
	}
	if c.Chosen = is; is.Published() {
		c.State = Published
		return nil
	}
	c.Dist = filepath.Join(o.Out, c.Name)
	v, err := o.built(ctx, *c)
	if err != nil {
		if v, err = o.build(ctx, *c); err != nil {
			return err
		}
	}
	c.Version, c.State = v, Built
	if o.Finish != nil {
		return o.Finish(ctx, c.Name, c.Dist)
	}
	return nil
}

// built is the version of the release in c.Dist, which must be a whole one of the component's commit and version: of a snapshot, where
// it has no tag.
func (o Options) built(ctx context.Context, c Component) (string, error) {
	report, err := verify.Dist(ctx, c.Dist, verify.Options{AllowUnpublishable: true, AllowUnsigned: true, HashesOnly: true})
	switch {
	case err != nil:
		for _, row := range report.Rows {
			if row.Verdict != verify.Pass {
				return "", fmt.Errorf("%s: %s", row.Path, row.Detail)
			}
		}
		return "", err
	case report.Name != c.Name:
		return "", fmt.Errorf("it is a release of %s", report.Name)
	case report.Commit != c.Commit:
		return "", fmt.Errorf("it is a release of commit %.12s", report.Commit)
	case c.Tag != "" && report.Version != c.Version:
		return "", fmt.Errorf("it is release %s", report.Version)
	}
	if v, err := version.Parse(report.Version); c.Tag == "" && (err != nil || !v.IsSnapshot()) {
		return "", fmt.Errorf("it is release %s, and no snapshot", report.Version)
	}
	return report.Version, nil
}

// build clones the commit, runs its pipeline, and puts what that wrote in c.Dist. Nothing half made is ever there.
func (o Options) build(ctx context.Context, c Component) (version string, err error) {
	def := o.Platform.Components[c.Name]
	work := filepath.Join(o.Out, ".work-"+c.Name)
	if err := errors.Join(rerun.RemoveAll(work), rerun.RemoveAll(c.Dist)); err != nil {
		return "", fault.New(fault.Usage, err)
	}
	defer func() { err = errors.Join(err, rerun.RemoveAll(work)) }()
	o.Step(c.Name, "cloning")
	src := filepath.Join(work, "src")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return "", fault.New(fault.Usage, err)
	}
	if err := source.Clone(ctx, o.Remote(def.Repository), src, c.Commit, o.Pass...); err != nil {
		return "", err
	}
	made := c
	made.Dist = filepath.Join(work, "dist")
	flags := []string{"build", "--progress", "plain", "--out", made.Dist}
	if c.Tag != "" {
		flags = append(flags, "--tag", c.Tag)
	} else if err := source.Untag(ctx, src, c.Commit); err != nil { // on channel dev it is a snapshot, whatever was tagged
		return "", err
	}
	if o.Engine != "" && o.Engine != "auto" {
		flags = append(flags, "--engine", o.Engine)
	}
	config, err := configOf(src, c.Name, def.TagPrefix)
	if err != nil {
		return "", err
	}
	if config != "" {
		flags = append(flags, "--config", filepath.Join(src, filepath.FromSlash(config)))
	}
	log, err := os.Create(filepath.Join(o.Out, logName(c.Name)))
	if err != nil {
		return "", fault.New(fault.Usage, err)
	}
	_, err = rerun.Run(ctx, rerun.Options{
		Source: src, Config: config, Work: filepath.Join(work, "run"), Environ: o.Environ, Pass: nil, Engine: o.Engine,
		Place: rerun.Place{Home: filepath.Join(work, "home"), Cache: filepath.Join(work, "cache"), Zone: "UTC", Locale: "C"},
		Log:   log, Step: func(what string) { o.Step(c.Name, what) },
	}, flags)
	if err = errors.Join(err, log.Close()); err != nil {
		return "", fault.Errorf(fault.Build, "%w; all that its pipeline said is in %s", err, log.Name())
	}
	// A pipeline that ends well may have written something else than was asked for.
	if version, err = o.built(ctx, made); err != nil {
		return "", fault.Errorf(fault.Build, "its pipeline succeeded, and what it wrote is not what was asked for: %w", err)
	}
	return version, fault.New(fault.Usage, os.Rename(made.Dist, c.Dist))
}

// configOf is the configuration of a project in a tree, by its name and the prefix of its tags; "" for the usual one at the top.
func configOf(src, name, prefix string) (string, error) {
	var found []string
	err := filepath.WalkDir(src, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && e.Name() == ".git" {
			return filepath.SkipDir
		}
		if e.Name() != "slipway.yaml" || !e.Type().IsRegular() {
			return nil
		}
		b, err := bounded.File(file, 1<<20)
		if err != nil {
			return err
		}
		var is struct {
			Project struct {
				Name      string `yaml:"name"`
				TagPrefix string `yaml:"tagPrefix"`
			} `yaml:"project"`
		}
		if yaml.Unmarshal(b, &is) != nil || is.Project.Name != name || is.Project.TagPrefix != prefix {
			return nil // whatever it is, it is not the one that is looked for
		}
		rel, err := filepath.Rel(src, file)
		found = append(found, filepath.ToSlash(rel))
		return err
	})
	switch {
	case err != nil:
		return "", fault.New(fault.Usage, err)
	case len(found) == 0:
		return "", fault.Errorf(fault.Usage, "no slipway.yaml in the commit is of a project %s with tagPrefix %q; what is in it now cannot be built by its own pipeline", name, prefix)
	}
	slices.SortFunc(found, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	if path.Dir(found[0]) == "." {
		return "", nil
	}
	return found[0], nil
}
