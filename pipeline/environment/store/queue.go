package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// The refs of a store that are no branches. Below queue each is a request that waits, as a blob, and lease says that somebody does what
// waits. Neither is needed for a move to be right: a request leaves the queue in the very push that has its line, and a lease saves work.
const (
	refs  = "refs/slipway/"
	queue = refs + "requests/"
	lease = refs + "lease"
)

const (
	maxQueued  = 1 << 20                // bytes of a request with its signature
	direct     = 1                      // pushes that may come second before a request goes into the queue
	refusals   = 2                      // of a lease that nobody has, after which it is done without
	renewed    = 2 * time.Second        // after which whoever has the lease says so again
	beat       = time.Minute            // between calls of said by Lead where nothing happens
	idle       = 300 * time.Millisecond // between looks of Lead where nothing happens, at most
	firstWait  = 300 * time.Millisecond // for a request in the queue, where nothing is known of that
	maxWait    = 2 * time.Second        // before it is looked at
	perWaiting = 25 * time.Millisecond  // that each of those takes which wait already
	arrives    = 3                      // looks at the store for what an interrupted push may have put there
	overtime   = 2 * time.Second        // that whoever took the lease for a request of their own goes on for those of others
)

// maxQueue is how many requests wait in the queue; who finds no room pushes directly.
var maxQueue = 10_000

// dead is the time after which a lease that nobody has renewed is anybody's, and unanswered that after which a request is pushed
// directly although somebody renews it: it saves work, and must not be what keeps others out.
var (
	dead       = 10 * time.Second
	unanswered = 2 * time.Minute
)

// queued are the names of requests: milliseconds since 1970, and the id.
var queued = regexp.MustCompile(`^refs/slipway/requests/([0-9]{13})-([0-9a-f]{32})$`)

// held is a lease that this folder has: another process that has the same folder may use it, since they take turns.
type held struct {
	ID   string `json:"id"`             // of the blob
	Kept bool   `json:"kept,omitempty"` // somebody renews it
}

// lessee is what a process knows of the lease.
type lessee struct {
	seen  string    // that others have
	since time.Time // by the clock of this machine that only runs forward
	own   time.Time // when this process renewed its own
	// unsure says that a push of requests failed, which may have arrived.
	unsure bool
	off    bool // the host does not take such refs
	lost   int  // how often nobody had it, and it could not be taken
	// put are the requests that this process put into the queue, by their objects.
	put map[string]waiting
}

func (s *Store) leaseFile() string { return filepath.Join(s.o.Dir, "lease") }

// leads reports whether the lease at the remote is that of this folder.
func (s *Store) leads() (ours held, ok bool) {
	b, err := os.ReadFile(s.leaseFile())
	if err == nil {
		err = canonjson.Decode(b, &ours)
	}
	return ours, err == nil && ours.ID != "" && ours.ID == s.group.Watched()[lease]
}

// free reports whether nobody else has the lease, or whoever had it has not renewed it for long.
func (s *Store) free() bool {
	id := s.group.Watched()[lease]
	if id == "" {
		return true
	}
	if id != s.lessee.seen {
		s.lessee.seen, s.lessee.since = id, time.Now()
	}
	return time.Since(s.lessee.since) > dead
}

// take is the ref that has the lease be ours, the files that it needs, and how it is remembered once it is. It is an object that nobody
// else has: one of those that are put, or a new one.
func (s *Store) take(put []branch.Ref, keep bool) (ref branch.Ref, files [][]byte, remember func() error) {
	ref = branch.Ref{Name: lease, From: s.group.Watched()[lease]}
	if len(put) > 0 {
		ref.To = put[0].To
	} else {
		files = [][]byte{[]byte(rand.Text() + "\n")}
		ref.To = branch.BlobID(files[0])
	}
	return ref, files, func() error {
		s.lessee.own = time.Now()
		b, err := canonjson.Encode(held{ref.To, keep})
		if err != nil {
			return err
		}
		return fault.New(fault.Usage, write(s.leaseFile(), b))
	}
}

// release gives the lease back. Where that fails it ends by itself.
func (s *Store) release(ctx context.Context) {
	if ours, ok := s.leads(); ok {
		s.group.PushRefs(ctx, []branch.Ref{{Name: lease, From: ours.ID}})
	}
	remove(s.leaseFile())
}

