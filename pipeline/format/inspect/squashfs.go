package inspect

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Sizes of SquashFS 4.0 in bytes (https://dr-emann.github.io/squashfs/,
// https://www.kernel.org/doc/html/latest/filesystems/squashfs.html).
const (
	squashSuper    = 96
	squashMeta     = 8 << 10 // a block of metadata, unpacked
	squashMaxBlock = 1 << 20 // a block of data, unpacked
)

// Types of inodes; the extended ones are 7 more.
const (
	squashFolder  = 1
	squashFile    = 2
	squashSymlink = 3
	squashBasic   = 7
)

const (
	squashNone     = 0xffffffff // no fragment
	squashNoTable  = ^uint64(0)
	squashFlagOpts = 1 << 10 // the compressor's options stand behind the superblock
)

// squash is a SquashFS while it is read. Of its metadata and fragments the last few blocks are kept.
type squash struct {
	*job
	t           *tree
	w           watch
	compression uint16
	block       int64 // bytes of a block of data
	used        int64 // bytes of the file system in the file
	inodes      int64 // where the table of inodes begins; it ends at folders
	folders     int64 // where the table of folders begins
	after       int64 // where the table behind that of the folders begins
	ids         []uint32
	fragments   uint32 // how many there are
	fragmentsAt int64  // where the list of their table's blocks is
	meta        cache[metaBlock]
	tails       cache[[]byte]
	visited     map[uint64]bool   // folders by reference
	first       map[uint64]string // names of files by reference, of those that have several
	seen        map[uint32]uint64 // references to inodes by their numbers
	packed      []byte            // a block as it is read
	plain       []byte            // a block of a file
	unzstd      *zstd.Decoder
	unzlib      io.ReadCloser
}

// cache keeps the last few values that were put in.
type cache[T any] struct {
	values map[int64]T
	order  []int64
	max    int
}

func newCache[T any](size int) cache[T] { return cache[T]{values: map[int64]T{}, max: size} }

func (c *cache[T]) put(key int64, v T) {
	if len(c.order) == c.max {
		delete(c.values, c.order[0])
		c.order = c.order[1:]
	}
	c.values[key] = v
	c.order = append(c.order, key)
}

type metaBlock struct {
	b    []byte
	next int64
}

// squashfs reads a file system to its end, folder by folder in the order of names.
func (j *job) squashfs(t *tree, w watch) error {
	b, err := j.bytesAt(0, squashSuper)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if string(b[:4]) != "hsqs" || le.Uint16(b[28:]) != 4 || le.Uint16(b[30:]) != 0 {
		return errors.New("not a SquashFS of version 4.0")
	}
	s := &squash{
		job: j, t: t, w: w, compression: le.Uint16(b[20:]), block: int64(le.Uint32(b[12:])), fragments: le.Uint32(b[16:]),
		meta: newCache[metaBlock](64), tails: newCache[[]byte](8),
		visited: map[uint64]bool{}, first: map[uint64]string{}, seen: map[uint32]uint64{},
	}
	count, made, log, flags, ids := le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint16(b[22:]), le.Uint16(b[24:]), le.Uint16(b[26:])
	root, used := le.Uint64(b[32:]), le.Uint64(b[40:])
	names := map[uint16]string{1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
	for _, f := range []Field{
		{"time", strconv.FormatUint(uint64(made), 10)},
		{"block-size", strconv.FormatInt(s.block, 10)},
		{"compression", names[s.compression]},
		{"flags", fmt.Sprintf("%#x", flags)},
		{"inodes", strconv.FormatUint(uint64(count), 10)},
		{"ids", strconv.FormatUint(uint64(ids), 10)},
		{"fragments", strconv.FormatUint(uint64(s.fragments), 10)},
		{"used", strconv.FormatUint(used, 10)},
		{"padding", strconv.FormatInt(j.size-int64(min(used, uint64(j.size))), 10)},
	} {
		if err := j.field("squashfs."+f.Key, f.Value); err != nil {
			return err
		}
	}
	switch s.compression {
	case 1, 4:
	case 6:
		if s.unzstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(maxDict)); err != nil {
			return err
		}
		defer s.unzstd.Close()
	default:
		return fmt.Errorf("compression %d (%s) is not read; use xz, zstd or gzip", s.compression, names[s.compression])
	}
	if s.block < 4<<10 || s.block > squashMaxBlock || log > 20 || s.block != 1<<log {
		return fmt.Errorf("a block size of %d bytes, with a logarithm of %d", s.block, log)
	}
	if used > uint64(j.size) || used < squashSuper {
		return fmt.Errorf("it says that it has %d bytes, and it has %d", used, j.size)
	}
	s.used = int64(used)
	s.packed, s.plain = make([]byte, s.block), make([]byte, s.block)
	if err := s.tables(b); err != nil {
		return err
	}
	if flags&squashFlagOpts != 0 {
		opts, _, err := s.metaAt(squashSuper)
		if err != nil {
			return fmt.Errorf("reading the compressor's options: %w", err)
		}
		if err := j.field("squashfs.options", hex.EncodeToString(opts[:min(64, len(opts))])); err != nil {
			return err
		}
	}
	if err := s.readIDs(int64(le.Uint64(b[48:])), int(ids)); err != nil {
		return fmt.Errorf("reading the table of owners: %w", err)
	}
	if err := s.entry("", root, 0, 0); err != nil {
		return err
	}
	if uint32(len(s.seen)) != count {
		return fmt.Errorf("it has %d inodes in its folders, and says that it has %d", len(s.seen), count)
	}
	if err := s.exports(le.Uint64(b[88:])); err != nil {
		return fmt.Errorf("reading the table of exports: %w", err)
	}
	if _, err := zeros(s.from(s.used, s.size-s.used), s.buf); err != nil {
		return fmt.Errorf("behind the end of the file system: %w", err)
	}
	return t.finish()
}

// tables reads where the tables are from the superblock. They stand in this order.
func (s *squash) tables(b []byte) error {
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
	ids, xattrs, inodes, folders, fragments, exports := at(48), at(56), at(64), at(72), at(80), at(88)
	if inodes < squashSuper || inodes > folders || folders > uint64(s.used) {
		return fmt.Errorf("its tables of inodes and folders are at %d and %d", inodes, folders)
	}
	after := uint64(s.used)
	for _, t := range []uint64{ids, xattrs, fragments, exports} {
		if t == squashNoTable {
			continue
		}
		if t < folders || t > uint64(s.used) {
			return fmt.Errorf("it has a table at %d, and ends at %d", t, s.used)
		}
		after = min(after, t)
	}
	if ids == squashNoTable || s.fragments > 0 && fragments == squashNoTable {
		return errors.New("its table of owners or of fragments is missing")
	}
	s.inodes, s.folders, s.after, s.fragmentsAt = int64(inodes), int64(folders), int64(after), int64(fragments)
	if err := s.field("squashfs.xattrs", strconv.FormatBool(xattrs != squashNoTable)); err != nil {
		return err
	}
	return s.field("squashfs.exports", strconv.FormatBool(exports != squashNoTable))
}

// readIDs reads the table of owners: numbers of users and groups.
func (s *squash) readIDs(list int64, count int) error {
	if count == 0 {
		return errors.New("it has none")
	}
	b, err := s.lookup(list, 0, 4*int64(count))
	if err != nil {
		return err
	}
	s.ids = make([]uint32, count)
	for i := range s.ids {
		s.ids[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return nil
}

// exports checks the table by which a server of NFS finds an inode by its number, if there is one.
func (s *squash) exports(list uint64) error {
	if list == squashNoTable {
		return nil
	}
	for number := range uint32(len(s.seen)) {
		b, err := s.lookup(int64(list), 8*int64(number), 8)
		if err != nil {
			return err
		}
		if ref, ok := s.seen[number+1]; !ok || ref != binary.LittleEndian.Uint64(b) {
			return fmt.Errorf("the inode %d is not where the table says", number+1)
		}
	}
	return nil
}

// lookup reads n bytes at off of a table whose blocks of metadata are listed at list.
func (s *squash) lookup(list, off, n int64) ([]byte, error) {
	var out []byte
	for int64(len(out)) < n {
		at := off + int64(len(out))
		i := at / squashMeta
		if list > s.used || i > s.used || list+8*i+8 > s.used {
			return nil, errEnds
		}
		p, err := s.bytesAt(list+8*i, 8)
		if err != nil {
			return nil, err
		}
		block := binary.LittleEndian.Uint64(p)
		if block >= uint64(s.used) {
			return nil, errEnds
		}
		b, _, err := s.metaAt(int64(block))
		if err != nil {
			return nil, err
		}
		from := at % squashMeta
		if from >= int64(len(b)) {
			return nil, errEnds
		}
		b = b[from:]
		out = append(out, b[:min(int64(len(b)), n-int64(len(out)))]...)
	}
	return out, nil
}

// metaAt reads the block of metadata at the given byte, and says where the next one begins.
func (s *squash) metaAt(at int64) ([]byte, int64, error) {
	if m, ok := s.meta.values[at]; ok {
		return m.b, m.next, nil
	}
	if at < squashSuper || at+2 > s.used {
		return nil, 0, errEnds
	}
	h, err := s.bytesAt(at, 2)
	if err != nil {
		return nil, 0, err
	}
	head := binary.LittleEndian.Uint16(h)
	size := int64(head &^ 0x8000)
	if size == 0 || size > squashMeta || at+2+size > s.used {
		return nil, 0, fmt.Errorf("a block of metadata of %d bytes", size)
	}
	b, err := s.bytesAt(at+2, size)
	if err != nil {
		return nil, 0, err
	}
	if head&0x8000 == 0 {
		out := make([]byte, squashMeta)
		n, err := s.inflate(out, b)
		if err != nil {
			return nil, 0, fmt.Errorf("unpacking the metadata at %d: %w", at, err)
		}
		b = out[:n]
	}
	if err := s.unpacked(int64(len(b))); err != nil {
		return nil, 0, err
	}
	m := metaBlock{b, at + 2 + size}
	s.meta.put(at, m)
	return m.b, m.next, nil
}

// inflate unpacks one block into dst, which it must fit, and uses all of src.
func (s *squash) inflate(dst, src []byte) (int, error) {
	in := bytes.NewReader(src)
	var r io.Reader
	var err error
	switch s.compression {
	case 1:
		if s.unzlib == nil {
			s.unzlib, err = zlib.NewReader(in)
		} else {
			err = s.unzlib.(zlib.Resetter).Reset(in, nil)
		}
		r = s.unzlib
	case 4:
		var x *xzReader
		x, err = newXZ(in, max(s.block, squashMeta))
		if err == nil {
			x.room = int64(len(dst)) + 1
		}
		r = x
	case 6:
		out, err := s.unzstd.DecodeAll(src, dst[:0:len(dst)])
		return len(out), err
	}
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r, dst)
	if err == nil {
		// The end has to be read for its checksum.
		more, end := r.Read(make([]byte, 1))
		if more > 0 {
			return 0, fmt.Errorf("it unpacks to more than %d bytes", len(dst))
		}
		err = end
	}
	if err != io.EOF && err != io.ErrUnexpectedEOF || n == 0 {
		return 0, ends(err)
	}
	// An early end is that of the data, unless the decompressor wanted more.
	if _, end := r.Read(make([]byte, 1)); end != io.EOF {
		return 0, ends(end)
	}
	if in.Len() > 0 {
		return 0, fmt.Errorf("%d bytes stand behind its data", in.Len())
	}
	return n, nil
}

// metaReader reads metadata across blocks, up to the end of its table.
type metaReader struct {
	s    *squash
	b    []byte
	next int64
	end  int64
}

// metaFrom starts at an offset in the block that begins at a byte of the table from start to end.
func (s *squash) metaFrom(start, end int64, block uint32, off int) (*metaReader, error) {
	at := start + int64(block)
	if at >= end {
		return nil, errEnds
	}
	b, next, err := s.metaAt(at)
	if err != nil {
		return nil, err
	}
	if off > len(b) {
		return nil, errEnds
	}
	return &metaReader{s, b[off:], next, end}, nil
}

func (m *metaReader) Read(b []byte) (int, error) {
	if len(m.b) == 0 {
		if m.next >= m.end {
			return 0, io.EOF
		}
		var err error
		if m.b, m.next, err = m.s.metaAt(m.next); err != nil {
			return 0, err
		}
	}
	n := copy(b, m.b)
	m.b = m.b[n:]
	return n, nil
}

// take reads n bytes.
func (m *metaReader) take(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(m, b); err != nil {
		return nil, ends(err)
	}
	return b, nil
}

// entry reads the inode that ref refers to, and what is below it. Its folder says that it is of type want, or 0.
func (s *squash) entry(name string, ref uint64, want uint16, depth int) error {
	fail := func(err error) error {
		if name == "" {
			return fmt.Errorf("the root: %w", err)
		}
		return fmt.Errorf("%.80q: %w", name, err)
	}
	if ref>>48 != 0 {
		return fail(errors.New("a reference to no inode"))
	}
	m, err := s.metaFrom(s.inodes, s.folders, uint32(ref>>16), int(ref&0xffff))
	if err != nil {
		return fail(err)
	}
	b, err := m.take(16)
	if err != nil {
		return fail(err)
	}
	le := binary.LittleEndian
	typ := le.Uint16(b)
	uid, gid := int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	number := le.Uint32(b[12:])
	if uid >= len(s.ids) || gid >= len(s.ids) {
		return fail(errors.New("an owner that is not in the table"))
	}
	extended := typ > squashBasic
	if extended {
		typ -= squashBasic
	}
	if want != 0 && typ != want {
		return fail(fmt.Errorf("of type %d in its folder and of type %d in its inode", want, typ))
	}
	e := Entry{Name: name, UID: int(s.ids[uid]), GID: int(s.ids[gid]), ModTime: time.Unix(int64(le.Uint32(b[8:])), 0).UTC()}
	mode, kind, err := unixMode(uint32(le.Uint16(b[2:])) & 0o7777)
	if err != nil {
		return fail(err)
	}
	e.Mode, e.Type = mode, kind
	e.Extra = []Field{{"inode", strconv.FormatUint(uint64(number), 10)}}
	if extended {
		e.Extra = append(e.Extra, Field{"extended", "true"})
	}
	if _, ok := s.seen[number]; ok && typ != squashFile {
		return fail(fmt.Errorf("the inode %d stands twice", number))
	}
	switch typ {
	case squashFolder:
		return s.folder(e, m, extended, ref, number, depth, fail)
	case squashFile:
		return s.file(e, m, extended, ref, number, fail)
	case squashSymlink:
		b, err := m.take(8)
		if err != nil {
			return fail(err)
		}
		size := le.Uint32(b[4:])
		if size > maxName {
			return fail(fmt.Errorf("a link to a name of %d bytes", size))
		}
		target, err := m.take(int(size))
		if err != nil {
			return fail(err)
		}
		e.Type, e.Mode, e.Link = Symlink, e.Mode|fs.ModeSymlink, string(target)
		s.seen[number] = ref
		_, err = s.t.add(e)
		return err
	}
	return fail(fmt.Errorf("it is %w", errSpecial))
}

// child is an entry of a folder.
type child struct {
	name string
	ref  uint64
	typ  uint16
}

func (s *squash) folder(e Entry, m *metaReader, extended bool, ref uint64, number uint32, depth int, fail func(error) error) error {
	if s.visited[ref] {
		return fail(errors.New("a folder that is reached twice"))
	}
	if depth > maxDepth {
		return fail(fmt.Errorf("more than %d folders deep", maxDepth))
	}
	s.visited[ref], s.seen[number] = true, ref
	n := 16
	if extended {
		n = 24
	}
	b, err := m.take(n)
	if err != nil {
		return fail(err)
	}
	le := binary.LittleEndian
	block, size, off := le.Uint32(b), int64(le.Uint16(b[8:])), le.Uint16(b[10:])
	if extended {
		block, size, off = le.Uint32(b[8:]), int64(le.Uint32(b[4:])), le.Uint16(b[18:])
	}
	e.Type, e.Mode = Folder, e.Mode|fs.ModeDir
	if e.Name == "" {
		e.Name = "."
	}
	if _, err := s.t.add(e); err != nil {
		return err
	}
	children, err := s.children(block, int(off), size)
	if err != nil {
		return fail(err)
	}
	for _, c := range children {
		name := c.name
		if e.Name != "." {
			name = e.Name + "/" + name
		}
		s.entries++ // counted with the list; the tree counts it
		if err := s.entry(name, c.ref, c.typ, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// children reads the list of a folder, whose size is 3 bytes less than the inode says.
func (s *squash) children(block uint32, off int, size int64) ([]child, error) {
	if size <= 3 {
		return nil, nil
	}
	size -= 3
	m, err := s.metaFrom(s.folders, s.after, block, off)
	if err != nil {
		return nil, err
	}
	var out []child
	last := ""
	for size > 0 {
		b, err := m.take(12)
		if err != nil {
			return nil, err
		}
		le := binary.LittleEndian
		count, start := le.Uint32(b), le.Uint32(b[4:])
		if count >= 256 {
			return nil, fmt.Errorf("a list of %d entries; it may have 256", int64(count)+1)
		}
		size -= 12
		for range count + 1 {
			b, err := m.take(8)
			if err != nil {
				return nil, err
			}
			n := int(le.Uint16(b[6:])) + 1
			if n > 256 {
				return nil, fmt.Errorf("a name of %d bytes", n)
			}
			name, err := m.take(n)
			if err != nil {
				return nil, err
			}
			if !oneName(name) || string(name) <= last {
				return nil, fmt.Errorf("the name %.80q is not the name of a file, or not behind %.80q", name, last)
			}
			last = string(name)
			// The list is held until the folder has been read, so its entries count from now on.
			if err := s.more(1); err != nil {
				return nil, err
			}
			size -= int64(8 + len(name))
			out = append(out, child{last, uint64(start)<<16 | uint64(le.Uint16(b)), le.Uint16(b[4:])})
		}
	}
	if size != 0 {
		return nil, errors.New("its list does not end where it should")
	}
	return out, nil
}

func oneName(b []byte) bool {
	return !bytes.ContainsAny(b, "/\x00") && string(b) != "." && string(b) != ".."
}

func (s *squash) file(e Entry, m *metaReader, extended bool, ref uint64, number uint32, fail func(error) error) error {
	if name, ok := s.first[ref]; ok {
		e.Type, e.Link = HardLink, name
		_, err := s.t.add(e)
		return err
	}
	if _, ok := s.seen[number]; ok {
		return fail(fmt.Errorf("the inode %d stands twice", number))
	}
	s.seen[number] = ref
	n := 16
	if extended {
		n = 40
	}
	b, err := m.take(n)
	if err != nil {
		return fail(err)
	}
	le := binary.LittleEndian
	f := &squashData{s: s, m: m, fragment: le.Uint32(b[4:]), offset: le.Uint32(b[8:])}
	at, size, links := uint64(le.Uint32(b)), uint64(le.Uint32(b[12:])), uint32(1)
	if extended {
		at, size, links = le.Uint64(b), le.Uint64(b[8:]), le.Uint32(b[24:])
		f.fragment, f.offset = le.Uint32(b[28:]), le.Uint32(b[32:])
	}
	if at > uint64(s.used) || size > uint64(s.bytes) {
		return fail(fmt.Errorf("%d bytes at byte %d; at most %d are unpacked", size, at, s.MaxBytes))
	}
	if links > 1 {
		s.first[ref] = e.Name
	}
	f.at, f.left, e.Size = int64(at), int64(size), int64(size)
	if f.fragment != squashNone && f.left%s.block == 0 {
		return fail(errors.New("a fragment of no bytes"))
	}
	kept, err := s.t.add(e)
	if err != nil {
		return err
	}
	var to io.Writer
	var done func() error
	if s.w != nil {
		to, done = s.w(kept)
	}
	if err := s.content(f, kept, to); err != nil {
		return err
	}
	if done != nil {
		return done()
	}
	return nil
}

// squashData reads the contents of a file: blocks, whose sizes stand behind its inode, and a tail in a fragment.
type squashData struct {
	s                *squash
	m                *metaReader
	at               int64 // where the next block begins
	left             int64 // bytes that are not in b yet
	fragment, offset uint32
	b                []byte
}

func (f *squashData) Read(b []byte) (int, error) {
	if len(f.b) == 0 {
		if f.left == 0 {
			return 0, io.EOF
		}
		n := min(f.left, f.s.block)
		if err := f.s.unpacked(n); err != nil {
			return 0, err
		}
		var err error
		if n < f.s.block && f.fragment != squashNone {
			f.b, err = f.s.tail(f.fragment, f.offset, n)
		} else {
			f.b, err = f.next(n)
		}
		if err != nil {
			return 0, err
		}
		f.left -= n
	}
	n := copy(b, f.b)
	f.b = f.b[n:]
	return n, nil
}

// next reads the next block, which has n bytes when it is unpacked.
func (f *squashData) next(n int64) ([]byte, error) {
	h, err := f.m.take(4)
	if err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(h)
	if size == 0 { // a hole
		clear(f.s.plain[:n])
		return f.s.plain[:n], nil
	}
	b, err := f.s.data(f.s.plain, f.at, size)
	if err != nil {
		return nil, err
	}
	f.at += int64(size &^ (1 << 24))
	if int64(len(b)) != n {
		return nil, fmt.Errorf("a block of %d bytes, where %d should be", len(b), n)
	}
	return b, nil
}

// data reads a block of data or of fragments into dst. Bit 24 of its size is set where it is not packed.
func (s *squash) data(dst []byte, at int64, size uint32) ([]byte, error) {
	n := int64(size &^ (1 << 24))
	if n == 0 || n > s.block || at < squashSuper || at+n > s.used {
		return nil, fmt.Errorf("a block of %d bytes at byte %d", n, at)
	}
	raw := size&(1<<24) != 0
	to := s.packed[:n]
	if raw {
		to = dst[:n]
	}
	if got, err := s.ReadAt(to, at); int64(got) < n {
		return nil, ends(err)
	}
	if raw {
		return to, nil
	}
	m, err := s.inflate(dst, to)
	if err != nil {
		return nil, fmt.Errorf("unpacking the block at byte %d: %w", at, err)
	}
	return dst[:m], nil
}

// tail reads n bytes of a fragment.
func (s *squash) tail(i, off uint32, n int64) ([]byte, error) {
	if i >= s.fragments {
		return nil, fmt.Errorf("a fragment %d, of %d", i, s.fragments)
	}
	b, ok := s.tails.values[int64(i)]
	if !ok {
		where, err := s.lookup(s.fragmentsAt, int64(i)*16, 16)
		if err != nil {
			return nil, fmt.Errorf("reading the table of fragments: %w", err)
		}
		at := binary.LittleEndian.Uint64(where)
		if at > uint64(s.used) {
			return nil, errEnds
		}
		if b, err = s.data(make([]byte, s.block), int64(at), binary.LittleEndian.Uint32(where[8:])); err != nil {
			return nil, err
		}
		if err := s.unpacked(int64(len(b))); err != nil {
			return nil, err
		}
		s.tails.put(int64(i), b)
	}
	if int64(off)+n > int64(len(b)) {
		return nil, fmt.Errorf("bytes %d to %d of a fragment of %d", off, int64(off)+n, len(b))
	}
	return b[off : int64(off)+n], nil
}
