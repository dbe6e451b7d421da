package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

const (
	small    = 64 << 10 // bytes of a file that is sent from memory
	maxSmall = 16 << 20 // bytes of all files that are kept there
)

// condition is what is known of the bytes of a release's files. It holds for as long as a file has the state in which it was
// read.
type condition struct {
	mu      sync.Mutex
	whole   map[string]state         // those that are what the manifest lists, by path
	damaged map[string]state         // those that are not; the zero state for one that cannot be read
	reading map[string]chan struct{} // those that are being read
}

// known is what is known of a file in a state: an error for one that is damaged.
func (c *condition) known(p string, now state) (yes bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.damaged[p]; ok && s == now && now.settled(time.Now(), fileGrain) {
		return true, errDamaged
	}
	s, ok := c.whole[p]
	return ok && s == now, nil
}

// note keeps what was found out of a file, and reports whether that is news of damage. What has changed just now may change
// again unseen, so that it is read again.
func (c *condition) note(p string, s state, whole bool) (news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !whole {
		_, known := c.damaged[p]
		if c.damaged == nil {
			c.damaged = map[string]state{}
		}
		c.damaged[p] = s
		delete(c.whole, p)
		return !known
	}
	delete(c.damaged, p)
	if s.settled(time.Now(), fileGrain) {
		if c.whole == nil {
			c.whole = map[string]state{}
		}
		c.whole[p] = s
	}
	return false
}

// alone waits until nobody else reads the file. What it returns ends the reading.
func (c *condition) alone(ctx context.Context, p string) (end func(), err error) {
	for {
		c.mu.Lock()
		other, taken := c.reading[p]
		if !taken {
			done := make(chan struct{})
			if c.reading == nil {
				c.reading = map[string]chan struct{}{}
			}
			c.reading[p] = done
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				delete(c.reading, p)
				c.mu.Unlock()
				close(done)
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// broken are the files that are damaged.
func (c *condition) broken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.damaged))
}

// body is the content of a file, which is the one that its release lists.
type body struct {
	io.ReadSeeker
	bytes []byte // of a small file, all of it
	file  *os.File
	state state
	held  bool // for others too
}

func (b *body) close() {
	if b.file != nil && !b.held {
		_ = b.file.Close() // nothing was written to it
	}
}

// still says whether a file that is being sent has changed since it was read.
func (b *body) still() error {
	if info, err := b.file.Stat(); err != nil || stateOf(info) != b.state {
		return errDamaged
	}
	return nil
}

// body opens a file of a release and makes sure that it is the one that the release lists: by its bytes when it is first
// asked for and whenever its state has changed.
func (l *library) body(ctx context.Context, i item) (*body, error) {
	if b := l.known(i); b != nil {
		return b, nil
	}
	end, err := i.release.condition.alone(ctx, i.file.Path)
	if err != nil {
		return nil, errBusy
	}
	defer end()
	if b := l.known(i); b != nil { // who was waited for has read it
		return b, nil
	}
	return l.read(ctx, i, nil)
}

// known opens a file whose bytes are known to be those of the release; nil if it has to be read.
func (l *library) known(i item) *body {
	root := l.folder.Load()
	if root == nil {
		return nil
	}
	if kept, ok := l.small.get(i.file.Digest); ok {
		// Nothing is read from there, so that it does not matter by which way.
		info, err := os.Lstat(filepath.Join(l.root, i.release.dir, i.file.Path))
		if err != nil {
			return nil
		}
		if yes, err := i.release.condition.known(i.file.Path, stateOf(info)); !yes || err != nil {
			return nil
		}
		return &body{ReadSeeker: bytes.NewReader(kept), bytes: kept}
	}
	if i.file.Size <= small {
		return nil
	}
	f, err := open(root, path.Join(i.release.dir, i.file.Path))
	if err != nil {
		return nil
	}
	if info, err := f.Stat(); err == nil {
		now := stateOf(info)
		if yes, err := i.release.condition.known(i.file.Path, now); yes && err == nil {
			return &body{ReadSeeker: f, file: f, state: now}
		}
	}
	_ = f.Close()
	return nil
}

