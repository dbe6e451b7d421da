package verify

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
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
	Verifier string  `json:"verifier,omitempty"`
	Name     string  `json:"name,omitempty"`
	Version  string  `json:"version,omitempty"`
	Commit   string  `json:"commit,omitempty"`
	Verdict  Verdict `json:"verdict"`
	Rows     []Row   `json:"rows"`
	// Notes are what a reader should know, and what changes no verdict.
	Notes []string `json:"notes,omitempty"`
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

// WriteText writes the report as a table with what did not pass at the end, where a person looks, and a line that sums
// it up. Nothing from outside reaches a terminal unescaped.
func (r Report) WriteText(w io.Writer) error {
	rows := slices.Clone(r.Rows)
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
	fmt.Fprintf(&b, "%s: %s", r.Verdict, Printable(strings.TrimSpace(r.Name+" "+r.Version)))
	if r.Commit != "" {
		fmt.Fprintf(&b, " at %s", Printable(r.Commit))
	}
	fmt.Fprintf(&b, ", %d passed, %d failed, %d skipped", r.Count(Pass), r.Count(Fail), r.Count(Skip))
	if r.Verifier != "" {
		fmt.Fprintf(&b, ", checked by %s", r.Verifier)
	}
	b.WriteString("\n")
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
