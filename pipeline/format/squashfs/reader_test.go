package squashfs_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// entry is a file or a folder of an image.
type entry struct {
	mode, kind     uint16
	owner, group   uint16
	time, number   uint32
	parent, links  uint32
	size, sparse   uint64
	start          uint64
	blocks         []uint32
	body           []byte
	headers, index int // of a folder
}

// parsed is an image, read by the description of the format and by nothing that the writer has.
type parsed struct {
	inodes, time, blockSize, fragments            uint32
	compression, blockLog, flags, owners          uint16
	root, used, ids, xattrs, inodeAt, dirAt       uint64
	fragmentAt, exportAt                          uint64
	inodeTable, dirTable, exportTable, ownerTable []byte
	entries                                       map[string]entry // by path; "" is the root
	data                                          []byte           // between the superblock and the inodes
}

type parser struct {
	t      testing.TB
	image  []byte
	unpack func([]byte) []byte
	parsed
	inodeStarts, dirStarts map[uint64]int // places of blocks in the tables by places in the image
}

func parse(t testing.TB, image []byte) parsed {
	t.Helper()
	p := parser{t: t, image: image}
	if string(image[:4]) != "hsqs" {
		t.Fatal("the image has no magic")
	}
	var major, minor uint16
	r := bytes.NewReader(image[4:96])
	for _, f := range []any{
		&p.inodes, &p.time, &p.blockSize, &p.fragments, &p.compression, &p.blockLog, &p.flags, &p.owners, &major, &minor,
		&p.root, &p.used, &p.ids, &p.xattrs, &p.inodeAt, &p.dirAt, &p.fragmentAt, &p.exportAt,
	} {
		if err := binary.Read(r, binary.LittleEndian, f); err != nil {
			t.Fatal(err)
		}
	}
	if major != 4 || minor != 0 || p.blockSize != 1<<p.blockLog || p.xattrs != 1<<64-1 || p.fragments != 0 {
		t.Fatalf("the superblock is %+v", p.parsed)
	}
	switch p.compression {
	case 4:
		p.unpack = func(b []byte) []byte {
			// The kernel knows this check alone: the second flag byte of a stream names it.
			if b[7] != 1 {
				t.Fatalf("the check of a stream is %d, not CRC32", b[7])
			}
			r, err := xz.NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			return readAll(t, r)
		}
	case 6:
		d, err := zstd.NewReader(nil, zstd.WithDecoderMaxWindow(uint64(p.blockSize)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		p.unpack = func(b []byte) []byte {
			out, err := d.DecodeAll(b, nil)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
	default:
		t.Fatalf("the compression is %d", p.compression)
	}
	p.data = image[96:p.inodeAt]
	p.inodeTable, p.inodeStarts = p.metadata(p.inodeAt, p.dirAt)
	p.dirTable, p.dirStarts = p.metadata(p.dirAt, p.fragmentAt)
	p.exportTable = p.lookup(p.exportAt, 8*int(p.inodes))
	p.ownerTable = p.lookup(p.ids, 4*int(p.owners))
	p.entries = map[string]entry{}
	root := p.inode(p.root)
	p.folder("", root)
	if len(p.entries) != int(p.inodes) {
		t.Errorf("there are %d entries and %d inodes", len(p.entries), p.inodes)
	}
	return p.parsed
}

func readAll(t testing.TB, r io.Reader) []byte {
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (p *parser) metadata(from, to uint64) ([]byte, map[uint64]int) {
	var out []byte
	starts := map[uint64]int{}
	for at := from; at < to; {
		starts[at-from] = len(out)
		size := binary.LittleEndian.Uint16(p.image[at:])
		b := p.image[at+2:][:size&0x7fff]
		at += 2 + uint64(len(b))
		if size&0x8000 == 0 {
			b = p.unpack(b)
		}
		if len(b) > 8192 || len(b) < 8192 && at != to {
			p.t.Fatalf("a block of metadata has %d bytes", len(b))
		}
		out = append(out, b...)
	}
	return out, starts
}

func (p *parser) lookup(at uint64, size int) []byte {
	var out []byte
	for i := 0; len(out) < size; i++ {
		from := binary.LittleEndian.Uint64(p.image[at+8*uint64(i):])
		n := uint64(binary.LittleEndian.Uint16(p.image[from:]) & 0x7fff)
		b, _ := p.metadata(from, from+2+n)
		out = append(out, b...)
	}
	if len(out) != size {
		p.t.Fatalf("a table has %d bytes, not %d", len(out), size)
	}
	return out
}

func (p *parser) inode(ref uint64) entry {
	at, ok := p.inodeStarts[ref>>16]
	if !ok {
		p.t.Fatalf("no block of inodes begins at %d", ref>>16)
	}
	r := bytes.NewReader(p.inodeTable[at+int(ref&0xffff):])
	read := func(fields ...any) {
		for _, f := range fields {
			if err := binary.Read(r, binary.LittleEndian, f); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	var e entry
	var size16, offset, count uint16
	var start, size32, fragment, fragmentOffset, xattr uint32
	read(&e.kind, &e.mode, &e.owner, &e.group, &e.time, &e.number)
	switch e.kind {
	case 1:
		read(&start, &e.links, &size16, &offset, &e.parent)
		e.size = uint64(size16)
	case 8:
		read(&e.links, &size32, &start, &e.parent, &count, &offset, &xattr)
		e.size, e.index = uint64(size32), int(count)
		listing := p.dirTable[p.dirStarts[uint64(start)]+int(offset):]
		for range count {
			var header, block, length uint32
			read(&header, &block, &length)
			name := make([]byte, length+1)
			read(name)
			// The index leads to a header in the block it names, and that to the name.
			place := p.dirStarts[uint64(start)] + int(offset) + int(header)
			if from, ok := p.dirStarts[uint64(block)]; !ok || place < from || place >= from+8192 {
				p.t.Errorf("the index says that %s is in the block at %d", name, block)
			}
			if got := listing[header+12+8:][:len(name)]; !bytes.Equal(got, name) {
				p.t.Errorf("the index leads to %s and not to %s", got, name)
			}
		}
	case 2, 9:
		if e.kind == 2 {
			read(&start, &fragment, &fragmentOffset, &size32)
			e.start, e.size, e.links = uint64(start), uint64(size32), 1
		} else {
			read(&e.start, &e.size, &e.sparse, &e.links, &fragment, &fragmentOffset, &xattr)
		}
		if fragment != 1<<32-1 {
			p.t.Error("a file has a fragment")
		}
		at := e.start
		for rest := e.size; rest > 0; {
			var size uint32
			read(&size)
			e.blocks = append(e.blocks, size)
			raw := min(rest, uint64(p.blockSize))
			b := p.image[at:][:size&^(1<<24)]
			at += uint64(len(b))
			switch {
			case size == 0:
				b = make([]byte, raw)
			case size&(1<<24) == 0:
				b = p.unpack(b)
			}
			if uint64(len(b)) != raw {
				p.t.Fatalf("a block has %d bytes, not %d", len(b), raw)
			}
			e.body = append(e.body, b...)
			rest -= raw
		}
		return e
	default:
		p.t.Fatalf("an inode has the type %d", e.kind)
	}
	at, ok = p.dirStarts[uint64(start)]
	if !ok && e.size > 3 {
		p.t.Fatalf("no block of listings begins at %d", start)
	}
	if e.size > 3 {
		e.body = p.dirTable[at+int(offset):][:e.size-3]
	}
	return e
}

func (p *parser) folder(path string, e entry) {
	le := binary.LittleEndian
	last, folders := "", uint32(0)
	for b := e.body; len(b) > 0; {
		count, block, number := le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])
		b = b[12:]
		e.headers++
		if count > 255 {
			p.t.Errorf("a header has %d entries", count+1)
		}
		for range count + 1 {
			offset, delta, kind, length := le.Uint16(b), int16(le.Uint16(b[2:])), le.Uint16(b[4:]), int(le.Uint16(b[6:]))+1
			name := string(b[8 : 8+length])
			b = b[8+length:]
			if name <= last {
				p.t.Errorf("%s comes after %s", name, last)
			}
			last = name
			ref := uint64(block)<<16 | uint64(offset)
			c := p.inode(ref)
			if c.number != number+uint32(int32(delta)) {
				p.t.Errorf("%s has the number %d, and %d in its folder", name, c.number, number+uint32(int32(delta)))
			}
			if got := le.Uint64(p.exportTable[8*(c.number-1):]); got != ref {
				p.t.Errorf("%s is exported at %x, not %x", name, got, ref)
			}
			full := name
			if path != "" {
				full = path + "/" + name
			}
			if c.kind == 1 || c.kind == 8 {
				folders++
				if kind != 1 || c.parent != e.number {
					p.t.Errorf("%s has the type %d and the parent %d", full, kind, c.parent)
				}
				p.folder(full, c)
				continue
			}
			if kind != 2 {
				p.t.Errorf("%s has the type %d in its folder", full, kind)
			}
			p.entries[full] = c
		}
	}
	if e.links != folders+2 {
		p.t.Errorf("%q has %d links and %d folders", path, e.links, folders)
	}
	p.entries[path] = e
}

func (e entry) String() string {
	return fmt.Sprintf("%d %o %d/%d %d %d bytes", e.kind, e.mode, e.owner, e.group, e.time, len(e.body))
}
