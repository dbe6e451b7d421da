package environment

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/internal/together"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Schemas name the formats with their major versions. A reader refuses any other.
const (
	LineSchema  = "slipway.move/v1"
	EntrySchema = "slipway.entry/v1"
)

// lineFormat and entryFormat are what this version reads. A minor version that adds a key puts it behind all others.
var (
	lineFormat  = canonjson.Format{Schema: LineSchema}
	entryFormat = canonjson.Format{Schema: EntrySchema}
)

// Bounds, in bytes where nothing else is said.
const (
	MaxLine   = 256 << 10
	MaxEntry  = 64 << 10
	maxWhy    = 2000
	maxText   = 500
	maxMoves  = 250 // in one line
	maxPlaces = 16
)

// Identity is who signed something: the fingerprint of a key, or a workflow and who says that it is one. The zero value is
// nobody: who may push to the store is all that is known.
type Identity struct {
	Key      string `json:"key,omitempty"`
	Identity string `json:"identity,omitempty"`
	Issuer   string `json:"issuer,omitempty"`
}

// String is the key or the workflow.
func (i Identity) String() string { return cmp.Or(i.Key, i.Identity, "nobody who signed") }

func (i Identity) check() error {
	for _, s := range []string{i.Key, i.Identity, i.Issuer} {
		if !plain(s, maxText) {
			return fmt.Errorf("%.80q is not the name of a key or a workflow", s)
		}
	}
	// One key has one name: it counts once among those who approve and report.
	switch {
	case i.Key != "" && i.Identity != "":
		return fmt.Errorf("key %.40q and identity %.80q are two", i.Key, i.Identity)
	case i.Key != "" && i.Issuer != "":
		return fmt.Errorf("key %.40q and issuer %.80q are two", i.Key, i.Issuer)
	}
	return nil
}

// Entry is a version of a component, as a store has it: what it is, by digest, and where its bytes are. It says nothing about who
// moved it, so it is the same file in every stage and a move is a rename.
type Entry struct {
	Schema   string   `json:"schema"`
	Minor    int      `json:"minor,omitempty"`
	Requires []string `json:"requires,omitempty"`

	Component     string          `json:"component"`
	Version       string          `json:"version"` // without a leading v
	Commit        string          `json:"commit"`
	Manifest      artifact.Digest `json:"manifest"` // of release.json
	Signed        Identity        `json:"signed"`   // who signed the release, as was found when it was added
	Unpublishable []string        `json:"unpublishable,omitempty"`
	Images        []Image         `json:"images,omitempty"`
	Charts        []Chart         `json:"charts,omitempty"`
	Places        []string        `json:"places"` // URLs of folders with the release

	// Unknown is what a later minor version says besides. It stays, and decides nothing.
	Unknown canonjson.Unknown `json:"-"`
}

// Image is an image of a release, by digest.
type Image struct {
	Repository string          `json:"repository"`
	Distro     string          `json:"distro"`
	Default    bool            `json:"default,omitempty"`
	Digest     artifact.Digest `json:"digest"`
}

// Chart is a chart of a release, by the digest of its manifest in a registry.
type Chart struct {
	Repository string          `json:"repository"`
	Name       string          `json:"name"`
	Version    string          `json:"version"`
	Digest     artifact.Digest `json:"digest"`
}

// parseVersion reads a version in the one form that stores have it in.
func parseVersion(s string) (version.Version, error) {
	v, err := version.Parse(s)
	if err == nil && v.String() != s {
		err = fmt.Errorf("version %q is written as %s", s, v)
	}
	return v, err
}

// check says what of an entry cannot be meant.
func (e Entry) check() error {
	if err := CheckName(e.Component); err != nil {
		return err
	}
	if _, err := parseVersion(e.Version); err != nil {
		return err
	}
	if !artifact.IsCommit(e.Commit) {
		return fmt.Errorf("commit %.80q is not the full name of one", e.Commit)
	}
	digests := []artifact.Digest{e.Manifest}
	texts := slices.Clone(e.Unpublishable)
	for _, im := range e.Images {
		digests, texts = append(digests, im.Digest), append(texts, im.Repository, im.Distro)
	}
	for _, c := range e.Charts {
		digests, texts = append(digests, c.Digest), append(texts, c.Repository, c.Name, c.Version)
	}
	for _, d := range digests {
		if _, err := artifact.ParseDigest(string(d)); err != nil {
			return err
		}
	}
	for _, s := range texts {
		if s == "" || !plain(s, maxText) {
			return fmt.Errorf("%.80q is not a name of a release", s)
		}
	}
	if len(e.Places) == 0 || len(e.Places) > maxPlaces {
		return fmt.Errorf("%d places; there is at least one and at most %d", len(e.Places), maxPlaces)
	}
	for _, p := range e.Places {
		if u, err := url.Parse(p); err != nil || !slices.Contains([]string{"https", "http", "file"}, u.Scheme) || u.User != nil || !plain(p, maxText) {
			return fmt.Errorf("place %.80q is not a URL without a password", p)
		}
	}
	return e.Signed.check()
}

