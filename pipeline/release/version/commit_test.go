package version_test

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

func TestParseCommit(t *testing.T) {
	type footers = []version.Footer
	for _, tt := range []struct {
		name, message string
		want          version.Commit
	}{
		{"type", "feat: add cake", version.Commit{Type: "feat", Description: "add cake"}},
		{"scope", "fix(oci)  : no", version.Commit{Description: "fix(oci)  : no"}},
		{"type and scope", "fix(oci): sort layers\n", version.Commit{Type: "fix", Scope: "oci", Description: "sort layers"}},
		{"upper case", "FEAT(API): X", version.Commit{Type: "feat", Scope: "API", Description: "X"}},
		{
			"exclamation mark", "feat(api)!: drop v1",
			version.Commit{Type: "feat", Scope: "api", Description: "drop v1", Breaking: true, Note: "drop v1"},
		},
		{"exclamation mark without scope", "chore!: x", version.Commit{Type: "chore", Description: "x", Breaking: true, Note: "x"}},
		{"exclamation mark in the wrong place", "feat!(api): x", version.Commit{Description: "feat!(api): x"}},
		{"no space", "feat:add", version.Commit{Description: "feat:add"}},
		{"no description", "feat: ", version.Commit{Description: "feat:"}},
		{"empty scope", "feat(): x", version.Commit{Description: "feat(): x"}},
		{"unclosed scope", "feat(a: x", version.Commit{Description: "feat(a: x"}},
		{"two words", "big feat: x", version.Commit{Description: "big feat: x"}},
		{"not conventional", "🔧 #240: Install air", version.Commit{Description: "🔧 #240: Install air"}},
		{"empty", " \n\n", version.Commit{}},
		{"body", "fix: a\n\none\ntwo\n\nthree", version.Commit{Type: "fix", Description: "a", Body: "one\ntwo\n\nthree"}},
		{
			"footers", "fix: a\r\n\r\nbody\r\n\r\nReviewed-by: Z\r\nRefs #133\r\n",
			version.Commit{Type: "fix", Description: "a", Body: "body", Footers: footers{{"Reviewed-by", "Z"}, {"Refs", "#133"}}},
		},
		{
			"breaking footer over lines", "feat: a\n\nBREAKING CHANGE: the key\n  moved\nRefs: #1",
			version.Commit{
				Type: "feat", Description: "a", Breaking: true, Note: "the key\nmoved",
				Footers: footers{{"BREAKING CHANGE", "the key\nmoved"}, {"Refs", "#1"}},
			},
		},
		{
			"breaking footer with a hyphen", "fix!: a\n\nBREAKING-CHANGE: b",
			version.Commit{
				Type: "fix", Description: "a", Breaking: true, Note: "b",
				Footers: footers{{"BREAKING-CHANGE", "b"}},
			},
		},
		{
			"breaking in lower case", "fix: a\n\nbreaking change: b",
			version.Commit{Type: "fix", Description: "a", Body: "breaking change: b"},
		},
		{
			"breaking in the middle", "fix: a\n\nwords\nBREAKING CHANGE: b\n\nmore words",
			version.Commit{
				Type: "fix", Description: "a", Breaking: true, Note: "b",
				Body: "words\nBREAKING CHANGE: b\n\nmore words",
			},
		},
		{
			"breaking without convention", "Rework\n\nBREAKING CHANGE: b",
			version.Commit{Description: "Rework", Breaking: true, Note: "b", Footers: footers{{"BREAKING CHANGE", "b"}}},
		},
		{"breaking in the first line only", "BREAKING CHANGE: b", version.Commit{Description: "BREAKING CHANGE: b"}},
		{
			"an address is no footer", "fix: a\n\nhttps://example.com",
			version.Commit{Type: "fix", Description: "a", Body: "https://example.com"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := version.ParseCommit(tt.message); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("ParseCommit(%q)\n got %#v\nwant %#v", tt.message, got, tt.want)
			}
		})
	}
}

func TestParseCommitIsBounded(t *testing.T) {
	c := version.ParseCommit("feat: a\n\nRefs: 1\n" + strings.Repeat("x\n", 8<<20))
	if len(c.Footers) != 1 || len(c.Footers[0].Value) > 256<<10 {
		t.Errorf("%d footers", len(c.Footers))
	}
}

func FuzzParseCommit(f *testing.F) {
	f.Add("feat(a)!: b\n\nbody\n\nBREAKING CHANGE: c\nRefs #1")
	f.Add("BREAKING CHANGE\n\n\n:\r\n #")
	f.Fuzz(func(t *testing.T, message string) {
		c := version.ParseCommit(message)
		if c.Type != strings.ToLower(c.Type) || strings.ContainsAny(c.Type+c.Scope, "()\n") || strings.Contains(c.Description, "\n") {
			t.Fatalf("%#v", c)
		}
		if c.Type != "" && c.Description == "" || c.Type == "" && c.Scope != "" {
			t.Fatalf("%#v", c)
		}
		if !c.Breaking && c.Note != "" {
			t.Fatalf("%#v", c)
		}
		for _, footer := range c.Footers {
			if footer.Token == "" {
				t.Fatalf("%#v", c)
			}
		}
		if !utf8.ValidString(c.Description + c.Body + c.Note) {
			t.Fatalf("%#v", c)
		}
	})
}
