package githubrelease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/slipway-build/slipway/pipeline/internal/github"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of what is read.
const (
	maxAnswer = 64 << 20 // bytes: a page of releases has all of their assets too
	maxNested = 4        // tags that are of tags
)

// client makes the requests that this package needs.
type client struct {
	*github.Client
	repo github.Repo
}

func newClient(o Options) (client, error) {
	repo := github.Repo{Owner: o.Owner, Name: o.Repo}
	if !repo.Valid() {
		return client{}, fault.Errorf(fault.Usage, "%.150q is not a repository on GitHub; write owner/name", repo.String())
	}
	c, err := o.Transport.GitHub(o.API, o.Uploads, maxAnswer)
	return client{c, repo}, err
}

// at is the path of something in the repository.
func (c client) at(format string, args ...any) string {
	return "/repos/" + c.repo.String() + fmt.Sprintf(format, args...)
}

// said reports whether an error is GitHub's refusal with one of the words.
func said(err error, words ...string) bool {
	refusal := wire.Refusal(err)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(refusal, w) })
}

// repository asks what the repository is.
func (c client) repository(ctx context.Context) (github.Repository, error) {
	r, err := wire.GitHubRepository(ctx, c.Client, c.repo, fault.Credentials)
	if err != nil {
		return r, err
	}
	// Below its page is where everybody downloads.
	if u, err := url.Parse(r.Page); err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !web.Private(u) {
		return r, fault.Errorf(fault.Transient, "GitHub says that the page of %s is %.200q, which is not the URL of a page", c.repo, r.Page)
	}
	return r, nil
}

// commit is what a tag is of; "" where there is no such tag.
func (c client) commit(ctx context.Context, tag string) (string, error) {
	ref, found, err := c.Reference(ctx, c.repo, "tags/"+tag)
	if err == nil && !found {
		return "", nil
	}
	kind, id := ref.Object.Type, ref.Object.SHA
	for range maxNested {
		if err != nil || kind != "tag" {
			break
		}
		var t gh.Tag // an annotated one
		err = c.Get(ctx, c.at("/git/tags/%s", url.PathEscape(id)), &t)
		kind, id = t.GetObject().GetType(), t.GetObject().GetSHA()
	}
	if err != nil {
		return "", fmt.Errorf("asking for tag %s: %w", tag, err)
	}
	if kind != "commit" || id == "" {
		return "", fault.Errorf(fault.Git, "tag %s of %s is not a tag of a commit", tag, c.repo)
	}
	return id, nil
}

// release is one as it is told (https://docs.github.com/rest/releases/releases).
type release struct {
	ID         int64  `json:"id"`
	Tag        string `json:"tag_name"`
	Name       string `json:"name"`
	Body       string `json:"body"`
	Draft      bool   `json:"draft"`
	Prerelease bool   `json:"prerelease"`
	Immutable  bool   `json:"immutable"`
}

// published is the release of the tag that is public; nil for none. A draft is not found by its tag.
func (c client) published(ctx context.Context, tag string) (*release, error) {
	return c.release(ctx, c.at("/releases/tags/%s", github.Escape(tag)), tag)
}

// release is the one at a path; nil where there is none, or it has another tag.
func (c client) release(ctx context.Context, at, tag string) (*release, error) {
	var r release
	err := c.Get(ctx, at, &r)
	switch {
	case wire.StatusOf(err) == http.StatusNotFound:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("asking for the release of %s: %w", tag, err)
	case r.Tag != tag:
		return nil, nil
	case r.ID <= 0:
		return nil, fault.Errorf(fault.Transient, "the release of %s has the number %d", tag, r.ID)
	}
	return &r, nil
}

// latest is the tag of the release that GitHub calls the latest; "" for none
// (https://docs.github.com/rest/releases/releases#get-the-latest-release).
func (c client) latest(ctx context.Context) (string, error) {
	var r release
	err := c.Get(ctx, c.at("/releases/latest"), &r)
	if wire.StatusOf(err) == http.StatusNotFound {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("asking for the latest release: %w", err)
	}
	return r.Tag, nil
}

