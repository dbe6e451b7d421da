package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a file from outside: far above what a configuration needs, far below what hurts.
const (
	maxBytes = 1 << 20
	maxNodes = 50_000 // visited, so an alias counts each time it is used
	maxDepth = 32
)

// positions are where the keys of a file stand.
type positions struct {
	file string
	keys map[string][2]int
}

func (p positions) at(key string) string {
	for ; key != ""; key = parent(key) {
		if pos, ok := p.keys[key]; ok {
			return fmt.Sprintf("%s:%d:%d", p.file, pos[0], pos[1])
		}
	}
	return p.file + ":1:1"
}

// parent is the key without its last step: binaries[0].main, binaries[0], binaries, "".
func parent(key string) string {
	return key[:max(strings.LastIndexAny(key, ".["), 0)]
}

type decoder struct {
	file  string
	where positions
	nodes int
	errs  []positioned
}

type positioned struct {
	line, column int
	err          error
}

// parse reads one YAML document into v, a pointer to a struct.
func (d *decoder) parse(b []byte, v any) error {
	if len(b) > maxBytes {
		return fmt.Errorf("%s:1:1: the file has %d bytes; the limit is %d", d.file, len(b), maxBytes)
	}
	d.where = positions{file: d.file, keys: map[string][2]int{}}
	dec := yaml.NewDecoder(strings.NewReader(string(b)))
	var doc, more yaml.Node
	if err := decodeNode(dec, &doc); err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s:1:1: the file is empty", d.file)
		}
		return d.syntax(err)
	}
	if err := decodeNode(dec, &more); err == nil {
		return fmt.Errorf("%s:%d:%d: a second document begins here; one is allowed", d.file, more.Line, more.Column)
	} else if !errors.Is(err, io.EOF) {
		return d.syntax(err)
	}
	d.value(doc.Content[0], reflect.ValueOf(v).Elem(), "", 0)
	if len(d.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(d.errs, func(a, b positioned) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	var errs []error
	for _, e := range d.errs[:min(len(d.errs), 20)] {
		errs = append(errs, fmt.Errorf("%s:%d:%d: %w", d.file, e.line, e.column, e.err))
	}
	return errors.Join(errs...)
}

// decodeNode turns the panics that malformed input can cause in a parser into errors.
func decodeNode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	return dec.Decode(n)
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax gives the YAML library's message the form of ours.
func (d *decoder) syntax(err error) error {
	line := "1"
	m := yamlLine.FindStringSubmatch(err.Error())
	if m != nil && m[1] != "" {
		line = m[1]
	}
	return fmt.Errorf("%s:%s:1: not YAML: %s", d.file, line, strings.TrimPrefix(err.Error(), cmp.Or(append(m, "")...)))
}

func (d *decoder) report(n *yaml.Node, format string, args ...any) {
	d.errs = append(d.errs, positioned{n.Line, n.Column, fmt.Errorf(format, args...)})
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// value decodes n into v and reports every way in which it does not fit.
func (d *decoder) value(n *yaml.Node, v reflect.Value, key string, depth int) {
	if d.nodes++; d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.report(n, "the file has more than %d values, counting aliases each time they are used", maxNodes)
		}
		return
	}
	if depth > maxDepth {
		d.report(n, "values are nested deeper than %d", maxDepth)
		return
	}
	if n.Kind == yaml.AliasNode {
		d.value(n.Alias, v, key, depth+1)
		return
	}
	if _, ok := d.where.keys[key]; !ok && key != "" {
		d.where.keys[key] = [2]int{n.Line, n.Column}
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // an empty value is the default
	}
	if v.CanAddr() && v.Addr().Type().Implements(textUnmarshaler) {
		if n.Kind != yaml.ScalarNode {
			d.report(n, "%s: want a string, have %s", key, kindName(n))
			return
		}
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
			d.report(n, "%s: %w", key, err)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, key, "a mapping", func(name, val *yaml.Node) {
			i, ok := fields(v.Type())[name.Value]
			if !ok {
				under := ""
				if key != "" {
					under = " under " + key
				}
				d.report(name, "unknown key %q%s%s", name.Value, under, didYouMean(name.Value, slices.Sorted(maps.Keys(fields(v.Type())))))
				return
			}
			child := join(key, name.Value)
			d.value(val, v.Field(i), child, depth+1)
			d.enum(val, v.Field(i), v.Type().Field(i).Tag.Get("enum"), child)
		})
		d.required(n, v, key)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		d.mapping(n, key, "a mapping", func(name, val *yaml.Node) {
			d.where.keys[join(key, name.Value)] = [2]int{name.Line, name.Column}
			item := reflect.New(v.Type().Elem()).Elem()
			d.value(val, item, join(key, name.Value), depth+1)
			v.SetMapIndex(reflect.ValueOf(name.Value), item)
		})
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.report(n, "%s: want a list, have %s", key, kindName(n))
			return
		}
		items := reflect.MakeSlice(v.Type(), 0, min(len(n.Content), maxNodes))
		for i, c := range n.Content {
			item := reflect.New(v.Type().Elem()).Elem()
			d.value(c, item, fmt.Sprintf("%s[%d]", key, i), depth+1)
			if d.nodes > maxNodes {
				return
			}
			items = reflect.Append(items, item)
		}
		v.Set(items)
	case reflect.String:
		// A number or a boolean where text is wanted is text: a version such as 1.20 would lose its zero otherwise.
		if n.Kind != yaml.ScalarNode {
			d.report(n, "%s: want a string, have %s", key, kindName(n))
			return
		}
		if strings.ContainsRune(n.Value, 0) {
			d.report(n, "%s: the text has a NUL", key)
			return
		}
		v.SetString(n.Value)
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			d.report(n, "%s: want a whole number, have %s", key, kindName(n))
			return
		}
		v.SetInt(int64(i))
	case reflect.Bool:
		b, err := strconv.ParseBool(n.Value)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || err != nil {
			d.report(n, "%s: want true or false, have %s", key, kindName(n))
			return
		}
		v.SetBool(b)
	default:
		panic("config: no decoder for " + v.Type().String())
	}
}

