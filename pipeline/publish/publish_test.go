package publish_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// shelf is a destination with one thing that is staged and one name that is flipped.
type shelf struct {
	name string
	log  *log

	staged, flipped bool
	taken           bool // the name has other bytes
	loses           bool // what is staged is not there when it is read back
	forgets         int  // how many flips somebody else undoes

	look, stage, flip []error // of the calls that are to come; nil succeeds
}

// log is what was done, in order.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *log) index(line string) int { return slices.Index(l.lines, line) }

func next(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func (s *shelf) Look(_ context.Context, depth publish.Depth) ([]publish.Item, error) {
	s.log.add("look %s %d", s.name, depth)
	if err := next(&s.look); err != nil {
		return nil, err
	}
	state := map[bool]publish.State{true: publish.Same, false: publish.Missing}
	items := []publish.Item{
		{Name: s.name + " bytes", Phase: publish.Stage, State: state[s.staged && !s.loses]},
		{Name: s.name + " name", Phase: publish.Flip, State: state[s.flipped]},
	}
	if s.taken {
		items[1].State, items[1].Detail = publish.Different, "it is something else"
	}
	return items, nil
}

func (s *shelf) Stage(context.Context) error {
	s.log.add("stage %s", s.name)
	err := next(&s.stage)
	s.staged = s.staged || err == nil
	return err
}

func (s *shelf) Flip(context.Context) error {
	s.log.add("flip %s", s.name)
	err := next(&s.flip)
	s.flipped = s.flipped || err == nil && s.forgets == 0
	s.forgets = max(s.forgets-1, 0)
	return err
}

// world are three destinations, of which each later one points at an earlier one.
func world() (*log, []*shelf, []publish.Target) {
	l := &log{}
	shelves := []*shelf{{name: "registry", log: l}, {name: "release", log: l}, {name: "tap", log: l}}
	waves := []publish.Wave{publish.Registries, publish.Releases, publish.Managers}
	var targets []publish.Target
	for i, s := range shelves {
		targets = append(targets, publish.Target{Name: s.name, Wave: waves[i], Destination: s})
	}
	slices.Reverse(targets) // the waves say the order, not the list
	return l, shelves, targets
}

func run(t *testing.T, targets []publish.Target, o publish.Options) (publish.Result, error) {
	t.Helper()
	o.Pause = func(ctx context.Context, _ int) error { return ctx.Err() }
	return publish.Run(t.Context(), targets, o)
}

// What is not seen after it was made visible is made visible again, some times, before anything points at it.
func TestFlipAgain(t *testing.T) {
	l, shelves, targets := world()
	shelves[0].forgets = 2
	if _, err := run(t, targets, publish.Options{}); err != nil || l.index("flip release") < l.index("flip registry")+4 {
		t.Errorf("%v, %q", err, l.lines)
	}
	l, shelves, targets = world()
	shelves[0].forgets = 3
	if _, err := run(t, targets, publish.Options{}); fault.CodeOf(err) != fault.Transient || l.index("flip release") >= 0 {
		t.Errorf("%v, %q", err, l.lines)
	}
}

func TestOrder(t *testing.T) {
	l, _, targets := world()
	result, err := run(t, targets, publish.Options{})
	if err != nil || !result.Changed {
		t.Fatal(result, err)
	}
	for _, order := range [][2]string{
		{"look tap 0", "stage registry"},
		{"stage tap", "look registry 1"},
		{"look tap 1", "flip registry"},
		{"flip registry", "flip release"},
		{"flip release", "flip tap"},
	} {
		if a, b := l.index(order[0]), l.index(order[1]); a < 0 || b < a {
			t.Errorf("%q is to be before %q in %q", order[0], order[1], l.lines)
		}
	}
	l.lines = nil
	if result, err = run(t, targets, publish.Options{}); err != nil || result.Changed || len(l.lines) != 3 {
		t.Errorf("a second time: %v, %v, %q", result.Changed, err, l.lines)
	}
}

// Whatever is wrong before, nothing is changed anywhere.
func TestPreflight(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*shelf)
		code  fault.Code
	}{
		"taken":       {func(s *shelf) { s.taken = true }, fault.Conflict},
		"credentials": {func(s *shelf) { s.look = []error{fault.Errorf(fault.Credentials, "who are you?")} }, fault.Credentials},
		"policy":      {func(s *shelf) { s.look = []error{fault.Errorf(fault.Policy, "not here")} }, fault.Policy},
		"bug":         {func(s *shelf) { s.look = []error{errors.New("oops")} }, fault.Unclassified},
		"program":     {func(s *shelf) { s.look = []error{fault.Errorf(fault.Bug, "no name")} }, fault.Bug},
	} {
		for i := range 3 {
			l, shelves, targets := world()
			c.spoil(shelves[i])
			_, err := run(t, targets, publish.Options{})
			if fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), shelves[i].name+": ") || !strings.Contains(err.Error(), "nothing was changed anywhere") {
				t.Errorf("%s at %s: %v", name, shelves[i].name, err)
			}
			if slices.ContainsFunc(l.lines, func(s string) bool { return !strings.HasPrefix(s, "look") }) {
				t.Errorf("%s at %s: %q", name, shelves[i].name, l.lines)
			}
		}
	}
}

