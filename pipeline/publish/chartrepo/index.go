package chartrepo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/Masterminds/semver/v3"
	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"
	helmyaml "sigs.k8s.io/yaml"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// indexFile is the name of the index of a chart repository
// (https://helm.sh/docs/topics/chart_repository/#the-index-file).
const indexFile = "index.yaml"

// Bounds of an index. That of the largest public repository has had 20 MB.
const (
	maxIndex = 32 << 20 // bytes
	// maxMarks bounds what a node of YAML can begin at, and so the memory that a document takes: less than 1 GB.
	maxMarks = 2 << 20
)

// index is an index as it stands in the branch. It is changed as a document and not as values, so that nothing is lost
// that others wrote: fields that are not known here, the order of entries, comments.
type index struct {
	doc  yaml.Node
	root *yaml.Node
}

// parseIndex reads an index; no bytes are one without entries. What Helm would read in two ways is refused, such as a
// name that comes twice: who looks for a version of a chart finds it, or it is not there.
func parseIndex(b []byte) (x index, err error) {
	defer func() { // malformed input can make the parser panic
		if r := recover(); r != nil {
			err = malformed("it is not YAML: %v", r)
		}
	}()
	if len(b) > maxIndex || marks(b) > maxMarks {
		return x, malformed("it is larger than any: %d bytes", len(b))
	}
	if len(bytes.TrimSpace(b)) == 0 {
		b = []byte("apiVersion: v1\nentries: {}\n")
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&x.doc); err != nil {
		return x, malformed("it is not YAML: %w", err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return x, malformed("it has more than one document")
	}
	if len(x.doc.Content) != 1 {
		return x, malformed("it is not a mapping")
	}
	x.root = x.doc.Content[0]
	if err := plain(x.root, "apiVersion"); err != nil {
		return x, err
	}
	if v := child(x.root, "apiVersion"); v == nil || v.Value != "v1" {
		return x, malformed("apiVersion is not v1")
	}
	if n := child(x.root, "generated"); n != nil && (n.Kind != yaml.ScalarNode || n.Anchor != "") {
		return x, malformed("line %d: generated is not a time", n.Line)
	}
	entries := child(x.root, "entries")
	if entries == nil {
		entries = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
		insert(x.root, scalar("entries"), entries)
	}
	if null(entries) {
		become(entries, yaml.MappingNode, "!!map")
	}
	if err := plain(entries); err != nil {
		return x, err
	}
	for i := 1; i < len(entries.Content); i += 2 {
		list := entries.Content[i]
		if null(list) { // Helm reads it as an empty one
			become(list, yaml.SequenceNode, "!!seq")
		}
		if list.Kind != yaml.SequenceNode {
			return x, malformed("line %d: it is not a list of versions", list.Line)
		}
		for _, v := range list.Content {
			if null(v) { // Helm skips it
				continue
			}
			if err := plain(v, "name", "version", "digest"); err != nil {
				return x, err
			}
		}
	}
	return x, nil
}

// marks is the number of places where a node can begin, or an empty one can end.
func marks(b []byte) int {
	n := 0
	for i, c := range b {
		switch c {
		case '\n', '\r', ',', '[', '{':
			n++
		case ':', '-', '?':
			if i+1 < len(b) && (b[i+1] <= ' ' || b[i+1] >= utf8.RuneSelf) { // lines end in other ways, too
				n++
			}
		}
	}
	return n
}

func malformed(format string, args ...any) error {
	why := fmt.Errorf(format, args...)
	return fault.Errorf(fault.Usage, "%s is not an index of a chart repository that can be added to: %w; repair it first", indexFile, why)
}

// plain says why a node is not a mapping that has each key once, written out, with the named ones as plain values.
func plain(n *yaml.Node, values ...string) error {
	if n.Kind != yaml.MappingNode {
		return malformed("line %d: it is not a mapping", n.Line)
	}
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
			return malformed("line %d: a key stands for something else", key.Line)
		case seen[key.Value]:
			return malformed("line %d: %.80q comes twice", key.Line, key.Value)
		case slices.Contains(values, key.Value) && value.Kind != yaml.ScalarNode:
			return malformed("line %d: %s is not a plain value", value.Line, key.Value)
		}
		seen[key.Value] = true
	}
	return nil
}

