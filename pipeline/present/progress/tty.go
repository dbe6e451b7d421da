package progress

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

// frameEvery is the time between two frames.
const frameEvery = 100 * time.Millisecond

// The escape sequences that are written (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html).
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	eraseBelow = "\x1b[J" // from the cursor on
	eraseRight = "\x1b[K"
	plainStyle = "\x1b[0m"
	dim        = "\x1b[2m"
	bold       = "\x1b[1m"
	red        = "\x1b[31m"
	green      = "\x1b[32m"
	cyan       = "\x1b[36m"
)

// glyphs are the characters that a TTY draws with.
type glyphs struct {
	spinner                          []string
	done, cached, failed, skipped    string
	full, empty, ellipsis, separator string
	margin                           string
}

var (
	unicodeGlyphs = glyphs{
		spinner: strings.Split("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", ""),
		done:    "✓", cached: "✓", failed: "✗", skipped: "-",
		full: "━", empty: "─", ellipsis: "…", separator: " · ", margin: "  │ ",
	}
	asciiGlyphs = glyphs{
		spinner: strings.Split(`|/-\`, ""),
		done:    "*", cached: "*", failed: "x", skipped: "-",
		full: "=", empty: ".", ellipsis: "~", separator: ", ", margin: "  | ",
	}
)

// TTY is the display for a person at a terminal: a line for each running step and a bar for the whole at the bottom,
// above them the steps that ended.
//
// Events change the model only; a goroutine alone writes. So a terminal that was stopped (Ctrl-S) stops no build. The
// cursor rests on an empty line below the bar: what something else writes, or a kill, leaves a readable screen.
type TTY struct {
	o    Options
	g    glyphs
	tick *ticker
	once sync.Once // for Close

	mu          sync.Mutex
	board       board
	pending     []string // lines to scroll up, ready for the terminal
	interrupted bool
	closed      bool

	// Of the goroutine that draws, and of Close after it ended.
	out    printer
	drawn  []int // columns of each line of the last frame
	frames int
	hidden bool // the cursor
}

// NewTTY returns a TTY that draws on o.W until it is closed.
func NewTTY(o Options) *TTY {
	t := newTTY(o)
	t.tick = startTicker(frameEvery, func() {
		select {
		case <-o.Interrupted:
			t.interrupt()
		default:
		}
		t.draw(false)
	})
	return t
}

func newTTY(o Options) *TTY {
	o = o.withDefaults()
	t := &TTY{o: o, g: unicodeGlyphs, out: printer{w: o.W}}
	if o.ASCII {
		t.g = asciiGlyphs
	}
	return t
}

// SetTotal sets the length of the bar.
func (t *TTY) SetTotal(steps int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.board.total = steps
}

// Event takes the event over for the next frame.
func (t *TTY) Event(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	e = t.board.apply(e, t.o.Now())
	width, _ := t.o.Size()
	switch {
	case e.State == Note:
		t.pending = append(t.pending, e.Detail)
	case e.State.ended():
		t.pending = append(t.pending, t.ended(e, width))
		if e.State == Failed {
			for _, l := range reason(e, false) {
				t.pending = append(t.pending, "  "+t.style(red, l))
			}
			for _, l := range lines(e.Output, t.o.Color) {
				t.pending = append(t.pending, t.style(dim, t.g.margin)+l)
			}
		}
	}
}

// interrupt gives the cursor back early: a person who asks a command to stop may be about to kill it.
func (t *TTY) interrupt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.interrupted = true
}

// Close draws what is left, takes the running steps away and gives the cursor back.
func (t *TTY) Close() error {
	t.once.Do(func() {
		t.mu.Lock()
		t.closed = true
		t.mu.Unlock()
		t.tick.Stop()
		t.draw(true)
	})
	return t.out.err
}

func (t *TTY) style(code, s string) string {
	if !t.o.Color || s == "" {
		return s
	}
	return code + s + plainStyle
}

// columns lays a step out in at most width columns: a mark, the time, the step, and a remark if there is room.
func (t *TTY) columns(mark, color, when, step, remark string, width int) string {
	head := fmt.Sprintf("%7s  ", when)
	room := width - 2 - len(head)
	step = truncate(step, room, t.g.ellipsis)
	room -= textWidth(step) + 2
	if remark = truncate(remark, max(room, 0), t.g.ellipsis); remark != "" {
		remark = "  " + t.style(dim, remark)
	}
	if width < 2+len(head) {
		return truncate(mark+" "+step, max(width, 0), t.g.ellipsis)
	}
	return t.style(color, mark) + " " + t.style(dim, head) + step + remark
}

// ended is the line of a step that ended.
func (t *TTY) ended(e Event, width int) string {
	when := ""
	if e.Elapsed > 0 {
		when = words.Duration(e.Elapsed)
	}
	mark, color := t.g.done, green
	switch e.State {
	case Cached:
		mark, color, when = t.g.cached, cyan, "cached"
	case Failed:
		mark, color = t.g.failed, red
	case Skipped:
		mark, color, when = t.g.skipped, dim, "skipped"
	}
	return t.columns(mark, color, when, e.Step, e.Detail, width-1)
}

// line is one of a frame.
type line struct {
	text  string
	width int // in columns
}

// frame is what stands below the steps that ended.
func (t *TTY) frame(now time.Time, width, height int) []line {
	b := &t.board
	if b.start.IsZero() {
		return nil
	}
	var f []line
	add := func(text string) { f = append(f, line{text, textWidth(clean(text, false))}) }
	spin := t.g.spinner[t.frames%len(t.g.spinner)]
	shown := b.running
	if room := max(height-2, 0); len(shown) > room { // a line for the bar, one for the cursor
		shown = shown[:max(room-1, 0)]
	}
	for _, a := range shown {
		add(t.columns(spin, cyan, words.Duration(now.Sub(a.start)), a.step, a.detail, width-1))
	}
	if more := len(b.running) - len(shown); more > 0 && height > 2 {
		add(t.style(dim, truncate(fmt.Sprintf("%s and %d more running", t.g.ellipsis, more), width-1, t.g.ellipsis)))
	}
	add(t.bar(now, width-1))
	return f
}

// bar is the line for the whole: "━━━━━━━━────────  12/48 · 31.2s · 3 cached · 1 failed".
func (t *TTY) bar(now time.Time, width int) string {
	b := &t.board
	ended, total := b.ended(), b.total
	var parts []string
	if total > 0 {
		total = max(total, ended+len(b.running))
		parts = append(parts, fmt.Sprintf("%d/%d", ended, total))
	} else {
		parts = append(parts, fmt.Sprintf("%d done", ended))
	}
	parts = append(parts, words.Duration(now.Sub(b.start).Truncate(time.Second/10)))
	if n := b.counts[Cached]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d cached", n))
	}
	failed := ""
	if n := b.counts[Failed]; n > 0 {
		failed = fmt.Sprintf("%d failed", n)
		parts = append(parts, failed)
	}
	if t.interrupted {
		parts = append(parts, "stopping")
	}
	text := truncate(strings.Join(parts, t.g.separator), max(width, 0), t.g.ellipsis)
	room := min(width-2-textWidth(text), 40)
	if failed != "" {
		text = strings.Replace(text, failed, t.style(red, failed), 1)
	}
	if total <= 0 || room < 8 {
		return text
	}
	full := room * ended / total
	color := green
	if failed != "" {
		color = red
	}
	return t.style(color, strings.Repeat(t.g.full, full)) + t.style(dim, strings.Repeat(t.g.empty, room-full)) + "  " + text
}

// draw replaces the last frame by the next, in one write. With last, none follows.
func (t *TTY) draw(last bool) {
	width, height := t.o.Size()
	t.mu.Lock()
	now := t.o.Now()
	pending := t.pending
	t.pending = nil
	frame := t.frame(now, width, height)
	sum, stopping := t.board.summary(now), t.interrupted
	t.mu.Unlock()
	if last {
		frame = nil
		if sum != "" {
			pending = append(pending, t.style(bold, sum))
		}
	}
	t.frames++

	var b strings.Builder
	if !t.hidden && !stopping && len(frame) > 0 {
		b.WriteString(hideCursor)
		t.hidden = true
	}
	if len(t.drawn) > 0 {
		b.WriteByte('\r')
		if up := rows(t.drawn, width, height); up > 0 {
			fmt.Fprintf(&b, "\x1b[%dA", up)
		}
	}
	if len(pending) > 0 || last && len(t.drawn) > 0 {
		b.WriteString(eraseBelow) // lines that scroll up may be wider than the terminal
	}
	for _, l := range pending {
		b.WriteString(l + "\n")
	}
	drawn := make([]int, len(frame))
	for i, l := range frame {
		b.WriteString(l.text + eraseRight + "\n")
		drawn[i] = l.width
	}
	if len(drawn) > 0 {
		b.WriteString(eraseBelow) // what a longer frame, a resize or the echo of a key left
	}
	if t.hidden && (last || stopping) {
		b.WriteString(showCursor)
		t.hidden = false
	}
	t.drawn = drawn
	t.out.print(b.String())
}

// rows is how many rows the lines of a frame take now. A terminal that became narrower since has wrapped them.
func rows(drawn []int, width, height int) int {
	n := 0
	for _, w := range drawn {
		n += max(1, (w+max(width, 1)-1)/max(width, 1))
	}
	return min(n, max(height-1, 0))
}
