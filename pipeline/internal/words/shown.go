package words

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// IsObeyed tells the characters that a terminal does something else with than show them: control characters, and the marks
// that turn the direction of writing or break a line, behind which what stands on the screen is not what is in the text.
func IsObeyed(r rune) bool {
	return unicode.IsControl(r) ||
		r == 0x61c || r == 0x200e || r == 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
}

// Quoted is a name from outside as it stands among words of ours: as it is, and in quotes with escapes where it is empty or a
// terminal would do anything but show it.
func Quoted(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		return strconv.Quote(s)
	}
	return s
}

// Line is a text with something from outside as one line, in which every character is escaped that a terminal obeys.
func Line(s string) string {
	return string(escape([]byte(s), IsObeyed))
}

// Writer passes on what is written to it, with escapes for all that a terminal obeys but ends of lines and tabs. It is what
// stands between a program and a terminal, so that no name from a repository, a registry or a release has to be thought of where
// it is printed; a JSON document stays the same document. The end of a line in a name is for Line or Quoted to escape.
//
// It may be used by several goroutines.
func Writer(w io.Writer) io.Writer { return &writer{w: w} }

type writer struct {
	mu   sync.Mutex
	w    io.Writer
	tail []byte // the beginning of a character whose end was not written yet
}

func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := append(w.tail, p...)
	whole := len(text)
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				whole -= n
			}
			break
		}
	}
	w.tail = slices.Clone(text[whole:])
	if _, err := w.w.Write(escape(text[:whole], func(r rune) bool { return r != '\n' && r != '\t' && IsObeyed(r) })); err != nil {
		return 0, err
	}
	return len(p), nil
}

// escape is p with the characters that are to be escaped as JSON and Go write them, and the bytes that are no UTF-8 as Go does.
func escape(p []byte, escaped func(rune) bool) []byte {
	out := make([]byte, 0, len(p))
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, p[0])
		case r == '\n' && escaped(r):
			out = append(out, `\n`...)
		case escaped(r):
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = append(out, p[:n]...)
		}
		p = p[n:]
	}
	return out
}
