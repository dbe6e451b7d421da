package store

import (
	"bytes"
	"context"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/git/branch"
)

// LinesOfFile is how many lines a file of the log has, but for the last one.
const LinesOfFile = perFile

// LogHead is the commit of the log that Read shows, while it does.
func (s *Store) LogHead() string { return s.group.Head(Log) }

// At is the commit that any branch of the repository was at when Read looked last, "" for one that was not there.
func (s *Store) At(branch string) string { return s.group.At(branch) }

// Lines gives f the lines of some files of the log as it was at a commit, which was LogHead; the first file has number 0. Unlike all
// else it may be called at any time and by several goroutines.
func (s *Store) Lines(ctx context.Context, commit string, f func(environment.Line) error, files ...int) error {
	g := branch.Group{Git: s.group.Git, Dir: s.group.Dir, Remote: s.group.Remote} // which nobody else asks
	for _, n := range files {
		b, err := g.File(ctx, commit, logFile(n*perFile), maxFile)
		if err != nil {
			return err
		}
		for text := range bytes.Lines(b) {
			l, err := environment.ParseLine(bytes.TrimSuffix(text, []byte("\n")))
			if err == nil {
				err = f(l)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
