package githubrelease

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode/utf16"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const (
	// maxBody is the longest text of a release, in characters: GitHub says so where it is sent a longer one. Whether it
	// means what Unicode calls a character or what UTF-16 does, it does not say, so the larger number has to fit.
	maxBody = 125_000
	// maxNotes bounds the notes that are read, in bytes.
	maxNotes = 16 << 20
	// maxTail is what follows notes that were cut, in characters.
	maxTail = 2000
)

// markers are what this package writes into the text of a draft, where it is not shown: the digest of the release.json
// that it is for.
var markers = regexp.MustCompile(`<!-- slipway (sha256:[0-9a-f]{64}) -->`)

func marker(release artifact.Digest) string { return "<!-- slipway " + string(release) + " -->" }

// marked is the release that a text says that it is for; "" where a person wrote it.
func marked(body string) artifact.Digest {
	if m := markers.FindStringSubmatch(body); m != nil {
		return artifact.Digest(m[1])
	}
	return ""
}

// characters is the length of a text as UTF-16 has it.
func characters(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// notesOf are the notes of the release; "" for none.
func notesOf(rel publish.Release) (string, error) {
	name := rel.Manifest.Notes
	if name == "" {
		return "", nil
	}
	b, err := bounded.File(rel.Path(name), maxNotes)
	listed, _ := rel.File(name)
	switch {
	case bounded.IsTooLarge(err):
		return "", fault.Errorf(fault.Usage, "%s has more than %s; shorten them", name, artifact.FormatSize(maxNotes))
	case err != nil:
		return "", fmt.Errorf("reading notes: %w", err)
	case artifact.Sum(b) != listed.Digest:
		return "", fault.Errorf(fault.Mismatch, "%s is not what the manifest says; build the release again", name)
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "\uFFFD")), nil
}

// room is how many characters of notes are shown with a marker before them.
func room(release artifact.Digest) int { return maxBody - characters(head(release)) - 1 }

func head(release artifact.Digest) string { return marker(release) + "\n\n" }

// notesAreLong reports whether the page of the release cannot show all notes.
func notesAreLong(rel publish.Release) (bool, error) {
	notes, err := notesOf(rel)
	return characters(notes) > room(rel.Digest), err
}

// bodyOf is the text of the release. Notes that are too long end where a line ends, with a link to all of them, which are
// below the URL downloads.
func bodyOf(rel publish.Release, downloads string) (string, error) {
	notes, err := notesOf(rel)
	if err != nil {
		return "", err
	}
	if limit := room(rel.Digest); characters(notes) > limit {
		name := path.Base(rel.Manifest.Notes)
		tail := fmt.Sprintf("This is not all: the rest is in [%s](%s).", name, downloads+url.PathEscape(name))
		notes = cut(notes, limit-maxTail) + "\n\n" + tail
	}
	return head(rel.Digest) + notes + "\n", nil
}

// cut is the beginning of a text in whole lines, or in whole characters where its first line alone is too long. A block
// of code that is cut through is closed, and so is a comment, so that what follows is seen.
func cut(text string, limit int) string {
	n, end := 0, 0
	for i, r := range text {
		if n += utf16.RuneLen(r); n > limit {
			break
		}
		if end = i + len(string(r)); end == len(text) {
			return text
		}
	}
	text = text[:end]
	if i := strings.LastIndexByte(text, '\n'); i > 0 {
		text = text[:i]
	}
	text = strings.TrimRight(text, " \n")
	fence := ""
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimLeft(line, " ")
		mark := trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "`"))]
		if tildes := trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "~"))]; len(tildes) > len(mark) {
			mark = tildes
		}
		switch {
		case len(mark) < 3 || len(mark) > maxTail/4:
		case fence == "":
			fence = mark
		case mark[0] == fence[0] && len(mark) >= len(fence):
			fence = ""
		}
	}
	if fence != "" {
		return text + "\n" + fence
	}
	if strings.LastIndex(text, "<!--") > strings.LastIndex(text, "-->") {
		return text + "\n-->"
	}
	return text
}
