package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/internal/github"
	"github.com/slipway-build/slipway/pipeline/present/progress"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/announce"
	"github.com/slipway-build/slipway/pipeline/publish/bucket"
	"github.com/slipway-build/slipway/pipeline/publish/chartrepo"
	"github.com/slipway-build/slipway/pipeline/publish/folder"
	"github.com/slipway-build/slipway/pipeline/publish/githubrelease"
	"github.com/slipway-build/slipway/pipeline/publish/nuget"
	"github.com/slipway-build/slipway/pipeline/publish/registry"
	"github.com/slipway-build/slipway/pipeline/publish/snapstore"
	"github.com/slipway-build/slipway/pipeline/publish/tap"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// shipment is a release with where it goes.
type shipment struct {
	app     *app
	rel     publish.Release
	config  config.Config
	root    string // that paths of the configuration are relative to
	to      config.Publish
	journal *publish.Journal
	display progress.Display
	tracker *progress.Tracker
	choices publishChoices
	tell    func(wire.Request) // of a dry run; nil for one that is not

	entering *entering         // nil without a release store
	follows  bool              // it is the current version of an environment, whichever is where it goes
	others   []publish.Release // whose charts go there as well

	where   []string // every place that it goes to, for the policies
	list    []publish.Target
	missing []string // environment variables with secrets that are not there

	ways     []string       // commands by which people get what was published
	requests map[string]int // that a dry run tells of, by destination
}

// meter counts the bytes that were sent to a destination.
type meter = *atomic.Int64

// destination is what a key of the configuration below publish makes of it.
type destination struct {
	key string
	// snapshots says that several releases without a tag can be there.
	snapshots bool
	follow    follow
	// add adds a target to the shipment for each place that the key names, if the release has something for it.
	add func(*shipment) error
}

// destinations are all that a release may go to. A test holds them to the keys of the configuration and to the rooms
// below pipeline/publish.
var destinations = []destination{
	{"registries", true, apart, (*shipment).toRegistries},
	{"folder", true, apart, (*shipment).toFolder},
	{"bucket", true, apart, (*shipment).toBucket},
	{"github", false, apart, (*shipment).toGitHub},
	{"charts", false, current, (*shipment).toChartRepository},
	{"homebrew", false, current, toTap(tap.Homebrew)},
	{"scoop", false, current, toTap(tap.Scoop)},
	{"winget", false, everyone, toTap(tap.Winget)},
	{"chocolatey", false, everyone, (*shipment).toChocolatey},
	{"snap", false, everyone, (*shipment).toSnapStore},
	{"announce", false, everyone, (*shipment).announce},
}

// targets are all destinations. What is missing is said at once.
func (s *shipment) targets() ([]publish.Target, error) {
	snapshot := s.rel.Manifest.Tag == ""
	for _, d := range destinations {
		if snapshot && !d.snapshots || s.waits(d.follow) {
			continue
		}
		if err := d.add(s); err != nil {
			return nil, err
		}
	}
	if err := s.lacking(); err != nil {
		return nil, err
	}
	if len(s.list) == 0 {
		return nil, fault.Errorf(fault.Usage, "there is nowhere to publish to: name destinations under publish in slipway.yaml")
	}
	return s.list, nil
}

// lacking says which secrets are not there.
func (s *shipment) lacking() error {
	if len(s.missing) == 0 {
		return nil
	}
	slices.Sort(s.missing)
	return fault.Errorf(fault.Credentials, "there is no %s in the environment, and publishing needs it; a job in CI has it from a secret", strings.Join(slices.Compact(s.missing), ", no "))
}

// add adds a destination.
func (s *shipment) add(name, where string, wave publish.Wave, d publish.Destination, m meter) {
	s.where = append(s.where, where)
	s.list = append(s.list, publish.Target{Name: name, Where: where, Wave: wave, Destination: d, Sent: m.Load})
}

// secret is the value of an environment variable, as a function, into which fmt cannot look.
func (s *shipment) secret(variable string) func() string {
	v := strings.TrimSpace(s.app.getenv(variable))
	if v == "" {
		s.missing = append(s.missing, variable)
	}
	return func() string { return v }
}

