package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Where a publishing to the default set of destinations keeps what it did, relative to dist/. Neither is part of the release.
// That of another set is in a folder below Dir that has the name of the set.
const (
	Dir          = "publish"
	JournalName  = Dir + "/journal.jsonl"
	ReceiptsName = Dir + "/receipts.json"
)

// record is where a file of a publishing to a set is; name is that of the default set.
func record(dir, set, name string) string {
	return filepath.Join(dir, Dir, set, path.Base(name))
}

// maxJournal bounds a journal that is read, in bytes.
const maxJournal = 64 << 20

// journalFormat is what this version reads and writes. The first line of a journal has it; one of before there were formats
// has none. Keys and kinds of lines that a later minor version adds are skipped, and stay in the file.
var journalFormat = canonjson.Format{Schema: "slipway.journal/v1"}

// line is a line of the journal. Exactly one of its parts is there.
type line struct {
	Schema   string   `json:"schema,omitempty"`
	Minor    int      `json:"minor,omitempty"`
	Requires []string `json:"requires,omitempty"`

	Release artifact.Digest `json:"release,omitempty"` // of release.json; everything that follows is about it
	Time    string          `json:"time,omitempty"`

	Begin *wire.Request `json:"begin,omitempty"`
	End   string        `json:"end,omitempty"` // how the request with the number ended
	ID    int           `json:"id,omitempty"`

	Fact  string `json:"fact,omitempty"`
	Value string `json:"value,omitempty"`
}

// Journal is what was asked of remotes for one release, in a file of lines of JSON. Each line is on disk before what it
// tells of goes out. It informs, it does not decide: what a remote holds is asked of the remote. A nil Journal keeps
// nothing. It may be used by several goroutines.
type Journal struct {
	now func() time.Time

	mu    sync.Mutex
	f     *os.File
	next  int
	open  map[int]wire.Request
	facts map[string]string

	synced  *sync.Cond
	written int // lines
	durable int // lines that are on disk
	syncing bool
	err     error // of the file: nothing goes out any more
}

// OpenJournal opens the journal of a set of destinations in dir, which is dist/, and reads what earlier runs wrote about the release. What they
// wrote about another release is set aside. A line that was cut by the end of a process counts as not written.
func OpenJournal(dir, set string, release artifact.Digest, now func() time.Time) (*Journal, error) {
	if now == nil {
		now = time.Now
	}
	name := record(dir, set, JournalName)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	j := newJournal(now)
	keep, err := j.read(name, release)
	if err != nil {
		return nil, fmt.Errorf("reading journal: %w", err)
	}
	if keep == 0 {
		if _, err := os.Lstat(name); err == nil {
			if err := os.Rename(name, name+".old"); err != nil {
				return nil, err
			}
		}
	}
	if j.f, err = os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	if err := j.f.Truncate(keep); err != nil {
		return nil, errors.Join(err, j.f.Close())
	}
	if _, err := j.f.Seek(keep, io.SeekStart); err != nil {
		return nil, errors.Join(err, j.f.Close())
	}
	if keep == 0 {
		if err := j.append(line{Schema: journalFormat.Schema, Minor: journalFormat.Minor, Release: release, Time: j.stamp()}); err != nil {
			return nil, errors.Join(err, j.f.Close())
		}
		// The name of the file is on disk with it. Not every system can sync a folder.
		if dir, err := os.Open(filepath.Dir(name)); err == nil {
			_ = dir.Sync()
			_ = dir.Close()
		}
	}
	return j, nil
}

func newJournal(now func() time.Time) *Journal {
	j := &Journal{now: now, open: map[int]wire.Request{}, facts: map[string]string{}}
	j.synced = sync.NewCond(&j.mu)
	return j
}

// ReadJournal reads what earlier runs wrote about the release, for a run that only looks: what it notes is kept nowhere.
func ReadJournal(dir, set string, release artifact.Digest) (*Journal, error) {
	j := newJournal(time.Now)
	_, err := j.read(record(dir, set, JournalName), release)
	if err != nil {
		return nil, fmt.Errorf("reading journal: %w", err)
	}
	return j, nil
}

