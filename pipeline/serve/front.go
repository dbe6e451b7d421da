package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// front stands before net/http. It answers requests that are plain, see parsePlain, and whose answer is ready, in a third of the
// time; the connection of any other one goes to net/http with all that was read of it, and stays there. What it answers is what
// net/http does but for the Date, since what goes before a body is written down from the answer of the same handler.
//
// It is a listener of the connections that are for net/http.
type front struct {
	server *Server
	gate   *gate
	others chan net.Conn
	failed chan error
	closed chan struct{} // at the end of accepting
	ending atomic.Bool

	mu    sync.Mutex
	conns map[*conn]struct{} // those that are not with net/http
	left  sync.WaitGroup
}

func newFront(s *Server, g *gate) *front {
	f := &front{server: s, gate: g, others: make(chan net.Conn), failed: make(chan error), closed: make(chan struct{}), conns: map[*conn]struct{}{}}
	go f.accept()
	return f
}

// accept takes connections until the listener is closed. An error waits for net/http, which says it and waits before it asks
// for more.
func (f *front) accept() {
	for {
		c, err := f.gate.Accept()
		if err == nil {
			f.enter(c.(*conn))
			continue
		}
		select {
		case f.failed <- err:
		case <-f.closed:
			return
		}
	}
}

// Accept returns the next connection that is for net/http.
func (f *front) Accept() (net.Conn, error) {
	select {
	case c := <-f.others:
		return c, nil
	case err := <-f.failed:
		return nil, err
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the accepting of connections.
func (f *front) Close() error {
	f.end()
	close(f.closed)
	return f.gate.Close()
}

func (f *front) Addr() net.Addr { return f.gate.Addr() }

// end closes the connections that ask for nothing, and the others when they have their answer.
func (f *front) end() {
	f.ending.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // one that is closed reads no more either
	}
}

// wait waits for the answers that are being sent, until ctx is done.
func (f *front) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		f.left.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cut closes what is left.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close() // what it had to say is cut off anyway
	}
}

func (f *front) enter(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ending.Load() { // when nothing may be added to what is waited for
		_ = c.Close() // which has asked for nothing
		return
	}
	f.conns[c] = struct{}{}
	f.left.Go(func() {
		whose := f.serve(c)
		f.mu.Lock()
		delete(f.conns, c)
		f.mu.Unlock()
		if whose == forOthers {
			select {
			case f.others <- c:
				return
			case <-f.closed:
			}
		}
		_ = c.Close() // which says nothing that anybody could do something about
	})
}

// outcome is what is to be done with a connection.
type outcome int

const (
	goOn outcome = iota
	forOthers
	atEnd
)

// A deadline is moved on when an eighth of the time is gone, so that who is quick does not pay for it with each request.
const slack = 8

