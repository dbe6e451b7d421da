package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// maxRepaired is how many files of a branch Repair looks at.
const maxRepaired = 1 << 20

// Repaired is a branch that Repair has put back.
type Repaired struct {
	Branch string
	For    string // the stage that it is to be merged into, where that is entered by pull request; "" where it was pushed
	Files  int
}

// Repair puts entries that somebody has changed by hand back to what the lines of the log say: on the branch of the log, and on those
// of the stages, by a commit on top of what is there. For a stage that is entered by pull request the commit goes to a branch of its
// own. What was merged and nobody has written into the log yet stays. A log whose lines do not hold is no matter for a repair: whoever
// has seen it before has it as it was.
func (s *Store) Repair(ctx context.Context) (all []Repaired, err error) {
	err = s.Read(ctx, func(v View) error {
		for _, stage := range v.Rules.Stages {
			folder := "environments/" + stage.Name + "/"
			change, err := s.putBack(ctx, v, stage.Name, Log, folder, nil)
			if err == nil {
				all, err = s.pushBack(ctx, all, change, Log, "")
			}
			if err != nil {
				return err
			}
			var waiting []string
			if stage.Enter != "commit" {
				merges, err := s.mergesInto(ctx, stage.Name)
				if err != nil {
					return err
				}
				for _, m := range merges {
					if m.commit != "" && v.State.Request(m.id) == 0 {
						waiting = append(waiting, m.paths...)
					}
				}
			}
			if change, err = s.putBack(ctx, v, stage.Name, stage.Name, "", waiting); err != nil {
				return err
			}
			into := ""
			if stage.Enter == "pull-request" && s.group.Head(stage.Name) != "" {
				into = stage.Name
			}
			if all, err = s.pushBack(ctx, all, change, stage.Name, into); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// putBack is the change that has the entries of a branch below a folder be those of a stage again, but for some files.
func (s *Store) putBack(ctx context.Context, v View, stage, on, folder string, but []string) (branch.Change, error) {
	change := branch.Change{Files: map[string][]byte{}, Message: "repair: the entries that the log has", Time: s.o.Now()}
	want := map[string]artifact.Digest{}
	for _, h := range v.State.In(stage) {
		if name := environment.Path(h.Component, h.Version); !slices.Contains(but, name) {
			want[name] = h.Entry
		}
	}
	// Compared with nothing, so that a link or a folder in the place of a file is seen too.
	there, err := s.group.Differences(ctx, branch.Folder{}, branch.Folder{Commit: s.group.Head(on), Path: folder + "entries"}, maxRepaired)
	if err == nil && len(there) == maxRepaired {
		err = fault.Errorf(fault.Mismatch, "branch %s has more than %d files below %sentries: go back to a commit before they came", on, maxRepaired, folder)
	}
	if err != nil {
		return change, err
	}
	for _, d := range there {
		name := "entries/" + d.Path
		if slices.Contains(but, name) {
			continue
		}
		digest, ok := want[name]
		if !ok {
			change.Gone = append(change.Gone, folder+name)
			continue
		}
		if d.ID == "" {
			continue
		}
		b, err := s.group.Blob(ctx, d.ID, environment.MaxEntry)
		if err == nil && artifact.Sum(b) == digest {
			delete(want, name)
		} else if err != nil && !errors.Is(err, branch.ErrUnfit) {
			return change, err
		}
	}
	for name, digest := range want {
		if change.Files[folder+name], err = s.find(ctx, stage, name, digest); err != nil {
			return change, err
		}
	}
	return change, nil
}

// find is the file of an entry from wherever the store has it or had it.
func (s *Store) find(ctx context.Context, stage, name string, digest artifact.Digest) ([]byte, error) {
	type place struct{ commit, path string }
	places := []place{{s.group.Head(Log), inLog(stage, name)}, {s.group.Head(stage), name}}
	commits, err := s.group.History(ctx, s.group.Head(Log), inLog(stage, name))
	if err != nil {
		return nil, err
	}
	for _, c := range commits {
		places = append(places, place{c, inLog(stage, name)}, place{c + "^", inLog(stage, name)})
	}
	for _, p := range places {
		if p.commit == "" {
			continue
		}
		b, err := s.group.File(ctx, p.commit, p.path, environment.MaxEntry)
		if err == nil && b != nil && artifact.Sum(b) == digest {
			return b, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, fault.New(fault.Transient, err)
		}
	}
	return nil, fault.Errorf(fault.Mismatch, "the store has lost %s of %s: restore its repository from a copy", name, stage)
}

func (s *Store) pushBack(ctx context.Context, all []Repaired, change branch.Change, on, into string) ([]Repaired, error) {
	n := len(change.Files) + len(change.Gone)
	if n == 0 {
		return all, nil
	}
	slices.Sort(change.Gone)
	ids, err := s.group.Commit(ctx, []branch.Commit{{Onto: s.group.Head(on), Change: change}})
	if err != nil {
		return all, err
	}
	r := Repaired{Branch: on, Files: n}
	if into != "" {
		r = Repaired{Branch: strings.Join([]string{"repair", into, ids[0][:12]}, "/"), For: into, Files: n}
	}
	if _, err := s.group.Push(ctx, map[string]string{r.Branch: ids[0]}); err != nil {
		return all, err
	}
	return append(all, r), nil
}
