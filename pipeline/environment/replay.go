package environment

import (
	"fmt"
	"reflect"
	"slices"
	"time"
)

// Replay adds a line to a state that has those before, if the rules that it names allowed it then: so a log shows by itself that all of it
// was decided by rules, whoever wrote it. What a line does not have cannot be asked: who signed a release that came in by a request that
// nobody signed. Whoever takes the bytes finds that.
func (s *State) Replay(r Rules, l Line) error {
	if err := s.allowed(r, l); err != nil {
		return err
	}
	s.apply(l)
	s.Count, s.Time = l.N, l.Time
	return nil
}

// allowed says why the rules did not allow a line.
func (s *State) allowed(r Rules, l Line) error {
	switch l.Kind {
	case Refused:
		return nil
	case Expire:
		for _, m := range l.Moves {
			if !slices.ContainsFunc(Expired(s, r, m.From), func(e Move) bool { return reflect.DeepEqual(e, m) }) {
				return fmt.Errorf("%s %s is not beyond what %s keeps", m.Component, m.Version, m.From)
			}
		}
		return nil
	}
	d := decision{s: s, r: r, q: l.asked(), now: l.Time, unseen: l.Signed == nil}
	if !d.unseen {
		var err error
		if d.q, err = ParseRequest([]byte(l.Signed.Request)); err != nil {
			return err
		}
	}
	d.q.At, d.q.Expires = l.Time, l.Time.Add(time.Minute) // which Answers looks at
	if err := d.decide(); err != nil {
		return err
	}
	for _, o := range d.Outcomes {
		if !o.OK {
			return fmt.Errorf("the rules refuse it: %s: %s", o.Rule, o.Detail)
		}
	}
	for i, m := range d.Line.Moves {
		if d.unseen && m.From == Outside && i < len(l.Moves) {
			d.Line.Moves[i].Entry = l.Moves[i].Entry
		}
	}
	if !reflect.DeepEqual(d.Line.Moves, l.Moves) {
		return fmt.Errorf("by the rules it moves %+v, and it says %+v", d.Line.Moves, l.Moves)
	}
	return nil
}

// asked is the request that a line became which nobody signed, as far as the line has it.
func (l Line) asked() Request {
	q := Request{Kind: l.Kind, By: l.By, Why: l.Why, Until: l.Until, Report: l.Report, Replace: l.Why != "" && (l.Kind == Add || l.Kind == Promote)}
	for _, m := range l.Moves {
		q.To = m.To
		if l.Kind == Freeze || l.Kind == Thaw {
			break
		}
		q.Items = append(q.Items, Item{Component: m.Component, Version: m.Version, Manifest: m.Manifest})
		if l.Kind == Add || l.Kind == Merge {
			q.Entries = append(q.Entries, Entry{Component: m.Component, Version: m.Version, Commit: m.Commit, Manifest: m.Manifest})
		}
	}
	return q
}
