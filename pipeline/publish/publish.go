// Package publish carries a finished release to where people get it, as one transaction.
//
// It has four phases. The preflight reads: credentials, permissions, and whether any name that the release needs is
// held by other bytes already. Staging uploads what is not public yet, to all destinations side by side. Then everything
// staged is read back and compared. Only when all of that is right at every destination does anything become visible,
// in waves, so that nothing ever points at what is not there yet.
//
// What a destination holds is the only truth about what is left to do, so the same command resumes after any end: each
// method looks first and does what is missing. The journal beside the manifest says what was asked of whom, and keeps
// the few facts that no remote tells.
package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/present/progress"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// State is how an item stands at a remote.
type State string

// The states of an item.
const (
	Missing    State = "missing"    // nothing has the name
	Unfinished State = "unfinished" // an upload that broke off; it is removed and made again
	Same       State = "same"       // it is there, with the bytes of the release
	Movable    State = "movable"    // something else has a name that moves, and this release is the one to have it next
	Kept       State = "kept"       // something else has a name that moves, and rightly: a newer release
	Different  State = "different"  // something else has a name that never moves
)

// Done reports whether nothing is left to do about an item.
func (s State) Done() bool { return s == Same || s == Kept }

// Phase is when an item is put.
type Phase string

// The phases that change remotes.
const (
	Stage Phase = "stage" // what nobody sees until something that is flipped names it
	Flip  Phase = "flip"  // what makes the release visible
)

// Item is one thing that a destination has, or should have.
type Item struct {
	Name   string          `json:"name"` // as a person finds it: ghcr.io/owner/name:1.2.3
	Phase  Phase           `json:"phase"`
	State  State           `json:"state"`
	Digest artifact.Digest `json:"digest,omitempty"` // of the release's bytes, where it is bytes
	Size   int64           `json:"size,omitempty"`   // in bytes
	URL    string          `json:"url,omitempty"`    // where people get it
	Detail string          `json:"detail,omitempty"` // what else is there, or why it is left alone
}

// Depth is how closely a destination is looked at.
type Depth int

// The depths.
const (
	Listed Depth = iota // what the remote says of names, sizes and digests
	Read                // every byte is fetched on the way that users take, and compared
)

// Destination is one place that a release goes to. The methods are called one at a time. Each of them may follow after
// a run that was killed anywhere.
type Destination interface {
	// Look tells how every item stands, in the order in which they are put. It changes nothing. An error says that the
	// remote cannot be read, or that what the release needs there is refused.
	Look(ctx context.Context, depth Depth) ([]Item, error)
	// Stage puts what is missing and nobody sees yet.
	Stage(ctx context.Context) error
	// Flip makes visible what was staged.
	Flip(ctx context.Context) error
}

// Wave is when a destination is flipped: whatever points at something comes after it.
type Wave int

// The waves.
const (
	Registries Wave = iota + 1 // images, charts and downloads
	Releases                   // the page of the release, which people look at
	Indexes                    // chart repositories, which name what is there
	Managers                   // taps, buckets and package managers, which fetch what is public by then
	Announcements
)

// Target is a destination with its name.
type Target struct {
	Name  string
	Where string // the host or folder that it is at
	Wave  Wave
	Destination
	// Optional says that no failure of it is one of the release.
	Optional bool
	// Sent is the number of bytes that were sent to it; nil where nobody counts.
	Sent func() int64
}

// Options say how a release is published.
type Options struct {
	Journal *Journal
	Tracker *progress.Tracker // nil shows nothing
	// DryRun says that destinations change nothing, so there is nothing to read back.
	DryRun bool
	// Rounds is how often staging or flipping is tried where a destination fails for the moment; 0 is 3.
	Rounds int
	// Pause waits before another round; nil waits 2 s, then 4 s and so on.
	Pause func(ctx context.Context, round int) error
}

// Outcome is how the release stands at one destination.
type Outcome struct {
	Destination string `json:"destination"`
	Items       []Item `json:"items"`
	Error       string `json:"error,omitempty"`
}

// There is the number of items about which nothing is left to do.
func (o Outcome) There() int {
	n := 0
	for _, it := range o.Items {
		if it.State.Done() {
			n++
		}
	}
	return n
}

// Result is how the release stands everywhere.
type Result struct {
	Changed  bool // whether anything was done
	Outcomes []Outcome
}

// run is one publishing.
type run struct {
	Options
	targets []Target
	items   [][]Item
	errs    []error
	changed []bool
}

// Run publishes to all targets. The result tells how each stands, also beside an error. The error is a Conflict, with
// nothing changed anywhere, if any name is held by other bytes; Transient if a destination is down, with the others
// staged; and otherwise what the destinations said.
func Run(ctx context.Context, targets []Target, o Options) (Result, error) {
	r := newRun(targets, o)
	err := r.all(ctx)
	return r.result(), err
}

// Status reads how the release stands everywhere. It changes nothing.
func Status(ctx context.Context, targets []Target, depth Depth, o Options) (Result, error) {
	r := newRun(targets, o)
	r.look(ctx, "look at", depth, func(int) bool { return true })
	return r.result(), r.failure()
}

