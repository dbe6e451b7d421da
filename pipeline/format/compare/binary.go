package compare

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format/inspect"
)

// binary compares two programs: what they say of their build, and where in the file they differ. What was built of other
// things has other code; so of two programs that say so the sections are named that differ too, and no bytes.
func (c *comparer) binary(f file, a, b Source, s span) error {
	x, errA := inspect.Open(c.ctx, inspect.Binary, a, a.Size, inspect.Options{})
	y, errB := inspect.Open(c.ctx, inspect.Binary, b, b.Size, inspect.Options{})
	if err := c.fatal(); err != nil {
		return err
	}
	if errA != nil || errB != nil {
		if s.prefix() && (s.a > s.b && errB == nil || s.b > s.a && errA == nil) {
			c.bytes(f.where, s)
			return nil
		}
		c.unopened(f, errA, errB)
		x, y = inspect.Facts{}, inspect.Facts{}
	}
	before := c.n
	c.buildInfo(f.where, x, y)
	informed := c.n > before
	if !informed && s.prefix() {
		c.bytes(f.where, s)
		return nil
	}
	one, two := sections(a), sections(b)
	// What is computed of the whole program differs because something else does.
	hiddenA, hiddenB := masked(a, one), masked(b, two)
	rest, err := c.span(hiddenA, hiddenB)
	if err != nil {
		return err
	}
	if !rest.same() {
		a, b, s = hiddenA, hiddenB, rest
	} else if informed {
		return nil
	}
	names, err := c.sections(a, b, one, two, informed)
	if err != nil {
		return err
	}
	for i := range names {
		names[i] = plain(names[i])
	}
	switch {
	case informed && len(names) > 0:
		c.add(f.where, "%s, too", differ(names))
	case informed:
	case len(names) == 0:
		c.add(f.where, "%s, outside of all sections", s)
	case s.a != s.b:
		c.add(f.where, "%s instead of %s; %s", count(s.a, "byte"), comma(s.b), differ(names))
	default:
		c.add(f.where, "%s, in %s", s, list(names))
	}
	return nil
}

func differ(names []string) string {
	if len(names) == 1 {
		return list(names) + " differs"
	}
	return list(names) + " differ"
}

