package chartrepo

import (
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	helmchart "helm.sh/helm/v3/pkg/chart"
	helmyaml "sigs.k8s.io/yaml"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

var meta = &helmchart.Metadata{APIVersion: "v2", Name: "hello", Version: "1.2.3"}

func TestHostileIndex(t *testing.T) {
	bomb := "apiVersion: v1\na: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+",", 9), ",") + "]\n"
	}
	const head = "apiVersion: v1\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {"", ""},
		"no entries":        {head + "entries:\n", ""},
		"nothing at all":    {head, ""},
		"JSON":              {`{"apiVersion":"v1","entries":{"hello":[{"name":"hello","version":"1.0.0"}]},"generated":"2020-01-01T00:00:00Z"}`, ""},
		"null for a list":   {head + "entries: {hello: null, other: [null]}\n", ""},
		"no quotes":         {head + "entries: {}\ngenerated: 2016-10-06T16:23:20.499814565-06:00\n", ""},
		"aliases":           {bomb + "entries: {}\n", ""}, // nothing unfolds them
		"a list":            {"[]\n", "line 1: it is not a mapping"},
		"other version":     {"apiVersion: v2\nentries: {}\n", "apiVersion is not v1"},
		"version an alias":  {"x: &x v1\napiVersion: *x\nentries: {}\n", "apiVersion is not a plain value"},
		"entries a list":    {head + "entries: []\n", "line 2: it is not a mapping"},
		"entry a string":    {head + "entries: {hello: yes}\n", "not a list of versions"},
		"version a list":    {head + "entries: {hello: [[]]}\n", "line 2: it is not a mapping"},
		"alias of entries":  {head + "x: &x {hello: []}\nentries: *x\n", "line 3: it is not a mapping"},
		"alias of entry":    {head + "x: &x [{name: hello}]\nentries: {hello: *x}\n", "not a list of versions"},
		"alias of version":  {head + "x: &x 1.2.3\nentries: {hello: [{name: hello, version: *x}]}\n", "version is not a plain value"},
		"merged version":    {head + "x: &x {version: 1.2.3}\nentries: {hello: [{<<: *x, name: hello}]}\n", "a key stands for something else"},
		"merged entries":    {head + "x: &x {hello: []}\nentries: {<<: *x}\n", "a key stands for something else"},
		"alias as key":      {head + "x: &x hello\nentries: {*x : []}\n", "a key stands for something else"},
		"name twice":        {head + "entries: {hello: [], hello: [{version: 1.2.3}]}\n", `"hello" comes twice`},
		"version twice":     {head + "entries: {hello: [{version: 1.0.0, version: 1.2.3}]}\n", `"version" comes twice`},
		"digest a list":     {head + "entries: {hello: [{digest: []}]}\n", "digest is not a plain value"},
		"a time is a list":  {head + "entries: {}\ngenerated: []\n", "generated is not a time"},
		"two documents":     {head + "entries: {}\n---\n{}\n", "more than one document"},
		"no YAML":           {"{{{", "it is not YAML"},
		"a page":            {"<!DOCTYPE html>\n<html><body>404</body></html>\n", "it is not a mapping"},
		"deep":              {strings.Repeat("[", 1<<20), "larger than any|not YAML"},
		"50 MB":             {head + "entries: {}\nx: " + strings.Repeat("x", 50<<20), "larger than any: 5242"},
		"nodes without end": {head + "entries: {}\nx: [" + strings.Repeat("a,", 3<<20) + "]\n", "larger than any"},
		"lines without end": {head + "entries: {}\nx:\n" + strings.Repeat("- - - - - - - - - - x\u2028", 1<<18), "larger than any"},
	} {
		x, err := parseIndex([]byte(c.text))
		if c.want != "" {
			if fault.CodeOf(err) != fault.Usage || !regexp.MustCompile(c.want).MatchString(err.Error()) || !strings.Contains(err.Error(), "repair it") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := x.add(meta, artifact.Sum(nil), "hello-1.2.3.tgz", time.Unix(1, 0)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b, err := x.encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "aliases" {
			continue // Helm does not read it, as it did not before
		}
		if versions, err := indexed(t, b); err != nil || !slices.Contains(versions["hello"], "1.2.3") {
			t.Errorf("%s: helm reads %v, %v in\n%s", name, versions, err, b)
		}
	}
}

// An index that Helm wrote, with what others put into it since, is afterwards what it was and the entry, to the letter.
func TestKept(t *testing.T) {
	const before = `# kept by hand; do not sort
apiVersion: v1
entries:
  zebra: # the elder one first
  - created: "2025-05-05T05:05:05.123456789Z"
    description: |
      It has lines

        and spaces: {a: b}
    digest: 3333333333333333333333333333333333333333333333333333333333333333
    name: zebra
    urls:
    - https://example.com/zebra-0.1.0.tgz
    version: 0.1.0
    x-theirs:
      a: [1, 2]
      "on": 'yes'
  - name: zebra
    version: 0.2.0
  hello:
  - name: hello
    version: 2.0.0
    # this one is withdrawn
    deprecated: true
    description: a "quoted" one, in ünicode
@  - &first
    name: hello
    version: 1.0.0
  aardvark: []
generated: "2030-05-05T05:05:05.123456789Z"
serverInfo: {contextPath: /x}
x-first: *first
`
	x, err := parseIndex([]byte(strings.Replace(before, "@", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := x.add(meta, artifact.Sum(nil), "hello-1.2.3.tgz", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	b, err := x.encode()
	if err != nil {
		t.Fatal(err)
	}
	const entry = `  - apiVersion: v2
    created: "1970-01-01T00:00:01Z"
    digest: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    name: hello
    urls:
    - hello-1.2.3.tgz
    version: 1.2.3
`
	if want := strings.Replace(before, "@", entry, 1); string(b) != want {
		t.Errorf("it is\n%s\nand not\n%s", b, want)
	}
}

// What a writer of YAML would change is found before it is pushed.
func TestEncodeIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(*yaml.Node){
		"bytes that are no text": func(n *yaml.Node) { n.Tag, n.Value = "!!binary", "\xff" },
		"ends of lines":          func(n *yaml.Node) { n.Style, n.Value = yaml.FoldedStyle, "a-\n\n" },
		"a value too few":        func(n *yaml.Node) { n.Kind, n.Value = yaml.AliasNode, "nothing" },
	} {
		x, err := parseIndex([]byte("apiVersion: v1\nentries: {}\nx: y\n"))
		if err != nil {
			t.Fatal(err)
		}
		spoil(child(x.root, "x"))
		if b, err := x.encode(); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"{a: b}", "a: 'b' # c", true},
		{"a: 1", "a: '1'", false},
		{"a: [1, 2]", "a: [1]", false},
		{"a: 1", "b: 1", false},
		{"a: &a 1", "a: 1", false},
		{"{a: &a 1, b: *a}", "{a: &a 1, b: a}", false},
	} {
		var a, b yaml.Node
		if err := errors.Join(yaml.Unmarshal([]byte(c.a), &a), yaml.Unmarshal([]byte(c.b), &b)); err != nil {
			t.Fatal(err)
		}
		if same := differs(&a, &b) == nil; same != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, same)
		}
	}
}

// The order is Helm's, and the newest of what is in the index dates it.
func TestAdd(t *testing.T) {
	x, err := parseIndex([]byte("apiVersion: v1\nentries:\n  hello:\n  - version: 2.0.0\n  - version: 1.3.0-rc.1\n  - version: none\n  - version: 1.2.2\ngenerated: \"2030-01-01T00:00:00Z\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := x.add(meta, artifact.Sum(nil), "u", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	b, err := x.encode()
	if err != nil {
		t.Fatal(err)
	}
	var at []int
	for _, v := range []string{"version: 2.0.0", "version: 1.3.0-rc.1", "version: 1.2.3", "version: 1.2.2"} {
		at = append(at, strings.Index(string(b), v))
	}
	for i := 1; i < len(at); i++ {
		if at[i] < at[i-1] || at[0] < 0 {
			t.Errorf("the order is that of %v in\n%s", at, b)
		}
	}
	if !strings.Contains(string(b), `generated: "2030-01-01T00:00:00Z"`) {
		t.Errorf("it was made earlier than what is in it:\n%s", b)
	}
}

// Whatever an index has, it has afterwards: so says another reader of YAML, too, the one that Helm has.
func FuzzIndex(f *testing.F) {
	f.Add("apiVersion: v1\nentries:\n  hello:\n  - version: 1.0.0\n    x: [1]\n  other:\n  - {version: 2.0.0}\n")
	f.Add("apiVersion: v1\nentries: {}\n")
	f.Add("# a\napiVersion: v1 # b\nentries: # c\n  hello: # d\n  # e\n  - version: 1.0.0 # f\n    description: |\n       a\n      b\n\n  # g\n")
	f.Add("{\"apiVersion\":\"v1\",\"entries\":{\"hello\":[{\"version\":\"2.0.0\",\"a\":\"\\u00e9\\n \"}]},\"generated\":null}")
	f.Add("apiVersion: v1\nentries:\n  a: [{description: >-\n x\n\n  y, version: yes}]\n  b: &b []\nc: *b\n")
	f.Fuzz(func(t *testing.T, text string) {
		x, err := parseIndex([]byte(text))
		if err != nil {
			return
		}
		if len(x.digests(meta.Name, meta.Version)) > 0 {
			return
		}
		var before map[string]any
		readable := helmyaml.UnmarshalStrict([]byte(text), &before) == nil
		if err := x.add(meta, artifact.Sum(nil), "u", time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		b, err := x.encode()
		if err != nil {
			return // nothing is written
		}
		y, err := parseIndex(b)
		if err != nil {
			t.Fatalf("%v in\n%s", err, b)
		}
		if d := y.digests(meta.Name, meta.Version); !slices.Equal(d, []string{artifact.Sum(nil).Hex()}) {
			t.Errorf("what was added has the digests %q in\n%s", d, b)
		}
		if !readable || before == nil {
			return
		}
		var after map[string]any
		if err := helmyaml.UnmarshalStrict(b, &after); err != nil {
			t.Fatalf("%v in\n%s", err, b)
		}
		entries := after["entries"].(map[string]any)
		list := slices.DeleteFunc(entries["hello"].([]any), func(v any) bool {
			m, _ := v.(map[string]any)
			return m["version"] == "1.2.3" && m["digest"] == artifact.Sum(nil).Hex()
		})
		old, _ := before["entries"].(map[string]any)
		had, _ := old["hello"].([]any)
		if len(list) != len(had) || len(had) > 0 && !reflect.DeepEqual(list, had) {
			t.Errorf("hello has %v of %v in\n%s", list, had, b)
		}
		delete(entries, "hello")
		delete(old, "hello")
		for name, v := range old {
			if l, _ := entries[name].([]any); !reflect.DeepEqual(v, entries[name]) && (v != nil || len(l) > 0) {
				t.Errorf("%s is %v and was %v in\n%s", name, entries[name], v, b)
			}
		}
		for _, m := range []map[string]any{before, after} {
			delete(m, "entries")
			delete(m, "generated")
		}
		if len(entries) != len(old) || !reflect.DeepEqual(before, after) {
			t.Errorf("%v became %v in\n%s", before, after, b)
		}
	})
}