func newRun(targets []Target, o Options) *run {
	if o.Tracker == nil {
		o.Tracker = progress.NewTracker(nil, nil)
	}
	if o.Rounds == 0 {
		o.Rounds = 3
	}
	if o.Pause == nil {
		o.Pause = pause
	}
	return &run{Options: o, targets: targets, items: make([][]Item, len(targets)), errs: make([]error, len(targets)), changed: make([]bool, len(targets))}
}

func pause(ctx context.Context, round int) error { return wire.Sleep(ctx, time.Second<<round) }

func (r *run) result() Result {
	var out Result
	for i, t := range r.targets {
		o := Outcome{Destination: t.Name, Items: r.items[i]}
		if r.errs[i] != nil {
			o.Error = r.errs[i].Error()
		}
		out.Outcomes = append(out.Outcomes, o)
		out.Changed = out.Changed || r.changed[i] && !r.DryRun
	}
	return out
}

func (r *run) all(ctx context.Context) error {
	everywhere := func(int) bool { return true }
	r.look(ctx, "check", Listed, everywhere)
	if err := r.refused(ctx); err != nil {
		return err
	}
	r.each(func(i int) bool { return r.errs[i] == nil && r.left(i, Stage) }, func(i int) {
		r.errs[i] = r.rounds(ctx, i, "stage", r.targets[i].Stage)
	})
	if !r.DryRun {
		r.readBack(ctx)
	}
	if err := r.failure(); err != nil {
		return fmt.Errorf("%w\nnothing was made visible by this run; the same command goes on from here", err)
	}
	return r.flip(ctx)
}

// readBack reads what was staged: by this run, or by an earlier one that did not get as far as this.
func (r *run) readBack(ctx context.Context) {
	r.each(func(i int) bool {
		t := r.targets[i]
		return r.errs[i] == nil && (r.changed[i] || r.left(i, Flip) && !r.Journal.Verified(t.Name, t.Where))
	}, func(i int) {
		t := r.targets[i]
		if r.errs[i] = r.until(ctx, i, "read back", Read, r.staged); r.errs[i] == nil {
			r.errs[i] = r.Journal.SetVerified(t.Name, t.Where)
		}
	})
}

// until looks at a target until it stands as it should, as often as things are tried: some remotes show late what they
// took.
func (r *run) until(ctx context.Context, i int, step string, depth Depth, stands func(int) error) error {
	return r.again(ctx, func() error {
		if err := r.one(ctx, i, step, depth); err != nil {
			return err
		}
		return stands(i)
	})
}

// again calls f until it succeeds, as often as things are tried where it fails for the moment.
func (r *run) again(ctx context.Context, f func() error) error {
	for round := 1; ; round++ {
		err := f()
		if err == nil || round >= r.Rounds || fault.CodeOf(err) != fault.Transient || ctx.Err() != nil {
			return err
		}
		if err := r.Pause(ctx, round); err != nil {
			return err
		}
	}
}

// refused says why nothing may be staged anywhere: a name that is held by other bytes, or an error that no waiting
// mends. A destination that is merely down holds up only the flip.
func (r *run) refused(ctx context.Context) error {
	var errs []error
	for i, t := range r.targets {
		if t.Optional {
			continue
		}
		if err := r.errs[i]; err != nil && fault.CodeOf(err) != fault.Transient {
			errs = append(errs, err)
		}
		errs = append(errs, r.conflicts(i)...)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w\nnothing was changed anywhere", err)
	}
	return ctx.Err()
}

// maxTold is how many names of one kind an error tells.
const maxTold = 5

func (r *run) conflicts(i int) []error {
	var errs []error
	for _, it := range r.items[i] {
		if len(errs) == maxTold {
			return append(errs, fault.Errorf(fault.Conflict, "%s: there are more names that are taken", r.targets[i].Name))
		}
		if it.State == Different {
			errs = append(errs, fault.Errorf(fault.Conflict, "%s: %s is taken: %s; what has a name is never replaced, so release another version", r.targets[i].Name, it.Name, it.Detail))
		}
	}
	return errs
}

// left reports whether items of the phase are still to be put.
func (r *run) left(i int, phase Phase) bool {
	return slices.ContainsFunc(r.items[i], func(it Item) bool { return it.Phase == phase && !it.State.Done() })
}

// staged says why a destination has not all that was staged.
func (r *run) staged(i int) error {
	if errs := r.conflicts(i); len(errs) > 0 {
		return errors.Join(errs...)
	}
	var missing []string
	for _, it := range r.items[i] {
		if it.Phase == Stage && !it.State.Done() {
			missing = append(missing, it.Name)
		}
	}
	if len(missing) > 0 {
		more := ""
		if n := len(missing); n > maxTold {
			missing, more = missing[:maxTold], fmt.Sprintf(" and %d more", n-maxTold)
		}
		return fault.Errorf(fault.Transient, "%s: uploaded and not there when it was read back: %s%s", r.targets[i].Name, strings.Join(missing, ", "), more)
	}
	return nil
}

