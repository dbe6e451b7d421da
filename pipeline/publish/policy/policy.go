// Package policy says what must hold before a release is published, and why.
//
// Each rule is a question about the release that can be answered before anything goes out. All of them are asked, so
// that a person sees everything that is wrong at once; a question that has no answer, since whoever knows it is not
// there, is never a yes.
//
// The rules keep people from accidents. They do not replace permissions: who may push to a registry can do it without
// this program, and the registry alone can refuse that.
package policy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// The names of the rules, in the order in which they are reported.
const (
	Publishable   = "publishable"
	CI            = "ci"
	Bases         = "bases"
	Charts        = "charts"
	ChartVersions = "chart versions"
	Candidate     = "candidate"
)

// rule is something that must hold, with the reason for it.
type rule struct{ name, why string }

var (
	// A shallow clone is refused by package source before there is a manifest, so none can say that it is from one.
	publishable = rule{Publishable, "what is published can be built again from its commit alone"}
	ci          = rule{CI, "official releases come from CI, so that they can be repeated and none is pushed by accident"}
	bases       = rule{Bases, "a rebuild of the commit stands on the same bytes"}
	charts      = rule{Charts, "an image that moves, or that does not exist, installs something else or nothing"}
	chartNames  = rule{ChartVersions, "one version of a chart is one chart for good; those who have it would not see another"}
	candidate   = rule{Candidate, "people try a candidate before everybody gets the stable version"}
)

// Finding is how the release stands with one rule. A rule that is broken in several places has a finding for each.
type Finding struct {
	Rule   string `json:"rule"`
	Passed bool   `json:"passed"`
	Detail string `json:"detail"`           // what was found
	Why    string `json:"why"`              // the rule is there
	WayOut string `json:"wayOut,omitempty"` // where it has not passed

	code fault.Code
}

// Explain is the finding in one line for a person.
func (f Finding) Explain() string {
	if f.Passed {
		return fmt.Sprintf("policy %s: %s", f.Rule, f.Detail)
	}
	return fmt.Sprintf("policy %s: %s (%s); %s", f.Rule, f.Detail, f.Why, f.WayOut)
}

// Err is nil for a rule that holds. Otherwise it is a fault.Policy, or what kept the rule from being checked:
// fault.Transient where somebody did not answer, fault.Credentials where somebody refused to.
func (f Finding) Err() error {
	if f.Passed {
		return nil
	}
	return fault.New(f.code, errors.New(f.Explain()))
}

func (r rule) pass(format string, args ...any) Finding {
	return Finding{Rule: r.name, Passed: true, Detail: fmt.Sprintf(format, args...), Why: r.why}
}

// refuse is a rule that is broken.
func (r rule) refuse(wayOut, format string, args ...any) Finding {
	return Finding{Rule: r.name, Detail: fmt.Sprintf(format, args...), Why: r.why, WayOut: wayOut, code: fault.Policy}
}

// unknown is a rule that could not be checked.
func (r rule) unknown(err error) Finding {
	f := Finding{Rule: r.name, Detail: err.Error(), Why: r.why, WayOut: "the same command asks again", code: fault.CodeOf(wire.Fault(err))}
	if f.code != fault.Transient {
		f.WayOut = "mend that first"
	}
	return f
}

// Registry knows which images there are.
type Registry interface {
	// Has reports whether the registry that the reference names has it. An error says that the registry could not tell.
	Has(ctx context.Context, reference string) (bool, error)
}

// Options are a release and what the rules ask about it.
type Options struct {
	Release manifest.Release
	// Destinations are all that the release goes to: URLs, hosts, references without a scheme, or folders; see Local.
	Destinations []string

	// AllowUnpublishable lets a release pass that is marked as not for publishing, to try it, if all destinations are
	// local.
	AllowUnpublishable bool

	// Tokens say who publishes; nil is nobody.
	Tokens TokenSource
	// Issuer vouches for workflows; "" is GitHubIssuer. It is the only one whose tokens count.
	Issuer string
	// Host has the repositories that the issuer vouches for, as it stands in their URLs; "" is github.com for GitHub's
	// issuer, and otherwise the issuer's own host.
	Host string
	// Audience is whom tokens must be for; "" is DefaultAudience.
	Audience string
	// Client asks the issuer; nil is http.DefaultClient. Redirects are not followed.
	Client *http.Client
	// Timeout bounds a conversation with the issuer; 0 is a minute.
	Timeout time.Duration

	// Images lists the images in the packaged chart at the path, which is that in the manifest: those of every container
	// that it renders, and those of its annotation artifacthub.io/images.
	Images func(path string) ([]string, error)
	// Registry has images of others.
	Registry Registry

	// CandidateFirst asks for a published candidate of a stable version.
	CandidateFirst bool
	// Released are the versions that were published before.
	Released []version.Version

	Now func() time.Time // nil is time.Now; for the age of tokens
}

