package canonjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// fields are the keys of a struct.
type fields struct {
	named   map[string]reflect.StructField // the index of a promoted one is a path
	folded  map[string]string              // the key by what fold makes of it
	unknown []int                          // the field of the type Unknown; nil for none
}

var (
	cache       sync.Map // of *fields by reflect.Type
	unknownType = reflect.TypeFor[Unknown]()

	// A type with one of these says itself what its JSON is.
	own = []reflect.Type{
		reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler](),
	}
)

// shape is t without its pointers; nil for a type that says nothing about keys: an interface, or one that reads itself.
func shape(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() == reflect.Interface {
		return nil
	}
	if slices.ContainsFunc(own, reflect.PointerTo(t).Implements) {
		return nil
	}
	return t
}

func fieldsOf(t reflect.Type) *fields {
	if f, ok := cache.Load(t); ok {
		return f.(*fields)
	}
	f := &fields{named: map[string]reflect.StructField{}, folded: map[string]string{}}
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Type == unknownType:
			f.unknown = field.Index
		case field.Anonymous && name == "" && shape(field.Type) != nil && shape(field.Type).Kind() == reflect.Struct:
			// its fields are visible themselves
		case !field.IsExported() || name == "-":
		default:
			if name == "" {
				name = field.Name
			}
			if other, ok := f.named[name]; !ok || len(field.Index) < len(other.Index) {
				f.named[name] = field
				f.folded[fold(name)] = name
			}
		}
	}
	cache.Store(t, f)
	return f
}
