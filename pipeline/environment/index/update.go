package index

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
)

// Updated is what Update has done.
type Updated struct {
	Position          // that the index is of now
	Root     int64    `json:"root"`             // version of the root
	Signed   []string `json:"signed,omitempty"` // roles, none where there was nothing to do
	Behind   []string `json:"behind,omitempty"` // environments whose keys are not among the signers' and that are not up to date
	Notes    []string `json:"notes,omitempty"`  // what has to be done by others before long
}

// Update signs what a store is at now, with keys that its root names for that, and pushes it. It does nothing where that is signed and
// not half through its time. A root that was drafted and that enough of the offline keys have signed comes into force with it. A log
// that does not go on from the one that was signed for last is a fault.Mismatch; a store without a root is an ErrNone.
func (x *Index) Update(ctx context.Context, s *store.Store, signers ...signature.Signer) (Updated, error) {
	for round := 1; ; round++ {
		var v store.View
		err := s.Read(ctx, func(now store.View) error {
			v = now
			return s.Entries(ctx, func(blob string) bool { return x.blobs[blob] }, func(blob string, file []byte) error {
				e, err := environment.ParseEntry(file)
				if err == nil {
					x.blobs[blob], x.entries[artifact.Sum(file)] = true, e
				}
				return err
			})
		})
		if err != nil {
			return Updated{}, err
		}
		var done Updated
		again, last := false, rounds
		err = x.locked(ctx, func(p published) error {
			w := writer{x: x, p: p, v: v, signers: signers, now: x.o.Now().UTC().Truncate(time.Second)}
			var err error
			if err = w.sign(ctx); errors.Is(err, errAhead) {
				again, last = true, 5 // which is more than it takes for a log that goes on
			}
			if err != nil {
				return err
			}
			done = w.done
			again, err = w.push(ctx)
			return err
		})
		if err == nil || !again || round >= last {
			return done, err
		}
		if err := branch.Pause(ctx, round, 50*time.Millisecond); err != nil {
			return Updated{}, err
		}
	}
}

// errAhead says that an index is of more lines than were read.
var errAhead = errors.New("the index is of a longer log")

// writer makes the next index.
type writer struct {
	x       *Index
	p       published
	v       store.View
	signers []signature.Signer
	now     time.Time

	root   tuf.Root
	meta   map[string]tuf.MetaFile // of the snapshot
	files  map[string][]byte
	gone   []string
	held   map[string]bool // targets that stay, by path
	newest int64           // snapshot
	first  int64           // version where there is none to go on from, 0 while it is not known
	done   Updated
}

// sign makes the files.
func (w *writer) sign(ctx context.Context) error {
	if last := w.v.State.Time; last.Sub(w.now) > maxBehind {
		return fault.Errorf(fault.Transient, "this machine's clock says %s, and the last line of the log is of %s: set the clock, by which readers know what has expired",
			w.now.Format(time.RFC3339), last.Format(time.RFC3339))
	}
	if w.p.commit != "" {
		if err := w.x.whole(ctx, w.p); err != nil {
			return err
		}
	}
	w.root, w.files, w.meta, w.held = w.p.root, map[string][]byte{}, map[string]tuf.MetaFile{}, map[string]bool{}
	maps.Copy(w.meta, w.p.snapshot.v.Meta) // a role that was named once is named always
	top := w.p.roles[tuf.RoleTargets]
	if d := w.p.draft; d != nil && d.complete(w.p, w.now) == nil {
		w.root, top = d.root.v, d.targets
		w.files[rootName(w.root.Version)] = d.root.b
		w.files[fileName(tuf.RoleTargets, top.v.Version)] = d.targets.b
		w.meta[tuf.RoleTargets+".json"] = tuf.NewMeta(top.v.Version, top.b)
		w.gone = append(w.gone, draftRoot, draftTargets)
		w.done.Signed = append(w.done.Signed, tuf.RoleRoot, tuf.RoleTargets)
	}
	switch {
	case w.root.Version == 0 && w.p.draft != nil:
		return fault.New(fault.Usage, fmt.Errorf("the store's first root is not signed: %w; slipway store root --sign KEY", w.p.draft.complete(w.p, w.now)))
	case w.root.Version == 0:
		return fault.New(fault.Usage, ErrNone)
	case top.b == nil:
		return fault.Errorf(fault.Mismatch, "branch %s has a root, and not the targets that the snapshot names; put it back as it was", Branch)
	}
	if err := w.root.Verify(top.file, tuf.RoleTargets); err != nil {
		return fmt.Errorf("branch %s: targets version %d: %w", Branch, top.v.Version, err)
	}
	switch of, err := readCustom(w.root.Custom); {
	case err != nil:
		return fmt.Errorf("branch %s: root version %d: %w", Branch, w.root.Version, err)
	case of.Store != w.v.Store:
		return fault.Errorf(fault.Mismatch, "the root is of store %s, and this is store %s: take branch metadata away and make a root for this one", cmp.Or(of.Store, "without an id"), cmp.Or(w.v.Store, "without an id"))
	}
	w.done.Root, w.done.Position = w.root.Version, Position{w.v.State.Count, w.v.State.Digest}
	if err := w.goesOn(top.v.Delegations); err != nil {
		return err
	}
	for _, stage := range w.v.Rules.StageNames() {
		if err := w.stage(ctx, top.v.Delegations, stage); err != nil {
			return err
		}
	}
	if err := w.snapshot(ctx); err != nil {
		return err
	}
	w.prune()
	for name, h := range map[string]tuf.Head{tuf.RoleRoot: w.root.Head, tuf.RoleTargets: top.v.Head} {
		if old(name, h, w.now) {
			w.done.Notes = append(w.done.Notes, fmt.Sprintf("%s version %d expires %s: slipway store root --renew", name, h.Version, h.Expires.Format(time.DateOnly)))
		}
	}
	slices.Sort(w.done.Notes)
	return nil
}

