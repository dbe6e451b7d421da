package payload

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/format"
)

// items begin a line that is a point of a list, in Markdown.
var items = regexp.MustCompile(`^\s*(?:[-*+]|[0-9]{1,3}[.)])\s+`)

// Wrap sets a text again in lines of at most width characters, as far as its words let it. Paragraphs and points of lists
// begin lines of their own; "" stands between paragraphs.
func Wrap(text string, width int) []string {
	var lines []string
	line := ""
	flush := func() {
		if line != "" {
			lines = append(lines, line)
		}
		line = ""
	}
	for raw := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		words := strings.Fields(raw)
		if len(words) == 0 {
			if flush(); len(lines) > 0 && lines[len(lines)-1] != "" {
				lines = append(lines, "")
			}
			continue
		}
		if items.MatchString(raw) {
			flush()
		}
		for _, w := range words {
			if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > width {
				flush()
			}
			line = strings.TrimPrefix(line+" "+w, " ")
		}
	}
	flush()
	return lines
}

var headings = regexp.MustCompile(`^#{1,6}\s+(.*?)[\s#:]*$`)

// Changes are what is new, point by point, each behind the heading that it is under. They are never none.
func Changes(p format.Package) []string {
	var out []string
	heading, more := "", false
	for raw := range strings.SplitSeq(p.Changes, "\n") {
		line := strings.Join(strings.Fields(raw), " ")
		m := headings.FindStringSubmatch(line)
		switch {
		case line == "", line == "-", line == "*", line == "+":
			more = false
		case m != nil:
			heading, more = "", false
			if m[1] != "" && !strings.Contains(m[1], p.Version.String()) {
				heading = m[1] + ": "
			}
		case items.MatchString(line):
			out, more = append(out, heading+items.ReplaceAllString(line, "")), true
		case more:
			out[len(out)-1] += " " + line
		default:
			out, more = append(out, heading+line), true
		}
	}
	if len(out) == 0 {
		return []string{"Release " + p.Version.String() + "."}
	}
	return out
}
