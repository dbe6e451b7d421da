package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of what is looked at that the branch of a stage has otherwise than the log.
const (
	maxDiffer = 10_000 // files
	maxMerged = 250    // commits that brought them
	maxPath   = 1000   // bytes of the path of a file; a longer one is no entry, and may be no argument
)

// merged is what a commit brought to the branch of a stage that is entered by pull request.
type merged struct {
	stage, commit string // "" for what the log says that a pull request brought, and no commit of the branch did
	why           string
	id            string // of the request that it is
	entries       []environment.Entry
	paths         []string
	wrong         error // why it is no request
}

// mergesInto are the merges into the branch of a stage that the log does not have, the oldest last. Those that it has refused are among
// them as long as the branch has what they brought.
func (s *Store) mergesInto(ctx context.Context, stage string) ([]merged, error) {
	head := s.group.Head(stage)
	if head == "" {
		return nil, nil
	}
	differ, err := s.group.Differences(ctx, branch.Folder{Commit: s.group.Head(Log), Path: inLog(stage, "entries")}, branch.Folder{Commit: head, Path: "entries"}, maxDiffer)
	if err != nil {
		return nil, err
	}
	var all []merged
	for len(differ) > 0 && len(all) < maxMerged {
		path := "entries/" + differ[0].Path
		m := merged{stage: stage, paths: []string{path}}
		if len(path) > maxPath {
			m.wrong = fault.Errorf(fault.Mismatch, "%.200q is there, and no line of the log put it there", path)
			all, differ = append(all, m), differ[1:]
			continue
		}
		commit, subject, err := s.group.Touched(ctx, head, path)
		if err != nil {
			return nil, err
		}
		if commit == "" {
			m.wrong = fault.Errorf(fault.Mismatch, "it never had %s, and a line of the log says that it was merged there", path)
			all, differ = append(all, m), differ[1:]
			continue
		}
		m = merged{stage: stage, commit: commit, why: environment.OneLine(subject), id: environment.ID([]byte(strings.Join([]string{"merge", stage, commit}, "\n")))}
		brought, err := s.group.Differences(ctx, branch.Folder{Commit: commit + "^", Path: "entries"}, branch.Folder{Commit: commit, Path: "entries"}, maxDiffer)
		if err != nil {
			return nil, err
		}
		known := map[branch.Difference]bool{differ[0]: true}
		for _, d := range brought {
			known[d] = true
		}
		var others []branch.Difference
		for _, d := range differ {
			path := "entries/" + d.Path
			if !known[d] {
				others = append(others, d)
			} else if err := s.gather(ctx, &m, path, d); err != nil {
				return nil, err
			}
		}
		all, differ = append(all, m), others
	}
	return all, nil
}

// gather adds a file to what a merge brought.
func (s *Store) gather(ctx context.Context, m *merged, path string, d branch.Difference) error {
	m.paths = append(m.paths, path)
	e, err := s.brought(ctx, path, d)
	if fault.CodeOf(err) == fault.Git {
		return err
	}
	if err != nil {
		if m.wrong == nil { // of thousands the first one will do
			m.wrong = err
		}
		return nil
	}
	m.entries = append(m.entries, e)
	return nil
}

// brought is the entry in a file that a pull request changes.
func (s *Store) brought(ctx context.Context, path string, d branch.Difference) (environment.Entry, error) {
	switch {
	case d.Gone:
		return environment.Entry{}, fault.Errorf(fault.Mismatch, "it takes %.200q away, and nothing leaves by pull request", path)
	case d.ID == "":
		return environment.Entry{}, fault.Errorf(fault.Mismatch, "%.200q is not a plain file", path)
	}
	b, err := s.group.Blob(ctx, d.ID, environment.MaxEntry)
	if err != nil {
		return environment.Entry{}, err
	}
	e, err := environment.ParseEntry(b)
	if err != nil {
		return environment.Entry{}, fmt.Errorf("%.200q: %w", path, err)
	}
	if environment.Path(e.Component, e.Version) != path {
		return environment.Entry{}, fault.Errorf(fault.Mismatch, "%.200q is the entry of %s %s", path, e.Component, e.Version)
	}
	return e, nil
}

