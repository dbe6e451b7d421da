package inspect_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var commitTime = time.Date(2024, 2, 29, 23, 59, 58, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, format string, b []byte) (inspect.Facts, error) {
	t.Helper()
	return inspect.Open(t.Context(), format, bytes.NewReader(b), int64(len(b)), inspect.Options{})
}

// dump writes facts as a text, one field or entry in a line.
func dump(f inspect.Facts) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: name %q, version %q, architecture %q\n", f.Format, f.Name, f.Version, f.Architecture)
	for _, key := range slices.Sorted(maps.Keys(f.Fields)) {
		fmt.Fprintf(&b, "  %s = %q\n", key, f.Fields[key])
	}
	for _, e := range f.Entries {
		fmt.Fprintf(&b, "%s %s %q %s %d:%d %s:%s %s %d %s", e.Part, e.Type, e.Name, e.Mode, e.UID, e.GID, e.Owner, e.Group, e.ModTime.Format(time.RFC3339), e.Size, e.Digest.Short())
		if e.Link != "" {
			fmt.Fprintf(&b, " -> %q", e.Link)
		}
		for _, x := range e.Extra {
			fmt.Fprintf(&b, " %s=%q", x.Key, x.Value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		must(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s differs; with -update, if that is meant. Got:\n%s", file, got)
	}
}

// samples are files of testdata that foreign tools made, by name, with their formats; tools_test.go makes them.
var samples = map[string]string{
	"hello-xz.deb": inspect.Deb, "hello-gzip.deb": inspect.Deb, "hello-zstd.deb": inspect.Deb,
	"hello-gzip.rpm": inspect.RPM, "hello-xz.rpm": inspect.RPM, "hello-zstd.rpm": inspect.RPM,
	"hello-xz.snap": inspect.Snap, "hello-zstd.snap": inspect.Snap, "hello-gzip.snap": inspect.Snap,
	"plain.snap": inspect.Snap, "hello.zip": inspect.Zip,
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	must(t, err)
	return b
}

// What the package reads in files that other programs made, in a form that a person can check.
func TestSamples(t *testing.T) {
	for name, format := range samples {
		t.Run(name, func(t *testing.T) {
			b := sample(t, name)
			if len(b) > 20_000 {
				t.Errorf("%d bytes are too many for a sample", len(b))
			}
			f, err := open(t, format, b)
			must(t, err)
			golden(t, name, dump(f))
		})
	}
}

// item is an entry of a tar made by hand.
type item struct {
	name, body string
	typ        byte
	link       string
	mode       int64
	pax        map[string]string
}

func file(name, body string) item { return item{name: name, body: body, typ: tar.TypeReg, mode: 0o644} }

func folder(name string) item { return item{name: name, typ: tar.TypeDir, mode: 0o755} }

func link(name, to string) item { return item{name: name, typ: tar.TypeSymlink, link: to, mode: 0o777} }

// tarOf writes a tar, without its end if open.
func tarOf(t testing.TB, unended bool, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, it := range items {
		h := &tar.Header{Name: it.name, Typeflag: it.typ, Linkname: it.link, Mode: it.mode, Size: int64(len(it.body)), ModTime: commitTime, PAXRecords: it.pax}
		must(t, w.WriteHeader(h))
		_, err := io.WriteString(w, it.body)
		must(t, err)
	}
	if unended {
		must(t, w.Flush())
	} else {
		must(t, w.Close())
	}
	return b.Bytes()
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}

type member struct {
	name string
	body []byte
}

func ar(members ...member) []byte {
	b := []byte("!<arch>\n")
	for _, m := range members {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", m.name, commitTime.Unix(), 0, 0, 0o100644, len(m.body))
		b = append(b, m.body...)
		if len(m.body)%2 != 0 {
			b = append(b, '\n')
		}
	}
	return b
}

const control = "Package: hello\nVersion: 1.2.3~rc.1\nArchitecture: amd64\nMaintainer: Hello <hello@example.com>\nDescription: says hello\n It says it\n .\n twice.\n"

// debOf makes a deb by hand; sums are those of the files unless there are others.
func debOf(t testing.TB, control string, sums *string, data ...item) []byte {
	t.Helper()
	var lines string
	for _, it := range data {
		if it.typ == tar.TypeReg {
			lines += fmt.Sprintf("%x  %s\n", md5.Sum([]byte(it.body)), strings.TrimPrefix(it.name, "./"))
		}
	}
	if sums != nil {
		lines = *sums
	}
	return ar(
		member{"debian-binary", []byte("2.0\n")},
		member{"control.tar.gz", gz(t, tarOf(t, false, folder("./"), file("./control", control), file("./md5sums", lines)))},
		member{"data.tar.gz", gz(t, tarOf(t, false, data...))},
	)
}

var debData = []item{folder("./"), folder("./usr/"), folder("./usr/bin/"), file("./usr/bin/hello", "hello"), link("./usr/bin/hi", "hello")}

// apkOf makes an apk by hand.
func apkOf(t testing.TB, info string, signed bool, data ...item) []byte {
	t.Helper()
	body := gz(t, tarOf(t, false, data...))
	info = strings.ReplaceAll(info, "DATAHASH", artifact.Sum(body).Hex())
	b := gz(t, tarOf(t, true, file(".PKGINFO", info), file(".pre-install", "#!/bin/sh\n")))
	if signed {
		b = append(gz(t, tarOf(t, true, file(".SIGN.RSA256.test.rsa.pub", "signature"))), b...)
	}
	return append(b, body...)
}

const pkginfo = "# Generated\npkgname = hello\npkgver = 1.2.3_rc1-r0\narch = x86_64\ndepend = a\ndepend = b\ndatahash = DATAHASH\n"

var apkData = []item{
	folder("usr/"),
	{name: "usr/hello", body: "hello", typ: tar.TypeReg, mode: 0o755, pax: map[string]string{"APK-TOOLS.checksum.SHA1": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"}},
	{name: "usr/hi", typ: tar.TypeSymlink, link: "hello", mode: 0o777, pax: map[string]string{"APK-TOOLS.checksum.SHA1": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"}},
}

func zipOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var all []archive.File
	for name, body := range files {
		all = append(all, archive.Bytes(name, []byte(body)))
	}
	var b bytes.Buffer
	must(t, archive.Zip(&b, all, commitTime))
	return b.Bytes()
}

const (
	nuspec = `<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://schemas.microsoft.com/packaging/2015/06/nuspec.xsd"><metadata><id>hello</id><version>1.2.3-rc1</version><tags>a &amp; b</tags><dependencies><dependency id="base" version="[1.0,2.0)" /></dependencies></metadata></package>`
	rels = `<?xml version="1.0" encoding="utf-8"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Type="http://schemas.microsoft.com/packaging/2010/07/manifest" Target="/hello.nuspec" Id="R1" /><Relationship Type="http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties" Target="/package/services/metadata/core-properties/1.psmdcp" Id="R2" /></Relationships>`
	contentTypes = `<?xml version="1.0" encoding="utf-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml" /><Default Extension="psmdcp" ContentType="application/vnd.openxmlformats-package.core-properties+xml" /><Default Extension="nuspec" ContentType="application/octet" /><Override PartName="/tools/LICENSE" ContentType="text/plain" /></Types>`
	psmdcp = `<coreProperties xmlns="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier>hello</dc:identifier><version>1.2.3-rc1</version></coreProperties>`
)

func nupkgFiles() map[string]string {
	return map[string]string{
		"[Content_Types].xml": contentTypes, "_rels/.rels": rels, "hello.nuspec": nuspec, "tools/LICENSE": "free",
		"package/services/metadata/core-properties/1.psmdcp": psmdcp,
	}
}

const chartYAML = "apiVersion: v2\nname: hello\nversion: 1.2.3\nappVersion: \"1.2.3\"\nannotations:\n  artifacthub.io/changes: |\n    - kind: added\nkeywords: [a, b]\n"

const (
	cycloneDX = `{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79","version":1,
"metadata":{"timestamp":"2024-02-29T23:59:58Z","component":{"type":"application","name":"hello","version":"1.2.3","purl":"pkg:golang/hello@1.2.3",
"hashes":[{"content":"00","alg":"MD5"},{"alg":"SHA-256","content":"BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"}]}},
"components":[{"type":"library","name":"a"},{"type":"library","name":"b"}]}`
	spdx = `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"hello","documentNamespace":"https://example.com/1","creationInfo":{"created":"2024-02-29T23:59:58Z"},
"packages":[{"SPDXID":"SPDXRef-hello","name":"hello","versionInfo":"1.2.3","checksums":[{"algorithm":"SHA256","checksumValue":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}]},{"SPDXID":"SPDXRef-a","name":"a"}],
"relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relationshipType":"DESCRIBES","relatedSpdxElement":"SPDXRef-hello"}]}`
	statement = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"hello_linux_amd64.tar.gz","digest":{"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}},{"name":"b","digest":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}`
)

// made is one whole file of each format that is made here, by a name for it.
func made(t testing.TB) map[string]made1 {
	return map[string]made1{
		"tar.gz": {inspect.TarGz, gz(t, tarOf(t, false, folder("docs/"), file("docs/naïve.md", "#"), file("bin/hello", "hello"), item{name: "bin/same", typ: tar.TypeLink, link: "bin/hello"}, link("bin/readme", "../docs/naïve.md")))},
		"zip":    {inspect.Zip, zipOf(t, map[string]string{"hello/hello": "hello", "hello/LICENSE": strings.Repeat("free ", 100), "empty": ""})},
		"deb":    {inspect.Deb, debOf(t, control, nil, debData...)},
		"apk":    {inspect.APK, apkOf(t, pkginfo, true, apkData...)},
		"rpm":    {inspect.RPM, rpmOf(t, rpmTags(), cpioOf(rpmEntries()...))},
		"nupkg":  {inspect.Nupkg, zipOf(t, nupkgFiles())},
		"chart":  {inspect.Chart, gz(t, tarOf(t, false, file("hello/Chart.yaml", chartYAML), file("hello/templates/a.yaml", "a: b")))},
		"elf":    {inspect.Binary, elfOf(183, buildInfo("go1.26.8", "linux", "arm64"))},
		"xcoff":  {inspect.Binary, append(xcoff(), buildInfo("go1.26.8", "aix", "ppc64")...)},
		"cdx":    {inspect.CycloneDX, []byte(cycloneDX)},
		"spdx":   {inspect.SPDX, []byte(spdx)},
		"intoto": {inspect.InToto, []byte(statement)},
		"dsse":   {inspect.InToto, []byte(`{"payloadType":"application/vnd.in-toto+json","payload":"` + base64Of(statement) + `","signatures":[{"keyid":"a","sig":"AA=="}]}` + "\n")},
	}
}

type made1 struct {
	format string
	b      []byte
}

func TestMade(t *testing.T) {
	for name, m := range made(t) {
		t.Run(name, func(t *testing.T) {
			f, err := open(t, m.format, m.b)
			must(t, err)
			golden(t, "made-"+name, dump(f))
		})
	}
}

// No beginning of a file is taken for the file, and none makes a reader panic. Bytes behind the end are refused too,
// where there is no other reader that would mind them.
func TestTruncated(t *testing.T) {
	all := made(t)
	for name, format := range samples {
		all[name] = made1{format, sample(t, name)}
	}
	for name, m := range all {
		t.Run(name, func(t *testing.T) {
			step := 1 + len(m.b)/100
			switch {
			case fixture.Full && len(m.b) > 6000:
				step = 1 + len(m.b)/500
			case fixture.Full:
				step = 1
			}
			for n := 0; n < len(m.b); n += step {
				if name == "dsse" && n == len(m.b)-1 {
					continue // the last line feed
				}
				if f, err := open(t, m.format, m.b[:n]); err == nil {
					// A SquashFS is padded with zeros.
					if m.format == inspect.Snap && strings.Trim(string(m.b[n:]), "\x00") == "" {
						continue
					}
					t.Fatalf("the first %d of %d bytes are taken: %s", n, len(m.b), dump(f))
				} else if fault.CodeOf(err) != fault.Mismatch {
					t.Fatalf("the first %d bytes: code %d of %v", n, fault.CodeOf(err), err)
				}
			}
			if _, err := open(t, m.format, append(slices.Clone(m.b), 'x')); err == nil && m.format != inspect.Binary {
				t.Error("a byte more is taken")
			}
		})
	}
}

// A changed bit is seen wherever the format sums its bytes, and never makes a reader panic.
func TestChanged(t *testing.T) {
	all := made(t)
	for name, format := range samples {
		all[name] = made1{format, sample(t, name)}
	}
	for name, m := range all {
		t.Run(name, func(t *testing.T) {
			before, err := open(t, m.format, m.b)
			must(t, err)
			want := dump(before)
			step := 1 + len(m.b)/100
			switch {
			case fixture.Full && len(m.b) > 4000:
				step = 1 + len(m.b)/400
			case fixture.Full:
				step = 1
			}
			same, total := 0, 0
			for i := 0; i < len(m.b); i += step {
				b := slices.Clone(m.b)
				b[i] ^= 0x10
				f, err := open(t, m.format, b)
				total++
				if err == nil && dump(f) == want {
					same++
				}
			}
			// What is not seen stands in fields that nothing reads: reserved bytes, names of Unicode's old zip flags, sizes
			// of things that are sized again, in JSON what is no fact.
			percent := map[string]int{inspect.RPM: 10, inspect.Snap: 12, inspect.CycloneDX: 20, inspect.SPDX: 20, inspect.InToto: 20, inspect.Binary: 40}[m.format]
			if same*100 > total*max(percent, 3) {
				t.Errorf("%d of %d changes are not seen", same, total)
			}
		})
	}
}

func TestVisit(t *testing.T) {
	for name, m := range made(t) {
		want, err := open(t, m.format, m.b)
		must(t, err)
		for _, read := range []int64{0, 1, 1 << 20} {
			seen := map[string]artifact.Digest{}
			o := inspect.Options{Visit: func(e inspect.Entry, r io.Reader) error {
				h := sha256.New()
				_, err := io.Copy(h, io.LimitReader(r, read))
				seen[e.Part+" "+e.Name] = artifact.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
				return err
			}}
			f, err := inspect.Open(t.Context(), m.format, bytes.NewReader(m.b), int64(len(m.b)), o)
			must(t, err)
			if dump(f) != dump(want) {
				t.Errorf("%s: a visitor that reads %d bytes changes what is found", name, read)
			}
			for _, e := range f.Entries {
				if m.format == inspect.InToto || e.Type != inspect.File {
					continue
				}
				if got, ok := seen[e.Part+" "+e.Name]; !ok || read > e.Size && got != e.Digest {
					t.Errorf("%s: the visitor got %s of %q, want %s", name, got, e.Name, e.Digest)
				}
			}
		}
	}
	broken := errors.New("enough")
	b := made(t)["deb"].b
	_, err := inspect.Open(t.Context(), inspect.Deb, bytes.NewReader(b), int64(len(b)), inspect.Options{Visit: func(inspect.Entry, io.Reader) error { return broken }})
	if !errors.Is(err, broken) || fault.CodeOf(err) == fault.Mismatch {
		t.Errorf("the error of a visitor is %v", err)
	}
}

// What is not the fault of the bytes is not called a mismatch.
func TestForeignErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("the disk is on fire")
	all := made(t)
	all["snap"] = made1{inspect.Snap, sample(t, "hello-xz.snap")}
	for name, m := range all {
		_, err := inspect.Open(ctx, m.format, bytes.NewReader(m.b), int64(len(m.b)), inspect.Options{})
		if !errors.Is(err, context.Canceled) || fault.CodeOf(err) == fault.Mismatch {
			t.Errorf("%s: with an ended context: %v", name, err)
		}
		for _, at := range []int64{0, int64(len(m.b)) / 2, int64(len(m.b)) - 1} {
			r := failing{bytes.NewReader(m.b), at, broken}
			if _, err := inspect.Open(t.Context(), m.format, r, int64(len(m.b)), inspect.Options{}); !errors.Is(err, broken) || fault.CodeOf(err) == fault.Mismatch {
				t.Errorf("%s: with a disk that fails at byte %d: %v", name, at, err)
			}
		}
	}
	if _, err := open(t, "cab", nil); err == nil {
		t.Error("a format that there is not is read")
	}
}

type failing struct {
	r   io.ReaderAt
	at  int64
	err error
}

func (f failing) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.at {
		return 0, f.err
	}
	return f.r.ReadAt(b, off)
}
