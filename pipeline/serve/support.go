package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

const (
	supportPath   = "/v1/support.json"
	platformsPath = "/platforms/"
)

// outlook is how all releases of a lifecycle stand on a day, in their order.
type outlook struct {
	lifecycle.Lifecycle
	at        lifecycle.Date
	standings []lifecycle.Standing

	page, support func() (document, error) // each is made when it is first asked for
}

func outlookOf(l lifecycle.Lifecycle, at lifecycle.Date) *outlook {
	o := &outlook{Lifecycle: l, at: lifecycle.Later(at, l.AsOf)} // a clock that is behind hides nothing
	for _, r := range l.Releases {
		s, _ := l.Of(r.Version, o.at, lifecycle.Fresh) // an error is that of a version that is no release
		o.standings = append(o.standings, s)
	}
	o.page = sync.OnceValues(func() (document, error) { return render("platform", o.platform()) })
	o.support = sync.OnceValues(o.data)
	return o
}

// outlook is how the releases stand today. It is made once a day, and where the file has changed.
func (f *life) outlook() (*outlook, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.read(); err != nil {
		return nil, err
	}
	today := lifecycle.DateOf(time.Now())
	if f.today == nil || f.today.Serial != f.is.Serial || f.today.at != lifecycle.Later(today, f.is.AsOf) {
		f.today = outlookOf(f.is, today)
	}
	return f.today, nil
}

// place is where a version is among the releases.
func (o *outlook) place(v version.Version) (int, bool) {
	return slices.BinarySearchFunc(o.Releases, v, func(r lifecycle.Release, v version.Version) int { return r.Version.Compare(v) })
}

// warn says with a file of a release that is not to be used any more how it stands. While there is no lifecycle, nothing is known of it.
func (s *Server) warn(h http.Header, r *release) {
	if s.life == nil {
		return
	}
	o, err := s.life.outlook()
	if err != nil || r.Name != o.Name {
		return
	}
	i, ok := o.place(r.Version)
	if !ok || o.Releases[i].Manifest != r.digest || o.standings[i].State < lifecycle.Due {
		return
	}
	text := o.standings[i].State.String()
	if o.standings[i].Withdrawn != "" {
		text += ", withdrawn"
	}
	h.Set("Slipway-Standing", text)
}

// changes reports whether what goes with the files of a release may be another thing tomorrow.
func (f *life) changes(r *release) bool {
	if f == nil {
		return false
	}
	o, err := f.outlook()
	return err != nil || r.Name == o.Name
}

// data writes supportPath.
func (o *outlook) data() (document, error) {
	type released struct {
		lifecycle.Standing
		Date lifecycle.Date `json:"date"`
	}
	var all []released
	for i, s := range o.standings {
		all = append(all, released{s, o.Releases[i].Date})
	}
	slices.Reverse(all)
	b, err := json.Marshal(map[string]any{
		"name": o.Name, "serial": o.Serial, "asOf": o.AsOf, "at": o.at, "lines": o.Lines(o.at, lifecycle.Fresh), "releases": all,
	})
	return newDocument("application/json", append(b, '\n')), err
}

// showPlatform answers with what people read of a platform: all of its lines, or one release.
func (s *Server) showPlatform(w *response, r *http.Request) error {
	o, err := s.life.outlook()
	if err != nil {
		s.log.Warn("the lifecycle cannot be shown", "error", err.Error())
		return status{http.StatusServiceUnavailable, "what is known of the releases cannot be read just now, or is not signed as it should be"}
	}
	if r.URL.Path == supportPath {
		d, err := o.support()
		if err != nil {
			return err
		}
		return d.serve(w, r)
	}
	name, rest, below := strings.Cut(strings.TrimPrefix(r.URL.Path, platformsPath), "/")
	switch {
	case name == "" && !below, name == o.Name && !below:
		redirect(w, http.StatusFound, strings.Repeat("../", strings.Count(r.URL.Path, "/")-2)+url.PathEscape(o.Name)+"/")
		return nil
	case name != o.Name:
		return errNotFound
	}
	var d document
	if rest == "" {
		d, err = o.page()
	} else {
		v, bad := version.Parse(rest)
		i, ok := o.place(v)
		if bad != nil || !ok || v.String() != rest {
			return errNotFound
		}
		d, err = render("platform-release", s.platformRelease(r.Context(), o, i))
	}
	if err != nil {
		return err
	}
	return d.serve(w, r)
}

