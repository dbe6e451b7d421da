package environments

import (
	"context"
	"sync"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
)

// maxFiles is how many files of the log are kept in memory.
const maxFiles = 64

// lines are those of the log that were asked for lately, without what was signed. They never change, but for the file that
// grows.
type lines struct {
	once    sync.Once
	reading chan struct{} // one at a time
	mu      sync.Mutex
	files   map[int][]environment.Line
	order   []int // the one that was read first, first
}

// get are the lines of a file that are kept, if there are as many.
func (l *lines) get(file, count int) ([]environment.Line, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.files[file]
	if len(kept) < count {
		return nil, false
	}
	return kept[:count], true
}

func (l *lines) put(file int, read []environment.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files == nil {
		l.files = map[int][]environment.Line{}
	}
	if _, there := l.files[file]; !there {
		l.order = append(l.order, file)
	}
	l.files[file] = read
	if len(l.order) > maxFiles {
		delete(l.files, l.order[0])
		l.order = l.order[1:]
	}
}

// fileOf are the lines of a file of the log, as far as the state goes.
func (s *Site) fileOf(ctx context.Context, st *state, file int) ([]environment.Line, error) {
	count := min(st.Count-file*store.LinesOfFile, store.LinesOfFile)
	if kept, ok := s.lines.get(file, count); ok {
		return kept, nil
	}
	s.lines.once.Do(func() { s.lines.reading = make(chan struct{}, 1) })
	select {
	case s.lines.reading <- struct{}{}:
		defer func() { <-s.lines.reading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if kept, ok := s.lines.get(file, count); ok { // whoever was waited for has read it
		return kept, nil
	}
	var read []environment.Line
	err := s.o.Store.Lines(ctx, st.head, func(l environment.Line) error {
		l.Signed, l.Decision = nil, nil
		read = append(read, l)
		return nil
	}, file)
	if err != nil {
		return nil, err
	}
	s.lines.put(file, read)
	return read[:min(count, len(read))], nil
}

// before are up to limit lines before a number, the last one first.
func (s *Site) before(ctx context.Context, st *state, n, limit int) ([]environment.Line, error) {
	var all []environment.Line
	for n = min(n-1, st.Count); n > 0 && len(all) < limit; {
		file := (n - 1) / store.LinesOfFile
		read, err := s.fileOf(ctx, st, file)
		if err != nil {
			return nil, err
		}
		for i := n - 1 - file*store.LinesOfFile; i >= 0 && i < len(read) && len(all) < limit; i-- {
			all = append(all, read[i])
		}
		n = file * store.LinesOfFile
	}
	return all, nil
}

// line is the line with that number.
func (s *Site) line(ctx context.Context, st *state, n int) (environment.Line, error) {
	all, err := s.before(ctx, st, n+1, 1)
	if err != nil || len(all) == 0 {
		return environment.Line{}, err
	}
	return all[0], nil
}
