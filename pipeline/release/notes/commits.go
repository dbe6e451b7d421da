package notes

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

// How much of what commits say is shown, in characters.
const (
	maxSubject = 200
	maxScope   = 50
	maxNote    = 1000
	maxName    = 80
	maxAuthors = 16 << 10 // bytes of all names
)

// section is a part of the notes.
type section int

const (
	breaking section = iota
	security
	features
	fixes
	performance
	reverts
	documentation
	others
	folded // counted and not listed
)

var titles = []string{
	breaking: "Breaking changes", security: "Security", features: "Features", fixes: "Fixes", performance: "Performance",
	reverts: "Reverts", documentation: "Documentation", others: "Other changes",
}

// types are the types of commits that are known. Any other is a part of the subject: "net: close" is how much code
// names the package that a commit is about.
var types = map[string]section{
	"feat": features, "feature": features,
	"fix": fixes, "bugfix": fixes, "hotfix": fixes,
	"security": security,
	"perf":     performance,
	"revert":   reverts,
	"docs":     documentation, "doc": documentation,
	"chore": folded, "ci": folded, "test": folded, "tests": folded, "style": folded, "build": folded, "refactor": folded,
}

// entry is a commit as the notes show it.
type entry struct {
	hash    string
	commit  version.Commit
	section section
	kind    Kind // "" for what changes nothing for users
	scope   string
	text    string   // the subject, clean
	note    string   // what breaks, clean, where that is more than the subject
	ids     []string // advisories that the message names
	merge   bool
	undoes  []string // beginnings of the names of the commits that it reverts
}

var (
	advisory = regexp.MustCompile(`\b(?:CVE-[0-9]{4}-[0-9]{4,9}|GHSA(?:-[0-9a-z]{4}){3})\b`)
	// merges are the subjects that git and the hosts give to merge commits.
	merges = regexp.MustCompile(`^Merge (?:pull request|(?:remote-tracking )?branch(?:es)?|tags?|commits?) `)
	// undone is what git revert writes into the body, and reversed what it adds for a merge commit.
	undone   = regexp.MustCompile(`(?i)\bthis reverts commit ([0-9a-f]{7,64})\b`)
	reversed = regexp.MustCompile(`(?i)\breversing\s+changes made to\b`)
	quoted   = regexp.MustCompile(`^Revert "(.*)"$`)
	hashes   = regexp.MustCompile(`\b[0-9a-f]{7,64}\b`)
	// trailing are the references that squash merges put at the end of a subject.
	trailing = regexp.MustCompile(`(?:\s*\([#!][0-9]{1,9}(?:,\s*[#!][0-9]{1,9})*\))+$`)
)

func newEntry(c Commit) entry {
	subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	e := entry{hash: c.Hash, commit: version.ParseCommit(c.Message), section: others, kind: Changed, merge: merges.MatchString(subject)}
	s, known := types[e.commit.Type]
	if known {
		e.section = s
		e.scope, e.text = clean(e.commit.Scope, maxScope), clean(e.commit.Description, maxSubject)
	} else {
		e.text = clean(subject, maxSubject)
	}
	if e.text == "" {
		e.text = "(no subject)"
	}
	e.undoes = undoes(e.commit, c.Message)
	if !known && len(e.undoes) > 0 {
		e.section = reverts
	}
	e.ids = advisories(e.commit.Type, c.Message)
	switch {
	case len(e.ids) > 0, e.section == fixes && strings.EqualFold(e.commit.Scope, "security"):
		e.section = security
	case e.merge:
		e.section = folded
	}
	e.kind = kindOf(e)
	if e.commit.Breaking {
		if e.kind != Security {
			e.kind = Changed
		}
		e.section = breaking
		if e.commit.Note != e.commit.Description {
			e.note = clean(e.commit.Note, maxNote)
		}
	}
	return e
}

// kindOf maps sections to kinds. A revert removes what it takes back where that is a feature.
func kindOf(e entry) Kind {
	switch e.section {
	case security:
		return Security
	case features:
		return Added
	case fixes:
		return Fixed
	case reverts:
		what := e.commit.Description
		if m := quoted.FindStringSubmatch(what); m != nil {
			what = m[1]
		}
		if types[version.ParseCommit(what).Type] == features {
			return Removed
		}
		return Changed
	case documentation, folded:
		return ""
	}
	return Changed
}

