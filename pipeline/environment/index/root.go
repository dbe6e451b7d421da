package index

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
)

const (
	draftRoot    = draftDir + tuf.RoleRoot + ".json"
	draftTargets = draftDir + tuf.RoleTargets + ".json"
)

// draft is the next root and the next targets, which offline keys sign.
type draft struct {
	root    role[tuf.Root]
	targets role[tuf.Targets]
}

// readDraft is the draft that is there. One that cannot be read is none: it keeps nobody from signing an index, or from drafting
// another one.
func readDraft(files map[string][]byte) *draft {
	root, _ := read(files, draftRoot, tuf.ParseRoot)
	targets, _ := read(files, draftTargets, tuf.ParseTargets)
	if root.b == nil || targets.b == nil {
		return nil
	}
	return &draft{root, targets}
}

// digest names a draft, whoever has signed it.
func (d *draft) digest() artifact.Digest {
	return artifact.Sum([]byte(string(d.root.file.Digest()) + string(d.targets.file.Digest())))
}

// complete says why a draft does not come into force.
func (d *draft) complete(p published, now time.Time) error {
	if err := follows(d.root.v, d.root.file, p.root); err != nil {
		return fmt.Errorf("root version %d: %w", d.root.v.Version, err)
	}
	if err := d.root.v.Verify(d.targets.file, tuf.RoleTargets); err != nil {
		return fmt.Errorf("targets version %d: %w", d.targets.v.Version, err)
	}
	if last := p.roles[tuf.RoleTargets].v.Version; d.targets.v.Version <= last {
		return fault.Errorf(fault.Mismatch, "targets version %d, and there is %d already", d.targets.v.Version, last)
	}
	return errors.Join(d.root.v.Expired(tuf.RoleRoot, now), d.targets.v.Expired(tuf.RoleTargets, now))
}

// Plan says which keys a root is to name. What is left out stays as it is.
type Plan struct {
	Offline   []signature.PublicKey // for the root and which keys speak for which environment
	Threshold int                   // how many of these have to sign; of a new list more than half, where it is 0
	Online    []signature.PublicKey // each signs alone, what the log says
	// Environments have keys of their own in the place of the online ones.
	Environments map[string][]signature.PublicKey
}

// Status is what a store has of roots.
type Status struct {
	Root  *RootStatus `json:"root,omitempty"`  // nil where there is none yet
	Draft *RootStatus `json:"draft,omitempty"` // nil where there is none
}

// RootStatus is a root and the targets beside it.
type RootStatus struct {
	Version   int64               `json:"version"`
	Expires   time.Time           `json:"expires"`          // of whichever is first
	Digest    artifact.Digest     `json:"digest,omitempty"` // of a draft
	Threshold int                 `json:"threshold"`
	Offline   []string            `json:"offline"` // fingerprints of keys
	Online    []string            `json:"online"`
	Own       map[string][]string `json:"own,omitempty"`   // fingerprints by environment that has keys of its own
	Missing   string              `json:"lacks,omitempty"` // what a draft lacks; "" for one that is complete
	File      []byte              `json:"-"`               // of the root
}

func status(root role[tuf.Root], targets role[tuf.Targets]) *RootStatus {
	s := &RootStatus{
		Version: root.v.Version, Expires: root.v.Expires, Threshold: root.v.Roles[tuf.RoleRoot].Threshold,
		Offline: fingerprints(root.v.Keys, root.v.Roles[tuf.RoleRoot]), Online: fingerprints(root.v.Keys, root.v.Roles[tuf.RoleTimestamp]),
		Own: map[string][]string{}, File: root.b,
	}
	if !targets.v.Expires.IsZero() && targets.v.Expires.Before(s.Expires) {
		s.Expires = targets.v.Expires
	}
	if d := targets.v.Delegations; d != nil {
		for _, r := range d.Roles {
			if own := fingerprints(d.Keys, r.Role); !slices.Equal(own, s.Online) {
				s.Own[strings.TrimPrefix(r.Name, prefix)] = own
			}
		}
	}
	return s
}

func fingerprints(all map[string]tuf.Key, r tuf.Role) []string {
	var names []string
	for _, key := range named(all, r) {
		names = append(names, string(key.Fingerprint()))
	}
	return names
}

func (p published) status(now time.Time) Status {
	var s Status
	if p.root.Version > 0 {
		s.Root = status(role[tuf.Root]{b: p.files[rootName(p.root.Version)], v: p.root}, p.roles[tuf.RoleTargets])
	}
	if p.draft != nil {
		s.Draft = status(p.draft.root, p.draft.targets)
		s.Draft.Digest = p.draft.digest()
		if err := cmp.Or(p.draft.plain(p, now), p.draft.complete(p, now)); err != nil {
			s.Draft.Missing = err.Error()
		}
	}
	return s
}

// Status reads what a store has of roots.
func (x *Index) Status(ctx context.Context) (s Status, err error) {
	err = x.locked(ctx, func(p published) error {
		s = p.status(x.o.Now())
		return nil
	})
	return s, err
}