func null(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Anchor == ""
}

// become makes an empty value an empty list or mapping.
func become(n *yaml.Node, kind yaml.Kind, tag string) {
	n.Kind, n.Tag, n.Value, n.Style = kind, tag, "", 0
}

// child is the value of a mapping's key; nil for none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i].Kind == yaml.ScalarNode {
			return n.Content[i+1]
		}
	}
	return nil
}

// insert gives a mapping a key that it has not, before the first one that comes after it in the alphabet.
func insert(n *yaml.Node, key, value *yaml.Node) {
	at := len(n.Content)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value > key.Value {
			at = i
			break
		}
	}
	n.Content = slices.Insert(n.Content, at, key, value)
}

func scalar(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// digests are those that the index has of a version of a chart; "" is for one that says none.
func (x index) digests(name, version string) []string {
	list := child(child(x.root, "entries"), name)
	if list == nil {
		return nil
	}
	var out []string
	for _, v := range list.Content {
		if n := child(v, "version"); n == nil || n.Value != version {
			continue
		}
		digest := ""
		if d := child(v, "digest"); d != nil && !null(d) {
			digest = strings.ToLower(strings.TrimPrefix(d.Value, "sha256:")) // some tools write the prefix
		}
		out = append(out, digest)
	}
	return out
}

// highest reports whether no stable version of a chart in the index is above the version.
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
	unfold(entries)
	list := child(entries, meta.Name)
	if list == nil {
		list = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		key := *child(added, "name") // in quotation marks where Helm would take it for something else
		insert(entries, &key, list)
	}
	unfold(list)
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

// unfold lets an empty {} or [] go over lines once it has something in it.
func unfold(n *yaml.Node) {
	if len(n.Content) == 0 {
		n.Style &^= yaml.FlowStyle
	}
}

// generated says when the index was made: by the newest of what is in it, and not by the clock.
func (x *index) generated(at time.Time) {
	n := child(x.root, "generated")
	if n == nil {
		n = scalar("")
		n.Style = yaml.DoubleQuotedStyle
		insert(x.root, scalar("generated"), n)
	}
	if t, err := time.Parse(time.RFC3339Nano, n.Value); err == nil && !t.Before(at) {
		return
	}
	n.Value = at.UTC().Format(time.RFC3339)
	if n.ShortTag() != "!!timestamp" { // one that stands without quotation marks goes on without them
		n.Tag, n.Style = "!!str", yaml.DoubleQuotedStyle
	}
}

// encode writes the index as Helm indents it. What would be read as another document than the one that was to be
// written is an error: no entries are at the mercy of a writer of YAML.
func (x index) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	err := enc.Encode(&x.doc)
	if err == nil {
		err = enc.Close()
	}
	if err != nil {
		return nil, malformed("it cannot be written: %w", err)
	}
	again, err := parseIndex(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("reading back what was to be written: %w", err)
	}
	if n := differs(x.root, again.root); n != nil {
		return nil, malformed("line %d cannot be written as it was read", n.Line)
	}
	return b.Bytes(), nil
}

// differs is the first node of a that has another meaning in b; nil where there is none.
func differs(a, b *yaml.Node) *yaml.Node {
	if a.Kind != b.Kind || a.Value != b.Value || a.Anchor != b.Anchor || a.ShortTag() != b.ShortTag() || len(a.Content) != len(b.Content) {
		return a
	}
	for i := range a.Content {
		if n := differs(a.Content[i], b.Content[i]); n != nil {
			return n
		}
	}
	return nil
}
