package progress

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

// slowest is how many steps the summary lists.
const slowest = 10

// Artifact is a line in the summary's table of what was made.
type Artifact struct {
	Name   string
	Detail string // "8.1 MB", "6 platforms"
	Digest string
}

// GitHub is the display for the log of a GitHub Actions job: steps grouped by phase, a failure outside of any group
// with an annotation, and a summary in Markdown. The rules for what it writes are those of
// https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands.
type GitHub struct {
	o     Options
	tick  *ticker
	token func() string

	mu        sync.Mutex
	out       printer
	board     board
	open      string              // the group that is open; empty is none
	held      map[string][]string // lines of other groups, until the open one has no step running
	order     []string            // the groups in held, by first line
	ended     []Event             // without their output
	artifacts []Artifact
	closed    bool
}

// NewGitHub returns a GitHub that writes to o.W, and to the end of the file o.Summary when it is closed.
func NewGitHub(o Options) *GitHub {
	g := newGitHub(o)
	g.tick = startTicker(time.Second, g.beat)
	return g
}

func newGitHub(o Options) *GitHub {
	o = o.withDefaults()
	return &GitHub{o: o, out: printer{w: o.W}, held: map[string][]string{}, token: stopToken}
}

// stopToken is a word that no step's output can have known.
func stopToken() string {
	var b [16]byte
	rand.Read(b[:])
	return "slipway-" + hex.EncodeToString(b[:])
}

// SetTotal has no effect: a log shows what was done.
func (g *GitHub) SetTotal(int) {}

// AddArtifacts adds to the summary's table of what was made.
func (g *GitHub) AddArtifacts(a ...Artifact) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.artifacts = append(g.artifacts, a...)
}

// Event shows the end of a step.
func (g *GitHub) Event(e Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	e = g.board.apply(e, g.o.Now())
	if e.Group != g.open && !g.busy() {
		g.flush()
	}
	switch {
	case e.State == Note:
		g.close()
		g.out.print(inert(e.Detail) + "\n")
	case e.State == Failed:
		g.fail(e)
	case e.State.ended():
		g.line(e.Group, inert(stepLine(e)))
	}
	if e.State.ended() {
		e.Output = ""
		g.ended = append(g.ended, e)
	}
}

// busy reports whether a step of the open group runs, so that more of its lines are to come.
func (g *GitHub) busy() bool {
	return slices.ContainsFunc(g.board.running, func(a active) bool { return a.group == g.open })
}

// line writes a line into its group. Groups do not nest, so that a line of another group waits while the open one is
// busy.
func (g *GitHub) line(group, text string) {
	switch {
	case group == g.open:
	case g.open != "" && g.busy():
		if g.held[group] == nil {
			g.order = append(g.order, group)
		}
		g.held[group] = append(g.held[group], text)
		return
	default:
		g.close()
		if group != "" {
			g.out.print("::group::" + escapeData(group) + "\n")
		}
		g.open = group
	}
	g.out.print(text)
}

// flush writes what was held back.
func (g *GitHub) flush() {
	for _, group := range g.order {
		text := strings.Join(g.held[group], "")
		delete(g.held, group)
		if group != g.open {
			g.close()
			g.out.print("::group::" + escapeData(group) + "\n")
			g.open = group
		}
		g.out.print(text)
	}
	g.order = nil
}

// close ends the open group. What follows is seen without a click.
func (g *GitHub) close() {
	if g.open != "" {
		g.out.print("::endgroup::\n")
	}
	g.open = ""
}

func (g *GitHub) fail(e Event) {
	g.close()
	why := strings.Join(reason(e, false), "\n")
	text := fmt.Sprintf("::error title=%s::%s\n", escapeProperty(e.Step), escapeData(cmp.Or(why, "failed")))
	text += inert(stepLine(e))
	if out := lines(e.Output, false); out != nil {
		token := g.token()
		text += "::stop-commands::" + token + "\n" + indent("", out) + "::" + token + "::\n"
	}
	g.out.print(text)
}

