package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// writer collects what a batch changes on each branch.
type writer struct {
	s       *Store
	first   int // lines that the log had before
	lines   [][]byte
	said    []string
	entries map[artifact.Digest][]byte // that are new
	stages  map[string]*change
	gone    []branch.Ref // out of the queue
}

// change is what a stage gains and loses, by path. Of both the last one counts.
type change struct {
	files map[string][]byte
	there map[string]bool // of files: what a pull request put on the branch of the stage already
	gone  map[string]bool
}

func (s *Store) begin() *writer {
	return &writer{s: s, first: s.view.State.Count, entries: map[artifact.Digest][]byte{}, stages: map[string]*change{}}
}

// write adds the answer to a request, with what was signed.
func (w *writer) write(ctx context.Context, q waiting, a environment.Answer) error {
	if q.Bundle != "" {
		a.Line.Signed = &environment.Signed{Request: q.Request, Bundle: q.Bundle}
	}
	return w.add(ctx, a)
}

// add appends an answer to the state. What cannot be written leaves everything as it was.
func (w *writer) add(ctx context.Context, a environment.Answer) error {
	for _, e := range a.Entries {
		b, err := e.Encode()
		if err != nil {
			return err
		}
		w.entries[artifact.Sum(b)] = b
	}
	moves := a.Line.Moves
	if !slices.Contains([]environment.Kind{environment.Add, environment.Promote, environment.Demote, environment.Merge, environment.Expire}, a.Line.Kind) {
		moves = nil
	}
	files := make([][]byte, len(moves))
	for i, m := range moves {
		if m.To == "" {
			continue
		}
		var err error
		if files[i], err = w.entry(ctx, environment.Path(m.Component, m.Version), m.Entry); err != nil {
			return err
		}
	}
	line, err := w.s.view.State.Append(a.Line)
	if err != nil {
		return err
	}
	w.lines = append(w.lines, line)
	w.said = append(w.said, a.Line.String())
	for i, m := range moves {
		name := environment.Path(m.Component, m.Version)
		for _, stage := range m.Left {
			c := w.stage(stage)
			delete(c.files, name)
			c.gone[name] = true
		}
		if m.To != "" {
			c := w.stage(m.To)
			delete(c.gone, name)
			c.files[name], c.there[name] = files[i], a.Line.Kind == environment.Merge
		}
	}
	return nil
}

func (w *writer) stage(name string) *change {
	if w.stages[name] == nil {
		w.stages[name] = &change{files: map[string][]byte{}, there: map[string]bool{}, gone: map[string]bool{}}
	}
	return w.stages[name]
}

// push makes the commits and moves all branches at once, with the refs that leave the queue.
func (w *writer) push(ctx context.Context, now time.Time) error {
	g, state := &w.s.group, w.s.view.State
	if len(w.lines) == 0 {
		_, err := g.Push(ctx, nil, w.gone...)
		return err
	}
	// A line that is dated ahead would count for nobody, and stop all others.
	if at, known := g.Clock(); known && ahead(now, at) {
		return clocks(now, at)
	}
	var err error
	log := branch.Change{Files: map[string][]byte{}, Message: w.message(), Time: now}
	if log.Files[headFile], err = canonjson.Indent(head{state.Count, state.Digest, w.s.view.Store}); err != nil {
		return err
	}
	for i, line := range w.lines {
		name := logFile(w.first + i)
		if log.Files[name] == nil && (w.first+i)%perFile > 0 {
			if log.Files[name], err = g.File(ctx, g.Head(Log), name, maxFile); err != nil {
				return err
			}
		}
		log.Files[name] = append(log.Files[name], line...)
	}
	commits, branches := []branch.Commit{{Onto: g.Head(Log)}}, []string{Log}
	for _, stage := range w.s.view.Rules.StageNames() {
		c := w.stages[stage]
		if c == nil {
			continue
		}
		files := map[string][]byte{}
		for name, b := range c.files {
			if log.Files[inLog(stage, name)] = b; !c.there[name] {
				files[name] = b
			}
		}
		var gone []string
		for name := range c.gone {
			gone = append(gone, name)
			log.Gone = append(log.Gone, inLog(stage, name))
		}
		if len(files)+len(gone) == 0 {
			continue
		}
		slices.Sort(gone)
		commits = append(commits, branch.Commit{Onto: g.Head(stage), Change: branch.Change{Files: files, Gone: gone, Message: log.Message, Time: now}})
		branches = append(branches, stage)
	}
	slices.Sort(log.Gone)
	commits[0].Change = log
	ids, err := g.Commit(ctx, commits)
	if fault.CodeOf(err) == fault.Git { // as of a name that git takes from others and makes no commit of
		err = fmt.Errorf("%w; if somebody changed a branch of the store by hand, slipway store repair puts it back", err)
	}
	if err != nil {
		return err
	}
	to := map[string]string{}
	for i, b := range branches {
		to[b] = ids[i]
	}
	behind, err := g.Push(ctx, to, w.gone...)
	if err != nil && !behind {
		// The answer may be what was lost, and not the push.
		if fetchErr := g.Fetch(ctx); fetchErr == nil {
			if has, hasErr := g.Has(ctx, Log, ids[0]); hasErr == nil && has {
				err = nil
			}
		}
	}
	if err != nil {
		return err
	}
	read := folded{Files: w.s.read.Files[:w.first/perFile]}
	for n := w.first / perFile * perFile; n < state.Count; n += perFile {
		b := log.Files[logFile(n)]
		read.Files, read.Last = append(read.Files, branch.BlobID(b)), len(b)
	}
	w.s.read = read
	return w.s.remember(state)
}

