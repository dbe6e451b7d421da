package deb

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
)

// licenses are names of files that are licences, and no notices or lists of authors.
var licenses = regexp.MustCompile(`(?i)^(?:un)?(?:licen[cs]es?|copying)(?:[._-].*)?$`)

func isLicense(name string) bool { return licenses.MatchString(path.Base(name)) }

// common are the licences whose text every Debian has in /usr/share/common-licenses, and which a package names instead
// of bringing it (https://www.debian.org/doc/debian-policy/ch-docs.html#copyright-information). A file is the full text
// of one where its beginning has the title and it is as long.
var common = []struct {
	title *regexp.Regexp
	size  int
	file  string
}{
	{regexp.MustCompile(`(?i)\bApache\s+License\s+Version\s+2\.0`), 9000, "Apache-2.0"},
	{regexp.MustCompile(`(?i)^\W*GNU\s+GENERAL\s+PUBLIC\s+LICENSE\s+Version\s+2\b`), 14000, "GPL-2"},
	{regexp.MustCompile(`(?i)^\W*GNU\s+GENERAL\s+PUBLIC\s+LICENSE\s+Version\s+3\b`), 30000, "GPL-3"},
	{regexp.MustCompile(`(?i)^\W*GNU\s+LESSER\s+GENERAL\s+PUBLIC\s+LICENSE\s+Version\s+2\.1`), 20000, "LGPL-2.1"},
	{regexp.MustCompile(`(?i)^\W*GNU\s+LESSER\s+GENERAL\s+PUBLIC\s+LICENSE\s+Version\s+3\b`), 6000, "LGPL-3"},
	{regexp.MustCompile(`(?i)^\W*Mozilla\s+Public\s+License,?\s+Version\s+2\.0`), 14000, "MPL-2.0"},
}

// holders are lines of a licence that say whose the work is, and since when.
var holders = regexp.MustCompile(`(?i)^\W*(?:copyright\b(?:\s*(?:\(c\)|©))?|©|\(c\))\s*:?\s*(\d{4}.*)$`)

// copyright is the machine-readable copyright file
// (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/).
func copyright(p format.Package, texts []string) []byte {
	var b bytes.Buffer
	b.WriteString("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n")
	fmt.Fprintf(&b, "Upstream-Name: %s\n", cmp.Or(p.Title, p.Name))
	fmt.Fprintf(&b, "Upstream-Contact: %s\n", p.Maintainer)
	if source := cmp.Or(p.Repository, p.Homepage); source != "" {
		fmt.Fprintf(&b, "Source: %s\n", source)
	}
	var whose, license []string
	for _, text := range texts {
		text = strings.Map(func(r rune) rune {
			if r < ' ' && r != '\n' && r != '\t' {
				return -1
			}
			return r
		}, strings.ToValidUTF8(text, "?"))
		file := commonLicense(text)
		lines := strings.Split(strings.Trim(text, "\n"), "\n")
		for _, line := range lines {
			// The Free Software Foundation holds the copyright of its licences, and not of what is under them.
			if m := holders.FindStringSubmatch(line); m != nil && !strings.Contains(m[1], "Free Software Foundation") && !slices.Contains(whose, m[1]) {
				whose = append(whose, m[1])
			}
		}
		if file != "" {
			lines = []string{"On Debian systems, the full text is in", "/usr/share/common-licenses/" + file + "."}
		}
		if len(license) > 0 {
			license = append(license, "")
		}
		license = append(license, lines...)
	}
	if len(whose) == 0 {
		owner, _, _ := strings.Cut(cmp.Or(p.Vendor, p.Maintainer), " <")
		whose = []string{fmt.Sprintf("%d %s", p.Time.UTC().Year(), owner)}
	}
	if len(license) == 0 {
		license = []string{"The project states its licence as " + cmp.Or(p.License, "none") + "."}
	}
	fmt.Fprintf(&b, "\nFiles: *\nCopyright: %s\nLicense: %s\n", strings.Join(whose, "\n           "), shortName(p.License))
	for _, line := range license {
		line = strings.TrimRight(line, " \t")
		switch {
		case line == "":
			line = "."
		case line[0] == '.': // is not text there
			line = " " + line
		}
		b.WriteString(" " + line + "\n")
	}
	return b.Bytes()
}

// commonLicense is the name of the file that has the text on every Debian, or "".
func commonLicense(text string) string {
	for _, c := range common {
		if len(text) >= c.size && c.title.MatchString(text[:600]) {
			return c.file
		}
	}
	return ""
}

// others are the licences that the format calls otherwise than SPDX does
// (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/#license-short-name).
var others = strings.NewReplacer(
	"-Clause", "-clause", "-or-later", "+", "-only", "", ".0-or-later", "+", ".0-only", "",
)

// shortName is an SPDX expression in the format's words. Parentheses, which it has none of, are left to the text.
func shortName(expression string) string {
	if expression == "" {
		return "unknown"
	}
	if strings.ContainsAny(expression, "()") {
		return "other"
	}
	words := strings.Fields(expression)
	for i, w := range words {
		switch w {
		case "AND", "OR", "WITH":
			w = strings.ToLower(w)
		case "MIT":
			w = "Expat"
		}
		words[i] = others.Replace(w)
	}
	return strings.Join(words, " ")
}