// request is what the merge asks for.
func (m merged) request(now time.Time) environment.Request {
	q := environment.Request{Kind: environment.Merge, At: now, Expires: now.Add(validity), To: m.stage, Why: m.why, Entries: m.entries}
	for _, e := range m.entries {
		q.Items = append(q.Items, environment.Item{Component: e.Component, Version: e.Version, Manifest: e.Manifest})
	}
	return q
}

// decide is what the rules say of a merge. What cannot be meant is refused, since the branch of the stage has it already.
func (m merged) decide(ctx context.Context, s *Store, now time.Time) (environment.Answer, error) {
	err := m.wrong
	if err == nil {
		for _, e := range m.entries {
			if _, ok := s.view.State.Having(s.view.Rules, m.stage, e); ok {
				continue
			}
			if err = s.admit(ctx, e); err != nil {
				break
			}
		}
	}
	if code := fault.CodeOf(err); code == fault.Transient || code == fault.Git {
		return environment.Answer{}, err
	}
	if err == nil {
		var a environment.Answer
		if a, err = environment.Decide(s.view.State, s.view.Rules, s.view.RulesCommit, m.id, m.request(now), now); err == nil {
			return a, nil
		}
	}
	return m.refused(s, err, now), nil
}

// refused is the answer to a merge that cannot be meant.
func (m merged) refused(s *Store, why error, now time.Time) environment.Answer {
	said := []environment.Outcome{{Rule: "merge", Detail: environment.OneLine(strings.ReplaceAll(why.Error(), "\n", "; ")), Fix: "slipway store repair"}}
	return environment.Answer{
		Code: fault.Policy, Outcomes: said,
		Line: environment.Line{
			Time: now.UTC().Truncate(time.Second), Kind: environment.Refused, Request: m.id, Rules: s.view.RulesCommit, Why: m.why,
			Moves:    []environment.Move{{To: m.stage}},
			Decision: said,
		},
	}
}

