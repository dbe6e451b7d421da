// Package platform says what a platform is: components of several repositories under one version. What is wanted stands in
// platform.yaml, which components of which versions those are in platform.lock; both are values here, and nothing is asked of any
// repository or server.
package platform

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// The files of a platform, at the root of its repository.
const (
	FileName     = "platform.yaml"
	LockFileName = "platform.lock"
)

// Bounds of what a platform may be.
const (
	maxComponents = 256
	maxNeeds      = 64
)

// Channel is one of the ways to choose a commit of each component. The definition of the platform is the same in all of them.
type Channel string

const (
	Dev     Channel = "dev"     // the head of each component's branch
	Staging Channel = "staging" // the highest tag that is allowed, candidates included
	Stable  Channel = "stable"  // the tag that is pinned
)

// Channels are all of them, in the order in which a platform moves on.
var Channels = []Channel{Dev, Staging, Stable}

// Platform is platform.yaml.
type Platform struct {
	Version    int                  `yaml:"version" required:"true" enum:"1" doc:"Format of this file."`
	Name       string               `yaml:"name" required:"true" doc:"Name of the platform: lower-case letters, digits and -." example:"edge"`
	Components map[string]Component `yaml:"components" required:"true" doc:"What the platform consists of, each by the name of its project."`

	Chart     Chart             `yaml:"chart" doc:"OCI repository that the chart over the charts of all components is pushed below, or false for none to be made. Default: it is made, and pushed nowhere." example:"ghcr.io/owner/charts"`
	Support   Support           `yaml:"support" doc:"For how long the lines of the platform are supported."`
	Upgrades  Upgrades          `yaml:"upgrades" doc:"Which releases may be upgraded to this one."`
	Bases     map[string]Base   `yaml:"bases" doc:"Base images that are made for the platform, by name."`
	Withdrawn map[string]string `yaml:"withdrawn" doc:"Releases that nobody is to upgrade to any more, each with the reason." example:"2.2.2: \"it loses its peers\""`

	Numbering  string      `yaml:"numbering" enum:"security,patch" doc:"What the third number is for: security releases alone, or fixes of any kind. Default: security."`
	Exceptions []Exception `yaml:"exceptions" doc:"What a release may do although its number promises otherwise, each with the reason."`

	where yamldoc.Positions
}

// Chart says whether a release has a chart over the charts of its components, and where that goes.
type Chart struct {
	Off        bool
	Repository string // OCI repository that it is pushed below, under its own name; "" for none
}

// UnmarshalText reads a repository, or false.
func (c *Chart) UnmarshalText(b []byte) error {
	if string(b) == "false" {
		*c = Chart{Off: true}
		return nil
	}
	if !repositoryName.Match(b) {
		return fmt.Errorf("%.80q is neither false nor an OCI repository such as ghcr.io/owner/charts", b)
	}
	*c = Chart{Repository: string(b)}
	return nil
}

// repositoryName is a registry with a path, as the OCI distribution specification has names
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
var repositoryName = regexp.MustCompile(`^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$`)

// The values of Platform.Numbering.
const (
	NumberingSecurity = "security"
	NumberingPatch    = "patch"
)

// Exception is a finding about one release that is accepted.
type Exception struct {
	What    string `yaml:"what" required:"true" doc:"The finding, as platform check prints it, or its place alone." example:"gateway internal/ui/theme.go"`
	Release string `yaml:"release" required:"true" doc:"Version of the platform that it is accepted in." example:"2.1.4"`
	Reason  string `yaml:"reason" required:"true" doc:"Why, for those who read the notes of the release."`
}

// Bounds of what a platform accepts.
const (
	maxExceptions = 256
	maxText       = 1000 // bytes
)

// Support is for how long releases are supported, counted from the first one of each line.
type Support struct {
	Minor    int               `yaml:"minor" doc:"Months for which a line, such as 2.1, is supported. Default: 12."`
	Major    int               `yaml:"major" doc:"Months for which a major version is supported, however young its lines are. Default: 36."`
	Extended map[string]string `yaml:"extended" doc:"Lines that are supported longer, each with its last day." example:"\"2.1\": \"2027-06-30\""`
}

// Upgrades are the ways to a release.
type Upgrades struct {
	From Range             `yaml:"from" doc:"Releases that may be upgraded to this one. Default: all before it." example:">=2.0.0"`
	To   []version.Version `yaml:"to" doc:"Later releases that this one may be upgraded to although they do not say so, for a late patch of an old line." example:"2.2.1"`
}