// custom is what is signed of a target besides: how far the log went, and which store it is of. A root says the latter too: of two
// stores whose keys are the same, the files of one are none of the other.
type custom struct {
	Log   Position `json:"log,omitzero"`
	Store string   `json:"store,omitempty"`
}

func readCustom(b json.RawMessage) (c custom, err error) {
	if b != nil {
		err = canonjson.DecodeOpen(b, &c)
	}
	return c, fault.New(fault.Mismatch, err)
}

// goesOn holds the log to what was signed of it last, by keys that still count.
func (w *writer) goesOn(d *tuf.Delegations) error {
	if d == nil {
		return nil
	}
	for _, r := range d.Roles {
		last := w.p.roles[r.Name]
		if last.b == nil || last.file.Verify(d.Keys, r.Role) != nil || ahead(r.Name, last.v.Head, w.now) {
			continue // of what was signed by a clock that was ahead, no reader whose clock is right has taken in a line
		}
		for _, t := range last.v.Targets {
			c, err := readCustom(t.Custom)
			signed := c.Log
			switch digest := w.v.State.At(signed.Count); {
			case err != nil:
				return fmt.Errorf("branch %s: %s: %w", Branch, r.Name, err)
			case signed.Count > w.v.State.Count:
				return fault.New(fault.Mismatch, fmt.Errorf("%w: %s was signed of %d lines, and the log has %d", errAhead, r.Name, signed.Count, w.v.State.Count))
			case digest != signed.Digest:
				return fault.Errorf(fault.Mismatch, "the log was rewritten: line %d was %s when %s was signed, and is %s", signed.Count, signed.Digest.Short(), r.Name, digest.Short())
			}
		}
	}
	return nil
}

// stage signs the role of an environment, if there is anything new.
func (w *writer) stage(ctx context.Context, d *tuf.Delegations, stage string) error {
	name := prefix + stage
	i := -1
	if d != nil {
		i = slices.IndexFunc(d.Roles, func(r tuf.Delegation) bool { return r.Name == name })
	}
	if i < 0 {
		w.done.Notes = append(w.done.Notes, fmt.Sprintf("no key speaks for %s yet: slipway store root --renew", stage))
		return nil
	}
	files, err := components(w.v, w.x.entries, stage)
	if err != nil {
		return err
	}
	at, err := canonjson.Encode(custom{w.done.Position, w.v.Store})
	if err != nil {
		return err
	}
	next := tuf.Targets{Targets: map[string]tuf.Target{}}
	paths := map[string][]byte{}
	for name, b := range files {
		t := tuf.NewTarget(b, at)
		next.Targets[name] = t
		paths[targetFile(name, t)] = b
	}
	last := w.p.roles[name]
	holds := last.b != nil && last.file.Verify(d.Keys, d.Roles[i].Role) == nil
	if holds && !old(name, last.v.Head, w.now) && sameTargets(last.v.Targets, next.Targets) {
		return nil
	}
	by := w.may(d.Roles[i].Role)
	if by == nil {
		w.done.Behind = append(w.done.Behind, stage)
		return nil
	}
	if next.Head, err = w.head(ctx, tuf.RoleTargets, name, last.v.Head, holds); err != nil {
		return err
	}
	for name, b := range paths {
		if w.held[name] = true; !w.p.shown[name] {
			w.files[name] = b
		}
	}
	return w.write(name, next, by)
}

