package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/present/progress"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/githubrelease"
	"github.com/slipway-build/slipway/pipeline/publish/names"
	"github.com/slipway-build/slipway/pipeline/publish/tap"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/verify"
)

const (
	// otherRounds is how often the store is read again after something was changed.
	otherRounds = 10
	// lastCharts is how many versions are looked for in a chart repository: the current one and those that entered last.
	lastCharts = 10
)

// followed is the current version of the environment that is for everybody.
type followed struct {
	environment string
	current     environment.Seen
	line        int // of the log, that says so
	pinned, ok  bool
	entry       environment.Entry
	last        []environment.Entry // of other versions that entered last
}

// followOthers brings what besides tags has the current version to it: the chart repository, the tap, the bucket of Scoop, and which
// release GitHub calls the latest. It is done with the store as package names is with tags: what was changed is looked at again, with
// the store as it is then.
func (a *app) followOthers(ctx context.Context, st *store.Store, cfg config.Config, check bool) (all []names.Name, left []string, err error) {
	dir, err := os.MkdirTemp("", "slipway-reconcile-*")
	if err != nil {
		return nil, nil, fault.New(fault.Usage, err)
	}
	defer os.RemoveAll(dir)
	for round := 1; ; round++ {
		var now followed
		if err := st.Read(ctx, func(v store.View) (err error) {
			now, err = followedBy(ctx, st, v, cfg)
			return err
		}); err != nil {
			return all, nil, err
		}
		s := &shipment{app: a, config: cfg, to: setOf(cfg, now.environment), follows: true}
		if !s.hasFollowers() {
			return all, nil, nil
		}
		if !now.ok {
			return all, []string{fmt.Sprintf("%s in %s: no version is the current one; charts, taps and buckets keep what they have", cfg.Project.Name, now.environment)}, nil
		}
		targets, err := s.followers(ctx, now, dir)
		if err != nil {
			return all, nil, err
		}
		looked, err := publish.Status(ctx, targets, publish.Listed, publish.Options{Journal: s.journal})
		if err != nil {
			return all, nil, err
		}
		moved := drifted(looked, now)
		if check {
			return moved, nil, nil
		}
		if len(moved) == 0 {
			return all, nil, nil
		}
		if round == otherRounds {
			return all, nil, fault.Errorf(fault.Transient, "%s does not stay what it was made: others change it at the same time; the same command goes on", moved[0].Name)
		}
		if _, err := publish.Run(ctx, targets, publish.Options{Journal: s.journal}); err != nil {
			return all, nil, err
		}
		for _, n := range moved {
			if !slices.ContainsFunc(all, func(other names.Name) bool { return other.Name == n.Name && other.Line == n.Line }) {
				all = append(all, n)
			}
		}
	}
}

// followedBy reads what is the current version of the project in the environment that is for everybody.
func followedBy(ctx context.Context, st *store.Store, v store.View, cfg config.Config) (followed, error) {
	stages, component := v.Rules.StageNames(), cfg.Project.Name
	now := followed{environment: cmp.Or(cfg.Environment.Public, stages[len(stages)-1])}
	if _, err := v.Rules.Stage(now.environment); err != nil {
		return now, err
	}
	now.current, now.pinned, now.ok = v.State.Current(v.Rules, now.environment, component)
	if !now.ok {
		return now, nil
	}
	if now.line = now.current.Line; now.pinned {
		now.line = v.State.Pinned(now.environment, component)
	}
	var err error
	if now.entry, err = st.Entry(ctx, now.current.Stage, component, now.current.Version); err != nil {
		return now, err
	}
	seen := slices.DeleteFunc(v.State.View(v.Rules, now.environment, component), func(s environment.Seen) bool {
		return s.Withdrawn != nil || s.Version == now.current.Version
	})
	slices.SortFunc(seen, func(a, b environment.Seen) int { return cmp.Compare(b.Line, a.Line) })
	for _, s := range seen[:min(len(seen), lastCharts-1)] {
		e, err := st.Entry(ctx, s.Stage, component, s.Version)
		if err != nil {
			return now, err
		}
		now.last = append(now.last, e)
	}
	return now, nil
}

// drifted are the items that are not what they should be.
func drifted(r publish.Result, now followed) []names.Name {
	var all []names.Name
	for _, o := range r.Outcomes {
		for _, it := range o.Items {
			if it.State.Done() {
				continue
			}
			all = append(all, names.Name{
				Name: cmp.Or(it.Name, o.Destination), Detail: it.Detail, ShouldBe: it.Digest, Component: now.entry.Component,
				Environment: now.environment, Version: now.current.Version, Pinned: now.pinned, Line: now.line,
			})
		}
	}
	return all
}

// hasFollowers reports whether the configuration names anything that follows a store besides tags.
func (s *shipment) hasFollowers() bool {
	return s.to.Charts.Git != "" || s.to.Homebrew.Repository != "" || s.to.Scoop.Repository != "" || s.to.GitHub.RepositoryOf(s.config.Project) != ""
}