// advisories are the security advisories that a message names. A feature, a document and a test may be about one and
// mend none.
func advisories(kind, message string) []string {
	switch kind {
	case "", "fix", "bugfix", "hotfix", "security", "chore", "build":
	default:
		return nil
	}
	ids := advisory.FindAllString(message, 100)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return ids[:min(5, len(ids))]
}

func advisoryURL(id string) string {
	if strings.HasPrefix(id, "CVE") {
		return "https://www.cve.org/CVERecord?id=" + id
	}
	return "https://github.com/advisories/" + id
}

// undoes are the commits that a commit takes back, by git's own words or by a footer of a commit of type revert.
func undoes(c version.Commit, message string) []string {
	if reversed.MatchString(message) {
		return nil // of a merge, whose commits are not known here
	}
	var all []string
	for _, m := range undone.FindAllStringSubmatch(message, 100) {
		all = append(all, m[1])
	}
	if c.Type == "revert" {
		for _, f := range c.Footers {
			if strings.EqualFold(f.Token, "refs") || strings.EqualFold(f.Token, "reverts") {
				all = append(all, hashes.FindAllString(f.Value, 100)...)
			}
		}
	}
	return all
}

// cancel leaves out commits that later ones of the same release take back, and these with them. Of a commit that also
// takes back something of an earlier release the notes still tell.
func cancel(entries []entry) []entry {
	byName := map[string][]int{}
	for i, e := range entries {
		byName[short(e.hash)] = append(byName[short(e.hash)], i)
	}
	find := func(prefix string, after int) int {
		found := -1
		for _, i := range byName[short(prefix)] {
			if strings.HasPrefix(entries[i].hash, prefix) {
				if found >= 0 {
					return -1
				}
				found = i
			}
		}
		if found <= after {
			return -1
		}
		return found
	}
	gone := make([]bool, len(entries))
	for i, e := range entries {
		if gone[i] || len(e.undoes) == 0 {
			continue
		}
		all := true
		for _, prefix := range e.undoes {
			if j := find(prefix, i); j >= 0 {
				gone[j] = true
			} else {
				all = false
			}
		}
		gone[i] = all
	}
	var left []entry
	for i, e := range entries {
		if !gone[i] {
			left = append(left, e)
		}
	}
	return left
}

func fromCommits(o Options, h host) Notes {
	w := writer{host: h, commits: map[string]string{}}
	entries := make([]entry, len(o.Commits))
	for i, c := range o.Commits {
		entries[i] = newEntry(c)
		if isHash(c.Hash) {
			if _, twice := w.commits[short(c.Hash)]; twice {
				w.commits[short(c.Hash)] = ""
			} else {
				w.commits[short(c.Hash)] = c.Hash
			}
		}
	}
	entries = cancel(entries)

	sections := make([][]entry, folded)
	maintenance := map[string]int{}
	var n Notes
	for _, e := range entries {
		if e.section == folded {
			if !e.merge {
				maintenance[e.commit.Type]++
			}
			continue
		}
		sections[e.section] = append(sections[e.section], e)
		n.Breaking = n.Breaking || e.section == breaking
		n.Security = n.Security || e.kind == Security
	}
	for _, all := range sections {
		for _, e := range all {
			if e.kind != "" {
				n.Changes = append(n.Changes, w.change(e))
			}
		}
	}
	n.Changes = boundChanges(n.Changes, o, h)
	n.Markdown = w.markdown(o, sections, maintenance)
	return n
}

// markdown lists the sections. Where the whole is longer than MaxLen the list ends early, with the number of changes
// that are missing.
func (w writer) markdown(o Options, sections [][]entry, maintenance map[string]int) string {
	var tail strings.Builder
	if line := maintained(maintenance); line != "" {
		tail.WriteString(line + "\n\n")
	}
	if names := authors(o.Commits); len(names) > 0 {
		tail.WriteString("## Authors\n\n" + listNames(names) + "\n\n")
	}
	text, url := w.host.changes(o)
	tail.WriteString(fullChanges(o, w.host))

	room := MaxLen - len(o.first()) - tail.Len() - len(url) - 200
	var b strings.Builder
	listed, total := 0, 0
	for s, all := range sections {
		title := titles[s]
		if s == int(others) && total == 0 {
			title = "Changes"
		}
		for i, e := range all {
			item := w.item(e)
			if i == 0 {
				item = "## " + title + "\n\n" + item
			}
			if total++; listed < total-1 || b.Len()+len(item) > room {
				continue
			}
			listed++
			b.WriteString(item)
		}
		if len(all) > 0 && listed == total {
			b.WriteByte('\n')
		}
	}
	switch {
	case listed < total:
		fmt.Fprintf(&b, "\n%d more changes are not listed here", total-listed)
		if url != "" {
			b.WriteString(": see " + link(plain.inline(text), url))
		}
		b.WriteString(".\n\n")
	case total == 0 && len(maintenance) == 0 && o.Since != "":
		b.WriteString("No changes since " + plain.inline(o.Since) + ".\n\n")
	case total == 0 && len(maintenance) == 0:
		b.WriteString("No changes.\n\n")
	}
	return strings.TrimRight(b.String()+tail.String(), "\n") + "\n"
}

