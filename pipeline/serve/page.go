package serve

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
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
	"split": strings.Split,
	"odd":   func(n int) bool { return n%2 == 1 },
	"short": func(s string) string { return s[:min(12, len(s))] },
	"labelled": func(c command, way string) labelled {
		return labelled{c, strings.Join(slices.DeleteFunc([]string{way, c.For}, func(s string) bool { return s == "" }), ", ")}
	},
}).Parse(pageHTML))

// labelled is a command with what it is called where nobody sees what stands around it.
type labelled struct {
	command
	Label string
}

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

// problemPage says to a person what is wrong, in words that stand in a sentence, and leads back.
func (s *Server) problemPage(r *http.Request, code int, text string) (document, error) {
	title := strings.ToLower(http.StatusText(code))
	sentence := func(s string) string {
		if s == "" {
			return s
		}
		return strings.ToUpper(s[:1]) + s[1:]
	}
	back := "Releases"
	if s.site != nil {
		back = "Environments"
	}
	root := strings.Repeat("../", max(0, strings.Count(r.URL.Path, "/")-1))
	return render("problem", map[string]any{
		"Title": sentence(title), "Text": sentence(strings.TrimSuffix(text, ".")) + ".", "Root": cmp.Or(root, "./"), "Back": back,
	})
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

// perPage is how many releases a page lists, and searched how many there may be without a search.
const (
	perPage  = 100
	searched = 20
)

// homePage lists the releases that have q in their name and version, "" for all, from the one page on, which is 1 for the
// first.
func homePage(s *shelf, q string, page int) (document, error) {
	all := s.releases
	if q != "" {
		low := strings.ToLower(q)
		all = slices.DeleteFunc(slices.Clone(all), func(r *release) bool { return !strings.Contains(strings.ToLower(r.Name+" "+r.Version.String()), low) })
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
		"Products": products, "Store": s.store, "Life": s.life, "Broken": broken, "Charts": len(s.charts), "Ledger": s.history.shown(),
		"Query": q, "Search": q != "" || len(s.releases) > searched, "Page": page, "Pages": pages, "Previous": to(page - 1), "Next": to(page + 1),
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

// releasePage is the page of a release, as who asks for it reaches the server.
//
// A page of an environment has no neighbours, which may be in none, and leads back to it.
func (s *Server) releasePage(r *http.Request, shelf *shelf, o *opened, env string) (document, error) {
	ctx := r.Context()
	s.library.describe(ctx, o)
	newer, older, before := shelf.neighbours(o.release)
	root := strings.Repeat("../", strings.Count(r.URL.Path, "/")-1)
	back, to := "Releases", root
	switch {
	case env != "":
		newer, older, before = nil, nil, nil
		back, to = env, "../../../"
	case s.site != nil:
		to += "releases"
	}
	var differ []difference
	var same []string
	if before != nil {
		if b, err := s.library.contents(before); err != nil {
			before = nil
		} else {
			s.library.describe(ctx, b)
			differ, same = differences(b, o)
		}
	}
	in := installer{o, ""}
	var ways []way
	if base := s.base(r); base != "" {
		in.at = base + "/releases/" + link(o.key()) + "/"
		ways = in.ways()
	}
	_, signed := o.files[signature.ChecksumsBundle]
	judgements, earlier := shelf.history.judgements(o.release)
	archives, more := o.sections()
	return render("release", map[string]any{
		"Root":        root,
		"Back":        back,
		"To":          to,
		"Release":     shown{o.release, false, slices.Concat(shelf.problems[o.release], o.condition.problems()), shelf.history.standing(o.release)},
		"Manifest":    o.manifest,
		"Newer":       newer,
		"Older":       older,
		"Before":      before,
		"Differences": differ,
		"Same":        same,
		"Ways":        ways,
		"Notes":       o.texts.notes,
		"Signed":      signed,
		"Verify":      in.verify(),
		"Sections":    archives,
		"More":        more,
		"Ledger":      shelf.history.shown(),
		"Judgements":  judgements,
		"Earlier":     earlier,
	})
}

// problems are the files that are damaged, in words.
func (c *condition) problems() []string {
	var all []string
	for _, p := range c.broken() {
		all = append(all, p+" is damaged and is not served")
	}
	return all
}

// verify is what checks the release.
func (in installer) verify() command {
	line := "slipway verify "
	switch s := in.manifest.Signing; {
	case s == nil:
	case s.Key != "":
		line += "--key PUBLIC_KEY "
	case strings.Trim(s.Identity, "*") != "" && say("%s", strings.ReplaceAll(s.Identity, "*", "")) != "":
		line += "--trusted-root trusted_root.json --identity '" + s.Identity + "' "
	default:
		line += "--trusted-root trusted_root.json --identity IDENTITY "
	}
	return command{"", []string{line + cmp.Or(say("%s", in.at), "URL")}}
}

// sections are the files of a release: those that most people come for, and the others.
func (o *opened) sections() (first, others []section) {
	listed := map[string]bool{}
	lineOf := func(title, note, p string) line {
		listed[p] = true
		return line{title, note, o.files[p]}
	}
	var archives, binaries, charts, files []line
	for _, a := range o.manifest.Archives {
		archives = append(archives, lineOf(a.Platform.String(), path.Base(a.Path), a.Path))
	}
	for _, b := range o.manifest.Binaries {
		binaries = append(binaries, lineOf(b.Platform.String(), path.Base(b.Path), b.Path))
	}
	for _, c := range o.manifest.Charts {
		note := "application " + c.AppVersion
		if i := slices.IndexFunc(o.charts, func(loaded chart) bool { return loaded.file.Path == c.Path }); i >= 0 && o.charts[i].Description != "" {
			note = o.charts[i].Description
		}
		charts = append(charts, lineOf(c.Name+" "+c.Version, note, c.Path))
	}
	for _, f := range o.manifest.Files {
		if !listed[f.Path] && f.Kind != artifact.Image {
			files = append(files, lineOf(f.Path, string(f.Kind), f.Path))
		}
	}
	files = append(files, lineOf(manifest.ChecksumsName, "what sha256sum --check reads", manifest.ChecksumsName))
	if flat := o.manifest.Downloads; o.files[flat].Path != "" {
		files = append(files, lineOf(flat, "the same by file names alone, for what was downloaded into one folder", flat))
	}
	files = append(files, lineOf(manifest.FileName, "the manifest: everything in this release, by digest", manifest.FileName))
	return sections(section{"Archives", archives}, section{"Charts", charts}), sections(section{"Binaries", binaries}, section{"Files", files})
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