// Check holds the release to every rule. The findings are in the order of the rules, at least one of each; the error
// joins those that have not passed and has the most serious of their codes.
func Check(ctx context.Context, o Options) ([]Finding, error) {
	if o.Issuer == "" {
		o.Issuer = GitHubIssuer
	}
	if o.Audience == "" {
		o.Audience = DefaultAudience
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	findings := []Finding{o.publishable(), o.ci(ctx)}
	findings = append(findings, o.bases()...)
	findings = append(findings, o.charts(ctx)...)
	findings = append(findings, o.chartVersions()...)
	findings = append(findings, o.candidate())
	if err := ctx.Err(); err != nil {
		return findings, err
	}
	var errs []error
	for _, f := range findings {
		errs = append(errs, f.Err())
	}
	return findings, errors.Join(errs...)
}

// Local reports whether every destination is this machine: a folder (an absolute path, one that begins with ./ or ../, or
// a file URL) or a host on loopback. No destination at all is not.
func Local(destinations []string) bool {
	return len(destinations) > 0 && !slices.ContainsFunc(destinations, func(d string) bool { return !local(d) })
}

func local(destination string) bool {
	slashed := filepath.ToSlash(destination)
	if destination == "." || destination == ".." || strings.HasPrefix(slashed, "./") || strings.HasPrefix(slashed, "../") ||
		filepath.IsAbs(destination) && !strings.HasPrefix(slashed, "//") {
		return true
	}
	if !strings.Contains(destination, "://") {
		destination = "//" + strings.TrimLeft(destination, "/") // without a scheme, such as localhost:5000/owner/name
	}
	u, err := url.Parse(destination)
	if err != nil {
		return false
	}
	if u.Scheme == "file" {
		return u.Host == "" || web.Loopback(u.Host)
	}
	return web.Loopback(u.Host)
}

func (o Options) publishable() Finding {
	why := o.Release.Unpublishable
	switch {
	case len(why) == 0:
		return publishable.pass("built from a clean commit, on real bases, for all targets")
	case o.AllowUnpublishable && Local(o.Destinations):
		return publishable.pass("%s, and it does not leave this machine", strings.Join(why, " and "))
	}
	wayOut := "build it again without that"
	if o.AllowUnpublishable {
		wayOut += "; such a release may be tried only on loopback"
	}
	return publishable.refuse(wayOut, "%s is marked as not for publishing: %s", o.Release.Version, strings.Join(why, " and "))
}

// moving are the names of tags that follow a branch or the newest release.
var moving = []string{
	"latest", "current", "newest", "master", "main", "mainline", "trunk", "head", "tip", "edge", "nightly", "daily", "weekly", "snapshot",
	"rolling", "canary", "dev", "devel", "develop", "development", "unstable", "testing", "stable", "next", "lts",
}

// isMoving reports whether a tag follows a branch: one of its words says so, and no word is the number or the date of what
// it stands for. So stable-slim moves, and stable-20260101-slim does not. Release lines such as 3.22 pass, as do names of
// a variety such as nonroot: the digest beside them says which of the line it is.
func isMoving(tag string) bool {
	words := strings.FieldsFunc(strings.ToLower(tag), func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	numbered := slices.ContainsFunc(words, func(w string) bool { return w[0] >= '0' && w[0] <= '9' })
	return !numbered && slices.ContainsFunc(words, func(w string) bool { return slices.Contains(moving, w) })
}

// bases refuses parents that move. The digest alone makes a rebuild the same; a name that moves is refused beside it,
// since whoever renews the lock gets another line of releases without having asked for it.
func (o Options) bases() []Finding {
	var refused []Finding
	n := 0
	for _, in := range o.Release.Inputs {
		if in.Kind != "base" {
			continue
		}
		n++
		base, tag, _ := split(in.Name)
		switch _, err := artifact.ParseDigest(in.Digest); {
		case err != nil:
			refused = append(refused, bases.refuse("run the command lock and build again", "%.200q is not pinned: %s", in.Name, err))
		case tag == "":
			refused = append(refused, bases.refuse("name a release of it in the configuration and run the command lock",
				"%.200q has no tag, which is latest", in.Name))
		case isMoving(tag):
			refused = append(refused, bases.refuse("name a release of it in the configuration and run the command lock",
				"tag %.128q of %.200q moves", tag, base))
		}
	}
	switch {
	case len(refused) > 0:
		return refused
	case n == 0:
		return []Finding{bases.pass("there are none")}
	}
	return []Finding{bases.pass("%s, pinned by digest", words.Count(n, "base"))}
}

func (o Options) chartVersions() []Finding {
	var refused []Finding
	seen := map[[2]string]string{}
	for _, c := range o.Release.Charts {
		// Parse reads a leading v, which no version of a chart has (https://helm.sh/docs/topics/charts/#charts-and-versioning).
		if v, err := version.Parse(c.Version); err != nil || v.String() != c.Version {
			refused = append(refused, chartNames.refuse("give it one such as 1.2.3",
				"chart %.100s: version %.128q is not SemVer", c.Name, c.Version))
			continue
		}
		key := [2]string{c.Name, c.Version}
		if other, ok := seen[key]; ok {
			refused = append(refused, chartNames.refuse("rename one of them",
				"%.200s and %.200s are both %.100s %.128s", other, c.Path, c.Name, c.Version))
			continue
		}
		seen[key] = c.Path
	}
	switch {
	case len(refused) > 0:
		return refused
	case len(seen) == 0:
		return []Finding{chartNames.pass("there are no charts")}
	}
	return []Finding{chartNames.pass("%s, each with a version of its own", words.Count(len(seen), "chart"))}
}

func (o Options) candidate() Finding {
	v := o.Release.Version
	switch {
	case !o.CandidateFirst:
		return candidate.pass("the project asks for none")
	case !v.IsStable():
		return candidate.pass("%s is not stable itself", v)
	}
	of := slices.DeleteFunc(slices.Clone(o.Released), func(r version.Version) bool {
		return !r.IsPrerelease() || r.IsSnapshot() || r.Major() != v.Major() || r.Minor() != v.Minor() || r.Patch() != v.Patch()
	})
	newest, ok := version.Highest(of)
	if !ok {
		first := fmt.Sprintf("%d.%d.%d-rc.1", v.Major(), v.Minor(), v.Patch())
		return candidate.refuse("release "+first+" first", "no candidate of %s was published", v)
	}
	return candidate.pass("%s was published before", newest)
}
