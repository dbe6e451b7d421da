package chart

import (
	"bytes"
	"strings"
	"testing"

	helmchart "helm.sh/helm/v3/pkg/chart"
	"sigs.k8s.io/yaml"
)

func TestStamp(t *testing.T) {
	tests := map[string]struct {
		in, app     string
		annotations map[string]string
		want        string // "" for an error
	}{
		"plain":              {"name: a\nversion: 0.0.0\nappVersion: 0.0.0\n", "2.0", nil, "name: a\nversion: \"1.2.3\"\nappVersion: \"2.0\"\n"},
		"quotes":             {"name: a\nversion: '0.0.0'\nappVersion: \"0.\\\"0\" # x\n", "2.0", nil, "name: a\nversion: \"1.2.3\"\nappVersion: \"2.0\" # x\n"},
		"single quote in it": {"name: a\nversion: 'it''s' # x\n", "", nil, "name: a\nversion: \"1.2.3\" # x\n"},
		"appVersion kept":    {"name: a\nversion: 0.0.0\nappVersion: \"7\"\n", "", nil, "name: a\nversion: \"1.2.3\"\nappVersion: \"7\"\n"},
		"appVersion added":   {"version: 0.0.0 # x\nname: a\n", "2.0", nil, "version: \"1.2.3\" # x\nappVersion: \"2.0\"\nname: a\n"},
		"no last newline":    {"name: a\nversion: 0.0.0", "2.0", map[string]string{"k": "v"}, "name: a\nversion: \"1.2.3\"\nappVersion: \"2.0\"\nannotations:\n  k: \"v\""},
		"empty values":       {"name: a\nversion:\nappVersion: # none\n", "2.0", nil, "name: a\nversion: \"1.2.3\"\nappVersion: \"2.0\" # none\n"},
		"annotations none":   {"name: a\nversion: 0.0.0\n", "", map[string]string{"b": "2", "a": "1"}, "name: a\nversion: \"1.2.3\"\nannotations:\n  a: \"1\"\n  b: \"2\"\n"},
		"annotations empty":  {"name: a\nannotations: {} # x\nversion: 0.0.0\n", "", map[string]string{"a": "1"}, "name: a\nannotations:  # x\n  a: \"1\"\nversion: \"1.2.3\"\n"},
		"annotations null":   {"name: a\nannotations:\nversion: 0.0.0\n", "", map[string]string{"a": "1"}, "name: a\nannotations:\n  a: \"1\"\nversion: \"1.2.3\"\n"},
		"annotations tilde":  {"name: a\nannotations: ~\nversion: 0.0.0\n", "", map[string]string{"a": "1"}, "name: a\nannotations: \n  a: \"1\"\nversion: \"1.2.3\"\n"},
		"annotations merged": {
			"name: a\nannotations: # x\n    # first\n    b: true\n    c: |\n      text\nversion: 0.0.0\n", "",
			map[string]string{"b": "no", "a": "1"},
			"name: a\nannotations: # x\n    a: \"1\"\n    # first\n    b: \"no\"\n    c: |\n      text\nversion: \"1.2.3\"\n",
		},
		"anything in a value":      {"name: a\nversion: 0.0.0\n", "", map[string]string{"a": "é \"<\n\t\\#: {"}, "name: a\nversion: \"1.2.3\"\nannotations:\n  a: \"é \\\"<\\n\\t\\\\#: {\"\n"},
		"after wide characters":    {"name: a\n\"version\"  : 0.0.0\ndescription: Gerät ✓\nannotations:\n  \"k\": \"ü\"\n", "", map[string]string{"k": "✓"}, "name: a\n\"version\"  : \"1.2.3\"\ndescription: Gerät ✓\nannotations:\n  \"k\": \"✓\"\n"},
		"byte order mark":          {"\xef\xbb\xbfname: a\nversion: 0.0.0\n", "", nil, "name: a\nversion: \"1.2.3\"\n"},
		"document start":           {"# x\n---\nname: a\nversion: 0.0.0\n...\n", "", map[string]string{"a": "1"}, "# x\n---\nname: a\nversion: \"1.2.3\"\nannotations:\n  a: \"1\"\n...\n"},
		"Windows line ends":        {"name: a\r\nversion: 0.0.0\r\nappVersion: '1'\r\n", "2", nil, "name: a\r\nversion: \"1.2.3\"\r\nappVersion: \"2\"\r\n"},
		"flow":                     {"{name: a, version: 0.0.0}\n", "", nil, ""},
		"anchor":                   {"name: a\nversion: &v 0.0.0\nappVersion: *v\n", "2.0", nil, ""},
		"tag":                      {"name: a\nversion: !!str 0.0.0\n", "", nil, ""},
		"several lines":            {"name: a\nversion: |\n  0.0.0\n", "", nil, ""},
		"quotes over lines":        {"name: a\nversion: \"0.\n  0.0\"\n", "", nil, ""},
		"annotation over lines":    {"name: a\nversion: 0.0.0\nannotations:\n  a: |\n    x\n", "", map[string]string{"a": "1"}, ""},
		"annotations flow":         {"name: a\nversion: 0.0.0\nannotations: {b: c}\n", "", map[string]string{"a": "1"}, ""},
		"annotations list":         {"name: a\nversion: 0.0.0\nannotations: [b]\n", "", map[string]string{"a": "1"}, ""},
		"annotation key":           {"name: a\nversion: 0.0.0\n", "", map[string]string{"a: b": "1"}, ""},
		"annotation not UTF-8":     {"name: a\nversion: 0.0.0\n", "", map[string]string{"a": "\xff"}, ""},
		"annotation not printable": {"name: a\nversion: 0.0.0\n", "", map[string]string{"a": "\x7f"}, ""},
		"duplicate key":            {"name: a\nversion: 0.0.0\nversion: 1.0.0\n", "", nil, ""},
		"name in YAML 1.1":         {"name: Y\nversion: 0.0.0\n", "", nil, ""},
		"name in quotes":           {"name: 'Y'\nversion: 0.0.0\n", "", nil, "name: 'Y'\nversion: \"1.2.3\"\n"},
		"no name":                  {"version: 0.0.0\n", "", nil, ""},
		"no version":               {"name: a\n", "", nil, ""},
		"empty":                    {"", "", nil, ""},
		"list":                     {"- name: a\n", "", nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, _, err := stamp([]byte(tt.in), "1.2.3", tt.app, tt.annotations)
			if (err != nil) != (tt.want == "") || string(got) != tt.want {
				t.Errorf("got %q, %v\nwant %q", got, err, tt.want)
			}
		})
	}
}

