package class

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// maxSchemaDepth bounds how deep schemas are compared.
const maxSchemaDepth = 64

// maxSchemaPairs bounds how many pairs of schemas are compared: references may lead to any two of them.
const maxSchemaPairs = 100_000

// schemas compares two JSON Schemas (https://json-schema.org/draft/2020-12/json-schema-validation): what the one accepts and the other
// does not, or may not.
type schemas struct {
	before, after any // the whole documents, which references are into
	seen          map[string]bool
	// defaulted reports whether a value has a default elsewhere, so that requiring it asks nothing of anybody; nil for none.
	defaulted func(path string) bool
	found     []string
}

// narrowed says what a schema no longer accepts, each with its place.
func narrowed(before, after []byte, defaulted func(path string) bool) ([]string, error) {
	s := schemas{seen: map[string]bool{}, defaulted: defaulted}
	if err := json.Unmarshal(before, &s.before); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(after, &s.after); err != nil {
		return nil, err
	}
	s.compare("", s.before, s.after, 0)
	if len(s.seen) > maxSchemaPairs {
		return nil, fmt.Errorf("more than %d pairs of schemas would have to be compared; have fewer references in it", maxSchemaPairs)
	}
	return s.found, nil
}

func (s *schemas) add(path, format string, args ...any) {
	if path == "" {
		path = "the whole"
	}
	s.found = append(s.found, path+" "+fmt.Sprintf(format, args...))
}

// resolved follows references within a document. One that leads elsewhere stays.
func resolved(document, schema any) any {
	for range maxSchemaDepth {
		m, _ := schema.(map[string]any)
		ref, ok := m["$ref"].(string)
		if !ok || !strings.HasPrefix(ref, "#") {
			return schema
		}
		at := document
		for part := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(ref, "#"), "/"), "/") {
			if part == "" {
				continue
			}
			m, _ := at.(map[string]any)
			at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
		}
		if at == nil {
			return schema
		}
		schema = at
	}
	return schema
}

// keywords are those of a schema: true is one without any, and false one that is never met.
func keywords(schema any) map[string]any {
	switch is := schema.(type) {
	case map[string]any:
		return is
	case bool:
		if !is {
			return map[string]any{"not": map[string]any{}}
		}
	}
	return map[string]any{}
}