// waitingRefs are the refs of requests that wait, the oldest first. What has no name of one comes first of all.
func waitingRefs(all map[string]string) []string {
	var names []string
	for name := range all {
		if strings.HasPrefix(name, queue) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(bit(queued.MatchString(a)), bit(queued.MatchString(b))), cmp.Compare(a, b))
	})
	return names
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// first are those that go into one commit.
func first(all map[string]string) []string {
	names := waitingRefs(all)
	return names[:min(len(names), maxBatch)]
}

// queueRef is where a request waits.
func queueRef(w waiting) string {
	return fmt.Sprintf("%s%013d-%s", queue, w.q.At.UnixMilli(), w.id)
}

// others are the requests that wait in the queue, with what cannot be read of them.
func (s *Store) others(ctx context.Context) ([]waiting, error) {
	var all []waiting
	for _, name := range first(s.group.Watched()) {
		w := waiting{ref: branch.Ref{Name: name, From: s.group.Watched()[name]}}
		if own, ok := s.lessee.put[w.ref.From]; ok && queueRef(own) == name {
			own.ref = w.ref
			all = append(all, own)
			continue
		}
		b, err := s.group.Object(ctx, w.ref.From, maxQueued)
		if err != nil && !errors.Is(err, branch.ErrUnfit) {
			return nil, err
		}
		if err == nil && b == nil {
			continue // which came since
		}
		parts := queued.FindStringSubmatch(name)
		if err == nil && parts == nil {
			err = errors.New("it has no name of a request")
		}
		if err == nil {
			err = canonjson.Decode(b, &w)
		}
		if err == nil {
			w.id = environment.ID([]byte(w.Request))
			w.q, err = environment.ParseRequest([]byte(w.Request))
		}
		if err == nil && w.id != parts[2] {
			err = errors.New("it is not the request that its name says")
		}
		w.bad = err
		all = append(all, w)
	}
	return all, nil
}

// enqueue puts requests into the queue that are not there yet, and takes the lease where it is free. Whoever has not looked just now asks
// for it in the same push, and whether it was free is seen by that.
func (s *Store) enqueue(ctx context.Context, own []waiting, looked bool) error {
	var files [][]byte
	var put []branch.Ref
	waits := len(waitingRefs(s.group.Watched()))
	for _, w := range own {
		ref := branch.Ref{Name: queueRef(w)}
		if s.group.Watched()[ref.Name] != "" {
			continue
		}
		b, err := canonjson.Encode(waiting{Request: w.Request, Bundle: w.Bundle})
		if err != nil {
			return err
		}
		ref.To = branch.BlobID(b)
		files, put = append(files, b), append(put, ref)
		if s.lessee.put == nil {
			s.lessee.put = map[string]waiting{}
		}
		s.lessee.put[ref.To] = w
	}
	if len(put) > 0 && waits+len(put) > maxQueue {
		s.lessee.off = true // there is no room: the same is tried without a queue
		return nil
	}
	unsure := len(put) > 0
	remember := func() error { return nil }
	if !looked || s.free() {
		ref, more, taken := s.take(put, false)
		put, files, remember = append(put, ref), append(files, more...), taken
	}
	if len(put) == 0 {
		return nil
	}
	left, _, err := s.group.PushRefs(ctx, put, files...)
	if err != nil {
		s.lessee.unsure = unsure
		return err
	}
	for _, r := range left {
		if r.Name != lease {
			s.lessee.off = looked // then the same is tried without a queue, and else it may be there already
			return nil
		}
		// Others may have taken it just now, but not again and again with nobody who has it.
		if looked && s.group.Watched()[lease] == "" {
			s.lessee.lost++
		}
		s.lessee.off = s.lessee.lost > refusals
		remember = func() error { return nil }
	}
	return remember()
}

