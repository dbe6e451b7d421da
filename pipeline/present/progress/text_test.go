package progress

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

func TestClean(t *testing.T) {
	for _, tt := range []struct{ name, in, want, colors string }{
		{"plain", "a b", "a b", "a b"},
		{"color", "\x1b[1;31mred\x1b[0m.", "red.", "\x1b[1;31mred\x1b[0m.\x1b[0m"},
		{"color over a line's end", "\x1b[31ma\nb", "a\nb", "\x1b[31ma\x1b[0m\nb"},
		{"8-bit color", "\u009b32mgreen", "green", "\x1b[32mgreen\x1b[0m"},
		{"color by index 8", "\x1b[38;5;8mgray", "gray", "\x1b[38;5;8mgray\x1b[0m"},
		{"concealed", "\x1b[8mhidden\x1b[31;08mtoo", "hiddentoo", "hiddentoo"},
		{"concealed after a color", "\x1b[38;5;1;8mx", "x", "x"},
		{"private", "\x1b[>4;2mx\x1b[?25lx", "xx", "xx"},
		{"moves and erasures", "a\x1b[2Ab\x1b[2Jc\x1b[1;1Hd\x1b[3 qe", "abcde", "abcde"},
		{"title", "\x1b]0;evil\ax\x1b]2;evil\x1b\\y\u009d2;evil\u009cz", "xyz", "xyz"},
		{"unfinished title hides nothing", "\x1b]0;a\nb", "0;a\nb", "0;a\nb"},
		{"unfinished sequence", "a\x1b[31", "a31", "a31"},
		{"device control", "\x1bPq#0\x1b\\x\x1b_a\x1b\\y\x1b^b\x1b\\z", "xyz", "xyz"},
		{"reset and character set", "\x1bca\x1b(0b\x1b", "ab", "ab"},
		{"carriage returns", "10%\r20%\r\nx", "10%\n20%\nx", "10%\n20%\nx"},
		{"controls", "a\x00b\bc\x7fd\u0085e\vf", "abcdef", "abcdef"},
		{"tab", "a\tb", "a\tb", "a\tb"},
		{"not UTF-8", "a\xffb\x9bc", "a\ufffdb\ufffdc", "a\ufffdb\ufffdc"},
		{"direction of reading", "\u202etxt.exe\u2066\u200f", "txt.exe", "txt.exe"},
		{"other scripts", "日本 é e\u0301", "日本 é e\u0301", "日本 é e\u0301"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := clean(tt.in, false); got != tt.want {
				t.Errorf("clean(%q) = %q, want %q", tt.in, got, tt.want)
			}
			if got := clean(tt.in, true); got != tt.colors {
				t.Errorf("with colors, clean(%q) = %q, want %q", tt.in, got, tt.colors)
			}
		})
	}
}

// TestCleanIsLinear gives clean what would take a quadratic reader minutes.
func TestCleanIsLinear(t *testing.T) {
	for _, part := range []string{"\u009d", "\x1b]", "\x1b[", "\x1b(", "\u009b1;1;1", "\x1b[1;1;1"} {
		start := time.Now()
		clean(strings.Repeat(part, 1<<20), true)
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%q a million times took %s", part, d)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add(hostile)
	f.Add("\x1b[31m\x1b]0;\x1b[\u009b1")
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s, false)
		if !utf8.ValidString(got) {
			t.Errorf("clean(%q) = %q is not UTF-8", s, got)
		}
		for _, r := range got {
			if r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
				t.Errorf("clean(%q) = %q has %U", s, got, r)
			}
		}
		if again := clean(got, false); again != got {
			t.Errorf("clean(%q) = %q, and again %q", s, got, again)
		}
		// With colors, what is let through is colors and nothing else.
		if got := clean(clean(s, true), false); got != clean(s, false) {
			t.Errorf("%q: colors change the text: %q, want %q", s, got, clean(s, false))
		}
		if one := oneLine(s); strings.ContainsAny(one, "\n\t\x1b") {
			t.Errorf("oneLine(%q) = %q", s, one)
		}
	})
}

func TestTruncate(t *testing.T) {
	for _, tt := range []struct {
		in    string
		width int
		want  string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"abcd", 1, "…"},
		{"abcd", 0, ""},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"e\u0301e\u0301", 2, "e\u0301e\u0301"},
	} {
		got := truncate(tt.in, tt.width, "…")
		if got != tt.want || textWidth(got) > tt.width {
			t.Errorf("truncate(%q, %d) = %q, want %q", tt.in, tt.width, got, tt.want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0.0s"},
		{49 * time.Millisecond, "0.0s"},
		{1234 * time.Millisecond, "1.2s"},
		{59*time.Second + 949*time.Millisecond, "59.9s"},
		{59*time.Second + 950*time.Millisecond, "1m00s"},
		{61500 * time.Millisecond, "1m02s"},
		{time.Hour - time.Second, "59m59s"},
		{time.Hour - time.Millisecond, "1h00m"},
		{62 * time.Minute, "1h02m"},
	} {
		if got := words.Duration(tt.d); got != tt.want {
			t.Errorf("words.Duration(%s) = %q, want %q", tt.d, got, tt.want)
		}
	}
}

func TestEscapes(t *testing.T) {
	if got, want := escapeData("a%b\r\nc::d"), "a%25b%0D%0Ac::d"; got != want {
		t.Errorf("escapeData: %q, want %q", got, want)
	}
	if got, want := escapeProperty("a%b\r\nc::d,e"), "a%25b%0D%0Ac%3A%3Ad%2Ce"; got != want {
		t.Errorf("escapeProperty: %q, want %q", got, want)
	}
	for in, want := range map[string]string{
		"::error::x": "\u200b::error::x", "  ::x": "\u200b  ::x", "a ::x": "a ::x", "a ##[x]": "a ##\u200b[x]",
	} {
		if got := inert(in); got != want {
			t.Errorf("inert(%q) = %q, want %q", in, got, want)
		}
	}
}