func sameTargets(a, b map[string]tuf.Target) bool {
	return maps.EqualFunc(a, b, func(a, b tuf.Target) bool {
		one, err := readCustom(a.Custom)
		two, other := readCustom(b.Custom)
		return err == nil && other == nil && one == two && a.Length == b.Length && maps.Equal(a.Hashes, b.Hashes)
	})
}

// targetFile is where a target is on the branch.
func targetFile(name string, t tuf.Target) string {
	dir, base := path.Split(name)
	return targetsDir + dir + t.Hashes["sha256"] + "." + base
}

// may are as many of the signers as a role needs, nil where there are fewer.
func (w *writer) may(r tuf.Role) []signature.Signer {
	var by []signature.Signer
	for _, s := range w.signers {
		if key, err := tuf.NewKey(s.Public()); err == nil && slices.Contains(r.KeyIDs, key.ID()) && len(by) < r.Threshold {
			by = append(by, s)
		}
	}
	if len(by) < r.Threshold {
		return nil
	}
	return by
}

// head is the head of the next metadata of a role. It goes on from the last, if keys that still count have signed that. Else it goes on
// from how many commits the branch has: none that was honestly made has a higher number, whatever others have made of it since.
func (w *writer) head(ctx context.Context, kind, name string, last tuf.Head, holds bool) (tuf.Head, error) {
	version := last.Version + 1
	if !holds {
		if w.first == 0 {
			var err error
			if w.first, err = w.x.group.Height(ctx, w.p.commit); err != nil {
				return tuf.Head{}, err
			}
		}
		version = w.first
	}
	if last.Version == math.MaxInt64 && holds {
		return tuf.Head{}, fault.Errorf(fault.Mismatch, "%s has the last version that there is; give the role another key with slipway store root", name)
	}
	return tuf.NewHead(kind, version, w.now.Add(lasts(name))), nil
}

// write signs the metadata of a role.
func (w *writer) write(name string, v any, by []signature.Signer) error {
	b, err := tuf.Write(v, by...)
	if err != nil {
		return err
	}
	var version int64
	switch v := v.(type) {
	case tuf.Targets:
		version = v.Version
		w.meta[name+".json"] = tuf.NewMeta(version, b)
	case tuf.Snapshot:
		version = v.Version
	}
	w.files[fileName(name, version)] = b
	w.done.Signed = append(w.done.Signed, name)
	return nil
}

// snapshot signs snapshot and timestamp.
func (w *writer) snapshot(ctx context.Context) error {
	const name = tuf.RoleSnapshot + ".json"
	b, m := w.p.snapshot.b, w.p.timestamp.v.Meta[name]
	holds := b != nil && w.root.Verify(w.p.snapshot.file, tuf.RoleSnapshot) == nil
	if !holds || old(tuf.RoleSnapshot, w.p.snapshot.v.Head, w.now) || !maps.EqualFunc(w.meta, w.p.snapshot.v.Meta, sameMeta) {
		head, err := w.head(ctx, tuf.RoleSnapshot, tuf.RoleSnapshot, w.p.snapshot.v.Head, holds)
		if err != nil {
			return err
		}
		by, err := w.must(tuf.RoleSnapshot)
		if err == nil {
			err = w.write(tuf.RoleSnapshot, tuf.Snapshot{Head: head, Meta: w.meta}, by)
		}
		if err != nil {
			return err
		}
		m = tuf.NewMeta(head.Version, w.files[fileName(tuf.RoleSnapshot, head.Version)])
	}
	w.newest = m.Version
	holds = w.p.timestamp.b != nil && w.root.Verify(w.p.timestamp.file, tuf.RoleTimestamp) == nil
	if holds && !old(tuf.RoleTimestamp, w.p.timestamp.v.Head, w.now) && sameMeta(m, w.p.timestamp.v.Meta[name]) {
		return nil
	}
	head, err := w.head(ctx, tuf.RoleTimestamp, tuf.RoleTimestamp, w.p.timestamp.v.Head, holds)
	if err != nil {
		return err
	}
	by, err := w.must(tuf.RoleTimestamp)
	if err != nil {
		return err
	}
	b, err = tuf.Write(tuf.Timestamp{Head: head, Meta: map[string]tuf.MetaFile{name: m}}, by...)
	w.files[metadataDir+tuf.RoleTimestamp+".json"] = b
	w.done.Signed = append(w.done.Signed, tuf.RoleTimestamp)
	return err
}

