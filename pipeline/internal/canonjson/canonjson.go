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
// of b. A struct that has a field of the type Unknown gets the keys of the outermost object there that it does not know; what
// is in them has to have one reading as well.
func Decode(b []byte, v any) error { return decode(b, v, true) }

// DecodeOpen is Decode for a document in a format of others, which has keys that v does not know by right. They are allowed
// everywhere and lost. The keys of a map whose elements have a type of their own, such as map[string]string, are data: they
// may differ in letter case alone.
func DecodeOpen(b []byte, v any) error { return decode(b, v, false) }

func decode(b []byte, v any, strict bool) error {
	if !utf8.Valid(b) {
		return errors.New("the JSON document is not UTF-8")
	}
	s := scanner{b: b, strict: strict}
	if err := s.value(reflect.TypeOf(v), 0); err != nil {
		return err
	}
	if s.space(); s.at < len(b) {
		return errors.New("there is something after the JSON document")
	}
	if err := json.Unmarshal(b, v); err != nil {
		return err
	}
	if keeper := unknownOf(reflect.ValueOf(v)); strict && keeper.IsValid() {
		keeper.Set(reflect.ValueOf(s.unknown))
	}
	return nil
}

// scanner goes over a document once and stops at what has two readings. What is not JSON it may let pass: encoding/json
// comes after it.
type scanner struct {
	b      []byte
	at     int
	strict bool

	unknown Unknown
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
		elem, kept := t, false
		if known != nil {
			f, ok := known.named[key]
			if !ok && known.folded[folded] != "" {
				return fmt.Errorf("key %.60q has to be spelled %q", key, known.folded[folded])
			}
			kept = !ok && s.strict && depth == 0 && known.unknown != nil
			if !ok && s.strict && !kept {
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
		s.space()
		from := s.at
		err = s.value(elem, depth+1)
		if kept {
			s.unknown = append(s.unknown, Member{key, bytes.Clone(s.b[from:s.at])})
		}
		return err
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
		return "", fmt.Errorf("half a surrogate pair in the text at byte %d", from) // which may be a secret
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
	if err != nil || v == nil {
		return b, err
	}
	keeper := unknownOf(reflect.ValueOf(v))
	if !keeper.IsValid() || keeper.Len() == 0 {
		return b, nil
	}
	known, seen := fieldsOf(shape(reflect.TypeOf(v))), map[string]bool{}
	out := bytes.NewBuffer(bytes.TrimSuffix(b, []byte("}")))
	for _, m := range keeper.Interface().(Unknown) {
		folded := fold(m.Key)
		if known.folded[folded] != "" || seen[folded] {
			return nil, fmt.Errorf("writing %T: unknown key %.60q is there already", v, m.Key)
		}
		seen[folded] = true
		key, err := encode(m.Key)
		if err != nil {
			return nil, err
		}
		value, err := encode(m.Value)
		if err != nil {
			return nil, err
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		fmt.Fprintf(out, "%s:%s", key, value)
	}
	out.WriteByte('}')
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

// Unknown are the members of an object that its struct does not know, in their order. The field has the tag json:"-". They are
// kept for programs that pass the document on; nothing may be decided by them.
type Unknown []Member

// Member is a key with its value, as it was written.
type Member struct {
	Key   string
	Value json.RawMessage
}

// unknownOf is where the struct behind v keeps its unknown keys; not valid for a v that does not.
func unknownOf(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || shape(v.Type()) == nil || fieldsOf(v.Type()).unknown == nil {
		return reflect.Value{}
	}
	return v.FieldByIndex(fieldsOf(v.Type()).unknown)
}
