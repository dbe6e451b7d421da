package notes

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// writer turns text from outside into Markdown that shows it.
type writer struct {
	host    host
	commits map[string]string // full names by their first seven digits, "" where two begin alike
}

// plain makes no links.
var plain = writer{}

// clean makes one line of s: runs of white space become one space, and what is invisible or turns the direction of
// writing goes, since it could show something else than it is (https://trojansource.codes). It is cut after limit
// characters.
func clean(s string, limit int) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case isControl(r), unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d', unicode.Is(unicode.Co, r):
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r) // U+FFFD for a byte that is not UTF-8
	}
	out := b.String()
	if utf8.RuneCountInString(out) <= limit {
		return out
	}
	return strings.TrimRight(string([]rune(out)[:limit-1]), " ") + "…"
}

func isControl(r rune) bool { return unicode.Is(unicode.Cc, r) }

var (
	codeSpan  = regexp.MustCompile("^`[^`]+`")
	address   = regexp.MustCompile(`^https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+`)
	reference = regexp.MustCompile(`^[#!][0-9]{1,9}`)
	object    = regexp.MustCompile(`^[0-9a-f]{7,64}`)
	ordered   = regexp.MustCompile(`^([0-9]{1,9})([.)])`)
)

// special are the characters that CommonMark, GitHub's tables and strikethrough, and GitHub's and GitLab's formulas
// give a meaning within a line. All of them may be escaped (https://spec.commonmark.org/0.31.2/#backslash-escapes).
const special = "\\`*_[]<>&~|$"

// inline writes one line of clean text. Code in single backticks stays code, URLs show where they lead, and where the
// host is known, #12 and the names of commits of this release are links. After an @ comes a space of no width, as
// most bots have it: the text looks as it was written, and nobody is notified.
func (w writer) inline(s string) string {
	var b strings.Builder
	if m := ordered.FindStringSubmatch(s); m != nil {
		b.WriteString(m[1] + `\` + m[2])
		s = s[len(m[0]):]
	} else if s != "" && strings.IndexByte("#-+=", s[0]) >= 0 && !w.isReference(s) {
		b.WriteString(`\` + s[:1])
		s = s[1:]
	}
	before := ' ' // the character in front of s
	for s != "" {
		n, out := w.token(s, before)
		b.WriteString(out)
		before, _ = utf8.DecodeLastRuneInString(s[:n])
		s = s[n:]
	}
	return b.String()
}

func (w writer) isReference(s string) bool {
	_, out := w.token(s, ' ')
	return strings.HasPrefix(out, "[")
}

// token is the length of the first token of s and how it is written.
func (w writer) token(s string, before rune) (int, string) {
	r, size := utf8.DecodeRuneInString(s)
	word := isWord(before)
	switch {
	case r == '`' && before != '`':
		if m := codeSpan.FindString(s); m != "" && !strings.HasPrefix(s[len(m):], "`") && strings.TrimSpace(m[1:len(m)-1]) != "" {
			return len(m), m
		}
	case r == 'h' && !word:
		if m := strings.TrimRight(address.FindString(s), ".,;:!?')]"); len(m) > len("https://") {
			return len(m), "<" + m + ">"
		}
	case (r == '#' || r == '!') && !word && !strings.ContainsRune("/&!", before): // ![ begins an image
		m := reference.FindString(s)
		if next, _ := utf8.DecodeRuneInString(s[len(m):]); m == "" || isWord(next) {
			break
		}
		if url := w.reference(m); url != "" {
			return len(m), link(m, url)
		}
	case ('0' <= r && r <= '9' || 'a' <= r && r <= 'f') && !word && before != '!':
		m := object.FindString(s)
		if next, _ := utf8.DecodeRuneInString(s[len(m):]); m == "" || isWord(next) {
			break
		}
		if full := w.commits[short(m)]; strings.HasPrefix(full, m) {
			if url := w.host.commit(full); url != "" {
				return len(m), link(m, url)
			}
		}
	case r == '@':
		if next, _ := utf8.DecodeRuneInString(s[1:]); isWord(next) {
			return 1, "@&#8203;"
		}
	}
	if strings.IndexByte(special, s[0]) >= 0 {
		return 1, `\` + s[:1]
	}
	return size, s[:size]
}

// reference is the URL of #12, an issue or a request, or of !12, a merge request of GitLab's.
func (w writer) reference(ref string) string {
	if ref[0] == '!' {
		return w.host.url(w.host.form.merge, ref[1:])
	}
	return w.host.url(w.host.form.issue, ref[1:])
}

func isWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
}
