// Package composition holds platform.json: what a release of a platform consists of, which is releases of other projects, each by the
// commit it was made of and the digest of its manifest. It is a file of the release like any other, and a function of its commit.
package composition

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// FileName is the path of the file in a release.
const FileName = "platform.json"

// Schema names the format with its major version. A reader refuses any other.
const Schema = "slipway.platform/v1"

// MaxSize bounds the file, in bytes.
const MaxSize = 4 << 20

var format = canonjson.Format{Schema: Schema}

// Platform is platform.json. A minor version that adds a key puts it behind all others.
type Platform struct {
	Schema     string          `json:"schema"`
	Minor      int             `json:"minor,omitempty"`
	Requires   []string        `json:"requires,omitempty"`
	Name       string          `json:"name"`
	Version    version.Version `json:"version"` // of the platform
	Channel    string          `json:"channel"` // by which the components were chosen
	Components []Component     `json:"components"`

	Upgrades *Upgrades `json:"upgrades,omitempty"`
	Bases    []Base    `json:"bases,omitempty"`

	// Unknown is what a later minor version says besides. It decides nothing.
	Unknown canonjson.Unknown `json:"-"`
}

// Upgrades are the ways to and from the release that were meant when it was made.
type Upgrades struct {
	From string            `json:"from,omitempty"` // range of the releases that may be upgraded to it; "" for all before it
	To   []version.Version `json:"to,omitempty"`   // later releases that it may be upgraded to although they do not say so
}

// Component is a release of another project.
type Component struct {
	Name       string          `json:"name"`
	Version    string          `json:"version,omitempty"` // "" for one that was not published
	Tag        string          `json:"tag,omitempty"`
	Commit     string          `json:"commit"`
	Manifest   artifact.Digest `json:"manifest,omitempty"` // of its release.json; "" for one that was not published
	Signer     string          `json:"signer,omitempty"`   // fingerprint of the key, or identity of the workflow, that signed it
	Repository string          `json:"repository"`
	Releases   string          `json:"releases"` // where it is
	Needs      []string        `json:"needs,omitempty"`
}

// Base is a base image that was made for the platform.
type Base struct {
	Name   string          `json:"name"`
	Image  string          `json:"image"`  // with its tag
	Digest artifact.Digest `json:"digest"` // of its index
	Record artifact.Digest `json:"record"` // of its base.json
}

// Input is the base as an input of the platform's release.
func (b Base) Input() artifact.Input {
	return artifact.Input{Kind: "base", Name: b.Image, Digest: string(b.Digest)}
}

func (b Base) check() error {
	if !artifact.IsName(b.Name) || b.Image == "" {
		return errors.New("it has no name or no image")
	}
	for _, d := range []artifact.Digest{b.Digest, b.Record} {
		if _, err := artifact.ParseDigest(string(d)); err != nil {
			return err
		}
	}
	return nil
}

// BaseChange is a base that differs between two platforms: Before is zero for one that is new, After for one that is gone.
type BaseChange struct {
	Name   string `json:"name"`
	Before Base   `json:"before,omitzero"`
	After  Base   `json:"after,omitzero"`
}

// DiffBases are the bases that differ, by name.
func DiffBases(before, after Platform) (all []BaseChange) {
	both := map[string]BaseChange{}
	for _, b := range before.Bases {
		both[b.Name] = BaseChange{Name: b.Name, Before: b}
	}
	for _, b := range after.Bases {
		both[b.Name] = BaseChange{Name: b.Name, Before: both[b.Name].Before, After: b}
	}
	for _, name := range slices.Sorted(maps.Keys(both)) {
		if c := both[name]; c.Before != c.After {
			all = append(all, c)
		}
	}
	return all
}

// String is the change as a line.
func (c BaseChange) String() string {
	switch {
	case c.Before.Name == "":
		return fmt.Sprintf("base %s: new, %s", c.Name, c.After.called())
	case c.After.Name == "":
		return fmt.Sprintf("base %s: %s, gone", c.Name, c.Before.called())
	}
	return fmt.Sprintf("base %s: %s -> %s", c.Name, c.Before.called(), c.After.called())
}

func (b Base) called() string { return b.Image + " " + b.Digest.Short() }

// Decode reads the file, in no other form than the one that Encode writes.
func Decode(b []byte) (Platform, error) {
	if len(b) > MaxSize {
		return Platform{}, fmt.Errorf("it has more than %d bytes", MaxSize)
	}
	var p Platform
	if err := format.Exact(b, &p, &p.Unknown, canonjson.Indent); err != nil {
		return Platform{}, err
	}
	return p, p.check()
}

// Encode is the file.
func (p Platform) Encode() ([]byte, error) {
	p.Schema, p.Minor, p.Requires, p.Unknown = Schema, format.Minor, nil, nil
	p.Components = slices.SortedFunc(slices.Values(p.Components), func(a, b Component) int { return cmp.Compare(a.Name, b.Name) })
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("writing %s: %w", FileName, err)
	}
	b, err := canonjson.Indent(p)
	if err == nil && len(b) > MaxSize {
		err = errors.New("it is too large")
	}
	return b, err
}

// Component is the one with a name.
func (p Platform) Component(name string) (Component, bool) {
	i, ok := slices.BinarySearchFunc(p.Components, name, func(c Component, name string) int { return cmp.Compare(c.Name, name) })
	if !ok {
		return Component{}, false
	}
	return p.Components[i], true
}

