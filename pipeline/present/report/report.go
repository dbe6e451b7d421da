// Package report renders report.html, the page that shows a person what a build made: the release by digest, and how
// long each step took.
//
// The page is one file that loads nothing, runs no script and says so in a content security policy. What is in it is
// outside text and is escaped, marks that turn the direction of writing included. It depends on its Data alone; the part of it that differs from machine to machine is
// marked as such, and the page itself is never compared.
package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// FileName is the name of the page in dist/.
const FileName = "report.html"

// Data is what a report shows.
type Data struct {
	Release   manifest.Release
	Timings   Timings
	Totals    Totals
	Facts     []Fact // about the machine: engine, Go version, host
	Generated string // the version of Slipway
}

// Totals is what a whole build took. A zero is not known and not shown.
type Totals struct {
	Wall       time.Duration // zero: the end of the last step
	CPU        time.Duration // of all processes
	PeakMemory int64         // in bytes
	Parallel   int           // how many workers the engine had
	Start      time.Time     // of the command; zero is not known
}

// Fact is something about the machine that built.
type Fact struct{ Name, Value string }

//go:embed report.html.tmpl
var pageText string

//go:embed report.css
var style string

var page = template.Must(template.New(FileName).Funcs(template.FuncMap{
	"size":     artifact.FormatSize,
	"duration": formatDuration,
}).Parse(pageText))

// view is Data as the template needs it.
type view struct {
	Data
	Policy     string
	Style      template.CSS
	Link       string // to the repository; empty if it is none that a browser opens
	Cards      []card
	Sections   []section
	Images     []image
	ImagesNote string
	Timeline   timeline
	Stamp      string // the commit's time
	Incomplete bool   // a step failed
}

type card struct{ Name, Value, Note string }

type section struct {
	Title, Note string
	Column      string // what About is
	Folded      bool   // shown when asked for
	Rows        []fileRow
}

type fileRow struct {
	Dir, Name string // of the path; Dir ends in a slash
	About     string // the platform, most often; see section
	Size      int64
	Share     string // of the largest in the section, in percent
	Digest    artifact.Digest
}

type image struct {
	manifest.Image
	Rows []fileRow
}

// layout is how much the OCI layout holds.
type layout struct {
	Files int
	Size  int64
}

// Write renders the page. The same data gives the same bytes.
func Write(w io.Writer, d Data) error {
	d.Timings = d.Timings.sorted()
	v := view{
		Data:     d,
		Style:    template.CSS(style),
		Policy:   policy(),
		Link:     webLink(d.Release.Repository),
		Timeline: newTimeline(d.Timings),
		Stamp:    d.Release.Time.UTC().Format("2006-01-02 15:04:05 UTC"),
	}
	v.Incomplete = slices.ContainsFunc(d.Timings, func(t Timing) bool { return t.State == stateFailed })
	var l layout
	v.Sections, v.Images, l = artifacts(d.Release)
	v.ImagesNote = fmt.Sprintf("%s of the OCI layout, %s; what images share is stored once", words.Count(l.Files, "file"), artifact.FormatSize(l.Size))
	v.Cards = cards(d, l)
	if err := page.Execute(words.Writer(w), v); err != nil {
		return fmt.Errorf("rendering %s: %w", FileName, err)
	}
	return nil
}

// policy allows the page its own style and nothing else
// (https://www.w3.org/TR/CSP3/#external-hash, https://www.w3.org/TR/CSP3/#meta-element).
func policy() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'none'"
}

// webLink is the repository's address where it is one to click on.
func webLink(repository string) string {
	u, err := url.Parse(repository)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ""
	}
	return repository
}

