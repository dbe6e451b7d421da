// Package packet writes the pieces that git's protocol and its packs are made of, for those who speak the one and make the other without git.
package packet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// Max is how many bytes a packet has at most, with the four digits before it
// (https://git-scm.com/docs/protocol-common#_pkt_line_format).
const Max = 65520

// Packets that have no bytes.
const (
	Flush     = "0000"
	Delimiter = "0001"
)

// Line writes a packet with a text, of at most Max-4 bytes.
func Line(w *bytes.Buffer, text string) { fmt.Fprintf(w, "%04x%s", len(text)+4, text) }

// Kinds of objects in a pack (https://git-scm.com/docs/gitformat-pack).
const (
	Commit = 1
	Tree   = 2
	Blob   = 3
	Delta  = 7 // of another object, by its name
)

// Pack is how a pack of so many objects begins.
func Pack(objects int) []byte {
	return binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(objects))
}

// Object writes how an object of a kind begins in a pack, that has so many bytes.
func Object(w *bytes.Buffer, kind, size int) {
	c := byte(kind<<4 | size&0xf)
	for size >>= 4; size > 0; size >>= 7 {
		w.WriteByte(c | 0x80)
		c = byte(size & 0x7f)
	}
	w.WriteByte(c)
}

// deflaters are writers that are used again: a fresh one is a megabyte.
var deflaters = sync.Pool{New: func() any { return zlib.NewWriter(nil) }}

// Deflate writes the bytes of an object into a pack, compressed. No name of an object depends on how: it is of the bytes before that.
func Deflate(w *bytes.Buffer, b []byte) {
	z := deflaters.Get().(*zlib.Writer)
	defer deflaters.Put(z)
	z.Reset(w)
	_, _ = z.Write(b) // into memory
	_ = z.Close()
}
