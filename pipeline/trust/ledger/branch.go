package ledger

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
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// BranchOptions say which branch a ledger is on, and who writes there.
type BranchOptions struct {
	Remote string // URL or path of the git repository
	Branch string
	// Environ is the environment, as of os.Environ. git is looked for in its PATH, and finds its credentials as it does
	// elsewhere: by GIT_ASKPASS, a credential helper or an SSH agent, but never by asking at a terminal.
	Environ []string
	// Dir is a folder to work in, which the caller makes and removes. While it stays, it remembers how far the branch went,
	// and a branch that has fewer entries than that is noticed.
	Dir    string
	Author string // name <address>
}

const (
	// rounds is how often an entry is added again because somebody else was faster.
	rounds = 20
	// maxHistory is how many commits of the branch are looked at, the newest ones.
	maxHistory = 10_000
	// branchPatience is how long another process that works in the same folder is waited for.
	branchPatience = 10 * time.Minute
)

// The refs of the clone.
const (
	theirs = "refs/slipway/theirs" // what the branch is at
	seen   = "refs/slipway/seen"   // what it was at when its history was last found whole
)

// branch is a ledger on a branch.
type branch struct {
	o               BranchOptions
	remote, shown   string // the latter without a password
	secrets         []string
	author, email   string
	program, dir    string
	env             []string
	mu              sync.Mutex
	prepared, known bool
	last            tip // if known
}

// tip is what the branch is at.
type tip struct {
	commit string // "" for a branch that is not there yet
	tree   []byte // of the commit, without the ledger, as of ls-tree -z
	ledger Ledger
}

// OpenBranch is the ledger at the root of a git branch. Each entry is a commit, pushed on top of what is there and never
// by force; a branch that is not there yet is begun with it and holds nothing else. Reading also looks at how the branch
// came about: a commit that did more to the ledger than add to its end is a fault.Mismatch.
func OpenBranch(o BranchOptions) Store { return &branch{o: o} }

// Read fetches the branch.
func (s *branch) Read(ctx context.Context) (Ledger, error) {
	var l Ledger
	err := s.locked(ctx, "reading", func() error {
		t, err := s.refresh(ctx)
		l = t.ledger
		return err
	})
	return l, err
}

// Append commits and pushes. Where somebody else pushed meanwhile, the entry is put behind theirs; where that happens
// more often than is right for a while, it is a fault.Transient.
func (s *branch) Append(ctx context.Context, e Entry) error {
	return s.locked(ctx, "writing", func() error { return s.append(ctx, e) })
}

// locked runs f with the clone to itself.
func (s *branch) locked(ctx context.Context, doing string, f func() error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	where := "its remote"
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s ledger on branch %s of %s: %w", doing, tidy(s.o.Branch, 80), where, err)
		}
	}()
	if err := interrupted(ctx); err != nil {
		return err
	}
	if !s.prepared {
		s.secrets = nil
		if err := s.check(); err != nil {
			return err
		}
		if s.program, err = s.find(); err != nil {
			return err
		}
		s.env = s.environment()
		// One folder may serve several ledgers.
		s.dir = filepath.Join(s.o.Dir, "ledger-"+artifact.Sum([]byte(s.shown+"\n"+s.o.Branch)).Short()+".git")
	}
	where = s.shown
	unlock, err := lock(ctx, s.dir+".lock", branchPatience)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if !s.prepared {
		if err := s.prepare(ctx); err != nil {
			return err
		}
		s.prepared = true
	}
	return f()
}

// prepare makes the clone, or finds the one that an earlier store left there.
func (s *branch) prepare(ctx context.Context) error {
	if err := s.checkVersion(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.dir, "HEAD")); !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Usage, err)
	}
	// No template, which could have hooks.
	_, err := s.git(ctx, nil, nil, "init", "--quiet", "--bare", "--template=", "--object-format=sha1")
	return err
}