// transport makes the requests of a destination.
func (s *shipment) transport(name string, simulate func(*http.Request) *http.Response, credentials ...wire.Credential) (*wire.Transport, meter) {
	m := new(atomic.Int64)
	return s.wire(name, m, network(), simulate, credentials...), m
}

func (s *shipment) wire(name string, m meter, base http.RoundTripper, simulate func(*http.Request) *http.Response, credentials ...wire.Credential) *wire.Transport {
	return wire.New(wire.Options{
		Destination: name, Base: base, Recorder: s.journal, Credentials: credentials,
		UserAgent: userAgent(),
		DryRun:    s.tell, Simulate: simulate, Sent: func(n int64) { m.Add(n) },
	})
}

func userAgent() string { return "slipway/" + cmp.Or(strings.TrimPrefix(toolVersion(), "v"), "devel") }

// network is the connection to remotes, which gives up on those that fall silent.
func network() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	t.ResponseHeaderTimeout = 2 * time.Minute
	return t
}

// toRegistries adds a destination for each registry.
func (s *shipment) toRegistries() error {
	if err := s.mapped(); err != nil {
		return err
	}
	for _, host := range registry.Hosts(s.rel.Manifest, s.to.Registries.Targets) {
		auth, err := s.app.registryAuth(host)
		if err != nil {
			return err
		}
		t, m := s.transport(host, registry.Simulate)
		d, err := registry.New(registry.Options{Release: s.rel, Transport: t, Host: host, Repositories: s.to.Registries.Targets, Auth: auth, Still: s.entering != nil})
		if err != nil {
			return err
		}
		s.add(host, host, publish.Registries, d, m)
	}
	s.pulls()
	return nil
}

// mapped refuses a file of destinations that has registries for none of what is released: it is of another project, and
// images would go to the places of users.
func (s *shipment) mapped() error {
	var released []string
	for _, im := range s.rel.Manifest.Images {
		released = append(released, im.Repository)
	}
	for _, c := range s.rel.Manifest.Charts {
		if c.Repository != "" {
			released = append(released, c.Repository)
		}
	}
	if s.choices.destinations == "" || len(s.to.Registries) == 0 || len(released) == 0 || slices.ContainsFunc(released, s.to.Registries.Has) {
		return nil
	}
	return fault.Errorf(fault.Usage, "%s says where images and charts of %s go, and those of %s %s are at %s", s.choices.destinations,
		strings.Join(slices.Sorted(maps.Keys(s.to.Registries)), ", "), s.rel.Manifest.Name, s.rel.Manifest.Version, strings.Join(slices.Compact(released), ", "))
}

// toFolder adds a folder of releases.
func (s *shipment) toFolder() error {
	if s.to.Folder == "" {
		return nil
	}
	root, err := filepath.Abs(string(s.to.Folder))
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	m := new(atomic.Int64)
	d, err := folder.New(folder.Options{
		Release: s.rel, Root: root, Destination: "folder", Recorder: s.journal, DryRun: s.tell, Sent: func(n int64) { m.Add(n) },
	})
	if err != nil {
		return err
	}
	s.add("folder", root, publish.Registries, d, m)
	return nil
}

// toBucket adds an S3-compatible bucket.
func (s *shipment) toBucket() error {
	c := s.to.Bucket
	if c.Bucket == "" {
		return nil
	}
	endpoint := cmp.Or(c.Endpoint, "https://s3."+cmp.Or(c.Region, "us-east-1")+".amazonaws.com")
	t, m := s.transport("bucket", bucket.Simulate)
	o := bucket.Options{
		Release: s.rel, Transport: t, Endpoint: endpoint, Bucket: c.Bucket, Prefix: c.Prefix, Region: c.Region, PublicURL: c.URL, Facts: s.journal,
	}
	s.bucketKeys(&o)
	d, err := bucket.New(o)
	if err != nil {
		return err
	}
	s.add("bucket", endpoint, publish.Registries, d, m)
	if c.URL != "" {
		s.way("slipway verify %s/%s/", strings.TrimSuffix(c.URL, "/"), s.rel.Manifest.Version)
	}
	return nil
}

