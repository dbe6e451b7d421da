// Package store keeps environments in a git repository: on the branch log what was done, line by line, with the entries that this
// comes to; on a branch for each stage its entries alone, for people and their tools; and on main the rules, which people
// change.
//
// The log decides. All branches of a move are pushed at once and never forced, so that of two who move something at once one
// is refused as a whole, and decides again on what the other has done. Whoever is killed has moved everything or nothing.
//
// Processes that share a folder share its work: a request is written down there first, and whoever has the lock moves all that
// wait in one commit.
package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
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
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// The branches that every store has; the others are those of its stages.
const (
	Main = "main"
	Log  = "log"
)

const (
	perFile   = 256 // lines of a file of the log
	maxFile   = perFile * environment.MaxLine
	maxRules  = 256 << 10
	maxKey    = 64 << 10
	maxKeys   = 1000
	maxHead   = 4 << 10
	maxBatch  = 250 // requests in one commit
	minOthers = 50  // of others among them, however many are our own
	rounds    = 50  // how often a batch is decided again because somebody else was faster
	validity  = 10 * time.Minute
	maxBehind = 5 * time.Minute // that a clock may be behind the log
	unclaimed = 24 * time.Hour  // that an answer stays for whoever asked
	keysDir   = "keys/"
	headFile  = "head.json"
	author    = "slipway"
	authorsAt = "slipway@localhost"
)

var storeIDs = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Options say where a store is.
type Options struct {
	Remote  string   // URL or path of its repository
	Environ []string // as of os.Environ; see git.Remote
	Pass    []string // names of variables that a credential helper reads
	// Dir is a folder to work in, which stays: it has the clone, the requests that wait, and how far the log went when it was last
	// seen. Several processes may share it.
	Dir string
	// Now is the clock.
	Now func() time.Time
	// Admit looks at a release from outside that a merged pull request brings, and says why it is not the one of its entry. What it
	// cannot reach is a fault.Transient, and waits.
	Admit func(context.Context, View, environment.Entry) error
}

// Store is a release store. It is not for several goroutines at once; several processes may have the same Dir.
type Store struct {
	o      Options
	at     branch.Address
	group  branch.Group
	view   View
	read   folded
	kept   int // lines of the state that was kept last
	lessee lessee
	looks  looks
	brief  bool             // that of what is new the log will do, this time
	past   map[string]*View // rules and keys by commit of main, nil for a commit of something else
}

// View is what a store is at.
type View struct {
	State       *environment.State
	Rules       environment.Rules // of a component the key is its fingerprint
	RulesCommit string
	Keys        map[string]signature.PublicKey // those that the store knows, by fingerprint
	Store       string                         // its id, "" for one that was made before there were any
}

// Open is the store at a remote. Nothing is looked at yet.
func Open(o Options) (*Store, error) {
	at, err := branch.ParseAddress(o.Remote)
	if err != nil {
		return nil, fmt.Errorf("the store: %w", err)
	}
	for _, dir := range []string{o.Dir, filepath.Join(o.Dir, "outbox"), filepath.Join(o.Dir, "answers")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fault.New(fault.Usage, err)
		}
	}
	g, err := git.New(git.Unattended(git.Remote(o.Environ, o.Remote, o.Pass...)), o.Dir, branch.Needs)
	if err != nil {
		return nil, err
	}
	g.Hide = at.Hide
	return &Store{o: o, at: at, group: branch.Group{
		Git: g, Dir: filepath.Join(o.Dir, "store.git"), Remote: at.Remote, Branches: []string{Main}, Author: author, Email: authorsAt,
	}}, nil
}

// Remote is the URL or the path of the store's repository.
func (s *Store) Remote() string { return s.at.Remote }

