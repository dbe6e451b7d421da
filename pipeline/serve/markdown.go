package serve

import (
	"html"
	"html/template"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// markdown shows release notes as HTML: headings, lists, paragraphs, code, emphasis and links, which is what notes and
// changelogs are made of. Everything else stays the text that it is. No byte of the notes becomes markup: only the tags
// that are written here, without any attribute but the address of a link, which leads to http or https.
func markdown(text string) template.HTML {
	m := renderer{links: map[string]string{}}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	lines = m.define(lines)
	m.blocks(lines)
	return template.HTML(m.b.String())
}

const (
	maxListDepth = 4
	maxEmphasis  = 4     // of one in another
	maxSpan      = 2_000 // bytes within which what opens is closed, so that many that never are cost little
)

var (
	mdHeading    = regexp.MustCompile(`^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$`)
	mdItem       = regexp.MustCompile(`^([ \t]*)([-*+]|[0-9]{1,9}[.)])[ \t]+(.*)$`)
	mdFence      = regexp.MustCompile("^[ \t]*(```+|~~~+)([^`]*)$")
	mdRule       = regexp.MustCompile(`^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$`)
	mdDefinition = regexp.MustCompile(`^ {0,3}\[([^\[\]]+)\]:[ \t]*<?([^\s<>]+)>?`)
	mdEntity     = regexp.MustCompile(`^&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});`)
	mdAddress    = regexp.MustCompile(`^https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+`)
)

type renderer struct {
	b      strings.Builder
	links  map[string]string // addresses of references
	inLink bool              // a link, in which there is none
}

// define takes the definitions of references, and comments, out of the lines.
func (m *renderer) define(lines []string) []string {
	var out []string
	end := "" // what ends the code or the comment that is open
	for _, l := range lines {
		fence := mdFence.FindStringSubmatch(l)
		switch {
		case end == "-->":
			if strings.Contains(l, end) {
				end = ""
			}
			continue
		case end != "":
			if fence != nil && strings.HasPrefix(fence[1], end) {
				end = ""
			}
		case fence != nil:
			end = fence[1]
		case strings.HasPrefix(strings.TrimSpace(l), "<!--"):
			if !strings.Contains(l, "-->") {
				end = "-->"
			}
			continue
		default:
			if d := mdDefinition.FindStringSubmatch(l); d != nil {
				if isAddress(d[2]) {
					m.links[refLabel(d[1])] = d[2]
				}
				continue
			}
		}
		out = append(out, l)
	}
	return out
}

func refLabel(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// list is one that is open.
type openList struct {
	indent int
	tag    string
}

func (m *renderer) blocks(lines []string) {
	level := 2 // of the last heading; what the notes are headed by is h2
	var lists []openList
	var text []string // of the paragraph or the item that is open
	item := false     // it is that of an item
	flush := func() {
		if len(text) == 0 {
			return
		}
		if !item {
			m.b.WriteString("<p>")
		}
		m.paragraph(text)
		if !item {
			m.b.WriteString("</p>\n")
		}
		text = nil
	}
	closeTo := func(n int) {
		flush()
		for len(lists) > n {
			l := lists[len(lists)-1]
			m.b.WriteString("</li>\n</" + l.tag + ">\n")
			lists = lists[:len(lists)-1]
		}
		item = len(lists) > 0 && item
	}
	for i := 0; i < len(lines); i++ {
		l := lines[i]
		if f := mdFence.FindStringSubmatch(l); f != nil {
			flush()
			if indentOf(l) == 0 {
				closeTo(0)
			}
			m.b.WriteString("<pre><code>")
			for i++; i < len(lines); i++ {
				if end := mdFence.FindStringSubmatch(lines[i]); end != nil && strings.HasPrefix(end[1], f[1]) {
					break
				}
				m.b.WriteString(html.EscapeString(lines[i]) + "\n")
			}
			m.b.WriteString("</code></pre>\n")
			item = false
			continue
		}
		switch {
		case strings.TrimSpace(l) == "":
			flush()
			item = false
		case mdHeading.MatchString(l):
			closeTo(0)
			h := mdHeading.FindStringSubmatch(l)
			level = min(max(len(h[1]), 2)+1, level+1, 6) // none is left out, for those who go from one to the next
			tag := "h" + strconv.Itoa(level)
			m.b.WriteString("<" + tag + ">")
			m.inline(h[2], 0)
			m.b.WriteString("</" + tag + ">\n")
			item = false
		case mdRule.MatchString(l):
			closeTo(0)
			m.b.WriteString("<hr>\n")
		case mdItem.MatchString(l):
			it := mdItem.FindStringSubmatch(l)
			indent := indentOf(l)
			flush()
			depth := len(lists)
			for depth > 0 && lists[depth-1].indent > indent {
				depth--
			}
			tag := "ul"
			if unicode.IsDigit(rune(it[2][0])) {
				tag = "ol"
			}
			switch {
			case depth > 0 && (indent < lists[depth-1].indent+2 || depth == maxListDepth):
				closeTo(depth)
				m.b.WriteString("</li>\n<li>")
			default:
				closeTo(depth)
				m.b.WriteString("<" + tag + ">\n<li>")
				lists = append(lists, openList{indent, tag})
			}
			item, text = true, []string{it[3]}
		default:
			if len(text) == 0 && indentOf(l) == 0 {
				closeTo(0)
				item = false
			}
			text = append(text, l)
		}
	}
	closeTo(0)
}

func indentOf(l string) int {
	n := 0
	for _, c := range l {
		switch c {
		case ' ':
			n++
		case '\t':
			n += 4 - n%4
		default:
			return n
		}
	}
	return n
}

// paragraph writes lines of text, of which one that ends in two spaces ends a line.
func (m *renderer) paragraph(lines []string) {
	start := 0
	for i, l := range lines {
		if i == len(lines)-1 || strings.HasSuffix(l, "  ") {
			if start > 0 {
				m.b.WriteString("<br>\n")
			}
			trimmed := make([]string, 0, i+1-start)
			for _, one := range lines[start : i+1] {
				trimmed = append(trimmed, strings.TrimSpace(one))
			}
			m.inline(strings.Join(trimmed, "\n"), 0)
			start = i + 1
		}
	}
}

// inline writes text with code, emphasis and links.
func (m *renderer) inline(s string, depth int) {
	before := ' '
	for s != "" {
		n := m.span(s, before, depth)
		if n == 0 {
			_, n = utf8.DecodeRuneInString(s)
			m.b.WriteString(html.EscapeString(s[:n]))
		}
		before, _ = utf8.DecodeLastRuneInString(s[:n])
		s = s[n:]
	}
}

// span writes what begins at s if that is more than a character, and returns its length, else 0.
func (m *renderer) span(s string, before rune, depth int) int {
	switch s[0] {
	case '\\':
		if len(s) > 1 && s[1] < utf8.RuneSelf && (unicode.IsPunct(rune(s[1])) || unicode.IsSymbol(rune(s[1]))) {
			m.b.WriteString(html.EscapeString(s[1:2]))
			return 2
		}
	case '&':
		if e := mdEntity.FindString(s); e != "" {
			m.b.WriteString(html.EscapeString(html.UnescapeString(e)))
			return len(e)
		}
	case '`':
		n := len(s) - len(strings.TrimLeft(s, "`"))
		if end := within(s[n:], s[:n]); end > 0 {
			m.b.WriteString("<code>" + html.EscapeString(strings.TrimSpace(s[n:n+end])) + "</code>")
			return n + end + n
		}
		m.b.WriteString(s[:n])
		return n
	case '*', '_':
		return m.emphasis(s, before, depth)
	case '<':
		if end := within(s[1:], ">"); end > 0 && !m.inLink && isAddress(s[1:1+end]) {
			m.link(s[1:1+end], func() { m.b.WriteString(html.EscapeString(s[1 : 1+end])) })
			return end + 2
		}
	case 'h':
		if a := strings.TrimRight(mdAddress.FindString(s[:min(len(s), maxSpan)]), ".,;:!?')]*_"); !m.inLink && !isWord(before) && isAddress(a) {
			m.link(a, func() { m.b.WriteString(html.EscapeString(a)) })
			return len(a)
		}
	case '!':
		if strings.HasPrefix(s, "![") { // a picture would be fetched from elsewhere; its words lead there
			if n := m.reference(s[1:], depth); n > 0 {
				return n + 1
			}
		}
	case '[':
		return m.reference(s, depth)
	}
	return 0
}

func (m *renderer) emphasis(s string, before rune, depth int) int {
	mark, tag := s[:1], "em"
	if strings.HasPrefix(s[1:], mark) {
		mark, tag = s[:2], "strong"
	}
	inner := s[len(mark):]
	end := within(inner, mark)
	if end <= 0 || depth == maxEmphasis || inner[0] == ' ' || inner[end-1] == ' ' || mark[0] == '_' && isWord(before) {
		m.b.WriteString(mark)
		return len(mark)
	}
	m.b.WriteString("<" + tag + ">")
	m.inline(inner[:end], depth+1)
	m.b.WriteString("</" + tag + ">")
	return len(mark) + end + len(mark)
}

// reference writes [text](address), [text][label] or [label].
func (m *renderer) reference(s string, depth int) int {
	end := within(s[1:], "]")
	if end <= 0 || m.inLink || depth >= maxEmphasis {
		return 0
	}
	text, rest := s[1:1+end], s[end+2:]
	if strings.Contains(text, "[") { // the one inside is the link
		return 0
	}
	n, address := end+2, m.links[refLabel(text)]
	switch {
	case strings.HasPrefix(rest, "("):
		if e := within(rest[1:], ")"); e > 0 {
			target, _, _ := strings.Cut(strings.TrimSpace(rest[1:1+e]), " ")
			n, address = n+e+2, strings.Trim(target, "<>")
		}
	case strings.HasPrefix(rest, "["):
		if e := within(rest[1:], "]"); e > 0 {
			n, address = n+e+2, m.links[refLabel(rest[1:1+e])]
		}
	}
	if !isAddress(address) {
		return 0
	}
	m.link(address, func() { m.text(text, depth) })
	return n
}

// text is what a link says.
func (m *renderer) text(s string, depth int) {
	m.inLink = true
	m.inline(s, depth+1)
	m.inLink = false
}

func (m *renderer) link(address string, text func()) {
	m.b.WriteString(`<a href="` + html.EscapeString(address) + `" rel="noopener noreferrer nofollow">`)
	text()
	m.b.WriteString("</a>")
}

// within is where mark is in s, if it is near enough.
func within(s, mark string) int { return strings.Index(s[:min(len(s), maxSpan)], mark) }

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// isAddress reports whether a link may lead there.
func isAddress(s string) bool {
	return len(s) <= maxSpan && slices.ContainsFunc([]string{"http://", "https://"}, func(p string) bool {
		return len(s) > len(p) && strings.EqualFold(s[:len(p)], p)
	}) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == utf8.RuneError })
}
