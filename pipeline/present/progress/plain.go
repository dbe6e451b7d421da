package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

// ticker calls f every interval from a goroutine of its own until it is stopped.
type ticker struct {
	once       sync.Once
	stop, done chan struct{}
}

func startTicker(interval time.Duration, f func()) *ticker {
	t := &ticker{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-t.stop:
				return
			}
		}
	}()
	return t
}

// Stop returns when f runs no more. A nil ticker has stopped.
func (t *ticker) Stop() {
	if t == nil {
		return
	}
	t.once.Do(func() { close(t.stop) })
	<-t.done
}

// printer writes whole lines and remembers the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) print(s string) {
	if p.err == nil && s != "" {
		_, p.err = io.WriteString(p.w, s)
	}
}

// stepLine is an event in one line of text: "done    compile slipway linux/amd64  4.2s  8.1 MB".
func stepLine(e Event) string {
	parts := []string{e.Step}
	if e.Elapsed > 0 {
		parts = append(parts, words.Duration(e.Elapsed))
	}
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	return fmt.Sprintf("%-7s %s\n", e.State, strings.Join(parts, "  "))
}

func beatLine(a active, now time.Time) string {
	s := words.Duration(now.Sub(a.start))
	if a.detail != "" {
		s += ", " + a.detail
	}
	return fmt.Sprintf("... still running %s (%s)\n", a.step, s)
}

// indent sets outside lines apart from ours.
func indent(prefix string, text []string) string {
	var b strings.Builder
	for _, l := range text {
		b.WriteString(prefix + l + "\n")
	}
	return b.String()
}

// reason is the error of a failed step as lines.
func reason(e Event, colors bool) []string {
	if e.Err == nil {
		return nil
	}
	return lines(e.Err.Error(), colors)
}

// Plain is the display for files and pipes: a line when a step ended, one a minute while it runs, and no control
// character.
type Plain struct {
	o    Options
	tick *ticker

	mu     sync.Mutex
	out    printer
	board  board
	closed bool
}

// NewPlain returns a Plain that writes to o.W until it is closed.
func NewPlain(o Options) *Plain {
	p := newPlain(o)
	p.tick = startTicker(time.Second, p.beat)
	return p
}

func newPlain(o Options) *Plain {
	o = o.withDefaults()
	return &Plain{o: o, out: printer{w: o.W}}
}

// SetTotal has no effect: a log shows what was done.
func (p *Plain) SetTotal(int) {}

// Event shows the end of a step.
func (p *Plain) Event(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	e = p.board.apply(e, p.o.Now())
	switch {
	case e.State == Note:
		p.out.print(e.Detail + "\n")
	case e.State.ended():
		text := stepLine(e)
		if e.State == Failed {
			text += indent("  ", reason(e, false)) + indent("  | ", lines(e.Output, false))
		}
		p.out.print(text)
	}
}

func (p *Plain) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	now := p.o.Now()
	for _, a := range p.board.beats(now) {
		p.out.print(beatLine(a, now))
	}
}

// Close writes a summary.
func (p *Plain) Close() error {
	defer p.tick.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.board.summary(p.o.Now()); s != "" && !p.closed {
		p.out.print(s + "\n")
	}
	p.closed = true
	return p.out.err
}