// Init makes a store of an empty repository, or of one that has a main branch and none of the others. It has the rules and the
// public keys in the files.
func (s *Store) Init(ctx context.Context, rules []byte, keys map[string][]byte) error {
	r, err := environment.ParseRules(environment.RulesFile, rules)
	if err != nil {
		return err
	}
	files := map[string][]byte{environment.RulesFile: rules}
	for name, b := range keys {
		if _, err := signature.ParsePublicKey(b); err != nil {
			return fault.New(fault.Usage, fmt.Errorf("%s: %w", name, err))
		}
		files[keysDir+name] = b
	}
	id := make([]byte, 16)
	rand.Read(id)
	return s.group.Locked(ctx, func() error {
		s.group.Branches = append([]string{Main, Log}, r.StageNames()...)
		if err := s.group.Fetch(ctx); err != nil {
			return err
		}
		for _, b := range s.group.Branches[1:] {
			if s.group.Head(b) != "" {
				return fault.Errorf(fault.Conflict, "%s has a branch %s already: it is a store, or something else is there", s.at.Shown, b)
			}
		}
		there, err := s.group.File(ctx, s.group.Head(Main), environment.RulesFile, maxRules)
		if err != nil {
			return err
		}
		if there != nil && !bytes.Equal(there, rules) {
			return fault.Errorf(fault.Conflict, "branch %s of %s has an %s already: name a file with the same rules, with --rules", Main, s.at.Shown, environment.RulesFile)
		}
		head, err := canonjson.Indent(head{Store: hex.EncodeToString(id)})
		if err != nil {
			return err
		}
		now := s.o.Now()
		change := branch.Change{Files: files, Message: "release store: rules", Time: now}
		empty := branch.Change{Files: map[string][]byte{headFile: head}, Message: "release store", Time: now}
		commits := []branch.Commit{{Onto: s.group.Head(Main), Change: change}, {Change: empty}}
		for range r.Stages {
			commits = append(commits, branch.Commit{Change: branch.Change{Message: "release store", Time: now}})
		}
		ids, err := s.group.Commit(ctx, commits)
		if err != nil {
			return err
		}
		to := map[string]string{}
		for i, b := range s.group.Branches {
			to[b] = ids[i]
		}
		_, err = s.group.Push(ctx, to)
		return err
	})
}

// head says how far a log goes, and of which store it is.
type head struct {
	Count  int             `json:"count"`
	Digest artifact.Digest `json:"digest,omitempty"`
	Store  string          `json:"store,omitempty"` // 32 hexadecimal digits
}

// Read calls f with what the store is at. The state is for reading.
func (s *Store) Read(ctx context.Context, f func(View) error) error {
	return s.group.Locked(ctx, func() error {
		if err := s.refresh(ctx); err != nil {
			return err
		}
		return f(s.view)
	})
}

// refresh reads what is new.
func (s *Store) refresh(ctx context.Context) error {
	log := s.group.Head(Log)
	if err := s.look(ctx); err != nil {
		return err
	}
	if s.view.State != nil && s.group.Head(Log) == log && !s.due() {
		return nil
	}
	return s.readLog(ctx)
}

// look reads what the branches are at, and the rules.
func (s *Store) look(ctx context.Context) error {
	if err := s.group.Fetch(ctx); err != nil {
		return err
	}
	if s.group.Head(Main) == "" || s.group.At(Log) == "" {
		if last, err := s.lastSeen(); err != nil || last.Count > 0 {
			return errors.Join(err, fault.Errorf(fault.Mismatch, "%s has lost its branch %s or %s; the log had %d lines, and %s has the branches as they were", s.at.Shown, Main, Log, last.Count, s.group.Dir))
		}
		return fault.Errorf(fault.Usage, "%s is not a release store: make one with slipway store init", s.at.Shown)
	}
	// Again where main has moved meanwhile: the lines that are there may have been decided by what it is at now.
	for {
		at := s.group.Head(Main)
		if at != s.view.RulesCommit {
			if err := s.readRules(ctx, at); err != nil {
				return err
			}
		}
		more := []string{Main, Log}
		if !s.brief {
			more = append(more, s.view.Rules.StageNames()...) // which are known by now
		}
		if !slices.Equal(more, s.group.Branches) {
			if err := s.group.Follow(ctx, more); err != nil {
				return err
			}
		}
		if s.group.Head(Main) == at {
			return nil
		}
	}
}

func (s *Store) readRules(ctx context.Context, commit string) error {
	r, keys, err := s.rulesAt(ctx, commit)
	if err != nil {
		return err
	}
	s.view.Rules, s.view.RulesCommit, s.view.Keys = r, commit, keys
	return nil
}

