package version

import (
	"cmp"
	"strings"
)

// Commit is a commit message read as a Conventional Commit (https://www.conventionalcommits.org/en/v1.0.0/).
type Commit struct {
	Type        string   // lower case: feat, fix, ...; "" where the message is not conventional
	Scope       string   // "" where there is none
	Description string   // the first line without type and scope
	Body        string   // paragraphs between the first line and the footers
	Footers     []Footer // in order; breaking changes among them
	Breaking    bool
	Note        string // what breaks: the BREAKING CHANGE footer, else the description; "" unless Breaking
}

// Footer is one trailer of a commit message: "Refs: #12" or "Fixes #12".
type Footer struct{ Token, Value string }

// maxMessage bounds how much of a message is read, in bytes. The longest messages of real projects, squash merges of
// hundreds of commits, stay well below.
const maxMessage = 256 << 10

// ParseCommit reads a commit message. Every message has a reading: one that follows no convention gives a Commit
// without a Type. Types are case-insensitive and BREAKING CHANGE is not, as the specification has it. In one thing the
// reading is more lenient: a line that begins with "BREAKING CHANGE: " counts wherever it stands after the first line,
// and under a first line that is not conventional, since to miss a breaking change costs more than to see one too many.
func ParseCommit(message string) Commit {
	message = strings.ToValidUTF8(message[:min(len(message), maxMessage)], "\uFFFD")
	message = strings.TrimSpace(strings.ReplaceAll(message, "\r\n", "\n"))
	header, rest, _ := strings.Cut(message, "\n")
	c := parseHeader(strings.TrimSpace(header))

	paragraphs := splitParagraphs(rest)
	footers := len(paragraphs)
	for footers > 0 && startsFooter(paragraphs[footers-1]) {
		footers--
	}
	c.Body = strings.Join(paragraphs[:footers], "\n\n")
	for _, p := range paragraphs[footers:] {
		c.Footers = append(c.Footers, parseFooters(p)...)
	}

	for _, p := range paragraphs {
		for _, f := range parseFooters(p) {
			if isBreaking(f.Token) {
				c.Breaking, c.Note = true, cmp.Or(c.Note, f.Value)
			}
		}
	}
	if c.Breaking && c.Note == "" {
		c.Note = c.Description
	}
	return c
}

// parseHeader reads type[(scope)][!]: description.
func parseHeader(line string) Commit {
	prefix, description, ok := strings.Cut(line, ": ")
	description = strings.TrimSpace(description)
	prefix, breaking := strings.CutSuffix(prefix, "!")
	kind, scope := prefix, ""
	if open := strings.IndexByte(prefix, '('); open >= 0 && strings.HasSuffix(prefix, ")") {
		kind, scope = prefix[:open], strings.TrimSpace(prefix[open+1:len(prefix)-1])
		ok = ok && scope != "" && !strings.ContainsAny(scope, "()")
	}
	if !ok || description == "" || !isWord(kind) {
		return Commit{Description: line}
	}
	return Commit{Type: strings.ToLower(kind), Scope: scope, Description: description, Breaking: breaking}
}

func splitParagraphs(s string) []string {
	var out []string
	for lines := strings.Split(s, "\n"); len(lines) > 0; {
		n := 0
		for n < len(lines) && strings.TrimSpace(lines[n]) != "" {
			n++
		}
		if n > 0 {
			out = append(out, strings.Join(lines[:n], "\n"))
		}
		lines = lines[min(n+1, len(lines)):]
	}
	return out
}

func startsFooter(paragraph string) bool {
	line, _, _ := strings.Cut(paragraph, "\n")
	_, ok := parseFooter(line)
	return ok
}

// parseFooters reads the footers of a paragraph. A line that is none continues the footer above it.
func parseFooters(paragraph string) []Footer {
	var out []Footer
	var more []string
	end := func() {
		if n := len(out); n > 0 && len(more) > 0 {
			out[n-1].Value = strings.TrimSpace(out[n-1].Value + "\n" + strings.Join(more, "\n"))
		}
		more = nil
	}
	for line := range strings.SplitSeq(paragraph, "\n") {
		if f, ok := parseFooter(line); ok {
			end()
			out = append(out, f)
		} else {
			more = append(more, strings.TrimSpace(line))
		}
	}
	end()
	return out
}

// parseFooter reads "token: value" or "token #value".
func parseFooter(line string) (Footer, bool) {
	token, value, ok := strings.Cut(line, ":")
	if ok && (isWord(token) || isBreaking(token)) && (value == "" || value[0] == ' ') {
		return Footer{token, strings.TrimSpace(value)}, true
	}
	token, value, ok = strings.Cut(line, " #")
	if ok && (isWord(token) || isBreaking(token)) && value != "" {
		return Footer{token, "#" + strings.TrimSpace(value)}, true
	}
	return Footer{}, false
}

func isBreaking(token string) bool { return token == "BREAKING CHANGE" || token == "BREAKING-CHANGE" }

// isWord reports whether s can be a type or a footer token: letters, digits, - and _, a letter first.
func isWord(s string) bool {
	for i, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789-_", r)) {
			return false
		}
	}
	return s != ""
}
