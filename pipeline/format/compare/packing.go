package compare

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Bounds on a layer, which are those of package inspect.
const (
	maxUnpacked = 4 << 30
	maxEntries  = 200_000
	maxWords    = 64 << 20
	maxWindow   = 64 << 20
)

var errUnpacked = fmt.Errorf("it unpacks to more than %d bytes", int64(maxUnpacked))

// metered counts what is unpacked.
type metered struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (b *metered) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errUnpacked
	}
	return n, err
}

// unpack reads what is compressed by gzip or zstd, or not at all; the first bytes tell.
func unpack(ctx context.Context, r io.Reader) (io.Reader, func(), error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head, _ := in.Peek(4) // an error comes again
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		gz, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, err
		}
		return &metered{ctx, gz, maxUnpacked}, func() {}, nil
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		dec, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return &metered{ctx, dec, maxUnpacked}, dec.Close, nil
	}
	return &metered{ctx, in, maxUnpacked}, func() {}, nil
}

// walkTar reads a tar, compressed or not, with all that layers of images have: devices, absolute links, names that stand
// twice.
func walkTar(ctx context.Context, r io.Reader, visit func(inspect.Entry, io.Reader) error) (inspect.Facts, error) {
	facts := inspect.Facts{Format: layer, Fields: map[string]string{}}
	in, done, err := unpack(ctx, r)
	if err != nil {
		return facts, err
	}
	defer done()
	if b, ok := in.(*metered); ok {
		if gz, ok := b.r.(*gzip.Reader); ok {
			facts.Fields = gzipFields(gz.Header)
		}
	}
	seen := map[string]int{}
	words := 0
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return facts, nil
		}
		if err != nil {
			return facts, fmt.Errorf("reading the tar: %w", err)
		}
		e := tarEntry(h)
		for name := e.Name; seen[e.Name] > 0; {
			seen[name]++
			e.Name = fmt.Sprintf("%s (%d)", name, seen[name])
		}
		seen[e.Name] = 1
		words += 256 + len(e.Name) + len(e.Link) + len(e.Owner) + len(e.Group)
		for _, f := range e.Extra {
			words += 32 + len(f.Key) + len(f.Value)
		}
		if len(facts.Entries) >= maxEntries || words > maxWords {
			return facts, fmt.Errorf("it has more than %d entries, or their names are longer than %d bytes", maxEntries, maxWords)
		}
		if e.Type == inspect.File {
			meter := artifact.NewMeter(io.Discard)
			contents := io.TeeReader(tr, meter)
			if visit != nil {
				if err := visit(e, contents); err != nil {
					return facts, err
				}
			}
			if _, err := io.Copy(io.Discard, contents); err != nil {
				return facts, fmt.Errorf("reading %s: %w", quote(e.Name), err)
			}
			e.Digest, e.Size = meter.Digest(), meter.Size()
		}
		facts.Entries = append(facts.Entries, e)
	}
}

func tarEntry(h *tar.Header) inspect.Entry {
	e := inspect.Entry{
		Name: strings.TrimPrefix(path.Clean("/"+h.Name), "/"), Mode: h.FileInfo().Mode(), Size: h.Size, ModTime: h.ModTime.UTC(),
		UID: h.Uid, GID: h.Gid, Owner: h.Uname, Group: h.Gname,
	}
	if e.Name == "" {
		e.Name = "."
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		e.Type = inspect.File
	case tar.TypeDir:
		e.Type = inspect.Folder
	case tar.TypeSymlink:
		e.Type, e.Link = inspect.Symlink, h.Linkname
	case tar.TypeLink:
		e.Type, e.Link = inspect.HardLink, h.Linkname
	default:
		e.Type = inspect.Type(h.Typeflag)
		e.Link = h.Linkname
	}
	if e.Type != inspect.File {
		e.Size = 0
	}
	if h.Name != e.Name {
		e.Extra = append(e.Extra, inspect.Field{Key: "name", Value: h.Name})
	}
	e.Extra = append(e.Extra, inspect.Field{Key: "format", Value: h.Format.String()})
	if h.Devmajor != 0 || h.Devminor != 0 {
		e.Extra = append(e.Extra, inspect.Field{Key: "device", Value: fmt.Sprintf("%d,%d", h.Devmajor, h.Devminor)})
	}
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		e.Extra = append(e.Extra, inspect.Field{Key: "pax." + key, Value: h.PAXRecords[key]})
	}
	return e
}

// gzipFields are the fields of a header under the names that package inspect has for them. XFL is not among what the
// standard library keeps; see gzipFlags.
func gzipFields(h gzip.Header) map[string]string {
	m := map[string]string{"gzip.mtime": "0", "gzip.os": strconv.Itoa(int(h.OS))}
	if !h.ModTime.IsZero() {
		m["gzip.mtime"] = strconv.FormatInt(h.ModTime.Unix(), 10)
	}
	for key, value := range map[string]string{"gzip.name": h.Name, "gzip.comment": h.Comment, "gzip.extra": hex.EncodeToString(h.Extra)} {
		if value != "" {
			m[key] = value
		}
	}
	return m
}

