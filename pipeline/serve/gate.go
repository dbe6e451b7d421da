package serve

import (
	"bytes"
	"container/list"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// laneSize is how many connections are open at once beyond the limits, which may ask for the health and the metrics alone;
// laneEach is how many of these one client may have.
const (
	laneSize = 64
	laneEach = 8
)

// gate admits connections, so that no client shuts out another: one that has as many as it may loses the one that lies idle
// for the longest time, and where all places are taken, the client with the most connections loses one. Where none is idle, the
// new connection comes into a lane that is kept for health and metrics.
//
// A connection is never left waiting in the kernel's queue, where a probe would wait behind it.
type gate struct {
	net.Listener
	most, each, requests int // connections, and connections and requests of one client

	mu      sync.Mutex
	clients map[netip.Prefix]*client
	open    int       // but for those in the lane
	lane    list.List // of *conn, all of them in the order in which they came
	refused int64
	evicted int64
}

// client is an address that has connections.
type client struct {
	at       netip.Prefix
	open     int       // but for those in the lane
	lane     int       // those in the lane
	requests int       // that are being answered
	idle     list.List // of *conn: those that ask for nothing, the one that has been idle for the longest time first
}

func newGate(ln net.Listener, o Options) *gate {
	return &gate{
		Listener: ln, most: o.MaxConnections, each: o.MaxClientConnections, requests: o.MaxClientRequests,
		clients: map[netip.Prefix]*client{},
	}
}

// Accept returns the next connection that is admitted.
func (g *gate) Accept() (net.Conn, error) {
	for {
		inner, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c, instead := g.admit(inner)
		if instead != nil {
			_ = instead.Close() // net/http sees the end of one that it has, and closes it too
		}
		if c != nil {
			return c, nil
		}
	}
}

// admit finds a place for a connection, nil for none, and says which one is to be closed for it.
func (g *gate) admit(inner net.Conn) (c *conn, instead net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := clientOf(inner.RemoteAddr())
	cl := g.clients[at]
	if cl == nil {
		cl = &client{at: at}
	}
	c = &conn{Conn: inner, gate: g, client: cl}
	var victim *conn
	switch {
	case cl.open >= g.each:
		victim = eldest(&cl.idle, nil)
		c.laned = victim == nil
	case g.open >= g.most:
		victim = g.greediest()
		c.laned = victim == nil
	}
	switch {
	case !c.laned:
	case cl.lane >= laneEach:
		victim = eldest(&g.lane, cl)
	case g.lane.Len() >= laneSize:
		victim = eldest(&g.lane, nil)
	}
	if victim != nil {
		g.evicted++
		g.forget(victim)
		instead = victim.Conn
	} else if c.laned && (cl.lane >= laneEach || g.lane.Len() >= laneSize) {
		g.refused++
		return nil, inner
	}
	g.clients[at] = cl
	if c.laned {
		cl.lane++
		c.inLane = g.lane.PushBack(c)
	} else {
		g.open++
		cl.open++
		c.isIdle = cl.idle.PushBack(c)
	}
	return c, instead
}

// eldest is the first connection of a list that is idle, and that is of the client if that is not nil.
func eldest(l *list.List, of *client) *conn {
	for e := l.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); !c.asking && (of == nil || c.client == of) {
			return c
		}
	}
	return nil
}

// greediest is the connection to lose of the client that has the most of those of whom one is idle.
func (g *gate) greediest() *conn {
	var most *client
	for _, cl := range g.clients {
		if cl.idle.Len() > 0 && (most == nil || cl.open > most.open) {
			most = cl
		}
	}
	if most == nil {
		return nil
	}
	return eldest(&most.idle, nil)
}

// forget takes a connection out of the count; a second time does nothing.
func (g *gate) forget(c *conn) {
	if c.gone {
		return
	}
	c.gone = true
	if c.laned {
		g.lane.Remove(c.inLane)
		c.client.lane--
	} else {
		c.ask()
		g.open--
		c.client.open--
	}
	if c.client.open == 0 && c.client.lane == 0 {
		delete(g.clients, c.client.at)
	}
}

// state is told by net/http what a connection is at.
func (g *gate) state(nc net.Conn, s http.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case c.gone:
	case s == http.StateActive:
		c.ask()
	case s == http.StateIdle:
		c.asking = false
		if !c.laned && c.isIdle == nil {
			c.isIdle = c.client.idle.PushBack(c)
		}
	}
}

// writeMetrics is safe on a server without a gate, which a test has.
func (g *gate) writeMetrics(b *bytes.Buffer) {
	var open, clients, refused, evicted int64
	if g != nil {
		g.mu.Lock()
		open, clients, refused, evicted = int64(g.open+g.lane.Len()), int64(len(g.clients)), g.refused, g.evicted
		g.mu.Unlock()
	}
	family(b, "slipway_connections", "gauge", "Connections that are open.")
	fmt.Fprintf(b, "slipway_connections %d\n", open)
	family(b, "slipway_clients", "gauge", "Addresses with an open connection.")
	fmt.Fprintf(b, "slipway_clients %d\n", clients)
	family(b, "slipway_connections_closed_total", "counter", "Connections that were closed for a limit: idle ones for others, and new ones.")
	fmt.Fprintf(b, "slipway_connections_closed_total{which=\"idle\"} %d\n", evicted)
	fmt.Fprintf(b, "slipway_connections_closed_total{which=\"new\"} %d\n", refused)
}

// conn is a connection that was admitted. gate.mu guards what can change of it.
type conn struct {
	net.Conn
	gate   *gate
	client *client
	laned  bool          // for health and metrics alone
	asking bool          // for something that is being answered
	isIdle *list.Element // in client.idle; nil while it asks, or in the lane
	inLane *list.Element // in gate.lane
	gone   bool
	ahead  []byte // what was read before net/http had it
}

// Read reads what was read ahead first.
func (c *conn) Read(b []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}

// ReadFrom keeps the method by which net/http has the kernel copy a file to the network.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

func (c *conn) ask() {
	c.asking = true
	if c.isIdle != nil {
		c.client.idle.Remove(c.isIdle)
		c.isIdle = nil
	}
}

// Close closes the connection, which leaves room for another one.
func (c *conn) Close() error {
	c.gate.mu.Lock()
	c.gate.forget(c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

// begin takes note of a request, unless its client has as many as it may; end is to be called at its end.
func (c *conn) begin() bool {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	if c.client.requests >= c.gate.requests {
		return false
	}
	c.client.requests++
	return true
}

func (c *conn) end() {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	c.client.requests--
}

type connKey struct{}

// withConn is for http.Server.ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf is the connection that a request came over; nil in a test without one.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// clientOf is whom an address stands for: a network of IPv6 is given to one customer as a whole, most often with 64 bits
// (https://www.rfc-editor.org/rfc/rfc6177).
func clientOf(a net.Addr) netip.Prefix {
	var at netip.Addr
	if tcp, ok := a.(*net.TCPAddr); ok {
		at = tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	bits := at.BitLen()
	if at.Is6() {
		bits = 64
	}
	p, _ := at.Prefix(bits) // none of an address that is none, which all of the kind share
	return p
}