// rulesAt are the rules of a commit and the keys beside them. Of a component the key is its fingerprint.
func (s *Store) rulesAt(ctx context.Context, commit string) (r environment.Rules, keys map[string]signature.PublicKey, err error) {
	b, err := s.group.File(ctx, commit, environment.RulesFile, maxRules)
	if err != nil {
		return r, nil, err
	}
	if b == nil {
		return r, nil, fault.Errorf(fault.Usage, "branch %s of the store has no %s", Main, environment.RulesFile)
	}
	if r, err = environment.ParseRules(environment.RulesFile, b); err != nil {
		return r, nil, err
	}
	keys = map[string]signature.PublicKey{}
	named := map[string]signature.PublicKey{}
	files, err := s.group.Files(ctx, commit, keysDir)
	if err == nil && len(files) > maxKeys {
		err = fault.Errorf(fault.Usage, "%d files in %s of the store; at most %d are read", len(files), keysDir, maxKeys)
	}
	if err == nil {
		err = s.group.Read(ctx, files, maxKey, func(f branch.Blob, b []byte) error {
			key, err := signature.ParsePublicKey(b)
			if err != nil {
				return fault.New(fault.Usage, fmt.Errorf("%s: %w", f.Path, err))
			}
			keys[string(key.Fingerprint())], named[f.Path] = key, key
			return nil
		})
	}
	if err != nil {
		return r, nil, err
	}
	// A component names a file with its key, and entries the key itself.
	for name, c := range r.Components {
		if c.Key == "" {
			continue
		}
		key, ok := named[c.Key]
		if !ok {
			return r, nil, fault.Errorf(fault.Usage, "%s: component %s: there is no key %.80q; put it into %s", environment.RulesFile, name, c.Key, keysDir)
		}
		c.Key = string(key.Fingerprint())
		r.Components[name] = c
	}
	return r, keys, nil
}

// readLog folds what is new of the log. A log that does not go on from where it was last seen, by this folder, is a
// fault.Mismatch, and so is an approval or a report that its writer has not signed: those count because of who made them.
func (s *Store) readLog(ctx context.Context) error {
	last, err := s.lastSeen()
	if err != nil {
		return err
	}
	state, read := s.view.State, s.read
	if state == nil {
		state, read = s.keptState()
	}
	rules := ""
	return s.fold(ctx, state, read, last, func(l environment.Line) error {
		before := rules
		rules = l.Rules
		if l.N <= last.Count || l.Kind != environment.Approve && l.Kind != environment.Evidence {
			return nil
		}
		return s.checkSigned(ctx, l, before)
	})
}

// fold has the state be that of the log: from one that was folded of the beginning of these very files, and else from nothing.
func (s *Store) fold(ctx context.Context, state *environment.State, read folded, last head, hold func(environment.Line) error) error {
	s.view.State = nil // until all is well
	files, err := s.group.Files(ctx, s.group.Head(Log), "log/")
	if err != nil {
		return err
	}
	for i, f := range files {
		if want := logFile(i * perFile); f.Path != want {
			return fault.Errorf(fault.Mismatch, "the log has %.80q where %s should be", f.Path, want)
		}
	}
	if s.view.Store, err = s.storeID(ctx, last); err != nil {
		return err
	}
	begins, err := s.begins(ctx, files, read)
	if err != nil {
		return err
	}
	rewritten := !begins && len(read.Files) > 0
	now := s.o.Now()
	if !begins || ahead(state.Time, now) { // as of one that was kept while the clock was ahead
		state, read = &environment.State{}, folded{}
	}
	from, size := max(len(read.Files)-1, 0), read.Last
	read.Files = slices.Clone(read.Files[:from])
	err = s.group.Read(ctx, files[from:], maxFile, func(f branch.Blob, b []byte) error {
		read.Files, read.Last = append(read.Files, f.ID), len(b)
		b, size = b[size:], 0
		return state.Fold(b, func(l environment.Line) error {
			if err := due(l, now); err != nil {
				return err
			}
			return hold(l)
		})
	})
	if err != nil && rewritten {
		err = fmt.Errorf("the log was rewritten: %w; %s has the branch as it was", err, s.group.Dir)
	}
	if err != nil {
		return err
	}
	if want := (state.Count + perFile - 1) / perFile; len(files) != want {
		return fault.Errorf(fault.Mismatch, "the log has %d files for %d lines", len(files), state.Count)
	}
	if err := s.goesOn(last, state.At(last.Count)); err != nil {
		return err
	}
	if err := s.remember(state); err != nil {
		return err
	}
	s.view.State, s.read = state, read
	s.keep()
	return nil
}

