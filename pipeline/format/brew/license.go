package brew

import (
	"regexp"
	"slices"
	"strings"
)

// unknown is what Homebrew calls a license that its expressions cannot name.
const unknown = ":cannot_represent"

var (
	licenseToken = regexp.MustCompile(`^(?:[()]|[A-Za-z0-9.:+-]+)`)
	licenseID    = regexp.MustCompile(`^[A-Za-z0-9.-]+\+?$`)
)

// maxNesting bounds the parentheses of a license expression.
const maxNesting = 16

// license is an SPDX expression (https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/) in the Ruby of a
// formula (https://docs.brew.sh/Licence-Guidelines), as the argument of its license stanza. AND becomes all_of:, OR
// any_of:, WITH with:, and LicenseRef-public-domain a symbol of that name. Other references and what is not an
// expression become :cannot_represent. "" stays "".
func license(expression string) string {
	if strings.TrimSpace(expression) == "" {
		return ""
	}
	p := licenseParser{rest: expression}
	p.next()
	e, ok := p.any(0)
	if !ok || p.token != "" || p.bad {
		return unknown
	}
	return strings.TrimSuffix(strings.TrimPrefix(e.ruby("  "), "{ "), " }")
}

// expression is a license, or alternatives or a sum of several.
type expression struct {
	key   string // any_of or all_of; "" for one license
	id    string
	with  string
	parts []expression
}

type licenseParser struct {
	rest, token string
	bad         bool
}

func (p *licenseParser) next() {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	p.token = licenseToken.FindString(p.rest)
	p.bad = p.bad || p.token == "" && p.rest != ""
	p.rest = p.rest[len(p.token):]
}

func (p *licenseParser) any(depth int) (expression, bool) {
	return p.joined("any_of", "OR", func() (expression, bool) {
		return p.joined("all_of", "AND", func() (expression, bool) { return p.single(depth) })
	})
}

func (p *licenseParser) joined(key, operator string, part func() (expression, bool)) (expression, bool) {
	first, ok := part()
	if !ok || !strings.EqualFold(p.token, operator) {
		return first, ok
	}
	out := expression{key: key}
	add := func(e expression) {
		parts := []expression{e}
		if e.key == key {
			parts = e.parts
		}
		for _, p := range parts {
			if !slices.ContainsFunc(out.parts, p.equal) {
				out.parts = append(out.parts, p)
			}
		}
	}
	add(first)
	for strings.EqualFold(p.token, operator) {
		p.next()
		e, ok := part()
		if !ok {
			return expression{}, false
		}
		add(e)
	}
	if len(out.parts) == 1 {
		return out.parts[0], true
	}
	return out, true
}

func (p *licenseParser) single(depth int) (expression, bool) {
	if depth > maxNesting {
		return expression{}, false
	}
	if p.token == "(" {
		p.next()
		e, ok := p.any(depth + 1)
		if !ok || p.token != ")" {
			return expression{}, false
		}
		p.next()
		return e, true
	}
	e := expression{id: p.token}
	if !named(e.id) {
		return expression{}, false
	}
	p.next()
	if strings.EqualFold(p.token, "WITH") {
		p.next()
		e.with = p.token
		if !named(e.with) || strings.HasSuffix(e.with, "+") {
			return expression{}, false
		}
		p.next()
	}
	return e, true
}

// named reports whether a token is the name of a license.
func named(token string) bool {
	switch strings.ToUpper(token) {
	case "", "AND", "OR", "WITH", "NONE", "NOASSERTION":
		return false
	case "LICENSEREF-PUBLIC-DOMAIN":
		return true
	}
	return licenseID.MatchString(token) && !strings.HasPrefix(strings.ToUpper(token), "LICENSEREF-")
}

func (e expression) equal(o expression) bool {
	return e.key == o.key && e.id == o.id && e.with == o.with && slices.EqualFunc(e.parts, o.parts, expression.equal)
}

// plain reports whether the license is not a hash in Ruby.
func (e expression) plain() bool { return e.key == "" && e.with == "" }

// ruby is the expression as a value in Ruby, on a line that is indented so. One that holds hashes has each part on a
// line of its own, as brew style requires.
func (e expression) ruby(indent string) string {
	switch {
	case e.key == "" && strings.EqualFold(e.id, "LicenseRef-public-domain"):
		return ":public_domain"
	case e.plain():
		return quote(e.id)
	case e.key == "":
		return "{ " + quote(e.id) + " => { with: " + quote(e.with) + " } }"
	}
	parts := make([]string, len(e.parts))
	long, width := false, len(indent)+len("license ")+len(e.key)
	for i, p := range e.parts {
		long = long || !p.plain()
		parts[i] = p.ruby(indent + "  ")
		width += len(parts[i]) + len(", ")
	}
	if !long && width < 100 {
		return "{ " + e.key + ": [" + strings.Join(parts, ", ") + "] }"
	}
	var b strings.Builder
	b.WriteString("{ " + e.key + ": [\n")
	for _, p := range parts {
		b.WriteString(indent + "  " + p + ",\n")
	}
	b.WriteString(indent + "] }")
	return b.String()
}
