package ephemeral

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of a signing configuration.
const (
	maxConfig   = 1 << 20 // bytes
	maxServices = 64      // of each kind
)

const configMediaType = "application/vnd.dev.sigstore.signingconfig.v0.2+json"

// SigningConfig says where the services are, from when to when, and how many of them are to sign, as Sigstore distributes it
// (https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto, message SigningConfig).
type SigningConfig struct{ file configFile }

type configFile struct {
	MediaType   string    `json:"mediaType"`
	Authorities []service `json:"caUrls"`
	// Issuers are for people, who log in with a browser; a workflow has its identity from where it runs.
	Issuers    []service `json:"oidcUrls"`
	Logs       []service `json:"rekorTlogUrls"`
	LogRule    rule      `json:"rekorTlogConfig"`
	Stampers   []service `json:"tsaUrls"`
	StampsRule rule      `json:"tsaConfig"`
}

// service is one that somebody operates.
type service struct {
	URL      string `json:"url"`             // of a timestamp authority the whole, of others what paths are added to
	Version  int    `json:"majorApiVersion"` // 0 for one that is not there yet
	ValidFor period `json:"validFor"`
	Operator string `json:"operator"`
}

// period is when something is to be used, its ends included. A zero end is none.
type period struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

func (p period) contains(t time.Time) bool {
	return !t.Before(p.Start) && (p.End.IsZero() || !t.After(p.End))
}

// rule is how many services are to be used, each of another operator.
type rule struct {
	Selector string `json:"selector"`
	Count    int    `json:"count"`
}

// Selectors of a rule.
const (
	selectAny   = "ANY"
	selectAll   = "ALL"
	selectExact = "EXACT"
)

// services are those that sign.
type services struct {
	authority service
	logs      []service // all of one version
	stampers  []service
}

// ParseSigningConfig reads a signing_config.v0.2.json. It is bounded and has one reading.
func ParseSigningConfig(b []byte) (SigningConfig, error) {
	var f configFile
	err := f.parse(b)
	if err != nil {
		err = fault.New(fault.Usage, fmt.Errorf("reading signing configuration: %w", err))
	}
	return SigningConfig{f}, err
}

func (f *configFile) parse(b []byte) error {
	if len(b) > maxConfig {
		return fmt.Errorf("more than %d bytes", maxConfig)
	}
	if err := canonjson.Decode(b, f); err != nil {
		return err
	}
	if f.MediaType != configMediaType {
		return fmt.Errorf("media type %.80q instead of %s", f.MediaType, configMediaType)
	}
	for _, list := range []struct {
		name     string
		services []service
	}{{"caUrls", f.Authorities}, {"oidcUrls", f.Issuers}, {"rekorTlogUrls", f.Logs}, {"tsaUrls", f.Stampers}} {
		if len(list.services) > maxServices {
			return fmt.Errorf("%s: more than %d services", list.name, maxServices)
		}
		for i, s := range list.services {
			if err := s.check(); err != nil {
				return fmt.Errorf("%s: service %d: %w", list.name, i, err)
			}
		}
	}
	return nil
}

func (s service) check() error {
	if err := checkURL(s.URL); err != nil {
		return err
	}
	switch p := s.ValidFor; {
	case p.Start.IsZero() || !p.End.IsZero() && p.End.Before(p.Start):
		return fmt.Errorf("%s does not say from when it is valid", host(s.URL))
	case s.Operator == "":
		return fmt.Errorf("%s does not say who operates it", host(s.URL))
	}
	return nil
}

// Versions that are spoken, the newest first.
var (
	authorityVersions = []int{1}
	logVersions       = []int{2, 1}
	stamperVersions   = []int{1}
)

// choose picks the services that sign at a time.
func (f configFile) choose(now time.Time) (services, error) {
	authorities, err := choose("certificate authority", f.Authorities, rule{Selector: selectAny}, authorityVersions, now)
	if err != nil {
		return services{}, err
	}
	out := services{authority: authorities[0]}
	if out.logs, err = choose("transparency log", f.Logs, f.LogRule, logVersions, now); err != nil {
		return services{}, err
	}
	if len(f.Stampers) > 0 {
		if out.stampers, err = choose("timestamp authority", f.Stampers, f.StampsRule, stamperVersions, now); err != nil {
			return services{}, err
		}
	}
	if out.version() == 2 && len(out.stampers) == 0 {
		return services{}, fmt.Errorf("the log %s is a Rekor v2, which signs no time, and there is no timestamp authority (tsaUrls)", host(out.logs[0].URL))
	}
	return out, nil
}

// at is a path of the service.
func (s service) at(path string) string { return strings.TrimRight(s.URL, "/") + path }

// version is that of the logs.
func (s services) version() int { return s.logs[0].Version }

// choose picks as many services as the rule says: of the highest version that is spoken those that are valid, and of each operator the
// newest. Which ones of several operators is left to the client, so it is the newest ones.
func choose(kind string, all []service, r rule, versions []int, now time.Time) ([]service, error) {
	var found []service
	for _, version := range versions {
		for _, s := range all {
			if s.Version == version && s.ValidFor.contains(now) {
				found = append(found, s)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no %s that is valid now and of a major version that is spoken", kind)
	}
	slices.SortStableFunc(found, func(a, b service) int { return b.ValidFor.Start.Compare(a.ValidFor.Start) })
	var one []service
	for _, s := range found {
		if !slices.ContainsFunc(one, func(o service) bool { return o.Operator == s.Operator }) {
			one = append(one, s)
		}
	}
	switch {
	case r.Selector == selectAll:
		return one, nil
	case r.Selector == selectAny:
		return one[:1], nil
	case r.Selector != selectExact:
		return nil, fmt.Errorf("selector %.40q of the %s is not %s, %s or %s", r.Selector, kind, selectAny, selectAll, selectExact)
	case r.Count < 1:
		return nil, fmt.Errorf("selector %s of the %s has no count", selectExact, kind)
	case r.Count > len(one):
		return nil, fmt.Errorf("%d operators of a %s are wanted, and %d have one that is valid now", r.Count, kind, len(one))
	}
	return one[:r.Count], nil
}
