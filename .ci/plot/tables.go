package main

import (
	"fmt"
	"strings"
)

// The tools, as bench names them.
const (
	plain      = "go build"
	slipway    = "slipway"
	packed     = "slipway with packages"
	goreleaser = "goreleaser"
	koTool     = "ko"
)

// model is the wall time of a cold build: the compiler's CPU seconds of each target, on all cores, and a constant.
type model struct {
	perTarget float64 // CPU seconds
	constant  float64 // seconds
	worst     float64 // largest distance to what was measured, as a share of it
	compiler  float64 // CPU seconds that each target takes a plain go build
	ok        bool
}

func modelOf(r results) model {
	var m model
	points := func(tool string, value func(measurement) (x, y float64)) (xs, ys []float64) {
		for _, p := range r.of("targets") {
			if p.Tool == tool {
				x, y := value(p)
				xs, ys = append(xs, x), append(ys, y)
			}
		}
		return xs, ys
	}
	x, y := points(slipway, func(p measurement) (float64, float64) {
		return float64(p.Targets) / float64(r.Machine.Cores), p.Median.Wall
	})
	m.perTarget, m.constant, m.worst, m.ok = fit(x, y)
	m.compiler, _, _, _ = fit(points(plain, func(p measurement) (float64, float64) {
		return float64(p.Targets), p.Median.CPU
	}))
	return m
}

func (m model) String() string {
	s := fmt.Sprintf("wall time = %.2f s of CPU for each target / cores + %.2f s, at most %.0f %% beside what was measured", m.perTarget, m.constant, 100*m.worst)
	if m.compiler > 0 {
		s += fmt.Sprintf("; a plain go build takes %.2f s of CPU for each target", m.compiler)
	}
	return s
}

// mainParts are those of the main table, with what people call them.
var mainParts = []struct{ part, name string }{
	{"cold", "cold: empty build cache"}, {"lines", "one line changed"}, {"nothing", "nothing changed"},
}

// tables are the results for people, in Markdown.
func tables(r results) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d cores, Go %s, %s/%s\n", r.Machine.Cores, r.Machine.Go, r.Machine.OS, r.Machine.Arch)
	beside := func(title string, rows [][2]string, tools ...string) {
		var lines strings.Builder
		for _, row := range rows {
			part, name, _ := strings.Cut(row[0], " ")
			var base float64
			cells, any := "", false
			for i, tool := range tools {
				cell := "|"
				if u, ok := find(r, part, name, tool); ok {
					cell = fmt.Sprintf(" %s |", seconds(u.Wall))
					if i == 0 {
						base = u.Wall
					} else if any = true; base > 0 {
						cell = fmt.Sprintf(" %s, %.2f |", seconds(u.Wall), u.Wall/base)
					}
				}
				cells += cell
			}
			if any {
				fmt.Fprintf(&lines, "| %s |%s\n", row[1], cells)
			}
		}
		if lines.Len() > 0 {
			fmt.Fprintf(&out, "\n| %s | %s |\n|%s\n%s", title, strings.Join(tools, " | "), strings.Repeat("---|", len(tools)+1), lines.String())
		}
	}
	var rows [][2]string
	for _, p := range mainParts {
		rows = append(rows, [2]string{p.part, p.name})
	}
	beside("seconds, and how many times a plain go build", rows, plain, slipway, goreleaser)
	beside("images of linux targets", [][2]string{
		{"ko cold", "cold: empty build cache"}, {"ko lines", "one line changed"}, {"ko nothing", "nothing changed"},
	}, plain, slipway, koTool)

	if with, ok := find(r, "pack", "", slipway); ok {
		if without, ok := find(r, "pack", "", "slipway without packages"); ok {
			fmt.Fprintf(&out, "\npackages after one changed line: %s of %s, %.0f %%; %s of %s of CPU, %.0f %%\n",
				seconds(with.Wall-without.Wall), seconds(with.Wall), 100*(1-without.Wall/with.Wall),
				seconds(with.CPU-without.CPU), seconds(with.CPU), 100*(1-without.CPU/with.CPU))
		}
	}
	// Of the same number of targets: another cold build is not what was repeated.
	for _, m := range r.of("reproduce") {
		build, built := r.get(key{Part: "cold", Tool: slipway, Targets: m.Targets})
		pipeline, compiled := r.get(key{Part: "reproduce", Tool: "go build of the pipeline", Targets: m.Targets})
		if u := m.Median; m.Tool == "slipway reproduce" && built && compiled {
			fmt.Fprintf(&out, "\nreproduce: %.2f times the cold build that it repeats in wall time, %.2f times in CPU time; with the pipeline's compilation, which it repeats too, %.2f and %.2f times\n",
				u.Wall/build.Wall, u.CPU/build.CPU, u.Wall/(build.Wall+pipeline.Wall), u.CPU/(build.CPU+pipeline.CPU))
		}
	}
	if m := modelOf(r); m.ok {
		fmt.Fprintf(&out, "\nmodel of cold builds: %s\n", m)
	}

	if len(r.List) > 0 {
		out.WriteString("\n| part | targets | binaries | MB | tool | runs | wall, median | least | CPU | pipeline | largest process | all at once |\n|" + strings.Repeat("---|", 12) + "\n")
	}
	for _, m := range r.List {
		fmt.Fprintf(&out, "| %s |%s|%s|%s| %s | %d | %s | %s |%s|%s|%s|%s|\n", strings.TrimSpace(m.Part+" "+m.Case), count(m.Targets), count(m.Binaries), count(m.MB),
			strings.TrimSpace(m.Tool+" "+m.Version), len(m.Runs), seconds(m.Median.Wall), seconds(m.Min.Wall),
			blank(m.Median.CPU > 0, seconds(m.Median.CPU)), memory(m.Median.Own), memory(m.Median.Largest), memory(m.Median.All))
	}
	return out.String()
}

// find returns the measurement of a part, a case and a tool with the most targets.
func find(r results, part, name, tool string) (usage, bool) {
	var best measurement
	for _, m := range r.of(part) {
		if m.Case == name && m.Tool == tool && (len(best.Runs) == 0 || m.Targets > best.Targets) {
			best = m
		}
	}
	return best.Median, len(best.Runs) > 0
}

// seconds has as many digits as mean something.
func seconds(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.2f s", s)
	}
	return fmt.Sprintf("%.1f s", s)
}

func blank(ok bool, s string) string {
	if !ok {
		return ""
	}
	return " " + s + " "
}

func count(n int) string { return blank(n > 0, fmt.Sprint(n)) }

func memory(n int64) string { return blank(n > 0, fmt.Sprintf("%.0f MiB", mib(n))) }
