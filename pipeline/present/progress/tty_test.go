package progress

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// terminal is a TTY on a screen.
type terminal struct {
	*TTY
	*screen
	*clock
}

func newTerminal(t *testing.T, width, height int, o Options) *terminal {
	s, c := newScreen(t, width, height), newClock()
	o.W, o.Now, o.Size = s, c.Now, func() (int, int) { return s.width, s.height }
	return &terminal{newTTY(o), s, c}
}

// step lets time pass and draws, as the goroutine of NewTTY does.
func (t *terminal) step(d time.Duration) {
	t.pass(d)
	t.draw(false)
}

func (t *terminal) start(steps ...string) {
	for _, s := range steps {
		t.Event(Event{Step: s, Group: "compile", State: Started})
	}
}

func (t *terminal) end(state State, step, detail string) {
	t.Event(Event{Step: step, Group: "compile", State: state, Detail: detail})
}

func (t *terminal) want(tt *testing.T, name, got string) {
	tt.Helper()
	golden(tt, "tty_"+name+".txt", got)
}

func TestTTY(t *testing.T) {
	for _, color := range []bool{true, false} {
		s := newTerminal(t, 80, 24, Options{Color: color})
		var frames strings.Builder
		play(s, s.clock, func(d time.Duration) {
			s.step(d)
			fmt.Fprintf(&frames, "--- after %s\n%s", d, s.visible())
			if !s.screen.hidden {
				t.Error("the cursor is shown while steps run")
			}
		})
		s.want(t, "frames", frames.String())
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s.screen.hidden || s.x != 0 {
			t.Errorf("left behind: cursor hidden %t, column %d", s.screen.hidden, s.x)
		}
		s.want(t, "final", s.all())
	}
}

func TestTTYColor(t *testing.T) {
	var plain, colored bytes.Buffer
	for w, o := range map[*bytes.Buffer]Options{&plain: {}, &colored: {Color: true}} {
		o.W, o.Now = w, newClock().Now
		tty := newTTY(o)
		play(tty, newClock(), func(time.Duration) { tty.draw(false) })
		tty.Close()
	}
	if regexp.MustCompile("\x1b\\[[0-9;]*m").MatchString(plain.String()) {
		t.Error("colors without Color")
	}
	if !strings.Contains(colored.String(), "\x1b[31mundefined\x1b[0m") {
		t.Error("the colors of the output are lost")
	}
}

func TestTTYASCII(t *testing.T) {
	s := newTerminal(t, 80, 24, Options{ASCII: true})
	s.SetTotal(4)
	s.start("compile a", "compile b", "compile "+strings.Repeat("c", 100))
	s.step(time.Second)
	s.end(Cached, "compile a", "")
	s.end(Failed, "compile b", "")
	s.step(time.Second)
	got := s.visible()
	if i := strings.IndexFunc(got, func(r rune) bool { return r > '~' }); i >= 0 {
		t.Errorf("%q is not ASCII", got[i:])
	}
	s.want(t, "ascii", got)
}

func TestTTYNarrow(t *testing.T) {
	for width := range 60 {
		s := newTerminal(t, max(width, 1), 10, Options{Color: true})
		s.SetTotal(100)
		s.start("compile slipway linux/amd64", "compile 日本語 darwin/arm64")
		s.step(72 * time.Second)
		s.end(Done, "compile slipway linux/amd64", "a long remark about it")
		s.end(Cached, "compile 日本語 darwin/arm64", "8 MB")
		s.start("compile slipway windows/amd64")
		s.step(time.Second)
		if strings.Contains(s.all(), "↩") {
			t.Errorf("at %d columns a line wraps:\n%s", width, s.all())
		}
		s.Close()
	}
}

func TestTTYMoreStepsThanRows(t *testing.T) {
	for height := 1; height < 12; height++ {
		s := newTerminal(t, 60, height, Options{})
		s.SetTotal(20)
		var steps []string
		for i := range 12 {
			steps = append(steps, fmt.Sprintf("compile %d", i))
		}
		s.start(steps...)
		for range 5 {
			s.step(time.Second)
		}
		if height == 6 {
			s.want(t, "many", s.visible())
		}
		for _, step := range steps[:9] {
			s.end(Done, step, "")
			s.step(time.Second)
		}
		s.Close()
		var want strings.Builder
		for i, step := range steps[:9] {
			fmt.Fprintf(&want, "✓ %7s  %s\n", fmt.Sprintf("%d.0s", 5+i), step)
		}
		want.WriteString("12 steps in 14.0s: 3 unfinished\n")
		if got := s.all(); got != want.String() && height > 1 {
			t.Errorf("at %d rows:\n%s\nwant:\n%s", height, got, want.String())
		}
	}
}

