// Package layertar reads layers of images, whatever they are compressed with, within a bound that the layers of one image share.
package layertar

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// What removes a file of a layer below (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
const (
	Whiteout = ".wh."
	Opaque   = ".wh..wh..opq"
)

// ErrTooLarge says that more came out of the layers than the bound allows.
var ErrTooLarge = errors.New("the image is larger unpacked than any base")

// Clean is a name of an archive relative to the root; "" for the root itself.
func Clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// Read calls each with every entry of a layer, which open opens: a tar as it is, or compressed with gzip or zstd. left is how many bytes
// may still come out of the layers of the image. An error is the context's, ErrTooLarge, that of each, or about a layer that is damaged.
func Read(ctx context.Context, open func(context.Context) (io.ReadCloser, error), left *int64, each func(h *tar.Header, content io.Reader) error) error {
	raw, err := open(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	plain, closer, err := decompress(raw)
	if err != nil {
		return err
	}
	defer closer()
	r := tar.NewReader(&limited{ctx, plain, left})
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = each(h, r)
		}
		if err != nil {
			return err
		}
	}
}

// decompress tells from the first bytes how a layer is compressed: registries are not always right about it.
func decompress(r io.Reader) (io.Reader, func(), error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		return z, func() {}, err
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return b, func() {}, nil
}

// limited stops a reader when the context ends or when too much came out of it.
type limited struct {
	ctx  context.Context
	r    io.Reader
	left *int64
}

func (l *limited) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := l.r.Read(p)
	if *l.left -= int64(n); *l.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}
