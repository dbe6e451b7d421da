// Package yamldoc reads a YAML document that a person wrote into a Go struct, strictly: whatever does not fit is an error with its
// place, and all that does not fit is said at once. Keys that the struct does not have, keys that stand twice, tags, merge keys
// and a second document are refused; a document that would cost far more than its size is, too.
//
// A field of the struct has the key in the tag yaml. required:"true" refuses a value that is absent or empty, with the first
// sentence of the tag doc for a reason, and empty:"false" one that is there and empty; enum:"a,b" lists the values that there
// are. A type with an UnmarshalText method reads itself. Of the other types string, int, structs, slices of them and maps from
// strings to them may be used.
package yamldoc

import (
	"bytes"
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
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Bounds of a file from outside: far above what a configuration needs, far below what hurts.
const (
	maxBytes = 256 << 10
	// maxCost bounds what a file unfolds to, in bytes: each value with its key, an alias each time it is used.
	maxCost   = 4 << 20
	valueCost = 64  // of a value besides its text
	maxKey    = 512 // bytes
	// maxErrors are found before a file is given up, and shownErrors of them are told.
	maxErrors   = 100
	shownErrors = 20
)

// position is a place in a file, both counted from 1.
type position struct{ line, column int }

// Positions are where the keys of a file stand. A key is written as binaries[0].main.
type Positions struct {
	file string
	keys map[string]position
}

// of is the position of the key, or of its nearest parent that the file has.
func (p Positions) of(key string) position {
	for ; key != ""; key = parent(key) {
		if pos, ok := p.keys[key]; ok {
			return pos
		}
	}
	return position{1, 1}
}

// At is the position of the key as file:line:column, of its nearest parent where the file has no such key.
func (p Positions) At(key string) string {
	pos := p.of(key)
	return fmt.Sprintf("%s:%d:%d", p.file, pos.line, pos.column)
}

// parent is the key without its last step: binaries[0].main, binaries[0], binaries, "".
func parent(key string) string {
	return key[:max(strings.LastIndexAny(key, ".["), 0)]
}

// Problems are what is wrong with a file. The caller that decoded one adds what is well-formed and cannot be meant.
type Problems struct {
	where Positions
	list  []problem
}

// NewProblems are none yet, in the file that has these positions.
func NewProblems(where Positions) *Problems { return &Problems{where: where} }

type problem struct {
	position
	err error
}

// Len is how many there are, for checks that only make sense where others have passed.
func (p *Problems) Len() int { return len(p.list) }

func (p *Problems) full() bool { return len(p.list) >= maxErrors }

func (p *Problems) add(pos position, format string, args ...any) {
	if !p.full() {
		p.list = append(p.list, problem{pos, fmt.Errorf(format, args...)})
	}
}

// At adds a problem with the value of a key.
func (p *Problems) At(key, format string, args ...any) {
	p.add(p.where.of(key), "%s: %w", key, fmt.Errorf(format, args...))
}

// Err joins the problems in the order of the file, up to 20 of them; nil for none.
func (p *Problems) Err() error {
	slices.SortStableFunc(p.list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	var errs []error
	for i, e := range p.list {
		if i == shownErrors {
			errs = append(errs, fmt.Errorf("%s:%d:%d: more errors follow", p.where.file, e.line, e.column))
			break
		}
		errs = append(errs, fmt.Errorf("%s:%d:%d: %w", p.where.file, e.line, e.column, e.err))
	}
	return errors.Join(errs...)
}

// Decode reads one document of up to 256 KiB into v, a pointer to a struct. The positions of its keys are there even beside an
// error, which has one line for each mistake, file:line:column in front of it.
func Decode(file string, b []byte, v any) (Positions, error) {
	d := decoder{Problems: Problems{where: Positions{file: file, keys: map[string]position{}}}}
	if len(b) > maxBytes {
		return d.where, fmt.Errorf("%s:1:1: the file is larger than %d bytes", file, maxBytes)
	}
	root, err := Document(file, b)
	if err != nil {
		return d.where, err
	}
	d.value(root, reflect.ValueOf(v).Elem(), "")
	return d.where, d.Err()
}

// Document is the root of the one document that b holds, for those who read the files of others, which have keys and forms that
// Decode refuses. An empty document is an error, as is a second one. Aliases are not followed, so that the caller bounds them.
func Document(file string, b []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	err := decodeNode(dec, &doc)
	if errors.Is(err, io.EOF) || err == nil && (len(doc.Content) == 0 || isNull(doc.Content[0])) {
		return nil, fmt.Errorf("%s:1:1: the file is empty", file)
	}
	if err != nil {
		return nil, syntax(file, err)
	}
	if err := decodeNode(dec, &more); err == nil {
		return nil, fmt.Errorf("%s:%d:%d: a second document begins here; one is allowed", file, more.Line, more.Column)
	} else if !errors.Is(err, io.EOF) {
		return nil, syntax(file, err)
	}
	return doc.Content[0], nil
}

type decoder struct {
	Problems
	cost int
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

var yamlError = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)

// syntax gives the YAML library's message the form of ours.
func syntax(file string, err error) error {
	line, text := "1", err.Error()
	if m := yamlError.FindStringSubmatch(text); m != nil {
		line, text = cmp.Or(m[1], line), text[len(m[0]):]
	}
	return fmt.Errorf("%s:%s:1: not YAML: %s", file, line, text)
}

func (d *decoder) report(n *yaml.Node, format string, args ...any) {
	d.add(position{n.Line, n.Column}, format, args...)
}

// spend reports whether there is room for one more value with its key, which each cost memory and time.
func (d *decoder) spend(n *yaml.Node, key string) bool {
	if d.cost > maxCost || d.full() {
		return false
	}
	if d.cost += valueCost + len(n.Value) + len(key); d.cost > maxCost {
		d.report(n, "the file unfolds to more than %d bytes, counting aliases each time they are used", maxCost)
		return false
	}
	return true
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// value decodes n into v and reports every way in which it does not fit. It goes as deep as the types do, which are not
// recursive: what is nested deeper, an alias of itself for one, is a value of the wrong type.
func (d *decoder) value(n *yaml.Node, v reflect.Value, key string) {
	n = resolve(n)
	if !d.spend(n, key) {
		return
	}
	if _, ok := d.where.keys[key]; !ok && key != "" {
		d.where.keys[key] = position{n.Line, n.Column}
	}
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		d.report(n, "%stags such as %.60s are not supported; write the value alone, in quotes where it is text", prefix(key), n.Tag)
		return
	case isNull(n):
		return // an empty value is the default
	case n.Kind == yaml.ScalarNode && strings.ContainsFunc(n.Value, unprintable):
		d.report(n, "%sthe text has a control character", prefix(key))
		return
	}
	if v.Addr().Type().Implements(textUnmarshaler) {
		if n.Kind != yaml.ScalarNode {
			d.mismatch(n, key, "a string")
		} else if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
			d.report(n, "%s%w", prefix(key), err)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, key)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		d.mapping(n, key, func(name, val *yaml.Node) {
			child := join(key, name.Value)
			d.where.keys[child] = position{name.Line, name.Column}
			item := reflect.New(v.Type().Elem()).Elem()
			if item.Kind() != reflect.String && isNull(val) {
				d.mismatch(val, child, "a mapping")
				return
			}
			d.value(val, item, child)
			v.SetMapIndex(reflect.ValueOf(name.Value), item)
		})
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.mismatch(n, key, "a list")
			return
		}
		items := reflect.MakeSlice(v.Type(), 0, len(n.Content))
		for i, c := range n.Content {
			item := reflect.New(v.Type().Elem()).Elem()
			child := fmt.Sprintf("%s[%d]", key, i)
			if isNull(c) {
				d.report(c, "%s: an item of a list cannot be empty", child)
			}
			if d.value(c, item, child); d.full() || d.cost > maxCost {
				return
			}
			items = reflect.Append(items, item)
		}
		v.Set(items)
	case reflect.String:
		// A number or a boolean where text is wanted is text: a version such as 1.20 would lose its zero otherwise.
		if n.Kind != yaml.ScalarNode {
			d.mismatch(n, key, "a string")
			return
		}
		v.SetString(n.Value)
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil {
			d.mismatch(n, key, "a whole number")
			return
		}
		v.SetInt(int64(i))
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
			d.mismatch(n, key, "true or false")
			return
		}
		v.SetBool(n.Value == "true")
	default:
		panic("yamldoc: no decoder for " + v.Type().String())
	}
}