// Draft makes the next root of a store, with the keys of a plan and a delegation for each stage, and puts it where those who sign it
// find it. It takes the place of a draft that was there.
func (x *Index) Draft(ctx context.Context, v store.View, plan Plan) (s Status, err error) {
	err = x.change(ctx, func(p *published) (string, error) {
		d, err := p.next(v, plan, x.o.Now())
		if err != nil {
			return "", err
		}
		p.draft = d
		return fmt.Sprintf("draft of root version %d", d.root.v.Version), nil
	}, &s)
	return s, err
}

// Sign signs the draft with offline keys. Only is the digest of the draft that is meant, "" for whichever is there.
func (x *Index) Sign(ctx context.Context, only artifact.Digest, signers ...signature.Signer) (s Status, err error) {
	err = x.change(ctx, func(p *published) (string, error) {
		d := p.draft
		switch {
		case d == nil:
			return "", fault.Errorf(fault.Usage, "there is no draft of a root to sign: say which keys it names with --offline and --online, or --renew")
		case only != "" && only != d.digest():
			return "", fault.Errorf(fault.Mismatch, "the draft is %s and not %s: look at it again with slipway store root", d.digest(), only)
		}
		if err := d.plain(*p, x.o.Now()); err != nil {
			return "", err
		}
		for _, signer := range signers {
			key, err := tuf.NewKey(signer.Public())
			if err != nil {
				return "", fault.New(fault.Usage, err)
			}
			now := slices.Contains(d.root.v.Roles[tuf.RoleRoot].KeyIDs, key.ID())
			if before := slices.Contains(p.root.Roles[tuf.RoleRoot].KeyIDs, key.ID()); !now && !before {
				return "", fault.Errorf(fault.Credentials, "key %s is not one of the offline keys, neither of the draft nor of the root before it", signer.Public().Fingerprint())
			}
			if d.root.file, err = d.root.file.Sign(signer); err == nil && now {
				d.targets.file, err = d.targets.file.Sign(signer)
			}
			if err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("signature of root version %d", d.root.v.Version), nil
	}, &s)
	return s, err
}

// change pushes the draft as f leaves it, again where others push too.
func (x *Index) change(ctx context.Context, f func(*published) (message string, err error), s *Status) error {
	for round := 1; ; round++ {
		behind := false
		err := x.locked(ctx, func(p published) error {
			message, err := f(&p)
			if err != nil {
				return err
			}
			files := map[string][]byte{}
			if p.draft.root.b, err = p.draft.root.file.Encode(); err != nil {
				return err
			}
			if p.draft.targets.b, err = p.draft.targets.file.Encode(); err != nil {
				return err
			}
			files[draftRoot], files[draftTargets] = p.draft.root.b, p.draft.targets.b
			*s = p.status(x.o.Now())
			behind, err = x.commit(ctx, p.commit, branch.Change{Files: files, Message: message, Time: x.o.Now()})
			return err
		})
		if err == nil || !behind || round >= rounds {
			return err
		}
		if err := branch.Pause(ctx, round, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// keys are keys by id, and the ids of those that were asked for.
type keys map[string]tuf.Key

func (k keys) of(list []signature.PublicKey) ([]string, error) {
	var ids []string
	for _, public := range list {
		key, err := tuf.NewKey(public)
		if err != nil {
			return nil, fault.New(fault.Usage, err)
		}
		if slices.Contains(ids, key.ID()) {
			return nil, fault.Errorf(fault.Usage, "key %s is named twice", public.Fingerprint())
		}
		k[key.ID()], ids = key, append(ids, key.ID())
	}
	return ids, nil
}

// named are the keys of a role.
func named(all map[string]tuf.Key, r tuf.Role) []signature.PublicKey {
	var list []signature.PublicKey
	for _, id := range r.KeyIDs {
		list = append(list, all[id].Public())
	}
	return list
}

// next is the draft of the root after the one that is there.
func (p published) next(v store.View, plan Plan, now time.Time) (*draft, error) {
	stages := v.Rules.StageNames()
	root, top := p.root, p.roles[tuf.RoleTargets].v
	threshold := plan.Threshold
	switch {
	case plan.Offline == nil:
		plan.Offline = named(root.Keys, root.Roles[tuf.RoleRoot])
		if threshold == 0 {
			threshold = root.Roles[tuf.RoleRoot].Threshold
		}
	case threshold == 0:
		threshold = len(plan.Offline)/2 + 1
	}
	fresh := plan.Online != nil
	if !fresh {
		plan.Online = named(root.Keys, root.Roles[tuf.RoleTimestamp])
	}
	switch {
	case len(plan.Offline) == 0:
		return nil, fault.Errorf(fault.Usage, "a first root names the keys that are kept offline: say --offline FILE for each of their public halves")
	case len(plan.Online) == 0:
		return nil, fault.Errorf(fault.Usage, "a first root names the key of whoever moves versions: say --online FILE for its public half")
	case threshold < 1 || threshold > len(plan.Offline):
		return nil, fault.Errorf(fault.Usage, "%d of %d keys cannot sign: say a --threshold from 1 to %d", threshold, len(plan.Offline), len(plan.Offline))
	}
	for stage := range plan.Environments {
		if !slices.Contains(stages, stage) {
			return nil, fault.Errorf(fault.Usage, "there is no environment %.60q; there is %s", stage, strings.Join(stages, ", "))
		}
	}
	of, err := canonjson.Encode(custom{Store: v.Store})
	if err != nil {
		return nil, err
	}
	environments := map[string][]signature.PublicKey{}
	for _, stage := range stages {
		of := plan.Environments[stage]
		if of == nil && !fresh && top.Delegations != nil {
			for _, r := range top.Delegations.Roles {
				if r.Name == prefix+stage {
					of = named(top.Delegations.Keys, r.Role)
				}
			}
		}
		if of == nil {
			of = plan.Online
		}
		environments[stage] = of
	}
	return newDraft(
		tuf.NewHead(tuf.RoleRoot, root.Version+1, now.Add(lasts(tuf.RoleRoot))), tuf.NewHead(tuf.RoleTargets, top.Version+1, now.Add(lasts(tuf.RoleTargets))),
		of, Plan{plan.Offline, threshold, plan.Online, environments}, stages,
	)
}

// newDraft is the draft with a whole plan, in which each of some stages has its keys.
func newDraft(root, targets tuf.Head, custom json.RawMessage, plan Plan, stages []string) (*draft, error) {
	all, delegated := keys{}, keys{}
	offline, err := all.of(plan.Offline)
	if err != nil {
		return nil, err
	}
	online, err := all.of(plan.Online)
	if err != nil {
		return nil, err
	}
	var d draft
	d.root.v = tuf.Root{Custom: custom, Head: root, Consistent: true, Keys: all, Roles: map[string]tuf.Role{
		tuf.RoleRoot: {KeyIDs: offline, Threshold: plan.Threshold}, tuf.RoleTargets: {KeyIDs: offline, Threshold: plan.Threshold},
		tuf.RoleSnapshot: {KeyIDs: online, Threshold: 1}, tuf.RoleTimestamp: {KeyIDs: online, Threshold: 1},
	}}
	d.targets.v = tuf.Targets{Head: targets, Targets: map[string]tuf.Target{}, Delegations: &tuf.Delegations{Keys: delegated}}
	for _, stage := range stages {
		ids, err := delegated.of(plan.Environments[stage])
		if err != nil {
			return nil, err
		}
		d.targets.v.Delegations.Roles = append(d.targets.v.Delegations.Roles, tuf.Delegation{
			Name: prefix + stage, Role: tuf.Role{KeyIDs: ids, Threshold: 1}, Paths: []string{stage + "/components/*"}, Terminating: true,
		})
	}
	for _, id := range offline {
		if _, ok := delegated[id]; ok || slices.Contains(online, id) {
			return nil, fault.Errorf(fault.Usage, "key %s is to be offline and online: the one is what helps when the other is stolen", all[id].Public().Fingerprint())
		}
	}
	if d.root.file, err = tuf.New(d.root.v); err != nil {
		return nil, err
	}
	d.targets.file, err = tuf.New(d.targets.v)
	return &d, err
}

// plain refuses a draft that says more than its status shows to those who sign it: it is not one that Draft makes of what they see. Somebody
// else may have put it there.
func (d *draft) plain(p published, now time.Time) error {
	root, targets := d.root.v, d.targets.v
	plan := Plan{named(root.Keys, root.Roles[tuf.RoleRoot]), root.Roles[tuf.RoleRoot].Threshold, named(root.Keys, root.Roles[tuf.RoleTimestamp]), map[string][]signature.PublicKey{}}
	var stages []string
	if targets.Delegations != nil {
		for _, r := range targets.Delegations.Roles {
			stage := strings.TrimPrefix(r.Name, prefix)
			stages, plan.Environments[stage] = append(stages, stage), named(targets.Delegations.Keys, r.Role)
		}
	}
	root.Version, targets.Version = p.root.Version+1, p.roles[tuf.RoleTargets].v.Version+1
	if p.root.Custom != nil {
		root.Custom = p.root.Custom
	}
	same, err := newDraft(root.Head, targets.Head, root.Custom, plan, stages)
	switch {
	case err == nil && same.digest() != d.digest():
		err = errors.New("it says more than slipway store root shows of it, or follows other versions")
	case err == nil && (ahead(tuf.RoleRoot, root.Head, now) || ahead(tuf.RoleTargets, targets.Head, now)):
		err = errors.New("it is to count for longer than slipway has it, or this machine's clock is behind")
	}
	if err != nil {
		return fault.Errorf(fault.Mismatch, "the draft is not one that slipway makes: %w; draft it anew, as with --renew", err)
	}
	return nil
}
