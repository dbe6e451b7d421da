package compare_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/apk"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/compare"
	"github.com/slipway-build/slipway/pipeline/format/nupkg"
	"github.com/slipway-build/slipway/pipeline/format/rpm"
	"github.com/slipway-build/slipway/pipeline/format/snap"
	"github.com/slipway-build/slipway/pipeline/format/squashfs"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

var commitTime = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// change returns a copy of v with one change.
func change[T any](v T, by func(*T)) T {
	by(&v)
	return v
}

// replaced is b with the first old in it replaced, which must be there.
func replaced(t testing.TB, b []byte, old, by string) []byte {
	t.Helper()
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%q is not in it", old)
	}
	return bytes.Replace(b, []byte(old), []byte(by), 1)
}

// build is what a program says of its build.
type build struct {
	goVersion, dep, ldflags, extra string
	system, arch                   string
	code                           string
}

func program() build {
	return build{
		goVersion: "go1.26.8", dep: "v1.0.0", ldflags: "-X main.version=1.2.3", system: "linux", arch: "amd64",
		code: strings.Repeat("code of the program ", 50),
	}
}

// info is the build information as the linker leaves it ($GOROOT/src/debug/buildinfo/buildinfo.go has the layout).
func (b build) info() []byte {
	text := strings.Repeat("\x01", 16) + "path\texample.com/hello\nmod\texample.com/hello\tv1.2.3\th1:sum\ndep\texample.com/a\t" + b.dep +
		"\th1:a\n" + b.extra + "build\t-ldflags=\"" + b.ldflags + "\"\nbuild\tGOARCH=" + b.arch + "\nbuild\tGOOS=" + b.system + "\n" + strings.Repeat("\x02", 16)
	out := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	for _, s := range []string{b.goVersion, text} {
		out = append(binary.AppendUvarint(out, uint64(len(s))), s...)
	}
	for len(out)%16 != 0 {
		out = append(out, 0)
	}
	return out
}

// put writes little-endian numbers and bytes.
func put(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if s, ok := v.(string); ok {
			v = []byte(s)
		}
		_ = binary.Write(&b, binary.LittleEndian, v) // a buffer takes all
	}
	return b.Bytes()
}

// elf has the sections .text, .go.buildinfo and .shstrtab behind one another, all in one segment.
func (b build) elf() []byte {
	const head, address = 64 + 56, 0x400000
	info, names := b.info(), "\x00.text\x00.go.buildinfo\x00.shstrtab\x00"
	text := head
	data := text + len(b.code)
	strs := data + len(info)
	table := strs + len(names)
	out := put("\x7fELF\x02\x01\x01", make([]byte, 9), uint16(2), uint16(62), uint32(1), uint64(0), uint64(64), uint64(table), uint32(0),
		uint16(64), uint16(56), uint16(1), uint16(64), uint16(4), uint16(3))
	out = append(out, put(uint32(1), uint32(6), uint64(0), uint64(address), uint64(address), uint64(strs), uint64(strs), uint64(16))...)
	out = append(out, b.code...)
	out = append(out, info...)
	out = append(out, names...)
	section := func(name, typ uint32, at, size int) []byte {
		return put(name, typ, uint64(2), uint64(address+at), uint64(at), uint64(size), uint32(0), uint32(0), uint64(1), uint64(0))
	}
	out = append(out, make([]byte, 64)...)
	out = append(out, section(1, 1, text, len(b.code))...)
	out = append(out, section(7, 1, data, len(info))...)
	return append(out, section(21, 3, strs, len(names))...)
}

// machO has one segment with the sections __text and __go_buildinfo (<mach-o/loader.h>).
func (b build) machO() []byte {
	const head, address = 32 + 72 + 2*80, 0x100000000
	info := b.info()
	size := head + len(b.code) + len(info)
	name := func(s string) []byte { return append([]byte(s), make([]byte, 16-len(s))...) }
	out := put(uint32(0xfeedfacf), uint32(0x0100000c), uint32(0), uint32(2), uint32(1), uint32(72+2*80), uint32(0), uint32(0))
	out = append(out, put(uint32(0x19), uint32(72+2*80), name("__TEXT"), uint64(address), uint64(size), uint64(0), uint64(size), uint32(7), uint32(7), uint32(2), uint32(0))...)
	section := func(s string, at, n int) []byte {
		return put(name(s), name("__TEXT"), uint64(address+at), uint64(n), uint32(at), make([]byte, 28))
	}
	out = append(out, section("__text", head, len(b.code))...)
	out = append(out, section("__go_buildinfo", head+len(b.code), len(info))...)
	return append(append(out, b.code...), info...)
}

