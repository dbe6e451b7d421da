package squashfs

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
)

// Types of inodes. A listing names the short one also where the inode is long.
const (
	dirType, fileType         = 1, 2
	longDirType, longFileType = 8, 9
)

const (
	noFragment = math.MaxUint32
	noXattr    = math.MaxUint32

	headerEntries = 256 // that a header of a listing can have at most
	entryLen      = 8   // bytes of an entry besides its name
	listingExtra  = 3   // bytes that a listing seems longer than it is, for . and ..
)

// metadata is a table in blocks of 8 KiB, each compressed by itself. Its first error stays.
type metadata struct {
	compressor compressor
	out        []byte   // full blocks
	starts     []uint32 // of the full blocks in out
	buf        []byte   // the block that is not full
	err        error
}

// ref is where the next byte will be: the start of its block in the table, and its place in the block.
func (m *metadata) ref() (start uint32, offset uint16) { return uint32(len(m.out)), uint16(len(m.buf)) }

func (m *metadata) write(b []byte) {
	m.buf = append(m.buf, b...)
	for len(m.buf) >= metadataSize {
		m.flush(m.buf[:metadataSize])
		m.buf = m.buf[metadataSize:]
	}
}

func (m *metadata) flush(b []byte) {
	const stored = 1 << 15 // in the size of a block that is not compressed
	packed, err := m.compressor.compress(b)
	if err != nil && m.err == nil {
		m.err = fmt.Errorf("compressing metadata: %w", err)
	}
	size := len(packed)
	if size >= len(b) {
		packed, size = b, len(b)|stored
	}
	m.starts = append(m.starts, uint32(len(m.out)))
	m.out = append(binary.LittleEndian.AppendUint16(m.out, uint16(size)), packed...)
}

// all is the whole table, which ends with this.
func (m *metadata) all() ([]byte, error) {
	if len(m.buf) > 0 {
		m.flush(m.buf)
		m.buf = nil
	}
	return m.out, m.err
}

// tail is what is behind the data. Its first error stays.
type tail struct {
	begin uint64 // where the data end
	bytes []byte
	err   error
}

func (t *tail) end() uint64 { return t.begin + uint64(len(t.bytes)) }

// add appends a table and returns where it ends.
func (t *tail) add(m *metadata) uint64 {
	table, err := m.all()
	t.bytes = append(t.bytes, table...)
	t.err = cmp.Or(t.err, err)
	return t.end()
}

// lookup appends a table and after it the places of its blocks. It returns where these are, which is where the table is
// looked for.
func (t *tail) lookup(c compressor, table []byte) uint64 {
	m := metadata{compressor: c}
	var places []byte
	for len(table) > 0 {
		start, _ := m.ref()
		places = binary.LittleEndian.AppendUint64(places, t.end()+uint64(start))
		n := min(len(table), metadataSize)
		m.write(table[:n])
		table = table[n:]
	}
	at := t.add(&m)
	t.bytes = append(t.bytes, places...)
	return at
}

// tables are the inodes and the listings of the folders.
type tables struct {
	inodes, listings metadata
	time             uint32
	refs             []byte // places of the inodes by number
}

// add writes the inode of n, behind the inodes of all that is below it.
func (t *tables) add(n *node, parent uint32) {
	for _, c := range n.children {
		t.add(c, n.number)
	}
	var inode []byte
	if n.folder {
		inode = t.dir(n, parent)
	} else {
		inode = t.file(n)
	}
	start, offset := t.inodes.ref()
	n.ref = uint64(start)<<16 | uint64(offset)
	binary.LittleEndian.PutUint64(t.refs[8*(n.number-1):], n.ref)
	t.inodes.write(inode)
}

// inode is what inodes of all types begin with.
func (t *tables) inode(n *node, mode uint16) []byte {
	le := binary.LittleEndian
	b := le.AppendUint16(nil, n.kind)
	b = le.AppendUint16(b, mode)
	b = le.AppendUint16(b, 0) // owner and group, by their places in the table of owners
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, t.time)
	return le.AppendUint32(b, n.number)
}

