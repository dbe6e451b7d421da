package environments

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// helmIndex writes the index of the environment's Helm repository
// (https://helm.sh/docs/topics/chart_repository/#the-index-file), as JSON, which is YAML and is read many times faster. Of two
// components with a chart of one name and version the first by name has it. What was withdrawn is left out.
//
// Of a release whose bytes are not here only what its entry says is known: the chart is fetched from its own registry.
func (s *Site) helmIndex(v *view) (Answer, error) {
	entries, taken := map[string][]json.RawMessage{}, map[[2]string]bool{}
	add := func(name, version string, metadata any, listed any) error {
		if taken[[2]string{name, version}] {
			return nil
		}
		taken[[2]string{name, version}] = true
		entry, err := merged(metadata, listed)
		entries[name] = append(entries[name], entry)
		return err
	}
	type listed struct {
		Created string   `json:"created"`
		Digest  string   `json:"digest,omitempty"` // hexadecimal SHA-256
		URLs    []string `json:"urls"`             // relative to the index
	}
	type named struct {
		APIVersion string `json:"apiVersion"`
		Name       string `json:"name"`
		Version    string `json:"version"`
	}
	for _, c := range v.components {
		for _, seen := range c.ordered() {
			if here := s.shelf.Find(seen.Component, seen.Version, seen.Manifest); here != nil {
				for _, chart := range here.Charts() {
					url := "../releases/" + escape(seen.Component+"/"+seen.Version+"/"+chart.Path)
					if err := add(chart.Name, chart.Version, chart.Metadata, listed{stamp(chart.Created), chart.Digest.Hex(), []string{url}}); err != nil {
						return Answer{}, err
					}
				}
				continue
			}
			for _, chart := range v.state.entries[seen.Entry].Charts {
				url := "oci://" + chart.Repository + ":" + tagOf(chart.Version)
				if err := add(chart.Name, chart.Version, named{"v2", chart.Name, chart.Version}, listed{stamp(seen.Entered), "", []string{url}}); err != nil {
					return Answer{}, err
				}
			}
		}
	}
	b, err := json.Marshal(struct {
		APIVersion string                       `json:"apiVersion"`
		Entries    map[string][]json.RawMessage `json:"entries"`
		Generated  string                       `json:"generated"`
	}{"v1", entries, stamp(v.state.Time)})
	return Answer{Kind: "application/yaml", Body: append(b, '\n')}, err
}

// merged is one JSON object of two that have something.
func merged(a, b any) (json.RawMessage, error) {
	first, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	second, err := json.Marshal(b)
	return append(append(bytes.TrimSuffix(first, []byte("}")), ','), bytes.TrimPrefix(second, []byte("{"))...), err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// tagOf is the tag of a version, in which a registry takes no +.
func tagOf(version string) string { return strings.ReplaceAll(version, "+", "_") }
