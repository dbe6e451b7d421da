package serve

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
)

// pages hold no script, and every text from a release is escaped for the place where it stands. Links are relative, so
// that a server may stand behind any prefix.
var pages = template.Must(template.New("page").Funcs(template.FuncMap{
	"style": func() template.CSS { return template.CSS(pageCSS) },
	"size":  humanSize,
	"day":   func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"time":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
	"stamp": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"link":  link,
	"count": words.Count,
	"join":  strings.Join,
	"short": func(s string) string { return s[:min(12, len(s))] },
}).Parse(pageHTML))

// contentSecurityPolicy lets a page have the one style that is written here, and nothing else: should a text from a
// release ever get through as markup, it still could not run, load or send anything.
var contentSecurityPolicy = func() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}()

func render(name string, data any) (document, error) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		return document{}, fmt.Errorf("rendering %s: %w", name, err)
	}
	return newDocument("text/html; charset=utf-8", b.Bytes()), nil
}

// product is all releases of one name, the newest version first.
type product struct {
	Name     string
	Releases []shown
}

type shown struct {
	*release
	Newest   bool // the highest stable version
	Problems []string
	Standing *standing // nil where no ledger can be read
}

// Kind is how a version that is not for everybody is marked.
func (s shown) Kind() string {
	switch {
	case s.Version.IsSnapshot():
		return "snapshot"
	case s.Version.IsPrerelease():
		return "prerelease"
	}
	return ""
}

// perPage is how many releases a page lists.
const perPage = 100

// homePage lists the releases that have q in their name and version, "" for all, from the one page on, which is 1 for the
// first.
func homePage(s *shelf, q string, page int) (document, error) {
	all := s.releases
	if q != "" {
		all = slices.DeleteFunc(slices.Clone(all), func(r *release) bool { return !strings.Contains(r.Name+" "+r.Version.String(), q) })
	}
	pages := max(1, (len(all)+perPage-1)/perPage)
	if page < 1 || page > pages {
		return document{}, errNotFound
	}
	var products []product
	for _, r := range all[(page-1)*perPage : min(page*perPage, len(all))] {
		if len(products) == 0 || products[len(products)-1].Name != r.Name {
			products = append(products, product{Name: r.Name})
		}
		p := &products[len(products)-1]
		p.Releases = append(p.Releases, shown{r, s.latest[r.Name] == r, s.problems[r], s.history.standing(r)})
	}
	to := func(n int) string {
		if n < 1 || n > pages {
			return ""
		}
		v := url.Values{"page": {strconv.Itoa(n)}}
		if q != "" {
			v.Set("q", q)
		}
		return "?" + v.Encode()
	}
	broken := s.broken
	if page > 1 || q != "" {
		broken = nil
	}
	return render("home", map[string]any{
		"Products": products, "Broken": broken, "Charts": len(s.charts), "Ledger": s.history.shown(),
		"Query": q, "Search": q != "" || len(s.releases) > perPage, "Page": page, "Pages": pages, "Previous": to(page - 1), "Next": to(page + 1),
	})
}

// line is a file on the page of a release.
type line struct {
	Title string
	Note  string
	artifact.File
}

type section struct {
	Title string
	Lines []line
}

func releasePage(s *shelf, r *opened) (document, error) {
	listed := map[string]bool{}
	lineOf := func(title, note, p string) line {
		listed[p] = true
		return line{title, note, r.files[p]}
	}
	var archives, binaries, charts, others []line
	for _, a := range r.manifest.Archives {
		archives = append(archives, lineOf(a.Platform.String(), path.Base(a.Path), a.Path))
	}
	for _, b := range r.manifest.Binaries {
		binaries = append(binaries, lineOf(b.Platform.String(), path.Base(b.Path), b.Path))
	}
	for _, c := range r.manifest.Charts {
		note := "application " + c.AppVersion
		if i := slices.IndexFunc(r.charts, func(loaded chart) bool { return loaded.file.Path == c.Path }); i >= 0 && r.charts[i].Description != "" {
			note = r.charts[i].Description
		}
		charts = append(charts, lineOf(c.Name+" "+c.Version, note, c.Path))
	}
	for _, f := range r.manifest.Files {
		if !listed[f.Path] && f.Kind != artifact.Image {
			others = append(others, lineOf(f.Path, string(f.Kind), f.Path))
		}
	}
	others = append(
		others,
		lineOf(manifest.ChecksumsName, "what sha256sum --check reads", manifest.ChecksumsName),
	)
	if r.manifest.Downloads != "" {
		others = append(others, lineOf(r.manifest.Downloads, "the same by file names alone, for what was downloaded into one folder", r.manifest.Downloads))
	}
	others = append(
		others,
		lineOf(manifest.FileName, "the manifest: everything in this release, by digest", manifest.FileName),
	)
	judgements, earlier := s.history.judgements(r.release)
	return render("release", map[string]any{
		"Release":    shown{r.release, false, s.problems[r.release], s.history.standing(r.release)},
		"Manifest":   r.manifest,
		"Sections":   sections(section{"Archives", archives}, section{"Charts", charts}),
		"More":       sections(section{"Binaries", binaries}, section{"Files", others}),
		"Ledger":     s.history.shown(),
		"Judgements": judgements,
		"Earlier":    earlier,
	})
}

func sections(all ...section) []section {
	return slices.DeleteFunc(all, func(s section) bool { return len(s.Lines) == 0 })
}

// listing writes /releases.json.
func listing(s *shelf) (document, error) {
	type released struct {
		Name          string    `json:"name"`
		Version       string    `json:"version"`
		Prerelease    bool      `json:"prerelease"`
		Time          time.Time `json:"time"`
		Commit        string    `json:"commit"`
		Path          string    `json:"path"` // of its page, relative to this document
		Unpublishable []string  `json:"unpublishable,omitempty"`
		Problems      []string  `json:"problems,omitempty"`
		Reproduced    *verdict  `json:"reproduced,omitempty"` // none yet, or no ledger, if it is not there
	}
	out := struct {
		Releases []released   `json:"releases"`
		Broken   []broken     `json:"broken"`
		Ledger   *shownLedger `json:"ledger,omitempty"`
	}{[]released{}, []broken{}, s.history.shown()}
	for _, r := range s.releases {
		out.Releases = append(out.Releases, released{
			r.Name, r.Version.String(), r.Version.IsPrerelease(), r.Time, r.Commit,
			"releases/" + link(r.key()) + "/", r.Unpublishable, s.problems[r], s.history.standing(r).verdict(),
		})
	}
	out.Broken = append(out.Broken, s.broken...)
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return document{}, fmt.Errorf("writing releases: %w", err)
	}
	return newDocument("application/json", append(b, '\n')), nil
}

// link is a path as it stands in an address.
func link(p string) string { return (&url.URL{Path: p}).EscapedPath() }

// humanSize is a number of bytes as a person reads it.
func humanSize(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 3 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[prefix])
}
