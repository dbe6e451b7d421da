// Package ledger holds the history of verdicts over releases: who rebuilt which release when, and what came out.
//
// It is a file of lines, each of them one entry in canonical JSON, in a folder or at the root of a git branch. Entries
// are added at the end and never changed: each has the digest of the line before it, so that a line that was changed,
// removed or put in between is noticed by every reader of the file. What was cut off at the end is not, by the file alone:
// who remembers a Head asks Extends, and a branch is also held against its own history.
package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// FileName is the name of a ledger, in its folder or at the root of its branch.
const FileName = "ledger.jsonl"

// Schema names the format of an entry, with its major version. A reader refuses any other.
const Schema = "slipway.reproduced/v1"

// format is what this version reads. A minor version that adds a key puts it behind all others in Entry.
var format = canonjson.Format{Schema: Schema}

// Bounds of a ledger, in bytes. The first is some 20,000 entries.
const (
	maxSize = 16 << 20
	maxLine = 16 << 10
	maxWhy  = 2000
	maxText = 200 // of every other text
)

// Verdict is what a rebuilding found.
type Verdict string

// The verdicts.
const (
	Pass Verdict = "PASS" // the same bytes
	Fail Verdict = "FAIL" // others
	Skip Verdict = "SKIP" // nothing was found out
)

// Entry is one verdict over one release.
type Entry struct {
	Schema   string          `json:"schema"`
	Minor    int             `json:"minor,omitempty"`
	Requires []string        `json:"requires,omitempty"` // what a reader has to know to be right about the verdict
	Prev     artifact.Digest `json:"prev,omitempty"`     // of the line before, without its newline; "" for the first
	Time     time.Time       `json:"time"`               // when the verdict was reached, UTC, whole seconds
	Name     string          `json:"name"`
	Version  string          `json:"version"` // without a leading v
	Commit   string          `json:"commit"`
	Manifest artifact.Digest `json:"manifest"`          // of the published release.json
	Rebuilt  artifact.Digest `json:"rebuilt,omitempty"` // of the release.json that was built; "" where none was
	Verdict  Verdict         `json:"verdict"`
	Passed   int             `json:"passed"` // artifacts, as are the next two
	Failed   int             `json:"failed"`
	Skipped  int             `json:"skipped"`

	Engine    string `json:"engine,omitempty"`
	Host      string `json:"host,omitempty"`      // linux/amd64
	Rebuilder string `json:"rebuilder,omitempty"` // fingerprint of the key that signed the verdict; "" for an unsigned one
	Tool      string `json:"tool,omitempty"`      // slipway 1.2.3
	Why       string `json:"why,omitempty"`       // of a FAIL or a SKIP: the first difference, in words

	// Unknown is what a later minor version says besides. It stays in the line, and decides nothing.
	Unknown canonjson.Unknown `json:"-"`
}

// Head is how far a ledger goes. Who remembers one notices later that entries were cut off.
type Head struct {
	Count  int             `json:"count"`
	Digest artifact.Digest `json:"digest,omitempty"` // of the last line, without its newline; "" for none
}

// Ledger is a history. The zero value is an empty one. Entries are for reading: what is encoded are the lines that were
// parsed and appended.
type Ledger struct {
	Entries []Entry

	lines []byte
	last  artifact.Digest
}

// Parse reads a ledger from outside. It takes nothing that Encode would not write, so that every history has one form
// and one digest: no unknown, repeated or differently written key, no other order, no space. An entry of a later minor version
// is read as far as it is known; the chain is over the bytes of the lines, so it holds for whatever is in them. An error is a
// fault.Mismatch and names the line; a fault.Usage for a line that only another version reads, whose verdict may be another.
func Parse(b []byte) (Ledger, error) {
	if len(b) > maxSize {
		return Ledger{}, fault.Errorf(fault.Mismatch, "%s has more than %d bytes", FileName, maxSize)
	}
	l := Ledger{lines: bytes.Clone(b)}
	for n, rest := 1, b; len(rest) > 0; n++ {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		err := errCut
		var e Entry
		if ended {
			e, err = parseLine(line)
		}
		if err == nil && e.Prev != l.last {
			err = fmt.Errorf("prev is %s and the line before is %s: a line was changed, removed or put in between; restore the file from a copy that you trust",
				cmp.Or(e.Prev, `""`), cmp.Or(l.last, "none"))
		}
		if err != nil {
			code := fault.Mismatch
			if errors.Is(err, canonjson.ErrNewer) {
				code = fault.Usage
			}
			return Ledger{}, fault.Errorf(code, "%s:%d: %w", FileName, n, err)
		}
		l.Entries = append(l.Entries, e)
		l.last = artifact.Sum(line)
		rest = after
	}
	return l, nil
}

