package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
)

// maxBehind is how far a clock may be behind those of others.
const maxBehind = 5 * time.Minute

// Read is what an environment has of a component, and how far the log went that says so. What does not hold is a fault.Mismatch,
// what could not be had a fault.Transient, and a component that the environment does not have a fault.Usage.
func Read(ctx context.Context, client *tuf.Client, stage, component string) (Component, Position, error) {
	for _, name := range []string{stage, component} {
		if err := environment.CheckName(name); err != nil {
			return Component{}, Position{}, err
		}
	}
	if err := client.Refresh(ctx); err != nil {
		return Component{}, Position{}, err
	}
	name := Path(stage, component)
	t, err := client.Find(ctx, name)
	if fault.CodeOf(err) == fault.Usage && errors.Is(err, fs.ErrNotExist) {
		err = fault.Errorf(fault.Usage, "the index has no component %s in an environment %s", component, stage)
	}
	if err != nil {
		return Component{}, Position{}, err
	}
	of, err := readCustom(client.Trusted().Custom)
	if err != nil {
		return Component{}, Position{}, fmt.Errorf("root version %d: %w", client.Trusted().Version, err)
	}
	signed, err := readCustom(t.Custom)
	if err == nil && signed.Store != of.Store {
		err = fault.Errorf(fault.Mismatch, "it is of store %.80q, and the root is of %.80q", signed.Store, of.Store)
	}
	if err != nil {
		return Component{}, Position{}, fmt.Errorf("%s: %w", name, err)
	}
	b, err := client.Fetch(ctx, name, t)
	if err != nil {
		return Component{}, Position{}, err
	}
	c, err := Parse(b)
	if err == nil && (c.Environment != stage || c.Component != component) {
		err = fault.Errorf(fault.Mismatch, "it is of %s in %s", c.Component, c.Environment)
	}
	if err != nil {
		return Component{}, Position{}, fmt.Errorf("%s: %w", name, err)
	}
	for _, v := range c.Versions {
		if now := client.Now(); v.Entered.Sub(now) > maxBehind {
			return Component{}, Position{}, fault.Errorf(fault.Transient, "this machine's clock says %s, and %s %s is in %s since %s: set the clock, by which it is known what has expired",
				now.UTC().Format(time.RFC3339), component, v.Version, v.In, v.Entered.Format(time.RFC3339))
		}
	}
	return c, signed.Log, nil
}

// Open calls f with the branch as it is now, for a client.
func (x *Index) Open(ctx context.Context, f func(tuf.Source) error) error {
	return x.group.Locked(ctx, func() error {
		if err := x.group.Fetch(ctx); err != nil {
			return err
		}
		if x.group.Head(Branch) == "" {
			return fault.New(fault.Usage, ErrNone)
		}
		return f(repository{x})
	})
}

// repository is the branch as a repository of metadata.
type repository struct{ x *Index }

func (r repository) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	b, err := r.x.group.File(ctx, r.x.group.Head(Branch), name, limit)
	switch {
	case errors.Is(err, branch.ErrUnfit):
		return nil, &bounded.TooLarge{Name: name, Limit: limit}
	case err == nil && b == nil:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return b, err
}
