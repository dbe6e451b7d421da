package signature

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// maxDepth bounds the nesting of a JSON document from outside.
const maxDepth = 32

// unmarshal reads a JSON document that has one reading: encoding/json takes the last of two keys that are the same, and
// keys in any letter case, where another reader takes the first or none. Unknown keys are an error too.
func unmarshal(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := checkValue(dec, reflect.TypeOf(v), 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the JSON document")
	}
	return json.Unmarshal(b, v)
}

// checkValue reads one value that is to become one of type t; nil is any type.
func checkValue(dec *json.Decoder, t reflect.Type, depth int) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	token, err := dec.Token()
	if err != nil {
		return ended(err)
	}
	if depth > maxDepth {
		return fmt.Errorf("nested more than %d deep", maxDepth)
	}
	switch token {
	case json.Delim('{'):
		return checkObject(dec, t, depth)
	case json.Delim('['):
		var elem reflect.Type
		if t != nil && t.Kind() == reflect.Slice {
			elem = t.Elem()
		}
		for dec.More() {
			if err := checkValue(dec, elem, depth+1); err != nil {
				return err
			}
		}
		_, err := dec.Token()
		return ended(err)
	}
	return nil
}

func checkObject(dec *json.Decoder, t reflect.Type, depth int) error {
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return ended(err)
		}
		key, _ := token.(string)
		if seen[key] {
			return fmt.Errorf("key %.60q comes twice", key)
		}
		seen[key] = true
		value, ok := valueOf(t, key)
		if !ok {
			return fmt.Errorf("key %.60q is unknown", key)
		}
		if err := checkValue(dec, value, depth+1); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return ended(err)
}

// valueOf is the type of an object's value, and whether the object has such a key.
func valueOf(t reflect.Type, key string) (reflect.Type, bool) {
	switch {
	case t == nil || t.Kind() == reflect.Interface:
		return nil, true
	case t.Kind() == reflect.Map:
		return t.Elem(), true
	case t.Kind() != reflect.Struct:
		return nil, true // a value of the wrong kind, of which json.Unmarshal will tell
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name == key {
			return f.Type, true
		}
	}
	return nil, false
}

// ended says of a document that breaks off that it does so.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// marshal is the canonical JSON of v: no indentation, keys of structs in their order, keys of maps sorted, no newline.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
