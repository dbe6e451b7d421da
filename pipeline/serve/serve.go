// Package serve shows a folder of releases over HTTP, read-only: pages for people, downloads, a Helm repository, and
// what an orchestrator asks of a server.
//
// The folder is either one dist/ or holds them as <version>/ or <name>/<version>/. Only what a release's manifest
// names can be fetched, and the ledger of reproductions, which may lie beside several of them: what it says of a release
// is shown with it. A file is sent only if its bytes are those that the manifest lists. Everything that a client or a release
// can make large is bounded: requests and connections at once, of all and of each client, headers, ranges, the time that a
// client may take for each piece of a download, and the number and size of what is read from the folder.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment/index"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/serve/environments"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Options configure a Server. Only Root or Store is needed; a zero field takes the default that is named with it.
type Options struct {
	Root string // the folder of releases, "" for none

	Store     *store.Store      // a release store, whose environments are served too; nil for none
	Index     *index.Index      // of the store; nil for none
	Poll      time.Duration     // from one look at the store to the next; 1 s
	Packages  string            // folder with signed indexes of packages for environments, "" for none
	Hostnames map[string]string // environments by the host at whose root they are served too

	// Log gets one record for each request, and what net/http has to report; nil drops them. The probes and the metrics
	// are logged at the debug level, everything else at info.
	Log slog.Handler

	// Lifecycle is the file that says how the releases of a platform stand, "" for none, and LifecycleKeys are those by one of which it
	// must be signed.
	Lifecycle     string
	LifecycleKeys []signature.PublicKey

	Version, Commit string // of this program, for /metrics

	// URL is where people reach the server, for the commands on its pages; "" is the host that they asked for.
	URL string

	Rescan time.Duration // the folder is read again at most this often, on a request, besides when it has changed; 2 s

	// A client is an address, or a network of IPv6 with 64 bits. One that has as many connections as it may loses an idle one.
	MaxRequests          int // answered at once, beyond which 503 is; 512
	MaxClientRequests    int // of one client, beyond which 429 is; 128
	MaxConnections       int // open at once; 1024. 64 more may ask for health and metrics alone
	MaxClientConnections int // of one client; 512

	HeaderTimeout   time.Duration // for the header of a request; 5 s
	ReadTimeout     time.Duration // for a whole request; 10 s
	IdleTimeout     time.Duration // between two requests; 1 min
	WriteTimeout    time.Duration // for a client to take another piece of an answer, see piece; 1 min
	DrainDelay      time.Duration // from /readyz saying 503 to refusing connections; none
	ShutdownTimeout time.Duration // for requests to end; 20 s

	CheckRate  int64         // bytes a second that are read to find what is damaged before somebody asks for it; none
	CheckPause time.Duration // from all of it being read to the next time; 1 min
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.DiscardHandler
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.Rescan, 2 * time.Second},
		{&o.HeaderTimeout, 5 * time.Second},
		{&o.ReadTimeout, 10 * time.Second},
		{&o.IdleTimeout, time.Minute},
		{&o.WriteTimeout, time.Minute},
		{&o.ShutdownTimeout, 20 * time.Second},
		{&o.CheckPause, time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	for _, n := range []struct {
		value    *int
		standard int
	}{{&o.MaxRequests, 512}, {&o.MaxClientRequests, 128}, {&o.MaxConnections, 1024}, {&o.MaxClientConnections, 512}} {
		if *n.value <= 0 {
			*n.value = n.standard
		}
	}
	return o
}

// Server serves a folder of releases.
type Server struct {
	options  Options
	log      *slog.Logger
	library  *library
	metrics  *metrics
	gate     *gate         // nil until Run
	slots    chan struct{} // one for each request that may be answered at once
	draining atomic.Bool
	site     *environments.Site // nil without a store
	docs     atomic.Pointer[siteAnswers]
	life     *life           // nil without a lifecycle
	stop     <-chan struct{} // closed when Run is to end; nil until Run
}

// New returns a server. It reads nothing yet: the first request or Run does.
func New(o Options) *Server {
	o = o.withDefaults()
	log := slog.New(o.Log)
	s := &Server{
		options: o,
		log:     log,
		library: &library{root: o.Root, store: o.Store != nil, life: o.Lifecycle != "", every: o.Rescan, log: log, hashing: make(chan struct{}, runtime.GOMAXPROCS(0))},
		metrics: newMetrics(o.Version, o.Commit),
		slots:   make(chan struct{}, o.MaxRequests),
	}
	if o.Lifecycle != "" {
		s.life = &life{file: o.Lifecycle, keys: o.LifecycleKeys}
	}
	if o.Root == "" {
		s.library.shelf.Store(&shelf{})
	}
	if o.Store != nil {
		s.site = environments.New(environments.Options{
			Store: o.Store, Index: o.Index, Every: o.Poll, Hostnames: o.Hostnames, Packages: o.Packages, Folder: o.Root != "", Style: pageCSS, Log: log,
		}, folder{s.library})
	}
	return s
}

// Handler answers every request to the server.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serveHTTP) }

// Run serves on ln, which it closes, until ctx is done. Then /readyz says so, connections are accepted for another
// DrainDelay, and what is being answered is given ShutdownTimeout to end. A request that is cut off after that makes a
// fault.Transient; a clean end is nil.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	s.gate, s.stop = newGate(ln, s.options), ctx.Done()
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: s.options.HeaderTimeout,
		ReadTimeout:       s.options.ReadTimeout,
		WriteTimeout:      s.options.WriteTimeout, // which the response moves on as the client reads
		IdleTimeout:       s.options.IdleTimeout,
		MaxHeaderBytes:    16 << 10,
		ConnState:         s.gate.state,
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(s.options.Log, slog.LevelWarn),
	}
	s.library.look()
	patrol, ended := context.WithCancel(ctx)
	var g sync.WaitGroup
	defer g.Wait()
	defer ended()
	if s.options.CheckRate > 0 {
		g.Go(func() { s.patrol(patrol) })
	}
	if s.site != nil {
		g.Go(func() { s.site.Run(patrol) })
	}
	served := make(chan error, 1)
	front := newFront(s, s.gate)
	go func() { served <- server.Serve(front) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}

	s.draining.Store(true)
	time.Sleep(s.options.DrainDelay)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.ShutdownTimeout)
	defer cancel()
	front.end()
	err := server.Shutdown(drain)
	if waited := front.wait(drain); err == nil && waited == nil {
		return nil
	}
	n := len(s.slots)
	front.cut()
	if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing: %w", err)
	}
	return fault.Errorf(fault.Transient, "draining: %d requests had not ended after %s and were cut off; clients resume them with a range", n, s.options.ShutdownTimeout)
}
