package progress

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Timing is when a step ran, from the beginning of the command on.
type Timing struct {
	Step, Group string
	Start, End  time.Duration
	State       State
}

// Result is what a step that succeeded has to say.
type Result struct {
	Detail string
	Cached bool // nothing had to be done
}

// Tracker runs steps, tells a Sink of them and remembers when each ran. It is itself a Sink, for steps that somebody
// else runs. It is safe for concurrent use.
type Tracker struct {
	sink  Sink
	now   func() time.Time
	start time.Time

	mu      sync.Mutex
	running map[[2]string]time.Duration
	timings []Timing
}

// NewTracker returns a tracker whose time begins now. A nil sink shows nothing, a nil now is time.Now.
func NewTracker(sink Sink, now func() time.Time) *Tracker {
	if now == nil {
		now = time.Now
	}
	return &Tracker{sink: sink, now: now, start: now(), running: map[[2]string]time.Duration{}}
}

// Event records the event and passes it on, with the elapsed time of a step that ended.
func (t *Tracker) Event(e Event) {
	t.mu.Lock()
	at, key := t.now().Sub(t.start), [2]string{e.Step, e.Group}
	switch {
	case e.State == Started:
		t.running[key] = at
	case e.State.ended():
		start, ok := t.running[key]
		if !ok {
			start = max(0, at-e.Elapsed)
		}
		delete(t.running, key)
		e.Elapsed = at - start
		t.timings = append(t.timings, Timing{e.Step, e.Group, start, at, e.State})
	}
	t.mu.Unlock()
	if t.sink != nil {
		t.sink.Event(e)
	}
}

// Run runs f as a step; see Do.
func (t *Tracker) Run(step, group string, f func() (detail string, err error)) error {
	return t.Do(step, group, func() (Result, error) {
		detail, err := f()
		return Result{Detail: detail}, err
	})
}

// Do runs f as a step and returns its error unchanged. A step whose context was canceled is shown as skipped, since
// what stopped it is shown elsewhere. An error in whose chain something has a method Output() string hands that over
// as the step's output.
func (t *Tracker) Do(step, group string, f func() (Result, error)) error {
	t.Event(Event{Step: step, Group: group, State: Started})
	result, err := f()
	e := Event{Step: step, Group: group, State: Done, Detail: result.Detail}
	var written interface {
		error
		Output() string
	}
	switch {
	case err == nil && result.Cached:
		e.State = Cached
	case errors.Is(err, context.Canceled):
		e.State, e.Detail = Skipped, "stopped"
	case err != nil:
		e.State, e.Err = Failed, err
		if errors.As(err, &written) {
			e.Output = written.Output()
		}
	}
	t.Event(e)
	return err
}

// Note tells the reader something that is not a step.
func (t *Tracker) Note(text string) { t.Event(Event{State: Note, Detail: text}) }

// Elapsed is the time since the tracker was made.
func (t *Tracker) Elapsed() time.Duration { return t.now().Sub(t.start) }

// Timings returns the steps that ended, by start, then end, then name.
func (t *Tracker) Timings() []Timing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(slices.Values(t.timings), func(a, b Timing) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Step, b.Step))
	})
}