func TestTTYResize(t *testing.T) {
	s := newTerminal(t, 100, 60, Options{Color: true})
	s.SetTotal(30)
	for i := range 5 {
		s.start(fmt.Sprintf("compile %d %s", i, strings.Repeat("long name ", 6)))
	}
	s.step(time.Second)
	for i, size := range [][2]int{{40, 60}, {100, 50}, {23, 50}, {7, 60}, {120, 8}, {61, 30}} {
		s.screen.resize(size[0], size[1])
		s.end(Done, fmt.Sprintf("short %d", i), "")
		s.step(time.Second)
	}
	for range 3 {
		s.step(time.Second)
	}
	s.want(t, "resized", s.all())
	s.Close()
	for i := range 6 {
		if i == 3 { // at seven columns there is room for a mark and little else
			continue
		}
		if n := strings.Count(s.all(), fmt.Sprintf("short %d", i)); n != 1 {
			t.Errorf("\"short %d\" is there %d times:\n%s", i, n, s.all())
		}
	}
	if n := strings.Count(s.all(), "long name"); n > 0 {
		t.Errorf("rows of old frames are left over:\n%s", s.all())
	}
}

func TestTTYFailureIsShownWhole(t *testing.T) {
	s := newTerminal(t, 40, 10, Options{})
	s.start("compile a", "compile b")
	s.step(time.Second)
	var out strings.Builder
	for i := range 50 {
		fmt.Fprintf(&out, "main.go:%d: %s\n", i, strings.Repeat("x", i*2+1))
	}
	s.Event(Event{Step: "compile a", Group: "compile", State: Failed, Err: errors.New("exit status 1"), Output: out.String()})
	s.step(time.Second)
	s.step(time.Second)
	s.end(Done, "compile b", "")
	s.Close()
	got := strings.ReplaceAll(s.all(), "↩\n", "")
	for l := range strings.Lines(out.String()) {
		if !strings.Contains(got, "  │ "+l) {
			t.Errorf("%q is lost", l)
		}
	}
}

func TestTTYInterrupt(t *testing.T) {
	s := newTerminal(t, 60, 10, Options{})
	s.SetTotal(2)
	s.start("compile a")
	s.step(time.Second)
	s.interrupt()
	s.Write([]byte("^C")) // the echo of the key
	s.step(time.Second)
	if s.screen.hidden || s.x != 0 {
		t.Errorf("after an interrupt: cursor hidden %t, column %d", s.screen.hidden, s.x)
	}
	if got := s.all(); !strings.Contains(got, "stopping") || strings.Contains(got, "^C") {
		t.Errorf("after an interrupt:\n%s", got)
	}
	s.end(Skipped, "compile a", "stopped")
	s.Close()
	if got, want := s.all(), "- skipped  compile a  stopped\n1 step in 2.0s: 1 skipped\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTTYInterruptedChannel(t *testing.T) {
	stop := make(chan struct{})
	w := &writes{ch: make(chan string, 100)}
	tty := NewTTY(Options{W: w, Interrupted: stop})
	tty.Event(Event{Step: "a", State: Started})
	close(stop)
	for got := ""; !strings.Contains(got, "stopping"); {
		select {
		case s := <-w.ch:
			got += s
		case <-time.After(10 * time.Second):
			t.Fatal("the interrupt was never shown")
		}
	}
	if err := tty.Close(); err != nil {
		t.Error(err)
	}
}

type writes struct{ ch chan string }

func (w *writes) Write(b []byte) (int, error) {
	select {
	case w.ch <- string(b):
	default:
	}
	return len(b), nil
}

// TestTTYStoppedTerminal holds the writer up, as Ctrl-S does: no event may wait for it.
func TestTTYStoppedTerminal(t *testing.T) {
	blocked := make(chan struct{})
	tty := NewTTY(Options{W: writerFunc(func(b []byte) (int, error) { <-blocked; return len(b), nil })})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range 1000 {
			tty.Event(Event{Step: "a", State: Done})
			time.Sleep(200 * time.Microsecond)
		}
	}()
	select {
	case <-sent:
	case <-time.After(30 * time.Second):
		t.Fatal("events wait for a terminal that was stopped")
	}
	close(blocked)
	if err := tty.Close(); err != nil {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
