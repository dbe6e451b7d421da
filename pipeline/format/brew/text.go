package brew

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/format"
)

func hex(r rune) string { return strconv.FormatInt(int64(r), 16) }

// maxDesc is the number of characters of the longest description that brew audit accepts.
const maxDesc = 80

var (
	commandLine = regexp.MustCompile(`(?i)\b(c)ommand ?(line)`)
	article     = regexp.MustCompile(`(?i)^(?:the|an?)\s+`)
	connector   = regexp.MustCompile(`(?i)^(?:\s*[-–—:,;]+\s*|\s+(?:is|are|that|which)\s+|\s+)`)
	dangling    = regexp.MustCompile(`(?i)(?:[\s,;:(\[{–—-]+|\s+(?:a|an|and|as|at|but|by|for|from|in|into|is|of|on|or|than|that|the|to|via|which|with))$`)
)

// desc is the summary in the form that brew audit wants for a description
// (https://github.com/Homebrew/brew/blob/HEAD/Library/Homebrew/rubocops/shared/desc_helper.rb). It is one line without
// symbols such as emoji. An article and the name at the beginning go, with what ties the name to the rest (": ",
// " is ", " that "), as does a full stop at the end unless it is that of etc. It is command-line and not command line. The first
// letter is a capital, save in names such as macOS. What is longer than 80 characters ends after the last word that
// fits and can end a line. The platform, which has no place in a cask's description, stays: without it, what is said
// may be another thing.
//
// Where nothing is left, the first sentence of the description is treated the same way.
func desc(m format.Meta, name string, k kind) string {
	sentence, _, _ := strings.Cut(m.Description, ". ")
	return cmp.Or(tidy(m.Summary, name), tidy(sentence, name), "Command-line "+map[kind]string{formulaKind: "program", caskKind: "application"}[k])
}

func tidy(s, name string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case unicode.Is(unicode.So, r) || !unicode.IsGraphic(r) || r == '\ufe0f' || r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	s = commandLine.ReplaceAllString(s, "${1}ommand-${2}")
	for before := ""; s != before; {
		before = s
		s = strings.TrimSpace(article.ReplaceAllString(s, ""))
		s = strings.TrimSpace(withoutName(s, name))
		if bare, _, versioned := strings.Cut(name, "@"); versioned {
			s = strings.TrimSpace(withoutName(s, bare))
		}
		s = strings.TrimLeft(s, "-–—:,;.!? ")
	}
	s = shorten(s)
	for strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "etc.") {
		s = strings.TrimRight(strings.TrimSuffix(s, "."), " ")
	}
	first, size := utf8.DecodeRuneInString(s)
	switch word, _, _ := strings.Cut(s, " "); word {
	case "iOS", "iPhone", "macOS":
		return s
	}
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + s[size:]
}

// withoutName takes the name off the beginning in all the ways of writing it that brew audit knows: in any letter case
// and with a space or hyphen between any two letters.
func withoutName(s, name string) string {
	var b strings.Builder
	b.WriteString(`(?i)^`)
	for i, r := range []rune(strings.ReplaceAll(name, "-", "")) {
		if i > 0 {
			b.WriteString(`[\s-]?`)
		}
		b.WriteString(regexp.QuoteMeta(string(r)))
	}
	at := regexp.MustCompile(b.String()).FindStringIndex(s)
	if at == nil {
		return s
	}
	rest := s[at[1]:]
	if next, _ := utf8.DecodeRuneInString(rest); rest != "" && (unicode.IsLetter(next) || unicode.IsDigit(next) || next == '_') {
		return s
	}
	if tie := connector.FindString(rest); tie != "" {
		return rest[len(tie):]
	}
	return rest
}

func shorten(s string) string {
	runes := []rune(s)
	if len(runes) <= maxDesc {
		return s
	}
	cut := string(runes[:maxDesc+1])
	if i := strings.LastIndexByte(cut, ' '); i > 0 {
		cut = cut[:i]
	} else {
		cut = string(runes[:maxDesc])
	}
	for before := ""; cut != before; {
		before = cut
		cut = dangling.ReplaceAllString(cut, "")
	}
	return cut
}

// class is the name of the Ruby class that Homebrew expects in the file of a formula: that of class_s in
// https://github.com/Homebrew/brew/blob/HEAD/Library/Homebrew/formulary.rb.
func class(name string) string {
	var b strings.Builder
	up := true
	for i, r := range name {
		switch {
		case strings.ContainsRune("-_. ", r) && i+1 < len(name) && alphanumeric(name[i+1]):
			up = true
			continue
		case r == '+':
			r = 'x'
		case r == '@' && i > 0 && i+1 < len(name) && name[i+1] >= '0' && name[i+1] <= '9':
			b.WriteString("AT")
			continue
		case up:
			r = unicode.ToUpper(r)
		default:
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
		up = false
	}
	return b.String()
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// oneLine is s without what would break a line or is not to be seen.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.Join(strings.Fields(s), " ")
}
