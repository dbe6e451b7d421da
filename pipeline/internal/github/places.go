package github

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/web"
)

// The hosts of GitHub, and where an Enterprise Server has them
// (https://docs.github.com/enterprise-server@latest/rest/using-the-rest-api/getting-started-with-the-rest-api).
const (
	Page              = "https://github.com"
	API               = "https://api.github.com"
	uploads           = "https://uploads.github.com"
	enterpriseAPI     = "/api/v3"
	enterpriseUploads = "/api/uploads"
)

// Repo is a repository.
type Repo struct{ Owner, Name string }

// String is owner/name.
func (r Repo) String() string { return r.Owner + "/" + r.Name }

// Is reports whether a full name is the repository's; GitHub does not distinguish letter case.
func (r Repo) Is(full string) bool { return strings.EqualFold(full, r.String()) }

var (
	ownerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
	repoName  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
)

// Valid reports whether GitHub can have a repository of the name.
func (r Repo) Valid() bool {
	return ownerName.MatchString(r.Owner) && repoName.MatchString(r.Name) && strings.Trim(r.Name, ".") != ""
}

// ParseRepo reads owner/name.
func ParseRepo(full string) (Repo, error) {
	owner, name, _ := strings.Cut(full, "/")
	r := Repo{owner, name}
	if !r.Valid() {
		return Repo{}, fmt.Errorf("%.150q is not a repository on GitHub; write owner/name", full)
	}
	return r, nil
}

// Locate finds the repository at the URL of its page, or of its git repository, and the API that it is in.
func Locate(address string) (r Repo, api string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return Repo{}, "", err
	}
	r, err = ParseRepo(strings.Trim(strings.TrimSuffix(u.Path, ".git"), "/"))
	if err != nil || u.Host == "" {
		return Repo{}, "", fmt.Errorf("%.300s is not the URL of a repository on GitHub, such as https://github.com/owner/name", u.Redacted())
	}
	return r, apiOf(u), nil
}

// apiOf is the API of the server that a page is on.
func apiOf(page *url.URL) string {
	if page.Host == "github.com" {
		return API
	}
	return page.Scheme + "://" + page.Host + enterpriseAPI
}

// APIOf is the API of the server that a page is on, and whether the token of the environment is for it: the server is
// that of GITHUB_SERVER_URL, or else github.com. A token goes to that one host, and never in the clear.
func APIOf(page *url.URL, getenv func(string) string) (api string, own bool) {
	server, err := url.Parse(cmp.Or(getenv("GITHUB_SERVER_URL"), Page))
	own = err == nil && server.Host == page.Host
	api = apiOf(page)
	if own && page.Host != "github.com" {
		api = cmp.Or(getenv("GITHUB_API_URL"), api)
	}
	u, err := url.Parse(api)
	return api, own && err == nil && web.Private(u)
}

// UploadURL is where assets are sent to, given where the API is; "" is GitHub's.
func UploadURL(api string) string {
	api = strings.TrimRight(cmp.Or(api, API), "/")
	if api == API {
		return uploads
	}
	if host, ok := strings.CutSuffix(api, enterpriseAPI); ok {
		return host + enterpriseUploads
	}
	return api
}

// Hosts are those that the token for an API is for, as in a URL: its own, and the one that takes assets.
func Hosts(api string) []string {
	var hosts []string
	for _, address := range []string{cmp.Or(api, API), UploadURL(api)} {
		if u, err := parse(address); err == nil && (len(hosts) == 0 || hosts[0] != u.Host) {
			hosts = append(hosts, u.Host)
		}
	}
	return hosts
}

// parse reads the URL of a place that a token is shown to, or that bytes that people run come from.
func parse(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !web.Private(u) {
		return nil, errors.New("it is not at https://host/path without user or query")
	}
	return u, nil
}

// Escape is a name with slashes, such as that of a branch, as part of a URL.
func Escape(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}
