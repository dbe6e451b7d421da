package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// patterns are what the texts of a field must match, or of its items, by type and field. What they cannot say, Parse
// checks besides.
var patterns = map[string]*regexp.Regexp{
	"Config.Go":          goRelease,
	"Config.Bases":       baseRef,
	"Config.Mirrors":     registryRef,
	"Project.Name":       projectName,
	"Project.Repository": httpURL,
	"Project.Homepage":   httpURL,
	"Binary.Name":        programName,
	"Binary.Tags":        buildTag,
	"Binary.Builder":     pinnedRef,
	"Image.Repository":   repositoryRef,
	"Image.Ports":        portNumber,
	"Image.Path":         imagePath,
	"Image.Workdir":      imagePath,
	"Image.Volumes":      imagePath,
	"Chart.Repository":   repositoryRef,
	"Test.Builder":       pinnedRef,
	"Package.Name":       projectName,
	"Package.Maintainer": maintainer,
	"Hub.ID":             uuid,
	"Link.URL":           httpURL,
	"Signing.Issuer":     downloadURL,
}

var imagePath = regexp.MustCompile(`^/`)

// keys are what the keys of a map must be, by type and field.
var keys = map[string]map[string]any{
	"Config.Bases":   {"enum": images.Names()},
	"Config.Mirrors": {"pattern": registryHost.String()},
	"Binary.Vars":    {"pattern": linkerVar.String()},
	"Binary.Env":     {"enum": buildEnv},
	"Image.Files":    {"pattern": imagePath.String()},

	"Package.Files":       {"pattern": imagePath.String()},
	"Package.Completions": {"enum": shells},
	"Package.Depends":     {"enum": dependFormats},
}

// values are the values of a list's items that no tag holds.
var values = map[string][]string{"Binary.Ldflags": linkerFlags}

// Schema returns the JSON schema of slipway.yaml, with which editors complete and check it
// (https://json-schema.org/draft/2020-12).
func Schema() ([]byte, error) {
	s := schemaOf(reflect.TypeFor[Config]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = FileName
	s["description"] = "What a project releases."
	s["$defs"] = map[string]any{
		"platform": map[string]any{
			"description": "os/arch or os/arch/variant in Go's terms.",
			"enum":        artifact.Platforms(),
		},
		"template": map[string]any{
			"description": "Text with values of the release, such as {{ .Version }}.",
			"type":        text(),
		},
	}
	return canonjson.Indent(s)
}

// text are the JSON types that are read as text: 1.20 needs no quotes.
func text() []string { return []string{"string", "number", "boolean"} }

func schemaOf(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[Template]():
		return map[string]any{"$ref": "#/$defs/template"}
	case t == reflect.TypeFor[artifact.Platform]():
		return map[string]any{"$ref": "#/$defs/platform"}
	case t == reflect.TypeFor[map[string]Publish]():
		return map[string]any{"type": "object", "additionalProperties": map[string]any{"$ref": "#/properties/publish"}}
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
			properties[name] = fieldSchema(t, f)
			if f.Tag.Get("required") == "true" {
				required = append(required, name)
			}
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
	default:
		return map[string]any{"type": text()}
	}
}

// enumOf are the values that a field or an item of it may have; nil for any.
func enumOf(t reflect.Type, f reflect.StructField) []string {
	switch enum := f.Tag.Get("enum"); {
	case t == reflect.TypeFor[Package]() && f.Name == "Formats":
		return format.Where(nil)
	case enum != "":
		return strings.Split(enum, ",")
	}
	return nil
}

// docOf is what a field means. Formats whose packages have relations are in their table.
func docOf(f reflect.StructField) string {
	return strings.ReplaceAll(f.Tag.Get("doc"), "{related}", strings.Join(dependFormats, ", "))
}

func fieldSchema(t reflect.Type, f reflect.StructField) map[string]any {
	key := t.Name() + "." + f.Name
	p := schemaOf(f.Type)
	p["description"] = docOf(f)
	// Of a list or a map it is the items that are restricted.
	item := p
	for _, of := range []string{"items", "additionalProperties"} {
		if m, ok := p[of].(map[string]any); ok {
			item = m
		}
	}
	if re := patterns[key]; re != nil {
		item["pattern"] = re.String()
		if !re.MatchString("1") {
			item["type"] = "string" // and never a number
		}
	}
	if names := keys[key]; names != nil {
		p["propertyNames"] = names
	}
	if v := values[key]; v != nil {
		item["enum"] = v
	}
	if enum := enumOf(t, f); enum != nil {
		var all []any
		for _, v := range enum {
			if f.Type.Kind() == reflect.Int {
				all = append(all, json.Number(v))
			} else {
				all = append(all, v)
			}
		}
		item["enum"] = all
	}
	if item["enum"] != nil {
		delete(item, "type")
	}
	if f.Tag.Get("required") == "true" {
		switch f.Type.Kind() {
		case reflect.String:
			p["minLength"] = 1
		case reflect.Slice:
			p["minItems"] = 1
		}
	}
	if ex := f.Tag.Get("example"); ex != "" {
		p["examples"] = []any{example(f.Type, ex)}
	}
	return p
}

