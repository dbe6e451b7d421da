package serve_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/serve"
)

// running is a server on a port of its own.
type running struct {
	address string
	root    string
	stop    context.CancelFunc
	done    chan error
}

const big = "/releases/hello/1.2.3/files/archives/hello_1.2.3_linux_amd64.tar.gz"

// run serves a release with a file that is larger than all buffers between the two ends.
func run(t *testing.T, o serve.Options) (running, []byte) {
	t.Helper()
	o.Root = t.TempDir()
	payload := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	write(t, o.Root, verifytest.Options{Payload: payload})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := running{ln.Addr().String(), o.Root, cancel, make(chan error, 1)}
	go func() { r.done <- serve.New(o).Run(ctx, ln) }()
	t.Cleanup(cancel)
	eventually(t, "readiness", func() bool { return r.code("/readyz") == http.StatusOK })
	return r, payload
}

// code is the status of an answer over a connection of its own; 0 if there is no answer.
func (r running) code(target string) int {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + r.address + target)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// request sends the head of a request for the big file and reads the head of the answer, and nothing of the body.
func (r running) request(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", r.address)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetDeadline(time.Now().Add(30*time.Second))) // rather than that a test never ends
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", big)
	must(t, err)
	br := bufio.NewReader(c)
	for {
		line, err := br.ReadString('\n')
		must(t, err)
		if line == "\r\n" {
			return c, br
		}
	}
}

// TestSlowClient downloads for longer than every timeout, and gets all of it, because it keeps reading.
func TestSlowClient(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const timeout = time.Second
	r, payload := run(t, serve.Options{ReadTimeout: timeout, WriteTimeout: timeout})
	start := time.Now()
	_, br := r.request(t)
	var got bytes.Buffer
	for got.Len() < len(payload) {
		if _, err := io.CopyN(&got, br, int64(min(len(payload)/20, len(payload)-got.Len()))); err != nil {
			t.Fatalf("after %d bytes and %s: %v", got.Len(), time.Since(start), err)
		}
		time.Sleep(timeout / 8)
	}
	if time.Since(start) < 2*timeout {
		t.Fatalf("the client was not slow: %s", time.Since(start))
	}
	if !bytes.Equal(got.Bytes(), payload) {
		t.Error("other bytes arrived")
	}
}

// TestStalledClient stops reading, and is cut off.
func TestStalledClient(t *testing.T) {
	r, payload := run(t, serve.Options{WriteTimeout: 200 * time.Millisecond, MaxRequests: 1})
	_, br := r.request(t)
	if code := r.code("/releases.json"); code != http.StatusServiceUnavailable {
		t.Errorf("while the only place is taken: %d", code)
	}
	eventually(t, "the end of the request", func() bool { return r.code("/releases.json") == http.StatusOK })
	if n, err := io.Copy(io.Discard, br); err == nil && n == int64(len(payload)) {
		t.Error("a client that had stopped reading got everything")
	}
}

// TestSlowHeader sends its request byte by byte, and is cut off.
func TestSlowHeader(t *testing.T) {
	r, _ := run(t, serve.Options{HeaderTimeout: 200 * time.Millisecond})
	c, err := net.Dial("tcp", r.address)
	must(t, err)
	defer c.Close()
	start := time.Now()
	for _, b := range []byte("GET / HTTP/1.1\r\nHost: " + strings.Repeat("x", 1000)) {
		if _, err := c.Write([]byte{b}); err != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("was heard for %s", took)
	}
}

func TestLargeHeader(t *testing.T) {
	r, _ := run(t, serve.Options{})
	req, err := http.NewRequest(http.MethodGet, "http://"+r.address+"/", http.NoBody)
	must(t, err)
	req.Header.Set("X", strings.Repeat("x", 64<<10))
	resp, err := http.DefaultTransport.RoundTrip(req)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d, want 431", resp.StatusCode)
	}
}

// TestConcurrency answers as many requests as it may, and the probes besides.
func TestConcurrency(t *testing.T) {
	r, payload := run(t, serve.Options{MaxRequests: 2})
	_, first := r.request(t)
	r.request(t)
	resp, err := http.Get("http://" + r.address + "/")
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	for _, target := range []string{"/healthz", "/readyz", "/metrics"} {
		if code := r.code(target); code != http.StatusOK {
			t.Errorf("%s: %d", target, code)
		}
	}
	if n, err := io.CopyN(io.Discard, first, int64(len(payload))); err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	eventually(t, "a free place", func() bool { return r.code("/") == http.StatusOK })
}

