package compare_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/format/compare"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

type plantedImage struct {
	name               string
	published, rebuilt store
	a, b               artifact.Digest
	want               []string
}

func plantedImages(t testing.TB) []plantedImage {
	var out []plantedImage
	base, root := hello().write(t)
	add := func(name string, by func(*image), want ...string) {
		s, d := change(hello(), by).write(t)
		out = append(out, plantedImage{name, s, base, d, root, want})
	}
	own := func(im *image, by func([]node)) {
		im.own = map[string][]node{"amd64": slices.Clone(im.own["amd64"]), "arm64": im.own["arm64"]}
		by(im.own["amd64"])
	}
	add("label", func(im *image) { im.label = "1.2.4" },
		`linux/amd64, config: config.Labels["org.opencontainers.image.version"]: "1.2.4" instead of "1.2.3"`,
		`linux/arm64, config: config.Labels["org.opencontainers.image.version"]: "1.2.4" instead of "1.2.3"`)
	add("env", func(im *image) { im.env = "PATH=/bin" },
		`linux/amd64, config: config.Env[0]: "PATH=/bin" instead of "PATH=/usr/bin"`,
		`linux/arm64, config: config.Env[0]: "PATH=/bin" instead of "PATH=/usr/bin"`)
	add("created", func(im *image) { im.created = "2026-03-15T00:00:00Z" },
		`linux/amd64, config: created: "2026-03-15T00:00:00Z" instead of "2026-03-14T15:09:26Z"`,
		`linux/arm64, config: created: "2026-03-15T00:00:00Z" instead of "2026-03-14T15:09:26Z"`)
	add("annotation", func(im *image) { im.annotation = "1.2.4" }, `annotations["org.opencontainers.image.version"]: "1.2.4" instead of "1.2.3"`)
	other := change(hello(), func(im *image) {
		im.base = []node{reg("etc/os-release", "ID=alpine\nVERSION_ID=3.24\n"), im.base[1]}
	})
	sum := func(im image, level int) artifact.Digest {
		return artifact.Sum(gz(t, tarOf(t, im.base...), level, gzip.Header{OS: 255}))
	}
	bases := func(one artifact.Digest) string {
		return fmt.Sprintf("layer 1: base layer %s instead of %s", one, sum(hello(), 6))
	}
	add("base", func(im *image) { *im = other },
		"linux/amd64, "+bases(sum(other, 6)), `linux/amd64, layer 1, etc/os-release: line 2: "VERSION_ID=3.24" instead of "VERSION_ID=3.23"`,
		"linux/arm64, "+bases(sum(other, 6)), `linux/arm64, layer 1, etc/os-release: line 2: "VERSION_ID=3.24" instead of "VERSION_ID=3.23"`)
	add("a platform more", func(im *image) {
		im.arches = append(im.arches[:2:2], "riscv64")
		im.own["riscv64"] = im.own["amd64"]
	}, "linux/riscv64: only in the published")
	add("order of manifests", func(im *image) { im.arches = []string{"arm64", "amd64"} },
		`the same manifests in another order: manifest 1 is for "linux/arm64" instead of "linux/amd64"`)
	add("a file", func(im *image) {
		own(im, func(n []node) { n[1] = reg(n[1].Name, "it says hallo\n") })
	}, `linux/amd64, layer 2, usr/share/doc/hello: line 1: "it says hallo" instead of "it says hello"`)
	add("a program", func(im *image) {
		own(im, func(n []node) { n[0] = exe(n[0].Name, string(replaced(t, []byte(n[0].body), "code", "c0de"))) })
	}, "linux/amd64, layer 2, usr/local/bin/hello: byte 0x79 is 0x30 instead of 0x6f (1 of 1,647), in section .text")
	add("a mode", func(im *image) {
		own(im, func(n []node) { n[1].Mode = 0o600 })
	}, "linux/amd64, layer 2, usr/share/doc/hello: mode 0600 instead of 0644")
	add("an mtime", func(im *image) {
		own(im, func(n []node) { n[1].ModTime = commitTime.Add(time.Second) })
	}, "linux/amd64, layer 2, usr/share/doc/hello: mtime 2026-03-14T15:09:27Z instead of 2026-03-14T15:09:26Z")
	var packed []string
	for _, arch := range []string{"amd64", "arm64"} {
		packed = append(packed, "linux/"+arch+", "+bases(sum(hello(), 1)))
		for i, nodes := range [][]node{hello().base, hello().own[arch]} {
			one, two := gz(t, tarOf(t, nodes...), 1, gzip.Header{OS: 255}), gz(t, tarOf(t, nodes...), 6, gzip.Header{OS: 255})
			packed = append(packed, fmt.Sprintf("linux/%s, layer %d: the same contents, compressed differently: %d bytes instead of %d", arch, i+1, len(one), len(two)))
		}
	}
	add("compression", func(im *image) { im.pack = at(1) }, packed...)
	add("media type", func(im *image) { im.mediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip" },
		`linux/amd64, layer 1: mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip" instead of "application/vnd.oci.image.layer.v1.tar+gzip"`,
		`linux/amd64, layer 2: mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip" instead of "application/vnd.oci.image.layer.v1.tar+gzip"`,
		`linux/arm64, layer 1: mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip" instead of "application/vnd.oci.image.layer.v1.tar+gzip"`,
		`linux/arm64, layer 2: mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip" instead of "application/vnd.oci.image.layer.v1.tar+gzip"`)

	zstd := change(hello(), func(im *image) { im.pack = byZstd })
	s, d := zstd.write(t)
	t2, e := change(zstd, func(im *image) { own(im, func(n []node) { n[1].Uid = 7 }) }).write(t)
	out = append(out, plantedImage{"a layer by zstd", t2, s, e, d, []string{"linux/amd64, layer 2, usr/share/doc/hello: uid 7 instead of 0"}})
	twice := change(hello(), func(im *image) { im.own["arm64"] = append(im.own["arm64"], reg("a", "1\n"), reg("a", "2\n")) })
	s, d = twice.write(t)
	t2, e = change(twice, func(im *image) { im.own["arm64"] = append(im.own["arm64"][:2:2], reg("a", "3\n")) }).write(t)
	out = append(out, plantedImage{"a file that stands twice", t2, s, e, d, []string{`linux/arm64, layer 2, a (2): line 1: "3" instead of "2"`}})
	plain := func(_ testing.TB, b []byte) []byte { return b }
	s, d = change(hello(), func(im *image) { im.pack = plain }).write(t)
	t2, e = change(hello(), func(im *image) { im.pack = plain; own(im, func(n []node) { n[1].Gid = 7 }) }).write(t)
	out = append(out, plantedImage{"a layer that is not compressed", t2, s, e, d, []string{"linux/amd64, layer 2, usr/share/doc/hello: gid 7 instead of 0"}})

	a, d := chartImage(t, "1.2.4")
	b, e := chartImage(t, "1.2.3")
	out = append(out, plantedImage{"appVersion of a chart", a, b, d, e, []string{`layer 1, hello/Chart.yaml: appVersion: "1.2.4" instead of "1.2.3"`}})
	a, d = hello().write(t)
	index := append(bytes.Clone(a[d]), '\n')
	a[artifact.Sum(index)] = index
	out = append(out, plantedImage{"white space of an index", a, base, artifact.Sum(index), root, []string{"the same values, with other white space, from line 1"}})
	layers := decode(t, base[artifact.Digest(decode(t, base[root])["manifests"].([]any)[0].(object)["digest"].(string))])["layers"].([]any)
	a, d = hello().write(t)
	m := decode(t, a[d])["manifests"].([]any)[0].(object)
	manifest := decode(t, a[artifact.Digest(m["digest"].(string))])
	manifest["layers"] = append(layers[:1:1], layers[1], layers[1])
	one := a.add(encode(t, manifest), "")
	out = append(out, plantedImage{"a layer more", a, base, artifact.Digest(one["digest"].(string)), artifact.Digest(m["digest"].(string)), []string{
		"3 layers instead of 2",
		fmt.Sprintf("layer 3: only in the published: %s", layers[1].(object)["digest"]),
	}})
	return out
}

// An image or a chart in a registry with one change is told apart by that change.
func TestPlantedInImages(t *testing.T) {
	for _, p := range plantedImages(t) {
		t.Run(p.name, func(t *testing.T) {
			d, err := compare.Images(t.Context(), p.published, p.rebuilt, p.a, p.b, compare.Options{})
			must(t, err)
			if got := texts(d); !slices.Equal(got, p.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(p.want, "\n\t"))
			}
		})
	}
}

