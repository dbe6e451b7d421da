package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// yaml keeps all scalars of one YAML document as fields: nested keys and the places in lists are joined by dots. What
// could be read in two ways or grow is refused: keys that stand twice, aliases, a second document.
func (j *job) yaml(b []byte, prefix string) error {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if err == io.EOF {
			err = errors.New("it is empty")
		}
		return err
	}
	if err := dec.Decode(new(yaml.Node)); err != io.EOF {
		return errors.New("there is more than one YAML document")
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return errors.New("it is not a mapping")
	}
	return j.yamlNode(doc.Content[0], prefix, 0)
}

func (j *job) yamlNode(n *yaml.Node, key string, depth int) error {
	if depth > maxDepth || len(key) > 4*maxName {
		return fmt.Errorf("line %d: nested more than %d deep, or under keys of more than %d bytes", n.Line, maxDepth, 4*maxName)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if err := j.field(key[:len(key)-1], n.Value); err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			if err := j.yamlNode(c, key+strconv.Itoa(i)+".", depth+1); err != nil {
				return err
			}
		}
	case yaml.MappingNode:
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" || len(k.Value) > maxName {
				return fmt.Errorf("line %d: a key that is not a short text", k.Line)
			}
			if seen[k.Value] {
				return fmt.Errorf("line %d: the key %.80q stands twice", k.Line, k.Value)
			}
			seen[k.Value] = true
			if err := j.yamlNode(n.Content[i+1], key+k.Value+".", depth+1); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("line %d: an alias", n.Line)
	}
	return nil
}