// Encode is the file of an entry.
func (e Entry) Encode() ([]byte, error) {
	e.Schema, e.Minor, e.Requires, e.Unknown = EntrySchema, entryFormat.Minor, nil, nil
	if err := e.check(); err != nil {
		return nil, fault.Errorf(fault.Usage, "entry of %.60s %.60s: %w", e.Component, e.Version, err)
	}
	return canonjson.Indent(e)
}

// ParseEntry reads the file of an entry, in no other form than the one that Encode writes. An error is a fault.Mismatch; a
// fault.Usage for an entry that only another version reads.
func ParseEntry(b []byte) (Entry, error) {
	var e Entry
	err := decode(entryFormat, b, MaxEntry, &e, &e.Unknown, canonjson.Indent)
	if err == nil {
		err = e.check()
	}
	if err != nil {
		return Entry{}, fault.New(codeOf(err), fmt.Errorf("reading entry: %w", err))
	}
	return e, nil
}

// Path is where the file of an entry is in the folder of a stage. No version has an underscore, so that none is another's file.
func Path(component, version string) string {
	return "entries/" + component + "/" + strings.ReplaceAll(version, "+", "_") + ".json"
}

func codeOf(err error) fault.Code {
	if errors.Is(err, canonjson.ErrNewer) {
		return fault.Usage
	}
	return fault.Mismatch
}

func decode(f canonjson.Format, b []byte, limit int, v any, unknown *canonjson.Unknown, encode func(any) ([]byte, error)) error {
	if len(b) > limit {
		return fmt.Errorf("it has more than %d bytes", limit)
	}
	err := f.Exact(b, v, unknown, encode)
	if errors.Is(err, canonjson.ErrForm) {
		err = fmt.Errorf("it is %w: it was written by something else", err)
	}
	return err
}

// OneLine is a text as a reason, without what would make a line of the log another one to look at.
func OneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if plain(string(r), len(s)) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
	for len(s) > maxWhy {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// plain reports whether a text is one line of at most limit bytes that a terminal and a page show as it is.
func plain(s string, limit int) bool {
	return len(s) <= limit && strings.ToValidUTF8(s, "") == s && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
	})
}

// Kind is what a line of the log records.
type Kind string

// The kinds of lines. Those before Withdraw move entries.
const (
	Add      Kind = "add"      // a release came in from outside
	Promote  Kind = "promote"  // it went on to a later stage
	Demote   Kind = "demote"   // it went back to an earlier one
	Merge    Kind = "merge"    // it came in by a pull request against the branch of the stage
	Expire   Kind = "expire"   // it left a stage that keeps a number of versions
	Withdraw Kind = "withdraw" // it is not to be used any more, and stays listed
	Restore  Kind = "restore"  // it may be used again
	Rollback Kind = "rollback" // it is the current one until that is released
	Release  Kind = "release"  // they follow the rule again, or a hold ends
	Hold     Kind = "hold"     // it, or the component, does not enter a stage
	Freeze   Kind = "freeze"   // nothing enters a stage
	Thaw     Kind = "thaw"     // things do again
	Approve  Kind = "approve"  // somebody agrees that these bytes enter a stage
	Evidence Kind = "evidence" // somebody reports on these bytes
	Refused  Kind = "refused"  // a request of another writer was against the rules
)

var kinds = []Kind{Add, Promote, Demote, Merge, Expire, Withdraw, Restore, Rollback, Release, Hold, Freeze, Thaw, Approve, Evidence, Refused}

// Move is what a line says of a version. Which parts there are depends on the kind of the line.
type Move struct {
	Component string          `json:"component,omitempty"`
	Version   string          `json:"version,omitempty"`
	Commit    string          `json:"commit,omitempty"`
	Manifest  artifact.Digest `json:"manifest,omitempty"` // of release.json
	Entry     artifact.Digest `json:"entry,omitempty"`    // of the file of the entry
	From      string          `json:"from,omitempty"`     // stage, or outside
	To        string          `json:"to,omitempty"`       // stage that it is in from now on, or that the line is about
	Left      []string        `json:"left,omitempty"`     // stages that it is no longer in
}