func (w *writer) message() string {
	if len(w.said) == 1 {
		return w.said[0]
	}
	return fmt.Sprintf("%d lines\n\n%s", len(w.said), strings.Join(w.said, "\n"))
}

// inLog is where the entry of a stage is on the branch of the log.
func inLog(stage, name string) string { return "environments/" + stage + "/" + name }

// entry is the file of an entry, from this batch or from a stage that has it.
func (w *writer) entry(ctx context.Context, name string, digest artifact.Digest) ([]byte, error) {
	if b, ok := w.entries[digest]; ok {
		return b, nil
	}
	for _, stage := range w.s.view.Rules.StageNames() {
		b, err := w.s.group.File(ctx, w.s.group.Head(Log), inLog(stage, name), environment.MaxEntry)
		if err != nil {
			return nil, err
		}
		if b != nil && artifact.Sum(b) == digest {
			return b, nil
		}
	}
	return nil, fault.Errorf(fault.Mismatch, "no stage has the entry %s of %s: run slipway store check", digest.Short(), name)
}

// Checked is what Check has looked at.
type Checked struct {
	Lines, Entries, Signatures int
	Waiting                    int // pull requests that were merged, and that nobody has written into the log yet
}

// Check holds a store to its log: each line to the one before it and to the rules that it names, each signed request to
// its signature and to what the line says of it, and the entries on the branch of the log and on those of the stages to what the
// lines come to. What differs is a fault.Mismatch that names the branch and the file.
func (s *Store) Check(ctx context.Context) (Checked, error) {
	var n Checked
	err := s.group.Locked(ctx, func() error {
		if err := s.look(ctx); err != nil {
			return err
		}
		last, err := s.lastSeen()
		if err != nil {
			return err
		}
		rules, replayed := "", &environment.State{}
		// From nothing: what was kept says of itself that it is right.
		if err := s.fold(ctx, &environment.State{}, folded{}, last, func(l environment.Line) error {
			if l.Signed != nil {
				n.Signatures++
				if err := s.checkSigned(ctx, l, rules); err != nil {
					return err
				}
			}
			return s.checkRules(ctx, replayed, l, &rules)
		}); err != nil {
			return err
		}
		n.Lines = s.view.State.Count
		for _, stage := range s.view.Rules.Stages {
			want := map[string]artifact.Digest{}
			for _, h := range s.view.State.In(stage.Name) {
				want[environment.Path(h.Component, h.Version)] = h.Entry
			}
			n.Entries += len(want)
			if err := s.checkTree(ctx, Log, "environments/"+stage.Name+"/", want); err != nil {
				return err
			}
			if stage.Enter == "commit" {
				err = s.checkTree(ctx, stage.Name, "", want)
			} else {
				err = s.checkMerges(ctx, stage.Name, &n)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// checkSigned holds a line to the request that its writer signed, with a key that the store knows, or knew by the rules of the line, which are
// not older than those of the line before, "" for not known: else whoever has a key that was taken away would name the rules of then.
func (s *Store) checkSigned(ctx context.Context, l environment.Line, before string) error {
	keys := s.view.Keys
	if _, ok := keys[l.By.Key]; !ok {
		v, err := s.viewAt(ctx, l.Rules)
		if err != nil {
			return err
		}
		if v != nil {
			keys = v.Keys
			if before == "" && l.N > 1 {
				r, err := s.fromLog(ctx, l.N-1)
				if err != nil {
					return err
				}
				before = r.Answer.Line.Rules
			}
			if err := s.notOlder(ctx, l, before); err != nil {
				return err
			}
		}
	}
	if err := signedBy(keys, l.By, *l.Signed); err != nil {
		return fault.New(fault.Mismatch, fmt.Errorf("line %d of the log: %w", l.N, err))
	}
	q, err := environment.ParseRequest([]byte(l.Signed.Request))
	if err == nil {
		err = s.forHere(q)
	}
	if err == nil {
		err = l.Answers(q)
	}
	if err != nil {
		return fault.New(fault.Mismatch, fmt.Errorf("line %d of the log: %w", l.N, err))
	}
	return nil
}

// viewAt is what main had at a commit: its rules and keys; nil for a commit that is not one of main.
func (s *Store) viewAt(ctx context.Context, commit string) (*View, error) {
	if commit == s.view.RulesCommit {
		return &s.view, nil
	}
	if v, ok := s.past[commit]; ok || commit == "" {
		return v, nil
	}
	has, err := s.group.Has(ctx, Main, commit)
	if _, said := errors.AsType[*git.Error](err); err != nil && !said {
		return nil, err // git says so of a commit that it does not have
	}
	var v *View
	if err == nil && has {
		v = &View{RulesCommit: commit}
		if v.Rules, v.Keys, err = s.rulesAt(ctx, commit); err != nil {
			return nil, err
		}
	}
	if s.past == nil {
		s.past = map[string]*View{}
	}
	s.past[commit] = v
	return v, nil
}

// checkRules holds a line to the rules that it names, which are those of main and not older than those of the line before, and which
// must have allowed it.
func (s *Store) checkRules(ctx context.Context, state *environment.State, l environment.Line, before *string) error {
	wrong := func(err error) error {
		return fault.New(fault.Mismatch, fmt.Errorf("line %d of the log: %w", l.N, err))
	}
	v, err := s.viewAt(ctx, l.Rules)
	switch {
	case err != nil:
		return err
	case v == nil:
		return wrong(fmt.Errorf("branch %s never had the rules %.40q", Main, l.Rules))
	}
	if err := s.notOlder(ctx, l, *before); err != nil {
		return err
	}
	*before = l.Rules
	if err := state.Replay(v.Rules, l); err != nil {
		return wrong(err)
	}
	return nil
}

// notOlder holds the rules of a line to those of the line before, "" for none.
func (s *Store) notOlder(ctx context.Context, l environment.Line, before string) error {
	if before == "" || before == l.Rules {
		return nil
	}
	later, err := s.group.Contains(ctx, l.Rules, before)
	if err == nil && !later {
		err = fault.Errorf(fault.Mismatch, "line %d of the log: its rules %s are older than those of the line before", l.N, l.Rules)
	}
	return err
}

// checkTree holds the entries of a branch below a folder to those that are wanted.
func (s *Store) checkTree(ctx context.Context, on, folder string, want map[string]artifact.Digest) error {
	head := s.group.Head(on)
	if head == "" && len(want) == 0 {
		return nil // of a stage that the rules have gained, and that nothing has entered
	}
	if head == "" {
		return fault.Errorf(fault.Mismatch, "the store has no branch %s", on)
	}
	files, err := s.group.Files(ctx, head, folder+"entries/")
	if err != nil {
		return fmt.Errorf("branch %s: %w", on, err)
	}
	found := map[string]bool{}
	err = s.group.Read(ctx, files, environment.MaxEntry, func(f branch.Blob, b []byte) error {
		name := strings.TrimPrefix(f.Path, folder)
		found[name] = true
		e, err := environment.ParseEntry(b)
		switch digest, ok := want[name]; {
		case !ok:
			return fault.Errorf(fault.Mismatch, "%s is there, and no line of the log put it there", f.Path)
		case digest != artifact.Sum(b):
			return fault.Errorf(fault.Mismatch, "%s has other bytes than the line of the log that put it there says", f.Path)
		case err != nil:
			return fmt.Errorf("%s: %w", f.Path, err)
		case environment.Path(e.Component, e.Version) != name:
			return fault.Errorf(fault.Mismatch, "%s is the entry of %s %s", f.Path, e.Component, e.Version)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("branch %s: %w", on, err)
	}
	for name := range want {
		if !found[name] {
			return fault.Errorf(fault.Mismatch, "branch %s: %s is gone, and no line of the log took it away", on, folder+name)
		}
	}
	return nil
}

// Entry is the entry of a version in a stage, for whoever reads the store. One that is not what the log says is a fault.Mismatch.
func (s *Store) Entry(ctx context.Context, stage, component, version string) (environment.Entry, error) {
	h, there := s.view.State.Held(stage, component, version)
	if !there {
		return environment.Entry{}, fault.Errorf(fault.Usage, "%s %s is not in %s", component, version, stage)
	}
	name := inLog(stage, environment.Path(component, version))
	b, err := s.group.File(ctx, s.group.Head(Log), name, environment.MaxEntry)
	if err != nil {
		return environment.Entry{}, err
	}
	if b == nil || artifact.Sum(b) != h.Entry {
		return environment.Entry{}, fault.Errorf(fault.Mismatch, "branch %s: %s is not the entry of line %d: run slipway store check", Log, name, h.Line)
	}
	return environment.ParseEntry(b)
}
