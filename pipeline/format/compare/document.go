package compare

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// documents compares two documents value by value. Documents that differ and have the same values are told apart by what
// they are written with.
func (c *comparer) documents(f file, a, b Source, s span, parse func([]byte) (any, error), limit int64) error {
	before, parsed := c.n, false
	_, err := c.both(a, b, limit, func(a, b []byte) error {
		x, errA := parse(a)
		y, errB := parse(b)
		if errA != nil || errB != nil {
			if f.format != YAML || (errA == nil) != (errB == nil) { // neither is: templates are not YAML before they are filled in
				c.unopened(f, errA, errB)
			}
			return nil
		}
		parsed = true
		if c.value(nil, f.where, x, y); c.n == before {
			if f.format == YAML {
				c.add(f.where, "the same values, written differently: %s", lines(string(a), string(b)))
			} else {
				c.add(f.where, "the same values, %s, from line %s", written(a, b), comma(int64(firstLine(a, b))))
			}
		}
		return nil
	})
	if err != nil || parsed {
		return err
	}
	return c.text(f, a, b, s)
}

// written tells how two documents of JSON with the same values are written.
func written(a, b []byte) string {
	var x, y bytes.Buffer
	if json.Compact(&x, a) == nil && json.Compact(&y, b) == nil {
		if bytes.Equal(x.Bytes(), y.Bytes()) {
			return "with other white space"
		}
		if histogram(x.Bytes()) == histogram(y.Bytes()) {
			return "with keys in another order"
		}
	}
	return "written differently"
}

func histogram(b []byte) (h [256]int) {
	for _, c := range b {
		h[c]++
	}
	return h
}

func parseJSON(b []byte) (any, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), "EOF", "it ends in the middle"))
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is more behind the document, from byte %d", dec.InputOffset())
	}
	if tooDeep(v, maxNested) {
		return nil, fmt.Errorf("it is nested more than %d deep", maxNested)
	}
	return v, nil
}

// maxNested is how deep values may be in one another, as in package inspect.
const maxNested = 64

func tooDeep(v any, left int) bool {
	deeper := func(v any) bool { return tooDeep(v, left-1) }
	switch v := v.(type) {
	case map[string]any:
		return left == 0 || slices.ContainsFunc(slices.Collect(maps.Values(v)), deeper)
	case []any:
		return left == 0 || slices.ContainsFunc(v, deeper)
	}
	return false
}

// bare is a scalar of YAML that is not text. It is not the same as the text with the same letters.
type bare string

// many are the documents of a file of YAML that has not one.
type many []any

func parseYAML(b []byte) (v any, err error) {
	defer func() {
		// The parser does not promise that nothing makes it panic.
		if p := recover(); p != nil {
			v, err = nil, fmt.Errorf("reading it: %v", p)
		}
	}()
	var docs many
	for dec := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var n yaml.Node
		if err := dec.Decode(&n); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		for _, root := range n.Content {
			v, err := yamlValue(root, 0)
			if err != nil {
				return nil, err
			}
			docs = append(docs, v)
		}
	}
	if len(docs) == 1 {
		return docs[0], nil
	}
	return docs, nil
}

func yamlValue(n *yaml.Node, depth int) (any, error) {
	if depth > maxNested {
		return nil, fmt.Errorf("line %d: it is nested more than %d deep", n.Line, maxNested)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if n.ShortTag() == "!!str" {
			return n.Value, nil
		}
		return bare(n.Value), nil
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, err := yamlValue(c, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if _, ok := m[k.Value]; ok || k.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a key that is not text, or stands twice", k.Line)
			}
			v, err := yamlValue(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			m[k.Value] = v
		}
		return m, nil
	}
	return nil, fmt.Errorf("line %d: an alias", n.Line)
}

// step is a place in a document, from the inside out.
type step struct {
	up   *step
	text string // .key or [index]
}

func (s *step) key(k string) *step {
	if k == "" || strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-$@/") != "" {
		return &step{s, "[" + cut(k, maxName) + "]"}
	}
	return &step{s, "." + plain(k)}
}

func (s *step) index(i int) *step { return &step{s, "[" + strconv.Itoa(i) + "]"} }

func (s *step) id(id string) *step { return &step{s, "[" + cut(id, maxName) + "]"} }

// String is the path with a colon and a space behind it, or nothing for the document itself.
func (s *step) String() string {
	const limit = 500
	var words []string
	for n, at := 0, s; at != nil; at = at.up {
		if n += len(at.text); n > limit {
			words = append(words, "...")
			break
		}
		words = append(words, at.text)
	}
	slices.Reverse(words)
	if len(words) == 0 {
		return ""
	}
	return strings.TrimPrefix(strings.Join(words, ""), ".") + ": "
}

// value compares two values.
func (c *comparer) value(at *step, where []string, a, b any) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			c.object(at, where, x, y)
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			c.elements(at, where, x, y)
			return
		}
	case many:
		if y, ok := b.(many); ok {
			c.elements(at, where, x, y)
			return
		}
	case string:
		if y, ok := b.(string); ok {
			if x != y {
				c.add(where, "%s%s", at, instead(x, y))
			}
			return
		}
	}
	if !reflect.DeepEqual(a, b) {
		c.add(where, "%s%s instead of %s", at, show(a), show(b))
	}
}

