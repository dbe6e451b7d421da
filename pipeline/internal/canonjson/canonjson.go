// Package canonjson reads JSON that has one reading, and writes JSON that has one form.
//
// JSON leaves it open which of two equal keys counts (RFC 8259, section 4), and encoding/json takes keys in any letter case:
// of "layers" and "Layers" it sees the last one, where a registry or a container runtime sees the first. A document that is
// signed or hashed would then be checked as one thing and used as another. Here it is refused.
package canonjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDepth bounds the nesting of objects and lists.
const maxDepth = 32

// Decode reads one JSON document into v, a pointer. It refuses what readers may disagree on, at every level: a key that v does
// not know or that is spelled in another letter case, two keys that are equal when letter case is folded, text that is not
// UTF-8, half a surrogate pair, nesting of more than 32 levels, and anything after the document. The caller bounds the size
// of b.
func Decode(b []byte, v any) error { return decode(b, v, true) }

// DecodeOpen is Decode for a document in a format that may have grown: keys that v does not know are allowed, though what is
// in them has to have one reading as well. A struct that has a field of the type Unknown gets them there. The keys of a map
// whose elements have a type of their own, such as map[string]string, are data: they may differ in letter case alone.
func DecodeOpen(b []byte, v any) error { return decode(b, v, false) }

func decode(b []byte, v any, strict bool) error {
	if !utf8.Valid(b) {
		return errors.New("the JSON document is not UTF-8")
	}
	t := reflect.TypeOf(v)
	s := scanner{b: b, strict: strict}
	if err := s.value(t, 0); err != nil {
		return err
	}
	if s.space(); s.at < len(b) {
		return errors.New("there is something after the JSON document")
	}
	if err := json.Unmarshal(b, v); err != nil {
		return err
	}
	if strict || !keeps(t) {
		return nil
	}
	return keep(reflect.ValueOf(v), b)
}

// scanner goes over a document once and stops at what has two readings. What is not JSON it may let pass: encoding/json
// comes after it.
type scanner struct {
	b      []byte
	at     int
	strict bool
}

// value passes one value that is to become a t; nil stands for a value of which the keys are not known.
func (s *scanner) value(t reflect.Type, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested more than %d deep", maxDepth)
	}
	c, err := s.next()
	if err != nil {
		return err
	}
	t = shape(t)
	switch c {
	case '{':
		return s.object(t, depth)
	case '[':
		if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
			t = t.Elem()
		} else {
			t = nil
		}
		return s.members(']', func() error { return s.value(t, depth+1) })
	case '"':
		_, err := s.text()
		return err
	}
	from := s.at
	for s.at < len(s.b) && strings.IndexByte("+-.0123456789Eaeflnrstu", s.b[s.at]) >= 0 {
		s.at++ // a number, true, false or null
	}
	if s.at == from {
		r, _ := utf8.DecodeRune(s.b[s.at:])
		return fmt.Errorf("invalid character %q where a value is expected", r)
	}
	return nil
}

