package tuf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const (
	maxRoots = 256 // that are walked up at once
	maxRoles = 32  // that are asked about one target
	patience = time.Minute
)

// Source has the files of a repository: metadata below metadata/, targets below targets/.
type Source interface {
	// Get is a file, by its path, in which the name of a role may have a slash; an fs.ErrNotExist where there is none. It reads no more than limit bytes: one that has more is a
	// bounded.TooLarge.
	Get(ctx context.Context, name string, limit int64) ([]byte, error)
}

// Client knows what of a repository holds. It does what the specification asks of a client, section 5, in that order. It is not for
// several goroutines at once; several processes may have the same Dir.
type Client struct {
	Source Source
	// Dir has the last metadata of each role, which what comes next is held to. It is made where it is missing.
	Dir string
	// Root is a root that is trusted for another reason than that it is there; nil for the one in Dir.
	Root []byte
	Now  func() time.Time

	now      time.Time
	root     Root
	snapshot Snapshot
	targets  Targets
}

// Refresh reads what is new of the roles that every repository has, and refuses what is older than what was seen before.
func (c *Client) Refresh(ctx context.Context) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fault.New(fault.Usage, err)
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(c.Dir, "lock"), patience)
	if err != nil {
		return fault.New(fault.Transient, err)
	}
	return errors.Join(c.refresh(ctx), unlock())
}

func (c *Client) refresh(ctx context.Context) error {
	c.now = c.Now()
	if err := c.refreshRoot(ctx); err != nil {
		return err
	}
	t, err := c.refreshTimestamp(ctx)
	if err != nil {
		return err
	}
	if c.snapshot, err = c.refreshSnapshot(ctx, t.Meta[RoleSnapshot+".json"]); err != nil {
		return err
	}
	c.targets, err = c.role(ctx, RoleTargets, c.root.Keys, c.root.Roles[RoleTargets])
	return err
}

// Trusted is the root that Refresh came to.
func (c *Client) Trusted() Root { return c.root }

