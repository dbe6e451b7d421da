// Package serve shows a folder of releases over HTTP, read-only: pages for people, downloads, a Helm repository, and
// what an orchestrator asks of a server.
//
// The folder is either one dist/ or holds them as <version>/ or <name>/<version>/. Only what a release's manifest
// names can be fetched, and the ledger of reproductions, which may lie beside several of them: what it says of a release
// is shown with it. Everything that a client or a release can make large is bounded: requests and connections at
// once, headers, ranges, the time that a client may take for each piece of a download, and the number and size of what
// is read from the folder.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Options configure a Server. Only Root is needed; a zero field takes the default that is named with it.
type Options struct {
	Root string // the folder of releases

	// Log gets one record for each request, and what net/http has to report; nil drops them. The probes and the metrics
	// are logged at the debug level, everything else at info.
	Log slog.Handler

	Version, Commit string // of this program, for /metrics

	Rescan          time.Duration // the folder is read again at most this often, on a request; 2 s
	MaxRequests     int           // answered at once, beyond which 503 is; 256
	MaxConnections  int           // open at once, beyond which a client waits; 1024
	ReadTimeout     time.Duration // for a whole request; 10 s
	WriteTimeout    time.Duration // for a client to take another piece of an answer, see piece; 1 min
	DrainDelay      time.Duration // from /readyz saying 503 to refusing connections; none
	ShutdownTimeout time.Duration // for requests to end; 20 s
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.DiscardHandler
	}
	if o.Rescan <= 0 {
		o.Rescan = 2 * time.Second
	}
	if o.MaxRequests <= 0 {
		o.MaxRequests = 256
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 1024
	}
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = 10 * time.Second
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = time.Minute
	}
	if o.ShutdownTimeout <= 0 {
		o.ShutdownTimeout = 20 * time.Second
	}
	return o
}

// Server serves a folder of releases.
type Server struct {
	options  Options
	log      *slog.Logger
	library  *library
	metrics  *metrics
	slots    chan struct{} // one for each request that may be answered at once
	draining atomic.Bool
}

// New returns a server. It reads nothing yet: the first request or Run does.
func New(o Options) *Server {
	o = o.withDefaults()
	return &Server{
		options: o,
		log:     slog.New(o.Log),
		library: &library{root: o.Root, every: o.Rescan},
		metrics: newMetrics(o.Version, o.Commit),
		slots:   make(chan struct{}, o.MaxRequests),
	}
}

// Handler answers every request to the server.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serveHTTP) }

// Run serves on ln, which it closes, until ctx is done. Then /readyz says so, connections are accepted for another
// DrainDelay, and what is being answered is given ShutdownTimeout to end. A request that is cut off after that makes a
// fault.Transient; a clean end is nil.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: s.options.ReadTimeout / 2,
		ReadTimeout:       s.options.ReadTimeout,
		WriteTimeout:      s.options.WriteTimeout, // which the response moves on as the client reads
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.options.Log, slog.LevelWarn),
	}
	s.library.current()
	served := make(chan error, 1)
	go func() { served <- server.Serve(limit(ln, s.options.MaxConnections)) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}

	s.draining.Store(true)
	time.Sleep(s.options.DrainDelay)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.ShutdownTimeout)
	defer cancel()
	err := server.Shutdown(drain)
	if err == nil {
		return nil
	}
	n := len(s.slots)
	if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing: %w", err)
	}
	return fault.Errorf(fault.Transient, "draining: %d requests had not ended after %s and were cut off; clients resume them with a range", n, s.options.ShutdownTimeout)
}
