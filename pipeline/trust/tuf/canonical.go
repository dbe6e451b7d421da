package tuf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
)

// Canonical is the form of a JSON document that signatures are made over (http://wiki.laptop.org/go/Canonical_JSON): no white space,
// keys sorted by their bytes, whole numbers alone, and texts in which nothing but " and \ is escaped. It need not be JSON itself,
// since a text keeps its line breaks. A document that two readers could take for two is an error; see canonjson.
func Canonical(doc []byte) ([]byte, error) {
	var one json.RawMessage
	if err := canonjson.DecodeOpen(doc, &one); err != nil {
		return nil, err
	}
	c := canonizer{dec: json.NewDecoder(bytes.NewReader(doc))}
	c.dec.UseNumber()
	err := c.value()
	return c.out, err
}

// canonizer goes over a document once, and holds nothing of it but what it writes.
type canonizer struct {
	dec *json.Decoder
	out []byte
}

func (c *canonizer) value() error {
	t, err := c.dec.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return c.object()
		}
		c.out = append(c.out, '[')
		for i := 0; c.dec.More(); i++ {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			if err := c.value(); err != nil {
				return err
			}
		}
		_, err = c.dec.Token()
		c.out = append(c.out, ']')
		return err
	case string:
		c.text(t)
	case json.Number:
		if n, err := strconv.ParseInt(t.String(), 10, 64); err != nil || strconv.FormatInt(n, 10) != t.String() {
			return fmt.Errorf("the number %.40s is not a whole one in its one form", t)
		}
		c.out = append(c.out, t...)
	case bool:
		c.out = strconv.AppendBool(c.out, t)
	case nil:
		c.out = append(c.out, "null"...)
	}
	return nil
}

func (c *canonizer) text(s string) {
	c.out = append(c.out, '"')
	c.out = append(c.out, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)...)
	c.out = append(c.out, '"')
}

// object writes its members as they come, and then puts them in order.
func (c *canonizer) object() error {
	type member struct {
		key      string
		from, to int
	}
	start := len(c.out)
	var all []member
	for c.dec.More() {
		t, err := c.dec.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string) // which is all that can be here
		m := member{key: key, from: len(c.out)}
		c.text(key)
		c.out = append(c.out, ':')
		if err := c.value(); err != nil {
			return err
		}
		m.to = len(c.out)
		all = append(all, m)
	}
	if _, err := c.dec.Token(); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b member) int { return strings.Compare(a.key, b.key) })
	written := slices.Clone(c.out[start:])
	c.out = append(c.out[:start], '{')
	for i, m := range all {
		if i > 0 {
			c.out = append(c.out, ',')
		}
		c.out = append(c.out, written[m.from-start:m.to-start]...)
	}
	c.out = append(c.out, '}')
	return nil
}
