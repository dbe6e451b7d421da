package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// ErrChanged says that somebody else has written an object since it was read.
var ErrChanged = errors.New("somebody else has written it meanwhile")

// Objects are those below the prefix of a bucket, for what is kept there and changes. Names are below the prefix.
type Objects struct{ s service }

// Open is about a bucket. Release, PublicURL and Facts of the options say nothing here.
func Open(o Options) (*Objects, error) {
	s, err := connect(o)
	return &Objects{s}, err
}

// String is where they are.
func (b *Objects) String() string { return b.s.where + "/" + b.s.o.Prefix }

// get is an object, with the entity tag of what it has; fs.ErrNotExist where there is none.
func (b *Objects) get(ctx context.Context, name string) (io.ReadCloser, string, error) {
	key := b.s.below(name)
	body, info, _, err := b.s.core.GetObject(whole(ctx), b.s.o.Bucket, key, minio.GetObjectOptions{})
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return nil, "", fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	if err == nil && info.ETag == "" {
		return nil, "", errors.Join(fault.Errorf(fault.Usage, "%s/%s has no entity tag, without which something might be replaced", b.s.where, key), body.Close())
	}
	return body, info.ETag, b.s.fault(http.MethodGet, key, err)
}

// Read is what an object of at most limit bytes has, and the entity tag of that; fs.ErrNotExist where there is none.
func (b *Objects) Read(ctx context.Context, name string, limit int64) ([]byte, string, error) {
	body, tag, err := b.get(ctx, name)
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	content, err := bounded.Read(body, limit)
	if err != nil {
		return nil, "", fault.Or(fmt.Errorf("%s: %w", b.s.below(name), err), fault.Transient)
	}
	return content, tag, nil
}

// Fetch writes an object to w, but no more than limit bytes.
func (b *Objects) Fetch(ctx context.Context, name string, w io.Writer, limit int64) error {
	body, _, err := b.get(ctx, name)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, io.LimitReader(body, limit)); err != nil {
		return wire.Fault(fmt.Errorf("%s: %w", b.s.below(name), err))
	}
	return nil
}

// Write has an object have these bytes if it still has those that Read saw, whose entity tag was says, "" for none; else it is an
// ErrChanged. It is done, too, where somebody else has written the same. With kept whoever reads it may keep it.
func (b *Objects) Write(ctx context.Context, name string, content []byte, was string, kept bool) error {
	key, body := b.s.below(name), payload{bytes.NewReader(content), int64(len(content))}
	o := minio.PutObjectOptions{ContentType: mediaType(name), CacheControl: "no-cache", DisableContentSha256: true}
	if kept {
		o.CacheControl = forever
	}
	if was == "" {
		o.SetMatchETagExcept("*")
	} else {
		o.SetMatchETag(was)
	}
	_, err := b.s.core.PutObject(body.in(ctx), b.s.o.Bucket, key, body.reader(), body.size, "", artifact.Sum(content).Hex(), o)
	switch minio.ToErrorResponse(err).Code {
	case minio.PreconditionFailed, "ConditionalRequestConflict", minio.NoSuchKey: // the last where it was there and has gone
	default:
		return b.s.fault(http.MethodPut, key, err)
	}
	// It may have been an attempt before, whose answer was lost.
	now, _, readErr := b.Read(ctx, name, int64(len(content))+1)
	switch {
	case readErr == nil && bytes.Equal(now, content):
		return nil
	case readErr == nil, errors.Is(readErr, fs.ErrNotExist), bounded.IsTooLarge(readErr):
		return fault.Errorf(fault.Transient, "%s: %w", key, ErrChanged)
	}
	return readErr
}

// Remove has no object be there.
func (b *Objects) Remove(ctx context.Context, name string) error {
	key := b.s.below(name)
	return b.s.fault(http.MethodDelete, key, b.s.core.RemoveObject(ctx, b.s.o.Bucket, key, minio.RemoveObjectOptions{}))
}

// List are the names of the objects that begin with this.
func (b *Objects) List(ctx context.Context, begin string) (all []string, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for o := range b.s.core.ListObjectsIter(ctx, b.s.o.Bucket, minio.ListObjectsOptions{Prefix: b.s.below(begin), Recursive: true}) {
		if o.Err != nil {
			return nil, b.s.fault(http.MethodGet, "", o.Err)
		}
		if all = append(all, strings.TrimPrefix(o.Key, b.s.below(""))); len(all) > maxListed {
			return nil, fault.Errorf(fault.Usage, "%s has more than %d objects below %s", b.s.where, maxListed, b.s.below(begin))
		}
	}
	return all, ctx.Err() // the list of a canceled one is merely short
}

// Any reports whether there is an object whose name begins with this.
func (b *Objects) Any(ctx context.Context, begin string) (bool, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for o := range b.s.core.ListObjectsIter(ctx, b.s.o.Bucket, minio.ListObjectsOptions{Prefix: b.s.below(begin), Recursive: true, MaxKeys: 1}) {
		return o.Err == nil, b.s.fault(http.MethodGet, "", o.Err)
	}
	return false, ctx.Err()
}

// Copy has an object have what another one has, of which a digest is told. No byte of it is sent.
func (b *Objects) Copy(ctx context.Context, name, from string, d artifact.Digest) error {
	key := b.s.below(name)
	_, err := b.s.core.CopyObject(ctx, b.s.o.Bucket, b.s.below(from), b.s.o.Bucket, key, map[string]string{
		"X-Amz-Metadata-Directive": "REPLACE", "Content-Type": mediaType(name), "Cache-Control": "no-cache", "X-Amz-Meta-" + digestName: d.Hex(),
	}, minio.CopySrcOptions{}, minio.PutObjectOptions{})
	return b.s.fault(http.MethodPut, key, err)
}

// Told is the digest that is told of an object, "" for none.
func (b *Objects) Told(ctx context.Context, name string) (artifact.Digest, error) {
	return b.s.told(ctx, b.s.below(name))
}
