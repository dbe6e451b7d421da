package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Store is where a ledger is kept. It may be used by several goroutines, and by several processes.
type Store interface {
	// Read returns the ledger, an empty one where there is none yet.
	Read(ctx context.Context) (Ledger, error)
	// Append adds an entry at the end of what is there by then. Of two at once both get in. When it returns without an
	// error, the entry is there to stay.
	Append(ctx context.Context, e Entry) error
}

// patience is how long a folder's lock is waited for: an entry is written within milliseconds.
const patience = time.Minute

// folder is a ledger in a folder.
type folder struct{ dir string }

// OpenFolder is the ledger in a folder, which is made with the first entry. A file beside the ledger is locked while an
// entry is written; reading takes no lock and needs no right to write.
func OpenFolder(dir string) Store { return folder{dir} }

// Read does not see a line that is being written.
func (s folder) Read(ctx context.Context) (Ledger, error) {
	if err := interrupted(ctx); err != nil {
		return Ledger{}, err
	}
	name := filepath.Join(s.dir, FileName)
	l, err := readFile(name)
	if err != nil {
		return Ledger{}, fmt.Errorf("reading ledger in %s: %w", s.dir, err)
	}
	return l, nil
}

func readFile(name string) (Ledger, error) {
	// A pipe would wait for a writer.
	switch info, err := os.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		return Ledger{}, nil
	case err != nil:
		return Ledger{}, fault.New(fault.Usage, err)
	case !info.Mode().IsRegular():
		return Ledger{}, fault.Errorf(fault.Usage, "%s is not a regular file; move it away", FileName)
	}
	f, err := os.Open(name)
	if err != nil {
		return Ledger{}, fault.New(fault.Usage, err)
	}
	defer f.Close()
	b, err := readAll(f)
	if err != nil {
		return Ledger{}, err
	}
	return Parse(Whole(b))
}

// readAll reads one byte more than a ledger has, which Parse refuses.
func readAll(r io.Reader) ([]byte, error) {
	b, err := bounded.Head(r, maxSize+1)
	return b, fault.New(fault.Usage, err)
}

// Append first takes away a line that the end of a process has cut.
func (s folder) Append(ctx context.Context, e Entry) error {
	if err := s.append(ctx, e); err != nil {
		return fmt.Errorf("writing ledger in %s: %w", s.dir, err)
	}
	return nil
}

func (s folder) append(ctx context.Context, e Entry) (err error) {
	if err := interrupted(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fault.New(fault.Usage, err)
	}
	name := filepath.Join(s.dir, FileName)
	unlock, err := lock(ctx, name+".lock", patience)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return fault.Errorf(fault.Usage, "%s is not a regular file; move it away", FileName)
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := readAll(f)
	if err != nil {
		return err
	}
	whole := Whole(b)
	l, err := Parse(whole)
	if err != nil {
		return err
	}
	next, err := l.Append(e)
	if err != nil {
		return err
	}
	end := int64(len(whole))
	if len(b) > len(whole) {
		if err := f.Truncate(end); err != nil {
			return fault.New(fault.Usage, err)
		}
	}
	_, err = f.WriteAt(next.lines[end:], end)
	if err == nil {
		err = f.Sync()
	}
	if err != nil { // a full disk, most often: the next one finds the ledger as it was
		return fault.New(fault.Usage, errors.Join(err, f.Truncate(end)))
	}
	if end == 0 {
		// The name of the file is on disk with it. Not every system can sync a folder.
		if dir, err := os.Open(s.dir); err == nil {
			_ = dir.Sync()
			_ = dir.Close()
		}
	}
	return nil
}

func interrupted(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return fault.New(fault.Transient, context.Cause(ctx))
}

// lock keeps all others from the ledger until it is released.
func lock(ctx context.Context, name string, patience time.Duration) (unlock func() error, err error) {
	unlock, err = filelock.Lock(ctx, name, patience)
	code := fault.Usage
	if ctx.Err() != nil || errors.Is(err, filelock.ErrHeld) {
		code = fault.Transient
	}
	return unlock, fault.New(code, err)
}
