// Package lifecycle is what became known of the releases of a platform after they were made: for how long they are supported, which
// upgrades carry a risk, which vulnerabilities they have, which were withdrawn. From that it says, for any day, how a release
// stands, which upgrades there are, and whether every one of them ends in a release that is supported.
//
// All of it is a function of the file lifecycle.json and a day; nothing here reads a clock.
package lifecycle

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// FileName is the usual name of the file.
const FileName = "lifecycle.json"

// Schema names the format with its major version. A reader refuses any other.
const Schema = "slipway.lifecycle/v1"

// Bounds of a lifecycle.
const (
	MaxSize     = 16 << 20 // bytes
	maxReleases = 5000
	maxFacts    = 1000 // risks, and advisories
	maxFixed    = 100  // of an advisory
	maxText     = 1000 // bytes
)

var format = canonjson.Format{Schema: Schema}

// Lifecycle is lifecycle.json.
type Lifecycle struct {
	Schema     string          `json:"schema"`
	Minor      int             `json:"minor,omitempty"`
	Requires   []string        `json:"requires,omitempty"`
	Name       string          `json:"name"`
	Serial     int             `json:"serial"`         // counts from 1
	Prev       artifact.Digest `json:"prev,omitempty"` // of the file before; "" for the first one
	AsOf       Date            `json:"asOf"`           // day up to which the facts are known
	Releases   []Release       `json:"releases"`       // by rising version
	Risks      []Risk          `json:"risks,omitempty"`
	Advisories []Advisory      `json:"advisories,omitempty"`

	// Unknown is what a later minor version says besides. It decides nothing.
	Unknown canonjson.Unknown `json:"-"`
}

// Release is a release of the platform.
type Release struct {
	Version  version.Version   `json:"version"`
	Manifest artifact.Digest   `json:"manifest"` // of its release.json
	Date     Date              `json:"date"`     // of its commit
	Until    Date              `json:"until"`    // last day on which its line is supported
	From     Range             `json:"from"`     // releases that may be upgraded to it
	To       []version.Version `json:"to,omitempty"`
	// Withdrawn says why nobody is to upgrade to it any more; "" for a release that stands. Its bytes stay where they are.
	Withdrawn string `json:"withdrawn,omitempty"`
}

// Range is a range of versions as it stands in JSON: "" has all. In what people write there is always a comparator.
type Range struct{ platform.Range }

// MarshalText is the text.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads it.
func (r *Range) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	return r.Range.UnmarshalText(b)
}

// Risk is known of some upgrades: whoever is in From and goes to one in To meets it.
type Risk struct {
	Name    string `json:"name"`
	From    Range  `json:"from"`
	To      Range  `json:"to"`
	Message string `json:"message"`
	URL     string `json:"url,omitempty"`
	Since   Date   `json:"since"`
}

// Advisory is a vulnerability that some releases have.
type Advisory struct {
	ID              string            `json:"id"`
	Vulnerabilities []string          `json:"vulnerabilities,omitempty"` // such as CVE-2026-12345
	Affected        Range             `json:"affected"`
	Fixed           []version.Version `json:"fixed"` // of each line the first release without it
	Published       Date              `json:"published"`
	Due             Date              `json:"due"` // last day by which who has it must have upgraded

	// Changes are what the fix may change, by component. A release is held to it before it is made; whoever has one needs it no more.
	Changes map[string]Changes `json:"-"`
}

var (
	riskNames = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{2,63}$`)
	ids       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{2,63}$`)
)

// Decode reads the file, in no other form than the one that Encode writes.
func Decode(b []byte) (Lifecycle, error) {
	if len(b) > MaxSize {
		return Lifecycle{}, fmt.Errorf("it has more than %d bytes", MaxSize)
	}
	var l Lifecycle
	if err := format.Exact(b, &l, &l.Unknown, canonjson.Indent); err != nil {
		return Lifecycle{}, err
	}
	return l, l.check()
}

// Encode is the file.
func (l Lifecycle) Encode() ([]byte, error) {
	l.Schema, l.Minor, l.Requires, l.Unknown = Schema, format.Minor, nil, nil
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("writing %s: %w", FileName, err)
	}
	return canonjson.Indent(l)
}

// Release is the one of a version.
func (l Lifecycle) Release(v version.Version) (Release, bool) {
	i, ok := slices.BinarySearchFunc(l.Releases, v, func(r Release, v version.Version) int { return r.Version.Compare(v) })
	if !ok {
		return Release{}, false
	}
	return l.Releases[i], true
}

