package reproduce

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

var page = template.Must(template.New("reproduction").Parse(pageText))

// view is a report as the page needs it.
type view struct {
	Report
	Policy       string
	Style        template.CSS
	Lead         string
	Took         string
	Wrong, Right []Row
	Picture      picture
}

// picture is one square for each comparison, by kind.
type picture struct {
	Width, Height int
	Groups        []group
}

type group struct {
	Kind  string
	Count int
	Label int // baseline of the text
	Cells []cell
}

type cell struct {
	X, Y    int
	Verdict Verdict
	Path    string
}

// Measures of the picture, in its own units.
const (
	pictureWidth = 788
	cellsLeft    = 162
	cellsTop     = 72
	pitch        = 14
)

// draw lays the picture out.
func draw(rows []Row) picture {
	p := picture{Width: pictureWidth}
	at := map[string]int{}
	for _, r := range rows {
		i, ok := at[r.Kind]
		if !ok {
			i = len(p.Groups)
			at[r.Kind] = i
			p.Groups = append(p.Groups, group{Kind: r.Kind})
		}
		p.Groups[i].Cells = append(p.Groups[i].Cells, cell{Verdict: r.Verdict, Path: r.Path})
	}
	const across = (pictureWidth - cellsLeft) / pitch
	y := cellsTop
	for i := range p.Groups {
		g := &p.Groups[i]
		g.Count, g.Label = len(g.Cells), y+10
		for n := range g.Cells {
			g.Cells[n].X, g.Cells[n].Y = cellsLeft+n%across*pitch, y+n/across*pitch
		}
		y += ((len(g.Cells)+across-1)/across)*pitch + 8
	}
	p.Height = y
	return p
}

// HTML is the report as a page of its own: it loads nothing, runs no script, and says so in a content security policy. The
// same report gives the same bytes.
func (r Report) HTML() ([]byte, error) {
	sum := sha256.Sum256([]byte(pageStyle))
	v := view{
		Report: r, Style: template.CSS(pageStyle), Lead: r.summary(), Picture: draw(r.Rows),
		// https://www.w3.org/TR/CSP3/#external-hash
		Policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; base-uri 'none'; form-action 'none'",
		Took:   time.Duration(r.Build * float64(time.Second)).Round(100 * time.Millisecond).String(),
	}
	for _, row := range r.Rows {
		if row.Verdict == Pass {
			v.Right = append(v.Right, row)
		} else {
			v.Wrong = append(v.Wrong, row)
		}
	}
	var b bytes.Buffer
	if err := page.Execute(words.Writer(&b), v); err != nil {
		return nil, fmt.Errorf("rendering the report: %w", err)
	}
	return b.Bytes(), nil
}
