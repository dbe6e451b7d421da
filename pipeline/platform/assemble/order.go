package assemble

import (
	"context"
	"slices"
)

// order does each of some things once all that it needs is done, at most jobs of them at once, and of those that could begin the
// first as they are named. What needs something that failed is not begun: it is skipped, and so is what needs that. names has
// everything behind what it needs.
func order(ctx context.Context, names []string, needs func(string) []string, jobs int, do func(context.Context, string) error) (failed map[string]error, skipped map[string]string) {
	failed, skipped = map[string]error{}, map[string]string{}
	type end struct {
		name string
		err  error
	}
	ended, done, left, running := make(chan end), map[string]bool{}, slices.Clone(names), 0
	for len(left) > 0 || running > 0 {
		begun := false
		for i, name := range left {
			waits, why := false, ""
			for _, need := range needs(name) {
				if failed[need] != nil || skipped[need] != "" {
					why = need
					break
				}
				waits = waits || !done[need]
			}
			if why == "" && (waits || running >= jobs || ctx.Err() != nil) {
				continue
			}
			left, begun = slices.Delete(left, i, i+1), true
			if why != "" {
				skipped[name] = why
			} else {
				running++
				go func() { ended <- end{name, do(ctx, name)} }()
			}
			break
		}
		switch {
		case begun:
		case running > 0:
			e := <-ended
			running--
			if e.err != nil {
				failed[e.name] = e.err
			} else {
				done[e.name] = true
			}
		default: // it is interrupted, and nothing runs any more
			for _, name := range left {
				failed[name] = context.Cause(ctx)
			}
			return failed, skipped
		}
	}
	return failed, skipped
}
