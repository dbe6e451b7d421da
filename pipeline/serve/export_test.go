package serve

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// HumanSize and Markdown are tested by themselves.
var (
	HumanSize = humanSize
	Markdown  = markdown
)

// Gate is what admits connections, tested by itself.
type Gate struct{ *gate }

// NewGate returns one with the limits.
func NewGate(o Options) Gate { return Gate{newGate(nil, o.withDefaults())} }

// Admit returns the connection that was admitted, or nil, and whether only to the lane.
func (g Gate) Admit(c net.Conn) (admitted net.Conn, laned bool) {
	a, instead := g.admit(c)
	if instead != nil {
		_ = instead.Close()
	}
	if a == nil {
		return nil, false
	}
	return a, a.laned
}

// State tells what a connection is at.
func (g Gate) State(c net.Conn, s http.ConnState) { g.state(c, s) }

// Grain sets within which time a file is not believed to be as it was, and returns what sets it back.
func Grain(d time.Duration) func() {
	was := fileGrain
	fileGrain = d
	return func() { fileGrain = was }
}

// Trust has the server believe that a file is whole as it is, which is what happens when a disk loses a bit.
func (s *Server) Trust(key, path string) error {
	r := s.library.shelf.Load().byPath[key]
	info, err := os.Stat(filepath.Join(s.options.Root, filepath.FromSlash(r.dir), filepath.FromSlash(path)))
	if err == nil {
		r.condition.note(path, stateOf(info), true)
	}
	return err
}

// Patrol reads all files until a further round is done.
func (s *Server) Patrol(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	before := s.metrics.rounds.Load()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.patrol(ctx)
	}()
	for s.metrics.rounds.Load() == before && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
}

// ReadChart is tested by itself.
func ReadChart(r io.Reader, name string) (metadata, error) {
	m, _, err := readChart(r, name)
	return m, err
}

// Entries sets how many entries of folders are looked through, and returns what sets it back.
func Entries(n int) func() {
	was := maxFolders
	maxFolders = n
	return func() { maxFolders = was }
}

// Look reads the release store.
func (s *Server) Look(ctx context.Context) { s.site.Look(ctx) }

// Plain is how many requests were answered without net/http.
func (s *Server) Plain() int64 { return s.metrics.plain.Load() }

// Held is how many files are held open.
func (s *Server) Held() int64 { return s.library.shelf.Load().answers.held.Load() }

// ReadValues is tested by itself.
func ReadValues(r io.Reader, name string) (map[string]string, error) {
	v, _, err := readValues(r, name, maxValues)
	return v, err
}
