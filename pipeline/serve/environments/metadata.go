package environments

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/slipway-build/slipway/pipeline/environment/index"
)

// Bounds on the files of the signed index.
const (
	maxIndexFile = 16 << 20 // bytes of one
	maxIndexKept = 32 << 20 // bytes of those that are kept in memory
	indexReaders = 4        // that are read at once
)

// signed is the index of the store, which those who have its keys have signed. Its bytes are passed on as they are: readers hold them to a
// root that they do not have from here, so that this server can keep something from them for as long as a timestamp counts, and
// nothing else.
type signed struct {
	files   atomic.Pointer[index.Files]
	reading chan struct{}

	problem string // of the last look, which is said once

	mu    sync.Mutex
	kept  map[string][]byte // by what git calls the bytes
	bytes int
}

// follow reads the index again if its branch has moved. Where that does not work the last one is shown, which its readers take for as
// long as it counts.
func (s *Site) follow(ctx context.Context) {
	last := s.signed.files.Load()
	if s.o.Index == nil || last != nil && last.Commit == s.o.Store.At(index.Branch) {
		return
	}
	files, err := s.o.Index.Files(ctx)
	if err == nil {
		s.signed.files.Store(files)
		s.signed.problem = ""
	} else if s.signed.problem != err.Error() {
		s.signed.problem = err.Error()
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "the signed index cannot be read", slog.String("error", s.signed.problem))
	}
}

// metadata answers with a file of the index, by its path on its branch.
func (s *Site) metadata(ctx context.Context, name string) (Answer, error) {
	files := s.signed.files.Load()
	if files == nil || files.Commit == "" {
		return Answer{}, status{http.StatusNotFound, "the store has no signed index"}
	}
	id := files.ID(name)
	if id == "" {
		return Answer{}, errNotFound
	}
	b, err := s.signed.get(ctx, files, name, id)
	return Answer{Kind: "application/json", Body: b, ETag: `"` + id + `"`}, err
}

// get are the bytes of a file, which are kept as long as there is room.
func (x *signed) get(ctx context.Context, files *index.Files, name, id string) ([]byte, error) {
	if b, ok := x.have(id); ok {
		return b, nil
	}
	select {
	case x.reading <- struct{}{}:
		defer func() { <-x.reading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b, ok := x.have(id); ok { // whoever was waited for has read it
		return b, nil
	}
	b, err := files.Get(ctx, name, maxIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = errNotFound
	}
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.bytes+len(b) > maxIndexKept || x.kept == nil {
		x.kept, x.bytes = map[string][]byte{}, 0
	}
	if _, there := x.kept[id]; !there {
		x.bytes += len(b)
	}
	x.kept[id] = b
	return b, nil
}

func (x *signed) have(id string) ([]byte, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	b, ok := x.kept[id]
	return b, ok
}
