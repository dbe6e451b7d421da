// Package progress shows the steps of a command to the one who watches it: a person at a terminal, the log of a CI
// system or another program.
//
// Those who work emit an Event when a step begins and when it ends, most easily through a Tracker. A Display renders
// the events; which one is decided once, by Open. Everything in an event is outside text to a display: a compiler, a
// file name or a registry may have chosen it, and none of it may move a cursor, forge a line or give a CI system an
// order.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

// State is what happened to a step.
type State int

// The states. Every step that is Started ends in one of the four that follow; one that needs no time may come with its
// end alone.
const (
	Started State = iota + 1
	Done
	Cached  // nothing had to be done
	Failed  // with Err and, where there is one, Output
	Skipped // not done, or stopped midway, because of something else
	Note    // not a step: Detail is a line for the reader, such as which engine was chosen
	Moving  // a step that runs got further: Detail says how far
)

var states = [...]string{Started: "started", Done: "done", Cached: "cached", Failed: "failed", Skipped: "skipped", Note: "note", Moving: "moving"}

// String is the state in lower case, as the JSON display writes it.
func (s State) String() string {
	if s < Started || s > Moving {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return states[s]
}

// ended reports whether s is the end of a step.
func (s State) ended() bool { return s >= Done && s <= Skipped }

// Event is something that happened to a step.
type Event struct {
	Step    string        // stable id: "compile slipway linux/amd64"
	Group   string        // the phase: source, compile, pack, images, chart, manifest
	State   State         //
	Elapsed time.Duration // of a step that ended
	Detail  string        // short: "8.1 MB", "alpine, 6 platforms"
	Output  string        // of a step that failed: all that it wrote; displays show it whole
	Err     error         // of a step that failed
}

// Sink takes events. It may be called from several goroutines at once and does not wait for a slow reader longer than
// a write takes.
type Sink interface{ Event(Event) }

// Display is a Sink that somebody watches.
type Display interface {
	Sink
	// SetTotal tells how many steps there will be. It may be called again when more is known.
	SetTotal(steps int)
	// Close shows what is still held back, leaves the terminal as it was found, and returns the first error that
	// writing met. Later events are dropped.
	Close() error
}

// Options is what a display needs. W is always needed.
type Options struct {
	W   io.Writer
	Now func() time.Time // nil is time.Now

	// For a terminal only.
	Size        func() (width, height int) // asked before every frame; nil is 80 by 24
	Color       bool
	ASCII       bool            // draw with ASCII only
	Interrupted <-chan struct{} // closed when the command was asked to stop, such as ctx.Done()

	// For GitHub only.
	Summary string // the file that the Markdown summary is appended to; empty is none
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Size == nil {
		o.Size = func() (int, int) { return 80, 24 }
	}
	return o
}

// Kind is a way of showing progress.
type Kind string

// The kinds, by the names that a user chooses them with.
const (
	KindTTY    Kind = "tty"
	KindPlain  Kind = "plain"
	KindGitHub Kind = "github"
	KindJSON   Kind = "json"
)

// Choices are what a user may choose: the kinds, and auto.
func Choices() []string {
	return []string{"auto", string(KindTTY), string(KindPlain), string(KindGitHub), string(KindJSON)}
}

// Detect resolves what the user chose: a Kind, or auto (also ""), which is github in a GitHub Actions job, tty on a
// terminal that can move its cursor and that no CI system owns, and plain elsewhere.
func Detect(env func(string) string, w *os.File, choice string) (Kind, error) {
	return detect(env, func() bool { return term.IsTerminal(int(w.Fd())) }, choice)
}

func detect(env func(string) string, terminal func() bool, choice string) (Kind, error) {
	switch k := Kind(choice); k {
	case KindTTY, KindPlain, KindGitHub, KindJSON:
		return k, nil
	case "auto", "":
	default:
		return "", fmt.Errorf("progress %q is unknown; choose auto, tty, plain, github or json", choice)
	}
	switch {
	case env("GITHUB_ACTIONS") == "true":
		return KindGitHub, nil
	case env("CI") != "" && env("CI") != "false", env("TERM") == "dumb", !terminal():
		return KindPlain, nil
	}
	return KindTTY, nil
}

// Open returns the display for f that the user chose; see Detect. It reads the environment variables NO_COLOR
// (https://no-color.org), TERM, the locale's, and those of CI systems through env. Interrupted is as in Options.
func Open(f *os.File, env func(string) string, choice string, interrupted <-chan struct{}) (Display, error) {
	kind, err := Detect(env, f, choice)
	if err != nil {
		return nil, err
	}
	o := Options{W: f, Interrupted: interrupted}
	switch kind {
	case KindJSON: // which holds outside text as it is, and may be read at a terminal all the same
		o.W = words.Writer(f)
		return NewJSON(o), nil
	case KindGitHub:
		o.Summary = env("GITHUB_STEP_SUMMARY")
		return NewGitHub(o), nil
	case KindTTY:
		if !enableEscapes(f) {
			break // a console of old that would print them
		}
		o.Color = env("NO_COLOR") == "" && env("TERM") != "dumb"
		o.ASCII = !speaksUTF8(env)
		o.Size = func() (int, int) {
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil || width <= 0 || height <= 0 {
				return 80, 24
			}
			return width, height
		}
		return NewTTY(o), nil
	}
	return NewPlain(o), nil
}

// speaksUTF8 reports whether the terminal shows more than ASCII. The locale decides by the order of POSIX
// (https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html#tag_08_02); where none is set, as in most
// containers, the terminal outside of it is almost certainly a modern one.
func speaksUTF8(env func(string) string) bool {
	if env("TERM") == "linux" {
		return false // the console's font has few characters
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(env(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}