// adopt writes what was merged into the log, as the rules have it. A release from outside that cannot be looked at now waits.
func (s *Store) adopt(ctx context.Context, w *writer, now time.Time) error {
	for _, stage := range s.view.Rules.Stages {
		if stage.Enter == "commit" {
			continue
		}
		all, err := s.mergesInto(ctx, stage.Name)
		if err != nil {
			return err
		}
		for _, m := range slices.Backward(all) {
			if m.commit == "" || s.view.State.Request(m.id) > 0 {
				continue // which it has refused
			}
			a, err := m.decide(ctx, s, now)
			switch {
			case fault.CodeOf(err) == fault.Transient, err == nil && a.Nothing:
				continue
			case err != nil:
				return err
			}
			if !a.Refused() {
				a.Entries = m.entries
			}
			err = w.add(ctx, a)
			if fault.CodeOf(err) == fault.Usage { // as of a line that is too long: others go on
				err = w.add(ctx, m.refused(s, err, now))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// checkMerges holds the branch of a stage that is entered by pull request to the log, but for what was merged since.
func (s *Store) checkMerges(ctx context.Context, stage string, n *Checked) error {
	if s.group.Head(stage) == "" && len(s.view.State.In(stage)) > 0 {
		return fault.Errorf(fault.Mismatch, "the store has no branch %s: slipway store repair makes it again", stage)
	}
	all, err := s.mergesInto(ctx, stage)
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.commit == "" {
			return fmt.Errorf("branch %s: %w: slipway store repair puts the branch back", stage, m.wrong)
		}
		if line := s.view.State.Request(m.id); line > 0 {
			return fault.Errorf(fault.Mismatch, "branch %s: commit %.12s brought %s, which line %d of the log refuses: slipway store repair puts the branch back", stage, m.commit, m.paths[0], line)
		}
	}
	n.Waiting += len(all)
	return nil
}

// Proposed is what the rules say of a pull request against the branch of a stage, as if it were merged now. Ref is its branch, or
// the ref that the host has for it. What changes entries and something else is a fault.Mismatch.
func (s *Store) Proposed(ctx context.Context, stage, ref string) (a environment.Answer, err error) {
	err = s.Read(ctx, func(v View) error {
		rule, err := v.Rules.Stage(stage)
		if err != nil {
			return err
		}
		s.lookAtAll()
		commit, err := s.group.Other(ctx, ref)
		if err != nil {
			return err
		}
		if commit == "" {
			return fault.Errorf(fault.Usage, "%s has no branch %s", s.at.Shown, ref)
		}
		base, err := s.group.Base(ctx, s.group.Head(stage), commit)
		if err != nil {
			return err
		}
		differ, err := s.group.Differences(ctx, branch.Folder{Commit: base}, branch.Folder{Commit: commit}, maxDiffer)
		if err != nil {
			return err
		}
		besides, err := s.group.Differences(ctx, branch.Folder{Commit: s.group.Head(Log), Path: inLog(stage, "entries")}, branch.Folder{Commit: commit, Path: "entries"}, maxDiffer)
		if err != nil {
			return err
		}
		if len(differ) == maxDiffer || len(besides) == maxDiffer { // what comes after these is not seen
			return fault.Errorf(fault.Mismatch, "%s changes %d files, or branch %s has so many that no line of the log put there: slipway store repair takes those away", ref, maxDiffer, stage)
		}
		m := merged{stage: stage, commit: commit, id: environment.Untold}
		var others []string
		for _, d := range differ {
			name, entry := strings.CutPrefix(d.Path, "entries/")
			if !entry {
				others = append(others, d.Path)
			} else if !slices.ContainsFunc(besides, func(b branch.Difference) bool { return b.Path == name }) {
				continue // it puts back what the log has, as a repair does
			} else if err := s.gather(ctx, &m, d.Path, d); err != nil {
				return err
			}
		}
		switch {
		case len(m.paths) == 0:
			a.Nothing = true
			return nil
		case len(others) > 0:
			return fault.Errorf(fault.Mismatch, "%s changes %.200q beside entries of %s: have a pull request of its own for that", ref, others[0], stage)
		case rule.Enter == "commit":
			return fault.Errorf(fault.Usage, "%s is entered by a command, and no pull request changes it", stage)
		}
		a, err = m.decide(ctx, s, s.o.Now())
		for i, o := range a.Outcomes {
			if o.Rule == "merge" { // which is not on the branch of the stage yet
				a.Outcomes[i].Fix = "change the pull request"
			}
		}
		return err
	})
	return a, err
}

// Promotions are what the rules promote by themselves now.
func (s *Store) Promotions(ctx context.Context) (all []environment.Request, err error) {
	err = s.Read(ctx, func(v View) error {
		now := s.o.Now().UTC().Truncate(time.Second)
		all, err = environment.Promotions(v.State, v.Rules, v.RulesCommit, now, s.finds(ctx))
		return err
	})
	return all, err
}

// Proposal is a branch with entries for a stage that is entered by pull request.
type Proposal struct {
	Branch, Onto string
	There        bool // since before
	// Said is what the store's server said as it took the branch.
	Said string
	environment.Answer
}

// Offer are push options that have a server open a pull request of a branch into another one, none where it is not one that has these.
type Offer func(branch, into string) []string

// Propose pushes a branch that has versions enter a stage when it is merged. Whether the rules allow that now is in the answer, and
// is decided again at the merge; what time and people may still allow is proposed, and what nothing but another version would
// change is not. Entries are of releases from outside; the others are those of the stage before.
func (s *Store) Propose(ctx context.Context, q environment.Request, offers ...Offer) (p Proposal, err error) {
	err = s.Read(ctx, func(v View) error {
		now := s.o.Now().UTC().Truncate(time.Second)
		q.At, q.Expires = now, now.Add(validity)
		q, err := q.AsMerge(v.State, v.Rules, s.finds(ctx))
		if err == nil {
			p.Answer, err = environment.Decide(v.State, v.Rules, v.RulesCommit, environment.Untold, q, now)
		}
		if err != nil || p.Nothing || !p.Passing() {
			return err
		}
		return s.push(ctx, &p, merged{stage: q.To, why: q.Why, entries: q.Entries}, now, offers)
	})
	return p, err
}

// push makes the branch of a proposal, where it is not there yet.
func (s *Store) push(ctx context.Context, p *Proposal, m merged, now time.Time, offers []Offer) error {
	files := map[string][]byte{}
	var all []string
	for _, e := range m.entries {
		b, err := e.Encode()
		if err != nil {
			return err
		}
		files[environment.Path(e.Component, e.Version)] = b
		all = append(all, e.Component+" "+e.Version)
	}
	p.Onto = m.stage
	p.Branch = fmt.Sprintf("promote/%s/%s-%s", m.stage, m.entries[0].Component, strings.ReplaceAll(m.entries[0].Version, "+", "_"))
	if strings.HasSuffix(p.Branch, ".lock") { // which git takes for a file of its own, and no version ends like this
		p.Branch += "_"
	}
	message := fmt.Sprintf("promote %s to %s", strings.Join(all, ", "), m.stage)
	if len(all) > 1 {
		p.Branch += fmt.Sprintf("-and-%d-%s", len(all)-1, artifact.Sum([]byte(message)).Hex()[:8])
	}
	if m.why != "" {
		message += "\n\n" + m.why
	}
	there, err := s.group.Other(ctx, p.Branch)
	if err != nil {
		return err
	}
	head := s.group.Head(m.stage)
	lacks := head == ""
	for name, b := range files {
		has, err := s.group.File(ctx, head, name, environment.MaxEntry)
		if err != nil {
			return err
		}
		lacks = lacks || string(has) != string(b)
	}
	if !lacks {
		all, err := s.mergesInto(ctx, m.stage)
		if err != nil {
			return err
		}
		for _, other := range all {
			if other.commit != "" && s.view.State.Request(other.id) == 0 && slices.ContainsFunc(other.paths, func(name string) bool { return files[name] != nil }) {
				return fault.Errorf(fault.Transient, "it was merged into branch %s of %s, and is not written into the log yet: slipway combine --once", m.stage, s.at.Shown)
			}
		}
		return fault.Errorf(fault.Conflict, "branch %s of %s has what this would bring, and the log refuses it: run slipway store repair, and merge its branch first", m.stage, s.at.Shown)
	}
	merged := false
	if there != "" {
		if merged, err = s.group.Contains(ctx, head, there); err != nil {
			return err
		}
	}
	if there != "" && !merged { // else it was put back since, and the branch goes on from what there is now
		for name, b := range files {
			if has, err := s.group.File(ctx, there, name, environment.MaxEntry); err != nil || string(has) != string(b) {
				return errors.Join(err, fault.Errorf(fault.Conflict, "branch %s of %s proposes other bytes: delete it", p.Branch, s.at.Shown))
			}
		}
		p.There = true
		return nil
	}
	if head == "" { // of a stage that the rules have gained: it needs a branch to open a pull request against
		ids, err := s.group.Commit(ctx, []branch.Commit{{Change: branch.Change{Message: "release store", Time: now}}})
		if err == nil {
			_, err = s.group.Push(ctx, map[string]string{m.stage: ids[0]})
		}
		if err != nil {
			return err
		}
		head = ids[0]
	}
	ids, err := s.group.Commit(ctx, []branch.Commit{{Onto: head, Change: branch.Change{Files: files, Message: message, Time: now}}})
	if err != nil {
		return err
	}
	p.Said, err = s.offer(ctx, p.Branch, p.Onto, ids[0], offers)
	return err
}

// offer pushes a branch for a pull request.
func (s *Store) offer(ctx context.Context, name, into, commit string, offers []Offer) (said string, err error) {
	var options []string
	for _, o := range offers {
		options = append(options, o(name, into)...)
	}
	return s.group.Offer(ctx, name, commit, options...)
}
