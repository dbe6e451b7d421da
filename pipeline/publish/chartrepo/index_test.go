package chartrepo

import (
	"strings"
	"testing"
	"time"

	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/repo"
	helmyaml "sigs.k8s.io/yaml"

	"github.com/slipway-build/slipway/pipeline/artifact"
)

var meta = &helmchart.Metadata{APIVersion: "v2", Name: "hello", Version: "1.2.3"}

func TestHostileIndex(t *testing.T) {
	bomb := "apiVersion: v1\na: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+",", 9), ",") + "]\n"
	}
	for name, c := range map[string]struct {
		text string
		good bool
	}{
		"empty":          {"", true},
		"no entries":     {"apiVersion: v1\nentries:\n", true},
		"aliases":        {bomb + "entries: {}\n", true}, // nothing unfolds them
		"a list":         {"[]\n", false},
		"other version":  {"apiVersion: v2\nentries: {}\n", false},
		"entries a list": {"apiVersion: v1\nentries: []\n", false},
		"entry a string": {"apiVersion: v1\nentries: {hello: yes}\n", false},
		"version a list": {"apiVersion: v1\nentries: {hello: [[]]}\n", false},
		"alias of entry": {"apiVersion: v1\nx: &x [{name: hello}]\nentries: {hello: *x}\n", false},
		"two documents":  {"apiVersion: v1\nentries: {}\n---\n{}\n", false},
		"no YAML":        {"{{{", false},
	} {
		x, err := parseIndex([]byte(c.text))
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		if err := x.add(meta, artifact.Sum(nil), "hello-1.2.3.tgz", time.Unix(1, 0)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b, err := x.encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var index repo.IndexFile
		if err := helmyaml.Unmarshal(b, &index); name != "aliases" && (err != nil || len(index.Entries["hello"]) != 1) {
			t.Errorf("%s: helm reads %v, %v", name, index.Entries, err)
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

// Whatever an index has, it has afterwards.
func FuzzIndex(f *testing.F) {
	f.Add("apiVersion: v1\nentries:\n  hello:\n  - version: 1.0.0\n    x: [1]\n  other:\n  - {version: 2.0.0}\n")
	f.Add("apiVersion: v1\nentries: {}\n")
	f.Fuzz(func(t *testing.T, text string) {
		x, err := parseIndex([]byte(text))
		if err != nil {
			return
		}
		type pair struct{ name, version string }
		have := map[pair]bool{}
		entries := child(x.root, "entries")
		for i := 0; i+1 < len(entries.Content); i += 2 {
			for _, v := range child(entries, entries.Content[i].Value).Content { // of a key that comes twice, the first
				if n := child(v, "version"); n != nil {
					have[pair{entries.Content[i].Value, n.Value}] = true
				}
			}
		}
		if err := x.add(meta, artifact.Sum(nil), "u", time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		b, err := x.encode()
		if err != nil {
			t.Skip() // a document that cannot be written again is not written
		}
		y, err := parseIndex(b)
		if err != nil {
			t.Fatalf("%v in\n%s", err, b)
		}
		for p := range have {
			if _, ok := y.digest(p.name, p.version); !ok {
				t.Errorf("%s %s is lost in\n%s", p.name, p.version, b)
			}
		}
		if _, ok := y.digest("hello", "1.2.3"); !ok {
			t.Errorf("what was added is not in\n%s", b)
		}
	})
}
