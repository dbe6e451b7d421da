// Package oci assembles images: a pinned base's layers untouched, deterministic layers of our own and a config whose
// times are the commit's, written as one OCI layout for all images of a release.
//
// Nothing is run and nothing is emulated, so an image for any platform is put together on any other.
package oci

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// RefName is the annotation that names a manifest of a layout
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md#pre-defined-annotation-keys).
const RefName = "org.opencontainers.image.ref.name"

// Blob is some content of a layout.
type Blob struct {
	Digest artifact.Digest
	Size   int64 // bytes
}

// Layout is a folder in the OCI image layout
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md). Its methods may be called concurrently.
type Layout struct {
	dir  string
	next atomic.Int64 // number of the next temporary file

	mu    sync.Mutex
	refs  []v1.Descriptor
	blobs map[artifact.Digest]int64
}

// NewLayout begins a layout in dir, which need not exist.
func NewLayout(dir string) (*Layout, error) {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return nil, err
	}
	return &Layout{dir: dir, blobs: map[artifact.Digest]int64{}}, nil
}

func (l *Layout) path(d artifact.Digest) string {
	return filepath.Join(l.dir, "blobs", "sha256", d.Hex())
}

// Has reports whether the layout has the content already.
func (l *Layout) Has(d artifact.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.blobs[d]
	return ok
}

// Write adds what fill writes.
func (l *Layout) Write(fill func(io.Writer) error) (Blob, error) {
	name := filepath.Join(l.dir, fmt.Sprintf(".blob-%d", l.next.Add(1)))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return Blob{}, err
	}
	defer os.Remove(name)
	defer f.Close()
	m := artifact.NewMeter(f)
	if err := fill(m); err != nil {
		return Blob{}, err
	}
	b := Blob{m.Digest(), m.Size()}
	if err := f.Close(); err != nil {
		return Blob{}, err
	}
	if err := os.Rename(name, l.path(b.Digest)); err != nil {
		return Blob{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blobs[b.Digest] = b.Size
	return b, nil
}

// Add adds the content that open reads if it is not there yet, and refuses bytes that are not those of the digest.
func (l *Layout) Add(want Blob, open func() (io.ReadCloser, error)) error {
	if l.Has(want.Digest) {
		return nil
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := l.Write(func(w io.Writer) error {
		_, err := io.Copy(w, io.LimitReader(r, want.Size+1))
		return err
	})
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("content of %s has the digest %s and %d bytes instead of %d", want.Digest, got.Digest, got.Size, want.Size)
	}
	return nil
}

// JSON adds the canonical JSON of v: no indentation, keys of structs in their order, keys of maps sorted.
func (l *Layout) JSON(v any) (Blob, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Blob{}, err
	}
	return l.Write(func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// Name gives an index of the layout a name, such as ghcr.io/owner/name:1.2.3-alpine.
func (l *Layout) Name(index v1.Descriptor, name string) {
	index.Annotations = map[string]string{RefName: name}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refs = append(l.refs, index)
}

// Close writes index.json, sorted by name, and oci-layout. It returns the paths of all files below the layout's
// folder with their content.
func (l *Layout) Close() (map[string]Blob, error) {
	slices.SortFunc(l.refs, func(a, b v1.Descriptor) int {
		return strings.Compare(a.Annotations[RefName], b.Annotations[RefName])
	})
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: l.refs}
	if index.Manifests == nil {
		index.Manifests = []v1.Descriptor{}
	}
	b, err := json.Marshal(index)
	if err != nil {
		return nil, err
	}
	files := map[string]Blob{}
	for name, content := range map[string][]byte{"index.json": b, "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)} {
		if err := os.WriteFile(filepath.Join(l.dir, name), content, 0o644); err != nil {
			return nil, err
		}
		files[name] = Blob{artifact.Sum(content), int64(len(content))}
	}
	for d, size := range l.blobs {
		files["blobs/sha256/"+d.Hex()] = Blob{d, size}
	}
	return files, nil
}
