package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The picture: two by two panels.
const (
	panelWidth, panelHeight = 440, 300
	gap                     = 24
	footer                  = 34
)

// What is drawn of a panel lies between these, from its upper left corner.
const (
	left, right = 52.0, 345.0 // the rest is for labels
	top, bottom = 46.0, 252.0
)

// Without variables of CSS, which not every reader of SVG knows.
const style = `<style>
text { font: 11px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; stroke: #ffffff; stroke-width: 3px; paint-order: stroke; }
.title { font-size: 14px; font-weight: 600; }
.faint { fill: #59636e; }
.paper { fill: #ffffff; }
.axis { stroke: #59636e; }
.grid { stroke: #d1d9e0; }
.blue { color: #0969da; }
.orange { color: #bc4c00; }
.grey { color: #6e7781; }
.purple { color: #8250df; }
.bar, .dot, .label { fill: currentColor; }
.curve { stroke: currentColor; stroke-width: 1.5; fill: none; }
.dashed { stroke-dasharray: 5 3; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; stroke: #0d1117; }
.faint { fill: #9198a1; }
.paper { fill: #0d1117; }
.axis { stroke: #9198a1; }
.grid { stroke: #3d444d; }
.blue { color: #4493f8; }
.orange { color: #f0883e; }
.grey { color: #9198a1; }
.purple { color: #ab7df8; }
.bar, .dot, .label { fill: currentColor; }
}
</style>
`

type canvas struct{ strings.Builder }

// at writes coordinates so that the same picture is the same text.
func at(x float64) string {
	return strconv.FormatFloat(math.Round(x*10)/10+0, 'f', -1, 64) // + 0 makes -0 one
}

func (c *canvas) text(x, y float64, class, anchor, s string) {
	if anchor != "" {
		anchor = ` text-anchor="` + anchor + `"`
	}
	if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(c, "<text x=\"%s\" y=\"%s\"%s%s>%s</text>\n", at(x), at(y), class, anchor, html.EscapeString(s))
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(c, "<line x1=\"%s\" y1=\"%s\" x2=\"%s\" y2=\"%s\" class=\"%s\"/>\n", at(x1), at(y1), at(x2), at(y2), class)
}

func (c *canvas) path(points []point, class string) {
	var d []string
	for _, p := range points {
		d = append(d, at(p.x)+" "+at(p.y))
	}
	fmt.Fprintf(c, "<polyline points=\"%s\" class=\"%s\"/>\n", strings.Join(d, ", "), class)
}

func (c *canvas) dot(p point, class string) {
	fmt.Fprintf(c, "<circle cx=\"%s\" cy=\"%s\" r=\"3.5\" class=\"dot %s\"/>\n", at(p.x), at(p.y), class)
}

type point struct{ x, y float64 }

// series is a line with its name at the end.
type series struct {
	name, color string
	points      []point
	dots, line  bool
	dashed      bool
}