// lineOf is a line of a platform, for people.
type supportedLine struct {
	Name     string
	Newest   lifecycle.Standing
	Colour   string
	Open     []lifecycle.Advisory // that the newest release has
	To       string               // the highest release that the newest one may be upgraded to, "" for none
	Releases []stood              // the highest version first
}

type stood struct {
	lifecycle.Release
	Standing lifecycle.Standing
	Colour   string
}

func (o *outlook) stood(i int) stood {
	return stood{o.Releases[i], o.standings[i], colours[o.standings[i].State]}
}

var colours = map[lifecycle.State]string{lifecycle.Current: "good", lifecycle.Unknown: "warn", lifecycle.Due: "warn", lifecycle.Overdue: "bad", lifecycle.Ended: "bad"}

// platformPage is what the page of a platform shows.
type platformPage struct {
	*outlook
	At       lifecycle.Date
	Old      bool // what is known is
	Lines    []supportedLine
	Stranded []lifecycle.DeadEnd
	Chart    chartOf
}

func (o *outlook) platform() platformPage {
	p := platformPage{outlook: o, At: o.at, Old: o.AsOf.AddDays(lifecycle.Fresh).Before(o.at), Stranded: o.Check(o.at)}
	to := make([]int, len(o.Releases)) // the last one of each is the highest
	for e := range o.Edges() {
		if e.Why == "" {
			to[e.From] = e.To
		}
	}
	newest := o.Lifecycle.Lines(o.at, lifecycle.Fresh)
	at := len(o.Releases) - 1
	for _, s := range newest {
		i, _ := o.place(s.Version)
		l := supportedLine{Name: lifecycle.Line(s.Version), Newest: s, Colour: colours[s.State], Open: o.open(s)}
		if to[i] > 0 {
			l.To = o.Releases[to[i]].Version.String()
		}
		for ; at >= 0 && lifecycle.Line(o.Releases[at].Version) == l.Name; at-- {
			l.Releases = append(l.Releases, o.stood(at))
		}
		p.Lines = append(p.Lines, l)
	}
	p.Chart = o.chart(p.Lines)
	return p
}

// open are the advisories that a release has.
func (o *outlook) open(s lifecycle.Standing) []lifecycle.Advisory {
	return slices.DeleteFunc(slices.Clone(o.Advisories), func(a lifecycle.Advisory) bool { return !slices.Contains(s.Advisories, a.ID) })
}

// Size of the drawing, in pixels. Across it goes by hundredths of what there is.
const (
	chartRow   = 40
	chartTop   = 22
	chartLines = 30 // that are drawn
	chartDots  = 40 // releases of each that are drawn
)

// chartOf is the drawing of the lines over time.
type chartOf struct {
	Height, Bottom int
	Today          string
	Years          []tick
	Bars           []bar
	Ways           []arrow
	More           int    // lines that are not drawn
	Text           string // for those who do not see it
}

type tick struct{ X, Text string }

type bar struct {
	Text, Colour, X, Width string
	At, Anchor             string // of the text
	Y, Label, Middle       int
	Dots                   []string
}

type arrow struct {
	X1, X2, Text string
	Y1, Y2       int
}

// chart draws for each line how long it is supported, its releases, and where its newest one goes.
func (o *outlook) chart(lines []supportedLine) (c chartOf) {
	c.More = max(0, len(lines)-chartLines)
	lines = lines[:len(lines)-c.More]
	first, last := o.at, o.at
	for _, l := range lines {
		last = lifecycle.Later(last, l.Newest.Until)
		if d := l.Releases[len(l.Releases)-1].Date; d.Before(first) {
			first = d
		}
	}
	span := max(1, first.Days(last))
	at := func(d lifecycle.Date) float64 { return 1 + 98*float64(max(0, min(span, first.Days(d))))/float64(span) }
	percent := func(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + "%" }
	c.Bottom = chartTop + chartRow*len(lines)
	c.Height, c.Today = c.Bottom+4, percent(at(o.at))
	from, _ := strconv.Atoi(first.String()[:4])
	to, _ := strconv.Atoi(last.String()[:4])
	for y := from + 1; y <= to; y += 1 + (to-from)/10 {
		if d, err := lifecycle.ParseDate(fmt.Sprintf("%04d-01-01", y)); err == nil && at(d) < 90 {
			c.Years = append(c.Years, tick{percent(at(d)), strconv.Itoa(y)})
		}
	}
	rows := map[string]int{}
	var told []string
	for n, l := range lines {
		rows[l.Name] = n
		y := chartTop + chartRow*n
		begun := l.Releases[len(l.Releases)-1].Date
		b := bar{Text: l.Name + " until " + l.Newest.Until.String(), Colour: l.Colour, Y: y + 22, Label: y + 16, Middle: y + 27, X: percent(at(begun)), Width: percent(max(0.5, at(l.Newest.Until)-at(begun)))}
		if b.At, b.Anchor = b.X, "start"; at(begun) > 50 { // there may be no place to its right
			b.At, b.Anchor = percent(at(l.Newest.Until)), "end"
		}
		for _, r := range l.Releases[:min(chartDots, len(l.Releases))] {
			b.Dots = append(b.Dots, percent(at(r.Date)))
		}
		c.Bars = append(c.Bars, b)
		told = append(told, fmt.Sprintf("%s from %s until %s, %s", l.Name, begun, l.Newest.Until, l.Newest.State))
	}
	for n, l := range lines {
		v, err := version.Parse(l.To)
		if err != nil {
			continue
		}
		row, drawn := rows[lifecycle.Line(v)]
		i, _ := o.place(v)
		j, _ := o.place(l.Newest.Version)
		if drawn && row != n {
			c.Ways = append(c.Ways, arrow{percent(at(o.Releases[j].Date)), percent(at(o.Releases[i].Date)), l.Newest.Version.String() + " to " + l.To, chartTop + chartRow*n + 27, chartTop + chartRow*row + 27})
		}
	}
	c.Text = strings.Join(told, "; ") + "."
	return c
}