func (g *GitHub) beat() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	now := g.o.Now()
	for _, a := range g.board.beats(now) {
		g.out.print(inert(beatLine(a, now)))
	}
}

// Close ends the last group and writes the summary.
func (g *GitHub) Close() error {
	defer g.tick.Stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return g.out.err
	}
	g.closed = true
	g.flush()
	g.close()
	now := g.o.Now()
	sum := g.board.summary(now)
	if sum == "" {
		return g.out.err
	}
	g.out.print(sum + "\n")
	if g.o.Summary != "" {
		if err := appendFile(g.o.Summary, g.markdown(sum)); err != nil && g.out.err == nil {
			g.out.err = fmt.Errorf("writing summary: %w", err)
		}
	}
	return g.out.err
}

func appendFile(name, text string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// markdown is the summary: counts by phase, failures, the slowest steps and the artifacts.
func (g *GitHub) markdown(sum string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Slipway: %s\n\n", sum)
	b.WriteString("| Phase | Done | Cached | Failed | Skipped |\n| --- | ---: | ---: | ---: | ---: |\n")
	var groups []string
	counts := map[string]*[Note + 1]int{}
	for _, e := range g.ended {
		if counts[e.Group] == nil {
			groups = append(groups, e.Group)
			counts[e.Group] = new([Note + 1]int)
		}
		counts[e.Group][e.State]++
	}
	for _, group := range groups {
		n := counts[group]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", escapeMarkdown(group), n[Done], n[Cached], n[Failed], n[Skipped])
	}
	failed := slices.DeleteFunc(slices.Clone(g.ended), func(e Event) bool { return e.State != Failed })
	if len(failed) > 0 {
		b.WriteString("\n#### Failed\n\n")
		for _, e := range failed {
			fmt.Fprintf(&b, "- **%s**: %s\n", escapeMarkdown(e.Step), escapeMarkdown(strings.Join(reason(e, false), " ")))
		}
	}
	slow := slices.DeleteFunc(slices.Clone(g.ended), func(e Event) bool { return e.State != Done && e.State != Failed })
	slices.SortStableFunc(slow, func(a, b Event) int { return cmp.Compare(b.Elapsed, a.Elapsed) })
	if slow = slow[:min(slowest, len(slow))]; len(slow) > 0 {
		b.WriteString("\n<details><summary>Slowest steps</summary>\n\n| Step | Time | |\n| --- | ---: | --- |\n")
		for _, e := range slow {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", escapeMarkdown(e.Step), words.Duration(e.Elapsed), escapeMarkdown(e.Detail))
		}
		b.WriteString("\n</details>\n")
	}
	if len(g.artifacts) > 0 {
		b.WriteString("\n#### Artifacts\n\n| Name | | Digest |\n| --- | --- | --- |\n")
		for _, a := range g.artifacts {
			digest := ""
			if a.Digest != "" {
				digest = "<code>" + escapeMarkdown(oneLine(a.Digest)) + "</code>"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", escapeMarkdown(oneLine(a.Name)), escapeMarkdown(oneLine(a.Detail)), digest)
		}
	}
	b.WriteString("\n")
	return b.String()
}

// escapeData escapes the message of a workflow command.
func escapeData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// escapeProperty escapes a property of a workflow command.
func escapeProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}

// inert makes a line of ours that holds outside text one that is not a command: the runner obeys "::" at the beginning of
// a line and, in its older form, "##[" anywhere in it.
func inert(line string) string {
	line = strings.ReplaceAll(line, "##[", "##\u200b[")
	if strings.HasPrefix(strings.TrimSpace(line), "::") {
		line = "\u200b" + line
	}
	return line
}

// escapeMarkdown makes outside text plain text in GitHub's Markdown, within a table too.
func escapeMarkdown(s string) string {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(s, "\n", " ") {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '@' || r == ':': // no mention, no link, no emoji
			fmt.Fprintf(&b, "&#%d;", r)
		case strings.ContainsRune("\\`*_{}[]()#|~!$", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