// read takes the lines of an earlier run and returns how many bytes of the file to keep: none where it is about another
// release.
func (j *Journal) read(name string, release artifact.Digest) (int64, error) {
	b, err := bounded.File(name, maxJournal)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case bounded.IsTooLarge(err):
		return 0, fault.Errorf(fault.Usage, "%w; move it away", err)
	case err != nil:
		return 0, err
	}
	kept, err := j.parse(b, release)
	if err != nil {
		return 0, fault.Errorf(fault.Usage, "%s: %w", name, err)
	}
	return kept, nil
}

// parse takes every line that is one, and returns where the last of them ends. What follows was cut by the end of a
// process. The first line says which release it is about; without it, and about another one, nothing is kept.
//
// A journal that only another version reads is an error: to begin another one would forget what was sent already.
func (j *Journal) parse(b []byte, release artifact.Digest) (int64, error) {
	var at, kept int64
	for first := true; ; first = false {
		text, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			return kept, nil
		}
		at += int64(len(text)) + 1
		b = rest
		var l line
		err := json.Unmarshal(text, &l)
		if first && err == nil && l.Schema != "" {
			if err := journalFormat.Check(canonjson.Head{Schema: l.Schema, Minor: l.Minor, Requires: l.Requires}, nil); err != nil {
				return 0, err
			}
		}
		switch {
		case first && (err != nil || l.Release != release):
			return 0, nil
		case err != nil:
			continue // damaged, with others behind it
		case l.Begin != nil:
			j.open[l.ID] = *l.Begin
			j.next = max(j.next, l.ID)
		case l.End != "":
			delete(j.open, l.ID)
		case l.Fact != "":
			j.facts[l.Fact] = l.Value
		}
		kept = at
	}
}

func (j *Journal) stamp() string { return j.now().UTC().Format(time.RFC3339) }

// append writes a line and returns when it is on disk. Those who come while the disk is busy share the next write to it.
func (j *Journal) append(l line) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f == nil {
		return nil
	}
	if j.err == nil {
		_, j.err = j.f.Write(append(b, '\n'))
		j.written++
	}
	mine := j.written
	for j.err == nil && j.durable < mine {
		if j.syncing {
			j.synced.Wait()
			continue
		}
		j.syncing = true
		upTo := j.written
		j.mu.Unlock()
		err := j.f.Sync()
		j.mu.Lock()
		j.syncing = false
		if j.durable = upTo; err != nil {
			j.err = err
		}
		j.synced.Broadcast()
	}
	if j.err != nil {
		return fmt.Errorf("writing journal, without which nothing is sent: %w", j.err)
	}
	return nil
}

// Begin notes a request before it goes out; see wire.Recorder.
func (j *Journal) Begin(r wire.Request) (func(string), error) {
	if j == nil {
		return func(string) {}, nil
	}
	j.mu.Lock()
	j.next++
	id := j.next
	j.mu.Unlock()
	if err := j.append(line{ID: id, Time: j.stamp(), Begin: &r}); err != nil {
		return nil, err
	}
	return func(outcome string) {
		// An end that is lost makes the request one without an answer, after which the remote is looked at. So it need
		// not be waited for.
		if b, err := json.Marshal(line{ID: id, End: outcome}); err == nil {
			j.mu.Lock()
			defer j.mu.Unlock()
			if j.err == nil && j.f != nil {
				_, j.err = j.f.Write(append(b, '\n'))
				j.written++
			}
		}
	}, nil
}

// Unanswered are the requests of earlier runs whose answers were not seen.
func (j *Journal) Unanswered() int {
	if j == nil {
		return 0
	}
	return len(j.open)
}

// Fact is what an earlier run, or this one, noted under the name; "" for nothing.
func (j *Journal) Fact(name string) string {
	if j == nil {
		return ""
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.facts[name]
}

// SetFact notes what no remote tells. It is on disk when it returns.
func (j *Journal) SetFact(name, value string) error {
	if j == nil || j.Fact(name) == value {
		return nil
	}
	if err := j.append(line{Time: j.stamp(), Fact: name, Value: value}); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.facts[name] = value
	return nil
}

// Verified reports whether what is staged at the destination was read back from where it is now.
func (j *Journal) Verified(destination, where string) bool {
	return j.Fact("read back "+destination) == "from "+where
}

// SetVerified notes that what is staged at the destination was read back.
func (j *Journal) SetVerified(destination, where string) error {
	return j.SetFact("read back "+destination, "from "+where)
}

// Close closes the file.
func (j *Journal) Close() error {
	if j == nil || j.f == nil {
		return nil
	}
	return errors.Join(j.f.Sync(), j.f.Close())
}
