package pipeline_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the picture of the districts")

// TestPicture draws the districts from the imports of the code and compares the drawing with the one in docs. An arrow
// that other arrows imply is left out: who imports verify also imports what verify stands on.
func TestPicture(t *testing.T) {
	const name = "../docs/architecture.svg"
	arrows, _ := arrows(t)
	for district := range districts {
		if says[district] == "" {
			t.Errorf("says has no words for %s", district)
		}
	}
	got := draw(newDrawing(floors(t), arrows))
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code looks like (%v); run go test ./pipeline -update", name, err)
	}
}

// node is a box, or the bend of an arrow that passes a floor. Places count pixels from the left.
type node struct {
	district   string // "" for a bend
	floor      int
	x, width   int
	above      []*node
	below      []*node
	barycenter float64
}

type drawing struct {
	rows   [][]*node // from the top floor down
	width  int
	height int
}

const (
	boxWidth, boxHeight = 168, 58
	bendWidth           = 14
	gap, rise           = 18, 46
)

func newDrawing(floors map[string]int, arrows map[string]map[string]bool) drawing {
	top := slices.Max(slices.Collect(maps.Values(floors)))
	d := drawing{rows: make([][]*node, top), height: top*(boxHeight+rise) - rise + 2*gap}
	boxes := map[string]*node{}
	add := func(n *node) *node {
		d.rows[top-n.floor] = append(d.rows[top-n.floor], n)
		return n
	}
	names := slices.Sorted(maps.Keys(floors))
	for _, name := range names {
		boxes[name] = add(&node{district: name, floor: floors[name], width: boxWidth})
	}
	for _, from := range names {
		for _, to := range slices.Sorted(maps.Keys(arrows[from])) {
			if implied(arrows, from, to) {
				continue
			}
			last := boxes[from]
			for floor := floors[from] - 1; floor > floors[to]; floor-- {
				bend := add(&node{floor: floor, width: bendWidth})
				connect(last, bend)
				last = bend
			}
			connect(last, boxes[to])
		}
	}
	d.arrange()
	return d
}

func connect(above, below *node) {
	above.below = append(above.below, below)
	below.above = append(below.above, above)
}

// implied reports whether from reaches to without their own arrow.
func implied(arrows map[string]map[string]bool, from, to string) bool {
	for between := range arrows[from] {
		if between != to && (arrows[between][to] || implied(arrows, between, to)) {
			return true
		}
	}
	return false
}

// arrange orders each row by the middle of its neighbours, which leaves few arrows that cross, and gives everything a place.
func (d *drawing) arrange() {
	d.place()
	for pass := range 24 {
		for i := range d.rows {
			row, up := d.rows[i], pass%2 == 0
			if !up {
				row = d.rows[len(d.rows)-1-i]
			}
			for _, n := range row {
				near := n.above
				if !up {
					near = n.below
				}
				n.barycenter = middle(near, float64(n.x))
			}
			slices.SortStableFunc(row, func(a, b *node) int { return cmp.Compare(a.barycenter, b.barycenter) })
			d.place()
		}
	}
}

func middle(near []*node, otherwise float64) float64 {
	if len(near) == 0 {
		return otherwise
	}
	sum := 0
	for _, n := range near {
		sum += n.x
	}
	return float64(sum) / float64(len(near))
}

// place centers every row.
func (d *drawing) place() {
	widths := make([]int, len(d.rows))
	for i, row := range d.rows {
		for _, n := range row {
			widths[i] += n.width + gap
		}
	}
	d.width = slices.Max(widths) + gap
	for i, row := range d.rows {
		x := (d.width-widths[i])/2 + gap/2
		for _, n := range row {
			n.x = x + n.width/2
			x += n.width + gap
		}
	}
}

func (d drawing) y(n *node) int { return gap + (len(d.rows)-n.floor)*(boxHeight+rise) }

// draw writes the drawing as SVG, in colors that can be read on a light and on a dark page.
func draw(d drawing) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" text-anchor="middle">`+"\n", d.width, d.height)
	b.WriteString("<title>The districts of Slipway and which imports which, from the top down</title>\n")
	b.WriteString(`<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#6b7d8f"/></marker></defs>` + "\n")
	for _, row := range d.rows {
		for _, n := range row {
			if n.district == "" {
				continue
			}
			for _, to := range n.below {
				path, x, y := "", n.x, d.y(n)+boxHeight
				path = fmt.Sprintf("M%d %d", x, y)
				for {
					ny := d.y(to)
					path += fmt.Sprintf("C%d %d %d %d %d %d", x, y+rise/2, to.x, ny-rise/2, to.x, ny)
					if to.district != "" {
						break
					}
					x, y = to.x, ny+boxHeight
					path += fmt.Sprintf("L%d %d", x, y)
					to = to.below[0]
				}
				fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="#6b7d8f" stroke-width="1.5" marker-end="url(#a)"/>`+"\n", path)
			}
		}
	}
	for _, row := range d.rows {
		for _, n := range row {
			if n.district == "" {
				continue
			}
			fill := "#dcebf7"
			if n.district == "fixture" {
				fill = "#ececec"
			}
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" rx="6" fill="%s" stroke="#6b7d8f"/>`+"\n", n.x-boxWidth/2, d.y(n), boxWidth, boxHeight, fill)
			fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="15" font-weight="bold" fill="#14202c">%s</text>`+"\n", n.x, d.y(n)+20, n.district)
			for i, line := range strings.Split(says[n.district], "\n") {
				fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="11" fill="#14202c">%s</text>`+"\n", n.x, d.y(n)+36+14*i, line)
			}
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// says is what the picture says of each district, in two lines.
var says = map[string]string{
	"ci":          "the pipeline of a project,\na dozen lines",
	"cli":         "commands, flags, exit codes;\nreads clock and machine",
	"cmd":         "slipway, the small tool\nfor those who receive",
	"fixture":     "servers and releases\nfor tests alone",
	"build":       "plan to dist/: engines,\nimages, charts, packages",
	"plan":        "every output by name,\nbefore anything is built",
	"reproduce":   "rebuild a published release\nand compare",
	"scaffold":    "what init writes",
	"platform":    "several repositories\nunder one version",
	"publish":     "one transaction over\nall destinations",
	"environment": "what is in which environment:\nrules, log, moves in git",
	"verify":      "a release against its\nmanifest and signatures",
	"config":      "slipway.yaml, slipway.lock\nand their schema",
	"serve":       "a folder of releases\nover HTTP",
	"format":      "every file format: rules,\nwriter, reader, comparer",
	"trust":       "signatures, keys,\nkeyless, the ledger",
	"present":     "progress and the report",
	"source":      "what a commit says: time,\ntree, tags, files",
	"git":         "the one runner of git, and\nappend-only branches",
	"images":      "one file for each\ndistribution",
	"release":     "what a release is: names,\ndigests, manifest, exit codes",
	"internal":    "bounded reads, strict JSON\nand what many need",
}
