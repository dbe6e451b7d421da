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
		enters := q.Kind == environment.Add || q.Kind == environment.Promote
		if stage, err := v.Rules.Stage(q.To); err == nil && enters && stage.Enter == "pull-request" {
			m, err := s.proposal(ctx, q)
			if err != nil {
				return err
			}
			q = m.request(now)
		}
		a, err = environment.Decide(v.State, v.Rules, v.RulesCommit, environment.Untold, q, now)
		return err
	})
	return a, err
}