// bucketKeys are the credentials of buckets.
func (s *shipment) bucketKeys(o *bucket.Options) {
	o.AccessKey, o.SecretKey = s.secret("AWS_ACCESS_KEY_ID"), s.secret("AWS_SECRET_ACCESS_KEY")
	if s.app.getenv("AWS_SESSION_TOKEN") != "" {
		o.SessionToken = s.secret("AWS_SESSION_TOKEN")
	}
}

// toGitHub adds the release on GitHub.
func (s *shipment) toGitHub() error {
	address := s.to.GitHub.RepositoryOf(s.config.Project)
	if address == "" {
		return nil
	}
	repo, api, err := onGitHub(address, s.to.GitHub.API)
	if err != nil {
		return err
	}
	t, m := s.transport("github", githubrelease.Simulate, s.github(api, s.to.GitHub.Token)...)
	d, err := githubrelease.New(githubrelease.Options{
		Release: s.rel, Transport: t, API: api, Owner: repo.Owner, Repo: repo.Name,
		Discussion: s.to.GitHub.Discussion, NotLatest: s.entering != nil,
	})
	if err != nil {
		return err
	}
	s.add("github", api, publish.Releases, d, m)
	s.downloads(strings.TrimSuffix(address, ".git"))
	return nil
}

// toChartRepository adds a chart repository in a branch.
func (s *shipment) toChartRepository() error {
	c := s.to.Charts
	if c.Git == "" || len(s.rel.Manifest.Charts) == 0 && len(s.others) == 0 {
		return nil
	}
	name := "charts"
	committer, email := s.committer()
	t, m := s.transport(name, nil)
	o := chartrepo.Options{
		Release: s.rel, Others: s.others, Remote: c.Git, Branch: c.Branch, Folder: c.Folder, URL: c.URL, Transport: t, Committer: committer, Email: email,
		Path: s.app.getenv("PATH"), Destination: name, Recorder: s.journal, DryRun: s.tell,
	}
	where := c.Git
	switch {
	case strings.HasPrefix(c.Git, "file://"):
		where = strings.TrimPrefix(c.Git, "file://")
	case strings.HasPrefix(c.Git, "http"):
		o.Token = s.secret(cmp.Or(c.Token, "GITHUB_TOKEN"))
	default: // ssh has an agent, or keys in the user's home
		for _, variable := range []string{"SSH_AUTH_SOCK", "HOME"} {
			if v := s.app.getenv(variable); v != "" {
				o.Env = append(o.Env, variable+"="+v)
			}
		}
	}
	d, err := chartrepo.New(o)
	if err != nil {
		return err
	}
	s.add(name, where, publish.Indexes, d, m)
	for _, chart := range s.rel.Manifest.Charts {
		if c.URL != "" {
			s.way("helm install %s %s --repo %s --version %s", chart.Name, chart.Name, c.URL, chart.Version)
		}
	}
	return nil
}

// toTap adds the repository that a package manager reads.
func toTap(kind tap.Kind) func(*shipment) error {
	return func(s *shipment) error {
		c, ok := s.to.Taps()[string(kind)]
		if !ok || !tap.Applies(s.rel.Manifest, kind) {
			return nil
		}
		repo, api, err := onGitHub(c.Repository, c.API)
		if err != nil {
			return err
		}
		committer, email := s.committer()
		o := tap.Options{
			Release: s.rel, API: api, Kind: kind, Owner: repo.Owner, Repo: repo.Name, Branch: c.Branch, Folder: c.Folder,
			Committer: committer, Email: email, PullRequest: c.PullRequest == "always", Follow: s.follows,
		}
		if o.PullRequest && c.Upstream != "" {
			upstream, _, err := onGitHub(c.Upstream, c.API)
			if err != nil {
				return err
			}
			o.Upstream = upstream.String()
		}
		for _, name := range tap.Proposals(s.rel.Manifest, kind, o.PullRequest) {
			o.Package = name
			title := strings.TrimSpace(string(kind) + " " + name)
			var m meter
			o.Transport, m = s.transport(title, tap.Simulate, s.github(api, c.Token)...)
			d, err := tap.New(o)
			if err != nil {
				return err
			}
			s.add(title, api, publish.Managers, d, m)
		}
		s.installs(kind, strings.TrimSuffix(c.Repository, ".git"), repo.Owner, repo.Name, o.PullRequest)
		return nil
	}
}

