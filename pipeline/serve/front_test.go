package serve_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/serve/environments"
)

const (
	smallFile = "/releases/hello/1.2.3/files/SHA256SUMS"
	largeFile = "/releases/hello/1.2.3/download/hello_1.2.3_linux_amd64.tar.gz"
)

// twins are a server and net/http alone with its handler, which must give the same answers.
type twins struct {
	server      *serve.Server
	here, there string // sockets
	root        string
}

func newTwins(t testing.TB, o serve.Options) twins {
	t.Helper()
	t.Cleanup(serve.Grain(0))
	o.Root = t.TempDir()
	o.HeaderTimeout, o.Rescan = time.Second, time.Hour
	write(t, o.Root, verifytest.Options{Payload: bytes.Repeat([]byte("0123456789abcdef"), 20<<10)})
	sockets, err := os.MkdirTemp("", "twins") // t.TempDir is too long for a socket
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	w := twins{serve.New(o), filepath.Join(sockets, "a"), filepath.Join(sockets, "b"), o.Root}
	here, err := net.Listen("unix", w.here)
	must(t, err)
	there, err := net.Listen("unix", w.there)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.server.Run(ctx, here) }()
	plain := &http.Server{Handler: w.server.Handler(), ReadHeaderTimeout: o.HeaderTimeout, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() { _ = plain.Serve(there) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
		must(t, plain.Close())
	})
	for _, target := range []string{"/", smallFile, largeFile} {
		eventually(t, target, func() bool {
			return strings.HasPrefix(ask(t, w.there, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 ")
		})
	}
	return w
}

var date = regexp.MustCompile(`(?m)^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n`)

// ask sends the parts of a request, each by itself, and returns all that comes back, without the time.
func ask(t testing.TB, socket string, parts ...string) string {
	t.Helper()
	c, err := net.Dial("unix", socket)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	for i, part := range parts {
		if i > 0 {
			time.Sleep(time.Millisecond)
		}
		if _, err := io.WriteString(c, part); err != nil {
			break // who was refused is told so
		}
	}
	_ = c.(*net.UnixConn).CloseWrite()
	b, _ := io.ReadAll(c) // the end may be one that the server made
	return date.ReplaceAllString(string(b), "")
}

func (w twins) compare(t testing.TB, what string, parts ...string) string {
	t.Helper()
	got, want := ask(t, w.here, parts...), ask(t, w.there, parts...)
	if got != want {
		t.Errorf("%s: %q: got\n%.2000s\nnet/http says\n%.2000s", what, parts, got, want)
	}
	return got
}

// TestFront holds what is answered without net/http to what net/http answers, byte for byte.
func TestFront(t *testing.T) {
	w := newTwins(t, serve.Options{})
	tagOf := func(target string) string {
		return regexp.MustCompile(`Etag: (\S+)`).FindStringSubmatch(ask(t, w.there, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n"))[1]
	}
	get := func(target string, header ...string) string {
		return strings.Join(append([]string{"GET " + target + " HTTP/1.1", "Host: x"}, header...), "\r\n") + "\r\n\r\n"
	}
	tag, largeTag, homeTag := tagOf(smallFile), tagOf(largeFile), tagOf("/")
	many := "X: " + strings.Repeat("x", 3000)
	for _, tt := range []struct {
		name, request string
		plain         int64 // requests that net/http does not see
	}{
		{"home", get("/"), 1},
		{"listing", get("/releases.json"), 1},
		{"index", get("/charts/index.yaml"), 1},
		{"chart", get("/charts/hello-1.2.3.tgz"), 1},
		{"small file", get(smallFile), 1},
		{"large file", get(largeFile), 1},
		{"a browser", get("/", "User-Agent: Mozilla/5.0 (X)", "Accept: text/html,*/*;q=0.8", "Accept-Encoding: gzip, deflate, br", "Connection: Keep-Alive", "Cookie: a=b; c=\"d\"", "Cache-Control: max-age=0", "Pragma: no-cache", "X-Empty:", "x-forwarded-proto:\thttps \t"), 1},
		{"text beyond ASCII", get("/", "X: \xc3\xa9\xff"), 1},
		{"unchanged home", get("/", "If-None-Match: "+homeTag), 1},
		{"unchanged small file", get(smallFile, "if-none-match:"+tag), 1},
		{"unchanged large file", get(largeFile, "If-None-Match: "+largeTag), 1},
		{"changed", get(smallFile, "If-None-Match: \"x\""), 0},
		{"one of two tags", get(smallFile, "If-None-Match: \"x\", "+tag), 0},
		{"two fields of tags", get(smallFile, "If-None-Match: "+tag, "If-None-Match: "+tag), 0},
		{"weak tag", get(smallFile, "If-None-Match: W/"+tag), 0},
		{"any tag", get(smallFile, "If-None-Match: *"), 0},
		{"no tag", get(smallFile, "If-None-Match:"), 0},
		{"no tag, then one", get(smallFile, "If-None-Match:", "If-None-Match: "+tag), 0},
		{"other conditions", get(smallFile, "If-None-Match: "+tag, "If-Match: \"x\""), 0},
		{"range", get(smallFile, "Range: bytes=0-3"), 0},
		{"since", get(smallFile, "If-Modified-Since: Sat, 14 Mar 2037 15:09:26 GMT"), 0},
		{"compressed", get("/", "Accept-Encoding: gzip"), 1},
		{"compressed, by weight", get("/", "Accept-Encoding: br;q=1.0, GZIP ; q=0.5"), 1},
		{"not compressed, by weight", get("/", "Accept-Encoding: gzip;q=0.000, *"), 1},
		{"two fields of codings", get("/", "Accept-Encoding: br", "Accept-Encoding: gzip"), 0},
		{"a compressed file", get(largeFile, "Accept-Encoding: gzip"), 1},
		{"unchanged, compressed", get("/", "Accept-Encoding: gzip", "If-None-Match: "+strings.TrimSuffix(homeTag, `"`)+`-gzip"`), 1},
		{"compressed by now", get("/", "Accept-Encoding: gzip", "If-None-Match: "+homeTag), 0},
		{"compressed, if it were another", get("/", "Accept-Encoding: gzip", "If-Match: \"x\""), 0},
		{"HEAD, compressed", "HEAD / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", 0},
		{"a part of it that is not there, compressed", get("/", "Accept-Encoding: gzip", "Range: bytes=99999999-"), 0},
		{"a part of it compressed", get("/", "Accept-Encoding: gzip", "Range: bytes=2-5"), 0},
		{"HEAD", "HEAD " + smallFile + " HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		{"POST", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 0},
		{"query", get("/?page=1"), 0},
		{"empty query", get("/?"), 0},
		{"escape", get("/releases/hello/1.2.3/files/SHA256SUM%53"), 1},
		{"hidden dots", get("/releases/hello/1.2.3/files/%2e%2e/SHA256SUMS"), 0},
		{"dots", get("/releases/hello/1.2.3/files/../files/SHA256SUMS"), 0},
		{"two slashes", get("//"), 0},
		{"nothing there", get("/releases/hello/1.2.3/files/x"), 0},
		{"another release", get("/releases/hello/9.9.9/files/SHA256SUMS"), 0},
		{"page of a release", get("/releases/hello/1.2.3/"), 0},
		{"health", get("/healthz"), 0},
		{"latest", get("/latest"), 0},
		{"pipelined", get("/") + get(smallFile) + get(largeFile) + get("/", "If-None-Match: "+homeTag), 4},
		{"pipelined behind one that is not plain", get("/") + get("/latest") + get("/"), 1},
		{"pipelined, half of the last", get("/") + "GET / HTTP/1.1\r\nHo", 1},
		{"pipelined, three bytes of the last", get("/") + "GET", 1},
		{"pipelined, four bytes of the last", get("/") + "GET ", 1},
		{"an empty line behind", get("/") + "\r\n", 1},
		{"two empty lines behind", get("/") + "\r\n\r\n", 1},
		{"an empty line between", get("/") + "\r\n" + get("/"), 1},
		{"nothing", "", 0},
		{"half a line", "GE", 0},
		{"half a header", "GET / HTTP/1.1\r\nHost: x\r\n", 0},
		{"large, and plain", get("/", many), 1},
		{"too large to be plain", get("/", many, many), 0},
		{"too large", get("/", many, many, many, many, many, many, many, many), 0},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: x\r\n\r\n", 0},
		{"HTTP/1.0, kept alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0},
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", 0},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
		{"HTTP/0.9", "GET /\r\n\r\n", 0},
		{"not HTTP", "\x16\x03\x01\x02\x00\x01\n\r\n\r\n", 0},
		{"empty line first", "\r\n" + get("/"), 0},
		{"bare LF", "GET / HTTP/1.1\nHost: x\n\n", 0},
		{"bare LF at the end", "GET / HTTP/1.1\r\nHost: x\r\n\n", 0},
		{"bare LF between", "GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 0},
		{"bare CR", "GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 0},
		{"CR CR LF", "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", 0},
		{"NUL", get("/", "X: a\x00b"), 0},
		{"obs-fold", get("/", "X: a", " b"), 0},
		{"obs-fold with a tab", get("/", "X: a", "\tContent-Length: 5"), 0},
		{"folded first", "GET / HTTP/1.1\r\n Host: x\r\nHost: x\r\n\r\n", 0},
		{"space before the colon", get("/", "Content-Length : 5"), 0},
		{"no colon", get("/", "X"), 0},
		{"no name", get("/", ": x"), 0},
		{"odd name", get("/", "X(: x"), 0},
		{"name beyond ASCII", get("/", "\xc3\xa9: x"), 0},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 0},
		{"two Hosts", get("/", "Host: x"), 0},
		{"two Hosts, one empty", get("/", "Host:"), 0},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
		{"odd Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 0},
		{"Host with a port", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 1},
		{"absolute form", "GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		{"authority form", "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		{"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		{"space in the target", "GET / x HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		{"tab for a space", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		{"space at the end", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 0},
		{"small letters", "get / HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		{"fragment", get("/#x"), 0},
		{"close", get("/", "Connection: close") + get("/"), 0},
		{"close among others", get("/", "Connection: keep-alive, close") + get("/"), 0},
		{"two Connections", get("/", "Connection: keep-alive", "Connection: close") + get("/"), 0},
		{"upgrade", get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), 0},
		{"body", get("/", "Content-Length: 5") + "GET /", 0},
		{"body that is a request", get("/", "Content-Length: 37") + get("/latest") + get("/"), 0},
		{"no body", get("/", "Content-Length: 0") + get("/"), 0},
		{"two lengths", get("/", "Content-Length: 0", "Content-Length: 37") + get("/latest"), 0},
		{"list of lengths", get("/", "Content-Length: 0, 0") + get("/latest"), 0},
		{"signed length", get("/", "Content-Length: +0") + get("/latest"), 0},
		{"chunks", get("/", "Transfer-Encoding: chunked") + "0\r\n\r\n" + get("/"), 0},
		{"chunks and a length", get("/", "Content-Length: 3", "Transfer-Encoding: chunked") + "0\r\n\r\n" + get("/"), 0},
		{"odd coding", get("/", "Transfer-Encoding: xchunked") + "0\r\n\r\n" + get("/"), 0},
		{"coding after a tab", get("/", "Transfer-Encoding:\tchunked") + "0\r\n\r\n" + get("/"), 0},
		{"two codings", get("/", "Transfer-Encoding: identity", "Transfer-Encoding: chunked") + "0\r\n\r\n" + get("/"), 0},
		{"trailer", get("/", "Trailer: X", "TE: trailers"), 0},
		{"expectation", get("/", "Expect: 100-continue"), 0},
		{"another expectation", get("/", "Expect: x"), 0},
	} {
		before := w.server.Plain()
		whole := w.compare(t, tt.name, tt.request)
		if plain := w.server.Plain() - before; plain != tt.plain {
			t.Errorf("%s: %d requests were answered without net/http, want %d", tt.name, plain, tt.plain)
		}
		// However the bytes come, they are the same request.
		if len(tt.request) > 1000 || tt.name == "large file" {
			continue
		}
		for at := 1; at < len(tt.request); at += fixture.Stride(3) {
			if got := ask(t, w.here, tt.request[:at], tt.request[at:]); got != whole {
				t.Fatalf("%s: cut at byte %d: got\n%.2000s\nwant\n%.2000s", tt.name, at, got, whole)
			}
		}
	}
	each := strings.Split(get(smallFile, "X: y"), "")
	if before := w.server.Plain(); w.compare(t, "byte by byte", each...) == "" || w.server.Plain() != before+1 {
		t.Error("byte by byte: not answered")
	}
}

// A document that is compressed is the same one, is known as another one, and caches are told that there are two. A short one is not.
func TestCompressed(t *testing.T) {
	w := newTwins(t, serve.Options{})
	for _, tt := range []struct {
		path, accepts string
		want          bool
	}{
		{"/", "", false},
		{"/", "gzip, deflate, br", true},
		{"/", "deflate, GZip;q=0.1", true},
		{"/", "identity, gzip; q=0.0", false},
		{"/", "*", false},
		{"/charts/index.yaml", "gzip", false}, // it has one chart
		{smallFile, "gzip", false},
	} {
		read := func(accepts string) (*http.Response, string) {
			answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(ask(t, w.here, "GET "+tt.path+" HTTP/1.1\r\nHost: x\r\nAccept-Encoding: "+accepts+"\r\n\r\n"))), nil)
			must(t, err)
			b, err := io.ReadAll(answer.Body)
			must(t, err)
			if answer.ContentLength != int64(len(b)) {
				t.Errorf("%s: %d bytes of %d", tt.path, len(b), answer.ContentLength)
			}
			return answer, string(b)
		}
		plain, want := read("")
		answer, got := read(tt.accepts)
		is := answer.Header.Get("Content-Encoding") == "gzip"
		if is {
			if len(got) >= len(want) || answer.Header.Get("Etag") == plain.Header.Get("Etag") {
				t.Errorf("%s: %d bytes, %d before, as %s", tt.path, len(got), len(want), answer.Header.Get("Etag"))
			}
			r, err := gzip.NewReader(strings.NewReader(got))
			must(t, err)
			b, err := io.ReadAll(r)
			must(t, err)
			got = string(b)
		}
		if is != tt.want || got != want || (len(want) >= environments.MinPacked && tt.path != smallFile) != (plain.Header.Get("Vary") == "Accept-Encoding") {
			t.Errorf("%s, %q: compressed is %t; Vary is %q", tt.path, tt.accepts, is, plain.Header.Get("Vary"))
		}
	}
}

// FuzzFront sends any bytes to a server and to net/http alone.
func FuzzFront(f *testing.F) {
	w := newTwins(f, serve.Options{})
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET " + smallFile + " HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"x\"\r\n\r\nGET / HTTP/1.1\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET / HTTP/1.1\nHost: x\nConnection: close\n\n",
		"GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip;q=0.1\r\n\r\n", "GET http://x/ HTTP/1.1\r\nHost: y\r\nX: a\r\n b\r\n\r\n", "HEAD / HTTP/1.0\r\n\r\n",
	} {
		f.Add([]byte(s), uint16(len(s)/2))
	}
	f.Fuzz(func(t *testing.T, request []byte, cut uint16) {
		at := min(int(cut), len(request))
		got, want := ask(t, w.here, string(request[:at]), string(request[at:])), ask(t, w.there, string(request))
		if got != want && !strings.Contains(got, "slipway_build_info") {
			t.Errorf("%q: got\n%.2000s\nnet/http says\n%.2000s", request, got, want)
		}
	})
}

// A client has as long for a request as if it had asked for nothing before, however many go before it and however slowly it took
// their answers.
func TestFrontTime(t *testing.T) {
	w := newTwins(t, serve.Options{IdleTimeout: 200 * time.Millisecond})
	small, large := "GET "+smallFile+" HTTP/1.1\r\nHost: x\r\n\r\n", "GET "+largeFile+" HTTP/1.1\r\nHost: x\r\n\r\n"
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("unix", w.here)
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		return c, bufio.NewReader(c)
	}
	send := func(c net.Conn, s string) {
		t.Helper()
		_, err := io.WriteString(c, s)
		must(t, err)
	}
	read := func(r *bufio.Reader) {
		t.Helper()
		answer, err := http.ReadResponse(r, nil)
		must(t, err)
		_, err = io.Copy(io.Discard, answer.Body)
		must(t, err)
	}
	before := w.server.Plain()
	c, r := dial()
	send(c, large)
	time.Sleep(400 * time.Millisecond) // longer than a connection may lie idle
	read(r)
	send(c, small)
	read(r)

	c, r = dial()
	send(c, small[:20])
	for range 6 { // each time half of a request is behind a whole one, for longer than one header may take
		time.Sleep(200 * time.Millisecond)
		send(c, small[20:]+small[:20])
		read(r)
	}
	if n := w.server.Plain() - before; n != 8 {
		t.Errorf("%d requests were plain, want 8", n)
	}
}

// A disk that loses a bit shows only when the file is read: then it is sent no more, though it lies open.
func TestFrontRot(t *testing.T) {
	w := newTwins(t, serve.Options{CheckRate: 1 << 30, CheckPause: time.Hour})
	eventually(t, "the first round", func() bool {
		return strings.Contains(ask(t, w.there, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), "slipway_check_rounds_total 1\n")
	})
	request := "GET " + largeFile + " HTTP/1.1\r\nHost: x\r\n\r\n"
	const name = "archives/hello_1.2.3_linux_amd64.tar.gz"
	file := filepath.Join(w.root, name)
	b, err := os.ReadFile(file)
	must(t, err)
	b[len(b)/2]++
	must(t, os.WriteFile(file, b, 0o644))
	must(t, w.server.Trust("hello/1.2.3", name))
	before := w.server.Plain()
	for range 2 {
		if got := ask(t, w.here, request); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Fatalf("%.100s", got)
		}
	}
	if n := w.server.Plain() - before; n != 2 {
		t.Errorf("%d of 2 requests were plain", n)
	}
	w.server.Patrol(t.Context())
	if got := w.compare(t, "damaged", request); !strings.HasPrefix(got, "HTTP/1.1 500 ") {
		t.Errorf("sent though it is known to be damaged: %.100s", got)
	}
}

// What is not as it was is not answered by what lies ready, in whatever way it changed.

// What is not as it was is not answered by what lies ready, in whatever way it changed.
func TestFrontDamage(t *testing.T) {
	for how, change := range map[string]func(file string, b []byte) error{
		"written": func(file string, b []byte) error { return os.WriteFile(file, b, 0o644) },
		"replaced": func(file string, b []byte) error {
			info, err := os.Stat(file)
			must(t, err)
			must(t, os.WriteFile(file+".new", b, 0o644))
			must(t, os.Chtimes(file+".new", info.ModTime(), info.ModTime()))
			return os.Rename(file+".new", file)
		},
		"removed": func(file string, _ []byte) error { return os.Remove(file) },
	} {
		w := newTwins(t, serve.Options{})
		for target, name := range map[string]string{"/charts/hello-1.2.3.tgz": "charts/hello-1.2.3.tgz", largeFile: "archives/hello_1.2.3_linux_amd64.tar.gz"} {
			request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target)
			before := w.server.Plain()
			for range 3 {
				if got := ask(t, w.here, request); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
					t.Fatalf("%s: %.100s", target, got)
				}
			}
			if n := w.server.Plain() - before; n != 3 {
				t.Errorf("%s: %d of 3 requests were plain", target, n)
			}
			file := filepath.Join(w.root, name)
			b, err := os.ReadFile(file)
			must(t, err)
			b[len(b)/2]++
			must(t, change(file, b))
			time.Sleep(20 * time.Millisecond) // longer than what is in memory is believed for
			if got := w.compare(t, target, request); strings.HasPrefix(got, "HTTP/1.1 200 ") {
				t.Errorf("%s was %s, and is sent", target, how)
			}
		}
	}
}
