package progress

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew). Got:\n%s\nWant:\n%s", file, got, want)
	}
}

// clock is a time that passes when a test says so.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// hostile is what a program under the engine could write to take over a log or a terminal.
const hostile = "./main.go:7: \x1b[31mundefined\x1b[0m: x\r\n" +
	"50%\rdone\n" +
	"::set-output name=a::b\n::error::forged\n::stop-commands::slipway-guess\n::endgroup::\n##[command]x\n" +
	"\x1b]0;title\a\x1b[2J\x1b[1;1H\x1b]52;c;ZXZpbA==\x1b\\\x1bc\x1b(0\u009b5Aend\b\b\b\x00\n" +
	"\x1b]8;;https://example.com unfinished\n" +
	"\u202egnp.exe\xff\n"

// play is a build with all that can happen in one.
func play(d Display, c *clock, step func(time.Duration)) {
	ev := func(state State, group, step, detail string) {
		d.Event(Event{Step: step, Group: group, State: state, Detail: detail})
	}
	d.SetTotal(9)
	ev(Note, "", "", "engine: host (no Dagger engine answered)")
	ev(Started, "source", "source", "")
	step(200 * time.Millisecond)
	ev(Done, "source", "source", "7c0ffee on main")
	ev(Started, "compile", "compile slipway linux/amd64", "")
	ev(Started, "compile", "compile slipway freebsd/riscv64", "")
	step(1500 * time.Millisecond)
	ev(Cached, "compile", "compile slipway darwin/arm64", "7.9 MB")
	ev(Started, "pack", "pack darwin/arm64", "")
	step(80 * time.Millisecond)
	ev(Done, "pack", "pack darwin/arm64", "3.1 MB")
	step(58 * time.Second)
	step(1500 * time.Millisecond)
	ev(Done, "compile", "compile slipway linux/amd64", "8.1 MB")
	ev(Started, "pack", "pack linux/amd64", "")
	step(100 * time.Millisecond)
	ev(Done, "pack", "pack linux/amd64", "3.3 MB")
	d.Event(Event{
		Step: "compile slipway freebsd/riscv64", Group: "compile", State: Failed,
		Err: errors.New("compiling slipway for freebsd/riscv64: exit status 1\n::warning::forged"), Output: hostile,
	})
	ev(Skipped, "pack", "pack freebsd/riscv64", "its binary failed")
	ev(Started, "images", "image alpine\x1b[2J\n::error::forged ##[error]x", "")
	step(time.Second)
	ev(Done, "images", "image alpine\x1b[2J\n::error::forged ##[error]x", "<b>6</b> | platforms")
	ev(Started, "chart", "chart slipway", "")
	step(50 * time.Millisecond)
}

func TestPlain(t *testing.T) {
	c, w := newClock(), &bytes.Buffer{}
	p := newPlain(Options{W: w, Now: c.Now})
	play(p, c, func(d time.Duration) { c.pass(d); p.beat() })
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range w.String() {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			t.Errorf("the log has the control character %U", r)
		}
	}
	golden(t, "plain.txt", w.String())
}