var errCut = errors.New("the line has no end; restore the file from a copy that you trust")

func parseLine(line []byte) (Entry, error) {
	if len(line) > maxLine {
		return Entry{}, fmt.Errorf("the line has more than %d bytes", maxLine)
	}
	var e Entry
	if err := format.Decode(line, &e, &e.Unknown); err != nil {
		return Entry{}, fmt.Errorf("reading entry: %w", err)
	}
	if err := e.check(); err != nil {
		return Entry{}, err
	}
	e = e.tidy()
	canonical, err := e.encode()
	if err != nil {
		return Entry{}, err
	}
	if err := canonjson.Same(line, canonical); err != nil {
		return Entry{}, fmt.Errorf("the entry is %w: it was written by something else", err)
	}
	return e, nil
}

// check tells what of an entry cannot be meant.
func (e Entry) check() error {
	if err := artifact.CheckPath(e.Name); err != nil || strings.Contains(e.Name, "/") {
		return fmt.Errorf("name %.80q is not the name of a release", e.Name)
	}
	if v, err := version.Parse(e.Version); err != nil {
		return err
	} else if v.String() != e.Version {
		return fmt.Errorf("version %q is written as %s", e.Version, v)
	}
	if n := len(e.Commit); n != 40 && n != 64 || strings.Trim(e.Commit, "0123456789abcdef") != "" {
		return fmt.Errorf("commit %.80q is not the full name of one", e.Commit)
	}
	if _, err := artifact.ParseDigest(string(e.Manifest)); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if e.Rebuilt != "" {
		if _, err := artifact.ParseDigest(string(e.Rebuilt)); err != nil {
			return fmt.Errorf("rebuilt: %w", err)
		}
	}
	if year := e.Time.UTC().Year(); year < 1970 || year > 9999 { // which JSON and git can write
		return fmt.Errorf("time %s is not between 1970 and 9999", e.Time)
	}
	if min(e.Passed, e.Failed, e.Skipped) < 0 {
		return fmt.Errorf("%d passed, %d failed and %d skipped are not counts", e.Passed, e.Failed, e.Skipped)
	}
	if e.Rebuilder != tidy(e.Rebuilder, maxText) || strings.Contains(e.Rebuilder, " ") {
		return fmt.Errorf("rebuilder %.80q is not the fingerprint of a key", e.Rebuilder)
	}
	switch e.Verdict {
	case Pass:
		if e.Failed > 0 {
			return fmt.Errorf("verdict is %s with %d artifacts that failed", e.Verdict, e.Failed)
		}
	case Fail, Skip:
		if tidy(e.Why, maxWhy) == "" {
			return fmt.Errorf("verdict is %s and why is empty", e.Verdict)
		}
	default:
		return fmt.Errorf("verdict is %.80q and none of %s, %s and %s", e.Verdict, Pass, Fail, Skip)
	}
	return nil
}

// tidy is the entry as it is written.
func (e Entry) tidy() Entry {
	e.Time = e.Time.UTC().Truncate(time.Second)
	for _, s := range []*string{&e.Engine, &e.Host, &e.Tool} {
		*s = tidy(*s, maxText)
	}
	e.Why = tidy(e.Why, maxWhy)
	return e
}

// tidy is a text in one line, of at most limit bytes.
func tidy(s string, limit int) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), blank), " ")
	if len(s) > limit {
		const dots = "..."
		s = strings.TrimRight(strings.ToValidUTF8(s[:limit-len(dots)], ""), " ") + dots
	}
	return s
}

// blank tells spaces, ends of lines, and what a terminal or a browser obeys, such as the marks that turn the direction
// of writing. They are listed here because the tables of package unicode grow with Go, and what is canonical does not.
func blank(r rune) bool {
	return r <= ' ' || r >= 0x7f && r <= 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
}

