package config

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
)

// Publish says where a release goes. Secrets are never here: where one is needed, the name of an environment variable is.
type Publish struct {
	GitHub     GitHub          `yaml:"github" doc:"Release on GitHub. Default: one in the project's repository, where that is on GitHub."`
	Registries Registries      `yaml:"registries" doc:"Where images and charts go, by the beginning of their repository. Default: to the repository itself." example:"ghcr.io/owner: [ghcr.io/owner, docker.io/owner]"`
	Charts     ChartRepository `yaml:"charts" doc:"Classic chart repository in a branch of a git repository, besides the OCI repositories of the charts."`
	Homebrew   Tap             `yaml:"homebrew" doc:"Tap that formulae and casks go to. A prerelease stays out of it."`
	Scoop      Tap             `yaml:"scoop" doc:"Bucket that Scoop manifests go to. A prerelease stays out of it."`
	Winget     Tap             `yaml:"winget" doc:"Repository that winget manifests go to: a fork, from which a pull request is made. A prerelease stays out of it."`
	Chocolatey Chocolatey      `yaml:"chocolatey" doc:"NuGet feed that Chocolatey packages are pushed to."`
	Snap       SnapStore       `yaml:"snap" doc:"Channels of the Snap Store."`
	Folder     Folder          `yaml:"folder" doc:"Folder that releases are kept in, for those who host their own; slipway serve serves it." example:"/srv/releases"`
	Bucket     Bucket          `yaml:"bucket" doc:"S3-compatible bucket that releases are kept in."`
	Announce   Announcements   `yaml:"announce" doc:"Whom to tell once everything is public. A failure here does not fail the release."`
	Committer  string          `yaml:"committer" doc:"Who commits to taps, buckets and chart repositories. Default: vendor, with the noreply address of the owner where the repository is on GitHub." example:"The Tool Authors <tool@example.com>"`
	Candidate  string          `yaml:"candidate" enum:"required,optional" doc:"Whether a stable version needs a published candidate first. Default: optional."`
	Issuer     string          `yaml:"issuer" doc:"Issuer that vouches for the workflow that publishes. Default: GitHub Actions, https://token.actions.githubusercontent.com."`
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
	where, err := yamldoc.Decode(name, b, &p)
	if err != nil {
		return Publish{}, err
	}
	v := validator{yamldoc.NewProblems(where)}
	v.publish("", p)
	return p, v.Err()
}

// destination is what a key below publish says of one kind of place that a release goes to.
type destination interface {
	// check adds what is wrong with it to v. At is its key.
	check(v *validator, at string)
	// where are the places, for whoever reads a plan; "" is none.
	where(of Project, repositories []string) []string
}

// named is a destination with its key below publish and with what a place of it is called in a plan.
type named struct {
	key, kind string
	destination
}

// destinations are all that a release may go to, in the order in which a plan has them. A test holds it to the keys.
func (p Publish) destinations() []named {
	return []named{
		{"registries", "registry", p.Registries},
		{"folder", "folder", p.Folder},
		{"bucket", "bucket", p.Bucket},
		{"github", "github", p.GitHub},
		{"charts", "charts", p.Charts},
		{"homebrew", "homebrew", p.Homebrew},
		{"scoop", "scoop", p.Scoop},
		{"winget", "winget", p.Winget},
		{"chocolatey", "chocolatey", p.Chocolatey},
		{"snap", "snap", p.Snap},
		{"announce", "announce", p.Announce},
	}
}

// publish checks where a release goes. Prefix stands in front of every key.
func (v *validator) publish(prefix string, p Publish) {
	for _, d := range p.destinations() {
		d.check(v, join(prefix, d.key))
	}
	v.match(join(prefix, "committer"), p.Committer, maintainer, "a name and an address such as The Tool Authors <tool@example.com>")
	v.web(join(prefix, "issuer"), p.Issuer)
}