// goesOn refuses a log whose line that this folder saw last has another digest, "" for one that is gone.
func (s *Store) goesOn(last head, digest artifact.Digest) error {
	if digest == last.Digest {
		return nil
	}
	return fault.Errorf(fault.Mismatch, "the log was rewritten: line %d was %s and is %s; %s has the branch as it was; if it was taken off since this clock was ahead, remove %s", last.Count, last.Digest.Short(), cmp.Or(digest.Short(), "gone"), s.group.Dir, s.seen())
}

// storeID is the id of the store, which never changes.
func (s *Store) storeID(ctx context.Context, last head) (string, error) {
	b, err := s.group.File(ctx, s.group.Head(Log), headFile, maxHead)
	if err != nil {
		return "", err
	}
	var now head
	if b != nil {
		err = canonjson.Decode(b, &now)
	}
	if err == nil && now.Store != "" && !storeIDs.MatchString(now.Store) {
		err = fmt.Errorf("store %.80q is not the id of one", now.Store)
	}
	if err == nil && now.Store != last.Store && last != (head{}) {
		err = fmt.Errorf("this is store %s, and %s saw %s before: name the store that you mean, or remove that folder if another one is there now", cmp.Or(now.Store, "without an id"), s.o.Dir, cmp.Or(last.Store, "one without an id"))
	}
	if err != nil {
		return "", fault.New(fault.Mismatch, fmt.Errorf("%s of branch %s: %w", headFile, Log, err))
	}
	return now.Store, nil
}

// folded is what of a log a state is of: files as git calls them, the last one with as many bytes as it had then.
type folded struct {
	Files []string `json:"files"`
	Last  int      `json:"last"`
}

// begins reports whether the files of a log begin with what was folded: whoever has rewritten it has other files.
func (s *Store) begins(ctx context.Context, files []branch.Blob, read folded) (begins bool, err error) {
	end := len(read.Files) - 1
	if end < 0 || end >= len(files) {
		return false, nil
	}
	for i, id := range read.Files[:end] {
		if files[i].ID != id {
			return false, nil
		}
	}
	if files[end].ID == read.Files[end] {
		return true, nil
	}
	err = s.group.Read(ctx, files[end:end+1], maxFile, func(_ branch.Blob, b []byte) error {
		begins = len(b) >= read.Last && branch.BlobID(b[:read.Last]) == read.Files[end]
		return nil
	})
	return begins, err
}

func (s *Store) stateFile() string { return filepath.Join(s.o.Dir, "state") }

// keptState is the state that a command has kept; of no lines where there is none that can be used.
func (s *Store) keptState() (*environment.State, folded) {
	var read folded
	b, err := os.ReadFile(s.stateFile())
	if err == nil {
		var state *environment.State
		var of []byte
		if state, of, err = environment.Kept(b); err == nil && canonjson.Decode(of, &read) == nil {
			s.kept = state.Count
			return state, read
		}
	}
	s.kept = 0
	return &environment.State{}, folded{}
}

// due reports whether there are so many new lines that to write the state down is less than to read them each time: more of them, the
// larger the state is.
func (s *Store) due() bool { return s.view.State.Count >= s.kept+min(max(s.kept/64, 16), perFile) }

// keep writes the state down for those who come later, now and then: it is quicker read than its lines. Where that does not work they
// fold those.
func (s *Store) keep() {
	if !s.due() {
		return
	}
	of, err := canonjson.Encode(s.read)
	if err == nil {
		err = write(s.stateFile(), s.view.State.Keep(of))
	}
	if err == nil {
		s.kept = s.view.State.Count
	}
}

// logFile is the file that has the line after n others.
func logFile(n int) string { return fmt.Sprintf("log/%06d.jsonl", n/perFile) }

func (s *Store) seen() string { return filepath.Join(s.o.Dir, "seen.json") }

// lastSeen is how far the log went when this folder saw it last.
func (s *Store) lastSeen() (last head, err error) {
	b, err := os.ReadFile(s.seen())
	if errors.Is(err, fs.ErrNotExist) {
		return head{}, nil
	}
	if err == nil {
		err = canonjson.Decode(b, &last)
	}
	if err != nil {
		return head{}, fault.New(fault.Usage, fmt.Errorf("reading %s: %w", s.seen(), err))
	}
	return last, nil
}