func TestShutdown(t *testing.T) {
	const delay = 300 * time.Millisecond
	r, payload := run(t, serve.Options{DrainDelay: delay})
	_, download := r.request(t)
	start := time.Now()
	r.stop()
	eventually(t, "the end of readiness", func() bool { return r.code("/readyz") == http.StatusServiceUnavailable })
	if code := r.code("/releases.json"); code != http.StatusOK {
		t.Errorf("a request while draining: %d", code)
	}
	if took := time.Since(start); took > delay {
		t.Skipf("this machine is too slow to look: %s", took)
	}
	eventually(t, "the end of listening", func() bool { return r.code("/healthz") == 0 })
	b := make([]byte, len(payload))
	if _, err := io.ReadFull(download, b); err != nil || !bytes.Equal(b, payload) {
		t.Errorf("the download that was running: %v", err)
	}
	if err := <-r.done; err != nil {
		t.Errorf("a clean end: %v", err)
	}
}

func TestShutdownTimeout(t *testing.T) {
	r, payload := run(t, serve.Options{ShutdownTimeout: 50 * time.Millisecond})
	_, download := r.request(t)
	r.stop()
	err := <-r.done
	if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "1 requests had not ended after 50ms") {
		t.Errorf("error %v has code %d", err, fault.CodeOf(err))
	}
	if n, err := io.Copy(io.Discard, download); err == nil && n >= int64(len(payload)) {
		t.Error("the download was not cut off")
	}
}

func TestRunWithoutListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, ln.Close())
	if err := serve.New(serve.Options{Root: t.TempDir()}).Run(t.Context(), ln); err == nil {
		t.Error("served on a closed listener")
	}
}

// idle opens connections that each ask once for the health, and then for nothing more.
func (r running) idle(t *testing.T, n int) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", r.address)
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_, err = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		must(t, err)
	}
}

// Connections that lie idle shut nobody out, not even whoever opened them.
func TestIdleConnections(t *testing.T) {
	for name, o := range map[string]serve.Options{
		"more than there may be": {MaxConnections: 8},
		"more than one may have": {MaxConnections: 100, MaxClientConnections: 8},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := run(t, o)
			r.idle(t, 40)
			for _, target := range []string{"/healthz", "/readyz", "/metrics", "/releases.json", "/"} {
				if code := r.code(target); code != http.StatusOK {
					t.Errorf("%s: %d", target, code)
				}
			}
		})
	}
}

// Where every place is taken by who downloads, health and metrics are answered all the same, and others are told to wait.
func TestLane(t *testing.T) {
	r, _ := run(t, serve.Options{MaxConnections: 2})
	r.request(t)
	r.request(t)
	for target, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/releases.json": 503, big: 503} {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		resp, err := client.Get("http://" + r.address + target)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != want || !resp.Close {
			t.Errorf("%s: %d, the connection ends: %t; want %d", target, resp.StatusCode, resp.Close, want)
		}
	}
}

// One client that reads slowly takes the places of one client.
func TestGreedyClient(t *testing.T) {
	r, _ := run(t, serve.Options{MaxRequests: 8, MaxClientRequests: 2})
	r.request(t)
	c, _ := r.request(t)
	resp, err := http.Get("http://" + r.address + "/")
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	if code := r.code("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	must(t, c.Close())
	eventually(t, "a free place", func() bool { return r.code("/") == http.StatusOK })
}

// end is a connection of an address.
type end struct {
	net.Conn
	at     string
	closed bool
}

func (e *end) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(e.at)) }

func (e *end) Close() error {
	e.closed = true
	return nil
}

