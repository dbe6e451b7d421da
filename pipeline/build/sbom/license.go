package sbom

import (
	_ "embed"
	"strings"
	"sync"
)

// The identifiers of the SPDX License List 3.28.0 (https://spdx.org/licenses/), one on a line.
var (
	//go:embed licenses.txt
	licenseList string
	//go:embed exceptions.txt
	exceptionList string
)

// Identifiers are compared without regard to case and written as the list has them.
var (
	licenses   = sync.OnceValue(func() map[string]string { return index(licenseList) })
	exceptions = sync.OnceValue(func() map[string]string { return index(exceptionList) })
)

func index(list string) map[string]string {
	m := map[string]string{}
	for id := range strings.FieldsSeq(list) {
		m[strings.ToLower(id)] = id
	}
	return m
}

// expression is an SPDX license expression
// (https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/).
type expression struct {
	text   string   // with identifiers as the list has them and single spaces
	simple bool     // it is one identifier of the list
	refs   []string // LicenseRef-... in it, whose text no list has
}

const (
	licenseRef   = "LicenseRef-"
	maxLicense   = 4096 // bytes of an expression
	maxNesting   = 32   // parentheses in parentheses
	idCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-"
)

// parseLicense reads an expression. It tells false of everything else, such as the names that Red Hat had before.
func parseLicense(s string) (expression, bool) {
	if len(s) > maxLicense {
		return expression{}, false
	}
	p := &licenseParser{words: strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s))}
	if !p.or(0) || len(p.words) > 0 {
		return expression{}, false
	}
	text := strings.NewReplacer("( ", "(", " )", ")").Replace(strings.Join(p.out, " "))
	return expression{text: text, simple: len(p.out) == 1 && licenses()[strings.ToLower(text)] != "", refs: p.refs}, true
}

type licenseParser struct {
	words, out, refs []string
}

func (p *licenseParser) take(word string) bool {
	if len(p.words) == 0 || p.words[0] != word {
		return false
	}
	p.words, p.out = p.words[1:], append(p.out, word)
	return true
}

func (p *licenseParser) or(depth int) bool {
	for {
		if !p.and(depth) {
			return false
		}
		if !p.take("OR") {
			return true
		}
	}
}

func (p *licenseParser) and(depth int) bool {
	for {
		if !p.one(depth) {
			return false
		}
		if !p.take("AND") {
			return true
		}
	}
}

// one reads a license, perhaps with an exception, or an expression in parentheses.
func (p *licenseParser) one(depth int) bool {
	if p.take("(") {
		return depth < maxNesting && p.or(depth+1) && p.take(")")
	}
	if len(p.words) == 0 {
		return false
	}
	word := p.words[0]
	p.words = p.words[1:]
	if rest, ok := strings.CutPrefix(word, licenseRef); ok {
		if rest == "" || strings.Trim(rest, idCharacters) != "" {
			return false
		}
		p.refs = append(p.refs, word)
	} else {
		id, ok := licenses()[strings.ToLower(word)]
		if !ok { // or later versions of it
			id, ok = licenses()[strings.ToLower(strings.TrimSuffix(word, "+"))]
			id += "+"
		}
		if !ok {
			return false
		}
		word = id
	}
	p.out = append(p.out, word)
	if !p.take("WITH") {
		return true
	}
	if len(p.words) == 0 {
		return false
	}
	id, ok := exceptions()[strings.ToLower(p.words[0])]
	p.words, p.out = p.words[1:], append(p.out, id)
	return ok
}
