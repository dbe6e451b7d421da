//go:build !full

package chartrepo

import (
	"testing"
	"time"

	helmchart "helm.sh/helm/v3/pkg/chart"
	helmyaml "sigs.k8s.io/yaml"
)

// indexed are the versions of each chart in an index, read into the fields of Helm's own reader, which brings Helm's client
// for Kubernetes with it and is asked in the full run.
func indexed(_ *testing.T, index []byte) (map[string][]string, error) {
	var read struct {
		APIVersion string
		Generated  time.Time
		Entries    map[string][]struct {
			helmchart.Metadata
			URLs    []string
			Created time.Time
			Digest  string
		}
	}
	if err := helmyaml.Unmarshal(index, &read); err != nil {
		return nil, err
	}
	versions := map[string][]string{}
	for name, list := range read.Entries {
		for _, v := range list {
			versions[name] = append(versions[name], v.Version)
		}
	}
	return versions, nil
}
