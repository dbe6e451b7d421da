package payload_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/fixture/packagetest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/payload"
)

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10, nil},
		{" \n\n ", 10, nil},
		{"one two three", 7, []string{"one two", "three"}},
		{"one\ntwo\tthree\r\n", 100, []string{"one two three"}},
		{"a wordthatislonger b", 5, []string{"a", "wordthatislonger", "b"}},
		{"ä ö ü é", 3, []string{"ä ö", "ü é"}},
		{"one\n\n\n  \ntwo", 10, []string{"one", "", "two"}},
		{"has:\n- one\n  more\n* two\n3. three", 100, []string{"has:", "- one more", "* two", "3. three"}},
	} {
		if got := payload.Wrap(tt.text, tt.width); !slices.Equal(got, tt.want) {
			t.Errorf("%q in %d is %q, want %q", tt.text, tt.width, got, tt.want)
		}
	}
}

func FuzzWrap(f *testing.F) {
	f.Add("one two\n\n- three", 5)
	f.Add("\n\n\n", 0)
	f.Fuzz(func(t *testing.T, text string, width int) {
		lines := payload.Wrap(text, width)
		if got, want := strings.Fields(strings.Join(lines, " ")), strings.Fields(text); !slices.Equal(got, want) {
			t.Fatalf("the words %q became %q", want, got)
		}
		for i, line := range lines {
			if line == "" && (i == 0 || i == len(lines)-1 || lines[i-1] == "") {
				t.Errorf("an empty line too many: %q", lines)
			}
			if strings.Contains(line, " ") && utf8.RuneCountInString(line) > width {
				t.Errorf("%q is longer than %d", line, width)
			}
			if strings.ContainsAny(line, "\n\r\t") || strings.TrimSpace(line) != line {
				t.Errorf("%q is no line", line)
			}
		}
	})
}

func TestChanges(t *testing.T) {
	for _, tt := range []struct {
		changes string
		want    []string
	}{
		{"", []string{"Release 1.2.3."}},
		{"# 1.2.3\n\n## Fixes\n", []string{"Release 1.2.3."}},
		{"Plain text\nof two lines.\n\nAnd more.", []string{"Plain text of two lines.", "And more."}},
		{"## v1.2.3 (2026-02-28)\n### Breaking changes ##\n* one\n  more\n* two\n\n### Fixes:\n1. three\n", []string{"Breaking changes: one more", "Breaking changes: two", "Fixes: three"}},
		{"- \n-\n1. \n", []string{"1."}},
		{"- a\r\n- b\r\n", []string{"a", "b"}},
	} {
		p := packagetest.Package(t, "1.2.3", nil)
		p.Changes = tt.changes
		if got := payload.Changes(p); !slices.Equal(got, tt.want) {
			t.Errorf("%q is %q, want %q", tt.changes, got, tt.want)
		}
	}
}

// No text makes a point that is empty or of several lines: a changelog has a line for each.
func FuzzChanges(f *testing.F) {
	f.Add("## 1.2.3\n\n- one\n  more\n\n# \n- \n")
	f.Add("0. \n* *\n")
	f.Fuzz(func(t *testing.T, changes string) {
		p := packagetest.Package(t, "1.2.3", nil)
		p.Changes = changes
		points := payload.Changes(p)
		if len(points) == 0 {
			t.Error("there is no point")
		}
		for _, s := range points {
			if strings.TrimSpace(s) != s || s == "" || strings.ContainsAny(s, "\n\r") {
				t.Errorf("%q is no point", s)
			}
			if len(payload.Wrap(s, 70)) == 0 {
				t.Errorf("%q has no lines", s)
			}
		}
	})
}

func TestUnits(t *testing.T) {
	p := packagetest.Package(t, "1.2.3", nil)
	for name, text := range map[string]string{
		"usr/lib/systemd/system/b.service":     "[Service]\n[Install]\r\n",
		"usr/lib/systemd/system/a.timer":       "[Install]",
		"usr/lib/systemd/system/c@.service":    "[Install]\n",
		"usr/lib/systemd/system/d.service":     "# [Install]\n",
		"usr/lib/systemd/user/e.service":       "[Install]\n",
		"usr/lib/systemd/system/sub/f.service": "[Install]\n",
	} {
		p.Files = append(p.Files, format.File{File: archive.Bytes(name, []byte(text)), Role: format.Unit})
	}
	u, err := payload.UnitsOf(p)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a.timer", "b.service", "c@.service", "d.service"}; !slices.Equal(u.All, want) {
		t.Errorf("the units are %v, want %v", u.All, want)
	}
	if want := []string{"a.timer", "b.service"}; !slices.Equal(u.Enabled, want) {
		t.Errorf("enabled are %v, want %v", u.Enabled, want)
	}
}
