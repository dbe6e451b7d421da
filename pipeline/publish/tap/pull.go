package tap

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/slipway-build/slipway/pipeline/internal/github"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// forks reports whether the pull request goes from one repository to another.
func (d *Destination) forks() bool { return !d.repo.Is(d.upstream.String()) }

// forkOf is the repository that the pull request goes to.
func (d *Destination) forkOf(ctx context.Context, fork github.Repository) (github.Repository, error) {
	up, err := d.api.repository(ctx, d.upstream)
	if err != nil {
		return up, err
	}
	if fork.Parent != nil && d.upstream.Is(fork.Parent.FullName) || fork.Source != nil && d.upstream.Is(fork.Source.FullName) {
		return up, nil
	}
	return up, fault.Errorf(fault.Usage, "%s is not a fork of %s, so no pull request goes from one to the other; fork it", d.repo, d.upstream)
}

// proposed takes into account what is proposed already. A pull request of this release that was merged is the end of it,
// whatever was made of the files since. One that was closed is somebody's decision.
func (d *Destination) proposed(ctx context.Context, v *view, depth publish.Depth) error {
	if !anyOf(v.items, publish.Missing, publish.Movable, publish.Different) {
		return nil
	}
	pulls, err := d.api.pulls(ctx, d.upstream, v.from, d.proposal, v.branch)
	if err != nil {
		return err
	}
	var open, closed *gh.PullRequest
	for _, p := range pulls {
		switch {
		case p.MergedAt != nil:
			settle(v.items, "merged with ", p)
			return nil
		case p.GetState() == "open":
			open = p
		default:
			closed = p
		}
	}
	if anyOf(v.items, publish.Different) {
		return nil
	}
	if open == nil && closed != nil {
		return fault.Errorf(fault.Policy, "%s was closed and not merged; open it again, or release another version", title(closed))
	}
	if v.tip, err = d.api.tip(ctx, d.repo, d.proposal); err != nil || v.tip == "" {
		return err
	}
	// taken leaves the branch to whoever made it.
	taken := func(it *publish.Item, why string) {
		it.State, it.Detail = publish.Different, fmt.Sprintf("branch %s of %s %s; if it is not needed, delete it", d.proposal, d.repo, why)
	}
	for i, f := range d.files {
		it := &v.items[i]
		if it.State != publish.Missing && it.State != publish.Movable {
			continue
		}
		there, err := d.api.contents(ctx, d.repo, f.at, v.tip, depth)
		if err != nil {
			return err
		}
		if !there.there || there.odd != "" || string(there.content) != string(f.content) {
			taken(it, "is there and has other bytes")
		}
	}
	if anyOf(v.items, publish.Different) {
		return nil
	}
	if open != nil {
		settle(v.items, "proposed in ", open)
		return nil
	}
	// Nobody sees what a branch has beyond these files until it is proposed, so it must be one commit of ours.
	c, err := d.api.commit(ctx, d.repo, v.tip)
	if err != nil {
		return err
	}
	for i := range v.items {
		it := &v.items[i]
		if it.State != publish.Missing && it.State != publish.Movable {
			continue
		}
		it.Detail = fmt.Sprintf("branch %s of %s has it, and no pull request yet", d.proposal, d.repo)
		if !c.like(d.commit) {
			taken(it, "is at a commit that is not this release's")
		}
	}
	return nil
}

func anyOf(items []publish.Item, states ...publish.State) bool {
	return slices.ContainsFunc(items, func(it publish.Item) bool { return slices.Contains(states, it.State) })
}

// settle counts as there what a pull request has.
func settle(items []publish.Item, how string, p *gh.PullRequest) {
	for i := range items {
		it := &items[i]
		if it.State == publish.Same || it.State == publish.Kept {
			continue
		}
		it.State, it.Detail = publish.Same, how+title(p)
		if page := address(p.GetHTMLURL()); page != "" {
			it.URL = page
		}
	}
}

// request proposes the changes: a branch, unless an earlier run created it, and a pull request.
func (d *Destination) request(ctx context.Context, v view, changes []file) error {
	if v.tip == "" {
		if err := d.branchOff(ctx, v, changes); err != nil {
			return err
		}
	}
	in := &gh.NewPullRequest{Title: &d.title, Head: &d.proposal, Base: &v.branch}
	if d.body != "" {
		in.Body = &d.body
	}
	if d.forks() {
		in.Head = new(v.from.Owner + ":" + d.proposal)
		if strings.EqualFold(v.from.Owner, d.upstream.Owner) {
			in.HeadRepo = &v.from.Name // or GitHub would take it for a branch of upstream
		}
	}
	err := d.api.open(ctx, d.upstream, in)
	if said := wire.Refusal(err); wire.StatusOf(err) == http.StatusUnprocessableEntity &&
		(strings.Contains(said, "already exists") || strings.Contains(said, "no commits between")) {
		return fault.New(fault.Transient, err) // it was proposed, or merged, since it was looked for
	}
	return err
}

// branchOff creates the branch at the commit with the changes. A fork may lack the commit that it begins at, or GitHub
// may not let it begin there before the fork is up to date.
func (d *Destination) branchOff(ctx context.Context, v view, changes []file) error {
	synced := !d.forks()
	sync := func() error {
		synced = true
		return d.api.sync(ctx, d.repo, v.branch)
	}
	if !synced {
		_, err := d.api.commit(ctx, d.repo, v.head)
		if status := wire.StatusOf(err); status == http.StatusNotFound || status == http.StatusUnprocessableEntity {
			err = sync()
		}
		if err != nil {
			return err
		}
	}
	made, refused := d.begin(ctx, v.head, changes)
	if !synced && lacks(refused) {
		if err := sync(); err != nil {
			return err
		}
		made, refused = d.begin(ctx, v.head, changes)
	}
	if status := wire.StatusOf(refused); status == http.StatusUnprocessableEntity || status == http.StatusConflict {
		// An earlier request may have been obeyed after all.
		now, err := d.api.tip(ctx, d.repo, d.proposal)
		switch {
		case err != nil:
			return err
		case now != "" && now == made:
			return nil
		case now != "":
			return fault.Errorf(fault.Transient, "%s: branch %s was created by somebody else, at %.12s and not at %.12s", d.repo, d.proposal, now, made)
		case protected.MatchString(wire.Refusal(refused)):
			return fault.Errorf(fault.Policy, "the rules of %s forbid branch %s; let the token pass them: %w", d.repo, d.proposal, refused)
		}
	}
	if d.forks() && lacks(refused) {
		return fault.Errorf(fault.Transient, "%s does not have the commits of %s yet; run the same command again, and sync the fork by hand, on its page, if that does not help: %w",
			d.repo, d.upstream, refused)
	}
	return refused
}

// begin makes the commit and creates the branch at it.
func (d *Destination) begin(ctx context.Context, head string, changes []file) (made string, err error) {
	if made, err = d.write(ctx, head, changes); err != nil {
		return "", err
	}
	return made, d.api.create(ctx, d.repo, d.proposal, made)
}

// lacks reports whether a refusal can come from a fork that lacks commits of upstream: of what is missing GitHub says that it
// is not there, does not exist, or cannot be referred to.
func lacks(err error) bool {
	status := wire.StatusOf(err)
	said := wire.Refusal(err)
	return status == http.StatusNotFound || status == http.StatusUnprocessableEntity && !strings.Contains(said, "already exists") && !protected.MatchString(said)
}