// ways are upgrades from a release, or to it, with the releases of a line.
type ways struct {
	Line string
	To   []string
	More int
	Not  []string // what is in the way of others
}

// maxWays is how many releases of a line are named.
const maxWays = 12

// platformRelease is what the page of a release of a platform shows.
func (s *Server) platformRelease(ctx context.Context, o *outlook, i int) map[string]any {
	r := o.stood(i)
	data := map[string]any{"Name": o.Name, "Release": r, "At": o.at, "Open": o.open(r.Standing)}
	var on, here []ways
	for n := range o.Releases {
		low, high, all := i, n, &on
		switch {
		case n == i:
			continue
		case n < i:
			low, high, all = n, i, &here
		}
		// What is between two releases follows from those two alone.
		two := o.Lifecycle
		two.Releases = []lifecycle.Release{o.Releases[low], o.Releases[high]}
		for e := range two.Edges() {
			v := o.Releases[n].Version
			if last := len(*all) - 1; last < 0 || (*all)[last].Line != lifecycle.Line(v) {
				*all = append(*all, ways{Line: lifecycle.Line(v)})
			}
			w := &(*all)[len(*all)-1]
			switch {
			case e.Why != "":
				w.Not = append(w.Not, v.String()+": "+e.Why)
			default:
				w.To = append(w.To, v.String())
			}
		}
	}
	for _, all := range [][]ways{on, here} {
		slices.Reverse(all)
		for i := range all {
			slices.Reverse(all[i].To)
			slices.Reverse(all[i].Not)
			all[i].More = max(0, len(all[i].To)-maxWays)
			all[i].To = all[i].To[:min(maxWays, len(all[i].To))]
			all[i].Not = all[i].Not[:min(maxWays, len(all[i].Not))]
		}
	}
	data["On"], data["Here"] = on, here
	shelf := s.library.current(ctx)
	is, served := s.composed(ctx, shelf, o, i)
	data["Served"] = served
	if served {
		data["Is"] = is
	}
	if i+1 < len(o.Releases) {
		data["Newer"] = o.Releases[i+1].Version.String()
	}
	if i > 0 {
		data["Older"] = o.Releases[i-1].Version.String()
		if before, ok := s.composed(ctx, shelf, o, i-1); ok && served {
			var changes []string
			differ, same := composition.Diff(before, is)
			for _, c := range differ {
				changes = append(changes, c.String())
			}
			data["Compared"], data["Changes"], data["Same"] = true, changes, same
		}
	}
	return data
}

// composed is what a release consists of, where that very release is served here.
func (s *Server) composed(ctx context.Context, shelf *shelf, o *outlook, i int) (composition.Platform, bool) {
	if shelf == nil {
		return composition.Platform{}, false
	}
	r := shelf.byPath[o.Name+"/"+o.Releases[i].Version.String()]
	if r == nil || r.digest != o.Releases[i].Manifest {
		return composition.Platform{}, false
	}
	opened, err := s.library.contents(r)
	if err != nil {
		return composition.Platform{}, false
	}
	b, err := s.library.text(ctx, item{r, opened.files[composition.FileName]}, composition.MaxSize)
	if err != nil {
		return composition.Platform{}, false
	}
	p, err := composition.Decode(b)
	return p, err == nil
}
