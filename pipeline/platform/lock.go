package platform

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Lock is platform.lock: which commit and which release of each component a platform consists of.
type Lock struct {
	Version    int               `yaml:"version" required:"true" enum:"1" doc:"Format of this file."`
	Channel    Channel           `yaml:"channel" required:"true" enum:"dev,staging,stable" doc:"How the components were chosen."`
	Components map[string]Chosen `yaml:"components" required:"true" doc:"The components, by name."`
	Bases      map[string]Baked  `yaml:"bases" doc:"The base images that were made for the platform, by name."`
}

// Chosen is a component as it was chosen.
type Chosen struct {
	Version  string          `yaml:"version" doc:"Version; none while the head of a branch has no release."`
	Tag      string          `yaml:"tag" doc:"Tag of the version; none on channel dev."`
	Commit   string          `yaml:"commit" required:"true" doc:"Commit."`
	Manifest artifact.Digest `yaml:"manifest" doc:"Digest of its release.json; none while it is not published."`
	Signer   string          `yaml:"signer" doc:"Fingerprint of the key, or identity of the workflow, that signed the release."`

	Charts map[string]string `yaml:"charts" doc:"Version of each chart of its release, by name. A lock from before this was written down has none, and what is over all components is not made from it."`
	Notes  artifact.Digest   `yaml:"notes" doc:"Digest of its release notes, where its releases are at a place that has them."`
}

// Published reports whether there was a verified release of it when it was locked.
func (c Chosen) Published() bool { return c.Manifest != "" }

// Told reports whether the lock says of each release what a plan has to know of it.
func (l Lock) Told() bool {
	for _, c := range l.Components {
		if c.Published() && c.Charts == nil {
			return false
		}
	}
	return true
}

// Called is how a person calls it: by version, else by commit.
func (c Chosen) Called() string { return c.component("").Called() }

// ParseLock reads platform.lock. name is what errors call it.
func ParseLock(name string, b []byte) (Lock, error) {
	var l Lock
	where, err := yamldoc.Decode(name, b, &l)
	if err == nil {
		err = l.validate(where)
	}
	if err != nil {
		return Lock{}, fault.New(fault.Usage, fmt.Errorf("%w; write it anew with go run ./ci platform lock", err))
	}
	return l, nil
}

var chartName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,100}$`)

func (l Lock) validate(where yamldoc.Positions) error {
	bad := yamldoc.NewProblems(where)
	for _, name := range slices.Sorted(maps.Keys(l.Components)) {
		c, key := l.Components[name], "components."+name
		if !artifact.IsName(name) {
			bad.At(key, "%.60q is not the name of a component", name)
		}
		if !artifact.IsCommit(c.Commit) {
			bad.At(key+".commit", "%.80q is not the full name of a commit", c.Commit)
		}
		if v, err := version.Parse(c.Version); c.Version != "" && (err != nil || v.String() != c.Version) {
			bad.At(key+".version", "%.80q is not a version", c.Version)
		}
		if c.Published() && (c.Signer == "" || c.Version == "") {
			bad.At(key+".manifest", "it has a release and no version of it, or nobody who signed it")
		}
		if !c.Published() && (c.Charts != nil || c.Notes != "") {
			bad.At(key+".charts", "it has charts or notes, and no release that they are of")
		}
		for _, chart := range slices.Sorted(maps.Keys(c.Charts)) {
			if v, err := version.Parse(c.Charts[chart]); !chartName.MatchString(chart) || err != nil || v.String() != c.Charts[chart] {
				bad.At(key+".charts."+chart, "%.60q %.60q is not the name of a chart and its version", chart, c.Charts[chart])
			}
		}
		if l.Channel != Dev && (c.Tag == "" || c.Version == "") {
			bad.At(key, "channel %s takes tags, and it has no tag or no version", l.Channel)
		}
	}
	l.validateBases(bad)
	return bad.Err()
}

// Encode is the file: keys in a fixed order and one component in a line, so that a difference in version control is what changed.
func (l Lock) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# What the platform consists of. Written by the command platform lock.\nversion: 1\nchannel: %s\ncomponents:\n", l.Channel)
	for _, name := range slices.Sorted(maps.Keys(l.Components)) {
		c := l.Components[name]
		fmt.Fprintf(&b, "  %s: {", name)
		comma := ""
		for _, f := range [][2]string{{"version", c.Version}, {"tag", c.Tag}, {"commit", c.Commit}, {"manifest", string(c.Manifest)}, {"signer", c.Signer}, {"notes", string(c.Notes)}} {
			if f[1] != "" {
				fmt.Fprintf(&b, "%s%s: %q", comma, f[0], f[1])
				comma = ", "
			}
		}
		if c.Charts != nil {
			var charts []string
			for _, chart := range slices.Sorted(maps.Keys(c.Charts)) {
				charts = append(charts, fmt.Sprintf("%q: %q", chart, c.Charts[chart]))
			}
			fmt.Fprintf(&b, "%scharts: {%s}", comma, strings.Join(charts, ", "))
		}
		b.WriteString("}\n")
	}
	l.encodeBases(&b)
	return b.Bytes()
}

// Diff is what differs between two locks, a line for each component, by name.
func Diff(before, after Lock) (lines []string) {
	all, same := Changes(before, after)
	for _, change := range all {
		lines = append(lines, change.String())
	}
	for _, name := range same {
		was, is := before.Components[name], after.Components[name]
		if (was.Charts == nil) != (is.Charts == nil) || !maps.Equal(was.Charts, is.Charts) || was.Notes != is.Notes {
			lines = append(lines, fmt.Sprintf("%s: %s, what its release has", name, is.Called()))
		}
	}
	slices.Sort(lines)
	return lines
}

// Changes are the components that differ, and the names of the others.
func Changes(before, after Lock) (all []composition.Change, same []string) {
	return composition.Diff(before.composed(), after.composed())
}

// composed is what the lock chooses.
func (l Lock) composed() (p composition.Platform) {
	for name, c := range l.Components {
		p.Components = append(p.Components, c.component(name))
	}
	return p
}

// component is what was chosen, as platform.json has it, but for what platform.yaml says.
func (c Chosen) component(name string) composition.Component {
	return composition.Component{Name: name, Version: c.Version, Tag: c.Tag, Commit: c.Commit, Manifest: c.Manifest, Signer: c.Signer}
}

// Compose is what a platform consists of, as it is locked: platform.json but for its version.
func (p Platform) Compose(l Lock) composition.Platform {
	is := composition.Platform{Name: p.Name, Channel: string(l.Channel), Bases: l.composeBases()}
	if !p.Upgrades.From.IsZero() || len(p.Upgrades.To) > 0 {
		is.Upgrades = &composition.Upgrades{From: p.Upgrades.From.String(), To: p.Upgrades.To}
	}
	for _, name := range p.Names() {
		c := l.Components[name].component(name)
		c.Repository, c.Releases, c.Needs = p.Components[name].Repository, p.Components[name].Releases, slices.Sorted(maps.Keys(p.Components[name].Needs))
		is.Components = append(is.Components, c)
	}
	return is
}
