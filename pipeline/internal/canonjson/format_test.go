package canonjson_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
)

type document struct {
	Schema   string            `json:"schema"`
	Minor    int               `json:"minor,omitempty"`
	Requires []string          `json:"requires,omitempty"`
	Name     string            `json:"name"`
	Unknown  canonjson.Unknown `json:"-"`
}

func TestFormat(t *testing.T) {
	f := canonjson.Format{Schema: "slipway.test/v2", Minor: 1, Knows: []string{"wheels"}}
	for _, tt := range []struct {
		name, doc, want string
		newer           bool
		unknown         int
	}{
		{name: "of this version", doc: `{"schema":"slipway.test/v2","minor":1,"name":"a"}`},
		{name: "of an older minor version", doc: `{"schema":"slipway.test/v2","name":"a"}`},
		{name: "of a newer minor version", doc: `{"schema":"slipway.test/v2","minor":3,"name":"a","later":{"x":1},"more":[]}`, unknown: 2},
		{name: "of a newer minor version without its keys", doc: `{"schema":"slipway.test/v2","minor":3,"name":"a"}`},
		{name: "requiring what is known", doc: `{"schema":"slipway.test/v2","requires":["wheels"],"name":"a"}`},
		{name: "unknown key of this version", doc: `{"schema":"slipway.test/v2","minor":1,"name":"a","later":1}`, want: `key "later" is unknown`},
		{name: "unknown key of an older one", doc: `{"schema":"slipway.test/v2","name":"a","later":1}`, want: `key "later" is unknown`},
		{name: "later keys that are one", doc: `{"schema":"slipway.test/v2","minor":3,"name":"a","later":1,"LATER":2}`, want: `also as "LATER"`},
		{name: "a known key in other letters", doc: `{"schema":"slipway.test/v2","minor":3,"Name":"a"}`, want: `has to be spelled "name"`},
		{name: "the schema in other letters", doc: `{"Schema":"slipway.test/v2"}`, want: `has to be spelled "schema"`},
		{name: "requiring what is not known", doc: `{"schema":"slipway.test/v2","minor":3,"requires":["wheels","wings"],"name":"a"}`, want: `it requires "wings", which this version does not know; read it with a newer slipway`, newer: true},
		{name: "requiring it in this version", doc: `{"schema":"slipway.test/v2","requires":["wings"],"name":"a"}`, want: `it requires "wings"`, newer: true},
		{name: "of another major version", doc: `{"schema":"slipway.test/v3","title":"a"}`, want: `schema "slipway.test/v3" is not "slipway.test/v2"`, newer: true},
		{name: "another document", doc: `{"schema":"slipway.testing/v2","name":"a"}`, want: `schema "slipway.testing/v2" is not "slipway.test/v2"`},
		{name: "no schema", doc: `{"name":"a"}`, want: `schema "" is not`},
		{name: "no version", doc: `{"schema":"slipway.test/v2","minor":-1,"name":"a"}`, want: "minor -1 is not a version"},
		{name: "no JSON", doc: `{"schema":`, want: "unexpected EOF"},
	} {
		var d document
		err := f.Decode([]byte(tt.doc), &d, &d.Unknown)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if errors.Is(err, canonjson.ErrNewer) != tt.newer {
			t.Errorf("%s: %v is an ErrNewer: %t", tt.name, err, !tt.newer)
		}
		if err == nil && len(d.Unknown) != tt.unknown {
			t.Errorf("%s: kept %s", tt.name, d.Unknown)
		}
	}
}

func TestSame(t *testing.T) {
	for _, tt := range []struct{ b, canonical, want string }{
		{"", "", ""},
		{"abc", "abc", ""},
		{"abc", "abd", "not in canonical form from byte 3 on"},
		{"abc ", "abc", "not in canonical form from byte 4 on"},
		{"ab", "abc", "not in canonical form from byte 3 on"},
	} {
		got := ""
		if err := canonjson.Same([]byte(tt.b), []byte(tt.canonical)); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q, %q: %q, want %q", tt.b, tt.canonical, got, tt.want)
		}
	}
}

// FuzzExact holds the short way, which believes what is written again as it was read, to the long one.
func FuzzExact(f *testing.F) {
	format := canonjson.Format{Schema: "slipway.test/v2", Minor: 1, Knows: []string{"wheels"}}
	for _, doc := range []string{
		`{"schema":"slipway.test/v2","name":"a"}`, `{"schema":"slipway.test/v2","minor":1,"requires":["wheels"],"name":"a"}`,
		`{"schema":"slipway.test/v2","name":"a","name":"a"}`, `{"schema":"slipway.test/v2","Name":"a"}`, `{"schema":"slipway.test/v2","name":"a","later":1}`,
		`{"schema":"slipway.test/v2","minor":3,"name":"a","later":{"x":1}}`, `{"schema":"slipway.test/v3","name":"a"}`, `{"schema":"slipway.test/v2","minor":-1,"name":"a"}`,
		`{"schema":"slipway.test/v2","requires":["wings"],"name":"a"}`, `{"schema":"slipway.test/v2", "name":"a"}`, `{"schema":"slipway.test/v2","name":"\u0061"}`,
		`{"schema":"slipway.test/v2","name":"a"} `, "{\"schema\":\"slipway.test/v2\",\"name\":\"\xff\"}", `{"schema":"slipway.test/v2","name":"\ud800"}`, `null`, `[]`, `{`,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var short, long document
		err := format.Exact(b, &short, &short.Unknown, canonjson.Encode)
		want := format.Decode(b, &long, &long.Unknown)
		if want == nil {
			var canonical []byte
			if canonical, want = canonjson.Encode(&long); want == nil {
				want = canonjson.Same(b, canonical)
			}
		}
		if fmt.Sprint(err) != fmt.Sprint(want) || errors.Is(err, canonjson.ErrNewer) != errors.Is(want, canonjson.ErrNewer) {
			t.Fatalf("%q: %v, and the long way says %v", b, err, want)
		}
		if err == nil && !reflect.DeepEqual(short, long) {
			t.Errorf("%q: %+v, and the long way reads %+v", b, short, long)
		}
	})
}