// followers are the destinations that have the current version. What they carry is brought below a folder.
func (s *shipment) followers(ctx context.Context, now followed, dir string) ([]publish.Target, error) {
	var err error
	if s.rel, err = parts(ctx, dir, now.entry, s.needs); err != nil {
		return nil, err
	}
	if s.to.Charts.Git != "" {
		for _, e := range now.last {
			rel, err := parts(ctx, dir, e, isChart)
			if err != nil {
				return nil, err
			}
			s.others = append(s.others, rel)
		}
	}
	s.tracker = progress.NewTracker(nil, nil)
	if s.journal, err = publish.ReadJournal(s.rel.Dir, "", s.rel.Digest); err != nil { // which keeps nothing
		return nil, err
	}
	for _, d := range destinations {
		if d.follow == current {
			if err := d.add(s); err != nil {
				return nil, err
			}
		}
	}
	if err := s.latestOnGitHub(); err != nil {
		return nil, err
	}
	return s.list, s.lacking()
}

// latestOnGitHub adds which release GitHub calls the latest. No prerelease is.
func (s *shipment) latestOnGitHub() error {
	m := s.rel.Manifest
	address := s.to.GitHub.RepositoryOf(s.config.Project)
	if address == "" || m.Tag == "" || !m.Version.IsStable() {
		return nil
	}
	repo, api, err := onGitHub(address, s.to.GitHub.API)
	if err != nil {
		return err
	}
	t, meter := s.transport("github", githubrelease.Simulate, s.github(api, s.to.GitHub.Token)...)
	d, err := githubrelease.NewLatest(githubrelease.Options{Release: s.rel, Transport: t, API: api, Owner: repo.Owner, Repo: repo.Name})
	if err != nil {
		return err
	}
	s.add("github", api, publish.Releases, d, meter)
	return nil
}

// needs are the files that the followers carry.
func (s *shipment) needs(rel manifest.Release, f artifact.File) bool {
	if s.to.Charts.Git != "" && isChart(rel, f) {
		return true
	}
	for kind := range s.to.Taps() {
		if !slices.Contains([]string{string(tap.Homebrew), string(tap.Scoop)}, kind) || !tap.Applies(rel, tap.Kind(kind)) {
			continue
		}
		_, recipes := format.Going(rel, kind)
		if slices.ContainsFunc(recipes, func(r manifest.Recipe) bool { return r.Path == f.Path }) {
			return true
		}
	}
	return false
}

// isChart reports whether a file is a chart, or what Artifact Hub reads beside one.
func isChart(rel manifest.Release, f artifact.File) bool {
	return f.Path == "charts/artifacthub-repo.yml" || slices.ContainsFunc(rel.Charts, func(c manifest.Chart) bool { return c.Path == f.Path })
}

// parts are the manifest of a release of the store and some of its files, from the first of its places that has them. The store says
// which manifest that is, and the manifest what the files are. What is not on this machine is brought below the folder.
func parts(ctx context.Context, below string, e environment.Entry, wanted func(manifest.Release, artifact.File) bool) (publish.Release, error) {
	var errs []error
	for _, place := range e.Places {
		dir := filepath.Join(below, e.Manifest.Hex())
		if u, err := url.Parse(place); err == nil && u.Scheme == "file" {
			dir = filepath.FromSlash(u.Path)
		} else if err := os.MkdirAll(dir, 0o700); err != nil {
			return publish.Release{}, fault.New(fault.Usage, err)
		} else if _, err := verify.Some(ctx, place, dir, wanted); err != nil {
			errs = append(errs, err)
			continue
		}
		rel, err := whole(dir, e, wanted)
		if err == nil {
			return rel, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", place, err))
	}
	return publish.Release{}, fmt.Errorf("%s %s: %w", e.Component, e.Version, errors.Join(errs...))
}

// whole opens a folder with some of a release, and believes nothing in it.
func whole(dir string, e environment.Entry, wanted func(manifest.Release, artifact.File) bool) (publish.Release, error) {
	digest, _, err := artifact.SumFile(filepath.Join(dir, manifest.FileName))
	if err != nil {
		return publish.Release{}, fault.New(fault.Transient, err)
	}
	if digest != e.Manifest {
		return publish.Release{}, fault.Errorf(fault.Mismatch, "%s there is %s, and the store has %s", manifest.FileName, digest.Short(), e.Manifest.Short())
	}
	rel, err := publish.Open(dir)
	if err != nil {
		return rel, fault.New(fault.Mismatch, err)
	}
	for _, f := range rel.Manifest.Files {
		if !wanted(rel.Manifest, f) {
			continue
		}
		switch digest, _, err := artifact.SumFile(rel.Path(f.Path)); {
		case errors.Is(err, os.ErrNotExist):
			return rel, fault.Errorf(fault.Mismatch, "there is no %s, which a release on GitHub leaves out: publish to a folder or a bucket as well, and name it as a place of the release", f.Path)
		case err != nil:
			return rel, fault.New(fault.Transient, err)
		case digest != f.Digest:
			return rel, fault.Errorf(fault.Mismatch, "%s has other bytes than %s says", f.Path, manifest.FileName)
		}
	}
	return rel, nil
}