// FuzzStamp: what is stamped reads back, with Helm's own YAML reader, as the same chart with the new values, and
// stamping it again changes nothing.
func FuzzStamp(f *testing.F) {
	f.Add([]byte("name: a\nversion: 0.0.0\nappVersion: '1' # x\nannotations:\n  k: v\n"), "2.0", "v")
	f.Add([]byte("annotations: {}\nname: \"a\"\nversion: 0.0.0\n"), "\n", "é")
	f.Add([]byte("? version\n: 0.0.0\nname: &x a\n"), "x", "#")
	f.Fuzz(func(t *testing.T, b []byte, app, value string) {
		annotations := map[string]string{"artifacthub.io/x": value}
		out, name, err := stamp(b, "1.2.3", app, annotations)
		if err != nil {
			return
		}
		var before, after helmchart.Metadata
		if yaml.Unmarshal(bytes.TrimPrefix(b, bom), &before) != nil {
			return // YAML 1.1 or a type that Helm refuses; the linter says so
		}
		if err := yaml.Unmarshal(out, &after); err != nil {
			t.Fatalf("Helm cannot read %q: %v", out, err)
		}
		if app == "" {
			app = before.AppVersion
		}
		if after.Name != name || after.Version != "1.2.3" || after.AppVersion != app || after.Annotations["artifacthub.io/x"] != value {
			t.Errorf("%q reads back as %+v", out, after)
		}
		if after.Description != before.Description || strings.Join(after.Keywords, "\x00") != strings.Join(before.Keywords, "\x00") {
			t.Errorf("%q lost something of %q", out, b)
		}
		again, _, err := stamp(out, "1.2.3", app, annotations)
		if err != nil || !bytes.Equal(again, out) {
			t.Errorf("stamping %q again gives %q, %v", out, again, err)
		}
	})
}