func (p Platform) check() error {
	if !artifact.IsName(p.Name) || p.Version.IsZero() {
		return fmt.Errorf("%.60q has no name or no version of a platform", p.Name)
	}
	if len(p.Components) == 0 {
		return errors.New("a platform has components, and it has none")
	}
	for i, b := range p.Bases {
		if i > 0 && p.Bases[i-1].Name >= b.Name {
			return fmt.Errorf("base %.60q stands behind %.60q", b.Name, p.Bases[i-1].Name)
		}
		if err := b.check(); err != nil {
			return fmt.Errorf("base %.60q: %w", b.Name, err)
		}
	}
	for i, c := range p.Components {
		if i > 0 && p.Components[i-1].Name >= c.Name {
			return fmt.Errorf("component %.60q stands behind %.60q", c.Name, p.Components[i-1].Name)
		}
		if err := c.check(); err != nil {
			return fmt.Errorf("component %.60q: %w", c.Name, err)
		}
		for _, need := range c.Needs {
			if _, ok := p.Component(need); !ok {
				return fmt.Errorf("component %.60q needs %.60q, which is none", c.Name, need)
			}
		}
	}
	return nil
}

func (c Component) check() error {
	switch {
	case !artifact.IsName(c.Name):
		return errors.New("that is no name of one")
	case !artifact.IsCommit(c.Commit):
		return fmt.Errorf("commit %.80q is not the full name of one", c.Commit)
	case c.Repository == "" || c.Releases == "":
		return errors.New("nothing says where its source or its releases are")
	case (c.Manifest == "") != (c.Signer == ""):
		return errors.New("of its manifest and its signer there is one without the other")
	case c.Manifest != "" && c.Version == "":
		return errors.New("it has a manifest and no version")
	case strings.HasPrefix(c.Tag, "-"):
		return fmt.Errorf("tag %.80q begins with -; git would take it for an option", c.Tag)
	case !slices.IsSorted(c.Needs) || len(slices.Compact(slices.Clone(c.Needs))) != len(c.Needs):
		return errors.New("what it needs is not sorted")
	}
	if c.Manifest != "" {
		if _, err := artifact.ParseDigest(string(c.Manifest)); err != nil {
			return err
		}
	}
	if c.Version != "" {
		if v, err := version.Parse(c.Version); err != nil || v.String() != c.Version {
			return fmt.Errorf("version %.80q is none", c.Version)
		}
	}
	return nil
}

// Change is a component that differs between two platforms: Before is zero for one that is new, After for one that is gone.
type Change struct {
	Name   string    `json:"name"`
	Before Component `json:"before,omitzero"`
	After  Component `json:"after,omitzero"`
}

// Diff are the components that differ in version, tag, commit, release or signer, by name, and the names of those that are the same.
func Diff(before, after Platform) (all []Change, same []string) {
	both := map[string][2]Component{}
	for i, p := range []Platform{before, after} {
		for _, c := range p.Components {
			is := both[c.Name]
			is[i] = c
			both[c.Name] = is
		}
	}
	for _, name := range slices.Sorted(maps.Keys(both)) {
		is := both[name]
		if is[0].chosen() == is[1].chosen() {
			same = append(same, name)
			continue
		}
		all = append(all, Change{name, is[0], is[1]})
	}
	return all, same
}

// chosen is what of a component was chosen, and who signed it.
func (c Component) chosen() [5]string {
	return [5]string{c.Version, c.Tag, c.Commit, string(c.Manifest), c.Signer}
}

// Input is the release of the component as an input of the platform's; false for one that was not published.
func (c Component) Input() (in artifact.Input, published bool) {
	return artifact.Input{Kind: "component", Name: c.Name + "@" + c.Version, Digest: string(c.Manifest)}, c.Manifest != ""
}

// Called is how a person calls it: by version, else by commit.
func (c Component) Called() string {
	return cmp.Or(c.Version, "commit "+c.Commit[:min(12, len(c.Commit))])
}

// String is the change as a line.
func (c Change) String() string {
	switch {
	case c.Before.Commit == "":
		return fmt.Sprintf("%s: new, %s", c.Name, c.After.Called())
	case c.After.Commit == "":
		return fmt.Sprintf("%s: %s, gone", c.Name, c.Before.Called())
	case c.Before.Called() != c.After.Called():
		return fmt.Sprintf("%s: %s -> %s", c.Name, c.Before.Called(), c.After.Called())
	case c.Before.Commit != c.After.Commit:
		return fmt.Sprintf("%s: %s, commit %.12s -> %.12s", c.Name, c.After.Called(), c.Before.Commit, c.After.Commit)
	case c.Before.Manifest == "":
		return fmt.Sprintf("%s: %s is published, %s", c.Name, c.After.Called(), c.After.Manifest.Short())
	}
	if c.Before.Manifest == c.After.Manifest {
		return fmt.Sprintf("%s: %s, tag %s signed by %s -> tag %s signed by %s", c.Name, c.After.Called(), c.Before.Tag, c.Before.Signer, c.After.Tag, c.After.Signer)
	}
	return fmt.Sprintf("%s: %s, release %s -> %s", c.Name, c.After.Called(), c.Before.Manifest.Short(), cmp.Or(c.After.Manifest.Short(), "none"))
}
