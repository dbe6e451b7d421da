package githubrelease

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// The hosts of GitHub, and where an Enterprise Server has them
// (https://docs.github.com/enterprise-server@latest/rest/using-the-rest-api/getting-started-with-the-rest-api).
const (
	DefaultAPI       = "https://api.github.com"
	defaultUploads   = "https://uploads.github.com"
	enterpriseAPI    = "/api/v3"
	enterpriseUpload = "/api/uploads"
)

// Bounds of what is read.
const (
	maxAnswer = 64 << 20 // bytes: a page of releases tells of all of their assets too
	maxPages  = 100      // of a list, each of perPage
	perPage   = 100
	maxNested = 4 // tags that are of tags
)

// client makes the requests that this package needs. They are the library's, and go out without its Do, which waits for
// rate limits by a clock of its own and reads answers of any length: how long is waited is for the transport to say.
type client struct {
	gh   *github.Client
	http *http.Client
	repo string // owner/name
}

// UploadURL is where assets are sent to, going by where the API is.
func UploadURL(api string) string {
	api = strings.TrimRight(cmp.Or(api, DefaultAPI), "/")
	if api == DefaultAPI {
		return defaultUploads
	}
	if host, ok := strings.CutSuffix(api, enterpriseAPI); ok {
		return host + enterpriseUpload
	}
	return api
}

// UploadHosts are those that the token for the API is for too, as in a URL.
func UploadHosts(api string) []string {
	here, err := parse(cmp.Or(api, DefaultAPI))
	if err != nil {
		return nil
	}
	there, err := parse(UploadURL(api))
	if err != nil || there.Host == here.Host {
		return nil
	}
	return []string{there.Host}
}

func newClient(t *wire.Transport, api, uploads, owner, repo string) (*client, error) {
	c := &client{http: t.Client(), repo: owner + "/" + repo}
	c.gh = github.NewClient(c.http)
	if !names.MatchString(owner) || !names.MatchString(repo) || strings.Trim(repo, ".") == "" {
		return nil, fault.Errorf(fault.Usage, "%.120q is no repository on GitHub; write owner/name", c.repo)
	}
	for _, base := range []struct {
		of   **url.URL
		text string
	}{{&c.gh.BaseURL, cmp.Or(api, DefaultAPI)}, {&c.gh.UploadURL, cmp.Or(uploads, UploadURL(api))}} {
		u, err := parse(base.text)
		if err != nil {
			return nil, fault.Errorf(fault.Usage, "the API of GitHub: %w", err)
		}
		u.Path = strings.TrimRight(u.Path, "/") + "/"
		*base.of = u
	}
	return c, nil
}

var names = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

// parse reads the URL of a place that a token, or bytes that people run, may be asked for from.
func parse(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !wire.Loopback(u.Host)) {
		return nil, errors.New("it is not at https://host/path without user or query")
	}
	return u, nil
}

// escape is a slash-separated name as part of a URL.
func escape(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// at is the path of something in the repository.
func (c *client) at(format string, args ...any) string {
	return "repos/" + c.repo + fmt.Sprintf(format, args...)
}

// call makes a request whose answer has the status, and reads it into out, where that is not nil. More tells whether a
// list has a further page.
func (c *client) call(ctx context.Context, method, at string, in, out any, status int) (more bool, err error) {
	req, err := c.gh.NewRequest(method, at, in)
	if err != nil {
		return false, err
	}
	return c.send(ctx, req, out, status)
}

func (c *client) send(ctx context.Context, req *http.Request, out any, status int) (more bool, err error) {
	res, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return false, wire.Fault(err)
	}
	if err := wire.Expect(res, status); err != nil {
		return false, limited(err)
	}
	b, err := wire.ReadAll(res, maxAnswer)
	if err != nil || out == nil {
		return false, err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return false, strange(req, err)
	}
	return strings.Contains(res.Header.Get("Link"), `rel="next"`), nil
}