// releases are all that the token sees.
func (c client) releases(ctx context.Context) ([]release, error) {
	return pages[release](ctx, c, "/releases", "releases")
}

// asset is one as it is told (https://docs.github.com/rest/releases/assets).
type asset struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"` // "" where the server tells none
}

// finished reports whether all bytes arrived. An upload that broke off leaves an asset in the state starter.
func (a asset) finished() bool { return a.State == "uploaded" }

// assets are those of a release. The release itself tells of some of them.
func (c client) assets(ctx context.Context, r release) (map[string]asset, error) {
	list, err := pages[asset](ctx, c, fmt.Sprintf("/releases/%d/assets", r.ID), "assets")
	if err != nil {
		return nil, err
	}
	all := make(map[string]asset, len(list))
	for _, a := range list {
		all[a.Name] = a
	}
	return all, nil
}

// pages reads a list of the repository to its end.
func pages[T any](ctx context.Context, c client, at, what string) ([]T, error) {
	all, err := github.Pages[T](ctx, c.Client, c.at("%s", at))
	if _, ok := errors.AsType[github.TooManyError](err); ok {
		return nil, fault.Errorf(fault.Usage, "%s has more than %d %s, which is more than GitHub lists", c.repo, github.MaxList, what)
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s of %s: %w", what, c.repo, err)
	}
	return all, nil
}

// create makes a draft (https://docs.github.com/rest/releases/releases#create-a-release).
func (c client) create(ctx context.Context, in *gh.RepositoryRelease) (release, error) {
	var r release
	err := c.Call(ctx, http.MethodPost, c.at("/releases"), in, &r, http.StatusCreated)
	return r, err
}

// edit changes a release (https://docs.github.com/rest/releases/releases#update-a-release).
func (c client) edit(ctx context.Context, id int64, in *gh.RepositoryRelease) error {
	return c.Call(ctx, http.MethodPatch, c.at("/releases/%d", id), in, nil, http.StatusOK)
}

// remove deletes a release or an asset. One that is gone already is as good.
func (c client) remove(ctx context.Context, at string) error {
	err := c.Call(ctx, http.MethodDelete, at, nil, nil, http.StatusNoContent)
	if wire.StatusOf(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// upload sends the file name as an asset (https://docs.github.com/rest/releases/assets#upload-a-release-asset).
func (c client) upload(ctx context.Context, id int64, a Asset, name string) (asset, error) {
	var made asset
	at := c.at("/releases/%d/assets?name=%s", id, url.QueryEscape(a.Name))
	err := c.Upload(ctx, at, a.Type, a.File.Size, func() (io.ReadCloser, error) { return os.Open(name) }, &made)
	return made, err
}

// digest reads an asset and hashes it, to one byte more than it should have: over the API, since a draft is seen by
// nobody else, or at the URL where everybody finds it. What is listed and not there may be on its way.
func (c client) digest(ctx context.Context, have asset, public string) (artifact.Digest, error) {
	var req *http.Request
	var err error
	if public != "" {
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, public, nil)
	} else {
		req, err = c.NewRequest(ctx, http.MethodGet, c.at("/releases/assets/%d", have.ID), nil)
	}
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/octet-stream")
	req.Header.Set("Accept-Encoding", "identity") // the bytes are what is compared
	res, err := c.Do(req, http.StatusOK)
	if err != nil {
		if s := wire.StatusOf(err); s == http.StatusNotFound || s == http.StatusForbidden && public != "" {
			err = fault.New(fault.Transient, err)
		}
		return "", fmt.Errorf("downloading %s: %w", have.Name, err)
	}
	defer res.Body.Close()
	m := artifact.NewMeter(io.Discard)
	if _, err := io.Copy(m, io.LimitReader(res.Body, have.Size+1)); err != nil {
		return "", wire.Fault(fmt.Errorf("downloading %s: %w", have.Name, err))
	}
	return m.Digest(), nil
}
