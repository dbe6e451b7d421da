package store

import (
	"context"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
)

// Try is what the rules say of a request now, which is not asked: nothing is written, and q.By is believed. Of a stage that is entered by
// pull request it is what they would say of the merge.
func (s *Store) Try(ctx context.Context, q environment.Request) (a environment.Answer, err error) {
	err = s.Read(ctx, func(v View) error {
		now := s.o.Now().UTC().Truncate(time.Second)
		q.At, q.Expires = now, now.Add(validity)
		a, err = environment.Foresee(v.State, v.Rules, v.RulesCommit, q, now, s.finds(ctx))
		return err
	})
	return a, err
}

// finds are the entries of the store, for the function that Read calls.
func (s *Store) finds(ctx context.Context) environment.Find {
	return func(h environment.Held, stage string) (environment.Entry, error) {
		return s.Entry(ctx, stage, h.Component, h.Version)
	}
}
