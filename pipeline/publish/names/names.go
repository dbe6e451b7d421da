// Package names has the names that move follow a release store: tags of images, and whatever else points at the current version of
// an environment. Bytes stay where they were published.
//
// A registry writes a name over whatever is there. So whoever moved a name reads the store and the name again, and ends with a look
// after which there was nothing to move. Let W be the last write to a name, by P. After W, P read the store, and then it saw W at
// the name and wrote nothing: so W is what the store said at that time, which is after every move that P could have missed. Several
// who do this at the same time, and whoever was held up meanwhile, leave what the store says. One that is killed between its
// write and its look leaves what the store said before it: the next run puts that right.
package names

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

const (
	parallel = 8  // repositories at once
	rounds   = 50 // of reading the store and moving what is elsewhere
	stubborn = 5  // rounds in which a name is not where this run put it
	maxTold  = 20 // errors
)

// Store is what a release store is at.
type Store struct {
	State *environment.State
	Rules environment.Rules
	// Entry is that of a version that an environment sees.
	Entry func(environment.Seen) (environment.Entry, error)
}

// Registry has the tags of one repository.
type Registry interface {
	// At is the digest that a tag stands for, "" for nothing.
	At(ctx context.Context, tag string, depth publish.Depth) (artifact.Digest, error)
	// Move has a tag stand for a digest that the repository has.
	Move(ctx context.Context, tag string, to artifact.Digest) error
}

// Options say what follows a store, and how.
type Options struct {
	// Read calls its argument with what the store is at now.
	Read func(context.Context, func(Store) error) error
	// Component is the only one whose names follow; "" is all of them.
	Component string
	// Repositories are where the images of a repository are in an environment; nil is the repository itself.
	Repositories func(environment, repository string) []string
	// Open is a repository, with its host.
	Open func(ctx context.Context, repository string) (Registry, error)
	// Check changes nothing.
	Check bool
	// Pause waits before names that did not stay where they were put are looked at again; nil waits 2 s, then 4 s and so on.
	Pause func(ctx context.Context, round int) error
}

// Name is a name that moves, with what the store says that it stands for.
type Name struct {
	Name        string          `json:"name"` // as people write it: ghcr.io/owner/tool:latest
	Is          artifact.Digest `json:"is,omitempty"`
	Detail      string          `json:"detail,omitempty"` // what it is, where that is no digest
	ShouldBe    artifact.Digest `json:"shouldBe,omitempty"`
	Component   string          `json:"component"`
	Environment string          `json:"environment"`
	Version     string          `json:"version"`
	Pinned      bool            `json:"pinned,omitempty"` // by a rollback
	Line        int             `json:"line"`             // of the log, that says so

	repository, tag string
}

// Result is what was found and done.
type Result struct {
	// Names were moved or, of a check, are to be.
	Names []Name
	// Left says of what nothing is the current version, and whose names stay where they are.
	Left []string
}

// Reconcile brings every name to what the store says, and ends when nothing is left to move. The result tells what was moved also
// beside an error, which names every place that could not be brought there; the others were.
func Reconcile(ctx context.Context, o Options) (Result, error) {
	if o.Repositories == nil {
		o.Repositories = func(_, repository string) []string { return []string{repository} }
	}
	if o.Pause == nil {
		o.Pause = func(ctx context.Context, round int) error { return wire.Sleep(ctx, time.Second<<round) }
	}
	r := run{Options: o, registries: map[string]Registry{}, entries: map[artifact.Digest]environment.Entry{}, moved: map[string]Name{}, failed: map[string]error{}}
	return r.all(ctx)
}

// run is one reconciling.
type run struct {
	Options
	registries map[string]Registry
	entries    map[artifact.Digest]environment.Entry
	moved      map[string]Name  // by this run, as they were before it
	failed     map[string]error // by name, or by repository
}

func (r *run) all(ctx context.Context) (Result, error) {
	var out Result
	elsewhere := 0
	for round := 1; ; round++ {
		var wanted []Name
		err := r.Read(ctx, func(s Store) (err error) {
			wanted, out.Left, err = r.list(s)
			return err
		})
		if err != nil {
			return r.result(out), err
		}
		drift, again := r.look(ctx, wanted)
		if err := ctx.Err(); err != nil {
			return r.result(out), err
		}
		if r.Check {
			out.Names = drift
			return out, r.errors()
		}
		if len(drift) == 0 {
			return r.result(out), r.errors()
		}
		if again {
			elsewhere++
		}
		if round == rounds || elsewhere == stubborn {
			return r.result(out), errors.Join(fault.Errorf(fault.Transient, "%s does not stay where it was put: others move it at the same time, or its registry shows late what it took; the same command goes on", drift[0].Name), r.errors())
		}
		if again {
			if err := r.Pause(ctx, elsewhere); err != nil {
				return r.result(out), err
			}
		}
		r.move(ctx, drift)
	}
}