// Report is what somebody found out about the bytes of a version.
type Report struct {
	Kind   string          `json:"kind"` // rebuilt, tests, or a word of the rules
	Good   bool            `json:"good"`
	Digest artifact.Digest `json:"digest,omitempty"` // of the signed statement
}

// Signed is a request as it was asked, with a signature over it. Whoever checks a log holds By to it.
type Signed struct {
	Request string `json:"request"` // its file
	Bundle  string `json:"bundle"`  // a Sigstore bundle, as JSON
}

// Outcome is what one rule says about one move.
type Outcome struct {
	Component string `json:"component,omitempty"`
	Rule      string `json:"rule"`
	OK        bool   `json:"ok"`
	Detail    string `json:"detail"`
	Fix       string `json:"fix,omitempty"` // what would change it
}

// Line is one line of the log: what was done, by whom, when and why, and what the rules said. The state of a store is what its
// lines come to, and nothing else decides it.
type Line struct {
	Schema   string          `json:"schema"`
	Minor    int             `json:"minor,omitempty"`
	Requires []string        `json:"requires,omitempty"` // what a reader has to know to be right about the state
	Prev     artifact.Digest `json:"prev,omitempty"`     // of the line before, without its newline; "" for the first

	N        int       `json:"n"` // counted from 1
	Time     time.Time `json:"time"`
	Kind     Kind      `json:"kind"`
	Request  string    `json:"request"`         // its id
	Rules    string    `json:"rules,omitempty"` // commit of the rules
	By       Identity  `json:"by"`
	Why      string    `json:"why,omitempty"`
	Moves    []Move    `json:"moves"`
	Until    time.Time `json:"until,omitzero"` // of a hold or a freeze
	Report   *Report   `json:"report,omitempty"`
	Decision []Outcome `json:"decision,omitempty"`
	Signed   *Signed   `json:"signed,omitempty"` // what By signed

	Unknown canonjson.Unknown `json:"-"`
}

// String is what the line does, as the commit of it says.
func (l Line) String() string {
	var all []string
	for _, m := range l.Moves {
		text := strings.TrimSpace(m.Component + " " + m.Version)
		switch {
		case m.From != "" && m.To != "":
			text += ": " + m.From + " -> " + m.To
		case m.To != "":
			text = strings.TrimSpace(text + " " + m.To)
		}
		all = append(all, text)
	}
	if len(all) > 3 {
		all = append(all[:3], fmt.Sprintf("and %d more", len(all)-3))
	}
	return string(l.Kind) + " " + strings.Join(all, ", ")
}

var requestIDs = regexp.MustCompile(`^[0-9a-f]{32}$`)

// check says what of a line cannot be meant.
func (l Line) check() error {
	switch {
	case !slices.Contains(kinds, l.Kind):
		return fmt.Errorf("kind %.40q is none that there is", l.Kind)
	case !requestIDs.MatchString(l.Request):
		return fmt.Errorf("request %.80q is not the id of one", l.Request)
	case l.Rules != "" && !artifact.IsCommit(l.Rules):
		return fmt.Errorf("rules %.80q is not the full name of a commit", l.Rules)
	case !plain(l.Why, maxWhy):
		return fmt.Errorf("why is not one line of at most %d bytes", maxWhy)
	case len(l.Moves) == 0 || len(l.Moves) > maxMoves:
		return fmt.Errorf("%d moves; there is at least one and at most %d", len(l.Moves), maxMoves)
	case (l.By == Identity{}) != (l.Signed == nil):
		return fmt.Errorf("it is by %s, and signed: %v", l.By, l.Signed != nil)
	case l.Signed != nil && ID([]byte(l.Signed.Request)) != l.Request:
		return fmt.Errorf("what was signed is another request than %s", l.Request)
	case (l.Kind == Evidence) != (l.Report != nil):
		return fmt.Errorf("%s with report: %v", l.Kind, l.Report != nil)
	case l.Report != nil && (l.Report.Kind == "" || !plain(l.Report.Kind, maxText)):
		return fmt.Errorf("%.80q is not a kind of report", l.Report.Kind)
	}
	for _, t := range []time.Time{l.Time, l.Until} {
		if !t.IsZero() && (t.Location() != time.UTC || t.Nanosecond() != 0 || t.Year() < 1970 || t.Year() > 9999) {
			return fmt.Errorf("time %s is not one of UTC in whole seconds", t)
		}
	}
	seen := map[[2]string]bool{}
	for _, m := range l.Moves {
		if err := m.check(l.Kind); err != nil {
			return err
		}
		if key := [2]string{m.Component, m.Version}; seen[key] {
			return fmt.Errorf("%s %s is moved twice", m.Component, m.Version)
		} else {
			seen[key] = true
		}
	}
	return l.By.check()
}