func TestImagesThatAreTheSame(t *testing.T) {
	a, d := hello().write(t)
	b, e := hello().write(t)
	got, err := compare.Images(t.Context(), a, b, d, e, compare.Options{})
	if err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// failing opens nothing.
type failing struct{ err error }

func (f failing) Open(artifact.Digest) (compare.Source, func() error, error) {
	return compare.Source{}, nil, f.err
}

func TestDamagedImages(t *testing.T) {
	s, root := hello().write(t)
	first := decode(t, s[root])["manifests"].([]any)[0].(object)["digest"].(string)
	for _, c := range []struct {
		name  string
		blobs func(store) artifact.Digest
		want  string
	}{
		{"no index", func(store) artifact.Digest { return artifact.Sum([]byte("x")) }, "the published has no blob " + string(artifact.Sum([]byte("x")))},
		{"no digest", func(store) artifact.Digest { return "sha256:x" }, `the published is not there to be opened: "sha256:x" is not a digest`},
		{"no JSON", func(s store) artifact.Digest { return artifact.Digest(s.add([]byte("no"), "")["digest"].(string)) }, "the published cannot be opened as manifest: invalid character 'o' in literal null (expecting 'u')"},
		{"a manifest", func(store) artifact.Digest { return artifact.Digest(first) }, "a manifest instead of an index"},
		{"a layer that is none", func(s store) artifact.Digest {
			m := decode(t, s[artifact.Digest(first)])
			m["layers"].([]any)[1] = s.add([]byte("no layer"), m["layers"].([]any)[1].(object)["mediaType"].(string))
			d := s.add(encode(t, m), "application/vnd.oci.image.manifest.v1+json")
			d["platform"] = object{"os": "linux", "architecture": "amd64"}
			index := decode(t, s[root])
			index["manifests"].([]any)[0] = d
			return artifact.Digest(s.add(encode(t, index), "")["digest"].(string))
		}, "linux/amd64, layer 2: the published cannot be opened as tar: reading the tar: unexpected EOF"},
		{"a layer that is gone", func(s store) artifact.Digest {
			other, d := change(hello(), func(im *image) { im.own["amd64"] = im.own["amd64"][:1] }).write(t)
			for k, v := range other {
				s[k] = v
			}
			m := decode(t, s[artifact.Digest(decode(t, s[d])["manifests"].([]any)[0].(object)["digest"].(string))])
			delete(s, artifact.Digest(m["layers"].([]any)[1].(object)["digest"].(string)))
			return d
		}, "linux/amd64, layer 2: the published has no blob sha256:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mine := store{}
			for k, v := range s {
				mine[k] = v
			}
			d := c.blobs(mine)
			got, err := compare.Images(t.Context(), mine, s, d, root, compare.Options{})
			must(t, err)
			if len(got) == 0 || !strings.HasPrefix(got[0].String(), c.want) {
				t.Errorf("%q, want %q", texts(got), c.want)
			}
		})
	}
	broken := errors.New("the disk is gone")
	if _, err := compare.Images(t.Context(), failing{broken}, s, "sha256:"+artifact.Digest(strings.Repeat("0", 64)), root, compare.Options{}); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
	if _, err := compare.Images(t.Context(), failing{fs.ErrNotExist}, s, artifact.Sum(nil), root, compare.Options{}); err != nil {
		t.Error(err)
	}
}

