package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
)

// base is an image index and all that it leads to, by digest.
type base struct {
	blobs map[string][]byte
	types map[string]string
	index string
}

func (b *base) put(mediaType string, content []byte) map[string]any {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	b.blobs[digest], b.types[digest] = content, mediaType
	return map[string]any{"mediaType": mediaType, "digest": digest, "size": len(content)}
}

func (b *base) document(mediaType string, v any) map[string]any {
	content, err := json.Marshal(v)
	if err != nil {
		panic(err) // of maps and strings
	}
	return b.put(mediaType, content)
}

// newBase makes an image with one layer for each platform, as large as that of a small base, 1 MB.
func newBase(platforms []string) *base {
	b := &base{map[string][]byte{}, map[string]string{}, ""}
	content := make([]byte, 1_000_000)
	_, _ = io.ReadFull(rand.NewChaCha8([32]byte{}), content)
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	_ = w.WriteHeader(&tar.Header{Name: "etc/base", Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg})
	_, _ = w.Write(content)
	_ = w.Close()
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(plain.Bytes())
	_ = z.Close()
	layer := b.put("application/vnd.oci.image.layer.v1.tar+gzip", packed.Bytes())
	var manifests []map[string]any
	for _, p := range platforms {
		system, arch, _ := strings.Cut(p, "/")
		arch, variant, _ := strings.Cut(arch, "/")
		platform := map[string]any{"os": system, "architecture": arch}
		config := map[string]any{
			"os": system, "architecture": arch, "config": map[string]any{},
			"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(plain.Bytes()))}},
		}
		if variant != "" {
			platform["variant"], config["variant"] = variant, variant
		}
		const manifest = "application/vnd.oci.image.manifest.v1+json"
		m := b.document(manifest, map[string]any{
			"schemaVersion": 2, "mediaType": manifest,
			"config": b.document("application/vnd.oci.image.config.v1+json", config),
			"layers": []any{layer},
		})
		m["platform"] = platform
		manifests = append(manifests, m)
	}
	const index = "application/vnd.oci.image.index.v1+json"
	b.index = b.document(index, map[string]any{"schemaVersion": 2, "mediaType": index, "manifests": manifests})["digest"].(string)
	return b
}

// ServeHTTP is as much of a registry as it takes to pull.
func (b *base) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/v2/" {
		return
	}
	name := path.Base(req.URL.Path)
	if !strings.Contains(name, ":") { // a tag
		name = b.index
	}
	content, ok := b.blobs[name]
	if !ok || (req.Method != http.MethodGet && req.Method != http.MethodHead) {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Content-Type", b.types[name])
	w.Header().Set("Docker-Content-Digest", name)
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	if req.Method == http.MethodGet {
		_, _ = w.Write(content)
	}
}

func serveBase(file string, platforms []string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// Written under another name first: who waits for it never reads half of it.
	if err := os.WriteFile(file+".new", fmt.Appendf(nil, "localhost:%d/base:latest\n", l.Addr().(*net.TCPAddr).Port), 0o644); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	return http.Serve(l, newBase(platforms))
}
