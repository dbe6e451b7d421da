package serve

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// piece is how much of an answer is sent under one deadline, in bytes. A system takes more from a program only when a
// part of its buffer is free again (a third on Linux, at most 1.4 MB), so that a client must read as much in each
// WriteTimeout: 27 KiB a second at the worst. One that is cut off goes on with a range.
const piece = 256 << 10

// tail is how many of the last bytes of a file are kept back until it is known that all before them was right: an answer that
// is cut off is not taken for whole.
const tail = 4 << 10

// response counts what is sent, and gives a client as long as it needs while it keeps reading: each piece of the
// answer has a deadline of its own. A file goes from the disk to the network without passing through the program where
// the system can do that.
type response struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	still   func() error // says, if it is not nil, whether what is being sent is still what it was
	status  int
	bytes   int64
}

// code is the status that was sent.
func (w *response) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends the status. The headers of a file do not go with an error.
func (w *response) WriteHeader(code int) {
	if w.status == 0 {
		w.status = code
	}
	if code >= http.StatusBadRequest {
		h := w.Header()
		if h["Content-Encoding"] != nil {
			h.Del("Content-Length")
		}
		for _, name := range []string{"Content-Disposition", "Content-Encoding", "Etag", "Last-Modified", "Repr-Digest"} {
			h.Del(name)
		}
		h.Set("Cache-Control", "no-store")
	}
	w.ResponseWriter.WriteHeader(code)
}

// extend gives the client the time for another piece.
func (w *response) extend() error {
	err := w.control.SetWriteDeadline(time.Now().Add(w.timeout))
	if errors.Is(err, http.ErrNotSupported) { // a recorder in a test has no client to wait for
		return nil
	}
	return err
}

// Write sends b, piece by piece.
func (w *response) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		if err := w.extend(); err != nil {
			return written, err
		}
		n, err := w.ResponseWriter.Write(b[:min(piece, len(b))])
		written += n
		w.bytes += int64(n)
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}

// piece sends the next n bytes of r, which are the last ones or not.
func (w *response) piece(r io.Reader, n int64, last bool) (int64, error) {
	if w.still != nil && last {
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return 0, err
		}
		if err := w.still(); err != nil {
			return 0, err
		}
		sent, err := w.ResponseWriter.Write(b)
		return int64(sent), err
	}
	return io.Copy(w.ResponseWriter, &io.LimitedReader{R: r, N: n})
}

// ReadFrom sends all of r, piece by piece.
func (w *response) ReadFrom(r io.Reader) (int64, error) {
	left := int64(-1) // without a bound
	if bounded, ok := r.(*io.LimitedReader); ok {
		r, left = bounded.R, bounded.N // the kernel copies from a file behind one bound and not behind two
		defer func() { bounded.N = left }()
	}
	var written int64
	for left != 0 {
		n := int64(piece)
		if left > 0 {
			n = min(n, left)
		}
		if w.still != nil && n == left && n > tail {
			n -= tail
		}
		if err := w.extend(); err != nil {
			return written, err
		}
		sent, err := w.piece(r, n, n == left)
		written += sent
		w.bytes += sent
		if left > 0 {
			left -= sent
		}
		if err != nil {
			return written, err
		}
		if sent < n {
			break
		}
	}
	return written, nil
}
