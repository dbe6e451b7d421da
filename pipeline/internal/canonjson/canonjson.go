// Package canonjson reads JSON that has one reading, whole or as a stream, and writes JSON that has one form. Format has the rules
// by which our own documents grow.
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
	"reflect"
	"unicode/utf8"
)

// maxSize is what a document may take in memory, in bytes. A short one can take much: a list of {} is a list of structs.
const maxSize = 48 << 20

var (
	errAfter = errors.New("there is something after the JSON document")
	errDeep  = fmt.Errorf("nested more than %d deep", maxDepth)
	errSize  = fmt.Errorf("it takes more than %d bytes of memory", maxSize)
)

// Decode reads one JSON document into v, a pointer. It refuses what readers may disagree on, at every level: a key that v does
// not know or that is spelled in another letter case, two keys that are equal when letter case is folded, text that is not
// UTF-8, half a surrogate pair, nesting of more than 32 levels, anything after the document, and what takes more than 48 MiB in v.
// The caller bounds the size of b. A struct that has a field of the type Unknown gets the keys of the outermost object there that it does not know; what
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
	s := scanner{lexer: lexer{b: b, mark: -1}, strict: strict}
	if err := s.value(reflect.TypeOf(v), 0); err != nil {
		return err
	}
	if err := s.done(); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return err
	}
	if keeper := unknownOf(reflect.ValueOf(v)); strict && keeper.IsValid() {
		keeper.Set(reflect.ValueOf(s.unknown))
	}
	return nil
}

// scanner passes a document as that which it is to become.
type scanner struct {
	lexer
	strict bool
	size   uintptr // bytes of memory

	unknown Unknown
}

// value passes one value that is to become a kept; nil stands for a value that is lost.
func (s *scanner) value(kept reflect.Type, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	c, err := s.next()
	if err != nil {
		return err
	}
	t := shape(kept)
	var each reflect.Type // what an element of a list becomes
	var size uintptr      // and takes
	switch {
	case t != nil && kept.Kind() == reflect.Pointer:
		size = t.Size()
	case t != nil || kept == nil:
	case kept.Kind() == reflect.Interface: // anything
		each, size = kept, 64
	}
	if s.size += size; s.size > maxSize {
		return errSize
	}
	switch c {
	case '{':
		return s.members(t, each, depth)
	case '[':
		size = 0
		if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
			each, size = t.Elem(), 2*t.Elem().Size() // half of a list that grows is unused
		}
		return s.lexer.members(']', func() error {
			if s.size += size; s.size > maxSize {
				return errSize
			}
			return s.value(each, depth+1)
		})
	case '"':
		_, _, err = s.quoted()
	default:
		_, err = s.word()
	}
	return err
}

// members passes an object that is to become a t, or what has values of the type each.
func (s *scanner) members(t, each reflect.Type, depth int) error {
	var known *fields
	var size uintptr
	data := false
	switch {
	case t == nil && each != nil:
		size = 64
	case t == nil:
	case t.Kind() == reflect.Struct:
		known = fieldsOf(t)
	case t.Kind() == reflect.Map:
		each = t.Elem()
		size = 2*each.Size() + 64
		data = !s.strict && shape(each) != nil
	}
	return s.object(data, func(key, folded string) error {
		if s.size += size; s.size > maxSize {
			return errSize
		}
		elem, kept := each, false
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
		from := s.at
		err := s.value(elem, depth+1)
		if kept {
			s.unknown = append(s.unknown, Member{key, bytes.Clone(s.b[from:s.at])})
		}
		return err
	})
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