// refresh is what the branch is at now.
func (s *branch) refresh(ctx context.Context) (tip, error) {
	ref := "refs/heads/" + s.o.Branch
	out, err := s.git(ctx, nil, nil, "ls-remote", "--", remoteName, ref)
	if err != nil {
		return tip{}, failure(err)
	}
	at := ""
	for line := range strings.Lines(string(out)) {
		if id, name, _ := strings.Cut(strings.TrimSpace(line), "\t"); name == ref { // git takes other/refs/heads/x for it, too
			if !isObject(id) {
				return tip{}, fault.Errorf(fault.Transient, "the remote says that the branch is at %.60q", id)
			}
			at = id
		}
	}
	if s.known && s.last.commit == at {
		return s.last, nil
	}
	s.known = false
	before, err := s.seen(ctx)
	if err != nil {
		return tip{}, err
	}
	if at == "" {
		if before != "" {
			return tip{}, fault.Errorf(fault.Mismatch, "the branch is gone, and it was at commit %s: push that commit from %s, or remove that folder if the ledger was to begin anew", before, s.dir)
		}
		s.last, s.known = tip{}, true
		return s.last, nil
	}
	if _, err := s.git(ctx, nil, nil, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--", remoteName, "+"+ref+":"+theirs); err != nil {
		return tip{}, failure(err)
	}
	// What the branch is at by now, if it moved in between.
	if at, err = s.id(ctx, nil, nil, "rev-parse", "--verify", theirs+"^{commit}"); err != nil {
		return tip{}, err
	}
	t, content, err := s.read(ctx, at)
	if err != nil {
		return tip{}, err
	}
	if err := s.history(ctx, at, before, content); err != nil {
		return tip{}, err
	}
	if t.ledger, err = Parse(content); err != nil {
		return tip{}, fmt.Errorf("commit %s: %w", at, err)
	}
	return t, s.keep(ctx, t)
}

// keep remembers how far the branch goes.
func (s *branch) keep(ctx context.Context, t tip) error {
	if _, err := s.git(ctx, nil, nil, "update-ref", "--no-deref", seen, t.commit); err != nil {
		return err
	}
	s.last, s.known = t, true
	return nil
}

// seen is the commit that the branch was at when it was last looked at; "" for none.
func (s *branch) seen(ctx context.Context) (string, error) {
	out, err := s.git(ctx, nil, nil, "for-each-ref", "--format=%(objectname)", "--", seen)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(out)), nil
}

// read takes the tree of a commit apart: the ledger, and all else.
func (s *branch) read(ctx context.Context, commit string) (tip, []byte, error) {
	out, err := s.git(ctx, nil, nil, "ls-tree", "-z", "--full-tree", commit)
	if err != nil {
		return tip{}, nil, err
	}
	t, blob := tip{commit: commit}, ""
	for entry := range strings.SplitAfterSeq(string(out), "\x00") {
		meta, name, _ := strings.Cut(strings.TrimSuffix(entry, "\x00"), "\t")
		if name != FileName {
			t.tree = append(t.tree, entry...)
			continue
		}
		fields := strings.Fields(meta)
		if len(fields) != 3 || !strings.HasPrefix(fields[0], "100") || !isObject(fields[2]) {
			return tip{}, nil, fault.Errorf(fault.Mismatch, "%s of commit %s is not a file", FileName, commit)
		}
		blob = fields[2]
	}
	if blob == "" {
		return t, nil, nil
	}
	size, err := s.git(ctx, nil, nil, "cat-file", "-s", blob)
	if err != nil {
		return tip{}, nil, err
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(size))); err != nil || n > maxSize {
		return tip{}, nil, fault.Errorf(fault.Mismatch, "%s of commit %s has %.20s bytes, more than %d", FileName, commit, bytes.TrimSpace(size), maxSize)
	}
	content, err := s.git(ctx, nil, nil, "cat-file", "blob", blob)
	return t, content, err
}

