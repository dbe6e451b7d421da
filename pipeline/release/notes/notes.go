// Package notes writes what is new in a release: from the section that CHANGELOG.md has for it, else from the messages
// of the commits since the release before, read as Conventional Commits.
//
// The same input always gives the same text. What commit messages and authors wrote is text and never Markdown, save
// for code in single backticks: nothing in it can open a heading, a list, an image, HTML or a link that hides where it
// leads, and nobody whose name is in it is notified. The changelog is Markdown that the project wrote for this purpose,
// and is taken as it is.
package notes

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

const (
	// MaxLen bounds the notes, in bytes. GitHub accepts 125,000 characters as the text of a release, and no character
	// is shorter than a byte.
	MaxLen = 124_000
	// MaxChanges bounds the list of changes: a chart carries it as an annotation.
	MaxChanges = 100

	maxItem = 2500 // characters of an item of a Section
)

// Options say what is released and what it came from.
type Options struct {
	Version    version.Version
	Tag        string // of this release; "" for a snapshot
	Since      string // tag of the release before; "" for none
	Commit     string // object name in full
	Repository string // URL of the source, for links; "" for none
	Commits    []Commit
	Changelog  []byte    // CHANGELOG.md; nil for none
	First      []Section // lists that come before all else
}

// Section is a list that the notes begin with. Its items are plain text, of which one line is shown.
type Section struct {
	Title string
	Items []string
}

// first writes those sections, without any that has no items. What is beyond a quarter of MaxLen is counted and not shown.
func (o Options) first() string {
	var b strings.Builder
	for i, s := range o.First {
		if len(s.Items) == 0 {
			continue
		}
		room := (i + 1) * MaxLen / 4 / len(o.First) // for this section and those before it
		b.WriteString("## " + plain.inline(clean(s.Title, 100)) + "\n\n")
		for n, item := range s.Items {
			line := "- " + plain.inline(clean(item, maxItem)) + "\n"
			if b.Len()+len(line)+100 > room {
				fmt.Fprintf(&b, "- And %d more\n", len(s.Items)-n)
				break
			}
			b.WriteString(line)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Commit is a commit since the release before. They come newest first.
type Commit struct {
	Hash    string // object name in full
	Author  string // name, without an address
	Message string
}

// Kind is a kind of change, as Keep a Changelog (https://keepachangelog.com/en/1.1.0/) and Artifact Hub have them.
type Kind string

// The kinds of changes.
const (
	Added      Kind = "added"
	Changed    Kind = "changed"
	Deprecated Kind = "deprecated"
	Removed    Kind = "removed"
	Fixed      Kind = "fixed"
	Security   Kind = "security"
)

// Link leads to more about a change.
type Link struct{ Name, URL string }

// Change is one change in a line of plain text.
type Change struct {
	Kind        Kind
	Description string
	Links       []Link
}

// Notes are what is new in a release.
type Notes struct {
	Markdown string // ends with a line feed
	// Changes are at most MaxChanges; where there are more, the last one says how many and links to them.
	Changes  []Change
	Security bool // a change is about security
	Breaking bool // a change breaks what worked before
}

// New writes the notes. The section of the changelog that is headed by exactly this version has precedence; a snapshot
// without one takes the section Unreleased. An empty section is none. An error names what of the options cannot be
// meant.
func New(o Options) (Notes, error) {
	if o.Version.IsZero() {
		return Notes{}, errors.New("writing the notes: the version is not set")
	}
	if o.Commit != "" && !isHash(o.Commit) {
		return Notes{}, fmt.Errorf("writing the notes: commit %.80q is not an object name", o.Commit)
	}
	for _, ref := range []string{o.Tag, o.Since} {
		if len(ref) > 1024 || !utf8.ValidString(ref) || strings.ContainsFunc(ref, isControl) {
			return Notes{}, fmt.Errorf("writing the notes: %.80q is not a tag", ref)
		}
	}
	h, err := newHost(o.Repository)
	if err != nil {
		return Notes{}, fmt.Errorf("writing the notes: %w", err)
	}
	var n Notes
	if s, ok := findSection(o); ok {
		n = fromChangelog(o, h, s)
	} else {
		n = fromCommits(o, h)
	}
	n.Markdown = o.first() + n.Markdown
	return n, nil
}

// fullChanges is the last line of all notes: everything between the two releases.
func fullChanges(o Options, h host) string {
	text, url := h.changes(o)
	if text == "" {
		return ""
	}
	return "**Full changes**: " + link(plain.inline(text), url) + "\n"
}

// boundChanges keeps the first changes and says how many there are besides.
func boundChanges(all []Change, o Options, h host) []Change {
	if len(all) <= MaxChanges {
		return all
	}
	more := Change{Kind: Changed, Description: fmt.Sprintf("And %d more changes", len(all)-MaxChanges+1)}
	if _, url := h.changes(o); url != "" {
		more.Links = []Link{{"All changes", url}}
	}
	return append(all[:MaxChanges-1:MaxChanges-1], more)
}

func isHash(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}