func (s *Store) remember(state *environment.State) error {
	b, err := canonjson.Indent(head{state.Count, state.Digest, s.view.Store})
	if err != nil {
		return err
	}
	return fault.New(fault.Usage, write(s.seen(), b))
}

// waiting is a request on its way, with who signed it.
type waiting struct {
	Request string `json:"request"`
	Bundle  string `json:"bundle,omitempty"`

	id  string
	q   environment.Request
	ref branch.Ref // that has it in the queue
	bad error      // why it is no request
}

// Result is what became of a request.
type Result struct {
	environment.Answer
	Line int // that it became, 0 for none
	Err  error
}

// Ask has the rules decide a request and does what they allow. Who signs it may be nil. A request that is refused is an Answer
// and no error. Where it is not known whether the last push arrived the error is a fault.Transient: the same request asked for
// again is done once.
func (s *Store) Ask(ctx context.Context, q environment.Request, signer signature.Signer) (Result, error) {
	q.At = s.o.Now().UTC().Truncate(time.Second)
	q.Expires, q.Nonce = q.At.Add(validity), rand.Text()
	if signer != nil {
		q.By = environment.Identity{Key: string(signer.Public().Fingerprint())}
		var err error
		if q.Store, err = s.id(ctx); err != nil {
			return Result{}, err
		}
	}
	file, err := q.Encode()
	if err != nil {
		return Result{}, err
	}
	w := waiting{Request: string(file)}
	if signer != nil {
		bundle, err := signature.SignBlob(signer, file)
		if err != nil {
			return Result{}, err
		}
		b, err := bundle.Encode()
		if err != nil {
			return Result{}, err
		}
		w.Bundle = string(b)
	}
	id := environment.ID(file)
	b, err := canonjson.Encode(w)
	if err != nil {
		return Result{}, err
	}
	if err := write(filepath.Join(s.o.Dir, "outbox", id), b); err != nil {
		return Result{}, fault.New(fault.Usage, err)
	}
	var result Result
	wait, answered := context.WithCancel(ctx)
	defer answered()
	began := make(chan struct{})
	go s.untilAnswered(wait, id, began, answered)
	err = s.writing(wait, false, func() error {
		close(began)
		for { // the oldest come first, and there may be more of them than go into one commit
			r, ok, err := s.answer(id)
			if err != nil || ok {
				result = r
				return err
			}
			results, err := s.combine(ctx)
			if r, ok := results[id]; ok || err != nil {
				result = r
				return errors.Join(err, remove(filepath.Join(s.o.Dir, "answers", id)))
			}
			if _, err := os.Stat(filepath.Join(s.o.Dir, "outbox", id)); err != nil {
				return fault.New(fault.Usage, fmt.Errorf("another version of slipway took the request away: %w", err))
			}
		}
	})
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		r, ok, answerErr := s.answer(id)
		if result, err = r, answerErr; err == nil && !ok {
			err = fault.Errorf(fault.Usage, "another process took the answer away")
		}
		err = errors.Join(err, remove(filepath.Join(s.o.Dir, "outbox", id))) // which whoever left it was about to do
	}
	if err != nil {
		// Nobody does later what was said to have failed. If the push has arrived after all, the log has the request.
		return result, errors.Join(err, remove(filepath.Join(s.o.Dir, "outbox", id)))
	}
	return result, result.Err
}

// untilAnswered calls answered when somebody who has the lock leaves the answer to a request that waits for it, unless it has begun.
func (s *Store) untilAnswered(ctx context.Context, id string, began <-chan struct{}, answered func()) {
	for {
		select {
		case <-began:
			return
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
		if _, err := os.Stat(filepath.Join(s.o.Dir, "answers", id)); err == nil {
			answered()
			return
		}
	}
}

// id is the id of the store, which a signature is for.
func (s *Store) id(ctx context.Context) (string, error) {
	if last, err := s.lastSeen(); err != nil || last.Store != "" {
		return last.Store, err
	}
	var id string
	return id, s.Read(ctx, func(v View) error {
		id = v.Store
		return nil
	})
}

// answer is what somebody else has done with a request meanwhile.
func (s *Store) answer(id string) (Result, bool, error) {
	name := filepath.Join(s.o.Dir, "answers", id)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, false, nil
	}
	var a answered
	if err == nil {
		err = canonjson.Decode(b, &a)
	}
	if err != nil {
		return Result{}, false, fault.New(fault.Usage, err)
	}
	r := Result{Line: a.Line}
	r.Nothing, r.Code, r.Outcomes = a.Nothing, a.Code, a.Outcomes
	r.Answer.Line.Moves = a.Moves
	if a.Error != "" {
		r.Err = fault.New(a.Code, errors.New(a.Error))
	}
	return r, true, remove(name)
}

