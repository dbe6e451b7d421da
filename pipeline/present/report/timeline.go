package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

// The measures of the drawing, in its own units; at the page's full width a unit is about a pixel.
const (
	drawWidth  = 1080
	laneHeight = 20
	laneGap    = 4
	axisHeight = 22
	minBar     = 3 // a step of no time is still to be seen
	charWidth  = 6.3
)

// palette are the phases whose color is always the same. Others take the colors that are left, in order.
var palette = []string{"source", "test", "compile", "pack", "images", "chart", "manifest"}

const colors = 10

// timeline is the drawing of the steps: a bar each, packed into as few lanes as they need.
type timeline struct {
	Width, Height int
	Base          int // the line that the bars stand above
	Ticks         []tick
	Bars          []bar
	Legend        []legend
	Summary       string
	States        map[string]bool
}

type tick struct{ X, Label, Anchor string }

type bar struct {
	Timing
	X, Width      string
	Y             int
	TextX         string
	TextY, Height int
	Label         string
	Color         int
	Lane          int
}

// Elapsed is how long the step took.
func (t Timing) Elapsed() time.Duration { return t.End - t.Start }

type legend struct {
	Group string
	Color int
	Steps int
	Busy  time.Duration
}

// newTimeline draws steps that are sorted by start.
func newTimeline(steps Timings) timeline {
	if len(steps) == 0 {
		return timeline{}
	}
	wall := max(steps.wall(), time.Millisecond)
	scale := float64(drawWidth-minBar) / float64(wall)
	t := timeline{Width: drawWidth, States: map[string]bool{}}
	var lanes []lane
	var busy time.Duration
	for _, s := range steps {
		x := float64(s.Start) * scale
		width := max(float64(s.Elapsed())*scale, minBar)
		i := choose(lanes, s.Group, x)
		if i == len(lanes) {
			lanes = append(lanes, lane{})
		}
		lanes[i] = lane{s.Group, x + width}
		y := i * (laneHeight + laneGap)
		t.Bars = append(t.Bars, bar{
			Timing: s, Lane: i, Color: t.color(s),
			X: decimal(x), Width: decimal(max(width-1, 2)), Y: y, Height: laneHeight,
			TextX: decimal(x + 6), TextY: y + laneHeight - 6, Label: label(s, width-12),
		})
		t.States[s.State] = true
		busy += s.Elapsed()
	}
	t.Base = len(lanes) * (laneHeight + laneGap)
	t.Height = t.Base + axisHeight
	t.Ticks = ticks(wall, scale)
	t.Summary = fmt.Sprintf("%s in %s; one after the other %s; at most %d at once",
		words.Count(len(steps), "step"), formatDuration(wall), formatDuration(busy), atOnce(steps))
	return t
}

// lane is the end of a row of bars: the phase of the last and where it ends.
type lane struct {
	group string
	end   float64
}

// choose takes a lane that is free at x: of those whose last step was of the same phase the one that became free last,
// which most often is what one worker did, else the first. It is a new one where none is free, so that there are never
// more lanes than needed.
func choose(lanes []lane, group string, x float64) int {
	first, same := len(lanes), -1
	for i, l := range lanes {
		if l.end > x {
			continue
		}
		first = min(first, i)
		if l.group == group && (same < 0 || l.end > lanes[same].end) {
			same = i
		}
	}
	if same >= 0 {
		return same
	}
	return first
}

// atOnce is how many of the steps, sorted by start, ran at the same time.
func atOnce(steps Timings) int {
	most := 1
	var ends []time.Duration
	for _, s := range steps {
		ends = slices.DeleteFunc(ends, func(end time.Duration) bool { return end <= s.Start })
		if s.Elapsed() > 0 {
			ends = append(ends, s.End)
		}
		most = max(most, len(ends))
	}
	return most
}

// color is the number of the step's color, and adds the step to the legend.
func (t *timeline) color(s Timing) int {
	i := slices.IndexFunc(t.Legend, func(l legend) bool { return l.Group == s.Group })
	if i < 0 {
		i = len(t.Legend)
		c := slices.Index(palette, s.Group)
		if c < 0 {
			others := 0
			for _, l := range t.Legend {
				if !slices.Contains(palette, l.Group) {
					others++
				}
			}
			c = len(palette) + others%(colors-len(palette))
		}
		t.Legend = append(t.Legend, legend{Group: s.Group, Color: c})
	}
	t.Legend[i].Steps++
	t.Legend[i].Busy += s.Elapsed()
	return t.Legend[i].Color
}

// label is as much of the step's name as a bar has room for. Words at the front go first: the last one, most often a
// platform, tells the step from its neighbors.
func label(s Timing, room float64) string {
	fits := int(room / charWidth)
	name := s.Step
	for utf8.RuneCountInString(name) > fits {
		_, rest, ok := strings.Cut(name, " ")
		if !ok {
			break
		}
		name = rest
	}
	if r := []rune(name); len(r) > fits {
		if fits < 6 {
			return ""
		}
		name = string(r[:fits-1]) + "…"
	}
	return name
}

// ticks are at most nine marks at round times.
func ticks(wall time.Duration, scale float64) []tick {
	steps := []time.Duration{1, 2, 5, 10, 20, 50, 100, 200, 500}
	for i := range steps {
		steps[i] *= time.Millisecond
	}
	for _, s := range []time.Duration{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600} {
		steps = append(steps, s*time.Second)
	}
	step := steps[len(steps)-1]
	for _, s := range steps {
		if wall/s <= 8 {
			step = s
			break
		}
	}
	for wall/step > 8 {
		step *= 2
	}
	var out []tick
	for at := time.Duration(0); at <= wall; at += step {
		x := float64(at) * scale
		t := tick{X: decimal(x), Label: mark(at), Anchor: "middle"}
		switch {
		case at == 0:
			t.Anchor = "start"
		case x > drawWidth-20:
			t.Anchor = "end"
		}
		out = append(out, t)
	}
	return out
}

// mark writes a round time: 0, 200ms, 15s, 1m30s, 2h.
func mark(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
