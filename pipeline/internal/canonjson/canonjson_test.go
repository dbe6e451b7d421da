package canonjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
)

// image has the shapes that documents have: lists, maps, pointers, promoted fields, types that read themselves.
type image struct {
	head
	Layers      []layer                    `json:"layers"`
	Config      *layer                     `json:"config,omitempty"`
	Annotations map[string]string          `json:"annotations,omitempty"`
	Parts       map[string]layer           `json:"parts,omitempty"`
	Pair        [2]layer                   `json:"pair,omitzero"`
	Any         any                        `json:"any,omitempty"`
	Raw         json.RawMessage            `json:"raw,omitempty"`
	Raws        map[string]json.RawMessage `json:"raws,omitempty"`
	Time        time.Time                  `json:"time,omitzero"`
	Plain       string
	hidden      string
}

type head struct {
	Kind string `json:"kind,omitempty"`
}

type layer struct {
	Size int64  `json:"size"`
	Next *layer `json:"next,omitempty"`
}

func TestDecode(t *testing.T) {
	deep := func(n int) string { return `{"any":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	for name, tt := range map[string]struct{ doc, strict, open string }{ // "" where it is read
		"all known":              {`{"kind":"a","layers":[{"size":1}],"config":{"size":2,"next":{"size":3}},"parts":{"a":{"size":4}},"any":{"x":[1]}}`, "", ""},
		"white space":            {" \t\r\n{ \"layers\" : [ { \"size\" : 1 } , { } ] } \n", "", ""},
		"no tag":                 {`{"Plain":"x"}`, "", ""},
		"null":                   {`{"layers":null,"config":null,"parts":null}`, "", ""},
		"a type of its own":      {`{"time":"2026-01-02T03:04:05Z"}`, "", ""},
		"unknown":                {`{"extra":1}`, `key "extra" is unknown`, ""},
		"unknown deeper":         {`{"layers":[{"size":1,"extra":1}]}`, `key "extra" is unknown`, ""},
		"unknown in a map":       {`{"parts":{"a":{"extra":1}}}`, `key "extra" is unknown`, ""},
		"unexported":             {`{"hidden":"x"}`, `key "hidden" is unknown`, ""},
		"twice":                  {`{"layers":[],"layers":[]}`, `key "layers" comes twice`, `key "layers" comes twice`},
		"twice, escaped":         {`{"layers":[],"\u006cayers":[]}`, `key "layers" comes twice`, `key "layers" comes twice`},
		"twice, deeper":          {`{"layers":[{"size":1,"size":2}]}`, `key "size" comes twice`, `key "size" comes twice`},
		"twice, not known":       {`{"x":{"a":1,"a":2}}`, `key "x" is unknown`, `key "a" comes twice`},
		"twice, in an any":       {`{"any":{"a":1,"a":2}}`, `key "a" comes twice`, `key "a" comes twice`},
		"capital behind":         {`{"layers":[],"Layers":[]}`, `key "layers" comes twice, also as "Layers"`, `also as "Layers"`},
		"capital before":         {`{"Layers":[],"layers":[]}`, `key "Layers" has to be spelled "layers"`, `has to be spelled "layers"`},
		"capital alone":          {`{"LAYERS":[]}`, `has to be spelled "layers"`, `has to be spelled "layers"`},
		"small alone":            {`{"plain":"x"}`, `has to be spelled "Plain"`, `has to be spelled "Plain"`},
		"promoted":               {`{"Kind":"x"}`, `has to be spelled "kind"`, `has to be spelled "kind"`},
		"capital deeper":         {`{"config":{"Size":1}}`, `has to be spelled "size"`, `has to be spelled "size"`},
		"long s":                 {`{"layerſ":[]}`, `has to be spelled "layers"`, `has to be spelled "layers"`},
		"long s, escaped":        {`{"layer\u017f":[]}`, `has to be spelled "layers"`, `has to be spelled "layers"`},
		"dotless i":              {`{"conf\u0131g":{}}`, `has to be spelled "config"`, `has to be spelled "config"`},
		"dotted I":               {`{"CONF\u0130G":{}}`, `has to be spelled "config"`, `has to be spelled "config"`},
		"Kelvin sign":            {`{"\u212aind":"x"}`, `has to be spelled "kind"`, `has to be spelled "kind"`},
		"Kelvin, not known":      {`{"x":{"k":1,"` + "\u212a" + `":2}}`, "is unknown", `key "k" comes twice, also as "` + "\u212a" + `"`},
		"Greek, not known":       {`{"x":{"σ":1,"ς":2}}`, "is unknown", `key "σ" comes twice, also as "ς"`},
		"case, not known":        {`{"x":[{"a":1,"A":2}]}`, "is unknown", `also as "A"`},
		"case, in an any":        {`{"any":{"a":1,"A":2}}`, `also as "A"`, `also as "A"`},
		"case, in a raw":         {`{"raw":{"a":1,"A":2}}`, `also as "A"`, `also as "A"`},
		"case, in raws":          {`{"raws":{"a":1,"A":2}}`, `also as "A"`, `also as "A"`},
		"case, in a map":         {`{"annotations":{"a":"","A":""}}`, `also as "A"`, ""},
		"twice, in a map":        {`{"annotations":{"a":"","a":""}}`, `"a" comes twice`, `"a" comes twice`},
		"same in other objects":  {`{"layers":[{"size":1},{"size":2}]}`, "", ""},
		"accents differ":         {`{"x":{"e":1,"é":2}}`, "is unknown", ""},
		"wrong kind":             {`{"layers":{"a":1}}`, "cannot unmarshal object", "cannot unmarshal object"},
		"wrong kind, twice":      {`{"layers":{"a":1,"A":1}}`, `also as "A"`, `also as "A"`},
		"fraction":               {`{"layers":[{"size":1.0}]}`, "cannot unmarshal number", "cannot unmarshal number"},
		"exponent":               {`{"layers":[{"size":1e2}]}`, "cannot unmarshal number", "cannot unmarshal number"},
		"too large":              {`{"layers":[{"size":9223372036854775808}]}`, "cannot unmarshal number", "cannot unmarshal number"},
		"too large for a float":  {`{"any":1e999}`, "cannot unmarshal number", "cannot unmarshal number"},
		"leading zero":           {`{"any":01}`, "invalid character", "invalid character"},
		"plus":                   {`{"any":+1}`, "invalid character", "invalid character"},
		"hexadecimal":            {`{"any":0x1}`, "invalid character", "invalid character"},
		"NaN":                    {`{"any":NaN}`, "invalid character", "invalid character"},
		"comment":                {`{"any":1}//`, "something after", "something after"},
		"comma at the end":       {`{"any":[1,]}`, "invalid character ']'", "invalid character ']'"},
		"comma at the end of {}": {`{"any":1,}`, "invalid character '}'", "invalid character '}'"},
		"no comma":               {`{"any":1 "kind":""}`, `invalid character '"'`, `invalid character '"'`},
		"no colon":               {`{"any" 1}`, "invalid character '1'", "invalid character '1'"},
		"no key":                 {`{1:1}`, "invalid character '1'", "invalid character '1'"},
		"single quotes":          {`{'any':1}`, `invalid character '\''`, `invalid character '\''`},
		"wrong bracket":          {`{"any":[1}`, "invalid character '}'", "invalid character '}'"},
		"control character":      {"{\"any\":\"a\nb\"}", "invalid character", "invalid character"},
		"not UTF-8":              {"{\"any\":\"\xff\"}", "not UTF-8", "not UTF-8"},
		"surrogate in UTF-8":     {"{\"any\":\"\xed\xa0\x80\"}", "not UTF-8", "not UTF-8"},
		"overlong":               {"{\"any\":\"\xc0\xaf\"}", "not UTF-8", "not UTF-8"},
		"half a pair":            {`{"any":"\ud83d"}`, "half a surrogate pair", "half a surrogate pair"},
		"half a pair and more":   {`{"any":"\ud83dx"}`, "half a surrogate pair", "half a surrogate pair"},
		"two first halves":       {`{"any":"\ud83d\ud83d\ude00"}`, "half a surrogate pair", "half a surrogate pair"},
		"the other half":         {`{"any":"\ude00"}`, "half a surrogate pair", "half a surrogate pair"},
		"half a pair in a key":   {`{"x\ud83d":1}`, "half a surrogate pair", "half a surrogate pair"},
		"half behind a \\":       {`{"any":"\\\ud83d"}`, "half a surrogate pair", "half a surrogate pair"},
		"no escape":              {`{"any":"\\ud83d"}`, "", ""},
		"a pair":                 {`{"any":"\uD83D\uDE00 \ufffd"}`, "", ""},
		"BOM":                    {"\ufeff{}", `invalid character '\ufeff'`, `invalid character '\ufeff'`},
		"UTF-16":                 {"{\x00}\x00", "invalid character", "invalid character"},
		"two documents":          {`{}{}`, "something after the JSON document", "something after the JSON document"},
		"text after":             {`{} x`, "something after the JSON document", "something after the JSON document"},
		"a zero byte after":      {"{}\x00", "something after the JSON document", "something after the JSON document"},
		"nothing":                {"", "unexpected EOF", "unexpected EOF"},
		"cut in a list":          {`{"layers":[`, "unexpected EOF", "unexpected EOF"},
		"cut in a key":           {`{"lay`, "unexpected EOF", "unexpected EOF"},
		"cut in an escape":       {`{"lay\`, "unexpected EOF", "unexpected EOF"},
		"cut behind a key":       {`{"layers"`, "unexpected EOF", "unexpected EOF"},
		"31 lists deep":          {deep(31), "", ""},
		"33 lists deep":          {deep(33), "nested more than 32 deep", "nested more than 32 deep"},
		"a million deep":         {`{"any":` + strings.Repeat("[", 1e6), "nested more than 32 deep", "nested more than 32 deep"},
		"deep and not known":     {`{"x":` + strings.Repeat(`{"a":`, 1e6), "is unknown", "nested more than 32 deep"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, how := range []struct {
				name   string
				decode func([]byte, any) error
				want   string
			}{{"Decode", canonjson.Decode, tt.strict}, {"DecodeOpen", canonjson.DecodeOpen, tt.open}} {
				err := how.decode([]byte(tt.doc), &image{hidden: "x"})
				switch {
				case how.want == "" && err != nil:
					t.Errorf("%s: %v", how.name, err)
				case how.want != "" && (err == nil || !strings.Contains(err.Error(), how.want)):
					t.Errorf("%s: error %v, want %q", how.name, err, how.want)
				}
			}
			sameAsReader(t, tt.doc)
		})
	}
}

// sameAsReader holds a Reader, to which a document comes byte by byte, to what DecodeOpen takes.
func sameAsReader(t *testing.T, doc string) {
	t.Helper()
	if strings.TrimLeft(doc, " \t\r\n") == "null" || len(doc) > 1<<20 {
		return
	}
	var want map[string]json.RawMessage
	wantErr := canonjson.DecodeOpen([]byte(doc), &want)
	keys := 0
	err := canonjson.NewReader(iotest.OneByteReader(strings.NewReader(doc))).Document(func(key string) error {
		if _, ok := want[key]; !ok && wantErr == nil {
			t.Errorf("%q: the reader finds the key %q", doc, key)
		}
		keys++
		return nil
	})
	if (err == nil) != (wantErr == nil) || err == nil && keys != len(want) {
		t.Errorf("%q: DecodeOpen %v with %d keys, the reader %v with %d", doc, wantErr, len(want), err, keys)
	}
}

// TestReader asks for what a document has, and for what it has not.
func TestReader(t *testing.T) {
	doc := `{"skipped": [{"a": "x"}], "list": ["a", null, "\u0062"], "none": null, "object": {"name": "c", "other": [1]}, "text": "d"}`
	read := func(as map[string]func(r *canonjson.Reader) error) error {
		r := canonjson.NewReader(strings.NewReader(doc))
		return r.Document(func(key string) error {
			if f := as[key]; f != nil {
				return f(r)
			}
			return nil
		})
	}
	var got []string
	text := func(r *canonjson.Reader) error {
		s, err := r.Text()
		got = append(got, s)
		return err
	}
	list := func(r *canonjson.Reader) error { return r.List(func() error { return text(r) }) }
	object := func(r *canonjson.Reader) error {
		return r.Object(func(key string) error {
			if key == "name" {
				return text(r)
			}
			return nil
		})
	}
	for _, none := range []func(*canonjson.Reader) error{text, list, object} {
		got = nil
		if err := read(map[string]func(*canonjson.Reader) error{"list": list, "none": none, "object": object, "text": text}); err != nil {
			t.Fatal(err)
		}
		if s := strings.Join(got, ","); s != "a,,b,c,d" && s != "a,,b,,c,d" {
			t.Errorf("read %q", s)
		}
	}
	for want, as := range map[string]map[string]func(*canonjson.Reader) error{
		`'"' at byte 118, where an object is expected`: {"text": object},
		`where a list is expected`:                     {"object": list},
		`where a text is expected`:                     {"list": text},
		"a value is passed twice":                      {"text": func(r *canonjson.Reader) error { return errors.Join(text(r), text(r)) }},
	} {
		if err := read(as); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := canonjson.NewReader(iotest.ErrReader(io.ErrClosedPipe)).Document(func(string) error { return nil }); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a stream that breaks: %v", err)
	}
}

// TestMemory has small documents that take much.
func TestMemory(t *testing.T) {
	var keys strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&keys, `"%d":0,`, i)
	}
	for name, tt := range map[string]struct{ doc, want string }{
		"structs":  {`{"layers":[` + strings.Repeat("{},", 3<<20) + `{}]}`, "bytes of memory"},
		"anything": {`{"any":[` + strings.Repeat("0,", 1<<20) + `0]}`, "bytes of memory"},
		"keys":     {`{"parts":{` + keys.String() + `"x":0}}`, "too many keys"},
		"lost":     {`{"lost":[` + strings.Repeat("{},", 1<<20) + `{}]}`, ""},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := canonjson.DecodeOpen([]byte(tt.doc), &image{})
		runtime.ReadMemStats(&after)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 100<<20 {
			t.Errorf("%s: a document of %d bytes takes %d MiB", name, len(tt.doc), took>>20)
		}
	}
	long := `{"text":"` + strings.Repeat("x", 9<<20) + `"}`
	if err := canonjson.NewReader(strings.NewReader(long)).Document(func(string) error { return nil }); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a text of 9 MiB: %v", err)
	}
}

// grown keeps what a later version wrote.
type grown struct {
	head
	Layers  []layer           `json:"layers,omitempty"`
	Unknown canonjson.Unknown `json:"-"`
}

// TestUnknown passes a document of a later version on.
func TestUnknown(t *testing.T) {
	in := `{"kind":"x", "layers":[{"size":1}],"later": {"z":1, "a":[1.50]},"also":true,"<":null}`
	var g grown
	if err := canonjson.Decode([]byte(in), &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Unknown) != 3 || g.Unknown[0].Key != "later" || string(g.Unknown[0].Value) != `{"z":1, "a":[1.50]}` {
		t.Errorf("kept %s", g.Unknown)
	}
	want := `{"kind":"x","layers":[{"size":1}],"later":{"z":1,"a":[1.50]},"also":true,"<":null}`
	for _, v := range []any{g, &g} {
		if b, err := canonjson.Encode(v); err != nil || string(b) != want {
			t.Errorf("Encode: %v\n%s, want\n%s", err, b, want)
		}
	}
	if b, err := canonjson.Encode(grown{Unknown: g.Unknown[1:2]}); err != nil || string(b) != `{"also":true}` {
		t.Errorf("nothing but an unknown key is written as %s, %v", b, err)
	}
	if err := canonjson.Decode([]byte(`{"kind":"y"}`), &g); err != nil || len(g.Unknown) != 0 {
		t.Errorf("of a document without any, %s is kept, %v", g.Unknown, err)
	}
	for doc, want := range map[string]string{
		`{"layers":[{"size":1,"later":1}]}`: `key "later" is unknown`,
		`{"later":1,"Later":2}`:             `key "later" comes twice, also as "Later"`,
		`{"later":{"a":1,"A":2}}`:           `key "a" comes twice, also as "A"`,
		`{"Layers":[]}`:                     `has to be spelled "layers"`,
		`{"Unknown":[]}`:                    "",
		`null`:                              "",
	} {
		if err := canonjson.Decode([]byte(doc), &grown{}); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
	for _, key := range []string{"layers", "Layers", "layer\u017f", "kind"} {
		if b, err := canonjson.Encode(grown{Unknown: canonjson.Unknown{{Key: key, Value: json.RawMessage("[]")}}}); err == nil {
			t.Errorf("%s is written as an unknown key: %s", key, b)
		}
	}
	twice := canonjson.Unknown{{Key: "a", Value: json.RawMessage("1")}, {Key: "A", Value: json.RawMessage("2")}}
	if b, err := canonjson.Encode(grown{Unknown: twice}); err == nil {
		t.Errorf("two unknown keys that are one are written: %s", b)
	}
}

func TestEncode(t *testing.T) {
	for _, tt := range []struct {
		name         string
		v            any
		want         string
		wantIndented string
	}{
		{"nil", nil, "null", "null\n"},
		{"no HTML", map[string]string{"b": "<a&b>", "a": "\u2028"}, `{"a":"\u2028","b":"<a&b>"}`, "{\n  \"a\": \"\\u2028\",\n  \"b\": \"<a&b>\"\n}\n"},
		{"empty", struct {
			A []string       `json:"a"`
			B map[string]int `json:"b"`
		}{[]string{}, map[string]int{}}, `{"a":[],"b":{}}`, "{\n  \"a\": [],\n  \"b\": {}\n}\n"},
		{"a nil pointer", (*layer)(nil), "null", "null\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if b, err := canonjson.Encode(tt.v); err != nil || string(b) != tt.want {
				t.Errorf("Encode: %s, %v; want %s", b, err, tt.want)
			}
			if b, err := canonjson.Indent(tt.v); err != nil || string(b) != tt.wantIndented {
				t.Errorf("Indent: %q, %v; want %q", b, err, tt.wantIndented)
			}
		})
	}
	if _, err := canonjson.Encode(make(chan int)); err == nil {
		t.Error("a channel is JSON")
	}
	if _, err := canonjson.Indent(func() {}); err == nil {
		t.Error("a function is JSON")
	}
}

// FuzzDecode holds what is accepted to one reading: encoding/json reads the same from it, what is written from it is read as
// the same and written as the same bytes.
func FuzzDecode(f *testing.F) {
	f.Add(`{"kind":"x","layers":[{"size":1,"next":{"size":2,"y":0}}],"annotations":{"a":"b"},"parts":{"a":{"size":1}},"any":[1,{"x":null}],"z":1}`)
	f.Add(`{"layers":[],"\u006cayers":[{}],"Layers":null}`)
	f.Add(`{"any":"\ud83d\ude00","raw":1.0,"raws":{"a":{}},"pair":[{"size":1,"q":{}}]}`)
	f.Fuzz(func(t *testing.T, doc string) {
		sameAsReader(t, doc)
		var strict image
		if canonjson.Decode([]byte(doc), &strict) == nil {
			same(t, doc, strict)
		}
		var open image
		if canonjson.DecodeOpen([]byte(doc), &open) == nil {
			same(t, doc, open)
		} else if canonjson.Decode([]byte(doc), &open) == nil {
			t.Errorf("Decode reads %q and DecodeOpen does not", doc)
		}
		var kept grown
		if canonjson.Decode([]byte(doc), &kept) != nil {
			return
		}
		b, err := canonjson.Encode(kept)
		if err != nil {
			t.Fatalf("%q cannot be passed on: %v", doc, err)
		}
		var again grown
		if err := canonjson.Decode(b, &again); err != nil || len(again.Unknown) != len(kept.Unknown) {
			t.Errorf("%q is passed on as %s: %v", doc, b, err)
		}
	})
}

func same(t *testing.T, doc string, got image) {
	t.Helper()
	var plain image
	if err := json.Unmarshal([]byte(doc), &plain); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", doc, err)
	}
	if !reflect.DeepEqual(got, plain) {
		t.Errorf("%q is read as %+v, by encoding/json as %+v", doc, got, plain)
	}
	b, err := canonjson.Encode(got)
	if err != nil {
		t.Fatalf("%q cannot be written: %v", doc, err)
	}
	var again image
	if err := canonjson.DecodeOpen(b, &again); err != nil {
		t.Fatalf("%q is written as %s: %v", doc, b, err)
	}
	if b2, err := canonjson.Encode(again); err != nil || string(b2) != string(b) {
		t.Errorf("%s is written again as %s, %v", b, b2, err)
	}
}
