// Package github asks the REST API of GitHub, or of a GitHub Enterprise Server, and knows where each of them is.
//
// It decides nothing for its users: what a refusal means, what is asked again, whose token is shown and what is written
// down is for the client that they give it, and for Expect and Fault. That is why it is not the library's client, whose
// Do waits for rate limits by a clock of its own, reads answers of any length and sends bodies that cannot be sent again.
package github

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
)

// What an answer is asked to be (https://docs.github.com/rest/about-the-rest-api/api-versions,
// https://docs.github.com/rest/repos/contents#get-repository-content).
const (
	apiVersion = "2022-11-28"
	JSON       = "application/vnd.github+json"
	Raw        = "application/vnd.github.raw+json"
)

const (
	perPage  = 100
	maxPages = 100
	// MaxList is how many items of a list are read; GitHub lists no more of most.
	MaxList = perPage * maxPages
)

// Doer makes requests, as *http.Client does.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Options say which API is asked, and how.
type Options struct {
	HTTP    Doer
	API     string // URL; "" is GitHub's
	Uploads string // URL that takes assets; "" is the one that goes with API, see UploadURL
	// MaxAnswer bounds an answer, in bytes.
	MaxAnswer int64
	// Expect is the error for an answer that has none of the statuses; it closes its body then. Nil names the status.
	Expect func(res *http.Response, want ...int) error
	// Fault is the error for a request that was not answered, or not as the API says. Nil is that error itself.
	Fault func(error) error
}

// Client asks an API.
type Client struct {
	o Options
}

// New returns a client. An API or Uploads that a token is not to be shown to is an error.
func New(o Options) (*Client, error) {
	api, err := parse(cmp.Or(o.API, API))
	if err != nil {
		return nil, fmt.Errorf("the API of GitHub: %w", err)
	}
	up, err := parse(cmp.Or(o.Uploads, UploadURL(o.API)))
	if err != nil {
		return nil, fmt.Errorf("the API of GitHub for uploads: %w", err)
	}
	o.API, o.Uploads = strings.TrimRight(api.String(), "/"), strings.TrimRight(up.String(), "/")
	if o.Expect == nil {
		o.Expect = expect
	}
	if o.Fault == nil {
		o.Fault = func(err error) error { return err }
	}
	return &Client{o}, nil
}

func expect(res *http.Response, want ...int) error {
	if slices.Contains(want, res.StatusCode) {
		return nil
	}
	defer res.Body.Close()
	return fmt.Errorf("%s %s: %s", res.Request.Method, plain(res.Request), res.Status)
}

// plain is where a request goes, for people: without its query.
func plain(req *http.Request) string {
	return req.URL.Scheme + "://" + req.URL.Host + req.URL.EscapedPath()
}

// NewRequest returns a request for a path of the API, which begins with a slash and may have a query. In is sent as
// JSON, where it is not nil.
func (c *Client) NewRequest(ctx context.Context, method, at string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.o.API+at, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", JSON)
	req.Header.Set("X-GitHub-Api-Version", apiVersion)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// Do makes a request whose answer has one of the statuses. The caller closes its body. A rate limit is a RateLimitError,
// whichever statuses are wanted.
func (c *Client) Do(req *http.Request, want ...int) (*http.Response, error) {
	res, err := c.o.HTTP.Do(req)
	if err != nil {
		return nil, c.o.Fault(err)
	}
	if limit := RateLimited(res); limit != nil {
		res.Body.Close()
		return nil, c.o.Fault(limit)
	}
	if err := c.o.Expect(res, want...); err != nil {
		return nil, err
	}
	return res, nil
}

// Call makes a request for a path whose answer has the status, and reads it into out, where that is not nil.
func (c *Client) Call(ctx context.Context, method, at string, in, out any, status int) error {
	req, err := c.NewRequest(ctx, method, at, in)
	if err != nil {
		return err
	}
	_, err = c.into(req, out, status)
	return err
}

// Get reads what is at a path into out.
func (c *Client) Get(ctx context.Context, at string, out any) error {
	return c.Call(ctx, http.MethodGet, at, nil, out, http.StatusOK)
}

// Upload sends size bytes to a path of the API for uploads, and reads the answer into out.
func (c *Client) Upload(ctx context.Context, at, mediaType string, size int64, open func() (io.ReadCloser, error), out any) error {
	body, err := open()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.Uploads+at, body)
	if err != nil {
		body.Close()
		return err
	}
	req.GetBody, req.ContentLength = open, size
	req.Header.Set("Accept", JSON)
	req.Header.Set("X-GitHub-Api-Version", apiVersion)
	req.Header.Set("Content-Type", mediaType)
	_, err = c.into(req, out, http.StatusCreated)
	return err
}