// gzip compares two compressed files that are not archives.
func (c *comparer) gzip(f file, a, b Source) error {
	var all [2]opened
	for i, s := range []Source{a, b} {
		gz, err := gzip.NewReader(io.NewSectionReader(s, 0, s.Size))
		if err != nil {
			return c.fatal() // it was one when its first bytes were read
		}
		all[i].Fields = gzipFields(gz.Header)
		all[i].Fields["gzip.flags"] = gzipFlags(s)
	}
	before := c.n
	for _, k := range fieldKeys(all[0], all[1]) {
		if all[0].Fields[k] != all[1].Fields[k] && k != "gzip.flags" {
			c.field(f.where, all[0], all[1], k)
		}
	}
	var plain [2][]byte
	for i, s := range []Source{a, b} {
		r, done, err := unpack(c.ctx, io.NewSectionReader(s, 0, s.Size))
		if err != nil {
			return c.fatal()
		}
		limit := min(maxInner, maxHeld-c.held)
		plain[i], err = bounded.Read(r, limit)
		done()
		if err != nil {
			return c.fatal()
		}
		c.held += int64(len(plain[i]))
		defer func() { c.held -= int64(len(plain[i])) }()
	}
	same := bytes.Equal(plain[0], plain[1])
	if same {
		told := c.n
		if err := c.part(f.where, a, b, c.n > before, "file"); err != nil || c.n > told {
			return err
		}
	}
	if all[0].Fields["gzip.flags"] != all[1].Fields["gzip.flags"] {
		c.field(f.where, all[0], all[1], "gzip.flags")
	}
	if same {
		return nil
	}
	name := strings.TrimSuffix(f.name, path.Ext(f.name))
	if f.depth >= maxDepth {
		return nil
	}
	return c.files(file{where: f.where, name: name, format: FormatOf(name), depth: f.depth + 1}, memory(plain[0]), memory(plain[1]))
}

// gzipFlags is XFL, by which compressors say how hard they tried.
func gzipFlags(s Source) string {
	var b [10]byte
	_, _ = s.ReadAt(b[:], 0) // an error is remembered by the source
	return strconv.Itoa(int(b[8]))
}

// packing compares what the entries are packed in: the compressed parts of a file, and in them what stands around the
// entries.
func (c *comparer) packing(f file, x, y opened, a, b Source, headed bool) error {
	one, two := partsOf(f.format, x, a), partsOf(f.format, y, b)
	for i := range min(len(one), len(two)) {
		p, q := one[i], two[i]
		if p.name != q.name {
			continue
		}
		before := c.n
		pa, pb := cutOut(a, p), cutOut(b, q)
		where := in(f.where, p.name)
		if p.kind == tags {
			if err := c.tags(where, pa, pb); err != nil {
				return err
			}
			continue
		}
		if err := c.part(where, pa, pb, headed, p.kind); err != nil {
			return err
		}
		if table[f.format].chained && c.n > before {
			return nil
		}
	}
	return nil
}

func cutOut(s Source, p part) Source { return Source{io.NewSectionReader(s, p.off, p.size), p.size} }

// part compares two parts whose entries are the same.
func (c *comparer) part(where []string, a, b Source, headed bool, kind kind) error {
	s, err := c.span(a, b)
	if err != nil || s.same() {
		return err
	}
	r, done, err := unpack(c.ctx, io.NewSectionReader(a, 0, a.Size))
	if err != nil {
		return c.fatal()
	}
	defer done()
	t, doneT, err := unpack(c.ctx, io.NewSectionReader(b, 0, b.Size))
	if err != nil {
		return c.fatal()
	}
	defer doneT()
	inner, err := c.spans(r, t)
	if fatal := c.fatal(); fatal != nil {
		return fatal
	}
	compressed := func(s Source) bool {
		var b [2]byte
		_, _ = s.ReadAt(b[:], 0) // as above
		return string(b[:]) == "\x1f\x8b" || string(b[:]) == "\x28\xb5"
	}
	switch {
	case err != nil || !compressed(a) && !compressed(b):
		c.bytes(where, s)
	case !inner.same():
		c.add(where, "the %s around the same entries: %s", kind, inner)
	default:
		body, err := c.span(behindHeader(a), behindHeader(b))
		if err != nil {
			return err
		}
		switch {
		case !body.same() && a.Size == b.Size:
			c.add(where, "the same contents, compressed differently: %s", s)
		case !body.same():
			c.add(where, "the same contents, compressed differently: %s instead of %s", count(a.Size, "byte"), comma(b.Size))
		case !headed && (s.count != 1 || s.first != 8): // XFL, which has a word
			c.add(where, "gzip header: %s", s)
		}
	}
	return nil
}

// behindHeader is what stands behind the header of gzip (https://www.rfc-editor.org/rfc/rfc1952#section-2.3).
func behindHeader(s Source) Source {
	b := make([]byte, min(s.Size, 64<<10))
	n, _ := s.ReadAt(b, 0) // as above
	if b = b[:n]; n < 10 || b[0] != 0x1f || b[1] != 0x8b {
		return s
	}
	flags, at := b[3], 10
	if flags&4 != 0 && at+2 <= n {
		at += 2 + int(binary.LittleEndian.Uint16(b[at:]))
	}
	for _, bit := range []byte{8, 16} { // name, comment
		if flags&bit != 0 && at < n {
			at += bytes.IndexByte(b[at:], 0) + 1
		}
	}
	if flags&2 != 0 {
		at += 2
	}
	return cutOut(s, part{off: int64(min(at, n)), size: s.Size - int64(min(at, n))})
}