// mapping calls each for every key of n, reporting what is no mapping and what is named twice.
func (d *decoder) mapping(n *yaml.Node, key, want string, each func(name, val *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		at := key
		if at == "" {
			at = "the file"
		}
		d.report(n, "%s: want %s, have %s", at, want, kindName(n))
		return
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content) && d.nodes <= maxNodes; i += 2 {
		name, val := n.Content[i], n.Content[i+1]
		switch {
		case name.Kind != yaml.ScalarNode:
			d.report(name, "a key must be a string, this is %s", kindName(name))
		case name.Tag == "!!merge":
			d.report(name, "merge keys (<<) are not supported; use an alias for the whole value")
		case seen[name.Value] != 0:
			d.report(name, "key %q is already on line %d", name.Value, seen[name.Value])
		default:
			seen[name.Value] = name.Line
			each(name, val)
		}
	}
}

// required reports the fields of a struct that must be there and are not.
func (d *decoder) required(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("yaml")
		if f.Tag.Get("required") != "true" || !v.Field(i).IsZero() {
			continue
		}
		given := slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return c.Kind == yaml.ScalarNode && c.Value == name })
		if given && v.Field(i).Kind() != reflect.String {
			continue // reported where it stands, or empty and validated later
		}
		d.report(n, "%s is missing: %s", join(key, name), strings.TrimSuffix(f.Tag.Get("doc"), "."))
	}
}

// enum reports a value, or an item of a list, that is not one of the comma-separated ones.
func (d *decoder) enum(n *yaml.Node, v reflect.Value, enum, key string) {
	if enum == "" {
		return
	}
	allowed := strings.Split(enum, ",")
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			at := n
			if n.Kind == yaml.SequenceNode && i < len(n.Content) {
				at = n.Content[i]
			}
			d.enum(at, v.Index(i), enum, fmt.Sprintf("%s[%d]", key, i))
		}
		return
	}
	if text := fmt.Sprint(v.Interface()); !v.IsZero() && !slices.Contains(allowed, text) {
		d.report(n, "%s: %q is not one of %s%s", key, text, strings.Join(allowed, ", "), didYouMean(text, allowed))
	}
}

// fields maps the keys of a struct to its fields.
func fields(t reflect.Type) map[string]int {
	m := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" {
			m[name] = i
		}
	}
	return m
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		return fmt.Sprintf("%.60q", n.Value)
	default:
		return "something else"
	}
}

// didYouMean suggests the nearest of the candidates where one is near enough to be a slip of the hand.
func didYouMean(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	best, distance := "", max(2, len(word)/3)+1
	for _, c := range candidates {
		if n := editDistance(strings.ToLower(word), strings.ToLower(c)); n < distance {
			best, distance = c, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
