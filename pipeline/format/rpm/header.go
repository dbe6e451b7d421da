package rpm

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The tags that are written anew (https://rpm.org/docs/latest/manual/tags.html), and those of the signature header that
// have the same numbers as others (https://rpm.org/docs/latest/manual/signatures_digests.html).
const (
	regionSignature = 62
	regionMain      = 63

	sigSHA256      = 273
	sigSize        = 1000
	sigPayloadSize = 1007

	tagRequireFlags     = 1048
	tagRequireName      = 1049
	tagRequireVersion   = 1050
	tagPayloadDigest    = 5092
	tagPayloadDigestAlt = 5097
)

// The types of values (https://rpm.org/docs/latest/manual/format_header.html).
const (
	typeInt16       = 3
	typeInt32       = 4
	typeInt64       = 5
	typeString      = 6
	typeBinary      = 7
	typeStringArray = 8
	typeI18N        = 9
)

// value is one of a header.
type value struct {
	tag, kind, count int
	data             []byte
}

var errHeader = errors.New("the library wrote a header that is none")

// headerMagic begins a header: three bytes, a version, and four that are reserved.
var headerMagic = []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}

// readHeader reads a header without its region, and returns what follows it.
func readHeader(b []byte, region int) ([]value, []byte, error) {
	if len(b) < 16 || !bytes.Equal(b[:8], headerMagic) {
		return nil, nil, errHeader
	}
	count, size := int(binary.BigEndian.Uint32(b[8:])), int(binary.BigEndian.Uint32(b[12:]))
	if count > len(b)/16 || 16+16*count+size > len(b) {
		return nil, nil, errHeader
	}
	index, store, rest := b[16:16+16*count], b[16+16*count:16+16*count+size], b[16+16*count+size:]
	var all []value
	for ; len(index) > 0; index = index[16:] {
		v := value{tag: int(binary.BigEndian.Uint32(index)), kind: int(binary.BigEndian.Uint32(index[4:])), count: int(binary.BigEndian.Uint32(index[12:]))}
		if v.tag == region {
			continue
		}
		offset := int(binary.BigEndian.Uint32(index[8:]))
		if offset > len(store) {
			return nil, nil, errHeader
		}
		n, ok := v.length(store[offset:])
		if !ok {
			return nil, nil, errHeader
		}
		v.data = store[offset : offset+n]
		all = append(all, v)
	}
	return all, rest, nil
}

// length is how many of the bytes are the value's.
func (v value) length(b []byte) (int, bool) {
	n := 0
	switch v.kind {
	case typeInt16, typeInt32, typeInt64:
		n = v.count * v.align()
	case typeBinary:
		n = v.count
	case typeString, typeStringArray, typeI18N:
		for range v.count {
			i := bytes.IndexByte(b[n:], 0)
			if i < 0 {
				return 0, false
			}
			n += i + 1
		}
	default:
		return 0, false
	}
	return n, n <= len(b)
}

// align is what the offset of a value has to be a multiple of.
func (v value) align() int {
	switch v.kind {
	case typeInt16:
		return 2
	case typeInt32:
		return 4
	case typeInt64:
		return 8
	}
	return 1
}

// writeHeader writes a header with its region, which comes first in the index and last in the store, and says that all
// between belongs to it.
func writeHeader(values []value, region int) []byte {
	values = slices.SortedFunc(slices.Values(values), func(a, b value) int { return cmp.Compare(a.tag, b.tag) })
	var index, store []byte
	entry := func(b []byte, tag, kind, offset, count int) []byte {
		for _, n := range []int{tag, kind, offset, count} {
			b = binary.BigEndian.AppendUint32(b, uint32(n)) //nolint:gosec // a region's offset is meant to be negative
		}
		return b
	}
	for _, v := range values {
		for len(store)%v.align() != 0 {
			store = append(store, 0)
		}
		index = entry(index, v.tag, v.kind, len(store), v.count)
		store = append(store, v.data...)
	}
	trailer := len(store)
	store = entry(store, region, typeBinary, -16*(len(values)+1), 16)

	out := bytes.Clone(headerMagic)
	out = binary.BigEndian.AppendUint32(out, uint32(len(values)+1)) //nolint:gosec // a few dozen
	out = binary.BigEndian.AppendUint32(out, uint32(len(store)))    //nolint:gosec // bounded by the package
	out = entry(out, region, typeBinary, trailer, 16)
	return append(append(out, index...), store...)
}

// set replaces a value, or adds it.
func set(values []value, v value) []value {
	values = slices.DeleteFunc(values, func(o value) bool { return o.tag == v.tag })
	return append(values, v)
}

func texts(tag, kind int, all ...string) value {
	var data []byte
	for _, s := range all {
		data = append(append(data, s...), 0)
	}
	return value{tag, kind, len(all), data}
}

func numbers(tag int, all ...uint32) value {
	var data []byte
	for _, n := range all {
		data = binary.BigEndian.AppendUint32(data, n)
	}
	return value{tag, typeInt32, len(all), data}
}

// stringsOf are the strings of a value, none where the header has not got it.
func stringsOf(values []value, tag int) []string {
	for _, v := range values {
		if v.tag == tag {
			var all []string
			for s := range bytes.SplitSeq(bytes.TrimSuffix(v.data, []byte{0}), []byte{0}) {
				all = append(all, string(s))
			}
			return all
		}
	}
	return nil
}

func numbersOf(values []value, tag int) []uint32 {
	for _, v := range values {
		if v.tag == tag {
			var all []uint32
			for i := 0; i+4 <= len(v.data); i += 4 {
				all = append(all, binary.BigEndian.Uint32(v.data[i:]))
			}
			return all
		}
	}
	return nil
}

// requirement is a dependency as a header has it.
type requirement struct {
	name, version string
	flags         uint32
}

// require adds dependencies to a header, whose dependencies are sorted by name, as those that rpmbuild makes.
func require(values []value, more []requirement) ([]value, error) {
	names, versions, flags := stringsOf(values, tagRequireName), stringsOf(values, tagRequireVersion), numbersOf(values, tagRequireFlags)
	if len(names) != len(versions) || len(names) != len(flags) {
		return nil, fmt.Errorf("the library wrote %d names, %d versions and %d flags of dependencies", len(names), len(versions), len(flags))
	}
	for i := range names {
		more = append(more, requirement{names[i], versions[i], flags[i]})
	}
	slices.SortStableFunc(more, func(a, b requirement) int { return cmp.Compare(a.name, b.name) })
	names, versions, flags = nil, nil, nil
	for _, r := range more {
		names, versions, flags = append(names, r.name), append(versions, r.version), append(flags, r.flags)
	}
	values = set(values, texts(tagRequireName, typeStringArray, names...))
	values = set(values, texts(tagRequireVersion, typeStringArray, versions...))
	return set(values, numbers(tagRequireFlags, flags...)), nil
}
