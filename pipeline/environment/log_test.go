package environment_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// A request that was done is not done again by whoever puts it into a line of his own.
func TestReplay(t *testing.T) {
	w := newWorld(t, "")
	w.add("snapshot", entry("gateway", "1.0.0", "a"))
	a := w.do(environment.Hold, "gateway", "1.0.0", "")
	w.do(environment.Release, "gateway", "1.0.0", "")
	if _, err := w.s.Append(a.Line); fault.CodeOf(err) != fault.Usage || w.s.Count != 3 {
		t.Error(err)
	}
	// By hand, behind a log that does not know the request yet.
	line := func(n int, last artifact.Digest) []byte {
		text := string(w.log[:strings.IndexByte(string(w.log), '\n')+1])
		return []byte(strings.NewReplacer(`"n":1`, fmt.Sprintf(`"n":%d`, n), `"schema":"slipway.move/v1",`, fmt.Sprintf(`"schema":"slipway.move/v1","prev":"%s",`, last)).Replace(text))
	}
	if err := w.s.Fold(line(4, w.s.Digest), nil); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "a request is done once") {
		t.Error(err)
	}
	var fresh environment.State
	first := line(1, "")
	first = []byte(strings.Replace(string(first), `"prev":"",`, "", 1))
	if err := fresh.Fold(append(first, line(2, artifact.Sum(first[:len(first)-1]))...), nil); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "a request is done once") {
		t.Error(err)
	}
}

// An agreement to no bytes is not one to any.
func TestAgreementToNothing(t *testing.T) {
	q := environment.Request{Kind: environment.Approve, To: "production", At: monday, Expires: monday.Add(time.Minute), By: ours, Items: []environment.Item{{Component: "gateway", Version: "1.0.0"}}}
	l := environment.Line{Kind: q.Kind, Time: monday, By: ours, Moves: []environment.Move{{Component: "gateway", Version: "1.0.0", To: "production", Manifest: artifact.Sum(nil)}}}
	if err := l.Answers(q); err == nil {
		t.Error("it was taken for one")
	}
}

// A line under a signature is what was signed, in every part that the signature says something of.
func TestAnswers(t *testing.T) {
	w := newWorld(t, "")
	e := entry("gateway", "1.0.0", "a")
	other := e
	other.Places = []string{"https://elsewhere.example.com/"}
	file, err := other.Encode()
	if err != nil {
		t.Fatal(err)
	}
	item := []environment.Item{{Component: "gateway", Version: "1.0.0"}}
	add := environment.Request{Kind: environment.Add, To: "snapshot", Items: item, Entries: []environment.Entry{e}}
	hold := environment.Request{Kind: environment.Hold, To: "production", Why: "x", Items: item, Until: monday.Add(time.Hour + time.Millisecond)}
	withdraw := environment.Request{Kind: environment.Withdraw, To: "production", Why: "x", Items: item}
	approve := environment.Request{Kind: environment.Approve, To: "production", Items: []environment.Item{{Component: "gateway", Version: "1.0.0", Manifest: e.Manifest}}}
	for what, c := range map[string]struct {
		q      environment.Request
		change func(l *environment.Line)
		fails  bool
	}{
		"an add":                          {add, func(*environment.Line) {}, false},
		"a hold with parts of a second":   {hold, func(*environment.Line) {}, false},
		"a withdrawal, which is of all":   {withdraw, func(*environment.Line) {}, false},
		"another entry":                   {add, func(l *environment.Line) { l.Moves[0].Entry = artifact.Sum(file) }, true},
		"from another stage":              {add, func(l *environment.Line) { l.Moves[0].From = "staging" }, true},
		"a hold of all stages":            {hold, func(l *environment.Line) { l.Moves[0].To = "" }, true},
		"a hold with another end":         {hold, func(l *environment.Line) { l.Until = monday.Add(2 * time.Hour) }, true},
		"a withdrawal in another stage":   {withdraw, func(l *environment.Line) { l.Moves[0].To = "staging" }, true},
		"what was good last week":         {add, func(l *environment.Line) { l.Time = monday.Add(7 * 24 * time.Hour) }, true},
		"before it was signed":            {add, func(l *environment.Line) { l.Time = monday.Add(-time.Hour) }, true},
		"an agreement to these bytes":     {approve, func(*environment.Line) {}, false},
		"an agreement to other bytes":     {approve, func(l *environment.Line) { l.Moves[0].Manifest = artifact.Sum(file) }, true},
		"a refusal long after it expired": {add, func(l *environment.Line) { l.Kind, l.Time = environment.Refused, monday.Add(time.Hour) }, true},
	} {
		c.q.At, c.q.Expires, c.q.By = monday, monday.Add(10*time.Minute), ours
		if c.q.Kind != environment.Add && w.s.Count == 0 {
			w.add("snapshot", e)
		}
		s := w.s
		if c.q.Kind == environment.Add {
			s = &environment.State{}
		}
		a, err := environment.Decide(s, w.r, rulesAt, strings.Repeat("0", 32), c.q, monday)
		if err != nil || a.Refused() || a.Nothing {
			t.Fatal(what, a, err)
		}
		a.Line.Until = a.Line.Until.Truncate(time.Second) // as Append does
		c.change(&a.Line)
		if err := a.Line.Answers(c.q); (err != nil) != c.fails {
			t.Errorf("%s: %v", what, err)
		}
	}
}