// payloadType is the type of in-toto statements in an envelope
// (https://github.com/secure-systems-lab/dsse/blob/master/envelope.md).
const payloadType = "application/vnd.in-toto+json"

func (c *comparer) object(at *step, where []string, a, b map[string]any) {
	keys := slices.Collect(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		x, okA := a[k]
		y, okB := b[k]
		switch {
		case !okB:
			c.add(where, "%sonly in the published: %s", at.key(k), show(x))
		case !okA:
			c.add(where, "%sonly in the rebuilt: %s", at.key(k), show(y))
		case k == "payload" && a["payloadType"] == payloadType && b["payloadType"] == payloadType:
			c.payload(at.key(k), where, x, y)
		default:
			c.value(at.key(k), where, x, y)
		}
	}
}

// payload compares the statements of two envelopes.
func (c *comparer) payload(at *step, where []string, a, b any) {
	var docs [2]any
	for i, v := range []any{a, b} {
		s, _ := v.(string)
		raw, err := base64.StdEncoding.DecodeString(s)
		if err == nil {
			docs[i], err = parseJSON(raw)
		}
		if err != nil {
			c.value(at, where, a, b)
			return
		}
	}
	before := c.n
	if c.value(at, where, docs[0], docs[1]); c.n == before && a != b {
		c.add(where, "%sthe same values, written differently", at)
	}
}

// identities are the keys by which elements of lists are known, those first that are made for it.
var identities = []string{"bom-ref", "SPDXID", "ref", "uri", "path", "purl", "name", "digest", "url", "mountPath", "key"}

// identify is the key that all elements of both lists have, each with another text.
func identify(lists ...[]any) string {
	for _, key := range identities {
		ok := true
		for _, list := range lists {
			seen := map[string]bool{}
			for _, v := range list {
				m, _ := v.(map[string]any)
				id, isText := m[key].(string)
				if !isText || seen[id] {
					ok = false
					break
				}
				seen[id] = true
			}
			ok = ok && len(list) > 0
		}
		if ok {
			return key
		}
	}
	return ""
}

// elements compares two lists: by what their elements are known by, or by their places where there are as many, or as
// what one has and the other has not.
func (c *comparer) elements(at *step, where []string, a, b []any) {
	if reflect.DeepEqual(a, b) {
		return
	}
	known := identify(a, b)
	id := func(v any) string {
		if m, ok := v.(map[string]any); ok && known != "" {
			s, _ := m[known].(string)
			return s
		}
		s, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return string(s)
	}
	ids := func(list []any) (out []string, places map[string][]int) { // in order, and where each is
		places = map[string][]int{}
		for i, v := range list {
			s := id(v)
			out = append(out, s)
			places[s] = append(places[s], i)
		}
		return out, places
	}
	idsA, _ := ids(a)
	_, left := ids(b)
	partner := make([]int, len(a))
	taken := make([]bool, len(b))
	var lone, other []int
	for i, s := range idsA {
		partner[i] = -1
		if len(left[s]) > 0 {
			partner[i], left[s] = left[s][0], left[s][1:]
			taken[partner[i]] = true
		} else {
			lone = append(lone, i)
		}
	}
	for n := range b {
		if !taken[n] {
			other = append(other, n)
		}
	}
	// What is in the same place, or alone on both sides, is the same thing with another name.
	if len(lone) == 1 && len(other) == 1 || known == "" && slices.Equal(lone, other) {
		for i, n := range lone {
			partner[n] = other[i]
			c.value(at.index(n), where, a[n], b[other[i]])
		}
		lone, other = nil, nil
	}
	name := func(i int, v any) *step {
		if known != "" {
			return at.id(id(v))
		}
		return at.index(i)
	}
	for _, i := range lone {
		c.only(name(i, a[i]), where, "published", known, a[i])
	}
	for _, i := range other {
		c.only(name(i, b[i]), where, "rebuilt", known, b[i])
	}
	var order []int
	for i, n := range partner {
		if n < 0 {
			continue
		}
		order = append(order, n)
		if known != "" && id(a[i]) == id(b[n]) {
			c.value(at.id(id(a[i])), where, a[i], b[n])
		}
	}
	if !slices.IsSorted(order) {
		c.add(where, "%sthe same elements in another order", at)
	}
}

func (c *comparer) only(at *step, where []string, which, known string, v any) {
	if known != "" {
		c.add(where, "%sonly in the %s", at, which) // its name says what it is
		return
	}
	c.add(where, "%sonly in the %s: %s", at, which, show(v))
}

// show is a value as a person may want to see it.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case bare:
		return short(string(v))
	case json.Number:
		return short(v.String())
	case many:
		return count(int64(len(v)), "document")
	case nil:
		return "null"
	}
	b, err := json.Marshal(v)
	if err != nil || !printable(b, false) {
		return "a value"
	}
	if len(b) > maxQuote {
		switch v := v.(type) {
		case map[string]any:
			return "an object of " + count(int64(len(v)), "key")
		case []any:
			return "a list of " + count(int64(len(v)), "element")
		}
	}
	return short(string(b))
}