func (m Move) check(kind Kind) error {
	for _, stage := range append([]string{m.From, m.To}, m.Left...) {
		if stage != "" && CheckName(stage) != nil {
			return fmt.Errorf("%.60q is not the name of a stage", stage)
		}
	}
	if kind == Freeze || kind == Thaw {
		if m.Component != "" || m.To == "" {
			return fmt.Errorf("%s is about a stage and not about %.60q", kind, m.Component)
		}
		return nil
	}
	if kind == Refused && m.Component == "" && m.To != "" {
		return nil // of a pull request nobody can say what it is about
	}
	if err := CheckName(m.Component); err != nil {
		return err
	}
	if kind == Hold || kind == Release {
		if m.Version == "" {
			return nil
		}
	}
	if _, err := parseVersion(m.Version); err != nil {
		return err
	}
	if kind == Expire && (m.To != "" || len(m.Left) == 0) {
		return fmt.Errorf("%s %s expires and leaves no stage, or enters one", m.Component, m.Version)
	}
	if slices.Contains([]Kind{Add, Promote, Demote, Merge, Approve, Evidence}, kind) {
		if _, err := artifact.ParseDigest(string(m.Manifest)); err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
	}
	if slices.Contains([]Kind{Add, Promote, Demote, Merge}, kind) {
		if _, err := artifact.ParseDigest(string(m.Entry)); err != nil {
			return fmt.Errorf("entry: %w", err)
		}
		if !artifact.IsCommit(m.Commit) || m.To == "" || m.From == "" {
			return fmt.Errorf("%s %s has no commit, no stage that it came from, or none that it went to", m.Component, m.Version)
		}
	}
	return nil
}

// encode is the line without its newline.
func (l Line) encode() ([]byte, error) {
	b, err := canonjson.Encode(l)
	if err == nil && len(b) > MaxLine {
		err = fault.Errorf(fault.Usage, "the line has %d bytes, and at most %d are written: move fewer versions at once", len(b), MaxLine)
	}
	return b, err
}

// ParseLine reads a line without its newline, in no other form than the one that Append writes. What stands before it is not looked at.
func ParseLine(line []byte) (Line, error) {
	var l Line
	err := decode(lineFormat, line, MaxLine, &l, &l.Unknown, canonjson.Encode)
	if err == nil {
		err = l.check()
	}
	return l, err
}

// Code is the exit code of what a line refused, fault.OK for a line that did something.
func (l Line) Code() fault.Code {
	switch {
	case l.Kind != Refused:
		return fault.OK
	case slices.ContainsFunc(l.Decision, func(o Outcome) bool { return !o.OK && o.Rule == "overwrite" }):
		return fault.Conflict
	}
	return fault.Policy
}

// Answers says why a line is not one that a request can have become.
func (l Line) Answers(q Request) error {
	if l.Kind != q.Kind && l.Kind != Refused || l.By != q.By || l.Why != q.Why {
		return fmt.Errorf("it is %s by %s, and what was signed is %s by %s", l.Kind, l.By, q.Kind, q.By)
	}
	if l.Time.Before(q.At.Add(-maxAhead)) || l.Time.After(q.Expires.Add(maxAhead)) {
		return fmt.Errorf("it is of %s, and what was signed was good from %s to %s", l.Time.Format(time.RFC3339), q.At.Format(time.RFC3339), q.Expires.Format(time.RFC3339))
	}
	if l.Kind == Refused {
		return nil
	}
	if !l.Until.Equal(q.Until.Truncate(time.Second)) || (l.Report == nil) != (q.Report == nil) || l.Report != nil && *l.Report != *q.Report {
		return errors.New("its end or its report is not the one that was signed")
	}
	for _, m := range l.Moves {
		asked := slices.ContainsFunc(q.Items, func(it Item) bool {
			said := it.Manifest == m.Manifest || it.Manifest == "" && l.Kind != Approve && l.Kind != Evidence
			return it.Component == m.Component && it.Version == m.Version && said
		})
		everywhere := slices.Contains([]Kind{Withdraw, Restore, Evidence}, l.Kind)
		if !asked && m.Component != "" || m.To != q.To && (m.To != "" || !everywhere) {
			return fmt.Errorf("%s %s to %s is not what was signed", m.Component, m.Version, m.To)
		}
		if l.Kind == Add {
			e := slices.IndexFunc(q.Entries, func(e Entry) bool { return e.Component == m.Component && e.Version == m.Version })
			var file []byte
			if e >= 0 {
				file, _ = q.Entries[e].Encode()
			}
			if file == nil || q.Entries[e].Manifest != m.Manifest || q.Entries[e].Commit != m.Commit || artifact.Sum(file) != m.Entry || m.From != Outside {
				return fmt.Errorf("%s %s has other bytes than what was signed", m.Component, m.Version)
			}
		}
	}
	return nil
}

