package snap

import "github.com/slipway-build/slipway/pipeline/format"

// YAML is meta/snap.yaml, as it is in the snap that Write makes of the same arguments.
func YAML(p format.Package, o Options) ([]byte, error) {
	about, err := describe(p, o)
	if err != nil {
		return nil, err
	}
	return about.yaml(), nil
}