// encode is the line of an entry, without its newline. A text in it needs no escapes but those for the quote and the
// backslash.
func (e Entry) encode() ([]byte, error) {
	line, err := canonjson.Encode(e)
	if err != nil {
		return nil, fmt.Errorf("writing entry: %w", err)
	}
	return line, nil
}

// Append is the ledger with an entry at its end, in the format of this version. Schema and Prev are set, the time is cut to whole seconds, and texts
// to one line. An entry that cannot be meant is a fault.Usage.
func (l Ledger) Append(e Entry) (Ledger, error) {
	e.Schema, e.Minor, e.Requires, e.Unknown, e.Prev = Schema, format.Minor, nil, nil, l.last
	if err := e.check(); err != nil {
		return Ledger{}, fault.Errorf(fault.Usage, "adding %.80s %.80s to the ledger: %w", e.Name, e.Version, err)
	}
	e = e.tidy()
	line, err := e.encode()
	if err != nil {
		return Ledger{}, err
	}
	if len(l.lines)+len(line)+1 > maxSize {
		return Ledger{}, fault.Errorf(fault.Usage, "%s has no room left in its %d bytes: keep it under another name and begin a new one", FileName, maxSize)
	}
	// A ledger that others hold stays as it is.
	return Ledger{
		Entries: append(slices.Clip(l.Entries), e),
		lines:   append(append(slices.Clip(l.lines), line...), '\n'),
		last:    artifact.Sum(line),
	}, nil
}

// Encode is the file.
func (l Ledger) Encode() []byte { return bytes.Clone(l.lines) }

// Head is how far the ledger goes.
func (l Ledger) Head() Head { return Head{len(l.Entries), l.last} }

// Extends says why the ledger is not one that goes on from h, as a fault.Mismatch; nil if it is.
func (l Ledger) Extends(h Head) error {
	switch {
	case h.Count < 0 || h.Count > len(l.Entries):
		return fault.Errorf(fault.Mismatch, "%s has %d entries and had %d: entries were cut off", FileName, len(l.Entries), h.Count)
	case h.Count == 0:
		return nil
	}
	digest := l.last
	if h.Count < len(l.Entries) {
		digest = l.Entries[h.Count].Prev
	}
	if digest != h.Digest {
		return fault.Errorf(fault.Mismatch, "%s:%d: the line is %s and was %s: entries were replaced", FileName, h.Count, digest, h.Digest)
	}
	return nil
}

// Latest are the last entries of each name and version, by name and then the highest version first.
func (l Ledger) Latest() []Entry {
	type key struct{ name, version string }
	last := map[key]int{}
	for i, e := range l.Entries {
		last[key{e.Name, e.Version}] = i
	}
	type parsed struct {
		Entry
		version version.Version
	}
	all := make([]parsed, 0, len(last))
	for _, i := range last {
		v, _ := version.Parse(l.Entries[i].Version) // which Parse and Append have looked at
		all = append(all, parsed{l.Entries[i], v})
	}
	slices.SortFunc(all, func(a, b parsed) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), b.version.Compare(a.version))
	})
	entries := make([]Entry, len(all))
	for i, p := range all {
		entries[i] = p.Entry
	}
	return entries
}

// Last is the last entry about the release.json with that digest; whichever it was if the digest is "".
func (l Ledger) Last(name, version string, manifest artifact.Digest) (Entry, bool) {
	for _, e := range slices.Backward(l.Entries) {
		if e.Name == name && e.Version == version && (manifest == "" || e.Manifest == manifest) {
			return e, true
		}
	}
	return Entry{}, false
}

// opening is how every line begins.
const opening = `{"schema":"` + Schema + `",`

// Whole is a file without a last line that is being written, or was when its writer ended: nobody was told that it is
// there. A last line that is not the beginning of an entry stays, for Parse to refuse.
func Whole(b []byte) []byte {
	end := bytes.LastIndexByte(b, '\n') + 1
	torn := b[end:]
	n := min(len(torn), len(opening))
	// A file system may have made room for the line and not have written it: then there are zeros.
	if len(torn) > maxLine || string(torn[:n]) != opening[:n] && len(bytes.Trim(torn, "\x00")) > 0 {
		return b
	}
	return b[:end]
}