// refreshRoot walks the roots up from the one that is trusted.
func (c *Client) refreshRoot(ctx context.Context) error {
	b, seen := c.Root, Root{}
	last, err := c.stored(RoleRoot, MaxRoot)
	if err != nil {
		return err
	}
	if b == nil {
		b = last
	} else if last != nil {
		if seen, _, err = ParseRoot(last); err != nil {
			return fmt.Errorf("reading %s: %w", c.path(RoleRoot), err)
		}
	}
	if b == nil {
		return fault.Errorf(fault.Usage, "there is no root to begin with: name a file with one, which you have from somebody you trust")
	}
	root, f, err := ParseRoot(b)
	if err == nil {
		err = root.Verify(f, RoleRoot)
	}
	if err != nil {
		return fmt.Errorf("the root to begin with: %w", err)
	}
	for range maxRoots {
		name := fmt.Sprintf("%d.%s", root.Version+1, RoleRoot)
		next, err := c.get(ctx, name, MaxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		var later Root
		if err == nil {
			later, f, err = ParseRoot(next)
		}
		if err == nil {
			err = later.Succeeds(f, root)
		}
		if err != nil {
			return fmt.Errorf("%s.json: %w", name, err)
		}
		if root, b = later, next; root.Version > seen.Version {
			if err := c.store(RoleRoot, b); err != nil {
				return err
			}
		}
	}
	if root.Version < seen.Version {
		return fault.Errorf(fault.Mismatch, "root version %d is the last there is, and %d was seen before", root.Version, seen.Version)
	}
	c.root = root
	if !bytes.Equal(b, last) {
		if err := c.store(RoleRoot, b); err != nil {
			return err
		}
	}
	return root.Expired(RoleRoot, c.now)
}

// refreshTimestamp is the newest timestamp. One that was kept and that the root's keys have not signed counts for nothing: with other
// keys, versions may begin anew.
func (c *Client) refreshTimestamp(ctx context.Context) (Timestamp, error) {
	const snapshot = RoleSnapshot + ".json"
	var last Timestamp
	kept, err := c.stored(RoleTimestamp, MaxTimestamp)
	if err != nil {
		return last, err
	}
	if kept != nil {
		t, f, err := ParseTimestamp(kept)
		if err == nil && c.root.Verify(f, RoleTimestamp) == nil {
			last = t
		}
	}
	b, err := c.get(ctx, RoleTimestamp, MaxTimestamp)
	if err != nil {
		return last, absent(RoleTimestamp, err)
	}
	t, f, err := ParseTimestamp(b)
	if err == nil {
		err = c.root.Verify(f, RoleTimestamp)
	}
	switch {
	case err != nil:
	case t.Version < last.Version:
		err = fault.Errorf(fault.Mismatch, "version %d, and %d was seen before", t.Version, last.Version)
	case t.Version == last.Version:
		return last, last.Expired(RoleTimestamp, c.now)
	case t.Meta[snapshot].Version < last.Meta[snapshot].Version:
		err = fault.Errorf(fault.Mismatch, "it names version %d of the snapshot, and %d was seen before", t.Meta[snapshot].Version, last.Meta[snapshot].Version)
	}
	if err != nil {
		return last, fmt.Errorf("%s.json: %w", RoleTimestamp, err)
	}
	if err := t.Expired(RoleTimestamp, c.now); err != nil {
		return last, err
	}
	return t, c.store(RoleTimestamp, b)
}

// refreshSnapshot is the snapshot that a timestamp names.
func (c *Client) refreshSnapshot(ctx context.Context, want MetaFile) (Snapshot, error) {
	var last Snapshot
	kept, err := c.stored(RoleSnapshot, MaxSnapshot)
	if err != nil {
		return last, err
	}
	if kept != nil {
		s, f, err := ParseSnapshot(kept)
		if err == nil && c.root.Verify(f, RoleSnapshot) == nil {
			last = s
		}
	}
	if last.Version == want.Version && checkBytes(kept, want.Length, want.Hashes) == nil {
		return last, last.Expired(RoleSnapshot, c.now)
	}
	b, err := c.named(ctx, RoleSnapshot, want, MaxSnapshot)
	if err != nil {
		return last, err
	}
	s, f, err := ParseSnapshot(b)
	if err == nil {
		err = c.root.Verify(f, RoleSnapshot)
	}
	if err == nil && s.Version != want.Version {
		err = mixed(s.Version, want.Version)
	}
	for name, before := range last.Meta {
		if now, ok := s.Meta[name]; err == nil && (!ok || now.Version < before.Version) {
			err = fault.Errorf(fault.Mismatch, "it names version %d of %.80q, and %d was seen before", now.Version, name, before.Version)
		}
	}
	if err != nil {
		return last, fmt.Errorf("%s.json: %w", RoleSnapshot, err)
	}
	if err := s.Expired(RoleSnapshot, c.now); err != nil {
		return last, err
	}
	return s, c.store(RoleSnapshot, b)
}

func mixed(is, want int64) error {
	return fault.Errorf(fault.Mismatch, "it is version %d, and the file that names it names %d: they are of two sets", is, want)
}

// role is the targets metadata of a role that the snapshot names, signed with the keys of whoever has it speak.
func (c *Client) role(ctx context.Context, name string, keys map[string]Key, role Role) (Targets, error) {
	want, ok := c.snapshot.Meta[name+".json"]
	if !ok {
		return Targets{}, fault.Errorf(fault.Mismatch, "the snapshot does not name %.80q, which a targets role has speak", name)
	}
	check := func(b []byte) (Targets, error) {
		t, f, err := ParseTargets(b)
		if err == nil {
			err = f.Verify(keys, role)
		}
		if err == nil && t.Version != want.Version {
			err = mixed(t.Version, want.Version)
		}
		return t, err
	}
	kept, err := c.stored(name, MaxTargets)
	if err != nil {
		return Targets{}, err
	}
	if kept != nil && checkBytes(kept, want.Length, want.Hashes) == nil {
		if t, err := check(kept); err == nil {
			return t, t.Expired(name, c.now)
		}
	}
	b, err := c.named(ctx, name, want, MaxTargets)
	if err != nil {
		return Targets{}, err
	}
	t, err := check(b)
	if err != nil {
		return Targets{}, fmt.Errorf("%.80q: %w", name, err)
	}
	if err := t.Expired(name, c.now); err != nil {
		return Targets{}, err
	}
	return t, c.store(name, b)
}

// Find is the target of a path, as the first role says that speaks for it. One that no role has is an fs.ErrNotExist and a
// fault.Usage: the repository says so, signed.
func (c *Client) Find(ctx context.Context, name string) (Target, error) {
	if !fs.ValidPath(name) || name == "." {
		return Target{}, fault.Errorf(fault.Usage, "%.200q is not the path of a target", name)
	}
	s := search{c: c, name: name}
	t, _, err := s.in(ctx, c.targets)
	if err == nil && t == nil {
		err = fault.Errorf(fault.Usage, "%s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return Target{}, err
	}
	return *t, nil
}

type search struct {
	c     *Client
	name  string
	asked []string
}

// in looks for the target in a role and those that it has speak. It reports whether no other role is to be asked.
func (s *search) in(ctx context.Context, t Targets) (found *Target, last bool, err error) {
	if target, ok := t.Targets[s.name]; ok {
		return &target, true, nil
	}
	if t.Delegations == nil {
		return nil, false, nil
	}
	for _, d := range t.Delegations.Roles {
		if !d.Covers(s.name) {
			continue
		}
		if !slices.Contains(s.asked, d.Name) {
			if s.asked = append(s.asked, d.Name); len(s.asked) > maxRoles {
				return nil, true, fault.Errorf(fault.Mismatch, "more than %d roles speak for %s", maxRoles, s.name)
			}
			sub, err := s.c.role(ctx, d.Name, t.Delegations.Keys, d.Role)
			if err != nil {
				return nil, true, err
			}
			if found, last, err := s.in(ctx, sub); found != nil || last || err != nil {
				return found, last, err
			}
		}
		if d.Terminating {
			return nil, true, nil
		}
	}
	return nil, false, nil
}

// Fetch is the bytes of a target.
func (c *Client) Fetch(ctx context.Context, name string, t Target) ([]byte, error) {
	if t.Length > MaxTarget {
		return nil, fault.Errorf(fault.Mismatch, "%s has %d bytes, and at most %d are read", name, t.Length, MaxTarget)
	}
	file := name
	if c.root.Consistent {
		for _, kind := range slices.Sorted(maps.Keys(t.Hashes)) {
			if kind == "sha256" || kind == "sha512" {
				dir, base := path.Split(name)
				file = dir + t.Hashes[kind] + "." + base
				break
			}
		}
	}
	if !fs.ValidPath(file) {
		return nil, fault.Errorf(fault.Mismatch, "%.200q is not the path of a target", file)
	}
	b, err := c.Source.Get(ctx, "targets/"+file, t.Length)
	if err == nil {
		err = fault.New(fault.Mismatch, t.Check(b))
	}
	if err != nil {
		return nil, absent(name, err)
	}
	return b, nil
}

// named is the file of a role that another file names.
func (c *Client) named(ctx context.Context, role string, want MetaFile, limit int64) ([]byte, error) {
	name := role
	if c.root.Consistent {
		name = fmt.Sprintf("%d.%s", want.Version, role)
	}
	if want.Length > 0 {
		limit = min(limit, want.Length)
	}
	b, err := c.get(ctx, name, limit)
	if err == nil {
		err = fault.New(fault.Mismatch, checkBytes(b, want.Length, want.Hashes))
	}
	if err != nil {
		return nil, absent(role, err)
	}
	return b, nil
}

func (c *Client) get(ctx context.Context, name string, limit int64) ([]byte, error) {
	b, err := c.Source.Get(ctx, "metadata/"+name+".json", limit)
	switch {
	case bounded.IsTooLarge(err):
		err = fault.New(fault.Mismatch, err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		err = fault.Or(err, fault.Transient)
	}
	return b, err
}

// absent is the error of a file that should be there: others may be about to put it there.
func absent(what string, err error) error {
	code := fault.Transient
	if bounded.IsTooLarge(err) {
		code = fault.Mismatch
	}
	return fault.Or(fmt.Errorf("%.200s: %w", what, err), code)
}

// unreserved are the characters that stand for themselves in a URL (https://www.rfc-editor.org/rfc/rfc3986#section-2.3).
const unreserved = "abcdefghijklmnopqrstuvwxyz0123456789-._~ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// escape is a name with nothing but plain characters and the %XX of others.
func escape(name, plain string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// path is where the metadata of a role is kept. No two roles have the same, also where letter case makes no difference.
func (c *Client) path(role string) string {
	return filepath.Join(c.Dir, escape(role, unreserved[:strings.Index(unreserved, "A")])+".json")
}

// stored is the metadata of a role that was kept, nil for none.
func (c *Client) stored(role string, limit int64) ([]byte, error) {
	b, err := bounded.File(c.path(role), limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, fault.New(fault.Usage, err)
}

// store keeps the metadata of a role, in place of what was kept before, as a whole.
func (c *Client) store(role string, b []byte) error {
	return fault.New(fault.Usage, filelock.Replace(c.Dir, c.path(role), b))
}
