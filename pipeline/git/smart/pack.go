package smart

import (
	"bytes"
	"crypto/sha1"

	"github.com/slipway-build/slipway/pipeline/git/packet"
)

// Pack is a pack of files (https://git-scm.com/docs/gitformat-pack).
func Pack(files ...[]byte) []byte {
	var out bytes.Buffer
	out.Write(packet.Pack(len(files)))
	for _, b := range files {
		packet.Object(&out, packet.Blob, len(b))
		packet.Deflate(&out, b)
	}
	sum := sha1.Sum(out.Bytes())
	return append(out.Bytes(), sum[:]...)
}