// answered is a Result for another process.
type answered struct {
	Line     int                   `json:"line"`
	Nothing  bool                  `json:"nothing"`
	Code     fault.Code            `json:"code"`
	Outcomes []environment.Outcome `json:"outcomes"`
	Moves    []environment.Move    `json:"moves"`
	Error    string                `json:"error"`
}

// outbox are the requests that wait, the oldest first. What cannot be read is taken away.
func (s *Store) outbox() ([]waiting, error) {
	list, err := os.ReadDir(filepath.Join(s.o.Dir, "outbox"))
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	var all []waiting
	for _, e := range list {
		name := filepath.Join(s.o.Dir, "outbox", e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			continue // which is being written
		}
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var w waiting
		if err == nil {
			err = canonjson.Decode(b, &w)
		}
		if err == nil {
			w.id = environment.ID([]byte(w.Request))
			w.q, err = environment.ParseRequest([]byte(w.Request))
		}
		if err != nil || w.id != e.Name() {
			if err := remove(name); err != nil {
				return nil, fault.New(fault.Usage, err)
			}
			continue
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b waiting) int { return a.q.At.Compare(b.q.At) })
	return all[:min(len(all), maxBatch)], nil
}

// answerAll leaves answers for those who wait, and takes their requests away.
func (s *Store) answerAll(results map[string]Result) error {
	for id, r := range results {
		a := answered{Line: r.Line, Nothing: r.Nothing, Code: r.Code, Outcomes: r.Outcomes, Moves: r.Answer.Line.Moves}
		if r.Err != nil {
			a.Error, a.Code = r.Err.Error(), fault.CodeOf(r.Err)
		}
		b, err := canonjson.Encode(a)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(s.o.Dir, "answers", id), b); err != nil {
			return fault.New(fault.Usage, err)
		}
		if err := remove(filepath.Join(s.o.Dir, "outbox", id)); err != nil {
			return fault.New(fault.Usage, err)
		}
	}
	return nil
}

// batched is what became of the requests of one commit.
type batched struct {
	results map[string]Result // of our own
	removed []string          // from the queue, with why
}

// batch decides our own requests and those in the queue, the oldest first, and pushes what comes of them.
func (s *Store) batch(ctx context.Context, own []waiting) (batched, error) {
	b := batched{results: map[string]Result{}}
	all, err := s.others(ctx)
	if err != nil {
		return b, err
	}
	w := s.begin()
	state, now := s.view.State, s.o.Now()
	if ahead(state.Time, now) { // by now: it was read before
		return b, fault.Errorf(fault.Transient, "this machine's clock says %s, and the last line of the log is of %s: set the clock", now.UTC().Format(time.RFC3339), state.Time.Format(time.RFC3339))
	}
	if now.Before(state.Time) { // as the line will have it, so that the rules say the same of it again
		now = state.Time
	}
	if err := s.adopt(ctx, w, now); err != nil {
		return b, err
	}
	ours := map[string]bool{}
	for _, q := range own {
		ours[q.id] = true
	}
	// Our own are in any case: others may have put as many before them as they like.
	all = slices.Concat(own, all[:min(len(all), max(maxBatch-len(own), minOthers))])
	slices.SortStableFunc(all, func(a, b waiting) int { return a.q.At.Compare(b.q.At) })
	for _, q := range all {
		if q.ref.Name == "" {
			b.results[q.id] = s.decide(ctx, w, q, now)
			continue
		}
		w.gone = append(w.gone, q.ref)
		if q.bad == nil && (ours[q.id] || state.Request(q.id) > 0) {
			continue
		}
		err := q.bad
		if err == nil {
			err = s.decideOther(ctx, w, q, now)
		}
		if err != nil {
			b.removed = append(b.removed, fmt.Sprintf("%s: %v", q.ref.Name, err))
		}
	}
	for _, stage := range s.view.Rules.StageNames() {
		if moves := environment.Expired(state, s.view.Rules, stage); len(w.lines) > 0 && len(moves) > 0 {
			for chunk := range slices.Chunk(moves, maxBatch) {
				file := fmt.Sprintf("expire %s %d", stage, state.Count)
				line := environment.Line{Time: now, Kind: environment.Expire, Request: environment.ID([]byte(file)), Rules: s.view.RulesCommit, Moves: chunk}
				if err := w.add(ctx, environment.Answer{Line: line}); err != nil {
					return b, err
				}
			}
		}
	}
	if len(w.lines) == 0 && len(w.gone) == 0 {
		return b, nil
	}
	return b, w.push(ctx, now)
}

