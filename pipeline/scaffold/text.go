package scaffold

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var licenceFile = regexp.MustCompile(`^(?:licen[cs]e|copying|unlicense)(?:[.-].*)?$`)

// licencePhrases are words that stand in one licence only. Of several that a text has, the one that comes first is its
// own: the GNU licences and Mozilla's name each other further down.
var licencePhrases = []struct{ id, phrase string }{
	{"Apache-2.0", "apache license version 2.0"},
	{"AGPL-3.0-only", "gnu affero general public license version 3"},
	{"LGPL-3.0-only", "gnu lesser general public license version 3"},
	{"LGPL-2.1-only", "gnu lesser general public license version 2.1"},
	{"GPL-3.0-only", "gnu general public license version 3"},
	{"GPL-2.0-only", "gnu general public license version 2"},
	{"MPL-2.0", "mozilla public license version 2.0"},
	{"MIT", "permission is hereby granted free of charge to any person obtaining a copy of this software and associated documentation files"},
	{"ISC", "permission to use copy modify and/or distribute this software for any purpose with or without fee is hereby granted provided that"},
	{"ISC", "permission to use copy modify and distribute this software for any purpose with or without fee is hereby granted provided that"},
	{"Unlicense", "this is free and unencumbered software released into the public domain"},
	{"BSD", "redistribution and use in source and binary forms with or without modification are permitted"},
}

var unspoken = regexp.MustCompile(`[\s,;:*#"“”()]+`)

// recogniseLicence returns the SPDX identifier of the licence whose text this is, or "" (https://spdx.org/licenses).
func recogniseLicence(text string) string {
	text = unspoken.ReplaceAllString(strings.ToLower(text), " ")
	id, first := "", len(text)
	for _, l := range licencePhrases {
		if i := strings.Index(text, l.phrase); i >= 0 && i < first {
			id, first = l.id, i
		}
	}
	if id != "BSD" {
		return id
	}
	switch {
	case strings.Contains(text, "all advertising materials mentioning"):
		return "BSD-4-Clause"
	case strings.Contains(text, "neither the name of"):
		return "BSD-3-Clause"
	}
	return "BSD-2-Clause"
}

// joinLicences is the expression for the licences of a repository. A GPL beside an LGPL of the same version is how the
// LGPL, which adds to it, is shipped.
func joinLicences(ids map[string]bool) string {
	if ids["LGPL-3.0-only"] {
		delete(ids, "GPL-3.0-only")
	}
	return strings.Join(slices.Sorted(maps.Keys(ids)), " OR ")
}

var (
	htmlTag      = regexp.MustCompile(`(?s)<!--.*?-->|<[^>]*>`)
	mdImage      = regexp.MustCompile(`!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])`)
	mdLink       = regexp.MustCompile(`\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])`)
	mdEmphasis   = regexp.MustCompile("\\*{1,3}|_{2,3}|`+")
	mdItalic     = regexp.MustCompile(`\b_([^_\s][^_]*)_\b`)
	mdRule       = regexp.MustCompile(`^(?:[-=*_] ?){3,}$`)
	sentenceEnd  = regexp.MustCompile(`[.!?](?:\s|$)`)
	hasLetters   = regexp.MustCompile(`\pL{2,} .*\pL{2,}`)
	htmlHeading  = regexp.MustCompile(`(?is)<h[1-6][^>]*>.*?</h[1-6]>`)
	abbreviation = regexp.MustCompile(`(?i)(?:^|[\s(])(?:e\.g|i\.e|etc|vs|cf|[a-z])\.$`)
)