// setName is the name of a set of destinations. Publishing keeps its record in a folder of that name.
var setName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// set checks a set of destinations. Whether a release of it is to be on GitHub, where the default makes one, has to be said:
// who leaves it out of a rehearsal does not mean to make one.
func (v *validator) set(name string, p Publish, of Project) {
	at := "destinations." + name
	if !setName.MatchString(name) {
		v.At(at, "%.60q is not the name of a set: lower-case letters, digits and -", name)
	}
	v.publish(at, p)
	if p.GitHub == (GitHub{}) && p.GitHub.RepositoryOf(of) != "" {
		v.At(at, "github is missing: say release: none, or release: public for one at %s", of.Repository)
	}
}

// Places are all places of all sets that a release goes to, given the repositories of its images and charts. The kind of one
// of a named set begins with the name.
func (c Config) Places(repositories []string) []Destination {
	all := c.Publish.Destinations(c.Project, repositories)
	for _, set := range sortedKeys(c.Destinations) {
		for _, d := range c.Destinations[set].Destinations(c.Project, repositories) {
			all = append(all, Destination{set + ": " + d.Kind, d.Where})
		}
	}
	return all
}

// Set is the set of destinations of that name; "" is what stands below publish. The error names the sets that there are.
func (c Config) Set(name string) (Publish, error) {
	if name == "" {
		return c.Publish, nil
	}
	if p, ok := c.Destinations[name]; ok {
		return p, nil
	}
	names := sortedKeys(c.Destinations)
	if len(names) == 0 {
		return Publish{}, fmt.Errorf("there is no set of destinations %.60q: %s has none; add it under destinations", name, FileName)
	}
	return Publish{}, fmt.Errorf("there is no set of destinations %.60q%s; there is %s", name, yamldoc.DidYouMean(name, names), strings.Join(names, ", "))
}

// Destination is a place that a release goes to, for people.
type Destination struct{ Kind, Where string }

// Destinations are all places that a release of a project goes to, given the repositories of its images and charts.
func (p Publish) Destinations(of Project, repositories []string) []Destination {
	var out []Destination
	for _, d := range p.destinations() {
		for _, where := range d.where(of, repositories) {
			if place := (Destination{d.kind, where}); where != "" && !slices.Contains(out, place) {
				out = append(out, place)
			}
		}
	}
	return out
}

// variable checks the name of an environment variable. Whoever writes a secret there is told so, without its being
// shown.
func (v *validator) variable(key, name string) {
	if name != "" && !variableName.MatchString(name) {
		v.At(key, "this is not the name of an environment variable, such as TOOL_TOKEN; a secret does not belong in this file")
	}
}

// web checks a URL that secrets may be sent to.
func (v *validator) web(key, value string) {
	if value == "" {
		return
	}
	u, err := url.Parse(value)
	if err != nil || u.User != nil || !web.Private(u) {
		v.At(key, "%.80q is not an https URL", value)
	}
}

// GitHub is a release on GitHub.
type GitHub struct {
	Release    string `yaml:"release" enum:"public,none" doc:"none makes no release there. Default: public."`
	Repository string `yaml:"repository" doc:"URL of the repository that the release is in. Default: the project's." example:"https://github.com/owner/name"`
	API        string `yaml:"api" doc:"URL of the API. Default: that of GitHub, or of the GitHub Enterprise Server that the repository is on." example:"https://github.example.com/api/v3"`
	Discussion string `yaml:"discussion" doc:"Category of a discussion to begin with the release. Default: none." example:"Announcements"`
	Token      string `yaml:"token" doc:"Environment variable with the token. Default: GITHUB_TOKEN."`
}

func (g GitHub) check(v *validator, at string) {
	v.web(at+".repository", g.Repository)
	v.web(at+".api", g.API)
	v.variable(at+".token", g.Token)
	v.line(at+".discussion", g.Discussion)
}

func (g GitHub) where(of Project, _ []string) []string { return []string{g.RepositoryOf(of)} }

// RepositoryOf is the URL of the repository that a release is made in; "" for none.
func (g GitHub) RepositoryOf(project Project) string {
	if g.Release == "none" {
		return ""
	}
	if g.Repository != "" {
		return g.Repository
	}
	if u, err := url.Parse(project.Repository); err == nil && u.Host == "github.com" {
		return project.Repository
	}
	return ""
}

