package archive

import (
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// Gzip returns a writer of gzip data whose header is empty: no name, no time, operating system unknown
// (https://www.rfc-editor.org/rfc/rfc1952#section-2.3).
func Gzip(w io.Writer) io.WriteCloser { return newGzip(w, flate.DefaultCompression, 0) }

// GzipBest is Gzip, compressed as well as it can be, which takes long.
func GzipBest(w io.Writer) io.WriteCloser { return newGzip(w, flate.BestCompression, 2) }

// gzipWriter puts the pinned compressor's data between a header and their checksum.
type gzipWriter struct {
	w      io.Writer
	flate  *flate.Writer
	header []byte // until it is written
	crc    hash.Hash32
	size   uint32 // modulo 2^32
}

func newGzip(w io.Writer, level int, extra byte) *gzipWriter {
	// An error is possible only for a level out of range.
	f, _ := flate.NewWriter(w, level)
	return &gzipWriter{w: w, flate: f, header: []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extra, 255}, crc: crc32.NewIEEE()}
}

func (z *gzipWriter) begin() error {
	if z.header == nil {
		return nil
	}
	_, err := z.w.Write(z.header)
	z.header = nil
	return err
}

func (z *gzipWriter) Write(p []byte) (int, error) {
	if err := z.begin(); err != nil {
		return 0, err
	}
	n, err := z.flate.Write(p)
	z.crc.Write(p[:n])
	z.size += uint32(n) //nolint:gosec // see size
	return n, err
}

func (z *gzipWriter) Close() error {
	if err := z.begin(); err != nil {
		return err
	}
	if err := z.flate.Close(); err != nil {
		return err
	}
	end := binary.LittleEndian.AppendUint32(nil, z.crc.Sum32())
	_, err := z.w.Write(binary.LittleEndian.AppendUint32(end, z.size))
	return err
}