// ticks are round numbers from 0 to at least what is shown.
func ticks(most float64) []float64 {
	if most <= 0 {
		most = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, f := range []float64{0.2, 0.5, 1, 2} {
		if most/(step*f) <= 5 {
			step *= f
			break
		}
	}
	var list []float64
	for i := 0; ; i++ {
		list = append(list, float64(i)*step)
		if float64(i)*step >= most {
			return list
		}
	}
}

func number(x float64) string { return strconv.FormatFloat(math.Round(x*1000)/1000, 'f', -1, 64) }

// chart draws lines over an axis that begins at 0.
func (c *canvas) chart(title, xName, yName string, xs []float64, list []series) {
	c.text(0, 14, "title", "", title)
	list = slices.DeleteFunc(list, func(s series) bool { return len(s.points) == 0 })
	if len(list) == 0 || len(xs) == 0 {
		c.text(0, 40, "faint", "", "not measured")
		return
	}
	c.text(0, 34, "faint", "", yName)
	var most float64
	for _, s := range list {
		for _, p := range s.points {
			most = max(most, p.y)
		}
	}
	ys := ticks(most)
	highest := ys[len(ys)-1]
	last := xs[len(xs)-1]
	place := func(p point) point {
		return point{left + p.x/last*(right-left), bottom - p.y/highest*(bottom-top)}
	}
	for _, y := range ys {
		p := place(point{last, y})
		c.line(left, p.y, right, p.y, map[bool]string{true: "axis", false: "grid"}[y == 0])
		c.text(left-6, p.y+4, "faint", "end", number(y))
	}
	free := math.Inf(-1)
	for _, x := range xs {
		p := place(point{x, 0})
		c.line(p.x, bottom, p.x, bottom+4, "axis")
		if half := 3.5 * float64(len(number(x))); p.x-half >= free {
			c.text(p.x, bottom+17, "faint", "middle", number(x))
			free = p.x + half
		}
	}
	c.text((left+right)/2, bottom+35, "faint", "middle", xName)

	// The names stand at the ends of the lines, moved apart where those are close.
	type label struct {
		y float64
		s series
	}
	var labels []label
	for _, s := range list {
		placed := make([]point, len(s.points))
		for i, p := range s.points {
			placed[i] = place(p)
		}
		class := "curve " + s.color
		if s.dashed {
			class += " dashed"
		}
		if s.line && len(placed) > 1 {
			c.path(placed, class)
		}
		if s.dots {
			for _, p := range placed {
				c.dot(p, s.color)
			}
		}
		if s.name != "" {
			labels = append(labels, label{placed[len(placed)-1].y + 4, s})
		}
	}
	slices.SortStableFunc(labels, func(a, b label) int { return int(math.Copysign(1, a.y-b.y)) })
	for i := 1; i < len(labels); i++ {
		labels[i].y = max(labels[i].y, labels[i-1].y+14)
	}
	for i := len(labels) - 1; i >= 0; i-- {
		limit := bottom + 4
		if i < len(labels)-1 {
			limit = labels[i+1].y - 14
		}
		labels[i].y = min(labels[i].y, limit)
		c.text(right+8, labels[i].y, "label "+labels[i].s.color, "", labels[i].s.name)
	}
}

// bars draws how many times a plain build each tool takes.
func (c *canvas) bars(title string, r results) {
	c.text(0, 14, "title", "", title)
	type bar struct {
		name, color string
		ratio       float64
	}
	type group struct {
		name string
		bars []bar
	}
	var groups []group
	most := 1.0
	for _, p := range mainParts {
		base, ok := find(r, p.part, "", plain)
		if !ok || base.Wall <= 0 {
			continue
		}
		g := group{name: p.name}
		for _, t := range []bar{{slipway, "blue", 0}, {goreleaser, "orange", 0}} {
			if u, ok := find(r, p.part, "", t.name); ok {
				name := map[string]string{slipway: "Slipway", goreleaser: "GoReleaser"}[t.name]
				g.bars = append(g.bars, bar{name, t.color, u.Wall / base.Wall})
				most = max(most, u.Wall/base.Wall)
			}
		}
		groups = append(groups, g)
	}
	if len(groups) == 0 {
		c.text(0, 40, "faint", "", "not measured")
		return
	}
	c.text(0, 34, "faint", "", "wall time, plain parallel go build = 1; shorter is better")
	xs := ticks(most)
	width := right - 8 // from the left edge: no numbers stand there
	place := func(x float64) float64 { return x / xs[len(xs)-1] * width }
	for _, x := range xs {
		c.line(place(x), top, place(x), bottom, map[bool]string{true: "axis", false: "grid"}[x == 0])
		c.text(place(x), bottom+17, "faint", "middle", number(x))
	}
	c.text(width/2, bottom+35, "faint", "middle", "times a plain go build")
	c.line(place(1), top, place(1), bottom, "curve grey dashed")
	y := top + 14
	for _, g := range groups {
		c.text(4, y, "", "", g.name)
		y += 6
		for _, b := range g.bars {
			fmt.Fprintf(c, "<rect x=\"0\" y=\"%s\" width=\"%s\" height=\"16\" class=\"bar %s\"/>\n", at(y), at(max(place(b.ratio), 1)), b.color)
			c.text(place(b.ratio)+6, y+12, "label "+b.color, "", fmt.Sprintf("%s %.2f", b.name, b.ratio))
			y += 19
		}
		y += 20
	}
}

// over returns a series of a part, by number of targets or by size.
func (r results) over(part, tool string, x func(measurement) int, y func(usage) float64) []point {
	var list []point
	for _, m := range r.of(part) {
		if m.Tool == tool && x(m) > 0 && y(m.Median) > 0 {
			list = append(list, point{float64(x(m)), y(m.Median)})
		}
	}
	slices.SortFunc(list, func(a, b point) int { return int(math.Copysign(1, a.x-b.x)) })
	return list
}

func draw(r results) string {
	var c canvas
	width, height := 2*panelWidth+3*gap, 2*panelHeight+3*gap+footer
	fmt.Fprintf(&c, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"title\">\n", width, height, width, height)
	c.WriteString("<title id=\"title\">What a build takes: ratios to a plain go build, wall time by targets and by size, memory by size</title>\n")
	c.WriteString(style)
	fmt.Fprintf(&c, "<rect width=\"%d\" height=\"%d\" class=\"paper\"/>\n", width, height)
	panel := func(column, row int, draw func()) {
		fmt.Fprintf(&c, "<g transform=\"translate(%d %d)\">\n", gap+column*(panelWidth+gap), gap+row*(panelHeight+gap))
		draw()
		c.WriteString("</g>\n")
	}
	wall := func(u usage) float64 { return u.Wall }
	targets := func(m measurement) int { return m.Targets }
	size := func(m measurement) int { return m.MB }
	most := 0
	for _, p := range mainParts {
		for _, m := range r.of(p.part) {
			most = max(most, m.Targets)
		}
	}
	title := "Beside a plain go build"
	if most > 0 {
		title += fmt.Sprintf(", %d targets", most)
	}
	panel(0, 0, func() { c.bars(title, r) })

	measured, beside := r.over("targets", slipway, targets, wall), r.over("targets", plain, targets, wall)
	list := []series{
		{name: "go build", color: "grey", points: beside, dots: true, line: true},
		{name: "Slipway", color: "blue", points: measured, dots: true},
	}
	if m := modelOf(r); m.ok {
		line := func(x float64) point { return point{x, m.perTarget*x/float64(r.Machine.Cores) + m.constant} }
		list[1].name = "" // it is at the line
		list = append(list, series{name: "Slipway, model", color: "blue", points: []point{line(0), line(measured[len(measured)-1].x)}, line: true, dashed: true})
	}
	panel(1, 0, func() {
		c.chart("Cold build by number of targets", "targets", "wall time, seconds", abscissas(measured), list)
		if m := modelOf(r); m.ok {
			c.text(left+10, top+14, "label blue", "", fmt.Sprintf("%.1f s of CPU each / %d cores + %.1f s", m.perTarget, r.Machine.Cores, m.constant))
		}
	})

	var both []series
	for _, s := range []struct{ tool, name, color string }{{plain, "go build", "grey"}, {slipway, "Slipway", "blue"}, {packed, "with packages", "purple"}} {
		both = append(both, series{name: s.name, color: s.color, points: r.over("sizes", s.tool, size, wall), dots: true, line: true})
	}
	sizes := abscissas(r.over("sizes", slipway, size, wall))
	panel(0, 1, func() {
		c.chart("One line changed, by size of the program", "MB embedded in the program", "wall time, seconds", sizes, both)
	})

	own := func(u usage) float64 { return mib(u.Own) }
	all := func(u usage) float64 { return mib(u.All) }
	panel(1, 1, func() {
		c.chart("Memory by size of the program", "MB embedded in the program", "peak, MiB", sizes, []series{
			{name: "go build, all", color: "grey", points: r.over("sizes", plain, size, all), dots: true, line: true},
			{name: "Slipway, all", color: "orange", points: r.over("sizes", packed, size, all), dots: true, line: true},
			{name: "with packages", color: "purple", points: r.over("sizes", packed, size, own), dots: true, line: true},
			{name: "Slipway itself", color: "blue", points: r.over("sizes", slipway, size, own), dots: true, line: true},
		})
	})
	c.text(gap, float64(height-18), "faint", "", fmt.Sprintf("%d cores, Go %s, %s/%s. Medians of docs/performance.jsonl, drawn by make bench.", r.Machine.Cores, r.Machine.Go, r.Machine.OS, r.Machine.Arch))
	c.WriteString("</svg>\n")
	return c.String()
}

func abscissas(points []point) []float64 {
	var xs []float64
	for _, p := range points {
		xs = append(xs, p.x)
	}
	return xs
}
