package chart

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	helmyaml "sigs.k8s.io/yaml"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
)

var (
	annotationKey = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$`)
	bom           = []byte("\xef\xbb\xbf")
)

// stamp returns Chart.yaml with version, appVersion and annotations set, and the name of the chart. Every other byte
// stays: values are replaced where they stand, since re-encoding YAML moves comments and blank lines. A value that
// cannot be replaced so (one over several lines, say) is an error, never a guess: the result is read again and compared
// with what was meant.
func stamp(b []byte, version, appVersion string, annotations map[string]string) ([]byte, string, error) {
	b = bytes.TrimPrefix(b, bom)
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, "", err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode || doc.Content[0].Style&yaml.FlowStyle != 0 {
		return nil, "", errors.New("want lines of key: value")
	}
	var want map[string]any
	if err := doc.Decode(&want); err != nil {
		return nil, "", err
	}
	name, ok := want["name"].(string)
	// Helm reads YAML 1.1, in which more words are not text: y, no, 0b1, 1_0.
	var helm struct {
		Name any `json:"name"`
	}
	if err := helmyaml.Unmarshal(b, &helm); err != nil {
		return nil, "", err
	}
	if !ok || helm.Name != name {
		return nil, "", errors.New("the chart has no name, or one that is not text without quotes")
	}

	e := &editor{src: b}
	top := doc.Content[0]
	_, at := child(top, "version")
	if at == nil {
		return nil, "", errors.New("the chart has no version; write version: 0.0.0")
	}
	want["version"] = version
	e.replace(at, version)
	after := e.lineAfter(at) // where keys that are missing go
	if appVersion != "" {
		want["appVersion"] = appVersion
		if _, v := child(top, "appVersion"); v != nil {
			e.replace(v, appVersion)
		} else {
			e.insert(after, "appVersion: "+quote(appVersion))
		}
	}
	if len(annotations) > 0 {
		merged, ok := map[string]any{}, true
		if have := want["annotations"]; have != nil {
			merged, ok = have.(map[string]any)
		}
		if !ok {
			return nil, "", errors.New("annotations are not lines of key: value")
		}
		for k, v := range annotations {
			merged[k] = v
		}
		want["annotations"] = merged
		if err := e.annotate(top, after, annotations); err != nil {
			return nil, "", err
		}
	}
	out, err := e.apply()
	if err != nil {
		return nil, "", err
	}
	var got map[string]any
	if err := yaml.Unmarshal(out, &got); err != nil || !reflect.DeepEqual(got, want) {
		return nil, "", errors.New("version, appVersion or annotations cannot be set; write each as one line of key: value")
	}
	return out, name, nil
}

// withDefaults are the annotations to set: those given, and of the defaults those that Chart.yaml says nothing about.
func withDefaults(b []byte, annotations, defaults map[string]string) (map[string]string, error) {
	if len(defaults) == 0 {
		return annotations, nil
	}
	var have struct {
		Annotations map[string]any `yaml:"annotations"`
	}
	if err := yaml.Unmarshal(b, &have); err != nil {
		return nil, err
	}
	out := maps.Clone(defaults)
	for name := range have.Annotations {
		delete(out, name)
	}
	maps.Copy(out, annotations)
	return out, nil
}

// child is the key and the value of a mapping's entry, or nil.
func child(m *yaml.Node, key string) (k, v *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i], m.Content[i+1]
		}
	}
	return nil, nil
}

// editor collects replacements in a text by the positions of its YAML nodes.
type editor struct {
	src   []byte
	edits []edit
	err   error
}

type edit struct {
	from, to int
	text     string
}

func (e *editor) annotate(top *yaml.Node, after int, annotations map[string]string) error {
	key, have := child(top, "annotations")
	indent := "  "
	if have != nil && len(have.Content) > 0 {
		if have.Kind != yaml.MappingNode || have.Style&yaml.FlowStyle != 0 {
			return fmt.Errorf("line %d: write the annotations as lines of key: value", have.Line)
		}
		indent = strings.Repeat(" ", have.Content[0].Column-1)
	}
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		if !annotationKey.MatchString(k) {
			return fmt.Errorf("annotation %q is not a key such as artifacthub.io/license", k)
		}
		if have != nil {
			if _, v := child(have, k); v != nil {
				e.replace(v, annotations[k])
				continue
			}
		}
		lines = append(lines, indent+k+": "+quote(annotations[k]))
	}
	if len(lines) == 0 {
		return nil
	}
	switch {
	case have == nil:
		e.insert(after, "annotations:\n"+strings.Join(lines, "\n"))
	case len(have.Content) == 0: // {}, null or nothing
		e.replaceRaw(have, "")
		e.insert(e.lineAfter(key), strings.Join(lines, "\n"))
	default:
		e.insert(e.lineAfter(key), strings.Join(lines, "\n"))
	}
	return nil
}

// offset is where a node begins. A node counts columns in characters.
func (e *editor) offset(n *yaml.Node) int {
	rest := e.src
	for range n.Line - 1 {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return len(e.src)
		}
		rest = rest[i+1:]
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	at := len(e.src) - len(rest)
	if chars := []rune(string(line)); n.Column-1 <= len(chars) {
		return min(at+len(string(chars[:n.Column-1])), len(e.src))
	}
	return at + len(line)
}

// lineAfter is where the line after the one that a node begins on begins.
func (e *editor) lineAfter(n *yaml.Node) int {
	at := e.offset(n)
	if i := bytes.IndexByte(e.src[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(e.src)
}

func (e *editor) replace(n *yaml.Node, value string) { e.replaceRaw(n, quote(value)) }

func (e *editor) replaceRaw(n *yaml.Node, text string) {
	at := e.offset(n)
	length := -1
	switch rest := string(e.src[at:]); {
	case n.Kind == yaml.MappingNode && strings.HasPrefix(rest, "{}"):
		length = 2
	case n.Kind != yaml.ScalarNode:
	case n.Style == yaml.DoubleQuotedStyle:
		length = quoted(rest, '"', '\\')
	case n.Style == yaml.SingleQuotedStyle:
		length = quoted(rest, '\'', '\'')
	case n.Style == 0 && strings.HasPrefix(rest, n.Value):
		length = len(n.Value)
	}
	if length < 0 {
		e.err = fmt.Errorf("line %d: the value cannot be set; write it on one line, without an anchor, an alias or a tag", n.Line)
		return
	}
	if at > 0 && e.src[at-1] == ':' && text != "" {
		text = " " + text
	}
	e.edits = append(e.edits, edit{at, at + length, text})
}

// quoted is the length of the quoted scalar on one line that s begins with, or -1. The escape takes the character
// after it; a doubled single quote is an escape of itself.
func quoted(s string, quote, escape byte) int {
	if s == "" || s[0] != quote {
		return -1
	}
	for i := 1; i < len(s) && s[i] != '\n'; i++ {
		switch {
		case s[i] == escape && escape != quote:
			i++
		case s[i] == quote && escape == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return -1
}

// insert puts lines at the beginning of a line.
func (e *editor) insert(at int, lines string) {
	if at > 0 && e.src[at-1] != '\n' {
		lines = "\n" + lines
	} else {
		lines += "\n"
	}
	e.edits = append(e.edits, edit{at, at, lines})
}

// apply makes the edits, the last in the text first; of two at one place the later one ends up behind.
func (e *editor) apply() ([]byte, error) {
	if e.err != nil {
		return nil, e.err
	}
	slices.SortStableFunc(e.edits, func(a, b edit) int { return a.from - b.from })
	var out bytes.Buffer
	done := 0
	for _, x := range e.edits {
		if x.from < done {
			return nil, errors.New("values overlap; write each key on a line of its own")
		}
		out.Write(e.src[done:x.from])
		out.WriteString(x.text)
		done = x.to
	}
	out.Write(e.src[done:])
	return out.Bytes(), nil
}

// quote is s as a double-quoted scalar, which every YAML version reads as that text: JSON is one.
func quote(s string) string {
	b, _ := canonjson.Encode(s) // of a string: there is no error
	return string(b)
}