// example is the value of an example tag: that of a list is one item, that of a map one line of YAML.
func example(t reflect.Type, ex string) any {
	switch t.Kind() {
	case reflect.Slice:
		return []string{ex}
	case reflect.Map:
		var m map[string]any
		if err := yaml.Unmarshal([]byte(ex), &m); err != nil {
			panic(fmt.Sprintf("config: example %q: %v", ex, err))
		}
		return m
	}
	return ex
}

// Reference returns the reference of slipway.yaml in Markdown, from the same source as the schema.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n")
	b.WriteString("`slipway.yaml` at the root of a repository says what it releases, and `slipway.lock` beside it what that is made from. ")
	b.WriteString("Both are strict: an unknown or repeated key, a wrong type or an impossible value ends a command with exit 2 and `file:line:column`, for all mistakes at once. ")
	b.WriteString("Begin the file with `# yaml-language-server: $schema=` and the address of `docs/slipway.schema.json`, and editors complete and check it while you write.\n\n")
	b.WriteString("This page is generated from the code (`make golden`). The smallest file:\n\n")
	b.WriteString("```yaml\nversion: 1\nproject:\n  name: tool\nbinaries:\n  - name: tool\n    main: ./cmd/tool\n```\n")
	for _, section := range sections("", reflect.TypeFor[Config]()) {
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
			doc := literal.ReplaceAllString(docOf(f), "`$0`")
			if values := enumOf(section.t, f); values != nil {
				of := "One of"
				if len(values) == 1 {
					of = "Always"
				}
				doc += " " + of + " `" + strings.Join(values, "`, `") + "`."
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
	b.WriteString("\n## Templates\n\nIn a value of type template, `{{ .Name }}` is replaced by a value of the release, and `{{ lower .Name }}`, `{{ upper .Name }}` and `{{ title .Name }}` by that value in other letter case. ")
	b.WriteString("There is nothing else: no conditions, no environment, no files, so a template can neither depend on the machine nor leak from it.\n\n| value | meaning |\n|---|---|\n")
	for _, name := range sortedKeys(templateValues) {
		fmt.Fprintf(&b, "| `.%s` | %s |\n", name, templateValues[name])
	}
	b.WriteString("\n## Targets\n\nA target is `os/arch` or `os/arch/variant` in Go's terms. A variant chooses the instruction set, as in `linux/arm/v7` or `linux/amd64/v3`. ")
	b.WriteString("Images are made for the targets that the base of the distribution has too: `linux/arm/v7` where it has that, and never `linux/amd64/v3`. The default matrix:\n\n")
	for _, p := range DefaultTargets() {
		fmt.Fprintf(&b, "- `%s`\n", p)
	}
	return b.String()
}

// section is a struct with the key that it stands under; a list's ends in [].
type section struct {
	key string
	t   reflect.Type
}

// sections are the struct and all below it, in the order of their fields.
func sections(key string, t reflect.Type) []section {
	all := []section{{key, t}}
	for i := range t.NumField() {
		f := t.Field(i)
		name, of := f.Tag.Get("yaml"), f.Type
		if of.Kind() == reflect.Slice {
			name, of = name+"[]", of.Elem()
		}
		if f.IsExported() && of.Kind() == reflect.Struct && of != reflect.TypeFor[artifact.Platform]() {
			all = append(all, sections(join(key, name), of)...)
		}
	}
	return all
}

// literal is what Markdown would take for markup, and is code: templates, placeholders and patterns.
var literal = regexp.MustCompile(`(?:\{\{[^}]*\}\}_?)+|\S*<[a-z]+>|[A-Z]+\*`)

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Template]():
		return "template"
	case reflect.TypeFor[artifact.Platform]():
		return "target"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list of " + plural(t.Elem())
	case reflect.Map:
		return "map of " + plural(t.Elem())
	case reflect.Struct:
		return "mapping"
	case reflect.Int:
		return "number"
	default:
		return "string"
	}
}

// plural is the name of several of a type.
func plural(t reflect.Type) string {
	if one, of, ok := strings.Cut(typeName(t), " of "); ok {
		return one + "s of " + of
	}
	return typeName(t) + "s"
}
