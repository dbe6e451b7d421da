// Package pull opens a pull request at the host of a release store: on GitHub by its interface, and on GitLab by what goes with the push
// of the branch.
package pull

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/github"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const (
	maxAnswer = 4 << 20 // bytes
	patience  = time.Minute
)

// Request is a pull request: of one branch of a repository into another one of it.
type Request struct {
	Branch, Into string
	Title, Body  string // of one line each
	Said         string // by the host, as the branch was pushed
}

// maxTitle is what GitLab has room for; GitHub has for one more.
const maxTitle = 255

// title is the title, as much as there is room for.
func (r Request) title() string {
	for n, c := range r.Title {
		if n+len(string(c)) > maxTitle-len("…") && len(r.Title) > maxTitle {
			return r.Title[:n] + "…"
		}
	}
	return r.Title
}

// Options fills in the branches, and returns the options of a push that have GitLab open a merge request
// (https://docs.gitlab.com/ee/user/project/push_options.html), none for another host. GitLab is a host that is called so, and the one that
// CI_SERVER_HOST names in a job of GitLab.
func (r *Request) Options(remote, branch, into string, getenv func(string) string) []string {
	page := Page(remote)
	if r.Branch, r.Into = branch, into; page == nil || !strings.HasPrefix(page.Hostname(), "gitlab.") && (getenv("GITLAB_CI") != "true" || page.Hostname() != getenv("CI_SERVER_HOST")) {
		return nil
	}
	all := []string{"merge_request.create", "merge_request.target=" + r.Into, "merge_request.title=" + r.title()}
	if r.Body != "" {
		all = append(all, "merge_request.description="+r.Body)
	}
	return all
}

// merging is how GitLab answers a push: with the page of a merge request, or with that where one is opened.
var merging = regexp.MustCompile(`\bhttps?://[^\s/]+/[^\s]+/merge_requests/(?:[0-9]+|new\?[^\s]+)`)

// said is the page that the host of a store named as the branch was pushed, "" for none.
func (r Request) said(page *url.URL) string {
	for _, text := range merging.FindAllString(r.Said, -1) {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() != page.Hostname() || u.User != nil {
			continue
		}
		if u.RawQuery != "" { // which would be into the default branch
			u.RawQuery += "&" + url.Values{"merge_request[target_branch]": {r.Into}}.Encode()
		}
		return u.String()
	}
	return ""
}

// scp is user@host:path, which git takes for ssh.
var scp = regexp.MustCompile(`^(?:[A-Za-z0-9._-]+@)?([A-Za-z0-9][A-Za-z0-9.-]*):([^:/\\][^:]*)$`)

// Page is the page of the repository at an address that git knows, nil where no page can be told from it.
func Page(remote string) *url.URL {
	if m := scp.FindStringSubmatch(remote); m != nil {
		remote = "https://" + m[1] + "/" + m[2]
	}
	u, err := url.Parse(remote)
	if err != nil || u.Host == "" {
		return nil
	}
	if u.Scheme == "ssh" {
		u.Scheme, u.Host = "https", u.Hostname()
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(strings.TrimRight(u.Path, "/"), ".git")}
}

// Open opens a pull request on GitHub, if none of the branch is open or was closed without a merge, and returns the address of its page. Where the
// repository is not on the GitHub that GITHUB_SERVER_URL names, by default github.com, or GITHUB_TOKEN is not set, it returns what the host said
// itself: the page of what it has opened, or that where a person opens it; else "".
func Open(ctx context.Context, remote string, r Request, getenv func(string) string) (string, error) {
	page, token := Page(remote), getenv("GITHUB_TOKEN")
	if page == nil {
		return "", nil
	}
	if at := r.said(page); at != "" || token == "" {
		return at, nil
	}
	api, own := github.APIOf(page, getenv)
	repo, err := github.ParseRepo(strings.Trim(page.Path, "/"))
	if err != nil || !own {
		return "", nil
	}
	client, err := github.New(github.Options{
		HTTP: &http.Client{Transport: web.Kept(bearer{token, github.Hosts(api)}), Timeout: patience}, API: api, MaxAnswer: maxAnswer,
		Fault: func(err error) error { return fault.Or(err, fault.Transient) },
		Expect: func(res *http.Response, want ...int) error {
			if slices.Contains(want, res.StatusCode) {
				return nil
			}
			res.Body.Close()
			code := fault.OfStatus(res.StatusCode)
			if res.StatusCode == http.StatusNotFound { // which GitHub says of what the token may not see
				code = fault.Credentials
			}
			return fault.Errorf(code, "opening a pull request of %s in %s: GitHub says %s; it needs a token in GITHUB_TOKEN that may write pull requests there", r.Branch, repo, res.Status)
		},
	})
	if err != nil {
		return "", fault.New(fault.Usage, err)
	}
	type shown struct {
		Page   string  `json:"html_url"`
		Merged *string `json:"merged_at"`
	}
	// https://docs.github.com/rest/pulls/pulls#list-pull-requests
	q := url.Values{"head": {repo.Owner + ":" + r.Branch}, "base": {r.Into}, "state": {"all"}}
	var before []shown // the newest one first
	if err := client.Get(ctx, "/repos/"+repo.String()+"/pulls?"+q.Encode(), &before); err != nil {
		return "", err
	}
	// One that was closed is not opened again, and one that was merged was of what the branch had then.
	if len(before) > 0 && before[0].Merged == nil {
		return before[0].Page, nil
	}
	// https://docs.github.com/rest/pulls/pulls#create-a-pull-request
	var made shown
	err = client.Call(ctx, http.MethodPost, "/repos/"+repo.String()+"/pulls", map[string]string{
		"title": r.title(), "head": r.Branch, "base": r.Into, "body": r.Body,
	}, &made, http.StatusCreated)
	if err != nil {
		return "", fmt.Errorf("%w; the branch is there", err)
	}
	return made.Page, nil
}

// bearer adds a token to requests of the hosts that it is for, and to none that one of them sends on elsewhere.
type bearer struct {
	token string
	hosts []string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if slices.Contains(b.hosts, r.URL.Host) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return http.DefaultTransport.RoundTrip(r)
}
