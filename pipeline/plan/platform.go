package plan

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Platform is the file that says which releases a release of a platform consists of.
type Platform struct {
	Path string `json:"path"`
	Text string `json:"text"`

	// Changes are the components that are not those of the release before, and Same the names of the others, for the notes.
	Changes []ComponentChange `json:"changes,omitempty"`
	Same    []string          `json:"same,omitempty"`
}

// ComponentChange is a component that is new, another one or gone.
type ComponentChange struct {
	Title string          `json:"title"`
	Notes artifact.Digest `json:"notes,omitempty"` // of the notes of its release, where they can be had
}

// definition reads what the commit says of the platform whose release it is: platform.yaml and the lock, which have to agree.
func (p *planner) definition() error {
	if p.cfg.Platform == "" {
		return nil
	}
	at := p.cfg.At("platform")
	name := path.Clean(p.cfg.Platform)
	lockName := path.Join(path.Dir(name), platform.LockFileName)
	b, ok := p.o.Files[name]
	if !ok {
		return fmt.Errorf("%s: platform: there is no file %q in the commit", at, name)
	}
	var err error
	if p.def, err = platform.Parse(name, b); err != nil {
		return err
	}
	if b, ok = p.o.Files[lockName]; !ok {
		return fmt.Errorf("%s: platform: there is no file %q in the commit; run platform lock and commit it", at, lockName)
	}
	if p.locked, err = platform.ParseLock(lockName, b); err != nil {
		return err
	}
	if err := p.def.Agrees(p.locked); err != nil {
		return err
	}
	return p.signers(path.Dir(name), p.def, p.locked)
}

// platform plans that file, as the lock of the commit says; nothing where the release is that of no platform. A release that has a
// component which is not published, or a full version of what was not pinned, is not for publishing. The releases of the components
// are inputs.
func (p planner) platform(out *Plan) error {
	if p.cfg.Platform == "" {
		return nil
	}
	at, def, lock := p.cfg.At("platform"), p.def, p.locked
	if def.Name != out.Name {
		return fmt.Errorf("%s: the platform is called %s, and the project %s; give both one name", def.At("name"), def.Name, out.Name)
	}
	for _, to := range def.Upgrades.To {
		if out.Version.IsStable() && to.Compare(out.Version) <= 0 {
			return fmt.Errorf("%s: %s is no later release than %s; take it out", def.At("upgrades.to"), to, out.Version)
		}
	}
	is := def.Compose(lock)
	is.Version = out.Version
	for _, c := range is.Components {
		if in, published := c.Input(); published {
			out.Inputs = append(out.Inputs, in)
		} else {
			out.Unpublishable = append(out.Unpublishable, fmt.Sprintf("%s %s was not published when it was locked", c.Name, c.Called()))
		}
	}
	for _, b := range is.Bases {
		if in := b.Input(); !slices.Contains(out.Inputs, in) { // an image of the platform's own may stand on it
			out.Inputs = append(out.Inputs, in)
		}
	}
	if out.Version.IsStable() && lock.Channel != platform.Stable {
		out.Unpublishable = append(out.Unpublishable, fmt.Sprintf("it has a full version, and its components are those of channel %s", lock.Channel))
	}
	text, err := is.Encode()
	if err != nil {
		return fmt.Errorf("%s: platform: %w", at, err)
	}
	out.Platform = &Platform{Path: composition.FileName, Text: string(text)}
	if lock.Told() {
		out.SBOMs = append(out.SBOMs, SBOM{Kind: artifact.Composed, Subject: composition.FileName, Path: "sbom/" + out.Name})
	}
	return p.changes(out)
}

// fixes are the advisories of the commit that name this release as fixed, each in a line. All of them are read, so that a mistake is
// found before the release and not by the lifecycle after it.
func (p planner) fixes() (lines []string, err error) {
	dir := Folder(p.cfg)
	for _, name := range slices.Sorted(maps.Keys(p.o.Files)) {
		if dir == "" || path.Dir(name) != dir || path.Ext(name) != ".yaml" {
			continue
		}
		a, err := lifecycle.ParseAdvisory(name, p.o.Files[name])
		if err != nil {
			return nil, err
		}
		if a.Fixes(p.src.Version) {
			id := strings.Join(append([]string{a.ID}, a.Vulnerabilities...), ", ")
			lines = append(lines, fmt.Sprintf("%s: releases %s are affected; upgrade by %s", id, a.Affected, a.Due))
		}
	}
	return lines, nil
}

// exceptions are what this release may do although its number promises otherwise, each in a line.
func (p planner) exceptions() (lines []string) {
	for _, e := range p.def.Exceptions {
		if e.Release == p.src.Version.String() {
			lines = append(lines, e.What+": "+e.Reason)
		}
	}
	return lines
}

// keysOf are the public keys of the components of a platform that is among the files; none where it has a mistake, which New tells.
func keysOf(cfg config.Config, files map[string][]byte) (names []string) {
	if cfg.Platform == "" {
		return nil
	}
	name := path.Clean(cfg.Platform)
	def, err := platform.Parse(name, files[name])
	if err != nil {
		return nil
	}
	for _, c := range def.Names() {
		if key := def.Components[c].Key; key != "" {
			names = append(names, path.Join(path.Dir(name), key))
		}
	}
	return names
}

// signers holds who signed the releases of the lock to the keys that the platform names, as Agrees does with identities. dir is the folder
// of platform.yaml.
func (p planner) signers(dir string, def platform.Platform, lock platform.Lock) error {
	for _, name := range def.Names() {
		key, locked := def.Components[name].Key, lock.Components[name]
		if key == "" || !locked.Published() {
			continue
		}
		at := def.At("components." + name + ".key")
		b, ok := p.o.Files[path.Join(dir, key)]
		if !ok {
			return fmt.Errorf("%s: there is no file %q in the commit; commit the public key of %s", at, key, name)
		}
		public, err := signature.ParsePublicKey(b)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", at, key, err)
		}
		if is := string(public.Fingerprint()); is != locked.Signer {
			return fmt.Errorf("%s: %s is to be signed by %s, and is locked as signed by %s; run platform lock and commit %s", at, name, is, locked.Signer, platform.LockFileName)
		}
	}
	return nil
}
