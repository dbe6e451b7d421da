package progress

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
)

type recorder []Event

func (r *recorder) Event(e Event) { *r = append(*r, e) }

type compileError struct{ output string }

func (compileError) Error() string    { return "exit status 1" }
func (e compileError) Output() string { return e.output }

func TestTracker(t *testing.T) {
	c, seen := newClock(), &recorder{}
	tr := NewTracker(seen, c.Now)
	failure := fmt.Errorf("compiling: %w", compileError{"main.go:1: no"})
	stopped := fmt.Errorf("compiling: %w", context.Canceled)
	run := func(step string, d time.Duration, r Result, err error) {
		t.Helper()
		got := tr.Do(step, "compile", func() (Result, error) { c.pass(d); return r, err })
		if got != err {
			t.Errorf("%s: error %v became %v", step, err, got)
		}
	}
	c.pass(time.Second)
	run("a", 2*time.Second, Result{Detail: "8 MB"}, nil)
	run("b", 0, Result{Cached: true}, nil)
	run("c", time.Second, Result{Detail: "3 of 6"}, failure)
	run("d", time.Second, Result{}, stopped)
	tr.Event(Event{Step: "e", Group: "pack", State: Skipped, Detail: "its binary failed"})
	tr.Note("hello")
	if err := tr.Run("f", "pack", func() (string, error) { c.pass(time.Second); return "3 MB", nil }); err != nil {
		t.Error(err)
	}
	tr.Event(Event{Step: "g", Group: "engine", State: Done, Elapsed: 500 * time.Millisecond})
	tr.Event(Event{Step: "h", Group: "engine", State: Done, Elapsed: time.Hour})

	var ends recorder
	for _, e := range *seen {
		if e.State != Started {
			ends = append(ends, e)
		}
	}
	s := time.Second
	want := recorder{
		{Step: "a", Group: "compile", State: Done, Elapsed: 2 * s, Detail: "8 MB"},
		{Step: "b", Group: "compile", State: Cached},
		{Step: "c", Group: "compile", State: Failed, Elapsed: s, Detail: "3 of 6", Err: failure, Output: "main.go:1: no"},
		{Step: "d", Group: "compile", State: Skipped, Elapsed: s, Detail: "stopped"},
		{Step: "e", Group: "pack", State: Skipped, Detail: "its binary failed"},
		{State: Note, Detail: "hello"},
		{Step: "f", Group: "pack", State: Done, Elapsed: s, Detail: "3 MB"},
		{Step: "g", Group: "engine", State: Done, Elapsed: s / 2},
		{Step: "h", Group: "engine", State: Done, Elapsed: 6 * s},
	}
	if !reflect.DeepEqual(ends, want) {
		t.Errorf("events:\n%+v\nwant:\n%+v", ends, want)
	}
	timings := []Timing{
		{"h", "engine", 0, 6 * s, Done},
		{"a", "compile", s, 3 * s, Done},
		{"b", "compile", 3 * s, 3 * s, Cached},
		{"c", "compile", 3 * s, 4 * s, Failed},
		{"d", "compile", 4 * s, 5 * s, Skipped},
		{"e", "pack", 5 * s, 5 * s, Skipped},
		{"f", "pack", 5 * s, 6 * s, Done},
		{"g", "engine", 5500 * time.Millisecond, 6 * s, Done},
	}
	if got := tr.Timings(); !reflect.DeepEqual(got, timings) {
		t.Errorf("timings:\n%+v\nwant:\n%+v", got, timings)
	}
	if tr.Elapsed() != 6*s {
		t.Errorf("elapsed %s", tr.Elapsed())
	}
}

func TestTrackerWithoutSink(t *testing.T) {
	tr := NewTracker(nil, nil)
	want := errors.New("no")
	if err := tr.Run("a", "b", func() (string, error) { return "", want }); err != want {
		t.Errorf("Run = %v", err)
	}
	if got := tr.Timings(); len(got) != 1 || got[0].State != Failed {
		t.Errorf("timings %+v", got)
	}
}