// node is an entry of a tar.
type node struct {
	tar.Header
	body string
}

func reg(name, body string) node {
	return node{tar.Header{Name: name, Mode: 0o644, ModTime: commitTime, Size: int64(len(body)), Typeflag: tar.TypeReg}, body}
}

func exe(name, body string) node {
	return change(reg(name, body), func(n *node) { n.Mode = 0o755 })
}

func symlink(name, target string) node {
	return node{tar.Header{Name: name, Linkname: target, Mode: 0o777, ModTime: commitTime, Typeflag: tar.TypeSymlink}, ""}
}

func tarOf(t testing.TB, nodes ...node) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range nodes {
		n.Size = int64(len(n.body))
		must(t, w.WriteHeader(&n.Header))
		_, err := w.Write([]byte(n.body))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func gz(t testing.TB, b []byte, level int, h gzip.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, level)
	must(t, err)
	w.Header = h
	_, err = w.Write(b)
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}

func tgz(t testing.TB, nodes ...node) []byte {
	t.Helper()
	return gz(t, tarOf(t, nodes...), 6, gzip.Header{OS: 255})
}

// member is a file of a zip.
type member struct {
	zip.FileHeader
	body string
}

func zipped(name, body string) member {
	m := member{zip.FileHeader{Name: name, Method: zip.Deflate, Modified: commitTime}, body}
	m.SetMode(0o644)
	return m
}

func zipOf(t testing.TB, comment string, members ...member) []byte {
	t.Helper()
	return zipAt(t, 5, comment, members...)
}

// zipAt is a zip that is compressed at another level.
func zipAt(t testing.TB, level int, comment string, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, level) })
	for _, m := range members {
		f, err := w.CreateHeader(&m.FileHeader)
		must(t, err)
		_, err = f.Write([]byte(m.body))
		must(t, err)
	}
	must(t, w.SetComment(comment))
	must(t, w.Close())
	return b.Bytes()
}

// debOf is a package of the files, whose sums are in it.
func debOf(t testing.TB, control string, data ...node) []byte {
	t.Helper()
	return packedDeb(t, 6, control, data...)
}

// packedDeb is the same with data that is compressed at another level.
func packedDeb(t testing.TB, level int, control string, data ...node) []byte {
	t.Helper()
	var sums strings.Builder
	for _, n := range data {
		fmt.Fprintf(&sums, "%x  %s\n", md5.Sum([]byte(n.body)), strings.TrimPrefix(n.Name, "./"))
	}
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range []struct {
		name string
		body []byte
	}{
		{"debian-binary", []byte("2.0\n")},
		{"control.tar.gz", tgz(t, reg("./control", control), reg("./md5sums", sums.String()))},
		{"data.tar.gz", gz(t, tarOf(t, data...), level, gzip.Header{OS: 255})},
	} {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", m.name, commitTime.Unix(), 0, 0, 0o100644, len(m.body))
		b.Write(m.body)
		if len(m.body)%2 != 0 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

const control = "Package: hello\nVersion: 1.2.3\nArchitecture: amd64\nInstalled-Size: 1\nMaintainer: Example <mail@example.com>\nDescription: says hello\n"

// release is a package for the packers of the pipeline.
func release(t testing.TB) format.Package {
	t.Helper()
	v, err := version.Parse("1.2.3")
	must(t, err)
	return format.Package{
		Meta: format.Meta{
			Name: "hello", Version: v, Time: commitTime, Title: "Hello", Summary: "Says hello", Description: "It says hello.",
			Homepage: "https://example.com/hello", License: "MIT", Vendor: "Example", Maintainer: "Example <mail@example.com>",
		},
		Platform: artifact.Platform{OS: "linux", Arch: "amd64"}, Section: "utils", Changes: "- A greeting.",
		Files: []format.File{
			{File: archive.Bytes("usr/bin/hello", program().elf()).WithExec(), Role: format.Program},
			{File: archive.Bytes("usr/share/hello/data", []byte("one\ntwo\n")), Role: format.Data},
		},
	}
}

func rpmOf(t testing.TB, p format.Package) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, rpm.Write(&b, p))
	return b.Bytes()
}

