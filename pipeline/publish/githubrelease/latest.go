package githubrelease

import (
	"context"
	"fmt"

	gh "github.com/google/go-github/v60/github"

	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Latest has GitHub call the release of a tag the latest, whichever it calls so now: for a project of which something else decides that
// than the highest version.
type Latest struct {
	client client
	tag    string
}

// NewLatest needs no files of the release but its manifest.
func NewLatest(o Options) (*Latest, error) {
	c, err := newClient(o)
	return &Latest{c, o.Release.Manifest.Tag}, err
}

// Look tells which release is the latest.
func (l *Latest) Look(ctx context.Context, _ publish.Depth) ([]publish.Item, error) {
	at, err := l.client.latest(ctx)
	it := publish.Item{Name: "latest release of " + l.client.repo.String(), Phase: publish.Flip, State: publish.Same}
	switch {
	case err != nil:
		return nil, err
	case at == "":
		it.State = publish.Missing
	case at != l.tag:
		it.State, it.Detail = publish.Movable, "it is "+at
	}
	return []publish.Item{it}, nil
}

// Stage does nothing.
func (l *Latest) Stage(context.Context) error { return nil }

// Flip has GitHub call it the latest.
func (l *Latest) Flip(ctx context.Context) error {
	r, err := l.client.published(ctx, l.tag)
	if err == nil && r == nil {
		err = fault.Errorf(fault.Mismatch, "%s has no public release %s, which should be the latest: publish it there", l.client.repo, l.tag)
	}
	if err == nil {
		err = l.client.edit(ctx, r.ID, &gh.RepositoryRelease{MakeLatest: new("true")})
	}
	if err != nil {
		return fmt.Errorf("making %s the latest release: %w", l.tag, err)
	}
	return nil
}
