package chartrepo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/Masterminds/semver/v3"
	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"
	helmyaml "sigs.k8s.io/yaml"

	"github.com/slipway-build/slipway/pipeline/artifact"
	"github.com/slipway-build/slipway/pipeline/fault"
)

// indexFile is the name of the index of a chart repository
// (https://helm.sh/docs/topics/chart_repository/#the-index-file).
const indexFile = "index.yaml"

// maxIndex bounds an index, in bytes. That of the largest public repository has 20 MB.
const maxIndex = 64 << 20

// index is an index as it stands in the branch. It is changed as a document and not as values, so that nothing is lost
// that others wrote: fields that nobody here knows, the order of entries, comments.
type index struct {
	doc  yaml.Node
	root *yaml.Node
}

// parseIndex reads an index; no bytes are one without entries.
func parseIndex(b []byte) (x index, err error) {
	defer func() { // malformed input can make the parser panic
		if r := recover(); r != nil {
			err = fault.Errorf(fault.Usage, "%s is not YAML: %v; mend it before charts are added", indexFile, r)
		}
	}()
	if len(bytes.TrimSpace(b)) == 0 {
		b = []byte("apiVersion: v1\nentries: {}\n")
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&x.doc); err != nil {
		return x, fault.Errorf(fault.Usage, "%s is not YAML: %w; mend it before charts are added", indexFile, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return x, fault.Errorf(fault.Usage, "%s has more than one document; mend it before charts are added", indexFile)
	}
	if len(x.doc.Content) != 1 || x.doc.Content[0].Kind != yaml.MappingNode {
		return x, malformed("it is no mapping")
	}
	x.root = x.doc.Content[0]
	if v := child(x.root, "apiVersion"); v == nil || v.Value != "v1" {
		return x, malformed("apiVersion is not v1")
	}
	entries := child(x.root, "entries")
	switch {
	case entries == nil || entries.Kind == yaml.ScalarNode && entries.Tag == "!!null":
		x.set("entries", &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"})
		entries = child(x.root, "entries")
	case entries.Kind != yaml.MappingNode:
		return x, malformed("entries is no mapping")
	}
	for i := 1; i < len(entries.Content); i += 2 {
		list := entries.Content[i]
		if list.Kind != yaml.SequenceNode {
			return x, malformed("an entry is no list of versions")
		}
		for _, v := range list.Content {
			if v.Kind != yaml.MappingNode {
				return x, malformed("a version is no mapping")
			}
		}
	}
	return x, nil
}

func malformed(what string) error {
	return fault.Errorf(fault.Usage, "%s is no index of a chart repository: %s; mend it before charts are added", indexFile, what)
}

// child is the value of a mapping's key; nil for none.
func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i].Kind == yaml.ScalarNode {
			return n.Content[i+1]
		}
	}
	return nil
}

// set gives a key at the top a value, in the place that it has, or in the order of the keys.
func (x *index) set(key string, value *yaml.Node) {
	at := len(x.root.Content)
	for i := 0; i+1 < len(x.root.Content); i += 2 {
		if x.root.Content[i].Value == key {
			x.root.Content[i+1] = value
			return
		}
		if x.root.Content[i].Value > key {
			at = min(at, i)
		}
	}
	x.root.Content = slices.Insert(x.root.Content, at, scalar(key), value)
}

func scalar(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// digest is that of a version of a chart, and whether the index has the version.
func (x index) digest(name, version string) (string, bool) {
	list := child(child(x.root, "entries"), name)
	if list == nil {
		return "", false
	}
	for _, v := range list.Content {
		if n := child(v, "version"); n != nil && n.Value == version {
			if d := child(v, "digest"); d != nil {
				return d.Value, true
			}
			return "", true
		}
	}
	return "", false
}

// highest tells whether no stable version of a chart in the index is above the version.
func (x index) highest(name string, v *semver.Version) bool {
	list := child(child(x.root, "entries"), name)
	if list == nil {
		return true
	}
	for _, n := range list.Content {
		text := child(n, "version")
		if text == nil {
			continue
		}
		if other, err := semver.NewVersion(text.Value); err == nil && other.Prerelease() == "" && other.GreaterThan(v) {
			return false
		}
	}
	return true
}

// entry is a version of a chart as Helm writes it into an index. Helm's own type for it is in a package that brings the
// whole client of Kubernetes along.
type entry struct {
	*chart.Metadata
	URLs    []string  `json:"urls"`
	Created time.Time `json:"created"`
	Digest  string    `json:"digest"`
}

// add adds a version of a chart at its place: the highest first, as Helm sorts them.
func (x *index) add(meta *chart.Metadata, digest artifact.Digest, url string, created time.Time) error {
	b, err := helmyaml.Marshal(entry{Metadata: meta, URLs: []string{url}, Created: created.UTC(), Digest: digest.Hex()})
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return err
	}
	added := doc.Content[0]
	entries := child(x.root, "entries")
	entries.Style &^= yaml.FlowStyle // an empty {} has it
	list := child(entries, meta.Name)
	if list == nil {
		list = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		at := len(entries.Content)
		for i := 0; i+1 < len(entries.Content); i += 2 {
			if entries.Content[i].Value > meta.Name {
				at = i
				break
			}
		}
		entries.Content = slices.Insert(entries.Content, at, scalar(meta.Name), list)
	}
	list.Style &^= yaml.FlowStyle
	v, err := semver.NewVersion(meta.Version)
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	at := len(list.Content)
	for i, n := range list.Content {
		text := child(n, "version")
		if text == nil {
			continue
		}
		if other, err := semver.NewVersion(text.Value); err == nil && v.GreaterThan(other) {
			at = i
			break
		}
	}
	list.Content = slices.Insert(list.Content, at, added)
	x.generated(created)
	return nil
}

// generated says when the index was made: by the newest of what is in it, and not by the clock.
func (x *index) generated(at time.Time) {
	if n := child(x.root, "generated"); n != nil {
		if t, err := time.Parse(time.RFC3339Nano, n.Value); err == nil && t.After(at) {
			return
		}
	}
	n := scalar(at.UTC().Format(time.RFC3339))
	n.Style = yaml.DoubleQuotedStyle
	x.set("generated", n)
}

// encode writes the index as Helm indents it.
func (x index) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	if err := enc.Encode(&x.doc); err != nil {
		return nil, fmt.Errorf("writing %s: %w", indexFile, err)
	}
	err := enc.Close()
	return b.Bytes(), err
}