// rpmParts are what is in front of the header of an rpm, the header and the payload.
func rpmParts(b []byte) (front, header, payload []byte) {
	be := binary.BigEndian
	end := func(at int) int { return at + 16 + 16*int(be.Uint32(b[at+8:])) + int(be.Uint32(b[at+12:])) }
	start := (end(96) + 7) / 8 * 8
	return b[:start], b[start:end(start)], b[end(start):]
}

// resealed has another header and payload, of which all digests and sizes hold.
func resealed(t testing.TB, b, header, payload []byte) []byte {
	t.Helper()
	front, oldHeader, oldPayload := rpmParts(b)
	header = bytes.ReplaceAll(header, fmt.Appendf(nil, "%x", sha256.Sum256(oldPayload)), fmt.Appendf(nil, "%x", sha256.Sum256(payload)))
	for _, sum := range []func(h, p []byte) []byte{
		func(h, _ []byte) []byte { return fmt.Appendf(nil, "%x", sha256.Sum256(h)) },
		func(h, _ []byte) []byte { return fmt.Appendf(nil, "%x", sha1.Sum(h)) },
		func(h, p []byte) []byte { s := md5.Sum(slices.Concat(h, p)); return s[:] },
		func(h, p []byte) []byte { return binary.BigEndian.AppendUint32(nil, uint32(len(h)+len(p))) },
	} {
		front = bytes.Replace(front, sum(oldHeader, oldPayload), sum(header, payload), 1)
	}
	return slices.Concat(front, header, payload)
}

// otherDevice sets the last byte of the first value of FileRdevs to 7.
func otherDevice(t testing.TB, b []byte) []byte {
	t.Helper()
	_, header, payload := rpmParts(b)
	header = bytes.Clone(header)
	n := int(binary.BigEndian.Uint32(header[8:]))
	for i := range n {
		if e := header[16+16*i:]; binary.BigEndian.Uint32(e) == 1033 {
			header[16+16*n+int(binary.BigEndian.Uint32(e[8:]))+1] = 7 // of two bytes
			return resealed(t, b, header, payload)
		}
	}
	t.Fatal("no FileRdevs")
	return nil
}

// regzipped is gzip data compressed at another level.
func regzipped(t testing.TB, b []byte, level int) []byte {
	t.Helper()
	return gz(t, gunzipped(t, b), level, gzip.Header{OS: 255})
}

func gunzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	must(t, err)
	plain, err := io.ReadAll(r)
	must(t, err)
	return plain
}

// apkParts are the control and the data of an apk without a signature.
func apkParts(t testing.TB, b []byte) (control, data []byte) {
	t.Helper()
	r := bytes.NewReader(b)
	z, err := gzip.NewReader(r)
	must(t, err)
	z.Multistream(false)
	_, err = io.Copy(io.Discard, z)
	must(t, err)
	at := len(b) - r.Len()
	return b[:at], b[at:]
}

// repackedAPK has data that is compressed at another level.
func repackedAPK(t testing.TB, b []byte, level int) []byte {
	t.Helper()
	control, data := apkParts(t, b)
	other := regzipped(t, data, level)
	old, by := fmt.Sprintf("%x", sha256.Sum256(data)), fmt.Sprintf("%x", sha256.Sum256(other))
	return append(gz(t, replaced(t, gunzipped(t, control), old, by), 6, gzip.Header{OS: 255}), other...)
}

func apkOf(t testing.TB, p format.Package) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, apk.Write(&b, p))
	return b.Bytes()
}

func snapOf(t testing.TB, p format.Package) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, snap.Write(&b, p, snap.Options{Compression: squashfs.Zstd}))
	return b.Bytes()
}

func nupkgOf(t testing.TB, p format.Package) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, nupkg.Write(&b, format.Recipe{Meta: p.Meta, LicenseText: []byte("free\n"), Downloads: []format.Download{{
		Platform: artifact.Platform{OS: "windows", Arch: "amd64"}, URL: "https://example.com/hello.zip", Digest: artifact.Sum(nil), Size: 100, Programs: []string{"hello.exe"},
	}}}))
	return b.Bytes()
}

func chartOf(t testing.TB, appVersion, values, generated string) []byte {
	t.Helper()
	return tgz(t,
		reg("hello/Chart.yaml", "apiVersion: v2\nname: hello\nversion: 1.2.3\nappVersion: \""+appVersion+"\"\n"),
		reg("hello/Chart.lock", "dependencies: []\ndigest: sha256:1\ngenerated: \""+generated+"\"\n"),
		reg("hello/values.yaml", values),
		reg("hello/templates/a.yaml", "a: {{ .Values.a }}\n"),
	)
}

