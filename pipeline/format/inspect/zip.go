package inspect

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// zip reads an archive of the release.
func (j *job) zip() error { return j.unzip(j.tree(true, false), nil) }

// zipHeader is an entry of the central directory, or a local header, less what the other has too
// (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7 and 4.3.12).
type zipHeader struct {
	made, needed, flags, method, time, date uint16
	crc, packed, size                       uint32
	name, extra                             string
	comment                                 string
	internal                                uint16
	external, at                            uint32
}

const (
	zipDescriptor = 1 << 3 // flag: sizes stand behind the data
	zipUTF8       = 1 << 11
)

// unzip reads a zip to its end. The entries must lie side by side, in the order of the central directory, and fill the
// file; both headers of an entry must say the same. So no two readers see two archives, and nothing hides between.
func (j *job) unzip(t *tree, w watch) error {
	dir, count, end, err := j.zipEnd()
	if err != nil {
		return err
	}
	var at int64
	central := j.from(dir, end-dir)
	var next zipHeader
	if count > 0 {
		if next, err = j.zipCentral(central); err != nil {
			return err
		}
	}
	for i := range count {
		h, limit := next, dir
		if i+1 < count {
			if next, err = j.zipCentral(central); err != nil {
				return err
			}
			limit = int64(next.at)
		}
		if int64(h.at) != at || limit <= at {
			return fmt.Errorf("%q begins at byte %d, and the entry before it ends at %d: they overlap, or something is between them", h.name, h.at, at)
		}
		if at, err = j.zipEntry(h, limit, t, w); err != nil {
			return err
		}
	}
	if at != dir {
		return fmt.Errorf("the last entry ends at byte %d, and the central directory begins at %d", at, dir)
	}
	if central.at != end {
		return errors.New("the central directory has more than its entries")
	}
	return t.finish()
}

// zipEnd finds the central directory: where it begins and ends, and how many entries it has (4.3.16).
func (j *job) zipEnd() (dir int64, count int, end int64, err error) {
	const size = 22
	tail := min(j.size, size+1<<16-1)
	b, err := j.bytesAt(j.size-tail, tail)
	if err != nil {
		return 0, 0, 0, err
	}
	i := bytes.LastIndex(b, []byte("PK\x05\x06"))
	if i < 0 || len(b)-i < size {
		return 0, 0, 0, errors.New("not a zip: the end of its central directory is missing")
	}
	end, b = j.size-tail+int64(i), b[i:]
	le := binary.LittleEndian
	if int(le.Uint16(b[20:])) != len(b)-size {
		return 0, 0, 0, errors.New("the zip does not end where its comment does")
	}
	count, length := int(le.Uint16(b[10:])), int64(le.Uint32(b[12:]))
	dir = int64(le.Uint32(b[16:]))
	switch {
	case count == 0xffff || length == 0xffffffff || dir == 0xffffffff:
		return 0, 0, 0, errors.New("a zip of more than 65,534 entries or 4 GiB (zip64) is not read")
	case le.Uint16(b[4:]) != 0 || le.Uint16(b[6:]) != 0 || le.Uint16(b[8:]) != uint16(count):
		return 0, 0, 0, errors.New("a zip of several disks is not read")
	case dir+length != end:
		return 0, 0, 0, fmt.Errorf("the central directory ends at byte %d, and its end is marked at %d", dir+length, end)
	}
	if len(b) > size {
		if err := j.field("zip.comment", string(b[size:])); err != nil {
			return 0, 0, 0, err
		}
	}
	return dir, count, end, nil
}

func (j *job) zipCentral(r io.Reader) (zipHeader, error) {
	var b [46]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return zipHeader{}, fmt.Errorf("reading the central directory: %w", ends(err))
	}
	le := binary.LittleEndian
	if string(b[:4]) != "PK\x01\x02" || le.Uint16(b[34:]) != 0 {
		return zipHeader{}, errors.New("the central directory has something that is not an entry of it")
	}
	h := zipHeader{
		made: le.Uint16(b[4:]), needed: le.Uint16(b[6:]), flags: le.Uint16(b[8:]), method: le.Uint16(b[10:]),
		time: le.Uint16(b[12:]), date: le.Uint16(b[14:]), crc: le.Uint32(b[16:]), packed: le.Uint32(b[20:]), size: le.Uint32(b[24:]),
		internal: le.Uint16(b[36:]), external: le.Uint32(b[38:]), at: le.Uint32(b[42:]),
	}
	err := zipStrings(r, &h, le.Uint16(b[28:]), le.Uint16(b[30:]), le.Uint16(b[32:]))
	return h, err
}

func zipStrings(r io.Reader, h *zipHeader, name, extra, comment uint16) error {
	b := make([]byte, int(name)+int(extra)+int(comment))
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("reading a header: %w", ends(err))
	}
	h.name, h.extra, h.comment = string(b[:name]), string(b[name:int(name)+int(extra)]), string(b[int(name)+int(extra):])
	return nil
}