// limited gives an error that tells of too many requests the code of one that waiting mends: GitHub says it with the
// status of what is forbidden
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit).
func limited(err error) error {
	if wire.StatusOf(err) == http.StatusForbidden && said(err, "rate limit") {
		return fault.New(fault.Transient, err)
	}
	return err
}

// strange is the error for an answer that is not what the API says.
func strange(req *http.Request, err error) error {
	return fault.Errorf(fault.Transient, "the answer to %s %s is not what the API of GitHub says: %w", req.Method, wire.Redact(req.URL), err)
}

// said tells whether an error is GitHub's refusal with one of the words.
func said(err error, words ...string) bool {
	e, ok := errors.AsType[*wire.StatusError](err)
	for _, w := range words {
		if ok && strings.Contains(strings.ToLower(e.Message), w) {
			return true
		}
	}
	return false
}

// repository is what is told of it (https://docs.github.com/rest/repos/repos#get-a-repository).
type repository struct {
	FullName    string `json:"full_name"`
	HTMLURL     string `json:"html_url"`
	Private     bool   `json:"private"`
	Archived    bool   `json:"archived"`
	Permissions struct {
		Push bool `json:"push"`
	} `json:"permissions"`
}

func (c *client) repository(ctx context.Context) (repository, error) {
	var r repository
	_, err := c.call(ctx, http.MethodGet, c.at(""), nil, &r, http.StatusOK)
	switch {
	case wire.StatusOf(err) == http.StatusNotFound:
		return r, fault.Errorf(fault.Credentials, "there is no repository %s, or the token may not see it: %w", c.repo, err)
	case err != nil:
		return r, fmt.Errorf("asking for %s: %w", c.repo, err)
	case r.FullName != "" && !strings.EqualFold(r.FullName, c.repo):
		return r, fault.Errorf(fault.Usage, "%s is called %.200q now; write that", c.repo, r.FullName)
	}
	if _, err := parse(r.HTMLURL); err != nil {
		return r, fault.Errorf(fault.Transient, "the page of %s is said to be %.200q, which is none", c.repo, r.HTMLURL)
	}
	return r, nil
}

// isApp tells whether the token is of an app's installation, such as that of a workflow: what it may do is not told with
// the repository. It alone may ask what it is installed in
// (https://docs.github.com/rest/apps/installations#list-repositories-accessible-to-the-app-installation).
func (c *client) isApp(ctx context.Context) (bool, error) {
	_, err := c.call(ctx, http.MethodHead, "installation/repositories?per_page=1", nil, nil, http.StatusOK)
	switch wire.StatusOf(err) {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return false, nil
	}
	return err == nil, err
}

