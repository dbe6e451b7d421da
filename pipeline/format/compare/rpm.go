package compare

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
)

var rpmRules = rules{
	magic: "\xed\xab\xee\xdb",
	class: func(_, rest string) class {
		switch rest {
		case "PayloadDigest", "PayloadDigestAlt", "signature.269", "signature.273", "signature.1000", "signature.1004", "signature.1007":
			return never
		case "Size", "LongSize", "ArchiveSize", "lead", "FileDigestAlgo": // some writers repeat the last for each file
			return weak
		}
		if strings.HasPrefix(rest, "signature.") {
			return weak
		}
		return own
	},
	field: rpmField,
	parts: rpmParts,
}

// rpmField tells of a tag of the headers.
func rpmField(c *comparer, where []string, x, y opened, key string) {
	part, rest, _ := strings.Cut(key, ".")
	number, signed := strings.CutPrefix(rest, "signature.")
	switch {
	case part != "rpm":
		c.values(where, key, x.Facts, y.Facts, key)
	case rest == "BuildTime" || rest == "ChangelogTime":
		c.add(where, "header: %s %s instead of %s", rest, unix(x.Fields[key]), unix(y.Fields[key]))
	case signed:
		c.values(where, "signature header: tag "+number, x.Facts, y.Facts, key)
	case strings.Trim(rest, "0123456789") == "":
		c.values(where, "header: tag "+rest, x.Facts, y.Facts, key)
	default:
		c.values(where, "header: "+rest, x.Facts, y.Facts, key)
	}
}

// rpmParts are the payload and the header.
func rpmParts(_ opened, s Source) []part {
	sig, errSig := rpmEnd(s, 96)
	sig = (sig + 7) / 8 * 8
	main, err := rpmEnd(s, sig)
	if err != nil || errSig != nil || main > s.Size {
		return nil
	}
	return []part{{"payload", main, s.Size - main, cpio}, {"header", sig, main - sig, tags}}
}

var errHeader = errors.New("no header")

// rpmEnd is where a header of an rpm ends (https://rpm-software-management.github.io/rpm/manual/format_header.html).
func rpmEnd(s Source, at int64) (int64, error) {
	var h [16]byte
	if _, err := s.ReadAt(h[:], at); err != nil {
		return 0, err
	}
	end := at + 16 + 16*int64(binary.BigEndian.Uint32(h[8:])) + int64(binary.BigEndian.Uint32(h[12:]))
	if !bytes.HasPrefix(h[:], []byte{0x8e, 0xad, 0xe8, 1}) || end > s.Size {
		return 0, errHeader
	}
	return end, nil
}

// tags compares headers of rpms tag by tag, since inspect keeps no fields of those that stand for files.
func (c *comparer) tags(where []string, a, b Source) error {
	// inspect reads no header that has more bytes.
	_, err := c.both(a, b, maxDocument+4096*16+16, func(a, b []byte) error {
		x, y := rpmTags(a), rpmTags(b)
		for _, tag := range slices.Sorted(maps.Keys(merge(x, y))) {
			if tag == 63 || tag == 5092 || tag == 5097 { // the region, and sums of the payload
				continue
			}
			if one, two := x[tag], y[tag]; !bytes.Equal(one, two) {
				if len(one) <= 16 && len(two) <= 16 {
					c.add(where, "tag %d: %x instead of %x", tag, one, two)
				} else {
					c.add(where, "tag %d: %s", tag, instead(string(one), string(two)))
				}
			}
		}
		return nil
	})
	return err
}

func merge(a, b map[uint32][]byte) map[uint32]bool {
	m := map[uint32]bool{}
	for k := range a {
		m[k] = true
	}
	for k := range b {
		m[k] = true
	}
	return m
}

// rpmTags is the data of each tag, up to that of the next one.
func rpmTags(b []byte) map[uint32][]byte {
	out := map[uint32][]byte{}
	if len(b) < 16 {
		return out
	}
	n := int64(binary.BigEndian.Uint32(b[8:]))
	if n*16 > int64(len(b)-16) {
		return out
	}
	index, store := b[16:16+n*16], b[16+n*16:]
	var tags, offsets []uint32
	for i := range n {
		if tag, off := binary.BigEndian.Uint32(index[i*16:]), binary.BigEndian.Uint32(index[i*16+8:]); int64(off) <= int64(len(store)) && tag != 63 {
			tags, offsets = append(tags, tag), append(offsets, off)
		}
	}
	for i, tag := range tags {
		end := uint32(len(store))
		if i+1 < len(tags) {
			end = max(offsets[i], offsets[i+1])
		}
		out[tag] = bytes.TrimRight(store[offsets[i]:end], "\x00")
	}
	return out
}