// firstSentence is the first sentence of a README that is prose: no title, badge, quote, list, table or code.
func firstSentence(readme string) string {
	if len(readme) > 64<<10 {
		readme = strings.ToValidUTF8(readme[:64<<10], "")
	}
	readme = htmlHeading.ReplaceAllString(strings.ReplaceAll(readme, "\r\n", "\n"), "")
	readme = mdLink.ReplaceAllString(mdImage.ReplaceAllString(htmlTag.ReplaceAllString(readme, ""), ""), "$1")
	code, indented := false, regexp.MustCompile(`^(?: {4}|\t)`)
	lines := strings.Split(readme, "\n")
	var paragraph []string
	for i, line := range append(lines, "") {
		text := strings.TrimSpace(mdItalic.ReplaceAllString(mdEmphasis.ReplaceAllString(line, ""), "$1"))
		fence := strings.HasPrefix(strings.TrimSpace(line), "```") || strings.HasPrefix(strings.TrimSpace(line), "~~~")
		if fence {
			code = !code
		}
		underlined := i+1 < len(lines) && strings.TrimSpace(lines[i+1]) != "" && mdRule.MatchString(strings.TrimSpace(lines[i+1]))
		prose := !code && !fence && text != "" && !underlined && !mdRule.MatchString(strings.TrimSpace(line)) &&
			!strings.ContainsAny(text[:1], "#>|-+[:=") && (len(paragraph) > 0 || !indented.MatchString(line))
		if prose {
			paragraph = append(paragraph, text)
			continue
		}
		if joined := strings.Join(paragraph, " "); hasLetters.MatchString(joined) {
			return cutSentence(joined)
		}
		paragraph = nil
	}
	return ""
}

func cutSentence(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	for from := 0; ; {
		loc := sentenceEnd.FindStringIndex(s[from:])
		if loc == nil {
			return strings.TrimRight(s, ":,; ")
		}
		end := from + loc[0] + 1
		if !abbreviation.MatchString(s[:end]) {
			return strings.TrimSuffix(s[:end], ".")
		}
		from = end
	}
}

var (
	scpRemote  = regexp.MustCompile(`^(?:[A-Za-z0-9._-]+@)?([A-Za-z0-9.-]+):([^/].*)$`)
	remoteHost = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$`)
	remotePath = regexp.MustCompile(`^[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)+$`)
)

// repositoryURL is the https URL of a git remote, without credentials and ending; "" for one that is not on a host, or
// whose path a URL could not have as it is.
func repositoryURL(remote string) string {
	host, p := "", ""
	if u, err := url.Parse(remote); err == nil && slices.Contains([]string{"https", "http", "ssh", "git", "git+ssh"}, u.Scheme) {
		host, p = u.Hostname(), u.Path
		if u.Port() != "" && (u.Scheme == "https" || u.Scheme == "http") {
			host += ":" + u.Port()
		}
	} else if m := scpRemote.FindStringSubmatch(remote); m != nil && !strings.Contains(remote, "://") {
		host, p = m[1], m[2]
	}
	p = strings.TrimSuffix(strings.Trim(p, "/"), ".git")
	name, _, _ := strings.Cut(host, ":")
	if len(name) < 2 || !remoteHost.MatchString(name) || !remotePath.MatchString(p) || slices.Contains(strings.Split(p, "/"), "..") {
		return ""
	}
	return "https://" + host + "/" + p
}

// repositoryOfModule is the URL of the repository that a module path names, where its host is one whose paths do.
func repositoryOfModule(p string) string {
	parts := strings.Split(p, "/")
	if len(parts) < 3 || !slices.Contains([]string{"github.com", "gitlab.com", "bitbucket.org", "codeberg.org"}, parts[0]) {
		return ""
	}
	return repositoryURL("https://" + strings.Join(parts[:3], "/"))
}

// registryOf is the container repository that the host of a source repository gives it; "" for hosts without one.
func registryOf(repository string) string {
	u, err := url.Parse(repository)
	if err != nil {
		return ""
	}
	registry := map[string]string{"github.com": "ghcr.io", "gitlab.com": "registry.gitlab.com"}[u.Host]
	if registry == "" {
		return ""
	}
	return registry + strings.ToLower(u.Path)
}
