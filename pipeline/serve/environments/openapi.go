package environments

import (
	"reflect"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

type object = map[string]any

// openAPI describes the interface (https://spec.openapis.org/oas/v3.1.0). It is made of the table that answers and of the types of
// the answers.
func openAPI() object {
	schemas := object{}
	paths := object{}
	answer := func(doc, kind string, schema any) object {
		return object{"description": doc, "content": object{kind: object{"schema": schema}}}
	}
	failed := schemaOf(reflect.TypeFor[failure](), schemas)
	for _, o := range operations {
		var parameters []object
		for _, p := range o.parameters {
			schema := object{"type": "string", "maxLength": maxText}
			switch {
			case p.number:
				schema = object{"type": "integer", "minimum": 1, "maximum": maxLimit, "default": usual}
			case p.enum != nil:
				schema = object{"type": "string", "enum": p.enum}
			case p.name == afterOf.name:
				schema["maxLength"] = maxCursor
			}
			parameters = append(parameters, object{"name": p.name, "in": "query", "required": p.required, "description": p.doc, "schema": schema})
		}
		get := object{
			"operationId": strings.TrimSuffix(o.name, ".json"), "summary": o.doc,
			"responses": object{
				"200": answer("The answer.", "application/json", schemaOf(reflect.TypeOf(o.result), schemas)),
				"400": answer("A parameter is not what it can be; the text names it.", "application/json", failed),
				"404": answer("What is named is not there.", "application/json", failed),
				"503": object{"description": "The store has not been read yet, or too much is asked at once: try again."},
			},
		}
		if parameters != nil {
			get["parameters"] = parameters
		}
		paths["/"+o.name] = object{"get": get}
	}
	paths["/events"] = object{"get": object{
		"operationId": "events", "summary": "Says how far the log goes, now and whenever it moves on: events called state, whose data is JSON.",
		"responses": object{"200": answer("A stream that does not end.", "text/event-stream", object{"type": "string", "contentMediaType": "text/event-stream"}), "503": object{"description": "Too many streams are open."}},
	}}
	schemaOf(reflect.TypeFor[event](), schemas)
	return object{
		"openapi": "3.1.0", "info": object{"title": "A release store", "version": "1"}, "servers": []object{{"url": "."}},
		"paths": paths, "components": object{"schemas": schemas},
	}
}

// schemaOf describes what a type looks like in JSON. Structs are put into schemas.
func schemaOf(t reflect.Type, schemas object) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[artifact.Digest]():
		return object{"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), schemas)
	case reflect.Slice:
		return object{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int:
		return object{"type": "integer"}
	case reflect.Struct:
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if schemas[name] == nil {
			properties, required := object{}, []string{}
			schemas[name] = object{"type": "object", "properties": properties, "additionalProperties": false}
			for f := range t.Fields() {
				key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
				properties[key] = schemaOf(f.Type, schemas)
				if options == "" {
					required = append(required, key)
				}
			}
			schemas[name].(object)["required"] = required
		}
		return object{"$ref": "#/components/schemas/" + name}
	case reflect.String:
		return object{"type": "string"}
	}
	return object{"type": "object"}
}