// fail is an error about an entry.
func (h zipHeader) fail(format string, args ...any) error {
	return fmt.Errorf("%.80q: "+format, append([]any{h.name}, args...)...)
}

// sizes are the checksum and the two sizes, which a zip has three times.
func (h zipHeader) sizes() [3]uint32 { return [3]uint32{h.crc, h.packed, h.size} }

// zipEntry reads the entry whose central header is h, and tells where it ends. The next entry, or the central
// directory, begins at limit.
func (j *job) zipEntry(h zipHeader, limit int64, t *tree, w watch) (int64, error) {
	c := j.from(int64(h.at), limit-int64(h.at))
	local, err := zipLocal(c, h)
	if err != nil {
		return 0, err
	}
	e, err := zipToEntry(h, local)
	if err != nil {
		return 0, h.fail("%w", err)
	}
	if err := j.zipBody(c, h, e, t, w); err != nil {
		return 0, err
	}
	if h.flags&zipDescriptor == 0 {
		return c.at, nil
	}
	return limit, zipSizes(c, h)
}

// zipLocal reads the header in front of an entry and holds it to the central one.
func zipLocal(c *cursor, h zipHeader) (zipHeader, error) {
	var b [30]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return zipHeader{}, h.fail("reading its header: %w", ends(err))
	}
	le := binary.LittleEndian
	local := zipHeader{
		needed: le.Uint16(b[4:]), flags: le.Uint16(b[6:]), method: le.Uint16(b[8:]), time: le.Uint16(b[10:]), date: le.Uint16(b[12:]),
		crc: le.Uint32(b[14:]), packed: le.Uint32(b[18:]), size: le.Uint32(b[22:]),
	}
	if string(b[:4]) != "PK\x03\x04" {
		return zipHeader{}, h.fail("no header where the central directory says")
	}
	if err := zipStrings(c, &local, le.Uint16(b[26:]), le.Uint16(b[28:]), 0); err != nil {
		return zipHeader{}, h.fail("%w", err)
	}
	later := h.flags&zipDescriptor != 0
	one, two := local.sizes(), h.sizes()
	switch {
	case local.name != h.name || local.flags != h.flags || local.method != h.method || local.time != h.time || local.date != h.date:
		return zipHeader{}, h.fail("its header and the central directory do not say the same")
	case slices.ContainsFunc([]int{0, 1, 2}, func(i int) bool { return one[i] != two[i] && (!later || one[i] != 0) }):
		return zipHeader{}, h.fail("its header and the central directory have other sizes")
	case h.packed == 0xffffffff || h.size == 0xffffffff || h.at == 0xffffffff:
		return zipHeader{}, h.fail("an entry of 4 GiB or more (zip64) is not read")
	case h.flags&^(zipDescriptor|zipUTF8|6) != 0:
		return zipHeader{}, h.fail("flags %#x: encrypted or patched entries are not read", h.flags)
	}
	return local, nil
}

// zipBody reads what is between the headers of an entry.
func (j *job) zipBody(c *cursor, h zipHeader, e Entry, t *tree, w watch) error {
	data := c.at
	body := io.Reader(io.LimitReader(c, int64(h.packed)))
	switch h.method {
	case 0:
		if h.packed != h.size {
			return h.fail("stored in %d bytes, and has %d", h.packed, h.size)
		}
	case 8:
		body = flate.NewReader(&limitedBytes{c, int64(h.packed)})
	default:
		return h.fail("compression method %d is not read; use deflate", h.method)
	}
	crc := crc32.NewIEEE()
	body = io.TeeReader(metered{j, io.LimitReader(body, int64(h.size)+1)}, crc)
	if e.Type == Symlink {
		target, err := whole(body, maxName)
		if err != nil {
			return h.fail("reading its target: %w", err)
		}
		e.Link = string(target)
	}
	kept, err := t.add(e)
	if err != nil {
		return err
	}
	var to io.Writer
	var done func() error
	if w != nil {
		to, done = w(kept)
	}
	switch kept.Type {
	case File:
		err = j.content(body, kept, to)
	case Folder:
		if h.size != 0 {
			err = fmt.Errorf("%q is a folder and has contents", h.name)
		}
		_, more := io.Copy(io.Discard, body)
		err = errors.Join(err, more)
	}
	if err != nil {
		return err
	}
	if crc.Sum32() != h.crc {
		return h.fail("its checksum does not hold")
	}
	if c.at != data+int64(h.packed) {
		return h.fail("its data ends after %d bytes, and its header says %d", c.at-data, h.packed)
	}
	if done != nil {
		return done()
	}
	return nil
}

// zipSizes reads the sizes behind the data of an entry, and holds them to the central ones.
func zipSizes(c *cursor, h zipHeader) error {
	d, err := whole(c, 16)
	if err != nil {
		return h.fail("reading the sizes behind its data: %w", err)
	}
	// Whether a signature stands in front is only known by the length (4.3.9.3).
	if len(d) == 16 && string(d[:4]) == "PK\x07\x08" {
		d = d[4:]
	}
	le := binary.LittleEndian
	if len(d) != 12 || [3]uint32{le.Uint32(d), le.Uint32(d[4:]), le.Uint32(d[8:])} != h.sizes() {
		return h.fail("the sizes behind its data are not those of the central directory")
	}
	return nil
}

