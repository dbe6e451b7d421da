package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
)

// Branch is the branch of a store that has its index.
const Branch = "metadata"

// Folders of the branch. What is drafted counts once enough of the offline keys have signed it and an index was signed under it.
const (
	metadataDir = "metadata/"
	targetsDir  = "targets/"
	draftDir    = "draft/"
)

// prefix is what the delegated role of an environment has before its name: snapshot is a role already.
const prefix = "env-"

const (
	kept      = 4  // versions of a file that stay for those who read while there are newer ones
	rounds    = 50 // how often an index is signed again because somebody else was faster
	author    = "slipway"
	authorsAt = "slipway@localhost"
)

// day is a day of an expiry.
const day = 24 * time.Hour

// lasts is how long a role's metadata counts. It is signed again after half of that.
func lasts(role string) time.Duration {
	switch role {
	case tuf.RoleRoot:
		return 365 * day
	case tuf.RoleTargets:
		return 180 * day
	case tuf.RoleSnapshot:
		return 7 * day
	case tuf.RoleTimestamp:
		return day
	}
	return 30 * day
}

// old reports whether a role's metadata is to be signed again: half of its time is over, or it counts for longer than it should, since
// the clock of whoever signed it was ahead.
func old(role string, h tuf.Head, now time.Time) bool {
	return now.After(h.Expires.Add(-lasts(role)/2)) || ahead(role, h, now)
}

// ahead reports whether the clock of whoever signed a role's metadata was ahead of this one.
func ahead(role string, h tuf.Head, now time.Time) bool {
	return h.Expires.After(now.Add(lasts(role) + maxBehind))
}

// ErrNone says that a store has no index: nobody has made a root for it.
var ErrNone = errors.New("the store has no root yet: make one with slipway store root")

// Index is the index of a store, with a clone of its branch. It is not for several goroutines at once; several processes may have
// the same folder.
type Index struct {
	o     store.Options
	at    branch.Address
	group branch.Group

	blobs   map[string]bool
	entries map[artifact.Digest]environment.Entry
}