// TestGate lets connections come in the order of their names, of which some are asking for something.
func TestGate(t *testing.T) {
	many := func(n int, at string) []string { return slices.Repeat([]string{at}, n) }
	for _, tt := range []struct {
		name  string
		come  []string // addresses; with ! for those that go on asking
		limit serve.Options
		want  string // for each: i in, l in the lane, - refused; in capitals, for those that were closed since
	}{
		{"few", many(3, "192.0.2.1:1"), serve.Options{}, "iii"},
		{"idle ones of one client", many(4, "192.0.2.1:1"), serve.Options{MaxClientConnections: 2}, "IIii"},
		{"busy ones of one client", many(3, "!192.0.2.1:1"), serve.Options{MaxClientConnections: 2}, "iil"},
		{"the eldest that is idle", []string{"!192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4"}, serve.Options{MaxClientConnections: 3}, "iIii"},
		{"other clients are not touched", []string{"192.0.2.2:1", "192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"}, serve.Options{MaxClientConnections: 2}, "iIii"},
		{"who has most loses one", []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:2", "192.0.2.3:1"}, serve.Options{MaxConnections: 3}, "iIii"},
		{"who has most is busy", []string{"192.0.2.1:1", "!192.0.2.2:1", "!192.0.2.2:2", "192.0.2.3:1"}, serve.Options{MaxConnections: 3}, "Iiii"},
		{"all are busy", []string{"!192.0.2.1:1", "!192.0.2.2:1", "192.0.2.3:1"}, serve.Options{MaxConnections: 2}, "iil"},
		{"one network of IPv6", []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:1::1]:1"}, serve.Options{MaxClientConnections: 1}, "Iii"},
		{"IPv4 in IPv6", []string{"192.0.2.1:1", "[::ffff:192.0.2.1]:1"}, serve.Options{MaxClientConnections: 1}, "Ii"},
		{"the lane of one client, idle", append(many(2, "!192.0.2.1:1"), many(10, "192.0.2.2:1")...), serve.Options{MaxConnections: 2}, "ii" + "LL" + strings.Repeat("l", 8)},
		{"the lane of one client, busy", append(many(2, "!192.0.2.1:1"), many(10, "!192.0.2.2:1")...), serve.Options{MaxConnections: 2}, "ii" + strings.Repeat("l", 8) + "--"},
	} {
		g := serve.NewGate(tt.limit)
		var ends []*end
		var got []byte
		for _, at := range tt.come {
			at, busy := strings.CutPrefix(at, "!")
			e := &end{at: at}
			c, laned := g.Admit(e)
			switch {
			case c == nil:
				got = append(got, '-')
			case laned:
				got = append(got, 'l')
			default:
				got = append(got, 'i')
			}
			if busy && c != nil {
				g.State(c, http.StateActive)
			}
			ends = append(ends, e)
		}
		for i, e := range ends {
			if e.closed && got[i] != '-' {
				got[i] -= 'a' - 'A'
			}
			if !e.closed && got[i] == '-' {
				t.Errorf("%s: %d was refused and is open", tt.name, i)
			}
		}
		if string(got) != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A connection that has asked is idle again, and one that is closed leaves its place, once.
func TestGatePlaces(t *testing.T) {
	g := serve.NewGate(serve.Options{MaxConnections: 2})
	var conns []net.Conn
	for i := range 2 {
		c, _ := g.Admit(&end{at: fmt.Sprintf("192.0.2.%d:1", i+1)})
		g.State(c, http.StateActive)
		conns = append(conns, c)
	}
	must(t, conns[0].Close())
	must(t, conns[0].Close())
	third := &end{at: "192.0.2.3:1"}
	c, laned := g.Admit(third)
	g.State(c, http.StateActive)
	if _, again := g.Admit(&end{at: "192.0.2.4:1"}); laned || !again {
		t.Error("closing twice does not make one place")
	}
	g.State(c, http.StateIdle)
	if _, laned := g.Admit(&end{at: "192.0.2.4:1"}); laned || !third.closed {
		t.Error("one that has had its answer keeps its place")
	}
}

// lines keeps what several goroutines log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func TestAccessLog(t *testing.T) {
	var out lines
	h := serving(t, shelves(t), serve.Options{Log: slog.NewJSONHandler(&out, nil)})
	sent := get(h, "/releases/hello/1.9.0/files/archives/hello_1.9.0_linux_arm64.tar.gz", "User-Agent", "a\nb\x1b["+strings.Repeat("x", 5000)).Body.Len()
	get(h, "/%0a%1b")
	get(h, "/healthz")
	var records []map[string]any
	for line := range strings.Lines(out.b.String()) {
		var record map[string]any
		must(t, json.Unmarshal([]byte(line), &record))
		records = append(records, record)
		if len(line) > 1500 {
			t.Errorf("a line of %d bytes", len(line))
		}
		if strings.ContainsRune(line, '\x1b') {
			t.Errorf("a control character in %q", line)
		}
	}
	if len(records) != 2 {
		t.Fatalf("%d records, want 2: the probes are not at this level", len(records))
	}
	for key, want := range map[string]any{
		"msg": "request", "method": "GET", "route": "file", "status": 200.0, "bytes": float64(sent),
		"path": "/releases/hello/1.9.0/files/archives/hello_1.9.0_linux_arm64.tar.gz",
	} {
		if got := records[0][key]; got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if records[1]["status"] != 400.0 {
		t.Errorf("%v", records[1])
	}
}

// TestDownloadsAtOnce has several clients fetch while the folder is read again and again.
func TestDownloadsAtOnce(t *testing.T) {
	r, payload := run(t, serve.Options{Rescan: time.Millisecond})
	want := artifact.Sum(payload)
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			resp, err := http.Get("http://" + r.address + big)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			meter := artifact.NewMeter(io.Discard)
			if _, err := io.Copy(meter, resp.Body); err != nil || meter.Digest() != want {
				t.Errorf("%d bytes, %s, %v", meter.Size(), meter.Digest(), err)
			}
		})
	}
	clients.Wait()
}
