package squashfs

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/bits"

	"github.com/klauspost/compress/zstd"
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
	dictionary := max(lzma.MinDictCap, 1<<bits.Len(uint(len(b)-1)))
	le := binary.LittleEndian
	summed := func(to, b []byte) []byte { return le.AppendUint32(append(to, b...), crc32.ChecksumIEEE(b)) }

	// A stream of one block, of one filter (https://tukaani.org/xz/xz-file-format.txt).
	const check = 1 // CRC32
	var out bytes.Buffer
	out.Write(summed([]byte("\xfd7zXZ\x00"), []byte{0, check}))
	begin := out.Len()
	out.Write(summed(nil, []byte{2, 0, 0x21, 1, lzma.EncodeDictCap(int64(dictionary)), 0, 0, 0}))
	w, err := lzma.Writer2Config{DictCap: dictionary}.NewWriter2(&out)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	size := out.Len() - begin + crc32.Size
	out.Write(make([]byte, -size&3))
	out.Write(le.AppendUint32(nil, crc32.ChecksumIEEE(b)))

	index := binary.AppendUvarint(binary.AppendUvarint([]byte{0, 1}, uint64(size)), uint64(len(b)))
	index = summed(nil, append(index, make([]byte, -len(index)&3)...))
	out.Write(index)
	footer := append(le.AppendUint32(nil, uint32(len(index)/4-1)), 0, check)
	out.Write(le.AppendUint32(nil, crc32.ChecksumIEEE(footer)))
	out.Write(append(footer, "YZ"...))
	return out.Bytes(), nil
}
