package store

import (
	"context"
	"errors"
	"maps"
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
	There  bool   // since before
	Said   string // by the server, as it took the branch
}

// Repair puts entries that somebody has changed by hand back to what the lines of the log say: on the branch of the log, and on those
// of the stages, by a commit on top of what is there. For a stage that is entered by pull request the commit goes to a branch of its
// own. What was merged and nobody has written into the log yet stays. A log whose lines do not hold is no matter for a repair: whoever
// has seen it before has it as it was.
func (s *Store) Repair(ctx context.Context, offers ...Offer) (all []Repaired, err error) {
	err = s.Read(ctx, func(v View) error {
		for _, stage := range v.Rules.Stages {
			folder := "environments/" + stage.Name + "/"
			b, err := s.putBack(ctx, v, stage.Name, Log, folder, nil)
			if err == nil {
				all, err = s.pushBack(ctx, all, b, Log, "", nil)
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
			if b, err = s.putBack(ctx, v, stage.Name, stage.Name, "", waiting); err != nil {
				return err
			}
			into := ""
			if stage.Enter == "pull-request" && s.group.Head(stage.Name) != "" {
				into = stage.Name
			}
			if all, err = s.pushBack(ctx, all, b, stage.Name, into, offers); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// back is a change that puts files back.
type back struct {
	branch.Change
	files int    // that it is about
	was   string // what is there of them
}

// putBack is the change that has the entries of a branch below a folder be those of a stage again, but for some files.
func (s *Store) putBack(ctx context.Context, v View, stage, on, folder string, but []string) (back, error) {
	change := back{Change: branch.Change{Files: map[string][]byte{}, Message: "repair: the entries that the log has", Time: s.o.Now()}}
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
	good := map[string][]byte{}
	for _, d := range there {
		name := "entries/" + d.Path
		digest, wanted := want[name]
		keep := slices.Contains(but, name)
		var b []byte
		if d.ID != "" && (wanted || keep) {
			if b, err = s.group.Blob(ctx, d.ID, environment.MaxEntry); err != nil && !errors.Is(err, branch.ErrUnfit) {
				return change, err
			}
		}
		switch {
		case keep || wanted && b != nil && artifact.Sum(b) == digest:
			good[folder+name] = b
			delete(want, name)
			continue
		case !wanted:
			change.Gone = append(change.Gone, folder+name)
		}
		change.was += name + "\n" + d.ID + "\n"
	}
	for name, digest := range want {
		if change.Files[folder+name], err = s.find(ctx, stage, name, digest); err != nil {
			return change, err
		}
	}
	sound, err := s.group.Sound(ctx, s.group.Head(on))
	if err != nil {
		return change, err
	}
	slices.Sort(change.Gone)
	change.files = len(change.Files) + len(change.Gone)
	if slices.ContainsFunc(change.Gone, func(name string) bool { return len(name) > maxPath }) {
		// git opens no folder with such a name: all of them are made anew.
		maps.DeleteFunc(good, func(_ string, b []byte) bool { return b == nil })
		maps.Copy(change.Files, good)
		change.Gone = []string{folder + "entries"}
	}
	if change.Over = !sound; !sound {
		change.files, change.was = change.files+1, change.was+"top\n"
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

// pushBack pushes a change. What is for a pull request goes to a branch that is named by what it is about, so that it is proposed once.
func (s *Store) pushBack(ctx context.Context, all []Repaired, b back, on, into string, offers []Offer) ([]Repaired, error) {
	if b.files == 0 {
		return all, nil
	}
	r, head := Repaired{Branch: on, Files: b.files, For: into}, s.group.Head(on)
	if into != "" {
		for _, name := range slices.Sorted(maps.Keys(b.Files)) {
			b.was += name + "\n" + string(artifact.Sum(b.Files[name])) + "\n"
		}
		r.Branch = strings.Join([]string{"repair", into, artifact.Sum([]byte(b.was)).Hex()[:12]}, "/")
		there, err := s.group.Other(ctx, r.Branch)
		if err == nil && there != "" {
			merged, containsErr := s.group.Contains(ctx, head, there)
			r.There, err = !merged, containsErr
		}
		if err != nil || r.There {
			return append(all, r), err
		}
	}
	ids, err := s.group.Commit(ctx, []branch.Commit{{Onto: head, Change: b.Change}})
	switch {
	case err != nil:
	case into != "":
		r.Said, err = s.offer(ctx, r.Branch, into, ids[0], offers)
	default:
		_, err = s.group.Push(ctx, map[string]string{on: ids[0]})
	}
	if err != nil {
		return all, err
	}
	return append(all, r), nil
}
