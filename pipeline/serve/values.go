package serve

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds on the default values of charts.
const (
	maxValuesYAML = 256 << 10 // bytes of one values.yaml
	maxValues     = 256 << 10 // bytes of all values of a release with where they stand
	maxNesting    = 64
	maxShown      = 160 // bytes of one value on a page
)

// errManyValues is a values.yaml that is not compared.
var errManyValues = errors.New("its values.yaml has more values, or deeper ones, than are compared")

// chartValues are default values of a chart by where they stand, as --set of Helm names it
// (https://helm.sh/docs/intro/using_helm/#the-format-and-limitations-of---set). A list or mapping without anything in it is a
// value itself.
type chartValues map[string]string

// readValues reads the values.yaml beside the Chart.yaml of a packed chart, as far as its values have at most limit bytes
// together, and says how many these are. A chart without the file has no values.
func readValues(r io.Reader, name string, limit int) (v chartValues, size int, err error) {
	v = chartValues{}
	b, err := readMember(r, name+"/values.yaml", maxValuesYAML)
	if errors.Is(err, errNoMember) {
		return v, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var document yaml.Node // in which an alias stays one, so that nothing unfolds
	if err := yaml.Unmarshal(b, &document); err != nil {
		return nil, 0, fmt.Errorf("reading values.yaml: %w", err)
	}
	left := limit
	for _, n := range document.Content {
		if err := v.add("", n, maxNesting, &left); err != nil {
			return nil, 0, err
		}
	}
	return v, limit - left, nil
}

// escapeKey keeps a key apart from the path that it stands in, as --set does.
var escapeKey = strings.NewReplacer(`\`, `\\`, `.`, `\.`, `[`, `\[`)

func (v chartValues) add(at string, n *yaml.Node, deeper int, left *int) error {
	if deeper == 0 {
		return errManyValues
	}
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) > 0:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := escapeKey.Replace(n.Content[i].Value)
			if at != "" {
				key = at + "." + key
			}
			if err := v.add(key, n.Content[i+1], deeper-1, left); err != nil {
				return err
			}
		}
		return nil
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
		for i, each := range n.Content {
			if err := v.add(at+"["+strconv.Itoa(i)+"]", each, deeper-1, left); err != nil {
				return err
			}
		}
		return nil
	}
	text := valueText(n)
	if *left -= len(at) + len(text); *left < 0 {
		return errManyValues
	}
	v[at] = text
	return nil
}

// valueText is a value as it may stand in YAML, always the same for the same value of a text.
func valueText(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "{}"
	case n.Kind == yaml.SequenceNode:
		return "[]"
	case n.Kind == yaml.AliasNode:
		return "*" + n.Value
	case n.ShortTag() == "!!null":
		return "null"
	case n.ShortTag() == "!!str":
		return strconv.Quote(n.Value)
	}
	return n.Value
}

// shorten cuts values that are too long for a page, and leaves in what differs first.
func (r row) shorten() row {
	same := 0
	for same < min(len(r.Before), len(r.After)) && r.Before[same] == r.After[same] {
		same++
	}
	cut := func(s string) string {
		if len(s) <= maxShown {
			return s
		}
		from, more := 0, ""
		if same > maxShown/2 {
			from, more = same-maxShown/2, "…"
		}
		for from > 0 && from < len(s) && !utf8.RuneStart(s[from]) {
			from--
		}
		if s = s[from:]; len(s) > maxShown {
			return more + strings.ToValidUTF8(s[:maxShown], "") + "…"
		}
		return more + s
	}
	return row{r.Name, cut(r.Before), cut(r.After)}
}