// withdraw takes requests out of the queue. What is not there any more was done, and the log says so.
func (s *Store) withdraw(ctx context.Context, own []waiting) error {
	var gone []branch.Ref
	for try := 0; ; try++ {
		for name, id := range s.group.Watched() {
			parts := queued.FindStringSubmatch(name)
			if parts != nil && slices.ContainsFunc(own, func(w waiting) bool { return w.id == parts[2] }) {
				gone = append(gone, branch.Ref{Name: name, From: id})
			}
		}
		if len(gone) > 0 || !s.lessee.unsure {
			break
		}
		if try == arrives {
			return errors.New("a push was interrupted")
		}
		// What was interrupted may have arrived all the same, and a little later.
		if err := branch.Pause(ctx, 1, idle); err != nil {
			return err
		}
		if err := s.group.Fetch(ctx); err != nil {
			return err
		}
	}
	if len(gone) == 0 {
		return nil
	}
	left, said, err := s.group.PushRefs(ctx, gone)
	if err == nil && len(left) > 0 {
		err = said
	}
	return err
}

// writing runs f with the clone to itself, and with the queue and the lease looked at whenever the branches are. What waits is fetched
// where nobody else is to do it, or anyway.
func (s *Store) writing(ctx context.Context, anyway bool, f func() error) error {
	return s.group.Locked(ctx, func() error {
		s.group.Watch, s.group.Want = []string{refs}, func(all map[string]string) []string {
			if _, ours := s.leads(); !anyway && !ours && !s.lessee.off && !s.free() {
				return nil
			}
			return slices.DeleteFunc(first(all), func(name string) bool {
				_, ours := s.lessee.put[all[name]]
				return ours
			})
		}
		defer func() { s.group.Watch, s.group.Want = nil, nil }()
		return f()
	})
}

// Combined is what a round of Combine or Lead did.
type Combined struct {
	Lines   int      `json:"lines"`             // that the log gained
	Removed []string `json:"removed,omitempty"` // from the queue, with why: what is no request there
}

// Lead commits what waits until the context ends, and holds the lease meanwhile, so that others leave it to this process. said is
// called after each round that did something, and once a minute besides; what it fails with ends it.
func (s *Store) Lead(ctx context.Context, said func(Combined) error) error {
	s.lookAtAll()
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), dead)
		defer cancel()
		s.writing(after, false, func() error {
			s.release(after)
			return nil
		})
	}()
	failed, last := 0, s.o.Now()
	for {
		var did Combined
		err := s.writing(ctx, false, func() (err error) {
			did, err = s.lead(ctx)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && fault.CodeOf(err) != fault.Transient:
			return err
		case err != nil:
			if failed++; failed >= rounds {
				return err
			}
			if err := branch.Pause(ctx, failed, time.Second); err != nil {
				return nil
			}
			continue
		}
		failed = 0
		moved := did.Lines > 0 || len(did.Removed) > 0
		if moved || s.o.Now().Sub(last) >= beat {
			if err := said(did); err != nil {
				return err
			}
			last = s.o.Now()
		}
		if moved {
			continue
		}
		if err := branch.Pause(ctx, 1, idle); err != nil {
			return nil
		}
	}
}

// lead is one round of Lead.
func (s *Store) lead(ctx context.Context) (Combined, error) {
	if err := s.refresh(ctx); err != nil {
		return Combined{}, err
	}
	_, ours := s.leads()
	if !s.lessee.off && (ours && time.Since(s.lessee.own) > renewed || !ours && s.free()) {
		ref, files, taken := s.take(nil, true)
		left, _, err := s.group.PushRefs(ctx, []branch.Ref{ref}, files...)
		switch {
		case err != nil:
			return Combined{}, err
		case len(left) == 0:
			ours = true
			if err := taken(); err != nil {
				return Combined{}, err
			}
		case !ours && s.group.Watched()[lease] == "": // and nobody else took it
			s.lessee.off = true
		}
	}
	if !ours && !s.lessee.off {
		return Combined{}, nil // somebody else does it
	}
	return s.once(ctx)
}

// Combine does once what Lead does, whoever has the lease.
func (s *Store) Combine(ctx context.Context) (did Combined, err error) {
	s.lookAtAll()
	err = s.writing(ctx, true, func() error {
		for round := 1; ; round++ {
			if err := s.refresh(ctx); err != nil {
				return err
			}
			now, err := s.once(ctx)
			did.Lines, did.Removed = did.Lines+now.Lines, append(did.Removed, now.Removed...)
			switch {
			case err != nil && (git.KindOf(err) != git.Moved || round >= rounds):
				return err
			case err == nil && now.Lines == 0 && len(now.Removed) == 0:
				return nil
			case err != nil:
				if err := branch.Pause(ctx, round, 50*time.Millisecond); err != nil {
					return err
				}
			}
		}
	})
	return did, err
}

