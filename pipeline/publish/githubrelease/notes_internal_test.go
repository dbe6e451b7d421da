package githubrelease

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

func TestCut(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		limit int
		want  string
	}{
		"whole":         {"one\ntwo", 7, "one\ntwo"},
		"lines":         {"one\ntwo", 6, "one"},
		"one line":      {"abcdef", 3, "abc"},
		"pairs":         {"😀😀😀", 5, "😀😀"},
		"nothing":       {"abc", 0, ""},
		"code":          {"```go\na\nb\nc", 9, "```go\na\n```"},
		"closed code":   {"```\na\n```\nb\nccc", 13, "```\na\n```\nb"},
		"longer fence":  {"````\n```\na\nbbb", 12, "````\n```\na\n````"},
		"tildes":        {"~~~\na\nbbb", 7, "~~~\na\n~~~"},
		"a comment":     {"<!-- a\nb\nccc", 10, "<!-- a\nb\n-->"},
		"a closed one":  {"<!-- a -->\nb\nccc", 14, "<!-- a -->\nb"},
		"inline quotes": {"`a` ```b\nc\nddd", 12, "`a` ```b\nc"},
	} {
		if got := cut(c.text, c.limit); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func FuzzNotes(f *testing.F) {
	f.Add("```\na\n~~~~\n", 5)
	f.Add("<!-- slipway sha256:x -->", 100)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		text = strings.ToValidUTF8(text, "?")
		limit = max(0, min(limit, 1<<20))
		got := cut(text, limit)
		if !utf8.ValidString(got) || characters(got) > limit+maxTail/2 {
			t.Errorf("%q", got)
		}
		if characters(text) <= limit && got != text {
			t.Errorf("%q was cut to %q", text, got)
		}
		if d := marked(text); d != "" {
			if _, err := artifact.ParseDigest(string(d)); err != nil {
				t.Error(err)
			}
		}
		if d := artifact.Sum([]byte(text)); marked(head(d)+text) != d {
			t.Error("a mark is not found")
		}
	})
}