func (s *schemas) compare(path string, before, after any, depth int) {
	b, a := keywords(resolved(s.before, before)), keywords(resolved(s.after, after))
	pair := fmt.Sprintf("%p %p", b, a)
	if s.defaulted != nil && s.defaulted(path) { // what is required depends on the place there, and nowhere else
		pair += " " + path
	}
	if len(s.seen) > maxSchemaPairs {
		return
	}
	if depth > maxSchemaDepth || s.seen[pair] || reflect.DeepEqual(b, a) && !refers(b) {
		return
	}
	s.seen[pair] = true
	s.types(path, b, a)
	s.bounds(path, b, a)
	was, is := properties(b), properties(a)
	for _, name := range slices.Sorted(maps.Keys(was)) {
		at := join(path, name)
		if next, ok := is[name]; ok {
			s.compare(at, was[name], next, depth+1)
		} else {
			s.add(at, "is gone")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		// What was not named before was taken as it came, where others were.
		if _, ok := was[name]; !ok && b["additionalProperties"] != false {
			s.required(join(path, name), is[name], depth+1)
		}
	}
	had := texts(b["required"])
	for _, name := range texts(a["required"]) {
		if at := join(path, name); !slices.Contains(had, name) && (s.defaulted == nil || !s.defaulted(at)) {
			s.add(at, "is required now")
		}
	}
	if a["additionalProperties"] == false && b["additionalProperties"] != false {
		s.add(path, "takes no other properties any more")
	} else if before, ok := b["additionalProperties"].(map[string]any); ok {
		s.compare(join(path, "*"), before, a["additionalProperties"], depth+1)
	} else if after, ok := a["additionalProperties"].(map[string]any); ok && b["additionalProperties"] != false {
		s.compare(join(path, "*"), true, after, depth+1)
	}
	if b["items"] != nil || a["items"] != nil {
		s.compare(path+"[]", b["items"], a["items"], depth+1)
	}
	// What these come to together nobody can say from outside.
	for _, key := range []string{"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "patternProperties", "dependentRequired", "propertyNames", "$ref"} {
		if a[key] != nil && !reflect.DeepEqual(b[key], a[key]) {
			s.add(path, "has another %s, which cannot be compared", key)
		}
	}
}

// required finds what a property that is new requires where its parent has it already by default.
func (s *schemas) required(path string, schema any, depth int) {
	if s.defaulted == nil || !s.defaulted(path) || depth > maxSchemaDepth {
		return
	}
	a := keywords(resolved(s.after, schema))
	for _, name := range texts(a["required"]) {
		if at := join(path, name); !s.defaulted(at) {
			s.add(at, "is required now")
		}
	}
	for name, next := range properties(a) {
		s.required(join(path, name), next, depth+1)
	}
}

// refers reports whether there is a reference in a schema: what is the same may then lead elsewhere.
func refers(v any) bool {
	switch is := v.(type) {
	case map[string]any:
		for key, v := range is {
			if key == "$ref" || refers(v) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(is, refers)
	}
	return false
}

func (s *schemas) types(path string, b, a map[string]any) {
	was, is := texts(b["type"]), texts(a["type"])
	if len(is) > 0 {
		if len(was) == 0 {
			was = []string{"array", "boolean", "integer", "null", "number", "object", "string"}
		}
		var gone []string
		for _, t := range was {
			if !slices.Contains(is, t) && !(t == "integer" && slices.Contains(is, "number")) {
				gone = append(gone, t)
			}
		}
		if len(gone) > 0 {
			s.add(path, "is no longer %s, but %s", strings.Join(gone, " or "), strings.Join(is, " or "))
		}
	}
	enum := func(m map[string]any) ([]any, bool) {
		if v, ok := m["const"]; ok {
			return []any{v}, true
		}
		all, ok := m["enum"].([]any)
		return all, ok
	}
	values, had := enum(b)
	now, has := enum(a)
	switch {
	case has && !had:
		s.add(path, "takes %d values alone", len(now))
	case has:
		for _, v := range values {
			if !slices.ContainsFunc(now, func(n any) bool { return reflect.DeepEqual(n, v) }) {
				text, err := json.Marshal(v)
				if err == nil {
					s.add(path, "no longer takes %.60s", text)
				}
			}
		}
	}
}

func (s *schemas) bounds(path string, b, a map[string]any) {
	for key, up := range map[string]bool{
		"minimum": true, "exclusiveMinimum": true, "minLength": true, "minItems": true, "minProperties": true,
		"maximum": false, "exclusiveMaximum": false, "maxLength": false, "maxItems": false, "maxProperties": false,
	} {
		is, ok := a[key].(float64)
		was, had := b[key].(float64)
		if ok && (!had || up && is > was || !up && is < was) {
			s.add(path, "has a narrower %s, %v", key, is)
		}
	}
	for _, key := range []string{"pattern", "format", "multipleOf", "uniqueItems"} {
		if a[key] != nil && a[key] != false && !reflect.DeepEqual(a[key], b[key]) {
			s.add(path, "has another %s, %.60v", key, a[key])
		}
	}
}

func properties(m map[string]any) map[string]any {
	all, _ := m["properties"].(map[string]any)
	return all
}

// texts are a text, or a list of texts.
func texts(v any) (all []string) {
	switch is := v.(type) {
	case string:
		return []string{is}
	case []any:
		for _, one := range is {
			if s, ok := one.(string); ok {
				all = append(all, s)
			}
		}
	}
	slices.Sort(all)
	return all
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
