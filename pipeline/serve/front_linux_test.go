package serve_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/serve"
)

// appending are connections to which the system sends no file by itself: see EINVAL in
// https://man7.org/linux/man-pages/man2/sendfile.2.html.
type appending struct{ net.Listener }

func (a appending) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_SETFL, syscall.O_APPEND|syscall.O_NONBLOCK)
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return c, err
}

func TestFrontWithoutSendfile(t *testing.T) {
	w := newTwins(t, serve.Options{})
	socket := filepath.Join(filepath.Dir(w.here), "c")
	l, err := net.Listen("unix", socket)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- serve.New(serve.Options{Root: w.root}).Run(ctx, appending{l}) }()
	defer func() {
		cancel()
		must(t, <-done)
	}()
	request := "GET " + largeFile + " HTTP/1.1\r\nHost: x\r\n\r\n"
	want := ask(t, w.there, request)
	for range 3 {
		if got := ask(t, socket, request); got != want {
			t.Errorf("got %d bytes, want %d: %.100q", len(got), len(want), strings.TrimPrefix(got, want))
		}
	}
}

// However often a file changes, it is held open once, and the next one that is asked for is too.
func TestFrontHeld(t *testing.T) {
	w := newTwins(t, serve.Options{})
	file := filepath.Join(w.root, "archives", "hello_1.2.3_linux_amd64.tar.gz")
	for i := range 70 {
		must(t, os.Chtimes(file, time.Time{}, time.Unix(int64(1e9+i), 0)))
		for range 2 {
			if got := ask(t, w.here, "GET "+largeFile+" HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
				t.Fatalf("%.100s", got)
			}
		}
		if n := w.server.Held(); n != 1 {
			t.Fatalf("after %d changes %d files are held", i, n)
		}
	}
}
