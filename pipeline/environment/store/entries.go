package store

import (
	"context"
	"slices"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/git/branch"
)

// Entries calls f with the file of every entry of all stages but those that are known, by the name that git gives their bytes. It is
// for the function that Read calls.
func (s *Store) Entries(ctx context.Context, known func(blob string) bool, f func(blob string, file []byte) error) error {
	files, err := s.group.Files(ctx, s.group.Head(Log), "environments/")
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(b branch.Blob) bool { return known(b.ID) })
	return s.group.Read(ctx, files, environment.MaxEntry, func(b branch.Blob, file []byte) error { return f(b.ID, file) })
}