// structure decodes a mapping whose keys are the fields of a struct.
func (d *decoder) structure(n *yaml.Node, v reflect.Value, key string) {
	t := v.Type()
	known := fields(t)
	given := map[string]*yaml.Node{}
	ok := d.mapping(n, key, func(name, val *yaml.Node) {
		i, ok := known[name.Value]
		if !ok {
			under := ""
			if key != "" {
				under = " under " + key
			}
			d.report(name, "unknown key %.60q%s%s", name.Value, under, DidYouMean(name.Value, slices.Sorted(maps.Keys(known))))
			return
		}
		given[name.Value] = val
		child := join(key, name.Value)
		d.value(val, v.Field(i), child)
		if enum := t.Field(i).Tag.Get("enum"); enum != "" && !isNull(val) {
			d.enum(resolve(val), v.Field(i), strings.Split(enum, ","), child)
		}
	})
	if !ok || d.full() {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		required := f.Tag.Get("required") == "true"
		if !required && f.Tag.Get("empty") != "false" {
			continue
		}
		name := f.Tag.Get("yaml")
		doc, _, _ := strings.Cut(f.Tag.Get("doc"), ".")
		switch val := resolve(given[name]); {
		case val == nil && !required:
		case val == nil:
			d.report(n, "%s is missing: %s", join(key, name), doc)
		case isNull(val), val.Kind == yaml.ScalarNode && val.Value == "", val.Kind == yaml.SequenceNode && len(val.Content) == 0:
			d.report(val, "%s is empty: %s", join(key, name), doc)
		}
	}
}

