package reproduce

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/format/compare"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// Schema names the format of the report.
const Schema = "slipway.reproduction/v1"

// Verdict is the outcome of a reproduction, or of one comparison in it.
type Verdict string

// The verdicts. Whatever could not be compared is a Skip, and a Skip is not a Pass.
const (
	Pass Verdict = "PASS"
	Fail Verdict = "FAIL"
	Skip Verdict = "SKIP"
)

// kindRelease is the kind of rows about the release as a whole.
const kindRelease = "release"

// Report is what was compared.
type Report struct {
	Schema     string          `json:"schema"`
	Tool       string          `json:"tool,omitempty"`
	Name       string          `json:"name"`
	Version    string          `json:"version"`
	Commit     string          `json:"commit"`
	Tag        string          `json:"tag,omitempty"`
	Published  string          `json:"published"`            // where the release was found
	Repository string          `json:"repository,omitempty"` // where its commit was found
	Source     string          `json:"source,omitempty"`     // the repository that the release says it is of
	Manifest   artifact.Digest `json:"manifest,omitempty"`   // of the published release.json
	Rebuilt    artifact.Digest `json:"rebuilt,omitempty"`    // of the one that was built
	Signer     string          `json:"signer,omitempty"`     // whose signatures were checked
	Verdict    Verdict         `json:"verdict"`
	Rows       []Row           `json:"rows"`
	// Permitted are the files of the release that differ from one build to the next and may.
	Permitted []Permitted `json:"permitted"`
	// The circumstances of the rebuild.
	Engine     string      `json:"engine,omitempty"`
	Go         string      `json:"go,omitempty"` // that compiled the release
	Host       string      `json:"host,omitempty"`
	Variations []Variation `json:"variations"`
	Started    time.Time   `json:"started"`
	Finished   time.Time   `json:"finished"`
	Build      float64     `json:"build"` // seconds that the pipeline took, its own compilation included
}

// Row is one comparison, or one condition of all.
type Row struct {
	Path      string          `json:"path"` // of a file in dist/, or the name of an image
	Kind      string          `json:"kind"`
	Verdict   Verdict         `json:"verdict"`
	Published artifact.Digest `json:"published,omitempty"`
	Rebuilt   artifact.Digest `json:"rebuilt,omitempty"`
	// Claimed says that the published digest is the one that the manifest gives, of bytes that the place does not offer.
	Claimed     bool                 `json:"claimed,omitempty"`
	Detail      string               `json:"detail,omitempty"`
	Differences []compare.Difference `json:"differences,omitempty"`
}

// Permitted is a file that may differ.
type Permitted struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

func (r *Report) row(v Verdict, kind, path, format string, args ...any) {
	r.Rows = append(r.Rows, Row{Path: path, Kind: kind, Verdict: v, Detail: fmt.Sprintf(format, args...)})
}

// describe takes from the release what it is called.
func (r *Report) describe(p published) {
	r.Published, r.Commit, r.Tag, r.Name, r.Source = p.where, p.rel.Commit, p.rel.Tag, p.rel.Name, p.rel.Repository
	if !p.rel.Version.IsZero() {
		r.Version = p.rel.Version.String()
	}
	if p.raw != nil {
		r.Manifest = artifact.Sum(p.raw)
	}
}

// finish draws the verdict.
func (r *Report) finish(now time.Time) {
	r.Finished = now.UTC().Truncate(time.Second)
	if r.Permitted == nil {
		r.Permitted = []Permitted{}
	}
	switch {
	case r.Count(Fail) > 0 || r.Rebuilt != "" && r.Manifest != "" && r.Rebuilt != r.Manifest:
		r.Verdict = Fail
	case r.Count(Skip) > 0 || r.Compared() == 0:
		r.Verdict = Skip
	default:
		r.Verdict = Pass
	}
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

// Compared is the number of artifacts that were held against what was published.
func (r Report) Compared() int {
	n := 0
	for _, row := range r.Rows {
		if row.compared() && !row.Claimed {
			n++
		}
	}
	return n
}

func (r Row) compared() bool { return r.Published != "" && r.Rebuilt != "" }

// First is the first thing that is wrong, in words; "" if nothing is.
func (r Report) First() string {
	for _, v := range []Verdict{Fail, Skip} {
		for _, row := range r.Rows {
			if row.Verdict != v {
				continue
			}
			why := row.Detail
			if len(row.Differences) > 0 {
				why = row.Differences[0].String()
			}
			return verify.Printable(row.Path + ": " + cmp.Or(why, "it differs"))
		}
	}
	return ""
}

func (r Report) title() string { return strings.TrimSpace(r.Name + " " + r.Version) }

func (r Report) summary() string {
	switch r.Verdict {
	case Pass:
		return fmt.Sprintf("reproduced: %d artifacts are what %.12s builds", r.Compared(), r.Commit)
	case Skip:
		return "not reproduced: " + r.First()
	}
	return fmt.Sprintf("not what its commit builds: %d of %d comparisons failed; %s", r.Count(Fail), len(r.Rows), r.First())
}

// ordered are the rows with those that did not pass at the end, where a person looks.
func (r Report) ordered() []Row {
	rows := slices.Clone(r.Rows)
	order := []Verdict{Pass, Skip, Fail}
	slices.SortStableFunc(rows, func(a, b Row) int { return slices.Index(order, a.Verdict) - slices.Index(order, b.Verdict) })
	return rows
}

// WriteText writes the report as a table, with every difference below its row and a line that sums it up.
func (r Report) WriteText(w io.Writer) error {
	rows := r.ordered()
	var kinds, paths int
	for i, row := range rows {
		rows[i].Path, rows[i].Detail = verify.Printable(row.Path), verify.Printable(row.Detail)
		kinds, paths = max(kinds, len(row.Kind)), max(paths, min(len(rows[i].Path), 80))
	}
	var b bytes.Buffer
	for _, row := range rows {
		digests := ""
		switch a, z := short(row.Published), short(row.Rebuilt); {
		case a == z:
			digests = a
		case a == "":
			digests = "nothing instead of " + z
		case z == "":
			digests = a + " instead of nothing"
		default:
			digests = a + " instead of " + z
		}
		line := fmt.Sprintf("%s  %-*s  %-*s  %s  %s", row.Verdict, kinds, row.Kind, paths, row.Path, digests, row.Detail)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		for _, d := range row.Differences {
			fmt.Fprintf(&b, "      %s\n", verify.Printable(d.String()))
		}
	}
	for _, p := range r.Permitted {
		fmt.Fprintf(&b, "may differ: %s: %s\n", verify.Printable(p.Path), p.Why)
	}
	if len(r.Variations) > 0 {
		var names []string
		for _, v := range r.Variations {
			names = append(names, v.Name+" ("+v.Is+")")
		}
		fmt.Fprintf(&b, "made different: %s\n", verify.Printable(strings.Join(names, ", ")))
	}
	fmt.Fprintf(&b, "%s: %s", r.Verdict, verify.Printable(r.title()))
	if r.Commit != "" {
		fmt.Fprintf(&b, " at %s", verify.Printable(r.Commit))
	}
	fmt.Fprintf(&b, ", %d artifacts compared, %d passed, %d failed, %d skipped\n", r.Compared(), r.Count(Pass), r.Count(Fail), r.Count(Skip))
	_, err := w.Write(b.Bytes())
	return err
}

func short(d artifact.Digest) string {
	if d == "" {
		return ""
	}
	return d.Short()
}
