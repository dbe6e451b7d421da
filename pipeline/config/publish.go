package config

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Publish says where a release goes. Secrets are never here: where one is needed, the name of an environment variable is.
type Publish struct {
	GitHub     GitHub              `yaml:"github" doc:"Release on GitHub. Default: one in the project's repository, where that is on GitHub."`
	Registries map[string][]string `yaml:"registries" doc:"Where images and charts go, by the beginning of their repository. Default: to the repository itself." example:"ghcr.io/owner: [ghcr.io/owner, docker.io/owner]"`
	Charts     ChartRepository     `yaml:"charts" doc:"Classic chart repository in a branch of a git repository, besides the OCI repositories of the charts."`
	Homebrew   Tap                 `yaml:"homebrew" doc:"Tap that formulae and casks go to. A prerelease stays out of it."`
	Scoop      Tap                 `yaml:"scoop" doc:"Bucket that Scoop manifests go to. A prerelease stays out of it."`
	Winget     Tap                 `yaml:"winget" doc:"Repository that winget manifests go to: a fork, from which a pull request is made. A prerelease stays out of it."`
	Chocolatey Chocolatey          `yaml:"chocolatey" doc:"NuGet feed that Chocolatey packages are pushed to."`
	Snap       SnapStore           `yaml:"snap" doc:"Channels of the Snap Store."`
	Folder     string              `yaml:"folder" doc:"Folder that releases are kept in, for those who host their own; slipway serve serves it." example:"/srv/releases"`
	Bucket     Bucket              `yaml:"bucket" doc:"S3-compatible bucket that releases are kept in."`
	Announce   []Announcement      `yaml:"announce" doc:"Whom to tell once everything is public. A failure here is none of the release."`
	Committer  string              `yaml:"committer" doc:"Who commits to taps, buckets and chart repositories. Default: vendor, with the noreply address of the owner where the repository is on GitHub." example:"The Tool Authors <tool@example.com>"`
	Candidate  string              `yaml:"candidate" enum:"required,optional" doc:"Whether a stable version needs a published candidate of it first. Default: optional."`
	Issuer     string              `yaml:"issuer" doc:"Who vouches for the workflow that publishes. Default: GitHub Actions, https://token.actions.githubusercontent.com."`
}

// GitHub is a release on GitHub.
type GitHub struct {
	Release    string `yaml:"release" enum:"public,none" doc:"none makes no release there. Default: public."`
	Repository string `yaml:"repository" doc:"URL of the repository that the release is in. Default: the project's." example:"https://github.com/owner/name"`
	API        string `yaml:"api" doc:"URL of the API. Default: that of GitHub, or of the GitHub Enterprise Server that the repository is on." example:"https://github.example.com/api/v3"`
	Discussion string `yaml:"discussion" doc:"Category of a discussion to begin with the release. Default: none." example:"Announcements"`
	Token      string `yaml:"token" doc:"Environment variable with the token. Default: GITHUB_TOKEN."`
}

// ChartRepository is a chart repository in a branch of a git repository.
type ChartRepository struct {
	Git    string `yaml:"git" doc:"URL of the git repository." example:"https://github.com/owner/charts.git"`
	Branch string `yaml:"branch" doc:"Branch. Default: gh-pages."`
	Folder string `yaml:"folder" doc:"Folder in the branch. Default: its root."`
	URL    string `yaml:"url" doc:"URL that the branch is served at, through which it is read back. Default: it is read back with git." example:"https://owner.github.io/charts"`
	Token  string `yaml:"token" doc:"Environment variable with the token. Default: GITHUB_TOKEN."`
}

// Tap is a git repository on GitHub that a package manager reads.
type Tap struct {
	Repository  string `yaml:"repository" doc:"URL of the repository." example:"https://github.com/owner/homebrew-tap"`
	Branch      string `yaml:"branch" doc:"Branch. Default: the repository's."`
	Folder      string `yaml:"folder" doc:"Folder of the manifests. Default: where the package manager looks."`
	PullRequest string `yaml:"pullRequest" enum:"always,never" doc:"Whether to propose the change instead of making it. Default: never; always for winget."`
	Upstream    string `yaml:"upstream" doc:"URL of the repository that a pull request goes to. Default: the repository itself; https://github.com/microsoft/winget-pkgs for winget."`
	API         string `yaml:"api" doc:"URL of the API. Default: that of GitHub, or of the GitHub Enterprise Server that the repository is on."`
	Token       string `yaml:"token" doc:"Environment variable with the token. That of a workflow reaches its own repository alone. Default: GITHUB_TOKEN." example:"TAP_TOKEN"`
}

