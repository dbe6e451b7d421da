package verify

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// Verdict is the outcome of one check.
type Verdict string

// The verdicts. A check that could not be made because another one failed is a Skip, and a report with a Skip is no
// pass.
const (
	Pass Verdict = "PASS"
	Fail Verdict = "FAIL"
	Skip Verdict = "SKIP"
)

// Row is one check.
type Row struct {
	Path    string  `json:"path"` // relative to dist/, or the name of an image or of the release
	Kind    string  `json:"kind"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail,omitempty"` // why, where the verdict is not enough
}

// Report is what was checked, sorted by path.
type Report struct {
	Verifier string `json:"verifier,omitempty"`
	Name     string `json:"name,omitempty"`
	Version  string `json:"version,omitempty"`
	Commit   string `json:"commit,omitempty"`
	// Manifest is the digest of its release.json, where there is one.
	Manifest artifact.Digest `json:"manifest,omitempty"`
	// Release is what that says, where it was read.
	Release *manifest.Release `json:"-"`
	Verdict Verdict           `json:"verdict"`
	Rows    []Row             `json:"rows"`
	// Notes are what a reader should know, and what changes no verdict.
	Notes []string `json:"notes,omitempty"`
	// Proven and Open are what a PASS about single files or an image proves, and what it does not.
	Proven string `json:"proven,omitempty"`
	Open   string `json:"notProven,omitempty"`
}

// Count is the number of rows with the verdict.
func (r Report) Count(v Verdict) int {
	n := 0
	for _, row := range r.Rows {
		if row.Verdict == v {
			n++
		}
	}
	return n
}

func (r *Report) finish() {
	slices.SortFunc(r.Rows, compareRows)
	r.Verdict = Fail
	if len(r.Rows) > 0 && r.Count(Pass) == len(r.Rows) {
		r.Verdict = Pass
	}
}

// general are the kinds of rows about a release as a whole.
var general = []string{"manifest", "release", "checksums", signatureKind}

// WriteSummary writes what WriteText does, with a count of each kind in the place of the rows that passed, or only those about
// what was named where that was not a whole release.
func (r Report) WriteSummary(w io.Writer) error {
	var rows []Row
	passed := map[string]int{}
	for _, row := range r.Rows {
		switch {
		case row.Verdict != Pass || r.Proven != "" && !slices.Contains(general, row.Kind):
			rows = append(rows, row)
		case r.Proven == "":
			passed[row.Kind]++
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(passed)) {
		rows = append(rows, Row{Kind: kind, Path: strconv.Itoa(passed[kind]), Verdict: Pass})
	}
	return r.write(w, rows)
}

// WriteText writes the report as a table with what did not pass at the end, where a person looks, and a line that sums
// it up. Nothing from outside reaches a terminal unescaped.
func (r Report) WriteText(w io.Writer) error { return r.write(w, slices.Clone(r.Rows)) }

func (r Report) write(w io.Writer, rows []Row) error {
	order := []Verdict{Pass, Skip, Fail}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return slices.Index(order, a.Verdict) - slices.Index(order, b.Verdict)
	})
	var kinds, paths int
	for i, row := range rows {
		rows[i].Kind, rows[i].Path, rows[i].Detail = Printable(row.Kind), Printable(row.Path), Printable(row.Detail)
		kinds, paths = max(kinds, len(rows[i].Kind)), max(paths, len(rows[i].Path))
	}
	var b bytes.Buffer
	for _, row := range rows {
		line := fmt.Sprintf("%s  %-*s  %-*s  %s", row.Verdict, kinds, row.Kind, paths, row.Path, row.Detail)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	for _, note := range r.Notes {
		b.WriteString("note: " + Printable(note) + "\n")
	}
	fmt.Fprintf(&b, "%s: ", r.Verdict)
	if name := strings.TrimSpace(r.Name + " " + r.Version); name != "" {
		b.WriteString(Printable(name))
		if r.Commit != "" {
			fmt.Fprintf(&b, " at %s", Printable(r.Commit))
		}
		b.WriteString(", ")
	}
	fmt.Fprintf(&b, "%d passed, %d failed, %d skipped", r.Count(Pass), r.Count(Fail), r.Count(Skip))
	if r.Verifier != "" {
		fmt.Fprintf(&b, ", checked by %s", r.Verifier)
	}
	b.WriteString("\n")
	if r.Proven != "" {
		fmt.Fprintf(&b, "proven: %s\nnot proven: %s\n", Printable(r.Proven), Printable(r.Open))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Printable is s, quoted if a terminal would do anything but show it.
func Printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