// Component is a project that is released by itself.
type Component struct {
	Repository string           `yaml:"repository" required:"true" doc:"URL of the source, or a folder beside this file." example:"https://github.com/owner/gateway"`
	TagPrefix  string           `yaml:"tagPrefix" doc:"What stands before the v of its tags, where one repository has several projects." example:"gateway/"`
	Branch     string           `yaml:"branch" doc:"What channel dev follows. Default: the branch that HEAD of the repository is at."`
	Constraint Range            `yaml:"constraint" doc:"Versions that may be taken. Default: all." example:">=1.4.0 <2.0.0"`
	Pin        string           `yaml:"pin" doc:"Version that channel stable takes. Default: none, and stable cannot be locked."`
	Releases   string           `yaml:"releases" required:"true" doc:"Where its releases are: the URL of slipway serve or of a repository on GitHub, or a folder beside this file." example:"https://releases.example.com"`
	Key        string           `yaml:"key" doc:"Public key that its releases are signed with, a path beside this file." example:"keys/gateway.pub"`
	Identity   string           `yaml:"identity" doc:"Workflow that signs its releases, in place of a key. A * stands for the rest of the name."`
	Issuer     string           `yaml:"issuer" doc:"Who says who the workflow is. Default: GitHub Actions."`
	API        []string         `yaml:"api" doc:"Go packages that stay compatible below a major version, as patterns from the folder of its go.mod." example:"./pkg/..."`
	Schemas    []string         `yaml:"schemas" doc:"JSON Schemas of its configuration, as paths in its repository." example:"config.schema.json"`
	Needs      map[string]Range `yaml:"needs" doc:"Components that are built before it, with the versions that it works with." example:"proto: \">=0.9.0 <0.10.0\""`
}

// Parse reads platform.yaml. name is what errors call it.
func Parse(name string, b []byte) (Platform, error) {
	var p Platform
	var err error
	if p.where, err = yamldoc.Decode(name, b, &p); err == nil {
		err = p.validate()
	}
	if err != nil {
		return Platform{}, fault.New(fault.Usage, err)
	}
	return p, nil
}

// At is where a key stands in the file, as file:line:column.
func (p Platform) At(key string) string { return p.where.At(key) }

// Names are the components, sorted.
func (p Platform) Names() []string { return slices.Sorted(maps.Keys(p.Components)) }

func (p *Platform) validate() error {
	bad := yamldoc.NewProblems(p.where)
	if !artifact.IsName(p.Name) {
		bad.At("name", "%.60q is not a name of up to 40 lower-case letters, digits and -", p.Name)
	}
	if n := len(p.Components); n == 0 || n > maxComponents {
		bad.At("components", "there are %d; a platform has at least one and at most %d", n, maxComponents)
	}
	p.validateSupport(bad)
	p.validateBases(bad)
	p.validateExceptions(bad)
	tags := map[string]string{}
	for _, name := range p.Names() {
		c, key := p.Components[name], "components."+name
		if !artifact.IsName(name) {
			bad.At(key, "%.60q is not a name of up to 40 lower-case letters, digits and -", name)
		}
		c.validate(bad, key)
		place := c.Repository + " " + c.TagPrefix
		if other := tags[place]; other != "" {
			bad.At(key, "%s has the same repository and prefix: give both a tagPrefix, by which their tags are told apart", other)
		}
		tags[place] = name
		for _, need := range slices.Sorted(maps.Keys(c.Needs)) {
			if _, ok := p.Components[need]; !ok {
				bad.At(key+".needs."+need, "there is no component %.60q%s", need, yamldoc.DidYouMean(need, p.Names()))
			}
		}
	}
	if bad.Len() == 0 {
		if _, err := p.Order(); err != nil {
			bad.At("components", "%w", err)
		}
	}
	return bad.Err()
}

// maxMonths is the longest support that may be promised.
const maxMonths = 600

var lines = regexp.MustCompile(`^(?:0|[1-9][0-9]{0,8})\.(?:0|[1-9][0-9]{0,8})$`)