// commit is what a tag is of; "" where there is no such tag (https://docs.github.com/rest/git/refs#get-a-reference). A
// repository without commits answers 409.
func (c *client) commit(ctx context.Context, tag string) (string, error) {
	var ref github.Reference
	_, err := c.call(ctx, http.MethodGet, c.at("/git/ref/tags/%s", escape(tag)), nil, &ref, http.StatusOK)
	if s := wire.StatusOf(err); s == http.StatusNotFound || s == http.StatusConflict {
		return "", nil
	}
	o := ref.Object
	for range maxNested {
		if err != nil || o.GetType() != "tag" {
			break
		}
		var t github.Tag // an annotated one
		_, err = c.call(ctx, http.MethodGet, c.at("/git/tags/%s", url.PathEscape(o.GetSHA())), nil, &t, http.StatusOK)
		o = t.Object
	}
	if err != nil {
		return "", fmt.Errorf("asking for tag %s: %w", tag, err)
	}
	if o.GetType() != "commit" || o.GetSHA() == "" {
		return "", fault.Errorf(fault.Git, "tag %s of %s is of no commit", tag, c.repo)
	}
	return o.GetSHA(), nil
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
func (c *client) published(ctx context.Context, tag string) (*release, error) {
	return c.release(ctx, c.at("/releases/tags/%s", escape(tag)), tag)
}

// release is the one at a path; nil where there is none, or it has another tag.
func (c *client) release(ctx context.Context, at, tag string) (*release, error) {
	var r release
	_, err := c.call(ctx, http.MethodGet, at, nil, &r, http.StatusOK)
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

// releases are all that the token sees.
func (c *client) releases(ctx context.Context) ([]release, error) {
	return pages[release](ctx, c, c.at("/releases"), "releases")
}

// asset is one as it is told (https://docs.github.com/rest/releases/assets).
type asset struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"` // "" where the server tells none
}

// finished tells whether all bytes arrived. An upload that broke off leaves an asset in the state starter.
func (a asset) finished() bool { return a.State == "uploaded" }

// assets are those of a release. The release itself tells of some of them.
func (c *client) assets(ctx context.Context, r release) (map[string]asset, error) {
	list, err := pages[asset](ctx, c, c.at("/releases/%d/assets", r.ID), "assets")
	if err != nil {
		return nil, err
	}
	all := make(map[string]asset, len(list))
	for _, a := range list {
		all[a.Name] = a
	}
	return all, nil
}

// pages reads a list to its end.
func pages[T any](ctx context.Context, c *client, at, what string) ([]T, error) {
	var all []T
	for page := 1; ; page++ {
		var some []T
		more, err := c.call(ctx, http.MethodGet, fmt.Sprintf("%s?per_page=%d&page=%d", at, perPage, page), nil, &some, http.StatusOK)
		if err != nil {
			return nil, fmt.Errorf("listing %s of %s: %w", what, c.repo, err)
		}
		all = append(all, some...)
		if !more || len(some) == 0 {
			return all, nil
		}
		if page == maxPages {
			return nil, fault.Errorf(fault.Usage, "%s has more than %d %s, which is more than GitHub lists", c.repo, maxPages*perPage, what)
		}
	}
}

// create makes a draft (https://docs.github.com/rest/releases/releases#create-a-release).
func (c *client) create(ctx context.Context, in *github.RepositoryRelease) (release, error) {
	var r release
	_, err := c.call(ctx, http.MethodPost, c.at("/releases"), in, &r, http.StatusCreated)
	return r, err
}

// edit changes a release (https://docs.github.com/rest/releases/releases#update-a-release).
func (c *client) edit(ctx context.Context, id int64, in *github.RepositoryRelease) error {
	_, err := c.call(ctx, http.MethodPatch, c.at("/releases/%d", id), in, nil, http.StatusOK)
	return err
}

// remove deletes a release or an asset. One that is gone already is as good.
func (c *client) remove(ctx context.Context, at string) error {
	_, err := c.call(ctx, http.MethodDelete, at, nil, nil, http.StatusNoContent)
	if wire.StatusOf(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// upload sends the file name as an asset (https://docs.github.com/rest/releases/assets#upload-a-release-asset).
func (c *client) upload(ctx context.Context, id int64, a Asset, name string) (asset, error) {
	open := func() (io.ReadCloser, error) { return os.Open(name) }
	body, err := open()
	if err != nil {
		return asset{}, err
	}
	req, err := c.gh.NewUploadRequest(c.at("/releases/%d/assets?name=%s", id, url.QueryEscape(a.Name)), body, a.File.Size, a.Type)
	if err != nil {
		return asset{}, errors.Join(err, body.Close())
	}
	req.GetBody = open
	var made asset
	_, err = c.send(ctx, req, &made, http.StatusCreated)
	return made, err
}

// digest reads an asset and hashes it, to one byte more than it should have: over the API, since a draft is seen by
// nobody else, or at the URL where everybody finds it. What is listed and not there may be on its way.
func (c *client) digest(ctx context.Context, have asset, public string) (artifact.Digest, error) {
	var req *http.Request
	var err error
	if public != "" {
		req, err = http.NewRequest(http.MethodGet, public, nil)
	} else {
		req, err = c.gh.NewRequest(http.MethodGet, c.at("/releases/assets/%d", have.ID), nil)
	}
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/octet-stream")
	req.Header.Set("Accept-Encoding", "identity") // the bytes are what is compared
	res, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return "", wire.Fault(fmt.Errorf("downloading %s: %w", have.Name, err))
	}
	if err := wire.Expect(res, http.StatusOK); err != nil {
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
