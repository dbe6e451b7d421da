package oci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/build/oci"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

var commitTime = time.Date(2024, 2, 29, 12, 0, 1, 0, time.UTC)

// registryServer is a real registry in this process; wrap may put something in front of it.
func registryServer(t testing.TB, wrap func(http.Handler) http.Handler) string {
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		h = wrap(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// base is an index of the platforms, with one layer of the size each, an attestation among them.
func base(t testing.TB, size int64, media types.MediaType, platforms ...v1.Platform) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, media)
	for i, p := range append(platforms, v1.Platform{OS: "unknown", Architecture: "unknown"}) {
		img, err := random.Image(size, 1, random.WithSource(rand.NewSource(int64(i))))
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config.OS, config.Architecture, config.Variant = p.OS, p.Architecture, p.Variant
		config.Config.Env = []string{"PATH=/bin", "LANG=C"}
		config.Config.Cmd = []string{"/bin/sh"}
		config.Config.Labels = map[string]string{"of": "the base"}
		if img, err = mutate.ConfigFile(img, config); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p}})
	}
	return index
}

// push puts the index into the registry and returns the plan's idea of it.
func push(t testing.TB, host, image string, index v1.ImageIndex) plan.Base {
	t.Helper()
	ref, err := name.ParseReference(host + "/" + strings.SplitN(image, "/", 2)[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return plan.Base{Image: image, Digest: artifact.Digest(digest.String())}
}

func linux(arches ...string) []v1.Platform {
	var ps []v1.Platform
	for _, a := range arches {
		arch, variant, _ := strings.Cut(a, "/")
		ps = append(ps, v1.Platform{OS: "linux", Architecture: arch, Variant: variant})
	}
	return ps
}

func platform(t testing.TB, s string) artifact.Platform {
	t.Helper()
	p, err := artifact.ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func image(t testing.TB, distro string, b plan.Base, platforms ...string) plan.Image {
	d, _ := images.ByName(distro)
	im := plan.Image{
		Repository: "ghcr.io/example/tool", Distro: distro, Tags: []string{"1.2.3-" + distro}, Base: b, Path: "/usr/local/bin/tool",
		Process: plan.Process{User: d.User, Entrypoint: []string{"/usr/local/bin/tool"}, Env: []string{"LANG=en", "MORE=yes"}, Ports: []string{"8080", "53/udp"}, Volumes: []string{"/data"}},
		Labels:  map[string]string{"org.opencontainers.image.version": "1.2.3", "a": "b"},
	}
	if d.NeedsCertificates {
		im.Certificates = d.Certificates
	}
	for _, p := range platforms {
		im.Platforms = append(im.Platforms, plan.ImagePlatform{Platform: platform(t, p)})
	}
	return im
}

// contents are a binary that differs by platform, and a licence.
func contents(p artifact.Platform) ([]archive.File, error) {
	return []archive.File{
		archive.Bytes("usr/local/bin/tool", []byte("binary for "+p.String())).WithExec(),
		archive.Bytes("licenses/LICENSE", []byte("All rights given.\n")),
	}, nil
}

func assemble(t testing.TB, dir string, bases oci.Bases, ims ...plan.Image) []oci.Built {
	t.Helper()
	l, err := oci.NewLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	a := oci.Assembler{Layout: l, Bases: bases, Time: commitTime}
	var out []oci.Built
	for _, im := range ims {
		b, err := a.Assemble(t.Context(), im, "tool", contents)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	if _, err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// read opens an assembled layout with a reader that we did not write and validates every image in it.
func read(t *testing.T, dir string, built oci.Built) (v1.ImageIndex, []v1.Image) {
	t.Helper()
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	root, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	hash, err := v1.NewHash(string(built.Index.Digest))
	if err != nil {
		t.Fatal(err)
	}
	index, err := root.ImageIndex(hash)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var out []v1.Image
	for _, d := range m.Manifests {
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, img)
	}
	return index, out
}

func TestAssemble(t *testing.T) {
	host := registryServer(t, nil)
	alpine := push(t, host, "docker.io/library/alpine:3.22", base(t, 2000, types.DockerManifestList, linux("386", "amd64", "arm64/v8", "arm/v7")...))
	ubuntu := push(t, host, "docker.io/library/ubuntu:24.04", base(t, 3000, types.OCIImageIndex, linux("amd64", "arm64")...))
	store := &oci.Store{Dir: t.TempDir(), Mirror: host}
	dir := t.TempDir()
	built := assemble(t, dir, store,
		image(t, "alpine", alpine, "linux/amd64", "linux/arm64", "linux/386", "linux/arm/v7"),
		image(t, "ubuntu", ubuntu, "linux/amd64", "linux/arm64"))

	index, imgs := read(t, dir, built[0])
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, d := range m.Manifests {
		order = append(order, d.Platform.String())
	}
	if want := []string{"linux/amd64", "linux/arm64/v8", "linux/386", "linux/arm/v7"}; !slices.Equal(order, want) {
		t.Errorf("platforms %v, want %v", order, want)
	}
	if m.Annotations["a"] != "b" {
		t.Errorf("the index has the annotations %v", m.Annotations)
	}
	config, err := imgs[1].ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !config.Created.Time.Equal(commitTime) || config.Architecture != "arm64" || config.Variant != "v8" {
		t.Errorf("created %s for %s/%s", config.Created, config.Architecture, config.Variant)
	}
	if got := fmt.Sprint(config.Config.Env); got != "[PATH=/bin LANG=en MORE=yes]" {
		t.Errorf("environment %s", got)
	}
	if config.Config.User != "65532:65532" || config.Config.Cmd != nil || config.Config.Labels["of"] != "" || config.Config.Labels["a"] != "b" {
		t.Errorf("user %q, command %q, labels %v", config.Config.User, config.Config.Cmd, config.Config.Labels)
	}
	if _, ok := config.Config.ExposedPorts["8080/tcp"]; !ok || len(config.Config.ExposedPorts) != 2 || len(config.Config.Volumes) != 1 {
		t.Errorf("ports %v, volumes %v", config.Config.ExposedPorts, config.Config.Volumes)
	}
	manifest, err := imgs[1].Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.Annotations["a"] != "b" || len(manifest.Layers) != 2 || manifest.Layers[0].MediaType != types.OCILayer {
		t.Errorf("annotations %v, layers %v", manifest.Annotations, manifest.Layers)
	}

	// The binary's layer is one blob in every distribution of a platform; Ubuntu has certificates of ours below it.
	_, ubuntuImgs := read(t, dir, built[1])
	other, err := ubuntuImgs[1].Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(other.Layers) != 3 || other.Layers[2].Digest != manifest.Layers[1].Digest {
		t.Errorf("the layers of ubuntu are %v and those of alpine %v", other.Layers, manifest.Layers)
	}

	// Another place, another time, a warm cache, the other order: the same bytes.
	again := t.TempDir()
	assemble(t, again, store,
		image(t, "ubuntu", ubuntu, "linux/amd64", "linux/arm64"),
		image(t, "alpine", alpine, "linux/amd64", "linux/arm64", "linux/386", "linux/arm/v7"))
	if a, b := files(t, dir), files(t, again); !slices.Equal(a, b) {
		t.Errorf("assembled twice:\n%v\n%v", a, b)
	}
}

// files are the paths and digests of a folder.
func files(t *testing.T, dir string) []string {
	var out []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		sum, _, err := artifact.SumFile(p)
		rel, _ := filepath.Rel(dir, p)
		out = append(out, rel+" "+string(sum))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStandIns(t *testing.T) {
	for _, name := range images.Names() {
		d, _ := images.ByName(name)
		dir := t.TempDir()
		built := assemble(t, dir, oci.StandIns{}, image(t, d.Name, plan.Base{Image: "stand-in/" + d.Name, StandIn: true}, "linux/amd64", "linux/s390x"))
		_, imgs := read(t, dir, built[0])
		if len(imgs) != 2 {
			t.Errorf("%s has %d platforms", d.Name, len(imgs))
		}
	}
}

// TestStoreRefuses plants one fault for each way in which a registry or a cache can be wrong.
func TestStoreRefuses(t *testing.T) {
	var mangle atomic.Pointer[func([]byte) []byte]
	host := registryServer(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f := mangle.Load()
			if f == nil || r.Method != http.MethodGet {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			for k, v := range rec.Header() {
				if k != "Content-Length" {
					w.Header()[k] = v
				}
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write((*f)(rec.Body.Bytes()))
		})
	})
	pinned := push(t, host, "docker.io/library/alpine:3.22", base(t, 2000, types.OCIImageIndex, linux("amd64")...))
	try := func(b plan.Base, p string) error {
		store := &oci.Store{Dir: t.TempDir(), Mirror: host, Client: loopback{}}
		got, err := store.Base(t.Context(), b, platform(t, p))
		for _, l := range got.Layers {
			r, openErr := l.Open(t.Context())
			if openErr != nil {
				return openErr
			}
			r.Close()
		}
		return err
	}
	if err := try(pinned, "linux/amd64"); err != nil {
		t.Fatal(err)
	}
	t.Run("platform", func(t *testing.T) {
		err := try(pinned, "linux/s390x")
		if fault.CodeOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), "the index has no linux/s390x; it has linux/amd64") {
			t.Error(err)
		}
	})
	for what, f := range map[string]func([]byte) []byte{
		"a byte more":      func(b []byte) []byte { return append(b, '\n') },
		"cut short":        func(b []byte) []byte { return b[:len(b)/2] },
		"nothing":          func([]byte) []byte { return nil },
		"another manifest": func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("sha256:"), []byte("sha512:")) },
	} {
		t.Run(what, func(t *testing.T) {
			mangle.Store(&f)
			defer mangle.Store(nil)
			err := try(pinned, "linux/amd64")
			if fault.CodeOf(err) != fault.Transient || !strings.Contains(fmt.Sprint(err), string(pinned.Digest)) {
				t.Errorf("%v (exit %d)", err, fault.CodeOf(err))
			}
		})
	}
	t.Run("a digest that is nowhere", func(t *testing.T) {
		gone := plan.Base{Image: pinned.Image, Digest: artifact.Sum([]byte("nothing has this"))}
		err := try(gone, "linux/amd64")
		if fault.CodeOf(err) != fault.Transient {
			t.Errorf("%v (exit %d)", err, fault.CodeOf(err))
		}
		for _, place := range []string{string(gone.Digest), "cache ", host + "/library/alpine", "index.docker.io/library/alpine"} {
			if !strings.Contains(fmt.Sprint(err), place) {
				t.Errorf("the error does not name %s: %v", place, err)
			}
		}
	})
	t.Run("digests of a manifest", func(t *testing.T) {
		evil := []byte(`{"schemaVersion":2,"config":{"digest":"sha256:../../../etc/passwd","size":3},"layers":[]}`)
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "sha256"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "sha256", artifact.Sum(evil).Hex()), evil, 0o644); err != nil {
			t.Fatal(err)
		}
		store := &oci.Store{Dir: dir, Mirror: host, Client: loopback{}}
		if _, err := store.Base(t.Context(), plan.Base{Image: pinned.Image, Digest: artifact.Sum(evil)}, platform(t, "linux/amd64")); err == nil {
			t.Error("a malformed digest is taken")
		}
	})
}