// decide decides a request of our own.
func (s *Store) decide(ctx context.Context, w *writer, q waiting, now time.Time) Result {
	if n := s.view.State.Request(q.id); n > 0 { // whose answer was lost
		r, err := s.fromLog(ctx, n)
		return Result{Answer: r.Answer, Line: n, Err: err}
	}
	if err := s.holds(q); err != nil {
		return Result{Err: err}
	}
	a, err := environment.Decide(s.view.State, s.view.Rules, s.view.RulesCommit, q.id, q.q, now)
	if err != nil {
		return Result{Err: err}
	}
	r := Result{Answer: a}
	if a.Nothing || a.Refused() {
		return r
	}
	if err := w.write(ctx, q, a); err != nil {
		return Result{Err: err}
	}
	r.Line = s.view.State.Count
	return r
}

// decideOther decides a request of somebody who is not here and reads the answer in the log, also that it was refused. The error says why
// the log will have nothing of it.
func (s *Store) decideOther(ctx context.Context, w *writer, q waiting, now time.Time) error {
	if !q.q.Expires.After(now) || q.q.At.Sub(now) > maxBehind {
		return fmt.Errorf("it was good from %s to %s", q.q.At.Format(time.RFC3339), q.q.Expires.Format(time.RFC3339))
	}
	if err := s.holds(q); err != nil {
		return err
	}
	a, err := environment.Decide(s.view.State, s.view.Rules, s.view.RulesCommit, q.id, q.q, now)
	if err == nil && a.Nothing {
		return nil // as its writer finds out by asking again
	}
	if err == nil {
		err = w.write(ctx, q, a)
	}
	if err == nil {
		return nil
	}
	line := environment.Line{Time: now, Kind: environment.Refused, Request: q.id, Rules: s.view.RulesCommit, By: q.q.By, Why: q.q.Why}
	line.Decision = []environment.Outcome{{Rule: "request", Detail: err.Error()}}
	for _, it := range q.q.Items {
		line.Moves = append(line.Moves, environment.Move{Component: it.Component, Version: it.Version, To: q.q.To})
	}
	return w.write(ctx, q, environment.Answer{Line: line})
}

// holds holds a request to who is said to have signed it, and to what may be asked for: that something was merged is read off the branch of
// its stage, where its host says who may do so, and the rules believe it.
func (s *Store) holds(w waiting) error {
	if w.q.Kind == environment.Merge {
		return fault.Errorf(fault.Policy, "a merge into %s is what nobody asks for: propose it, and merge the pull request", w.q.To)
	}
	by := w.q.By
	if by == (environment.Identity{}) && w.Bundle == "" {
		return nil
	}
	if err := s.forHere(w.q); err != nil {
		return err
	}
	return signedBy(s.view.Keys, by, environment.Signed{Request: w.Request, Bundle: w.Bundle})
}

// forHere refuses what was signed for another store: the same keys may sign in many.
func (s *Store) forHere(q environment.Request) error {
	if q.Store == s.view.Store {
		return nil
	}
	return fault.Errorf(fault.Mismatch, "it was signed for the store %s, and this is %s: sign it for this one", cmp.Or(q.Store, "without an id"), cmp.Or(s.view.Store, "one without an id"))
}

func signedBy(keys map[string]signature.PublicKey, by environment.Identity, signed environment.Signed) error {
	key, ok := keys[by.Key]
	if !ok {
		return fault.Errorf(fault.Credentials, "the store does not know the key %s: add it to %s on branch %s", by, keysDir, Main)
	}
	bundle, err := signature.ParseBundle([]byte(signed.Bundle))
	if err == nil {
		err = signature.VerifyBlob(bundle, []byte(signed.Request), key)
	}
	return fault.New(fault.Mismatch, err)
}
