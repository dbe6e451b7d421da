package registry_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/slipway-build/slipway/pipeline/fixture/registrytest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
)

// BenchmarkPush puts the same image and chart into an empty registry in this process: with the destination, and with the
// library that crane is made of.
func BenchmarkPush(b *testing.B) {
	dir := b.TempDir()
	// A layer of 64 MB that does not compress: the archive that the image's binary comes from.
	if _, err := verifytest.Write(dir, verifytest.Options{Bare: true, Base: random(64 << 20)}); err != nil {
		b.Fatal(err)
	}
	rel, err := publish.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	var size int64
	for _, f := range rel.Manifest.Files {
		if strings.HasPrefix(f.Path, "images/blobs/") {
			size += f.Size
		}
	}
	b.Run("slipway", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			s := newStand(b, registrytest.Options{Referrers: true})
			d := s.destination(b, rel, setting{})
			if err := d.Stage(b.Context()); err != nil {
				b.Fatal(err)
			}
			if err := d.Flip(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("crane", func(b *testing.B) {
		b.SetBytes(size)
		index, err := layout.ImageIndexFromPath(filepath.Join(dir, "images"))
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			s := newStand(b, registrytest.Options{Referrers: true})
			if err := pushAll(b.Context(), s.host, index); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// pushAll pushes everything that the index of a layout names, each under its name.
func pushAll(ctx context.Context, host string, index v1.ImageIndex) error {
	m, err := index.IndexManifest()
	if err != nil {
		return err
	}
	pusher, err := remote.NewPusher(remote.WithTransport(http.DefaultTransport), remote.WithJobs(8))
	if err != nil {
		return err
	}
	for _, d := range m.Manifests {
		ref, err := name.ParseReference(strings.Replace(d.Annotations["org.opencontainers.image.ref.name"], "ghcr.io", host, 1))
		if err != nil {
			return err
		}
		var t remote.Taggable
		if d.MediaType.IsIndex() {
			t, err = index.ImageIndex(d.Digest)
		} else {
			t, err = index.Image(d.Digest)
		}
		if err == nil {
			err = pusher.Push(ctx, ref, t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// random are bytes that no compressor makes smaller.
func random(n int64) []byte {
	f, err := os.Open("/dev/urandom")
	if err != nil {
		return make([]byte, n)
	}
	defer f.Close()
	b := make([]byte, n)
	_, _ = io.ReadFull(f, b)
	return b
}