func sameMeta(a, b tuf.MetaFile) bool {
	return a.Version == b.Version && a.Length == b.Length && maps.Equal(a.Hashes, b.Hashes)
}

func (w *writer) must(name string) ([]signature.Signer, error) {
	by := w.may(w.root.Roles[name])
	if by == nil {
		return nil, fault.Errorf(fault.Credentials, "none of the keys is one that root version %d names for %s: sign with one that slipway store root prints", w.root.Version, name)
	}
	return by, nil
}

// prune takes away what nobody reads any more: of each role all but the last versions, roots apart, and the targets that none of the
// others names.
func (w *writer) prune() {
	if len(w.files) == 0 {
		return
	}
	versions := map[string][]int64{}
	for name := range w.p.files {
		if role, v, ok := parseName(name); ok && role != tuf.RoleRoot && w.files[name] == nil {
			versions[role] = append(versions[role], v)
		}
	}
	for role, all := range versions {
		slices.Sort(all)
		slices.Reverse(all)
		current := w.meta[role+".json"].Version
		if role == tuf.RoleSnapshot {
			current = w.newest
		}
		for i, v := range all {
			switch name := fileName(role, v); {
			case i >= kept && v != current:
				w.gone = append(w.gone, name)
			case strings.HasPrefix(role, prefix):
				t, _, err := tuf.ParseTargets(w.p.files[name])
				for name, target := range t.Targets {
					if err == nil {
						w.held[targetFile(name, target)] = true
					}
				}
			}
		}
	}
	for name := range w.p.shown {
		if !w.held[name] {
			w.gone = append(w.gone, name)
		}
	}
	slices.Sort(w.gone)
}

// parseName takes the name of a file of metadata apart.
func parseName(name string) (role string, version int64, ok bool) {
	number, role, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(name, metadataDir), ".json"), ".")
	if _, err := fmt.Sscan(number, &version); err != nil || !ok || fileName(role, version) != name {
		return "", 0, false
	}
	return role, version, true
}

// push puts the files on the branch. It reports whether somebody else was faster.
func (w *writer) push(ctx context.Context) (behind bool, err error) {
	if len(w.files) == 0 {
		return false, nil
	}
	message := fmt.Sprintf("index of line %d", w.done.Count)
	if w.root.Version != w.p.root.Version {
		message = fmt.Sprintf("root version %d, %s", w.root.Version, message)
	}
	return w.x.commit(ctx, w.p.commit, branch.Change{Files: w.files, Gone: w.gone, Message: message, Time: w.now})
}

// commit makes a commit and pushes it.
func (x *Index) commit(ctx context.Context, onto string, change branch.Change) (behind bool, err error) {
	ids, err := x.group.Commit(ctx, []branch.Commit{{Onto: onto, Change: change}})
	if err != nil {
		return false, err
	}
	behind, err = x.group.Push(ctx, map[string]string{Branch: ids[0]})
	if err != nil && !behind {
		// The answer may be what was lost, and not the push.
		if fetchErr := x.group.Fetch(ctx); fetchErr == nil {
			if has, hasErr := x.group.Has(ctx, Branch, ids[0]); hasErr == nil && has {
				err = nil
			}
		}
	}
	if err != nil {
		return behind, err
	}
	return false, x.remember(ids[0])
}
