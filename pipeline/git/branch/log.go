package branch

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const (
	// rounds is how often something is added again because somebody else was faster.
	rounds = 20
	// maxHistory is how many commits of the branch are looked at, the newest ones.
	maxHistory = 10_000
	// patience is how long another process that works in the same folder is waited for.
	patience = 10 * time.Minute
)

// seen is what the branch was at when its history was last found whole.
const seen = "refs/slipway/seen"

// Options say which branch a log is on, and who writes there.
type Options struct {
	Remote string // URL or path of the git repository
	Branch string
	// Environ is the environment, as of os.Environ. git is looked for in its PATH, and finds its credentials as it does
	// elsewhere: by GIT_ASKPASS, a credential helper or an SSH agent, but never by asking at a terminal.
	Environ []string
	// Pass are the names of variables in Environ that a credential helper reads; see git.Remote.
	Pass []string
	// Dir is a folder to work in, which the caller makes and removes. While it stays, it remembers how far the branch went,
	// and a branch that lacks some of that is noticed.
	Dir    string
	Author string // name <address>
}

// Log is a branch that is only added to. It may be used by several goroutines, and by several processes with the same folder.
type Log struct {
	o  Options
	at Address

	mu       sync.Mutex
	prepared bool
	clone    Clone
}

// Open is the log on a branch. Nothing is looked at yet.
func Open(o Options) *Log { return &Log{o: o} }

// Tip is what a log is at.
type Tip struct {
	Commit string // "" for a branch that is not there yet
	log    *Log
	before string // what it was at when it was last looked at, "" for never
}

// File is a file of the tip; see Clone.File.
func (t Tip) File(ctx context.Context, name string, limit int64) ([]byte, error) {
	return t.log.clone.File(ctx, name, limit)
}

// Read fetches the branch and calls f with what it is at. Once f has returned without an error, that is remembered. An error says
// which branch it is of, and begins with its name.
func (l *Log) Read(ctx context.Context, f func(Tip) error) error {
	return l.locked(ctx, func() error {
		t, err := l.refresh(ctx)
		if err == nil {
			err = f(t)
		}
		if err != nil {
			return err
		}
		return l.keep(ctx, t.Commit)
	})
}

// Append commits and pushes what change makes of the tip. Where somebody else pushed meanwhile, it is called again with what is
// there then; where that happens more often than is right for a while, it is a fault.Transient. When Append returns without an
// error, what change made last is there to stay.
func (l *Log) Append(ctx context.Context, change func(Tip) (Change, error)) error {
	return l.locked(ctx, func() error { return l.append(ctx, change) })
}