// Open is the index of a store, with the options of the store. Nothing is looked at yet.
func Open(o store.Options) (*Index, error) {
	at, err := branch.ParseAddress(o.Remote)
	if err != nil {
		return nil, fmt.Errorf("the store: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	g, err := git.New(git.Unattended(git.Remote(o.Environ, o.Remote, o.Pass...)), o.Dir, branch.Needs)
	if err != nil {
		return nil, err
	}
	g.Hide = at.Hide
	return &Index{o: o, at: at, blobs: map[string]bool{}, entries: map[artifact.Digest]environment.Entry{}, group: branch.Group{
		Git: g, Dir: filepath.Join(o.Dir, "metadata.git"), Remote: at.Remote, Branches: []string{Branch}, Author: author, Email: authorsAt,
	}}, nil
}

// locked runs f with what the branch has now.
func (x *Index) locked(ctx context.Context, f func(published) error) error {
	return x.group.Locked(ctx, func() error {
		if err := x.group.Fetch(ctx); err != nil {
			return err
		}
		if err := x.goesOn(ctx); err != nil {
			return err
		}
		p, err := x.published(ctx)
		if err != nil {
			return err
		}
		return f(p)
	})
}

func (x *Index) seen() string { return filepath.Join(x.o.Dir, "metadata.seen") }

// goesOn refuses a branch that does not go on from where this folder saw it last: with lower numbers than were signed before, its
// readers would refuse it.
func (x *Index) goesOn(ctx context.Context) error {
	head := x.group.Head(Branch)
	b, err := os.ReadFile(x.seen())
	last := strings.TrimSpace(string(b))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && last == head:
	case err != nil:
		return fault.New(fault.Usage, err)
	default:
		if !git.IsObject(last) {
			return fault.Errorf(fault.Usage, "%s is not the name of a commit: remove the file", x.seen())
		}
		goes := false
		if head != "" {
			goes, err = x.group.Contains(ctx, head, last)
		}
		if _, said := errors.AsType[*git.Error](err); err != nil && !said {
			return err
		}
		if !goes {
			return fault.Errorf(fault.Mismatch, "branch %s of %s was rewritten: %s has it as it was, at %s; put it back, or remove %s", Branch, x.at.Shown, x.group.Dir, last, x.seen())
		}
	}
	return x.remember(head)
}

func (x *Index) remember(head string) error {
	if head == "" {
		return nil
	}
	// As a whole, for whoever comes after one who was killed; nobody else writes it, since the clone is locked.
	return fault.New(fault.Usage, filelock.Replace(filepath.Dir(x.seen()), x.seen(), []byte(head+"\n")))
}

// published is what the branch has.
type published struct {
	commit string
	files  map[string][]byte // metadata and drafts, by path
	shown  map[string]bool   // targets, by path

	root      tuf.Root // the zero value for none
	before    tuf.Root // the one before it
	timestamp role[tuf.Timestamp]
	snapshot  role[tuf.Snapshot]
	roles     map[string]role[tuf.Targets] // targets and those of environments, by name
	draft     *draft                       // nil for none
}

// role is a file of metadata. There is none where b is nil.
type role[T any] struct {
	b    []byte
	v    T
	file tuf.File
}

// read reads a file with the function that parses it.
func read[T any](files map[string][]byte, name string, parse func([]byte) (T, tuf.File, error)) (r role[T], err error) {
	b, ok := files[name]
	if !ok {
		return r, nil
	}
	if r.v, r.file, err = parse(b); err != nil {
		return r, fmt.Errorf("branch %s: %s: %w; put it back as it was", Branch, name, err)
	}
	r.b = b
	return r, nil
}

// published reads the branch. Roots are held to each other, and nothing else is verified.
func (x *Index) published(ctx context.Context) (published, error) {
	p := published{commit: x.group.Head(Branch), files: map[string][]byte{}, shown: map[string]bool{}, roles: map[string]role[tuf.Targets]{}}
	if p.commit == "" {
		return p, nil
	}
	all, err := x.group.Files(ctx, p.commit, "")
	if err != nil {
		return p, err
	}
	var wanted []branch.Blob
	for _, f := range all {
		switch {
		case strings.HasPrefix(f.Path, metadataDir), strings.HasPrefix(f.Path, draftDir):
			wanted = append(wanted, f)
		case strings.HasPrefix(f.Path, targetsDir):
			p.shown[f.Path] = true
		}
	}
	err = x.group.Read(ctx, wanted, tuf.MaxTargets, func(f branch.Blob, b []byte) error {
		p.files[f.Path] = b
		return nil
	})
	if err != nil {
		return p, err
	}
	for {
		name := rootName(p.root.Version + 1)
		next, err := read(p.files, name, tuf.ParseRoot)
		if err != nil {
			return p, err
		}
		if next.b == nil {
			break
		}
		if err := follows(next.v, next.file, p.root); err != nil {
			return p, fmt.Errorf("branch %s: %s: %w", Branch, name, err)
		}
		p.before, p.root = p.root, next.v
	}
	if p.timestamp, err = read(p.files, metadataDir+tuf.RoleTimestamp+".json", tuf.ParseTimestamp); err != nil {
		return p, err
	}
	version := p.timestamp.v.Meta[tuf.RoleSnapshot+".json"].Version
	if p.snapshot, err = read(p.files, fileName(tuf.RoleSnapshot, version), tuf.ParseSnapshot); err != nil {
		return p, err
	}
	for name, m := range p.snapshot.v.Meta {
		name = strings.TrimSuffix(name, ".json")
		r, err := read(p.files, fileName(name, m.Version), tuf.ParseTargets)
		if err != nil {
			return p, err
		}
		p.roles[name] = r
	}
	p.draft = readDraft(p.files)
	return p, nil
}

// whole refuses a branch on which something else is than was signed last: an index that went on from an older one would have old states of the
// environments whose keys are elsewhere, and numbers that readers have seen others of. Who may push can put any file there, and what git has of
// the past says whether it was newer.
func (x *Index) whole(ctx context.Context, p published) error {
	const stamp, snapshot = metadataDir + tuf.RoleTimestamp + ".json", tuf.RoleSnapshot + ".json"
	wrong := func(name string) error {
		return fault.Errorf(fault.Mismatch, "branch %s: %s is not what was signed last; put it back as it was", Branch, name)
	}
	if p.timestamp.b != nil {
		by := p.root
		if by.Verify(p.timestamp.file, tuf.RoleTimestamp) != nil {
			by = p.before // as where a root came to the branch by hand
		}
		if by.Verify(p.timestamp.file, tuf.RoleTimestamp) != nil {
			return wrong(stamp)
		}
		if m := p.timestamp.v.Meta[snapshot]; p.snapshot.b == nil || !sameMeta(m, tuf.NewMeta(p.snapshot.v.Version, p.snapshot.b)) || by.Verify(p.snapshot.file, tuf.RoleSnapshot) != nil {
			return wrong(fileName(tuf.RoleSnapshot, m.Version))
		}
		for name, m := range p.snapshot.v.Meta {
			name = strings.TrimSuffix(name, ".json")
			if r := p.roles[name]; r.b == nil || !sameMeta(m, tuf.NewMeta(r.v.Version, r.b)) {
				return wrong(fileName(name, m.Version))
			}
		}
	}
	commits, err := x.group.History(ctx, p.commit, stamp)
	for _, c := range commits {
		b, fileErr := x.group.File(ctx, c, stamp, tuf.MaxTimestamp)
		if fileErr != nil && !errors.Is(fileErr, branch.ErrUnfit) {
			return fileErr
		}
		t, f, readErr := tuf.ParseTimestamp(b)
		if fileErr == nil && readErr == nil && t.Version > p.timestamp.v.Version && p.root.Verify(f, tuf.RoleTimestamp) == nil {
			return wrong(stamp)
		}
	}
	return err
}

// follows says why a root is not the one after another, or the first one.
func follows(r tuf.Root, f tuf.File, before tuf.Root) error {
	switch {
	case before.Version > 0:
		return r.Succeeds(f, before)
	case r.Version > 1:
		return fault.Errorf(fault.Mismatch, "it is not the first, and there is none before it")
	}
	return r.Verify(f, tuf.RoleRoot)
}

func fileName(role string, version int64) string {
	return fmt.Sprintf("%s%d.%s.json", metadataDir, version, role)
}

func rootName(version int64) string { return fileName(tuf.RoleRoot, version) }