// Fold reads lines and adds each to the state, which is as before if any cannot be. A line that was changed, removed or put in
// between is a fault.Mismatch with its number; a line that only another version reads is a fault.Usage. What else a caller asks of a
// line is for hold to say, which may be nil.
func (s *State) Fold(lines []byte, hold func(Line) error) error {
	var all []Line
	count, last, now := s.Count, s.Digest, s.Time
	fresh := map[string]bool{}
	for _, p := range parseLines(lines) {
		l, line, err := p.line, p.of, p.err
		switch {
		case err != nil:
		case l.Prev != last:
			err = fmt.Errorf("prev is %s and the line before is %s: a line was changed, removed or put in between", cmp.Or(l.Prev, `""`), cmp.Or(last, "none"))
		case l.N != count+1:
			err = fmt.Errorf("it says that it is line %d", l.N)
		case fresh[l.Request] || s.Request(l.Request) > 0:
			err = fmt.Errorf("an earlier line has the request %s, and a request is done once", l.Request)
		case l.Time.Before(now):
			err = fmt.Errorf("its time %s is before that of the line before", l.Time.Format(time.RFC3339))
		}
		if err != nil {
			return fault.New(codeOf(err), fmt.Errorf("line %d of the log: %w", count+1, err))
		}
		if hold != nil {
			if err := hold(l); err != nil {
				return err
			}
		}
		count, last, now = count+1, artifact.Sum(line), l.Time
		all, fresh[l.Request] = append(all, l), true
	}
	for i, l := range all {
		s.apply(l)
		digest := last
		if i+1 < len(all) {
			digest = all[i+1].Prev
		}
		s.digests.fresh = append(s.digests.fresh, digest)
	}
	s.Count, s.Digest, s.Time = count, last, now
	return nil
}

// parsed is a line that was read, or why it cannot be.
type parsed struct {
	of   []byte // without its newline
	line Line
	err  error
}

// parseLines reads lines, as many at once as there are processors: of all that is done for a log it takes the longest.
func parseLines(lines []byte) []parsed {
	all := make([]parsed, 0, bytes.Count(lines, []byte("\n"))+1)
	for line := range bytes.Lines(lines) {
		p := parsed{of: bytes.TrimSuffix(line, []byte("\n"))}
		if len(p.of) == len(line) {
			p.err = errors.New("it has no end; restore the log from a copy that you trust")
		}
		all = append(all, p)
	}
	together.Each(len(all), func(i int) {
		if p := &all[i]; p.err == nil {
			p.line, p.err = ParseLine(p.of)
		}
	})
	return all
}

// Append is the line as it stands in the log behind the state, which it is added to. N and Prev are set, and the time is not
// before that of the line before.
func (s *State) Append(l Line) ([]byte, error) {
	l.Schema, l.Minor, l.Requires, l.Unknown = LineSchema, lineFormat.Minor, nil, nil
	l.N, l.Prev, l.Time, l.Until = s.Count+1, s.Digest, l.Time.UTC().Truncate(time.Second), l.Until.UTC().Truncate(time.Second)
	if l.Time.Before(s.Time) {
		l.Time = s.Time
	}
	if err := l.check(); err != nil {
		return nil, fault.Errorf(fault.Usage, "%s: %w", l.Kind, err)
	}
	if n := s.Request(l.Request); n > 0 {
		return nil, fault.Errorf(fault.Usage, "line %d has the request %s", n, l.Request)
	}
	b, err := l.encode()
	if err != nil {
		return nil, err
	}
	s.apply(l)
	s.Count, s.Digest, s.Time = l.N, artifact.Sum(b), l.Time
	s.digests.fresh = append(s.digests.fresh, s.Digest)
	return append(b, '\n'), nil
}