func (p *Platform) validateSupport(bad *yamldoc.Problems) {
	for _, of := range []struct {
		key    string
		months *int
		usual  int
	}{{"support.minor", &p.Support.Minor, 12}, {"support.major", &p.Support.Major, 36}} {
		if *of.months == 0 {
			*of.months = of.usual
		}
		if *of.months < 1 || *of.months > maxMonths {
			bad.At(of.key, "%d is not a number of months from 1 to %d", *of.months, maxMonths)
		}
	}
	for _, line := range slices.Sorted(maps.Keys(p.Support.Extended)) {
		if _, err := time.Parse(time.DateOnly, p.Support.Extended[line]); err != nil {
			bad.At("support.extended."+line, "%.40q is not a day such as 2026-03-17", p.Support.Extended[line])
		}
		if !lines.MatchString(line) {
			bad.At("support.extended."+line, "%.60q is not a line such as 2.1", line)
		}
	}
	for _, s := range slices.Sorted(maps.Keys(p.Withdrawn)) {
		if v, err := version.Parse(s); err != nil || v.String() != s {
			bad.At("withdrawn."+s, "%.60q is not a version", s)
		} else if p.Withdrawn[s] == "" {
			bad.At("withdrawn."+s, "it needs a reason")
		}
	}
}

func (p *Platform) validateExceptions(bad *yamldoc.Problems) {
	p.Numbering = cmp.Or(p.Numbering, NumberingSecurity)
	if len(p.Exceptions) > maxExceptions {
		bad.At("exceptions", "there are %d, and at most %d", len(p.Exceptions), maxExceptions)
		return
	}
	for i, e := range p.Exceptions {
		key := fmt.Sprintf("exceptions[%d]", i)
		if v, err := version.Parse(e.Release); err != nil || v.String() != e.Release {
			bad.At(key+".release", "%.60q is not a version", e.Release)
		}
		for _, of := range [][2]string{{"what", e.What}, {"reason", e.Reason}} {
			if len(of[1]) > maxText || strings.ContainsFunc(of[1], func(r rune) bool { return r < ' ' || r == 0x7f }) {
				bad.At(key+"."+of[0], "it is not one line of at most %d bytes", maxText)
			}
		}
		for j, other := range p.Exceptions[:i] {
			if other.What == e.What && other.Release == e.Release {
				bad.At(key, "it says what exceptions[%d] says; take one of them out", j)
			}
		}
	}
}

// maxPatterns bounds what a component is held to.
const maxPatterns = 64

// validatePromises looks at what the component is held to. All of it is handed to the Go command, or opened in a tree.
func (c Component) validatePromises(bad *yamldoc.Problems, key string) {
	if len(c.API) > maxPatterns || len(c.Schemas) > maxPatterns {
		bad.At(key, "it has more than %d patterns in api, or paths in schemas", maxPatterns)
		return
	}
	for i, s := range c.API {
		if s != "." && !strings.HasPrefix(s, "./") || strings.Contains(strings.TrimSuffix(s, "/..."), "..") {
			bad.At(fmt.Sprintf("%s.api[%d]", key, i), "%.80q is not a pattern such as ./pkg/...", s)
		}
	}
	for i, s := range c.Schemas {
		if !fs.ValidPath(s) || s == "." {
			bad.At(fmt.Sprintf("%s.schemas[%d]", key, i), "%.80q is not a path in its repository such as config.schema.json", s)
		}
	}
}

func (c Component) validate(bad *yamldoc.Problems, key string) {
	c.validatePromises(bad, key)
	// What begins with a - would be an option of git.
	for name, value := range map[string]string{"repository": c.Repository, "releases": c.Releases, "branch": c.Branch, "tagPrefix": c.TagPrefix} {
		if strings.HasPrefix(value, "-") || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			bad.At(key+"."+name, "%.80q begins with a -, or has a space in it", value)
		}
		if u, err := url.Parse(value); err == nil && u.User != nil && u.Scheme != "ssh" {
			bad.At(key+"."+name, "it has a user in it, and is shown to everybody by platform.json: leave that out, and let a credential helper of git know it")
		}
	}
	if scheme, _, ok := strings.Cut(c.Releases, "://"); ok && scheme != "https" && scheme != "http" {
		bad.At(key+".releases", "%.80q is neither a folder nor a URL of https", c.Releases)
	}
	if c.Pin != "" {
		v, err := version.Parse(c.Pin)
		switch {
		case err != nil:
			bad.At(key+".pin", "%w", err)
		case !c.Constraint.Has(v):
			bad.At(key+".pin", "%s is not in the constraint %s", v, c.Constraint)
		}
	}
	switch {
	case c.Key == "" && c.Identity == "":
		bad.At(key, "nothing says who signs its releases: give it a key, or the identity of a workflow")
	case c.Key != "" && c.Identity != "":
		bad.At(key+".identity", "it has a key as well; give one of the two")
	case c.Issuer != "" && c.Identity == "":
		bad.At(key+".issuer", "it says who vouches for an identity, and there is none")
	}
	if len(c.Needs) > maxNeeds {
		bad.At(key+".needs", "there are %d, and at most %d", len(c.Needs), maxNeeds)
	}
}