// serve answers the requests of a connection.
func (f *front) serve(c *conn) (whose outcome) {
	defer func() {
		if err := recover(); err != nil {
			f.server.log.LogAttrs(context.Background(), slog.LevelError, "answering", slog.Any("panic", err), slog.String("stack", string(debug.Stack())))
			whose = atEnd
		}
	}()
	if c.laned {
		return forOthers
	}
	o := f.server.options
	b, n := make([]byte, maxPlain), 0
	least := 1 // bytes of a request that anything is said to; net/http waits for four, but for the first one
	a := answerer{front: f, conn: c, partial: true}
	a.quick.init(c.Conn)
	until := time.Now().Add(o.HeaderTimeout) // as long as net/http gives for the first request
	if c.SetReadDeadline(until) != nil {
		return atEnd
	}
	for {
		if f.ending.Load() { // after the deadline was set, which end moves
			return atEnd
		}
		k, err := a.quick.Read(b[n:])
		n += k
		if err != nil {
			if n >= least && !isTimeout(err) {
				c.ahead = slices.Clone(b[:n])
				return forOthers // which says what is wrong with half a request
			}
			return atEnd
		}
		now := time.Now()
		partial, answered := false, false
		for n >= least && !partial {
			r, state := parsePlain(b[:n])
			switch {
			case state == whole:
				out := a.answer(r, now)
				if out == goOn {
					n, least = copy(b, b[r.size:n]), 4
					answered, now = true, time.Now() // an answer takes as long as its client does
					continue
				}
				if out == atEnd {
					return atEnd
				}
				c.ahead = slices.Clone(b[:n])
				return forOthers
			case state == odd || n == len(b):
				c.ahead = slices.Clone(b[:n])
				return forOthers
			}
			partial = true
		}
		if !partial {
			runtime.Gosched() // by when all others had their turn, the next request may be there
		}
		switch {
		case partial && (answered || !a.partial):
			until = now.Add(o.HeaderTimeout)
		case !partial && (a.partial || until.Sub(now) < o.IdleTimeout):
			until = now.Add(o.IdleTimeout + o.IdleTimeout/slack)
		default:
			continue
		}
		a.partial = partial
		if c.SetReadDeadline(until) != nil {
			return atEnd
		}
	}
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// answerer answers the plain requests of one connection.
type answerer struct {
	front   *front
	conn    *conn
	partial bool      // part of a request was read
	until   time.Time // the deadline for writing
	quick   quick
}

func (a *answerer) answer(r plainRequest, start time.Time) outcome {
	s, c := a.front.server, a.conn
	ctx := context.Background()
	shelf := s.library.current(ctx)
	if shelf == nil {
		return forOthers
	}
	c.gate.state(c, http.StateActive)
	if s.enter(c) != nil {
		return forOthers // which says so
	}
	defer s.leave(c)
	ready := s.answerTo(ctx, shelf, r)
	if ready == nil || r.match != nil && string(r.match) != ready.etag {
		return forOthers
	}
	code, head, content := http.StatusOK, &ready.whole, ready.body
	var err error
	if r.match != nil {
		code, head, content = http.StatusNotModified, &ready.unchanged, &body{}
	} else if content == nil {
		if content, err = ready.look(ctx, s.library, shelf, start); err != nil {
			return forOthers // which says so
		}
		defer content.close()
	}
	s.metrics.plain.Add(1)
	s.metrics.inFlight.Add(1)
	defer s.metrics.inFlight.Add(-1)
	sent, err := a.send(head.at(start), content, ready.item.file.Size, start)
	took := time.Since(start)
	s.metrics.observe(ready.route, code, sent, took)
	if level := slog.LevelInfo; s.log.Enabled(ctx, level) {
		s.access(ctx, level, http.MethodGet, ready.route, ready.path, code, sent, took, c.RemoteAddr().String(), string(r.agent))
	}
	if err != nil {
		return atEnd
	}
	c.gate.state(c, http.StateIdle)
	return goOn
}

// send sends an answer, and says how many bytes of a body went with it.
func (a *answerer) send(head []byte, content *body, size int64, now time.Time) (int64, error) {
	timeout := a.front.server.options.WriteTimeout
	if content.file == nil && len(content.bytes) <= piece {
		if a.until.Sub(now) < timeout {
			a.until = now.Add(timeout + timeout/slack)
			if err := a.conn.SetWriteDeadline(a.until); err != nil {
				return 0, err
			}
		}
		n, err := a.quick.WriteBoth(head, content.bytes)
		return int64(max(0, n-len(head))), err
	}
	a.until = time.Time{}
	to := wire{a.conn}
	w := response{ResponseWriter: to, control: http.NewResponseController(to), timeout: timeout, still: content.still}
	if err := w.extend(); err != nil {
		return 0, err
	}
	if _, err := to.Write(head); err != nil {
		return 0, err
	}
	if content.file == nil {
		w.still = nil
		_, err := w.Write(content.bytes)
		return w.bytes, err
	}
	var rest io.Reader = content.file
	if f, ok := content.ReadSeeker.(*shared); ok {
		var err error
		if w.bytes, err = a.quick.send(f, size-tail, w.extend); err != nil {
			return w.bytes, err
		}
		rest = f
	}
	_, err := w.ReadFrom(&io.LimitedReader{R: rest, N: size - w.bytes})
	if err == nil && w.bytes < size {
		err = io.ErrUnexpectedEOF
	}
	return w.bytes, err
}

// wire is a connection over which a header was sent, as a response wants it.
type wire struct{ *conn }

func (wire) Header() http.Header { return nil }
func (wire) WriteHeader(int)     {}

// ready is an answer all of which is known before it is asked for.
type ready struct {
	route     route
	path      string // for the log
	etag      string
	whole     block // the header of all of it
	unchanged block // the header for who has it
	body      *body // nil for a file, which is looked at
	item      item
	last      atomic.Pointer[looked]
}

// looked is a file that was found to be whole.
type looked struct {
	at   time.Time
	body *body
}

// take has the answer be a document.
func (r *ready) take(d document, packed bool) {
	b, _ := d.content(packed)
	r.body = &body{bytes: b}
}

// maxHeld is how many files are held open for those who ask next.
const maxHeld = 64

// look returns the file, as it was seen to be whole within a lookPause where its bytes are in memory, and at this moment where they
// are sent from the disk. One that lies open is as it was if its own state is: it shows, too, that another one was put in its place.
// Its bytes are known to be damaged when they were read since and had changed without that, as on a disk that loses a bit.
func (r *ready) look(ctx context.Context, l *library, shelf *shelf, now time.Time) (*body, error) {
	if last := r.last.Load(); last != nil {
		switch b := last.body; {
		case b.file == nil && now.Sub(last.at) < lookPause:
			return b, nil
		case b.file != nil && b.still() == nil:
			if yes, err := r.item.release.condition.known(r.item.file.Path, b.state); yes && err == nil {
				return b.share(), nil
			}
		}
		if r.last.CompareAndSwap(last, nil) && last.body.file != nil {
			shelf.answers.held.Add(-1) // it is closed when the last one has read from it
		}
	}
	b, err := l.body(ctx, r.item)
	if err != nil {
		return nil, err
	}
	switch {
	case b.file == nil:
		r.last.Store(&looked{now, b})
	case canShare:
		held := *b
		if shelf.answers.held.Add(1) <= maxHeld && r.last.CompareAndSwap(nil, &looked{now, &held}) { // closed when nothing leads to it any more
			return held.share(), nil
		}
		shelf.answers.held.Add(-1)
	}
	return b, nil
}

// shared is a file that several read at a time, each from its own place.
type shared struct {
	io.ReadSeeker
	file *os.File
	at   int64
}

func (s *shared) Read(b []byte) (int, error) {
	n, err := s.file.ReadAt(b, s.at)
	s.at += int64(n)
	return n, err
}

// share is the content of a file for one who does not close it.
func (b *body) share() *body {
	return &body{ReadSeeker: &shared{file: b.file}, file: b.file, state: b.state, held: true}
}

// block is the header of an answer, which has the Date as net/http has it: at the end.
type block struct {
	fixed []byte
	dated atomic.Pointer[dated]
}

type dated struct {
	second int64
	bytes  []byte
}

func (h *block) at(now time.Time) []byte {
	second := now.Unix()
	if d := h.dated.Load(); d != nil && d.second == second {
		return d.bytes
	}
	b := append(slices.Clip(h.fixed), "Date: "...)
	b = append(now.UTC().AppendFormat(b, http.TimeFormat), "\r\n\r\n"...)
	h.dated.Store(&dated{second, b})
	return b
}

// answers are the answers that are ready, by what stands in the request.
type answers struct {
	mu   sync.RWMutex
	all  map[target]*ready
	held atomic.Int64 // files that are held open
}

// target is what is asked for, by somebody who takes it compressed or not.
type target struct {
	path   string
	packed bool
}

// maxAnswers is how many answers are ready at once. Each takes a kilobyte, since bodies are kept elsewhere.
const maxAnswers = 4096

// answerTo is the answer to a request for target, nil for one that only net/http can give.
func (s *Server) answerTo(ctx context.Context, shelf *shelf, asked plainRequest) *ready {
	a, wanted := &shelf.answers, asked.target
	if s.site != nil {
		if wanted = s.inside(asked.host, wanted); bytes.HasPrefix(wanted, []byte("/environments/")) {
			a = s.siteAnswers()
		}
	}
	a.mu.RLock()
	r := a.all[target{string(wanted), asked.packed}]
	a.mu.RUnlock()
	if r != nil {
		return r
	}
	if r = s.prepare(ctx, shelf, string(wanted), asked.packed); r == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil || len(a.all) >= maxAnswers {
		a.all = map[target]*ready{}
		a.held.Store(0)
	}
	a.all[target{string(wanted), asked.packed}] = r
	return r
}

// prepare has the handler answer as far as the body, and writes it down.
func (s *Server) prepare(ctx context.Context, shelf *shelf, target string, packed bool) *ready {
	u, err := url.ParseRequestURI(target)
	if err != nil || strings.Contains(target, "?") || len(target) > maxURI || !plain(u) {
		return nil
	}
	name, parts := s.find("", u.Path)
	r := &ready{route: name, path: u.EscapedPath()}
	method := http.MethodGet
	var answer func(*response, *http.Request) error
	switch name {
	case routeEnvironment:
		d, ok := s.siteDocument(parts)
		if !ok {
			return nil
		}
		r.take(d, packed)
		answer = d.serve
	case routeHome, routeListing, routeLedger, routeIndex:
		d, err := shelf.document(name, 1)
		if err != nil {
			return nil
		}
		r.take(d, packed)
		answer = d.serve
	case routeChart, routeFile, routeDownload:
		i, head, err := s.item(shelf, name, parts)
		if err != nil || s.life.changes(i.release) {
			return nil
		}
		r.item, answer = i, func(w *response, r *http.Request) error { return s.file(w, r, i, head) }
		if i.file.Size > small {
			method = http.MethodHead // goes the same way as GET, without all of its bytes
		}
	default:
		return nil
	}
	record := func(want int, header http.Header) []byte {
		rec := recorder{http.Header{}}
		w := &response{ResponseWriter: rec, control: http.NewResponseController(rec), timeout: s.options.WriteTimeout}
		always(rec.header)
		if packed {
			header["Accept-Encoding"] = []string{"gzip"}
		}
		if err := answer(w, (&http.Request{Method: method, URL: u, Header: header}).WithContext(ctx)); err != nil || w.code() != want {
			return nil
		}
		r.etag = rec.header.Get("Etag")
		var b bytes.Buffer
		fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", want, http.StatusText(want))
		_ = rec.header.Write(&b) // a buffer takes everything
		return b.Bytes()
	}
	r.whole.fixed = record(http.StatusOK, http.Header{})
	r.unchanged.fixed = record(http.StatusNotModified, http.Header{"If-None-Match": {r.etag}})
	if r.whole.fixed == nil || r.unchanged.fixed == nil {
		return nil
	}
	return r
}

// recorder takes the header of an answer.
type recorder struct{ header http.Header }

func (r recorder) Header() http.Header       { return r.header }
func (recorder) Write(b []byte) (int, error) { return len(b), nil }
func (recorder) WriteHeader(int)             {}