func (l *Log) append(ctx context.Context, change func(Tip) (Change, error)) error {
	for round := 1; ; round++ {
		t, err := l.refresh(ctx)
		if err != nil {
			return err
		}
		next, err := change(t)
		if err != nil {
			return err
		}
		commit, err := l.clone.Commit(ctx, next)
		if err != nil {
			return err
		}
		behind, err := l.clone.Push(ctx, commit, false)
		if err == nil {
			return l.keep(ctx, commit)
		}
		if !behind {
			// The answer may be what was lost, and not the commit.
			if arrived, lookErr := l.arrived(ctx, commit); lookErr == nil && arrived {
				return nil
			}
			return err
		}
		if round >= rounds {
			return err
		}
		if err := Pause(ctx, round, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// Pause waits before the next of several rounds, after a push that came second: for some time of up to step for each round so far,
// and ten steps, so that of many who wait not all push at once again.
func Pause(ctx context.Context, round int, step time.Duration) error {
	return Wait(ctx, 0, time.Duration(min(round, 10))*step)
}

// Wait waits for some time, and for up to some more, so that not all who wait go on at once.
func Wait(ctx context.Context, least, more time.Duration) error {
	select {
	case <-ctx.Done():
		return interrupted(ctx)
	case <-time.After(least + rand.N(more)):
		return nil
	}
}

// arrived reports whether the branch has the commit.
func (l *Log) arrived(ctx context.Context, commit string) (bool, error) {
	t, err := l.refresh(ctx)
	if err != nil || t.Commit == "" {
		return false, err
	}
	out, err := l.clone.git().Run(ctx, nil, "rev-list", "--first-parent", fmt.Sprintf("--max-count=%d", maxHistory), t.Commit, "--")
	return err == nil && slices.Contains(strings.Fields(string(out)), commit), err
}

func interrupted(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return fault.New(fault.Transient, context.Cause(ctx))
}

// locked runs f with the clone to itself.
func (l *Log) locked(ctx context.Context, f func() error) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	where := "its remote"
	defer func() {
		if err != nil {
			err = fmt.Errorf("branch %.80q of %s: %w", l.o.Branch, where, err)
		}
	}()
	if err := interrupted(ctx); err != nil {
		return err
	}
	if !l.prepared {
		if err := l.check(); err != nil {
			return err
		}
		if l.clone.Git, err = git.New(git.Unattended(git.Remote(l.o.Environ, l.o.Remote, l.o.Pass...)), l.o.Dir, Needs); err != nil {
			return err
		}
		l.clone.Git.Hide = l.at.Hide
		// One folder may serve several logs.
		sum := sha256.Sum256([]byte(l.at.Shown + "\n" + l.o.Branch))
		l.clone.Dir = filepath.Join(l.o.Dir, "branch-"+hex.EncodeToString(sum[:6])+".git")
	}
	where = l.at.Shown
	unlock, err := l.clone.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if !l.prepared {
		if err := l.prepare(ctx); err != nil {
			return err
		}
		l.prepared = true
	}
	return f()
}

// prepare makes the clone, or finds the one that an earlier log left there.
func (l *Log) prepare(ctx context.Context) error {
	if err := l.clone.Git.CheckVersion(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(l.clone.Dir, "HEAD")); !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Usage, err)
	}
	return l.clone.Init(ctx)
}

// refresh is what the branch is at now.
func (l *Log) refresh(ctx context.Context) (Tip, error) {
	before, err := l.seen(ctx)
	if err != nil {
		return Tip{}, err
	}
	at, err := l.clone.Look(ctx)
	if err != nil {
		return Tip{}, err
	}
	switch {
	case at == "" && before != "":
		return Tip{}, fault.Errorf(fault.Mismatch, "the branch is gone, and it was at commit %s: push that commit from %s, or remove that folder if it was meant to begin again", before, l.clone.Dir)
	case at != "" && at == before:
		l.clone.head = at
	default:
		if err := l.clone.Fetch(ctx); err != nil {
			return Tip{}, err
		}
	}
	return Tip{Commit: l.clone.Head(), log: l, before: before}, nil
}

// keep remembers how far the branch goes.
func (l *Log) keep(ctx context.Context, commit string) error {
	if commit == "" {
		return nil
	}
	_, err := l.clone.git().Run(ctx, nil, "update-ref", "--no-deref", seen, commit)
	return err
}

// seen is the commit that the branch was at when it was last looked at; "" for none.
func (l *Log) seen(ctx context.Context) (string, error) {
	out, err := l.clone.git().Run(ctx, nil, "for-each-ref", "--format=%(objectname)", "--", seen)
	return strings.TrimSpace(string(out)), err
}