// loopback reaches nothing but this machine: a test takes no network.
type loopback struct{}

func (loopback) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Host, "127.0.0.1:") {
		return nil, fmt.Errorf("%s is out of reach", r.URL.Host)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestResolve(t *testing.T) {
	host := registryServer(t, nil)
	want := push(t, host, "docker.io/library/alpine:3.22", base(t, 100, types.OCIImageIndex, linux("s390x", "arm64/v8", "amd64", "mips128", "arm/v6")...))
	store := &oci.Store{Dir: t.TempDir(), Mirrors: map[string]string{"docker.io": host}, Client: loopback{}}
	digest, platforms, err := store.Resolve(t.Context(), "docker.io/library/alpine:3.22")
	if err != nil || digest != want.Digest {
		t.Errorf("%s, %v; want %s", digest, err, want.Digest)
	}
	if got := fmt.Sprint(platforms); got != "[linux/amd64 linux/arm/v6 linux/arm64 linux/s390x]" {
		t.Errorf("platforms %s", got)
	}
	if _, _, err := store.Resolve(t.Context(), "docker.io/library/ubuntu:24.04"); fault.CodeOf(err) != fault.Transient {
		t.Errorf("a tag that is nowhere: %v", err)
	}
}

// TestStoreFetchesOnce has many ask for the same base at once.
func TestStoreFetchesOnce(t *testing.T) {
	var gets atomic.Int64
	host := registryServer(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				gets.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	})
	b := push(t, host, "docker.io/library/alpine:3.22", base(t, 2000, types.OCIImageIndex, linux("amd64")...))
	store := &oci.Store{Dir: t.TempDir(), Mirror: host, Client: loopback{}}
	errs := make(chan error)
	for range 8 {
		go func() {
			got, err := store.Base(context.Background(), b, artifact.Platform{OS: "linux", Arch: "amd64"})
			for _, l := range got.Layers {
				if r, openErr := l.Open(context.Background()); openErr != nil {
					err = openErr
				} else {
					r.Close()
				}
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := gets.Load(); n != 2 { // the config and the layer
		t.Errorf("%d blobs were fetched, want 2", n)
	}
}

func FuzzPlatforms(f *testing.F) {
	raw, _ := json.Marshal(v1.IndexManifest{Manifests: []v1.Descriptor{{MediaType: types.OCIManifestSchema1, Platform: &v1.Platform{OS: "linux", Architecture: "arm"}}}})
	f.Add(raw)
	f.Add([]byte(`{"manifests":[{"platform":null}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ps, err := oci.Platforms(b)
		if err != nil {
			return
		}
		if !slices.IsSortedFunc(ps, artifact.Platform.Compare) {
			t.Errorf("not sorted: %v", ps)
		}
	})
}

// BenchmarkAssemble puts a 10 MB binary on four distributions and all of their platforms, bases of their usual sizes
// in the cache.
func BenchmarkAssemble(b *testing.B) {
	host := registryServer(b, nil)
	sizes := map[string]int64{"alpine": 3_700_000, "ubuntu": 30_000_000, "distroless": 1_000_000, "ubi": 9_000_000}
	store := &oci.Store{Dir: b.TempDir(), Mirror: host}
	var ims []plan.Image
	for _, name := range images.Names() {
		d, _ := images.ByName(name)
		var arches, platforms []string
		for _, p := range d.Platforms {
			if p.Variant == "" {
				arches, platforms = append(arches, p.Arch), append(platforms, p.String())
			}
		}
		pinned := push(b, host, d.Base, base(b, sizes[d.Name], types.OCIImageIndex, linux(arches...)...))
		ims = append(ims, image(b, d.Name, pinned, platforms...))
	}
	exe, err := os.ReadFile(os.Args[0]) // real machine code, so that it compresses as a binary does
	if err != nil {
		b.Fatal(err)
	}
	binary := exe[:min(len(exe), 10_000_000)]
	files := func(p artifact.Platform) ([]archive.File, error) {
		return []archive.File{archive.Bytes("usr/local/bin/tool", append([]byte(p.String()), binary...)).WithExec()}, nil
	}
	run := func() {
		l, err := oci.NewLayout(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		a := oci.Assembler{Layout: l, Bases: store, Time: commitTime}
		done := make(chan error)
		for _, im := range ims {
			go func() {
				_, err := a.Assemble(context.Background(), im, "tool", files)
				done <- err
			}()
		}
		for range ims {
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
		if _, err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
	run() // fills the cache
	for b.Loop() {
		run()
	}
}