// layout finds the blobs of a release.
type layout map[string][]byte

func (l layout) Open(d artifact.Digest) (compare.Source, func() error, error) {
	b, ok := l["images/blobs/sha256/"+d.Hex()]
	if !ok {
		return compare.Source{}, nil, fs.ErrNotExist
	}
	return source(b), nil, nil
}

// Two releases whose commits are of another time differ in times, and in what the bills of materials and the provenance
// say of the files. Everything is of the format that its name promises.
func TestReleases(t *testing.T) {
	a, relA, err := verifytest.Files(verifytest.Options{Base: tgz(t, reg("etc/os-release", "ID=alpine\n"))})
	must(t, err)
	b, relB, err := verifytest.Files(verifytest.Options{Base: tgz(t, reg("etc/os-release", "ID=alpine\n")), Time: relA.Time.Add(time.Hour)})
	must(t, err)
	compared := 0
	for name, one := range a {
		two, ok := b[name]
		if !ok || strings.HasPrefix(name, "images/") {
			continue
		}
		compared++
		got := files(t, compare.FormatOf(name), one, two)
		if bytes.Equal(one, two) != (len(got) == 0) {
			t.Errorf("%s: %q", name, got)
		}
		for _, d := range got {
			for _, bad := range []string{"cannot be opened", "bytes 0x", "around the same", "compressed differently"} {
				if strings.Contains(d, bad) {
					t.Errorf("%s: %s", name, d)
				}
			}
		}
	}
	if compared < 30 {
		t.Errorf("only %d files", compared)
	}
	d, err := compare.Images(t.Context(), layout(a), layout(b), relA.Images[0].Digest, relB.Images[0].Digest, compare.Options{})
	must(t, err)
	want := []string{
		"linux/amd64, layer 2, usr/local/bin/hello: mtime 2026-03-14T15:09:26Z instead of 2026-03-14T16:09:26Z",
		"linux/arm64, layer 2, usr/local/bin/hello: mtime 2026-03-14T15:09:26Z instead of 2026-03-14T16:09:26Z",
	}
	if got := texts(d); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
