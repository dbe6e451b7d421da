package resolve

import (
	"context"
	"maps"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Status is what there is of a component, beside what is locked.
type Status struct {
	Name   string
	Locked platform.Chosen // on the channel of the options, with its release where there is one by now; zero where it is not locked
	// Allowed is the highest tag in the constraint, which channel staging takes, and Newest the highest of all. Zero for none.
	Allowed, Newest platform.Chosen
	Branch, Head    string // the branch that channel dev follows, and its commit
	Tag             string // of the highest version at Head; "" while nothing is
	Err             error  // its repository or its releases cannot be read; all else is then as far as that is known
}

// Survey asks the repositories and the releases of all components, and changes nothing.
func Survey(ctx context.Context, o Options) []Status {
	names := o.Platform.Names()
	repositories, places := o.repositories(ctx), o.places(ctx)
	all := make([]Status, len(names))
	var g errgroup.Group
	g.SetLimit(parallel)
	for i, name := range names {
		g.Go(func() error {
			c := o.Platform.Components[name]
			all[i] = Status{Name: name, Locked: o.Before.Components[name]}
			s := &all[i]
			r, err := repositories[c.Repository]()
			if err != nil {
				s.Err = err
				return nil
			}
			s.Branch = c.Branch
			if s.Branch == "" {
				s.Branch = r.head
			}
			s.Head = r.branches[s.Branch]
			s.Allowed = r.highest(c)
			every := c
			every.Constraint = platform.Range{}
			s.Newest = r.highest(every)
			here := refs{tags: maps.Clone(r.tags)}
			maps.DeleteFunc(here.tags, func(_, commit string) bool { return commit != s.Head })
			s.Tag = here.highest(every).Tag
			if s.Locked.Commit != "" && !s.Locked.Published() {
				if s.Locked, err = o.find(ctx, name, s.Locked, places[c.Releases]); err != nil {
					s.Err = err
				}
			}
			switch tagged := r.tags[s.Locked.Tag]; {
			case s.Err != nil || s.Locked.Tag == "" || tagged == s.Locked.Commit:
			case tagged == "":
				s.Err = fault.Errorf(fault.Git, "tag %s is gone: it was commit %.12s when it was locked; push it again, or take a new version", s.Locked.Tag, s.Locked.Commit)
			default:
				s.Err = fault.Errorf(fault.Git, "tag %s moved: it was commit %.12s when it was locked and is %.12s; a version is made once: take a new one", s.Locked.Tag, s.Locked.Commit, tagged)
			}
			return nil
		})
	}
	_ = g.Wait() // no function returns an error
	return all
}
