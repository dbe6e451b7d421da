package notes

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

// line is a line of a changelog, and what it is as Markdown.
type line struct {
	text  string
	level int    // of a heading, 1 to 6; 0 for any other line
	title string // of a heading
	code  bool   // in a fenced block or a comment, its first and last line included
}

var (
	atx   = regexp.MustCompile(`^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$`)
	under = regexp.MustCompile(`^ {0,3}(=+|-+)[ \t]*$`)
	// paragraph is text that a line of = or - below it makes a heading.
	paragraph = regexp.MustCompile(`^ {0,3}[^\s#>|*+=<-]`)
	listed    = regexp.MustCompile(`^ {0,3}[0-9]{1,9}[.)](?:\s|$)`)
	fence     = regexp.MustCompile("^ {0,3}(```+|~~~+)(.*)$")
	// definition is a link reference definition (https://spec.commonmark.org/0.31.2/#link-reference-definitions).
	definition = regexp.MustCompile(`^ {0,3}\[([^\[\]]+)\]:[ \t]*\S`)
)

// markdownLines reads a text line by line: headings of both forms, and what looks like one in code or in a comment and
// is none. A heading that is underlined becomes one line.
func markdownLines(text string) []line {
	var out []line
	end := "" // what ends the block of code or the comment that is open
	for s := range strings.SplitSeq(text, "\n") {
		l := line{text: s}
		switch {
		case end == "-->":
			l.code = true
			if strings.Contains(s, end) {
				end = ""
			}
		case end != "":
			l.code = true
			if m := fence.FindStringSubmatch(s); m != nil && strings.HasPrefix(m[1], end) && strings.TrimSpace(m[2]) == "" {
				end = ""
			}
		default:
			if m := fence.FindStringSubmatch(s); m != nil && !(m[1][0] == '`' && strings.Contains(m[2], "`")) {
				end, l.code = m[1], true
			} else if i := strings.LastIndex(s, "<!--"); i >= 0 && !strings.Contains(s[i:], "-->") {
				end, l.code = "-->", true
			} else if m := atx.FindStringSubmatch(s); m != nil {
				l.level, l.title = len(m[1]), m[2]
			} else if n := len(out); under.MatchString(s) && n > 0 && isTitle(out[n-1]) && (n == 1 || !isTitle(out[n-2])) {
				last := &out[n-1]
				last.level, last.title = 2, strings.TrimSpace(last.text)
				if strings.Contains(s, "=") {
					last.level = 1
				}
				continue
			}
		}
		out = append(out, l)
	}
	return out
}

func isTitle(l line) bool {
	return l.level == 0 && !l.code && paragraph.MatchString(l.text) && !listed.MatchString(l.text) && !definition.MatchString(l.text)
}

// unreleased is the name of the section of what comes next.
const unreleased = "unreleased"

// names is the version that a heading names, or unreleased, or "". The version is the first word, or the second after
// "Version", "Release" or the name of the repository, and may be a link, in brackets, or a tag with something in front
// of it.
func (o Options) names(title string) string {
	words := strings.Fields(title)
	if len(words) > 1 {
		name := strings.TrimSuffix(path.Base(o.Repository), ".git")
		for _, first := range []string{"version", "release", name} {
			if strings.EqualFold(words[0], first) {
				words = words[1:]
				break
			}
		}
	}
	if len(words) == 0 {
		return ""
	}
	word := strings.TrimLeft(words[0], "[*_`(<")
	if i := strings.IndexAny(word, "]*`()>:,"); i >= 0 {
		word = word[:i]
	}
	if strings.EqualFold(word, unreleased) {
		return unreleased
	}
	if word == o.Tag && word != "" {
		if i := strings.LastIndexAny(word, "/@"); i >= 0 {
			word = word[i+1:]
		}
	} else if i := strings.LastIndexByte(word, '@'); i > 0 {
		word = word[i+1:]
	}
	v, err := version.Parse(word)
	if err != nil {
		return ""
	}
	return v.String()
}

// section of a changelog.
type changelogSection struct {
	lines       []line
	definitions []string // further down in the file, of links that the section uses
}