// failure joins what went wrong where the release depends on it.
func (r *run) failure() error {
	var errs []error
	for i, t := range r.targets {
		if r.errs[i] != nil && !t.Optional {
			errs = append(errs, r.errs[i])
		}
	}
	return errors.Join(errs...)
}

// flip makes the release visible, wave after wave. Each wave is looked at again before the next one begins, which
// points at it, and put again where something is missing.
func (r *run) flip(ctx context.Context) error {
	for _, wave := range []Wave{Registries, Releases, Indexes, Managers, Announcements} {
		todo := func(i int) bool { return r.targets[i].Wave == wave && r.errs[i] == nil && r.left(i, Flip) }
		var flipped []bool
		for i := range r.targets {
			flipped = append(flipped, todo(i))
		}
		r.each(todo, func(i int) { r.errs[i] = r.rounds(ctx, i, "publish", r.targets[i].Flip) })
		if !r.DryRun {
			r.each(func(i int) bool { return flipped[i] && r.errs[i] == nil }, func(i int) {
				looked := false
				r.errs[i] = r.again(ctx, func() error {
					if looked { // it shows late what it took, or others publish at the same time
						if err := r.targets[i].Flip(ctx); err != nil {
							return named(r.targets[i].Name, err)
						}
					}
					looked = true
					if err := r.one(ctx, i, "confirm", Listed); err != nil {
						return err
					}
					return r.visible(i)
				})
			})
		}
		if err := r.failure(); err != nil {
			return fmt.Errorf("%w\nwhat points at it was left alone; the same command goes on from here", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// visible says why a destination does not show what it should: another run was faster, perhaps, with other bytes.
func (r *run) visible(i int) error {
	if errs := r.conflicts(i); len(errs) > 0 {
		return errors.Join(errs...)
	}
	if r.left(i, Flip) {
		return fault.Errorf(fault.Transient, "%s: it was made visible and is not what is seen", r.targets[i].Name)
	}
	return nil
}

// each calls f for the targets that are wanted, side by side.
func (r *run) each(want func(int) bool, f func(int)) {
	var g errgroup.Group
	for i := range r.targets {
		if want(i) {
			g.Go(func() error {
				f(i)
				return nil
			})
		}
	}
	_ = g.Wait() // nothing of it returns an error
}

// look looks at the targets that are wanted.
func (r *run) look(ctx context.Context, step string, depth Depth, want func(int) bool) {
	r.each(want, func(i int) { r.errs[i] = r.one(ctx, i, step, depth) })
}

// one looks at a target.
func (r *run) one(ctx context.Context, i int, step string, depth Depth) error {
	t := r.targets[i]
	return r.Tracker.Do(step+" "+t.Name, "publish", func() (progress.Result, error) {
		items, err := t.Look(ctx, depth)
		if err != nil {
			return progress.Result{}, named(t.Name, err)
		}
		r.items[i] = items
		there := Outcome{Items: items}.There()
		return progress.Result{Detail: fmt.Sprintf("%d of %d there", there, len(items)), Cached: step == "check" && there == len(items)}, nil
	})
}

// rounds runs a step until it succeeds or fails for good.
func (r *run) rounds(ctx context.Context, i int, step string, f func(context.Context) error) error {
	t := r.targets[i]
	r.changed[i] = true
	return r.Tracker.Do(step+" "+t.Name, "publish", func() (progress.Result, error) {
		start, before := r.Tracker.Elapsed(), int64(0)
		if t.Sent != nil {
			before = t.Sent()
			defer r.watch(step+" "+t.Name, t.Sent, before, start)()
		}
		if err := r.again(ctx, func() error { return f(ctx) }); err != nil {
			if ctx.Err() != nil {
				return progress.Result{}, fault.New(fault.Transient, ctx.Err())
			}
			return progress.Result{}, named(t.Name, err)
		}
		detail := ""
		if t.Sent != nil {
			if n := t.Sent() - before; n > 0 {
				detail = Rate(n, r.Tracker.Elapsed()-start)
			}
		}
		return progress.Result{Detail: detail}, nil
	})
}

// watchEvery is how often it is told how much was sent.
const watchEvery = 500 * time.Millisecond

// watch tells how much was sent until it is stopped.
func (r *run) watch(step string, sent func() int64, before int64, start time.Duration) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if n := sent() - before; n > 0 {
					r.Tracker.Event(progress.Event{Step: step, Group: "publish", State: progress.Moving, Detail: Rate(n, r.Tracker.Elapsed()-start)})
				}
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}

// Rate is an amount of bytes with how fast they went.
func Rate(n int64, d time.Duration) string {
	if d < time.Millisecond {
		return artifact.FormatSize(n)
	}
	return artifact.FormatSize(n) + ", " + artifact.FormatSize(int64(float64(n)/d.Seconds())) + "/s"
}

// named puts the name of a destination in front of what it says.
func named(name string, err error) error {
	if err == nil || strings.HasPrefix(err.Error(), name+": ") || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}
