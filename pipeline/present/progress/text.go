package progress

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

// oneLine makes outside text fit for a line of ours: no control sequence, no line break, nothing that changes the
// direction of reading, and no byte that is not UTF-8.
func oneLine(s string) string {
	if isPlain(s) {
		return s
	}
	s = strings.NewReplacer("\n", " ", "\t", " ").Replace(clean(s, false))
	return strings.TrimSpace(s)
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// lines splits outside text of many lines, made fit for showing by clean.
func lines(s string, colors bool) []string {
	s = strings.Trim(clean(s, colors), "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// clean takes from outside text all that would make a terminal or a log do something other than show it. What a line
// says is kept: a lone carriage return becomes a line break, so that it cannot overwrite what stands before it, and an
// unfinished sequence loses its beginning only. With colors, sequences that choose colors and weights are left in and
// end with their line.
//
// The sequences are those of ECMA-48 (https://ecma-international.org/publications-and-standards/standards/ecma-48),
// sections 5.3 to 5.6, in their 7-bit and their UTF-8 encoded 8-bit form.
func clean(s string, colors bool) string {
	if isPlain(s) {
		return s
	}
	s = strings.ReplaceAll(s, "\r\n", "\n")
	var b strings.Builder
	b.Grow(len(s))
	styled := false
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == 0x1b && i+1 < len(s) && s[i+1] >= 0x40 && s[i+1] <= 0x5f {
			r, n = rune(s[i+1])+0x40, 2 // ESC [ is CSI, ESC ] is OSC
		}
		rest := s[i+n:]
		switch {
		case r == '\n' || r == '\r':
			if styled {
				b.WriteString("\x1b[0m")
				styled = false
			}
			b.WriteByte('\n')
		case r == '\t':
			b.WriteByte('\t')
		case r == utf8.RuneError && n == 1:
			b.WriteRune(utf8.RuneError)
		case r == 0x9b: // control sequence: parameters, intermediates, a final byte
			params := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789:;<=>?"))]
			tail := strings.TrimLeft(rest[len(params):], " !\"#$%&'()*+,-./")
			if tail != "" && tail[0] >= 0x40 && tail[0] <= 0x7e {
				n += len(rest) - len(tail) + 1
				if colors && tail[0] == 'm' && len(tail)+len(params) == len(rest) && isColor(params) {
					b.WriteString("\x1b[" + params + "m")
					styled = true
				}
			}
		case r == 0x90 || r == 0x98 || r == 0x9d || r == 0x9e || r == 0x9f: // strings, up to BEL or ST
			if end := strings.IndexAny(rest, "\a\n\x1b\u0090\u0098\u009b\u009c\u009d\u009e\u009f"); end >= 0 {
				switch {
				case rest[end] == '\a':
					n += end + 1
				case strings.HasPrefix(rest[end:], "\u009c"), strings.HasPrefix(rest[end:], "\x1b\\"):
					n += end + 2
				}
			}
		case r == 0x1b: // intermediates and a final byte, such as the choice of a character set
			tail := strings.TrimLeft(rest, " !\"#$%&'()*+,-./")
			if tail != "" && tail[0] >= 0x30 && tail[0] <= 0x7e {
				n += len(rest) - len(tail) + 1
			}
		case words.IsObeyed(r):
		default:
			b.WriteRune(r)
		}
		i += n
	}
	if styled {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// isColor reports whether the parameters of SGR (ECMA-48, 8.3.117) are ones to let through: all but concealment.
func isColor(params string) bool {
	if strings.Trim(params, "0123456789;:") != "" || len(params) > 64 {
		return false
	}
	list := strings.Split(params, ";")
	for i := 0; i < len(list); i++ {
		switch p := strings.TrimLeft(list[i], "0"); p {
		case "8":
			return false
		case "38", "48", "58": // a color by index or by value follows
			if i+1 < len(list) && list[i+1] == "5" {
				i += 2
			} else if i+1 < len(list) && list[i+1] == "2" {
				i += 4
			}
		}
	}
	return true
}

// wide are the ranges of characters that take two columns, the larger ones of
// https://www.unicode.org/Public/UCD/latest/ucd/EastAsianWidth.txt.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1},
		{0x231a, 0x231b, 1},
		{0x23e9, 0x23ec, 1},
		{0x23f0, 0x23f3, 3},
		{0x25fd, 0x25fe, 1},
		{0x2614, 0x2615, 1},
		{0x2648, 0x2653, 1},
		{0x267f, 0x2693, 0x14},
		{0x26a1, 0x26a1, 1},
		{0x26aa, 0x26ab, 1},
		{0x26bd, 0x26be, 1},
		{0x26c4, 0x26c5, 1},
		{0x26ce, 0x26d4, 6},
		{0x26ea, 0x26ea, 1},
		{0x26f2, 0x26f3, 1},
		{0x26f5, 0x26fa, 5},
		{0x26fd, 0x2705, 8},
		{0x270a, 0x270b, 1},
		{0x2728, 0x274c, 0x24},
		{0x274e, 0x274e, 1},
		{0x2753, 0x2755, 1},
		{0x2757, 0x2757, 1},
		{0x2795, 0x2797, 1},
		{0x27b0, 0x27bf, 0xf},
		{0x2b1b, 0x2b1c, 1},
		{0x2b50, 0x2b55, 5},
		{0x2e80, 0x303e, 1},
		{0x3041, 0x33ff, 1},
		{0x3400, 0x4dbf, 1},
		{0x4e00, 0xa4cf, 1},
		{0xa960, 0xa97c, 1},
		{0xac00, 0xd7a3, 1},
		{0xf900, 0xfaff, 1},
		{0xfe10, 0xfe19, 1},
		{0xfe30, 0xfe6f, 1},
		{0xff00, 0xff60, 1},
		{0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{
		{0x16fe0, 0x18cff, 1},
		{0x1b000, 0x1b2fb, 1},
		{0x1f004, 0x1f0cf, 0xcb},
		{0x1f18e, 0x1f18e, 1},
		{0x1f191, 0x1f19a, 1},
		{0x1f200, 0x1f265, 1},
		{0x1f300, 0x1f64f, 1},
		{0x1f680, 0x1f6ff, 1},
		{0x1f7e0, 0x1f7f0, 1},
		{0x1f900, 0x1faff, 1},
		{0x20000, 0x3fffd, 1},
	},
}

// runeWidth is the number of columns that a terminal gives to r.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// textWidth is the number of columns that s takes.
func textWidth(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// truncate shortens s to at most width columns and marks the cut.
func truncate(s string, width int, ellipsis string) string {
	if textWidth(s) <= width {
		return s
	}
	width -= textWidth(ellipsis)
	if width < 0 {
		return ""
	}
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > width {
			return s[:i] + ellipsis
		}
	}
	return s
}
