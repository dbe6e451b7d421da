package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// ahead reports whether a time is further on than clocks may differ.
func ahead(t, now time.Time) bool { return t.Sub(now) > maxBehind }

// due refuses a line that is still to come. To nobody whose clock is right it is one of the log before its time: so a soak is over
// when it is, whatever somebody dates, and what is dated in a hundred years can be taken off again, since nobody has taken it in.
func due(l environment.Line, now time.Time) error {
	if !ahead(l.Time, now) {
		return nil
	}
	return fault.Errorf(fault.Transient, "line %d of the log (%s, by %s) is of %s, and this machine's clock says %s: set the clock if that is behind; if the line is ahead, slipway store repair --from-line %[1]d takes it and what follows off the log",
		l.N, l, l.By, l.Time.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

// clocks says that this machine and the store's server have not the same time.
func clocks(now, at time.Time) error {
	return fault.Errorf(fault.Transient, "this machine's clock says %s, and that of the store's server %s: set the one that is wrong", now.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
}

// TakeOff takes lines off the end of a log that whoever wrote them dated ahead of this machine's clock, from the first of them on, by a
// commit on top, and returns them. Any other line is a fault.Policy: it may be known to others, who would miss it. The entries are for
// Repair to put back.
func (s *Store) TakeOff(ctx context.Context, line int) (off []environment.Line, err error) {
	if line < 1 {
		return nil, fault.Errorf(fault.Usage, "no line of a log has number %d", line)
	}
	err = s.group.Locked(ctx, func() error {
		if err := s.look(ctx); err != nil {
			return err
		}
		last, err := s.lastSeen()
		if err != nil {
			return err
		}
		if s.view.Store, err = s.storeID(ctx, last); err != nil {
			return err
		}
		files, err := s.group.Files(ctx, s.group.Head(Log), "log/")
		if err != nil {
			return err
		}
		state := &environment.State{}
		now, was := s.o.Now(), artifact.Digest("") // of the line that this folder saw last, if that is one of those that go
		change := branch.Change{Files: map[string][]byte{}, Message: fmt.Sprintf("repair: without lines from %d on, which were dated ahead", line), Time: now}
		err = s.group.Read(ctx, files, maxFile, func(f branch.Blob, b []byte) error {
			rest := b
			for len(rest) > 0 && state.Count+1 < line {
				text, after, _ := bytes.Cut(rest, []byte("\n"))
				if err := state.Fold(append(bytes.Clone(text), '\n'), func(l environment.Line) error { return due(l, now) }); err != nil {
					return err
				}
				rest = after
			}
			if len(rest) == 0 {
				return nil
			}
			for text := range bytes.Lines(rest) {
				text = bytes.TrimSuffix(text, []byte("\n"))
				if line+len(off) == last.Count {
					was = artifact.Sum(text)
				}
				l, err := environment.ParseLine(text)
				if err != nil {
					return fault.New(fault.Mismatch, fmt.Errorf("line %d of the log: %w", line+len(off), err))
				}
				off = append(off, l)
			}
			if keep := b[:len(b)-len(rest)]; len(keep) > 0 {
				change.Files[f.Path] = keep
			} else {
				change.Gone = append(change.Gone, f.Path)
			}
			return nil
		})
		at, known := s.group.Clock()
		switch {
		case err != nil:
			return err
		case len(off) == 0:
			return fault.Errorf(fault.Usage, "the log has %d lines, and none with number %d", state.Count, line)
		case known && ahead(off[0].Time, now) && !ahead(off[0].Time, at):
			return clocks(now, at)
		case !ahead(off[0].Time, now):
			return fault.Errorf(fault.Policy, "line %d is of %s, which is not ahead of this machine's clock: it stays", line, off[0].Time.Format(time.RFC3339))
		}
		if err := s.goesOn(last, cmp.Or(was, state.At(last.Count))); err != nil {
			return err
		}
		v := s.view
		v.State = state
		for _, stage := range v.Rules.StageNames() {
			b, err := s.putBack(ctx, v, stage, Log, "environments/"+stage+"/", nil)
			if err != nil {
				return err
			}
			maps.Copy(change.Files, b.Files)
			change.Gone, change.Over = append(change.Gone, b.Gone...), b.Over
		}
		if change.Files[headFile], err = canonjson.Indent(head{state.Count, state.Digest, v.Store}); err != nil {
			return err
		}
		ids, err := s.group.Commit(ctx, []branch.Commit{{Onto: s.group.Head(Log), Change: change}})
		if err == nil {
			_, err = s.group.Push(ctx, map[string]string{Log: ids[0]})
		}
		if err != nil {
			return err
		}
		s.view.State = nil
		return s.remember(state) // for whom this folder's clock was ahead, too
	})
	return off, err
}
