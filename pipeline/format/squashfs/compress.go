package squashfs

import (
	"bytes"
	"math/bits"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// Compression is how the blocks of an image are compressed.
type Compression string

// The compressions.
const (
	XZ   Compression = "xz"
	Zstd Compression = "zstd" // Linux since 4.14
)

// compressors are the numbers of the format.
var compressors = map[Compression]uint16{XZ: 4, Zstd: 6}

// compressor compresses single blocks, none of them empty. It serves one goroutine at a time, and what it makes of a
// block does not depend on earlier ones.
type compressor interface {
	compress(block []byte) ([]byte, error)
}

// newCompressor is for blocks of at most the given size.
func newCompressor(c Compression, size int) (compressor, error) {
	if c == Zstd {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(size), zstd.WithEncoderCRC(false))
		return zstdCompressor{e}, err
	}
	return xzCompressor{}, nil
}

type zstdCompressor struct{ *zstd.Encoder }

func (c zstdCompressor) compress(b []byte) ([]byte, error) { return c.EncodeAll(b, nil), nil }

type xzCompressor struct{}

// The kernel knows CRC32 and no other check, and refuses a dictionary that is larger than the blocks of the image
// (https://docs.kernel.org/staging/xz.html). A small block has a small one, which takes less time to make.
func (xzCompressor) compress(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := xz.WriterConfig{DictCap: max(lzma.MinDictCap, 1<<bits.Len(uint(len(b)-1))), CheckSum: xz.CRC32}.NewWriter(&out)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}