// github are the credentials for an API of GitHub.
func (s *shipment) github(api, variable string) []wire.Credential {
	token := s.secret(cmp.Or(variable, "GITHUB_TOKEN"))
	var out []wire.Credential
	for _, host := range github.Hosts(api) {
		out = append(out, wire.Credential{Host: host, Value: func() string { return "Bearer " + token() }})
	}
	return out
}

// onGitHub finds a repository and its API, which api names where it is not the usual one.
func onGitHub(address, api string) (github.Repo, string, error) {
	repo, usual, err := github.Locate(address)
	return repo, cmp.Or(strings.TrimSuffix(api, "/"), usual), fault.New(fault.Usage, err)
}

// committer is who commits to other repositories.
func (s *shipment) committer() (name, email string) {
	if c := s.to.Committer; c != "" {
		name, rest, _ := strings.Cut(c, " <")
		return name, strings.TrimSuffix(rest, ">")
	}
	owner := s.config.Project.Name
	if repo, _, err := github.Locate(s.config.Project.Repository); err == nil {
		owner = repo.Owner
	}
	return cmp.Or(s.config.Project.Vendor, owner), owner + "@users.noreply.github.com"
}

// announce adds those who are told once everything is public.
func (s *shipment) announce() error {
	for i, c := range s.to.Announce {
		name := fmt.Sprintf("announcement %d (%s)", i+1, c.Kind)
		webhook := s.secret(c.URL)
		if webhook() == "" {
			continue // it is told with the others that are missing
		}
		m := new(atomic.Int64)
		t := s.wire(name, m, announce.Hide(network(), webhook), announce.Simulate)
		d, err := announce.New(announce.Options{
			Release: s.rel, Transport: t, Kind: announce.Kind(c.Kind), Name: name, URL: webhook, Links: s.links(), Facts: s.journal, Again: s.choices.announce,
		})
		if err != nil {
			return err
		}
		s.add(name, "https://"+hostOf(webhook()), publish.Announcements, d, m)
		s.list[len(s.list)-1].Optional = true
	}
	return nil
}

// links are where readers of an announcement read on.
func (s *shipment) links() []announce.Link {
	var out []announce.Link
	if repo := s.to.GitHub.RepositoryOf(s.config.Project); repo != "" {
		out = append(out, announce.Link{Name: "Release", URL: strings.TrimSuffix(repo, ".git") + "/releases/tag/" + s.rel.Manifest.Tag})
	}
	if home := s.config.Project.Homepage; home != "" {
		out = append(out, announce.Link{Name: "Homepage", URL: home})
	}
	return out
}

// toChocolatey adds a NuGet feed.
func (s *shipment) toChocolatey() error {
	c := s.to.Chocolatey
	if c.Push == "" || !nuget.Applies(s.rel.Manifest) {
		return nil
	}
	key := s.secret(cmp.Or(c.Key, "CHOCOLATEY_API_KEY"))
	t, m := s.transport("chocolatey", nuget.Simulate, wire.Credential{Host: hostOf(c.Push), Header: nuget.KeyHeader, Value: key})
	d, err := nuget.New(nuget.Options{Release: s.rel, Transport: t, Source: c.Push, Reads: c.Feed})
	if err != nil {
		return err
	}
	s.add("chocolatey", c.Push, publish.Managers, d, m)
	_, recipes := format.Going(s.rel.Manifest, "chocolatey")
	for _, r := range recipes {
		source := ""
		if hostOf(c.Push) != "push.chocolatey.org" {
			source = " --source " + cmp.Or(c.Feed, c.Push)
		}
		s.way("choco install %s --version %s%s", r.Name, r.Version, source)
	}
	return nil
}