// Registries are where images and charts go, by the beginning of their repository.
type Registries map[string][]string

func (r Registries) check(v *validator, at string) {
	for _, from := range sortedKeys(r) {
		at := at + "." + from
		v.match(at, from, registryRef, "the beginning of a repository, such as ghcr.io/owner")
		for i, to := range r[from] {
			v.match(fmt.Sprintf("%s[%d]", at, i), to, registryRef, "the beginning of a repository, such as docker.io/owner")
		}
	}
}

func (r Registries) where(_ Project, repositories []string) []string {
	var out []string
	for _, repository := range repositories {
		out = append(out, r.Targets(repository)...)
	}
	return out
}

// Targets are where images or charts of a repository go, each with registry and path: what the longest beginning says,
// else the repository itself.
func (r Registries) Targets(repository string) []string {
	best, ok := r.beginning(repository)
	if !ok {
		return []string{repository}
	}
	var out []string
	for _, to := range r[best] {
		out = append(out, to+strings.TrimPrefix(repository, best))
	}
	return out
}

// Has reports whether it is said where a repository goes.
func (r Registries) Has(repository string) bool {
	_, ok := r.beginning(repository)
	return ok
}

// beginning is the longest beginning of a repository that it is said of where it goes.
func (r Registries) beginning(repository string) (best string, ok bool) {
	for from := range r {
		if (repository == from || strings.HasPrefix(repository, from+"/")) && len(from) > len(best) {
			best, ok = from, true
		}
	}
	return best, ok
}

// ChartRepository is a chart repository in a branch of a git repository.
type ChartRepository struct {
	Git    string `yaml:"git" doc:"URL of the git repository." example:"https://github.com/owner/charts.git"`
	Branch string `yaml:"branch" doc:"Branch. Default: gh-pages."`
	Folder string `yaml:"folder" doc:"Folder in the branch. Default: its root."`
	URL    string `yaml:"url" doc:"URL that the branch is served at, through which it is read back. Default: it is read back with git." example:"https://owner.github.io/charts"`
	Token  string `yaml:"token" doc:"Environment variable with the token. Default: GITHUB_TOKEN."`
}

func (c ChartRepository) check(v *validator, at string) {
	v.match(at+".git", c.Git, gitURL, "the URL of a git repository")
	v.match(at+".branch", c.Branch, branchName, "the name of a branch")
	v.local(at+".folder", c.Folder)
	v.web(at+".url", c.URL)
	v.variable(at+".token", c.Token)
}

func (c ChartRepository) where(Project, []string) []string { return []string{c.Git} }

// Tap is a git repository on GitHub that a package manager reads.
type Tap struct {
	Repository  string `yaml:"repository" doc:"URL of the repository." example:"https://github.com/owner/homebrew-tap"`
	Branch      string `yaml:"branch" doc:"Branch. Default: the repository's."`
	Folder      string `yaml:"folder" doc:"Folder of the manifests. Default: where the package manager looks."`
	PullRequest string `yaml:"pullRequest" enum:"always,never" doc:"Whether to propose the change instead of making it. Default: never; always for winget."`
	Upstream    string `yaml:"upstream" doc:"URL of the repository that a pull request goes to. Default: the repository itself; https://github.com/microsoft/winget-pkgs for winget."`
	API         string `yaml:"api" doc:"URL of the API. Default: that of GitHub, or of the GitHub Enterprise Server that the repository is on."`
	Token       string `yaml:"token" doc:"Environment variable with the token. A workflow's own token reaches only its own repository. Default: GITHUB_TOKEN." example:"TAP_TOKEN"`
}

func (t Tap) check(v *validator, at string) {
	if t.Repository == "" && t != (Tap{}) {
		v.At(at, "repository is missing: URL of the repository")
	}
	v.web(at+".repository", t.Repository)
	v.web(at+".upstream", t.Upstream)
	v.web(at+".api", t.API)
	v.match(at+".branch", t.Branch, branchName, "the name of a branch")
	v.local(at+".folder", t.Folder)
	v.variable(at+".token", t.Token)
}

func (t Tap) where(Project, []string) []string { return []string{t.Repository} }

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

