package plan

import (
	"fmt"
	"path"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/composition"
)

// Platform is the file that says which releases a release of a platform consists of.
type Platform struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// platform plans that file, as the lock of the commit says; nothing where the release is that of no platform. A release that has a
// component which is not published, or a full version of what was not pinned, is not for publishing. The releases of the components
// are inputs.
func (p planner) platform(out *Plan) error {
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
	def, err := platform.Parse(name, b)
	if err != nil {
		return err
	}
	if b, ok = p.o.Files[lockName]; !ok {
		return fmt.Errorf("%s: platform: there is no file %q in the commit; run platform lock and commit it", at, lockName)
	}
	lock, err := platform.ParseLock(lockName, b)
	if err != nil {
		return err
	}
	if err := def.Agrees(lock); err != nil {
		return err
	}
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
	if out.Version.IsStable() && lock.Channel != platform.Stable {
		out.Unpublishable = append(out.Unpublishable, fmt.Sprintf("it has a full version, and its components are those of channel %s", lock.Channel))
	}
	text, err := is.Encode()
	if err != nil {
		return fmt.Errorf("%s: platform: %w", at, err)
	}
	out.Platform = &Platform{Path: composition.FileName, Text: string(text)}
	return nil
}
