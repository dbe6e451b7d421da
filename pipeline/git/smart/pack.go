package smart

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"

	"github.com/klauspost/compress/zlib"
)

// blob is the kind of an object that is the bytes of a file.
const blob = 3

// Pack is a pack of files (https://git-scm.com/docs/gitformat-pack).
func Pack(files ...[]byte) []byte {
	var out bytes.Buffer
	out.WriteString("PACK")
	binary.Write(&out, binary.BigEndian, []uint32{2, uint32(len(files))})
	for _, b := range files {
		n := len(b)
		head := byte(blob<<4 | n&15)
		for n >>= 4; n > 0; n >>= 7 {
			out.WriteByte(head | 0x80)
			head = byte(n & 0x7f)
		}
		out.WriteByte(head)
		z := zlib.NewWriter(&out) // of which a buffer takes all
		z.Write(b)
		z.Close()
	}
	sum := sha1.Sum(out.Bytes())
	return append(out.Bytes(), sum[:]...)
}
