// Package index has what a release store comes to in a form that its readers can trust without trusting whoever brings it: a
// file for each component of each environment, below metadata of package tuf that is signed, numbered and expires.
//
// It is on the branch metadata of the store, where the next one is put on top of the last and nothing is ever forced. Keys that
// are kept offline say in the root which keys sign what; the keys of whoever moves versions sign, for each environment apart, what
// the log says. So a stolen one of them can mislead until it is taken out of the root, and can neither sign a release nor speak for
// an environment that another key speaks for.
package index

import (
	"errors"
	"fmt"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
)

// Schema names the format of the file of a component with its major version.
const Schema = "slipway.index/v1"

var format = canonjson.Format{Schema: Schema}

// Component is what an environment has of a component.
type Component struct {
	Schema   string   `json:"schema"`
	Minor    int      `json:"minor,omitempty"`
	Requires []string `json:"requires,omitempty"`

	Environment string    `json:"environment"`
	Component   string    `json:"component"`
	Current     string    `json:"current,omitempty"` // version, "" where there is none
	Pinned      bool      `json:"pinned,omitempty"`  // whether a rollback says which it is
	Versions    []Version `json:"versions"`          // the highest first

	Unknown canonjson.Unknown `json:"-"`
}

// Version is a version that the readers of an environment see.
type Version struct {
	Version   string          `json:"version"`
	In        string          `json:"in"` // stage: the environment, or one further on
	Commit    string          `json:"commit"`
	Manifest  artifact.Digest `json:"manifest"` // of release.json
	Entry     artifact.Digest `json:"entry"`
	Entered   time.Time       `json:"entered"`
	Line      int             `json:"line"`
	Places    []string        `json:"places"`
	Withdrawn *Withdrawn      `json:"withdrawn,omitempty"`
}

// Withdrawn says that a version is not to be used any more.
type Withdrawn struct {
	Line int    `json:"line"`
	Why  string `json:"why,omitempty"`
}

// Position is how far the log went that an index was made of.
type Position struct {
	Count  int             `json:"count"` // lines
	Digest artifact.Digest `json:"digest,omitempty"`
}

// Path is the target that has a component of an environment.
func Path(stage, component string) string { return stage + "/components/" + component + ".json" }

// components are the files of an environment's components, by path.
func components(v store.View, entries map[artifact.Digest]environment.Entry, stage string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range v.State.Components() {
		c := Component{Schema: Schema, Environment: stage, Component: name}
		for _, seen := range v.State.View(v.Rules, stage, name) {
			e, ok := entries[seen.Entry]
			if !ok {
				return nil, fault.Errorf(fault.Mismatch, "no stage has the entry %s of %s %s: run slipway store check", seen.Entry.Short(), name, seen.Version)
			}
			version := Version{
				Version: seen.Version, In: seen.Stage, Commit: seen.Commit, Manifest: seen.Manifest, Entry: seen.Entry,
				Entered: seen.Entered, Line: seen.Line, Places: e.Places,
			}
			if stop := seen.Withdrawn; stop != nil {
				version.Withdrawn = &Withdrawn{stop.Line, stop.Why}
			}
			c.Versions = append(c.Versions, version)
		}
		if len(c.Versions) == 0 {
			continue
		}
		if current, pinned, ok := v.State.Current(v.Rules, stage, name); ok {
			c.Current, c.Pinned = current.Version, pinned
		}
		b, err := canonjson.Indent(c)
		if err != nil {
			return nil, err
		}
		if len(b) > tuf.MaxTarget {
			return nil, fault.Errorf(fault.Usage, "%s has more versions of %s than its index holds: have older ones expire, with keep in the rules", stage, name)
		}
		files[Path(stage, name)] = b
	}
	return files, nil
}

// Parse reads the file of a component. An error is a fault.Mismatch; a fault.Usage for one that only another version reads.
func Parse(b []byte) (Component, error) {
	var c Component
	err := format.Decode(b, &c, &c.Unknown)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return Component{}, fault.New(codeOf(err), fmt.Errorf("reading index: %w", err))
	}
	return c, nil
}

func (c Component) check() error {
	for _, name := range []string{c.Environment, c.Component} {
		if err := environment.CheckName(name); err != nil {
			return err
		}
	}
	current, seen := c.Current == "", map[string]bool{}
	for _, v := range c.Versions {
		for _, d := range []artifact.Digest{v.Manifest, v.Entry} {
			if _, err := artifact.ParseDigest(string(d)); err != nil {
				return err
			}
		}
		if seen[v.Version] {
			return fmt.Errorf("version %.80q is there twice", v.Version)
		}
		seen[v.Version] = true
		current = current || v.Version == c.Current && v.Withdrawn == nil
	}
	if !current {
		return fmt.Errorf("its current version %.80q is none that may be used", c.Current)
	}
	return nil
}

func codeOf(err error) fault.Code {
	if errors.Is(err, canonjson.ErrNewer) {
		return fault.Usage
	}
	return fault.Mismatch
}

// Of is the version of a component, false where the environment does not have it.
func (c Component) Of(version string) (Version, bool) {
	for _, v := range c.Versions {
		if v.Version == version {
			return v, true
		}
	}
	return Version{}, false
}