// list names sections.
func list(names []string) string {
	const most = 5
	switch n := len(names); {
	case n == 1:
		return "section " + names[0]
	case n > most:
		return fmt.Sprintf("sections %s and %d more", strings.Join(names[:most], ", "), n-most)
	default:
		return "sections " + strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

// buildInfo compares what the linker wrote of modules and settings.
func (c *comparer) buildInfo(where []string, x, y inspect.Facts) {
	keys := fieldKeys(opened{Facts: x}, opened{Facts: y})
	// The version of Go comes first: most else follows from it.
	slices.SortStableFunc(keys, func(a, b string) int {
		return strings.Compare(strings.Replace(a, "go.version", "", 1), strings.Replace(b, "go.version", "", 1))
	})
	for _, k := range keys {
		a, okA := x.Fields[k]
		b, okB := y.Fields[k]
		name, ok := strings.CutPrefix(k, "go.")
		if a == b && okA == okB || !ok {
			continue
		}
		dep, isDep := strings.CutPrefix(name, "dep.")
		switch {
		case name == "version":
			c.add(where, "build info says %s instead of %s", orQuote(a), orQuote(b))
		case name == "path":
			c.add(where, "build info says path %s", instead(a, b))
		case name == "module":
			c.add(where, "build info says module %s", instead(a, b))
		case strings.HasPrefix(name, "module."):
			c.add(where, "build info says module %s %s", strings.TrimPrefix(name, "module."), instead(a, b))
		case isDep && !okB:
			c.add(where, "build info says dependency %s %s only in the published", plain(dep), orQuote(a))
		case isDep && !okA:
			c.add(where, "build info says dependency %s %s only in the rebuilt", plain(dep), orQuote(b))
		case isDep:
			c.add(where, "build info says dependency %s %s instead of %s", plain(dep), orQuote(a), orQuote(b))
		case !okB:
			c.add(where, "build info says setting %s only in the published: %s", plain(name), quote(a))
		case !okA:
			c.add(where, "build info says setting %s only in the rebuilt: %s", plain(name), quote(b))
		default:
			c.add(where, "build info says setting %s %s", plain(name), instead(a, b))
		}
	}
}

// orQuote is a word of build information, which has no quotes around it where none are needed.
func orQuote(s string) string {
	s = strings.TrimSpace(s)
	if s != "" && plain(s) == s {
		return s
	}
	return quote(s)
}

// section is a part of a program that has a name.
type section struct {
	name      string
	off, size int64
}

// Bounds on the tables of a program from outside.
const maxSections = 1024

var errOver = errors.New("its headers make a reader read it over and over")

// meteredAt bounds what is read all together, since a malformed file may make a reader read the same over and over.
type meteredAt struct {
	io.ReaderAt
	left int64
}

func (m *meteredAt) ReadAt(b []byte, off int64) (int, error) {
	if m.left -= int64(len(b)); m.left < 0 {
		return 0, errOver
	}
	return m.ReaderAt.ReadAt(b, off)
}

// sections are those of a program, or its segments where it has no sections, in the order of the file. A file whose
// tables cannot be read has none.
func sections(s Source) (out []section) {
	defer func() {
		// The standard library does not promise that a malformed file does not make its readers panic.
		if recover() != nil {
			out = nil
		}
	}()
	r := &meteredAt{s, 4*s.Size + 64<<20}
	add := func(name string, off, size uint64) {
		if off <= uint64(s.Size) && size > 0 && size <= uint64(s.Size)-off && len(out) < maxSections {
			out = append(out, section{name, int64(off), int64(size)})
		}
	}
	if f, err := elf.NewFile(r); err == nil {
		for _, x := range f.Sections {
			if x.Type != elf.SHT_NOBITS && x.Type != elf.SHT_NULL {
				add(x.Name, x.Offset, x.FileSize)
			}
		}
		for i, x := range f.Progs {
			if len(f.Sections) == 0 {
				add(fmt.Sprintf("of segment %d", i), x.Off, x.Filesz)
			}
		}
	} else if f, err := macho.NewFile(r); err == nil {
		for _, x := range f.Sections {
			if x.Offset != 0 { // else it is not in the file
				add(x.Seg+","+x.Name, uint64(x.Offset), x.Size)
			}
		}
		at := uint64(32)
		if f.Magic == macho.Magic32 {
			at = 28
		}
		for _, l := range f.Loads {
			raw := l.Raw()
			switch {
			case len(raw) >= 24 && f.ByteOrder.Uint32(raw) == loadUUID:
				add("LC_UUID", at, uint64(len(raw)))
			case len(raw) >= 16 && f.ByteOrder.Uint32(raw) == loadSignature:
				add("LC_CODE_SIGNATURE", uint64(f.ByteOrder.Uint32(raw[8:])), uint64(f.ByteOrder.Uint32(raw[12:])))
			}
			at += uint64(len(raw))
			if seg, ok := l.(*macho.Segment); ok && (seg.Name == "__LINKEDIT" || len(f.Sections) == 0) {
				add(seg.Name, seg.Offset, seg.Filesz)
			}
		}
	} else if f, err := pe.NewFile(r); err == nil {
		for _, x := range f.Sections {
			add(x.Name, uint64(x.Offset), uint64(x.Size))
		}
	}
	slices.SortStableFunc(out, func(a, b section) int { return int(min(1, max(-1, a.off-b.off))) })
	return out
}

// Load commands of a Mach-O that have, or say where it has, what is computed of it (<mach-o/loader.h>).
const (
	loadUUID      = 0x1b
	loadSignature = 0x1d
)

// idSections have what is computed of the whole program.
var idSections = []string{".note.go.buildid", ".note.gnu.build-id", "LC_UUID", "LC_CODE_SIGNATURE"}

// mask reads zeros where a program has what is computed of the whole of it.
type mask struct {
	io.ReaderAt
	holes []section
}

func (m mask) ReadAt(b []byte, off int64) (int, error) {
	n, err := m.ReaderAt.ReadAt(b, off)
	for _, h := range m.holes {
		if from, to := max(h.off, off), min(h.off+h.size, off+int64(n)); from < to {
			clear(b[from-off : to-off])
		}
	}
	return n, err
}

// masked hides those sections, and the identifier that Go leaves at the beginning of the code where the format has no
// place for it ($GOROOT/src/cmd/internal/buildid/buildid.go).
func masked(s Source, all []section) Source {
	m := mask{ReaderAt: s}
	for _, x := range all {
		if slices.Contains(idSections, x.name) {
			m.holes = append(m.holes, x)
		}
	}
	head := make([]byte, min(s.Size, 64<<10))
	n, _ := s.ReadAt(head, 0) // an error is remembered by the source
	head = head[:n]
	if from := bytes.Index(head, []byte("\xff Go build ID: \"")); from >= 0 {
		if size := bytes.Index(head[from:], []byte("\"\n \xff")); size > 0 {
			m.holes = append(m.holes, section{"", int64(from), int64(size)})
		}
	}
	return Source{m, s.Size}
}

// sections names those that differ, in the order of the published file. Where the build information differs, it and what
// follows from it is not looked at.
func (c *comparer) sections(a, b Source, one, two []section, informed bool) ([]string, error) {
	others := map[string][]section{}
	for _, s := range two {
		others[s.name] = append(others[s.name], s)
	}
	var names []string
	left := 4*(a.Size+b.Size) + 64<<20 // sections of a malformed file may lie over one another
	for _, s := range one {
		same := others[s.name]
		if len(same) == 0 {
			names = append(names, s.name)
			continue
		}
		t := same[0]
		others[s.name] = same[1:]
		if left -= s.size + t.size; left < 0 {
			break
		}
		x, y := cutOut(a, part{off: s.off, size: s.size}), cutOut(b, part{off: t.off, size: t.size})
		d, err := c.span(x, y)
		if err != nil {
			return nil, err
		}
		if d.same() {
			continue
		}
		if informed {
			rest, err := c.uninformed(x, y)
			if err != nil {
				return nil, err
			}
			if rest {
				continue
			}
		}
		names = append(names, s.name)
	}
	for _, s := range two {
		if rest := others[s.name]; len(rest) > 0 {
			names = append(names, s.name)
			others[s.name] = rest[1:]
		}
	}
	var once []string
	for _, n := range names {
		if !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	return once, nil
}

// uninformed reports whether two sections are the same but for the build information in them.
func (c *comparer) uninformed(a, b Source) (same bool, err error) {
	_, err = c.both(a, b, maxInner, func(a, b []byte) error {
		a, okA := withoutInfo(a)
		b, okB := withoutInfo(b)
		same = okA && okB && bytes.Equal(bytes.TrimRight(a, "\x00"), bytes.TrimRight(b, "\x00"))
		return nil
	})
	return same, err
}

// withoutInfo cuts out what the linker leaves for debug/buildinfo ($GOROOT/src/debug/buildinfo/buildinfo.go has the
// layout), with the zeros that fill it up.
func withoutInfo(b []byte) ([]byte, bool) {
	const head, inline = 32, 2
	from := bytes.Index(b, []byte("\xff Go buildinf:"))
	if from < 0 || len(b)-from < head || b[from+15]&inline == 0 {
		return b, false
	}
	at := from + head
	for range 2 {
		n, w := binary.Uvarint(b[at:])
		if w <= 0 || n > uint64(len(b)-at-w) {
			return b, false
		}
		at += w + int(n)
	}
	rest := bytes.TrimLeft(b[at:], "\x00")
	return append(bytes.Clone(b[:from]), rest...), true
}
