package environments

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// MinPacked is how many bytes a document has at least that is compressed: one packet of a network has a shorter one as it is.
const MinPacked = 1400

// Packed is a document compressed with gzip, once for all who ask for it.
type Packed struct {
	once  sync.Once
	bytes []byte
}

// Of is the document, which is always the same one, compressed; nil where that makes it no shorter.
func (p *Packed) Of(document []byte) []byte {
	p.once.Do(func() {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(document) // a buffer takes everything
		_ = w.Close()
		if b.Len() < len(document) {
			p.bytes = bytes.Clone(b.Bytes())
		}
	})
	return p.bytes
}
