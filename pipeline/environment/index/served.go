package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
)

// Files are the files of the branch that readers ask for, as they were at one commit: of all of them or of none, so that who asks for
// one after the other gets what belongs together. Several goroutines may use it, also while the index goes on.
type Files struct {
	Commit string // "" where there is no branch
	group  branch.Group
	ids    map[string]string // what git calls the bytes of a file, by its path
	signed map[string]Position
}

// Files are those of the branch as it is now. They are shown and not verified: that is for who reads them, who knows a root.
func (x *Index) Files(ctx context.Context) (*Files, error) {
	f := &Files{group: branch.Group{Git: x.group.Git, Dir: x.group.Dir, Remote: x.group.Remote}, ids: map[string]string{}}
	err := x.group.Locked(ctx, func() error {
		if err := x.group.Fetch(ctx); err != nil {
			return err
		}
		if f.Commit = x.group.Head(Branch); f.Commit == "" {
			return nil
		}
		all, err := x.group.Files(ctx, f.Commit, "")
		for _, b := range all {
			if strings.HasPrefix(b.Path, metadataDir) || strings.HasPrefix(b.Path, targetsDir) {
				f.ids[b.Path] = b.ID
			}
		}
		return err
	})
	if err == nil {
		f.signed = f.positions(ctx)
	}
	return f, err
}

// ID names the bytes of a file, "" for a file that is not there. It is the same only where the bytes are.
func (f *Files) ID(name string) string { return f.ids[name] }

// Get is a file; see tuf.Source.
func (f *Files) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	id := f.ids[name]
	if id == "" {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	group := f.group // which has a git of its own for each question
	b, err := group.Object(ctx, id, limit)
	switch {
	case errors.Is(err, branch.ErrUnfit):
		return nil, &bounded.TooLarge{Name: name, Limit: limit}
	case err == nil && b == nil:
		err = fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return b, err
}

// Signed is how far the log went that the index of an environment says it is of, false where it says nothing.
func (f *Files) Signed(stage string) (Position, bool) {
	p, ok := f.signed[stage]
	return p, ok
}

// positions reads how far the log went for each environment. What cannot be read is left out: it is nobody's to show.
func (f *Files) positions(ctx context.Context) map[string]Position {
	all := map[string]Position{}
	b, err := f.Get(ctx, metadataDir+tuf.RoleTimestamp+".json", tuf.MaxRoot)
	if err != nil {
		return nil
	}
	t, _, err := tuf.ParseTimestamp(b)
	if err == nil {
		b, err = f.Get(ctx, fileName(tuf.RoleSnapshot, t.Meta[tuf.RoleSnapshot+".json"].Version), tuf.MaxTargets)
	}
	if err != nil {
		return nil
	}
	s, _, err := tuf.ParseSnapshot(b)
	if err != nil {
		return nil
	}
	for name, m := range s.Meta {
		role := strings.TrimSuffix(name, ".json")
		stage, ok := strings.CutPrefix(role, prefix)
		if !ok {
			continue
		}
		if b, err = f.Get(ctx, fileName(role, m.Version), tuf.MaxTargets); err != nil {
			continue
		}
		read, _, err := tuf.ParseTargets(b)
		if err != nil {
			continue
		}
		for _, target := range read.Targets { // all of which say the same
			if c, err := readCustom(target.Custom); err == nil && c.Log.Count > 0 {
				all[stage] = c.Log
			}
			break
		}
	}
	return all
}