// result has all that was moved, sorted.
func (r *run) result(out Result) Result {
	out.Names = slices.SortedFunc(maps.Values(r.moved), func(a, b Name) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (r *run) errors() error {
	var all []error
	for i, at := range slices.Sorted(maps.Keys(r.failed)) {
		if i == maxTold {
			return errors.Join(append(all, fault.Errorf(fault.CodeOf(r.failed[at]), "and %d more", len(r.failed)-i))...)
		}
		all = append(all, r.failed[at])
	}
	return errors.Join(all...)
}

// list are the names that the store says something of, sorted, and of what it says nothing.
func (r *run) list(s Store) (all []Name, left []string, err error) {
	components := s.State.Components()
	if r.Component != "" {
		if _, err := s.Rules.Component(r.Component); err != nil {
			return nil, nil, err
		}
		components = []string{r.Component}
	}
	places := map[string]Name{}
	for _, component := range components {
		for _, stage := range s.Rules.Stages {
			found, without, err := r.of(s, stage, component)
			if err != nil {
				return nil, nil, err
			}
			if len(without) > 0 {
				left = append(left, fmt.Sprintf("%s in %s: no version is the current one for %s; what has these names keeps them", component, stage.Name, strings.Join(without, ", ")))
			}
			for _, n := range found {
				if other, ok := places[n.Name]; ok && other.ShouldBe != n.ShouldBe {
					r.failed[n.Name] = fault.Errorf(fault.Usage, "%s is a name of %s in %s and of %s in %s, which have other bytes, so it stays where it is: have one of them have it, by its repository or by tags in %s",
						n.Name, other.Component, other.Environment, n.Component, n.Environment, environment.RulesFile)
				}
				places[n.Name] = n
			}
		}
	}
	return slices.SortedFunc(maps.Values(places), func(a, b Name) int { return strings.Compare(a.Name, b.Name) }), left, nil
}

// of are the names of a component in an environment, and the tags that nothing is the current version for.
func (r *run) of(s Store, stage environment.Stage, component string) (all []Name, without []string, err error) {
	for _, t := range s.State.Tags(s.Rules, stage.Name, component) {
		if t.None {
			without = append(without, t.Name)
			continue
		}
		e, err := r.entry(s, t.Seen)
		if err != nil {
			return nil, nil, err
		}
		n := Name{Component: component, Environment: stage.Name, Version: t.Version, Pinned: t.Pinned, Line: t.Line}
		for _, im := range e.Images {
			tags := []string{t.Name + "-" + im.Distro}
			if im.Default {
				tags = append(tags, t.Name)
			}
			for _, where := range r.Repositories(stage.Name, im.Repository) {
				for _, n.tag = range tags {
					if err := checkTag(n.tag, im.Distro); err != nil {
						return nil, nil, fault.Errorf(fault.Usage, "%s: tags of %s: %w", environment.RulesFile, stage.Name, err)
					}
					n.Name, n.repository, n.ShouldBe = where+":"+n.tag, where, im.Digest
					all = append(all, n)
				}
			}
		}
	}
	return all, without, nil
}

// tags are what a registry takes for one
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
var tags = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// checkTag refuses what is not a name that moves: that of a version never does, nor does that of a signature.
func checkTag(tag, distro string) error {
	if !tags.MatchString(tag) {
		return fmt.Errorf("%.140q is not a tag", tag)
	}
	if _, err := version.Parse(strings.ReplaceAll(strings.TrimSuffix(tag, "-"+distro), "_", "+")); err == nil || strings.HasPrefix(tag, "sha256-") {
		return fmt.Errorf("%s is a name that never moves", tag)
	}
	return nil
}

// entry is that of a version, which is read once: another entry has another digest.
func (r *run) entry(s Store, seen environment.Seen) (environment.Entry, error) {
	if e, ok := r.entries[seen.Entry]; ok {
		return e, nil
	}
	e, err := s.Entry(seen)
	if err == nil {
		r.entries[seen.Entry] = e
	}
	return e, err
}

// look are the names that stand for something else than they should; again says that some of them were moved by this run. What this
// run moved is read back.
func (r *run) look(ctx context.Context, wanted []Name) (drift []Name, again bool) {
	r.each(ctx, wanted, func(ctx context.Context, reg Registry, n *Name) error {
		depth := publish.Listed
		if _, ok := r.moved[n.Name]; ok {
			depth = publish.Read
		}
		var err error
		n.Is, err = reg.At(ctx, n.tag, depth)
		return err
	})
	for _, n := range wanted {
		if n.Is == n.ShouldBe || r.failed[n.Name] != nil || r.failed[n.repository] != nil {
			continue
		}
		if m, ok := r.moved[n.Name]; ok && m.ShouldBe == n.ShouldBe {
			again = true
		}
		drift = append(drift, n)
	}
	return drift, again
}

// move moves names, and notes which.
func (r *run) move(ctx context.Context, drift []Name) {
	r.each(ctx, drift, func(ctx context.Context, reg Registry, n *Name) error {
		err := reg.Move(ctx, n.tag, n.ShouldBe)
		if fault.CodeOf(err) == fault.Mismatch {
			err = fault.Errorf(fault.Mismatch, "%w, which %s %s in %s is made of (line %d of the log): publish that release to this registry, or withdraw it",
				err, n.Component, n.Version, n.Environment, n.Line)
		}
		return err
	})
	for _, n := range drift {
		if r.failed[n.Name] != nil || r.failed[n.repository] != nil {
			continue
		}
		if before, ok := r.moved[n.Name]; ok {
			n.Is = before.Is
		}
		r.moved[n.Name] = n
	}
}

// each calls f for names, those of several repositories at once. What fails is not tried again.
func (r *run) each(ctx context.Context, all []Name, f func(context.Context, Registry, *Name) error) {
	byRepository := map[string][]*Name{}
	for i := range all {
		byRepository[all[i].repository] = append(byRepository[all[i].repository], &all[i])
	}
	names := slices.Sorted(maps.Keys(byRepository))
	opened, errs := make([]Registry, len(names)), make([]map[string]error, len(names))
	var g errgroup.Group
	g.SetLimit(parallel)
	for i, repository := range names {
		if r.failed[repository] != nil {
			continue
		}
		opened[i], errs[i] = r.registries[repository], map[string]error{}
		g.Go(func() (err error) {
			if opened[i] == nil {
				if opened[i], err = r.Open(ctx, repository); err != nil {
					errs[i][repository] = err
					return nil
				}
			}
			for _, n := range byRepository[repository] {
				if r.failed[n.Name] != nil {
					continue
				}
				err := ctx.Err()
				if err == nil {
					err = f(ctx, opened[i], n)
				}
				if err != nil {
					errs[i][n.Name] = err
				}
			}
			return nil
		})
	}
	_ = g.Wait() // which nothing returns an error to
	for i, repository := range names {
		if opened[i] != nil {
			r.registries[repository] = opened[i]
		}
		maps.Copy(r.failed, errs[i])
	}
}

// Drift says what a name is and what it should be, and why.
func (n Name) Drift() string {
	if n.Detail != "" {
		return fmt.Sprintf("%s: %s, and should be %s", n.Name, n.Detail, n.why())
	}
	return fmt.Sprintf("%s is %s and should be %s: %s", n.Name, cmp.Or(n.Is.Short(), "missing"), cmp.Or(n.ShouldBe.Short(), n.Version), n.why())
}

// Moved says from where to where a name was moved, and why.
func (n Name) Moved() string {
	if n.repository == "" {
		return n.Name + " -> " + n.why()
	}
	return fmt.Sprintf("%s: %s -> %s: %s", n.Name, cmp.Or(n.Is.Short(), "nothing"), n.ShouldBe.Short(), n.why())
}

func (n Name) why() string {
	if n.Component == "" { // what has the current versions of all
		return fmt.Sprintf("%s as of line %d", n.Environment, n.Line)
	}
	why := fmt.Sprintf("%s %s in %s", n.Component, n.Version, n.Environment)
	if n.Pinned {
		why += ", pinned by a rollback"
	}
	return fmt.Sprintf("%s (line %d)", why, n.Line)
}
