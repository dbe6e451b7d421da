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
	r := running{ln.Addr().String(), cancel, make(chan error, 1)}
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
	r, _ := run(t, serve.Options{ReadTimeout: 200 * time.Millisecond})
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

func TestLimit(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ln := serve.Limit(inner, 2)
	accepted := make(chan net.Conn)
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	dial := func() {
		c, err := net.Dial("tcp", inner.Addr().String())
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
	}
	dial()
	dial()
	dial()
	first, second := <-accepted, <-accepted
	select {
	case <-accepted:
		t.Fatal("a third connection was accepted")
	case <-time.After(50 * time.Millisecond):
	}
	must(t, first.Close())
	_ = first.Close() // a second time frees no second place
	third := <-accepted
	dial()
	select {
	case <-accepted:
		t.Fatal("closing twice made two places")
	case <-time.After(50 * time.Millisecond):
	}
	must(t, ln.Close())
	if err := <-ended; err == nil {
		t.Error("Accept did not end")
	}
	must(t, second.Close())
	must(t, third.Close())
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