// once moves what waits here and in the queue, in one commit.
func (s *Store) once(ctx context.Context) (Combined, error) {
	own, err := s.outbox()
	if err == nil {
		err = s.sweep()
	}
	if err != nil {
		return Combined{}, err
	}
	before := s.view.State.Count
	b, err := s.batch(ctx, own)
	if err != nil {
		s.view.State = nil
		return Combined{}, err
	}
	return Combined{s.view.State.Count - before, b.removed}, s.answerAll(b.results)
}

// combine has all that waits here be decided, one after the other, and pushed at once: by this process, or where many push at once by
// one of them for all.
func (s *Store) combine(ctx context.Context) (map[string]Result, error) {
	own, err := s.outbox()
	if err == nil {
		err = s.sweep()
	}
	if err != nil {
		return nil, err
	}
	results := map[string]Result{}
	err = s.until(ctx, own, results)
	if err != nil {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), dead)
		defer cancel()
		if withdrawErr := s.withdraw(after, own); withdrawErr != nil {
			err = fmt.Errorf("%w; it may still be done, since it could not be taken out of the queue of the store: %w", err, withdrawErr)
		}
		s.release(after)
		return nil, err
	}
	return results, s.answerAll(results)
}

// until tries until there is a result for each of some requests.
func (s *Store) until(ctx context.Context, own []waiting, results map[string]Result) error {
	s.lessee.put, s.lessee.unsure = nil, false
	second := 0
	var since time.Time // of the requests in the queue
	busy := false       // others move too
	torn := false       // a request has left the queue, and the log does not have it
	expect, crowded := s.crowded()
	wait := func(open []waiting, looked bool) error {
		second = direct
		if since.IsZero() {
			since = time.Now()
		}
		if err := s.enqueue(ctx, open, looked); err != nil {
			return err
		}
		if _, leads := s.leads(); leads || s.lessee.off {
			return nil
		}
		busy = true
		return s.await(ctx, open, expect)
	}
	if crowded { // it saves asking what is there
		if err := wait(own, false); err != nil {
			return err
		}
	}
	var done time.Time
	began := time.Now()
	for round := 1; ; round++ {
		overdue := time.Since(began) > unanswered
		brief := s.brief
		err := s.refresh(ctx)
		if s.brief = false; err != nil {
			return err
		}
		var open []waiting
		for _, w := range own {
			if _, ok := results[w.id]; ok {
				continue
			}
			if n := s.view.State.Request(w.id); n > 0 {
				r, err := s.fromLog(ctx, n)
				if err != nil {
					return err
				}
				results[w.id] = r
				continue
			}
			open = append(open, w)
		}
		ours, leads := s.leads()
		busy = busy || len(waitingRefs(s.group.Watched())) > len(own)
		if len(open) == 0 {
			if done.IsZero() {
				done = time.Now()
				if busy && !since.IsZero() {
					s.crowds(expect, done.Sub(since))
				}
			}
			if !leads || ours.Kept || len(first(s.group.Watched())) == 0 || time.Since(done) > overtime {
				if leads && !ours.Kept {
					s.release(ctx)
				}
				s.withdraw(ctx, own) // where it was put there again; else whoever comes next does
				return nil
			}
		}
		if s.lessee.off || leads || overdue || s.free() && second < direct {
			if brief {
				continue // with the branches of the stages
			}
			b, err := s.batch(ctx, open)
			if err == nil {
				maps.Copy(results, b.results)
				if len(open) == len(own) && !leads { // nothing of it waits elsewhere
					return nil
				}
				continue
			}
			s.view.State = nil // which has lines that nobody else has
			if git.KindOf(err) != git.Moved || round >= rounds {
				return err
			}
			if second++; second >= direct && !s.lessee.off && !overdue && !leads {
				busy = true
				if err := wait(open, false); err != nil {
					return err
				}
				continue
			}
			if err := branch.Pause(ctx, round, 50*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		if len(open) == 0 { // the lease went meanwhile
			return nil
		}
		if expired := slices.IndexFunc(open, func(w waiting) bool { return !w.q.Expires.After(s.o.Now()) }); expired >= 0 {
			return fault.Errorf(fault.Transient, "nobody did what waits in the queue of the store in %s: try again", validity)
		}
		if len(open) == 1 { // what is refused already need not wait
			if r, ok := s.foresee(open[0]); ok {
				results[open[0].id] = r
				continue
			}
		}
		// The refs of a remote are not listed at one time: what left the queue may be in a log that was read before.
		if torn = !torn && s.left(open); torn {
			continue
		}
		if since.IsZero() {
			expect = max(expect, time.Duration(len(waitingRefs(s.group.Watched())))*perWaiting)
		}
		if err := wait(open, true); err != nil {
			return err
		}
	}
}

// await waits until one of some requests is not in the queue any more, as far as that is known, or nobody does what is there. It looks
// first when an answer is likely: to ask keeps the one from it who does it.
func (s *Store) await(ctx context.Context, own []waiting, expect time.Duration) error {
	s.group.Watch = []string{lease}
	for _, w := range own {
		s.group.Watch = append(s.group.Watch, queueRef(w))
	}
	defer func() { s.group.Watch = []string{refs} }()
	began := time.Now()
	for pause := expect; ; pause = max(expect, time.Since(began)) / 2 {
		pause = min(max(pause, idle/10), maxWait)
		if err := branch.Wait(ctx, pause*3/4, pause/2); err != nil {
			return err
		}
		if err := s.group.Look(ctx); err != nil {
			return err
		}
		waits := func(w waiting) bool { return s.group.Watched()[queueRef(w)] != "" }
		s.brief = !slices.ContainsFunc(own, waits)
		if !slices.ContainsFunc(own, func(w waiting) bool { return !waits(w) || !w.q.Expires.After(s.o.Now()) }) && !s.free() && time.Since(began) < unanswered {
			continue
		}
		return nil
	}
}

// left reports whether one of some requests was put into the queue and is not there any more.
func (s *Store) left(own []waiting) bool {
	for _, put := range s.lessee.put {
		if s.group.Watched()[queueRef(put)] == "" && slices.ContainsFunc(own, func(w waiting) bool { return w.id == put.id }) {
			return true
		}
	}
	return false
}

// crowdFile has how long a request from this folder waited in the queue.
func (s *Store) crowdFile() string { return filepath.Join(s.o.Dir, "crowded") }

// crowds remembers that, somewhat less than it was: whoever looks too late does not know how much.
func (s *Store) crowds(expected, waited time.Duration) {
	os.WriteFile(s.crowdFile(), []byte(((expected + waited*4/5) / 2).String()), 0o600)
}

// crowded is how long a request is likely to wait in the queue, and reports whether one did a short time ago.
func (s *Store) crowded() (expect time.Duration, crowded bool) {
	if b, err := os.ReadFile(s.crowdFile()); err == nil {
		expect, _ = time.ParseDuration(string(b))
	}
	if expect <= 0 || expect > maxWait {
		expect = firstWait
	}
	info, err := os.Stat(s.crowdFile())
	return expect, err == nil && time.Since(info.ModTime()).Abs() < dead // also where the clock was set back since
}

// foresee is the answer to a request that would change nothing now.
func (s *Store) foresee(w waiting) (Result, bool) {
	err := s.holds(w)
	if err != nil {
		return Result{Err: err}, true
	}
	a, err := environment.Decide(s.view.State, s.view.Rules, s.view.RulesCommit, w.id, w.q, s.o.Now())
	return Result{Answer: a, Err: err}, err != nil || a.Nothing || a.Refused()
}

// fromLog is what became of a request, by its line.
func (s *Store) fromLog(ctx context.Context, n int) (Result, error) {
	b, err := s.group.File(ctx, s.group.Head(Log), logFile(n-1), maxFile)
	if err != nil {
		return Result{}, err
	}
	for range (n - 1) % perFile {
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	l, err := environment.ParseLine(line)
	if err != nil {
		return Result{}, fault.New(fault.Mismatch, fmt.Errorf("line %d of the log: %w", n, err))
	}
	return Result{Answer: environment.Answer{Line: l, Code: l.Code(), Outcomes: l.Decision}, Line: n}, nil
}
