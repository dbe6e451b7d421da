package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Schema returns the JSON schema of slipway.yaml, with which editors complete and check it
// (https://json-schema.org/draft/2020-12).
func Schema() ([]byte, error) {
	s := schemaOf(reflect.TypeFor[Config]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = FileName
	s["description"] = "What a project releases."
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(s)
	return b.Bytes(), err
}

func schemaOf(t reflect.Type) map[string]any {
	if t == reflect.TypeFor[Template]() {
		return map[string]any{"type": []string{"string", "number", "boolean"}}
	}
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		properties, required := map[string]any{}, []string{}
		for i := range t.NumField() {
			f := t.Field(i)
			name := f.Tag.Get("yaml")
			if name == "" {
				continue
			}
			p := schemaOf(f.Type)
			p["description"] = f.Tag.Get("doc")
			if enum := f.Tag.Get("enum"); enum != "" {
				target := p
				if items, ok := p["items"].(map[string]any); ok {
					target = items
				}
				var values []any
				for v := range strings.SplitSeq(enum, ",") {
					if f.Type.Kind() == reflect.Int {
						values = append(values, json.Number(v))
					} else {
						values = append(values, v)
					}
				}
				target["enum"] = values
			}
			if f.Tag.Get("required") == "true" {
				required = append(required, name)
			}
			properties[name] = p
		}
		s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
		if len(required) > 0 {
			s["required"] = required
		}
		return s
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	default:
		return map[string]any{"type": []string{"string", "number", "boolean"}}
	}
}

// Reference returns the reference of slipway.yaml in Markdown, from the same source as the schema.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n")
	b.WriteString("`slipway.yaml` says what a project releases. It is strict: an unknown or repeated key, a wrong type or an impossible value ends a command with exit 2 and `file:line:column`. ")
	b.WriteString("Begin it with `# yaml-language-server: $schema=` and the address of `docs/slipway.schema.json`, and editors complete it.\n\n")
	b.WriteString("This page is generated from the code (`make golden`).\n")
	for _, section := range []struct {
		key string
		t   reflect.Type
	}{
		{"", reflect.TypeFor[Config]()},
		{"project", reflect.TypeFor[Project]()},
		{"binaries[]", reflect.TypeFor[Binary]()},
		{"archives", reflect.TypeFor[Archives]()},
		{"images[]", reflect.TypeFor[Image]()},
		{"charts[]", reflect.TypeFor[Chart]()},
		{"test", reflect.TypeFor[Test]()},
	} {
		title := "Top level"
		if section.key != "" {
			title = "`" + section.key + "`"
		}
		fmt.Fprintf(&b, "\n## %s\n\n| key | type | meaning |\n|---|---|---|\n", title)
		for i := range section.t.NumField() {
			f := section.t.Field(i)
			name := f.Tag.Get("yaml")
			if name == "" {
				continue
			}
			doc := f.Tag.Get("doc")
			if enum := f.Tag.Get("enum"); enum != "" {
				doc += " One of `" + strings.ReplaceAll(enum, ",", "`, `") + "`."
			}
			if ex := f.Tag.Get("example"); ex != "" {
				doc += " Example: `" + ex + "`."
			}
			if f.Tag.Get("required") == "true" {
				doc += " **Required.**"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, typeName(f.Type), doc)
		}
	}
	b.WriteString("\n## Templates\n\nIn the keys of type template, `{{ .Name }}` is replaced by a value and `{{ lower .Name }}`, `{{ upper .Name }}`, `{{ title .Name }}` by a changed one. There is nothing else: no conditions, no environment, no files.\n\n| value | meaning |\n|---|---|\n")
	for _, name := range sortedKeys(templateValues) {
		fmt.Fprintf(&b, "| `.%s` | %s |\n", name, templateValues[name])
	}
	b.WriteString("\n## Targets\n\nA target is `os/arch` or `os/arch/variant` in Go's terms. Variants choose the instruction set: `linux/arm/v7`, `linux/amd64/v3`. The default matrix:\n\n")
	for _, p := range DefaultTargets() {
		fmt.Fprintf(&b, "- `%s`\n", p)
	}
	return b.String()
}

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Template]():
		return "template"
	case reflect.PointerTo(t).Implements(textUnmarshaler):
		return "string"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list of " + typeName(t.Elem())
	case reflect.Map:
		return "map to " + typeName(t.Elem())
	case reflect.Struct:
		return "mapping"
	case reflect.Int:
		return "number"
	case reflect.Bool:
		return "true or false"
	default:
		return "string"
	}
}