// Chocolatey is a NuGet feed.
type Chocolatey struct {
	Push string `yaml:"push" doc:"URL that packages are pushed to." example:"https://push.chocolatey.org"`
	Feed string `yaml:"feed" doc:"URL of the feed that they are read back from. Default: that of Chocolatey where push is."`
	Key  string `yaml:"key" doc:"Environment variable with the key. Default: CHOCOLATEY_API_KEY."`
}

// SnapStore is where snaps go.
type SnapStore struct {
	Channels    []string `yaml:"channels" doc:"Channels of a stable version; the store is left alone without any." example:"latest/stable"`
	Prereleases []string `yaml:"prereleases" doc:"Channels of a prerelease: beta or edge, since the store takes none that is not stable anywhere else. Default: none, and it stays out of the store." example:"latest/beta"`
	API         string   `yaml:"api" doc:"URL of another store than the Snap Store, for all that is asked of it."`
	Credentials string   `yaml:"credentials" doc:"Environment variable with what snapcraft export-login wrote. Default: SNAPCRAFT_STORE_CREDENTIALS."`
}

// Bucket is an S3-compatible bucket.
type Bucket struct {
	Endpoint string `yaml:"endpoint" doc:"URL of the service. Default: that of Amazon S3 in the region." example:"https://s3.example.com"`
	Bucket   string `yaml:"bucket" doc:"Name of the bucket."`
	Prefix   string `yaml:"prefix" doc:"What precedes the names of releases. Default: nothing."`
	Region   string `yaml:"region" doc:"Region. Default: us-east-1."`
	URL      string `yaml:"url" doc:"URL that people read the bucket at, through which it is read back. Default: it is read back with the credentials."`
}

// Announcement tells somebody of a release.
type Announcement struct {
	Kind string `yaml:"kind" required:"true" enum:"slack,discord,generic" doc:"What is told to."`
	URL  string `yaml:"url" required:"true" doc:"Environment variable with the URL, which is a secret." example:"SLACK_WEBHOOK"`
}

var (
	variableName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)
	gitURL       = regexp.MustCompile(`^(?:https?://|ssh://|file://|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:)[^\s]+$`)
	branchName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
	bucketName   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	channelName  = regexp.MustCompile(`^(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?(?:stable|candidate|beta|edge)(?:/[A-Za-z0-9][A-Za-z0-9._-]*)?$`)
)

// ParsePublish reads a file that says where a release goes instead of slipway.yaml: what stands below publish there, by
// itself.
func ParsePublish(name string, b []byte) (Publish, error) {
	var p Publish
	where, err := parse(name, b, &p)
	if err != nil {
		return Publish{}, err
	}
	v := validator{problems{where: where}}
	v.publish("", p)
	return p, v.err()
}

// publish checks where a release goes. Prefix stands in front of every key.
func (v *validator) publish(prefix string, p Publish) {
	key := func(name string) string { return strings.TrimPrefix(prefix+"."+name, ".") }
	v.web(key("github.repository"), p.GitHub.Repository)
	v.web(key("github.api"), p.GitHub.API)
	v.variable(key("github.token"), p.GitHub.Token)
	v.line(key("github.discussion"), p.GitHub.Discussion)
	for _, from := range sortedKeys(p.Registries) {
		at := key("registries." + from)
		v.match(at, from, registryRef, "the beginning of a repository, such as ghcr.io/owner")
		for i, to := range p.Registries[from] {
			v.match(fmt.Sprintf("%s[%d]", at, i), to, registryRef, "the beginning of a repository, such as docker.io/owner")
		}
	}
	v.match(key("charts.git"), p.Charts.Git, gitURL, "the URL of a git repository")
	v.match(key("charts.branch"), p.Charts.Branch, branchName, "the name of a branch")
	v.local(key("charts.folder"), p.Charts.Folder)
	v.web(key("charts.url"), p.Charts.URL)
	v.variable(key("charts.token"), p.Charts.Token)
	for _, t := range []struct {
		name string
		tap  Tap
	}{{"homebrew", p.Homebrew}, {"scoop", p.Scoop}, {"winget", p.Winget}} {
		at := key(t.name)
		if t.tap.Repository == "" && t.tap != (Tap{}) {
			v.at(at, "repository is missing: URL of the repository")
		}
		v.web(at+".repository", t.tap.Repository)
		v.web(at+".upstream", t.tap.Upstream)
		v.web(at+".api", t.tap.API)
		v.match(at+".branch", t.tap.Branch, branchName, "the name of a branch")
		v.local(at+".folder", t.tap.Folder)
		v.variable(at+".token", t.tap.Token)
	}
	v.web(key("chocolatey.push"), p.Chocolatey.Push)
	v.web(key("chocolatey.feed"), p.Chocolatey.Feed)
	v.variable(key("chocolatey.key"), p.Chocolatey.Key)
	for i, c := range p.Snap.Channels {
		v.match(fmt.Sprintf("%s[%d]", key("snap.channels"), i), c, channelName, "a channel such as latest/stable")
	}
	for i, c := range p.Snap.Prereleases {
		v.match(fmt.Sprintf("%s[%d]", key("snap.prereleases"), i), c, channelName, "a channel such as latest/beta")
	}
	v.web(key("snap.api"), p.Snap.API)
	v.variable(key("snap.credentials"), p.Snap.Credentials)
	if b := p.Bucket; b.Bucket == "" && b != (Bucket{}) {
		v.at(key("bucket"), "bucket is missing: name of the bucket")
	}
	v.match(key("bucket.bucket"), p.Bucket.Bucket, bucketName, "the name of a bucket")
	v.web(key("bucket.endpoint"), p.Bucket.Endpoint)
	v.web(key("bucket.url"), p.Bucket.URL)
	v.local(key("bucket.prefix"), p.Bucket.Prefix)
	for i, a := range p.Announce {
		v.variable(fmt.Sprintf("%s[%d].url", key("announce"), i), a.URL)
	}
	v.match(key("committer"), p.Committer, maintainer, "a name and an address such as The Tool Authors <tool@example.com>")
	v.web(key("issuer"), p.Issuer)
}

