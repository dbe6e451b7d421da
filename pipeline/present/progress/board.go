package progress

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

// beatEvery is how often a log says that a step is still running.
const beatEvery = time.Minute

// active is a step that runs.
type active struct {
	step, group string
	detail      string // how far it got
	start, beat time.Time
}

// board is the state of all steps, as every display needs it. It is not safe for concurrent use.
type board struct {
	start   time.Time
	total   int
	counts  [Moving + 1]int
	running []active // in the order in which they were started
}

// apply takes an event over and returns it fit for showing: without control characters in its one-line fields and with
// the elapsed time filled in where the sender left it out.
func (b *board) apply(e Event, now time.Time) Event {
	if b.start.IsZero() {
		b.start = now
	}
	e.Step, e.Group, e.Detail = oneLine(e.Step), oneLine(e.Group), oneLine(e.Detail)
	if e.State >= Started && e.State <= Moving {
		b.counts[e.State]++
	}
	if e.State == Started {
		b.running = append(b.running, active{step: e.Step, group: e.Group, start: now, beat: now})
	}
	if e.State == Moving {
		if i := b.find(e); i >= 0 {
			b.running[i].detail = e.Detail
		}
	}
	if e.State.ended() {
		i := b.find(e)
		if i >= 0 {
			if e.Elapsed == 0 {
				e.Elapsed = now.Sub(b.running[i].start)
			}
			b.running = slices.Delete(b.running, i, i+1)
		}
	}
	return e
}

// find is the place of a step among those that run; -1 where it does not.
func (b *board) find(e Event) int {
	return slices.IndexFunc(b.running, func(a active) bool { return a.step == e.Step && a.group == e.Group })
}

// ended is the number of steps that ended.
func (b *board) ended() int {
	return b.counts[Done] + b.counts[Cached] + b.counts[Failed] + b.counts[Skipped]
}

// beats returns the steps that a log has not heard of for a minute.
func (b *board) beats(now time.Time) []active {
	var due []active
	for i := range b.running {
		if a := &b.running[i]; now.Sub(a.beat) >= beatEvery {
			a.beat = now
			due = append(due, *a)
		}
	}
	return due
}

// summary sums the steps up: "48 steps in 1m12s: 30 cached, 1 failed". It is empty where there was none.
func (b *board) summary(now time.Time) string {
	n := b.ended() + len(b.running)
	if n == 0 {
		return ""
	}
	s := fmt.Sprintf("%d steps in %s", n, words.Duration(now.Sub(b.start)))
	if n == 1 {
		s = "1 step in " + words.Duration(now.Sub(b.start))
	}
	var parts []string
	for _, p := range []struct {
		n    int
		name string
	}{{b.counts[Cached], "cached"}, {b.counts[Failed], "failed"}, {b.counts[Skipped], "skipped"}, {len(b.running), "unfinished"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.name))
		}
	}
	if len(parts) > 0 {
		s += ": " + strings.Join(parts, ", ")
	}
	return s
}