// findSection is the section of the release, false where there is none or an empty one.
func findSection(o Options) (changelogSection, bool) {
	if len(o.Changelog) == 0 {
		return changelogSection{}, false
	}
	text := strings.ToValidUTF8(string(o.Changelog), "\uFFFD")
	text = strings.ReplaceAll(strings.TrimPrefix(text, "\uFEFF"), "\r\n", "\n")
	text = strings.Map(func(r rune) rune {
		if isControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
	lines := markdownLines(text)
	wanted := []string{o.Version.String()}
	if o.Version.IsSnapshot() {
		wanted = append(wanted, unreleased)
	}
	for _, name := range wanted {
		if s := cutSection(lines, name, o); len(s) > 0 {
			return changelogSection{s, definitions(lines, s)}, true
		}
	}
	return changelogSection{}, false
}

// cutSection is what stands below the first heading of that name, up to the next heading that is not lower or names
// another version. Projects that head patches lower than minor versions have the latter.
func cutSection(lines []line, name string, o Options) []line {
	start := slices.IndexFunc(lines, func(l line) bool { return l.level > 0 && o.names(l.title) == name })
	if start < 0 {
		return nil
	}
	own := lines[start].level
	s := lines[start+1:]
	if end := slices.IndexFunc(s, func(l line) bool { return l.level > 0 && (l.level <= own || o.names(l.title) != "") }); end >= 0 {
		s = s[:end]
	}
	// The definitions at the end of the file stand in the section of the oldest version.
	for len(s) > 0 && isOutside(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	for len(s) > 0 && strings.TrimSpace(s[0].text) == "" {
		s = s[1:]
	}
	if !slices.ContainsFunc(s, func(l line) bool { return l.level == 0 && !isOutside(l) }) {
		return nil
	}
	return s
}

func isOutside(l line) bool {
	return !l.code && (strings.TrimSpace(l.text) == "" || definition.MatchString(l.text))
}

var label = regexp.MustCompile(`\[([^\[\]]+)\]`)

// definitions are the link reference definitions in the file, outside the section, that the section uses.
func definitions(lines, section []line) []string {
	used := map[string]bool{}
	inside := map[string]bool{}
	for _, l := range section {
		if m := definition.FindStringSubmatch(l.text); m != nil && !l.code {
			inside[normal(m[1])] = true
		}
		for _, m := range label.FindAllStringSubmatch(l.text, -1) {
			used[normal(m[1])] = true
		}
	}
	var out []string
	for _, l := range lines {
		if m := definition.FindStringSubmatch(l.text); m != nil && !l.code && used[normal(m[1])] && !inside[normal(m[1])] {
			inside[normal(m[1])] = true
			out = append(out, strings.TrimSpace(l.text))
		}
	}
	return out
}

// normal is a label as labels are compared.
func normal(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

func fromChangelog(o Options, h host, s changelogSection) Notes {
	n := Notes{Markdown: changelogMarkdown(o, h, s)}
	n.Changes, n.Breaking = items(s)
	n.Changes = boundChanges(n.Changes, o, h)
	for _, c := range n.Changes {
		n.Security = n.Security || c.Kind == Security
	}
	return n
}

// changelogMarkdown is the section with its highest headings at the second level. What is longer than MaxLen is cut at
// a line, between paragraphs where that is possible, and ends with where the rest is.
func changelogMarkdown(o Options, h host, s changelogSection) string {
	highest := 6
	for _, l := range s.lines {
		if l.level > 0 {
			highest = min(highest, l.level)
		}
	}
	tail := fullChanges(o, h)
	if len(s.definitions) > 0 {
		tail = strings.Join(s.definitions, "\n") + "\n\n" + tail
	}
	if len(tail) > MaxLen/2 {
		tail = fullChanges(o, h)
	}
	rest := "\n\nThe changelog of this version is longer; the rest is in the source of the release."
	if url := h.tree(o); url != "" {
		rest = "\n\nThe changelog of this version is longer; the rest is in " + link("the source of the release", url) + "."
	}
	room := MaxLen - len(o.first()) - len(tail) - len(rest) - 100

	var b strings.Builder
	end := "" // what ends the code or the comment that is open
	cut := false
	paragraphs := 0 // length up to the last empty line
	for _, l := range s.lines {
		text := strings.TrimRight(l.text, " \t")
		if strings.HasSuffix(l.text, "  ") && text != "" && !l.code {
			text += "  " // a hard line break
		}
		if l.code {
			text = l.text
		}
		if l.level > 0 {
			text = strings.TrimRight(strings.Repeat("#", min(l.level-highest+2, 6))+" "+l.title, " ")
		}
		if b.Len()+len(text)+1 > room {
			cut = true
			break
		}
		if text == "" && !l.code {
			paragraphs = b.Len()
		}
		b.WriteString(text + "\n")
		end = openBlock(end, l)
	}
	out := b.String()
	if cut && paragraphs > room/2 {
		out, end = out[:paragraphs], ""
	}
	out = strings.TrimRight(out, "\n")
	if end != "" {
		out += "\n" + end
	}
	if cut {
		out += rest
	}
	return strings.TrimRight(out+"\n\n"+tail, "\n") + "\n"
}

// openBlock is what ends the block that is open after the line.
func openBlock(end string, l line) string {
	switch {
	case !l.code:
		return ""
	case end == "":
		if m := fence.FindStringSubmatch(l.text); m != nil {
			return m[1]
		}
		return "-->"
	case end == "-->":
		if strings.Contains(l.text, end) {
			return ""
		}
	default:
		if m := fence.FindStringSubmatch(l.text); m != nil && strings.HasPrefix(m[1], end) && strings.TrimSpace(m[2]) == "" {
			return ""
		}
	}
	return end
}

// headings of the sections that changelogs have, in letters alone.
var headings = map[string]Kind{
	"added": Added, "features": Added, "feature": Added, "newfeatures": Added, "new": Added, "additions": Added,
	"changed": Changed, "changes": Changed, "improvements": Changed, "improved": Changed, "performance": Changed, "performanceimprovements": Changed,
	"breakingchanges": Changed, "breaking": Changed,
	"deprecated": Deprecated, "deprecations": Deprecated,
	"removed": Removed, "removals": Removed,
	"fixed": Fixed, "fixes": Fixed, "bugfixes": Fixed, "bugs": Fixed, "bugsfixed": Fixed,
	"security": Security, "securityfixes": Security,
}

var (
	item     = regexp.MustCompile(`^( {0,3})(?:[-*+]|[0-9]{1,9}[.)])[ \t]+(.*)$`)
	markLink = regexp.MustCompile(`!?\[([^\[\]]*)\](?:\(<?(https?://[^\s()<>]+)>?(?:[ \t]+"[^"]*")?\)|\[([^\[\]]*)\])?`)
	emphasis = regexp.MustCompile(`\*\*|__`)
	tags     = regexp.MustCompile(`<!--.*?-->|</?[A-Za-z][^<>]*>`)
	escaped  = regexp.MustCompile("\\\\([!-/:-@\\[-`{-~])")
	isBreak  = regexp.MustCompile(`(?i)^\W*breaking\b`)
)

// items are the changes of a section: the items of its lists, of each the first paragraph, as plain text. The heading
// above decides the kind; below no heading that is known, and for an advisory's name below any, the text does.
func items(s changelogSection) (changes []Change, breaks bool) {
	urls := map[string]string{}
	for _, text := range append(textsOf(s.lines), s.definitions...) {
		if m := definition.FindStringSubmatch(text); m != nil {
			_, target, _ := strings.Cut(text, "]:")
			if f := strings.Fields(target); len(f) > 0 && strings.HasPrefix(strings.Trim(f[0], "<>"), "http") {
				urls[normal(m[1])] = strings.Trim(f[0], "<>")
			}
		}
	}
	kind, breakingHeading := Changed, false
	var text strings.Builder
	indent := -1 // of the list that is open; -1 for none
	open := false
	end := func() {
		if open {
			c := newChange(kind, text.String(), urls)
			if c.Description != "" {
				changes = append(changes, c)
				breaks = breaks || breakingHeading || isBreak.MatchString(c.Description)
			}
		}
		text.Reset()
		open = false
	}
	for _, l := range s.lines {
		m := item.FindStringSubmatch(l.text)
		switch {
		case l.code:
			end()
		case l.level > 0:
			end()
			indent = -1
			name := strings.ToLower(strings.Map(letters, clean(l.title, maxSubject)))
			known, ok := headings[name]
			if kind = Changed; ok {
				kind = known
			}
			breakingHeading = strings.HasPrefix(name, "breaking")
		case m != nil && (indent < 0 || len(m[1]) <= indent):
			end()
			indent, open = len(m[1]), true
			text.WriteString(m[2])
		case strings.TrimSpace(l.text) == "", m != nil, listNested.MatchString(l.text):
			end()
		case open && text.Len() < 16<<10:
			text.WriteString(" " + strings.TrimSpace(l.text))
		}
	}
	end()
	return changes, breaks
}

var listNested = regexp.MustCompile(`^\s+(?:[-*+]|[0-9]{1,9}[.)])[ \t]`)

func letters(r rune) rune {
	if r < utf8.RuneSelf && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
		return -1
	}
	if !isWord(r) {
		return -1
	}
	return r
}

func textsOf(lines []line) []string {
	var out []string
	for _, l := range lines {
		if !l.code {
			out = append(out, l.text)
		}
	}
	return out
}

// newChange makes plain text of the Markdown of an item.
func newChange(kind Kind, markdown string, urls map[string]string) Change {
	c := Change{Kind: kind}
	add := func(name, url string) {
		if name = clean(name, maxSubject); name != "" && url != "" && len(c.Links) < 10 && !slices.Contains(c.Links, Link{name, url}) {
			c.Links = append(c.Links, Link{name, url})
		}
	}
	text := markLink.ReplaceAllStringFunc(markdown, func(s string) string {
		m := markLink.FindStringSubmatch(s)
		url := m[2]
		if url == "" {
			if url = urls[normal(m[3])]; m[3] == "" {
				url = urls[normal(m[1])]
			}
		}
		if url == "" && m[3] == "" {
			return s
		}
		add(m[1], url)
		return m[1]
	})
	text = escaped.ReplaceAllString(emphasis.ReplaceAllString(tags.ReplaceAllString(text, ""), ""), "$1")
	c.Description = clean(text, maxNote)
	ids := advisories("", text)
	if len(ids) > 0 {
		c.Kind = Security
	}
	for _, id := range ids {
		if !slices.ContainsFunc(c.Links, func(l Link) bool { return l.Name == id }) {
			add(id, advisoryURL(id))
		}
	}
	return c
}
