package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
	"github.com/slipway-build/slipway/pipeline/fault"
	"github.com/slipway-build/slipway/pipeline/manifest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/nuget"
	"github.com/slipway-build/slipway/pipeline/publish/registry"
	"github.com/slipway-build/slipway/pipeline/publish/snapstore"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/version"
)

// shipment is a release with where it goes.
type shipment struct {
	app     *app
	rel     publish.Release
	config  config.Config
	to      config.Publish
	journal *publish.Journal
	choices publishChoices
	tell    func(wire.Request) // of a dry run; nil for one that is not

	where      []string // every place that it goes to, for the policies
	registries []*registry.Destination
	list       []publish.Target
	missing    []string // environment variables with secrets that are not there
}

// meter counts what was sent to a destination.
type meter struct {
	name string
	sent *atomic.Int64
}

// targets are all destinations. What lacks is told at once.
func (s *shipment) targets() ([]publish.Target, error) {
	for _, add := range []func() error{s.toRegistries, s.toChocolatey, s.toSnapStore} {
		if err := add(); err != nil {
			return nil, err
		}
	}
	if len(s.missing) > 0 {
		slices.Sort(s.missing)
		return nil, fault.Errorf(fault.Credentials, "there is no %s in the environment, and publishing needs it; a job in CI has it from a secret", strings.Join(slices.Compact(s.missing), ", no "))
	}
	return s.list, nil
}

// add adds a destination.
func (s *shipment) add(name, where string, wave publish.Wave, d publish.Destination, m meter) {
	s.where = append(s.where, where)
	s.list = append(s.list, publish.Target{Name: name, Wave: wave, Destination: d, Sent: m.sent.Load})
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
	m := meter{name, &atomic.Int64{}}
	o := wire.Options{
		Destination: name, Base: network(), Credentials: credentials, UserAgent: "slipway/" + cmp.Or(strings.TrimPrefix(toolVersion(), "v"), "devel"),
		DryRun: s.tell, Simulate: simulate, Sent: func(n int64) { m.sent.Add(n) },
	}
	if s.journal != nil {
		o.Recorder = s.journal
	}
	return wire.New(o), m
}

// network is the connection to remotes, which gives up on those that fall silent.
func network() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	t.ResponseHeaderTimeout = 2 * time.Minute
	return t
}

// toRegistries adds a destination for each registry.
func (s *shipment) toRegistries() error {
	for _, host := range registry.Hosts(s.rel.Manifest, s.to.Targets) {
		auth, err := s.registryAuth(host)
		if err != nil {
			return err
		}
		t, m := s.transport(host, registry.Simulate)
		d, err := registry.New(registry.Options{Release: s.rel, Transport: t, Host: host, Repositories: s.to.Targets, Auth: auth})
		if err != nil {
			return err
		}
		s.registries = append(s.registries, d)
		s.add(host, host, publish.Registries, d, m)
	}
	return nil
}

// toChocolatey adds a NuGet feed.
func (s *shipment) toChocolatey() error {
	c := s.to.Chocolatey
	if c.Push == "" || s.isSnapshot() || !s.has("nupkg") {
		return nil
	}
	key := s.secret(cmp.Or(c.Key, "CHOCOLATEY_API_KEY"))
	t, m := s.transport("chocolatey", nuget.Simulate, wire.Credential{Host: hostOf(c.Push), Header: nuget.KeyHeader, Value: key})
	d, err := nuget.New(nuget.Options{Release: s.rel, Transport: t, Source: c.Push, Reads: c.Feed})
	if err != nil {
		return err
	}
	s.add("chocolatey", c.Push, publish.Managers, d, m)
	return nil
}

// toSnapStore adds the Snap Store, for the channels that the version is meant for.
func (s *shipment) toSnapStore() error {
	c := s.to.Snap
	channels := c.Prereleases
	if s.rel.Manifest.Version.IsStable() {
		channels = c.Channels
	}
	if len(channels) == 0 || s.isSnapshot() || !s.has("snap") {
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
	return nil
}

// isSnapshot tells whether the release is of a commit without a tag, which only goes to where several of them can be:
// registries, folders and buckets.
func (s *shipment) isSnapshot() bool { return s.rel.Manifest.Tag == "" }

// has tells whether the release has a package or a recipe of the format.
func (s *shipment) has(format string) bool {
	m := s.rel.Manifest
	return slices.ContainsFunc(m.Packages, func(p manifest.Package) bool { return p.Format == format }) ||
		slices.ContainsFunc(m.Recipes, func(r manifest.Recipe) bool { return r.Format == format })
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
func (s *shipment) registryAuth(host string) (authn.Authenticator, error) {
	variable := "SLIPWAY_REGISTRY_" + notInVariables.ReplaceAllString(strings.ToUpper(host), "_")
	if v := s.app.getenv(variable); v != "" {
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
	if token := s.app.getenv("GITHUB_TOKEN"); auth == authn.Anonymous && host == "ghcr.io" && token != "" {
		return &authn.Basic{Username: cmp.Or(s.app.getenv("GITHUB_ACTOR"), "token"), Password: token}, nil
	}
	return auth, nil
}

// Has tells whether a registry has an image, for the policies.
func (s *shipment) Has(ctx context.Context, reference string) (bool, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return false, fault.New(fault.Policy, err)
	}
	auth, err := s.registryAuth(ref.Context().RegistryStr())
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

// released are the versions that were published before.
func (s *shipment) released(ctx context.Context) ([]version.Version, error) {
	var all []version.Version
	for _, d := range s.registries {
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