type object = map[string]any

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return b
}

func decode(t testing.TB, b []byte) object {
	t.Helper()
	var o object
	must(t, json.Unmarshal(b, &o))
	return o
}

// envelope is a statement in an envelope.
func envelope(t testing.TB, statement string) []byte {
	t.Helper()
	return encode(t, object{"payloadType": "application/vnd.in-toto+json", "payload": base64.StdEncoding.EncodeToString([]byte(statement)), "signatures": []any{}})
}

// store holds blobs.
type store map[artifact.Digest][]byte

func (s store) Open(d artifact.Digest) (compare.Source, func() error, error) {
	b, ok := s[d]
	if !ok {
		return compare.Source{}, nil, fmt.Errorf("blob %s: %w", d, fs.ErrNotExist)
	}
	return source(b), func() error { return nil }, nil
}

func (s store) add(b []byte, mediaType string) object {
	d := artifact.Sum(b)
	s[d] = b
	return object{"mediaType": mediaType, "digest": string(d), "size": len(b)}
}

func source(b []byte) compare.Source {
	return compare.Source{ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
}

// image is an index of images for two platforms.
type image struct {
	label, created, env string
	annotation          string
	base                []node
	own                 map[string][]node // by architecture
	arches              []string
	mediaType           string
	pack                func(testing.TB, []byte) []byte
}

// at compresses layers at a level.
func at(level int) func(testing.TB, []byte) []byte {
	return func(t testing.TB, b []byte) []byte { return gz(t, b, level, gzip.Header{OS: 255}) }
}

// byZstd compresses layers by zstd.
func byZstd(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	must(t, err)
	_, err = w.Write(b)
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}

func hello() image {
	return image{
		label: "1.2.3", created: "2026-03-14T15:09:26Z", env: "PATH=/usr/bin", annotation: "1.2.3", mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", pack: at(6),
		base: []node{reg("etc/os-release", "ID=alpine\nVERSION_ID=3.23\n"), symlink("bin/sh", "/bin/busybox")},
		own: map[string][]node{
			"amd64": {exe("usr/local/bin/hello", string(program().elf())), reg("usr/share/doc/hello", "it says hello\n")},
			"arm64": {exe("usr/local/bin/hello", string(change(program(), func(b *build) { b.arch = "arm64" }).elf()))},
		},
		arches: []string{"amd64", "arm64"},
	}
}

func (im image) write(t testing.TB) (store, artifact.Digest) {
	t.Helper()
	s := store{}
	var manifests []any
	for _, arch := range im.arches {
		var layers, ids []any
		for _, nodes := range [][]node{im.base, im.own[arch]} {
			plain := tarOf(t, nodes...)
			ids = append(ids, string(artifact.Sum(plain)))
			layers = append(layers, s.add(im.pack(t, plain), im.mediaType))
		}
		config := s.add(encode(t, object{
			"os": "linux", "architecture": arch, "created": im.created, "rootfs": object{"type": "layers", "diff_ids": ids},
			"config":  object{"Labels": object{"org.opencontainers.image.version": im.label}, "Env": []any{im.env}, "Entrypoint": []any{"/usr/local/bin/hello"}},
			"history": []any{object{"created_by": "base"}, object{"created_by": "slipway"}},
		}), "application/vnd.oci.image.config.v1+json")
		m := s.add(encode(t, object{"schemaVersion": 2, "config": config, "layers": layers}), "application/vnd.oci.image.manifest.v1+json")
		m["platform"] = object{"os": "linux", "architecture": arch}
		manifests = append(manifests, m)
	}
	index := s.add(encode(t, object{"schemaVersion": 2, "manifests": manifests, "annotations": object{"org.opencontainers.image.version": im.annotation}}), "application/vnd.oci.image.index.v1+json")
	return s, artifact.Digest(index["digest"].(string))
}

// chartImage is a chart as it lies in a registry.
func chartImage(t testing.TB, appVersion string) (store, artifact.Digest) {
	t.Helper()
	s := store{}
	config := s.add(encode(t, object{"name": "hello", "version": "1.2.3", "appVersion": appVersion}), "application/vnd.cncf.helm.config.v1+json")
	content := s.add(chartOf(t, appVersion, "replicas: 1\n", "2026-03-14T15:09:26Z"), "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
	m := s.add(encode(t, object{"schemaVersion": 2, "config": config, "layers": []any{content}}), "application/vnd.oci.image.manifest.v1+json")
	return s, artifact.Digest(m["digest"].(string))
}
