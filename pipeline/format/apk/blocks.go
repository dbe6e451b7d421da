package apk

import (
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// The sizes with which apks have been compressed from the first release on. Another would change the bytes of every one.
const (
	blockSize = 1 << 20
	tailSize  = 16 << 10
)

// blocks compresses with gzip in blocks of one size. Each ends at a whole byte, and knows no more of the one before it than
// its tail. The header is empty, as that of archive.Gzip.
type blocks struct {
	w     io.Writer
	flate *flate.Writer
	crc   hash.Hash32
	size  uint32 // modulo 2^32, as gzip keeps it
	block int    // bytes in the block that is not full
	tail  []byte // of the block
	err   error  // the first
}

func newBlocks(w io.Writer) *blocks {
	// An error is possible only for a level out of range.
	f, _ := flate.NewWriterDict(w, flate.DefaultCompression, nil)
	_, err := w.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}) // https://www.rfc-editor.org/rfc/rfc1952#section-2.3
	return &blocks{w: w, flate: f, crc: crc32.NewIEEE(), err: err}
}

func (b *blocks) Write(p []byte) (n int, err error) {
	for len(p) > 0 && b.err == nil {
		part := p[:min(len(p), blockSize-b.block)]
		if _, b.err = b.flate.Write(part); b.err != nil {
			break
		}
		b.crc.Write(part)
		b.size += uint32(len(part)) //nolint:gosec // a part is at most a block
		b.tail = append(b.tail, part...)
		b.tail = b.tail[max(0, len(b.tail)-tailSize):]
		n, p = n+len(part), p[len(part):]
		if b.block += len(part); b.block == blockSize {
			b.err = b.flate.Flush()
			b.flate.ResetDict(b.w, b.tail)
			b.block, b.tail = 0, nil
		}
	}
	return n, b.err
}

// Close writes the last block, which may be empty, and what ends a stream.
func (b *blocks) Close() error {
	if b.err == nil {
		b.err = b.flate.Flush()
	}
	if b.err == nil {
		b.err = b.flate.Close()
	}
	if b.err == nil {
		end := binary.LittleEndian.AppendUint32(nil, b.crc.Sum32())
		_, b.err = b.w.Write(binary.LittleEndian.AppendUint32(end, b.size))
	}
	return b.err
}
