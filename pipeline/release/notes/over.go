package notes

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Part is a part of a release that has notes of its own.
type Part struct {
	Title    string // in a line of plain text
	Markdown string // its own notes; "" where they are not at hand
}

// Over adds to the notes of a release what is new in its parts, and the names of those that are the same. What parts say of themselves
// stands in quotations, which nothing in it can leave, and without HTML. Together it has at most MaxLen bytes, unless the notes of the
// release or the titles alone have more: of each part that says too much the beginning is taken.
func Over(own string, changed []Part, same []string) string {
	if len(changed)+len(same) == 0 {
		return own
	}
	var b strings.Builder
	b.WriteString(strings.TrimRight(own, "\n"))
	b.WriteString("\n\n## Components\n")
	last := ""
	if len(same) > 0 {
		last = fmt.Sprintf("\nThe same: %s.\n", plain.inline(clean(strings.Join(same, ", "), MaxLen)))
	}
	const more = "> …\n"
	room, left := MaxLen-b.Len()-len(last), 0
	titles := make([]string, len(changed))
	for i, p := range changed {
		titles[i] = "\n### " + plain.inline(clean(p.Title, 300)) + "\n"
		room -= len(titles[i])
		if p.Markdown != "" {
			left++
		}
	}
	for i, p := range changed {
		b.WriteString(titles[i])
		if p.Markdown == "" {
			continue
		}
		share, taken := max(0, room)/left-len(more)-1, 0
		left--
		b.WriteString("\n")
		room--
		for line := range strings.Lines(quotation(p.Markdown)) {
			if taken += len(line); taken > share {
				b.WriteString(more)
				room -= len(more)
				break
			}
			b.WriteString(line)
			room -= len(line)
		}
	}
	b.WriteString(last)
	return b.String()
}

// html is the beginning of anything that CommonMark may take for HTML (https://spec.commonmark.org/0.31.2/#raw-html). Links in angle
// brackets stay.
var html = regexp.MustCompile(`<([A-Za-z/!?])`)

// quotation is Markdown as a quotation.
func quotation(s string) string {
	var b strings.Builder
	s = strings.ToValidUTF8(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s), string(utf8.RuneError))
	for line := range strings.SplitSeq(strings.Trim(s, "\n"), "\n") {
		line = strings.Map(func(r rune) rune {
			if isControl(r) && r != '\t' {
				return -1
			}
			return r
		}, line)
		line = html.ReplaceAllString(line, "&lt;$1")
		line = strings.ReplaceAll(line, "&lt;https://", "<https://")
		b.WriteString(strings.TrimRight("> "+line, " ") + "\n")
	}
	return b.String()
}
