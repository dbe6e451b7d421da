package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	gitbranch "github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// BranchOptions say which branch a ledger is on, and who writes there.
type BranchOptions = gitbranch.Options

// branch is a ledger on a branch.
type branch struct {
	log  *gitbranch.Log
	last Ledger // that was read or written; only while log is in use
}

// OpenBranch is the ledger at the root of a git branch. Each entry is a commit, pushed on top of what is there and never
// by force; a branch that is not there yet is begun with it and holds nothing else. Reading also looks at how the branch
// came about: a commit that did more to the ledger than add to its end is a fault.Mismatch.
func OpenBranch(o BranchOptions) Store { return &branch{log: gitbranch.Open(o)} }

// Read fetches the branch.
func (s *branch) Read(ctx context.Context) (l Ledger, err error) {
	err = s.log.Read(ctx, func(t gitbranch.Tip) error {
		l, err = s.at(ctx, t)
		return err
	})
	if err != nil {
		return Ledger{}, fmt.Errorf("reading ledger on %w", err)
	}
	return l, nil
}

// Append commits and pushes. Where somebody else pushed meanwhile, the entry is put behind theirs; where that happens
// more often than is right for a while, it is a fault.Transient.
func (s *branch) Append(ctx context.Context, e Entry) error {
	err := s.log.Append(ctx, func(t gitbranch.Tip) (gitbranch.Change, error) {
		l, err := s.at(ctx, t)
		if err == nil {
			l, err = l.Append(e)
		}
		if err != nil {
			return gitbranch.Change{}, err
		}
		s.last = l
		last := l.Entries[len(l.Entries)-1]
		return gitbranch.Change{
			Files:   map[string][]byte{FileName: l.lines},
			Message: fmt.Sprintf("reproduced: %s %s %s", last.Name, last.Version, last.Verdict),
			Time:    last.Time,
		}, nil
	})
	if err != nil {
		return fmt.Errorf("writing ledger on %w", err)
	}
	return nil
}

// at is the ledger that the branch has at its tip.
func (s *branch) at(ctx context.Context, t gitbranch.Tip) (Ledger, error) {
	content, err := t.File(ctx, FileName, maxSize)
	if errors.Is(err, gitbranch.ErrUnfit) {
		return Ledger{}, fault.New(fault.Mismatch, err)
	}
	if err == nil {
		err = t.Grown(ctx, FileName, content)
	}
	if err != nil {
		return Ledger{}, err
	}
	if !bytes.Equal(content, s.last.lines) {
		if s.last, err = Parse(content); err != nil {
			return Ledger{}, fmt.Errorf("commit %s: %w", t.Commit, err)
		}
	}
	return s.last, nil
}