func TestGitHub(t *testing.T) {
	c, w := newClock(), &bytes.Buffer{}
	summary := filepath.Join(t.TempDir(), "summary.md")
	if err := os.WriteFile(summary, []byte("before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	g := newGitHub(Options{W: w, Now: c.Now, Summary: summary})
	g.token = func() string { return "TOKEN" }
	play(g, c, func(d time.Duration) { c.pass(d); g.beat() })
	g.AddArtifacts(
		Artifact{"slipway_1.2.3_linux_amd64.tar.gz", "3.3 MB", "sha256:" + strings.Repeat("a", 64)},
		Artifact{"a|b <script>`@team` [x](https://example.com)", "", ""},
	)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	golden(t, "github.txt", w.String())
	got, err := os.ReadFile(summary)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "summary.md", string(got))

	// As the runner reads it: a command is a line that begins with "::", unless commands are stopped; groups do not nest.
	stopped, open := false, false
	for l := range strings.Lines(w.String()) {
		l = strings.TrimSpace(l)
		if !stopped && strings.Contains(l, "##[") {
			t.Errorf("the runner would obey %q", l)
		}
		switch {
		case !strings.HasPrefix(l, "::"):
		case l == "::TOKEN::":
			stopped = false
		case stopped:
		case strings.HasPrefix(l, "::stop-commands::TOKEN"):
			if stopped = true; open {
				t.Error("output is hidden in a group")
			}
		case strings.HasPrefix(l, "::group::"):
			if open {
				t.Errorf("%q begins inside of a group", l)
			}
			open = true
		case l == "::endgroup::":
			if !open {
				t.Error("a group ends that was not begun")
			}
			open = false
		case strings.HasPrefix(l, "::error title=compile slipway freebsd/riscv64::compiling"):
		default:
			t.Errorf("the runner would obey %q", l)
		}
	}
	if stopped || open {
		t.Errorf("at the end: stopped %t, open group %t", stopped, open)
	}
}

func TestGitHubSummaryThatCannotBeWritten(t *testing.T) {
	g := NewGitHub(Options{W: io.Discard, Summary: t.TempDir()})
	g.Event(Event{Step: "source", Group: "source", State: Done})
	if err := g.Close(); err == nil || !strings.HasPrefix(err.Error(), "writing summary: ") {
		t.Errorf("Close = %v", err)
	}
}

func TestStopToken(t *testing.T) {
	if a, b := stopToken(), stopToken(); a == b || len(a) < 32 {
		t.Errorf("tokens %q and %q can be guessed", a, b)
	}
}

func TestJSON(t *testing.T) {
	c, w := newClock(), &bytes.Buffer{}
	j := NewJSON(Options{W: w, Now: c.Now})
	play(j, c, c.pass)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(w.String()) {
		dec := json.NewDecoder(strings.NewReader(l))
		dec.DisallowUnknownFields()
		var r record
		if err := dec.Decode(&r); err != nil {
			t.Errorf("%q: %v", l, err)
		}
	}
	golden(t, "json.txt", w.String())
}

func TestDetect(t *testing.T) {
	for _, tt := range []struct {
		name     string
		env      map[string]string
		terminal bool
		choice   string
		want     Kind
	}{
		{"terminal", nil, true, "auto", KindTTY},
		{"no choice", nil, true, "", KindTTY},
		{"pipe", nil, false, "auto", KindPlain},
		{"dumb terminal", map[string]string{"TERM": "dumb"}, true, "auto", KindPlain},
		{"a CI system with a terminal", map[string]string{"CI": "true"}, true, "auto", KindPlain},
		{"CI=false", map[string]string{"CI": "false"}, true, "auto", KindTTY},
		{"GitHub", map[string]string{"CI": "true", "GITHUB_ACTIONS": "true"}, false, "auto", KindGitHub},
		{"chosen on GitHub", map[string]string{"GITHUB_ACTIONS": "true"}, false, "json", KindJSON},
		{"chosen in a pipe", nil, false, "tty", KindTTY},
		{"unknown", nil, true, "fancy", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := detect(func(k string) string { return tt.env[k] }, func() bool { return tt.terminal }, tt.choice)
			if got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, tt := range []struct{ choice, want string }{
		{"auto", "*progress.Plain"},
		{"plain", "*progress.Plain"},
		{"github", "*progress.GitHub"},
		{"json", "*progress.JSON"},
		{"tty", "*progress.TTY"},
	} {
		d, err := Open(f, func(string) string { return "" }, tt.choice, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%T", d); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.choice, got, tt.want)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	d, err := Open(f, func(k string) string {
		return map[string]string{"NO_COLOR": "1", "LC_ALL": "C", "LANG": "de_DE.UTF-8"}[k]
	}, "tty", nil)
	if err != nil {
		t.Fatal(err)
	}
	if tty := d.(*TTY); tty.o.Color || !tty.o.ASCII {
		t.Errorf("color %t and ASCII %t with NO_COLOR=1 LC_ALL=C", tty.o.Color, tty.o.ASCII)
	}
	d.Close()
	if _, err := Open(f, os.Getenv, "fancy", nil); err == nil {
		t.Error("a kind that does not exist was opened")
	}
}

// TestConcurrent has -race look at every display with its own goroutine.
func TestConcurrent(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(Options) Display
	}{
		{"plain", func(o Options) Display { return NewPlain(o) }},
		{"github", func(o Options) Display { return NewGitHub(o) }},
		{"json", func(o Options) Display { return NewJSON(o) }},
		{"tty", func(o Options) Display { return NewTTY(o) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			var w bytes.Buffer
			d := tt.open(Options{W: &w, Color: true})
			tr := NewTracker(d, nil)
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					for j := range 20 {
						d.SetTotal(400)
						tr.Run(fmt.Sprintf("step %d.%d", i, j), "group", func() (string, error) {
							time.Sleep(time.Millisecond)
							return "", nil
						})
					}
				})
			}
			wg.Wait()
			for range 2 {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
			n := w.Len()
			d.Event(Event{Step: "late", State: Done})
			if w.Len() != n {
				t.Error("something was written after Close")
			}
			for i := range 20 {
				for j := range 20 {
					if !strings.Contains(w.String(), fmt.Sprintf("step %d.%d", i, j)) {
						t.Errorf("step %d.%d was never shown", i, j)
					}
				}
			}
			if len(tr.Timings()) != 400 {
				t.Errorf("%d timings", len(tr.Timings()))
			}
			if after := runtime.NumGoroutine(); after > before {
				t.Errorf("%d goroutines are left over", after-before)
			}
		})
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriteError(t *testing.T) {
	o := Options{W: brokenPipe{}}
	for _, d := range []Display{NewPlain(o), NewGitHub(o), NewJSON(o), NewTTY(o)} {
		d.Event(Event{Step: "a", State: Done})
		if err := d.Close(); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%T: Close = %v", d, err)
		}
	}
}

func TestSilentWithoutSteps(t *testing.T) {
	var w bytes.Buffer
	for _, d := range []Display{NewPlain(Options{W: &w}), NewGitHub(Options{W: &w}), NewTTY(Options{W: &w})} {
		if err := d.Close(); err != nil || w.Len() > 0 {
			t.Errorf("%T wrote %q, %v", d, w.String(), err)
		}
	}
}

// A step that runs says how far it got: on a terminal beside it, in a log when the log hears of it, to programs each time.
func TestMoving(t *testing.T) {
	now := time.Unix(0, 0)
	events := []Event{
		{Step: "stage ghcr.io", Group: "publish", State: Started},
		{Step: "stage ghcr.io", Group: "publish", State: Moving, Detail: "12.0 MB, 4.0 MB/s"},
		{Step: "nobody knows it", Group: "publish", State: Moving, Detail: "1 B"},
	}
	for name, open := range map[string]func(Options) Display{
		"tty":  func(o Options) Display { return NewTTY(o) },
		"json": func(o Options) Display { return NewJSON(o) },
	} {
		var b bytes.Buffer
		var mu sync.Mutex
		d := open(Options{W: writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return b.Write(p)
		}), Now: func() time.Time { return now }, ASCII: true})
		for _, e := range events {
			d.Event(e)
		}
		deadline := time.Now().Add(10 * time.Second)
		for {
			mu.Lock()
			shown := strings.Contains(b.String(), "12.0 MB, 4.0 MB/s")
			mu.Unlock()
			if shown {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s does not say how far the step got: %q", name, b.String())
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