// artifacts sorts the files of a release by what they are for.
func artifacts(r manifest.Release) ([]section, []image, layout) {
	files := make(map[string]artifact.File, len(r.Files))
	for _, f := range r.Files {
		files[f.Path] = f
	}
	named := map[string]bool{}
	row := func(path, about string) fileRow {
		named[path] = true
		f := files[path]
		dir, name := split(path)
		return fileRow{Dir: dir, Name: name, About: about, Size: f.Size, Digest: f.Digest}
	}
	archives, binaries := section{Title: "Archives", Column: "Platform"}, section{Title: "Binaries", Column: "Platform"}
	charts, others := section{Title: "Charts", Column: "For version"}, section{Title: "Other files", Column: "Kind"}
	for _, a := range r.Archives {
		archives.Rows = append(archives.Rows, row(a.Path, a.Platform.String()))
	}
	for _, b := range r.Binaries {
		binaries.Rows = append(binaries.Rows, row(b.Path, b.Platform.String()))
	}
	for _, c := range r.Charts {
		charts.Rows = append(charts.Rows, row(c.Path, c.AppVersion))
	}
	packages, recipes := section{Title: "Packages", Column: "Architecture"}, section{Title: "For package managers", Column: "Kind"}
	bills := section{Title: "Bills of materials", Column: "Format", Folded: true}
	for _, p := range r.Packages {
		packages.Rows = append(packages.Rows, row(p.Path, p.Architecture))
	}
	for _, c := range r.Recipes {
		recipes.Rows = append(recipes.Rows, row(c.Path, c.Format))
	}
	for _, s := range r.SBOMs {
		bills.Rows = append(bills.Rows, row(s.Path, s.Format))
	}
	var l layout
	for _, f := range r.Files {
		switch {
		case named[f.Path]:
		case f.Kind == artifact.Image:
			l.Files++
			l.Size += f.Size
		default:
			others.Rows = append(others.Rows, row(f.Path, string(f.Kind)))
		}
	}
	images := make([]image, len(r.Images))
	for i, im := range r.Images {
		images[i].Image = im
		for _, p := range im.Platforms {
			images[i].Rows = append(images[i].Rows, fileRow{About: p.Platform.String(), Size: p.Size, Digest: p.Digest})
		}
		share(images[i].Rows)
	}
	var sections []section
	for _, s := range []section{archives, packages, recipes, charts, binaries, others, bills} {
		if len(s.Rows) > 0 {
			share(s.Rows)
			s.Note = words.Count(len(s.Rows), "file") + ", " + artifact.FormatSize(total(s.Rows))
			sections = append(sections, s)
		}
	}
	return sections, images, l
}

func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/') + 1
	return path[:i], path[i:]
}

func total(rows []fileRow) (n int64) {
	for _, r := range rows {
		n += r.Size
	}
	return n
}

// share fills in each row's size in relation to the largest.
func share(rows []fileRow) {
	var largest int64 = 1
	for _, r := range rows {
		largest = max(largest, r.Size)
	}
	for i := range rows {
		rows[i].Share = decimal(100 * float64(max(rows[i].Size, 0)) / float64(largest))
	}
}

// cards are the numbers at the top of the page.
func cards(d Data, l layout) []card {
	var size int64
	for _, f := range d.Release.Files {
		size += f.Size
	}
	c := []card{{"Artifacts", fmt.Sprint(len(d.Release.Files) - l.Files), words.Count(len(d.Release.Files), "file") + ", " + artifact.FormatSize(size) + " with images"}}
	platforms := 0
	for _, im := range d.Release.Images {
		platforms += len(im.Platforms)
	}
	if l.Files == 0 {
		c[0].Note = artifact.FormatSize(size)
	}
	if len(d.Release.Images) > 0 {
		c = append(c, card{"Images", fmt.Sprint(len(d.Release.Images)), words.Count(platforms, "platform") + ", " + artifact.FormatSize(l.Size) + " stored"})
	}
	if len(d.Timings) > 0 {
		states := map[string]int{}
		for _, t := range d.Timings {
			states[t.State]++
		}
		var notes []string
		for _, s := range []string{stateFailed, stateSkipped, stateCached} {
			if states[s] > 0 {
				notes = append(notes, fmt.Sprintf("%d %s", states[s], s))
			}
		}
		c = append(c, card{"Steps", fmt.Sprint(len(d.Timings)), cmp.Or(strings.Join(notes, ", "), "none cached")})
	}
	wall := cmp.Or(d.Totals.Wall, d.Timings.wall())
	if wall > 0 {
		note := ""
		if d.Totals.Parallel > 0 {
			note = "with " + words.Count(d.Totals.Parallel, "worker")
		}
		c = append(c, card{"Wall time", formatDuration(wall), note})
	}
	if d.Totals.CPU > 0 {
		note := ""
		if wall > 0 {
			note = fmt.Sprintf("%.1f cores busy on average", d.Totals.CPU.Seconds()/wall.Seconds())
		}
		c = append(c, card{"CPU time", formatDuration(d.Totals.CPU), note})
	}
	if d.Totals.PeakMemory > 0 {
		c = append(c, card{"Peak memory", artifact.FormatSize(d.Totals.PeakMemory), "of the pipeline"})
	}
	return c
}

// formatDuration writes a duration as short as is useful: 12ms, 0.2s, 42.1s, 1m02s, 1h02m.
func formatDuration(d time.Duration) string {
	if d = max(d, 0); d < 99500*time.Microsecond {
		return fmt.Sprintf("%dms", d.Round(time.Millisecond).Milliseconds())
	}
	return words.Duration(d)
}

// decimal writes a length for SVG: at most two digits after the point.
func decimal(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", f), "0"), ".")
}
