package environment

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Dump is all that a state has, in one form: of maps without anything nothing is said.
func Dump(s *State) string {
	var b strings.Builder
	dump(&b, "", reflect.ValueOf(s).Elem())
	return b.String()
}

func dump(b *strings.Builder, at string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			dump(b, at, v.Elem())
		}
	case reflect.Map:
		var all []string
		for iter := v.MapRange(); iter.Next(); {
			var one strings.Builder
			dump(&one, fmt.Sprintf("%s[%v]", at, iter.Key()), iter.Value())
			all = append(all, one.String())
		}
		slices.Sort(all)
		b.WriteString(strings.Join(all, ""))
	case reflect.Struct:
		switch v.Type() {
		case reflect.TypeFor[requests](), reflect.TypeFor[digests](): // which have two forms
			return
		}
		for i := range v.NumField() {
			dump(b, at+"."+v.Type().Field(i).Name, v.Field(i))
		}
	default:
		fmt.Fprintf(b, "%s: %v\n", at, v)
	}
}

// Unset are the fields that are empty wherever they are in a state.
func Unset(s *State) []string {
	set := map[string]bool{}
	look(set, reflect.ValueOf(s).Elem())
	var all []string
	for name, ok := range set {
		if !ok {
			all = append(all, name)
		}
	}
	return all
}

func look(set map[string]bool, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			look(set, v.Elem())
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			look(set, iter.Key())
			look(set, iter.Value())
		}
	case reflect.Struct:
		if t := v.Type(); t.PkgPath() != reflect.TypeFor[State]().PkgPath() || t == reflect.TypeFor[requests]() || t == reflect.TypeFor[digests]() {
			return
		}
		for i := range v.NumField() {
			name := v.Type().Name() + "." + v.Type().Field(i).Name
			set[name] = set[name] || !v.Field(i).IsZero()
			look(set, v.Field(i))
		}
	}
}