// mapping calls each for every key of n, reporting what is not a mapping and what is named twice. It reports whether n is
// a mapping.
func (d *decoder) mapping(n *yaml.Node, key string, each func(name, val *yaml.Node)) bool {
	if n.Kind != yaml.MappingNode {
		d.mismatch(n, key, "a mapping")
		return false
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, val := n.Content[i], n.Content[i+1]
		if !d.spend(name, key) {
			return true
		}
		switch {
		case name.Kind != yaml.ScalarNode:
			d.report(name, "%sa key must be a string, this is %s", prefix(key), kindName(name))
		case name.Tag == "!!merge":
			d.report(name, "%smerge keys (<<) are not supported; use an alias for the whole value", prefix(key))
		case len(name.Value) > maxKey || strings.ContainsFunc(name.Value, unprintable):
			d.report(name, "%skey %.60q is longer than %d bytes or has a control character", prefix(key), name.Value, maxKey)
		case seen[name.Value] != 0:
			d.report(name, "%skey %q is already on line %d", prefix(key), name.Value, seen[name.Value])
		default:
			seen[name.Value] = name.Line
			each(name, val)
		}
	}
	return true
}

// mismatch reports a value of the wrong type.
func (d *decoder) mismatch(n *yaml.Node, key, want string) {
	d.report(n, "%swant %s, have %s", prefix(key), want, kindName(n))
}

func prefix(key string) string {
	if key == "" {
		return ""
	}
	return key + ": "
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// resolve is what an alias stands for. The parser refuses an alias of an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// unprintable reports whether a terminal would obey the character instead of showing it. Lines may break.
func unprintable(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// enum reports a value, or an item of a list, that is not one of the allowed ones.
func (d *decoder) enum(n *yaml.Node, v reflect.Value, allowed []string, key string) {
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			if c := n.Content[i]; !isNull(c) {
				d.enum(resolve(c), v.Index(i), allowed, fmt.Sprintf("%s[%d]", key, i))
			}
		}
		return
	}
	// A value of another type is reported already.
	if text := fmt.Sprint(v.Interface()); n.Kind == yaml.ScalarNode && text == n.Value && !slices.Contains(allowed, text) {
		d.report(n, "%s: %.60q is not one of %s%s", key, text, strings.Join(allowed, ", "), DidYouMean(text, allowed))
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
	if isNull(n) {
		return "nothing"
	}
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	default:
		return fmt.Sprintf("%.60q", n.Value)
	}
}

// DidYouMean is `; did you mean "x"?` for the nearest of the candidates, where one is near enough to be a slip of the hand, else "".
func DidYouMean(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	best, distance := "", min(max(2, len(word)/3), len(word)-1)+1
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