// item is an entry as an item of a list.
func (w writer) item(e entry) string {
	var b strings.Builder
	b.WriteString("- ")
	if e.scope != "" {
		b.WriteString("**" + plain.inline(e.scope) + ":** ")
	}
	b.WriteString(w.inline(e.text))
	var refs []string
	for _, id := range e.ids {
		if !strings.Contains(e.text, id) {
			refs = append(refs, link(id, advisoryURL(id)))
		}
	}
	if isHash(e.hash) {
		refs = append(refs, link(short(e.hash), w.host.commit(e.hash)))
	}
	if len(refs) > 0 {
		b.WriteString(" (" + strings.Join(refs, ", ") + ")")
	}
	b.WriteByte('\n')
	if e.note != "" {
		b.WriteString("  " + w.inline(e.note) + "\n")
	}
	return b.String()
}

// change is an entry as a line of plain text with its references as links.
func (w writer) change(e entry) Change {
	text := e.text
	if rest := trailing.ReplaceAllString(text, ""); rest != "" {
		text = rest
	}
	c := Change{Kind: e.kind}
	add := func(name, url string) {
		if url != "" && !slices.Contains(c.Links, Link{name, url}) {
			c.Links = append(c.Links, Link{name, url})
		}
	}
	for _, ref := range numbers.FindAllString(e.text[len(text):], 10) {
		add(ref, w.reference(ref))
	}
	for _, id := range e.ids {
		add(id, advisoryURL(id))
	}
	if isHash(e.hash) {
		add(short(e.hash), w.host.commit(e.hash))
	}
	if e.scope != "" {
		text = e.scope + ": " + text
	}
	if e.note != "" {
		text += ": " + e.note
	}
	c.Description = text
	return c
}

var numbers = regexp.MustCompile(`[#!][0-9]{1,9}`)

// maintained counts the commits that change nothing for those who use the release.
func maintained(counts map[string]int) string {
	var parts []string
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[kind], kind))
		total += counts[kind]
	}
	switch total {
	case 0:
		return ""
	case 1:
		return "1 commit of maintenance is not listed: " + parts[0] + "."
	}
	return fmt.Sprintf("%d commits of maintenance are not listed: %s.", total, strings.Join(parts, ", "))
}

// authors are the names of those who wrote the commits, alone or with others, sorted, each once. Merging is not
// writing, and programs, whose names end in [bot], are not authors.
func authors(commits []Commit) []string {
	seen := map[string]bool{}
	add := func(name string) {
		if name = cleanName(name); name != "" && !strings.HasSuffix(strings.ToLower(name), "[bot]") {
			seen[name] = true
		}
	}
	for _, c := range commits {
		subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
		if merges.MatchString(subject) {
			continue
		}
		add(c.Author)
		for _, f := range version.ParseCommit(c.Message).Footers {
			if strings.EqualFold(f.Token, "co-authored-by") {
				line, _, _ := strings.Cut(f.Value, "\n")
				add(line)
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	})
}

// cleanName is a name without an address. Where there is no other name, it is the part of the address before the @.
func cleanName(s string) string {
	name, rest, _ := strings.Cut(s, "<")
	name = strings.TrimSpace(name)
	if name == "" {
		name, _, _ = strings.Cut(rest, ">")
	}
	words := strings.Fields(name)
	for i, word := range words {
		if at := strings.IndexByte(word, '@'); at > 0 {
			words[i] = strings.TrimLeft(word[:at], "(\"'")
		}
	}
	return clean(strings.Join(words, " "), maxName)
}

func listNames(names []string) string {
	var b strings.Builder
	for i, name := range names {
		text := plain.inline(name)
		if i > 0 && b.Len()+len(text) > maxAuthors {
			fmt.Fprintf(&b, " and %d more", len(names)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(text)
	}
	return b.String()
}