func (t *tables) file(n *node) []byte {
	mode, size := uint16(0o644), uint64(n.file.Size)
	if n.file.Exec {
		mode = 0o755
	}
	holes := min(n.holes, size-1) // a file of zeros alone is said to have a byte
	le := binary.LittleEndian
	var b []byte
	if holes == 0 && n.start <= math.MaxUint32 && size <= math.MaxUint32 {
		n.kind = fileType
		b = t.inode(n, mode)
		b = le.AppendUint32(b, uint32(n.start))
		b = le.AppendUint32(b, noFragment)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint32(b, uint32(size))
	} else {
		n.kind = longFileType
		b = t.inode(n, mode)
		b = le.AppendUint64(b, n.start)
		b = le.AppendUint64(b, size)
		b = le.AppendUint64(b, holes)
		b = le.AppendUint32(b, 1) // links
		b = le.AppendUint32(b, noFragment)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint32(b, noXattr)
	}
	for _, s := range n.sizes {
		b = le.AppendUint32(b, s)
	}
	return b
}

func (t *tables) dir(n *node, parent uint32) []byte {
	listing, index := n.listing()
	start, offset := t.listings.ref()
	before := len(t.listings.starts)
	t.listings.write(listing)
	links := uint32(2)
	for _, c := range n.children {
		if c.folder {
			links++
		}
	}
	le := binary.LittleEndian
	size := len(listing) + listingExtra
	if len(n.children) <= headerEntries && n.bytes() < metadataSize {
		n.kind = dirType
		b := t.inode(n, 0o755)
		b = le.AppendUint32(b, start)
		b = le.AppendUint32(b, links)
		b = le.AppendUint16(b, uint16(size))
		b = le.AppendUint16(b, offset)
		return le.AppendUint32(b, parent)
	}
	n.kind = longDirType
	b := t.inode(n, 0o755)
	b = le.AppendUint32(b, links)
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, start)
	b = le.AppendUint32(b, parent)
	b = le.AppendUint16(b, uint16(len(index)))
	b = le.AppendUint16(b, offset)
	b = le.AppendUint32(b, noXattr)
	starts := append(t.listings.starts, uint32(len(t.listings.out)))
	for _, x := range index {
		b = le.AppendUint32(b, x.header)
		b = le.AppendUint32(b, starts[before+(int(offset)+int(x.header))/metadataSize])
		b = le.AppendUint32(b, uint32(len(x.name)-1))
		b = append(b, x.name...)
	}
	return b
}

// bytes is the size of the folder's listing without its headers.
func (n *node) bytes() int {
	var sum int
	for _, c := range n.children {
		sum += entryLen + len(c.name)
	}
	return sum
}

// place is where a header of a long listing is, and the first name below it: who looks for a name begins there.
type place struct {
	header uint32
	name   string
}

// listing is what a folder has: headers, each with the entries whose inodes are in one block and whose numbers differ
// from the header's by what 16 bits hold. About every 8 KiB a header begins that is in the index.
func (n *node) listing() (b []byte, index []place) {
	le := binary.LittleEndian
	var first *node // below the header
	var header, entries, indexed int
	for _, c := range n.children {
		full := first != nil && len(b)+entryLen+len(c.name)-indexed > metadataSize
		if full {
			indexed = len(b)
			index = append(index, place{uint32(indexed), c.name})
		}
		if full || first == nil || entries == headerEntries || c.ref>>16 != first.ref>>16 || c.number-first.number > math.MaxInt16 {
			first, header, entries = c, len(b), 0
			b = le.AppendUint32(b, 0)
			b = le.AppendUint32(b, uint32(c.ref>>16))
			b = le.AppendUint32(b, c.number)
		}
		le.PutUint32(b[header:], uint32(entries)) // one less than there are
		entries++
		kind := uint16(fileType)
		if c.folder {
			kind = dirType
		}
		b = le.AppendUint16(b, uint16(c.ref))
		b = le.AppendUint16(b, uint16(c.number-first.number))
		b = le.AppendUint16(b, kind)
		b = le.AppendUint16(b, uint16(len(c.name)-1))
		b = append(b, c.name...)
	}
	return b, index
}
