package squashfs

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/format/archive"
)

// stored marks the size of a block that is not compressed.
const stored = 1 << 24

// block is a part of a file on its way through a compressor into the image.
type block struct {
	node *node
	raw  []byte
	last bool              // of its file
	sum  [sha256.Size]byte // of the file, in its last block
	done chan struct{}     // closed when out and size are there
	out  []byte
	size uint32 // with stored; 0 for zeros
}

// writeFiles writes the contents of all files below root to data, which is behind the superblock, and returns where they
// end. Each block is compressed by itself, on any processor, and they are written in order: how many processors there are
// decides nothing.
func writeFiles(data *archive.Spool, root *node, compression Compression) (end uint64, err error) {
	workers := runtime.GOMAXPROCS(0)
	todo := make(chan *block)
	inOrder := make(chan *block, 2*workers)
	var g errgroup.Group
	g.Go(func() error {
		defer close(todo)
		defer close(inOrder)
		return root.blocks(func(b *block) {
			inOrder <- b
			todo <- b
		})
	})
	for range workers {
		g.Go(func() error {
			c, err := newCompressor(compression, blockSize)
			for b := range todo {
				if err == nil {
					err = b.compress(c)
				}
				close(b.done)
			}
			return err
		})
	}
	end = superblockLen
	seen := map[[sha256.Size]byte]*node{}
	for b := range inOrder {
		<-b.done
		n := b.node
		if n.sizes == nil {
			n.start = end
		}
		n.sizes = append(n.sizes, b.size)
		if err == nil {
			_, err = data.Write(b.out)
		}
		end += uint64(len(b.out))
		if b.size == 0 {
			n.holes += uint64(len(b.raw))
		}
		if !b.last {
			continue
		}
		if same, ok := seen[b.sum]; ok {
			if err == nil {
				err = data.Truncate(int64(n.start - superblockLen))
			}
			end, n.start = n.start, same.start
		} else {
			seen[b.sum] = n
		}
	}
	return end, cmp.Or(g.Wait(), err)
}

// blocks reads the files at and below n in order. A file that shrinks or grows meanwhile is an error.
func (n *node) blocks(yield func(*block)) error {
	for _, c := range n.children {
		if err := c.blocks(yield); err != nil {
			return err
		}
	}
	if n.folder {
		return nil
	}
	r, err := n.file.Open()
	if err != nil {
		return fmt.Errorf("packing %s: %w", n.file.Name, err)
	}
	defer r.Close()
	sum := sha256.New()
	for rest := n.file.Size; rest > 0; {
		b := &block{node: n, raw: make([]byte, min(rest, blockSize)), done: make(chan struct{})}
		if _, err := io.ReadFull(r, b.raw); err == io.EOF || err == io.ErrUnexpectedEOF {
			return fmt.Errorf("packing %s: it has less than its %d bytes; it changed while it was read", n.file.Name, n.file.Size)
		} else if err != nil {
			return fmt.Errorf("packing %s: %w", n.file.Name, err)
		}
		sum.Write(b.raw)
		if rest -= int64(len(b.raw)); rest == 0 {
			b.last = true
			sum.Sum(b.sum[:0])
		}
		yield(b)
	}
	if more, err := io.ReadFull(r, make([]byte, 1)); more != 0 {
		return fmt.Errorf("packing %s: it has more than its %d bytes; it changed while it was read", n.file.Name, n.file.Size)
	} else if err != io.EOF {
		return fmt.Errorf("packing %s: %w", n.file.Name, err)
	}
	return nil
}

var zeros [blockSize]byte

func (b *block) compress(c compressor) error {
	if bytes.Equal(b.raw, zeros[:len(b.raw)]) {
		return nil
	}
	packed, err := c.compress(b.raw)
	if err != nil {
		return fmt.Errorf("compressing %s: %w", b.node.file.Name, err)
	}
	if b.out, b.size = packed, uint32(len(packed)); len(packed) >= len(b.raw) {
		b.out, b.size = b.raw, uint32(len(b.raw))|stored
	}
	return nil
}