// variable checks the name of an environment variable. Whoever writes a secret there is told so, without its being
// shown.
func (v *validator) variable(key, name string) {
	if name != "" && !variableName.MatchString(name) {
		v.at(key, "this is not the name of an environment variable, such as TOOL_TOKEN; a secret does not belong into this file")
	}
}

// web checks a URL that secrets may be sent to.
func (v *validator) web(key, value string) {
	if value == "" {
		return
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Host)) {
		v.at(key, "%.80q is not an https URL", value)
	}
}

// loopback tells whether a host, with or without a port, is this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Targets are where images or charts of a repository go, each with registry and path: what the longest beginning says,
// else the repository itself.
func (p Publish) Targets(repository string) []string {
	best := ""
	for from := range p.Registries {
		if (repository == from || strings.HasPrefix(repository, from+"/")) && len(from) > len(best) {
			best = from
		}
	}
	if best == "" {
		return []string{repository}
	}
	var out []string
	for _, to := range p.Registries[best] {
		out = append(out, to+strings.TrimPrefix(repository, best))
	}
	return out
}

// GitHubRepository is the URL of the repository that a release is made in; "" for none.
func (p Publish) GitHubRepository(project Project) string {
	if p.GitHub.Release == "none" {
		return ""
	}
	if p.GitHub.Repository != "" {
		return p.GitHub.Repository
	}
	if u, err := url.Parse(project.Repository); err == nil && u.Host == "github.com" {
		return project.Repository
	}
	return ""
}

// WingetUpstream is where pull requests with winget manifests go.
const WingetUpstream = "https://github.com/microsoft/winget-pkgs"

// Taps are the taps that there are, with what is not said filled in, by the kind of their files.
func (p Publish) Taps() map[string]Tap {
	winget := p.Winget
	winget.PullRequest = cmp.Or(winget.PullRequest, "always")
	winget.Upstream = cmp.Or(winget.Upstream, WingetUpstream)
	all := map[string]Tap{"homebrew": p.Homebrew, "scoop": p.Scoop, "winget": winget}
	for kind, t := range all {
		if t.Repository == "" {
			delete(all, kind)
		}
	}
	return all
}

// Destination is a place that a release goes to, for whoever reads a plan.
type Destination struct {
	Kind  string `json:"kind"`
	Where string `json:"where"`
}

// Destinations are all places that a release goes to, given the repositories of its images and charts.
func (c Config) Destinations(repositories []string) []Destination {
	p := c.Publish
	out := []Destination{}
	add := func(kind, where string) {
		if d := (Destination{kind, where}); where != "" && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	for _, r := range repositories {
		for _, to := range p.Targets(r) {
			add("registry", to)
		}
	}
	add("folder", p.Folder)
	if b := p.Bucket; b.Bucket != "" {
		add("bucket", strings.TrimSuffix(b.Bucket+"/"+b.Prefix, "/"))
	}
	add("github", p.GitHubRepository(c.Project))
	add("charts", p.Charts.Git)
	for _, kind := range sortedKeys(p.Taps()) {
		add(kind, p.Taps()[kind].Repository)
	}
	add("chocolatey", p.Chocolatey.Push)
	for _, channel := range slices.Concat(p.Snap.Channels, p.Snap.Prereleases) {
		add("snap", channel)
	}
	for _, a := range p.Announce {
		add("announce", a.Kind)
	}
	return out
}