// toSnapStore adds the Snap Store, for the channels that the version is meant for.
func (s *shipment) toSnapStore() error {
	c := s.to.Snap
	channels := c.Prereleases
	if s.rel.Manifest.Version.IsStable() {
		channels = c.Channels
	}
	if len(channels) == 0 || !snapstore.Applies(s.rel.Manifest) {
		return nil
	}
	t, m := s.transport("snap store", snapstore.Simulate)
	d, err := snapstore.New(snapstore.Options{
		Release: s.rel, Transport: t, Credentials: s.secret(cmp.Or(c.Credentials, "SNAPCRAFT_STORE_CREDENTIALS")), Channels: channels,
		Store: c.API, Upload: c.API, Login: c.API, Public: c.API,
	})
	if err != nil {
		return err
	}
	s.add("snap store", cmp.Or(c.API, "https://dashboard.snapcraft.io"), publish.Managers, d, m)
	packages, _ := format.Going(s.rel.Manifest, "snap")
	for _, p := range packages {
		s.way("snap install %s --channel %s", p.Name, channels[0])
	}
	return nil
}

// hostOf is the host of a URL of the configuration, which is known to be one.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

var notInVariables = regexp.MustCompile(`[^A-Z0-9]+`)

// registryAuth finds the credentials for a registry: an environment variable of its own, such as
// SLIPWAY_REGISTRY_GHCR_IO with user:password, else Docker's configuration with its helpers, else, for GitHub's, the
// token of GitHub.
func (a *app) registryAuth(host string) (authn.Authenticator, error) {
	if host == name.DefaultRegistry { // Docker Hub calls itself by two names
		host = "docker.io"
	}
	variable := "SLIPWAY_REGISTRY_" + notInVariables.ReplaceAllString(strings.ToUpper(host), "_")
	if v := a.getenv(variable); v != "" {
		user, password, ok := strings.Cut(v, ":")
		if !ok {
			return nil, fault.Errorf(fault.Credentials, "%s is not user:password", variable)
		}
		return &authn.Basic{Username: user, Password: password}, nil
	}
	reg, err := name.NewRegistry(host)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	auth, err := authn.DefaultKeychain.Resolve(reg)
	if err != nil {
		return nil, fault.New(fault.Credentials, fmt.Errorf("reading Docker's configuration for %s: %w", host, err))
	}
	if token := a.getenv("GITHUB_TOKEN"); auth == authn.Anonymous && host == "ghcr.io" && token != "" {
		return &authn.Basic{Username: cmp.Or(a.getenv("GITHUB_ACTOR"), "token"), Password: token}, nil
	}
	return auth, nil
}

// Has reports whether a registry has an image, for the policies.
func (s *shipment) Has(ctx context.Context, reference string) (bool, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return false, fault.New(fault.Policy, err)
	}
	auth, err := s.app.registryAuth(ref.Context().RegistryStr())
	if err != nil {
		return false, err
	}
	t, _ := s.transport(ref.Context().RegistryStr(), nil)
	_, err = remote.Head(ref, remote.WithContext(wire.Reading(ctx)), remote.WithAuth(auth), remote.WithTransport(t))
	if status := statusOf(err); status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, wire.Fault(err)
}

// versioned is a destination that knows which versions it has.
type versioned interface {
	Versions(context.Context) ([]version.Version, error)
}

var (
	_ versioned = (*registry.Destination)(nil)
	_ versioned = (*githubrelease.Destination)(nil)
)

// released are the versions that were published before.
func (s *shipment) released(ctx context.Context) ([]version.Version, error) {
	var all []version.Version
	for _, t := range s.list {
		d, ok := t.Destination.(versioned)
		if !ok {
			continue
		}
		found, err := d.Versions(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// statusOf is the status of the answer that an error of the library tells of; 0 for none.
func statusOf(err error) int {
	if e, ok := errors.AsType[*transport.Error](err); ok {
		return e.StatusCode
	}
	return 0
}