// Chocolatey is a NuGet feed.
type Chocolatey struct {
	Push string `yaml:"push" doc:"URL that packages are pushed to." example:"https://push.chocolatey.org"`
	Feed string `yaml:"feed" doc:"URL of the feed that they are read back from. Default: that of Chocolatey where push is."`
	Key  string `yaml:"key" doc:"Environment variable with the key. Default: CHOCOLATEY_API_KEY."`
}

func (c Chocolatey) check(v *validator, at string) {
	v.web(at+".push", c.Push)
	v.web(at+".feed", c.Feed)
	v.variable(at+".key", c.Key)
}

func (c Chocolatey) where(Project, []string) []string { return []string{c.Push} }

// SnapStore is where snaps go.
type SnapStore struct {
	Channels    []string `yaml:"channels" doc:"Channels of a stable version. Without any, it stays out of the store." example:"latest/stable"`
	Prereleases []string `yaml:"prereleases" doc:"Channels of a prerelease: beta or edge, since the store accepts an unstable version nowhere else. Default: none, and prereleases stay out of the store." example:"latest/beta"`
	API         string   `yaml:"api" doc:"URL of another store to use instead of the Snap Store."`
	Credentials string   `yaml:"credentials" doc:"Environment variable with what snapcraft export-login wrote. Default: SNAPCRAFT_STORE_CREDENTIALS."`
}

func (s SnapStore) check(v *validator, at string) {
	for i, c := range s.Channels {
		v.match(fmt.Sprintf("%s.channels[%d]", at, i), c, channelName, "a channel such as latest/stable")
	}
	for i, c := range s.Prereleases {
		v.match(fmt.Sprintf("%s.prereleases[%d]", at, i), c, channelName, "a channel such as latest/beta")
	}
	v.web(at+".api", s.API)
	v.variable(at+".credentials", s.Credentials)
}

func (s SnapStore) where(Project, []string) []string { return slices.Concat(s.Channels, s.Prereleases) }

// Folder is a folder of releases.
type Folder string

func (Folder) check(*validator, string) {} // of the machine that publishes, whose names are its own

func (f Folder) where(Project, []string) []string { return []string{string(f)} }

// Bucket is an S3-compatible bucket.
type Bucket struct {
	Endpoint string `yaml:"endpoint" doc:"URL of the service. Default: that of Amazon S3 in the region." example:"https://s3.example.com"`
	Bucket   string `yaml:"bucket" doc:"Name of the bucket."`
	Prefix   string `yaml:"prefix" doc:"What precedes the names of releases. Default: nothing."`
	Region   string `yaml:"region" doc:"Region. Default: us-east-1."`
	URL      string `yaml:"url" doc:"URL that people read the bucket at, through which it is read back. Default: it is read back with the credentials."`
}

func (b Bucket) check(v *validator, at string) {
	if b.Bucket == "" && b != (Bucket{}) {
		v.At(at, "bucket is missing: name of the bucket")
	}
	v.match(at+".bucket", b.Bucket, bucketName, "the name of a bucket")
	v.web(at+".endpoint", b.Endpoint)
	v.web(at+".url", b.URL)
	v.local(at+".prefix", b.Prefix)
}

func (b Bucket) where(Project, []string) []string {
	if b.Bucket == "" {
		return nil
	}
	return []string{strings.TrimSuffix(b.Bucket+"/"+b.Prefix, "/")}
}

// Announcement tells somebody of a release.
type Announcement struct {
	Kind string `yaml:"kind" required:"true" enum:"slack,discord,generic" doc:"Service that the announcement goes to."`
	URL  string `yaml:"url" required:"true" doc:"Environment variable with the URL, which is a secret." example:"SLACK_WEBHOOK"`
}

// Announcements tell of a release.
type Announcements []Announcement

func (a Announcements) check(v *validator, at string) {
	for i, one := range a {
		v.variable(fmt.Sprintf("%s[%d].url", at, i), one.URL)
	}
}

func (a Announcements) where(Project, []string) []string {
	var kinds []string
	for _, one := range a {
		kinds = append(kinds, one.Kind)
	}
	return kinds
}