// limitedBytes is an io.LimitedReader for a decompressor that must not read ahead.
type limitedBytes struct {
	c    *cursor
	left int64
}

func (l *limitedBytes) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, io.EOF
	}
	n, err := l.c.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	return n, err
}

func (l *limitedBytes) ReadByte() (byte, error) {
	if l.left <= 0 {
		return 0, io.EOF
	}
	b, err := l.c.ReadByte()
	if err == nil {
		l.left--
	}
	return b, err
}

func zipToEntry(h, local zipHeader) (Entry, error) {
	e := Entry{Name: h.name, Size: int64(h.size), Type: File, ModTime: dosTime(h.date, h.time)}
	if strings.HasSuffix(h.name, "/") {
		e.Type, e.Mode = Folder, fs.ModeDir
	}
	switch h.made >> 8 {
	case 3, 19: // Unix, macOS (4.4.2.2)
		mode, typ, err := unixMode(h.external >> 16)
		if err != nil {
			return Entry{}, fmt.Errorf("it is %w", err)
		}
		if h.external>>16&unixFormat != 0 && typ != e.Type && (typ != Symlink || e.Type == Folder) {
			return Entry{}, fmt.Errorf("its name is that of a %s, and its mode that of a %s", e.Type, typ)
		}
		if typ == Symlink {
			e.Type = Symlink
		}
		e.Mode |= mode
	default:
		if h.external&0x10 != 0 && e.Type != Folder {
			return Entry{}, errors.New("its name is that of a file, and its attributes those of a folder")
		}
	}
	if e.Type != File {
		e.Size = 0
	}
	e.Extra = []Field{
		{"dos-time", fmt.Sprintf("%04x%04x", h.date, h.time)},
		{"made", fmt.Sprintf("%d.%d", h.made>>8, h.made&0xff)},
		{"needed", strconv.Itoa(int(h.needed))},
		{"flags", fmt.Sprintf("%#x", h.flags)},
		{"method", strconv.Itoa(int(h.method))},
		{"packed", strconv.Itoa(int(h.packed))},
		{"internal", fmt.Sprintf("%#x", h.internal)},
		{"external", fmt.Sprintf("%#x", h.external)},
	}
	if local.needed != h.needed {
		e.Extra = append(e.Extra, Field{"local-needed", strconv.Itoa(int(local.needed))})
	}
	for _, f := range []Field{{"extra", h.extra}, {"local-extra", local.extra}} {
		if f.Value == "" {
			continue
		}
		list, seconds, err := zipExtra(f.Value)
		if err != nil {
			return Entry{}, err
		}
		if seconds != nil {
			e.ModTime = time.Unix(int64(*seconds), 0).UTC()
		}
		e.Extra = append(e.Extra, Field{f.Key, list})
	}
	if h.comment != "" {
		e.Extra = append(e.Extra, Field{"comment", h.comment})
	}
	return e, nil
}

// zipExtra lists extra fields as id:length:data, the data as digits of base 16 or, where it is long, its digest (4.5.1).
// The time of modification is the one of Info-ZIP's extended timestamp.
func zipExtra(extra string) (list string, seconds *int32, err error) {
	var parts []string
	b := []byte(extra)
	for len(b) > 0 {
		if len(b) < 4 {
			return "", nil, errors.New("its extra fields are cut off")
		}
		id, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if n > len(b)-4 {
			return "", nil, errors.New("its extra fields are cut off")
		}
		data := b[4 : 4+n]
		b = b[4+n:]
		switch {
		case id == 1:
			return "", nil, errors.New("an entry of 4 GiB or more (zip64) is not read")
		case id == 0x7075 || id == 0x6375:
			return "", nil, errors.New("a second name or comment in an extra field, which only some readers see")
		case id == 0x5455 && n >= 5 && data[0]&1 != 0:
			s := int32(binary.LittleEndian.Uint32(data[1:]))
			seconds = &s
		}
		text := hex.EncodeToString(data)
		if n > 64 {
			text = string(artifact.Sum(data))
		}
		parts = append(parts, fmt.Sprintf("%04x:%d:%s", id, n, text))
	}
	return strings.Join(parts, " "), seconds, nil
}

// dosTime is a time of MS-DOS, taken as UTC (4.4.6). What is out of range is not a time.
func dosTime(date, clock uint16) time.Time {
	y, m, d := int(date>>9)+1980, int(date>>5&15), int(date&31)
	t := time.Date(y, time.Month(m), d, int(clock>>11), int(clock>>5&63), int(clock&31)*2, 0, time.UTC)
	if t.Month() != time.Month(m) || t.Day() != d {
		return time.Time{}
	}
	return t
}