// Grown tells which commit did more to a file than add to its end; content is what the tip has of it. What an earlier commit had
// must be the beginning of that, and git's own digests say whether it is: none of the earlier ones is read. What was found
// whole before is not looked at again. A file that was cut or changed is a fault.Mismatch.
func (t Tip) Grown(ctx context.Context, name string, content []byte) error {
	if t.Commit == "" || t.Commit == t.before {
		return nil
	}
	g := t.log.clone.git()
	out, err := g.Run(ctx, nil, "rev-list", "--first-parent", fmt.Sprintf("--max-count=%d", maxHistory+1), t.Commit, "--")
	if err != nil {
		return err
	}
	commits := strings.Fields(string(out))
	rewritten := t.before != ""
	if i := slices.Index(commits, t.before); i >= 0 { // which was looked at with all that is below it
		commits, rewritten = commits[:i+1], false
	}
	ask := commits
	if rewritten {
		ask = append(ask[:len(ask):len(ask)], t.before)
	}
	versions, err := t.log.versions(ctx, name, ask)
	if err != nil {
		return err
	}
	for i := range versions {
		if i > 0 && versions[i].id == versions[i-1].id {
			versions[i].kept = versions[i-1].kept
		} else {
			versions[i].kept = versions[i].begins(content)
		}
	}
	if rewritten && !versions[len(commits)].kept {
		return fault.Errorf(fault.Mismatch, "the branch was rewritten: it was at commit %s, and not all entries of that are in commit %s; push the former again from %s, or remove that folder if that was meant",
			t.before, t.Commit, t.log.clone.Dir)
	}
	for i := range len(commits) - 1 {
		// The first one from the top that is not the beginning of what is there now: its child, which is, changed it.
		if parent := versions[i+1]; !parent.kept || parent.size > versions[i].size {
			return fault.Errorf(fault.Mismatch, "commit %s changes or removes entries that its parent %s has: %s only grows, so put the branch back on the parent, or on a copy that you trust",
				commits[i], commits[i+1], name)
		}
	}
	return nil
}

// past is a file as a commit has it.
type past struct {
	id   string // of the blob; "" for no file
	size int
	kept bool // it is the beginning of what is there now
}

// versions are what the commits have of a file.
func (l *Log) versions(ctx context.Context, name string, commits []string) ([]past, error) {
	var names bytes.Buffer
	for _, c := range commits {
		fmt.Fprintf(&names, "%s:%s\n", c, name)
	}
	out, err := l.clone.git().Run(ctx, &names, "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)")
	if err != nil {
		return nil, err
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(commits) {
		return nil, fault.Errorf(fault.Git, "running git cat-file: %d answers to %d questions", len(answers), len(commits))
	}
	versions := make([]past, len(commits))
	for i, a := range answers {
		if versions[i], err = parsePast(name, a); err != nil {
			return nil, fmt.Errorf("commit %s: %w", commits[i], err)
		}
	}
	return versions, nil
}

func parsePast(name, answer string) (past, error) {
	if strings.HasSuffix(answer, " missing") {
		return past{}, nil
	}
	var p past
	var kind string
	if _, err := fmt.Sscanf(answer, "%s %s %d", &p.id, &kind, &p.size); err != nil || !git.IsObject(p.id) || p.size < 0 {
		return past{}, fault.Errorf(fault.Git, "running git cat-file: it answers %.120q", answer)
	}
	if kind != "blob" {
		return past{}, fault.Errorf(fault.Mismatch, "%s is a %s and not a file", name, kind)
	}
	return p, nil
}

// begins reports whether content begins with it. The name of a blob is the digest of its size and its bytes
// (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects#_object_storage); whoever could make another blob of the same
// name could also have git take the one for the other.
func (p past) begins(content []byte) bool {
	if p.id == "" {
		return true
	}
	if p.size > len(content) {
		return false
	}
	var h hash.Hash = sha1.New()
	if len(p.id) == 2*sha256.Size {
		h = sha256.New()
	}
	fmt.Fprintf(h, "blob %d\x00", p.size)
	h.Write(content[:p.size])
	return hex.EncodeToString(h.Sum(nil)) == p.id
}

var authors = regexp.MustCompile(`^([^<>\x00-\x1f]*[^<>\x00-\x20]) <([^<>\x00-\x20]+)>$`)

// check tells what in the options cannot be meant, and takes them apart.
func (l *Log) check() error {
	if l.o.Dir == "" {
		return fault.Errorf(fault.Usage, "it needs a folder to work in")
	}
	if err := CheckName(l.o.Branch); err != nil {
		return err
	}
	author := authors.FindStringSubmatch(l.o.Author)
	if author == nil {
		return fault.Errorf(fault.Usage, "%.80q is not an author; write `name <address>`", l.o.Author)
	}
	dir, err := filepath.Abs(l.o.Dir)
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	l.o.Dir = dir
	l.clone.Branch, l.clone.Author, l.clone.Email = l.o.Branch, author[1], author[2]
	l.at, err = ParseAddress(l.o.Remote)
	l.clone.Remote = l.at.Remote
	return err
}