// history tells which commit did more to the ledger than add to its end. content is the ledger of head. What an earlier
// ledger had must be the beginning of it, and git's own digests say whether it is: none of the earlier ones is read.
func (s *branch) history(ctx context.Context, head, before string, content []byte) error {
	out, err := s.git(ctx, nil, nil, "rev-list", "--first-parent", fmt.Sprintf("--max-count=%d", maxHistory+1), head, "--")
	if err != nil {
		return err
	}
	commits := strings.Fields(string(out))
	rewritten := before != ""
	for i, c := range commits {
		if c == before { // which was looked at with all that is below it
			commits, rewritten = commits[:i+1], false
			break
		}
	}
	ask := commits
	if rewritten {
		ask = append(ask[:len(ask):len(ask)], before)
	}
	var names bytes.Buffer
	for _, c := range ask {
		fmt.Fprintf(&names, "%s:%s\n", c, FileName)
	}
	if out, err = s.git(ctx, &names, nil, "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)"); err != nil {
		return err
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(ask) {
		return fault.Errorf(fault.Git, "running git cat-file: %d answers to %d questions", len(answers), len(ask))
	}
	versions := make([]past, len(ask))
	for i, a := range answers {
		if versions[i], err = parsePast(a); err != nil {
			return fmt.Errorf("commit %s: %w", ask[i], err)
		}
		if i > 0 && versions[i].id == versions[i-1].id {
			versions[i].kept = versions[i-1].kept
		} else {
			versions[i].kept = versions[i].begins(content)
		}
	}
	if rewritten && !versions[len(commits)].kept {
		return fault.Errorf(fault.Mismatch, "the branch was rewritten: it was at commit %s, and not all entries of that are in commit %s; push the former again from %s, or remove that folder if that was meant",
			before, head, s.dir)
	}
	for i := range len(commits) - 1 {
		// The first one from the top that is not the beginning of what is there now: its child, which is, changed it.
		if parent := versions[i+1]; !parent.kept || parent.size > versions[i].size {
			return fault.Errorf(fault.Mismatch, "commit %s changes or removes entries that its parent %s has: the ledger only grows, so put the branch back on the parent, or on a copy that you trust",
				commits[i], commits[i+1])
		}
	}
	return nil
}

// past is the ledger as a commit has it.
type past struct {
	id   string // of the blob; "" for no ledger
	size int
	kept bool // it is the beginning of what is there now
}

func parsePast(answer string) (past, error) {
	if strings.HasSuffix(answer, " missing") {
		return past{}, nil
	}
	var p past
	var kind string
	if _, err := fmt.Sscanf(answer, "%s %s %d", &p.id, &kind, &p.size); err != nil || !isObject(p.id) || p.size < 0 {
		return past{}, fault.Errorf(fault.Git, "running git cat-file: it answers %.120q", answer)
	}
	if kind != "blob" {
		return past{}, fault.Errorf(fault.Mismatch, "%s is a %s and not a file", FileName, kind)
	}
	return p, nil
}

// begins tells whether content begins with it. The name of a blob is the digest of its size and its bytes
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

func (s *branch) append(ctx context.Context, e Entry) error {
	for round := 1; ; round++ {
		t, err := s.refresh(ctx)
		if err != nil {
			return err
		}
		if t.ledger, err = t.ledger.Append(e); err != nil {
			return err
		}
		parent := t.commit
		if t.commit, err = s.commit(ctx, t, parent); err != nil {
			return err
		}
		behind, err := s.push(ctx, t.commit)
		if err == nil {
			return s.keep(ctx, t)
		}
		if !behind {
			// The answer may be what was lost, and not the entry.
			if arrived, lookErr := s.arrived(ctx, t.commit); lookErr == nil && arrived {
				return nil
			}
			return err
		}
		if round >= rounds {
			return err
		}
		pause := time.Duration(rand.Int64N(int64(min(round, 10)) * int64(100*time.Millisecond)))
		select {
		case <-ctx.Done():
			return interrupted(ctx)
		case <-time.After(pause):
		}
	}
}

// commit makes the commit that adds the last entry of t to its parent. It is a function of the two and of the author.
func (s *branch) commit(ctx context.Context, t tip, parent string) (string, error) {
	blob, err := s.id(ctx, bytes.NewReader(t.ledger.lines), nil, "hash-object", "-w", "--stdin")
	if err != nil {
		return "", err
	}
	tree, err := s.id(ctx, strings.NewReader(fmt.Sprintf("%s100644 blob %s\t%s\x00", t.tree, blob, FileName)), nil, "mktree", "-z")
	if err != nil {
		return "", err
	}
	e := t.ledger.Entries[len(t.ledger.Entries)-1]
	date := fmt.Sprintf("@%d +0000", e.Time.Unix())
	args := []string{"commit-tree", "-F", "-"}
	if parent != "" {
		args = append(args, "-p", parent)
	}
	return s.id(ctx, strings.NewReader(fmt.Sprintf("reproduced: %s %s %s\n", e.Name, e.Version, e.Verdict)), []string{
		"GIT_AUTHOR_NAME=" + s.author, "GIT_AUTHOR_EMAIL=" + s.email, "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=" + s.author, "GIT_COMMITTER_EMAIL=" + s.email, "GIT_COMMITTER_DATE=" + date,
	}, append(args, tree)...)
}

// push moves the branch to a commit that is ahead of it. It tells whether the branch had moved.
func (s *branch) push(ctx context.Context, commit string) (behind bool, err error) {
	out, err := s.git(ctx, nil, nil, "push", "--porcelain", "--no-verify", "--", remoteName, commit+":refs/heads/"+s.o.Branch)
	if e, ok := errors.AsType[*gitError](err); ok && moved.MatchString(e.said) {
		return true, fault.New(fault.Transient, fmt.Errorf("%w; others push all the time, or something holds the branch: try again", e))
	}
	if err != nil {
		return false, failure(err)
	}
	// Somebody else may have said the very same in the same second. Theirs is there, and ours goes behind it.
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "=\t") {
			return true, fault.Errorf(fault.Transient, "others push the same entry all the time: try again")
		}
	}
	return false, nil
}

// arrived tells whether the branch has the commit.
func (s *branch) arrived(ctx context.Context, commit string) (bool, error) {
	t, err := s.refresh(ctx)
	if err != nil || t.commit == "" {
		return false, err
	}
	out, err := s.git(ctx, nil, nil, "rev-list", "--first-parent", fmt.Sprintf("--max-count=%d", maxHistory), t.commit, "--")
	return err == nil && strings.Contains(string(out), commit), err
}