func (l Lifecycle) check() error {
	switch {
	case !artifact.IsName(l.Name):
		return fmt.Errorf("%.60q is not the name of a platform", l.Name)
	case l.Serial < 1 || (l.Serial == 1) != (l.Prev == ""):
		return fmt.Errorf("serial %d and prev %.80q: the first one has none before it, and all others have", l.Serial, l.Prev)
	case l.AsOf.IsZero():
		return errors.New("nothing says of which day it is")
	case len(l.Releases) > maxReleases || len(l.Risks) > maxFacts || len(l.Advisories) > maxFacts:
		return fmt.Errorf("it has more than %d releases, or more than %d risks or advisories", maxReleases, maxFacts)
	}
	for i, r := range l.Releases {
		if err := r.check(l); err != nil {
			return fmt.Errorf("release %s: %w", r.Version, err)
		}
		if i > 0 && l.Releases[i-1].Version.Compare(r.Version) >= 0 {
			return fmt.Errorf("release %s stands behind %s", r.Version, l.Releases[i-1].Version)
		}
	}
	for i, r := range l.Risks {
		if err := r.check(); err != nil {
			return fmt.Errorf("risk %.70q: %w", r.Name, err)
		}
		if i > 0 && l.Risks[i-1].Name >= r.Name {
			return fmt.Errorf("risk %s stands behind %s", r.Name, l.Risks[i-1].Name)
		}
	}
	for i, a := range l.Advisories {
		if err := a.check(); err != nil {
			return fmt.Errorf("advisory %.70q: %w", a.ID, err)
		}
		if i > 0 && l.Advisories[i-1].ID >= a.ID {
			return fmt.Errorf("advisory %s stands behind %s", a.ID, l.Advisories[i-1].ID)
		}
		// An upgrade says by one word why it may not be taken, and one with a risk may be shown to clients.
		if a.ID == withdrawn || slices.ContainsFunc(l.Risks, func(r Risk) bool { return r.Name == a.ID }) {
			return fmt.Errorf("advisory %s is called as something else is that keeps from upgrades; give it another id", a.ID)
		}
	}
	return nil
}

func (r Release) check(l Lifecycle) error {
	if _, err := artifact.ParseDigest(string(r.Manifest)); err != nil {
		return err
	}
	switch {
	case !r.Version.IsStable() || r.Version.Metadata() != "":
		return errors.New("it is not a full version")
	case r.Date.IsZero() || r.Until.Before(r.Date):
		return fmt.Errorf("it is of %s and supported until %s", r.Date, r.Until)
	}
	for i, to := range r.To {
		if to.Compare(r.Version) <= 0 || i > 0 && r.To[i-1].Compare(to) >= 0 {
			return fmt.Errorf("%s is not a later release than those before it", to)
		}
		if _, ok := l.Release(to); !ok {
			return fmt.Errorf("it goes to %s, which is no release", to)
		}
	}
	return text(r.Withdrawn, true)
}

func (r Risk) check() error {
	switch {
	case !riskNames.MatchString(r.Name):
		return errors.New("its name is not one such as MulticastSkew")
	case r.From.IsZero() || r.To.IsZero():
		return errors.New("it says of no range from where or to where")
	case r.Since.IsZero():
		return errors.New("nothing says since when it is known")
	}
	if u, err := url.Parse(r.URL); err != nil || r.URL != "" && u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("%.80q is not a URL", r.URL)
	}
	return cmp.Or(text(r.URL, true), text(r.Message, false))
}

// Fixes reports whether a release is named as the first of its line without it.
func (a Advisory) Fixes(v version.Version) bool {
	return slices.ContainsFunc(a.Fixed, func(f version.Version) bool { return f.Compare(v) == 0 })
}

func (a Advisory) check() error {
	switch {
	case !ids.MatchString(a.ID):
		return errors.New("its id is not one such as EDGE-2026-003")
	case a.Affected.IsZero():
		return errors.New("nothing says which releases are affected")
	case a.Published.IsZero() || a.Due.Before(a.Published):
		return fmt.Errorf("it is of %s and due on %s", a.Published, a.Due)
	case len(a.Fixed) > maxFixed:
		return fmt.Errorf("it is fixed in %d releases, and at most %d may be named: of each line the first one", len(a.Fixed), maxFixed)
	}
	for i, v := range a.Fixed {
		if i > 0 && a.Fixed[i-1].Compare(v) >= 0 {
			return fmt.Errorf("fixed in %s stands behind %s", v, a.Fixed[i-1])
		}
	}
	for _, v := range a.Vulnerabilities {
		if !ids.MatchString(v) {
			return fmt.Errorf("%.80q is not the id of a vulnerability", v)
		}
	}
	return nil
}

// text says what is wrong with words that people read.
func text(s string, mayBeEmpty bool) error {
	if s == "" && !mayBeEmpty {
		return errors.New("it says nothing to people")
	}
	if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%.40q is not one line of at most %d bytes", s, maxText)
	}
	return nil
}

// Line is the major and the minor number of a version, which are supported together.
func Line(v version.Version) string { return fmt.Sprintf("%d.%d", v.Major(), v.Minor()) }

// Open reports whether a version has the vulnerability: it is affected, and in its line is no fix at or below it.
func (a Advisory) Open(v version.Version) bool {
	return a.Affected.Has(v) && !slices.ContainsFunc(a.Fixed, func(f version.Version) bool { return sameLine(f, v) && f.Compare(v) <= 0 })
}

func sameLine(a, b version.Version) bool { return a.Major() == b.Major() && a.Minor() == b.Minor() }

// open are the advisories that a version has.
func (l Lifecycle) open(v version.Version) []Advisory {
	var all []Advisory
	for _, a := range l.Advisories {
		if a.Open(v) {
			all = append(all, a)
		}
	}
	return all
}