// Pages reads a list to its end. One of more than MaxList items is a TooManyError.
func Pages[T any](ctx context.Context, c *Client, at string) ([]T, error) {
	var all []T
	for page := 1; ; page++ {
		req, err := c.NewRequest(ctx, http.MethodGet, fmt.Sprintf("%s?per_page=%d&page=%d", at, perPage, page), nil)
		if err != nil {
			return nil, err
		}
		var some []T
		header, err := c.into(req, &some, http.StatusOK)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) == 0 || !strings.Contains(header.Get("Link"), `rel="next"`) {
			return all, nil
		}
		if page == maxPages {
			return nil, TooManyError{}
		}
	}
}

// TooManyError is a list of more than MaxList items.
type TooManyError struct{}

func (TooManyError) Error() string { return fmt.Sprintf("the list has more than %d items", MaxList) }

func (c *Client) into(req *http.Request, out any, status int) (http.Header, error) {
	res, err := c.Do(req, status)
	if err != nil {
		return nil, err
	}
	b, err := c.read(res)
	if err != nil || out == nil {
		return res.Header, err
	}
	return res.Header, c.decode(req, b, out)
}

// read reads an answer to its end and closes it.
func (c *Client) read(res *http.Response) ([]byte, error) {
	defer res.Body.Close()
	b, err := bounded.Read(res.Body, c.o.MaxAnswer)
	if bounded.IsTooLarge(err) {
		return nil, c.o.Fault(fmt.Errorf("%s answers with %w", plain(res.Request), err))
	}
	if err != nil {
		return nil, c.o.Fault(fmt.Errorf("reading %s: %w", plain(res.Request), err))
	}
	return b, nil
}

// decode reads the text of an answer to a request into out.
func (c *Client) decode(req *http.Request, b []byte, out any) error {
	if err := canonjson.DecodeOpen(b, out); err != nil {
		return c.o.Fault(fmt.Errorf("the answer to %s %s is not what the API says: %w", req.Method, plain(req), err))
	}
	return nil
}

// Repository is what GitHub says of one (https://docs.github.com/rest/repos/repos#get-a-repository).
type Repository struct {
	FullName      string `json:"full_name"`
	Page          string `json:"html_url"`
	DefaultBranch string `json:"default_branch"`
	Private       bool   `json:"private"`
	Archived      bool   `json:"archived"`
	Disabled      bool   `json:"disabled"`
	Permissions   struct {
		Push bool `json:"push"`
	} `json:"permissions"` // none without a token, and none of an app's
	Parent *Named `json:"parent"` // of a fork
	Source *Named `json:"source"` // the first of a fork's ancestors
}

// Named is the name of a repository.
type Named struct {
	FullName string `json:"full_name"`
}

// Repository asks what a repository is.
func (c *Client) Repository(ctx context.Context, r Repo) (Repository, error) {
	var out Repository
	err := c.Get(ctx, "/repos/"+r.String(), &out)
	return out, err
}

// IsApp reports whether the token is of an app's installation, such as that of a workflow: what it may do is not said of
// the repository. It alone may ask what it is installed in
// (https://docs.github.com/rest/apps/installations#list-repositories-accessible-to-the-app-installation).
func (c *Client) IsApp(ctx context.Context) (bool, error) {
	req, err := c.NewRequest(ctx, http.MethodGet, "/installation/repositories?per_page=1", nil)
	if err != nil {
		return false, err
	}
	res, err := c.Do(req, http.StatusOK, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound)
	if err != nil {
		return false, err
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK, nil
}

// Reference is what a branch or a tag is at.
type Reference struct {
	Ref    string `json:"ref"`
	Object struct {
		Type string `json:"type"` // commit; tag for an annotated one
		SHA  string `json:"sha"`
	} `json:"object"`
}

// Reference asks for heads/<branch> or tags/<tag> (https://docs.github.com/rest/git/refs#get-a-reference); it reports
// whether it is there. A repository without commits has none.
func (c *Client) Reference(ctx context.Context, r Repo, name string) (ref Reference, found bool, err error) {
	req, err := c.NewRequest(ctx, http.MethodGet, "/repos/"+r.String()+"/git/ref/"+Escape(name), nil)
	if err != nil {
		return ref, false, err
	}
	res, err := c.Do(req, http.StatusOK, http.StatusNotFound, http.StatusConflict)
	if err != nil {
		return ref, false, err
	}
	b, err := c.read(res)
	if err != nil || res.StatusCode != http.StatusOK {
		return ref, false, err
	}
	return ref, true, c.decode(req, b, &ref)
}