// read opens a file of a release by way of the release's folder, so that one that was put in the place of another while it
// was served is not taken for it, and reads all of it unless it is known to be damaged as it is. slow is called with the bytes
// of each piece; nil is as fast as can be.
func (l *library) read(ctx context.Context, i item, slow func(int)) (*body, error) {
	root, err := os.OpenRoot(l.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir, err := root.OpenRoot(i.release.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errChanging
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if seen, err := stamp(dir); err != nil || !slices.Equal(seen, i.release.seen) {
		return nil, errChanging
	}
	c := i.release.condition
	damaged := func(s state, why string) error {
		if c.note(i.file.Path, s, false) {
			l.log.LogAttrs(ctx, slog.LevelError, "a file is damaged and is not served",
				slog.String("folder", i.release.dir), slog.String("path", i.file.Path), slog.String("why", why))
		}
		return errDamaged
	}
	f, err := open(dir, i.file.Path)
	if err != nil {
		return nil, damaged(state{}, err.Error())
	}
	b, err := l.hold(ctx, f, i, slow, damaged)
	if b == nil || b.file == nil {
		_ = f.Close()
	}
	return b, err
}

// hold holds an open file to its digest.
func (l *library) hold(ctx context.Context, f *os.File, i item, slow func(int), damaged func(state, string) error) (*body, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, damaged(state{}, err.Error())
	}
	before := stateOf(info)
	if slow == nil {
		if yes, err := i.release.condition.known(i.file.Path, before); yes && err != nil {
			return nil, err
		}
	}
	if before.size != i.file.Size {
		return nil, damaged(before, "its size is another")
	}
	b := &body{ReadSeeker: f, file: f, state: before}
	var sum artifact.Digest
	if before.size <= small {
		b.bytes = make([]byte, before.size)
		if _, err := io.ReadFull(f, b.bytes); err != nil {
			return nil, damaged(before, err.Error())
		}
		if slow != nil {
			slow(len(b.bytes))
		}
		sum = artifact.Sum(b.bytes)
		b.ReadSeeker, b.file = bytes.NewReader(b.bytes), nil
	} else if sum, err = l.sum(ctx, f, slow); ctx.Err() != nil {
		return nil, errBusy // whoever asked for it is gone
	} else if err != nil {
		return nil, damaged(before, err.Error())
	}
	info, err = f.Stat()
	switch {
	case err != nil:
		return nil, damaged(before, err.Error())
	case stateOf(info) != before:
		return nil, errChanging // is being written to
	case sum != i.file.Digest:
		return nil, damaged(before, "its digest is "+string(sum))
	}
	i.release.condition.note(i.file.Path, before, true)
	if b.bytes != nil {
		if slow != nil {
			return b, nil // nobody has asked for it
		}
		l.small.put(i.file.Digest, b.bytes)
		return b, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return b, nil
}

// sum hashes a file, unless ctx ends first; as many at a time as there are processors, unless it is done slowly.
func (l *library) sum(ctx context.Context, f *os.File, slow func(int)) (artifact.Digest, error) {
	if slow == nil {
		select {
		case l.hashing <- struct{}{}:
			defer func() { <-l.hashing }()
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	meter, buffer := artifact.NewMeter(io.Discard), make([]byte, 256<<10)
	for ctx.Err() == nil {
		n, err := f.Read(buffer)
		_, _ = meter.Write(buffer[:n])
		if slow != nil {
			slow(n)
		}
		if errors.Is(err, io.EOF) {
			return meter.Digest(), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", ctx.Err()
}

// memory keeps the bytes of small files by their digest, as many as have room; those that were put there first go first.
type memory struct {
	mu    sync.RWMutex
	files map[artifact.Digest][]byte
	order []artifact.Digest
	size  int
}

func (c *memory) get(d artifact.Digest) ([]byte, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	b, ok := c.files[d]
	return b, ok
}

func (c *memory) put(d artifact.Digest, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.files[d]; ok {
		return
	}
	if c.files == nil {
		c.files = map[artifact.Digest][]byte{}
	}
	for c.size += len(b); c.size > maxSmall; c.order = c.order[1:] {
		c.size -= len(c.files[c.order[0]])
		delete(c.files, c.order[0])
	}
	c.files[d] = b
	c.order = append(c.order, d)
}

// patrol reads all files of all releases again and again, at most rate bytes a second, until ctx is done: a disk that lost
// a bit says nothing of it.
func (s *Server) patrol(ctx context.Context) {
	for ctx.Err() == nil {
		start, read := time.Now(), int64(0)
		slow := func(n int) {
			read += int64(n)
			s.metrics.checked.Add(int64(n))
			pause(ctx, time.Duration(float64(read)/float64(s.options.CheckRate)*float64(time.Second))-time.Since(start))
		}
		if shelf := s.library.current(ctx); shelf != nil {
			for _, r := range shelf.releases {
				s.checkRelease(ctx, r, slow)
			}
			s.metrics.rounds.Add(1)
		}
		pause(ctx, s.options.CheckPause)
	}
}

func (s *Server) checkRelease(ctx context.Context, r *release, slow func(int)) {
	opened, err := s.library.fetch(r)
	if err != nil {
		return // it has changed, so that the next round sees what it is now
	}
	for _, p := range slices.Sorted(maps.Keys(opened.files)) {
		if ctx.Err() != nil {
			return
		}
		b, err := s.library.read(ctx, item{r, opened.files[p]}, slow)
		if err == nil {
			b.close()
		}
	}
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
