package apk

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"
)

// Whatever pieces it is written in, what a reader gets is what was written, and the bytes are the same.
func FuzzBlocks(f *testing.F) {
	for _, size := range []int{0, 1, tailSize, blockSize - 1, blockSize, blockSize + 1, 2*blockSize + tailSize} {
		f.Add([]byte("some text\n"), size, 1000)
		f.Add([]byte{0}, size, blockSize)
	}
	f.Fuzz(func(t *testing.T, pattern []byte, size, piece int) {
		if size < 0 || size > 3*blockSize || piece < 100 || len(pattern) == 0 {
			t.Skip()
		}
		text := bytes.Repeat(pattern, size/len(pattern)+1)[:size]
		compress := func(piece int) []byte {
			var out bytes.Buffer
			b := newBlocks(&out)
			for rest := text; len(rest) > 0; {
				n := min(piece, len(rest))
				if written, err := b.Write(rest[:n]); written != n || err != nil {
					t.Fatalf("%d of %d bytes: %v", written, n, err)
				}
				rest = rest[n:]
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}
		out := compress(piece)
		if !bytes.Equal(out, compress(len(text)+1)) {
			t.Errorf("%d bytes in pieces of %d are compressed to others", size, piece)
		}
		zr, err := gzip.NewReader(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(zr); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes became %d: %v", size, len(got), err)
		}
	})
}

// An error of the writer behind it ends the stream, wherever it comes.
func TestBlocksFail(t *testing.T) {
	full := errors.New("no space left on device")
	text := bytes.Repeat([]byte("some text\n"), blockSize/4)
	var out bytes.Buffer
	b := newBlocks(&out)
	_, _ = b.Write(text)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for room := 0; room < out.Len(); room += 97 {
		b := newBlocks(&limited{room, full})
		_, err := b.Write(text)
		if closed := b.Close(); !errors.Is(closed, full) || err != nil && !errors.Is(err, full) {
			t.Fatalf("after %d bytes: %v, %v", room, err, closed)
		}
	}
}

// limited takes so many bytes.
type limited struct {
	room int
	err  error
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.room)
	if l.room -= n; n < len(b) {
		return n, l.err
	}
	return n, nil
}
