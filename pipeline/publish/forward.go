package publish

import (
	"context"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Names that move go forward, also where several versions are published at the same time.
//
// Some remotes take a change only of what one has seen: a branch of git moves to a descendant alone, an object is put only
// where none is. A publisher that was too late is refused there, looks again and decides anew, and nothing more is needed:
// that is how indexes of charts, taps, manifests of Scoop, folders and buckets go. A registry, the release that GitHub calls
// the latest and a channel of the Snap Store are written over whatever is there. For these there is Forward:
//
//	each publisher first makes its own version known, under a name that never moves;
//	then it looks which versions are known and what the name stands for, and gives the name to the highest of them if that
//	is its own, or if what the name stands for is what this publisher wrote;
//	after each write it looks again, and it ends with a look after which there was nothing to write.
//
// So the name stands for the highest version M when all have ended. Let W be the last write to the name, by P.
// P looked after W and wrote nothing. What it saw at the name was W, its own, so W was the highest that P saw: it remains
// that P saw M. The publisher of M ended with a look of its own. Had it looked at the name after W, it would have seen W,
// and written M if W is not M. So it looked before W, and M was known before that: P, which looked after W, saw M.
// It ends since versions are only added: each of n publishers writes its own version, and what it finds above that.
//
// Who wrote last is answerable for the name, and nobody else: a name that a person moved elsewhere by hand stays there.
//
// What this needs is that a look sees every write that was answered before it, and that a publisher comes to its end.
// Three windows are left. A publisher may be killed between its write and its look: the same command looks again, finds its
// own version at the name and one above it, and puts that right. A remote may obey a request after its sender gave up on it,
// and a remote may list late what it took: then the same command, or the next release, puts the name right. One publisher
// at a time, as the concurrency group of the workflow has it, closes all three.

// Moving is how a name that moves stands. V names versions: by themselves, or by what stands for them at the remote.
type Moving[V comparable] struct {
	At      V // what the name stands for; the zero value for nothing
	Mine    V // the version that is published
	Highest V // of those that are known and that the name may stand for, Mine among them
}

// State is the state of the name's item.
func (m Moving[V]) State() State {
	var nothing V
	switch {
	case m.At == m.Highest && m.Highest == m.Mine:
		return Same
	case !m.owed(m.Mine):
		return Kept
	case m.At == nothing:
		return Missing
	}
	return Movable
}

// owed reports whether the name is this publisher's to move, which wrote a version last.
func (m Moving[V]) owed(wrote V) bool {
	return m.At != m.Highest && (m.Highest == m.Mine || m.At == wrote)
}

// Names are names that move together.
type Names[V comparable] struct {
	// Look tells how each of them stands at the remote now, always in the same order.
	Look func(context.Context) ([]Moving[V], error)
	// Move gives names, by their places in that order, to versions.
	Move   func(ctx context.Context, to map[int]V) error
	DryRun bool // nothing is changed, so there is nothing to look at again
}

// maxForward bounds how often names are moved because others move them at the same time.
const maxForward = 10

// Forward gives each name to the highest version that may have it, as far as that is up to this publisher. Where others keep
// moving them it is a fault.Transient.
func (n Names[V]) Forward(ctx context.Context) error {
	var wrote []V
	for range maxForward {
		names, err := n.Look(ctx)
		if err != nil {
			return err
		}
		for _, m := range names[len(wrote):] {
			wrote = append(wrote, m.Mine) // by an earlier run, perhaps
		}
		to := map[int]V{}
		for i, m := range names {
			if m.owed(wrote[i]) {
				to[i], wrote[i] = m.Highest, m.Highest
			}
		}
		if len(to) == 0 {
			return nil
		}
		if err := n.Move(ctx, to); err != nil || n.DryRun {
			return err
		}
	}
	return fault.Errorf(fault.Transient, "others move the same names at the same time; run the same command again when they are done")
}
