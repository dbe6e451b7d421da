package class

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/platform/change"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// imageConfig is what whoever runs an image holds on to
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md).
type imageConfig struct {
	User         string
	ExposedPorts map[string]any
	Entrypoint   []string
	Cmd          []string
	WorkingDir   string
}

// images are the configurations of the images of a release, by what they are called whatever the version.
func images(r change.Release) (map[string]imageConfig, error) {
	all := map[string]imageConfig{}
	for _, im := range r.Images {
		for _, p := range im.Platforms {
			var m struct {
				Config struct{ Digest artifact.Digest }
			}
			if err := document(r, p.Digest, &m); err != nil {
				return nil, err
			}
			var c struct{ Config imageConfig }
			if err := document(r, m.Config.Digest, &c); err != nil {
				return nil, err
			}
			all[fmt.Sprintf("%s on %s for %s", im.Repository, im.Distro, p.Platform)] = c.Config
		}
	}
	return all, nil
}

// document reads a JSON document of the layout of the images.
func document(r change.Release, d artifact.Digest, v any) error {
	b, err := r.File("images/blobs/sha256/"+d.Hex(), maxDocument)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fault.Errorf(fault.Mismatch, "%s of an image: %w", d.Short(), err)
	}
	return nil
}

// breaks are what whoever runs the image no longer has.
func (c imageConfig) breaks(next imageConfig) ([]string, error) {
	var all []string
	for _, of := range []struct{ what, was, is string }{
		{"entry point", strings.Join(c.Entrypoint, " "), strings.Join(next.Entrypoint, " ")},
		{"command", strings.Join(c.Cmd, " "), strings.Join(next.Cmd, " ")},
		{"user", c.User, next.User},
		{"working directory", c.WorkingDir, next.WorkingDir},
	} {
		if of.was != of.is {
			all = append(all, fmt.Sprintf("%s was %q and is %q", of.what, of.was, of.is))
		}
	}
	for _, port := range slices.Sorted(maps.Keys(c.ExposedPorts)) {
		if _, ok := next.ExposedPorts[port]; !ok {
			all = append(all, "port "+port+" is gone")
		}
	}
	return all, nil
}