func (s *scanner) object(t reflect.Type, depth int) error {
	var known *fields
	data := false
	switch {
	case t == nil:
	case t.Kind() == reflect.Struct:
		known = fieldsOf(t)
	case t.Kind() == reflect.Map:
		t = t.Elem()
		data = !s.strict && shape(t) != nil
	default:
		t = nil // encoding/json tells that it is of the wrong kind
	}
	var seen map[string]string
	return s.members('}', func() error {
		if c, err := s.next(); err != nil {
			return err
		} else if c != '"' {
			return fmt.Errorf("invalid character %q where a key is expected", c)
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		folded := key
		if !data {
			folded = fold(key)
		}
		switch other, twice := seen[folded]; {
		case twice && other == key:
			return fmt.Errorf("key %.60q comes twice", key)
		case twice:
			return fmt.Errorf("key %.60q comes twice, also as %.60q", other, key)
		case seen == nil:
			seen = map[string]string{}
		}
		seen[folded] = key
		elem := t
		if known != nil {
			f, ok := known.named[key]
			if !ok && known.folded[folded] != "" {
				return fmt.Errorf("key %.60q has to be spelled %q", key, known.folded[folded])
			}
			if !ok && s.strict {
				return fmt.Errorf("key %.60q is unknown", key)
			}
			elem = f.Type
		}
		if c, err := s.next(); err != nil {
			return err
		} else if c != ':' {
			return fmt.Errorf("invalid character %q after key %.60q", c, key)
		}
		s.at++
		return s.value(elem, depth+1)
	})
}

// members passes the members of an object or a list, each with one call, from the bracket that opens it to the one that ends
// it.
func (s *scanner) members(end byte, one func() error) error {
	s.at++
	c, err := s.next()
	if err == nil && c == end {
		s.at++
		return nil
	}
	for err == nil {
		if err = one(); err != nil {
			return err
		}
		if c, err = s.next(); err != nil {
			return err
		}
		if s.at++; c == end {
			return nil
		}
		if c != ',' {
			return fmt.Errorf("invalid character %q where , or %c is expected", c, end)
		}
	}
	return err
}

// text passes a string, at whose quote the scanner stands, and returns it without its escapes.
func (s *scanner) text() (string, error) {
	from, escaped := s.at, false
	for s.at++; s.at < len(s.b) && s.b[s.at] != '"'; s.at++ {
		if s.b[s.at] == '\\' {
			escaped = true
			s.at++
		}
	}
	if s.at >= len(s.b) {
		return "", io.ErrUnexpectedEOF
	}
	s.at++
	raw := s.b[from:s.at]
	if !escaped {
		return string(raw[1 : len(raw)-1]), nil
	}
	if halfPair(raw) {
		return "", fmt.Errorf("%.60s has half a surrogate pair", raw)
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err
}

// halfPair reports whether a string has the escape of a surrogate without the other half of its pair. Go reads it as U+FFFD,
// and others as a character of its own or as an error (RFC 8259, section 8.2).
func halfPair(raw []byte) bool {
	high := false // the escape before this place was the first half
	for i := 0; i < len(raw); i++ {
		var unit uint64
		size := 1
		if raw[i] == '\\' {
			size = 2
			if i+6 <= len(raw) && raw[i+1] == 'u' {
				size = 6
				unit, _ = strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
			}
		}
		if low := unit>>10 == 0xdc00>>10; low != high {
			return true
		}
		high = unit>>10 == 0xd800>>10
		i += size - 1
	}
	return high
}

func (s *scanner) space() {
	for s.at < len(s.b) && (s.b[s.at] == ' ' || s.b[s.at] == '\t' || s.b[s.at] == '\r' || s.b[s.at] == '\n') {
		s.at++
	}
}

// next is the next byte that is not white space, which stays.
func (s *scanner) next() (byte, error) {
	if s.space(); s.at == len(s.b) {
		return 0, io.ErrUnexpectedEOF
	}
	return s.b[s.at], nil
}

// fold is a key in the one letter case of all keys that some reader takes for the same: those that encoding/json does, such
// as K and the Kelvin sign, and those with the same capital or small letter, such as i and the dotless ı.
func fold(key string) string {
	out := []rune(key)
	for i, r := range out {
		out[i] = smallest(unicode.ToLower(unicode.ToUpper(smallest(r))))
	}
	return string(out)
}

// smallest is the first of the characters that are the same under simple folding.
func smallest(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}

// Encode returns the canonical JSON of v: no white space, the keys of structs in their order, what Unknown holds behind them,
// the keys of maps sorted, and no newline.
func Encode(v any) ([]byte, error) {
	b, err := encode(v)
	if err != nil || v == nil || !keeps(reflect.TypeOf(v)) {
		return b, err
	}
	var out bytes.Buffer
	if err := join(&out, reflect.ValueOf(v), b); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Indent is Encode in the form of files that people read: two spaces for each level and one newline at the end.
func Indent(v any) ([]byte, error) {
	b, err := Encode(v)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// encode is json.Marshal that leaves <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Unknown are the keys of an object that its struct does not know, with their values. The field has the tag json:"-".
// They are kept for whoever passes the document on; nothing may be decided by them.
type Unknown map[string]json.RawMessage

// keep puts the unknown keys of the document b into v, which was read from it.
func keep(v reflect.Value, b []byte) error {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if !keeps(v.Type()) || b[0] == 'n' {
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		known := fieldsOf(v.Type())
		unknown := Unknown{}
		err := each(b, func(key string, raw json.RawMessage) error {
			f, ok := known.named[key]
			if !ok {
				unknown[key] = raw
				return nil
			}
			return keep(v.FieldByIndex(f.Index), raw)
		})
		if known.unknown != nil && len(unknown) > 0 {
			v.FieldByIndex(known.unknown).Set(reflect.ValueOf(unknown))
		}
		return err
	case reflect.Slice, reflect.Array:
		i := 0
		return each(b, func(_ string, raw json.RawMessage) error {
			i++
			return keep(v.Index(i-1), raw)
		})
	case reflect.Map:
		return each(b, func(key string, raw json.RawMessage) error {
			k := reflect.ValueOf(key).Convert(v.Type().Key())
			elem := reflect.New(v.Type().Elem()).Elem() // what is in a map cannot be changed in place
			elem.Set(v.MapIndex(k))
			err := keep(elem, raw)
			v.SetMapIndex(k, elem)
			return err
		})
	}
	return nil
}

// join writes b, the JSON of v, with the unknown keys in it.
func join(out *bytes.Buffer, v reflect.Value, b []byte) error {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if !keeps(v.Type()) || b[0] == 'n' {
		out.Write(b)
		return nil
	}
	first, i := true, 0
	member := func(key string, elem reflect.Value, raw []byte) error {
		if !first {
			out.WriteByte(',')
		}
		first = false
		if v.Kind() == reflect.Struct || v.Kind() == reflect.Map {
			name, err := encode(key)
			if err != nil {
				return err
			}
			out.Write(name)
			out.WriteByte(':')
		}
		return join(out, elem, raw)
	}
	out.WriteByte(b[0])
	err := each(b, func(key string, raw json.RawMessage) error {
		switch v.Kind() {
		case reflect.Struct:
			return member(key, v.FieldByIndex(fieldsOf(v.Type()).named[key].Index), raw)
		case reflect.Map:
			return member(key, v.MapIndex(reflect.ValueOf(key).Convert(v.Type().Key())), raw)
		}
		i++
		return member("", v.Index(i-1), raw)
	})
	if err != nil {
		return err
	}
	if v.Kind() == reflect.Struct && fieldsOf(v.Type()).unknown != nil {
		known := fieldsOf(v.Type())
		unknown := v.FieldByIndex(known.unknown).Interface().(Unknown)
		for _, key := range sortedKeys(unknown) {
			if name := known.folded[fold(key)]; name != "" {
				return fmt.Errorf("writing %T: unknown key %.60q is %q", v.Interface(), key, name)
			}
			raw, err := encode(unknown[key])
			if err != nil {
				return err
			}
			if err := member(key, reflect.ValueOf(unknown[key]), raw); err != nil {
				return err
			}
		}
	}
	out.WriteByte(b[len(b)-1])
	return nil
}

func sortedKeys(u Unknown) []string {
	keys := make([]string, 0, len(u))
	for key := range u {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// each calls one for every member of an object or a list, in their order.
func each(b []byte, one func(key string, raw json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	open, err := dec.Token()
	if err != nil {
		return err
	}
	for dec.More() {
		var key string
		if open == json.Delim('{') {
			token, err := dec.Token()
			if err != nil {
				return err
			}
			key, _ = token.(string)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		if err := one(key, raw); err != nil {
			return err
		}
	}
	return nil
}