// Order is the order in which components are built: each behind all that it needs, and otherwise by name. An error names the
// components of a cycle.
func (p Platform) Order() ([]string, error) {
	var order, path []string
	state := map[string]int{} // 1 while what it needs is looked at, 2 when it is in the order
	var visit func(name string) error
	visit = func(name string) error {
		switch state[name] {
		case 1:
			return errors.New(strings.Join(append(path[slices.Index(path, name):], name), " needs "))
		case 2:
			return nil
		}
		state[name], path = 1, append(path, name)
		for _, need := range slices.Sorted(maps.Keys(p.Components[name].Needs)) {
			if err := visit(need); err != nil {
				return err
			}
		}
		state[name], path = 2, path[:len(path)-1]
		order = append(order, name)
		return nil
	}
	for _, name := range p.Names() {
		if err := visit(name); err != nil {
			return nil, fmt.Errorf("nothing can be built first: %w", err)
		}
	}
	return order, nil
}

// Agrees says why a platform cannot be released as it is locked: a component that is not in the lock or no longer in the platform, a
// pin that is another one by now, a version, a tag or a signer that cannot have been chosen, and what Check finds.
func (p Platform) Agrees(l Lock) error {
	var errs []error
	for _, name := range p.Names() {
		c, ok := l.Components[name]
		switch pin := p.Components[name].Pin; {
		case !ok:
			errs = append(errs, fmt.Errorf("%s: %s is not locked", p.At("components."+name), name))
		case l.Channel == Stable && strings.TrimPrefix(pin, "v") != c.Version:
			errs = append(errs, fmt.Errorf("%s: %s is pinned at %s, and %s is locked", p.At("components."+name+".pin"), name, cmp.Or(pin, "nothing"), c.Version))
		default:
			if err := p.Components[name].agrees(c); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s %w", p.At("components."+name), name, err))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Components)) {
		if _, ok := p.Components[name]; !ok {
			errs = append(errs, fmt.Errorf("%s: %s is locked, and is no component", p.At("components"), name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fault.New(fault.Usage, fmt.Errorf("%w; run platform lock and commit %s", err, LockFileName))
	}
	if err := p.agreesOnBases(l); err != nil {
		return fault.New(fault.Usage, err)
	}
	return p.Check(l)
}

// agrees says why what is locked of a component cannot have been chosen as the platform says.
func (c Component) agrees(is Chosen) error {
	if is.Published() && c.Identity != "" && is.Signer != c.Identity {
		return fmt.Errorf("is to be signed by %s, and is locked as signed by %s", c.Identity, is.Signer)
	}
	if is.Tag == "" {
		return nil
	}
	rest, ok := strings.CutPrefix(is.Tag, c.TagPrefix)
	v, err := version.Parse(rest)
	switch {
	case !ok || err != nil || v.String() != is.Version:
		return fmt.Errorf("is locked at %s by tag %.80q, which is not the tag of that version", is.Version, is.Tag)
	case !c.Constraint.Has(v):
		return fmt.Errorf("is locked at %s, which is not in the constraint %s", v, c.Constraint)
	}
	return nil
}

// Check says which of the chosen versions do not go together: each need that is not met, with both sides.
func (p Platform) Check(l Lock) error {
	var errs []error
	for _, name := range p.Names() {
		for _, need := range slices.Sorted(maps.Keys(p.Components[name].Needs)) {
			r, has := p.Components[name].Needs[need], l.Components[need].Version
			v, err := version.Parse(has)
			if err == nil && !r.Has(v) {
				errs = append(errs, fmt.Errorf("%s: %s %s needs %s %s, and %s is chosen", p.At("components."+name+".needs."+need), name, l.Components[name].Version, need, r, has))
			}
		}
	}
	return fault.New(fault.Usage, errors.Join(errs...))
}
