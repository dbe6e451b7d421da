package inspect

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// xzReader reads one xz stream of LZMA2 blocks (https://tukaani.org/xz/xz-file-format.txt). The library's own reader of
// the container takes the size of the dictionary from the file and allocates up to 4 GiB for it at once.
type xzReader struct {
	r       *counted
	dict    int64 // largest dictionary, in bytes
	room    int64 // what a dictionary is at most allocated for: more is never unpacked. 0 for no bound
	flags   [2]byte
	block   *lzma.Reader2
	started int64     // where the block's header begins
	packed  int64     // where its data begins
	sizes   [2]int64  // of the block, packed and unpacked, as its header says, or -1
	size    int64     // unpacked so far
	sum     hash.Hash // of the block, or nil
	blocks  uint64
	records hash.Hash // of the sizes of all blocks: the index has to say the same
	err     error
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

func (c *counted) ReadByte() (byte, error) {
	if br, ok := c.r.(io.ByteReader); ok {
		b, err := br.ReadByte()
		if err == nil {
			c.n++
		}
		return b, err
	}
	var b [1]byte
	_, err := io.ReadFull(c, b[:])
	return b[0], err
}

var (
	xzMagic   = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	crc64ECMA = crc64.MakeTable(crc64.ECMA)
	errXZ     = errors.New("xz data is damaged")
)

// newXZ starts reading a stream whose dictionary has at most dict bytes.
func newXZ(r io.Reader, dict int64) (*xzReader, error) {
	x := &xzReader{r: &counted{r: r}, dict: dict, records: sha256.New()}
	head := make([]byte, 12)
	if _, err := io.ReadFull(x.r, head); err != nil {
		return nil, ends(err)
	}
	if !bytes.Equal(head[:6], xzMagic) || crc32.ChecksumIEEE(head[6:8]) != binary.LittleEndian.Uint32(head[8:]) {
		return nil, errors.New("no xz data")
	}
	x.flags = [2]byte(head[6:8])
	switch x.flags {
	case [2]byte{0, 0}:
	case [2]byte{0, 1}:
		x.sum = crc32.NewIEEE()
	case [2]byte{0, 4}:
		x.sum = crc64.New(crc64ECMA)
	case [2]byte{0, 10}:
		x.sum = sha256.New()
	default:
		return nil, fmt.Errorf("xz data with flags % x, which are not read", x.flags)
	}
	return x, nil
}

func (x *xzReader) Read(b []byte) (int, error) {
	if x.err != nil {
		return 0, x.err
	}
	if len(b) == 0 {
		return 0, nil
	}
	n, err := x.read(b)
	if err != nil {
		x.err = err
		if err == io.ErrUnexpectedEOF {
			x.err = errEnds
		}
		if n > 0 {
			return n, nil
		}
	}
	return n, x.err
}

func (x *xzReader) read(b []byte) (int, error) {
	for {
		if x.block == nil {
			if err := x.next(); err != nil {
				return 0, err // io.EOF behind the index
			}
		}
		n, err := x.block.Read(b)
		x.size += int64(n)
		if x.sum != nil {
			x.sum.Write(b[:n])
		}
		if err == io.EOF {
			err = x.endBlock()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next reads a block's header (section 3.1), or the index.
func (x *xzReader) next() error {
	x.started = x.r.n
	size, err := x.r.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	if size == 0 {
		return x.index()
	}
	head := make([]byte, (int(size)+1)*4)
	head[0] = size
	if _, err := io.ReadFull(x.r, head[1:]); err != nil {
		return unexpected(err)
	}
	body, crc := head[:len(head)-4], head[len(head)-4:]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(crc) {
		return errXZ
	}
	flags, rest := body[1], bytes.NewReader(body[2:])
	if flags&^0xc0 != 0 {
		return errors.New("xz data with a filter other than LZMA2, which is not read")
	}
	x.sizes = [2]int64{-1, -1}
	for i, bit := range []byte{0x40, 0x80} {
		if flags&bit != 0 {
			n, err := xzNumber(rest)
			if err != nil {
				return err
			}
			x.sizes[i] = n
		}
	}
	filter := make([]byte, 3)
	if _, err := io.ReadFull(rest, filter); err != nil || filter[0] != 0x21 || filter[1] != 1 {
		return errors.New("xz data with a filter other than LZMA2, which is not read")
	}
	dict, err := lzma.DecodeDictCap(filter[2])
	if err != nil {
		return errXZ
	}
	if dict > x.dict {
		return fmt.Errorf("xz data with a dictionary of %d bytes; at most %d are given", dict, x.dict)
	}
	if x.room > 0 {
		dict = min(dict, x.room)
	}
	for rest.Len() > 0 {
		if pad, _ := rest.ReadByte(); pad != 0 {
			return errXZ
		}
	}
	x.packed, x.size = x.r.n, 0
	if x.sum != nil {
		x.sum.Reset()
	}
	x.block, err = lzma.Reader2Config{DictCap: int(max(dict, lzma.MinDictCap))}.NewReader2(x.r)
	return err
}

// endBlock reads what stands behind a block's data (sections 3.3 and 3.4).
func (x *xzReader) endBlock() error {
	if !x.block.EOS() {
		return io.ErrUnexpectedEOF
	}
	x.block = nil
	packed := x.r.n - x.packed
	if x.sizes[0] >= 0 && x.sizes[0] != packed || x.sizes[1] >= 0 && x.sizes[1] != x.size {
		return errors.New("xz data has other sizes than its header says")
	}
	if err := x.padding(); err != nil {
		return err
	}
	unpadded := packed + x.packed - x.started
	if x.sum != nil {
		want := make([]byte, x.sum.Size())
		if _, err := io.ReadFull(x.r, want); err != nil {
			return unexpected(err)
		}
		got := x.sum.Sum(nil)
		if x.sum.Size() < 32 { // the format stores the CRCs in little endian
			for i, k := 0, len(got)-1; i < k; i, k = i+1, k-1 {
				got[i], got[k] = got[k], got[i]
			}
		}
		if !bytes.Equal(got, want) {
			return errors.New("the checksum of xz data does not hold")
		}
		unpadded += int64(len(want))
	}
	x.blocks++
	return binary.Write(x.records, binary.LittleEndian, []int64{unpadded, x.size})
}

// index reads the index and the footer (sections 4 and 2.1.2), whose first byte has been read.
func (x *xzReader) index() error {
	crc := crc32.NewIEEE()
	crc.Write([]byte{0})
	in := &counted{r: io.TeeReader(x.r, crc)}
	blocks, err := xzNumber(in)
	if err != nil {
		return err
	}
	if uint64(blocks) != x.blocks {
		return errXZ
	}
	records := sha256.New()
	for range blocks {
		for range 2 {
			n, err := xzNumber(in)
			if err != nil {
				return err
			}
			if err := binary.Write(records, binary.LittleEndian, n); err != nil {
				return err
			}
		}
	}
	if !bytes.Equal(records.Sum(nil), x.records.Sum(nil)) {
		return errors.New("the index of xz data does not hold")
	}
	for (x.r.n-x.started)%4 != 0 {
		if b, err := in.ReadByte(); err != nil || b != 0 {
			return errXZ
		}
	}
	tail := make([]byte, 16)
	sum := crc.Sum32()
	if _, err := io.ReadFull(x.r, tail); err != nil {
		return unexpected(err)
	}
	size := x.r.n - x.started - 12
	if binary.LittleEndian.Uint32(tail) != sum || binary.LittleEndian.Uint32(tail[4:]) != crc32.ChecksumIEEE(tail[8:14]) ||
		(int64(binary.LittleEndian.Uint32(tail[8:]))+1)*4 != size || [2]byte(tail[12:14]) != x.flags || string(tail[14:]) != "YZ" {
		return errors.New("the end of xz data does not hold")
	}
	if _, err := x.r.ReadByte(); err != io.EOF {
		if err == nil {
			err = errors.New("there is more behind the end of xz data")
		}
		return err
	}
	return io.EOF
}

// padding reads zeros up to a multiple of four bytes.
func (x *xzReader) padding() error {
	for x.r.n%4 != 0 {
		b, err := x.r.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if b != 0 {
			return errXZ
		}
	}
	return nil
}

// xzNumber reads a number of up to 63 bits (section 1.2).
func xzNumber(r io.ByteReader) (int64, error) {
	var n int64
	for i := range 9 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		n |= int64(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			if b == 0 && i > 0 {
				break
			}
			return n, nil
		}
	}
	return 0, errXZ
}

// unexpected is an end where there should be more.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