// Nothing is public when any destination could not be staged, and the others are staged for the next run.
func TestOneIsDown(t *testing.T) {
	down := fault.Errorf(fault.Transient, "nobody answers")
	for name, spoil := range map[string]func(*shelf){
		"when looked at":    func(s *shelf) { s.look = []error{down} },
		"when staged":       func(s *shelf) { s.stage = []error{down, down, down} },
		"for good":          func(s *shelf) { s.stage = []error{fault.Errorf(fault.Credentials, "expired")} },
		"when read back":    func(s *shelf) { s.look = []error{nil, down, down, down} },
		"it loses what was": func(s *shelf) { s.loses = true },
	} {
		for i := range 3 {
			l, shelves, targets := world()
			spoil(shelves[i])
			_, err := run(t, targets, publish.Options{})
			want := fault.Transient
			if name == "for good" {
				want = fault.Credentials
			}
			if fault.CodeOf(err) != want || !strings.Contains(err.Error(), "nothing was made visible") {
				t.Errorf("%s, %s: %v", shelves[i].name, name, err)
			}
			for k, s := range shelves {
				if s.flipped {
					t.Errorf("%s, %s: %s is public", shelves[i].name, name, s.name)
				}
				if k != i && !s.staged {
					t.Errorf("%s, %s: %s was not staged", shelves[i].name, name, s.name)
				}
			}
			l.lines, shelves[i].loses = nil, false
			if _, err := run(t, targets, publish.Options{}); err != nil {
				t.Errorf("%s, %s, and again: %v", shelves[i].name, name, err)
			}
			for k, s := range shelves {
				if k != i && l.index("stage "+s.name) >= 0 {
					t.Errorf("%s, %s: %s was staged twice", shelves[i].name, name, s.name)
				}
			}
		}
	}
}

// What points at something is not flipped before it is there.
func TestWaves(t *testing.T) {
	for i := range 3 {
		l, shelves, targets := world()
		down := fault.Errorf(fault.Transient, "nobody answers")
		shelves[i].flip = []error{down, down, down}
		if _, err := run(t, targets, publish.Options{}); fault.CodeOf(err) != fault.Transient {
			t.Errorf("%s: %v", shelves[i].name, err)
		}
		for k, s := range shelves {
			if s.flipped != (k < i) {
				t.Errorf("%s is down: %s is public: %v", shelves[i].name, s.name, s.flipped)
			}
		}
		l.lines = nil
		if _, err := run(t, targets, publish.Options{}); err != nil || !shelves[2].flipped {
			t.Errorf("%s, and again: %v", shelves[i].name, err)
		}
	}
}

// What fails for a moment is tried again, and no more often than it was said.
func TestRounds(t *testing.T) {
	down := fault.Errorf(fault.Transient, "nobody answers")
	_, shelves, targets := world()
	shelves[0].stage, shelves[1].flip = []error{down, down}, []error{down, down}
	if _, err := run(t, targets, publish.Options{}); err != nil {
		t.Error(err)
	}
	l, shelves, targets := world()
	shelves[0].stage = []error{down, down, down, down}
	if _, err := run(t, targets, publish.Options{Rounds: 2}); err == nil {
		t.Error("it was tried more than twice")
	}
	n := 0
	for _, line := range l.lines {
		if line == "stage registry" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d rounds", n)
	}
}

// What may fail does not stop what must not.
func TestOptional(t *testing.T) {
	for name, spoil := range map[string]func(*shelf){
		"look": func(s *shelf) { s.look = []error{errors.New("oops")} },
		"flip": func(s *shelf) { s.flip = []error{errors.New("oops")} },
		"name": func(s *shelf) { s.taken = true },
	} {
		_, shelves, targets := world()
		targets[2].Optional = true // the registry, which is flipped first
		spoil(shelves[0])
		if _, err := run(t, targets, publish.Options{}); err != nil || !shelves[1].flipped || !shelves[2].flipped {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a remote shows late is waited for, and what somebody else took in between is a conflict.
func TestLate(t *testing.T) {
	down := fault.Errorf(fault.Transient, "not yet")
	_, shelves, targets := world()
	shelves[0].look = []error{nil, down, nil, down}
	if _, err := run(t, targets, publish.Options{}); err != nil {
		t.Error(err)
	}
	_, shelves, targets = world()
	targets[2].Destination = overtaken{shelves[0]}
	if _, err := run(t, targets, publish.Options{}); fault.CodeOf(err) != fault.Conflict || shelves[1].flipped {
		t.Errorf("overtaken: %v", err)
	}
}

// overtaken is a destination where somebody else takes the name at the same moment.
type overtaken struct{ *shelf }

func (o overtaken) Flip(context.Context) error {
	o.taken = true
	return nil
}

func TestInterrupted(t *testing.T) {
	_, shelves, targets := world()
	ctx, cancel := context.WithCancel(t.Context())
	shelves[0].stage = []error{context.Canceled}
	cancel()
	if _, err := publish.Run(ctx, targets, publish.Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, s := range shelves {
		if s.flipped {
			t.Errorf("%s is public", s.name)
		}
	}
}
