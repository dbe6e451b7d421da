package canonjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Format is the beginning of a document of ours: a schema, which names a major version that a reader refuses if it is not its own; a
// minor version, which adds keys at the top of the document and only facts that no check depends on, so that an older reader
// is right without them; and what a reader has to know besides to be right. Its values are those that this version of the program
// reads and writes. docs/formats.md has these rules for people.
type Format struct {
	Schema string   // the name with the major version: slipway.release/v1
	Minor  int      // whose keys are all known
	Knows  []string // what a document may require
}

// Head is the beginning of a document.
type Head struct {
	Schema   string   `json:"schema"`
	Minor    int      `json:"minor"`
	Requires []string `json:"requires"`
}

// ErrNewer is the error of a document that is well formed for all that this version can tell, and that it cannot read.
var ErrNewer = errors.New("written by a version of slipway that is not this one")

// newer is an ErrNewer in words of its own.
type newer string

func (e newer) Error() string      { return string(e) }
func (newer) Is(target error) bool { return target == ErrNewer }

// Decode reads a document into v, a pointer to a struct, as the function Decode does. Unknown is where v keeps the keys that it
// does not know: there are none but in a document of a later minor version. An ErrNewer says that the document is of
// another major version, or requires what this version does not know; then v is as it was.
func (f Format) Decode(b []byte, v any, unknown *Unknown) error {
	var h Head
	if err := DecodeOpen(b, &h); err != nil {
		return err
	}
	if err := f.Check(h, nil); err != nil {
		return err
	}
	if err := Decode(b, v); err != nil {
		return err
	}
	return f.Check(h, *unknown)
}

// Exact is Decode for a document that is in the form which encode gives it. Another form is an error, which says from which byte on it is
// another; v has to be empty.
func (f Format) Exact(b []byte, v any, unknown *Unknown, encode func(any) ([]byte, error)) error {
	// What is written as it was read has one reading: another key, or one more, would not have come back.
	doc := reflect.ValueOf(v).Elem()
	if len(b) <= maxExact && json.Unmarshal(b, v) == nil {
		if again, err := encode(v); err == nil && bytes.Equal(b, again) && f.Check(headOf(doc), nil) == nil {
			return nil
		}
	}
	doc.SetZero()
	if err := f.Decode(b, v, unknown); err != nil {
		return err
	}
	canonical, err := encode(v)
	if err != nil {
		return err
	}
	return Same(b, canonical)
}

// maxExact bounds what is decoded before it has been looked at; a longer document takes more time, and is read as well.
const maxExact = 256 << 10

// headOf is the beginning of a document that has been read.
func headOf(doc reflect.Value) (h Head) {
	from := reflect.ValueOf(&h).Elem()
	for i := range from.NumField() {
		if field := doc.FieldByName(from.Type().Field(i).Name); field.IsValid() {
			from.Field(i).Set(field)
		}
	}
	return h
}

// Check says why a document is not one that this version reads.
func (f Format) Check(h Head, unknown Unknown) error {
	name, _, _ := strings.Cut(f.Schema, "/")
	switch {
	case !strings.HasPrefix(h.Schema, name+"/"):
		return fmt.Errorf("schema %.60q is not %q", h.Schema, f.Schema)
	case h.Schema != f.Schema:
		return newer(fmt.Sprintf("schema %.60q is not %q; read it with the version of slipway that wrote it", h.Schema, f.Schema))
	case h.Minor < 0:
		return fmt.Errorf("minor %d is not a version", h.Minor)
	}
	for _, what := range h.Requires {
		if !slices.Contains(f.Knows, what) {
			return newer(fmt.Sprintf("it requires %.60q, which this version does not know; read it with a newer slipway", what))
		}
	}
	if len(unknown) > 0 && h.Minor <= f.Minor {
		return fmt.Errorf("key %.60q is unknown", unknown[0].Key)
	}
	return nil
}

// ErrForm is the error of a document that has another form than its canonical one.
var ErrForm = errors.New("not in canonical form")

// Same tells where a document differs from its canonical form; nil for one that does not.
func Same(b, canonical []byte) error {
	at := 0
	for at < min(len(b), len(canonical)) && b[at] == canonical[at] {
		at++
	}
	if at == len(b) && at == len(canonical) {
		return nil
	}
	return fmt.Errorf("%w from byte %d on", ErrForm, at+1)
}
