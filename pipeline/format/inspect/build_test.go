package inspect_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
)

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func md5Of(b []byte) string { s := md5.Sum(b); return hex.EncodeToString(s[:]) }

// node is a file of an rpm made by hand.
type node struct {
	name, body string
	mode       uint32
	nlink, ino uint32
}

func rpmEntries() []node {
	return []node{
		{"./usr/bin", "", 0o040755, 2, 1},
		{"./usr/bin/hello", "hello", 0o100755, 1, 2},
		{"./usr/bin/hi", "hello", 0o120777, 1, 3},
		{"./usr/share/one", "", 0o100644, 2, 4},
		{"./usr/share/two", "two", 0o100644, 2, 4},
	}
}

func cpioEntry(n node) []byte {
	b := fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", n.ino, n.mode, 0, 0, n.nlink, commitTime.Unix(), len(n.body), 0, 0, 0, 0, len(n.name)+1, 0)
	b = append(append(b, n.name...), 0)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	b = append(b, n.body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func cpioOf(nodes ...node) []byte {
	var b []byte
	for _, n := range nodes {
		b = append(b, cpioEntry(n)...)
	}
	b = append(b, fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0)...)
	b = append(b, "TRAILER!!!\x00"...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// value is a value of a tag: string, []string, []uint16, []uint32 or []byte.
type tags map[uint32]any

func rpmTags() tags {
	sum := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	at := uint32(commitTime.Unix())
	return tags{
		1000: "hello", 1001: "1.2.3~rc.1", 1002: "1", 1003: []uint32{2}, 1021: "linux", 1022: "x86_64",
		1028: []uint32{0, 5, 5, 3, 3}, 1030: []uint16{0o040755, 0o100755, 0o120777, 0o100644, 0o100644},
		1034: []uint32{at, at, at, at, at}, 1035: []string{"", sum("hello"), "", sum("two"), sum("two")},
		1036: []string{"", "", "hello", "", ""}, 1037: []uint32{0, 0, 0, 2, 0},
		1039: []string{"root", "root", "root", "root", "root"}, 1040: []string{"root", "root", "root", "root", "root"},
		1116: []uint32{0, 1, 1, 2, 2}, 1117: []string{"bin", "hello", "hi", "one", "two"}, 1118: []string{"/usr/", "/usr/bin/", "/usr/share/"},
		1124: "cpio", 1125: "gzip", 5011: []uint32{8}, 5093: []uint32{8},
	}
}

func (tg tags) with(tag uint32, v any) tags {
	if v == nil {
		delete(tg, tag)
	} else {
		tg[tag] = v
	}
	return tg
}

func rpmHeader(region uint32, tg tags) []byte {
	var index, store []byte
	put := func(tag, typ uint32, off int32, count int) {
		for _, v := range []uint32{tag, typ, uint32(off), uint32(count)} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
	}
	all := make([]uint32, 0, len(tg))
	for tag := range tg {
		all = append(all, tag)
	}
	slices.Sort(all)
	for _, tag := range all {
		switch v := tg[tag].(type) {
		case string:
			put(tag, 6, int32(len(store)), 1)
			store = append(append(store, v...), 0)
		case []string:
			put(tag, 8, int32(len(store)), len(v))
			for _, s := range v {
				store = append(append(store, s...), 0)
			}
		case []byte:
			put(tag, 7, int32(len(store)), len(v))
			store = append(store, v...)
		case []uint16:
			for len(store)%2 != 0 {
				store = append(store, 0)
			}
			put(tag, 3, int32(len(store)), len(v))
			for _, n := range v {
				store = binary.BigEndian.AppendUint16(store, n)
			}
		case []uint32:
			for len(store)%4 != 0 {
				store = append(store, 0)
			}
			put(tag, 4, int32(len(store)), len(v))
			for _, n := range v {
				store = binary.BigEndian.AppendUint32(store, n)
			}
		}
	}
	rest := index
	index = nil
	put(region, 7, int32(len(store)), 16)
	index = append(index, rest...)
	n := len(index) / 16
	for _, v := range []uint32{region, 7, uint32(int32(-16 * n)), 16} {
		store = binary.BigEndian.AppendUint32(store, v)
	}
	b := []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint32(b, uint32(len(store)))
	return append(append(b, index...), store...)
}

// rpmOf makes an rpm by hand, whose digests hold.
func rpmOf(t testing.TB, tg tags, cpio []byte) []byte {
	t.Helper()
	payload := gz(t, cpio)
	sum := sha256.Sum256(payload)
	if _, ok := tg[5092]; !ok {
		tg[5092] = []string{hex.EncodeToString(sum[:])}
	}
	return sealed(rpmHeader(63, tg), payload)
}

// sealed puts what an rpm begins with in front of a header and a payload.
func sealed(header, payload []byte) []byte {
	sum := sha256.Sum256(header)
	sig := rpmHeader(62, tags{273: hex.EncodeToString(sum[:]), 1000: []uint32{uint32(len(header) + len(payload))}})
	for len(sig)%8 != 0 {
		sig = append(sig, 0)
	}
	lead := make([]byte, 96)
	copy(lead, []byte{0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 0, 0, 1})
	copy(lead[10:], "hello-1.2.3~rc.1-1")
	lead[77], lead[79] = 1, 5
	return bytes.Join([][]byte{lead, sig, header, payload}, nil)
}

// goInfo is build information as the linker stores it.
func goInfo(version, text string) []byte {
	b := append([]byte("\xff Go buildinf:"), 8, 2)
	b = append(b, make([]byte, 16)...)
	b = append(binary.AppendUvarint(b, uint64(len(version))), version...)
	text = "0w\xaf\f\x92t\b\x02A\xe1\xc1\a\xe6\xd6\x18\xe6" + text + "\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2"
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func buildInfo(version, system, arch string) []byte {
	return goInfo(version, "path\texample.com/hello\nmod\texample.com/hello\tv1.2.3\th1:sum\ndep\texample.com/a\tv1.0.0\th1:a\n=>\texample.com/b\tv1.0.1\th1:b\nbuild\t-ldflags=\"-X main.version=1.2.3\"\nbuild\tGOARCH="+arch+"\nbuild\tGOOS="+system+"\n")
}

// elfOf is an ELF of 64 bits whose only segment is the build information.
func elfOf(machine uint16, info []byte) []byte {
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	for _, n := range []uint64{0x400000, 64, 0} { // entry, segments, sections
		b = le.AppendUint64(b, n)
	}
	b = le.AppendUint32(b, 0)
	for _, n := range []uint16{64, 56, 1, 64, 0, 0} {
		b = le.AppendUint16(b, n)
	}
	b = le.AppendUint32(b, 1) // loaded
	b = le.AppendUint32(b, 6) // read and written
	for _, n := range []uint64{128, 0x400000, 0x400000, uint64(len(info)), uint64(len(info)), 16} {
		b = le.AppendUint64(b, n)
	}
	return append(append(b, make([]byte, 128-len(b))...), info...)
}

// xcoff is the header of a program of AIX, as far as it is looked at.
func xcoff() []byte { return append([]byte{0x01, 0xf7}, make([]byte, 78)...) }
